//! One Region's replica on this store: where writes and reads enter.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::Descriptor;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;

use crate::apply::{Adapter, Applier};
use crate::error::{ProposeError, ReadError, StoreError};
use crate::log::GroupLog;
use crate::machine::StateMachine;
use crate::propose::{Outcome, Progress, Proposer};
use crate::read::{ReadPoint, ReadRounds};
use crate::status::{Role, Status};
use crate::types::{StoreNode, TypeConfig, log_id_out};

pub(crate) type Raft<M> = openraft::Raft<TypeConfig, Adapter<M>>;

/// A replica of a Region. Shared by `Arc`; every method may be called from any number of tasks at
/// once.
pub struct Region<M: StateMachine> {
    pub(crate) id: u64,
    pub(crate) peer: u64,
    pub(crate) raft: Raft<M>,
    pub(crate) log: Arc<GroupLog>,
    pub(crate) applier: Arc<Applier<M>>,
    pub(crate) proposer: Arc<Proposer<M>>,
    pub(crate) reads: ReadRounds,
}

impl<M: StateMachine> Region<M> {
    /// The Region's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// This replica's peer id.
    pub fn peer(&self) -> u64 {
        self.peer
    }

    /// Writes these commands, in order, and returns their replies, in order, once they are durable
    /// on a majority and applied here. Commands of one call may share entries with those of others;
    /// nothing comes between two commands of one entry. If the returned future is dropped, what
    /// waits or is on its way goes on all the same, and what did not fit into its entry is not
    /// proposed any more.
    ///
    /// # Errors
    ///
    /// [`ProposeError`]. Everything but [`ProposeError::Unknown`] means that nothing happened.
    pub async fn propose(&self, commands: Vec<M::Command>) -> Result<Vec<M::Reply>, ProposeError> {
        let mut progress = self.propose_some(commands).await?;
        let mut replies = progress.replies;
        while !progress.rest.is_empty() {
            progress =
                self.propose_some(progress.rest).await.map_err(|error| ProposeError::Unknown {
                    why: Arc::from(format!("the first commands took effect, then: {error}")),
                })?;
            replies.append(&mut progress.replies);
        }
        Ok(replies)
    }

    /// Like [`propose`](Self::propose), but only as many of the commands as one entry carries out.
    /// The caller decides when the rest goes: it can send the first replies on before more of them
    /// come.
    ///
    /// # Errors
    ///
    /// [`ProposeError`]. Everything but [`ProposeError::Unknown`] means that nothing happened.
    pub async fn propose_some(
        &self,
        commands: Vec<M::Command>,
    ) -> Result<Progress<M::Command, M::Reply>, ProposeError> {
        if commands.is_empty() {
            return Ok(Progress { replies: Vec::new(), rest: commands });
        }
        if !self.applier.published.serving() {
            crate::metrics::refused();
            return Err(self.not_serving().into());
        }
        let wait: Outcome<M> =
            self.proposer.submit(commands).inspect_err(|_| crate::metrics::refused())?;
        let outcome = wait.await.unwrap_or_else(|_| {
            Err(ProposeError::Unknown {
                why: Arc::from("the region stopped while the write was in flight"),
            })
        });
        outcome.map_err(|error| self.with_cause(error))
    }

    /// Whoever is left without an answer because the Region died is told what it died of.
    fn with_cause(&self, error: ProposeError) -> ProposeError {
        match (error, self.applier.published.stopped()) {
            (ProposeError::Unknown { why }, Some(cause)) => {
                ProposeError::Unknown { why: Arc::from(format!("{why} ({cause})")) }
            }
            (error, _) => error,
        }
    }

    /// Permission to read the engine now, without asking anybody: only where this replica is the
    /// one voter.
    ///
    /// # Errors
    ///
    /// [`ReadError::NeedsQuorum`] where there are more voters: call
    /// [`read_index`](Self::read_index).
    pub fn read_now(&self) -> Result<ReadPoint, ReadError> {
        match self.applier.published.read_alone() {
            Some(applied_clock) => Ok(ReadPoint { applied_clock }),
            None if self.applier.published.serving() => {
                Err(ReadError::NeedsQuorum { region: self.id })
            }
            None => Err(self.not_serving().into()),
        }
    }

