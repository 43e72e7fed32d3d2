//! Power losses while rows are written behind, and while a start finishes what a crash has left
//! half done: at any moment, with any of what was not synced lost ([`crate::disk_trace`]).
//!
//! The store does what a node does, in rounds: an entry of the log, synced; then the rows of all
//! families are written, all of them anew; they are written behind; and the log is purged that far.
//! Whatever is left must open, as the state after one round, and the log must go on from there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use neokv_encoding::family::Family;
use neokv_encoding::key;

use crate::disk_trace::{Disk, Event, Loss, note, record, without_syncs};
use crate::engine::{Durability, Engine};
use crate::marker;
use crate::options::{DamagedLog, Options};
use crate::recovery;

const ROUNDS: u8 = 3;
/// Rows of each family.
const ROWS: u8 = 12;
/// Mebibytes of a large file.
const LARGE: u8 = 8;
/// The child process, and what it is to do.
const CHILD: &str = "engine::write_behind::tests::power_loss::the_process_that_is_recorded";
const WORK: &str = "NEOKV_RECORD_WORK";

fn options() -> Options {
    Options { block_cache_bytes: 8 << 20, low_space_bytes: 0, ..Options::default() }
}

/// Many rows of few bytes are a batch, and some rounds are that. The others are files.
fn is_many(round: u8) -> bool {
    !round.is_multiple_of(3)
}

fn key(number: u8) -> Vec<u8> {
    vec![0, 0, 0, 0, 0, 0, 0, 0, 0, number]
}

/// What a round makes of a row. Each deletes another one.
fn value(round: u8, number: u8) -> Option<Vec<u8>> {
    let length = if is_many(round) { 8 << 10 } else { 100 };
    (number != round && round > 0).then(|| vec![round; length])
}

fn work(engine: &Engine, round: u8, durability: Durability) {
    let dir = engine.dir();
    note(dir, &format!("begin {round}"));
    let mut entry = engine.log_batch();
    entry.put(Family::RaftLog, [round], [round; 50]);
    engine.write_log(entry, durability).unwrap();
    if durability == Durability::Synced {
        note(dir, &format!("logged {round}"));
    }
    let mut batch = engine.batch();
    for family in Family::DATA {
        for number in 0..ROWS {
            match value(round, number) {
                Some(value) => batch.put(family, key(number), value),
                None => batch.delete(family, key(number)),
            }
        }
    }
    batch.put(Family::Region, b"applied", [round]);
    engine.write_behind(vec![batch]).unwrap();
    engine.drain().unwrap();
    note(dir, &format!("drained {round}"));
    let mut purge = engine.log_batch();
    purge.delete(Family::RaftLog, [round]);
    engine.write_log(purge, Durability::Buffered).unwrap();
    // Now and then the logs of RocksDB end, and are removed.
    if round == 1 {
        engine.flush().unwrap();
    }
}

#[test]
#[ignore = "runs in a process of its own, for the tests below"]
fn the_process_that_is_recorded() {
    let Some(dir) = std::env::var_os("NEOKV_RECORD_DIR") else { return };
    let engine = Engine::open(Path::new(&dir), &options()).unwrap();
    match &*std::env::var(WORK).unwrap() {
        "rounds" => (1..=ROUNDS).for_each(|round| work(&engine, round, Durability::Synced)),
        "unsynced" => [2, 4, 5].into_iter().for_each(|round| {
            assert!(is_many(round));
            work(&engine, round, Durability::Buffered);
        }),
        "large" => {
            let mut batch = engine.batch();
            (0..LARGE)
                .for_each(|number| batch.put(Family::Metadata, key(number), vec![7; 1 << 20]));
            engine.write_behind(vec![batch]).unwrap();
        }
        _ => {}
    }
}

/// A disk, and what a process did to it.
struct Trace {
    before: Disk,
    events: Vec<Event>,
}

impl Trace {
    fn of(dir: &Path, work: &str) -> Trace {
        let before = Disk::of(dir);
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", CHILD, "--ignored"]).env(WORK, work);
        let events = record(dir, &mut child);
        // Nothing that the process did is missing.
        let mut disk = before.clone();
        events.iter().for_each(|event| disk.play(event));
        let nothing = disk.lose_power(Loss::Nothing);
        assert!(nothing == Disk::of(dir).lose_power(Loss::Nothing), "the trace is not complete");
        Trace { before, events }
    }

