//! Other peers for a Region: a learner joins, learners become voters, peers leave.
//!
//! ```text
//!   propose      the leader, for the conf_ver that the caller saw; Raft makes one entry of a new
//!                learner and two of new voters (joint consensus)
//!   apply        the descriptor's peers follow the entry's configuration, conf_ver grows by one
//!   on applied   a replica that is no longer a peer is removed from its store
//! ```
//!
//! # How a removed peer learns of it
//!
//! The leader stops sending to a peer as soon as the entry that removes it is appended, so the peer
//! itself does not apply it. It goes on with what it knows, and sooner or later it asks the others
//! for their votes. A member that has applied a configuration without it says so with its
//! answer ([`Region::unlisted`]). Peer ids are never used again, so a peer that was listed once,
//! and is not listed at a greater conf_ver, was removed for good: its store removes the replica.
//!
//! # Between append and apply
//!
//! Raft counts votes by a configuration as soon as its entry is *appended*; the descriptor, which
//! everybody else sees, follows when the entry is *applied*. So between the two a new peer may be
//! sent entries, or a snapshot, by a leader whose descriptor does not list it yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use neokv_encoding::raft::{Membership, Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, ReplicaState};
use openraft::errors::{ChangeMembershipError, ClientWriteError, PreconditionFailed, RaftError};
use openraft::raft::Precondition;
use openraft::{ChangeMembers, ServerState};

use super::{elsewhere, lifecycle, unknown_outcome};
use crate::apply::OperationContext;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::region::Region;
use crate::store::Inner;
use crate::types::{CommittedLeaderId, LogId, StoreNode, TypeConfig, log_id_in};

type Metrics = openraft::RaftMetrics<TypeConfig>;

/// Whether a peer that loses its vote stays as a learner. Also where a change finds that an earlier
/// one was left between its two entries, and finishes it.
const RETAIN: bool = false;

const UNDER_WAY: &str = "another change of its peers is under way; try again";

// Propose.

impl<M: StateMachine> Region<M> {
    /// Adds a learner; returns when it has everything up to the entry that added it. `epoch` is
    /// that of the descriptor that the caller saw. If the returned future is dropped, or the leader
    /// changes meanwhile, the peer may have been added all the same: look at the descriptor.
    ///
    /// # Errors
    ///
    /// [`StoreError::StaleEpoch`] if the peers have changed since, [`StoreError::NotLeader`] if
    /// this replica does not lead, [`StoreError::Refused`] if the peer or its store is one of the
    /// Region's already, or another change is under way. [`StoreError::Unknown`] if the peer was
    /// added, or may have been, and did not catch up in time.
    pub async fn add_learner(&self, epoch: Epoch, peer: Peer) -> Result<(), StoreError> {
        let descriptor = self.descriptor();
        if descriptor.epoch.conf_ver != epoch.conf_ver {
            return Err(StoreError::StaleEpoch { descriptor });
        }
        let mut peers = descriptor.peers.clone();
        peers.push(peer);
        if !lifecycle::has_distinct_peers(&peers) {
            let why = format!(
                "peer {} or its store {} is one of the region's already",
                peer.id, peer.store
            );
            return Err(StoreError::Refused { region: self.id, why });
        }
        let node = StoreNode { store: peer.store };
        let nodes = BTreeMap::from([(peer.id, node)]);
        let joined = self.change_peers(epoch, ChangeMembers::AddNodes(nodes)).await?;
        self.wait_for_learner(peer.id, joined).await
    }

    /// Waits until a learner has the log up to `index`.
    async fn wait_for_learner(&self, peer: u64, index: u64) -> Result<(), StoreError> {
        let follows = |metrics: &Metrics| {
            let matched = metrics.replication.as_ref().and_then(|peers| peers.get(&peer)?.as_ref());
            matched.is_some_and(|id| id.index >= index)
        };
        let leads = |metrics: &Metrics| metrics.state == ServerState::Leader;
        let settled = self.group()?.wait(Some(self.timeouts.catch_up));
        let settled = settled.metrics(|now| follows(now) || !leads(now), "the learner").await;
        if settled.is_ok_and(|settled| follows(&settled)) {
            return Ok(());
        }
        let why = format!("peer {peer} was added as a learner, but is not known to have caught up");
        Err(StoreError::Unknown { region: self.id, why })
    }

