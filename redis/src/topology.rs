//! Which Regions and nodes there are, and who serves what.
//!
//! Routing, CLUSTER and commands over every Region ask the trait [`Topology`]. What they hear is
//! plain data as of one instant:
//!
//! ```text
//! regions()         [0, 16384) Region 1, led by store 1 (here)     in the order of their slots
//! region_of_slot(7) the same
//! nodes()           store 1: here, the address that the client came to
//! ```
//!
//! [`LocalTopology`] answers from the Regions of the local store alone. It is all there is where
//! one node is the whole cluster; where there are more, an implementation that hears from the
//! scheduler takes its place.

use std::sync::Arc;

use neokv_encoding::region::{Descriptor, Epoch};
use neokv_encoding::slot::SlotRange;
use neokv_raftstore::{Region, StateMachine, Store};

/// Which Regions and nodes there are.
pub trait Topology: Send + Sync {
    /// Every known Region that has slots, in the order of their slots. A replica that joins
    /// has none until its snapshot is installed.
    fn regions(&self) -> Vec<RegionInfo>;

    /// The Region that serves a slot, if one is known.
    fn region_of_slot(&self, slot: u16) -> Option<RegionInfo>;

    /// Every known node, this one included.
    fn nodes(&self) -> Vec<NodeInfo>;

    /// The Redis address of a store as `host:port`, if it is known: for MOVED.
    fn address(&self, store: u64) -> Option<String>;
}

/// One Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// Its id.
    pub id: u64,
    /// Its slots.
    pub slots: SlotRange,
    /// Grows when its slots or its replicas change.
    pub epoch: Epoch,
    /// The store that leads it, if that is known.
    pub leader: Option<u64>,
    /// Whether that is this one.
    pub is_led_here: bool,
    /// Whether this store has a replica.
    pub is_here: bool,
}

/// One node, which has one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its store.
    pub store: u64,
    /// Its name: 40 hexadecimal digits.
    pub id: String,
    /// Host and port for Redis clients; `None` for this node, which every client reaches at the
    /// address that it came to.
    pub address: Option<(String, u16)>,
    /// The last log index that it has applied, all Regions together.
    pub applied: u64,
}

/// What the local store knows: its own Regions, and itself as the only node.
pub struct LocalTopology<M: StateMachine> {
    store: Arc<Store<M>>,
    node_id: String,
}

impl<M: StateMachine> LocalTopology<M> {
    /// The topology of a store whose node has this name.
    #[must_use]
    pub fn new(store: Arc<Store<M>>, node_id: String) -> LocalTopology<M> {
        LocalTopology { store, node_id }
    }

    fn info(&self, region: &Region<M>) -> RegionInfo {
        let Descriptor { id, slots, epoch, .. } = *region.descriptor();
        // The status is a copy of all that the group knows: not for each Region of each SCAN. A
        // leader that does not serve yet is the leader all the same.
        let leader =
            if region.is_serving() { Some(self.store.id()) } else { region.status().leader_store };
        RegionInfo {
            id,
            slots,
            epoch,
            leader,
            is_led_here: leader == Some(self.store.id()),
            is_here: true,
        }
    }
}

impl<M: StateMachine> Topology for LocalTopology<M> {
    fn regions(&self) -> Vec<RegionInfo> {
        let regions = self.store.regions();
        let infos = regions.iter().map(|region| self.info(region));
        let mut regions: Vec<RegionInfo> = infos.filter(|info| !info.slots.is_empty()).collect();
        regions.sort_by_key(|region| region.slots.start);
        regions
    }

    fn region_of_slot(&self, slot: u16) -> Option<RegionInfo> {
        self.store.region_of_slot(slot).map(|region| self.info(&region))
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        let indexes = self
            .store
            .regions()
            .into_iter()
            .filter_map(|region| region.status().applied.map(|applied| applied.index));
        vec![NodeInfo {
            store: self.store.id(),
            id: self.node_id.clone(),
            address: None,
            applied: indexes.sum(),
        }]
    }

    fn address(&self, _: u64) -> Option<String> {
        None
    }
}
