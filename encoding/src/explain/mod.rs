//! Explains any bytes: what each of them is, what it says, and why it is there.
//!
//! ```
//! use neokv_encoding::{explain, family::Family, key::UserKey};
//!
//! let key = UserKey::new(0, "foo".into()).metadata();
//! let explained = explain::key(Family::Metadata, &key);
//! assert_eq!(explain::render::text(&explained, &key), "\
//! metadata key, 9 bytes
//!
//!   0  2f 96  00 00 00 00  66 6f 6f
//!      └┬──┘  └────┬────┘  └──┬───┘
//!       A          B          C
//!
//!  A  0..2  slot       12182  first, so that a Region is one range of keys in every family
//!  B  2..6  namespace  0      keys of one tenant of a slot side by side
//!  C  6..9  user key   \"foo\"  last, so that keys of a slot sort by name and need no length
//! ");
//! ```
//!
//! An explanation is a tree of [`Span`]s. Its laws, which the property tests hold for random bytes:
//!
//! * **Total.** Any bytes are explained; nothing panics and nothing is refused. What is wrong is a
//!   `problem` of the span it concerns. Bytes that belong to no field have a span too.
//! * **Tiling.** Children follow each other without gap or overlap from the start of their parent
//!   to its end. So the leaves, one after the other, are the input.
//! * **Honest.** The spans are noted by the decoders that the server runs, while they run, from one
//!   description of the layout (`layout`): an explanation without problems means that the server
//!   accepts the bytes, and a refusal shows as a problem. This module also checks what the server
//!   does not: that the slot is the key's own, and that an entry stands under its own index.
//!
//! [`key()`] and [`value`] explain records whose family is known; [`entry`], [`write_request`] and
//! [`part`] pieces of them; [`guess()`] tries every reading. [`render`] prints, in
//! the [`columns`] of a screen.

pub mod columns;
mod guess;
mod message;
mod record;
pub mod render;
mod span;

use record::{Format, record};

pub use self::{
    guess::guess,
    span::{Explained, Span},
};
pub use crate::layout::show::utc;
use crate::{
    chunk, double,
    error::DecodeError,
    family::Family,
    identity,
    key::{self, DefaultKey, RaftStateKind, RegionKind, SubkeyFamilyRef},
    layout::{Field, Reader, Result, Trace},
    marker,
    metadata::{self, DataType},
    raft, region, slot, slot_stats, snapshot, synced, v1,
};

/// Evidence in bits of a slot that is the one the key hashes to: one of 2^14.
const SLOT_OF_KEY: i32 = 14;

const RAW: Format = Format { name: "raw bytes", why: "no format is known for them" };
const RAW_FIELD: &Field = &Field::new("bytes", "no format is known for them");
const PART_FIELD: &Field = &Field::new(
    "value",
    "hash field value, list element or chunk of a string; the metadata record says which",
);
const EMPTY_FIELD: &Field = &Field::new("value", "the key says it all");
const MESSAGE_FIELD: &Field =
    &Field::new("message", "the Raft layer carries these bytes without looking inside")
        .message("RedisWriteRequest");

/// Explains a key of a family.
pub fn key(family: Family, bytes: &[u8]) -> Explained {
    match family {
        Family::Default => {
            record(
                &Format { name: "default key", why: "the store's own records" },
                bytes,
                key::read_default,
            )
            .0
        }
        Family::RaftLog => {
            record(
                &Format { name: "raft_log key", why: "one entry of a Region's log" },
                bytes,
                key::read_raft_log,
            )
            .0
        }
        Family::RaftState => {
            record(
                &Format { name: "raft_state key", why: "what a peer must not forget" },
                bytes,
                key::read_raft_state,
            )
            .0
        }
        Family::Region => {
            record(&Format { name: "region key", why: "what a Region is" }, bytes, key::read_region)
                .0
        }
        Family::Metadata => {
            let format = Format { name: "metadata key", why: "one record per user key" };
            let (explained, user) = record(&format, bytes, key::read_metadata);
            checked(explained, user.as_ref().map(|user| (user.slot, &user.key[..])))
        }
        Family::Subkey => {
            let format = Format {
                name: "subkey key",
                why: "one field, member or element, or a chunk of a string",
            };
            let (explained, part) = record(&format, bytes, key::read_subkey_family);
            let mut explained = checked(
                explained,
                part.map(|part| match part {
                    SubkeyFamilyRef::Part(part) => (part.slot, part.key),
                    SubkeyFamilyRef::V1String { slot, key, .. } => (slot, key),
                }),
            );
            if let Some(SubkeyFamilyRef::Part(part)) = part {
                note_position(&mut explained, part.subkey);
            }
            explained
        }
        Family::ZsetScore => {
            let format =
                Format { name: "zset_score key", why: "one member of a sorted set, by score" };
            let (explained, score) = record(&format, bytes, key::read_score);
            checked(explained, score.map(|score| (score.slot, score.key)))
        }
        Family::Expire => {
            let format = Format { name: "expire key", why: "one key that will expire, by time" };
            let (explained, expire) = record(&format, bytes, key::read_expire);
            checked(explained, expire.as_ref().map(|expire| (expire.slot, &expire.key[..])))
        }
        Family::SlotStats => {
            let format = Format { name: "slot_stats key", why: "one slot's keys of one tenant" };
            record(&format, bytes, key::read_slot_stats).0
        }
    }
}

