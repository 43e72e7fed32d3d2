//! Logs made by hand: what is whole, torn, never promised, and damaged; and random ones.

mod random;

use neokv_encoding::synced::SyncedNote;

use super::*;
use crate::log_bytes::encode;
use crate::wal::{BLOCK, HEADER, NOTE_RECORD};

const TAG: Tag = [0x5a; 16];

/// A batch as the engine writes it: `count` writes from `sequence` on, padded to `length` bytes.
fn batch(sequence: u64, count: u32, length: usize, synced: u64) -> Vec<u8> {
    noted(sequence, count, length, SyncedNote { tag: TAG, before: sequence - 1, synced, log: 4 })
}

fn noted(sequence: u64, count: u32, length: usize, note: SyncedNote) -> Vec<u8> {
    let mut bytes = [&sequence.to_le_bytes()[..], &count.to_le_bytes()].concat();
    bytes.resize(length.max(12), 0xab);
    bytes.extend([3, 41]);
    bytes.extend(note.encode());
    bytes
}

/// Records as RocksDB lays them out: split at blocks, short block ends filled with zeros.
fn log(batches: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for batch in batches {
        let (mut rest, mut first) = (&batch[..], true);
        loop {
            let left = BLOCK - out.len() % BLOCK;
            if left < HEADER {
                out.resize(out.len() + left, 0);
                continue;
            }
            let take = rest.len().min(left - HEADER);
            let last = take == rest.len();
            let kind = match (first, last) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            out.extend(encode(kind, None, &rest[..take]));
            (rest, first) = (&rest[take..], false);
            if last {
                break;
            }
        }
    }
    out
}

/// A directory with these logs, numbered 4, 5, ...
fn dir(logs: &[&[u8]]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (number, bytes) in logs.iter().enumerate() {
        fs::write(dir.path().join(format!("{:06}.log", number + 4)), bytes).unwrap();
    }
    dir
}

fn outcome(files: &[&[u8]]) -> Outcome {
    let dir = dir(files);
    read(&logs(dir.path()).unwrap(), &TAG).unwrap()
}

/// Where the hole is, and whether it was synced; `None` if nothing is missing.
fn missing(files: &[&[u8]]) -> Option<(usize, u64, bool)> {
    match outcome(files) {
        Outcome::Missing { hole, synced, .. } => Some((hole.at.log, hole.at.offset, synced)),
        Outcome::Whole | Outcome::Torn(_) => None,
    }
}

/// Five batches, the third of several blocks. Each knows that the one before the last was synced.
fn batches() -> Vec<Vec<u8>> {
    vec![
        batch(1, 2, 100, 0),
        batch(3, 1, 300, 0),
        batch(4, 1, 70_000, 2),
        batch(5, 5, 40, 3),
        batch(10, 1, 500, 4),
    ]
}

/// Where each batch ends.
fn ends(batches: &[Vec<u8>]) -> Vec<usize> {
    (1..=batches.len()).map(|n| log(&batches[..n]).len()).collect()
}

#[test]
fn a_whole_log_has_no_problem() {
    assert_eq!(outcome(&[]), Outcome::Whole);
    assert_eq!(outcome(&[&log(&batches())]), Outcome::Whole);
    let (first, second) = (log(&batches()[..2]), log(&batches()[2..]));
    assert_eq!(outcome(&[&first, &second, &[]]), Outcome::Whole);
    assert_eq!(outcome(&[&second]), Outcome::Whole, "older logs are gone");
    let space = [&log(&batches())[..], &[0; 5000]].concat();
    assert_eq!(missing(&[&space]), None);
}

#[test]
fn the_log_of_a_write_is_the_newest_that_does_not_begin_behind_it() {
    let all = batches();
    // RocksDB's own records may stand first.
    let own = encode(9, None, b"\x01\0\0\0");
    let second = [&own[..], &log(&all[2..])].concat();
    let dir = dir(&[&log(&all[..2]), &second, &[]]);
    let find = |write| log_of(dir.path(), write).unwrap();
    assert_eq!([1, 3, 4, 20].map(find), [Some((4, 1)), Some((4, 1)), Some((5, 4)), Some((5, 4))]);
    fs::remove_file(dir.path().join("000004.log")).unwrap();
    assert_eq!([1, 3, 4].map(find), [None, None, Some((5, 4))]);
}

#[test]
fn a_log_cut_anywhere_misses_nothing() {
    let whole = log(&batches());
    let ends = ends(&batches());
    let cuts = (0..whole.len()).filter(|at| at % 97 == 0 || whole.len() - at < 60 || *at < 130);
    for cut in cuts {
        let is_torn = cut != 0 && !ends.contains(&cut);
        let found = outcome(&[&whole[..cut]]);
        assert_eq!(matches!(found, Outcome::Torn(_)), is_torn, "cut at {cut}: {found:?}");
        assert_eq!(matches!(found, Outcome::Whole), !is_torn, "cut at {cut}: {found:?}");
    }
}

