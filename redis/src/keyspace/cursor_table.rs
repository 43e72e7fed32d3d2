//! Where the cursors of SCAN, HSCAN, SSCAN and ZSCAN point.
//!
//! A cursor is a number to the client and a position in byte order to the store: the first key that
//! has not been returned yet. Walking in byte order gives Redis's guarantee at no cost (an element
//! that exists from the first call to the last lies ahead of the walk until it is returned), but a
//! position does not fit in a number. So the number is a hash of the position, and this table
//! remembers which position it was.
//!
//! ```text
//! bit 63   62        61 .. 48           47 .. 0
//!     0  │ order   │ slot (SCAN)      │ hash             of owner and position
//!     0  │ order   │ hash, 62 bits (HSCAN, SSCAN, ZSCAN)
//! ```
//!
//! The table is shared by all connections and bounded. Equal positions have equal cursors, so
//! scanning again and again does not fill it. Forgetting works in two generations: new positions
//! enter the young one; when that is full it becomes the old one, and the former old one is
//! dropped. Whatever is used moves to the young one.
//!
//! # A position that is not remembered
//!
//! It may be forgotten, or the cursor comes from before a restart or from another node. The walk
//! must go on all the same, also if that happens at every call; starting over would return the
//! first page forever. The cursor alone is enough to go on, at the price of a pass over the slot
//! or the collection ([`CursorMeaning`]):
//!
//! 1. The position is looked for: the first one in byte order with that hash. From there the walk
//!    goes on as if it had been remembered.
//! 2. If there is none, because that key was deleted, the walk starts again with the slot or the
//!    collection, but in the order of hashes, which the `order` bit says from then on. Its cursors
//!    are the hash to go on from, so they mean the same on every node and at all times, and they
//!    grow with every page.

use std::collections::HashMap;
use std::mem;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::stable_hash::stable_hash;

/// Positions per generation.
const GENERATION_POSITIONS: usize = 32 * 1024;
/// Bytes of positions per generation.
const GENERATION_BYTES: usize = 8 * 1024 * 1024;
/// The bits of a cursor of SCAN below the slot.
const KEY_HASH_BITS: u32 = 48;
/// The bits of any other cursor below the order.
const ELEMENT_HASH_BITS: u32 = 62;
/// Set in the cursors of a walk in the order of hashes.
const HASH_ORDER: u64 = 1 << 62;

/// What a scan walks over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The keys of a namespace.
    Keys {
        /// The namespace.
        namespace: u32,
    },
    /// The elements of one collection.
    Collection {
        /// What its rows start with, up to the version: a collection of which most is deleted at
        /// once gets a new one, and a walk goes on all the same.
        prefix: &'a [u8],
    },
}

impl Owner<'_> {
    /// The hash of a position, as cursors carry it; never 0, and the same on every node.
    pub fn hash(self, position: &[u8]) -> u64 {
        (self.full_hash(position) & self.hash_mask()).max(1)
    }

    fn full_hash(self, position: &[u8]) -> u64 {
        let position = position.iter().copied();
        match self {
            Owner::Keys { namespace } => {
                stable_hash([0].into_iter().chain(namespace.to_be_bytes()).chain(position))
            }
            Owner::Collection { prefix } => {
                // The prefix marks its own end: no other one begins with it.
                stable_hash([1].into_iter().chain(prefix.iter().copied()).chain(position))
            }
        }
    }

    /// What tells this owner's positions from those of others.
    fn tag(self) -> u64 {
        self.full_hash(&[])
    }

    fn hash_mask(self) -> u64 {
        let bits = match self {
            Owner::Keys { .. } => KEY_HASH_BITS,
            Owner::Collection { .. } => ELEMENT_HASH_BITS,
        };
        (1 << bits) - 1
    }

    /// The cursor that goes on in the order of hashes, from `hash`. `slot` is 0 for collections.
    pub fn hash_cursor(self, slot: u16, hash: u64) -> u64 {
        HASH_ORDER | slot_cursor(slot) | hash
    }
}

/// The slot that a cursor of SCAN carries.
pub fn slot_of_cursor(cursor: u64) -> u16 {
    u16::try_from((cursor >> KEY_HASH_BITS) & 0x3fff).unwrap_or(0)
}

/// The cursor of SCAN that starts at the beginning of a slot, which must not be slot 0.
pub fn slot_cursor(slot: u16) -> u64 {
    u64::from(slot) << KEY_HASH_BITS
}

/// Where a walk goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CursorMeaning {
    /// At the beginning: of the collection, or of the slot that the cursor carries.
    Beginning,
    /// At this position.
    At(Bytes),
    /// At the first position with this hash, if there is one; otherwise in the order of hashes from
    /// the smallest on.
    Forgotten(u64),
    /// In the order of hashes, from this one on.
    HashOrder(u64),
}

#[derive(Default)]
struct Generation {
    positions: HashMap<u64, (u64, Bytes)>,
    bytes: usize,
}

/// The two generations of remembered positions.
#[derive(Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

/// The positions that cursors point to. Shared by all connections.
#[derive(Default)]
pub struct CursorTable {
    generations: Mutex<Generations>,
}

