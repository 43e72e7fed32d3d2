//! The orphan filter: what it reclaims, and what it must leave alone.

use neokv_encoding::chunk;
use neokv_encoding::family::Family;
use neokv_encoding::metadata::{Collection, DataType, encode_string};
use neokv_engine::{Direction, Durability, Engine, KeyRange, Read};

use crate::support::{del, flush_and_compact, get, keys, open, put, put_hash, set_clock, user};

fn rows(read: &dyn Read) -> usize {
    keys(read, Family::Subkey, KeyRange::all(), Direction::Forward).len()
}

fn dropped(engine: &Engine) -> u64 {
    engine.stats().orphans.dropped_rows
}

#[test]
fn rows_of_deleted_and_overwritten_collections_go() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put_hash(&engine, &user("deleted"), 10, &["a", "b", "c"]);
    put_hash(&engine, &user("recreated"), 11, &["a", "b"]);
    put_hash(&engine, &user("overwritten"), 12, &["a"]);
    put_hash(&engine, &user("alive"), 13, &["a", "b"]);
    del(&engine, &user("deleted"));
    put_hash(&engine, &user("recreated"), 14, &["b"]);
    put(
        &engine,
        Family::Metadata,
        &user("overwritten").metadata(),
        &encode_string(0, b"now a string"),
    );
    set_clock(&engine, 20);
    assert_eq!(rows(&engine), 9);
    flush_and_compact(&engine);
    let left = keys(&engine, Family::Subkey, KeyRange::all(), Direction::Forward);
    let mut expected = vec![
        user("recreated").subkey(14, b"b"),
        user("alive").subkey(13, b"a"),
        user("alive").subkey(13, b"b"),
    ];
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(dropped(&engine), 6);
    assert!(engine.stats().orphans.dropped_bytes > 6 * 20);
}

#[test]
fn chunks_go_with_their_string() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let put_long = |key: &'static str, version: u64| {
        let long = Collection { size: 20_000, ..Collection::new(DataType::String, version) };
        put(&engine, Family::Metadata, &user(key).metadata(), &long.encode());
        for number in 0..3 {
            let row = user(key).subkey(version, &chunk::subkey(number));
            put(&engine, Family::Subkey, &row, b"chunk");
        }
    };
    for (version, key) in (10..).zip(["deleted", "shortened", "overwritten", "alive"]) {
        put_long(key, version);
    }
    del(&engine, &user("deleted"));
    put(&engine, Family::Metadata, &user("shortened").metadata(), &encode_string(0, b"short"));
    put_long("overwritten", 14);
    set_clock(&engine, 20);
    assert_eq!(rows(&engine), 15);
    flush_and_compact(&engine);
    let left = keys(&engine, Family::Subkey, KeyRange::all(), Direction::Forward);
    let mut expected: Vec<Vec<u8>> = [("alive", 13), ("overwritten", 14)]
        .into_iter()
        .flat_map(|(key, version)| {
            (0..3).map(move |number| user(key).subkey(version, &chunk::subkey(number)))
        })
        .collect();
    expected.sort();
    assert_eq!(left, expected);
    assert_eq!(dropped(&engine), 9);
}

#[test]
fn scores_go_with_their_set() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    for (name, version) in [("deleted", 5), ("kept", 6)] {
        put_hash(&engine, &user(name), version, &[]);
        put(&engine, Family::ZsetScore, &user(name).score(version, 1.5, b"member"), b"");
    }
    del(&engine, &user("deleted"));
    set_clock(&engine, 10);
    flush_and_compact(&engine);
    let left = keys(&engine, Family::ZsetScore, KeyRange::all(), Direction::Forward);
    assert_eq!(left, [user("kept").score(6, 1.5, b"member")]);
}

#[test]
fn an_open_snapshot_keeps_its_rows_until_it_closes() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    set_clock(&engine, 100);
    put_hash(&engine, &user("k"), 50, &["a", "b"]);
    let snapshot = engine.snapshot();
    del(&engine, &user("k"));
    flush_and_compact(&engine);
    assert_eq!(rows(&snapshot), 2, "compaction filters know no snapshots, ours does");
    assert_eq!(
        get(&snapshot, Family::Subkey, &user("k").subkey(50, b"a")),
        Some(b"value".to_vec())
    );
    assert_eq!(dropped(&engine), 0);
    assert!(engine.stats().orphans.deferred_rows >= 2);
    drop(snapshot);
    flush_and_compact(&engine);
    assert_eq!((rows(&engine), dropped(&engine)), (0, 2));
}

