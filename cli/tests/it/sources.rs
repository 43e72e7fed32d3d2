//! Opening: beside a writer, after it, and without leaving a trace.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::Path;
use std::time::SystemTime;

use neokv_encoding::family::Family;
use neokv_encoding::metadata::encode_string;
use neokv_engine::Durability;

use crate::golden::neoctl_with;
use crate::stores::{self, user};

fn neoctl(dir: &Path, words: &[&str]) -> (u8, String, String) {
    let dir = format!("--dir={}", dir.display());
    let arguments = ["neoctl", &dir].iter().chain(words).map(OsString::from).collect();
    neoctl_with(arguments, b"", &HashMap::new(), None)
}

/// Every file with its length and time of change.
fn files(dir: &Path) -> BTreeMap<String, (u64, SystemTime)> {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        (entry.file_name().into_string().unwrap(), (data.len(), data.modified().unwrap()))
    };
    std::fs::read_dir(dir).unwrap().map(file).collect()
}

const READERS: [&[&str]; 10] = [
    &["store"],
    &["region", "list"],
    &["region", "show", "1"],
    &["raft", "log"],
    &["raft", "state"],
    &["keys", "list"],
    &["dump-key", "user:{42}"],
    &["dump-key", "board", "-o", "json"],
    &["--replay", "store"],
    &["--replay", "dump-key", "greeting"],
];

#[test]
fn nothing_in_the_directory_changes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("data");
    let engine = stores::small(&dir);
    engine.flush().unwrap();
    engine.wait_for_background_work().unwrap();
    let before = files(&dir);
    for words in READERS {
        let expected = if words[0] == "--replay" { 3 } else { 0 };
        assert_eq!(neoctl(&dir, words).0, expected, "beside the writer: {words:?}");
        assert_eq!(files(&dir), before, "beside the writer: {words:?}");
    }
    stores::close(engine, &dir);
    let before = files(&dir);
    for words in READERS {
        assert_eq!(neoctl(&dir, words).0, 0, "alone: {words:?}");
        assert_eq!(files(&dir), before, "alone: {words:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
}

#[test]
fn the_header_tells_of_a_running_server() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::small(dir.path());
    let (exit, stdout, stderr) = neoctl(dir.path(), &["dump-key", "greeting"]);
    assert_eq!((exit, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.contains(&format!("server running, pid {}", std::process::id())), "{stdout}");
    stores::close(engine, dir.path());
    let (exit, stdout, _) = neoctl(dir.path(), &["dump-key", "greeting"]);
    assert_eq!(exit, 0);
    assert!(stdout.contains("no server on it"), "{stdout}");
}

#[test]
fn a_log_cut_in_the_middle_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::small(dir.path());
    let mut batch = engine.batch();
    batch.put(Family::Metadata, user("later").metadata(), encode_string(0, b"x"));
    engine.write(batch, Durability::Synced).unwrap();
    stores::close(engine, dir.path());
    stores::damage_log(dir.path());
    let (exit, stdout, stderr) = neoctl(dir.path(), &["store"]);
    assert_eq!(exit, 5, "{stdout}{stderr}");
    assert!(stdout.contains("⚠ the write-ahead log"), "{stdout}");
}
