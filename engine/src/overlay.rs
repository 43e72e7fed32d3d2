//! What a batch has written and not committed: the newest write of each row, in key order, and how
//! to take back the writes since its savepoint.
//!
//! ```text
//! write a=1   write b=1   savepoint   write a=2   write a=3   delete b   write c=1
//!
//! rows    a ─▶ 3      b ─▶ deleted      c ─▶ 1
//! undo    a was 1     b was 1           c was not there
//! ```
//!
//! Reads look a row up and see its newest write. A commit goes through the rows in order and writes
//! each once, however often the batch has changed it: a counter that was incremented two hundred
//! times is one row.
//!
//! # Memory
//!
//! A row holds its newest value, and at most one more, the one that stood at the savepoint. Two
//! hundred appends to one long string cost that string twice, not two hundred times.
//!
//! # The meter
//!
//! [`Overlay::metered`] is the size of the rows written since [`Overlay::start_meter`], each
//! counted once with its newest value. Unlike [`Overlay::size`] it does not depend on what the
//! overlay held before.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::{Bound, Range};

use neokv_encoding::family::Family;

use crate::per_family::PerFamily;
use crate::range::{Direction, KeyRange};

/// Bytes that a row takes in memory besides key and value, about: its place in the tree, and two
/// allocations.
///
/// Frozen: what a log entry does may depend on [`Overlay::metered`], so replicas of two releases
/// that disagree here would diverge.
const ROW: usize = 128;

/// The newest write of a row.
struct Write {
    /// `None`: the row is deleted.
    value: Option<Vec<u8>>,
    /// Which write of the overlay it is, counted from the first.
    at: usize,
}

impl Write {
    fn size(&self) -> usize {
        self.value.as_ref().map_or(0, Vec::len)
    }
}

/// Rows of one family.
type Rows = BTreeMap<Vec<u8>, Write>;

/// What the first write of a row since the savepoint has replaced.
struct Undo {
    family: Family,
    /// Where the row's key is among the keys of all of them.
    key: Range<usize>,
    /// `None`: the overlay had no such row.
    before: Option<Write>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Overlay {
    rows: PerFamily<Rows>,
    /// Since the savepoint, in order.
    undo: Vec<Undo>,
    /// The keys of those rows, one after the other: a vector for each would cost an allocation per
    /// write.
    undo_keys: Vec<u8>,
    /// The number of writes at the savepoint, if there is one.
    savepoint: Option<usize>,
    /// Writes so far, those included that a later one has replaced.
    writes: usize,
    /// Bytes of the rows' keys and values.
    size: usize,
    meter: RowMeter,
}

/// Counts the rows written since it was started.
#[derive(Clone, Copy, Default)]
struct RowMeter {
    /// The number of writes before it was started.
    from: usize,
    /// What it shows.
    bytes: usize,
    /// What it showed at the savepoint.
    at_savepoint: usize,
}

impl RowMeter {
    /// A row has been written in place of `before`.
    fn count(&mut self, key: &[u8], size: usize, before: Option<&Write>) {
        let counted = before.filter(|before| before.at >= self.from);
        let (gone, new) = counted.map_or((0, key.len() + ROW), |before| (before.size(), 0));
        self.bytes = self.bytes + size + new - gone;
    }
}

/// A row that the overlay has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) key: &'a [u8],
    /// `None`: the row is deleted.
    pub(crate) value: Option<&'a [u8]>,
    /// The row's newest write is this one, counted from the first.
    pub(crate) at: usize,
}

impl<'a> Row<'a> {
    fn new(key: &'a [u8], write: &'a Write) -> Row<'a> {
        Row { key, value: write.value.as_deref(), at: write.at }
    }
}

impl Overlay {
    /// Writes a row; `None` deletes it.
    pub(crate) fn write(&mut self, family: Family, key: &[u8], value: Option<Vec<u8>>) {
        let write = Write { value, at: self.writes };
        let size = write.size();
        self.writes += 1;
        self.size += size;
        let rows = self.rows.get_mut(family);
        let before = match rows.get_mut(key) {
            Some(newest) => Some(std::mem::replace(newest, write)),
            None => {
                self.size += key.len();
                rows.insert(key.to_vec(), write);
                None
            }
        };
        self.size -= before.as_ref().map_or(0, Write::size);
        self.meter.count(key, size, before.as_ref());
        let untouched_since =
            |savepoint: usize| before.as_ref().is_none_or(|before| before.at < savepoint);
        if self.savepoint.is_some_and(untouched_since) {
            let start = self.undo_keys.len();
            self.undo_keys.extend_from_slice(key);
            self.undo.push(Undo { family, key: start..self.undo_keys.len(), before });
        }
    }

