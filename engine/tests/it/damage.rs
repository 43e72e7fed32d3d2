//! Damaged files: an error that names the file, and no wrong answer.

use std::path::{Path, PathBuf};

use neokv_encoding::family::Family;
use neokv_engine::{Action, Direction, Engine, EngineError, KeyRange, Options, Read};

use crate::support::{files, open, options, put};

/// A closed store whose metadata, a thousand records, is in one file.
fn stored() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    for n in 0..1000u32 {
        put(&engine, Family::Metadata, &n.to_be_bytes(), &[7; 200]);
    }
    engine.flush().unwrap();
    engine.verify().unwrap();
    let file = files(dir.path(), "sst")
        .into_iter()
        .max_by_key(|file| file.metadata().unwrap().len())
        .unwrap();
    (dir, file)
}

fn flip(file: &Path, at: u64) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[usize::try_from(at).unwrap()] ^= 0x01;
    std::fs::write(file, bytes).unwrap();
}

fn assert_names(error: &EngineError, file: &Path) {
    let EngineError::Corruption { file: Some(named), .. } = error else { panic!("{error}") };
    assert_eq!(named.file_name(), file.file_name(), "{error}");
    assert_eq!(error.action(), Action::Elsewhere);
}

#[test]
fn a_damaged_block_is_an_error_and_the_others_are_served() {
    let (dir, file) = stored();
    flip(&file, 50_000);
    let engine = open(dir.path());
    let (mut right, mut damaged) = (0, 0);
    for n in 0..1000u32 {
        match engine.get(Family::Metadata, &n.to_be_bytes()) {
            Ok(Some(value)) => {
                assert_eq!(&*value, [7; 200], "no wrong answer");
                right += 1;
            }
            Ok(None) => panic!("record {n} is gone without an error"),
            Err(error) => {
                assert_names(&error, &file);
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0 && damaged < 50 && right > 900, "{right} right, {damaged} damaged");
    assert_names(&engine.verify().unwrap_err(), &file);
}

#[test]
fn a_walk_over_a_damaged_block_ends_in_an_error_not_early() {
    let (dir, file) = stored();
    flip(&file, 50_000);
    let engine = open(dir.path());
    for direction in [Direction::Forward, Direction::Reverse] {
        let mut cursor = engine.cursor(Family::Metadata, KeyRange::all(), direction).unwrap();
        let error = loop {
            match cursor.next() {
                Ok(Some((_, value))) => assert_eq!(value, [7; 200]),
                Ok(None) => panic!("the walk ended without an error"),
                Err(error) => break error,
            }
        };
        assert_names(&error, &file);
    }
}

#[test]
fn a_compaction_over_a_damaged_block_shows_in_the_health_of_the_store() {
    let (dir, file) = stored();
    flip(&file, 50_000);
    let engine = open(dir.path());
    put(&engine, Family::Metadata, &5u32.to_be_bytes(), b"new");
    engine.flush().unwrap();
    let failed = engine.compact(Family::Metadata, &KeyRange::all());
    assert!(failed.is_err() || engine.health() != neokv_engine::Health::Good, "{failed:?}");
    let detail = format!("{:?} {failed:?}", engine.health());
    assert!(detail.contains(file.file_name().unwrap().to_str().unwrap()), "{detail}");
    assert_eq!(
        engine.get(Family::Metadata, &7u32.to_be_bytes()).unwrap().as_deref(),
        Some(&[7; 200][..]),
        "reads go on"
    );
}

#[test]
fn a_missing_or_damaged_file_is_refused_at_open() {
    let (dir, file) = stored();
    let bytes = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let error = Engine::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(error, EngineError::Corruption { .. } | EngineError::Io { .. }), "{error}");
    assert!(error.to_string().contains(file.file_name().unwrap().to_str().unwrap()), "{error}");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let error = Engine::open(dir.path(), &options()).unwrap_err();
    assert!(error.to_string().contains(file.file_name().unwrap().to_str().unwrap()), "{error}");
}

#[test]
fn space_is_measured_and_low_space_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let engine =
        Engine::open(dir.path(), &Options { low_space_bytes: u64::MAX, ..options() }).unwrap();
    let space = engine.space().unwrap();
    assert!(space.low && !space.full && space.free > 0 && space.free <= space.total, "{space:?}");
    engine.resume().unwrap();
    assert!(!open(tempfile::tempdir().unwrap().path()).space().unwrap().low);
}
