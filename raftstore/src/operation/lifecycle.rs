//! The life of a replica on this store: created with a start state or empty, removed, remembered.
//!
//! ```text
//!                bootstrap                                           removal applied, or
//!   (nothing) ─────────────────▶ member ◀──────────── joining       destroy
//!        │                          │      a descriptor    ▲            │
//!        │                          │      lists it        │            │
//!        └── create_empty ──────────┼──────────────────────┘            ▼
//!                                   └─────────────────────────────▶ tombstone
//!                                                                       │ a greater peer id only
//!                                                                       └──▶ joining, member
//! ```
//!
//! # The start state
//!
//! A new Region begins as if everything up to a fixed log id had been applied and purged:
//!
//! ```text
//!   region      replica      this store's peer, a member
//!   region      descriptor   as given
//!   region      applied      log id (0, 5), membership of the descriptor at (0, 5), clock
//!   raft_state  purged       log id (0, 5)
//!   raft_log                 empty;  no vote
//! ```
//!
//! Every store writes these bytes by itself and they are equal everywhere (but for the replica), so
//! all replicas are members of the same group from the first moment and none has to be asked. The
//! index is above zero on purpose: a learner that joins later cannot be served from the log alone,
//! it must receive a snapshot, which carries whatever state the Region inherited.
//!
//! # The end
//!
//! A replica that was removed leaves a tombstone: its peer id, so that no late message can start
//! the peer again. Tombstone and removal of records, log and data are one synced write. A crash
//! before it finds a replica whose record is a tombstone already (the removal was applied) or one
//! that lives; the next start finishes the first and starts the second.
//!
//! The removal clears everything that no other Region of the store owns by then. It does not rely
//! on the replica's own descriptor, which may be old, or missing. A *start* is more careful: rows
//! that no Region owns and no unfinished removal names may be all that is left of a Region whose
//! records were lost. It refuses to go on, see [`crate::open`].
//!
//! A successor under a greater peer id comes only after that: [`Store::create_empty`] first
//! finishes the removal of its predecessor, which may still run.
//!
//! # Operations run to their end
//!
//! An operation that has begun goes on when its caller gives up: it runs in a task of its own. One
//! that failed can be tried again: the replica stays listed, stopped, until it is gone. The janitor
//! tries again what the log has decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind, RegionKind};
use neokv_encoding::raft::{LogId, Membership, Peer, PeerRole};
use neokv_encoding::region::{Applied, Descriptor, Epoch, Replica, ReplicaState};
use neokv_engine::{Durability, EngineError, LogBatch};

use crate::blocking::blocking;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::ownership::OwnershipGuard;
use crate::ranges;
use crate::records::{self, Recorded};
use crate::region::Region;
use crate::shape::{self, Records};
use crate::snapshot;
use crate::store::{Inner, Store};
use crate::types::Origin;

/// Where every Region's log begins.
pub(super) const START: LogId = LogId { term: 0, index: 5 };

impl<M: StateMachine> Store<M> {
    /// Creates this store's replica of a new Region with its start state: no data, the descriptor's
    /// peers as membership, and a log that begins after index 5. Every store of the descriptor does
    /// the same, so all replicas begin alike and no replica is special.
    ///
    /// # Errors
    ///
    /// [`StoreError::Create`] if the Region is here already, overlaps another one, or has no peer
    /// on this store.
    pub async fn bootstrap(&self, descriptor: Descriptor) -> Result<Arc<Region<M>>, StoreError> {
        let store = Arc::clone(&self.0);
        let region = descriptor.id;
        let refuse = |why| store.refuse(region, why);
        if !descriptor.peers.iter().any(|peer| peer.role == PeerRole::Voter) {
            return Err(refuse("it has no voter"));
        }
        if !has_distinct_peers(&descriptor.peers) {
            return Err(refuse("two of its peers have the same id, or the same store"));
        }
        if Origin::Peer.descriptor(descriptor.clone()).is_err() {
            return Err(refuse("its epoch is so large that none can follow it"));
        }
        let mine = descriptor.peers.iter().find(|peer| peer.store == store.config.store_id);
        let peer = mine.ok_or_else(|| refuse("it has no peer on this store"))?.id;
        let replica = Replica { peer, state: ReplicaState::Member, epoch: descriptor.epoch };
        let new = Recorded { region, replica, descriptor: Some(descriptor) };
        self.detached(region, async move { store.create(new).await }).await
    }