#[test]
fn garbage_behind_the_last_record_is_a_torn_end() {
    let mut bytes = log(&batches());
    let end = bytes.len() as u64;
    bytes.extend((0..5000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()));
    let Outcome::Torn(hole) = outcome(&[&bytes]) else { panic!("torn") };
    assert_eq!(hole.at, Place { log: 0, number: 4, offset: end });
}

#[test]
fn a_flipped_bit_is_damage_up_to_what_was_synced_and_a_hole_behind_it() {
    let whole = log(&batches());
    let ends = ends(&batches());
    // The last batch says that 1 to 4 were synced, which are the first three batches.
    for at in (0..whole.len()).step_by(211).chain(0..120).chain(ends[2]..ends[2] + 60) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        let found = missing(&[&bytes]);
        let which = ends.iter().position(|end| at < *end).unwrap();
        let begin = if which == 0 { 0 } else { ends[which - 1] as u64 };
        let expected = (which < 4).then_some((0, begin, which < 3));
        assert_eq!(found, expected, "flip at {at}, in batch {which}");
    }
}

/// Batches of one log, the first two synced. The last stands on both sides of the first border of
/// two blocks, `behind` bytes of it behind the border, and says that the others are synced.
fn over_a_border(behind: usize) -> Vec<u8> {
    let first = batch(1, 1, 300, 0);
    let before = HEADER + first.len();
    // Two batches fill the block, but for 100 bytes of the last and its header.
    let second = batch(2, 1, BLOCK - before - HEADER - (HEADER + 100) - NOTE_RECORD, 0);
    let last = batch(3, 1, 100 + behind - NOTE_RECORD, 2);
    let bytes = log(&[first, second, last]);
    assert_eq!(bytes.len(), BLOCK + HEADER + behind);
    bytes
}

#[test]
fn a_note_on_both_sides_of_a_border_counts_if_one_side_is_lost() {
    for behind in 1..=NOTE_RECORD + 5 {
        // The first block is lost. The note is the only one that is left, or a part of it.
        let mut lost = over_a_border(behind);
        lost[..BLOCK].fill(0);
        let counts = behind >= 16;
        assert_eq!(missing(&[&lost]), counts.then_some((0, 0, true)), "{behind} bytes behind");
        // A log before it has the write that was there before the block was lost.
        let older = log(&[batch(1, 1, 300, 0)]);
        let mut lost = over_a_border(behind);
        lost[..BLOCK].fill(0xff);
        let expected = counts.then_some((1, 0, true));
        assert_eq!(missing(&[&older, &lost]), expected, "{behind} bytes behind");
        // The batch before is damaged, and a crash has cut the last one at the border.
        let mut lost = over_a_border(behind);
        lost[400] ^= 1;
        lost.truncate(BLOCK);
        let begin = (HEADER + 300 + NOTE_RECORD) as u64;
        let expected = (behind <= 8).then_some((0, begin, true));
        assert_eq!(missing(&[&lost]), expected, "{behind} bytes behind");
    }
}

#[test]
fn logs_that_rocksdb_does_not_need_do_not_count() {
    let all = batches();
    // 4 is left, 5 is gone, and 6 names a write of 5 as synced.
    let dir = dir(&[&log(&all[..1]), b"damaged", &log(&all[3..])]);
    fs::remove_file(dir.path().join("000005.log")).unwrap();
    recover(dir.path(), &TAG, DamagedLog::Refuse).unwrap_err();
    // RocksDB notes that 6 is the first log that it needs.
    fs::write(dir.path().join("CURRENT"), "MANIFEST-000003\n").unwrap();
    fs::write(dir.path().join("MANIFEST-000003"), encode(1, None, &[10, 6])).unwrap();
    recover(dir.path(), &TAG, DamagedLog::Refuse).unwrap();
    let left: Vec<u64> = logs(dir.path()).unwrap().into_iter().map(|(number, _)| number).collect();
    assert_eq!(left, [4, 6], "RocksDB deletes what it does not need");
    // That does not excuse a log that it does need.
    fs::write(dir.path().join("MANIFEST-000003"), encode(1, None, &[10, 4])).unwrap();
    recover(dir.path(), &TAG, DamagedLog::Refuse).unwrap_err();
}

#[test]
fn zeroed_pages_are_holes_like_bad_bytes() {
    let whole = log(&batches());
    let ends = ends(&batches());
    let mut bytes = whole.clone();
    bytes[ends[2]..ends[3]].fill(0);
    assert_eq!(missing(&[&bytes]), Some((0, ends[2] as u64, false)));
    let mut bytes = whole.clone();
    bytes[ends[1]..ends[1] + 8192].fill(0);
    assert_eq!(missing(&[&bytes]), Some((0, ends[1] as u64, true)));
}

