//! The rows, spread over parts with a lock each. All rows of a group are in one part.
//!
//! ```text
//! index    hash of the key ─▶ place          a look-up goes here and is done
//! rows     place ─▶ row                      the eviction goes through here
//! groups   prefix ─▶ places of its rows      walks go here; those that RocksDB lacks
//! arrived  places                            those that are in no group until somebody walks
//! ```

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use neokv_encoding::family::Family;
use parking_lot::{Mutex, MutexGuard};

use super::Sight;
use super::group::{Bounds, GroupOf, Groups, slot_at};
use super::page::Page;
use super::room::Held;
use super::row::Row;
use super::slab::Slab;
use super::stats::Lookups;
use crate::range::{Direction, KeyRange};

/// Parts. Two threads meet at one of them seldom enough.
pub(crate) const SHARDS: u16 = 64;
/// Bits of a word.
const BITS: u16 = 64;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) shard: u32,
    pub(crate) at: u32,
}

/// What the eviction has looked at in a part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    /// Places.
    pub(crate) rows: usize,
    /// The last of the part among them: it goes on in the next part.
    pub(crate) has_passed_all: bool,
}

/// One part.
#[derive(Debug)]
pub(crate) struct Shard {
    hasher: RandomState,
    index: HashTable<u32>,
    rows: Slab,
    groups: Groups,
    /// Rows that walks must find and that are not in their groups yet. A place may stand here that
    /// has no row any more, or another one.
    arrived: Vec<u32>,
    /// Where the eviction looks next.
    hand: u32,
    held: Arc<Held>,
    /// The last write of any row that has left.
    pub(crate) departed: u64,
    pub(crate) lookups: Lookups,
}

impl Shard {
    /// A part without rows. All parts share a way to hash, and count their memory together.
    fn new(hasher: RandomState, held: Arc<Held>) -> Shard {
        Shard {
            hasher,
            index: HashTable::new(),
            rows: Slab::default(),
            groups: Groups::default(),
            arrived: Vec::new(),
            hand: 0,
            held,
            departed: 0,
            lookups: Lookups::default(),
        }
    }

    /// The row at a place, if there is one.
    #[inline]
    pub(crate) fn at(&mut self, place: u32) -> Option<&mut Row> {
        self.rows.get_mut(place)
    }

    /// The place of a key's row.
    #[inline]
    pub(crate) fn find(&self, family: Family, key: &[u8], hash: u64) -> Option<u32> {
        let is_it = |place: &u32| {
            self.rows.get(*place).is_some_and(|row| {
                row.hash == short(hash) && row.key() == key && row.family == family
            })
        };
        self.index.find(wide(short(hash)), is_it).copied()
    }

