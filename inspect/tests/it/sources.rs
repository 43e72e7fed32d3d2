//! Opening: beside a writer, after it, and without leaving a trace.

use std::path::{Path, PathBuf};

use neokv_encoding::family::Family;
use neokv_encoding::key;
use neokv_encoding::metadata::encode_string;
use neokv_engine::{Durability, Engine, Options};
use neokv_inspect::key_dump::{self, KeyState};
use neokv_inspect::progress::Progress;
use neokv_inspect::server::Server;
use neokv_inspect::{InspectError, Source, store};

use crate::stores::{self, NOW_MS, user};

#[test]
fn a_running_server_is_seen_and_followed() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::small(dir.path());
    assert_eq!(Server::on(dir.path()), Server { running: true, pid: Some(std::process::id()) });
    for turn in 0..20 {
        // Half of the writes move from the log to a file before they are looked for.
        let mut batch = engine.batch();
        let user = user(&format!("key:{turn}"));
        batch.put(Family::Metadata, user.metadata(), encode_string(0, b"fresh"));
        engine.write(batch, Durability::Buffered).unwrap();
        if turn % 2 == 0 {
            engine.flush().unwrap();
        }
        let source = Source::open(dir.path(), NOW_MS).unwrap();
        assert!(source.server.running);
        assert_eq!(key_dump::dump(&source, user, 1).unwrap().state, KeyState::Live);
    }
    stores::close(engine, dir.path());
    assert_eq!(Server::on(dir.path()), Server { running: false, pid: None });
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    assert!(!source.server.running);
    assert_eq!(key_dump::dump(&source, user("key:19"), 1).unwrap().state, KeyState::Live);
}

#[test]
fn a_source_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::small(dir.path());
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    let mut batch = engine.batch();
    batch.put(Family::Metadata, user("later").metadata(), encode_string(0, b"x"));
    engine.write(batch, Durability::Synced).unwrap();
    let state = |source| key_dump::dump(source, user("later"), 1).unwrap().state;
    assert_eq!(state(&source), KeyState::Absent);
    assert_eq!(state(&Source::open(dir.path(), NOW_MS).unwrap()), KeyState::Live);
}

/// The folders of open sources beside servers.
fn scratch() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(std::env::temp_dir()).unwrap().filter_map(Result::ok);
    let paths = entries.map(|entry| entry.path());
    let is_scratch = |path: &Path| path.to_string_lossy().contains("neokv-inspect-");
    paths.filter(|path| is_scratch(path)).collect()
}

#[test]
fn the_scratch_folder_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::small(dir.path());
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    let open = scratch();
    assert!(!open.is_empty(), "a secondary needs a folder of its own");
    drop(source);
    stores::close(engine, dir.path());
    // Other tests may have folders of their own now, but the one of this test is none of them.
    let after = scratch();
    assert!(open.iter().any(|path| !after.contains(path)));
}

#[test]
fn damage_in_the_log_is_named_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::small(dir.path());
    let mut batch = engine.batch();
    batch.put(Family::Metadata, user("later").metadata(), encode_string(0, b"x"));
    engine.write(batch, Durability::Synced).unwrap();
    stores::close(engine, dir.path());
    assert_eq!(Source::open(dir.path(), NOW_MS).unwrap().problems, [""; 0]);
    stores::damage_log(dir.path());
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    assert!(source.problems.concat().starts_with("the write-ahead log ends"));
    assert_eq!(store::summary(&source).families.len(), Family::ALL.len());
}

#[test]
fn half_of_a_write_is_told_until_a_start_has_finished_it() {
    let dir = tempfile::tempdir().unwrap();
    stores::close(stores::half_written(dir.path()), dir.path());
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    let [problem] = &source.problems[..] else { panic!("{:?}", source.problems) };
    assert!(problem.contains("half of a write") && problem.contains("next start"), "{problem}");
    let dump = key_dump::dump(&source, user("late"), 5).unwrap();
    assert!(dump.problems.concat().contains("no row for the expiry"), "{:?}", dump.problems);
    drop(source);
    stores::close(Engine::open(dir.path(), &Options::default()).unwrap(), dir.path());
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    assert_eq!(source.problems, [""; 0]);
    assert_eq!(key_dump::dump(&source, user("late"), 5).unwrap().problems, [""; 0]);
}

#[test]
fn half_of_a_write_beside_a_server_is_to_be_asked_for_again() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::half_written(dir.path());
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    let [problem] = &source.problems[..] else { panic!("{:?}", source.problems) };
    assert!(problem.contains("half of a write") && problem.contains("ask again"), "{problem}");
    let mut batch = engine.log_batch();
    batch.delete(Family::Default, key::BEHIND);
    engine.write_log(batch, Durability::Buffered).unwrap();
    assert_eq!(Source::open(dir.path(), NOW_MS).unwrap().problems, [""; 0]);
    stores::close(engine, dir.path());
}

#[test]
fn entries_that_are_not_in_the_rows_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    stores::close(stores::several(dir.path()), dir.path());
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    let lag: Vec<(u64, u64)> =
        source.progress.iter().map(|(id, progress)| (*id, progress.lag())).collect();
    // A tombstone has no log; the others have, or may yet have one.
    assert_eq!(lag, [(1, 2), (4, 0), (6, 0), ((1 << 60) + 1, 0)]);
    assert_eq!(
        source.progress[&1],
        Progress { applied: Some(5), committed: Some(4), last: Some(7) }
    );
}

#[test]
fn a_directory_without_a_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = Source::open(dir.path(), NOW_MS).err().unwrap();
    assert!(matches!(error, InspectError::Open { .. }), "{error:?}");
    assert_eq!(error.dir(), dir.path());
    assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none(), "nothing is created");
}
