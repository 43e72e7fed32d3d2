//! Where the cursors of SCAN, HSCAN, SSCAN and ZSCAN point.
//!
//! A cursor is a number to the client and a place in byte order to the store: the first key that
//! has not been returned yet. Walking in byte order gives Redis's guarantee without any effort
//! (what is there from the first call to the last lies ahead of the walk until it is returned), but
//! a place does not fit in a number. So the number is a hash of the place, and this table remembers
//! which place it was.
//!
//! ```text
//! bit 63   62 .. 49           48 .. 0
//!     0  │ slot (SCAN only) │ hash of owner and place
//! ```
//!
//! The table is shared by all connections and bounded. A cursor that is not in it (forgotten, or
//! handed out by another process) restarts at the beginning of its collection, for SCAN at the
//! beginning of its slot: more is returned twice, nothing is left out. Equal places have equal
//! cursors, so scanning again and again does not fill the table.
//!
//! Forgetting works in two generations: new places enter the young one; when that is full it
//! becomes the old one, and the former old one is dropped. Whatever is used moves to the young one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem;

use bytes::Bytes;
use parking_lot::Mutex;

/// Places per generation.
const GENERATION_PLACES: usize = 32 * 1024;
/// Bytes of places per generation.
const GENERATION_BYTES: usize = 8 * 1024 * 1024;
/// The bits of a cursor below the slot.
const HASH_BITS: u32 = 49;

/// What a scan walks over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner<'a> {
    /// The keys of a namespace.
    Keys {
        /// The namespace.
        namespace: u32,
    },
    /// The elements of one collection.
    Collection {
        /// What the rows of the collection start with, which tells key and version.
        prefix: &'a [u8],
    },
}

impl Owner<'_> {
    /// A hash of owner and place. The hash function is unkeyed, the same in every process of this
    /// version.
    fn hash(self, place: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(&self, &mut hasher);
        place.hash(&mut hasher);
        hasher.finish()
    }

    /// What tells this owner's places from those of others.
    fn tag(self) -> u64 {
        self.hash(&[])
    }
}

/// The slot that a cursor of SCAN carries.
pub fn slot_of_cursor(cursor: u64) -> u16 {
    u16::try_from((cursor >> HASH_BITS) & 0x3fff).unwrap_or(0)
}

/// The cursor of SCAN that starts at the beginning of a slot, which must not be slot 0.
pub fn slot_cursor(slot: u16) -> u64 {
    u64::from(slot) << HASH_BITS
}

#[derive(Default)]
struct Generation {
    places: HashMap<u64, (u64, Bytes)>,
    bytes: usize,
}

/// The two generations of remembered places.
#[derive(Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

/// The places that cursors point to. Shared by all connections.
#[derive(Default)]
pub struct CursorTable {
    generations: Mutex<Generations>,
}

impl CursorTable {
    /// An empty table.
    pub fn new() -> CursorTable {
        CursorTable::default()
    }

    /// Remembers a place and returns its cursor, which is never 0. `slot` is 0 for places inside a
    /// collection.
    pub fn remember(&self, owner: Owner<'_>, slot: u16, place: Bytes) -> u64 {
        let low = owner.hash(&place) & ((1u64 << HASH_BITS) - 1);
        let cursor = (u64::from(slot) << HASH_BITS) | low.max(1);
        self.generations.lock().insert(cursor, owner.tag(), place);
        cursor
    }

    /// The place of a cursor, if it is remembered and belongs to `owner`.
    pub fn recall(&self, owner: Owner<'_>, cursor: u64) -> Option<Bytes> {
        let mut generations = self.generations.lock();
        let found =
            generations.young.places.get(&cursor).or_else(|| generations.old.places.get(&cursor));
        let (tag, place) = found?.clone();
        if tag != owner.tag() {
            return None;
        }
        generations.insert(cursor, tag, place.clone());
        Some(place)
    }
}

impl Generations {
    fn insert(&mut self, cursor: u64, tag: u64, place: Bytes) {
        let full =
            self.young.places.len() >= GENERATION_PLACES || self.young.bytes >= GENERATION_BYTES;
        if full && !self.young.places.contains_key(&cursor) {
            self.old = mem::take(&mut self.young);
        }
        self.young.bytes = self.young.bytes.saturating_add(place.len());
        if let Some((_, former)) = self.young.places.insert(cursor, (tag, place)) {
            self.young.bytes = self.young.bytes.saturating_sub(former.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Owner<'_> = Owner::Keys { namespace: 0 };

    #[test]
    fn cursors_find_their_places_and_carry_the_slot() {
        let table = CursorTable::new();
        let cursor = table.remember(KEYS, 16383, Bytes::from_static(b"place"));
        assert_ne!(cursor, 0);
        assert_eq!(cursor >> 63, 0);
        assert_eq!(slot_of_cursor(cursor), 16383);
        assert_eq!(table.recall(KEYS, cursor).as_deref(), Some(&b"place"[..]));
        assert_eq!(table.recall(KEYS, cursor ^ 2), None);
        assert_eq!(table.remember(KEYS, 16383, Bytes::from_static(b"place")), cursor);
    }

    #[test]
    fn a_cursor_of_another_owner_is_unknown() {
        let table = CursorTable::new();
        let one = Owner::Collection { prefix: b"one" };
        let cursor = table.remember(one, 0, Bytes::from_static(b"m"));
        assert!(table.recall(one, cursor).is_some());
        assert!(table.recall(Owner::Collection { prefix: b"two" }, cursor).is_none());
        assert!(table.recall(KEYS, cursor).is_none());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_is_not_used() {
        let table = CursorTable::new();
        let place = |n: usize| Bytes::from(n.to_string());
        let first = table.remember(KEYS, 0, place(0));
        let used = table.remember(KEYS, 0, place(1));
        for n in 2..3 * GENERATION_PLACES {
            table.remember(KEYS, 0, place(n));
            if n % 1000 == 0 {
                assert!(table.recall(KEYS, used).is_some());
            }
        }
        assert!(table.recall(KEYS, first).is_none());
        let generations = table.generations.lock();
        assert!(generations.young.places.len() <= GENERATION_PLACES);
        assert!(generations.old.places.len() <= GENERATION_PLACES);
    }

    #[test]
    fn long_places_are_bounded_by_their_bytes() {
        let table = CursorTable::new();
        for n in 0..100u32 {
            let mut place = vec![0u8; 1024 * 1024];
            place.extend_from_slice(&n.to_be_bytes());
            table.remember(KEYS, 0, Bytes::from(place));
        }
        let generations = table.generations.lock();
        assert!(generations.young.places.len() + generations.old.places.len() <= 20);
    }
}
