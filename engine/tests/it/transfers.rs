//! Moving ranges between stores: export from a snapshot, ingest over what was there.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::Arc;

use neokv_encoding::family::Family;
use neokv_encoding::key::slot_bounds;
use neokv_encoding::slot::SlotRange;
use neokv_engine::transfer::{Export, ExportLimits, Pace, RangeFile, UnfinishedIngest, verify};
use neokv_engine::{Direction, Durability, Engine, EngineError, KeyRange, Read, Snapshot};

use crate::support::{copy, crash, files, flush_and_compact, get, keys, open, put};

/// The Region whose data moves.
const REGION: u64 = 7;

type Ranges = Vec<(Family, KeyRange)>;

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

fn range(start: u16, end: u16) -> KeyRange {
    let (start, end) = slot_bounds(SlotRange::new(start, end).unwrap());
    KeyRange::new(start, end)
}

/// What a Region of these slots has.
fn ranges(start: u16, end: u16) -> Ranges {
    Family::DATA.map(|family| (family, range(start, end))).to_vec()
}

fn everything() -> Ranges {
    ranges(0, 16384)
}

fn rows(read: &dyn Read, family: Family, range: KeyRange) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut cursor = read.cursor(family, range, Direction::Forward).unwrap();
    let mut rows = Vec::new();
    while let Some((key, value)) = cursor.next().unwrap() {
        rows.push((key.to_vec(), value.to_vec()));
    }
    rows
}

fn export(
    snapshot: &Snapshot<'_>,
    ranges: Ranges,
    dir: &Path,
    limits: ExportLimits,
) -> Vec<RangeFile> {
    let mut export = Export::new(snapshot, ranges, dir, limits);
    let files = std::iter::from_fn(|| export.next_file().unwrap()).collect();
    assert_eq!(export.next_file().unwrap(), None, "the end stays the end");
    files
}

fn exported(engine: &Engine, ranges: Ranges, dir: &Path) -> Vec<RangeFile> {
    export(&engine.snapshot(), ranges, dir, ExportLimits::default())
}

/// An ingest with nothing of the caller's.
fn ingest(engine: &Engine, cleared: &Ranges, files: &[RangeFile]) -> neokv_engine::Result<()> {
    engine.ingest(REGION, cleared, files, engine.log_batch(), engine.log_batch())
}

#[test]
fn a_range_arrives_whole_and_replaces_what_was_there() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    fill(&source, 0..30, "new");
    fill(&target, 0..30, "old");
    target.flush().unwrap();
    put(&target, Family::Metadata, &key(15, "only here"), b"");
    let moved = range(10, 20);
    let snapshot = source.snapshot();
    fill(&source, 12..14, "too late");
    let files = export(&snapshot, ranges(10, 20), dirs[2].path(), ExportLimits::default());
    assert_eq!(
        files.iter().map(|file| (file.family, file.rows)).collect::<Vec<_>>(),
        Family::DATA.map(|family| (family, 10))
    );
    let (mut begin, mut finish) = (target.log_batch(), target.log_batch());
    begin.put(Family::Region, b"state", b"installing");
    finish.put(Family::Region, b"state", b"installed");
    target.ingest(REGION, &ranges(10, 20), &files, begin, finish).unwrap();
    for family in Family::DATA {
        let found = rows(&target, family, moved.clone());
        assert_eq!(found, rows(&snapshot, family, moved.clone()), "{family:?}");
        for around in [range(0, 10), range(20, 30)] {
            let found = rows(&target, family, around);
            assert!(found.iter().all(|(_, value)| value == b"old"));
            assert_eq!(found.len(), 10);
        }
    }
    assert_eq!(get(&target, Family::Region, b"state"), Some(b"installed".to_vec()));
    assert!(target.unfinished_ingests().unwrap().is_empty());
    let crashed = tempfile::tempdir().unwrap();
    crash(&target, crashed.path());
    let again = open(crashed.path());
    for family in Family::DATA {
        let found = rows(&again, family, moved.clone());
        assert_eq!(found, rows(&snapshot, family, moved.clone()), "durable: {family:?}");
    }
}

