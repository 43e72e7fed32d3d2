//! Walks over ranges: bounds, seeks and directions, over the store, snapshots and batches, in
//! memory and in files.

use std::collections::BTreeSet;

use neokv_encoding::family::Family;
use neokv_engine::{Cursor, Direction, Durability, Engine, KeyRange, Read, ReadBudget};
use proptest::prelude::*;

use crate::support::{drain, get, keys, open, put, put_hash, user};

fn letters(engine: &Engine) {
    for key in [b"b", b"d", b"f", b"h"] {
        put(engine, Family::Metadata, key, key);
    }
}

#[test]
fn seeks_stay_inside_the_range() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    letters(&engine);
    let range = || KeyRange::new(*b"c", *b"h");
    type Case = (Direction, &'static [u8], &'static [&'static [u8]]);
    let cases: [Case; 8] = [
        (Direction::Forward, b"e", &[b"f"]),
        (Direction::Forward, b"d", &[b"d", b"f"]),
        (Direction::Forward, b"a", &[b"d", b"f"]),
        (Direction::Forward, b"h", &[]),
        (Direction::Reverse, b"e", &[b"d"]),
        (Direction::Reverse, b"f", &[b"f", b"d"]),
        (Direction::Reverse, b"z", &[b"f", b"d"]),
        (Direction::Reverse, b"b", &[]),
    ];
    for (direction, target, expected) in cases {
        let mut cursor = engine.cursor(Family::Metadata, range(), direction).unwrap();
        cursor.seek(target).unwrap();
        assert_eq!(drain(&mut cursor), expected, "{direction:?} from {target:?}");
        cursor.seek(target).unwrap();
        assert_eq!(drain(&mut cursor), expected, "again after the end");
    }
    assert_eq!(keys(&engine, Family::Metadata, range(), Direction::Reverse), [b"f", b"d"]);
    assert!(
        keys(&engine, Family::Metadata, KeyRange::new(*b"d", *b"d"), Direction::Forward).is_empty()
    );
    assert!(keys(&engine, Family::Subkey, KeyRange::all(), Direction::Reverse).is_empty());
}

#[test]
fn a_snapshot_and_an_open_cursor_keep_their_state() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    letters(&engine);
    let snapshot = engine.snapshot();
    let mut cursor = engine.cursor(Family::Metadata, KeyRange::all(), Direction::Forward).unwrap();
    put(&engine, Family::Metadata, b"c", b"new");
    put(&engine, Family::Metadata, b"d", b"new");
    engine.flush().unwrap();
    assert_eq!(drain(&mut cursor), [b"b", b"d", b"f", b"h"]);
    assert_eq!(get(&snapshot, Family::Metadata, b"c"), None);
    assert_eq!(get(&snapshot, Family::Metadata, b"d"), Some(b"d".to_vec()));
    assert_eq!(
        keys(&snapshot, Family::Metadata, KeyRange::all(), Direction::Reverse),
        [b"h", b"f", b"d", b"b"]
    );
    let mut scan = snapshot.scan(Family::Metadata, KeyRange::all()).unwrap();
    assert_eq!(drain(&mut scan), [b"b", b"d", b"f", b"h"]);
    assert_eq!(get(&engine, Family::Metadata, b"d"), Some(b"new".to_vec()));
}

#[test]
fn a_batch_write_on_the_end_of_the_range_is_outside() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    letters(&engine);
    let mut batch = engine.batch();
    batch.put(Family::Metadata, b"e", b"");
    batch.put(Family::Metadata, b"h", b"");
    batch.put(Family::Metadata, b"i", b"");
    batch.delete(Family::Metadata, b"d");
    let range = KeyRange::new(*b"c", *b"h");
    assert_eq!(keys(&batch, Family::Metadata, range.clone(), Direction::Reverse), [b"f", b"e"]);
    assert_eq!(keys(&batch, Family::Metadata, range, Direction::Forward), [b"e", b"f"]);
    assert_eq!(
        keys(&batch, Family::Metadata, KeyRange::all(), Direction::Reverse),
        [b"i", b"h", b"f", b"e", b"b"]
    );
}

