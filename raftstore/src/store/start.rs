//! How a replica starts: from its records to a running group.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use futures_util::FutureExt;
use neokv_encoding::region::Applied;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Inner, SHUT_DOWN};
use crate::apply::{Applier, ApplierParts};
use crate::blocking::blocking;
use crate::config::Execution;
use crate::error::StoreError;
use crate::group::{self, Adapter, LogStore, PeerConnections, Raft, Unlisted};
use crate::log::{GroupLog, TailLimits};
use crate::machine::{Leadership, StateMachine};
use crate::panics;
use crate::propose::{Proposer, ProposerParts};
use crate::published::{Published, StartPoint};
use crate::read::{self, Asked, ReadRounds};
use crate::records::{self, Recorded};
use crate::region::{OperationTimeouts, Region};
use crate::region_clock::RegionClock;
use crate::shape::{Routes, Shape};
use crate::snapshot::Snapshots;
use crate::types::is_sole_voter;

/// What a group is built from.
struct Parts<M: StateMachine> {
    published: Arc<Published>,
    shape: Arc<Shape>,
    log: Arc<GroupLog>,
    applier: Arc<Applier<M>>,
}

/// What the newest configuration in a group's log says, applied or not.
struct Effective {
    /// Index of its entry.
    index: u64,
    /// Whether this replica is the only voter.
    sole: bool,
    /// Number of peers.
    peers: usize,
}

impl<M: StateMachine> Inner<M> {
    /// Starts the group of a replica that lives here. `recovered`: it lived before this process.
    /// A lone voter campaigns at once. The caller holds the lock of the lifecycle.
    ///
    /// A replica that cannot start is listed all the same: as stopped, with the cause.
    pub(crate) async fn start_region(
        self: &Arc<Self>,
        recorded: Recorded,
        recovered: bool,
    ) -> Result<Arc<Region<M>>, StoreError> {
        let id = recorded.region;
        let (store, replica) = (Arc::clone(self), recorded.clone());
        let parts = blocking(move || store.read_parts(replica)).await;
        let parts = parts.map_err(|error| StoreError::Group { region: id, why: error.to_string() });
        let parts = match parts.flatten() {
            Ok(parts) => parts,
            Err(error) => {
                self.list_stopped(recorded, &error);
                return Err(error);
            }
        };
        let (reads, asked) = ReadRounds::new(id);
        let region = self.region(recorded.replica.peer, parts, reads);
        // Listed before its group starts: entries that the start applies find it.
        if !self.directory.insert(&region) {
            return Err(self.ending(id));
        }
        // Whoever waits for space may not get to its next attempt soon, and tells nobody until
        // then.
        self.space.tell_newcomer();
        if let Err(error) = self.start_group(&region, asked, recovered).await {
            tracing::error!(region = id, %error, "the region cannot start");
            region.published.stop(&error.to_string());
            return Err(error);
        }
        if !self.directory.started() {
            region.end(SHUT_DOWN).await;
            return Err(self.ending(id));
        }
        tracing::info!(region = id, peer = region.peer, recovered, "region started");
        Ok(region)
    }

    fn ending(&self, region: u64) -> StoreError {
        StoreError::Group { region, why: "the store is shutting down".into() }
    }

    /// Lists a replica that cannot start, without a group.
    pub(crate) fn list_stopped(&self, recorded: Recorded, cause: &StoreError) {
        let id = recorded.region;
        tracing::error!(region = id, error = %cause, "the region cannot start");
        let peer = recorded.replica.peer;
        let published = self.published(id, &Applied::default(), peer);
        published.stop(&cause.to_string());
        let log = GroupLog::unread(&self.engine, id, peer, self.limits(), Arc::clone(&published));
        let parts = self.parts(recorded, Applied::default(), published, log);
        let (reads, _) = ReadRounds::new(id);
        self.directory.insert(&self.region(peer, parts, reads));
    }

