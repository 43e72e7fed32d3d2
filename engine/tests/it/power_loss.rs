//! Power losses: pages of the log that were not synced are missing, in any pattern. Whatever was
//! synced is there, what is there is one state of the past, and damage to what was synced is
//! refused.
//!
//! The simulator keeps a real store and notes, after each sync, how long each log file was. A power
//! loss is a copy of the directory in which any page behind that length may be zeros, and any file
//! may end anywhere behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use neokv_encoding::family::Family;
use neokv_engine::{
    DamagedLog, Direction, Durability, Engine, EngineError, KeyRange, Options, recovery,
};

use crate::log_bytes::{Random, encode, lose_pages};
use crate::support::{copy, crash, files, keys, open, options};

/// A store whose records are numbered, and what of it a power loss must leave.
struct Machine {
    engine: Engine,
    dir: tempfile::TempDir,
    written: u32,
    /// Records that were synced.
    synced: u32,
    /// Bytes of each log that were synced, by name.
    durable: BTreeMap<PathBuf, usize>,
}

impl Machine {
    fn start() -> Machine {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        Machine { engine, dir, written: 0, synced: 0, durable: BTreeMap::new() }
    }

    /// Writes the next record, in both families.
    fn write(&mut self, length: usize, durability: Durability) {
        let mut batch = self.engine.log_batch();
        let value = vec![self.written.to_be_bytes()[3] | 1; length];
        batch.put(Family::Metadata, self.written.to_be_bytes(), &value);
        batch.put(Family::Subkey, self.written.to_be_bytes(), &value);
        self.engine.write_log(batch, durability).unwrap();
        self.written += 1;
        if durability == Durability::Synced {
            self.note_sync();
        }
    }

    /// Everything is on the disk now.
    fn note_sync(&mut self) {
        self.synced = self.written;
        self.durable = lengths(self.dir.path());
    }

    /// Switches to a new log and leaves the old one, which another family still needs.
    fn switch_logs(&mut self) {
        self.engine.flush_family(Family::Subkey).unwrap();
        self.engine.wait_for_background_work().unwrap();
        // RocksDB syncs a log that it closes before what was in it reaches a file.
        self.note_sync();
    }

    /// A copy of what the disk holds after a power loss.
    fn lose_power(&self, random: &mut Random) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        crash(&self.engine, dir.path());
        for log in files(dir.path(), "log") {
            let durable = self.durable.get(log.file_name().map(Path::new).unwrap()).copied();
            let mut bytes = std::fs::read(&log).unwrap();
            lose_pages(&mut bytes, durable.unwrap_or(0), random);
            std::fs::write(log, bytes).unwrap();
        }
        dir
    }
}

/// The logs of a directory and their lengths.
fn lengths(dir: &Path) -> BTreeMap<PathBuf, usize> {
    let length = |log: PathBuf| {
        let length = usize::try_from(log.metadata().unwrap().len()).unwrap();
        (PathBuf::from(log.file_name().unwrap()), length)
    };
    files(dir, "log").into_iter().map(length).collect()
}

/// How many records are there: the first ones, the same in both families.
fn records(engine: &Engine) -> u32 {
    let found = keys(engine, Family::Metadata, KeyRange::all(), Direction::Forward);
    assert_eq!(found, keys(engine, Family::Subkey, KeyRange::all(), Direction::Forward));
    let count = u32::try_from(found.len()).unwrap();
    let expected: Vec<Vec<u8>> = (0..count).map(|n| n.to_be_bytes().to_vec()).collect();
    assert_eq!(found, expected, "the first ones and no others");
    count
}

fn accepting() -> Options {
    Options { damaged_log: DamagedLog::Accept, ..options() }
}

