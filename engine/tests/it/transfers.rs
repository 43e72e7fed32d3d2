//! Moving slots between stores: export from a snapshot, ingest over what was there.

use std::num::NonZeroU64;
use std::path::Path;

use neokv_encoding::family::Family;
use neokv_encoding::key::slot_bounds;
use neokv_encoding::slot::SlotRange;
use neokv_engine::transfer::{ExportLimits, SlotFile, export, verify};
use neokv_engine::{Direction, Durability, Engine, EngineError, KeyRange, Read};

use crate::support::{copy, crash, get, keys, open, put};

/// A key of a slot, as every data family begins.
fn key(slot: u16, name: &str) -> Vec<u8> {
    [&slot.to_be_bytes()[..], &[0; 4], name.as_bytes()].concat()
}

fn fill(engine: &Engine, slots: std::ops::Range<u16>, tag: &str) {
    for slot in slots {
        for family in Family::DATA {
            put(engine, family, &key(slot, tag), tag.as_bytes());
        }
    }
}

fn rows(read: &dyn Read, family: Family, slots: SlotRange) -> Vec<(Vec<u8>, Vec<u8>)> {
    let (start, end) = slot_bounds(slots);
    let mut cursor = read.cursor(family, KeyRange::new(start, end), Direction::Forward).unwrap();
    let mut rows = Vec::new();
    while let Some((key, value)) = cursor.next().unwrap() {
        rows.push((key.to_vec(), value.to_vec()));
    }
    rows
}

fn slots(start: u16, end: u16) -> SlotRange {
    SlotRange::new(start, end).unwrap()
}

fn exported(engine: &Engine, range: SlotRange, dir: &Path) -> Vec<SlotFile> {
    export(&engine.snapshot(), range, dir, &ExportLimits::default()).unwrap()
}

#[test]
fn a_range_arrives_whole_and_replaces_what_was_there() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    fill(&source, 0..30, "new");
    fill(&target, 0..30, "old");
    target.flush().unwrap();
    put(&target, Family::Metadata, &key(15, "only here"), b"");
    let range = slots(10, 20);
    let snapshot = source.snapshot();
    fill(&source, 12..14, "too late");
    let files = export(&snapshot, range, dirs[2].path(), &ExportLimits::default()).unwrap();
    assert_eq!(
        files.iter().map(|file| (file.family, file.rows)).collect::<Vec<_>>(),
        Family::DATA.map(|family| (family, 10))
    );
    let (mut begin, mut finish) = (target.log_batch(), target.log_batch());
    begin.put(Family::Region, b"state", b"installing");
    finish.put(Family::Region, b"state", b"installed");
    target.ingest(range, &files, begin, finish).unwrap();
    for family in Family::DATA {
        assert_eq!(rows(&target, family, range), rows(&snapshot, family, range), "{family:?}");
        for around in [slots(0, 10), slots(20, 30)] {
            assert!(rows(&target, family, around).iter().all(|(_, value)| value == b"old"));
            assert_eq!(rows(&target, family, around).len(), 10);
        }
    }
    assert_eq!(get(&target, Family::Region, b"state"), Some(b"installed".to_vec()));
    assert!(target.unfinished_ingests().unwrap().is_empty());
    let crashed = tempfile::tempdir().unwrap();
    crash(&target, crashed.path());
    let again = open(crashed.path());
    for family in Family::DATA {
        assert_eq!(
            rows(&again, family, range),
            rows(&snapshot, family, range),
            "durable: {family:?}"
        );
    }
}

#[test]
fn an_open_snapshot_of_the_target_keeps_the_old_rows() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    fill(&source, 0..10, "new");
    fill(&target, 0..10, "old");
    target.flush().unwrap();
    let files = exported(&source, SlotRange::ALL, dirs[2].path());
    let before = target.snapshot();
    target.ingest(SlotRange::ALL, &files, target.log_batch(), target.log_batch()).unwrap();
    assert_eq!(rows(&before, Family::Subkey, SlotRange::ALL).len(), 10);
    assert!(rows(&before, Family::Subkey, SlotRange::ALL).iter().all(|(_, value)| value == b"old"));
    assert!(rows(&target, Family::Subkey, SlotRange::ALL).iter().all(|(_, value)| value == b"new"));
}

