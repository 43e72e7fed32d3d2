//! What is done once a second: memory given back, logs purged.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use futures_util::FutureExt;
use neokv_encoding::family::Family;
use neokv_encoding::key;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::slot::SlotRange;
use neokv_engine::Durability;

use super::unwatched;
use crate::config::Config;
use crate::error::StoreError;
use crate::operation::Dispatch;
use crate::region::Region;
use crate::store::{Inner, Store};
use crate::testing::{self, Nothing};
use crate::transport::local::LocalTransport;

/// Writes one entry and waits until it is applied.
async fn write(region: &Region<Nothing>) {
    let before = region.status().last_index;
    // The machine does not say what becomes of the command, so the outcome is unknown.
    region.propose(region.descriptor().epoch, vec![()]).await.unwrap_err();
    while region.status().last_index == before || region.proposer.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_region_needed_for_its_writes_is_given_back_when_it_is_idle() {
    let dir = tempfile::tempdir().unwrap();
    let store = unwatched(dir.path(), |_| {}, Dispatch::of).await;
    let (busy, idle) = (store.region(1).unwrap(), store.region(2).unwrap());
    write(&busy).await;
    write(&idle).await;
    store.0.look_after();
    write(&busy).await;
    store.0.look_after();
    assert_eq!(idle.proposer.capacity(), (0, 0));
    assert_ne!(busy.proposer.capacity(), (0, 0));
    store.shutdown().await;
}

#[tokio::test]
async fn a_purge_that_does_not_end_holds_up_neither_the_janitor_nor_other_regions() {
    let dir = tempfile::tempdir().unwrap();
    // Everything that is applied is more than may stay.
    let store = unwatched(dir.path(), |config| config.log_bytes = 0, Dispatch::of).await;
    let (stuck, other) = (store.region(1).unwrap(), store.region(2).unwrap());
    write(&stuck).await;
    let (release, released) = mpsc::channel::<()>();
    let block = move |_: &_| {
        let _ = tokio::task::block_in_place(|| released.recv());
    };
    stuck.group().unwrap().external_request(block).await.unwrap();
    for _ in 0..2 {
        write(&other).await;
        store.0.look_after();
        let last = other.status().last_index;
        let purged = other.group().unwrap().wait(None);
        let purged = purged.metrics(|now| now.purged.map(|id| id.index) == last, "purge");
        purged.await.unwrap();
    }
    // That of the first look goes on: a second one is not begun.
    let second = stuck.compact_log(0, 0).now_or_never();
    assert!(matches!(second, Some(Ok(false))), "{second:?}");
    release.send(()).unwrap();
    store.shutdown().await;
}

#[tokio::test]
async fn a_purge_of_a_group_that_does_not_answer_ends_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = unwatched(dir.path(), |_| {}, Dispatch::of).await;
    let stuck = store.region(1).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let block = move |_: &_| {
        let _ = tokio::task::block_in_place(|| released.recv());
    };
    stuck.group().unwrap().external_request(block).await.unwrap();
    // Time passes as soon as nothing is left to do but wait.
    tokio::time::pause();
    let purge = tokio::time::timeout(Duration::from_secs(3600), stuck.compact_log(0, 0));
    let error = purge.await.expect("it ends").unwrap_err();
    tokio::time::resume();
    assert!(matches!(&error, StoreError::Group { region: 1, .. }), "{error}");
    assert!(error.to_string().contains("took longer"), "{error}");
    release.send(()).unwrap();
    // The next one is not held up by it.
    assert!(stuck.compact_log(0, 0).await.unwrap());
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_purge_the_memtable_of_the_logs_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let store = unwatched(dir.path(), |config| config.log_bytes = 0, Dispatch::of).await;
    let engine = store.0.engine.clone();
    let held = || engine.family_stats(Family::RaftLog).memtable_bytes;
    // What other logs had in it.
    let full = u64::try_from(engine.options().memtable_bytes.min(64 << 20) / 3).unwrap();
    for index in (0..).take_while(|_| held() < full) {
        let mut batch = engine.log_batch();
        batch.put(Family::RaftLog, key::raft_log(9, index), vec![7; 64 << 10]);
        engine.write_log(batch, Durability::Buffered).unwrap();
    }
    write(&store.region(1).unwrap()).await;
    store.0.look_after();
    while held() >= full {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    store.shutdown().await;
}

/// Stores 1 and 2 with a voter each of Region 1, led by the first.
async fn pair(dir: &std::path::Path, network: &LocalTransport) -> [Store<Nothing>; 2] {
    let mut descriptor = testing::descriptor(1, SlotRange::ALL);
    descriptor.peers.push(Peer { id: 2, store: 2, role: PeerRole::Voter });
    let open = async |id: u64| {
        let dir = dir.join(id.to_string());
        let config = Config::new(id, dir.join("snapshots"));
        let (engine, machine) = (testing::engine(&dir), Arc::new(Nothing));
        let transport = network.for_store(id);
        let store = Store(Inner::new(engine, machine, config, transport, Dispatch::of).unwrap());
        store.bootstrap(descriptor.clone()).await.unwrap();
        store
    };
    [open(1).await, open(2).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_knows_up_to_where_its_live_followers_hold_the_log() {
    let (dir, network) = (tempfile::tempdir().unwrap(), LocalTransport::new());
    let [one, two] = pair(dir.path(), &network).await;
    let ends = [one.endpoint(), two.endpoint()];
    network.join(1, &ends[0]);
    network.join(2, &ends[1]);
    let (leader, follower) = (one.region(1).unwrap(), two.region(1).unwrap());
    leader.campaign().await.unwrap();
    leader.wait_serving().await.unwrap();
    write(&leader).await;
    let long = Duration::from_secs(3600);
    let last = leader.status().last_index;
    while leader.held_by_followers(long) != last {
        tokio::task::yield_now().await;
    }
    assert_eq!(leader.held_by_followers(Duration::ZERO), None, "it has not answered just now");
    assert_eq!(follower.held_by_followers(long), None, "it does not lead");
    // What does not reach the follower is not held by it.
    network.cut(1, 2);
    let epoch = leader.descriptor().epoch;
    let waits = leader.propose_some(epoch, vec![()]);
    while leader.status().last_index == last {
        tokio::task::yield_now().await;
    }
    assert_eq!(leader.held_by_followers(long), last);
    assert!(waits.now_or_never().is_none());
    one.shutdown().await;
    two.shutdown().await;
}
