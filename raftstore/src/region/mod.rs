//! One Region's replica on this store: where writes and reads enter.
//!
//! What changes the Region itself (peers, splits, its end) is told in [`crate::operation`].

mod compact;
mod reads;
mod status;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use neokv_encoding::region::{Descriptor, Epoch, ReplicaState};
use neokv_engine::Engine;
use openraft::alias::WatchReceiverOf;
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::{RaftMetrics, RaftServerMetrics};
use parking_lot::Mutex;
use tokio::sync::oneshot;

pub use self::status::{Role, Status};
use crate::apply::Applier;
use crate::error::{ProposeError, ReadError, StoreError};
use crate::group::Raft;
use crate::log::GroupLog;
use crate::machine::StateMachine;
use crate::metrics;
use crate::propose::{Done, Progress, Proposer, SubmissionResult};
use crate::published::Published;
use crate::read::ReadRounds;
use crate::region_clock::RegionClock;
use crate::shape::Shape;
use crate::snapshot::Snapshots;
use crate::types::TypeConfig;

/// A replica of a Region. Shared by `Arc`; every method may be called from any number of tasks at
/// once.
pub struct Region<M: StateMachine> {
    pub(crate) id: u64,
    pub(crate) peer: u64,
    /// The group, once it runs.
    pub(crate) raft: OnceLock<Raft<M>>,
    pub(crate) engine: Engine,
    pub(crate) clock: RegionClock,
    pub(crate) log: Arc<GroupLog>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) published: Arc<Published>,
    pub(crate) applier: Arc<Applier<M>>,
    pub(crate) proposer: Arc<Proposer<M>>,
    pub(crate) reads: ReadRounds,
    pub(crate) snapshots: Arc<Snapshots<M>>,
    pub(crate) compacting: compact::Compacting,
    /// Ends when Raft has let go of the Region's state machine.
    pub(crate) gone: Mutex<Option<oneshot::Receiver<()>>>,
    pub(crate) timeouts: OperationTimeouts,
    /// Whether time moves the group by itself.
    pub(crate) ticks: bool,
}

