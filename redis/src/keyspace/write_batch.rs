//! What a command writes to: the engine's batch, as far as a transaction may use it.

use neokv_encoding::family::Family;
use neokv_engine::{Batch, Read};

use crate::error::CommandError;

/// What a transaction writes to: a batch that shows its own writes to its reads.
pub trait WriteBatch: Read {
    /// Stores a row.
    fn put(&mut self, family: Family, key: &[u8], value: Vec<u8>);
    /// Removes a row.
    fn delete(&mut self, family: Family, key: &[u8]);
    /// Removes the rows from `start` (included) to `end` (excluded). Later reads through the batch
    /// do not see it.
    fn delete_range(&mut self, family: Family, start: &[u8], end: &[u8]);
    /// Marks the point to which [`WriteBatch::rollback`] returns; an earlier one is forgotten.
    fn savepoint(&mut self);
    /// Undoes everything since the savepoint.
    fn rollback(&mut self) -> Result<(), CommandError>;
    /// Bytes of the rows written since the log entry began.
    fn metered(&self) -> u64;
    /// The batch as something to read from.
    fn as_read(&self) -> &dyn Read;
}

impl WriteBatch for Batch<'_> {
    fn put(&mut self, family: Family, key: &[u8], value: Vec<u8>) {
        Batch::put(self, family, key, value);
    }

    fn delete(&mut self, family: Family, key: &[u8]) {
        Batch::delete(self, family, key);
    }

    fn delete_range(&mut self, family: Family, start: &[u8], end: &[u8]) {
        Batch::delete_range(self, family, start, end);
    }

    fn savepoint(&mut self) {
        Batch::savepoint(self);
    }

    fn rollback(&mut self) -> Result<(), CommandError> {
        Ok(Batch::rollback(self)?)
    }

    fn metered(&self) -> u64 {
        u64::try_from(Batch::metered(self)).unwrap_or(u64::MAX)
    }

    fn as_read(&self) -> &dyn Read {
        self
    }
}