    /// The store before its first round, and all rounds.
    fn of_rounds(work: &str) -> Trace {
        let dir = tempfile::tempdir().unwrap();
        drop(Engine::open(dir.path(), &options()).unwrap());
        Trace::of(dir.path(), work)
    }

    /// Loses power after each event, in several ways. Returns how many images were opened, or how
    /// the first was broken.
    fn survive(&self, mut promise: Promise) -> Result<usize, String> {
        let (mut disk, mut seen) = (self.before.clone(), BTreeSet::new());
        for (at, event) in self.events.iter().enumerate() {
            disk.play(event);
            promise.note(event);
            let is_write =
                |event: &Event| matches!(event, Event::Write { .. } | Event::Step { .. });
            // Many writes in a row say the same.
            if is_write(event) && self.events.get(at + 1).is_some_and(is_write) {
                continue;
            }
            let seed = u64::try_from(at).unwrap();
            let some = Loss::Some { seed };
            let whole = [Loss::Nothing, Loss::Everything, Loss::Names, Loss::Bytes];
            for loss in whole.into_iter().chain([some]) {
                let image = disk.lose_power(loss);
                if seen.insert((image.digest(), promise)) {
                    let found = promise.is_kept(image.restore().path());
                    found.map_err(|error| {
                        format!("{error}\n{promise:?}, {loss:?} after event {at}: {event:.100?}")
                    })?;
                }
            }
        }
        Ok(seen.len())
    }
}

/// What the store must have after a power loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Promise {
    /// The last round that has begun.
    begun: u8,
    /// The last one whose entry is synced.
    logged: u8,
    /// The last one that was written behind.
    drained: u8,
    /// The last one that the disk has behind, for certain.
    durable: u8,
}

impl Promise {
    fn note(&mut self, event: &Event) {
        let Event::Note(words) = event else { return };
        let round = words[1].parse().unwrap();
        match &*words[0] {
            "begin" => self.begun = round,
            "logged" => {
                self.logged = round;
                // It synced what was written before.
                self.durable = self.drained;
            }
            "drained" => {
                self.drained = round;
                if is_many(round) {
                    self.durable = round;
                }
            }
            words => panic!("{words}"),
        }
    }

    fn is_kept(self, dir: &Path) -> Result<(), String> {
        let is_marked = is_marked(dir).map_err(|error| error.to_string())?;
        let engine = Engine::open(dir, &options()).map_err(|error| error.to_string())?;
        let applied = engine.get(Family::Region, b"applied").unwrap();
        let applied = applied.and_then(|record| record.first().copied()).unwrap_or(0);
        let expect = |is: bool, what: &str| {
            if is { Ok(()) } else { Err(format!("{what}: the state is that of {applied}")) }
        };
        expect((self.durable..=self.begun).contains(&applied), "lost or invented")?;
        expect(!is_marked || applied >= self.logged, "what the mark holds together is lost")?;
        for family in Family::DATA {
            for number in 0..ROWS {
                let found = engine.get(family, &key(number)).unwrap();
                let expected = value(applied, number);
                expect(found.as_deref() == expected.as_deref(), &format!("{family:?} {number}"))?;
            }
        }
        for round in applied + 1..=self.logged {
            let entry = engine.get(Family::RaftLog, &[round]).unwrap();
            expect(entry.is_some(), &format!("{round} is neither applied nor in the log"))?;
        }
        let mark = engine.get(Family::Default, key::BEHIND).unwrap();
        let files = fs::read_dir(dir.join("behind")).map_or(0, Iterator::count);
        expect(mark.is_none() && files == 0, "a start leaves a mark, or files")
    }
}

/// Whether the next start finds the mark of a drain.
fn is_marked(dir: &Path) -> crate::Result<bool> {
    recovery::recover(dir, &marker::read(dir)?, DamagedLog::Refuse)?;
    let engine = Engine::open_read_only(dir)?;
    Ok(engine.get(Family::Default, key::BEHIND)?.is_some())
}

#[test]
fn a_power_loss_at_any_moment_leaves_the_state_of_one_round_and_the_log_behind_it() {
    let images = Trace::of_rounds("rounds").survive(Promise::default()).unwrap();
    assert!(images > 150, "{images}");
}

#[test]
fn files_follow_files_and_nothing_else_syncs_what_is_logged() {
    let images = Trace::of_rounds("unsynced").survive(Promise::default()).unwrap();
    assert!(images > 150, "{images}");
}

