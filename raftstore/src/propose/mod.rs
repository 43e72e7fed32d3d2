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
//! An entry costs an append, a share of an fsync and an apply write, whether it holds one command or four thousand. So
//! nothing is gained by hurrying: the first submission goes out at once, and whatever arrives until the window of
//! entries in flight has room again travels together. Under load entries grow by themselves, without any timer.
//!
//! # Order
//!
//! The commands of one submission take effect in order. A submission that does not fit into one entry (or holds a
//! command that must be alone in its entry) is cut, and its rest waits at the head of the queue until the first part
//! has succeeded, so that a later part never takes effect without the earlier one.
//!
//! # Errors
//!
//! Refusals before the log are definite: nothing happened. Once an entry was handed to Raft and its fate is not known
//! (leadership lost, group dead, disk full for now), the answer is [`ProposeError::Unknown`] and nobody retries it
//! here.
//!
//! Modules: [`queue`] what waits and how entries are cut from it, [`window`] when the next entry may leave, [`flight`]
//! entries on their way, [`proposer`] the task.
//!
//! [`ProposeError::Unknown`]: crate::ProposeError::Unknown

mod flight;
mod proposer;
mod queue;
mod window;

pub(crate) use proposer::Proposer;
