//! The rows that share a prefix and that RocksDB lacks: what a walk goes through.
//!
//! Most groups are small: the records of one slot, the fields of a small hash. A small group is a
//! list without an order, which costs nothing when a row comes or goes and is sorted when somebody
//! walks. A large one is a tree.

use std::collections::BTreeMap;
use std::ops::Bound;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use neokv_encoding::family::Family;
use smallvec::SmallVec;

use super::shard::{SHARDS, hash_of};
use crate::families;

/// Bytes of a slot at the start of a key.
pub(crate) const SLOT: usize = 2;

/// Rows of a small group.
const SMALL: usize = 96;

/// A key; short ones need no allocation.
type Key = SmallVec<[u8; 32]>;

/// Which group a row belongs to. Rows that are read together are in one: those of one collection,
/// and the records of one slot. The few rows of other families are one group each.
///
/// No prefix begins another one of its family, so the groups of a family have an order.
#[derive(Clone, Copy, Debug)]
pub(crate) enum GroupOf<'a> {
    /// The records of a slot.
    Slot(u16),
    /// The rows that begin with a prefix.
    Prefix(&'a [u8]),
}

impl<'a> GroupOf<'a> {
    /// The group of a key, or of a place between keys.
    pub(crate) fn of(family: Family, key: &'a [u8]) -> GroupOf<'a> {
        match family {
            Family::Metadata | Family::Expire | Family::SlotStats => GroupOf::Slot(slot_at(key)),
            Family::Subkey | Family::ZsetScore => GroupOf::Prefix(families::collection_of(key)),
            Family::Default | Family::RaftLog | Family::RaftState | Family::Region => {
                GroupOf::Prefix(&[])
            }
        }
    }
}

/// The slot that a key begins with; one that is too short belongs to the first slot that it begins.
pub(crate) fn slot_at(key: &[u8]) -> u16 {
    let byte = |at: usize| key.get(at).copied().unwrap_or(0);
    u16::from_be_bytes([byte(0), byte(1)])
}

/// Part of a walk, as bounds.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The places of a group's rows in their shard. See the module.
#[derive(Debug)]
pub(crate) enum Group {
    Small(Vec<u32>),
    Large(BTreeMap<Key, u32>),
}

impl Default for Group {
    fn default() -> Group {
        Group::Small(Vec::new())
    }
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Group::Small(rows) => rows.is_empty(),
            Group::Large(rows) => rows.is_empty(),
        }
    }

    /// A row comes. `key_of` tells the key of a row by its place.
    fn insert<'k>(&mut self, key: &[u8], place: u32, key_of: impl Fn(u32) -> &'k [u8]) {
        match self {
            Group::Large(rows) => {
                rows.insert(Key::from_slice(key), place);
            }
            Group::Small(rows) if rows.len() < SMALL => rows.push(place),
            Group::Small(rows) => {
                let mut tree: BTreeMap<Key, u32> =
                    rows.iter().map(|place| (Key::from_slice(key_of(*place)), *place)).collect();
                tree.insert(Key::from_slice(key), place);
                *self = Group::Large(tree);
            }
        }
    }

    /// A row goes.
    fn remove(&mut self, key: &[u8], place: u32) {
        match self {
            Group::Large(rows) => {
                rows.remove(key);
                if rows.is_empty() {
                    *self = Group::default();
                }
            }
            Group::Small(rows) => {
                if let Some(at) = rows.iter().position(|other| *other == place) {
                    rows.swap_remove(at);
                }
            }
        }
    }

    /// The places of the rows within bounds, in key order.
    pub(crate) fn within<'a>(
        &'a self,
        bounds: Bounds<'_>,
        key_of: impl Fn(u32) -> &'a [u8],
    ) -> Within<'a> {
        match self {
            Group::Large(rows) => Within::Tree(rows.range::<[u8], _>(bounds)),
            Group::Small(rows) => {
                let inside = |place: &u32| contains(bounds, key_of(*place));
                let mut places: Vec<u32> = rows.iter().copied().filter(inside).collect();
                places.sort_unstable_by(|a, b| key_of(*a).cmp(key_of(*b)));
                Within::List(places.into_iter())
            }
        }
    }
}

fn contains((start, end): Bounds<'_>, key: &[u8]) -> bool {
    let after_start = match start {
        Bound::Included(start) => key >= start,
        Bound::Excluded(start) => key > start,
        Bound::Unbounded => true,
    };
    after_start
        && match end {
            Bound::Included(end) => key <= end,
            Bound::Excluded(end) => key < end,
            Bound::Unbounded => true,
        }
}

