//! Installs that are cut short, and transfers that stop: on the level of files and records. Whole
//! transfers are tested from outside.

mod receiving;
mod sending;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::hlc;
use neokv_encoding::key::{self, RegionKind, UserKey};
use neokv_encoding::raft::{LogId, Membership};
use neokv_encoding::region::{Applied, Descriptor, Replica, ReplicaState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Durability, Engine};

use super::dir::{Package, files};
use super::install::{Snapshots, begin, link_all, replace};
use super::receive::{Arrived, Receiver};
use super::recovery::{discard, recover};
use super::source::{Received, RegionSource, Source};
use crate::apply::Applier;
use crate::clock::Clock;
use crate::config::Config;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::ownership::Ownership;
use crate::random::SplitMix64;
use crate::records;
use crate::shape;
use crate::space::SpaceAlarm;
use crate::testing::{self, Nothing};
use crate::transport::TransportError;
use crate::transport::wire::{Reader, Writer};
use crate::types::log_id_in;

/// How often two messages are made to meet, where only some meetings are close ones.
const RACES: usize = 2000;

/// A store with Region 1 over these slots, applied up to `index`.
fn store(dir: &Path, index: u64, slots: SlotRange) -> Engine {
    let engine = testing::engine(dir);
    add_region(&engine, 1, index, slots);
    engine
}

fn add_region(engine: &Engine, region: u64, index: u64, slots: SlotRange) {
    let log_id = Some(LogId { term: 1, index });
    let configs = vec![BTreeSet::from([region])];
    let membership = Membership { log_id, configs, nodes: BTreeMap::from([(region, 1)]) };
    let applied = Applied { log_id, membership, clock: index };
    let mut batch = engine.log_batch();
    shape::write(&mut batch, &testing::descriptor(region, slots), &testing::member(region));
    batch.put(Family::Region, key::region(region, RegionKind::Applied), applied.encode());
    engine.write_log(batch, Durability::Synced).unwrap();
}

/// The keys of one user key's rows, in each data family.
fn rows(name: &[u8]) -> [(Family, Vec<u8>); 5] {
    let user = UserKey::new(0, Bytes::copy_from_slice(name));
    [
        (Family::Metadata, user.metadata()),
        (Family::Subkey, user.subkey(1, b"f")),
        (Family::ZsetScore, user.score(1, 2.5, b"m")),
        (Family::Expire, user.expire(7)),
        (Family::SlotStats, key::slot_stats(user.slot, 0).to_vec()),
    ]
}

fn put_rows(engine: &Engine, name: &[u8]) {
    let mut batch = engine.log_batch();
    for (family, key) in rows(name) {
        batch.put(family, key, name);
    }
    engine.write_log(batch, Durability::Synced).unwrap();
}

/// How many of those rows are there.
fn count_rows(engine: &Engine, name: &[u8]) -> usize {
    let is_there = |(family, key): &(Family, Vec<u8>)| engine.get(*family, key).unwrap().is_some();
    rows(name).iter().filter(|row| is_there(row)).count()
}

fn package(engine: &Engine, dir: &Path) -> Package {
    let machine = Arc::new(Nothing);
    let source = RegionSource { engine: engine.clone(), machine, region: 1 };
    fs::create_dir_all(dir).unwrap();
    Snapshots::<Nothing>::package(&source as &dyn Source, dir).unwrap()
}

/// A store at index 9 with rows of `old`, its directory for snapshots, and a snapshot of index 50
/// with rows of `new` there.
fn prepared(dir: &Path) -> (Engine, PathBuf, Package) {
    let source = store(&dir.join("source"), 50, SlotRange::ALL);
    put_rows(&source, b"new");
    let target = store(&dir.join("target"), 9, SlotRange::ALL);
    put_rows(&target, b"old");
    let passing = dir.join("target/snapshots");
    let package = package(&source, &passing);
    (target, passing, package)
}

