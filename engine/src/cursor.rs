//! Walking a range of one family, in either direction.
//!
//! ```text
//! let range = KeyRange::prefix(&collection);
//! let mut cursor = snapshot.cursor(Family::Subkey, range, Direction::Forward)?;
//! // Key and value are borrowed until the next call.
//! while let Some((key, value)) = cursor.next()? { ... }
//! ```
//!
//! [`Cursor::seek`] moves inside the range: forward to the first key at or after the target,
//! reverse to the last key at or before it; the following [`Cursor::next`] returns that key. A
//! target outside the range means its nearer edge.
//!
//! The bounds are given to RocksDB, so that a walk past the end never reads the next collection's
//! blocks or tombstones.
//!
//! A cursor walks RocksDB's rows and those of the row table at once: see [`crate::stored`].

use rocksdb::ReadOptions;

use crate::budget::Remaining;
use crate::error::Result;
use crate::families;
use crate::range::{Direction, KeyRange};
use crate::rows::{OpenRead, TableWalk};
use crate::stored::{RawIterator, Stored};
use neokv_encoding::family::Family;

/// Where the cursor stands relative to what the caller has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Nothing read yet: the next key is the range's first in walking order.
    Edge,
    /// It stands on the key to return next.
    Ready,
    /// It stands on the key returned last.
    Returned,
    /// Nothing is left.
    End,
}

/// A walk over the keys of a range. Opened by [`crate::Read::cursor`].
pub struct Cursor<'a> {
    stored: Stored<'a>,
    /// Keeps what the walk may still look for, if nobody else does.
    _open: Option<OpenRead<'a>>,
    range: KeyRange,
    direction: Direction,
    position: Position,
    /// What the walk may still read; `None` for as much as there is.
    remaining: Option<&'a Remaining>,
}

impl std::fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cursor({:?}, {:?}, {:?})", self.range, self.direction, self.position)
    }
}

impl<'a> Cursor<'a> {
    /// A cursor over the rows of RocksDB and of the table. Both must keep to the bounds of `range`.
    pub(crate) fn new(
        raw: RawIterator<'a>,
        rows: TableWalk<'a>,
        range: KeyRange,
        direction: Direction,
    ) -> Cursor<'a> {
        let position = if range.is_empty() { Position::End } else { Position::Edge };
        let stored = Stored::new(raw, rows, direction);
        Cursor { stored, _open: None, range, direction, position, remaining: None }
    }

    /// The same walk, which keeps a read open.
    pub(crate) fn keeping(self, open: OpenRead<'a>) -> Cursor<'a> {
        Cursor { _open: Some(open), ..self }
    }

    /// The same walk, within a budget.
    pub(crate) fn limited(self, remaining: &'a Remaining) -> Cursor<'a> {
        Cursor { stored: self.stored.limited(remaining), remaining: Some(remaining), ..self }
    }

    /// The next key and its value in walking order, or `None` at the end of the range.
    ///
    /// # Errors
    /// A damaged or unreadable file. The walk cannot go on after it.
    #[expect(
        clippy::should_implement_trait,
        reason = "the item borrows from the cursor, which Iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<(&[u8], &[u8])>> {
        match self.position {
            Position::End => return Ok(None),
            Position::Ready => {}
            Position::Edge => self.stored.seek_edge(&self.range),
            Position::Returned => self.stored.step(),
        }
        let Some((key, value)) = self.stored.item() else {
            self.position = Position::End;
            return self.stored.status().map(|()| None);
        };
        self.position = Position::Returned;
        if let Some(remaining) = self.remaining {
            remaining.charge(1, key.len() + value.len())?;
        }
        Ok(Some((key, value)))
    }

    /// Moves to the first key at or after `target` (forward) or the last key at or before it
    /// (reverse), within the range.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    pub fn seek(&mut self, target: &[u8]) -> Result<()> {
        if self.range.is_empty() {
            return Ok(());
        }
        if let Some(remaining) = self.remaining {
            remaining.charge_seek()?;
        }
        match self.direction {
            Direction::Forward if target <= self.range.start.as_slice() => {
                self.stored.seek_edge(&self.range);
            }
            Direction::Reverse if !self.range.is_before_end(target) => {
                self.stored.seek_edge(&self.range);
            }
            Direction::Forward | Direction::Reverse => self.stored.seek(target),
        }
        if self.stored.is_on_row() {
            self.position = Position::Ready;
            return Ok(());
        }
        self.position = Position::End;
        self.stored.status()
    }
}

/// Read options for a walk over `range`: bounds for RocksDB, and the prefix filter where it cannot
/// hide a key.
///
/// A filter knows only prefixes of collections. It may be asked when every key of the walk has the
/// same one and every seek target has it too, which holds walking forward only: a reverse walk
/// starts by seeking the end, and that key has the next prefix.
///
/// RocksDB need not be told to stop where the prefix ends (`prefix_same_as_start`): such a range
/// ends within the prefix, and the prefix of every row would have to be computed, by a call back
/// into this crate.
pub(crate) fn read_options(family: Family, range: &KeyRange, direction: Direction) -> ReadOptions {
    let mut options = ReadOptions::default();
    if !range.start.is_empty() {
        options.set_iterate_lower_bound(range.start.clone());
    }
    if !range.end.is_empty() {
        options.set_iterate_upper_bound(range.end.clone());
    }
    let filtered = direction == Direction::Forward
        && families::has_prefix_filter(family)
        && families::in_one_collection(range);
    options.set_total_order_seek(!filtered);
    options
}
