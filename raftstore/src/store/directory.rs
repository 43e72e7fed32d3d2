//! The Regions of a store: by id, and by slot.
//!
//! A Region is listed before its group starts, so that what the group does while it starts finds
//! it, and nothing starts it a second time. It is listed until its removal is finished, so that a
//! removal that failed can be tried again; its slots are given up when the removal begins.

use std::collections::BTreeMap;
use std::sync::Arc;

use neokv_encoding::region::Descriptor;
use neokv_encoding::slot::SlotRange;
use parking_lot::RwLock;
use tokio::sync::Notify;

use super::slots::SlotTable;
use crate::machine::StateMachine;
use crate::region::Region;
use crate::shape::Routes;

/// See the module.
pub(crate) struct Directory<M: StateMachine> {
    regions: RwLock<Regions<M>>,
    slots: SlotTable<Region<M>>,
    /// Wakes those who wait for a Region to start.
    started: Notify,
}

struct Regions<M: StateMachine> {
    listed: BTreeMap<u64, Listed<M>>,
    /// The store is ending: no Region is listed any longer.
    closed: bool,
}

struct Listed<M: StateMachine> {
    region: Arc<Region<M>>,
    /// Its removal has not begun: slots lead to it.
    routed: bool,
}

impl<M: StateMachine> Default for Directory<M> {
    fn default() -> Self {
        Directory {
            regions: RwLock::new(Regions { listed: BTreeMap::new(), closed: false }),
            slots: SlotTable::default(),
            started: Notify::new(),
        }
    }
}

impl<M: StateMachine> Directory<M> {
    /// A Region by its id, unless its removal has begun.
    pub(crate) fn living(&self, id: u64) -> Option<Arc<Region<M>>> {
        let regions = self.regions.read();
        let listed = regions.listed.get(&id).filter(|listed| listed.routed);
        listed.map(|listed| Arc::clone(&listed.region))
    }

    /// Every Region whose removal has not begun, by id.
    pub(crate) fn all_living(&self) -> Vec<Arc<Region<M>>> {
        let regions = self.regions.read();
        let living = regions.listed.values().filter(|listed| listed.routed);
        living.map(|listed| Arc::clone(&listed.region)).collect()
    }

    /// A Region by its id, also while it is removed.
    pub(crate) fn get(&self, id: u64) -> Option<Arc<Region<M>>> {
        self.regions.read().listed.get(&id).map(|listed| Arc::clone(&listed.region))
    }

    /// The Region that owns a slot.
    pub(crate) fn of_slot(&self, slot: u16) -> Option<Arc<Region<M>>> {
        self.slots.get(slot)
    }

    /// Every Region, by id, also those that are removed.
    pub(crate) fn all(&self) -> Vec<Arc<Region<M>>> {
        let regions = self.regions.read();
        regions.listed.values().map(|listed| Arc::clone(&listed.region)).collect()
    }

    /// The replica of this peer, if its group runs.
    pub(crate) fn running(&self, id: u64, peer: u64) -> Option<Arc<Region<M>>> {
        self.get(id).filter(|region| region.peer == peer && region.raft.get().is_some())
    }

    /// The replica of this peer; waits until its group runs.
    pub(crate) async fn wait_for(&self, id: u64, peer: u64) -> Arc<Region<M>> {
        loop {
            // Listens before it looks: a start in between wakes it.
            let mut started = std::pin::pin!(self.started.notified());
            started.as_mut().enable();
            if let Some(region) = self.running(id, peer) {
                return region;
            }
            started.await;
        }
    }

    /// Lists a Region whose group is about to start; `false` if the store is ending.
    pub(crate) fn insert(&self, region: &Arc<Region<M>>) -> bool {
        {
            let mut regions = self.regions.write();
            if regions.closed {
                return false;
            }
            let listed = Listed { region: Arc::clone(region), routed: true };
            regions.listed.insert(region.id(), listed);
        }
        self.refresh(region);
        true
    }

    /// The group of a Region runs; `false` if the store is ending, which may have missed it.
    pub(crate) fn started(&self) -> bool {
        self.started.notify_waiters();
        !self.regions.read().closed
    }

    /// The removal of a Region begins: no slot leads to it any longer. It stays listed.
    pub(crate) fn retire(&self, id: u64) -> Option<Arc<Region<M>>> {
        let region = {
            let mut regions = self.regions.write();
            let listed = regions.listed.get_mut(&id)?;
            listed.routed = false;
            Arc::clone(&listed.region)
        };
        self.slots.remove(&region);
        Some(region)
    }

    /// The removal of a Region is finished.
    pub(crate) fn remove(&self, id: u64) {
        let removed = self.regions.write().listed.remove(&id);
        if let Some(listed) = removed {
            self.slots.remove(&listed.region);
        }
    }

    /// All Regions end, and no other begins.
    pub(crate) fn close(&self) -> Vec<Arc<Region<M>>> {
        let listed = {
            let mut regions = self.regions.write();
            regions.closed = true;
            std::mem::take(&mut regions.listed)
        };
        self.slots.clear();
        listed.into_values().map(|listed| listed.region).collect()
    }

    /// Gives a Region the slots of its descriptor. Every publisher of a descriptor comes here
    /// after, so the last call sees the newest.
    fn refresh(&self, region: &Arc<Region<M>>) {
        // Asked under the lock of the table: a removal that came in between has the last word.
        self.slots.assign(region, || {
            if self.is_routed(region) {
                region.descriptor().slots
            } else {
                SlotRange { start: 0, end: 0 }
            }
        });
    }

    fn is_routed(&self, region: &Arc<Region<M>>) -> bool {
        let regions = self.regions.read();
        let listed = regions.listed.get(&region.id());
        listed.is_some_and(|listed| listed.routed && Arc::ptr_eq(&listed.region, region))
    }
}

impl<M: StateMachine> Routes for Directory<M> {
    fn reshaped(&self, old: &Descriptor, new: &Descriptor) {
        // A Region that is not listed yet gets its slots when it is.
        if old.slots != new.slots
            && let Some(region) = self.get(new.id)
        {
            self.refresh(&region);
        }
    }
}