type Steps = fn(&Engine, &Package) -> Result<(), StoreError>;

fn replace_all(engine: &Engine, package: &Package) -> Result<(), StoreError> {
    let mut finish = engine.log_batch();
    shape::write(&mut finish, &package.manifest.descriptor, &testing::member(1));
    replace(engine, &Nothing, package.dir.path(), &package.manifest, finish).map(drop)
}

/// Does some steps of installing a snapshot of index 50 over a store at index 9, and stops; then
/// the store starts again.
fn interrupted(steps: Steps) -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let (target, snapshots, package) = prepared(dir.path());
    steps(&target, &package).unwrap();
    package.dir.keep();
    assert!(recover(&target, &Nothing, &snapshots).unwrap().is_empty());
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 0);
    (dir, target)
}

#[test]
fn a_transfer_that_was_never_begun_to_install_changes_nothing() {
    let (_dir, engine) = interrupted(|_, _| Ok(()));
    assert_eq!((count_rows(&engine, b"old"), count_rows(&engine, b"new")), (5, 0));
    assert_eq!(records::applied(&engine, 1).unwrap().unwrap().clock, 9);
}

#[test]
fn an_install_is_finished_wherever_it_was_cut() {
    let announced: Steps = |_, package| begin(package.dir.path(), &package.manifest);
    let linked: Steps = |_, package| {
        let dir = package.dir.path();
        begin(dir, &package.manifest)?;
        link_all(dir, &files(dir, &package.manifest)).map(drop)
    };
    let replaced: Steps = |engine, package| {
        begin(package.dir.path(), &package.manifest)?;
        replace_all(engine, package)
    };
    for steps in [announced, linked, replaced] {
        let (_dir, engine) = interrupted(steps);
        assert_eq!((count_rows(&engine, b"old"), count_rows(&engine, b"new")), (0, 5));
        let applied = records::applied(&engine, 1).unwrap().unwrap();
        assert_eq!((applied.clock, applied.log_id.unwrap().index), (50, 50));
    }
}

#[test]
fn a_torn_install_file_does_not_keep_a_store_from_starting() {
    // A crash while the file is written leaves the unfinished one, and no INSTALL.
    let (_dir, engine) = interrupted(|_, package| {
        begin(package.dir.path(), &package.manifest)?;
        let install = package.dir.path().join("INSTALL");
        let torn = package.dir.path().join("INSTALL.unfinished");
        let content = fs::read(&install).unwrap();
        fs::remove_file(&install).unwrap();
        fs::write(torn, &content[..content.len() / 2]).unwrap();
        Ok(())
    });
    assert_eq!((count_rows(&engine, b"old"), count_rows(&engine, b"new")), (5, 0));
}

/// Begins an install of index 50 over a store at index 9, in the engine too or not, changes the
/// store, and starts it again.
fn abandoned(
    in_engine: bool,
    change: impl FnOnce(&Engine),
) -> (tempfile::TempDir, Engine, BTreeMap<u64, StoreError>) {
    let dir = tempfile::tempdir().unwrap();
    let (target, snapshots, package) = prepared(dir.path());
    begin(package.dir.path(), &package.manifest).unwrap();
    if in_engine {
        // What the first step in the engine leaves when the second one fails: the file arrived as
        // it was sent, and is no table.
        let (path, bytes) = (dir.path().join("no.sst"), b"no table");
        fs::write(&path, bytes).unwrap();
        let no_table = vec![neokv_engine::transfer::RangeFile {
            path,
            bytes: 8,
            checksum: crc32c::crc32c(bytes),
            ..files(package.dir.path(), &package.manifest)[0].clone()
        }];
        let batch = || target.log_batch();
        target
            .ingest(1, &Nothing.ranges(&package.manifest.descriptor), &no_table, batch(), batch())
            .unwrap_err();
    }
    package.dir.keep();
    change(&target);
    put_rows(&target, b"newer");
    let broken = recover(&target, &Nothing, &snapshots).unwrap();
    (dir, target, broken)
}