#[test]
fn a_reader_from_after_the_deletion_does_not_hold_rows() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    set_clock(&engine, 100);
    put_hash(&engine, &user("k"), 50, &["a", "b"]);
    let early = engine.snapshot();
    del(&engine, &user("k"));
    put_hash(&engine, &user("k"), 60, &["c"]);
    drop(early);
    flush_and_compact(&engine);
    assert_eq!(rows(&engine), 1);
    let late = engine.snapshot();
    assert_eq!(get(&late, Family::Subkey, &user("k").subkey(60, b"c")), Some(b"value".to_vec()));
    assert_eq!(rows(&late), 1);
}

#[test]
fn rows_at_or_above_the_clock_stay() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put_hash(&engine, &user("k"), 50, &["a"]);
    del(&engine, &user("k"));
    flush_and_compact(&engine);
    assert_eq!(rows(&engine), 1, "slots without a Region: nothing is known about their clock");
    set_clock(&engine, 50);
    flush_and_compact(&engine);
    assert_eq!(rows(&engine), 1, "50 was not given out yet");
    set_clock(&engine, 51);
    flush_and_compact(&engine);
    assert_eq!(rows(&engine), 0);
}

#[test]
fn held_orphans_stay() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    set_clock(&engine, 100);
    put_hash(&engine, &user("k"), 50, &["a"]);
    del(&engine, &user("k"));
    let outer = engine.hold_orphans();
    let inner = engine.hold_orphans();
    flush_and_compact(&engine);
    drop(outer);
    flush_and_compact(&engine);
    assert_eq!(rows(&engine), 1);
    drop(inner);
    flush_and_compact(&engine);
    assert_eq!(rows(&engine), 0);
}

#[test]
fn old_strings_and_unreadable_rows_stay() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    set_clock(&engine, 100);
    let garbage: [&[u8]; 3] = [b"short", &[0xff; 40], &[0; 9]];
    put(&engine, Family::Subkey, &user("v1").v1_string(), b"phase 1");
    for key in garbage {
        put(&engine, Family::Subkey, key, b"?");
        put(&engine, Family::ZsetScore, key, b"?");
    }
    put_hash(&engine, &user("k"), 50, &["a"]);
    put(&engine, Family::Metadata, &user("k").metadata(), b"\x00 no metadata");
    flush_and_compact(&engine);
    assert_eq!(rows(&engine), 5);
    assert_eq!(keys(&engine, Family::ZsetScore, KeyRange::all(), Direction::Forward).len(), 3);
    assert_eq!(dropped(&engine), 0);
}

/// Deletes, re-creations, snapshots and compactions from several threads: what a snapshot shows
/// must be whole.
#[test]
fn snapshots_stay_whole_while_compactions_run() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let names = ["a", "b", "c", "d"].map(user);
    let fields: Vec<String> = (0..50).map(|n| format!("field-{n}")).collect();
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut whole = 0;
                    while !done.load(std::sync::atomic::Ordering::Acquire) {
                        let snapshot = engine.snapshot();
                        for key in &names {
                            whole += usize::from(check_whole(&snapshot, key, fields.len()));
                        }
                    }
                    whole
                })
            })
            .collect();
        for round in 1..40u64 {
            for (nth, key) in (0u64..).zip(&names) {
                put_hash(&engine, key, round * 10 + nth, &fields);
                if round % 3 == 0 {
                    del(&engine, key);
                }
            }
            set_clock(&engine, round * 10 + 9);
            flush_and_compact(&engine);
        }
        done.store(true, std::sync::atomic::Ordering::Release);
        assert!(
            readers.into_iter().map(|reader| reader.join().unwrap()).sum::<usize>() > 0,
            "something was read"
        );
    });
    flush_and_compact(&engine);
    assert_eq!(rows(&engine), 0);
    assert!(dropped(&engine) > 0);
}

/// Either the key is absent, or every field of its version is there.
fn check_whole(snapshot: &dyn Read, key: &neokv_encoding::key::UserKey, fields: usize) -> bool {
    use neokv_encoding::metadata::Metadata;
    let Some(bytes) = snapshot.get(Family::Metadata, &key.metadata()).unwrap() else {
        return false;
    };
    let Ok(Metadata::Collection(collection)) = Metadata::decode(&bytes) else { panic!("metadata") };
    let range = KeyRange::prefix(&key.subkey_prefix(collection.version));
    assert_eq!(keys(snapshot, Family::Subkey, range, Direction::Forward).len(), fields);
    true
}

#[test]
fn closing_waits_for_compactions_that_hold_views() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        set_clock(&engine, 1000);
        for version in 1..60 {
            put_hash(&engine, &user("k"), version, &["a", "b", "c", "d"]);
            if version % 10 == 0 {
                engine.flush().unwrap();
            }
        }
        let mut batch = engine.log_batch();
        batch.put(Family::Default, b"last", b"");
        engine.write_log(batch, Durability::Buffered).unwrap();
        drop(engine);
        assert_eq!(get(&open(dir.path()), Family::Default, b"last"), Some(vec![]));
    }
}
