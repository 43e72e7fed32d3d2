//! Work that is not a read or a write of a client: flushing, compacting, clearing ranges, checking.

use neokv_encoding::family::Family;
use rocksdb::{
    BottommostLevelCompaction, CompactOptions, FlushOptions, WaitForCompactOptions, properties,
};

use crate::engine::{Durability, Engine};
use crate::error::Result;
use crate::families;
use crate::range::KeyRange;

impl Engine {
    /// Writes everything that is only in memory to files and waits for it.
    ///
    /// # Errors
    /// A file could not be written.
    pub fn flush(&self) -> Result<()> {
        self.drain()?;
        Family::ALL.into_iter().try_for_each(|family| self.flush_family(family))
    }

    /// Writes the memtables of one family to a file and waits for it.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn flush_family(&self, family: Family) -> Result<()> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        Ok(self.0.db.raw().flush_cf_opt(self.0.db.handle(family), &options)?)
    }

    /// Writes the memtable of the Raft log to a file and waits for it, if it has a quarter of the
    /// bytes at which it would be flushed anyway. To be called behind a purge: then most of what it
    /// holds is gone already, and what is gone is not written. A memtable that waits until it is
    /// full takes more memory, and most likely meets a log of which more is left.
    ///
    /// # Errors
    /// The file could not be written.
    pub fn flush_purged_log(&self) -> Result<()> {
        let held = self.property(Family::RaftLog, properties::CUR_SIZE_ACTIVE_MEM_TABLE);
        let most = families::memtable_bytes(Family::RaftLog, self.options().memtable_bytes);
        if held > u64::try_from(most / 4).unwrap_or(u64::MAX) {
            self.flush_family(Family::RaftLog)?;
        }
        Ok(())
    }

    /// Writes rows behind, rewrites every file of `range` in `family`, the last level too, and
    /// waits for it. Orphans go, if nobody looks at them.
    ///
    /// # Errors
    /// A background job failed.
    pub fn compact(&self, family: Family, range: &KeyRange) -> Result<()> {
        self.drain()?;
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        options.set_exclusive_manual_compaction(false);
        let start = (!range.start.is_empty()).then_some(&range.start);
        let end = (!range.end.is_empty()).then_some(&range.end);
        self.0.db.raw().compact_range_cf_opt(self.0.db.handle(family), start, end, &options);
        self.wait_for_background_work()
    }

    /// Waits until no flush or compaction is running or due, and the files they replaced are
    /// deleted.
    ///
    /// # Errors
    /// A background job failed. RocksDB keeps the error of a compaction that met a full disk until
    /// the store is opened again, although it writes and compacts on; this call then does not wait.
    pub fn wait_for_background_work(&self) -> Result<()> {
        let mut options = WaitForCompactOptions::default();
        options.set_wait_for_purge(true);
        Ok(self.0.db.raw().wait_for_compact(&options)?)
    }

    /// Removes the keys of `range` from `family` with one record, however many there are.
    ///
    /// # Errors
    /// The write failed.
    pub fn delete_range(
        &self,
        family: Family,
        range: &KeyRange,
        durability: Durability,
    ) -> Result<()> {
        let mut batch = self.log_batch();
        batch.delete_range(family, &range.start, &range.end);
        self.write_log(batch, durability)
    }

    /// Reads every block of every file and checks its checksum.
    ///
    /// # Errors
    /// A damaged file, by name.
    pub fn verify(&self) -> Result<()> {
        Ok(self.0.db.raw().verify_checksum()?)
    }
}