    /// The row of a key that somebody looks up.
    #[inline]
    pub(crate) fn row(&mut self, family: Family, key: &[u8], hash: u64) -> Option<&mut Row> {
        let place = self.find(family, key, hash);
        self.lookups.count(place.is_some());
        self.at(place?)
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The place of a row whose key has this hash, most likely the only one.
    #[inline]
    pub(crate) fn place_of(&self, hash: u64) -> Option<u32> {
        let has_hash = |row: &Row| row.hash == short(hash);
        let is_it = |place: &u32| self.rows.get(*place).is_some_and(has_hash);
        self.index.find(wide(short(hash)), is_it).copied()
    }

    /// Takes a row in that is not here yet.
    pub(crate) fn insert(&mut self, row: Row) -> u32 {
        self.held.change(0, row.weight());
        let hash = wide(row.hash);
        let Shard { index, rows, .. } = self;
        let place = rows.insert(row);
        let hash_at = |place: &u32| rows.get(*place).map_or(0, |row| wide(row.hash));
        index.insert_unique(hash, place, hash_at);
        place
    }

    /// Walks find the row from now on.
    pub(crate) fn show(&mut self, place: u32) {
        let Some(row) = self.rows.get_mut(place) else { return };
        row.set_shown(true);
        if row.arrive() {
            self.arrived.push(place);
            self.bound_arrived();
        }
    }

    /// Walks do not find the row any more.
    pub(crate) fn hide(&mut self, place: u32) {
        let Shard { rows, groups, hasher, .. } = self;
        let Some(row) = rows.get_mut(place) else { return };
        row.set_shown(false);
        if row.leave_group() {
            groups.remove(row.family, (row.key(), place), hasher);
        }
    }

    /// Keeps the list of arrived rows from growing by places that it has already, or whose rows
    /// have left.
    fn bound_arrived(&mut self) {
        let Shard { rows, arrived, .. } = self;
        if arrived.len() / 2 > usize::try_from(rows.places()).unwrap_or(usize::MAX) {
            arrived.sort_unstable();
            arrived.dedup();
            arrived.retain(|place| rows.get_mut(*place).is_some_and(Row::stays_arrived));
        }
    }

    /// Puts the rows that have arrived into their groups.
    ///
    /// Not done when they are written: most rows leave before anybody walks over their group, and
    /// then they have cost nothing here.
    fn sort_in(&mut self) {
        let Shard { rows, groups, arrived, hasher, .. } = self;
        for place in arrived.drain(..) {
            let Some(row) = rows.get_mut(place) else { continue };
            if !row.join_group() {
                continue;
            }
            if let Some(row) = rows.get(place) {
                let key_of = |place| rows.get(place).map_or(&[][..], Row::key);
                groups.insert(row.family, (row.key(), place), hasher, key_of);
            }
        }
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, place: u32) {
        self.hide(place);
        let Some(row) = self.rows.remove(place) else { return };
        self.held.change(row.weight(), 0);
        if let Ok(entry) = self.index.find_entry(wide(row.hash), |other| *other == place) {
            entry.remove();
        }
    }

    /// Looks at `most` rows, up to the last one, and takes out those that may go while the table is
    /// full.
    pub(crate) fn evict(&mut self, most: usize, is_full: impl Fn() -> bool) -> Looked {
        let mut rows = 0;
        while rows < most && self.hand < self.rows.places() && is_full() {
            let place = self.hand;
            self.hand += 1;
            rows += 1;
            let Some(row) = self.rows.get_mut(place) else { continue };
            if row.may_leave() {
                self.departed = self.departed.max(row.last_write());
                self.lookups.evicted();
                self.remove(place);
            }
        }
        let has_passed_all = self.hand >= self.rows.places();
        if has_passed_all {
            self.hand = 0;
        }
        Looked { rows, has_passed_all }
    }

    /// What took `before` bytes of memory takes `now`.
    #[inline]
    pub(crate) fn weigh(&self, before: usize, now: usize) {
        self.held.change(before, now);
    }

    /// The prefixes of a family's groups that are not slots.
    pub(crate) fn prefixes(&mut self, family: Family) -> impl Iterator<Item = &[u8]> {
        self.sort_in();
        self.groups.prefixes(family)
    }

    /// Puts up to `most` rows of a group within bounds on an empty page, as `sight` sees them, in
    /// walking order. False: these are the last.
    pub(crate) fn page(
        &mut self,
        (family, group): (Family, GroupOf<'_>),
        (bounds, direction): (Bounds<'_>, Direction),
        sight: Sight,
        most: usize,
        page: &mut Page,
    ) -> bool {
        self.sort_in();
        let Some(group) = self.groups.get(family, group, &self.hasher) else { return false };
        let key_of = |place| self.rows.get(place).map_or(&[][..], Row::key);
        let visible = |place: u32| self.rows.get(place).and_then(|row| sight.of(row));
        let rows = group.within(bounds, key_of);
        match direction {
            Direction::Forward => {
                rows.filter_map(visible).take(most).for_each(|row| page.push(row))
            }
            Direction::Reverse => {
                rows.rev().filter_map(visible).take(most).for_each(|row| page.push(row));
            }
        }
        page.len() == most
    }

    /// The places of the rows of a family whose keys are in a range.
    pub(crate) fn places_in(&self, family: Family, range: &KeyRange) -> Vec<u32> {
        let is_in = |(_, row): &(u32, &Row)| row.family == family && range.contains(row.key());
        self.rows.iter().filter(is_in).map(|(place, _)| place).collect()
    }
}

/// The part of a hash that a row keeps.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are the ones that are kept")]
pub(crate) fn short(hash: u64) -> u32 {
    hash as u32
}

/// A hash for the index, from the part that a row keeps: the index takes some bits from the top.
fn wide(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

/// The hash of a key or prefix of a family.
#[inline]
pub(crate) fn hash_of(hasher: &RandomState, family: Family, bytes: &[u8]) -> u64 {
    hasher.hash_one((family, bytes))
}

/// All parts.
#[derive(Debug)]
pub(crate) struct Shards {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    held: Arc<Held>,
    /// Slots that ever had rows in `metadata`, in `expire` and in `slot_stats`, a bit for each.
    slots: [Box<[AtomicU64]>; 3],
}

impl Shards {
    pub(crate) fn new() -> Shards {
        let bits = || (0..=u16::MAX / BITS).map(|_| AtomicU64::new(0)).collect();
        let (hasher, held) = (RandomState::default(), Arc::new(Held::default()));
        let part = |_| Mutex::new(Shard::new(hasher.clone(), Arc::clone(&held)));
        Shards {
            shards: (0..SHARDS).map(part).collect(),
            hasher,
            held,
            slots: [bits(), bits(), bits()],
        }
    }

    /// Bytes of memory that the rows take, about.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.held.bytes()
    }

    /// The hash of a key.
    #[inline]
    pub(crate) fn hash(&self, family: Family, key: &[u8]) -> u64 {
        hash_of(&self.hasher, family, key)
    }

    /// The number of the part that has a group.
    #[inline]
    pub(crate) fn number(&self, family: Family, group: GroupOf<'_>) -> u32 {
        match group {
            GroupOf::Slot(slot) => u32::from(slot % SHARDS),
            // The high bits: the low ones choose the place in a table.
            GroupOf::Prefix(prefix) => {
                short(hash_of(&self.hasher, family, prefix) >> 32) % u32::from(SHARDS)
            }
        }
    }

    /// A part, by its number.
    #[inline]
    pub(crate) fn lock(&self, number: u32) -> MutexGuard<'_, Shard> {
        match usize::try_from(number).ok().and_then(|number| self.shards.get(number)) {
            Some(shard) => shard.lock(),
            None => unreachable!("there are {SHARDS} parts"),
        }
    }

    /// The part of a key.
    #[inline]
    pub(crate) fn of(&self, family: Family, key: &[u8]) -> MutexGuard<'_, Shard> {
        self.lock(self.number(family, GroupOf::of(family, key)))
    }

    /// Works with rows at places, each part locked once for those of it that stand together.
    pub(crate) fn at_places(
        &self,
        places: impl IntoIterator<Item = Place>,
        mut work: impl FnMut(&mut Shard, Place),
    ) {
        let mut places = places.into_iter().peekable();
        while let Some(place) = places.next() {
            let mut shard = self.lock(place.shard);
            work(&mut shard, place);
            while let Some(next) = places.next_if(|next| next.shard == place.shard) {
                work(&mut shard, next);
            }
        }
    }

    /// Reads rows at places that will be worked with next: the processor waits for the memory of
    /// all of them at once, not for one after the other.
    pub(crate) fn touch(&self, places: impl IntoIterator<Item = Place>) {
        let mut read = 0u64;
        self.at_places(places, |shard, place| {
            read = read.wrapping_add(shard.rows.get(place.at).map_or(0, Row::touch));
        });
        // Otherwise the compiler may leave the reads out.
        std::hint::black_box(read);
    }

    /// The parts, one after the other, with their numbers.
    pub(crate) fn each(&self) -> impl Iterator<Item = (u32, MutexGuard<'_, Shard>)> {
        (0..).zip(self.shards.iter().map(Mutex::lock))
    }

    /// Whether the slot of a family may have rows.
    pub(crate) fn has_slot(&self, family: Family, slot: u16) -> bool {
        let (word, bit) = self.bit(family, slot);
        word.is_none_or(|word| word.load(Ordering::Acquire) & bit != 0)
    }

    /// A row of this key is about to be in its group.
    #[inline]
    pub(crate) fn note_slot(&self, family: Family, key: &[u8]) {
        let (word, bit) = self.bit(family, slot_at(key));
        if let Some(word) = word
            && word.load(Ordering::Relaxed) & bit == 0
        {
            word.fetch_or(bit, Ordering::Release);
        }
    }

    /// Where it is noted that a slot has rows.
    fn bit(&self, family: Family, slot: u16) -> (Option<&AtomicU64>, u64) {
        let [metadata, expire, slot_stats] = &self.slots;
        let words = match family {
            Family::Metadata => metadata,
            Family::Expire => expire,
            Family::SlotStats => slot_stats,
            _ => return (None, 0),
        };
        (words.get(usize::from(slot / BITS)), 1 << (slot % BITS))
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::{Made, Version};
    use super::*;
    use std::ops::Bound;

    #[test]
    fn rows_that_come_and_go_leave_nothing_for_walks() {
        const KEY: &[u8] = b"\0\x01key";
        let mut shard = Shard::new(RandomState::default(), Arc::default());
        let hasher = shard.hasher.clone();
        let row = |key: &[u8]| {
            let hash = short(hash_of(&hasher, Family::Metadata, key));
            Row::new(Family::Metadata, hash, Version::new(key, Some(b""), Made::by(1)))
        };
        let walked = |shard: &mut Shard| {
            let mut page = Page::default();
            let group = (Family::Metadata, GroupOf::of(Family::Metadata, KEY));
            let all = ((Bound::Unbounded, Bound::Unbounded), Direction::Forward);
            shard.page(group, all, Sight::Batch, 9, &mut page);
            let mut keys = Vec::new();
            while let Some((key, _)) = page.row() {
                keys.push(key.to_vec());
                page.step();
            }
            keys
        };
        for _ in 0..10_000 {
            let place = shard.insert(row(KEY));
            shard.show(place);
            shard.remove(place);
        }
        assert!(shard.arrived.len() < 200, "{}", shard.arrived.len());
        // Its place stands there already, more than once.
        let place = shard.insert(row(KEY));
        assert!(walked(&mut shard).is_empty(), "nobody has shown it");
        shard.show(place);
        assert_eq!(walked(&mut shard), [KEY]);
        shard.hide(place);
        assert!(walked(&mut shard).is_empty());
        shard.show(place);
        shard.show(place);
        assert_eq!(walked(&mut shard), [KEY]);
        // It leaves as one that has arrived, and the list is cleared before it comes again.
        shard.hide(place);
        shard.show(place);
        shard.hide(place);
        for _ in 0..10 {
            let other = shard.insert(row(b"\0\x01other"));
            shard.show(other);
            shard.remove(other);
        }
        shard.show(place);
        assert_eq!(walked(&mut shard), [KEY]);
    }
}
