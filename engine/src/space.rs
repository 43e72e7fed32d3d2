//! Space on the disk: how much is left, and what happens when it runs out.
//!
//! A write that finds the disk full is refused with [`EngineError::NoSpace`], and RocksDB then
//! refuses all writes until it is told to resume. Reads go on. The engine resumes by itself: while
//! the store is full, each write first looks at the free space, and as soon as it is above the
//! watermark tries to resume. Nothing has to be restarted.
//!
//! To avoid this, callers ask [`Engine::space`] now and then and refuse new work while
//! [`Space::low`] holds.

use rustix::fs::statvfs;

use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::health::Health;

/// Room on the file system that holds the store. Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What an ordinary user may still write.
    pub free: u64,
    /// Size of the file system.
    pub total: u64,
    /// Less is free than [`crate::Options::low_space_bytes`]: stop taking new work.
    pub low: bool,
    /// A write found no space, and the store has not resumed since.
    pub full: bool,
}

impl Engine {
    /// Looks at the file system. One system call.
    ///
    /// # Errors
    /// The file system cannot be asked.
    pub fn space(&self) -> Result<Space> {
        let stat = statvfs(&self.0.dir).map_err(|e| EngineError::from_io(&self.0.dir, e.into()))?;
        let free = stat.f_bavail * stat.f_frsize;
        let total = stat.f_blocks * stat.f_frsize;
        Ok(Space {
            free,
            total,
            low: free < self.0.options.low_space_bytes,
            full: self.0.health.is_full(),
        })
    }

    /// Bytes that can still be written to the file system of the store.
    ///
    /// # Errors
    /// The file system cannot be asked.
    pub fn free_space(&self) -> Result<u64> {
        Ok(self.space()?.free)
    }

    /// Takes writes again after the disk was full. Does nothing if the store is in good health.
    /// Called by every write while the store is full, so calling it is only needed where nothing
    /// writes.
    ///
    /// # Errors
    /// There still is too little space, or the store failed for another reason and must be
    /// restarted.
    pub fn resume(&self) -> Result<()> {
        let _one_at_a_time = self.0.health.resuming.lock();
        let detail = match self.health() {
            Health::Good => return Ok(()),
            Health::Full { detail } => detail,
            Health::Failed { detail } => return Err(EngineError::Io { detail }),
        };
        let space = self.space()?;
        if space.low {
            let detail =
                format!("{} bytes free, {} needed", space.free, self.0.options.low_space_bytes);
            return Err(EngineError::NoSpace { detail });
        }
        tracing::info!(free = space.free, cause = detail, "space returned, the store resumes");
        // Cleared first, so that an error that comes up meanwhile is not forgotten.
        self.0.health.clear();
        let resumed = self.0.db.raw().resume().map_err(EngineError::from_rocksdb);
        if resumed.is_err() {
            self.0.health.fail(&EngineError::NoSpace { detail });
        }
        resumed
    }
}
