//! The rows that are stored, in one walk: those of RocksDB, and those of the row table over them.
//!
//! Where both have a key, the table's row stands for it, and one that does not exist hides it. A
//! walk with a budget pays for each of those that it passes: there may be many.

use std::cmp::Ordering;

use rocksdb::{DB, DBRawIteratorWithThreadMode};

use crate::budget::Remaining;
use crate::error::{EngineError, Result};
use crate::range::{Direction, KeyRange};
use crate::rows::TableWalk;

pub(crate) type RawIterator<'a> = DBRawIteratorWithThreadMode<'a, DB>;

/// Which list has the row that the walk stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    RocksDb,
    Table,
    Both,
    /// None: the budget is spent.
    Refused,
}

/// See the module. It stands on a row or at the end.
pub(crate) struct Stored<'a> {
    raw: RawIterator<'a>,
    rows: TableWalk<'a>,
    direction: Direction,
    side: Side,
    budget: Option<&'a Remaining>,
}

impl<'a> Stored<'a> {
    /// A walk that stands nowhere. `raw` must keep to the bounds that `rows` has.
    pub(crate) fn new(
        raw: RawIterator<'a>,
        rows: TableWalk<'a>,
        direction: Direction,
    ) -> Stored<'a> {
        Stored { raw, rows, direction, side: Side::RocksDb, budget: None }
    }

    /// The same walk, which pays for what it passes.
    pub(crate) fn limited(self, budget: &'a Remaining) -> Stored<'a> {
        Stored { budget: Some(budget), ..self }
    }

    /// Moves to the first row of `range` in walking order.
    pub(crate) fn seek_edge(&mut self, range: &KeyRange) {
        match self.direction {
            Direction::Forward => self.raw.seek(&range.start),
            // RocksDB starts below the upper bound that it was given, if there is one.
            Direction::Reverse => self.raw.seek_to_last(),
        }
        self.rows.seek_edge();
        self.settle();
    }

    /// Moves to the first row that is not before `target` in walking order.
    pub(crate) fn seek(&mut self, target: &[u8]) {
        match self.direction {
            Direction::Forward => self.raw.seek(target),
            Direction::Reverse => self.raw.seek_for_prev(target),
        }
        self.rows.seek(target);
        self.settle();
    }

    /// Moves to the next row.
    pub(crate) fn step(&mut self) {
        self.pass(self.side);
        self.settle();
    }

    /// Whether it stands on a row. If not, it is at the end, or [`Stored::status`] says why.
    pub(crate) fn is_on_row(&self) -> bool {
        match self.side {
            Side::RocksDb => self.raw.valid(),
            Side::Table | Side::Both => true,
            Side::Refused => false,
        }
    }

    /// The row it stands on.
    pub(crate) fn item(&self) -> Option<(&[u8], &[u8])> {
        match self.side {
            // Asked once per row and taken apart by the caller: each question to RocksDB is a call
            // that cannot be inlined.
            Side::RocksDb => self.raw.item(),
            Side::Table | Side::Both => {
                self.rows.row().and_then(|(key, value)| Some((key, value?)))
            }
            Side::Refused => None,
        }
    }

    /// Why it stands nowhere: at the end, or because of an error.
    pub(crate) fn status(&self) -> Result<()> {
        match (self.raw.status(), self.budget) {
            (Ok(()), _) if self.side == Side::Refused => Err(EngineError::BudgetExceeded),
            (Ok(()), _) => Ok(()),
            (Err(error), None) => Err(error.into()),
            (Err(error), Some(budget)) => Err(budget.refusal(error)),
        }
    }

    fn pass(&mut self, side: Side) {
        if side != Side::Table {
            match self.direction {
                Direction::Forward => self.raw.next(),
                Direction::Reverse => self.raw.prev(),
            }
        }
        if side != Side::RocksDb {
            self.rows.step();
        }
    }

    /// Finds the side with the next row, passing over rows that do not exist.
    fn settle(&mut self) {
        loop {
            let Some((key, value)) = self.rows.row() else {
                self.side = Side::RocksDb;
                return;
            };
            let order = match self.raw.key() {
                Some(raw) if self.direction == Direction::Forward => raw.cmp(key),
                Some(raw) => key.cmp(raw),
                // After an error nobody knows which row comes next.
                None if self.raw.status().is_err() => Ordering::Less,
                None => Ordering::Greater,
            };
            self.side = match order {
                Ordering::Less => Side::RocksDb,
                Ordering::Equal => Side::Both,
                Ordering::Greater => Side::Table,
            };
            if self.side == Side::RocksDb || value.is_some() {
                return;
            }
            if self.budget.is_some_and(|budget| budget.charge(1, 0).is_err()) {
                self.side = Side::Refused;
                return;
            }
            self.pass(self.side);
        }
    }
}
