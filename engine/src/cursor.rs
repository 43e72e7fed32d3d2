//! Walking a range of one family, in either direction, without copying.
//!
//! ```text
//! let mut cursor = snapshot.cursor(Family::Subkey, KeyRange::prefix(&collection), Direction::Forward)?;
//! while let Some((key, value)) = cursor.next()? { ... }       // key and value are borrowed until the next call
//! ```
//!
//! [`Cursor::seek`] moves inside the range: forward to the first key at or after the target, reverse to the last key at or
//! before it; the following [`Cursor::next`] returns that key. A target outside the range means its nearer edge.
//!
//! The bounds are given to RocksDB, so that a walk past the end never reads the next collection's blocks or tombstones. They
//! are compared here as well, because the writes of a [`crate::Batch`] are merged in from its own index.

use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions};

use crate::error::Result;
use crate::families;
use crate::read::{Direction, KeyRange};
use neokv_encoding::family::Family;

pub(crate) type RawIterator<'a> = DBRawIteratorWithThreadMode<'a, DB>;

/// Where the raw iterator stands relative to what the caller has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Nothing read yet: the next key is the range's first in walking order.
    Edge,
    /// The raw iterator stands on the key to return next.
    Ready,
    /// The raw iterator stands on the key returned last.
    Returned,
    /// Nothing is left.
    End,
}

/// A walk over the keys of a range. Opened by [`crate::Read::cursor`].
pub struct Cursor<'a> {
    raw: RawIterator<'a>,
    range: KeyRange,
    direction: Direction,
    position: Position,
}

impl std::fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cursor({:?}, {:?}, {:?})", self.range, self.direction, self.position)
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(raw: RawIterator<'a>, range: KeyRange, direction: Direction) -> Cursor<'a> {
        let position = if range.is_empty() { Position::End } else { Position::Edge };
        Cursor { raw, range, direction, position }
    }

    /// The next key and its value in walking order, or `None` at the end of the range.
    ///
    /// # Errors
    /// A damaged or unreadable file. The walk cannot go on after it.
    #[expect(clippy::should_implement_trait, reason = "the item borrows from the cursor, which Iterator cannot say")]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match (self.position, self.direction) {
            (Position::End, _) => return Ok(None),
            (Position::Ready, _) => {}
            (Position::Edge, _) => self.seek_edge(),
            (Position::Returned, Direction::Forward) => self.raw.next(),
            (Position::Returned, Direction::Reverse) => self.raw.prev(),
        }
        if !self.stands_inside()? {
            self.position = Position::End;
            return Ok(None);
        }
        self.position = Position::Returned;
        Ok(self.raw.item())
    }

    /// Moves to the first key at or after `target` (forward) or the last key at or before it (reverse), within the range.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    pub fn seek(&mut self, target: &[u8]) -> Result<()> {
        if self.range.is_empty() {
            return Ok(());
        }
        match self.direction {
            Direction::Forward if target <= self.range.start.as_slice() => self.seek_edge(),
            Direction::Reverse if !self.range.is_before_end(target) => self.seek_edge(),
            Direction::Forward => self.raw.seek(target),
            Direction::Reverse => self.raw.seek_for_prev(target),
        }
        self.position = if self.stands_inside()? { Position::Ready } else { Position::End };
        Ok(())
    }

    /// Positions on the range's first key in walking order.
    fn seek_edge(&mut self) {
        match self.direction {
            Direction::Forward => self.raw.seek(&self.range.start),
            Direction::Reverse if self.range.end.is_empty() => self.raw.seek_to_last(),
            Direction::Reverse => {
                self.raw.seek_for_prev(&self.range.end);
                // The end is excluded, and a batch's own write may stand exactly on it.
                if self.raw.key() == Some(self.range.end.as_slice()) {
                    self.raw.prev();
                }
            }
        }
    }

    fn stands_inside(&self) -> Result<bool> {
        match self.raw.key() {
            Some(key) => Ok(self.range.contains(key)),
            None => {
                self.raw.status()?;
                Ok(false)
            }
        }
    }
}

/// Read options for a walk over `range`: bounds for RocksDB, and the prefix filter where it cannot hide a key.
///
/// A filter knows only prefixes of collections. It may be asked when every key of the walk has the same one and every seek
/// target has it too, which holds walking forward only: a reverse walk starts by seeking the end, and that key has the next
/// prefix.
pub(crate) fn read_options(family: Family, range: &KeyRange, direction: Direction) -> ReadOptions {
    let mut options = ReadOptions::default();
    if !range.start.is_empty() {
        options.set_iterate_lower_bound(range.start.clone());
    }
    if !range.end.is_empty() {
        options.set_iterate_upper_bound(range.end.clone());
    }
    let filtered =
        direction == Direction::Forward && families::has_prefix_filter(family) && families::in_one_collection(range);
    options.set_total_order_seek(!filtered);
    options.set_prefix_same_as_start(filtered);
    options
}
