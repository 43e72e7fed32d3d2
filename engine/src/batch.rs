//! Writes that become visible and durable together.
//!
//! [`Batch`] is what apply fills: reads through it see its writes over the committed state.
//! [`LogBatch`] is what the log writer fills: nothing to read.
//!
//! ```text
//! let mut batch = engine.batch();
//! batch.put(Family::Metadata, &key, record);
//! batch.savepoint();
//! batch.delete(Family::Subkey, &row);
//! batch.rollback()?;                              // forgets the delete, keeps the put
//! engine.write(batch, Durability::Buffered)?;     // one record in the write-ahead log
//! ```
//!
//! # One write per row
//!
//! A batch keeps its writes in memory and hands RocksDB one record for each row that it has
//! changed, in key order, when it is written: see [`crate::overlay`]. So a log entry that
//! increments one counter two hundred times costs one record in the write-ahead log and one place
//! in the memtable.
//!
//! # Range deletes
//!
//! They delete what was written to the range before, committed or in the batch, and not what the
//! batch writes after. Reads through the batch do not see them.

use neokv_encoding::family::Family;
use rocksdb::{ReadOptions, WriteBatch};
use std::sync::Arc;

use crate::cursor::{self, Cursor};
use crate::db::Db;
use crate::error::{EngineError, Result};
use crate::overlay::{Overlay, Row};
use crate::range::{Direction, KeyRange};
use crate::read::{Read, Slice};

/// Bytes that a record takes besides key and value, about.
const RECORD: usize = 8;

/// A range delete and the number of writes before it.
struct RangeDelete {
    family: Family,
    range: KeyRange,
    at: usize,
}

impl RangeDelete {
    /// Whether it deletes a row of the batch.
    fn covers(&self, family: Family, row: &Row<'_>) -> bool {
        self.family == family && row.at < self.at && self.range.contains(row.key)
    }
}

/// Writes that are not committed yet: reads through the batch see them. From
/// [`crate::Engine::batch`].
pub struct Batch<'a> {
    db: &'a Db,
    reads: &'a ReadOptions,
    overlay: Overlay,
    ranges: Vec<RangeDelete>,
    /// Number of range deletes at the savepoint.
    ranges_before: usize,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(db: &'a Db, reads: &'a ReadOptions) -> Batch<'a> {
        Batch { db, reads, overlay: Overlay::default(), ranges: Vec::new(), ranges_before: 0 }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl Into<Vec<u8>>) {
        self.overlay.write(family, key.as_ref(), Some(value.into()));
    }

    /// Removes `key`; nothing happens if it is absent.
    pub fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        self.overlay.write(family, key.as_ref(), None);
    }

    /// Removes the keys from `start` to before `end` (empty for no end), committed ones and those
    /// this batch wrote before. Reads through this batch go on showing them.
    pub fn delete_range(&mut self, family: Family, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        let range = KeyRange::new(start.as_ref(), end.as_ref());
        self.ranges.push(RangeDelete { family, range, at: self.overlay.writes() });
    }

    /// Marks the state that [`Batch::rollback`] returns to, in place of an earlier savepoint: what
    /// was written until here stays.
    pub fn savepoint(&mut self) {
        self.overlay.savepoint();
        self.ranges_before = self.ranges.len();
    }

    /// Forgets everything since the savepoint, and the savepoint.
    ///
    /// # Errors
    /// There is no savepoint.
    pub fn rollback(&mut self) -> Result<()> {
        if !self.overlay.rollback() {
            return Err(EngineError::Invalid {
                detail: "the batch has no savepoint to roll back to".into(),
            });
        }
        self.ranges.truncate(self.ranges_before);
        Ok(())
    }

    /// Number of rows written, and of range deletes.
    pub fn len(&self) -> usize {
        self.overlay.len() + self.ranges.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that its rows take, about.
    pub fn size(&self) -> usize {
        self.overlay.memory()
    }

    /// Sets the meter to zero: see [`Batch::metered`].
    pub fn start_meter(&mut self) {
        self.overlay.start_meter();
    }

    /// Bytes of memory that the rows written since [`Batch::start_meter`] take, about: keys, newest
    /// values, and 128 for each. What was written before, to the same rows or others, makes no
    /// difference, so a log entry's meter shows the same on every replica, whichever entries it
    /// shares the batch with there.
    pub fn metered(&self) -> usize {
        self.overlay.metered()
    }

    /// What RocksDB writes for these batches, one behind the other: of each the range deletes, then
    /// every row that none of them has deleted.
    pub(crate) fn records(batches: &[Batch<'_>]) -> WriteBatch {
        let bytes = |batch: &Batch<'_>| batch.overlay.size() + RECORD * batch.len();
        let mut records = WriteBatch::with_capacity_bytes(batches.iter().map(bytes).sum());
        batches.iter().for_each(|batch| batch.add_to(&mut records));
        records
    }

    fn add_to(&self, records: &mut WriteBatch) {
        for delete in &self.ranges {
            let (start, end) = (&delete.range.start[..], delete.range.closed_end());
            records.delete_range_cf(&self.db.handle(delete.family), start, end);
        }
        for family in Family::ALL {
            let handle = self.db.handle(family);
            for row in self.overlay.newest(family) {
                if self.ranges.iter().any(|delete| delete.covers(family, &row)) {
                    continue;
                }
                match row.value {
                    Some(value) => records.put_cf(&handle, row.key, value),
                    None => records.delete_cf(&handle, row.key),
                }
            }
        }
    }
}

impl Read for Batch<'_> {
    #[inline]
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        if let Some(written) = self.overlay.get(family, key) {
            return Ok(written.map(Slice::of_batch));
        }
        Ok(self
            .db
            .raw()
            .get_pinned_cf_opt(self.db.handle(family), key, self.reads)?
            .map(Slice::pinned))
    }

    fn cursor(&self, family: Family, range: KeyRange, direction: Direction) -> Result<Cursor<'_>> {
        let options = cursor::read_options(family, &range, direction);
        let committed = self.db.raw().raw_iterator_cf_opt(self.db.handle(family), options);
        let batch = (!self.overlay.is_untouched(family))
            .then(|| self.overlay.walk(family, &range, direction));
        Ok(Cursor::new(committed, batch, range, direction))
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} rows)", self.len())
    }
}

/// Writes without an index, for the log writer. From [`crate::Engine::log_batch`].
pub struct LogBatch {
    db: Arc<Db>,
    pub(crate) raw: WriteBatch,
}

impl LogBatch {
    pub(crate) fn new(db: Arc<Db>) -> LogBatch {
        LogBatch { db, raw: WriteBatch::default() }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.raw.put_cf(&self.db.handle(family), key, value);
    }

    /// Removes `key`; nothing happens if it is absent.
    pub fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        self.raw.delete_cf(&self.db.handle(family), key);
    }

    /// Removes the keys from `start` to before `end` (empty for no end), as far as written before,
    /// here or earlier.
    pub fn delete_range(&mut self, family: Family, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        let range = KeyRange::new(start.as_ref(), end.as_ref());
        self.raw.delete_range_cf(&self.db.handle(family), &range.start[..], range.closed_end());
    }

    /// Number of writes.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Bytes that the batch adds to the write-ahead log.
    pub fn size(&self) -> usize {
        self.raw.size_in_bytes()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.raw.clear();
    }
}

impl std::fmt::Debug for LogBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogBatch({} writes, {} bytes)", self.len(), self.size())
    }
}
