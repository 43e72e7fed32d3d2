//! The row table: what readers see while rows come, are taken back, are written behind and leave.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

use neokv_encoding::family::Family;
use neokv_encoding::key::UserKey;
use neokv_engine::{Direction, Durability, Engine, KeyRange, Options, Read};

use crate::support::options;

/// Rows that every write writes, in each of two families.
const ROWS: u16 = 12;
/// Rows that are there to displace others.
const OTHERS: u16 = 4000;

/// A table so small that rows leave it all the time.
fn small() -> Options {
    Options { dirty_bytes: 96 << 10, row_bytes: 64 << 10, ..options() }
}

/// A store with such a table, and its directory.
fn store() -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::open(dir.path(), &small()).unwrap();
    (dir, engine)
}

/// A key of `metadata` in a slot of its own.
fn key(number: u16) -> Vec<u8> {
    [&number.to_be_bytes()[..], b"\0\0\0\0key"].concat()
}

/// A key of `subkey`, all in one collection.
fn element(number: u16) -> Vec<u8> {
    let user = UserKey::new(0, bytes::Bytes::from_static(b"set"));
    [&user.subkey_prefix(7)[..], &number.to_be_bytes()].concat()
}

/// Writes `number` to all rows, with a detour that is taken back.
fn write(engine: &Engine, number: u32) {
    let mut batch = engine.batch();
    let value = number.to_be_bytes();
    for row in 0..ROWS {
        batch.put(Family::Metadata, key(row), value);
        batch.savepoint();
        batch.put(Family::Metadata, key(row), b"never");
        batch.put(Family::Subkey, element(row + ROWS), b"never");
        batch.rollback().unwrap();
        batch.put(Family::Subkey, element(row), value);
    }
    if number.is_multiple_of(5) {
        // A batch that is never committed.
        return;
    }
    engine.write_behind(vec![batch]).unwrap();
}

/// The number that all rows have, as `read` sees them by look-ups and by walks.
fn number(read: &dyn Read, direction: Direction) -> u32 {
    let mut found = Vec::new();
    for row in 0..ROWS {
        found.push(read.get(Family::Metadata, &key(row)).unwrap().unwrap().to_vec());
        found.push(read.get(Family::Subkey, &element(row)).unwrap().unwrap().to_vec());
    }
    let ranges = [
        (Family::Metadata, KeyRange::new(key(0), key(ROWS))),
        (Family::Subkey, KeyRange::new(element(0), element(u16::MAX))),
    ];
    for (family, range) in ranges {
        let mut rows = read.cursor(family, range, direction).unwrap();
        let mut count = 0;
        while let Some((_, value)) = rows.next().unwrap() {
            found.push(value.to_vec());
            count += 1;
        }
        assert_eq!(count, ROWS, "{family:?}");
    }
    found.dedup();
    assert_eq!(found.len(), 1, "one state: {found:?}");
    u32::from_be_bytes(found[0][..].try_into().unwrap())
}

#[test]
fn every_reader_sees_one_state_while_rows_come_and_go() {
    let (_dir, engine) = store();
    let engine = &engine;
    write(engine, 1);
    let (written, is_over) = (AtomicU32::new(1), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 2..3000 {
                write(engine, number);
                written.store(number, Ordering::SeqCst);
            }
            is_over.store(true, Ordering::SeqCst);
        });
        scope.spawn(|| {
            while !is_over.load(Ordering::SeqCst) {
                engine.drain().unwrap();
            }
        });
        scope.spawn(|| {
            // Fills the table with rows that are read, so that others leave.
            for row in (0..OTHERS).cycle().take_while(|_| !is_over.load(Ordering::SeqCst)) {
                assert!(engine.get(Family::Metadata, &key(row + ROWS)).unwrap().is_none());
            }
        });
        for direction in [Direction::Forward, Direction::Reverse] {
            let (engine, written, is_over) = (engine, &written, &is_over);
            scope.spawn(move || {
                let mut last = 0;
                while !is_over.load(Ordering::SeqCst) {
                    let before = written.load(Ordering::SeqCst);
                    let snapshot = engine.snapshot();
                    let seen = number(&snapshot, direction);
                    // The newest number may be one of a batch that was not committed.
                    assert!(seen + 1 >= before && seen >= last, "{seen} after {before} and {last}");
                    // The state stays while others write on.
                    assert_eq!(number(&snapshot, direction), seen);
                    last = seen;
                }
            });
        }
    });
    assert_eq!(number(&engine.snapshot(), Direction::Forward), 2999);
}

#[test]
fn a_look_up_never_goes_back_in_time() {
    let (_dir, engine) = store();
    let engine = &engine;
    write(engine, 1);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 2..3000 {
                write(engine, number);
                if number.is_multiple_of(7) {
                    engine.drain().unwrap();
                }
            }
            is_over.store(true, Ordering::SeqCst);
        });
        for row in 0..2 {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut last = 0;
                for other in (0..OTHERS).cycle() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let found = engine.get(Family::Metadata, &key(row)).unwrap().unwrap();
                    let seen = u32::from_be_bytes(found[..].try_into().unwrap());
                    assert!(seen >= last, "{seen} after {last}");
                    last = seen;
                    assert!(engine.get(Family::Metadata, &key(other + ROWS)).unwrap().is_none());
                }
            });
        }
    });
}

