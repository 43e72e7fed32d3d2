//! How the entries of several Regions share a write, and entries that may create a replica, which
//! hold the lock that keeps others from creating it meanwhile.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::proto::AdminCommand;
use neokv_encoding::region::{Applied, Descriptor, Epoch};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Engine, KeyRange, Read};
use openraft::EntryPayload;
use parking_lot::Mutex;

use super::applier::{Applier, ApplierParts};
use super::chunk::{Chunk, ChunkEnd};
use super::operations::{AdminOutcome, Change, OperationContext, Operations};
use super::pool::{ApplyPool, Job, NotWritten, Part, Writer};
use crate::clock::Clock;
use crate::machine::{ApplyContext, ApplyError, Outcome, StateMachine};
use crate::operation::Dispatch;
use crate::published::{Published, StartPoint};
use crate::region_clock::RegionClock;
use crate::shape::Shape;
use crate::space::SpaceAlarm;
use crate::testing::{self, NoRoutes};
use crate::types::{Data, Entry, log_id};

/// Adds one to a row of the Region for each entry, but for two kinds of them.
struct Adds;

const BAD: &[u8] = b"bad";
const PANIC: &[u8] = b"panic";

/// The row of a Region.
fn row(region: u64) -> Vec<u8> {
    vec![0, u8::try_from(region).unwrap(), b'n']
}

impl StateMachine for Adds {
    testing::no_commands!();

    fn apply(
        &self,
        cx: &mut ApplyContext<'_>,
        payload: &Bytes,
    ) -> Result<Vec<Outcome<()>>, ApplyError> {
        assert!(*payload != PANIC, "told to");
        if *payload == BAD {
            return Err(ApplyError::Undecodable("told to".into()));
        }
        let row = row(cx.descriptor.id);
        let before = cx.batch.get(Family::Subkey, &row)?.map_or(0, |value| value[0]);
        cx.batch.put(Family::Subkey, row, [before + 1]);
        Ok(Vec::new())
    }

    fn ranges(&self, _: &Descriptor) -> Vec<(Family, KeyRange)> {
        Vec::new()
    }
}

fn applier(
    engine: &Engine,
    region: u64,
    operations: Arc<dyn Operations>,
    creation: &Arc<Mutex<()>>,
) -> Arc<Applier<Adds>> {
    let start = StartPoint { term: 0, index: 0, clock: 0, sole: true };
    let descriptor = testing::descriptor(region, SlotRange::ALL);
    let parts = ApplierParts {
        region,
        peer: 1,
        store: 1,
        engine: engine.clone(),
        machine: Arc::new(Adds),
        published: Arc::new(Published::new(start, |_| {})),
        shape: Arc::new(Shape::new(descriptor, testing::member(1), Arc::new(NoRoutes))),
        clock: RegionClock::new(Clock::default(), 0),
        space: SpaceAlarm::new(|_| {}),
        operations,
        creation: Arc::clone(creation),
        apply_bytes: 1 << 20,
    };
    Arc::new(Applier::new(parts, Applied::default()))
}

fn appliers(engine: &Engine, regions: std::ops::RangeInclusive<u64>) -> Vec<Arc<Applier<Adds>>> {
    let operations = || Dispatch::<Adds>::of(Weak::new());
    regions.map(|region| applier(engine, region, operations(), &Arc::default())).collect()
}

fn entry(index: u64, data: Data) -> Entry {
    Entry { log_id: log_id(1, index), payload: EntryPayload::Normal(data) }
}

/// Entries with these payloads, from index 1.
fn entries(payloads: &[&'static [u8]]) -> Vec<Entry> {
    let command = |payload: &&'static [u8]| Data::Command {
        epoch: Epoch::default(),
        command: Bytes::from_static(payload),
    };
    (1..).zip(payloads).map(|(index, payload)| entry(index, command(payload))).collect()
}

fn chunk(applier: &Arc<Applier<Adds>>, entries: Vec<Entry>) -> (Chunk<Adds>, ChunkEnd) {
    let responders = entries.iter().map(|_| None).collect();
    Chunk::new(Arc::clone(applier), entries, responders)
}

