//! User keys in terms of the engine: what is stored for one, and how it is read and changed.
//!
//! One user key is one record in family `metadata`, and, depending on its type, rows elsewhere:
//!
//! ```text
//! SET s hello     metadata   slot ns "s"                → string, expire 0, "hello"
//! SET l …(20 kB) metadata   slot ns "l"                → string in chunks, expire 0, version 6,
//!                                                        length 20000
//!                 subkey     slot ns len "l" 6 chunk   → 8192 bytes; three such rows
//! HSET h f v      metadata   slot ns "h"                → hash, expire 0, version 7, size 1
//!                 subkey     slot ns len "h" 7 "f"      → "v"
//! ZADD z 1.5 m    metadata   slot ns "z"                → zset, expire 0, version 8, size 1
//!                 subkey     slot ns len "z" 8 "m"      → 1.5
//!                 zset_score slot ns len "z" 8 1.5 "m"  → (empty)
//! EXPIRE s 100    expire     slot 1700000100000 ns "s"  → (empty)
//! ```
//!
//! * [`View`] reads: it hides expired records, records of another type (as WRONGTYPE) and the older
//!   string format.
//! * [`Tx`] writes, inside apply. It keeps the two things that follow from the metadata records
//!   exactly in step with them: one `expire` row for every record with an expiry and no others, and
//!   the Region's number of keys.
//! * [`StringValue`] is a string, or where its chunks are.
//! * [`Collection`] is an open hash, set, list or sorted set: its header, and the version that
//!   separates its rows from those of everything that had the same name before. Deleting a
//!   collection deletes the header alone; rows of a version that no header names are orphans,
//!   invisible at once and dropped by compaction. What a command leaves of a collection of which it
//!   deletes most is written again under a new version ([`rewrite`]), which makes orphans of the
//!   rest.
//!
//! **The number of keys** counts metadata records, including those that have expired but which
//! the cleaner has not yet removed, as Redis's DBSIZE does.
//!
//! **The older format** (`encoding::v1`) kept strings in family `subkey`. When a key has no
//! metadata record, reads look for such a row, and a write to the key deletes it. Enumeration
//! (SCAN, KEYS, DBSIZE, RANDOMKEY) sees a key only once it has been written in the current format,
//! and the cleaner removes only keys of the current format.

mod collection;
pub mod cursor_table;
pub mod float;
pub mod glob;
mod iterate;
mod latest;
pub mod range;
pub mod reply_limit;
mod rewrite;
pub mod sample;
mod string_value;
mod tx;
mod view;
mod write_batch;

pub use self::collection::Collection;
pub use self::cursor_table::CursorTable;
pub use self::iterate::{ScoreSpan, Scores, Subkeys};
pub use self::latest::Latest;
pub use self::reply_limit::ReplyLimit;
pub use self::rewrite::Survivors;
pub use self::string_value::{StringEntry, StringValue};
pub use self::tx::{Tx, TxSource};
pub use self::view::{View, ViewSource};

/// The namespace of every key: there is one.
pub const NAMESPACE: u32 = 0;