#[test]
fn an_open_snapshot_of_the_target_keeps_the_old_rows() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    fill(&source, 0..10, "new");
    fill(&target, 0..10, "old");
    target.flush().unwrap();
    let files = exported(&source, everything(), dirs[2].path());
    let before = target.snapshot();
    ingest(&target, &everything(), &files).unwrap();
    let old = rows(&before, Family::Subkey, KeyRange::all());
    assert!(old.len() == 10 && old.iter().all(|(_, value)| value == b"old"));
    let new = rows(&target, Family::Subkey, KeyRange::all());
    assert!(new.len() == 10 && new.iter().all(|(_, value)| value == b"new"));
}

/// Rows that hardly compress.
fn noise(engine: &Engine, slot: u16, count: u32) {
    let mut batch = engine.log_batch();
    let mut noise = 1u32;
    for n in 0..count {
        let value: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        })
        .take(500)
        .collect();
        batch.put(Family::Subkey, key(slot, &format!("{n:05}")), value);
    }
    engine.write_log(batch, Durability::Buffered).unwrap();
}

#[test]
fn large_exports_are_cut_and_share_a_rate_limit() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    noise(&source, 3, 2000);
    let pace = Arc::new(Pace::new(NonZeroU64::new(1 << 30)));
    let limits = ExportLimits { file_bytes: 200_000, pace };
    let files = export(&source.snapshot(), everything(), dirs[2].path(), limits);
    assert!(files.len() >= 4, "{files:?}");
    assert!(files.iter().all(|file| file.bytes < 300_000));
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), 2000);
    ingest(&target, &everything(), &files).unwrap();
    let all = |engine| rows(engine, Family::Subkey, KeyRange::all());
    assert_eq!(all(&target), all(&source));
}

#[test]
fn an_export_writes_one_file_at_a_time() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let source = open(dirs[0].path());
    noise(&source, 3, 1000);
    fill(&source, 5..6, "x");
    let snapshot = source.snapshot();
    let limits = ExportLimits { file_bytes: 100_000, ..ExportLimits::default() };
    // Two ranges of one family, one of them empty, and none of the others.
    let wanted = vec![(Family::Subkey, range(0, 2)), (Family::Subkey, range(3, 6))];
    let mut export = Export::new(&snapshot, wanted, dirs[1].path(), limits);
    let mut count = 0;
    while let Some(file) = export.next_file().unwrap() {
        count += 1;
        assert_eq!(file.family, Family::Subkey);
        let there = files(dirs[1].path(), "sst");
        assert!(there.len() == 1 && there[0] == file.path, "the others were taken away: {there:?}");
        verify(&file).unwrap();
        std::fs::remove_file(file.path).unwrap();
    }
    assert!(count >= 4, "{count}");
}

#[test]
fn a_damaged_file_is_found_by_its_checksum() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let source = open(dirs[0].path());
    fill(&source, 0..10, "new");
    let files = exported(&source, everything(), dirs[1].path());
    let victim = &files[2];
    let mut bytes = std::fs::read(&victim.path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&victim.path, &bytes).unwrap();
    let error = verify(victim).unwrap_err();
    assert!(
        matches!(&error, EngineError::Corruption { file: Some(file), .. } if *file == victim.path),
        "{error}"
    );
    assert!(files.iter().filter(|file| *file != victim).all(|file| verify(file).is_ok()));
    bytes[40] ^= 1;
    bytes.pop();
    std::fs::write(&victim.path, &bytes).unwrap();
    assert!(verify(victim).is_err(), "one byte short");
}

