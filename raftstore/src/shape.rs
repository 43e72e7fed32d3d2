//! A Region's shape on this store, and the one function that changes it.
//!
//! A Region's shape is its descriptor: slots, epoch, peers, state. Four places must agree about it:
//!
//! ```text
//!   region descriptor   the record, written in one batch with what changed it
//!   region replica      which peer lives here: joining ─▶ member ─▶ tombstone
//!   the published copy  what proposals and reads compare their epoch with, without a lock
//!   the slot table      which Region of this store a slot leads to
//! ```
//!
//! They agree because one function changes them. [`Shape::change`] puts the records into the batch
//! and returns a [`Reshaped`]; when the batch is written, [`Reshaped::publish`] swaps the copy and
//! moves the slots. Every change of a shape goes this way: a membership entry, a split, a snapshot,
//! the creation of a replica. A batch that is given up leaves everything as it was.
//!
//! # Which replica lives here
//!
//! The descriptor is the Region's and equal on all replicas; the replica record is this store's
//! own. A peer that joins begins as *joining*: the first descriptors that reach it may be older
//! than its own membership, and must not make it believe that it was removed. The first one that
//! lists it makes it a *member*. A later one that does not list it any more makes it a *tombstone*,
//! in the same batch, and a tombstone never starts again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::region::{Descriptor, Replica, ReplicaState};
use neokv_engine::{Batch, LogBatch};
use parking_lot::Mutex;

/// Told when a shape is published: the slot table of the store.
pub(crate) trait Routes: Send + Sync {
    /// Region `new.id` had the shape `old` and has the shape `new` from now on.
    fn reshaped(&self, old: &Descriptor, new: &Descriptor);
}

/// Something that records can be put into: both kinds of batches.
pub(crate) trait Records {
    fn put_record(&mut self, family: Family, key: &[u8], value: Vec<u8>);
}

impl Records for Batch<'_> {
    fn put_record(&mut self, family: Family, key: &[u8], value: Vec<u8>) {
        self.put(family, key, value);
    }
}

impl Records for LogBatch {
    fn put_record(&mut self, family: Family, key: &[u8], value: Vec<u8>) {
        self.put(family, key, value);
    }
}

/// See the module.
pub(crate) struct Shape {
    descriptor: ArcSwap<Descriptor>,
    replica: Mutex<Replica>,
    /// How often the data here was replaced or cleared by other means than entries.
    replaced: AtomicU64,
    /// The replica leaves this store.
    removed: AtomicBool,
    routes: Arc<dyn Routes>,
}

/// A change of shape whose records are in a batch that is not written yet.
#[must_use = "the change is not published"]
pub(crate) struct Reshaped {
    descriptor: Arc<Descriptor>,
    replica: Replica,
}

impl Shape {
    /// The shape as it is recorded.
    pub(crate) fn new(descriptor: Descriptor, replica: Replica, routes: Arc<dyn Routes>) -> Shape {
        Shape {
            descriptor: ArcSwap::from_pointee(descriptor),
            replica: Mutex::new(replica),
            replaced: AtomicU64::new(0),
            removed: AtomicBool::new(false),
            routes,
        }
    }

    /// The Region as of the last applied entry.
    pub(crate) fn descriptor(&self) -> Arc<Descriptor> {
        self.descriptor.load_full()
    }

    /// The replica that lives here.
    pub(crate) fn replica(&self) -> Replica {
        *self.replica.lock()
    }

    /// Whether a request that was routed by this version of the epoch still fits. One load.
    pub(crate) fn has_version(&self, version: u64) -> bool {
        self.descriptor.load().epoch.version == version
    }

    /// A snapshot is about to replace the data here, or the replica is about to be removed: reads
    /// that began before find out when they end.
    pub(crate) fn replacing(&self) {
        self.replaced.fetch_add(1, Ordering::AcqRel);
    }

    /// The replica leaves this store, and its slots lead to it no longer. Whoever holds it still is
    /// told to route again: nothing is wrong with the Region, it is elsewhere.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
    }

    /// Whether the replica leaves this store, or has left it.
    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }

    /// How often the data here was replaced.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Acquire)
    }

    /// Puts the records of the new shape into `batch`.
    pub(crate) fn change(&self, batch: &mut impl Records, new: Arc<Descriptor>) -> Reshaped {
        let replica = follow(self.replica(), &new);
        write(batch, &new, &replica);
        Reshaped { descriptor: new, replica }
    }
}

impl Reshaped {
    /// The batch is written: everybody may see the new shape. Returns the state of the replica.
    pub(crate) fn publish(self, shape: &Shape) -> ReplicaState {
        *shape.replica.lock() = self.replica;
        let old = shape.descriptor.swap(Arc::clone(&self.descriptor));
        shape.routes.reshaped(&old, &self.descriptor);
        self.replica.state
    }
}

/// Puts both records into a batch: also for a replica that has just come into being.
pub(crate) fn write(batch: &mut impl Records, descriptor: &Descriptor, replica: &Replica) {
    let region = descriptor.id;
    batch.put_record(
        Family::Region,
        &key::region(region, RegionKind::Descriptor),
        descriptor.encode(),
    );
    write_replica(batch, region, replica);
}

/// Puts the replica record alone into a batch.
pub(crate) fn write_replica(batch: &mut impl Records, region: u64, replica: &Replica) {
    batch.put_record(Family::Region, &key::region(region, RegionKind::Replica), replica.encode());
}

/// What a replica becomes with a new descriptor.
pub(crate) fn follow(replica: Replica, new: &Descriptor) -> Replica {
    let listed = new.peers.iter().any(|peer| peer.id == replica.peer);
    let state = match (replica.state, listed) {
        (ReplicaState::Tombstone, _) => ReplicaState::Tombstone,
        (ReplicaState::Joining, false) => ReplicaState::Joining,
        (ReplicaState::Member, false) => ReplicaState::Tombstone,
        (ReplicaState::Joining | ReplicaState::Member, true) => ReplicaState::Member,
    };
    Replica { peer: replica.peer, state, epoch: new.epoch }
}

#[cfg(test)]
mod tests {
    use neokv_encoding::raft::{Peer, PeerRole};
    use neokv_encoding::region::Epoch;

    use super::*;
    use crate::records::unknown;

    fn listing(peers: &[u64]) -> Descriptor {
        let peer = |id: &u64| Peer { id: *id, store: *id, role: PeerRole::Voter };
        Descriptor { peers: peers.iter().map(peer).collect(), ..unknown(1) }
    }

    #[test]
    fn a_replica_joins_is_a_member_and_stays_removed() {
        let mut replica =
            Replica { peer: 3, state: ReplicaState::Joining, epoch: Epoch::default() };
        let story: [(&[u64], ReplicaState); 5] = [
            (&[1, 2], ReplicaState::Joining),
            (&[1, 2, 3], ReplicaState::Member),
            (&[2, 3], ReplicaState::Member),
            (&[2], ReplicaState::Tombstone),
            (&[2, 3], ReplicaState::Tombstone),
        ];
        for (peers, expected) in story {
            replica = follow(replica, &listing(peers));
            assert_eq!(replica.state, expected, "{peers:?}");
        }
    }
}