/// The prefix filter must hide nothing: every range of collections, walked both ways, over files
/// and memory.
#[test]
fn the_prefix_filter_hides_no_row() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let collections = ["a", "b", "c", "abc"].map(user);
    for (round, flush) in [(1u64, true), (2, true), (3, false)] {
        for (nth, key) in (0u64..).zip(&collections) {
            put_hash(&engine, key, round * 100 + nth, &["x", "y", "z"]);
        }
        put(&engine, Family::Subkey, &user("v1").v1_string(), b"phase 1");
        if flush {
            engine.flush().unwrap();
        }
    }
    let all = keys(&engine, Family::Subkey, KeyRange::all(), Direction::Forward);
    assert_eq!(all.len(), 3 * 4 * 3 + 1);
    let mut reversed = keys(&engine, Family::Subkey, KeyRange::all(), Direction::Reverse);
    reversed.reverse();
    assert_eq!(reversed, all);
    let snapshot = engine.snapshot();
    let batch = engine.batch();
    let read = engine.budgeted_read(ReadBudget { rows: 100_000, bytes: 1 << 20 });
    // A budgeted read sees what is in memory; the walks above have put the files into the cache.
    let readers: [&dyn Read; 4] = [&engine, &snapshot, &read, &batch];
    for (nth, key) in (0u64..).zip(&collections) {
        for version in [100 + nth, 200 + nth, 300 + nth, 999] {
            let range = KeyRange::prefix(&key.subkey_prefix(version));
            let expected: Vec<Vec<u8>> =
                all.iter().filter(|row| range.contains(row)).cloned().collect();
            assert_eq!(expected.len(), if version == 999 { 0 } else { 3 });
            for read in readers {
                assert_eq!(keys(read, Family::Subkey, range.clone(), Direction::Forward), expected);
                let mut back = keys(read, Family::Subkey, range.clone(), Direction::Reverse);
                back.reverse();
                assert_eq!(back, expected);
                let mut seeking =
                    read.cursor(Family::Subkey, range.clone(), Direction::Forward).unwrap();
                seeking.seek(&key.subkey(version, b"y")).unwrap();
                assert_eq!(
                    drain(&mut seeking),
                    expected.iter().skip(1).cloned().collect::<Vec<_>>()
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Over committed keys and a batch's own, a cursor equals a sorted set.
    #[test]
    fn cursors_equal_a_sorted_set(
        stored in prop::collection::btree_set(0u8..30, 0..12),
        added in prop::collection::btree_set(0u8..30, 0..6),
        removed in prop::collection::btree_set(0u8..30, 0..6),
        bounds in (0u8..30, 0u8..32),
        targets in prop::collection::vec(0u8..32, 0..5),
        flush in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        let mut write = engine.batch();
        for key in &stored {
            write.put(Family::Metadata, [*key], b"");
        }
        engine.write(write, Durability::Buffered).unwrap();
        if flush {
            engine.flush().unwrap();
        }
        let mut batch = engine.batch();
        for key in &added {
            batch.put(Family::Metadata, [*key], b"");
        }
        for key in &removed {
            batch.delete(Family::Metadata, [*key]);
        }
        let end = if bounds.1 == 31 { vec![] } else { vec![bounds.1] };
        let range = KeyRange::new([bounds.0], end);
        let inside = |key: &&u8| !removed.contains(key) && range.contains(&[**key]);
        let model: BTreeSet<u8> = stored.union(&added).filter(inside).copied().collect();
        let mut forward =
            batch.cursor(Family::Metadata, range.clone(), Direction::Forward).unwrap();
        let mut reverse = batch.cursor(Family::Metadata, range, Direction::Reverse).unwrap();
        prop_assert_eq!(drain(&mut forward).concat(), model.iter().copied().collect::<Vec<_>>());
        let reversed: Vec<u8> = model.iter().rev().copied().collect();
        prop_assert_eq!(drain(&mut reverse).concat(), reversed);
        for target in targets {
            forward.seek(&[target]).unwrap();
            reverse.seek(&[target]).unwrap();
            let next = |cursor: &mut Cursor<'_>| cursor.next().unwrap().map(|(key, _)| key[0]);
            prop_assert_eq!(next(&mut forward), model.range(target..).next().copied());
            prop_assert_eq!(next(&mut reverse), model.range(..=target).next_back().copied());
            prop_assert_eq!(next(&mut forward), model.range(target..).nth(1).copied());
        }
    }
}
