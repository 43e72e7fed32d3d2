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
//! engine.write_behind(vec![batch])?;
//! ```
//!
//! # Where its writes are
//!
//! They stand in the row table at once, pending ([`crate::rows::pending`]), so nothing is copied
//! when the batch is committed, and its reads find its own writes where they find everything else.
//! A batch that is dropped takes them back. Two batches that live at once must not write one row.
//!
//! # Range deletes
//!
//! They delete what was written to the range before, committed or in the batch, and not what the
//! batch writes after. Reads through the batch do not see them.

use std::sync::Arc;

use neokv_encoding::family::Family;
use rocksdb::{ReadOptions, WriteBatch};

use crate::cursor::{self, Cursor};
use crate::db::Db;
use crate::error::{EngineError, Result};
use crate::range::{Direction, KeyRange};
use crate::read::{Read, Slice};
use crate::readers::{ReaderTicket, Readers};
use crate::rows::pending::Pending;
use crate::rows::{Direct, Found, RowTable, Sight};

/// A range delete and the number of writes before it.
struct RangeDelete {
    family: Family,
    range: KeyRange,
    writes: u32,
}

/// Writes that are not committed yet: reads through the batch see them. From
/// [`crate::Engine::batch`].
pub struct Batch<'a> {
    db: &'a Db,
    reads: &'a ReadOptions,
    table: &'a RowTable,
    /// What its cursors look for stays where it is.
    _registration: ReaderTicket<'a>,
    /// The last write that was published when it began.
    began_at: u64,
    pending: Pending,
    ranges: Vec<RangeDelete>,
    /// Number of range deletes at the savepoint.
    ranges_before: usize,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.table.abandon(&mut self.pending);
    }
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        db: &'a Db,
        reads: &'a ReadOptions,
        table: &'a RowTable,
        readers: &'a Readers,
    ) -> Batch<'a> {
        Batch {
            db,
            reads,
            table,
            _registration: readers.enter(),
            began_at: table.last_published(),
            pending: table.begin(),
            ranges: Vec::new(),
            ranges_before: 0,
        }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.table.write(&mut self.pending, family, key.as_ref(), Some(value.as_ref()));
    }

    /// Removes `key`; nothing happens if it is absent.
    pub fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        self.table.write(&mut self.pending, family, key.as_ref(), None);
    }

    /// Removes the keys from `start` to before `end` (empty for no end), committed ones and those
    /// this batch wrote before. Reads through this batch go on showing them.
    pub fn delete_range(&mut self, family: Family, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        let range = KeyRange::new(start.as_ref(), end.as_ref());
        self.ranges.push(RangeDelete { family, range, writes: self.pending.writes() });
    }

    /// Marks the state that [`Batch::rollback`] returns to, in place of an earlier savepoint: what
    /// was written until here stays.
    pub fn savepoint(&mut self) {
        self.pending.savepoint();
        self.ranges_before = self.ranges.len();
    }

    /// Forgets everything since the savepoint, and the savepoint.
    ///
    /// # Errors
    /// There is no savepoint.
    pub fn rollback(&mut self) -> Result<()> {
        if !self.table.rollback(&mut self.pending) {
            return Err(EngineError::Invalid {
                detail: "the batch has no savepoint to roll back to".into(),
            });
        }
        self.ranges.truncate(self.ranges_before);
        Ok(())
    }

    /// Number of rows written, and of range deletes.
    pub fn len(&self) -> usize {
        self.pending.len() + self.ranges.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that its rows take, about.
    pub fn size(&self) -> usize {
        self.pending.memory()
    }

    /// Sets the meter to zero: see [`Batch::metered`].
    pub fn start_meter(&mut self) {
        self.pending.start_meter();
    }

    /// Bytes of memory that the rows written since [`Batch::start_meter`] take, about: keys, newest
    /// values, and 128 for each. What was written before, to the same rows or others, makes no
    /// difference, so a log entry's meter shows the same on every replica, whichever entries it
    /// shares the batch with there.
    pub fn metered(&self) -> usize {
        self.pending.metered()
    }

    /// Looks for rows that will be asked for one by one, for all of them at once: those in memory
    /// come near to the processor, the others from RocksDB into memory. That takes a part of the
    /// time of as many look-ups. Nobody has to do it, and what fails here fails again when the row
    /// is asked for.
    pub fn fetch(&self, family: Family, keys: &[impl AsRef<[u8]>]) {
        /// Their blocks stay in memory meanwhile.
        const AT_ONCE: usize = 64;
        let missing = self.table.warm(family, keys);
        for some in missing.chunks(AT_ONCE) {
            let keys: Vec<&[u8]> =
                some.iter().filter_map(|at| keys.get(*at)).map(AsRef::as_ref).collect();
            let at = self.table.last_published();
            let (db, handle) = (self.db.raw(), self.db.handle(family));
            let found =
                db.batched_multi_get_cf_opt(handle, keys.iter().copied(), false, self.reads);
            for (key, found) in keys.iter().zip(found) {
                if let Ok(value) = found {
                    self.table.keep(family, key, value.as_deref(), at);
                }
            }
        }
    }

    /// Whether its rows can wait in the table: it knows single rows of some families only.
    pub(crate) fn can_wait(&self) -> bool {
        self.ranges.is_empty() && self.table.keeps_all(&self.pending)
    }

    /// Takes its rows out: they are not taken back any more when the batch is dropped.
    pub(crate) fn into_pending(mut self) -> Pending {
        std::mem::replace(&mut self.pending, Pending::new(0))
    }

    /// Adds what RocksDB writes for the batch, and what the table must know of it: range deletes,
    /// then every row that none of them has deleted.
    pub(crate) fn add_records(&self, records: &mut WriteBatch, changed: &mut Direct) {
        for RangeDelete { family, range, writes } in &self.ranges {
            let handle = self.db.handle(*family);
            records.delete_range_cf(handle, &range.start[..], range.closed_end());
            changed.ranges.push((*family, range.clone()));
            self.table.delete_covered(&self.pending, *family, range, *writes);
        }
        self.table.each_pending(&self.pending, |family, key, value| {
            let handle = self.db.handle(family);
            match value {
                Some(value) => records.put_cf(handle, key, value),
                None => records.delete_cf(handle, key),
            }
        });
    }
}

