//! One store with many Regions, and Regions that are split under load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::slot::SlotRange;
use neokv_engine::Durability;
use neokv_raftstore::transport::NoPeers;
use neokv_raftstore::{
    Action, Done, Leadership, ProposeError, ReadError, ReadPoint, Region, Role, SplitPlan,
    StoreError,
};

use crate::node::{Node, region_on, replies, write};
use crate::toy::{Command, Reply, Toy, slot, sum, user_key};

/// A key in each of so many equal parts of the slots.
fn keys(parts: u16) -> Vec<u8> {
    let width = 16384 / parts;
    let key_in = |part: u16| (0..=u8::MAX).find(|key| slot(*key) / width == part);
    (0..parts).map(|part| key_in(part).unwrap()).collect()
}

/// A store with Regions 1 to `parts` over equal parts of the slots.
async fn divided(parts: u16) -> Node {
    let node = Node::open(tempfile::tempdir().unwrap(), 1, Arc::new(NoPeers), |_| {}).await;
    let width = 16384 / parts;
    for part in 0..parts {
        let mut descriptor = region_on(&[1]);
        descriptor.id = u64::from(part) + 1;
        descriptor.peers[0].id = 100 + descriptor.id;
        descriptor.slots = SlotRange::new(part * width, (part + 1) * width).unwrap();
        node.store.bootstrap(descriptor).await.unwrap().wait_serving().await.unwrap();
    }
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn many_regions_share_one_store_and_start_again() {
    let node = divided(32).await;
    let keys = keys(32);
    let writes = keys.iter().map(|key| {
        let region = node.store.region_of_slot(slot(*key)).unwrap();
        async move { write(&region, &[Command::Add(*key, region.id())]).await.unwrap() }
    });
    let written = futures_util::future::join_all(writes).await;
    for (part, reply) in written.into_iter().enumerate() {
        assert_eq!(reply, [Reply::Sum(part as u64 + 1)]);
    }
    node.check_memory();
    let dir = node.close().await;
    let node = Node::open(dir, 1, Arc::new(NoPeers), |_| {}).await;
    assert_eq!(node.store.regions().len(), 32);
    for (part, key) in keys.iter().enumerate() {
        let region = node.store.region_of_slot(slot(*key)).unwrap();
        region.wait_serving().await.unwrap();
        assert_eq!(sum(&node.engine, *key), part as u64 + 1);
    }
    assert_eq!(node.toy.loaded.load(Ordering::Relaxed), 32, "each Region was loaded once");
    node.check_memory();
    let heard = node.toy.leadership.lock().unwrap().clone();
    assert!(
        heard.len() == 32 && heard.values().all(|one| one == &[Leadership::Gained { term: 2 }])
    );
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_apply_stops_its_region_and_no_other() {
    let node = divided(2).await;
    let keys = keys(2);
    let (one, other) = (node.store.region(1).unwrap(), node.store.region(2).unwrap());
    write(&one, &[Command::Add(keys[0], 7)]).await.unwrap();
    let error = write(&one, &[Command::Panic]).await.unwrap_err();
    assert!(matches!(error, ProposeError::Unknown { .. }), "{error}");
    let cause = one.wait_stopped().await;
    assert!(cause.contains("told to"), "{cause}");
    let error = write(&one, &[Command::Add(keys[0], 1)]).await.unwrap_err();
    assert_eq!(error.action(), Action::Stop);
    assert!(error.to_string().contains("told to"), "{error}");
    let epoch = one.descriptor().epoch;
    assert!(matches!(one.read_now(epoch), Err(ReadError::Stopped { .. })));
    // They share an apply thread.
    assert_eq!(write(&other, &[Command::Add(keys[1], 2)]).await.unwrap(), [Reply::Sum(2)]);
    assert_eq!(node.toy.leadership.lock().unwrap()[&1].last(), Some(&Leadership::Lost));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_takes_effect_where_its_slot_is_or_nowhere() {
    let node = Node::alone(|_| {}).await;
    let (left, right) = (keys(2)[0], keys(2)[1]);
    let parent = node.region();
    let old = parent.descriptor().epoch;
    let both = [Command::Add(left, 1), Command::Add(right, 10)];
    write(&parent, &both).await.unwrap();
    let point = parent.read_now(old).unwrap();

    let plan = SplitPlan { slot: 8192, child: 2, child_peers: vec![12] };
    parent.split(old, plan.clone()).await.unwrap();
    let child = until_region(&node, right).await;
    assert_eq!(child.id(), 2);
    child.wait_serving().await.unwrap();
    let now = parent.descriptor().epoch;
    assert_eq!((now.version, child.descriptor().epoch.version), (2, 2));

    // By the old epoch nothing is written or read, not even by a read that had begun.
    let misrouted: Vec<Done<Command, Reply>> = both.map(|command| back(command, &parent)).to_vec();
    assert_eq!(parent.propose(old, both.to_vec()).await.unwrap(), misrouted);
    assert!(matches!(parent.read_now(old), Err(ReadError::StaleEpoch { .. })));
    let stale = parent.read_latest(&point, |rows, _| sum(rows, right));
    assert!(matches!(stale, Err(ReadError::StaleEpoch { descriptor }) if descriptor.epoch == now));

    // By the new one each half takes what is its own.
    let done = parent.propose(now, both.to_vec()).await.unwrap();
    assert_eq!(done, [Done::Reply(Reply::Sum(2)), back(both[1], &parent)]);
    assert_eq!(write(&child, &[both[1]]).await.unwrap(), [Reply::Sum(20)]);
    let again = parent.split(old, plan).await;
    assert!(matches!(again, Err(StoreError::StaleEpoch { .. })), "{again:?}");
    node.check_memory();

    drop((parent, child));
    let node = node.restart(|_| {}).await;
    until_region(&node, right).await.wait_serving().await.unwrap();
    assert_eq!((sum(&node.engine, left), sum(&node.engine, right)), (2, 20));
    node.check_memory();
    node.close().await;
}

/// A command that a Region refuses, and says what it has.
fn back(command: Command, region: &Region<Toy>) -> Done<Command, Reply> {
    Done::Misrouted { command, descriptor: region.descriptor() }
}

/// The Region of a key, once there is one.
async fn until_region(node: &Node, key: u8) -> Arc<Region<Toy>> {
    loop {
        match node.store.region_of_slot(slot(key)) {
            Some(region) => return region,
            None => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

/// Adds 1 to a key, wherever it is by now.
async fn add_somewhere(node: &Node, key: u8) -> u64 {
    loop {
        let region = until_region(node, key).await;
        let descriptor = region.descriptor();
        let epoch = descriptor.epoch;
        match region.propose(epoch, vec![Command::Add(key, 1), Command::Fail]).await {
            Ok(done) => match done[..] {
                [Done::Reply(Reply::Sum(sum)), Done::Reply(Reply::Error)] => return sum,
                // Only because the Region has another shape by now than the caller saw, or had
                // when it saw it: it was looked up before.
                [Done::Misrouted { command: Command::Add(back, 1), .. }, _] => {
                    assert_eq!(back, key);
                    let is_split = region.descriptor().epoch.version > epoch.version;
                    assert!(is_split || !descriptor.slots.contains(slot(key)));
                }
                ref other => panic!("{other:?}"),
            },
            Err(error) if error.action() == Action::Retry => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// After a split, nothing is written or read by the epoch before it, whichever half it is for; nor
/// by the epoch after it, where the slot is not the Region's any more.
async fn refuses_old_epoch(node: &Node, region: &Region<Toy>, begun: &ReadPoint, keys: &[u8]) {
    let (before, now) = (Arc::clone(&begun.descriptor), region.descriptor());
    assert_eq!(now.epoch.version, before.epoch.version + 1);
    let stale = |error: ReadError| match error {
        ReadError::StaleEpoch { descriptor } => descriptor.epoch == now.epoch,
        _ => false,
    };
    assert!(region.read_latest(begun, |_, _| ()).is_err_and(stale));
    assert!(region.read_now(before.epoch).is_err_and(stale));
    assert!(region.read_index(before.epoch).await.is_err_and(stale));
    let halves = keys.iter().filter(|key| before.slots.contains(slot(**key)));
    let (kept, moved): (Vec<u8>, Vec<u8>) = halves.partition(|key| now.slots.contains(slot(**key)));
    assert!(!kept.is_empty() && !moved.is_empty());
    // Much more than the clients ever add.
    let much = |key: &u8| Command::Add(*key, 1 << 40);
    let both: Vec<Command> = kept.iter().chain(&moved).map(much).collect();
    let all_back =
        |commands: &[Command]| commands.iter().map(|command| back(*command, region)).collect();
    let expected: Vec<Done<Command, Reply>> = all_back(&both);
    assert_eq!(region.propose(before.epoch, both.clone()).await.unwrap(), expected);
    let elsewhere: Vec<Command> = moved.iter().map(much).collect();
    let expected: Vec<Done<Command, Reply>> = all_back(&elsewhere);
    assert_eq!(region.propose(now.epoch, elsewhere).await.unwrap(), expected);
    assert!(kept.iter().chain(&moved).all(|key| sum(&node.engine, *key) < 1 << 40));
}

/// Reads the counters until `stop`: they only grow.
async fn reads_grow(node: Arc<Node>, keys: Vec<u8>, stop: Arc<AtomicBool>) {
    let mut seen = vec![0; keys.len()];
    while !stop.load(Ordering::Relaxed) {
        for (key, seen) in keys.iter().zip(&mut seen) {
            let region = until_region(&node, *key).await;
            let Ok(point) = region.read_now(region.descriptor().epoch) else { continue };
            tokio::task::yield_now().await;
            match region.read_latest(&point, |rows, _| sum(rows, *key)) {
                Ok(sum) => {
                    assert!(sum >= *seen);
                    *seen = sum;
                }
                Err(ReadError::StaleEpoch { descriptor }) => {
                    assert!(descriptor.epoch.version > point.descriptor.epoch.version);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn splits_under_load_lose_and_double_nothing() {
    let node = Arc::new(Node::alone(|_| {}).await);
    let stop = Arc::new(AtomicBool::new(false));
    let keys = keys(16);
    let clients: Vec<_> = keys
        .iter()
        .map(|key| {
            let (node, stop, key) = (Arc::clone(&node), Arc::clone(&stop), *key);
            tokio::spawn(async move {
                let mut count = 0;
                while !stop.load(Ordering::Relaxed) {
                    count += 1;
                    assert_eq!(add_somewhere(&node, key).await, count);
                }
                count
            })
        })
        .collect();
    let reader = tokio::spawn(reads_grow(Arc::clone(&node), keys.clone(), Arc::clone(&stop)));
    let mut regions = BTreeSet::from([1]);
    for child in 2..=9u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        // The widest Region, in its middle.
        let widest =
            node.store.regions().into_iter().max_by_key(|one| one.descriptor().slots.len());
        let region = widest.unwrap();
        region.wait_serving().await.unwrap();
        let descriptor = region.descriptor();
        let slot = descriptor.slots.start + descriptor.slots.len() / 2;
        let plan = SplitPlan { slot, child, child_peers: vec![100 + child] };
        let old = descriptor.epoch;
        let begun = region.read_now(old).unwrap();
        region.split(old, plan).await.unwrap();
        refuses_old_epoch(&node, &region, &begun, &keys).await;
        regions.insert(child);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.store(true, Ordering::Relaxed);
    let counts = futures_util::future::join_all(clients).await;
    reader.await.unwrap();
    assert_eq!(node.store.regions().iter().map(|one| one.id()).collect::<BTreeSet<_>>(), regions);
    for (key, count) in keys.iter().zip(counts) {
        assert_eq!(sum(&node.engine, *key), count.unwrap(), "key {key}");
    }
    node.check_memory();
    Arc::into_inner(node).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_was_destroyed_comes_back_under_a_new_peer_only() {
    let node = divided(2).await;
    let keys = keys(2);
    let region = node.store.region(2).unwrap();
    write(&region, &[Command::Fill(keys[1], 3)]).await.unwrap();
    write(&node.region(), &[Command::Fill(keys[0], 3)]).await.unwrap();
    let point = region.read_now(region.descriptor().epoch).unwrap();
    node.store.destroy(2).await.unwrap();
    // Who still holds the Region reads nothing of what was cleared.
    assert!(region.read_latest(&point, |rows, _| sum(rows, keys[1])).is_err());
    assert!(node.store.region_of_slot(slot(keys[1])).is_none());
    assert_eq!((sum(&node.engine, keys[0]), sum(&node.engine, keys[1])), (3, 0));
    node.check_memory();

    drop(region);
    let node = node.restart(|_| {}).await;
    assert_eq!(node.store.regions().len(), 1, "a tombstone does not start");
    let mut descriptor = region_on(&[1]);
    (descriptor.id, descriptor.peers[0].id) = (2, 102);
    descriptor.slots = SlotRange::new(8192, 16384).unwrap();
    let refused = node.store.bootstrap(descriptor.clone()).await;
    assert!(matches!(refused, Err(StoreError::Create { .. })), "{refused:?}");
    descriptor.peers[0].id = 103;
    let region = node.store.bootstrap(descriptor).await.unwrap();
    region.wait_serving().await.unwrap();
    let done = region.propose(region.descriptor().epoch, vec![Command::Add(keys[1], 1)]).await;
    assert_eq!(replies(done.unwrap()), [Reply::Sum(1)], "nothing of its former life is left");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_cannot_start_is_stopped_and_the_others_serve() {
    let node = divided(2).await;
    let keys = keys(2);
    write(&node.region(), &[Command::Add(keys[0], 1)]).await.unwrap();
    let mut batch = node.engine.log_batch();
    batch.put(Family::Region, key::region(2, RegionKind::Applied), b"damaged");
    node.engine.write_log(batch, Durability::Synced).unwrap();
    let dir = node.close().await;
    let node = Node::open(dir, 1, Arc::new(NoPeers), |_| {}).await;
    let region = node.region();
    region.wait_serving().await.unwrap();
    assert_eq!(write(&region, &[Command::Add(keys[0], 1)]).await.unwrap(), [Reply::Sum(2)]);

    let broken = node.store.region_of_slot(slot(keys[1])).unwrap();
    let cause = broken.stopped().unwrap();
    assert!(cause.contains("applied"), "{cause}");
    let epoch = broken.descriptor().epoch;
    assert!(matches!(broken.read_now(epoch), Err(ReadError::Stopped { .. })));
    let error = broken.propose(epoch, vec![Command::Fail]).await.unwrap_err();
    assert!(matches!(error, ProposeError::Stopped { .. }), "{error}");
    assert_eq!(broken.status().role, Role::Stopped);
    assert!(broken.campaign().await.is_err());
    // It can be removed, as any other.
    node.store.destroy(2).await.unwrap();
    assert!(node.store.region(2).is_none());
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_goes_on_when_its_caller_gives_up() {
    let node = divided(2).await;
    let key = keys(2)[1];
    write(&node.store.region(2).unwrap(), &[Command::Fill(key, 3)]).await.unwrap();
    drop(node.store.destroy(2).now_or_never());
    let mut descriptor = region_on(&[1]);
    (descriptor.id, descriptor.peers[0].id) = (2, 103);
    descriptor.slots = SlotRange::new(8192, 16384).unwrap();
    while node.store.region_of_slot(slot(key)).is_some() {
        tokio::task::yield_now().await;
    }
    drop(node.store.bootstrap(descriptor).now_or_never());
    let region = until_region(&node, key).await;
    region.wait_serving().await.unwrap();
    assert_eq!((region.peer(), node.count_rows()), (103, 0));
    drop(region);
    let node = node.restart(|_| {}).await;
    assert_eq!(node.store.regions().len(), 2);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_region_is_empty_whatever_a_former_owner_has_left() {
    let node = Node::open(tempfile::tempdir().unwrap(), 1, Arc::new(NoPeers), |_| {}).await;
    let key = keys(2)[1];
    let mut descriptor = region_on(&[1]);
    descriptor.slots = SlotRange::new(0, 8192).unwrap();
    node.store.bootstrap(descriptor.clone()).await.unwrap();
    let mut batch = node.engine.log_batch();
    batch.put(Family::Subkey, user_key(key).subkey(1, b"left"), b"by a former owner");
    node.engine.write_log(batch, Durability::Synced).unwrap();
    (descriptor.id, descriptor.peers[0].id) = (2, 2);
    descriptor.slots = SlotRange::new(8192, 16384).unwrap();
    let region = node.store.bootstrap(descriptor).await.unwrap();
    assert_eq!(node.count_rows(), 0, "a new region is empty");
    region.wait_serving().await.unwrap();
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_of_a_new_region_are_distinct() {
    let node = Node::open(tempfile::tempdir().unwrap(), 1, Arc::new(NoPeers), |_| {}).await;
    for (id, store) in [(1, 2), (2, 1)] {
        let mut descriptor = region_on(&[1, 2]);
        (descriptor.peers[1].id, descriptor.peers[1].store) = (id, store);
        let refused = node.store.bootstrap(descriptor).await;
        assert!(matches!(refused, Err(StoreError::Create { .. })), "{refused:?}");
    }
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_starts_while_the_store_ends_is_stopped_too() {
    for _ in 0..5 {
        let node = Node::alone(|_| {}).await;
        let parent = node.region();
        let plan = SplitPlan { slot: 8192, child: 2, child_peers: vec![12] };
        parent.split(parent.descriptor().epoch, plan).await.unwrap();
        let child = node.store.region(2);
        node.store.shutdown().await;
        if let Some(child) = child {
            child.wait_stopped().await;
        }
        assert!(node.store.regions().is_empty());
        drop(parent);
        let Node { dir, store, engine, .. } = node;
        drop((store, engine));
        // What the split has written is there.
        let node = Node::open(dir, 1, Arc::new(NoPeers), |_| {}).await;
        assert_eq!(node.store.regions().len(), 2);
        node.close().await;
    }
}
