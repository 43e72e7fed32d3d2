//! A snapshot for answers that must come at once: it reads only what is in memory, and no more than
//! a budget.
//!
//! A thread that serves many clients may not wait for a disk, and may not walk over a million rows
//! for one of them. Most ranges that clients ask for are short and in the cache, though, and
//! handing those to another thread costs more than reading them. Nobody can tell beforehand which
//! kind a range is. So the thread reads within a budget, and if that is not enough, the answer is
//! built again elsewhere, from an ordinary [`Snapshot`].
//!
//! ```text
//!                           ┌─ enough ──────────────────────► the answer
//! budgeted read ─ handler ──┤
//!                           └─ a block is on disk, many deleted rows, the budget used up:
//!                              BudgetExceeded ──► thrown away, and built again on a snapshot
//! ```
//!
//! A budgeted read sees one state, as every snapshot does. The second attempt may see a newer
//! state, which makes no difference to a client that has no answer yet.

use neokv_encoding::family::Family;
use rocksdb::{ReadOptions, ReadTier};

use crate::budget::{ReadBudget, Remaining};
use crate::cursor::Cursor;
use crate::error::Result;
use crate::range::{Direction, KeyRange};
use crate::read::{Read, Slice};
use crate::snapshot::Snapshot;

/// Deleted or overwritten records that one step may pass. Neighbours that were deleted together
/// make long runs of them, and passing them takes time without using up rows.
const PASSED_PER_STEP: u64 = 100;

/// A snapshot that reads only what is in memory, within a [`ReadBudget`]. From
/// [`crate::Engine::budgeted_read`].
pub struct BudgetedRead<'a> {
    options: ReadOptions,
    // After the options, which refer to it.
    snapshot: Snapshot<'a>,
    remaining: Remaining,
}

impl<'a> BudgetedRead<'a> {
    pub(crate) fn take(snapshot: Snapshot<'a>, budget: ReadBudget) -> BudgetedRead<'a> {
        let mut options = ReadOptions::default();
        snapshot.bind(&mut options);
        options.set_read_tier(ReadTier::BlockCache);
        BudgetedRead { options, snapshot, remaining: Remaining::new(budget) }
    }

    /// Whether something was refused with [`crate::EngineError::BudgetExceeded`]. Then no answer
    /// built from this read counts.
    pub fn is_spent(&self) -> bool {
        self.remaining.is_spent()
    }

    /// How much of [`ReadBudget::rows`] has been used.
    pub fn rows_read(&self) -> u32 {
        self.remaining.rows_used()
    }
}

impl Read for BudgetedRead<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        self.remaining.charge_look_up(key.len())?;
        let found = self
            .snapshot
            .get_with(family, key, &self.options)
            .map_err(|error| self.remaining.refusal(error))?;
        self.remaining.charge(0, found.as_ref().map_or(0, |value| value.len()))?;
        Ok(found)
    }

    fn cursor(&self, family: Family, range: KeyRange, direction: Direction) -> Result<Cursor<'_>> {
        self.remaining.charge_seek()?;
        let cursor = self.snapshot.cursor_with(family, range, direction, |options| {
            options.set_read_tier(ReadTier::BlockCache);
            options.set_max_skippable_internal_keys(PASSED_PER_STEP);
        });
        Ok(cursor.limited(&self.remaining))
    }

    fn get_cached(
        &self,
        family: Family,
        keys: &[u8],
        len: usize,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        let mut within = Ok(());
        let mut pay_and_show = |value: &[u8]| {
            if within.is_ok() {
                within = self.remaining.charge(1, len.saturating_add(value.len()));
                show(value);
            }
        };
        let has_all = self.snapshot.get_cached(family, keys, len, &mut pay_and_show)?;
        within.map(|()| has_all)
    }

    fn keep(&self, family: Family, key: &[u8], value: &[u8]) {
        self.snapshot.keep(family, key, value);
    }

    fn expect_rows(&self, rows: u64) -> Result<()> {
        self.remaining.expect(rows)
    }
}

impl std::fmt::Debug for BudgetedRead<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BudgetedRead({:?}, {:?})", self.snapshot, self.remaining)
    }
}
