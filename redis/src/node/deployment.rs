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

/// The id of a store that stands alone.
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
    /// The slots of the Regions that the first start makes, each with one replica. Later starts
    /// make what a first one that was killed has left out ([`missing_regions`]). Only for a store
    /// that has the whole keyspace: elsewhere a Region that is missing may just be on another
    /// store.
    pub first_ranges: Vec<SlotRange>,
    /// Whether this is the only store for ever.
    pub stands_alone: bool,
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
            first_ranges: equal_ranges(regions),
            stands_alone: true,
            transport: Arc::new(NoPeers),
            topology: Box::new(|store, identity| {
                Arc::new(LocalTopology::new(store, identity.node.clone()))
            }),
        }
    }
}

/// All slots in so many ranges of about the same size, at least one.
fn equal_ranges(regions: u16) -> Vec<SlotRange> {
    let regions = u32::from(regions.max(1));
    // The quotient is at most the number of slots, which is an u16.
    let bound = |part: u32| u16::try_from(u32::from(SLOTS) * part / regions).unwrap_or(SLOTS);
    (0..regions).map(|part| SlotRange { start: bound(part), end: bound(part + 1) }).collect()
}

/// The Regions that a start must make, so that every slot of `ranges` is in one: all of them at the
/// first start, those that are missing after a first start that was killed, none later.
///
/// ```text
/// killed start, cut in 4   [ Region 1 ][ Region 2 ]                        two were not made
/// next start, cut in 3     [    range    ][    range    ][    range    ]
/// it makes                                 [  Region 3  ][   Region 4   ]  ranges less Regions
/// ```
///
/// So no slot is left without a Region and none is in two, whatever the ranges of the first start
/// were. Regions that are here stay as they are: they may have been split or merged.
pub(super) fn missing_regions(
    store: u64,
    ranges: &[SlotRange],
    here: &[Arc<Descriptor>],
) -> Vec<Descriptor> {
    let mut taken: Vec<SlotRange> = here.iter().map(|region| region.slots).collect();
    taken.sort_by_key(|slots| slots.start);
    let first_id = here.iter().map(|region| region.id).max().map_or(1, |id| id + 1);
    let gaps = ranges.iter().flat_map(|range| gaps(*range, &taken));
    (first_id..).zip(gaps).map(|(id, slots)| lone_region(store, id, slots)).collect()
}

/// The parts of a range that are not taken. `taken` is sorted.
fn gaps(range: SlotRange, taken: &[SlotRange]) -> Vec<SlotRange> {
    let (mut gaps, mut start) = (Vec::new(), range.start);
    for taken in taken.iter().filter(|taken| taken.start < range.end && taken.end > range.start) {
        if taken.start > start {
            gaps.push(SlotRange { start, end: taken.start });
        }
        start = start.max(taken.end);
    }
    if start < range.end {
        gaps.push(SlotRange { start, end: range.end });
    }
    gaps
}

/// A Region of these slots whose only replica is in this store.
fn lone_region(store: u64, id: u64, slots: SlotRange) -> Descriptor {
    Descriptor {
        id,
        slots,
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: vec![Peer { id, store, role: PeerRole::Voter }],
        state: RegionState::Normal,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn regions_share_all_slots_without_a_gap() {
        for count in [1, 2, 3, 64, 1000, SLOTS] {
            let ranges = equal_ranges(count);
            assert_eq!(ranges.len(), usize::from(count));
            assert_shares_all_slots(&ranges);
        }
    }

    fn assert_shares_all_slots(ranges: &[SlotRange]) {
        let mut next = 0;
        for range in ranges {
            assert_eq!(range.start, next);
            assert!(range.end > range.start);
            next = range.end;
        }
        assert_eq!(next, SLOTS);
    }

    /// Whatever part of a plan was carried out, and whatever the next plan is.
    #[test]
    fn a_start_that_was_killed_is_finished_by_any_other() {
        for made in 0..32u8 {
            let planned = missing_regions(STANDALONE, &equal_ranges(5), &[]);
            assert_eq!(planned.iter().map(|region| region.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
            let is_made = |region: &Descriptor| made >> (region.id - 1) & 1 == 1;
            let here: Vec<_> = planned.into_iter().filter(is_made).map(Arc::new).collect();
            for count in [1, 2, 3, 5, 7, 100] {
                let mut all = missing_regions(STANDALONE, &equal_ranges(count), &here);
                all.extend(here.iter().map(|region| (**region).clone()));
                let ids: BTreeSet<u64> = all.iter().map(|region| region.id).collect();
                assert_eq!(ids.len(), all.len(), "each has its own id");
                all.sort_by_key(|region| region.slots.start);
                let ranges: Vec<SlotRange> = all.iter().map(|region| region.slots).collect();
                assert_shares_all_slots(&ranges);
            }
        }
    }
}