/// Shows a subkey as a list position if it is eight bytes near the middle of all positions, where
/// lists begin. The key does not say whose part it is, but a field's name hardly looks like that.
fn note_position(explained: &mut Explained, subkey: &[u8]) {
    let Ok(position) = subkey.try_into().map(u64::from_be_bytes) else { return };
    let span =
        explained.root.children.last_mut().filter(|_| metadata::position_evidence(position) > 0);
    if let Some(span) = span {
        span.value = format!("list position {}", metadata::show_position(position));
    }
}

/// Adds what the server does not check: whether the slot is the one that the key hashes to.
fn checked(mut explained: Explained, key: Option<(u16, &[u8])>) -> Explained {
    let Some((found, key)) = key else { return explained };
    let own = slot::slot_of(key);
    if found == own {
        explained.evidence += SLOT_OF_KEY;
    } else {
        explained.add_problem("slot", format!("this user key hashes to slot {own}"));
    }
    explained
}

/// Explains a value by its family and key. A key that says nothing about its value leaves the value
/// as raw bytes.
pub fn value(family: Family, key: &[u8], value: &[u8]) -> Explained {
    match family {
        Family::Default => match key::decode_default(key) {
            Ok(DefaultKey::Identity) => store_identity(value),
            Ok(DefaultKey::Behind | DefaultKey::Ingest { .. }) => empty(value),
            Err(error) => unknown_key(value, &error),
        },
        Family::RaftLog => {
            let mut explained = entry(value);
            let names = (key::decode_raft_log(key), raft::Entry::decode_log_id(value));
            if let (Ok((_, index)), Ok(log_id)) = names
                && index != log_id.index
            {
                explained.add_problem("index", format!("the key says index {index}"));
            }
            explained
        }
        Family::RaftState => match key::decode_raft_state(key) {
            Ok((_, RaftStateKind::Vote)) => vote(value),
            Ok((_, RaftStateKind::Committed | RaftStateKind::Purged)) => log_id(value),
            Err(error) => unknown_key(value, &error),
        },
        Family::Region => match key::decode_region(key) {
            Ok((_, RegionKind::Replica)) => replica(value),
            Ok((_, RegionKind::Descriptor)) => descriptor(value),
            Ok((_, RegionKind::Applied)) => applied(value),
            Err(error) => unknown_key(value, &error),
        },
        Family::Metadata => metadata(value),
        Family::Subkey => match SubkeyFamilyRef::decode(key) {
            Ok(SubkeyFamilyRef::V1String { .. }) => v1_string(value),
            Ok(SubkeyFamilyRef::Part(_)) => {
                record(&PART, value, |r| {
                    r.rest(PART_FIELD);
                    Ok(())
                })
                .0
            }
            Err(error) => unknown_key(value, &error),
        },
        Family::ZsetScore | Family::Expire => empty(value),
        Family::SlotStats => stats(value),
    }
}

const PART: Format =
    Format { name: "subkey value", why: "one field, member or element, or a chunk of a string" };

