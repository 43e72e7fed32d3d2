//! How much a read may read, and how much of that is left.
//!
//! A [`Remaining`] goes with the reads of one answer ([`crate::BudgetedRead`]) and with every
//! cursor that they open.

use std::cell::Cell;

use rocksdb::ErrorKind;

use crate::error::{EngineError, Result};

/// What a look-up and a seek count as, in rows: about as long as each takes compared with a step to
/// the next row.
const LOOK_UP_ROWS: u32 = 8;

/// How much a budgeted read may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadBudget {
    /// Rows. A look-up of a single record and the start of a walk count as several.
    pub rows: u32,
    /// Bytes of keys and values.
    pub bytes: usize,
}

/// What is left of a budget, and whether it was enough.
#[derive(Debug)]
pub(crate) struct Remaining {
    whole: u32,
    rows: Cell<u32>,
    bytes: Cell<usize>,
    spent: Cell<bool>,
}

impl Remaining {
    pub(crate) fn new(budget: ReadBudget) -> Remaining {
        Remaining {
            whole: budget.rows,
            rows: Cell::new(budget.rows),
            bytes: Cell::new(budget.bytes),
            spent: Cell::new(false),
        }
    }

    /// Takes rows and bytes off the budget.
    #[inline]
    pub(crate) fn charge(&self, rows: u32, bytes: usize) -> Result<()> {
        let left = self.rows.get().checked_sub(rows).zip(self.bytes.get().checked_sub(bytes));
        let Some((rows, bytes)) = left else { return Err(self.exceeded()) };
        self.rows.set(rows);
        self.bytes.set(bytes);
        Ok(())
    }

    /// A look-up of a key of this length.
    #[inline]
    pub(crate) fn charge_look_up(&self, key: usize) -> Result<()> {
        self.charge(LOOK_UP_ROWS, key)
    }

    /// The start of a walk, or a jump within it.
    pub(crate) fn charge_seek(&self) -> Result<()> {
        self.charge(LOOK_UP_ROWS, 0)
    }

    /// Refuses if fewer rows are left.
    pub(crate) fn expect(&self, rows: u64) -> Result<()> {
        if rows > u64::from(self.rows.get()) { Err(self.exceeded()) } else { Ok(()) }
    }

    pub(crate) fn is_spent(&self) -> bool {
        self.spent.get()
    }

    pub(crate) fn rows_used(&self) -> u32 {
        // What is left was taken off the whole.
        self.whole - self.rows.get()
    }

    /// RocksDB says *incomplete* when it would have to read a file, or has passed too many dead
    /// records.
    pub(crate) fn refusal(&self, error: rocksdb::Error) -> EngineError {
        if error.kind() == ErrorKind::Incomplete {
            self.exceeded()
        } else {
            EngineError::from_rocksdb(error)
        }
    }

    #[cold]
    fn exceeded(&self) -> EngineError {
        self.spent.set(true);
        EngineError::BudgetExceeded
    }
}
