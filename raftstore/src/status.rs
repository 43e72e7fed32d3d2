//! What a Region tells about itself, for operators, INFO and tools.

use std::collections::BTreeMap;
use std::sync::Arc;

use neokv_encoding::raft::LogId;
use neokv_encoding::region::Descriptor;

/// A replica's part in its group, as the group's algorithm sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Receives the log, has no vote.
    Learner,
    /// Follows a leader.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Orders the log.
    Leader,
    /// Has ended.
    Stopped,
}

impl Role {
    /// Its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Role::Learner => "learner",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
            Role::Stopped => "stopped",
        }
    }
}

/// A snapshot of one replica's state. The numbers are read one after the other and may be a little
/// apart.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The Region, as of the last applied entry.
    pub descriptor: Arc<Descriptor>,
    /// This replica's peer id.
    pub peer: u64,
    /// Its role.
    pub role: Role,
    /// Current term.
    pub term: u64,
    /// The leader's peer id, if known.
    pub leader: Option<u64>,
    /// The leader's store, if known.
    pub leader_store: Option<u64>,
    /// Whether reads and writes are served here now.
    pub serving: bool,
    /// Why the group has died, if it has.
    pub stopped: Option<Arc<str>>,
    /// Index of the last entry in the log.
    pub last_index: Option<u64>,
    /// Last entry known to be committed.
    pub committed: Option<LogId>,
    /// Last applied entry.
    pub applied: Option<LogId>,
    /// Last purged entry.
    pub purged: Option<LogId>,
    /// The applied hybrid logical clock.
    pub applied_clock: u64,
    /// Voters, per configuration: two during a change.
    pub voters: Vec<Vec<u64>>,
    /// Every peer's store.
    pub peers: BTreeMap<u64, u64>,
    /// On the leader: the last index every other peer is known to hold.
    pub matched: BTreeMap<u64, Option<u64>>,
    /// Bytes of log held.
    pub log_bytes: u64,
    /// Entries of log held.
    pub log_entries: u64,
    /// Entries proposed and not finished.
    pub in_flight: usize,
}
