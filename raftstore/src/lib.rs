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
//!  Region::propose([SET k v, INCR n])                                        module
//!    1 serving? queue has room?                                  ── no ─▶ typed refusal, nothing happened
//!    2 wait in the queue; the proposer packs all that waits
//!      into one entry: hlc, seed, commands                                   propose
//!    3 Raft appends it: readable at once in the tail cache                   log::tail
//!    4 the log writer merges the appends of all Regions,
//!      ONE batch, ONE fsync                                                  log::writer
//!    5 a majority has it: committed                                          transport
//!    6 the Region's apply thread: machine.apply into one batch,
//!      applied index + membership + clock in the same write                  apply
//!    7 readers may see it: applied index and clock published                 published
//!    8 replies are split and sent to their submissions                       propose::flight
//!    9 the log grows; every now and then its applied part is purged          region::compact_log
//! ```
//!
//! A read is shorter: [`Region::read_now`] is two atomic loads where the replica is the only voter,
//! and [`Region::read_index`] joins a round of confirmation where there are more (`read`).
//!
//! # The rules everything rests on
//!
//! * **One write-ahead log orders everything.** Entries and votes are synced, applying is not; so
//!   data is never ahead of the log, and after a crash the lost tail is applied again before
//!   anything is served (`apply`).
//! * **Exactly once**: effects and applied index are one write.
//! * **A failed sync ends the process**: nobody knows what is on the disk (`log::writer`).
//! * **A leader serves only after it has applied an entry of its own term** (`published`).
//! * **What happened is never guessed**: a refusal means *nothing happened*, everything else is
//!   [`ProposeError::Unknown`].
//!
//! # Example
//!
//! `examples/counter.rs` is a whole state machine and a store of one Region in a hundred lines.
//!
//! # What it is not (yet)
//!
//! Regions are created by [`Store::bootstrap`]; splitting, merging and scheduling them are entries
//! whose wire exists ([`neokv_encoding::proto::AdminCommand`]) and whose apply does not: such an
//! entry stops its Region. There is no lease read and no hibernation of idle groups.

pub(crate) mod apply;
mod config;
mod error;
pub(crate) mod log;
mod machine;
mod mailbox;
pub mod metrics;
pub(crate) mod propose;
pub(crate) mod published;
pub(crate) mod read;
mod region;
mod slots;
pub(crate) mod snapshot;
mod space;
mod status;
mod store;
#[cfg(test)]
mod suite;
pub mod transport;
pub(crate) mod types;

pub use config::{Config, FatalError, FatalHook, Sync};
pub use error::{Action, ProposeError, ReadError, StoreError};
pub use machine::{ApplyContext, ApplyError, Stamp, StateMachine};
pub use propose::Progress;
pub use read::ReadPoint;
pub use region::Region;
pub use slots::SlotTable;
pub use status::{Role, Status};
pub use store::Store;