    /// Makes exactly these peers the voters; those that lose their vote leave the group. `epoch` is
    /// that of the descriptor that the caller saw.
    ///
    /// # Errors
    ///
    /// [`StoreError::StaleEpoch`] if the peers have changed since, [`StoreError::NotLeader`] if
    /// this replica does not lead, [`StoreError::Refused`] if a peer is unknown, or another change
    /// is under way. [`StoreError::Unknown`] if the change was begun and did not come to its end:
    /// look at the descriptor, and ask for the same voters again.
    pub async fn change_voters(
        &self,
        epoch: Epoch,
        voters: BTreeSet<u64>,
    ) -> Result<(), StoreError> {
        self.change_peers(epoch, ChangeMembers::ReplaceAllVoters(voters)).await.map(drop)
    }

    /// Removes learners from the group: also those that never caught up. A voter loses its vote
    /// first, by [`change_voters`](Self::change_voters). `epoch` is that of the descriptor that the
    /// caller saw.
    ///
    /// # Errors
    ///
    /// Those of [`change_voters`](Self::change_voters).
    pub async fn remove_learners(
        &self,
        epoch: Epoch,
        learners: BTreeSet<u64>,
    ) -> Result<(), StoreError> {
        let descriptor = self.descriptor();
        let is_learner = |id: &u64| {
            let mut peers = descriptor.peers.iter();
            peers.any(|peer| peer.id == *id && peer.role == PeerRole::Learner)
        };
        if let Some(other) = learners.iter().find(|id| !is_learner(id)) {
            let why = format!("peer {other} is not one of its learners");
            return Err(StoreError::Refused { region: self.id, why });
        }
        self.change_peers(epoch, ChangeMembers::RemoveNodes(learners)).await.map(drop)
    }

    /// Has Raft change the peers, if they still are what the caller saw; returns the index of the
    /// last entry.
    async fn change_peers(
        &self,
        epoch: Epoch,
        change: ChangeMembers<u64, StoreNode>,
    ) -> Result<u64, StoreError> {
        let raft = self.group()?;
        // Read before the descriptor, which is published before it: so it is never the newer one.
        let seen = self.applier.applied().membership.log_id.map(log_id_in);
        let descriptor = self.descriptor();
        if descriptor.epoch.conf_ver != epoch.conf_ver {
            return Err(StoreError::StaleEpoch { descriptor });
        }
        if !self.is_serving() {
            return Err(self.not_serving().into());
        }
        // From the first entry on that names another peer there must be heartbeats.
        self.enable_ticks();
        // Compared where Raft appends the entry: nothing comes in between.
        let unchanged = Precondition::LastMembershipLogId { last_membership_log_id: seen };
        let raft = raft.clone();
        // In a task of its own: a change that ends between its two entries leaves the group with
        // two sets of voters.
        let changing =
            tokio::spawn(
                async move { raft.change_membership_if(change, RETAIN, [unchanged]).await },
            );
        let changed = async {
            let changed = changing.await.map_err(|error| unknown_outcome(self.id, &error))?;
            match changed {
                Ok(response) => Ok(response.log_id.index),
                Err(error) => Err(self.change_error(epoch, seen, error).await),
            }
        };
        self.in_time(changed).await
    }

    /// Why Raft did not change the membership, in this crate's terms. A change of voters is two
    /// entries: once the first one is in the log, what happened is unknown, whatever the error.
    async fn change_error(
        &self,
        epoch: Epoch,
        seen: Option<LogId>,
        error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>,
    ) -> StoreError {
        let region = self.id;
        let error = match error {
            RaftError::Fatal(fatal) => return unknown_outcome(region, &fatal),
            RaftError::APIError(error) => error,
        };
        // The first entry was not appended, because another change was.
        if let ClientWriteError::PreconditionFailed(
            PreconditionFailed::LastMembershipLogIdMismatch { expected, .. },
        ) = &error
            && *expected == seen
        {
            let descriptor = self.descriptor();
            return if descriptor.epoch.conf_ver == epoch.conf_ver {
                StoreError::Refused { region, why: UNDER_WAY.to_owned() }
            } else {
                StoreError::StaleEpoch { descriptor }
            };
        }
        if self.newest_membership().await.map_or(true, |newest| newest != seen) {
            return unknown_outcome(region, &error);
        }
        match error {
            ClientWriteError::ForwardToLeader(forward) => elsewhere(region, &forward),
            ClientWriteError::ChangeMembershipError(error) => {
                StoreError::Refused { region, why: refusal(&error) }
            }
            other => unknown_outcome(region, &other),
        }
    }

    /// Log id of the newest membership in the log, applied or not.
    async fn newest_membership(&self) -> Result<Option<LogId>, StoreError> {
        let newest = self.group()?.with_raft_state(|state| {
            let newest = state.membership_state.effective();
            *newest.log_id()
        });
        newest.await.map_err(|fatal| self.group_error(&fatal))
    }