/// Places of rows, in key order. From [`Group::within`].
pub(crate) enum Within<'a> {
    Tree(std::collections::btree_map::Range<'a, Key, u32>),
    List(std::vec::IntoIter<u32>),
}

impl Iterator for Within<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match self {
            Within::Tree(rows) => rows.next().map(|(_, place)| *place),
            Within::List(rows) => rows.next(),
        }
    }
}

impl DoubleEndedIterator for Within<'_> {
    fn next_back(&mut self) -> Option<u32> {
        match self {
            Within::Tree(rows) => rows.next_back().map(|(_, place)| *place),
            Within::List(rows) => rows.next_back(),
        }
    }
}

/// A group and what its keys begin with.
#[derive(Debug)]
struct Named {
    family: Family,
    prefix: Box<[u8]>,
    group: Group,
}

/// The groups of one shard.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Those of slots, in `metadata`, `expire` and `slot_stats`, by the slot's number in the shard.
    /// They come and go with each write; their memory stays.
    slots: [Vec<Group>; 3],
    /// All others.
    named: HashTable<Named>,
}

/// The families whose groups are slots, by where [`Groups`] has them.
fn slot_family(family: Family) -> Option<usize> {
    match family {
        Family::Metadata => Some(0),
        Family::Expire => Some(1),
        Family::SlotStats => Some(2),
        _ => None,
    }
}

impl Groups {
    /// A group, if it has rows.
    pub(crate) fn get(
        &self,
        family: Family,
        of: GroupOf<'_>,
        hasher: &RandomState,
    ) -> Option<&Group> {
        match of {
            GroupOf::Slot(slot) => {
                self.slots.get(slot_family(family)?)?.get(usize::from(slot / SHARDS))
            }
            GroupOf::Prefix(prefix) => {
                let is_it = |named: &Named| named.family == family && *named.prefix == *prefix;
                self.named.find(hash_of(hasher, family, prefix), is_it).map(|named| &named.group)
            }
        }
    }

    /// A row comes. `key_of` tells the key of a row by its place.
    pub(crate) fn insert<'k>(
        &mut self,
        family: Family,
        (key, place): (&[u8], u32),
        hasher: &RandomState,
        key_of: impl Fn(u32) -> &'k [u8],
    ) {
        match GroupOf::of(family, key) {
            GroupOf::Slot(slot) => {
                let groups = slot_family(family).and_then(|of| self.slots.get_mut(of));
                let Some(groups) = groups else { return };
                let number = usize::from(slot / SHARDS);
                if groups.len() <= number {
                    groups.resize_with(number + 1, Group::default);
                }
                if let Some(group) = groups.get_mut(number) {
                    group.insert(key, place, key_of);
                }
            }
            GroupOf::Prefix(prefix) => {
                let named = self.named.entry(
                    hash_of(hasher, family, prefix),
                    |named| named.family == family && *named.prefix == *prefix,
                    |named| hash_of(hasher, named.family, &named.prefix),
                );
                let new = || Named { family, prefix: prefix.into(), group: Group::default() };
                named.or_insert_with(new).get_mut().group.insert(key, place, key_of);
            }
        }
    }

    /// A row goes.
    pub(crate) fn remove(
        &mut self,
        family: Family,
        (key, place): (&[u8], u32),
        hasher: &RandomState,
    ) {
        match GroupOf::of(family, key) {
            GroupOf::Slot(slot) => {
                let groups = slot_family(family).and_then(|of| self.slots.get_mut(of));
                let group = groups.and_then(|groups| groups.get_mut(usize::from(slot / SHARDS)));
                group.into_iter().for_each(|group| group.remove(key, place));
            }
            GroupOf::Prefix(prefix) => {
                let is_it = |named: &Named| named.family == family && *named.prefix == *prefix;
                let found = self.named.find_entry(hash_of(hasher, family, prefix), is_it);
                let Ok(mut entry) = found else { return };
                entry.get_mut().group.remove(key, place);
                if entry.get().group.is_empty() {
                    entry.remove();
                }
            }
        }
    }

    /// The prefixes of a family's groups that are not slots.
    pub(crate) fn prefixes(&self, family: Family) -> impl Iterator<Item = &[u8]> {
        let own = move |named: &&Named| named.family == family;
        self.named.iter().filter(own).map(|named| &*named.prefix)
    }
}
