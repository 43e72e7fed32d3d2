//! Numbers about the table: what it holds, how often it knew the answer, what was written behind.
//!
//! Look-ups are counted by each part of the table under the lock that they hold anyway, and added
//! up when somebody asks. What happens a few times per second is counted for the whole table.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::RowTable;

/// The row table at one instant. Sizes in bytes, counts since the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowStats {
    /// Rows in memory.
    pub rows: u64,
    /// Memory that they take, about.
    pub bytes: u64,
    /// Beyond it rows are evicted. It grows by what look-ups have to fetch from RocksDB.
    pub bytes_limit: u64,
    /// What that grows to at most.
    pub bytes_max: u64,
    /// Rows that RocksDB lacks, about.
    pub dirty_bytes: u64,
    /// Beyond it writers wait.
    pub dirty_limit: u64,
    /// How long RocksDB has lacked the oldest of them; zero if there are none.
    pub oldest_dirty: Duration,
    /// Look-ups of rows that were here, or had been fetched for the look-up.
    pub hits: u64,
    /// Look-ups that went to RocksDB. What is fetched for many at once is not counted.
    pub misses: u64,
    /// Rows that were evicted.
    pub evicted: u64,
    /// How often rows were written behind.
    pub drains: u64,
    /// How often that failed.
    pub failed_drains: u64,
    /// Rows written behind.
    pub drained_rows: u64,
    /// Bytes of their keys and values.
    pub drained_bytes: u64,
    /// Time that it took.
    pub drain_time: Duration,
    /// Time that the last one took.
    pub last_drain: Duration,
    /// How often a writer waited because too much was dirty.
    pub waits: u64,
    /// Time that writers waited.
    pub wait_time: Duration,
}

/// What a part of the table counts.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    hits: u64,
    misses: u64,
    evicted: u64,
}

impl Lookups {
    /// A row was looked up.
    #[inline]
    pub(crate) fn count(&mut self, is_hit: bool) {
        self.hits += u64::from(is_hit);
        self.misses += u64::from(!is_hit);
    }

    /// A row was evicted.
    pub(crate) fn evicted(&mut self) {
        self.evicted += 1;
    }
}

/// What is counted for the whole table.
#[derive(Debug, Default)]
pub(crate) struct Counts(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    drains: u64,
    failed_drains: u64,
    drained_rows: u64,
    drained_bytes: u64,
    drain_time: Duration,
    last_drain: Duration,
    waits: u64,
    wait_time: Duration,
}

impl Counts {
    /// Rows were written behind, or were not.
    pub(crate) fn drained(&self, rows: usize, bytes: usize, took: Duration, is_written: bool) {
        let mut counted = self.0.lock();
        if !is_written {
            counted.failed_drains += 1;
            return;
        }
        counted.drains += 1;
        counted.drained_rows += wide(rows);
        counted.drained_bytes += wide(bytes);
        counted.drain_time += took;
        counted.last_drain = took;
    }

    /// A writer has waited.
    pub(crate) fn waited(&self, took: Duration) {
        let mut counted = self.0.lock();
        counted.waits += 1;
        counted.wait_time += took;
    }
}

/// Since when RocksDB lacks rows.
#[derive(Debug, Default)]
pub(crate) struct Ages {
    /// Those that became dirty since the last cut.
    dirty: Option<Instant>,
    /// Those of the last cut, and when it was made, while they are written behind.
    behind: Option<(Instant, Instant)>,
}

impl Ages {
    /// Rows become dirty.
    pub(crate) fn begin(&mut self) {
        self.dirty.get_or_insert_with(Instant::now);
    }

    /// What is dirty is about to be written behind.
    pub(crate) fn cut(&mut self) {
        self.behind = self.dirty.take().map(|since| (since, Instant::now()));
    }

    /// The cut is over. `is_written`: what of it is still dirty was written again since the cut.
    pub(crate) fn put_back(&mut self, is_written: bool, is_any_dirty: bool) {
        let Some((since, cut)) = self.behind.take() else { return };
        let oldest = if is_written { cut } else { since };
        if is_any_dirty {
            self.dirty = Some(self.dirty.map_or(oldest, |dirty| dirty.min(oldest)));
        }
    }

    /// Nothing is dirty any more.
    pub(crate) fn clear(&mut self) {
        *self = Ages::default();
    }

    fn oldest(&self) -> Option<Instant> {
        self.behind.map(|(since, _)| since).or(self.dirty)
    }
}

impl RowTable {
    /// Adds everything up.
    pub(crate) fn stats(&self) -> RowStats {
        let (dirty, oldest) = {
            let order = self.order.lock();
            let behind = self.behind_bytes.load(Ordering::Relaxed);
            (order.dirty_bytes + behind, order.ages.oldest())
        };
        let mut stats = RowStats {
            bytes: wide(self.shards.held()),
            bytes_limit: wide(self.room.bytes()),
            bytes_max: wide(self.room.most()),
            dirty_bytes: wide(dirty),
            dirty_limit: wide(self.bounds.dirty),
            oldest_dirty: oldest.map(|since| since.elapsed()).unwrap_or_default(),
            ..RowStats::default()
        };
        for (_, shard) in self.shards.each() {
            stats.rows += wide(shard.len());
            stats.hits += shard.lookups.hits;
            stats.misses += shard.lookups.misses;
            stats.evicted += shard.lookups.evicted;
        }
        let counted = self.counts.0.lock();
        RowStats {
            drains: counted.drains,
            failed_drains: counted.failed_drains,
            drained_rows: counted.drained_rows,
            drained_bytes: counted.drained_bytes,
            drain_time: counted.drain_time,
            last_drain: counted.last_drain,
            waits: counted.waits,
            wait_time: counted.wait_time,
            ..stats
        }
    }
}

