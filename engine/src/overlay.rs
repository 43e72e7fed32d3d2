//! What a batch has written and not committed: the newest write of each row, in key order, over a log of all of them.
//!
//! ```text
//! log     #0 put a=1   #1 put b=1   #2 put a=2 (before it: #0)   #3 delete b (before it: #1)
//! rows    a ─▶ #2      b ─▶ #3
//! ```
//!
//! Reads look a row up and see its newest write. A rollback takes writes off the end of the log, and each says what stood
//! before it. A commit goes through the rows in order and writes each once, however often the batch has changed it: a
//! counter that was incremented two hundred times is one row.
//!
//! Keys and values lie one behind the other in one buffer, so a write costs no allocation of its own but the row's.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::{Bound, Range};

use neokv_encoding::family::Family;

use crate::per_family::PerFamily;
use crate::read::{Direction, KeyRange};

/// Rows of one family: the position of each row's newest write in the log.
type Rows = BTreeMap<Vec<u8>, usize>;

/// One write.
struct Write {
    family: Family,
    key: Range<usize>,
    /// `None`: the row is deleted.
    value: Option<Range<usize>>,
    /// The position of the write of the same row before this one.
    before: Option<usize>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Overlay {
    bytes: Vec<u8>,
    log: Vec<Write>,
    rows: PerFamily<Rows>,
}

/// A point in the life of an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    writes: usize,
    bytes: usize,
}

/// The newest write of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) key: &'a [u8],
    /// `None`: the row is deleted.
    pub(crate) value: Option<&'a [u8]>,
    /// The row's newest write is this one, counted from the first.
    pub(crate) at: usize,
}

impl Overlay {
    /// Writes a row; `None` deletes it.
    pub(crate) fn write(&mut self, family: Family, key: &[u8], value: Option<&[u8]>) {
        let at = self.log.len();
        let key_range = self.store(key);
        let value = value.map(|value| self.store(value));
        let rows = self.rows.get_mut(family);
        let before = match rows.get_mut(key) {
            Some(newest) => Some(std::mem::replace(newest, at)),
            None => {
                rows.insert(key.to_vec(), at);
                None
            }
        };
        self.log.push(Write { family, key: key_range, value, before });
    }

    /// The newest write of a row, if there is one: `Some(None)` says that it is deleted.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Option<Option<&[u8]>> {
        let at = *self.rows.get(family).get(key)?;
        Some(self.value(at))
    }

    /// Whether nothing is written in a family.
    pub(crate) fn is_untouched(&self, family: Family) -> bool {
        self.rows.get(family).is_empty()
    }

    /// The rows written in a family, in order of their keys.
    pub(crate) fn newest(&self, family: Family) -> impl Iterator<Item = Row<'_>> {
        self.rows.get(family).iter().map(|(key, at)| Row { key, value: self.value(*at), at: *at })
    }

    /// Number of rows written.
    pub(crate) fn len(&self) -> usize {
        Family::ALL.into_iter().map(|family| self.rows.get(family).len()).fold(0, usize::saturating_add)
    }

    /// Writes so far, those included that a later one has replaced.
    pub(crate) fn writes(&self) -> usize {
        self.log.len()
    }

    /// Bytes held.
    pub(crate) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The present point, for [`Overlay::rollback`].
    pub(crate) fn mark(&self) -> Mark {
        Mark { writes: self.log.len(), bytes: self.bytes.len() }
    }

    /// Forgets the writes since `mark`.
    pub(crate) fn rollback(&mut self, mark: Mark) {
        while self.log.len() > mark.writes {
            let Some(write) = self.log.pop() else { break };
            let Some(key) = self.bytes.get(write.key) else { break };
            let rows = self.rows.get_mut(write.family);
            match (write.before, rows.get_mut(key)) {
                (Some(before), Some(newest)) => *newest = before,
                _ => drop(rows.remove(key)),
            }
        }
        self.bytes.truncate(mark.bytes);
    }

    /// Forgets everything and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.log.clear();
        Family::ALL.into_iter().for_each(|family| self.rows.get_mut(family).clear());
    }

    /// Walks the rows of a range.
    pub(crate) fn walk(&self, family: Family, range: &KeyRange, direction: Direction) -> Walk<'_> {
        let mut walk = Walk { overlay: self, rows: self.rows.get(family), rest: None, current: None, direction };
        walk.open(Bound::Included(&range.start), end_of(range));
        walk
    }

    fn store(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn value(&self, at: usize) -> Option<&[u8]> {
        self.log.get(at)?.value.clone().and_then(|range| self.bytes.get(range))
    }
}

/// The end of a range as a bound.
fn end_of(range: &KeyRange) -> Bound<&[u8]> {
    if range.end.is_empty() { Bound::Unbounded } else { Bound::Excluded(&range.end) }
}

/// A walk over the rows of one family in a range, standing on one of them or at the end.
pub(crate) struct Walk<'a> {
    overlay: &'a Overlay,
    rows: &'a Rows,
    rest: Option<btree_map::Range<'a, Vec<u8>, usize>>,
    current: Option<(&'a [u8], usize)>,
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
        self.current = next.map(|(key, at)| (key.as_slice(), *at));
    }

    /// The row it stands on.
    pub(crate) fn row(&self) -> Option<Row<'a>> {
        let (key, at) = self.current?;
        Some(Row { key, value: self.overlay.value(at), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(overlay: &Overlay) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let rows = overlay.newest(Family::Metadata);
        rows.map(|row| (row.key.to_vec(), row.value.map(<[u8]>::to_vec))).collect()
    }

    #[test]
    fn a_row_has_its_newest_write() {
        let mut overlay = Overlay::default();
        overlay.write(Family::Metadata, b"b", Some(b"1"));
        overlay.write(Family::Metadata, b"a", Some(b""));
        overlay.write(Family::Metadata, b"b", None);
        overlay.write(Family::Expire, b"b", Some(b"other"));
        assert_eq!(overlay.get(Family::Metadata, b"b"), Some(None));
        assert_eq!(overlay.get(Family::Metadata, b"a"), Some(Some(&b""[..])));
        assert_eq!(overlay.get(Family::Metadata, b"c"), None);
        assert_eq!(newest(&overlay), [(b"a".to_vec(), Some(vec![])), (b"b".to_vec(), None)]);
        assert_eq!((overlay.len(), overlay.writes()), (3, 4));
    }

    #[test]
    fn a_rollback_restores_what_stood_before() {
        let mut overlay = Overlay::default();
        overlay.write(Family::Metadata, b"a", Some(b"1"));
        let mark = overlay.mark();
        overlay.write(Family::Metadata, b"a", Some(b"2"));
        overlay.write(Family::Metadata, b"a", None);
        overlay.write(Family::Metadata, b"b", Some(b"1"));
        overlay.rollback(mark);
        assert_eq!(newest(&overlay), [(b"a".to_vec(), Some(b"1".to_vec()))]);
        assert_eq!(overlay.mark(), mark);
    }

    #[test]
    fn walks_stay_in_their_range_in_both_directions() {
        let mut overlay = Overlay::default();
        for key in [b"a", b"b", b"c", b"d"] {
            overlay.write(Family::Metadata, key, Some(b""));
        }
        let range = KeyRange::new(*b"b", *b"d");
        for (direction, expected) in [(Direction::Forward, [b"b", b"c"]), (Direction::Reverse, [b"c", b"b"])] {
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