    /// Creates an empty replica that knows nothing yet: the leader fills it with a snapshot. For a
    /// peer that joins a Region which has lived elsewhere before.
    ///
    /// # Errors
    ///
    /// [`StoreError::Create`] if a replica of the Region is here already, or the peer was removed.
    pub async fn create_empty(&self, region: u64, peer: u64) -> Result<Arc<Region<M>>, StoreError> {
        let replica = Replica { peer, state: ReplicaState::Joining, epoch: Epoch::default() };
        let new = Recorded { region, replica, descriptor: None };
        let store = Arc::clone(&self.0);
        self.detached(region, async move { store.create(new).await }).await
    }

    /// Removes this store's replica of a Region, with its data and its log, and leaves a tombstone.
    /// The group goes on without it: remove the peer from the membership first. After an error the
    /// replica is stopped; try again.
    ///
    /// # Errors
    ///
    /// [`StoreError::UnknownRegion`] if it is not here, [`StoreError::Engine`] if the records could
    /// not be written.
    pub async fn destroy(&self, region: u64) -> Result<(), StoreError> {
        let store = Arc::clone(&self.0);
        let work = async move {
            let _one_at_a_time = store.lifecycle.lock().await;
            if store.space.is_raised() {
                // The tombstone needs room, and the group would wait for it with its writes.
                let detail = "a replica cannot be removed while the disk is full".into();
                return Err(StoreError::Engine(EngineError::NoSpace { detail }));
            }
            store.remove(region).await
        };
        self.detached(region, work).await
    }

    /// Runs an operation to its end, also if the caller does not wait for it.
    async fn detached<T: Send + 'static>(
        &self,
        region: u64,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let done = self.0.handle.spawn(work).await;
        done.unwrap_or_else(|error| Err(StoreError::Group { region, why: error.to_string() }))
    }
}

impl<M: StateMachine> Inner<M> {
    fn refuse(&self, region: u64, why: &'static str) -> StoreError {
        StoreError::Create { region, store: self.config.store_id, why }
    }

    /// Records a new replica and starts its group.
    async fn create(self: &Arc<Self>, new: Recorded) -> Result<Arc<Region<M>>, StoreError> {
        let _one_at_a_time = self.lifecycle.lock().await;
        self.finish_removal(&new).await?;
        let (store, recorded) = (Arc::clone(self), new.clone());
        let written = blocking(move || store.record_new(&recorded)).await;
        written.map_err(|error| failed(new.region, &error))??;
        self.start_region(new, false).await
    }

    /// If an earlier peer of the Region was removed, its group may still run, and its records may
    /// still be there: they go before its successor comes.
    async fn finish_removal(self: &Arc<Self>, new: &Recorded) -> Result<(), StoreError> {
        let (store, region, peer) = (Arc::clone(self), new.region, new.replica.peer);
        let unfinished = blocking(move || {
            let known = records::replica(&store.engine, region)?;
            let removed = known
                .is_some_and(|known| known.state == ReplicaState::Tombstone && known.peer < peer);
            Ok::<_, StoreError>(removed && records::has_remains(&store.engine, region)?)
        });
        if unfinished.await.map_err(|error| failed(region, &error))?? {
            self.remove(region).await?;
        }
        Ok(())
    }

    /// Writes the records of a new replica, if it may be created here. Blocks on disk.
    fn record_new(&self, new: &Recorded) -> Result<(), StoreError> {
        let ownership = self.ownership.lock();
        self.check_new(new, &ownership)?;
        if let Some(descriptor) = &new.descriptor {
            self.clear_left(new.region, descriptor)?;
        }
        {
            // A split may be about to create the very same replica: it has written it before this,
            // or finds it after. Entries of all Regions wait for this lock, so the rows are cleared
            // before it, and the sync comes after it. Rows that were nobody's then still are: a
            // split gives its child only what the parent had, and the first check would have
            // refused that.
            let _one_at_a_time = self.creation.lock();
            self.check_new(new, &ownership)?;
            let mut batch = self.engine.log_batch();
            write_new(&mut batch, new, 0);
            self.engine.write_log(batch, Durability::Buffered)?;
        }
        // Whatever is written because the replica was found is synced after it.
        Ok(self.engine.sync()?)
    }

