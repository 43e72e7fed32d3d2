//! A store whose disk is full, answers that come late, and rows that change hands.

mod janitor;
mod panics;
mod unknown_rows;

use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::slot_bounds;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Applied, Descriptor};
use neokv_encoding::slot::SlotRange;
use neokv_encoding::snapshot::Manifest;
use neokv_engine::{Durability, EngineError, KeyRange};
use openraft::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::AppendEntriesRequest;
use parking_lot::Mutex;

use super::{Inner, Store};
use crate::apply::Operations;
use crate::config::Config;
use crate::error::{ProposeError, ReadError, StoreError};
use crate::machine::{ApplyContext, ApplyError, Outcome, StateMachine};
use crate::propose::Done;
use crate::records;
use crate::region::NotServing;
use crate::testing::{self, Nothing};
use crate::transport::wire::{Reader, Writer, append_out};
use crate::transport::{Message, MessageKind, NoPeers, TransportError};
use crate::types::{Entry, TypeConfig, Vote, log_id};

async fn empty_store(dir: &std::path::Path) -> Store<Nothing> {
    let config = Config::new(1, dir.join("snapshots"));
    let (engine, machine) = (testing::engine(dir), Arc::new(Nothing));
    Store::open(engine, machine, config, Arc::new(NoPeers)).await.unwrap()
}

/// With Region 1 over all slots, of two voters.
async fn store(dir: &std::path::Path) -> Store<Nothing> {
    let store = empty_store(dir).await;
    let mut descriptor = testing::descriptor(1, SlotRange::ALL);
    descriptor.peers.push(Peer { id: 2, store: 2, role: PeerRole::Voter });
    store.bootstrap(descriptor).await.unwrap();
    store
}

/// With Regions 1 and 2, each over half of the slots and without other peers. Nobody looks after
/// it.
async fn unwatched(
    dir: &std::path::Path,
    tune: impl FnOnce(&mut Config),
    operations: impl FnOnce(Weak<Inner<Nothing>>) -> Arc<dyn Operations>,
) -> Store<Nothing> {
    let mut config = Config::new(1, dir.join("snapshots"));
    tune(&mut config);
    let (engine, machine) = (testing::engine(dir), Arc::new(Nothing));
    let store = Store(Inner::new(engine, machine, config, Arc::new(NoPeers), operations).unwrap());
    for (id, start) in [(1, 0), (2, 8192)] {
        let slots = SlotRange::new(start, start + 8192).unwrap();
        let region = store.bootstrap(testing::descriptor(id, slots)).await.unwrap();
        region.wait_serving().await.unwrap();
    }
    store
}

