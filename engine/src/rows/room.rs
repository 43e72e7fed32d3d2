//! How much memory rows take and may take, and which leave when there are too many.
//!
//! Those stay that are touched again and again (the clock algorithm): a hand goes round all rows,
//! and takes out each that may leave and was not touched since the hand passed it the last time.
//! One hand for the whole table, not one for each part: all rows of a collection are in one part,
//! so a large collection that is used all the time would get a part's share of the memory, and
//! what nobody uses would keep the rest.
//!
//! The table begins with less memory than it may take. Rows that are only written find their way
//! into RocksDB and need none of it. When a look-up has to fetch a row from RocksDB because there
//! was no room to keep it, there is room for it from then on, up to the bound. So the memory
//! follows what is used.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::RowTable;
use super::shard::SHARDS;

/// Rows that are looked at for each that comes. More than one, so that nobody has to wait for many.
pub(super) const LOOKS: usize = 4;

/// Bytes of memory that the rows of all parts take, about.
#[derive(Debug, Default)]
pub(crate) struct Held(AtomicUsize);

impl Held {
    /// What took `before` bytes takes `now`.
    #[inline]
    pub(crate) fn change(&self, before: usize, now: usize) {
        // Modulo 2^64 the sum over all changes is right, whatever their order.
        self.0.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Now.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bounds of the memory for rows, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoomBounds {
    /// From the beginning.
    pub(crate) first: usize,
    /// Once look-ups have shown a need for it.
    pub(crate) most: usize,
}

/// The room that there is.
#[derive(Debug)]
pub(super) struct Room {
    bytes: AtomicUsize,
    most: usize,
    /// The number of the part that the hand is in.
    hand: AtomicU32,
}

impl Room {
    pub(super) fn new(RoomBounds { first, most }: RoomBounds) -> Room {
        Room { bytes: AtomicUsize::new(first.min(most)), most, hand: AtomicU32::new(0) }
    }

    /// Bytes beyond which rows leave.
    pub(super) fn bytes(&self) -> usize {
        // Two threads that grow it at once may pass the bound.
        self.bytes.load(Ordering::Relaxed).min(self.most)
    }

    /// The most that it may become.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    fn grow(&self, bytes: usize) {
        if self.bytes() < self.most {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The hand has passed all rows of a part.
    fn pass(&self, part: u32) {
        let next = (part + 1) % u32::from(SHARDS);
        // Whoever was faster has moved it already.
        let _ = self.hand.compare_exchange(part, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl RowTable {
    /// Whether rows take more memory than they may.
    #[inline]
    fn is_full(&self) -> bool {
        self.shards.held() > self.room.bytes()
    }

    /// A row of so many bytes came from RocksDB. If the table is full, that is why it was not here.
    pub(super) fn want_room(&self, bytes: usize) {
        if self.is_full() {
            self.room.grow(bytes);
        }
    }

    /// Takes rows out if there are too many, and looks at `looks` rows at most for that. To be
    /// called without the lock of a part.
    pub(super) fn make_room(&self, looks: usize) {
        /// As many look-ups may have to wait for.
        const AT_ONCE: usize = 256;
        let (mut left, mut passed) = (looks, 0);
        // After a whole round there is nothing more to be had.
        while left > 0 && passed <= SHARDS && self.is_full() {
            let part = self.room.hand.load(Ordering::Relaxed);
            let mut shard = self.shards.lock(part);
            let looked = shard.evict(left.min(AT_ONCE), || self.is_full());
            left -= looked.rows;
            if looked.has_passed_all {
                self.room.pass(part);
                passed += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use neokv_encoding::family::Family;
    use neokv_encoding::key::UserKey;

    use super::super::Bounds;
    use super::*;
    use crate::readers::Readers;

    fn table(first: usize, most: usize) -> RowTable {
        RowTable::new(Bounds { dirty: 1 << 20, rows: RoomBounds { first, most } })
    }

    /// Looks a row up as a command does that finds it in RocksDB.
    fn look_up(table: &RowTable, key: &[u8]) {
        if let Err(at) = table.get_last(Family::Subkey, key) {
            table.keep(Family::Subkey, key, Some(&[b'v'; 64]), at);
        }
    }

    fn field(collection: &str, number: u32) -> Vec<u8> {
        UserKey::new(0, collection.to_owned().into()).subkey(1, &number.to_be_bytes())
    }

    #[test]
    fn a_collection_may_use_the_memory_of_the_whole_table() {
        let table = table(1 << 20, 1 << 20);
        for number in 0..200 {
            look_up(&table, &field(&format!("other{number}"), 0));
        }
        for _ in 0..3 {
            (0..5000).for_each(|number| look_up(&table, &field("large", number)));
        }
        let misses = table.stats().misses;
        (0..5000).for_each(|number| look_up(&table, &field("large", number)));
        assert_eq!(table.stats().misses, misses, "all of it is in memory");
        assert_eq!(table.stats().evicted, 0);
    }

    #[test]
    fn rows_that_nobody_uses_make_room_for_a_collection_that_is_used() {
        let table = table(1 << 20, 1 << 20);
        (0..7000).for_each(|number| look_up(&table, &field(&format!("other{number}"), 0)));
        for _ in 0..20 {
            (0..5000).for_each(|number| look_up(&table, &field("large", number)));
        }
        let misses = table.stats().misses;
        (0..5000).for_each(|number| look_up(&table, &field("large", number)));
        assert_eq!(table.stats().misses, misses, "all of it is in memory");
        assert!(table.stats().bytes <= 1 << 20);
    }

    #[test]
    fn the_room_grows_by_what_is_looked_up_and_not_by_what_is_only_written() {
        let (table, readers) = (table(1 << 18, 1 << 20), Readers::new());
        let write = |number: u32| {
            let mut pending = table.begin();
            table.write(&mut pending, Family::Subkey, &field("large", number), Some(&[b'v'; 64]));
            table.commit(&mut [pending]);
        };
        for round in 0..20 {
            (round * 500..round * 500 + 500).for_each(write);
            table.drain(&readers, |_| Ok::<_, ()>(())).unwrap();
        }
        let written = table.stats();
        assert!(written.bytes < 1 << 19 && written.evicted > 0, "{written:?}");
        assert_eq!(written.bytes_limit, 1 << 18);
        for _ in 0..2 {
            (0..5000).for_each(|number| look_up(&table, &field("large", number)));
        }
        let misses = table.stats().misses;
        (0..5000).for_each(|number| look_up(&table, &field("large", number)));
        assert_eq!(table.stats().misses, misses, "all of it is in memory");
        // And never beyond the bound.
        (0..50_000).for_each(|number| look_up(&table, &field("larger", number)));
        let full = table.stats();
        assert_eq!(full.bytes_limit, 1 << 20);
        assert!(full.bytes <= (1 << 20) + 1000, "{full:?}");
    }
}