#[test]
fn an_install_cut_short_is_known_and_can_be_repeated() {
    let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let (source, target) = (open(dirs[0].path()), open(dirs[1].path()));
    fill(&source, 0..10, "new");
    fill(&target, 0..10, "old");
    let mut files = exported(&source, everything(), dirs[2].path());
    let good = files.clone();
    // A file that is none at all, but whose checksum is right, stops the install in the middle.
    let path = dirs[2].path().join("none.sst");
    std::fs::write(&path, b"").unwrap();
    files.push(RangeFile { family: Family::Expire, path, rows: 0, bytes: 0, checksum: 0 });
    let copies = tempfile::tempdir().unwrap();
    copy(dirs[2].path(), copies.path());
    ingest(&target, &ranges(0, 10), &files).unwrap_err();
    let unfinished = [UnfinishedIngest { region: REGION }];
    assert_eq!(target.unfinished_ingests().unwrap(), unfinished);
    drop(target);
    let target = open(dirs[1].path());
    assert_eq!(target.unfinished_ingests().unwrap(), unfinished, "also after a restart");
    let again: Vec<RangeFile> = good
        .into_iter()
        .map(|file| RangeFile { path: copies.path().join(file.path.file_name().unwrap()), ..file })
        .collect();
    ingest(&target, &ranges(0, 10), &again).unwrap();
    assert!(target.unfinished_ingests().unwrap().is_empty());
    for family in Family::DATA {
        let all = |engine| rows(engine, family, KeyRange::all());
        assert_eq!(all(&target), all(&source));
    }
    assert!(!keys(&target, Family::Expire, KeyRange::all(), Direction::Forward).is_empty());
}

#[test]
fn cleared_ranges_are_empty_after_a_crash_and_their_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    for slot in [10, 15, 20] {
        noise(&engine, slot, 1000);
        // One file for each slot.
        engine.flush().unwrap();
    }
    flush_and_compact(&engine);
    let size = |start, end| engine.approximate_size(Family::Subkey, &range(start, end)).unwrap();
    assert!(size(10, 11) > 300_000 && size(0, 10) == 0, "{} {}", size(10, 11), size(0, 10));
    let whole = engine.approximate_size(Family::Subkey, &KeyRange::all()).unwrap();
    assert!(whole > 1_000_000, "a range without an end: {whole}");

    let cleared = vec![(Family::Subkey, range(0, 20))];
    engine.clear_ranges(&cleared).unwrap();
    let snapshot = engine.snapshot();
    assert!(!engine.delete_files_in_ranges(&cleared).unwrap(), "somebody may look at them");
    drop(snapshot);
    let crashed = tempfile::tempdir().unwrap();
    crash(&engine, crashed.path());
    assert!(rows(&open(crashed.path()), Family::Subkey, range(0, 20)).is_empty());
    assert_eq!(rows(&open(crashed.path()), Family::Subkey, range(20, 21)).len(), 1000);
    assert!(engine.delete_files_in_ranges(&[(Family::Subkey, KeyRange::all())]).unwrap());
    assert!(rows(&engine, Family::Subkey, KeyRange::all()).is_empty());
    engine.wait_for_background_work().unwrap();
    assert!(size(0, 21) < 1000, "only range deletes are left: {}", size(0, 21));
}

/// Deleted rows in a file that has keys on both sides of the range's end stay hidden, although the
/// file of the range delete is deleted.
#[test]
fn deleted_files_do_not_bring_old_rows_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path());
    fill(&engine, 0..20, "old");
    flush_and_compact(&engine);
    let cleared = vec![(Family::Subkey, range(0, 10))];
    engine.clear_ranges(&cleared).unwrap();
    put(&engine, Family::Subkey, &key(5, "later"), b"");
    engine.clear_ranges(&cleared).unwrap();
    engine.flush().unwrap();
    assert!(engine.delete_files_in_ranges(&cleared).unwrap());
    assert!(rows(&engine, Family::Subkey, range(0, 10)).is_empty());
    engine.flush().unwrap();
    assert!(engine.delete_files_in_ranges(&cleared).unwrap());
    assert!(rows(&engine, Family::Subkey, range(0, 10)).is_empty());
    assert_eq!(rows(&engine, Family::Subkey, range(10, 20)).len(), 10, "the neighbour's are there");
}
