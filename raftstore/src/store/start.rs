//! How a replica comes to life: created by bootstrap, or recovered from its records.
//!
//! # The start state
//!
//! A new Region begins as if everything up to a fixed log id had been applied and purged:
//!
//! ```text
//!   region      descriptor   as given
//!   region      applied      log id (0, 5), membership of the descriptor at (0, 5), clock 0
//!   raft_state  purged       log id (0, 5)
//!   raft_log                 empty;  no vote
//! ```
//!
//! Every store writes these bytes by itself and they are equal everywhere, so all replicas are
//! members of the same group from the first moment and none has to be asked. The index is above
//! zero on purpose: a learner that joins later cannot be served from the log alone, it must receive
//! a snapshot, which carries whatever state the Region inherited.

use std::sync::Arc;
use std::time::Duration;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind, RegionKind};
use neokv_encoding::raft::{LogId, Membership, PeerRole};
use neokv_encoding::region::{Applied, Descriptor, RegionState};
use neokv_engine::{Direction, Durability, Engine, KeyRange, Read};
use openraft::SnapshotPolicy;

use super::Inner;
use crate::apply::{Adapter, Applier};
use crate::config::Config;
use crate::error::StoreError;
use crate::log::{GroupLog, LogStore};
use crate::machine::StateMachine;
use crate::propose::Proposer;
use crate::read::{self, ReadRounds};
use crate::region::{Raft, Region, membership_of};
use crate::snapshot::Packer;
use crate::transport::network::Links;

/// Where every Region's log begins.
const START: LogId = LogId { term: 0, index: 5 };

/// The descriptors on the engine, by Region id.
pub(super) fn recorded(engine: &Engine) -> Result<Vec<Descriptor>, StoreError> {
    let mut found = Vec::new();
    let mut cursor = engine.cursor(Family::Region, KeyRange::all(), Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let (region, kind) = key::decode_region(key).map_err(|source| StoreError::Record {
            region: 0,
            what: "region key",
            source,
        })?;
        if kind == RegionKind::Descriptor {
            let descriptor = Descriptor::decode(value).map_err(|source| StoreError::Record {
                region,
                what: "descriptor",
                source,
            })?;
            found.push(descriptor);
        }
    }
    Ok(found)
}

impl<M: StateMachine> Inner<M> {
    /// Creates a replica, with the start state or empty.
    pub(super) async fn create(
        &self,
        descriptor: Descriptor,
        with_state: bool,
    ) -> Result<Arc<Region<M>>, StoreError> {
        {
            let _one_at_a_time = self.creating.lock().await;
            self.check_new(&descriptor)?;
            write_start(&self.engine, &descriptor, with_state)?;
        }
        self.start_region(&descriptor, false)
            .await?
            .ok_or(StoreError::UnknownRegion { region: descriptor.id })
    }

    fn check_new(&self, descriptor: &Descriptor) -> Result<(), StoreError> {
        let store = self.config.store_id;
        let refuse = |why| Err(StoreError::Bootstrap { region: descriptor.id, store, why });
        if descriptor.slots.is_empty() {
            return refuse("it has no slots");
        }
        if !descriptor.peers.iter().any(|peer| peer.role == PeerRole::Voter) {
            return refuse("it has no voter");
        }
        if !descriptor.peers.iter().any(|peer| peer.store == store) {
            return refuse("it has no peer on this store");
        }
        for other in recorded(&self.engine)? {
            if other.id == descriptor.id {
                return refuse("a region with this id is here or was here before");
            }
            if other.state != RegionState::Tombstone && other.slots.overlaps(&descriptor.slots) {
                return refuse("its slots overlap another region's");
            }
        }
        Ok(())
    }

    /// Starts the group of a recorded Region; `None` if this store has no replica of it.
    pub(super) async fn start_region(
        &self,
        descriptor: &Descriptor,
        recovered: bool,
    ) -> Result<Option<Arc<Region<M>>>, StoreError> {
        let _one_at_a_time = self.creating.lock().await;
        let mine = descriptor.peers.iter().find(|peer| peer.store == self.config.store_id);
        let (Some(mine), true) = (mine, descriptor.state != RegionState::Tombstone) else {
            return Ok(None);
        };
        let region = self.build(descriptor.id, mine.id, recovered).await?;
        self.regions.write().insert(region.id, Arc::clone(&region));
        self.slots.assign(region.descriptor().slots, &region);
        if region.applier.published.sole() {
            region.campaign().await?;
        }
        tracing::info!(region = region.id, peer = region.peer, recovered, "region started");
        Ok(Some(region))
    }