    /// A new Region is empty, whatever a former owner of its slots has left. They are nobody's, and
    /// the caller holds the lock of ownership.
    fn clear_left(&self, region: u64, descriptor: &Descriptor) -> Result<(), StoreError> {
        let left = records::with_rows(&self.engine, self.machine.ranges(descriptor))?;
        if !left.is_empty() {
            self.engine.clear_ranges(&left)?;
            self.machine.removed(region, &left);
        }
        Ok(())
    }

    /// Whether a replica may be created here.
    fn check_new(&self, new: &Recorded, ownership: &OwnershipGuard<'_>) -> Result<(), StoreError> {
        let region = new.region;
        let claimed = ownership.claimed_by_others(&*self.machine, region);
        let snapshot = self.engine.snapshot();
        let refuse = |why| Err(self.refuse(region, why));
        match records::replica(&snapshot, region)? {
            None => {}
            Some(known) if known.state != ReplicaState::Tombstone => {
                return refuse("a replica of it is here");
            }
            Some(removed) if removed.peer >= new.replica.peer => {
                return refuse("this peer, or a later one, was here and was removed");
            }
            Some(_) => {}
        }
        if records::has_remains(&snapshot, region)? {
            return refuse("the records of an earlier replica are still here");
        }
        let Some(descriptor) = &new.descriptor else { return Ok(()) };
        let ranges = self.machine.ranges(descriptor);
        if ranges.is_empty() {
            return refuse("it has no slots");
        }
        let mut others = records::owned_by_others(&snapshot, &*self.machine, region)?;
        others.extend(claimed);
        if ranges::overlap(&ranges, &others) {
            return refuse("its slots overlap another region's");
        }
        Ok(())
    }

    /// Ends the group, then clears everything of it but the tombstone. The caller holds the lock of
    /// the lifecycle.
    async fn remove(self: &Arc<Self>, region: u64) -> Result<(), StoreError> {
        if let Some(running) = self.directory.retire(region) {
            // First, so that whoever waits in it is told that, and not that it has failed.
            running.shape.remove();
            running.end("the replica was removed from this store").await;
            running.shape.replacing();
        }
        // What the group had queued must not come after the tombstone.
        self.writer.barrier().await.map_err(|error| failed(region, &error))?;
        let store = Arc::clone(self);
        let destroyed = blocking(move || store.destroy_records(region)).await;
        destroyed.map_err(|error| failed(region, &error))??;
        self.directory.remove(region);
        // No message finds the replica any longer. What was still arriving for it goes.
        let receiver = Arc::clone(&self.receiver);
        let ended = blocking(move || receiver.end_transfer(region)).await;
        ended.map_err(|error| failed(region, &error))
    }

    /// Writes the tombstone and clears records, log and data of a replica without a group. Blocks
    /// on disk.
    pub(crate) fn destroy_records(&self, region: u64) -> Result<(), StoreError> {
        let ownership = self.ownership.lock();
        let claimed = ownership.claimed_by_others(&*self.machine, region);
        let snapshot = self.engine.snapshot();
        let replica = records::replica(&snapshot, region)?;
        let replica = replica.ok_or(StoreError::UnknownRegion { region })?;
        // All that no other replica owns: that of a replica which joins has no descriptor, and a
        // descriptor from before a split does not name what a child has left.
        let unowned = records::unowned_but_for(&snapshot, &*self.machine, region)?;
        // What an install is about to give to another Region is nobody's by the records. It clears
        // what is there. If a crash keeps it from that the next start does it, and finds the reason
        // in the descriptor.
        let unowned = ranges::subtract(unowned, &claimed);
        let cleared = records::with_rows(&snapshot, unowned.clone())?;
        let descriptor = records::descriptor(&snapshot, region)?;
        let left = descriptor.map(|mine| self.machine.ranges(&mine)).unwrap_or_default();
        let left = records::with_rows(&snapshot, ranges::intersect(left, &claimed))?;
        drop(snapshot);
        let mut batch = self.engine.log_batch();
        shape::write_replica(
            &mut batch,
            region,
            &Replica { state: ReplicaState::Tombstone, ..replica },
        );
        clear_records(&mut batch, region, left.is_empty());
        for (family, range) in &cleared {
            batch.delete_range(*family, &range.start, &range.end);
        }
        self.engine.write_log(batch, Durability::Synced)?;
        // An install of this replica that failed must not be finished at a later start.
        snapshot::discard(&self.engine, &self.config.snapshot_dir, region)?;
        // Gives the space back at once; what is left goes with compaction.
        self.engine.delete_files_in_ranges(&cleared)?;
        self.machine.removed(region, &unowned);
        tracing::info!(region, peer = replica.peer, "replica removed");
        Ok(())
    }
}

