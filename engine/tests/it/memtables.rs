//! The memory of memtables: a small bound is one, and does not make every write a file.

use neokv_encoding::family::Family;
use neokv_encoding::key;
use neokv_engine::{Durability, Engine, Options};

use crate::support::{files, options};

#[test]
fn little_memory_for_memtables_holds_more_than_a_few_rows() {
    for mebibytes in [1u32, 4, 8] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { memtable_bytes: (mebibytes as usize) << 20, ..options() };
        let engine = Engine::open(dir.path(), &options).unwrap();
        // Each family gets rows, so each has taken what it takes at first.
        let write = |row: u32| {
            let mut batch = engine.log_batch();
            for family in Family::ALL {
                batch.put(family, [b"row", &row.to_be_bytes()[..]].concat(), [7; 100]);
            }
            engine.write_log(batch, Durability::Buffered).unwrap();
        };
        (0..200).for_each(write);
        engine.wait_for_background_work().unwrap();
        assert_eq!(files(dir.path(), "sst").len(), 0, "{mebibytes} MiB");
        // And it is a bound: ten times as much goes into files.
        (200..mebibytes * 10_000).for_each(write);
        engine.wait_for_background_work().unwrap();
        assert!(engine.stats().memtable_bytes < u64::from(mebibytes) << 21, "{mebibytes} MiB");
        assert!(files(dir.path(), "sst").len() > 1, "{mebibytes} MiB");
    }
}

/// A log is written, purged, and its memtable flushed: what is gone is not written.
#[test]
fn a_log_that_was_purged_leaves_memory_and_is_hardly_written() {
    const ENTRIES: u64 = 3000;
    let dir = tempfile::tempdir().unwrap();
    let options = Options { memtable_bytes: 4 << 20, ..options() };
    let engine = Engine::open(dir.path(), &options).unwrap();
    let held = || engine.family_stats(Family::RaftLog).memtable_bytes;
    let append = |entries: std::ops::Range<u64>| {
        for entry in entries {
            let mut batch = engine.log_batch();
            batch.put(Family::RaftLog, key::raft_log(1, entry), [7; 512]);
            engine.write_log(batch, Durability::Buffered).unwrap();
        }
    };
    // A little is not worth a file.
    append(0..100);
    engine.flush_purged_log().unwrap();
    assert_eq!(files(dir.path(), "sst").len(), 0);
    append(100..ENTRIES);
    let full = held();
    assert!(full > 1 << 20, "{full}");
    let mut purge = engine.log_batch();
    let (first, left) = (key::raft_log(1, 0), key::raft_log(1, ENTRIES - 10));
    purge.delete_range(Family::RaftLog, first, left);
    engine.write_log(purge, Durability::Buffered).unwrap();
    engine.flush_purged_log().unwrap();
    assert!(held() < full / 4, "{} of {full}", held());
    let written: u64 =
        files(dir.path(), "sst").iter().map(|file| file.metadata().unwrap().len()).sum();
    assert!((1..64 << 10).contains(&written), "{written}");
    assert!(engine.get(Family::RaftLog, &key::raft_log(1, ENTRIES - 11)).unwrap().is_none());
    assert!(engine.get(Family::RaftLog, &key::raft_log(1, ENTRIES - 10)).unwrap().is_some());
}