    /// Reads what is recorded about a replica. Blocks on disk.
    fn read_parts(&self, recorded: Recorded) -> Result<Parts<M>, StoreError> {
        let (region, peer) = (recorded.region, recorded.replica.peer);
        let applied = records::applied(&self.engine, region)?.unwrap_or_default();
        if let Some(descriptor) = &recorded.descriptor {
            self.machine.loaded(&self.engine, descriptor)?;
        }
        let published = self.published(region, &applied, peer);
        let log = Arc::clone(&published);
        let log = GroupLog::open(&self.engine, region, peer, self.limits(), log)?;
        Ok(self.parts(recorded, applied, published, log))
    }

    fn published(&self, region: u64, applied: &Applied, peer: u64) -> Arc<Published> {
        Arc::new(Published::new(start_point(applied, peer), self.leadership_watch(region)))
    }

    fn limits(&self) -> TailLimits {
        TailLimits { bytes: self.config.tail_bytes, budget: Arc::clone(&self.tails) }
    }

    fn parts(
        &self,
        recorded: Recorded,
        applied: Applied,
        published: Arc<Published>,
        log: GroupLog,
    ) -> Parts<M> {
        let Recorded { region, replica, descriptor } = recorded;
        let descriptor = descriptor.unwrap_or_else(|| records::unknown(region));
        let routes = Arc::clone(&self.directory) as Arc<dyn Routes>;
        let shape = Arc::new(Shape::new(descriptor, replica, routes));
        let clock = RegionClock::new(self.config.clock.clone(), applied.clock);
        let applier = ApplierParts {
            region,
            peer: replica.peer,
            store: self.config.store_id,
            engine: self.engine.clone(),
            machine: Arc::clone(&self.machine),
            published: Arc::clone(&published),
            shape: Arc::clone(&shape),
            clock,
            space: Arc::clone(&self.space),
            operations: Arc::clone(&self.operations),
            creation: Arc::clone(&self.creation),
            apply_bytes: self.config.apply_bytes,
        };
        let applier = Arc::new(Applier::new(applier, applied));
        Parts { published, shape, log: Arc::new(log), applier }
    }

    fn unlisted(&self, region: u64, peer: u64) -> Unlisted {
        let operations = Arc::clone(&self.operations);
        Arc::new(move |conf_ver| operations.unlisted(region, peer, conf_ver))
    }