    async fn build(
        &self,
        id: u64,
        peer: u64,
        recovered: bool,
    ) -> Result<Arc<Region<M>>, StoreError> {
        let config = &self.config;
        let machine = Arc::clone(&self.machine);
        let applier = Arc::new(Applier::open(
            &self.engine,
            id,
            peer,
            machine,
            config.apply_bytes,
            Arc::clone(&self.space),
        )?);
        let published = Arc::clone(&applier.published);
        let log =
            GroupLog::open(&self.engine, id, peer, config.tail_bytes, Arc::clone(&published))?;
        let log = Arc::new(log);
        let packer = Packer::new(self.engine.clone(), id, config.snapshot_dir.clone());
        let (alive, gone) = tokio::sync::oneshot::channel();
        let adapter =
            Adapter::new(Arc::clone(&applier), Arc::new(packer), self.pool.lane(id), Some(alive));
        let links = Links {
            transport: Arc::clone(&self.transport),
            region: id,
            peer,
            timeout: config.rpc_timeout,
            snapshot_chunk: config.snapshot_chunk,
        };
        let quiet = recovered && !published.sole() && !config.quiet().is_zero();
        let group = Arc::new(group_config(config, id, !quiet)?);
        let store = LogStore::new(Arc::clone(&log), self.writer.clone(), peer);
        let raft = self.handle.spawn(Raft::<M>::new(peer, group, links, store, adapter)).await;
        let failed = |why: String| StoreError::Group { region: id, why };
        let raft = raft
            .map_err(|error| failed(error.to_string()))?
            .map_err(|fatal| failed(fatal.to_string()))?;
        self.gone.lock().push(gone);
        if quiet {
            self.keep_quiet(id, raft.clone());
        }
        Ok(self.assemble(id, peer, raft, log, applier))
    }

    fn assemble(
        &self,
        id: u64,
        peer: u64,
        raft: Raft<M>,
        log: Arc<GroupLog>,
        applier: Arc<Applier<M>>,
    ) -> Arc<Region<M>> {
        let published = Arc::clone(&applier.published);
        let proposer =
            Proposer::new(id, Arc::clone(&self.machine), Arc::clone(&published), &self.config);
        let (reads, asked) = ReadRounds::new(id);
        self.handle.spawn(Arc::clone(&proposer).run(raft.clone()));
        self.handle.spawn(read::run(raft.clone(), published, id, self.config.rpc_timeout, asked));
        Arc::new(Region { id, peer, raft, log, applier, proposer, reads })
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
}

/// Writes a new replica's records in one synced write.
fn write_start(
    engine: &Engine,
    descriptor: &Descriptor,
    with_state: bool,
) -> Result<(), StoreError> {
    let id = descriptor.id;
    let mut batch = engine.log_batch();
    batch.put(Family::Region, key::region(id, RegionKind::Descriptor), descriptor.encode());
    if with_state {
        let (configs, nodes) = membership_of(descriptor);
        let membership = Membership { log_id: Some(START), configs, nodes };
        let applied = Applied { log_id: Some(START), membership, clock: 0 };
        batch.put(Family::Region, key::region(id, RegionKind::Applied), applied.encode());
        batch.put(Family::RaftState, key::raft_state(id, RaftStateKind::Purged), START.encode());
    }
    engine.write_log(batch, Durability::Synced)?;
    Ok(())
}

/// The group's settings.
fn group_config(config: &Config, region: u64, elect: bool) -> Result<openraft::Config, StoreError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let group = openraft::Config {
        cluster_name: format!("region-{region}"),
        heartbeat_interval: millis(config.heartbeat),
        heartbeat_min_interval: Some(0),
        election_timeout_min: millis(config.election_min),
        election_timeout_max: millis(config.election_max),
        install_snapshot_timeout: 600_000,
        max_payload_entries: 1024,
        replication_lag_threshold: 50_000,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        purge_batch_size: 1,
        api_channel_size: Some(4096),
        enable_elect: elect,
        enable_pre_vote: Some(true),
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    group.validate().map_err(|error| StoreError::Group { region, why: error.to_string() })
}
