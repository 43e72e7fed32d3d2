//! Installs that are cut short, on the level of files and records. Whole transfers are tested from
//! outside.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind, UserKey};
use neokv_encoding::raft::{LogId, Membership, Peer, PeerRole};
use neokv_encoding::region::{Applied, Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Durability, Engine, Options};

use super::install::{begin, link_all, recover, replace};
use super::pack::{Package, Packer, Source};
use crate::apply::applier::read_applied;
use crate::error::StoreError;

/// A store with Region 1, applied up to `index`, and one row per data family.
fn store(dir: &std::path::Path, index: u64, row: &[u8]) -> Engine {
    let engine = Engine::open(&dir.join("db"), &Options::default()).unwrap();
    let log_id = Some(LogId { term: 1, index });
    let membership =
        Membership { log_id, configs: vec![BTreeSet::from([1])], nodes: BTreeMap::from([(1, 1)]) };
    let descriptor = Descriptor {
        id: 1,
        slots: SlotRange::ALL,
        epoch: Epoch::default(),
        peers: vec![Peer { id: 1, store: 1, role: PeerRole::Voter }],
        state: RegionState::Normal,
    };
    let user = UserKey::new(0, Bytes::copy_from_slice(row));
    let mut batch = engine.log_batch();
    batch.put(Family::Region, key::region(1, RegionKind::Descriptor), descriptor.encode());
    batch.put(
        Family::Region,
        key::region(1, RegionKind::Applied),
        Applied { log_id, membership, clock: index }.encode(),
    );
    batch.put(Family::Region, key::region(1, RegionKind::Stats), row);
    batch.put(Family::Metadata, user.metadata(), row);
    batch.put(Family::Subkey, user.subkey(1, b"f"), row);
    batch.put(Family::ZsetScore, user.score(1, 2.5, b"m"), b"");
    batch.put(Family::Expire, user.expire(7), b"");
    engine.write_log(batch, Durability::Synced).unwrap();
    engine
}

fn has(engine: &Engine, row: &[u8]) -> [bool; 4] {
    let user = UserKey::new(0, Bytes::copy_from_slice(row));
    let keys = [
        (Family::Metadata, user.metadata()),
        (Family::Subkey, user.subkey(1, b"f")),
        (Family::ZsetScore, user.score(1, 2.5, b"m")),
        (Family::Expire, user.expire(7)),
    ];
    keys.map(|(family, key)| engine.get(family, &key).unwrap().is_some())
}

/// Does some steps of installing a snapshot of index 50 over a store at index 9, and stops; then
/// the store starts again.
fn interrupted(
    steps: fn(&Engine, &Package) -> Result<(), StoreError>,
) -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let source = store(&dir.path().join("source"), 50, b"new");
    let target = store(&dir.path().join("target"), 9, b"old");
    let snapshots = dir.path().join("target/snapshots");
    let package = Packer::new(source, 1, snapshots.clone()).pack().unwrap();
    steps(&target, &package).unwrap();
    package.dir.keep();
    recover(&target, &snapshots).unwrap();
    assert_eq!(fs::read_dir(&snapshots).unwrap().count(), 0);
    (dir, target)
}

#[test]
fn a_transfer_that_was_never_begun_to_install_changes_nothing() {
    let (_dir, engine) = interrupted(|_, _| Ok(()));
    assert_eq!((has(&engine, b"old"), has(&engine, b"new")), ([true; 4], [false; 4]));
    assert_eq!(read_applied(&engine, 1).unwrap().unwrap().clock, 9);
}

#[test]
fn an_install_is_finished_wherever_it_was_cut() {
    let announced = |_: &Engine, package: &Package| begin(package.dir.path(), &package.header);
    let linked = |_: &Engine, package: &Package| {
        begin(package.dir.path(), &package.header)?;
        link_all(package.dir.path(), &package.files).map(drop)
    };
    let replaced = |engine: &Engine, package: &Package| {
        begin(package.dir.path(), &package.header)?;
        replace(engine, package.dir.path(), &package.header, &package.files)
    };
    for steps in [announced, linked, replaced] as [fn(&Engine, &Package) -> _; 3] {
        let (_dir, engine) = interrupted(steps);
        assert_eq!((has(&engine, b"old"), has(&engine, b"new")), ([false; 4], [true; 4]));
        let applied = read_applied(&engine, 1).unwrap().unwrap();
        assert_eq!((applied.clock, applied.log_id.unwrap().index), (50, 50));
        let stats = engine.get(Family::Region, &key::region(1, RegionKind::Stats)).unwrap();
        assert_eq!(stats.as_deref(), Some(&b"new"[..]));
    }
}
