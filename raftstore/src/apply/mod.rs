//! Applying committed entries: from the log to the data, on threads that may block.
//!
//! ```text
//!   Raft's state machine worker (async)          apply thread (one per Region by hash)
//!   stream of committed entries ──chunk──▶  group consecutive entries up to `apply_bytes`
//!                                           ├─ machine.apply(entry 1) ─┐
//!                                           ├─ machine.apply(entry 2) ─┤ one batch; each sees
//!                                           ├─ operations.apply(entry) ┘ those before it
//!                                           ├─ descriptor, if it changed
//!                                           ├─ applied record (log id, membership, clock)
//!                                           └─ ONE engine write, not synced
//!                                           publish: memory, shape, applied index and clock
//!                                           on applied: start the child of a split, ...
//!        next chunk ◀── done ────────────── send the replies
//! ```
//!
//! # Why the write is not synced
//!
//! Before an entry is committed it is synced in the logs of a majority. After a crash the data is a
//! prefix of what was applied; Raft applies the lost tail again before the Region serves: from the
//! log here, or, where a follower applied an entry before its own copy was written, from the
//! leader's. Because the applied record is in the same write as the effects, *again* never means
//! *twice*.
//!
//! # When it fails
//!
//! * a command's own failure is a reply, and the entry counts as applied;
//! * a full disk: the group is applied again from scratch until there is room (nothing of it was
//!   kept);
//! * a panic is caught at the edge of the thread: it stops this Region and no other one;
//! * anything else, an entry that cannot be decoded above all: the Region stops, loudly, with the
//!   cause in its status. Skipping an entry would make this replica differ from the others for
//!   ever.
//!
//! Modules: [`applier`] one Region's apply, [`operations`] entries that change the Region itself,
//! [`pool`] the threads.

pub(crate) mod applier;
pub(crate) mod operations;
pub(crate) mod pool;
#[cfg(test)]
mod tests;

pub(crate) use applier::{Applier, ApplierParts};
pub(crate) use operations::{AdminOutcome, AdminRefusal, Change, OperationContext, Operations};
pub(crate) use pool::ApplyPool;
