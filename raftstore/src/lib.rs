//! Multi-Raft over one engine: many replicated logs, one writer, one fsync.
//!
//! A [`Store`] holds this machine's replicas of any number of [`Region`]s. Each Region is a Raft
//! group over a range of slots; what its log entries *do* is behind the trait [`StateMachine`]. The
//! Raft algorithm itself is openraft's; none of its types leaves this crate, and none of its
//! formats reaches a disk or a wire.
//!
//! # Follow one write
//!
//! ```text
//!  Region::propose(epoch, [SET k v, INCR n])                               module
//!    1 serving? same epoch? queue has room?          ── no ─▶ refusal or   propose
//!                                                      misrouted, nothing
//!                                                      happened
//!    2 wait in the queue; the proposer packs the queue
//!      into one entry: epoch, hlc, seed, commands                          propose
//!    3 Raft appends it: readable at once in the tail cache                 group, log::tail
//!    4 the log writer merges the appends of all Regions,
//!      ONE batch, ONE fsync                                                log::writer
//!    5 a majority has it: committed                                        transport
//!    6 the Region's apply thread: machine.apply into one batch,
//!      applied index + membership + clock in the same write                apply
//!    7 readers may see it: shape, applied index and clock published        shape, published
//!    8 outcomes are split and sent to their submissions                    propose::in_flight
//!    9 the log grows; from time to time its applied part is purged        region::compact
//! ```
//!
//! A read is shorter: [`Region::read_now`] is a few atomic loads where the replica is the only
//! voter, and [`Region::read_index`] joins a round of confirmation where there are more
//! ([`mod@read`]). Both name the epoch that the caller routed by, and the read itself goes through
//! the Region, which looks at its epoch once more when the work is done.
//!
//! # The rules that everything rests on
//!
//! * **One write-ahead log holds both the logs and the data.** Entries and votes are synced,
//!   applying is not: after a crash the data is a prefix of what was applied, and the rest is
//!   applied again from the log before anything is served (`apply`).
//! * **Exactly once**: effects and applied index are one write.
//! * **A failed sync ends the process**: what is on the disk is unknown (`log::writer`).
//! * **A leader serves only after it has applied an entry of its own term** (`published`).
//! * **A command takes effect where its slots are**, or nowhere: the epoch is compared at propose,
//!   the range at apply (`propose`, `machine`).
//! * **A Region's shape has one owner**: records, published copy and slot table change together
//!   (`shape`).
//! * **What happened is never guessed**: a refusal means *nothing happened*, everything else is
//!   [`ProposeError::Unknown`].
//!
//! # The modules, lowest first
//!
//! Each uses only those above it in this list; a test of the workspace holds that.
//!
//! | module | what it is |
//! | --- | --- |
//! | `mailbox`, `blocking`, `panics`, `random`, `metrics` | plumbing |
//! | `clock` | the one clock of a store |
//! | `region_clock` | the time of one Region |
//! | `config`, `error` | settings, errors |
//! | `machine` | the seam to the state machine |
//! | `types` | openraft's types, and the bridge to stored ones |
//! | `ranges`, `records` | arithmetic on key ranges, the records of Regions |
//! | `ownership` | ranges that change hands |
//! | `space` | waiting for a full disk |
//! | `published`, `shape` | what readers of a Region see |
//! | `transport` | messages between stores, in one process or over gRPC |
//! | `log` | the logs of all groups |
//! | `apply` | from the log to the data |
//! | `snapshot` | a Region's data as files |
//! | `group` | one Raft group: openraft and its traits |
//! | `propose`, `read` | where writes and reads enter |
//! | `region` | one replica, as its users see it |
//! | `store` | all replicas and what they share |
//! | `operation` | what changes a Region itself |
//! | `open` | how a store opens |
//! | `replay` | what a start applies, for tools |
//!
//! # Example
//!
//! `examples/counter.rs` is a whole state machine and a store of one Region in a hundred lines.
//!
//! # What it is not (yet)
//!
//! There is no merge of Regions: such an entry has a format and stops the Region that meets one.
//! Nothing decides *when* to split or move; that is for the scheduler. There is no lease
//! read and no hibernation of groups with several peers.

#[cfg(test)]
mod testing;

pub(crate) mod apply;
mod blocking;
pub mod clock;
mod config;
mod error;
pub(crate) mod group;
pub(crate) mod log;
mod machine;
mod mailbox;
pub mod metrics;
mod open;
mod operation;
mod ownership;
mod panics;
pub(crate) mod propose;
pub(crate) mod published;
mod random;
mod ranges;
pub(crate) mod read;
mod records;
mod region;
mod region_clock;
mod replay;
pub(crate) mod shape;
pub(crate) mod snapshot;
mod space;
mod store;
pub mod transport;
pub(crate) mod types;

pub use clock::Clock;
pub use config::{Config, Execution, FatalError, FatalHook, SyncMode};
pub use error::{Action, ProposeError, ReadError, StoreError};
pub use machine::{ApplyContext, ApplyError, Leadership, Outcome, Stamp, StateMachine};
pub use operation::split::SplitPlan;
pub use propose::{Done, Progress};
pub use random::SplitMix64;
pub use read::ReadPoint;
pub use region::{Region, Role, Status};
pub use replay::{Replayed, replay};
pub use store::{SlotTable, Store};