fn write_replica(engine: &Engine, replica: Replica) {
    let mut batch = engine.log_batch();
    shape::write_replica(&mut batch, 1, &replica);
    engine.write_log(batch, Durability::Synced).unwrap();
}

#[test]
fn an_install_that_was_abandoned_does_not_come_back() {
    let removed = |engine: &Engine| {
        write_replica(engine, Replica { state: ReplicaState::Tombstone, ..testing::member(1) });
    };
    let later_peer = |engine: &Engine| write_replica(engine, testing::member(7));
    let ahead = |engine: &Engine| add_region(engine, 1, 60, SlotRange::ALL);
    let overlapped = |engine: &Engine| {
        add_region(engine, 1, 9, SlotRange::new(0, 8192).unwrap());
        add_region(engine, 2, 9, SlotRange::new(8192, 16384).unwrap());
    };
    let changes: [fn(&Engine); 4] = [removed, later_peer, ahead, overlapped];
    for change in changes {
        let (dir, engine, broken) = abandoned(false, change);
        assert!(broken.is_empty());
        assert_eq!((count_rows(&engine, b"newer"), count_rows(&engine, b"new")), (5, 0));
        let left = fs::read_dir(dir.path().join("target/snapshots")).unwrap().count();
        assert_eq!(left, 0, "the directory goes");
    }
    // It is done where nothing stands in its way.
    let (_dir, engine, broken) = abandoned(false, |_| {});
    assert!(broken.is_empty());
    assert_eq!((count_rows(&engine, b"newer"), count_rows(&engine, b"new")), (0, 5));
}

#[test]
fn an_install_whose_files_were_damaged_by_the_crash_is_not_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let (target, snapshots, package) = prepared(dir.path());
    begin(package.dir.path(), &package.manifest).unwrap();
    let last = files(package.dir.path(), &package.manifest).pop().unwrap();
    let mut bytes = fs::read(&last.path).unwrap();
    bytes[7] ^= 1;
    fs::write(&last.path, &bytes).unwrap();
    package.dir.keep();
    assert!(recover(&target, &Nothing, &snapshots).unwrap().is_empty(), "the old data is whole");
    assert_eq!((count_rows(&target, b"old"), count_rows(&target, b"new")), (5, 0));
    assert!(target.unfinished_ingests().unwrap().is_empty());
}

#[test]
fn a_replica_whose_data_is_gone_for_good_does_not_start_and_keeps_no_other_from_starting() {
    let overlapped = |engine: &Engine| {
        add_region(engine, 2, 9, SlotRange::new(8192, 16384).unwrap());
    };
    let (_dir, engine, broken) = abandoned(true, overlapped);
    assert_eq!(broken.keys().collect::<Vec<_>>(), [&1]);
    assert_eq!(count_rows(&engine, b"newer"), 5);
    // Its removal ends the matter.
    let removed = |engine: &Engine| {
        write_replica(engine, Replica { state: ReplicaState::Tombstone, ..testing::member(1) });
    };
    let (dir, engine, broken) = abandoned(true, removed);
    assert!(broken.is_empty() && engine.unfinished_ingests().unwrap().is_empty());
    assert!(recover(&engine, &Nothing, &dir.path().join("target/snapshots")).unwrap().is_empty());
}

#[test]
fn the_removal_of_a_replica_discards_its_installs_and_no_others() {
    let (dir, engine) = interrupted(|_, _| Ok(()));
    let snapshots = dir.path().join("target/snapshots");
    let package = package(&engine, &snapshots);
    begin(package.dir.path(), &package.manifest).unwrap();
    package.dir.keep();
    let foreign = snapshots.join("notes");
    fs::create_dir(&foreign).unwrap();
    discard(&engine, &snapshots, 2).unwrap();
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 2);
    discard(&engine, &snapshots, 1).unwrap();
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 1);
    recover(&engine, &Nothing, &snapshots).unwrap();
    assert!(foreign.exists(), "a directory that is no transfer's is left alone");
}