#[test]
fn a_power_loss_while_a_start_finishes_what_another_one_has_left_changes_nothing() {
    let rounds = Trace::of_rounds("rounds");
    let (mut disk, mut round) = (rounds.before.clone(), Promise::default());
    // RocksDB has taken in one of the files, and the others stand there.
    let is_taken =
        |event: &Event| matches!(event, Event::Remove { name } if name.starts_with("behind/"));
    for event in &rounds.events {
        disk.play(event);
        round.note(event);
        if round.begun == 2 && is_taken(event) {
            break;
        }
    }
    let half = disk.lose_power(Loss::Nothing).restore();
    assert!(is_marked(half.path()).unwrap());
    let promise = Promise { begun: 2, logged: 2, drained: 2, durable: 2 };
    let images = Trace::of(half.path(), "open").survive(promise).unwrap();
    assert!(images > 40, "{images}");
}

#[test]
fn a_large_file_is_on_its_way_to_the_disk_before_it_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    drop(Engine::open(dir.path(), &options()).unwrap());
    let Trace { events, .. } = Trace::of(dir.path(), "large");
    let of_file = |event: &Event| match event {
        Event::Create { inode, name } if name.starts_with("behind/") => Some(*inode),
        _ => None,
    };
    let file = events.iter().find_map(of_file).unwrap();
    let steps = events.iter().take_while(|event| **event != Event::Sync { inode: file });
    let steps = steps.filter(|event| **event == Event::Step { inode: file }).count();
    // RocksDB leaves the last mebibyte for the sync.
    assert!(steps >= usize::from(LARGE) - 2, "{steps}");
}

/// Leaves syncs out of a trace, and expects that a power loss shows it.
fn expect_broken_without(what: &str, mut is_left_out: impl FnMut(u64, &[Event]) -> bool) {
    let rounds = Trace::of_rounds("rounds");
    let mut left_out = 0;
    let events = without_syncs(&rounds.events, |inode, before| {
        let is_left_out = is_left_out(inode, before);
        left_out += usize::from(is_left_out);
        is_left_out
    });
    assert!(left_out > 0, "{what}: nothing is left out");
    let survived = Trace { events, ..rounds }.survive(Promise::default());
    assert!(survived.is_err(), "nobody misses the {left_out} syncs of {what}");
}

/// The name under which a file or directory was made, and when.
fn made(inode: u64, before: &[Event]) -> Option<(usize, &str)> {
    before.iter().enumerate().rev().find_map(|(at, event)| match event {
        Event::Create { inode: of, name } | Event::MakeDir { inode: of, name } if *of == inode => {
            Some((at, &**name))
        }
        _ => None,
    })
}

#[test]
fn each_sync_of_files_that_are_written_behind_is_needed() {
    let is_sst = |name: &str| name.starts_with("behind/");
    expect_broken_without("the files", |inode, before| {
        let Some((at, name)) = made(inode, before) else { return false };
        // RocksDB syncs them once more when it has given them a name of its own.
        let is_linked =
            |event: &Event| matches!(event, Event::Link { inode: of, .. } if *of == inode);
        is_sst(name) && !before[at..].iter().any(is_linked)
    });
    expect_broken_without("their directory", |inode, before| {
        made(inode, before).is_some_and(|(_, name)| name == "behind")
    });
    // What was synced last is the directory of the files. Then comes that of the store, whose inode
    // nobody has made here.
    let is_of_dir = |event: &Event, before: &[Event]| match event {
        Event::Sync { inode } => made(*inode, before).is_some_and(|(_, name)| name == "behind"),
        _ => false,
    };
    let last_sync =
        |before: &[Event]| before.iter().rposition(|event| matches!(event, Event::Sync { .. }));
    expect_broken_without("the directory of the store", |inode, before| {
        let is_next = last_sync(before).is_some_and(|at| is_of_dir(&before[at], &before[..at]));
        is_next && made(inode, before).is_none()
    });
    expect_broken_without("the mark", |inode, before| {
        let is_log = made(inode, before).is_some_and(|(_, name)| name.ends_with(".log"));
        let files = before.iter().rev().take_while(|event| !matches!(event, Event::Note(_)));
        let written =
            files.filter(|event| matches!(event, Event::Create { name, .. } if is_sst(name)));
        is_log && written.count() > 0
    });
}
