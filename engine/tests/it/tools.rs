//! Looking at a store from outside: a dead one, a running one, and without touching it.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use neokv_encoding::family::Family;
use neokv_engine::{Direction, Durability, Engine, EngineError, KeyRange, copy_stopped};

use crate::support::{files, get, keys, open, put};

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_dead_store_is_read_and_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put(&engine, Family::Metadata, b"in a file", b"1");
    engine.flush().unwrap();
    put(&engine, Family::Metadata, b"in the log", b"2");
    drop(engine);
    let before = contents(dir.path());
    let tool = Engine::open_read_only(dir.path()).unwrap();
    assert_eq!(get(&tool, Family::Metadata, b"in a file"), Some(b"1".to_vec()));
    assert_eq!(get(&tool, Family::Metadata, b"in the log"), Some(b"2".to_vec()));
    let mut batch = tool.log_batch();
    batch.put(Family::Metadata, b"x", b"");
    let error = tool.write_log(batch, Durability::Buffered).unwrap_err();
    assert!(matches!(error, EngineError::Invalid { .. }), "{error}");
    assert!(matches!(tool.catch_up(), Err(EngineError::Invalid { .. })));
    drop(tool);
    assert_eq!(contents(dir.path()), before);
    assert!(!files(dir.path(), "sst").is_empty());
}

#[test]
fn a_running_store_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    put(&engine, Family::Metadata, b"a", b"1");
    let beside = Engine::open_read_only(dir.path()).unwrap();
    assert_eq!(
        get(&beside, Family::Metadata, b"a"),
        Some(b"1".to_vec()),
        "also from the log of a running store"
    );
    let follower = Engine::open_secondary(dir.path(), scratch.path()).unwrap();
    assert_eq!(get(&follower, Family::Metadata, b"a"), Some(b"1".to_vec()));
    put(&engine, Family::Metadata, b"a", b"2");
    engine.flush().unwrap();
    put(&engine, Family::Metadata, b"b", b"2");
    follower.catch_up().unwrap();
    assert_eq!(get(&follower, Family::Metadata, b"a"), Some(b"2".to_vec()));
    assert_eq!(get(&follower, Family::Metadata, b"b"), Some(b"2".to_vec()));
    drop(follower);
    drop(beside);
    put(&engine, Family::Metadata, b"c", b"3");
    assert_eq!(
        get(&engine, Family::Metadata, b"c"),
        Some(b"3".to_vec()),
        "the owner did not notice"
    );
}

#[test]
fn a_copy_goes_its_own_way() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    for n in 0..200u32 {
        put(&engine, Family::Metadata, &n.to_be_bytes(), &[1; 1000]);
    }
    engine.flush().unwrap();
    put(&engine, Family::Metadata, b"in the log", b"1");
    engine.wait_for_background_work().unwrap();
    drop(engine);
    let before = contents(dir.path());
    let copy = tempfile::tempdir().unwrap();
    copy_stopped(dir.path(), copy.path()).unwrap();
    // Tables are not there twice. Everything else is: a recovery may cut a log where it stands.
    for name in contents(copy.path()).keys() {
        let inode = |dir: &Path| dir.join(name).metadata().unwrap().ino();
        assert_eq!(inode(copy.path()) == inode(dir.path()), name.ends_with(".sst"), "{name}");
    }
    assert!(!files(copy.path(), "sst").is_empty());
    let engine = open(copy.path());
    assert_eq!(get(&engine, Family::Metadata, b"in the log"), Some(b"1".to_vec()));
    engine.delete_range(Family::Metadata, &KeyRange::all(), Durability::Synced).unwrap();
    engine.compact(Family::Metadata, &KeyRange::all()).unwrap();
    drop(engine);
    assert_eq!(contents(dir.path()), before);
    let original = open(dir.path());
    assert_eq!(keys(&original, Family::Metadata, KeyRange::all(), Direction::Forward).len(), 201);
    let nothing = tempfile::tempdir().unwrap();
    let error = copy_stopped(nothing.path(), copy.path()).unwrap_err();
    assert!(matches!(error, EngineError::NoStore { .. }), "{error}");
}

#[test]
fn where_there_is_no_store_there_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = Engine::open_read_only(dir.path()).unwrap_err();
    assert!(matches!(error, EngineError::NoStore { .. }), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "and still none");
    assert!(matches!(
        Engine::open_secondary(&dir.path().join("x"), dir.path()),
        Err(EngineError::NoStore { .. })
    ));
}

#[test]
fn numbers_move_with_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let before = engine.stats();
    for n in 0..200u32 {
        put(&engine, Family::Metadata, &n.to_be_bytes(), &[1; 1000]);
    }
    engine.sync().unwrap();
    let written = engine.stats();
    assert!(written.wal_bytes >= before.wal_bytes + 200 * 1000, "{written:?}");
    assert!(written.wal_syncs > before.wal_syncs);
    assert!(written.families[4].memtable_bytes > 200 * 1000);
    assert_eq!((written.families[4].family, written.families[4].keys), (Family::Metadata, 200));
    engine.flush().unwrap();
    let snapshot = engine.snapshot();
    for n in 0..200u32 {
        // The table would serve most of them.
        assert!(engine.get_behind(Family::Metadata, &n.to_be_bytes()).unwrap().is_some());
        let absent = (n + 5000).to_be_bytes();
        assert!(engine.get_behind(Family::Metadata, &absent).unwrap().is_none());
    }
    let read = engine.stats();
    assert_eq!(read.open_snapshots, 1);
    assert!(
        read.flush_bytes > 0 && read.disk_bytes > 0 && read.families[4].level0_files == 1,
        "{read:?}"
    );
    assert!(
        read.block_cache_hits > 0 && read.block_cache_bytes > 0 && read.bloom_useful >= 150,
        "{read:?}"
    );
    assert!(read.keys_read >= 400 && read.families[4].live_file_bytes > 0);
    drop(snapshot);
    assert_eq!(engine.stats().open_snapshots, 0);
}
