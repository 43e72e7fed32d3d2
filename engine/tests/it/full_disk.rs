//! A disk that is really full: the test starts itself again in a mount namespace of its own, with
//! 96 MiB of memory as the disk.

use std::path::Path;
use std::process::Command;

use neokv_encoding::family::Family;
use neokv_engine::{Action, Durability, Engine, EngineError, Health, Options};

use crate::support::options;

/// Names the small disk to the inner run.
const DISK: &str = "NEOKV_TEST_SMALL_DISK";

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    if let Some(disk) = std::env::var_os(DISK) {
        return fill_and_heal(Path::new(&disk));
    }
    let disk = tempfile::tempdir().unwrap();
    let binary = std::env::current_exe().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=96m tmpfs {disk} || exit 99; export {DISK}={disk}; \
         exec \"$0\" \"$@\"",
        disk = disk.path().display()
    );
    let status = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .arg(binary)
        .args([
            "--exact",
            "full_disk::a_full_disk_refuses_writes_serves_reads_and_recovers",
            "--nocapture",
        ])
        .status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => {}
        Ok(Some(1 | 99)) | Err(_) if !may_mount() => {
            eprintln!("not run: this machine gives no mount namespaces")
        }
        other => panic!("the run on the small disk ended with {other:?}"),
    }
}

fn may_mount() -> bool {
    let disk = tempfile::tempdir().unwrap();
    Command::new("unshare")
        .args(["--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs"])
        .arg(disk.path())
        .status()
        .is_ok_and(|status| status.success())
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
