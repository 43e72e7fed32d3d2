//! Rows that no Region owns, at a start: those of an interrupted removal are cleared, any others
//! refuse the start and stay.

use std::path::Path;
use std::sync::Arc;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind, slot_bounds};
use neokv_encoding::region::{Descriptor, Replica, ReplicaState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Durability, Engine};

use crate::config::Config;
use crate::error::{Action, StoreError};
use crate::records;
use crate::shape;
use crate::snapshot::INSTALL;
use crate::store::Store;
use crate::testing::{self, Nothing};
use crate::transport::NoPeers;

fn low() -> SlotRange {
    SlotRange::new(0, 8192).unwrap()
}

fn high() -> SlotRange {
    SlotRange::new(8192, 16_384).unwrap()
}

/// Puts a row into the first slot of these.
fn put_row(engine: &Engine, slots: SlotRange) {
    let mut batch = engine.log_batch();
    batch.put(Family::Subkey, slot_bounds(slots).0, b"a row");
    engine.write_log(batch, Durability::Synced).unwrap();
}

fn has_row(engine: &Engine, slots: SlotRange) -> bool {
    engine.get(Family::Subkey, &slot_bounds(slots).0).unwrap().is_some()
}

/// Records the replica of a Region as removed, its removal as not finished.
fn put_unfinished_removal(engine: &Engine, shape: &Descriptor) {
    let mut batch = engine.log_batch();
    let removed = Replica { state: ReplicaState::Tombstone, ..testing::member(shape.id) };
    shape::write(&mut batch, shape, &removed);
    engine.write_log(batch, Durability::Synced).unwrap();
}

async fn open(dir: &Path, engine: &Engine) -> Result<Store<Nothing>, StoreError> {
    let config = Config::new(1, dir.join("snapshots"));
    Store::open(engine.clone(), Arc::new(Nothing), config, Arc::new(NoPeers)).await
}

/// A store with Region 1 over the lower half, that has ended.
async fn with_region_1() -> (tempfile::TempDir, Engine) {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let store = open(dir.path(), &engine).await.unwrap();
    store.bootstrap(testing::descriptor(1, low())).await.unwrap();
    store.shutdown().await;
    put_row(&engine, low());
    (dir, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_lost_region_refuse_the_start_and_stay() {
    let (dir, engine) = with_region_1().await;
    put_row(&engine, high());
    // Files of an install that a start would discard stay as well.
    let transfer = dir.path().join("snapshots/in-9-0");
    std::fs::create_dir_all(&transfer).unwrap();
    std::fs::write(transfer.join(INSTALL), b"whatever it says").unwrap();
    let refused = open(dir.path(), &engine).await.unwrap_err();
    let StoreError::UnknownRows { found } = &refused else { panic!("{refused}") };
    assert_eq!(*found, [(Family::Subkey, slot_bounds(high()).0)]);
    assert_eq!(refused.action(), Action::Stop);
    let text = refused.to_string();
    assert!(text.contains("family subkey from key 2000") && text.contains("backup"), "{text}");
    assert!(has_row(&engine, low()) && has_row(&engine, high()) && transfer.exists());
    // The records come back: so does the Region.
    let mut batch = engine.log_batch();
    shape::write(&mut batch, &testing::descriptor(2, high()), &testing::member(2));
    engine.write_log(batch, Durability::Synced).unwrap();
    let store = open(dir.path(), &engine).await.unwrap();
    assert!(store.region(2).is_some() && has_row(&engine, high()));
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_finishes_a_removal_and_clears_what_it_names() {
    let (dir, engine) = with_region_1().await;
    put_row(&engine, high());
    put_unfinished_removal(&engine, &testing::descriptor(2, SlotRange::ALL));
    let store = open(dir.path(), &engine).await.unwrap();
    assert!(has_row(&engine, low()) && !has_row(&engine, high()));
    assert!(!records::has_remains(&engine, 2).unwrap());
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_explains_its_own_rows_only() {
    let (dir, engine) = with_region_1().await;
    let middle = SlotRange::new(8192, 9000).unwrap();
    let rest = SlotRange::new(9000, 16_384).unwrap();
    put_row(&engine, middle);
    put_row(&engine, rest);
    put_unfinished_removal(&engine, &testing::descriptor(2, middle));
    let refused = open(dir.path(), &engine).await.unwrap_err();
    assert!(matches!(refused, StoreError::UnknownRows { .. }), "{refused}");
    assert!(has_row(&engine, middle) && has_row(&engine, rest), "nothing was changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_long_as_an_install_cannot_be_finished_no_rows_are_cleared() {
    let (dir, engine) = with_region_1().await;
    let mut batch = engine.log_batch();
    let joining = Replica { state: ReplicaState::Joining, ..testing::member(2) };
    shape::write_replica(&mut batch, 2, &joining);
    batch.put(Family::Default, key::ingest(2), b"");
    engine.write_log(batch, Durability::Synced).unwrap();
    put_unfinished_removal(&engine, &testing::descriptor(3, high()));
    put_row(&engine, high());
    let store = open(dir.path(), &engine).await.unwrap();
    assert!(has_row(&engine, high()));
    assert!(store.region(2).unwrap().stopped().is_some() && store.region(1).is_some());
    // Its removal ends the matter.
    store.destroy(2).await.unwrap();
    store.shutdown().await;
    let store = open(dir.path(), &engine).await.unwrap();
    assert!(has_row(&engine, low()) && !has_row(&engine, high()));
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_removal_leaves_to_an_install_are_explained_when_that_is_cut_short() {
    let (dir, engine) = with_region_1().await;
    let store = open(dir.path(), &engine).await.unwrap();
    // Region 2 is about to get the slots of Region 1, which leaves this store meanwhile.
    let claim = store.0.ownership.lock().claim(testing::descriptor(2, low()));
    store.destroy(1).await.unwrap();
    assert!(has_row(&engine, low()));
    store.shutdown().await;
    drop(claim);
    let store = open(dir.path(), &engine).await.unwrap();
    assert!(!has_row(&engine, low()));
    let descriptor = engine.get(Family::Region, &key::region(1, RegionKind::Descriptor)).unwrap();
    assert!(descriptor.is_none());
    store.shutdown().await;
}
