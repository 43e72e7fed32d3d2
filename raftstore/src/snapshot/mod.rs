//! Snapshots: a Region's data as files, from one store to another.
//!
//! ```text
//!  sender                                                  receiver
//!  SnapshotOffer(descriptor)              ──────────────▶  a place, or "busy", or "does not fit"
//!                                         ◀── session ───
//!  one engine snapshot, file by file:
//!    write a file, send it, delete it     ── Chunk × n ─▶  written and summed
//!  SnapshotEnd(manifest, vote)            ──────────────▶  sums compared, files synced, given to
//!                                                          Raft; shape claimed, installed
//! ```
//!
//! * **Asked first.** Nothing is built before the receiver has a place for it.
//! * **The meta is what is inside.** The applied record is read from the same engine snapshot as
//!   the rows; it travels as the snapshot's log id and membership. A meta from anywhere else would
//!   make the receiver apply entries twice.
//! * **All families, or nothing**: the state machine says which ranges are the Region's.
//! * **Constant memory and disk**: the sender holds one file at a time, the receiver one chunk and
//!   the files. Building is limited to a rate, transfers to a number, and a transfer that does not
//!   move gives up its place.
//! * **Read once.** The receiver sums a file while it arrives; nothing reads it again before the
//!   engine takes it in.
//! * **A crash at any point** leaves the old state, or an `INSTALL` file from which [`recover`]
//!   does the install again at the next start, before any group runs. The files stay (hard links
//!   are taken in) until the records are durable.
//! * **Beside everything else.** An install runs on a thread of its own, holds no lock that other
//!   Regions need, and reads no rows: its files are linked and given to RocksDB. Other Regions of
//!   the store are written, read, created, split and removed meanwhile.
//! * **What others own is left alone.** An install clears what the Region had and will have, except
//!   what another Region of this store owns by now.
//!
//! Modules: [`dir`] directories of transfers, [`source`] taking one, [`mod@send`], [`receive`],
//! [`mod@install`], [`recovery`] what is left of them at a start.

mod dir;
mod install;
mod receive;
mod recovery;
mod send;
mod source;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use install::INSTALL;
pub(crate) use install::Snapshots;
pub(crate) use receive::{Arrived, Receiver};
pub(crate) use recovery::{Broken, discard, recover};
pub(crate) use send::{SendLimits, send};
pub(crate) use source::{Received, SnapshotData};
