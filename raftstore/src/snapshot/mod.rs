//! Snapshots: a Region's data as files, from one store to another.
//!
//! ```text
//!  sender                                                        receiver
//!  Packer: one engine snapshot                                   Receiver: a directory per transfer
//!    applied record, descriptor, stats ── SnapshotBegin ───────▶   session opened
//!    rows of the slots in all four       ── SnapshotChunk × n ──▶  appended, summed
//!    data families, as sorted files      ── SnapshotEnd(vote) ──▶  files verified and synced, given to Raft
//!                                                                  install on the apply thread
//! ```
//!
//! * **The meta is what is inside.** The applied record is read from the same engine snapshot as
//!   the rows; it travels as the snapshot's log id and membership. A meta from anywhere else would
//!   make the receiver apply entries twice.
//! * **All data families, or nothing**: a Region is one slot range, so it is one key range in each
//!   of them.
//! * **Constant memory**: files are written, sent and received in pieces; the slow part happens
//!   before Raft is told, and the install itself only moves files and writes records.
//! * **A crash at any point** leaves the old state, or an `INSTALL` file from which [`recover`]
//!   does the install again at the next start, before any group runs. The files stay (hard links
//!   are ingested) until the records are durable.
//!
//! Modules: [`header`] what precedes the files, [`pack`] taking one, [`transfer`] sending and
//! receiving, [`mod@install`].

mod header;
mod install;
mod pack;
#[cfg(test)]
mod tests;
mod transfer;

pub(crate) use install::{install, recover};
pub(crate) use pack::{Package, Packer, Source};
pub(crate) use transfer::{Receiver, send};
