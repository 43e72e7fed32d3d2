//! Batches: what their reads see, what a rollback forgets, and in which order range deletes act.

use neokv_encoding::family::Family;
use neokv_engine::{Direction, Durability, KeyRange, Read};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::{get, keys, open, put};

#[test]
fn reads_through_a_batch_see_its_writes_and_others_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put(&engine, Family::Metadata, b"a", b"1");
    put(&engine, Family::Metadata, b"b", b"1");
    let mut batch = engine.batch();
    batch.put(Family::Metadata, b"a", b"2");
    batch.delete(Family::Metadata, b"b");
    batch.put(Family::Metadata, b"c", b"2");
    batch.put(Family::Metadata, b"c", b"3");
    batch.put(Family::Expire, b"c", b"other family");
    assert_eq!(get(&batch, Family::Metadata, b"a"), Some(b"2".to_vec()));
    assert_eq!(get(&batch, Family::Metadata, b"b"), None);
    assert_eq!(get(&batch, Family::Metadata, b"c"), Some(b"3".to_vec()));
    for (direction, expected) in
        [(Direction::Forward, [b"a", b"c"]), (Direction::Reverse, [b"c", b"a"])]
    {
        assert_eq!(keys(&batch, Family::Metadata, KeyRange::all(), direction), expected);
    }
    assert_eq!(get(&engine, Family::Metadata, b"a"), Some(b"1".to_vec()));
    assert_eq!(get(&engine, Family::Metadata, b"c"), None);
    engine.write(batch, Durability::Synced).unwrap();
    assert_eq!(keys(&engine, Family::Metadata, KeyRange::all(), Direction::Forward), [b"a", b"c"]);
    assert_eq!(get(&engine, Family::Metadata, b"c"), Some(b"3".to_vec()));
}

#[test]
fn a_dropped_batch_leaves_no_trace_in_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let mut batch = engine.batch();
    batch.put(Family::Metadata, b"a", b"1");
    batch.savepoint();
    batch.delete_range(Family::Metadata, b"a", b"z");
    drop(batch);
    let mut batch = engine.batch();
    assert!(batch.is_empty());
    assert!(batch.rollback().is_err(), "the savepoint went with the first batch");
    assert_eq!(get(&batch, Family::Metadata, b"a"), None);
}

#[test]
fn rollback_returns_to_the_latest_savepoint_also_when_nothing_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let mut batch = engine.batch();
    batch.put(Family::Metadata, b"a", b"1");
    batch.savepoint(); // forgotten
    batch.put(Family::Metadata, b"b", b"1");
    batch.savepoint(); // nothing is written after it
    batch.rollback().unwrap();
    assert!(batch.rollback().is_err(), "there was one savepoint at a time");
    batch.savepoint();
    batch.put(Family::Metadata, b"a", b"3");
    batch.delete(Family::Metadata, b"a");
    batch.delete_range(Family::Metadata, b"x", b"y");
    batch.rollback().unwrap();
    assert_eq!((get(&batch, Family::Metadata, b"a"), batch.len()), (Some(b"1".to_vec()), 2));
    assert_eq!(get(&batch, Family::Metadata, b"b"), Some(b"1".to_vec()));
    batch.put(Family::Metadata, b"c", b"1");
    engine.write(batch, Durability::Buffered).unwrap();
    assert_eq!(
        keys(&engine, Family::Metadata, KeyRange::all(), Direction::Forward),
        [b"a", b"b", b"c"]
    );
}

#[test]
fn a_range_delete_acts_between_the_writes_around_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put(&engine, Family::Metadata, b"b1", b"old");
    put(&engine, Family::Metadata, b"c", b"old");
    let mut batch = engine.batch();
    batch.put(Family::Metadata, b"b2", b"before");
    batch.delete_range(Family::Metadata, b"b", b"c");
    batch.put(Family::Metadata, b"b3", b"after");
    batch.delete_range(Family::Subkey, b"b", b"c");
    assert_eq!(
        get(&batch, Family::Metadata, b"b1"),
        Some(b"old".to_vec()),
        "its own reads do not see it"
    );
    assert_eq!(batch.len(), 4);
    engine.write(batch, Durability::Synced).unwrap();
    assert_eq!(
        keys(&engine, Family::Metadata, KeyRange::all(), Direction::Forward),
        [&b"b3"[..], b"c"]
    );
    drop(engine);
    let engine = open(dir.path());
    let again = keys(&engine, Family::Metadata, KeyRange::all(), Direction::Forward);
    assert_eq!(again, [&b"b3"[..], b"c"], "the log replays to the same state");
}

#[test]
fn a_log_batch_is_written_whole() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let mut batch = engine.log_batch();
    for index in 0..5u64 {
        batch.put(Family::RaftLog, neokv_encoding::key::raft_log(1, index), b"entry");
    }
    batch.delete_range(
        Family::RaftLog,
        neokv_encoding::key::raft_log(1, 0),
        neokv_encoding::key::raft_log(1, 3),
    );
    assert_eq!(batch.len(), 6);
    engine.write_log(batch, Durability::Synced).unwrap();
    let left = keys(&engine, Family::RaftLog, KeyRange::all(), Direction::Forward);
    assert_eq!(left, [neokv_encoding::key::raft_log(1, 3), neokv_encoding::key::raft_log(1, 4)]);
}

/// One step of a random batch.
#[derive(Clone, Debug)]
enum Step {
    Put(u8, u8),
    Delete(u8),
    Range(u8, u8),
    Savepoint,
    Rollback,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0u8..12;
    let step = prop_oneof![
        4 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key.clone().prop_map(Step::Delete),
        1 => (key.clone(), key).prop_map(|(a, b)| Step::Range(a.min(b), a.max(b))),
        2 => Just(Step::Savepoint),
        2 => Just(Step::Rollback),
    ];
    prop::collection::vec(step, 0..40)
}

