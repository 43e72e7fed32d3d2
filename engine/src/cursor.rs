//! Walking a range of one family, in either direction, without copying.
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
//! A cursor of a [`crate::Batch`] walks two lists at once, the committed rows and those the batch
//! has written, and returns the one that comes first. Where both have a key, the batch's row stands
//! for it, and a deleted one hides it.

use std::cmp::Ordering;

use rocksdb::{DB, DBRawIteratorWithThreadMode, ReadOptions};

use crate::budget::Remaining;
use crate::error::Result;
use crate::families;
use crate::overlay::Walk;
use crate::range::{Direction, KeyRange};
use neokv_encoding::family::Family;

pub(crate) type RawIterator<'a> = DBRawIteratorWithThreadMode<'a, DB>;

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

/// Which list has the key that the cursor stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Committed,
    Batch,
    Both,
}

/// A walk over the keys of a range. Opened by [`crate::Read::cursor`].
pub struct Cursor<'a> {
    committed: RawIterator<'a>,
    /// The rows of the batch, if it has any in this family.
    batch: Option<Walk<'a>>,
    side: Side,
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
    /// A cursor over committed rows, and over those of a batch. `committed` must keep to the bounds
    /// of `range`.
    pub(crate) fn new(
        committed: RawIterator<'a>,
        batch: Option<Walk<'a>>,
        range: KeyRange,
        direction: Direction,
    ) -> Cursor<'a> {
        let position = if range.is_empty() { Position::End } else { Position::Edge };
        Cursor {
            committed,
            batch,
            side: Side::Committed,
            range,
            direction,
            position,
            remaining: None,
        }
    }

    /// The same walk, within a budget.
    pub(crate) fn limited(self, remaining: &'a Remaining) -> Cursor<'a> {
        Cursor { remaining: Some(remaining), ..self }
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
            Position::Edge => self.seek_edge(),
            Position::Returned => self.step(self.side),
        }
        if self.batch.is_some() {
            self.settle()?;
        }
        // Asked once per row and taken apart here: each question to RocksDB is a call that cannot
        // be inlined.
        let row = match (self.side, &self.batch) {
            (Side::Committed, _) | (_, None) => self.committed.item(),
            (Side::Batch | Side::Both, Some(walk)) => {
                walk.row().and_then(|row| Some((row.key, row.value?)))
            }
        };
        let Some((key, value)) = row else {
            self.position = Position::End;
            return self.check().map(|()| None);
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
            Direction::Forward if target <= self.range.start.as_slice() => self.seek_edge(),
            Direction::Reverse if !self.range.is_before_end(target) => self.seek_edge(),
            Direction::Forward | Direction::Reverse => self.seek_inside(target),
        }
        self.position = if self.settle()? { Position::Ready } else { Position::End };
        Ok(())
    }

    /// Positions both lists on a target that is not outside the range on the side where the walk
    /// begins.
    fn seek_inside(&mut self, target: &[u8]) {
        match self.direction {
            Direction::Forward => self.committed.seek(target),
            Direction::Reverse => self.committed.seek_for_prev(target),
        }
        if let Some(walk) = &mut self.batch {
            walk.seek(target, &self.range);
        }
    }

    /// Positions both lists on the range's first key in walking order.
    fn seek_edge(&mut self) {
        match self.direction {
            Direction::Forward => self.committed.seek(&self.range.start),
            // RocksDB starts below the upper bound that it was given, if there is one.
            Direction::Reverse => self.committed.seek_to_last(),
        }
        if let Some(walk) = &mut self.batch {
            walk.seek_edge(&self.range);
        }
    }

    /// Moves the lists of `side` on by one.
    fn step(&mut self, side: Side) {
        if side != Side::Batch {
            match self.direction {
                Direction::Forward => self.committed.next(),
                Direction::Reverse => self.committed.prev(),
            }
        }
        if let Some(walk) = &mut self.batch
            && side != Side::Committed
        {
            walk.step();
        }
    }

    /// Finds the side with the next key, passing over what the batch has deleted. False if nothing
    /// is left.
    fn settle(&mut self) -> Result<bool> {
        loop {
            let Some(row) = self.batch.as_ref().and_then(Walk::row) else {
                self.side = Side::Committed;
                return Ok(self.committed_key()?.is_some());
            };
            let order =
                self.committed_key()?.map_or(Ordering::Greater, |key| match self.direction {
                    Direction::Forward => key.cmp(row.key),
                    Direction::Reverse => row.key.cmp(key),
                });
            let side = match order {
                Ordering::Less => Side::Committed,
                Ordering::Equal => Side::Both,
                Ordering::Greater => Side::Batch,
            };
            if side == Side::Committed || row.value.is_some() {
                self.side = side;
                return Ok(true);
            }
            self.step(side);
        }
    }

    /// The committed key that the raw iterator stands on. It keeps to the bounds of the range by
    /// itself.
    fn committed_key(&self) -> Result<Option<&[u8]>> {
        match self.committed.key() {
            Some(key) => Ok(Some(key)),
            None => self.check().map(|()| None),
        }
    }

    /// Why the raw iterator stands nowhere: at the end, or because of an error.
    fn check(&self) -> Result<()> {
        match (self.committed.status(), self.remaining) {
            (Ok(()), _) => Ok(()),
            (Err(error), None) => Err(error.into()),
            (Err(error), Some(remaining)) => Err(remaining.refusal(error)),
        }
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
