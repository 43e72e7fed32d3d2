//! Moving the data of a Region from one store to another: the data part of a Raft snapshot.
//!
//! The caller says which key ranges of which families the Region has; the engine knows no slots.
//! The sender writes the rows of these ranges, as a [`crate::Snapshot`] shows them, into sorted
//! files. The receiver takes the files in whole, without passing the rows through memtable and log.
//!
//! ```text
//! sender    snapshot ──▶ Export::next_file ──▶ metadata-0.sst  subkey-1.sst  subkey-2.sst  ...
//!                                              each with its rows, bytes and checksum
//! receiver  0. the files are compared with their checksums, while they arrive or by `verify`
//!           1. one synced batch: mark · old ranges deleted · the caller's `begin`
//!           2. memtables flushed and files taken in, family by family
//!           3. one synced batch: the caller's `finish` (descriptor, applied state) · mark deleted
//! ```
//!
//! RocksDB cannot take in files of several families and a batch in one step. The mark
//! ([`neokv_encoding::key::ingest`]) makes up for it: after a crash between 1 and 3,
//! [`Engine::unfinished_ingests`] names the Region, whose ranges hold nothing that may be served.
//! The install must then be done again from its beginning. During all three steps the orphan filter
//! is held off, because metadata and rows do not belong together.
//!
//! An export needs constant memory: one row and one block. It keeps to a [`Pace`], so that building
//! snapshots does not hold up clients.

mod export;
mod ingest;
mod pace;

pub use export::{Export, ExportLimits, RangeFile};
pub use ingest::{UnfinishedIngest, verify};
pub use pace::Pace;

#[cfg(doc)]
use crate::Engine;