/// The keys that a cursor returns after it has been sent to `target`.
fn keys_from(
    batch: &dyn Read,
    range: KeyRange,
    direction: Direction,
    target: &[u8],
) -> Vec<Vec<u8>> {
    let mut cursor = batch.cursor(Family::Metadata, range, direction).unwrap();
    cursor.seek(target).unwrap();
    let mut found = Vec::new();
    while let Some((key, _)) = cursor.next().unwrap() {
        found.push(key.to_vec());
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// A cursor over committed rows and a batch's writes equals one over the map that both make.
    #[test]
    fn cursors_of_a_batch_equal_a_model(
        committed in prop::collection::btree_map(0u8..30, any::<u8>(), 0..20),
        written in prop::collection::btree_map(0u8..30, any::<Option<u8>>(), 0..20),
        (start, end) in (0u8..30, 0u8..31),
        targets in prop::collection::vec(0u8..32, 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        for (key, value) in &committed {
            put(&engine, Family::Metadata, &[*key], &[*value]);
        }
        let mut batch = engine.batch();
        let mut model = committed;
        for (key, value) in &written {
            match value {
                Some(value) => {
                    batch.put(Family::Metadata, [*key], [*value]);
                    model.insert(*key, *value);
                }
                None => {
                    batch.delete(Family::Metadata, [*key]);
                    model.remove(key);
                }
            }
        }
        let range = KeyRange::new([start], [end]);
        let inside: Vec<u8> = model.into_keys().filter(|key| (start..end).contains(key)).collect();
        for target in targets {
            let forward: Vec<Vec<u8>> =
                inside.iter().filter(|key| **key >= target).map(|key| vec![*key]).collect();
            let found = keys_from(&batch, range.clone(), Direction::Forward, &[target]);
            prop_assert_eq!(found, forward);
            let reverse: Vec<Vec<u8>> =
                inside.iter().rev().filter(|key| **key <= target).map(|key| vec![*key]).collect();
            let found = keys_from(&batch, range.clone(), Direction::Reverse, &[target]);
            prop_assert_eq!(found, reverse);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// A written batch equals the same steps on a map; before, its reads equal them without the
    /// range deletes.
    #[test]
    fn batches_equal_a_model(
        before in prop::collection::btree_map(0u8..12, any::<u8>(), 0..8),
        steps in steps(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        for (key, value) in &before {
            put(&engine, Family::Metadata, &[*key], &[*value]);
        }
        let (mut seen, mut written) = (before.clone(), before);
        let mut saved: Option<(BTreeMap<u8, u8>, BTreeMap<u8, u8>)> = None;
        let mut batch = engine.batch();
        for step in &steps {
            match step {
                Step::Put(key, value) => {
                    batch.put(Family::Metadata, [*key], [*value]);
                    seen.insert(*key, *value);
                    written.insert(*key, *value);
                }
                Step::Delete(key) => {
                    batch.delete(Family::Metadata, [*key]);
                    seen.remove(key);
                    written.remove(key);
                }
                Step::Range(start, end) => {
                    batch.delete_range(Family::Metadata, [*start], [*end]);
                    written.retain(|key, _| key < start || key >= end);
                }
                Step::Savepoint => {
                    batch.savepoint();
                    saved = Some((seen.clone(), written.clone()));
                }
                Step::Rollback => match saved.take() {
                    Some(state) => {
                        batch.rollback().unwrap();
                        (seen, written) = state;
                    }
                    None => prop_assert!(batch.rollback().is_err()),
                },
            }
        }
        for (direction, reverse) in [(Direction::Forward, false), (Direction::Reverse, true)] {
            let mut expected: Vec<Vec<u8>> = seen.keys().map(|key| vec![*key]).collect();
            if reverse {
                expected.reverse();
            }
            prop_assert_eq!(keys(&batch, Family::Metadata, KeyRange::all(), direction), expected);
        }
        for key in 0..12 {
            let found = batch.get(Family::Metadata, &[key]).unwrap();
            prop_assert_eq!(found.map(|value| value[0]), seen.get(&key).copied());
        }
        engine.write(batch, Durability::Buffered).unwrap();
        for key in 0..12 {
            let found = engine.get(Family::Metadata, &[key]).unwrap();
            prop_assert_eq!(found.map(|value| value[0]), written.get(&key).copied());
        }
    }
}

#[test]
fn batches_of_which_one_deletes_a_range_are_seen_together() {
    const ROUNDS: u32 = 300;
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let is_over = AtomicBool::new(false);
    let number = |found: Option<Vec<u8>>| {
        found.map_or(0, |value| u32::from_be_bytes(value.try_into().unwrap()))
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                let snapshot = engine.snapshot();
                let one = number(get(&snapshot, Family::Metadata, b"one"));
                let other = number(get(&snapshot, Family::Metadata, b"other"));
                assert_eq!(one, other, "half of a write");
            }
        });
        for round in 1..=ROUNDS {
            let (mut one, mut other) = (engine.batch(), engine.batch());
            one.put(Family::Metadata, b"one", round.to_be_bytes());
            other.delete_range(Family::Metadata, b"other", b"other~");
            other.put(Family::Metadata, b"other", round.to_be_bytes());
            engine.write_behind(vec![one, other]).unwrap();
        }
        is_over.store(true, Ordering::Release);
    });
    assert_eq!(get(&engine, Family::Metadata, b"other"), Some(ROUNDS.to_be_bytes().to_vec()));
}
