//! What a Region tells about itself, for operators, INFO and tools.

use std::collections::BTreeMap;
use std::sync::Arc;

use neokv_encoding::raft::LogId;
use neokv_encoding::region::{Descriptor, Replica};
use openraft::async_runtime::WatchReceiver;
use openraft::{RaftMetrics, ServerState};

use super::Region;
use crate::machine::StateMachine;
use crate::types::log_id_out;

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
    /// The replica on this store.
    pub replica: Replica,
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

impl<M: StateMachine> Region<M> {
    /// Where the group stands.
    pub fn status(&self) -> Status {
        // A copy: the group waits while its metrics are borrowed, and locks are taken below.
        let metrics = self.raft.get().map(|raft| raft.metrics().borrow_watched().clone());
        let metrics = metrics.unwrap_or_else(|| RaftMetrics::new_initial(self.peer));
        let membership = &metrics.membership_config;
        let died = || metrics.running_state.as_ref().err().map(|fatal| fatal.to_string().into());
        let stopped: Option<Arc<str>> = self.published.stopped().or_else(died);
        let applied = self.applier.applied();
        let (log_bytes, log_entries) = self.log.size();
        let leader = metrics.current_leader;
        let leader_node = leader.and_then(|peer| membership.get_node(&peer));
        let voters = membership.get_joint_config().iter();
        let matched = metrics.replication.iter().flatten();
        Status {
            descriptor: self.descriptor(),
            replica: self.shape.replica(),
            role: if stopped.is_some() { Role::Stopped } else { role(metrics.state) },
            term: metrics.current_term,
            leader,
            leader_store: leader_node.map(|node| node.store),
            serving: self.published.serving(),
            stopped,
            last_index: metrics.last_log_index,
            committed: metrics.local_committed.as_ref().map(log_id_out),
            applied: applied.log_id,
            purged: metrics.purged.as_ref().map(log_id_out),
            applied_clock: applied.clock,
            voters: voters.map(|voters| voters.iter().copied().collect()).collect(),
            peers: membership.nodes().map(|(peer, node)| (*peer, node.store)).collect(),
            matched: matched.map(|(peer, id)| (*peer, id.as_ref().map(|id| id.index))).collect(),
            log_bytes,
            log_entries,
            in_flight: self.proposer.in_flight(),
        }
    }
}

fn role(state: ServerState) -> Role {
    match state {
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}
