//! Every byte that NeoKV stores, and what it means.
//!
//! A store is a set of formats before it is a program: what is on the disk outlives every release
//! that wrote it. This crate holds all formats at rest, and nothing else. It does no IO, starts no
//! thread, and knows neither RocksDB nor the network; so it can be read first, tested alone, and
//! used on the directory of a dead node.
//!
//! # Follow one HSET
//!
//! `HSET user:{42} name Ada` ends as two records, both in the slot of the tag `42`:
//!
//! ```
//! use neokv_encoding::metadata::{Collection, DataType, MetadataRef};
//! use neokv_encoding::{explain, family::Family, key::{SubkeyRef, UserKey}};
//!
//! let user = UserKey::new(0, "user:{42}".into());
//! assert_eq!(user.slot, 8000);
//!
//! // Family metadata: what the key is. The version ties its fields to this incarnation of the key.
//! let hash = Collection { size: 1, ..Collection::new(DataType::Hash, 7) };
//! let (key, value) = (user.metadata(), hash.encode());
//! assert_eq!(MetadataRef::decode(&value), Ok(MetadataRef::Collection(hash)));
//!
//! // Family subkey: one record per field. Its value is the field's.
//! let field = user.subkey(7, b"name");
//! assert_eq!(SubkeyRef::decode(&field).unwrap().subkey, b"name");
//!
//! // Any bytes explain themselves: to tests, tools and documents alike.
//! let explained = explain::key(Family::Subkey, &field);
//! assert_eq!(explained.find("version").unwrap().value, "7");
//! assert!(explained.is_clean());
//! # assert_eq!(explain::guess(&key)[0].what, "metadata key");
//! ```
//!
//! # The map
//!
//! Each module uses only those above it; a test of the workspace holds that.
//!
//! | module | what it says |
//! | --- | --- |
//! | `error` | why bytes were refused |
//! | [`slot`] | which of 16384 parts of the key space a key belongs to |
//! | [`family`] | the nine column families |
//! | [`hlc`] | the clock that apply sees |
//! | [`proto`] | messages inside log entries |
//! | `layout` | how a format is written down once, and read by server and tools |
//! | [`double`] | scores, in keys and in values |
//! | [`v1`] | the older format of strings |
//! | [`key`] | keys of every family, made to sort |
//! | [`chunk`] | where the bytes of a long string are |
//! | [`metadata`] | types, expiries, sizes: the record of a user key |
//! | [`epoch`] | which shape of a Region a request or an entry refers to |
//! | [`raft`] | log entries, votes, memberships |
//! | [`region`] | replicas, descriptors, applied states |
//! | [`slot_stats`] | how many keys a slot holds |
//! | [`snapshot`] | what a snapshot of a Region consists of |
//! | [`identity`] | whose data directory this is |
//! | [`synced`] | how far the write-ahead log is known to be on the disk |
//! | [`marker`] | the file that marks a directory as a store |
//! | [`mod@explain`] | any bytes → a tree of spans, and its printer |
//!
//! # Rules
//!
//! * Numbers are big-endian (inside protobuf messages, protobuf's order).
//! * A decoder accepts exactly what an encoder writes. Everything else is a [`DecodeError`], never
//!   a panic, and no count in the bytes is trusted before that many bytes are there. Terms,
//!   indexes, epochs and clocks are below 2^63, so that the next one can be computed.
//! * On the hot path nothing is copied: [`metadata::MetadataRef`], [`key::SubkeyRef`] and
//!   [`key::ScoreRef`] borrow, and [`raft::Entry::decode`] shares the buffer it was given.
//! * Each layout is written once (`layout.rs`): the decoder that the server runs is what `explain`
//!   listens to.
//! * Formats are frozen: `tests/scripts` holds the exact bytes of each, readable as documentation.
//!   A change to one of those files is a change of the format and needs a new version byte, or a
//!   new [`FORMAT_VERSION`], and a reader for the old one.
//!
//! This crate is not a serialisation framework, not a schema language, and not the wire protocol of
//! clients (that is `neokv-resp`).
//!
//! Try `cargo run -p neokv-encoding --example explain -- 2f9600000000666f6f`.
#![cfg_attr(not(test), deny(clippy::little_endian_bytes, clippy::host_endian_bytes))]

pub mod chunk;
pub mod double;
pub mod epoch;
mod error;
pub mod explain;
pub mod family;
pub mod hlc;
pub mod identity;
pub mod key;
mod layout;
pub mod marker;
pub mod metadata;
pub mod proto;
pub mod raft;
pub mod region;
pub mod slot;
pub mod slot_stats;
pub mod snapshot;
pub mod synced;
pub mod v1;

pub use error::DecodeError;

/// Number of the on-disk format as a whole. A directory with another number is refused at open.
pub const FORMAT_VERSION: u32 = 2;
