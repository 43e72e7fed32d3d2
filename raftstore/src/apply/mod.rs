//! Applying committed entries: from the log to the data, on threads that may block.
//!
//! ```text
//!   Raft's state machine worker (async)          apply thread (OS thread, one per Region by hash)
//!   stream of committed entries ──chunk──▶  group consecutive entries up to `apply_bytes`
//!                                           ├─ machine.apply(entry 1) ─┐
//!                                           ├─ machine.apply(entry 2) ─┤ one batch; each sees those before
//!                                           ├─ applied record (log id, membership, clock)
//!                                           └─ ONE engine write, not synced
//!        next chunk ◀── done ────────────── publish applied index and clock, then send the replies
//! ```
//!
//! # Why the write is not synced
//!
//! Data and log share one write-ahead log, and the entry was synced there before it was committed.
//! After a crash the data is a prefix of what was applied, never ahead of the log; Raft applies the
//! lost tail again from the log before the Region serves. Because the applied record is in the same
//! write as the effects, *again* never means *twice*.
//!
//! # When it fails
//!
//! * a command's own failure is a reply, and the entry counts as applied;
//! * a full disk: the group is applied again from scratch until there is room (nothing of it was
//!   kept);
//! * anything else, an entry that cannot be decoded above all: the Region stops, loudly, with the
//!   cause in its status. Skipping an entry would make this replica differ from the others for
//!   ever.
//!
//! Modules: [`applier`] one Region's apply, [`pool`] the threads, [`adapter`] the trait that Raft
//! wants.

pub(crate) mod adapter;
pub(crate) mod applier;
pub(crate) mod pool;

pub(crate) use adapter::{Adapter, SnapshotData};
pub(crate) use applier::Applier;
pub(crate) use pool::ApplyPool;