    /// The newest write of a row, if there is one: `Some(None)` says that it is deleted.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Option<Option<&[u8]>> {
        self.rows.get(family).get(key).map(|write| write.value.as_deref())
    }

    /// Whether nothing is written in a family.
    pub(crate) fn is_untouched(&self, family: Family) -> bool {
        self.rows.get(family).is_empty()
    }

    /// The rows written in a family, in order of their keys.
    pub(crate) fn newest(&self, family: Family) -> impl Iterator<Item = Row<'_>> {
        self.rows.get(family).iter().map(|(key, write)| Row::new(key, write))
    }

    /// Number of rows written.
    pub(crate) fn len(&self) -> usize {
        Family::ALL.into_iter().map(|family| self.rows.get(family).len()).sum()
    }

    /// Writes so far, those included that a later one has replaced or that were taken back.
    pub(crate) fn writes(&self) -> usize {
        self.writes
    }

    /// Bytes of the rows' keys and newest values.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Bytes of memory that the rows take, about.
    pub(crate) fn memory(&self) -> usize {
        self.size + ROW * self.len()
    }

    /// Sets the meter to zero.
    pub(crate) fn start_meter(&mut self) {
        self.meter = RowMeter { from: self.writes, ..RowMeter::default() };
    }

    /// Bytes of memory that the rows written since the meter was started take, about. Follows from
    /// those writes alone, except for what a rollback takes back.
    pub(crate) fn metered(&self) -> usize {
        self.meter.bytes
    }

    /// Sets the savepoint, in place of an earlier one.
    pub(crate) fn savepoint(&mut self) {
        self.undo.clear();
        self.undo_keys.clear();
        self.savepoint = Some(self.writes);
        self.meter.at_savepoint = self.meter.bytes;
    }

    /// Takes back the writes since the savepoint, and the savepoint. False: there is none.
    pub(crate) fn rollback(&mut self) -> bool {
        while let Some(Undo { family, key, before }) = self.undo.pop() {
            let Some(key) = self.undo_keys.get(key) else { continue };
            let rows = self.rows.get_mut(family);
            let restored = before.as_ref().map_or(0, Write::size);
            let (gone, key_size) = match before {
                Some(before) => {
                    (rows.get_mut(key).map(|newest| std::mem::replace(newest, before)), 0)
                }
                None => (rows.remove(key), key.len()),
            };
            let gone = gone.as_ref().map_or(0, Write::size);
            self.size = self.size + restored - gone - key_size;
        }
        let had_savepoint = self.savepoint.take().is_some();
        if had_savepoint {
            self.meter.bytes = self.meter.at_savepoint;
        }
        had_savepoint
    }

    /// Walks the rows of a range.
    pub(crate) fn walk(&self, family: Family, range: &KeyRange, direction: Direction) -> Walk<'_> {
        let mut walk = Walk { rows: self.rows.get(family), rest: None, current: None, direction };
        walk.open(Bound::Included(&range.start), end_of(range));
        walk
    }
}

/// The end of a range as a bound.
fn end_of(range: &KeyRange) -> Bound<&[u8]> {
    if range.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(&range.end) }
}

/// A walk over the rows of one family in a range, standing on one of them or at the end.
pub(crate) struct Walk<'a> {
    rows: &'a Rows,
    rest: Option<btree_map::Range<'a, Vec<u8>, Write>>,
    current: Option<Row<'a>>,
    direction: Direction,
}

impl<'a> Walk<'a> {
    /// Moves to the first row of `range` in walking order.
    pub(crate) fn seek_edge(&mut self, range: &KeyRange) {
        self.open(Bound::Included(&range.start), end_of(range));
    }

    /// Moves to the first row of `range` that is not before `target` in walking order.
    pub(crate) fn seek(&mut self, target: &[u8], range: &KeyRange) {
        match self.direction {
            Direction::Forward => self.open(Bound::Included(target), end_of(range)),
            Direction::Reverse => self.open(Bound::Included(&range.start), Bound::Included(target)),
        }
    }

    fn open(&mut self, start: Bound<&[u8]>, end: Bound<&[u8]>) {
        let backwards = match (start, end) {
            (Bound::Included(start), Bound::Included(end)) => start > end,
            (Bound::Included(start), Bound::Excluded(end)) => start >= end,
            _ => false,
        };
        self.rest = (!backwards).then(|| self.rows.range::<[u8], _>((start, end)));
        self.step();
    }

    /// Moves to the next row.
    pub(crate) fn step(&mut self) {
        let next = self.rest.as_mut().and_then(|rest| match self.direction {
            Direction::Forward => rest.next(),
            Direction::Reverse => rest.next_back(),
        });
        self.current = next.map(|(key, write)| Row::new(key, write));
    }

