//! Walks over the rows of a range, a page at a time: nothing is locked in between.

use std::collections::VecDeque;
use std::ops::{Bound, RangeInclusive};

use neokv_encoding::family::Family;

use super::group::{GroupOf, SLOT, slot_at};
use super::page::Page;
use super::{RowTable, Sight};
use crate::families;
use crate::range::{Direction, KeyRange};

/// Rows taken at once.
const PAGE: usize = 32;

/// Rows of one family in a range; stands on one of them or at the end.
#[derive(Debug)]
pub(crate) struct TableWalk<'a> {
    table: &'a RowTable,
    family: Family,
    range: KeyRange,
    direction: Direction,
    sight: Sight,
    /// The group that the walk is in, by its prefix.
    group: Option<Box<[u8]>>,
    /// Those that follow.
    groups: Groups,
    /// Rows that were taken; it stands on the present one.
    page: Page,
    /// The key of the last row that was taken: the walk goes on behind it.
    last: Option<Vec<u8>>,
    /// Where a seek has moved the walk to.
    from: Option<Vec<u8>>,
}

impl<'a> TableWalk<'a> {
    pub(super) fn new(
        table: &'a RowTable,
        family: Family,
        range: &KeyRange,
        direction: Direction,
        sight: Sight,
    ) -> TableWalk<'a> {
        let mut walk = TableWalk {
            table,
            family,
            range: range.clone(),
            direction,
            sight,
            group: None,
            groups: Groups::Listed(VecDeque::new()),
            page: Page::default(),
            last: None,
            from: None,
        };
        walk.seek_edge();
        walk
    }

    /// The row it stands on: its key, and its value unless it does not exist.
    pub(crate) fn row(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.page.row()
    }

    /// Moves to the next row.
    pub(crate) fn step(&mut self) {
        self.page.step();
        self.fill();
    }

    /// Moves to the first row in walking order.
    pub(crate) fn seek_edge(&mut self) {
        self.from = None;
        self.restart();
    }

    /// Moves to the first row that is not before `target` in walking order.
    pub(crate) fn seek(&mut self, target: &[u8]) {
        self.from = Some(target.to_vec());
        self.restart();
    }

    fn restart(&mut self) {
        self.last = None;
        self.page.clear();
        self.groups = Groups::of(self.table, self.family, &self.range, self.direction);
        self.group = self.groups.next(self.table);
        if let Some(from) = &self.from {
            let prefix = name_of(self.family, from);
            let is_before = |group: &[u8]| match self.direction {
                Direction::Forward => *group < *prefix,
                Direction::Reverse => *group > *prefix,
            };
            while self.group.as_deref().is_some_and(is_before) {
                self.group = self.groups.next(self.table);
            }
        }
        self.fill();
    }

    /// Takes the next page, from the next group if the present one is at its end.
    fn fill(&mut self) {
        while self.page.row().is_none() {
            let Some(group) = &self.group else { return };
            let mut page = std::mem::take(&mut self.page);
            page.clear();
            let range = self.rest();
            let shards = &self.table.shards;
            let is_full = is_forward(range) && {
                let of = GroupOf::of(self.family, group);
                let mut shard = shards.lock(shards.number(self.family, of));
                let walked = (range, self.direction);
                shard.page((self.family, of), walked, self.sight, PAGE, &mut page)
            };
            if let Some(key) = page.last_key() {
                let last = self.last.get_or_insert_default();
                last.clear();
                last.extend_from_slice(key);
            }
            self.page = page;
            if !is_full {
                self.group = self.groups.next(self.table);
            }
        }
    }

    /// The part of the range that is left.
    fn rest(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let start = Bound::Included(self.range.start.as_slice());
        let end = if self.range.end.is_empty() {
            Bound::Unbounded
        } else {
            Bound::Excluded(self.range.end.as_slice())
        };
        let next = match (&self.last, &self.from) {
            (Some(last), _) => Some(Bound::Excluded(last.as_slice())),
            (None, Some(from)) => Some(Bound::Included(from.as_slice())),
            (None, None) => None,
        };
        match self.direction {
            Direction::Forward => (next.unwrap_or(start), end),
            Direction::Reverse => (start, next.unwrap_or(end)),
        }
    }
}

/// What the keys of a group begin with: its name among the groups of its family.
fn name_of(family: Family, key: &[u8]) -> Box<[u8]> {
    match GroupOf::of(family, key) {
        GroupOf::Slot(slot) => slot.to_be_bytes().into(),
        GroupOf::Prefix(prefix) => prefix.into(),
    }
}

/// The groups of a walk that are left, in walking order.
#[derive(Debug)]
enum Groups {
    /// One for each slot.
    Slots {
        family: Family,
        left: RangeInclusive<u16>,
        direction: Direction,
    },
    Listed(VecDeque<Box<[u8]>>),
}

impl Groups {
    /// The groups that may have rows of a range.
    fn of(table: &RowTable, family: Family, range: &KeyRange, direction: Direction) -> Groups {
        match family {
            Family::Metadata | Family::Expire | Family::SlotStats => {
                Groups::Slots { family, left: slots_of(range), direction }
            }
            Family::Subkey | Family::ZsetScore if !families::in_one_collection(range) => {
                let mut groups = table.groups_in(family, range);
                groups.sort_unstable();
                if direction == Direction::Reverse {
                    groups.reverse();
                }
                Groups::Listed(groups.into())
            }
            _ => Groups::Listed(VecDeque::from([name_of(family, &range.start)])),
        }
    }

    fn next(&mut self, table: &RowTable) -> Option<Box<[u8]>> {
        match self {
            Groups::Listed(groups) => groups.pop_front(),
            Groups::Slots { family, left, direction } => {
                let slot = match direction {
                    Direction::Forward => left.find(|slot| table.shards.has_slot(*family, *slot)),
                    Direction::Reverse => left.rfind(|slot| table.shards.has_slot(*family, *slot)),
                };
                slot.map(|slot| slot.to_be_bytes().into())
            }
        }
    }
}

/// The slots that keys of a range begin with.
fn slots_of(range: &KeyRange) -> RangeInclusive<u16> {
    let first = slot_at(&range.start);
    if range.end.is_empty() {
        return first..=u16::MAX;
    }
    // An end that is just a slot belongs to the slot before.
    match (slot_at(&range.end), range.end.len() > SLOT) {
        (last, true) => first..=last,
        (0, false) => RangeInclusive::new(1, 0),
        (next, false) => first..=next - 1,
    }
}

/// Whether a range may have keys. A tree refuses others.
fn is_forward((start, end): (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match (start, end) {
        (Bound::Included(start), Bound::Included(end)) => start <= end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Excluded(end))
        | (Bound::Excluded(start), Bound::Included(end)) => start < end,
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
    }
}
