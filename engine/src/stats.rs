//! Numbers about the store, typed, for metrics and `INFO`.
//!
//! Three sources: RocksDB's properties (what is there now), its tickers (what happened since the
//! start; zero with [`crate::Options::statistics`] off), and the engine's own counters. A property
//! that RocksDB does not answer reads as zero: a metric is not worth an error.

use neokv_encoding::family::Family;
use rocksdb::properties::{self, PropName};
use rocksdb::statistics::Ticker;

use crate::engine::Engine;
use crate::orphans::OrphanStats;
use crate::rows::RowStats;

/// One family's share. Sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilyStats {
    /// Which family.
    pub family: Family,
    /// Keys, estimated.
    pub keys: u64,
    /// Files of the present state.
    pub live_file_bytes: u64,
    /// All files, obsolete ones too that a reader still holds.
    pub total_file_bytes: u64,
    /// Memtables, those being flushed too.
    pub memtable_bytes: u64,
    /// Files at the level where flushes arrive; many of them slow reads and then writes.
    pub level0_files: u64,
    /// What compaction has to rewrite before all levels fit, estimated.
    pub pending_compaction_bytes: u64,
}

/// The whole store. Sizes in bytes, counts since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Each family's share.
    pub families: Vec<FamilyStats>,
    /// Memory of all memtables.
    pub memtable_bytes: u64,
    /// Cached blocks.
    pub block_cache_bytes: u64,
    /// Cached blocks that someone holds: indexes, filters, open cursors, values being read.
    pub block_cache_pinned_bytes: u64,
    /// Room in the block cache.
    pub block_cache_capacity: u64,
    /// Index and filter memory outside the cache.
    pub table_reader_bytes: u64,
    /// Block look-ups that the cache answered.
    pub block_cache_hits: u64,
    /// Block look-ups that went to a file.
    pub block_cache_misses: u64,
    /// Look-ups that a bloom filter kept from reading a file.
    pub bloom_useful: u64,
    /// Keys read.
    pub keys_read: u64,
    /// Keys written.
    pub keys_written: u64,
    /// Bytes appended to the write-ahead log.
    pub wal_bytes: u64,
    /// Syncs of the write-ahead log.
    pub wal_syncs: u64,
    /// Bytes that flushes wrote.
    pub flush_bytes: u64,
    /// Bytes that compactions read.
    pub compaction_read_bytes: u64,
    /// Bytes that compactions wrote.
    pub compaction_write_bytes: u64,
    /// Time that writers waited for flushes and compactions, in microseconds.
    pub stall_micros: u64,
    /// How often writes began to be slowed down or stopped.
    pub stalls: u64,
    /// Whether writes are stopped right now.
    pub write_stopped: bool,
    /// Flushes that run now.
    pub running_flushes: u64,
    /// Compactions that run now.
    pub running_compactions: u64,
    /// Open snapshots, registered ones.
    pub open_snapshots: u64,
    /// Files on disk of all families.
    pub disk_bytes: u64,
    /// What the orphan filter did.
    pub orphans: OrphanStats,
    /// The row table, and what was written behind.
    pub rows: RowStats,
}

impl Engine {
    /// Collects all numbers. A few hundred microseconds: for a metrics scrape, not for a request.
    pub fn stats(&self) -> EngineStats {
        let families: Vec<FamilyStats> =
            Family::ALL.into_iter().map(|family| self.family_stats(family)).collect();
        let ticker = |ticker| {
            if self.0.options.statistics {
                self.0.rocksdb_options.get_ticker_count(ticker)
            } else {
                0
            }
        };
        let cache = &self.0.shared.cache;
        EngineStats {
            memtable_bytes: families.iter().map(|f| f.memtable_bytes).sum(),
            disk_bytes: families.iter().map(|f| f.total_file_bytes).sum(),
            table_reader_bytes: Family::ALL
                .into_iter()
                .map(|family| self.property(family, properties::ESTIMATE_TABLE_READERS_MEM))
                .sum(),
            families,
            block_cache_bytes: wide(cache.get_usage()),
            block_cache_pinned_bytes: wide(cache.get_pinned_usage()),
            block_cache_capacity: wide(cache.get_capacity()),
            block_cache_hits: ticker(Ticker::BlockCacheHit),
            block_cache_misses: ticker(Ticker::BlockCacheMiss),
            bloom_useful: ticker(Ticker::BloomFilterUseful),
            keys_read: ticker(Ticker::NumberKeysRead),
            keys_written: ticker(Ticker::NumberKeysWritten),
            wal_bytes: ticker(Ticker::WalFileBytes),
            wal_syncs: ticker(Ticker::WalFileSynced),
            flush_bytes: ticker(Ticker::FlushWriteBytes),
            compaction_read_bytes: ticker(Ticker::CompactReadBytes),
            compaction_write_bytes: ticker(Ticker::CompactWriteBytes),
            stall_micros: ticker(Ticker::StallMicros),
            stalls: self.0.health.stalls(),
            write_stopped: self.0.health.is_stopped(),
            running_flushes: self.property(Family::Default, properties::NUM_RUNNING_FLUSHES),
            running_compactions: self
                .property(Family::Default, properties::NUM_RUNNING_COMPACTIONS),
            open_snapshots: wide(self.0.readers.count()),
            orphans: self.0.orphans.stats(),
            rows: self.0.rows.stats(),
        }
    }

    /// One family's numbers.
    pub fn family_stats(&self, family: Family) -> FamilyStats {
        FamilyStats {
            family,
            keys: self.property(family, properties::ESTIMATE_NUM_KEYS),
            live_file_bytes: self.property(family, properties::LIVE_SST_FILES_SIZE),
            total_file_bytes: self.property(family, properties::TOTAL_SST_FILES_SIZE),
            memtable_bytes: self.property(family, properties::CUR_SIZE_ALL_MEM_TABLES),
            level0_files: self.level0_files(family),
            pending_compaction_bytes: self
                .property(family, properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        }
    }

    /// Files of a family that were not merged yet.
    pub(crate) fn level0_files(&self, family: Family) -> u64 {
        let files = self.text_property(family, &properties::num_files_at_level(0));
        files.and_then(|files| files.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn property(&self, family: Family, name: &PropName) -> u64 {
        let db = &self.0.db;
        db.raw().property_int_value_cf(db.handle(family), name).ok().flatten().unwrap_or(0)
    }

    fn text_property(&self, family: Family, name: &PropName) -> Option<String> {
        let db = &self.0.db;
        db.raw().property_value_cf(db.handle(family), name).ok().flatten()
    }
}

fn wide(n: usize) -> u64 {
    n as u64
}