    /// Permission to read the engine, confirmed by a majority. Concurrent calls share rounds.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; all of them are harmless to retry.
    pub async fn read_index(&self) -> Result<ReadPoint, ReadError> {
        match self.read_now() {
            Err(ReadError::NeedsQuorum { .. }) => self.reads.join().await,
            settled => settled,
        }
    }

    /// The Region as of the last applied entry.
    pub fn descriptor(&self) -> Arc<Descriptor> {
        self.applier.descriptor.load_full()
    }

    /// Whether reads and writes are served here now.
    pub fn is_serving(&self) -> bool {
        self.applier.published.serving()
    }

    /// Waits until this replica serves as leader, or has stopped.
    ///
    /// # Errors
    ///
    /// [`ReadError::Stopped`] with the cause.
    pub async fn wait_serving(&self) -> Result<(), ReadError> {
        self.applier.published.wait_serving().await;
        if self.is_serving() { Ok(()) } else { Err(self.not_serving().into()) }
    }

    /// Where the group stands.
    pub fn status(&self) -> Status {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = &metrics.membership_config;
        let published = &self.applier.published;
        let stopped = published.stopped().or_else(|| {
            metrics.running_state.as_ref().err().map(|fatal| Arc::from(fatal.to_string()))
        });
        let applied = self.applier.applied();
        let (log_bytes, log_entries) = self.log.size();
        Status {
            descriptor: self.descriptor(),
            peer: self.peer,
            role: if stopped.is_some() { Role::Stopped } else { role(metrics.state) },
            term: metrics.current_term,
            leader: metrics.current_leader,
            leader_store: metrics
                .current_leader
                .and_then(|peer| membership.get_node(&peer))
                .map(|node| node.store),
            serving: published.serving(),
            stopped,
            last_index: metrics.last_log_index,
            committed: metrics.local_committed.as_ref().map(log_id_out),
            applied: applied.log_id,
            purged: metrics.purged.as_ref().map(log_id_out),
            applied_clock: applied.clock,
            voters: membership
                .get_joint_config()
                .iter()
                .map(|voters| voters.iter().copied().collect())
                .collect(),
            peers: membership.nodes().map(|(peer, node)| (*peer, node.store)).collect(),
            matched: metrics
                .replication
                .iter()
                .flatten()
                .map(|(peer, id)| (*peer, id.as_ref().map(|id| id.index)))
                .collect(),
            log_bytes,
            log_entries,
            in_flight: self.proposer.in_flight(),
        }
    }

    /// Asks this replica to become leader now, without waiting for an election timeout.
    ///
    /// # Errors
    ///
    /// [`StoreError::Group`] if the group has died.
    pub async fn campaign(&self) -> Result<(), StoreError> {
        self.raft.trigger().elect(false).await.map_err(|fatal| self.group_error(&fatal))
    }

    /// Adds a learner; returns when it has caught up with the log.
    ///
    /// # Errors
    ///
    /// [`StoreError::Group`] if this replica does not lead, or another change is under way.
    pub async fn add_learner(&self, peer: Peer) -> Result<(), StoreError> {
        let node = StoreNode { store: peer.store };
        self.raft
            .add_learner(peer.id, node, true)
            .await
            .map(drop)
            .map_err(|error| self.group_error(&error))
    }

    /// Makes exactly these peers the voters; those that lose their vote leave the group.
    ///
    /// # Errors
    ///
    /// [`StoreError::Group`] if this replica does not lead, a peer is unknown, or another change is
    /// under way.
    pub async fn change_voters(&self, voters: BTreeSet<u64>) -> Result<(), StoreError> {
        self.raft
            .change_membership(voters, false)
            .await
            .map(drop)
            .map_err(|error| self.group_error(&error))
    }

