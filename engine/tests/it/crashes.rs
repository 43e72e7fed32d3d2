//! What a crash leaves behind, and how it is told from damage. A store is "crashed" by copying its
//! files while it is open.

use neokv_encoding::family::Family;
use neokv_engine::{Direction, Durability, Engine, EngineError, KeyRange};

use crate::support::{copy, crash, files, get, keys, open, options, put};

/// A store with records `0..count` in one log file, each synced, copied while open.
fn crashed(count: u32, value: usize) -> tempfile::TempDir {
    let live = tempfile::tempdir().unwrap();
    let engine = open(live.path());
    for n in 0..count {
        let mut batch = engine.log_batch();
        batch.put(Family::Metadata, n.to_be_bytes(), vec![7; value]);
        engine.write_log(batch, Durability::Synced).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    crash(&engine, dir.path());
    dir
}

fn the_log(dir: &std::path::Path) -> std::path::PathBuf {
    let logs = files(dir, "log");
    let filled: Vec<_> = logs.into_iter().filter(|log| log.metadata().unwrap().len() > 0).collect();
    assert_eq!(filled.len(), 1, "{filled:?}");
    filled.into_iter().next().unwrap()
}

/// How many records are there; they must be the first ones.
fn prefix(engine: &Engine) -> usize {
    let found = keys(engine, Family::Metadata, KeyRange::all(), Direction::Forward);
    let expected: Vec<Vec<u8>> =
        (0..u32::try_from(found.len()).unwrap()).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(found, expected);
    found.len()
}

#[test]
fn a_crash_loses_nothing_that_was_written() {
    let dir = crashed(50, 100);
    let engine = open(dir.path());
    assert_eq!(prefix(&engine), 50);
}

#[test]
fn a_log_cut_anywhere_opens_with_what_came_before() {
    let dir = crashed(40, 3000);
    let whole = std::fs::read(the_log(dir.path())).unwrap();
    let mut before = usize::MAX;
    for cut in
        [whole.len() - 1, whole.len() - 2999, whole.len() / 2, 33_000, 32_768, 3_100, 20, 3, 0]
    {
        let torn = tempfile::tempdir().unwrap();
        copy(dir.path(), torn.path());
        std::fs::write(the_log(torn.path()), &whole[..cut]).unwrap();
        let engine = open(torn.path());
        let records = prefix(&engine);
        assert!(
            records <= cut / 3000 && records + 1 >= cut / 3080 && records < before.min(40),
            "{records} records of {cut} bytes"
        );
        before = records + 1;
        put(&engine, Family::Metadata, b"\xff after", b"");
        drop(engine);
        assert!(
            get(&open(torn.path()), Family::Metadata, b"\xff after").is_some(),
            "and goes on from there"
        );
    }
}

#[test]
fn garbage_behind_the_last_record_is_dropped() {
    let dir = crashed(20, 100);
    let mut bytes = std::fs::read(the_log(dir.path())).unwrap();
    bytes.extend((0..3000u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()));
    std::fs::write(the_log(dir.path()), bytes).unwrap();
    assert_eq!(prefix(&open(dir.path())), 20);
}

#[test]
fn a_flipped_byte_in_the_middle_is_refused_by_name() {
    let dir = crashed(40, 3000);
    let log = the_log(dir.path());
    let whole = std::fs::read(&log).unwrap();
    for at in [0, 4, 6, 50, 5000, 32_767, 32_768, 32_772, whole.len() / 2, whole.len() - 3100] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(&log, &bytes).unwrap();
        let error = Engine::open(dir.path(), &options()).unwrap_err();
        let EngineError::Corruption { file, detail } = &error else { panic!("byte {at}: {error}") };
        assert_eq!(file.as_deref(), Some(log.as_path()), "byte {at}");
        assert!(detail.contains("offset"), "{detail}");
        assert_eq!(std::fs::read(&log).unwrap(), bytes, "a refused log is left as it is");
    }
    std::fs::write(&log, &whole).unwrap();
    assert_eq!(prefix(&open(dir.path())), 40);
}

#[test]
fn crashing_again_and_again_is_no_damage() {
    let mut dir = crashed(10, 100);
    for round in 0..4u32 {
        let torn = the_log(dir.path());
        let length = torn.metadata().unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&torn).unwrap().set_len(length - 1).unwrap();
        let engine = open(dir.path());
        let records = prefix(&engine);
        assert_eq!(records, 9, "round {round}");
        put(&engine, Family::Metadata, &9u32.to_be_bytes(), b"again");
        let next = tempfile::tempdir().unwrap();
        crash(&engine, next.path());
        drop(engine);
        dir = next;
    }
}

/// RocksDB notes synced logs in its manifest, so that one that vanished is noticed.
#[test]
fn a_log_that_vanished_is_refused() {
    let live = tempfile::tempdir().unwrap();
    let engine = open(live.path());
    put(&engine, Family::Metadata, b"a", b"1");
    engine.sync().unwrap();
    // Flushing one family alone switches logs and keeps the old one, which the other family still
    // needs.
    put(&engine, Family::Subkey, b"b", b"1");
    engine.sync().unwrap();
    engine.flush_family(Family::Subkey).unwrap();
    put(&engine, Family::Metadata, b"c", b"1");
    engine.sync().unwrap();
    let dir = tempfile::tempdir().unwrap();
    crash(&engine, dir.path());
    let logs = files(dir.path(), "log");
    assert!(logs.len() >= 2, "{logs:?}");
    std::fs::remove_file(&logs[0]).unwrap();
    let error = Engine::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(error, EngineError::Corruption { .. }), "{error}");
}

#[test]
fn a_batch_is_found_whole_or_not_at_all() {
    let live = tempfile::tempdir().unwrap();
    let engine = open(live.path());
    for n in 0..20u8 {
        let mut batch = engine.batch();
        batch.put(Family::Metadata, [n], vec![n; 500]);
        batch.put(Family::Subkey, [n], vec![n; 500]);
        batch.delete_range(Family::Expire, [n], [n + 1]);
        engine.write(batch, Durability::Buffered).unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    crash(&engine, dir.path());
    let whole = std::fs::read(the_log(dir.path())).unwrap();
    for cut in (0..whole.len()).step_by(797) {
        let torn = tempfile::tempdir().unwrap();
        copy(dir.path(), torn.path());
        std::fs::write(the_log(torn.path()), &whole[..cut]).unwrap();
        let engine = open(torn.path());
        let found = keys(&engine, Family::Metadata, KeyRange::all(), Direction::Forward);
        assert_eq!(
            found,
            keys(&engine, Family::Subkey, KeyRange::all(), Direction::Forward),
            "cut at {cut}"
        );
    }
}
