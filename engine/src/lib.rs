//! One embedded RocksDB per store: nine column families, one WAL, batches with read-your-writes,
//! snapshots and recovery.
//!
//! This crate is the only one that names RocksDB. What the rest of NeoKV sees is an [`Engine`]:
//!
//! ```text
//!        log writer thread              apply thread               any thread
//!              │ LogBatch, Synced             │ Batch, Buffered        │ get, Snapshot, Cursor
//!              ▼                              ▼                        ▼
//!  ┌─────────────────────────────────── Engine ──────────────────────────────────────────────┐
//!  │ one write-ahead log, in the order of the writes                                         │
//!  │ memtables and files of: default · raft_log · raft_state · region · metadata · subkey .. │
//!  └─────────────────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! | to learn | read |
//! | --- | --- |
//! | how the data are stored, and why RocksDB is tuned as it is | [`families`] |
//! | how a write becomes durable without holding up the other writer | [`families`], [`Engine::write`] |
//! | where applied rows are before they are in RocksDB, and which of them a read sees | [`rows`] |
//! | how a thread that must not wait reads a short range | [`budgeted_read`] |
//! | how a deleted million-element collection disappears | [`orphans`], [`readers`] |
//! | how a log torn by a crash is told from a damaged one | [`recovery`] |
//! | whose directory it is | [`identity`] |
//! | what a full disk does | [`space`] |
//! | how a range of slots moves to another store | [`transfer`] |
//!
//! # The modules
//!
//! Each uses only those above it; a test of the workspace holds that.
//!
//! | module | what it is |
//! | --- | --- |
//! | `error`, `options`, `range`, `per_family` | what every other module speaks of |
//! | [`families`], `db` | RocksDB, opened and tuned |
//! | `marker`, `copy` | which directory is a store, the lock on it, and a copy of it |
//! | [`wal`], [`recovery`], `synced` | what of the log is on the disk, before and after a crash |
//! | [`readers`], [`rows`] | what is in memory, and who reads it |
//! | `budget`, `stored`, `cursor`, `read` | reading |
//! | `snapshot`, `budgeted_read` | reading one state |
//! | `batch` | writing |
//! | [`orphans`], `health` | RocksDB's work in the background |
//! | `engine` | all of them behind one type |
//! | [`identity`], `maintenance`, [`space`], `stats`, [`transfer`] | what else an engine can do |
//!
//! # Example
//!
//! ```
//! use neokv_encoding::family::Family;
//! use neokv_engine::{Durability, Engine, Options, Read};
//!
//! let dir = tempfile::tempdir()?;
//! let engine = Engine::open(dir.path(), &Options::default())?;
//! let mut batch = engine.batch();
//! batch.put(Family::Metadata, b"key", b"value");
//! assert_eq!(batch.get(Family::Metadata, b"key")?.as_deref(), Some(&b"value"[..]));
//! assert!(engine.get(Family::Metadata, b"key")?.is_none(), "not written yet");
//! engine.write(batch, Durability::Synced)?;
//! assert!(engine.get(Family::Metadata, b"key")?.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not
//!
//! It knows no Raft, no Redis command and no clock. It reads just enough of the stored formats to
//! filter orphans: versions and Region clocks. It has one thread of its own, which brings rows into
//! RocksDB; RocksDB's do the other background work.

mod batch;
mod budget;
mod budgeted_read;
mod copy;
mod cursor;
mod db;
#[cfg(test)]
#[path = "../tests/it/disk_trace.rs"]
mod disk_trace;
mod engine;
mod error;
pub mod families;
mod health;
pub mod identity;
#[cfg(test)]
#[path = "../tests/it/log_bytes.rs"]
mod log_bytes;
mod maintenance;
mod marker;
mod options;
pub mod orphans;
mod per_family;
mod range;
mod read;
pub mod readers;
pub mod recovery;
pub mod rows;
mod snapshot;
pub mod space;
mod stats;
mod stored;
mod synced;
pub mod transfer;
pub mod wal;

pub use batch::{Batch, LogBatch};
pub use budget::ReadBudget;
pub use budgeted_read::BudgetedRead;
pub use copy::copy_stopped;
pub use cursor::Cursor;
pub use engine::{Durability, Engine};
pub use error::{Action, EngineError, Result};
pub use health::Health;
pub use options::{DamagedLog, Options};
pub use orphans::{OrphanGuard, OrphanStats};
pub use range::{Direction, KeyRange};
pub use read::{Read, Slice};
pub use rows::RowStats;
pub use snapshot::Snapshot;
pub use space::Space;
pub use stats::{EngineStats, FamilyStats};