/// Applies entries alone.
fn apply(applier: &Arc<Applier<Adds>>, entries: Vec<Entry>) -> Result<(), io::Error> {
    let (chunk, mut end) = chunk(applier, entries);
    let pool = ApplyPool::inline(&applier.parts().engine, 1 << 20);
    pool.lane(1).send(Box::new(chunk)).unwrap();
    end.try_recv().unwrap()
}

fn value(engine: &Engine, region: u64) -> u8 {
    engine.get(Family::Subkey, &row(region)).unwrap().map_or(0, |value| value[0])
}

fn applied(applier: &Applier<Adds>) -> u64 {
    applier.applied().log_id.map_or(0, |id| id.index)
}

/// Passes a job on, and looks what was written when its part is prepared and when it is written.
struct Watched(Chunk<Adds>, Arc<Mutex<Vec<(u8, u8)>>>);

impl Watched {
    fn look(&self, engine: &Engine) {
        self.1.lock().push((value(engine, 1), value(engine, 2)));
    }
}

impl Job for Watched {
    fn stage<'e>(&mut self, engine: &'e Engine) -> Option<Part<'e>> {
        self.look(engine);
        self.0.stage(engine)
    }

    fn written(&mut self, engine: &Engine, outcome: &Result<(), NotWritten>) {
        self.look(engine);
        self.0.written(engine, outcome);
    }

    fn answer(&mut self) {
        self.0.answer();
    }

    fn is_over(&self) -> bool {
        self.0.is_over()
    }
}

#[test]
fn what_waits_for_a_thread_is_one_write() {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let appliers = appliers(&engine, 1..=2);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut jobs: VecDeque<Box<dyn Job>> = VecDeque::new();
    for (applier, count) in appliers.iter().zip([3, 2]) {
        let (chunk, _) = chunk(applier, entries(&[&b"one"[..]; 3][..count]));
        jobs.push_back(Box::new(Watched(chunk, Arc::clone(&seen))));
    }
    Writer::new(&engine, 1 << 20).write(&mut jobs);
    assert!(jobs.is_empty());
    let (before, after) = ((0, 0), (3, 2));
    assert_eq!(*seen.lock(), [before, before, after, after], "both at once");
    assert_eq!(appliers.iter().map(|one| applied(one)).collect::<Vec<_>>(), [3, 2]);
}

#[test]
fn a_write_that_is_large_enough_leaves_the_others_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let mut jobs: VecDeque<Box<dyn Job>> = VecDeque::new();
    for applier in appliers(&engine, 1..=3) {
        jobs.push_back(Box::new(chunk(&applier, entries(&[b"one"])).0));
    }
    let writer = Writer::new(&engine, 1);
    for left in [2, 1, 0] {
        writer.write(&mut jobs);
        assert_eq!(jobs.len(), left);
    }
    assert_eq!([1, 2, 3].map(|region| value(&engine, region)), [1; 3]);
}

#[test]
fn a_region_that_fails_takes_no_other_one_along() {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let appliers = appliers(&engine, 1..=3);
    let mut jobs: VecDeque<Box<dyn Job>> = VecDeque::new();
    let mut ends = Vec::new();
    for (applier, last) in appliers.iter().zip([b"one", BAD, PANIC]) {
        let (chunk, end) = chunk(applier, entries(&[b"one", last]));
        jobs.push_back(Box::new(chunk));
        ends.push(end);
    }
    let writer = Writer::new(&engine, 1 << 20);
    while !jobs.is_empty() {
        writer.write(&mut jobs);
    }
    let mut ends = ends.into_iter().map(|mut end| end.try_recv().unwrap());
    ends.next().unwrap().unwrap();
    for failed in ends {
        let failed = failed.unwrap_err().to_string();
        assert!(failed.contains("told to"), "{failed}");
    }
    let stopped = |applier: &Arc<Applier<Adds>>| applier.parts().published.stopped().is_some();
    assert_eq!(appliers.iter().map(stopped).collect::<Vec<_>>(), [false, true, true]);
    // What stood before the entry that cannot be applied is applied; an entry that panics takes
    // those that were prepared with it along.
    assert_eq!(appliers.iter().map(|one| applied(one)).collect::<Vec<_>>(), [2, 1, 0]);
    assert_eq!([1, 2, 3].map(|region| value(&engine, region)), [2, 1, 0]);
}