impl Read for Batch<'_> {
    #[inline]
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        if let Some(found) = self.table.newest(family, key) {
            return Ok(found.into_value().map(Slice::of_row));
        }
        let at = self.table.last_published();
        let found = self.db.raw().get_pinned_cf_opt(self.db.handle(family), key, self.reads)?;
        // One that does not exist is about to be written, most likely.
        if found.is_some() {
            self.table.keep(family, key, found.as_deref(), at);
        }
        Ok(found.map(Slice::pinned))
    }

    fn cursor(&self, family: Family, range: KeyRange, direction: Direction) -> Result<Cursor<'_>> {
        let options = cursor::read_options(family, &range, direction);
        let raw = self.db.raw().raw_iterator_cf_opt(self.db.handle(family), options);
        let rows = self.table.walk(family, &range, direction, Sight::Batch);
        Ok(Cursor::new(raw, rows, range, direction))
    }

    fn get_cached(
        &self,
        family: Family,
        keys: &[u8],
        len: usize,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        Ok(keys.chunks_exact(len.max(1)).all(|key| {
            let found = self.table.newest(family, key).and_then(Found::into_value);
            found.is_some_and(|value| {
                show(&value);
                true
            })
        }))
    }

    /// A row that was written since the batch began is in the table, or has left it since, and then
    /// what was found is not kept.
    fn keep(&self, family: Family, key: &[u8], value: &[u8]) {
        self.table.keep(family, key, Some(value), self.began_at);
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
    /// What it changes in the families that the row table keeps.
    pub(crate) changed: Direct,
}

impl LogBatch {
    pub(crate) fn new(db: Arc<Db>) -> LogBatch {
        LogBatch { db, raw: WriteBatch::default(), changed: Direct::default() }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        if RowTable::keeps(family) {
            let row = (family, key.as_ref().to_vec(), Some(value.as_ref().to_vec()));
            self.changed.rows.push(row);
        }
        self.raw.put_cf(&self.db.handle(family), key, value);
    }

    /// Removes `key`; nothing happens if it is absent.
    pub fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        if RowTable::keeps(family) {
            self.changed.rows.push((family, key.as_ref().to_vec(), None));
        }
        self.raw.delete_cf(&self.db.handle(family), key);
    }

    /// Removes the keys from `start` to before `end` (empty for no end), as far as written before,
    /// here or earlier.
    pub fn delete_range(&mut self, family: Family, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        let range = KeyRange::new(start.as_ref(), end.as_ref());
        if RowTable::keeps(family) {
            self.changed.delete_range(family, range.clone());
        }
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
        self.changed = Direct::default();
        self.raw.clear();
    }
}

impl std::fmt::Debug for LogBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LogBatch({} writes, {} bytes)", self.len(), self.size())
    }
}
