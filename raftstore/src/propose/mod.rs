//! From waiting submissions to log entries, and from an entry's outcomes back to its submissions.
//!
//! ```text
//!   connection A: [SET SET: a run of writes] ─┐ submission
//!   connection B: [INCR] ─────────────────────┤ queue (bounded in bytes and commands)
//!   connection C: [LPUSH HSET] ───────────────┘
//!                             │ proposer task: the queue, up to 1 MiB, stamped (hlc, seed)
//!                             ▼
//!                  one log entry ──▶ Raft ──▶ apply ──▶ outcomes, split back to A, B, C in order
//! ```
//!
//! An entry costs an append, a share of an fsync and an apply write, whether it holds one command
//! or four thousand. So nothing is gained by hurrying: the first submission goes out at once, and
//! whatever arrives until the window of entries in flight has room again travels together. Under
//! load entries grow by themselves, without any timer.
//!
//! # Order
//!
//! The commands of one submission take effect in order, because its caller has only one at a time:
//! of a submission that does not fit into one entry (or holds a command that must be alone in its
//! entry), the first commands go, and the caller gets the others back together with the outcomes
//! ([`Progress`]) and submits them again.
//!
//! # The fence
//!
//! A caller says which epoch of the Region it routed by. A submission with another one than the
//! Region has is not proposed: its commands come back as [`Done::Misrouted`], at once, or when its
//! turn comes if the Region changed while it waited. Entries carry the epoch. Between proposal and
//! apply the Region may change once more; apply checks each command and gives those that no longer
//! belong to the Region no effect, and they come back the same way. So a command takes effect where
//! its slots are, once, or nowhere.
//!
//! # Entries with large effects
//!
//! How much an entry does is known only when it is applied. A machine may stop within an entry
//! whose effects have become large, and leave the commands behind that point out; they have no
//! effect, on any replica. They are proposed again: a caller that got some outcomes gets its other
//! commands back, one that got none is put back to the head of the queue, so that it is the first
//! of the next entry and no caller starves.
//!
//! # Errors and deadlines
//!
//! Refusals before the log are definite: nothing happened. Once an entry was handed to Raft and its
//! fate is not known (leadership lost, group dead, disk full, deadline passed), the answer is
//! [`ProposeError::Unknown`] and it is not retried here. A submission that waits too long is
//! refused.
//!
//! Modules: [`queue`] the submissions and how entries are cut from them, [`quota`] how much may
//! wait in the whole store, [`window`] when the next entry may leave, [`in_flight`] entries on
//! their way, [`proposer`] the task.
//!
//! [`ProposeError::Unknown`]: crate::ProposeError::Unknown

mod in_flight;
mod proposer;
mod queue;
mod quota;
mod window;

use std::sync::Arc;

use neokv_encoding::region::Descriptor;
pub(crate) use proposer::{Proposer, ProposerParts, SubmissionResult};
pub(crate) use quota::QueueQuota;

/// What has become of one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done<C, R> {
    /// It was carried out; its answer.
    Reply(R),
    /// It was not carried out, because the Region has another shape than the caller saw, or its
    /// replica has left this store. Nothing happened; route it again, by
    /// [`Store::region_of_slot`](crate::Store::region_of_slot).
    Misrouted {
        /// The command.
        command: C,
        /// The Region that refused it, as it is. Of a replica that has left this store, as it was
        /// last: its slots lead elsewhere.
        descriptor: Arc<Descriptor>,
    },
}

/// How far a submission has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress<C, R> {
    /// What has become of the first commands, in order: at least one.
    pub done: Vec<Done<C, R>>,
    /// The commands behind them, in order. Nothing of them has happened; submit them again.
    pub rest: Vec<C>,
}