/// Runs random work, loses power in several ways, and opens what is left. Returns in how many of
/// them the log had a hole.
fn survive(seed: u64, syncs: bool) -> usize {
    let mut holes = 0;
    let mut random = Random(seed);
    let mut machine = Machine::start();
    for _ in 0..10 + random.below(40) {
        let length = [20, 300, 5000, 40_000][random.below(4)];
        let is_synced = syncs && random.below(8) == 0;
        let durability = if is_synced { Durability::Synced } else { Durability::Buffered };
        machine.write(length, durability);
        if random.below(12) == 0 {
            machine.switch_logs();
        }
    }
    for _ in 0..4 {
        let dir = machine.lose_power(&mut random);
        let engine = open(dir.path());
        let left = records(&engine);
        assert!(
            (machine.synced..=machine.written).contains(&left),
            "seed {seed}: {left} of {} synced and {} written",
            machine.synced,
            machine.written
        );
        drop(engine);
        assert_eq!(records(&open(dir.path())), left, "seed {seed}: the same at the next start");
        holes += usize::from(!files(dir.path(), "cut").is_empty());
    }
    holes
}

#[test]
fn whatever_was_synced_survives_and_no_legal_state_is_refused() {
    let holes: usize = (0..25).map(|seed| survive(seed, true)).sum();
    assert!(holes > 10, "only {holes} holes");
}

#[test]
fn nor_is_one_where_hardly_anything_is_ever_synced() {
    let holes: usize = (100..115).map(|seed| survive(seed, false)).sum();
    assert!(holes > 10, "only {holes} holes");
}

#[test]
fn a_flipped_bit_below_what_was_synced_is_refused_by_name() {
    let mut machine = Machine::start();
    for n in 0..30 {
        machine.write(if n % 7 == 0 { 40_000 } else { 900 }, Durability::Synced);
    }
    let promised = machine.durable.values().max().copied().unwrap();
    // It says that the others were synced.
    machine.write(20, Durability::Buffered);
    let dir = tempfile::tempdir().unwrap();
    crash(&machine.engine, dir.path());
    let logs = files(dir.path(), "log");
    let [log] = &logs[..] else { panic!("{logs:?}") };
    let whole = std::fs::read(log).unwrap();
    for at in (0..promised).step_by(4999).chain([0, 4, 6, 32_767, 32_768, 32_772]) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x40;
        std::fs::write(log, &bytes).unwrap();
        let error = Engine::open(dir.path(), &options()).unwrap_err();
        let EngineError::Corruption { file, detail } = &error else { panic!("byte {at}: {error}") };
        assert_eq!(file.as_deref(), Some(log.as_path()), "byte {at}");
        assert!(detail.contains("at offset"), "{detail}");
        recovery::check(dir.path()).unwrap_err();
        assert_eq!(std::fs::read(log).unwrap(), bytes, "a refused log is left as it is");
        let before = tempfile::tempdir().unwrap();
        copy(dir.path(), before.path());
        let engine = Engine::open(before.path(), &accepting()).unwrap();
        assert!(records(&engine) < machine.synced, "accepted, with what is before it");
    }
    std::fs::write(log, &whole).unwrap();
    recovery::check(dir.path()).unwrap();
    assert_eq!(records(&open(dir.path())), machine.written);
}

#[test]
fn a_log_that_lost_what_was_synced_is_refused() {
    let mut machine = Machine::start();
    machine.write(500, Durability::Synced);
    machine.switch_logs();
    machine.write(500, Durability::Synced);
    machine.write(500, Durability::Buffered);
    let dir = tempfile::tempdir().unwrap();
    crash(&machine.engine, dir.path());
    let logs = files(dir.path(), "log");
    assert_eq!(logs.len(), 2, "{logs:?}");
    std::fs::write(&logs[0], b"").unwrap();
    let error = Engine::open(dir.path(), &options()).unwrap_err();
    assert!(matches!(error, EngineError::Corruption { .. }), "{error}");
}