/// Installs a package that has arrived.
fn install(
    engine: &Engine,
    passing: PathBuf,
    package: Package,
    applier: &Applier<Nothing>,
) -> Result<(), StoreError> {
    let (machine, ownership) = (Arc::new(Nothing), Ownership::default());
    let snapshots = Snapshots::new(engine.clone(), machine, 1, passing, ownership);
    let claim = snapshots.claim(&package.manifest.descriptor).unwrap();
    let announced = package.manifest.applied.log_id.map(log_id_in);
    snapshots.install(Received { package, claim }, announced, applier)
}

/// Installs a snapshot of index 50 over a store at index 9 whose disk is full when the INSTALL file
/// is written. `while_full` is called when that is noticed, and has the file to free for room.
fn install_on_a_full_disk(
    while_full: impl Fn(&Applier<Nothing>, &Path) + Send + Sync + 'static,
) -> (tempfile::TempDir, Engine, Result<(), StoreError>) {
    let dir = tempfile::tempdir().unwrap();
    let (target, passing, package) = prepared(dir.path());
    let transfer = package.dir.path().to_owned();
    let full = transfer.join("INSTALL.unfinished");
    std::os::unix::fs::symlink("/dev/full", &full).unwrap();
    let waiting: Arc<OnceLock<Arc<Applier<Nothing>>>> = Arc::default();
    let space = SpaceAlarm::new({
        let waiting = Arc::clone(&waiting);
        move |is_full| {
            assert!(!is_full || !transfer.join("INSTALL").exists(), "torn");
            if is_full {
                while_full(waiting.get().unwrap(), &full);
            }
        }
    });
    let applier = testing::applier_with(&target, 1, space);
    assert!(waiting.set(Arc::clone(&applier)).is_ok());
    let installed = install(&target, passing, package, &applier);
    (dir, target, installed)
}

#[test]
fn the_clock_of_a_snapshot_moves_its_region_and_the_store_by_a_step_at_most() {
    let dir = tempfile::tempdir().unwrap();
    let (target, passing, mut package) = prepared(dir.path());
    // Its leader's clock is a year ahead.
    let clock = Clock::default();
    let stamp_ms = clock.now_ms() + 365 * 86_400_000;
    package.manifest.applied.clock = hlc::from_ms(stamp_ms);
    let applier = testing::applier_by(&target, 1, SpaceAlarm::new(|_| {}), clock.clone());
    install(&target, passing, package, &applier).unwrap();
    let region = &applier.parts().clock;
    assert!(region.now_ms() >= stamp_ms, "what has expired does not come alive");
    // A step is a second: a day leaves the test its time.
    assert!(clock.now_ms() < stamp_ms - 364 * 86_400_000, "others are not dragged along");
    assert!(region.ahead_ms() > 364 * 86_400_000);
}

#[test]
fn an_install_waits_for_space_and_leaves_no_torn_file() {
    let freed = Arc::new(AtomicUsize::new(0));
    let (dir, engine, installed) = install_on_a_full_disk({
        let freed = Arc::clone(&freed);
        move |_, full| {
            fs::remove_file(full).unwrap();
            freed.fetch_add(1, Ordering::SeqCst);
        }
    });
    installed.unwrap();
    assert_eq!(freed.load(Ordering::SeqCst), 1, "it waited once");
    assert_eq!((count_rows(&engine, b"old"), count_rows(&engine, b"new")), (0, 5));
    assert_eq!(records::applied(&engine, 1).unwrap().unwrap().clock, 50);
    let left = fs::read_dir(dir.path().join("target/snapshots")).unwrap().count();
    assert_eq!(left, 0, "the directory goes");
}