    /// Purges the applied part of the log that exceeds the limits, so that about half of them
    /// remains; `true` if there was something to purge.
    ///
    /// # Errors
    ///
    /// [`StoreError::Group`] if the group has died.
    pub async fn compact_log(&self, max_bytes: u64, max_entries: u64) -> Result<bool, StoreError> {
        let applied = self.applier.published.applied_index();
        let Some(upto) = self.log.cut(max_bytes, max_entries, applied) else { return Ok(false) };
        let trigger = self.raft.trigger();
        trigger.snapshot().await.map_err(|fatal| self.group_error(&fatal))?;
        let reached =
            |id: &Option<crate::types::LogId>| id.as_ref().is_some_and(|id| id.index >= upto);
        let mut progress = self.raft.watch_snapshot_progress();
        progress.wait_until(|id| reached(id)).await.map_err(|error| self.group_error(&error))?;
        trigger.purge_log(upto).await.map_err(|fatal| self.group_error(&fatal))?;
        let waiting = self.raft.wait(None);
        let purged = waiting.metrics(|metrics| reached(&metrics.purged), "purge");
        purged.await.map_err(|error| self.group_error(&error))?;
        crate::metrics::purged();
        Ok(true)
    }

    /// Notices a group that died without a word.
    pub(crate) fn supervise(&self) {
        let metrics = self.raft.metrics();
        let fatal = metrics.borrow_watched().running_state.as_ref().err().map(ToString::to_string);
        if let Some(fatal) = fatal
            && self.applier.published.stopped().is_none()
        {
            tracing::error!(region = self.id, %fatal, "region has died");
            self.applier.published.stop(&fatal);
        }
    }

    pub(crate) fn group_error(&self, error: &impl ToString) -> StoreError {
        StoreError::Group { region: self.id, why: error.to_string() }
    }

    /// Why nothing is served.
    fn not_serving(&self) -> NotServing {
        let region = self.id;
        if let Some(why) = self.applier.published.stopped() {
            return NotServing::Stopped { region, why };
        }
        if self.applier.published.leads() {
            return NotServing::NotReady {
                region,
                why: "the leader has not applied an entry of its own term yet",
            };
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leader = metrics.current_leader.filter(|leader| *leader != self.peer);
        if leader.is_none() && self.applier.published.sole() {
            return NotServing::NotReady { region, why: "it is starting" };
        }
        let node = leader.and_then(|peer| metrics.membership_config.get_node(&peer).copied());
        NotServing::NotLeader { region, leader: node.map(|node| node.store) }
    }
}

impl<M: StateMachine> std::fmt::Debug for Region<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region")
            .field("id", &self.id)
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// What reads and writes are told alike.
enum NotServing {
    NotLeader { region: u64, leader: Option<u64> },
    NotReady { region: u64, why: &'static str },
    Stopped { region: u64, why: Arc<str> },
}

impl From<NotServing> for ProposeError {
    fn from(why: NotServing) -> Self {
        match why {
            NotServing::NotLeader { region, leader } => Self::NotLeader { region, leader },
            NotServing::NotReady { region, why } => Self::NotReady { region, why },
            NotServing::Stopped { region, why } => Self::Stopped { region, why },
        }
    }
}

impl From<NotServing> for ReadError {
    fn from(why: NotServing) -> Self {
        match why {
            NotServing::NotLeader { region, leader } => Self::NotLeader { region, leader },
            NotServing::NotReady { region, why } => Self::NotReady { region, why },
            NotServing::Stopped { region, why } => Self::Stopped { region, why },
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

/// Voters and nodes of a descriptor, as a stored membership.
pub(crate) fn membership_of(descriptor: &Descriptor) -> (Vec<BTreeSet<u64>>, BTreeMap<u64, u64>) {
    let voters = descriptor
        .peers
        .iter()
        .filter(|peer| peer.role == PeerRole::Voter)
        .map(|peer| peer.id)
        .collect();
    let nodes = descriptor.peers.iter().map(|peer| (peer.id, peer.store)).collect();
    (vec![voters], nodes)
}
