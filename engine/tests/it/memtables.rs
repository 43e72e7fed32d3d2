//! The memory of memtables: a small bound is one, and does not make every write a file.

use neokv_encoding::family::Family;
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