    /// Starts Raft's timer, however few peers there are.
    fn enable_ticks(&self) {
        self.adjust_ticks(2);
    }

    /// Waits, at most for so long, until this replica no longer leads.
    pub(crate) async fn wait_while_leading(&self, limit: Duration) {
        let Some(raft) = self.raft.get() else { return };
        let waiting = raft.wait(Some(limit));
        let _ = waiting.metrics(|now| now.state != ServerState::Leader, "the end of a lead").await;
    }
}

/// Why Raft refused a change, in this crate's terms.
fn refusal(error: &ChangeMembershipError<CommittedLeaderId, u64>) -> String {
    match error {
        ChangeMembershipError::InProgress(_) => UNDER_WAY.to_owned(),
        ChangeMembershipError::EmptyMembership(_) => "a voter must remain".into(),
        ChangeMembershipError::LearnerNotFound(error) => {
            format!("peer {} is not one of its peers: add it as a learner first", error.node_id)
        }
        other => other.to_string(),
    }
}

// Apply.

/// The descriptor follows the configuration.
pub(super) fn apply(cx: &mut OperationContext<'_, '_>, membership: &Membership) {
    let is_voter = |peer: &u64| membership.configs.iter().any(|voters| voters.contains(peer));
    let peer = |(id, store): (&u64, &u64)| Peer {
        id: *id,
        store: *store,
        role: if is_voter(id) { PeerRole::Voter } else { PeerRole::Learner },
    };
    let old = &**cx.descriptor;
    // The next one fits: larger ones are refused where they come in.
    let epoch = Epoch { conf_ver: old.epoch.conf_ver + 1, ..old.epoch };
    let peers = membership.nodes.iter().map(peer).collect();
    *cx.descriptor = Arc::new(Descriptor { epoch, peers, ..old.clone() });
}

// On applied.

/// Raft's timer follows the number of peers; a replica that was removed goes.
pub(super) fn applied<M: StateMachine>(store: &Arc<Inner<M>>, new: &Arc<Descriptor>) {
    // While a store starts, entries are applied before the Region is in the directory: the start
    // itself looks at both.
    let Some(region) = store.directory.get(new.id) else { return };
    region.adjust_ticks(new.peers.len());
    if region.shape.replica().state == ReplicaState::Tombstone {
        lifecycle::remove_soon(store, new.id);
    }
}

/// Another member has applied a configuration of this conf_ver that does not list our peer. If we
/// know less, we were removed; if we know more, that member has not heard of us yet.
pub(super) fn unlisted<M: StateMachine>(
    store: &Arc<Inner<M>>,
    region: u64,
    peer: u64,
    conf_ver: u64,
) {
    // The answer may be so late that another peer lives here by now.
    let is_asker = |found: &Arc<Region<M>>| found.peer == peer;
    let Some(found) = store.directory.get(region).filter(is_asker) else { return };
    let replica = found.shape.replica();
    if replica.state == ReplicaState::Member && replica.epoch.conf_ver < conf_ver {
        tracing::warn!(region, peer = replica.peer, conf_ver, "the peer is no longer a member");
        lifecycle::remove_peer_soon(store, region, replica.peer);
    }
}

#[cfg(test)]
mod tests {
    use neokv_engine::{Engine, Options};

    use super::*;
    use crate::records;

    #[test]
    fn the_descriptor_follows_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&dir.path().join("db"), &Options::default()).unwrap();
        let mut batch = engine.batch();
        let mut descriptor = Arc::new(records::unknown(7));
        let mut configure = |configs: &[&[u64]], nodes: &[u64]| {
            let membership = Membership {
                log_id: None,
                configs: configs.iter().map(|voters| voters.iter().copied().collect()).collect(),
                nodes: nodes.iter().map(|peer| (*peer, peer + 100)).collect::<BTreeMap<_, _>>(),
            };
            let mut cx = OperationContext {
                batch: &mut batch,
                descriptor: &mut descriptor,
                clock: 0,
                store: 1,
            };
            apply(&mut cx, &membership);
            let peers = descriptor.peers.iter();
            let peers: Vec<String> = peers
                .map(|peer| format!("{}@{} {}", peer.id, peer.store, peer.role.name()))
                .collect();
            (descriptor.epoch.conf_ver, peers.join(", "))
        };
        assert_eq!(configure(&[&[1]], &[1, 2]), (1, "1@101 voter, 2@102 learner".into()));
        assert_eq!(configure(&[&[1], &[1, 2]], &[1, 2]), (2, "1@101 voter, 2@102 voter".into()));
        assert_eq!(configure(&[&[2]], &[2]), (3, "2@102 voter".into()));
    }
}
