//! Reads the directory of a store, of a dead node or beside a running one, and answers questions
//! about it.
//!
//! ```text
//!                    ┌─ store     whose directory it is, how large each family is
//!   directory        ├─ region    what each Region is, how far it is applied, how many keys it has
//!      │             ├─ raft      votes, log positions, entries of the log
//!      ▼             ├─ key_list  the user keys, in the order of the store
//!   Source ─────────▶└─ key_dump  everything that is stored for one user key, in every family
//! ```
//!
//! [`Source::open`] opens the directory. Each module above is one question: a function takes the
//! source and returns a struct with public fields. Nothing here prints, parses arguments or depends
//! on a screen. `neoctl` prints these structs, and other tools can draw them.
//!
//! Bytes whose place in a store is unknown need no source: [`explain`] and [`key`] read them.
//!
//! # The modules
//!
//! Each uses only those above it; a test of the workspace holds that.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`server`] | whether a server runs on the directory |
//! | `error` | why there is no answer |
//! | `copy` | a copy of the directory, for those who want to change it |
//! | [`records`] | the records of the Regions |
//! | [`progress`] | how far their logs go, and how far the effects are in RocksDB |
//! | `source` | a directory that was opened |
//! | `slot_stats` | how many keys the slots have |
//! | [`region`], [`store`] | answers about Regions and the store |
//! | [`key`] | bytes of a key whose place is unknown |
//! | [`entry`], [`raft`] | answers about the log |
//! | [`key_dump`], [`key_list`] | answers about user keys |
//!
//! # Promises
//!
//! * Nothing in the directory is created, changed or removed, and a running server is not
//!   disturbed.
//! * All answers of one source are of one state of the store.
//! * Damage hides nothing. What cannot be read is named in a field `problems`, one sentence each,
//!   and the rest is returned. A function fails only if there is nothing to return.
//! * The work is bounded by what was asked for, not by the size of the store; what a limit left out
//!   is marked with a field `more`.
//!
//! # Example
//!
//! ```
//! use neokv_encoding::{family::Family, key::UserKey, metadata::encode_string};
//! use neokv_engine::{Durability, Engine, Options};
//! use neokv_inspect::{Source, key_dump};
//!
//! # let dir = tempfile::tempdir()?;
//! # let dir = dir.path();
//! // A server wrote a string and was killed.
//! let user = UserKey::new(0, "greeting".into());
//! let engine = Engine::open(dir, &Options::default())?;
//! let mut batch = engine.batch();
//! batch.put(Family::Metadata, user.metadata(), encode_string(0, b"hello"));
//! engine.write(batch, Durability::Synced)?;
//! drop(engine);
//!
//! let now_ms = 1_700_000_000_000;
//! let source = Source::open(dir, now_ms)?;
//! assert!(!source.server.running);
//! let dump = key_dump::dump(&source, user, 20)?;
//! assert_eq!(dump.groups[0].family, Family::Metadata);
//! assert_eq!(dump.groups[0].rows[0].value, encode_string(0, b"hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not
//!
//! It connects to no server and repairs nothing. It knows no internals of the Raft layer: it reads
//! the formats of [`neokv_encoding`] through the read-only side of [`neokv_engine`].

mod copy;
pub mod entry;
mod error;
pub mod key;
pub mod key_dump;
pub mod key_list;
pub mod progress;
pub mod raft;
pub mod records;
pub mod region;
pub mod server;
mod slot_stats;
mod source;
pub mod store;

pub use copy::StoreCopy;
pub use error::InspectError;
pub use neokv_encoding::explain;
pub use neokv_engine::{Action, EngineError};
pub use source::Source;