/// How long operations on a Region wait before they give up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OperationTimeouts {
    /// For an entry to be committed and applied.
    pub(crate) operation: Duration,
    /// For a learner to catch up.
    pub(crate) catch_up: Duration,
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

    /// The Region as of the last applied entry.
    pub fn descriptor(&self) -> Arc<Descriptor> {
        self.shape.descriptor()
    }

    /// Writes these commands, in order, and returns what has become of each, in order, once it is
    /// durable on a majority and applied here. Commands of one call may share entries with those of
    /// others; nothing comes between two commands of one entry. If the returned future is dropped,
    /// commands that are queued or on their way go on all the same, and what did not fit into its
    /// entry is not proposed any more. `epoch` is that of the descriptor by which the caller
    /// routed.
    ///
    /// # Errors
    ///
    /// [`ProposeError`]. Everything but [`ProposeError::Unknown`] means that nothing happened.
    pub async fn propose(
        &self,
        epoch: Epoch,
        commands: Vec<M::Command>,
    ) -> Result<Vec<Done<M::Command, M::Reply>>, ProposeError> {
        let mut progress = self.propose_some(epoch, commands).await?;
        let mut done = progress.done;
        while !progress.rest.is_empty() {
            let more = self.propose_some(epoch, progress.rest).await;
            progress = more.map_err(|error| error.after("the first commands took effect"))?;
            done.append(&mut progress.done);
        }
        Ok(done)
    }

    /// Like [`propose`](Self::propose), but only as many of the commands as one entry carries out.
    /// The caller decides when the rest goes: it can send the first replies on before more of them
    /// come.
    ///
    /// The commands are queued when this returns; the future only waits for what becomes of them.
    /// So a caller can give work to many Regions before it waits for the first.
    ///
    /// # Errors
    ///
    /// [`ProposeError`]. Everything but [`ProposeError::Unknown`] means that nothing happened.
    pub fn propose_some(
        &self,
        epoch: Epoch,
        commands: Vec<M::Command>,
    ) -> impl Future<Output = Result<Progress<M::Command, M::Reply>, ProposeError>> + use<'_, M>
    {
        let submitted = (!commands.is_empty()).then(|| self.submit(epoch, commands));
        async move {
            let Some(submitted) = submitted else {
                return Ok(Progress { done: Vec::new(), rest: Vec::new() });
            };
            let outcome = submitted?.await.unwrap_or_else(|_| {
                let why = Arc::from("the region stopped while the write was in flight");
                Err(ProposeError::Unknown { why })
            });
            outcome.map_err(|error| self.with_cause(error))
        }
    }

    fn submit(
        &self,
        epoch: Epoch,
        commands: Vec<M::Command>,
    ) -> Result<oneshot::Receiver<SubmissionResult<M>>, ProposeError> {
        // One that has left this store serves nothing, but gives the commands back.
        let submitted = if self.published.serving() || self.shape.is_removed() {
            self.proposer.submit(epoch, commands)
        } else {
            Err(self.refusal(self.not_serving()))
        };
        submitted.inspect_err(|_| metrics::refused())
    }

    /// What a write is told that is not served. One that is not served yet may wait for space: an
    /// election needs a write.
    pub(crate) fn refusal(&self, why: NotServing) -> ProposeError {
        match why {
            NotServing::NotReady { .. } if self.applier.parts().space.is_raised() => {
                ProposeError::NoSpace
            }
            other => other.into(),
        }
    }

    /// A caller that is left without an answer because the Region died is told the cause.
    fn with_cause(&self, error: ProposeError) -> ProposeError {
        match (error, self.published.stopped()) {
            (ProposeError::Unknown { why }, Some(cause)) => {
                ProposeError::Unknown { why: Arc::from(format!("{why} ({cause})")) }
            }
            (error, _) => error,
        }
    }

    /// Whether reads and writes are served here now.
    pub fn is_serving(&self) -> bool {
        self.published.serving()
    }

    /// Waits until this replica serves as leader, or has stopped.
    ///
    /// # Errors
    ///
    /// [`ReadError::Stopped`] with the cause, [`ReadError::StaleEpoch`] if the replica has left
    /// this store.
    pub async fn wait_serving(&self) -> Result<(), ReadError> {
        self.published.wait_serving().await;
        if self.is_serving() { Ok(()) } else { Err(self.not_serving().into()) }
    }

    /// Why the Region has stopped, if it has.
    pub fn stopped(&self) -> Option<Arc<str>> {
        self.published.stopped()
    }

    /// Waits until the Region has stopped after a failure, or with its store; returns the cause.
    pub async fn wait_stopped(&self) -> Arc<str> {
        self.published.wait_stopped().await
    }

    /// Asks this replica to become leader now, without waiting for an election timeout.
    ///
    /// # Errors
    ///
    /// [`StoreError::Group`] if the group has died.
    pub async fn campaign(&self) -> Result<(), StoreError> {
        self.group()?.trigger().elect(false).await.map_err(|fatal| self.group_error(&fatal))
    }

    /// Sends heartbeats now, if this replica leads.
    ///
    /// # Errors
    ///
    /// [`StoreError::Group`] if the group has died.
    pub async fn heartbeat(&self) -> Result<(), StoreError> {
        self.group()?.trigger().heartbeat().await.map_err(|fatal| self.group_error(&fatal))
    }

    /// A group whose only peer this is needs no heartbeats and no elections: without ticks it costs
    /// nothing while it is idle. `peers` are those of the newest configuration.
    pub(crate) fn adjust_ticks(&self, peers: usize) {
        if let Some(raft) = self.raft.get() {
            self.adjust_ticks_of(raft, peers);
        }
    }

    /// The same for a group that is about to be this Region's.
    pub(crate) fn adjust_ticks_of(&self, raft: &Raft<M>, peers: usize) {
        if self.ticks {
            raft.runtime_config().tick(peers != 1);
        }
    }

    /// What serves the Region and must not be missing.
    pub(crate) fn failure_handler(&self) -> FailureHandler<M> {
        let (published, proposer) = (Arc::clone(&self.published), Arc::clone(&self.proposer));
        FailureHandler { region: self.id, published, proposer }
    }

    /// The group.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotReady`] while it starts, [`StoreError::Group`] if it could not.
    pub(crate) fn group(&self) -> Result<&Raft<M>, StoreError> {
        self.raft.get().ok_or_else(|| self.not_serving().into())
    }

    /// The conf_ver of the applied configuration, if it does not list this peer: what a peer that
    /// asks for a vote is told.
    pub(crate) fn unlisted(&self, peer: u64) -> Option<u64> {
        let descriptor = self.descriptor();
        let listed = descriptor.peers.iter().any(|one| one.id == peer);
        let knows = self.shape.replica().state == ReplicaState::Member;
        (knows && !listed).then_some(descriptor.epoch.conf_ver)
    }

    pub(crate) fn group_error(&self, error: &impl ToString) -> StoreError {
        StoreError::Group { region: self.id, why: error.to_string() }
    }

    /// Why nothing is served.
    pub(crate) fn not_serving(&self) -> NotServing {
        let region = self.id;
        if self.shape.is_removed() {
            return NotServing::Removed { descriptor: self.descriptor() };
        }
        if let Some(why) = self.published.stopped() {
            return NotServing::Stopped { region, why };
        }
        if self.published.leads() {
            let why = "the leader has not applied an entry of its own term yet";
            return NotServing::NotReady { region, why };
        }
        let Some(raft) = self.raft.get() else {
            return NotServing::NotReady { region, why: "it is starting" };
        };
        let metrics = raft.metrics().borrow_watched().clone();
        let leader = metrics.current_leader.filter(|leader| *leader != self.peer);
        if leader.is_none() && self.published.sole() {
            return NotServing::NotReady { region, why: "it is starting" };
        }
        let node = leader.and_then(|peer| metrics.membership_config.get_node(&peer).copied());
        NotServing::NotLeader { region, leader: node.map(|node| node.store) }
    }
}

