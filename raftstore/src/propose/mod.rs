//! From waiting submissions to log entries, and from an entry's replies back to its submissions.
//!
//! ```text
//!   connection A: [SET SET GET-free run of writes] ─┐ submission
//!   connection B: [INCR] ───────────────────────────┤ queue (bounded in bytes and commands)
//!   connection C: [LPUSH HSET] ─────────────────────┘
//!                                   │ proposer task: all that waits, up to 1 MiB, stamped (hlc, seed)
//!                                   ▼
//!                        one log entry ──▶ Raft ──▶ apply ──▶ replies, in order ──▶ split back to A, B, C
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
//! entry), the first commands go, and the caller gets the others back together with the replies
//! ([`Progress`]) and submits them again.
//!
//! # Entries with large effects
//!
//! How much an entry does is known only when it is applied. A machine may stop within an entry
//! whose effects have become large, and leave the commands behind that point out; their effect is
//! none, on every replica alike. They are proposed again: a caller that got some replies gets its
//! other commands back, one that got none is put back to the head of the queue, so that it is the
//! first of the next entry and nobody starves.
//!
//! # Errors
//!
//! Refusals before the log are definite: nothing happened. Once an entry was handed to Raft and its
//! fate is not known (leadership lost, group dead, disk full for now), the answer is
//! [`ProposeError::Unknown`] and nobody retries it here.
//!
//! Modules: [`queue`] what waits and how entries are cut from it, [`window`] when the next entry
//! may leave, [`flight`] entries on their way, [`proposer`] the task.
//!
//! [`ProposeError::Unknown`]: crate::ProposeError::Unknown

mod flight;
mod proposer;
mod queue;
mod window;

pub(crate) use proposer::{Outcome, Proposer};

/// How far a submission has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress<C, R> {
    /// The replies of the commands that have been carried out: the first ones, at least one.
    pub replies: Vec<R>,
    /// The commands behind them, in order. Nothing of them has happened; submit them again.
    pub rest: Vec<C>,
}