    /// The row it stands on.
    pub(crate) fn row(&self) -> Option<Row<'a>> {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(overlay: &mut Overlay, key: &[u8], value: &[u8]) {
        overlay.write(Family::Metadata, key, Some(value.to_vec()));
    }

    fn newest(overlay: &Overlay) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let rows = overlay.newest(Family::Metadata);
        rows.map(|row| (row.key.to_vec(), row.value.map(<[u8]>::to_vec))).collect()
    }

    /// Every byte that the overlay holds in keys and values, those for a rollback included.
    fn held(overlay: &Overlay) -> usize {
        let before = |undo: &Undo| undo.before.as_ref().map_or(0, Write::size);
        overlay.size() + overlay.undo_keys.len() + overlay.undo.iter().map(before).sum::<usize>()
    }

    #[test]
    fn a_row_has_its_newest_write() {
        let mut overlay = Overlay::default();
        put(&mut overlay, b"b", b"1");
        put(&mut overlay, b"a", b"");
        overlay.write(Family::Metadata, b"b", None);
        overlay.write(Family::Expire, b"b", Some(b"other".to_vec()));
        assert_eq!(overlay.get(Family::Metadata, b"b"), Some(None));
        assert_eq!(overlay.get(Family::Metadata, b"a"), Some(Some(&b""[..])));
        assert_eq!(overlay.get(Family::Metadata, b"c"), None);
        assert_eq!(newest(&overlay), [(b"a".to_vec(), Some(vec![])), (b"b".to_vec(), None)]);
        assert_eq!((overlay.len(), overlay.writes(), overlay.size()), (3, 4, 3 + 5));
    }

    #[test]
    fn a_rollback_restores_what_stood_at_the_savepoint() {
        let mut overlay = Overlay::default();
        put(&mut overlay, b"a", b"1");
        overlay.savepoint();
        put(&mut overlay, b"a", b"23");
        overlay.write(Family::Metadata, b"a", None);
        put(&mut overlay, b"b", b"1");
        put(&mut overlay, b"b", b"2");
        assert!(overlay.rollback());
        assert_eq!(newest(&overlay), [(b"a".to_vec(), Some(b"1".to_vec()))]);
        assert_eq!((overlay.size(), overlay.len()), (2, 1));
        assert!(!overlay.rollback(), "the savepoint is gone with it");
    }

    #[test]
    fn replaced_values_are_not_kept() {
        const LONG: usize = 1000;
        let mut overlay = Overlay::default();
        for round in 0..100u8 {
            overlay.savepoint();
            put(&mut overlay, b"k", &[round; LONG]);
            put(&mut overlay, b"k", &[!round; LONG]);
            assert!(held(&overlay) <= 2 * (1 + LONG), "{} bytes", held(&overlay));
        }
        assert_eq!((overlay.len(), overlay.size()), (1, 1 + LONG));
    }

    #[test]
    fn the_meter_counts_a_row_once_and_forgets_what_is_taken_back() {
        let mut overlay = Overlay::default();
        put(&mut overlay, b"before", b"12345");
        overlay.start_meter();
        assert_eq!(overlay.metered(), 0);
        put(&mut overlay, b"a", b"123");
        put(&mut overlay, b"a", b"1");
        assert_eq!(overlay.metered(), ROW + 1 + 1);
        overlay.savepoint();
        put(&mut overlay, b"a", b"12345");
        overlay.write(Family::Subkey, b"b", None);
        assert_eq!(overlay.metered(), (ROW + 1 + 5) + (ROW + 1));
        assert!(overlay.rollback());
        assert_eq!(overlay.metered(), ROW + 1 + 1);
        put(&mut overlay, b"before", b"1");
        assert_eq!(overlay.metered(), (ROW + 1 + 1) + (ROW + 6 + 1), "as if it had not been there");
        overlay.start_meter();
        assert_eq!(overlay.metered(), 0);
    }

    #[test]
    fn walks_stay_in_their_range_in_both_directions() {
        let mut overlay = Overlay::default();
        for key in [b"a", b"b", b"c", b"d"] {
            put(&mut overlay, key, b"");
        }
        let range = KeyRange::new(*b"b", *b"d");
        for (direction, expected) in
            [(Direction::Forward, [b"b", b"c"]), (Direction::Reverse, [b"c", b"b"])]
        {
            let mut walk = overlay.walk(Family::Metadata, &range, direction);
            let mut seen = Vec::new();
            while let Some(row) = walk.row() {
                seen.push(row.key);
                walk.step();
            }
            assert_eq!(seen, expected);
            let found = [&b"bb"[..], b"c", b"cc"].map(|target| {
                walk.seek(target, &range);
                walk.row().map(|row| row.key)
            });
            assert_eq!(
                found,
                match direction {
                    Direction::Forward => [Some(&b"c"[..]), Some(b"c"), None],
                    Direction::Reverse => [Some(&b"b"[..]), Some(b"c"), Some(b"c")],
                }
            );
            walk.seek_edge(&range);
            assert_eq!(walk.row().map(|row| row.key), Some(&expected[0][..]));
        }
    }
}
