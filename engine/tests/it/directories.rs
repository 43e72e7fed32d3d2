//! Which directories are refused, with which sentence, and that a refusal changes nothing.

use neokv_encoding::family::Family;
use neokv_encoding::identity::Identity;
use neokv_encoding::key::IDENTITY;
use neokv_engine::{Action, Engine, EngineError, identity};

use crate::support::{files, get, open, options, put};

#[test]
fn a_directory_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    let error = Engine::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(error, EngineError::Locked { .. }), "{error}");
    assert_eq!(error.action(), Action::FixInput);
    assert!(
        error.to_string().contains("is in use by another process; stop that process"),
        "{error}"
    );
    let clone = engine.clone();
    drop(engine);
    assert!(Engine::open(dir.path(), &options()).is_err(), "a clone still has it");
    drop(clone);
    open(dir.path());
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let error = Engine::open(dir.path(), &options()).unwrap_err();
    assert!(
        matches!(&error, EngineError::ForeignDirectory { found, .. } if found == "letter.txt"),
        "{error}"
    );
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let empty = tempfile::tempdir().unwrap();
    std::fs::create_dir(empty.path().join("lost+found")).unwrap();
    open(empty.path());
    open(&empty.path().join("made/on/the/way"));
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let marker = dir.path().join(neokv_encoding::marker::FILE_NAME);
    let text = std::fs::read_to_string(&marker).unwrap();
    assert!(text.starts_with("neokv store, format 2\nlog tag "), "{text}");
    assert_eq!(text.len(), "neokv store, format 2\nlog tag \n".len() + 32);
    std::fs::write(&marker, "neokv store, format 3\nwhatever follows").unwrap();
    for result in [Engine::open(dir.path(), &options()), Engine::open_read_only(dir.path())] {
        let error = result.unwrap_err();
        assert!(
            matches!(error, EngineError::FormatVersion { found: 3, supported: 2, .. }),
            "{error}"
        );
    }
    for damaged in ["shopping list", "neokv store, format 2\n", &text.replace("tag ", "tag +")] {
        std::fs::write(&marker, damaged).unwrap();
        let error = Engine::open(dir.path(), &options()).unwrap_err();
        assert!(matches!(error, EngineError::Corruption { .. }), "{damaged}: {error}");
    }
    std::fs::write(&marker, text).unwrap();
    open(dir.path());
}

#[test]
fn every_directory_has_its_own_log_tag() {
    let texts = [(); 2].map(|()| {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        std::fs::read_to_string(dir.path().join(neokv_encoding::marker::FILE_NAME)).unwrap()
    });
    assert_ne!(texts[0], texts[1]);
}

#[test]
fn the_identity_record_is_written_once_and_compared() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    assert_eq!(identity::read(&engine).unwrap(), None);
    assert!(identity::establish(&engine, 7, 3).unwrap(), "new");
    assert!(!identity::establish(&engine, 7, 3).unwrap(), "known");
    for (cluster, store) in [(7, 4), (8, 3)] {
        let error = identity::establish(&engine, cluster, store).unwrap_err();
        assert!(
            matches!(error, EngineError::ForeignStore { found_cluster: 7, found_store: 3, .. }),
            "{error}"
        );
    }
    drop(engine);
    let engine = open(dir.path());
    let expected = Identity { format_version: 2, cluster_id: 7, store_id: 3 };
    assert_eq!(identity::read(&engine).unwrap(), Some(expected));
    put(&engine, Family::Default, IDENTITY, &Identity { format_version: 9, ..expected }.encode());
    drop(engine);
    let error = Engine::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(error, EngineError::FormatVersion { found: 9, supported: 2, .. }), "{error}");
}

#[test]
fn closing_keeps_everything_and_leaves_one_state() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3u8 {
        let engine = open(dir.path());
        for earlier in 0..round {
            assert_eq!(get(&engine, Family::Expire, &[earlier]), Some(vec![earlier]));
        }
        put(&engine, Family::Expire, &[round], &[round]);
    }
    assert!(!files(dir.path(), "sst").is_empty(), "opening flushes what the log held");
}
