//! Which Region owns a slot: 16384 pointers, swapped as a whole, read without a lock.
//!
//! Every command looks here once, so a look-up must cost a load. Changes (a Region starts, ends or
//! gets another shape) are rare and copy the table.

use std::sync::Arc;

use arc_swap::ArcSwap;
use neokv_encoding::slot::{SLOTS, SlotRange};
use parking_lot::Mutex;

/// A map from slot to owner. A reader sees the table before or after a change, never in between.
pub struct SlotTable<T> {
    table: ArcSwap<Vec<Option<Arc<T>>>>,
    change: Mutex<()>,
}

impl<T> Default for SlotTable<T> {
    fn default() -> Self {
        let table = vec![None; usize::from(SLOTS)];
        SlotTable { table: ArcSwap::from_pointee(table), change: Mutex::new(()) }
    }
}

impl<T> SlotTable<T> {
    /// The owner of a slot.
    pub fn get(&self, slot: u16) -> Option<Arc<T>> {
        self.table.load().get(usize::from(slot)).cloned().flatten()
    }

    /// Makes `owner` the owner of exactly the slots that `range` says. It is asked under the lock,
    /// so that of two changes the later one has the last word.
    pub fn assign(&self, owner: &Arc<T>, range: impl FnOnce() -> SlotRange) {
        let _one_at_a_time = self.change.lock();
        let range = range();
        self.edit(|slot, current| {
            if range.contains(slot) {
                *current = Some(Arc::clone(owner));
            } else if current.as_ref().is_some_and(|other| Arc::ptr_eq(other, owner)) {
                *current = None;
            }
        });
    }

    /// Takes all slots away from `owner`.
    pub fn remove(&self, owner: &Arc<T>) {
        self.assign(owner, || SlotRange { start: 0, end: 0 });
    }

    /// Removes every owner.
    pub fn clear(&self) {
        let _one_at_a_time = self.change.lock();
        self.edit(|_, current| *current = None);
    }

    fn edit(&self, mut edit: impl FnMut(u16, &mut Option<Arc<T>>)) {
        let mut table = self.table.load().as_ref().clone();
        for (slot, current) in (0..SLOTS).zip(table.iter_mut()) {
            edit(slot, current);
        }
        self.table.store(Arc::new(table));
    }
}

impl<T> std::fmt::Debug for SlotTable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let owned = self.table.load().iter().filter(|owner| owner.is_some()).count();
        write!(f, "SlotTable({owned} of {SLOTS} slots owned)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_cover_exactly_their_ranges() {
        let table = SlotTable::default();
        let (one, two) = (Arc::new(1), Arc::new(2));
        let owners = |slots: [u16; 2]| slots.map(|slot| table.get(slot).map(|owner| *owner));
        let assign = |owner: &Arc<i32>, start, end| {
            table.assign(owner, || SlotRange::new(start, end).unwrap());
        };
        assert_eq!(owners([0, 16384]), [None, None]);
        assign(&one, 0, SLOTS);
        assert_eq!(owners([0, 16383]), [Some(1), Some(1)]);
        assign(&two, 100, 200);
        assert_eq!(owners([99, 100]), [Some(1), Some(2)]);
        assert_eq!(owners([199, 200]), [Some(2), Some(1)]);
        assign(&one, 0, 50);
        assert_eq!(owners([49, 50]), [Some(1), None]);
        assert_eq!(owners([150, 300]), [Some(2), None]);
        table.remove(&two);
        assert_eq!(owners([49, 150]), [Some(1), None]);
        table.clear();
        assert_eq!(owners([0, 49]), [None, None]);
    }
}
