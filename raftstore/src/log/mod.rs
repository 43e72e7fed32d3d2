//! The log of every group of a store: one writer thread, one fsync for all.
//!
//! ```text
//!                                                      log writer (OS thread)
//!  group 1: append ─▶ tail (readable at once) ─┐
//!  group 2: append ─▶ tail ────────────────────┤ FIFO  ┌ drain the queue
//!  group 2: vote, truncate, purge ─────────────┴──────▶│ build ONE batch
//!                                                      │ write + fsync
//!           callbacks, in FIFO order ◀─────────────────┘ next batch has gathered meanwhile
//! ```
//!
//! * **Group commit needs no timer**: while one batch is being synced, the next one gathers in the
//!   queue.
//! * **One FIFO gives Raft its order**: of one group, a later write is never durable before an
//!   earlier one, and the completion of an append means that everything before it is durable too.
//! * **Votes wait, the rest does not**: `save_vote` returns when the vote is durable, `append`
//!   returns at once and calls back, `truncate` and `purge` are unsynced but in order, so a crash
//!   finds a prefix of what was queued.
//! * The queue itself is unbounded on purpose: blocking here would block heartbeats. What goes in
//!   is bounded where it comes from, by the proposers' windows and by the messages in flight from
//!   leaders.
//!
//! Modules: [`tail`] the newest entries in memory, [`meter`] how much log there is, [`group`] one
//! group's log as everybody sees it, [`writer`] the thread. The traits that Raft wants are in
//! [`crate::group`].

pub(crate) mod group;
pub(crate) mod meter;
mod on_disk;
pub(crate) mod tail;
pub(crate) mod writer;

pub(crate) use group::{GroupLog, TailLimits};
pub(crate) use tail::TailBudget;
pub(crate) use writer::LogWriter;