fn failed(region: u64, error: &std::io::Error) -> StoreError {
    StoreError::Group { region, why: error.to_string() }
}

/// Whether no two peers have the same id or live on the same store.
pub(super) fn has_distinct_peers(peers: &[Peer]) -> bool {
    let ids: BTreeSet<u64> = peers.iter().map(|peer| peer.id).collect();
    let stores: BTreeSet<u64> = peers.iter().map(|peer| peer.store).collect();
    ids.len() == peers.len() && stores.len() == peers.len()
}

/// Removes a replica that is a tombstone by now.
pub(super) fn remove_soon<M: StateMachine>(store: &Arc<Inner<M>>, region: u64) {
    let Some(found) = store.directory.get(region) else { return };
    let replica = found.shape.replica();
    if replica.state == ReplicaState::Tombstone {
        remove_peer_soon(store, region, replica.peer);
    }
}

/// Removes this peer of a Region, in a task of its own: what notices that it must go may run on the
/// Region's own thread. If that fails the janitor tries again.
pub(super) fn remove_peer_soon<M: StateMachine>(store: &Arc<Inner<M>>, region: u64, peer: u64) {
    // One at a time is enough.
    if !store.removing.lock().insert(region) {
        return;
    }
    let removing = Arc::clone(store);
    store.handle.spawn(async move {
        if let Err(error) = removing.remove_peer(region, peer).await {
            tracing::error!(region, %error, "a removed replica could not be cleared away");
        }
        removing.removing.lock().remove(&region);
    });
}

impl<M: StateMachine> Inner<M> {
    async fn remove_peer(self: &Arc<Self>, region: u64, peer: u64) -> Result<(), StoreError> {
        let is_it = |found: &Arc<Region<M>>| found.peer == peer;
        let Some(found) = self.directory.get(region).filter(is_it) else { return Ok(()) };
        // A leader that removed itself has to tell the others that the entry is committed.
        found.wait_while_leading(self.config.election_max).await;
        let _one_at_a_time = self.lifecycle.lock().await;
        // It may be gone, or the Region may have come back under a new peer id meanwhile.
        if self.directory.get(region).is_none_or(|found| found.peer != peer) {
            return Ok(());
        }
        self.remove(region).await
    }
}

/// Puts the records of a new replica into a batch: with the start state if its shape is known. The
/// Region's clock begins at `clock`.
pub(super) fn write_new(batch: &mut impl Records, new: &Recorded, clock: u64) {
    let region = new.region;
    let Some(descriptor) = &new.descriptor else {
        return shape::write_replica(batch, region, &new.replica);
    };
    shape::write(batch, descriptor, &new.replica);
    let (configs, nodes) = configuration(descriptor);
    let membership = Membership { log_id: Some(START), configs, nodes };
    let applied = Applied { log_id: Some(START), membership, clock };
    let key = key::region(region, RegionKind::Applied);
    batch.put_record(Family::Region, &key, applied.encode());
    let purged = key::raft_state(region, RaftStateKind::Purged);
    batch.put_record(Family::RaftState, &purged, START.encode());
}

/// Removes every record of a Region but the replica, and its log. The descriptor stays if rows that
/// it names do.
fn clear_records(batch: &mut LogBatch, region: u64, all_cleared: bool) {
    let descriptor = all_cleared.then_some(RegionKind::Descriptor);
    for kind in descriptor.into_iter().chain([RegionKind::Applied]) {
        batch.delete(Family::Region, key::region(region, kind));
    }
    for kind in RaftStateKind::ALL {
        batch.delete(Family::RaftState, key::raft_state(region, kind));
    }
    let (start, end) = (key::raft_log(region, 0), key::raft_log(region, u64::MAX));
    batch.delete_range(Family::RaftLog, start, end);
}

/// Voters and nodes of a descriptor.
fn configuration(descriptor: &Descriptor) -> (Vec<BTreeSet<u64>>, BTreeMap<u64, u64>) {
    let voters = descriptor.peers.iter().filter(|peer| peer.role == PeerRole::Voter);
    let voters = voters.map(|peer| peer.id).collect();
    let nodes = descriptor.peers.iter().map(|peer| (peer.id, peer.store)).collect();
    (vec![voters], nodes)
}