impl CursorTable {
    /// An empty table.
    pub fn new() -> CursorTable {
        CursorTable::default()
    }

    /// Remembers a position and returns its cursor, which is never 0. `slot` is 0 for positions
    /// inside a collection.
    pub fn remember(&self, owner: Owner<'_>, slot: u16, position: Bytes) -> u64 {
        let cursor = slot_cursor(slot) | owner.hash(&position);
        self.generations.lock().insert(cursor, owner.tag(), position);
        cursor
    }

    /// What a cursor means to the walk over `owner`. Every number means something.
    pub fn meaning(&self, owner: Owner<'_>, cursor: u64) -> CursorMeaning {
        let hash = cursor & owner.hash_mask();
        if cursor & HASH_ORDER != 0 {
            CursorMeaning::HashOrder(hash)
        } else if hash == 0 {
            CursorMeaning::Beginning
        } else {
            let position = self.position(owner, cursor);
            position.map_or(CursorMeaning::Forgotten(hash), CursorMeaning::At)
        }
    }

    /// The position of a cursor, if it is remembered and belongs to `owner`.
    fn position(&self, owner: Owner<'_>, cursor: u64) -> Option<Bytes> {
        let mut generations = self.generations.lock();
        let Generations { young, old } = &*generations;
        let found = young.positions.get(&cursor).or_else(|| old.positions.get(&cursor));
        let (tag, position) = found?.clone();
        if tag != owner.tag() {
            return None;
        }
        generations.insert(cursor, tag, position.clone());
        Some(position)
    }
}

impl Generations {
    fn insert(&mut self, cursor: u64, tag: u64, position: Bytes) {
        let full = self.young.positions.len() >= GENERATION_POSITIONS
            || self.young.bytes >= GENERATION_BYTES;
        if full && !self.young.positions.contains_key(&cursor) {
            self.old = mem::take(&mut self.young);
        }
        self.young.bytes += position.len();
        if let Some((_, former)) = self.young.positions.insert(cursor, (tag, position)) {
            self.young.bytes -= former.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: Owner<'_> = Owner::Keys { namespace: 0 };

    fn is_known(table: &CursorTable, owner: Owner<'_>, cursor: u64) -> bool {
        matches!(table.meaning(owner, cursor), CursorMeaning::At(_))
    }

    #[test]
    fn cursors_find_their_positions_and_carry_the_slot() {
        let table = CursorTable::new();
        let position = Bytes::from_static(b"position");
        let cursor = table.remember(KEYS, 16383, position.clone());
        assert_eq!(cursor >> 62, 0);
        assert_eq!(slot_of_cursor(cursor), 16383);
        assert_eq!(table.meaning(KEYS, cursor), CursorMeaning::At(position.clone()));
        assert_eq!(table.remember(KEYS, 16383, position.clone()), cursor);
        assert!(!is_known(&table, KEYS, cursor ^ 2));
        // Another process knows the hash alone.
        let hash = KEYS.hash(&position);
        let meaning = CursorTable::new().meaning(KEYS, cursor);
        assert_eq!(meaning, CursorMeaning::Forgotten(hash));
        let hash_cursor = KEYS.hash_cursor(16383, hash);
        assert_eq!(slot_of_cursor(hash_cursor), 16383);
        assert_eq!(table.meaning(KEYS, hash_cursor), CursorMeaning::HashOrder(hash));
        assert_eq!(table.meaning(KEYS, slot_cursor(5)), CursorMeaning::Beginning);
    }

    #[test]
    fn a_cursor_of_another_owner_is_unknown() {
        let table = CursorTable::new();
        let one = Owner::Collection { prefix: b"one" };
        let cursor = table.remember(one, 0, Bytes::from_static(b"m"));
        assert!(is_known(&table, one, cursor));
        assert!(!is_known(&table, Owner::Collection { prefix: b"two" }, cursor));
        assert!(!is_known(&table, KEYS, cursor));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_is_not_used() {
        let table = CursorTable::new();
        let position = |n: usize| Bytes::from(n.to_string());
        let first = table.remember(KEYS, 0, position(0));
        let used = table.remember(KEYS, 0, position(1));
        for n in 2..3 * GENERATION_POSITIONS {
            table.remember(KEYS, 0, position(n));
            if n % 1000 == 0 {
                assert!(is_known(&table, KEYS, used));
            }
        }
        assert!(!is_known(&table, KEYS, first));
        let generations = table.generations.lock();
        assert!(generations.young.positions.len() <= GENERATION_POSITIONS);
        assert!(generations.old.positions.len() <= GENERATION_POSITIONS);
    }

    #[test]
    fn long_positions_are_bounded_by_their_bytes() {
        let table = CursorTable::new();
        for n in 0..100u32 {
            let mut position = vec![0u8; 1024 * 1024];
            position.extend_from_slice(&n.to_be_bytes());
            table.remember(KEYS, 0, Bytes::from(position));
        }
        let generations = table.generations.lock();
        assert!(generations.young.positions.len() + generations.old.positions.len() <= 20);
    }
}