#[test]
fn a_batch_that_is_missing_between_two_logs_is_missed() {
    let all = batches();
    for (lost, synced) in [(3, true), (4, false)] {
        // The log ends before `lost`; the next one begins behind it.
        let mut next = all[lost..].to_vec();
        next.push(batch(11, 1, 50, 4));
        let found = missing(&[&log(&all[..lost - 1]), &log(&next)]);
        assert_eq!(found, Some((1, 0, synced)), "batch {lost}");
    }
    // The same where the first of the two has lost all it had.
    assert_eq!(missing(&[&[], &log(&all[3..])]), Some((0, 0, true)));
    // Here the log with the synced write is gone, as one is whose writes are in data files.
    let next = noted(5, 5, 40, SyncedNote { tag: TAG, before: 4, synced: 3, log: 3 });
    assert_eq!(missing(&[&[], &log(&[next])]), Some((0, 0, false)));
}

#[test]
fn a_lost_beginning_is_damage_if_the_log_of_the_synced_write_is_still_there() {
    let noted = |sequence, synced, log| {
        noted(sequence, 1, 300, SyncedNote { tag: TAG, before: sequence - 1, synced, log })
    };
    // Two syncs, of 101 and of 103, in the log; then a write that was not synced.
    let inside = [
        noted(101, 100, 3),
        noted(102, 101, 4),
        noted(103, 101, 4),
        noted(104, 103, 4),
        noted(105, 103, 4),
    ];
    // The same writes, but the last sync came before the log began: its log is gone.
    let before: Vec<Vec<u8>> = (101..106).map(|sequence| noted(sequence, 100, 3)).collect();
    for (batches, expected) in [(&inside[..], true), (&before, false)] {
        let (whole, ends) = (log(batches), ends(batches));
        for lost in 1..5 {
            let mut bytes = whole.clone();
            bytes[..ends[lost - 1]].fill(0);
            assert_eq!(missing(&[&bytes]), Some((0, 0, expected)), "{lost} batches lost");
            // Nothing is left of the log, and the next one names the sync.
            let next = log(&batches[lost..]);
            assert_eq!(missing(&[&[], &next]), Some((0, 0, expected)), "{lost} batches lost");
        }
    }
}

#[test]
fn numbers_that_a_file_took_are_not_missed() {
    // Numbers 11 to 19 went to files that were taken in.
    let note = SyncedNote { tag: TAG, before: 10, synced: 10, log: 4 };
    let next = noted(20, 1, 50, note);
    assert_eq!(outcome(&[&log(&batches()), &log(&[next])]), Outcome::Whole);
}

#[test]
fn a_write_that_failed_leaves_torn_bytes_and_nothing_is_missing() {
    let torn = [&log(&batches())[..], &log(&[batch(11, 1, 800, 4)])[..300]].concat();
    let next = log(&[batch(11, 1, 50, 10), batch(12, 1, 50, 11)]);
    assert_eq!(outcome(&[&torn, &next]), Outcome::Whole);
    // But a later batch that knows of a write in between makes it a hole.
    let next = log(&[batch(12, 1, 50, 10)]);
    let at = log(&batches()).len() as u64;
    assert_eq!(missing(&[&torn, &next]), Some((0, at, false)));
}

#[test]
fn what_an_earlier_process_left_was_recovered() {
    let torn = &log(&batches())[..200];
    let first = noted(4, 1, 50, SyncedNote { tag: TAG, before: 0, synced: 0, log: 0 });
    let recovered = [&4u64.to_le_bytes()[..], &[0; 4]].concat();
    let next = log(&[recovered, first, batch(5, 1, 50, 4)]);
    assert_eq!(outcome(&[torn, &next]), Outcome::Whole);
}

#[test]
fn bytes_of_a_client_that_look_like_a_log_prove_nothing() {
    // A value that holds whole records, with everything but the tag.
    let forged = SyncedNote { tag: [1; 16], before: 10, synced: 10, log: 4 };
    let inner = log(&[noted(11, 1, 300, forged), noted(12, 1, 300, forged)]);
    let mut outer = batch(11, 1, 0, 4);
    let end = outer.len();
    outer.splice(12..end - 43, inner.iter().copied());
    let before = log(&batches());
    let mut torn = [&before[..], &log(&[outer])].concat();
    // The header of the record that holds it did not reach the disk, nor did its end.
    torn[before.len()..before.len() + 10].fill(0);
    torn.truncate(before.len() + 500);
    let Outcome::Torn(hole) = outcome(&[&torn]) else { panic!("torn") };
    assert_eq!(hole.at.offset, before.len() as u64);
}