fn wide(n: usize) -> u64 {
    n as u64
}

#[cfg(test)]
mod tests {
    use neokv_encoding::family::Family;

    use super::super::{Behind, Bounds};
    use super::*;
    use crate::readers::Readers;

    fn table(dirty: usize, rows: usize) -> (RowTable, Readers) {
        (RowTable::new(Bounds::both(dirty, rows)), Readers::new())
    }

    fn commit(table: &RowTable, key: &[u8], value: &[u8]) {
        let mut pending = table.begin();
        table.write(&mut pending, Family::Metadata, key, Some(value));
        table.commit(&mut [pending]);
    }

    /// The bytes of what was written, or a failure.
    fn drain(table: &RowTable, readers: &Readers, fails: bool) -> usize {
        let mut bytes = 0;
        let mut write = |rows: &Behind<'_>| {
            bytes = rows.bytes();
            if fails { Err(()) } else { Ok(()) }
        };
        assert_eq!(table.drain(readers, &mut write).is_err(), fails);
        bytes
    }

    #[test]
    fn each_look_up_is_a_hit_or_a_miss() {
        let (table, readers) = table(1 << 20, 1 << 20);
        commit(&table, b"\0\x01here", b"value");
        let ((), open) = table.open(&readers, || ());
        assert!(table.get(Family::Metadata, b"\0\x01here", open.at).is_some());
        assert!(table.get_last(Family::Metadata, b"\0\x01here").is_ok());
        assert!(table.newest(Family::Metadata, b"\0\x01here").is_some());
        let at = table.get_last(Family::Metadata, b"\0\x02not").unwrap_err();
        let stats = table.stats();
        assert_eq!((stats.hits, stats.misses, stats.rows), (3, 1, 1));
        // What was found in RocksDB is here the next time; keeping it is no look-up.
        table.keep(Family::Metadata, b"\0\x02not", None, at);
        assert!(table.get_last(Family::Metadata, b"\0\x02not").is_ok());
        let stats = table.stats();
        assert_eq!((stats.hits, stats.misses, stats.rows), (4, 1, 2));
        assert!(stats.bytes > 0 && stats.bytes_limit == 1 << 20);
    }

    #[test]
    fn what_is_written_behind_is_counted_once_and_failures_apart() {
        let (table, readers) = table(1 << 20, 1 << 20);
        commit(&table, b"\0\x01key", b"one");
        commit(&table, b"\0\x01key", b"two");
        let dirty = table.stats();
        assert!(dirty.dirty_bytes > 0 && dirty.dirty_limit == 1 << 20);
        drain(&table, &readers, true);
        let failed = table.stats();
        assert_eq!((failed.drains, failed.failed_drains, failed.drained_rows), (0, 1, 0));
        assert_eq!(failed.dirty_bytes, dirty.dirty_bytes);
        let bytes = drain(&table, &readers, false);
        drain(&table, &readers, false);
        let written = table.stats();
        assert_eq!((written.drains, written.failed_drains, written.drained_rows), (1, 1, 1));
        assert_eq!((written.drained_bytes, written.dirty_bytes), (wide(bytes), 0));
        assert!(written.last_drain > Duration::ZERO && written.drain_time == written.last_drain);
        assert_eq!(written.oldest_dirty, Duration::ZERO);
    }

    #[test]
    fn evicted_rows_and_waits_for_room_are_counted() {
        let (table, readers) = table(1, 0);
        commit(&table, b"\0\x01key", b"value");
        let mut looks = 0;
        table.wait_for_room(|| {
            looks += 1;
            looks > 1
        });
        let stats = table.stats();
        assert!(stats.waits == 1 && stats.wait_time > Duration::ZERO, "{stats:?}");
        drain(&table, &readers, false);
        table.wait_for_room(|| false);
        // Another row of its part looks for room.
        for row in 0..3 {
            commit(&table, &[b"\0\x01other", &[row][..]].concat(), b"value");
        }
        let stats = table.stats();
        assert_eq!((stats.waits, stats.evicted), (1, 1), "{stats:?}");
    }

    #[test]
    fn the_oldest_dirty_row_is_as_old_as_the_first_write_that_rocksdb_lacks() {
        let mut ages = Ages::default();
        assert!(ages.oldest().is_none());
        ages.begin();
        let first = ages.oldest();
        ages.begin();
        assert_eq!(ages.oldest(), first, "later rows are younger");
        // While they are written, and if that fails, they are as old as before.
        ages.cut();
        assert_eq!(ages.oldest(), first);
        ages.begin();
        ages.put_back(false, true);
        assert_eq!(ages.oldest(), first);
        // What is dirty after a success was written again since the cut.
        ages.cut();
        ages.put_back(true, true);
        assert!(ages.oldest() > first);
        ages.cut();
        ages.put_back(true, false);
        assert!(ages.oldest().is_none());
    }
}