/// Explains a value of family `subkey` where the type of what it is part of is known.
pub fn part(kind: DataType, value: &[u8]) -> Explained {
    const FIELD_VALUE: &Field = &Field::new("field value", "the key has the field's name");
    const ELEMENT: &Field = &Field::new("element", "the key has its position");
    const CHUNK: &Field = &Field::new("chunk", "the key has its number; what is missing is zeros");
    let rest = |field: &'static Field| {
        record(&PART, value, |r| {
            r.rest(field);
            Ok(())
        })
        .0
    };
    match kind {
        DataType::Hash => rest(FIELD_VALUE),
        DataType::List => rest(ELEMENT),
        DataType::Set => empty(value),
        DataType::Zset => record(&PART, value, double::read_value).0,
        DataType::String => {
            let mut explained = rest(CHUNK);
            if let Err(error) = chunk::decode(&chunk::subkey(0), value) {
                explained.add_problem("chunk", error.to_string());
            }
            explained
        }
    }
}

/// Explains a log entry, including the message inside.
pub fn entry(bytes: &[u8]) -> Explained {
    record(
        &Format {
            name: "log entry",
            why: "one step of a Region's history, the same on every replica",
        },
        bytes,
        raft::read_entry,
    )
    .0
}

/// Explains the message inside a command's log entry.
pub fn write_request(bytes: &[u8]) -> Explained {
    let format = Format { name: "RedisWriteRequest", why: message::why("RedisWriteRequest") };
    record(&format, bytes, |r| {
        r.rest(MESSAGE_FIELD);
        Ok(())
    })
    .0
}

fn metadata(bytes: &[u8]) -> Explained {
    record(
        &Format {
            name: "metadata value",
            why: "what a user key is, when it expires, where its parts are",
        },
        bytes,
        metadata::read,
    )
    .0
}

fn v1_string(bytes: &[u8]) -> Explained {
    record(
        &Format {
            name: "phase-1 string",
            why: "the older format: expiry and payload in one record",
        },
        bytes,
        v1::read_value,
    )
    .0
}

fn vote(bytes: &[u8]) -> Explained {
    record(
        &Format { name: "vote", why: "what a peer has promised; on disk before it answers" },
        bytes,
        raft::read_vote,
    )
    .0
}

fn log_id(bytes: &[u8]) -> Explained {
    record(
        &Format { name: "log id", why: "how far the log is committed or purged" },
        bytes,
        raft::read_log_id_record,
    )
    .0
}

fn descriptor(bytes: &[u8]) -> Explained {
    record(&Format { name: "descriptor", why: "what a Region is" }, bytes, region::read_descriptor)
        .0
}

fn applied(bytes: &[u8]) -> Explained {
    record(
        &Format { name: "applied", why: "written in one batch with the effects it names" },
        bytes,
        region::read_applied,
    )
    .0
}

fn replica(bytes: &[u8]) -> Explained {
    let why = "the peer that lives on this store, or the last one that did";
    record(&Format { name: "replica", why }, bytes, region::read_replica).0
}

fn stats(bytes: &[u8]) -> Explained {
    let format = Format { name: "slot stats", why: "numbers about the keys of one slot" };
    record(&format, bytes, slot_stats::read).0
}

/// Explains the manifest of a snapshot: the content of its `INSTALL` file.
pub fn manifest(bytes: &[u8]) -> Explained {
    let format = Format { name: "manifest", why: "what a snapshot of a Region consists of" };
    record(&format, bytes, snapshot::read).0
}

/// Explains the note that each batch carries in the write-ahead log.
pub fn synced_note(bytes: &[u8]) -> Explained {
    let why = "what was written, and what was on the disk, before the batch it ends";
    record(&Format { name: "synced note", why }, bytes, synced::read).0
}

/// Explains the marker of a store's directory: the content of its file `NEOKV`.
pub fn marker(bytes: &[u8]) -> Explained {
    let why = "which directory is a store, read before RocksDB is asked";
    record(&Format { name: "marker", why }, bytes, marker::read).0
}

fn store_identity(bytes: &[u8]) -> Explained {
    record(&Format { name: "identity", why: "whose data directory this is" }, bytes, identity::read)
        .0
}

fn raw(bytes: &[u8]) -> Explained {
    record(&RAW, bytes, |r| {
        r.rest(RAW_FIELD);
        Ok(())
    })
    .0
}

fn unknown_key(bytes: &[u8], error: &DecodeError) -> Explained {
    let mut explained = raw(bytes);
    explained.add_problem("bytes", format!("the key does not say what this is: {error}"));
    explained
}

/// A value that must be empty.
fn empty(bytes: &[u8]) -> Explained {
    fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<()> {
        r.bytes(EMPTY_FIELD, 0).map(|_| ())
    }
    record(&Format { name: "empty value", why: "the key says it all" }, bytes, read).0
}