/// RocksDB deletes logs in any order, and a power loss may undo a part of it.
#[test]
fn a_log_whose_successor_was_deleted_first_is_no_damage() {
    let mut machine = Machine::start();
    // Two logs that only one family still needs, and a third.
    machine.write(500, Durability::Synced);
    machine.switch_logs();
    machine.write(500, Durability::Synced);
    machine.switch_logs();
    let logs = files(machine.dir.path(), "log");
    let oldest = std::fs::read(&logs[0]).unwrap();
    // Everything reaches data files, and all three are deleted.
    machine.write(500, Durability::Synced);
    machine.engine.flush().unwrap();
    for _ in 0..2 {
        machine.write(500, Durability::Synced);
    }
    let dir = tempfile::tempdir().unwrap();
    crash(&machine.engine, dir.path());
    assert_eq!(files(dir.path(), "log").len(), 1, "the older ones are gone");
    std::fs::write(dir.path().join(logs[0].file_name().unwrap()), oldest).unwrap();
    recovery::check(dir.path()).unwrap();
    assert_eq!(records(&open(dir.path())), machine.written);
}

/// Five records in one log, behind records whose logs were deleted: `syncs` of the five are synced.
/// Returns a copy of the directory whose log has lost the first four.
fn lose_the_beginning(machine: &mut Machine, syncs: u32) -> tempfile::TempDir {
    for n in 0..5 {
        machine.write(500, if n < syncs { Durability::Synced } else { Durability::Buffered });
    }
    let dir = tempfile::tempdir().unwrap();
    crash(&machine.engine, dir.path());
    let logs = files(dir.path(), "log");
    let [log] = &logs[..] else { panic!("{logs:?}") };
    let mut bytes = std::fs::read(log).unwrap();
    let lost = bytes.len() / 5 * 4;
    bytes[..lost].fill(0);
    std::fs::write(log, bytes).unwrap();
    dir
}

#[test]
fn a_lost_beginning_of_the_only_log_is_refused_if_something_in_it_was_synced() {
    for syncs in 0..4 {
        let mut machine = Machine::start();
        for _ in 0..3 {
            machine.write(500, Durability::Synced);
        }
        // The three are in data files now, and their log is gone.
        machine.engine.flush().unwrap();
        let dir = lose_the_beginning(&mut machine, syncs);
        if syncs == 0 {
            assert_eq!(records(&open(dir.path())), 3, "nothing of the log was promised");
            continue;
        }
        let error = Engine::open(dir.path(), &options()).unwrap_err();
        assert!(matches!(error, EngineError::Corruption { .. }), "{syncs} synced: {error}");
        let engine = Engine::open(dir.path(), &accepting()).unwrap();
        assert_eq!(records(&engine), 3, "accepted, with what is in data files");
    }
}

/// A client stores what looks like later batches of the log that know of synced writes, as far as a
/// client can know.
#[test]
fn a_value_that_looks_like_the_log_does_not_confuse_recovery() {
    let mut machine = Machine::start();
    for _ in 0..5 {
        machine.write(300, Durability::Synced);
    }
    let note =
        neokv_encoding::synced::SyncedNote { tag: [0; 16], before: 500, synced: 500, log: 1 };
    let batch = [&600u64.to_le_bytes()[..], &[1, 0, 0, 0, 3, 41], &note.encode()].concat();
    let forged = encode(1, None, &batch).repeat(200);
    let mut batch = machine.engine.log_batch();
    batch.put(Family::Metadata, b"\xff forged", &forged);
    machine.engine.write_log(batch, Durability::Buffered).unwrap();
    for lost in [7, 60, 200, 5000] {
        let dir = tempfile::tempdir().unwrap();
        crash(&machine.engine, dir.path());
        let log = dir.path().join(machine.durable.keys().max().unwrap());
        let mut bytes = std::fs::read(&log).unwrap();
        let from = machine.durable.values().max().copied().unwrap();
        bytes[from..from + lost].fill(0);
        std::fs::write(&log, bytes).unwrap();
        assert_eq!(records(&open(dir.path())), 5, "{lost} bytes lost");
    }
}