/// What leader 2 sends to peer 1.
fn append(entries: Vec<Entry>) -> Message {
    let vote = Vote { leader_id: LeaderId { term: 3, voted_for: 2 }, committed: true };
    let prev_log_id = Some(log_id(0, 5));
    let request: AppendEntriesRequest<TypeConfig> =
        AppendEntriesRequest { vote, prev_log_id, entries, leader_commit: None };
    let body = append_out(&request);
    Message { region: 1, from: 2, to: 1, kind: MessageKind::Append, body }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_is_full_entries_stay_with_the_leader() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let endpoint = store.endpoint();
    let entry = |index| Entry { log_id: log_id(3, index), payload: EntryPayload::Blank };
    {
        let _full = store.0.space.raise();
        let refused = endpoint.receive(append(vec![entry(6)])).await.unwrap_err();
        assert!(
            matches!(&refused, TransportError::Refused { why, .. } if why.contains("full")),
            "{refused}"
        );
        endpoint.receive(append(Vec::new())).await.expect("a heartbeat is answered");
        let refused = store.destroy(1).await.unwrap_err();
        assert!(matches!(refused, StoreError::Engine(EngineError::NoSpace { .. })), "{refused}");
    }
    endpoint.receive(append(vec![entry(6)])).await.expect("there is space again");
    assert_eq!(store.region(1).unwrap().status().last_index, Some(6));
    store.destroy(1).await.unwrap();
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_starts_while_the_disk_is_full_refuses_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_store(dir.path()).await;
    let (region, epoch) = {
        // Of one that waits, and does not get to its next attempt.
        let _full = store.0.space.raise();
        let region = store.bootstrap(testing::descriptor(1, SlotRange::ALL)).await.unwrap();
        let epoch = region.descriptor().epoch;
        // It may serve by now or not.
        assert_eq!(region.propose(epoch, vec![()]).await, Err(ProposeError::NoSpace));
        region.wait_serving().await.unwrap();
        assert_eq!(region.propose(epoch, vec![()]).await, Err(ProposeError::NoSpace));
        (region, epoch)
    };
    let refused = region.propose(epoch, vec![()]).await;
    assert_ne!(refused, Err(ProposeError::NoSpace), "there is space again");
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_is_not_ready_on_a_full_disk_says_that_it_is_full() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let region = store.region(1).unwrap();
    let not_ready = || NotServing::NotReady { region: 1, why: "it is starting" };
    assert!(matches!(region.refusal(not_ready()), ProposeError::NotReady { .. }));
    let full = store.0.space.raise();
    assert_eq!(region.refusal(not_ready()), ProposeError::NoSpace);
    // Where to go instead is said all the same.
    let elsewhere = region.refusal(NotServing::NotLeader { region: 1, leader: Some(2) });
    assert!(matches!(elsewhere, ProposeError::NotLeader { leader: Some(2), .. }), "{elsewhere}");
    drop(full);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_an_install_takes_in_are_not_cleared() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_store(dir.path()).await;
    let (low, high) = (SlotRange::new(0, 8192).unwrap(), SlotRange::new(8192, 16384).unwrap());
    store.bootstrap(testing::descriptor(1, low)).await.unwrap();
    // An install is about to give the upper half to Region 2: no record says so yet.
    let claim = store.0.ownership.lock().claim(testing::descriptor(2, high));
    let key = slot_bounds(high).0;
    let mut batch = store.engine().log_batch();
    batch.put(Family::Subkey, &key, b"taken in");
    store.engine().write_log(batch, Durability::Synced).unwrap();
    let is_there = || store.engine().get(Family::Subkey, &key).unwrap().is_some();
    store.destroy(1).await.unwrap();
    assert!(is_there());
    // It has failed.
    drop(claim);
    store.bootstrap(testing::descriptor(3, low)).await.unwrap();
    store.destroy(3).await.unwrap();
    assert!(!is_there());
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_still_arrives_ends_with_its_replica() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_store(dir.path()).await;
    store.create_empty(1, 7).await.unwrap();
    let endpoint = store.endpoint();
    let message = |kind, body| Message { region: 1, from: 2, to: 7, kind, body };
    let shape = testing::descriptor(1, SlotRange::ALL);
    let offer = Writer::new().bytes(&shape.encode()).finish();
    let session = endpoint.receive(message(MessageKind::SnapshotOffer, offer)).await.unwrap();
    let session = Reader::new(session).unwrap().u64().unwrap();
    let chunk = |offset| {
        let body = Writer::new().u64(session).u32(0).u64(offset).bytes(b"rows").finish();
        message(MessageKind::SnapshotChunk, body)
    };
    endpoint.receive(chunk(0)).await.unwrap();
    let arriving = || std::fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    assert_eq!(arriving(), 1);
    store.destroy(1).await.unwrap();
    assert_eq!(arriving(), 0);
    // What its sender goes on with is refused, and leaves nothing.
    endpoint.receive(chunk(4)).await.unwrap_err();
    let manifest = Manifest { descriptor: shape, applied: Applied::default(), files: Vec::new() };
    let vote = Vote { leader_id: LeaderId { term: 3, voted_for: 2 }, committed: true };
    let end = Writer::new().u64(session).vote(&vote).bytes(&manifest.encode()).finish();
    endpoint.receive(message(MessageKind::SnapshotEnd, end)).await.unwrap_err();
    assert_eq!(arriving(), 0);
    assert!(records::descriptor(store.engine(), 1).unwrap().is_none() && store.region(1).is_none());
    // Its successor gets a snapshot of its own.
    store.create_empty(1, 8).await.unwrap();
    let again = Writer::new().bytes(&testing::descriptor(1, SlotRange::ALL).encode()).finish();
    let again = Message { to: 8, ..message(MessageKind::SnapshotOffer, again) };
    endpoint.receive(again).await.unwrap();
    assert_eq!(arriving(), 1);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_removes_the_peer_that_asked_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    // It was asked for by peer 7, which lived here before.
    store.0.operations.unlisted(1, 7, 99);
    assert!(store.0.removing.lock().is_empty());
    // This member knows more than the one that answers.
    store.0.operations.unlisted(1, 1, 1);
    assert!(store.0.removing.lock().is_empty());
    store.0.operations.unlisted(1, 1, 99);
    while store.region(1).is_some() {
        tokio::task::yield_now().await;
    }
    store.shutdown().await;
}

/// Like [`Nothing`]; looks whether creations are locked while rows are cleared.
#[derive(Default)]
struct Watching {
    creation: OnceLock<Arc<Mutex<()>>>,
    was_locked: Mutex<Vec<bool>>,
}

impl StateMachine for Watching {
    testing::no_commands!();

    fn apply(&self, _: &mut ApplyContext<'_>, _: &Bytes) -> Result<Vec<Outcome<()>>, ApplyError> {
        Ok(Vec::new())
    }

    fn ranges(&self, descriptor: &Descriptor) -> Vec<(Family, KeyRange)> {
        Nothing.ranges(descriptor)
    }

    fn removed(&self, _: u64, _: &[(Family, KeyRange)]) {
        self.was_locked.lock().extend(self.creation.get().map(|creation| creation.is_locked()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_do_not_wait_while_rows_are_cleared_for_a_new_region() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::new(1, dir.path().join("snapshots"));
    let (engine, machine) = (testing::engine(dir.path()), Arc::new(Watching::default()));
    let store = Store::open(engine, Arc::clone(&machine), config, Arc::new(NoPeers)).await.unwrap();
    machine.creation.set(Arc::clone(&store.0.creation)).unwrap();
    let key = slot_bounds(SlotRange::ALL).0;
    let mut batch = store.engine().log_batch();
    batch.put(Family::Subkey, &key, b"left by a former owner");
    store.engine().write_log(batch, Durability::Synced).unwrap();
    store.bootstrap(testing::descriptor(1, SlotRange::ALL)).await.unwrap();
    assert!(store.engine().get(Family::Subkey, &key).unwrap().is_none());
    assert_eq!(*machine.was_locked.lock(), [false]);
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_a_region_that_has_left_the_store_is_told_to_route_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_store(dir.path()).await;
    store.bootstrap(testing::descriptor(1, SlotRange::ALL)).await.unwrap();
    let region = store.region(1).unwrap();
    region.wait_serving().await.unwrap();
    let epoch = region.descriptor().epoch;
    store.destroy(1).await.unwrap();
    let misrouted = Done::Misrouted { command: (), descriptor: region.descriptor() };
    assert_eq!(region.propose(epoch, vec![()]).await, Ok(vec![misrouted]));
    let stale = |error: ReadError| matches!(error, ReadError::StaleEpoch { .. });
    assert!(region.read_now(epoch).is_err_and(stale));
    assert!(region.read_index(epoch).await.is_err_and(stale));
    store.shutdown().await;
}