#[test]
fn what_goes_past_the_table_is_not_hidden_by_it() {
    let (_dir, engine) = store();
    let engine = &engine;
    write(engine, 1);
    let before = engine.snapshot();
    let mut batch = engine.log_batch();
    batch.delete_range(Family::Metadata, key(0), key(ROWS));
    batch.put(Family::Metadata, key(3), b"three");
    batch.put(Family::Metadata, key(ROWS), b"new");
    engine.write_log(batch, Durability::Buffered).unwrap();
    assert_eq!(number(&before, Direction::Forward), 1);
    let after = engine.snapshot();
    for row in 0..ROWS {
        let expected = (row == 3).then_some(&b"three"[..]);
        assert_eq!(engine.get(Family::Metadata, &key(row)).unwrap().as_deref(), expected);
        assert_eq!(after.get(Family::Metadata, &key(row)).unwrap().as_deref(), expected);
    }
    // Rows that were found later do not appear in the older state.
    for read in [engine as &dyn Read, &after] {
        let found = read.get(Family::Metadata, &key(ROWS)).unwrap();
        assert_eq!(found.as_deref(), Some(&b"new"[..]));
    }
    assert!(before.get(Family::Metadata, &key(ROWS)).unwrap().is_none());
    assert_eq!(number(&before, Direction::Reverse), 1);
}

#[test]
fn an_open_snapshot_keeps_what_only_the_table_has() {
    let (_dir, engine) = store();
    let engine = &engine;
    write(engine, 1);
    let old = engine.snapshot();
    write(engine, 2);
    let middle = engine.snapshot();
    write(engine, 3);
    for _ in 0..3 {
        engine.drain().unwrap();
        for row in 0..OTHERS {
            engine.get(Family::Metadata, &key(row + ROWS)).unwrap();
        }
    }
    for direction in [Direction::Forward, Direction::Reverse] {
        assert_eq!(number(&old, direction), 1);
        assert_eq!(number(&middle, direction), 2);
        assert_eq!(number(&engine.snapshot(), direction), 3);
    }
}

#[test]
fn rows_that_were_fetched_together_are_found_in_memory() {
    let (dir, engine) = store();
    write(&engine, 1);
    engine.drain().unwrap();
    drop(engine);
    let engine = Engine::open(dir.path(), &options()).unwrap();
    let batch = engine.batch();
    // One more than there are: that it does not exist is known too. One twice.
    let keys: Vec<Vec<u8>> = (0..=ROWS).chain([3]).map(key).collect();
    batch.fetch(Family::Metadata, &keys);
    let before = engine.stats().rows;
    for (row, key) in (0..=ROWS).zip(&keys) {
        assert_eq!(batch.get(Family::Metadata, key).unwrap().is_some(), row < ROWS, "row {row}");
    }
    let after = engine.stats().rows;
    assert_eq!(after.misses, before.misses);
    assert_eq!(after.hits, before.hits + u64::from(ROWS) + 1);
}

#[test]
fn a_batch_keeps_what_it_has_walked_over_and_no_older_state() {
    let (dir, engine) = store();
    write(&engine, 1);
    drop(engine);
    let engine = Engine::open(dir.path(), &small()).unwrap();
    let cached = |read: &dyn Read, row: u16| {
        let (mut value, key) = (Vec::new(), element(row));
        let mut show = |found: &[u8]| value = found.to_vec();
        let has_it = read.get_cached(Family::Subkey, &key, key.len(), &mut show).unwrap();
        has_it.then_some(value)
    };
    let keep_all = |batch: &neokv_engine::Batch<'_>| {
        let range = KeyRange::new(element(0), element(ROWS));
        let mut cursor = batch.cursor(Family::Subkey, range, Direction::Forward).unwrap();
        while let Some((key, value)) = cursor.next().unwrap() {
            batch.keep(Family::Subkey, key, value);
        }
    };
    let (old, number) = (1u32.to_be_bytes().to_vec(), 2u32.to_be_bytes());
    let mut batch = engine.batch();
    batch.put(Family::Subkey, element(3), number);
    batch.delete(Family::Subkey, element(4));
    assert_eq!(cached(&batch, 0), None);
    keep_all(&batch);
    assert_eq!(cached(&batch, 0), Some(old.clone()));
    assert_eq!(cached(&batch, 3), Some(number.to_vec()), "its own write");
    assert_eq!(cached(&batch, 4), None, "its own write");
    assert_eq!(cached(&engine.snapshot(), 3), None, "nobody else's");
    // Another batch began before a row was written that has left the table since.
    let before = engine.batch();
    engine.write_behind(vec![batch]).unwrap();
    engine.drain().unwrap();
    for other in 0..OTHERS {
        let _ = engine.get(Family::Metadata, &key(1000 + other)).unwrap();
    }
    keep_all(&before);
    let found = engine.get(Family::Subkey, &element(3)).unwrap().unwrap().to_vec();
    assert_eq!(found, number.to_vec());
    assert!(engine.get(Family::Subkey, &element(4)).unwrap().is_none());
}