#[test]
fn an_install_that_is_given_up_on_a_full_disk_changes_nothing() {
    let (dir, engine, installed) =
        install_on_a_full_disk(|applier, _| applier.parts().published.stop("the store ends"));
    let error = installed.unwrap_err();
    assert!(error.to_string().contains("the store ends"), "{error}");
    // The next start finds nothing that was begun, and the next snapshot is taken in.
    let passing = dir.path().join("target/snapshots");
    assert!(recover(&engine, &Nothing, &passing).unwrap().is_empty());
    assert_eq!(fs::read_dir(&passing).unwrap().count(), 0);
    assert_eq!((count_rows(&engine, b"old"), count_rows(&engine, b"new")), (5, 0));
    assert_eq!(records::applied(&engine, 1).unwrap().unwrap().clock, 9);
    let source = testing::engine(&dir.path().join("source"));
    let again = package(&source, &passing);
    begin(again.dir.path(), &again.manifest).unwrap();
    replace_all(&engine, &again).unwrap();
    assert_eq!((count_rows(&engine, b"old"), count_rows(&engine, b"new")), (0, 5));
}

#[test]
fn a_claimed_shape_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let engine = store(dir.path(), 9, SlotRange::new(0, 8192).unwrap());
    let ownership = Ownership::default();
    let snapshots = |region| {
        let passing = dir.path().join("snapshots");
        Snapshots::new(engine.clone(), Arc::new(Nothing), region, passing, ownership.clone())
    };
    let shape =
        |region, start, end| testing::descriptor(region, SlotRange::new(start, end).unwrap());
    let claim = snapshots(2).claim(&shape(2, 8192, 10_000)).unwrap();
    assert!(snapshots(2).fits(&shape(2, 8192, 10_000)).is_ok(), "its own");
    assert!(snapshots(3).fits(&shape(3, 9999, 16384)).is_err());
    assert!(snapshots(3).fits(&shape(3, 10_000, 16384)).is_ok());
    drop(claim);
    assert!(snapshots(3).fits(&shape(3, 9999, 16384)).is_ok());
}

#[test]
fn an_install_leaves_what_other_regions_own() {
    // This replica of Region 1 slept through its split: its own record still says all slots. The
    // child, Region 2, came by another way and owns the upper half here.
    let dir = tempfile::tempdir().unwrap();
    let (low, high) = (SlotRange::new(0, 8192).unwrap(), SlotRange::new(8192, 16384).unwrap());
    let slot = |name: &[u8]| UserKey::new(0, Bytes::copy_from_slice(name)).slot;
    let (in_low, in_high): (&[u8], &[u8]) = (b"bar", b"foo");
    assert!(low.contains(slot(in_low)) && high.contains(slot(in_high)));
    let source = store(&dir.path().join("source"), 50, low);
    let target = store(&dir.path().join("target"), 9, SlotRange::ALL);
    add_region(&target, 2, 9, high);
    put_rows(&target, in_low);
    put_rows(&target, in_high);
    let package = package(&source, &dir.path().join("target/snapshots"));
    replace_all(&target, &package).unwrap();
    assert_eq!(count_rows(&target, in_low), 0, "replaced by nothing");
    assert_eq!(count_rows(&target, in_high), 5, "the child's");
    let descriptor = records::descriptor(&target, 1).unwrap().unwrap();
    assert_eq!(descriptor.slots, low);
}

#[test]
fn a_shape_that_overlaps_another_region_does_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let low = SlotRange::new(0, 8192).unwrap();
    let engine = store(dir.path(), 9, low);
    let (machine, passing) = (Arc::new(Nothing), dir.path().join("snapshots"));
    let snapshots = Snapshots::new(engine, machine, 2, passing, Ownership::default());
    let fits = |start, end| {
        snapshots.fits(&testing::descriptor(2, SlotRange::new(start, end).unwrap())).is_ok()
    };
    assert!(fits(8192, 16384));
    assert!(!fits(8191, 16384), "this store has not applied the split yet");
}