    fn leadership_watch(&self, region: u64) -> impl Fn(Leadership) + Send + Sync + 'static {
        let machine = Arc::clone(&self.machine);
        move |change| machine.leadership(region, change)
    }

    /// The Region as its users see it, without a group yet.
    fn region(&self, peer: u64, parts: Parts<M>, reads: ReadRounds) -> Arc<Region<M>> {
        let config = &self.config;
        let Parts { published, shape, log, applier } = parts;
        let id = log.region();
        let snapshots = Snapshots::new(
            self.engine.clone(),
            Arc::clone(&self.machine),
            id,
            config.snapshot_dir.clone(),
            self.ownership.clone(),
        );
        let parts = ProposerParts {
            region: id,
            machine: Arc::clone(&self.machine),
            published: Arc::clone(&published),
            shape: Arc::clone(&shape),
            clock: applier.parts().clock.clone(),
            quota: self.quota.clone(),
        };
        Arc::new(Region {
            id,
            peer,
            raft: OnceLock::new(),
            engine: self.engine.clone(),
            clock: applier.parts().clock.clone(),
            log,
            shape,
            published,
            applier,
            proposer: Proposer::new(parts, config),
            reads,
            snapshots: Arc::new(snapshots),
            compacting: Default::default(),
            gone: Mutex::new(None),
            timeouts: OperationTimeouts {
                operation: config.propose_timeout,
                catch_up: config.catch_up_timeout,
            },
            ticks: config.execution == Execution::Threads,
        })
    }

    /// Starts the group of a Region, and the tasks that serve it.
    async fn start_group(
        &self,
        region: &Arc<Region<M>>,
        asked: Asked,
        recovered: bool,
    ) -> Result<(), StoreError> {
        let config = &self.config;
        let (id, peer) = (region.id, region.peer);
        let (alive, gone) = oneshot::channel();
        let (applier, snapshots) = (Arc::clone(&region.applier), Arc::clone(&region.snapshots));
        let lane = self.pool.lane(id).with_short_here(config.stands_alone);
        let writer = self.writer.clone();
        let adapter = Adapter::new(applier, snapshots, writer, lane, Some(alive));
        let links = PeerConnections {
            transport: Arc::clone(&self.transport),
            config: Arc::clone(config),
            sending: Arc::clone(&self.sending),
            region: id,
            peer,
            unlisted: self.unlisted(id, peer),
        };
        let may_be_quiet = recovered && !config.quiet().is_zero();
        let settings = Arc::new(group::settings(config, id, !may_be_quiet)?);
        let log = LogStore::new(Arc::clone(&region.log), self.writer.clone(), peer);
        *region.gone.lock() = Some(gone);
        let starting = self.handle.spawn(Raft::<M>::new(peer, settings, links, log, adapter));
        let raft = starting.await.map_err(|error| region.group_error(&error))?;
        let raft = raft.map_err(|fatal| region.group_error(&fatal))?;
        // The log may hold a configuration that is not applied yet: Raft counts votes by it.
        let effective = effective(region, &raft).await?;
        region.published.membership_appended(effective.index, effective.sole);
        region.adjust_ticks_of(&raft, effective.peers);
        if may_be_quiet && effective.sole {
            raft.runtime_config().elect(true);
        } else if may_be_quiet {
            self.keep_quiet(id, raft.clone());
        }
        let watching = region.failure_handler().watch(raft.metrics(), raft.server_metrics());
        self.spawn_of(region, "the watch over the group", watching);
        let proposing = Arc::clone(&region.proposer).run(raft.clone());
        self.spawn_of(region, "the proposer", proposing);
        let reading = read::run(raft.clone(), id, config.read_timeout, asked);
        self.spawn_of(region, "the rounds of reads", reading);
        // From here on messages reach the group.
        let _ = region.raft.set(raft);
        if effective.sole {
            region.campaign().await?;
        }
        Ok(())
    }

    /// Runs a task of a Region. A panic stops the Region, which would hang without the task.
    fn spawn_of(
        &self,
        region: &Arc<Region<M>>,
        what: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let failure_handler = region.failure_handler();
        self.handle.spawn(async move {
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                failure_handler.panicked(what, &panics::message(&*panic));
            }
        });
    }

    /// Neither votes nor campaigns until the quiet period is over.
    fn keep_quiet(&self, id: u64, raft: Raft<M>) {
        self.quiet.write().insert(id);
        let rest = self.config.quiet().saturating_sub(self.started.elapsed());
        self.handle.spawn(async move {
            tokio::time::sleep(rest).await;
            raft.runtime_config().elect(true);
        });
    }

    /// Whether a Region's replica must keep quiet; see [`super::endpoint`].
    pub(super) fn is_quiet(&self, region: u64) -> bool {
        self.started.elapsed() < self.config.quiet() && self.quiet.read().contains(&region)
    }
}

/// The newest configuration in a group's log.
async fn effective<M: StateMachine>(
    region: &Region<M>,
    raft: &Raft<M>,
) -> Result<Effective, StoreError> {
    let peer = region.peer;
    let read = raft.with_raft_state(move |state| {
        let newest = state.membership_state.effective();
        Effective {
            index: newest.log_id().as_ref().map_or(0, |id| id.index),
            sole: is_sole_voter(newest.membership().get_joint_config(), peer),
            peers: newest.membership().nodes().count(),
        }
    });
    read.await.map_err(|fatal| region.group_error(&fatal))
}

fn start_point(applied: &Applied, peer: u64) -> StartPoint {
    let id = applied.log_id.unwrap_or_default();
    let sole = is_sole_voter(&applied.membership.configs, peer);
    StartPoint { term: id.term, index: id.index, clock: applied.clock, sole }
}
