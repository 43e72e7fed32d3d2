//! Applying committed entries: from the log to the data, on threads that may block.
//!
//! ```text
//!   Raft's state machine worker (async)          apply thread (one per Region by hash)
//!   stream of committed entries ──chunk──▶  stage consecutive entries up to `apply_bytes`
//!                                           ├─ machine.apply(entry 1) ─┐ one batch; each sees
//!                                           ├─ machine.apply(entry 2) ─┘ those before it
//!                                           └─ applied record (log id, membership, clock)
//!                                           ONE engine write, not synced, for the chunks of
//!                                           all Regions that wait for the thread
//!                                           publish: memory, applied index and clock
//!        next chunk ◀── done ────────────── send the replies
//!
//!   an entry that changes the Region itself: operations.apply(entry), descriptor, applied record,
//!   a write of its own, publish the shape, on applied: start the child of a split, ...
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
//! * a full disk: each Region's part of the write is applied again from scratch until there is room
//!   (nothing of it was kept);
//! * a panic is caught at the edge of the chunk: it stops this Region and no other one;
//! * anything else, an entry that cannot be decoded above all: the Region stops, loudly, with the
//!   cause in its status. Skipping an entry would make this replica differ from the others for
//!   ever.
//!
//! Modules: [`applier`] what one Region's entries do, [`operations`] entries that change the Region
//! itself, [`chunk`] entries on their way through a thread, [`pool`] the threads and their writes.

pub(crate) mod applier;
pub(crate) mod chunk;
pub(crate) mod operations;
pub(crate) mod pool;
#[cfg(test)]
mod tests;

pub(crate) use applier::{Applier, ApplierParts};
pub(crate) use chunk::Chunk;
pub(crate) use operations::{AdminOutcome, AdminRefusal, Change, OperationContext, Operations};
pub(crate) use pool::{ApplyPool, Lane};