#[test]
fn what_was_not_written_for_want_of_space_is_applied_once_when_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let applier = appliers(&engine, 1..=1).remove(0);
    let (mut chunk, mut end) = chunk(&applier, entries(&[b"one", b"one"]));
    drop(chunk.stage(&engine).unwrap());
    chunk.written(&engine, &Err(NotWritten::Full));
    chunk.answer();
    end.try_recv().unwrap().unwrap();
    assert_eq!((applied(&applier), value(&engine, 1)), (2, 2));
}

#[test]
fn a_write_that_fails_stops_its_regions() {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let applier = appliers(&engine, 1..=1).remove(0);
    let (mut chunk, mut end) = chunk(&applier, entries(&[b"one"]));
    drop(chunk.stage(&engine).unwrap());
    chunk.written(&engine, &Err(NotWritten::Failed("told to".into())));
    assert!(end.try_recv().unwrap().unwrap_err().to_string().contains("told to"));
    assert!(applier.parts().published.stopped().is_some());
    assert_eq!((applied(&applier), value(&engine, 1)), (0, 0));
}

/// Writes a row for an entry of epoch version 1, fails for any other, and notes whether the lock
/// was held.
struct Creates {
    creation: Arc<Mutex<()>>,
    was_held: Mutex<Vec<bool>>,
}

impl Operations for Creates {
    fn apply(
        &self,
        cx: &mut OperationContext<'_, '_>,
        change: &Change,
    ) -> Result<AdminOutcome, ApplyError> {
        self.was_held.lock().push(self.creation.is_locked());
        match change {
            Change::Admin { epoch, .. } if epoch.version == 1 => {
                cx.batch.put(Family::Subkey, row(1), [9]);
                Ok(Ok(()))
            }
            _ => Err(ApplyError::Undecodable("told to".into())),
        }
    }

    fn applied(&self, _: &Arc<Descriptor>, _: &Change) {
        self.was_held.lock().push(self.creation.is_locked());
    }

    fn removed(&self, _: u64) {}

    fn unlisted(&self, _: u64, _: u64, _: u64) {}
}

fn admin(index: u64, version: u64) -> Entry {
    let epoch = Epoch { version, conf_ver: 1 };
    entry(index, Data::Admin { epoch, command: Box::new(AdminCommand { kind: None }) })
}

#[test]
fn creation_is_locked_until_the_entry_is_written_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let creation = Arc::new(Mutex::new(()));
    let was_held = Mutex::new(Vec::new());
    let operations = Arc::new(Creates { creation: Arc::clone(&creation), was_held });
    let applier = applier(&engine, 1, Arc::clone(&operations) as _, &creation);
    apply(&applier, vec![admin(6, 1)]).unwrap();
    assert_eq!(*operations.was_held.lock(), [true, false], "until it is written");
    assert_eq!(value(&engine, 1), 9);
    // An entry that fails does not take those before it along.
    let failed = apply(&applier, vec![admin(7, 1), admin(8, 2)]);
    assert!(failed.unwrap_err().to_string().contains("told to"));
    assert_eq!(applied(&applier), 7);
    assert!(!creation.is_locked());
}

#[test]
fn a_change_of_the_region_has_its_place_among_the_other_entries() {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let creation = Arc::new(Mutex::new(()));
    let operations = Creates { creation: Arc::clone(&creation), was_held: Mutex::default() };
    let applier = applier(&engine, 1, Arc::new(operations), &creation);
    let mut all = entries(&[b"one", b"one"]);
    all.push(admin(3, 1));
    all.push(entry(4, Data::Command { epoch: Epoch::default(), command: Bytes::new() }));
    apply(&applier, all).unwrap();
    assert_eq!((applied(&applier), value(&engine, 1)), (4, 10), "two, then nine, then one more");
}
