//! Writes that become visible and durable together.
//!
//! [`Batch`] is what apply fills: it indexes its writes, so reads through it see them over the committed state. [`LogBatch`]
//! is what the log writer fills: no index, nothing to read.
//!
//! ```text
//! let mut batch = engine.batch();
//! batch.put(Family::Metadata, &key, &record);
//! batch.savepoint();
//! batch.delete(Family::Subkey, &row);
//! batch.rollback()?;                              // forgets the delete, keeps the put
//! engine.write(batch, Durability::Buffered)?;     // one record in the write-ahead log
//! ```
//!
//! # Range deletes
//!
//! RocksDB's indexed batch refuses them (its C interface even drops the refusal). [`Batch`] keeps them aside together with the
//! position at which they were made, and puts them back in place when it is written: what was written to the range before
//! disappears, what was written after stays. Reads through the batch do not see them.
//!
//! # Layout of a written batch
//!
//! ```text
//! sequence u64 LE · count u32 LE · records in order
//! ```
//!
//! A range delete in the middle of the batch is spliced between the records before and after it, and added to the count.

use neokv_encoding::family::Family;
use parking_lot::Mutex;
use rocksdb::{ReadOptions, WriteBatch, WriteBatchWithIndex};
use std::sync::Arc;

use crate::cursor::{self, Cursor};
use crate::db::Db;
use crate::error::{EngineError, Result};
use crate::read::{Direction, KeyRange, Read, Slice};

/// Bytes before the first record of a batch: sequence number and count.
const HEADER: usize = 12;

/// Where the count stands in the header.
const COUNT: std::ops::Range<usize> = 8..12;

/// Batches kept for reuse; one apply thread uses one at a time.
const POOLED: usize = 4;

/// A batch that grew beyond this many bytes is freed and not kept.
const POOLED_BYTES: usize = 1 << 20;

/// Cleared batches, so that the apply loop does not allocate one per log entry.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<WriteBatchWithIndex>>);

impl Pool {
    fn take(&self) -> WriteBatchWithIndex {
        self.0.lock().pop().unwrap_or_else(|| WriteBatchWithIndex::new(0, true))
    }

    fn give_back(&self, mut batch: WriteBatchWithIndex) {
        let size = batch.size_in_bytes();
        batch.clear();
        let mut free = self.0.lock();
        if free.len() < POOLED && size <= POOLED_BYTES {
            free.push(batch);
        }
    }
}

/// A range delete and the size of the batch when it was made.
struct RangeDelete {
    at: usize,
    /// The record as RocksDB encodes it.
    record: Vec<u8>,
}

/// The state to return to.
#[derive(Clone, Copy)]
struct Savepoint {
    size: usize,
    ranges: usize,
    /// False once rolled back to; RocksDB still has it on its stack.
    live: bool,
}