#[test]
fn what_is_cut_off_is_kept_beside_the_log() {
    let whole = log(&batches());
    let ends = ends(&batches());
    let mut bytes = whole.clone();
    bytes[ends[2]..ends[3]].fill(0);
    let later = log(&[batch(11, 1, 50, 4)]);
    let dir = dir(&[&bytes, &later]);
    let file = |name: &str| fs::read(dir.path().join(name)).unwrap();
    recover(dir.path(), &TAG, DamagedLog::Refuse).unwrap();
    assert_eq!(file("000004.log"), whole[..ends[2]]);
    assert_eq!(file("000005.log"), b"");
    assert_eq!(file("000004.log.cut"), bytes[ends[2]..]);
    assert_eq!(file("000005.log.cut"), later);
    assert_eq!(read(&logs(dir.path()).unwrap(), &TAG).unwrap(), Outcome::Whole);
    assert_eq!(logs(dir.path()).unwrap().len(), 2, "the copy is not a log");
}

/// Three logs, the first with a hole that nobody was promised, and where the hole begins.
fn holed() -> (tempfile::TempDir, [Vec<u8>; 3], usize) {
    let (mut first, ends) = (log(&batches()), ends(&batches()));
    first[ends[2]..ends[3]].fill(0);
    let later = [log(&[batch(11, 1, 50, 4)]), log(&[batch(12, 1, 70, 4)])];
    let dir = dir(&[&first, &later[0], &later[1]]);
    let [second, third] = later;
    (dir, [first, second, third], ends[2])
}

fn hole_of(dir: &Path) -> Place {
    let Outcome::Missing { hole, synced: false, .. } = read(&logs(dir).unwrap(), &TAG).unwrap()
    else {
        panic!("a hole")
    };
    hole.at
}

#[test]
fn a_cut_that_a_crash_interrupts_loses_nothing() {
    let (dir, whole, at) = holed();
    // What an earlier cut has kept goes; no other file does.
    fs::write(dir.path().join("000003.log.cut"), b"old").unwrap();
    let crash: CopyRest = |_, to| {
        io::Write::write_all(to, b"half").unwrap();
        Err(io::Error::other("crash"))
    };
    let from = hole_of(dir.path());
    cut(dir.path(), &logs(dir.path()).unwrap(), from, Keep::IfThereIsRoom, crash).unwrap_err();
    assert_eq!(hole_of(dir.path()), from, "it is still there to be found");
    recover(dir.path(), &TAG, DamagedLog::Refuse).unwrap();
    let file = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert_eq!(file("000004.log"), whole[0][..at]);
    assert_eq!(file("000004.log.cut"), whole[0][at..]);
    for (name, bytes) in [("000005.log", &whole[1]), ("000006.log", &whole[2])] {
        assert_eq!(file(name), b"");
        assert_eq!(file(&format!("{name}.cut")), *bytes, "{name}");
    }
    assert!(!dir.path().join("000003.log.cut").exists());
}

#[test]
fn without_room_for_a_copy_only_what_was_never_synced_is_dropped() {
    let full: CopyRest = |_, to| {
        io::Write::write_all(to, b"half").unwrap();
        Err(ErrorKind::StorageFull.into())
    };
    let (dir, whole, at) = holed();
    let from = hole_of(dir.path());
    let all = logs(dir.path()).unwrap();
    let error = cut(dir.path(), &all, from, Keep::Always, full).unwrap_err();
    assert!(matches!(error, EngineError::NoSpace { .. }), "{error}");
    let file = |name: &str| fs::read(dir.path().join(name)).unwrap();
    assert_eq!(file("000004.log"), whole[0], "it waits for space");
    cut(dir.path(), &all, from, Keep::IfThereIsRoom, full).unwrap();
    assert_eq!(file("000004.log"), whole[0][..at]);
    assert!(!dir.path().join("000004.log.cut").exists(), "half a copy helps nobody");
    assert_eq!(file("000006.log.cut"), whole[2], "a whole log needs no space");
    assert_eq!(read(&logs(dir.path()).unwrap(), &TAG).unwrap(), Outcome::Whole);
}

#[test]
fn damage_is_refused_by_name_unless_it_is_accepted() {
    let mut bytes = log(&batches());
    bytes[20] ^= 1;
    let dir = dir(&[&bytes]);
    let error = recover(dir.path(), &TAG, DamagedLog::Refuse).unwrap_err();
    let EngineError::Corruption { file: Some(file), detail } = error else { panic!("{error}") };
    assert!(file.ends_with("000004.log"), "{}", file.display());
    assert!(detail.contains("at offset 0"), "{detail}");
    assert_eq!(fs::read(&file).unwrap(), bytes, "a refused log is left as it is");
    recover(dir.path(), &TAG, DamagedLog::Accept).unwrap();
    assert_eq!(fs::read(&file).unwrap(), b"");
    recover(dir.path(), &TAG, DamagedLog::Refuse).unwrap();
}
