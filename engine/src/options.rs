//! What an operator may tune, as plain numbers with units.
//!
//! The defaults fit a small machine: two cores, a few gigabytes of memory, an SSD. Everything else
//! about RocksDB is decided in [`crate::families`], next to the reasons.

use std::num::NonZeroU64;

const MIB: usize = 1 << 20;

/// What to do with a write-ahead log that is damaged where it holds acknowledged writes: see
/// [`crate::recovery`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DamagedLog {
    /// Refuse to open the store, and name file and offset. Another replica or a backup has what is
    /// lost here.
    #[default]
    Refuse,
    /// Open the store with what stands before the damage. **Acknowledged writes are lost**, those
    /// behind the damage too. What is cut off is kept beside the log, with `.cut` behind its name.
    Accept,
}

/// Tuning of one store. All sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Uncompressed blocks, indexes and filters of all families share this cache.
    pub block_cache_bytes: usize,
    /// Memtables of all families together; beyond it the largest is flushed.
    pub memtable_bytes: usize,
    /// Rows in memory that RocksDB lacks ([`crate::rows`]). It bounds the time to restart, too.
    pub dirty_bytes: usize,
    /// Rows in memory together, those included, at most.
    pub row_bytes: usize,
    /// Rows in memory from the beginning: more only as far as look-ups have to fetch rows from
    /// RocksDB for which there was no room.
    pub first_row_bytes: usize,
    /// Write-ahead log that may have to be replayed after a crash. It bounds the time to restart.
    pub max_wal_bytes: u64,
    /// What flushes and compactions may write per second, and what rows may that are written behind
    ///; `None` for no limit. Foreground writes never wait for it.
    pub background_bytes_per_second: Option<NonZeroU64>,
    /// Threads for flushes and compactions.
    pub background_jobs: u16,
    /// Below this much free disk space the store calls itself low on space.
    pub low_space_bytes: u64,
    /// What to do with a damaged write-ahead log.
    pub damaged_log: DamagedLog,
    /// Count cache hits, bytes and stalls (a few nanoseconds per operation).
    pub statistics: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            block_cache_bytes: 128 * MIB,
            memtable_bytes: 64 * MIB,
            dirty_bytes: 64 * MIB,
            row_bytes: 128 * MIB,
            first_row_bytes: 88 * MIB,
            max_wal_bytes: 128 << 20,
            background_bytes_per_second: NonZeroU64::new(128 << 20),
            background_jobs: 2,
            low_space_bytes: 256 << 20,
            damaged_log: DamagedLog::Refuse,
            statistics: true,
        }
    }
}