/// Indexed writes: reads through the batch see them. From [`crate::Engine::batch`].
pub struct Batch<'a> {
    db: &'a Db,
    reads: &'a ReadOptions,
    pool: &'a Pool,
    /// `None` only while being dropped.
    index: Option<WriteBatchWithIndex>,
    ranges: Vec<RangeDelete>,
    savepoints: Vec<Savepoint>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(db: &'a Db, reads: &'a ReadOptions, pool: &'a Pool) -> Batch<'a> {
        Batch { db, reads, pool, index: Some(pool.take()), ranges: Vec::new(), savepoints: Vec::new() }
    }

    /// Sets `key` to `value`.
    pub fn put(&mut self, family: Family, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let handle = self.db.handle(family);
        if let Some(index) = &mut self.index {
            index.put_cf(&handle, key, value);
        }
    }

    /// Removes `key`; nothing happens if it is absent.
    pub fn delete(&mut self, family: Family, key: impl AsRef<[u8]>) {
        let handle = self.db.handle(family);
        if let Some(index) = &mut self.index {
            index.delete_cf(&handle, key);
        }
    }

    /// Removes the keys from `start` to before `end`, committed ones and those this batch wrote before. Reads through this
    /// batch go on showing them.
    pub fn delete_range(&mut self, family: Family, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        let mut one = WriteBatch::default();
        one.delete_range_cf(&self.db.handle(family), start.as_ref(), end.as_ref());
        let record = one.data().get(HEADER..).unwrap_or_default().to_vec();
        self.ranges.push(RangeDelete { at: self.written(), record });
    }

    /// Marks the state that the next [`Batch::rollback`] returns to. Savepoints nest.
    pub fn savepoint(&mut self) {
        let point = Savepoint { size: self.written(), ranges: self.ranges.len(), live: true };
        self.savepoints.push(point);
        if let Some(index) = &mut self.index {
            index.set_save_point();
        }
    }

    /// Forgets everything since the latest savepoint that was not rolled back to yet. Costs nothing if nothing was written
    /// since; otherwise the index is built again.
    ///
    /// # Errors
    /// There is no savepoint.
    pub fn rollback(&mut self) -> Result<()> {
        let latest = self.savepoints.iter().rposition(|point| point.live);
        let Some((at, point)) = latest.and_then(|at| self.savepoints.get(at).map(|point| (at, *point))) else {
            return Err(EngineError::Invalid { detail: "the batch has no savepoint to roll back to".into() });
        };
        self.ranges.truncate(point.ranges);
        if self.written() == point.size {
            if let Some(point) = self.savepoints.get_mut(at) {
                point.live = false;
            }
            return Ok(());
        }
        // Dead savepoints above the target are on RocksDB's stack too, so each has to be popped.
        while self.savepoints.len() > at {
            if let Some(index) = &mut self.index {
                index.rollback_to_save_point()?;
            }
            self.savepoints.pop();
        }
        debug_assert_eq!(self.written(), point.size, "RocksDB returned to the same state");
        Ok(())
    }

    /// Number of writes, range deletes included.
    pub fn len(&self) -> usize {
        self.index.as_ref().map_or(0, WriteBatchWithIndex::len).saturating_add(self.ranges.len())
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that the batch adds to the write-ahead log.
    pub fn size(&self) -> usize {
        self.ranges.iter().map(|range| range.record.len()).fold(self.written(), usize::saturating_add)
    }

    /// Forgets everything, savepoints too, and keeps the memory.
    pub fn clear(&mut self) {
        if let Some(index) = &mut self.index {
            index.clear();
        }
        self.ranges.clear();
        self.savepoints.clear();
    }

    /// Hands the batch to `indexed` as it is, or to `plain` with the range deletes put in place.
    pub(crate) fn commit(
        &self,
        indexed: impl FnOnce(&WriteBatchWithIndex) -> Result<()>,
        plain: impl FnOnce(&WriteBatch) -> Result<()>,
    ) -> Result<()> {
        match &self.index {
            Some(index) if self.ranges.is_empty() => indexed(index),
            Some(index) => plain(&splice(index.data(), &self.ranges)?),
            None => Ok(()),
        }
    }

    fn written(&self) -> usize {
        self.index.as_ref().map_or(0, WriteBatchWithIndex::size_in_bytes)
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(index) = self.index.take() {
            self.pool.give_back(index);
        }
    }
}

impl Read for Batch<'_> {
    #[inline]
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        let handle = self.db.handle(family);
        let found = match &self.index {
            Some(index) if !index.is_empty() => {
                index.get_pinned_from_batch_and_db_cf(self.db.raw(), &handle, key, self.reads)?
            }
            _ => self.db.raw().get_pinned_cf_opt(&handle, key, self.reads)?,
        };
        Ok(found.map(Slice))
    }

    fn cursor(&self, family: Family, range: KeyRange, direction: Direction) -> Result<Cursor<'_>> {
        let handle = self.db.handle(family);
        let base = self.db.raw().raw_iterator_cf_opt(&handle, cursor::read_options(family, &range, direction));
        let raw = match &self.index {
            Some(index) if !index.is_empty() => index.iterator_with_base_cf(base, &handle),
            _ => base,
        };
        Ok(Cursor::new(raw, range, direction))
    }
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({} writes, {} bytes)", self.len(), self.size())
    }
}

/// Puts range deletes between the records of a batch, each where it was made.
fn splice(data: &[u8], ranges: &[RangeDelete]) -> Result<WriteBatch> {
    let malformed = || EngineError::Invalid { detail: "a write batch is not laid out as expected".into() };
    let mut bytes = Vec::with_capacity(data.len() + ranges.iter().map(|range| range.record.len()).sum::<usize>());
    let mut copied = 0;
    for range in ranges {
        let at = range.at.max(HEADER);
        bytes.extend_from_slice(data.get(copied..at).ok_or_else(malformed)?);
        bytes.extend_from_slice(&range.record);
        copied = at;
    }
    bytes.extend_from_slice(data.get(copied..).ok_or_else(malformed)?);
    let field = bytes.get_mut(COUNT).ok_or_else(malformed)?;
    let count = u32::from_le_bytes((&*field).try_into().map_err(|_| malformed())?);
    let added = u32::try_from(ranges.len()).map_err(|_| malformed())?;
    field.copy_from_slice(&count.checked_add(added).ok_or_else(malformed)?.to_le_bytes());
    Ok(WriteBatch::from_data(&bytes))
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

    /// Removes the keys from `start` to before `end`, as far as written before, here or earlier.
    pub fn delete_range(&mut self, family: Family, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        self.raw.delete_range_cf(&self.db.handle(family), start.as_ref(), end.as_ref());
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
