//! Which Region owns a slot: 16384 pointers, swapped as a whole, read without a lock.
//!
//! Every command looks here once, so a look-up must cost a load. Changes (bootstrap, later split
//! and merge) are rare and copy the table.

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

    /// Makes `owner` the owner of all slots in `range`, and removes it from all others.
    pub fn assign(&self, range: SlotRange, owner: &Arc<T>) {
        self.change(|slot, current| {
            if range.contains(slot) {
                *current = Some(Arc::clone(owner));
            } else if current.as_ref().is_some_and(|other| Arc::ptr_eq(other, owner)) {
                *current = None;
            }
        });
    }

    /// Removes every owner.
    pub fn clear(&self) {
        self.change(|_, current| *current = None);
    }

    fn change(&self, mut edit: impl FnMut(u16, &mut Option<Arc<T>>)) {
        let _one_at_a_time = self.change.lock();
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
        let range = |start, end| SlotRange::new(start, end).unwrap();
        assert_eq!(table.get(0), None);
        table.assign(SlotRange::ALL, &one);
        assert_eq!(
            (table.get(0), table.get(16383), table.get(16384)),
            (Some(one.clone()), Some(one.clone()), None)
        );
        table.assign(range(100, 200), &two);
        assert_eq!((table.get(99), table.get(100)), (Some(one.clone()), Some(two.clone())));
        assert_eq!((table.get(199), table.get(200)), (Some(two.clone()), Some(one.clone())));
        table.assign(range(0, 50), &one);
        assert_eq!((table.get(49), table.get(50), table.get(150)), (Some(one), None, Some(two)));
        table.clear();
        assert_eq!(table.get(0), None);
    }
}
