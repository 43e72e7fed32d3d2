//! A snapshot for answers that must come at once: it reads what is in memory, and only so much of
//! it.
//!
//! A thread that serves many clients may not wait for a disk, and may not walk over a million rows
//! for one of them. Most ranges that clients ask for are short and in the cache, though, and
//! handing those to another thread costs more than reading them. Nobody can tell beforehand which
//! kind a range is: so the thread takes a *glance*, and if that is not enough, the answer is built
//! again elsewhere, from an ordinary [`Snapshot`].
//!
//! ```text
//!                        ┌─ enough ──────────────────────────────► the answer
//! glance ── handler ─────┤
//!                        └─ a block is on disk, many tombstones,
//!                           budget spent: Beyond ────────────────► the answer is thrown away; again, on a snapshot
//! ```
//!
//! A glance sees one state, as every snapshot does. The state of the second attempt may be a newer
//! one, which is no difference to a client that has no answer yet.

use std::cell::Cell;

use neokv_encoding::family::Family;
use rocksdb::{ErrorKind, ReadOptions, ReadTier};

use crate::cursor::Cursor;
use crate::error::{EngineError, Result};
use crate::read::{Direction, KeyRange, Read, Slice};
use crate::snapshot::Snapshot;

/// What a look-up and a seek count as, in rows: about as long as each takes compared with a step to
/// the next row.
const LOOK_UP_ROWS: u32 = 8;

/// Deleted or overwritten records that one step may pass. Neighbours that were deleted together
/// make long runs of them, and passing them takes time without using up rows.
const PASSED_PER_STEP: u64 = 100;

/// How much a glance may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Rows. A look-up of a single record and the start of a walk count as several.
    pub rows: u32,
    /// Bytes of keys and values.
    pub bytes: usize,
}

/// A snapshot that reads only what is in memory, within a [`Budget`]. From
/// [`crate::Engine::glance`].
pub struct Glance<'a> {
    options: ReadOptions,
    // After the options, which refer to it.
    snapshot: Snapshot<'a>,
    meter: Meter,
}

/// What is left of a budget, and whether it was enough.
#[derive(Debug)]
pub(crate) struct Meter {
    whole: u32,
    rows: Cell<u32>,
    bytes: Cell<usize>,
    spent: Cell<bool>,
}

impl<'a> Glance<'a> {
    pub(crate) fn take(snapshot: Snapshot<'a>, budget: Budget) -> Glance<'a> {
        let mut options = ReadOptions::default();
        snapshot.bind(&mut options);
        options.set_read_tier(ReadTier::BlockCache);
        Glance { options, snapshot, meter: Meter::new(budget) }
    }

    /// Whether something was refused with [`EngineError::Beyond`]. Then no answer built from this
    /// glance counts.
    pub fn is_spent(&self) -> bool {
        self.meter.spent.get()
    }

    /// How much of [`Budget::rows`] has been used.
    pub fn rows_read(&self) -> u32 {
        self.meter.whole.saturating_sub(self.meter.rows.get())
    }
}

impl Read for Glance<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        self.meter.charge(LOOK_UP_ROWS, key.len())?;
        let found = self
            .snapshot
            .get_with(family, key, &self.options)
            .map_err(|error| self.meter.judge(error))?;
        self.meter.charge(0, found.as_ref().map_or(0, |value| value.len()))?;
        Ok(found)
    }

    fn cursor(&self, family: Family, range: KeyRange, direction: Direction) -> Result<Cursor<'_>> {
        self.meter.charge(LOOK_UP_ROWS, 0)?;
        let cursor = self.snapshot.cursor_with(family, range, direction, |options| {
            options.set_read_tier(ReadTier::BlockCache);
            options.set_max_skippable_internal_keys(PASSED_PER_STEP);
        });
        Ok(cursor.metered(&self.meter))
    }

    fn expect_rows(&self, rows: u64) -> Result<()> {
        if rows > u64::from(self.meter.rows.get()) { Err(self.meter.beyond()) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Glance<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Glance({:?}, {:?})", self.snapshot, self.meter)
    }
}

impl Meter {
    fn new(budget: Budget) -> Meter {
        Meter {
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
        let Some((rows, bytes)) = left else { return Err(self.beyond()) };
        self.rows.set(rows);
        self.bytes.set(bytes);
        Ok(())
    }

    /// The start of a walk, or a jump within it.
    pub(crate) fn charge_seek(&self) -> Result<()> {
        self.charge(LOOK_UP_ROWS, 0)
    }

    /// RocksDB says *incomplete* when it would have to read a file, or has passed too many dead
    /// records.
    pub(crate) fn judge(&self, error: rocksdb::Error) -> EngineError {
        if error.kind() == ErrorKind::Incomplete {
            self.beyond()
        } else {
            EngineError::from_rocksdb(error)
        }
    }

    #[cold]
    fn beyond(&self) -> EngineError {
        self.spent.set(true);
        EngineError::Beyond
    }
}