#[test]
fn large_exports_are_cut_and_paced() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    let mut batch = source.log_batch();
    let mut noise = 1u32;
    for n in 0..2000u32 {
        let value: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        })
        .take(500)
        .collect();
        batch.put(Family::Subkey, key(3, &format!("{n:05}")), value);
    }
    source.write_log(batch, Durability::Buffered).unwrap();
    let limits = ExportLimits { file_bytes: 200_000, bytes_per_second: NonZeroU64::new(1 << 30) };
    let files = export(&source.snapshot(), SlotRange::ALL, dirs[2].path(), &limits).unwrap();
    assert!(files.len() >= 4, "{files:?}");
    assert!(files.iter().all(|file| file.bytes < 300_000));
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 2000);
    target.ingest(SlotRange::ALL, &files, target.log_batch(), target.log_batch()).unwrap();
    assert_eq!(
        rows(&target, Family::Subkey, SlotRange::ALL),
        rows(&source, Family::Subkey, SlotRange::ALL)
    );
}

#[test]
fn a_damaged_file_is_refused_before_anything_changes() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    fill(&source, 0..10, "new");
    fill(&target, 0..10, "old");
    let files = exported(&source, SlotRange::ALL, dirs[2].path());
    let victim = &files[2];
    let mut bytes = std::fs::read(&victim.path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&victim.path, &bytes).unwrap();
    let error =
        target.ingest(SlotRange::ALL, &files, target.log_batch(), target.log_batch()).unwrap_err();
    assert!(
        matches!(&error, EngineError::Corruption { file: Some(file), .. } if *file == victim.path),
        "{error}"
    );
    bytes[40] ^= 1;
    bytes.pop();
    std::fs::write(&victim.path, &bytes).unwrap();
    assert!(verify(victim).is_err(), "one byte short");
    assert!(
        rows(&target, Family::Metadata, SlotRange::ALL).iter().all(|(_, value)| value == b"old")
    );
    assert!(target.unfinished_ingests().unwrap().is_empty());
}

#[test]
fn an_install_cut_short_is_known_and_can_be_repeated() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    fill(&source, 0..10, "new");
    fill(&target, 0..10, "old");
    let mut files = exported(&source, SlotRange::ALL, dirs[2].path());
    let good = files.clone();
    // The last file is listed under a family whose rows were taken in already and overlap: RocksDB
    // takes that in. A file that is none at all, but whose checksum is right, stops the install in
    // the middle.
    let path = dirs[2].path().join("none.sst");
    std::fs::write(&path, b"").unwrap();
    files.push(SlotFile { family: Family::Expire, path, rows: 0, bytes: 0, checksum: 0 });
    let copies = tempfile::tempdir().unwrap();
    copy(dirs[2].path(), copies.path());
    target.ingest(slots(0, 10), &files, target.log_batch(), target.log_batch()).unwrap_err();
    assert_eq!(target.unfinished_ingests().unwrap(), [slots(0, 10)]);
    drop(target);
    let target = open(dirs[1].path());
    assert_eq!(target.unfinished_ingests().unwrap(), [slots(0, 10)], "also after a restart");
    let again: Vec<SlotFile> = good
        .into_iter()
        .map(|file| SlotFile { path: copies.path().join(file.path.file_name().unwrap()), ..file })
        .collect();
    target.ingest(slots(0, 10), &again, target.log_batch(), target.log_batch()).unwrap();
    assert!(target.unfinished_ingests().unwrap().is_empty());
    for family in Family::DATA {
        assert_eq!(rows(&target, family, SlotRange::ALL), rows(&source, family, SlotRange::ALL));
    }
    assert!(!keys(&target, Family::Expire, KeyRange::all(), Direction::Forward).is_empty());
}
