//! The rows, spread over parts with a lock each. All rows of a group are in one part.
//!
//! ```text
//! index    hash of the key ─▶ place          a look-up goes here and is done
//! rows     place ─▶ row                      the eviction goes round here
//! groups   prefix ─▶ places of its rows      walks go here; those that RocksDB lacks
//! ```

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use neokv_encoding::family::Family;
use parking_lot::{Mutex, MutexGuard};

use super::group::{Bounds, Group, GroupOf, Groups, slot_at};
use super::row::{Found, Row};
use crate::range::{Direction, KeyRange};

/// Parts. Two threads meet at one of them seldom enough.
pub(crate) const SHARDS: usize = 64;
/// The same, as a number of parts.
const NUMBERS: u32 = 64;
/// Bits of a word.
const BITS: u16 = 64;

/// Where a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) shard: u32,
    pub(crate) at: u32,
}

/// One part.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    index: HashTable<u32>,
    rows: Vec<Option<Row>>,
    /// Places without a row.
    free: Vec<u32>,
    groups: Groups,
    /// Where the eviction looks next.
    hand: usize,
    /// Bytes of memory that the rows take, about.
    pub(crate) bytes: usize,
    /// The last write of any row that has left.
    pub(crate) departed: u64,
}

impl Shard {
    /// The row at a place, which must have one.
    pub(crate) fn at(&mut self, place: u32) -> Option<&mut Row> {
        self.rows.get_mut(usize::try_from(place).ok()?)?.as_mut()
    }

    /// The place of a key's row.
    #[inline]
    pub(crate) fn find(&self, family: Family, key: &[u8], hash: u64) -> Option<u32> {
        let is_it = |place: &u32| {
            row_at(&self.rows, *place).is_some_and(|row| {
                row.hash == short(hash) && row.key() == key && row.family == family
            })
        };
        self.index.find(wide(short(hash)), is_it).copied()
    }

    /// The row of a key.
    #[inline]
    pub(crate) fn row(&mut self, family: Family, key: &[u8], hash: u64) -> Option<&mut Row> {
        let place = self.find(family, key, hash)?;
        self.at(place)
    }

    /// Takes a row in that is not here yet.
    pub(crate) fn insert(&mut self, row: Row) -> u32 {
        self.bytes += row.weight();
        let hash = wide(row.hash);
        let place = match self.free.pop() {
            Some(place) => {
                let slot = usize::try_from(place).ok().and_then(|at| self.rows.get_mut(at));
                slot.into_iter().for_each(|slot| *slot = None);
                place
            }
            None => {
                self.rows.push(None);
                // Bounded by the bytes of the table long before.
                u32::try_from(self.rows.len() - 1).unwrap_or(u32::MAX)
            }
        };
        let slot = usize::try_from(place).ok().and_then(|at| self.rows.get_mut(at));
        if let Some(slot) = slot {
            *slot = Some(row);
        }
        let Shard { index, rows, .. } = self;
        let hash_at = |place: &u32| row_at(rows, *place).map_or(0, |row| wide(row.hash));
        index.insert_unique(hash, place, hash_at);
        place
    }

    /// Walks find the row from now on.
    pub(crate) fn group(&mut self, place: u32, hasher: &RandomState) {
        let Shard { rows, groups, .. } = self;
        if let Some(row) = row_at(rows, place).filter(|row| !row.is_grouped) {
            let key_of = |place| row_at(rows, place).map_or(&[][..], Row::key);
            groups.insert(row.family, (row.key(), place), hasher, key_of);
        }
        self.at(place).into_iter().for_each(|row| row.is_grouped = true);
    }

    /// Walks do not find the row any more.
    pub(crate) fn ungroup(&mut self, place: u32, hasher: &RandomState) {
        let Shard { rows, groups, .. } = self;
        if let Some(row) = row_at(rows, place).filter(|row| row.is_grouped) {
            groups.remove(row.family, (row.key(), place), hasher);
        }
        self.at(place).into_iter().for_each(|row| row.is_grouped = false);
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, place: u32, hasher: &RandomState) {
        self.ungroup(place, hasher);
        let slot = usize::try_from(place).ok().and_then(|at| self.rows.get_mut(at));
        let Some(row) = slot.and_then(Option::take) else { return };
        self.bytes -= row.weight();
        if let Ok(entry) = self.index.find_entry(wide(row.hash), |other| *other == place) {
            entry.remove();
        }
        self.free.push(place);
    }

    /// Looks at `most` rows and takes out those that may go.
    pub(crate) fn evict(&mut self, most: usize, hasher: &RandomState) {
        for _ in 0..most.min(self.rows.len()) {
            let place = self.hand;
            self.hand = if place + 1 < self.rows.len() { place + 1 } else { 0 };
            let Some(Some(row)) = self.rows.get_mut(place) else { continue };
            if row.may_leave() {
                self.departed = self.departed.max(row.last_write());
                self.remove(u32::try_from(place).unwrap_or(u32::MAX), hasher);
            }
        }
    }

    /// The prefixes of a family's groups that are not slots.
    pub(crate) fn prefixes(&self, family: Family) -> impl Iterator<Item = &[u8]> {
        self.groups.prefixes(family)
    }

    /// A group, if it has rows.
    pub(crate) fn group_rows(
        &self,
        family: Family,
        group: GroupOf<'_>,
        hasher: &RandomState,
    ) -> Option<&Group> {
        self.groups.get(family, group, hasher)
    }

    /// Up to `most` rows of a group within bounds, as `seen` sees them, in walking order. False:
    /// these are the last.
    pub(crate) fn page(
        &self,
        group: &Group,
        bounds: Bounds<'_>,
        direction: Direction,
        seen: impl Fn(&Row) -> Option<Found>,
        most: usize,
        page: &mut Vec<Found>,
    ) -> bool {
        let key_of = |place| row_at(&self.rows, place).map_or(&[][..], Row::key);
        let visible = |place: u32| row_at(&self.rows, place).and_then(&seen);
        let rows = group.within(bounds, key_of);
        match direction {
            Direction::Forward => page.extend(rows.filter_map(visible).take(most)),
            Direction::Reverse => page.extend(rows.rev().filter_map(visible).take(most)),
        }
        page.len() == most
    }

    /// The places of the rows of a family whose keys are in a range.
    pub(crate) fn places_in(&self, family: Family, range: &KeyRange) -> Vec<u32> {
        let mut places = Vec::new();
        for (place, row) in self.rows.iter().enumerate() {
            if row.as_ref().is_some_and(|row| row.family == family && range.contains(row.key())) {
                places.extend(u32::try_from(place));
            }
        }
        places
    }
}

fn row_at(rows: &[Option<Row>], place: u32) -> Option<&Row> {
    rows.get(usize::try_from(place).ok()?)?.as_ref()
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
    pub(crate) hasher: RandomState,
    /// Slots that ever had rows in `metadata`, in `expire` and in `slot_stats`, a bit for each.
    slots: [Box<[AtomicU64]>; 3],
}

impl Shards {
    pub(crate) fn new() -> Shards {
        let bits = || (0..=u16::MAX / BITS).map(|_| AtomicU64::new(0)).collect();
        Shards {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::default(),
            slots: [bits(), bits(), bits()],
        }
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
            GroupOf::Slot(slot) => u32::from(slot) % NUMBERS,
            // The high bits: the low ones choose the place in a table.
            GroupOf::Prefix(prefix) => short(hash_of(&self.hasher, family, prefix) >> 32) % NUMBERS,
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