/// The parts of a Region that are told when it cannot go on.
pub(crate) struct FailureHandler<M: StateMachine> {
    region: u64,
    published: Arc<Published>,
    proposer: Arc<Proposer<M>>,
}

impl<M: StateMachine> FailureHandler<M> {
    /// Waits until the group has ended, and stops the Region if nobody has done that on purpose.
    /// The group's metrics end with it, whether it says why or panics.
    pub(crate) async fn watch(
        self,
        metrics: WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>,
        mut changes: WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>,
    ) {
        // These change with terms, leaders and members only, so the watch costs nothing.
        while changes.changed().await.is_ok() {}
        if self.published.stopped().is_some() {
            return;
        }
        let said = metrics.borrow_watched().running_state.clone();
        match said {
            Err(fatal) => self.stop(&fatal.to_string()),
            Ok(()) => self.panicked("the group", "its message is on standard error"),
        }
    }

    /// A part of the Region panicked: it would hang without that part.
    pub(crate) fn panicked(&self, what: &str, why: &str) {
        metrics::panicked();
        self.stop(&format!("{what} panicked, which is a defect of the program: {why}"));
    }

    fn stop(&self, why: &str) {
        tracing::error!(region = self.region, why, "the region stops");
        self.published.stop(why);
        // Nothing that waits gets an answer from the group any more.
        self.proposer.close();
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

/// What reads, writes and operations are told alike.
pub(crate) enum NotServing {
    NotLeader {
        region: u64,
        leader: Option<u64>,
    },
    NotReady {
        region: u64,
        why: &'static str,
    },
    Stopped {
        region: u64,
        why: Arc<str>,
    },
    /// It has left this store; as it was last.
    Removed {
        descriptor: Arc<Descriptor>,
    },
}

impl From<NotServing> for ProposeError {
    fn from(why: NotServing) -> Self {
        match why {
            NotServing::Removed { descriptor } => {
                Self::NotLeader { region: descriptor.id, leader: None }
            }
            NotServing::NotLeader { region, leader } => Self::NotLeader { region, leader },
            NotServing::NotReady { region, why } => Self::NotReady { region, why },
            NotServing::Stopped { region, why } => Self::Stopped { region, why },
        }
    }
}

impl From<NotServing> for ReadError {
    fn from(why: NotServing) -> Self {
        match why {
            NotServing::Removed { descriptor } => Self::StaleEpoch { descriptor },
            NotServing::NotLeader { region, leader } => Self::NotLeader { region, leader },
            NotServing::NotReady { region, why } => Self::NotReady { region, why },
            NotServing::Stopped { region, why } => Self::Stopped { region, why },
        }
    }
}

impl From<NotServing> for StoreError {
    fn from(why: NotServing) -> Self {
        match why {
            NotServing::Removed { descriptor } => Self::UnknownRegion { region: descriptor.id },
            NotServing::NotLeader { region, leader } => Self::NotLeader { region, leader },
            NotServing::NotReady { region, why } => Self::NotReady { region, why },
            NotServing::Stopped { region, why } => Self::Group { region, why: why.to_string() },
        }
    }
}
