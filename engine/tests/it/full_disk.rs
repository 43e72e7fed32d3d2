//! A disk that is really full.

use std::path::Path;

use neokv_encoding::family::Family;
use neokv_engine::{Action, Durability, Engine, EngineError, Health, Options};

use crate::small_disk::small_disk;
use crate::support::options;

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let test = "full_disk::a_full_disk_refuses_writes_serves_reads_and_recovers";
    if let Some(disk) = small_disk(test, 96) {
        fill_and_heal(&disk);
    }
}

/// Ten thousand bytes that no compression makes smaller, so that what fills the disk keeps filling
/// it.
fn value(n: u32) -> Vec<u8> {
    let next = |state: &mut u32| {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some(state.to_be_bytes()[0])
    };
    let mut state = n;
    std::iter::from_fn(|| next(&mut state)).take(10_000).collect()
}

fn write(engine: &Engine, n: u32) -> Result<(), EngineError> {
    let mut batch = engine.batch();
    batch.put(Family::Metadata, n.to_be_bytes(), value(n));
    engine.write(batch, Durability::Synced)
}

fn fill_and_heal(disk: &Path) {
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0; 64 << 20]).unwrap();
    let dir = disk.join("store");
    let options = Options { low_space_bytes: 40 << 20, memtable_bytes: 4 << 20, ..options() };
    let engine = Engine::open(&dir, &options).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        match write(&engine, acknowledged) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 10_000, "the disk was never full");
    };
    assert!(matches!(error, EngineError::NoSpace { .. }), "{error}");
    assert_eq!(error.action(), Action::Retry);
    assert!(acknowledged > 100, "{acknowledged}");
    for _ in 0..3 {
        let error = write(&engine, acknowledged).unwrap_err();
        assert!(matches!(error, EngineError::NoSpace { .. }), "{error}");
    }
    assert!(matches!(engine.health(), Health::Full { .. }), "{:?}", engine.health());
    let space = engine.space().unwrap();
    assert!(space.full && space.low, "{space:?}");
    check(&engine, acknowledged);

    std::fs::remove_file(&filler).unwrap();
    write(&engine, acknowledged).unwrap();
    assert_eq!(engine.health(), Health::Good);
    assert!(!engine.space().unwrap().full);
    check(&engine, acknowledged + 1);
    drop(engine);
    let engine = Engine::open(&dir, &options).unwrap();
    check(&engine, acknowledged + 1);
}

fn check(engine: &Engine, records: u32) {
    for n in 0..records {
        assert_eq!(
            engine.get(Family::Metadata, &n.to_be_bytes()).unwrap().as_deref(),
            Some(&value(n)[..]),
            "{n}"
        );
    }
}
