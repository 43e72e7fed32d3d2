//! What a node is within its cluster: the part of its start that is not configuration.
//!
//! A standalone server and a node of a cluster are the same program around different values of
//! [`Deployment`]: who the store is, how it reaches others, which Regions the first start makes,
//! and who knows about other nodes.

use std::sync::Arc;

use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::{SLOTS, SlotRange};
use neokv_raftstore::Store;
use neokv_raftstore::transport::{NoPeers, Transport};

use crate::identity::NodeIdentity;
use crate::machine::RedisMachine;
use crate::topology::{LocalTopology, Topology};

/// The id of the only store, its only Region, and that Region's only peer.
const STANDALONE: u64 = 1;

/// Makes the topology of a node whose store is open.
pub type TopologySource =
    Box<dyn FnOnce(Arc<Store<RedisMachine>>, &NodeIdentity) -> Arc<dyn Topology> + Send>;

/// What a node is within its cluster.
pub struct Deployment {
    /// The store's id in its cluster.
    pub store_id: u64,
    /// The cluster's id; `None` lets the first start choose one at random.
    pub cluster_id: Option<u64>,
    /// Regions to make at the start where no Region has their slots. Only for a store that has the
    /// whole keyspace: elsewhere a Region that is missing may just be on another store.
    pub first_regions: Vec<Descriptor>,
    /// How other stores are reached.
    pub transport: Arc<dyn Transport>,
    /// Which Regions and nodes there are.
    pub topology: TopologySource,
}

impl Deployment {
    /// One store alone. Its first start makes `regions` Regions of about the same number of slots.
    #[must_use]
    pub fn standalone(regions: u16) -> Deployment {
        Deployment {
            store_id: STANDALONE,
            cluster_id: None,
            first_regions: lone_regions(regions),
            transport: Arc::new(NoPeers),
            topology: Box::new(|store, identity| {
                Arc::new(LocalTopology::new(store, identity.node.clone()))
            }),
        }
    }
}

/// So many Regions (at least one) that share all slots.
fn lone_regions(regions: u16) -> Vec<Descriptor> {
    let regions = u32::from(regions.max(1));
    // The quotient is at most the number of slots, which is an u16.
    let bound = |part: u32| u16::try_from(u32::from(SLOTS) * part / regions).unwrap_or(SLOTS);
    let ranges = (0..regions).map(|part| SlotRange { start: bound(part), end: bound(part + 1) });
    (1..).zip(ranges).map(|(id, slots)| lone_region(id, slots)).collect()
}

/// A Region of these slots whose only replica is in the only store.
pub(crate) fn lone_region(id: u64, slots: SlotRange) -> Descriptor {
    Descriptor {
        id,
        slots,
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: vec![Peer { id, store: STANDALONE, role: PeerRole::Voter }],
        state: RegionState::Normal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_share_all_slots_without_a_gap() {
        for count in [1, 2, 3, 64, 1000, SLOTS] {
            let regions = lone_regions(count);
            assert_eq!(regions.len(), usize::from(count));
            let mut next = 0;
            for region in &regions {
                assert_eq!(region.slots.start, next);
                assert!(region.slots.end > region.slots.start);
                next = region.slots.end;
            }
            assert_eq!(next, SLOTS);
        }
    }
}
