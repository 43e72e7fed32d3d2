//! Installs of snapshots beside everything else that a store does.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::Descriptor;
use neokv_encoding::slot::SlotRange;
use neokv_raftstore::StoreError;
use neokv_raftstore::transport::local::LocalTransport;

use crate::node::{Node, region_on, write};
use crate::threads::{quick, until};
use crate::toy::{Command, Reply, slot, sum};

/// Region `id` over these slots, with one peer on one store.
pub fn lone(id: u64, store: u64, slots: SlotRange) -> Descriptor {
    let mut descriptor = region_on(&[store]);
    descriptor.id = id;
    descriptor.peers[0].id = 10 * id + store;
    descriptor.slots = slots;
    descriptor
}

pub fn slots(start: u16, end: u16) -> SlotRange {
    SlotRange::new(start, end).unwrap()
}

/// A key in these slots.
pub fn key_in(slots: SlotRange) -> u8 {
    (0..=u8::MAX).find(|key| slots.contains(slot(*key))).unwrap()
}

/// The file that says that an install has begun.
pub fn install_file(snapshots: &Path) -> Option<PathBuf> {
    let dirs = std::fs::read_dir(snapshots).ok()?;
    dirs.filter_map(|dir| Some(dir.ok()?.path().join("INSTALL"))).find(|file| file.exists())
}

/// Holds an install: it tells that it has got so far, and waits.
pub struct Gate {
    reached: Arc<Mutex<mpsc::Receiver<()>>>,
    open: mpsc::Sender<()>,
}

impl Gate {
    /// Waits until the install has got so far.
    pub async fn wait(&self) {
        let reached = Arc::clone(&self.reached);
        let reached = tokio::task::spawn_blocking(move || reached.lock().unwrap().recv());
        reached.await.unwrap().unwrap();
    }

    /// Lets the install go on.
    pub fn open(&self) {
        self.open.send(()).unwrap();
    }
}

/// Holds the first install of Region 1 on a store between its beginning and the exchange of the
/// data.
pub fn hold_install(node: &Node) -> Gate {
    let (tell, reached) = mpsc::channel();
    let (open, wait) = mpsc::channel();
    let (held, wait) = (AtomicBool::new(false), Mutex::new(wait));
    let snapshots = node.dir.path().join("snapshots");
    let hook = move |descriptor: &Descriptor| {
        let begun = descriptor.id == 1 && install_file(&snapshots).is_some();
        if begun && !held.swap(true, Ordering::SeqCst) {
            tell.send(()).unwrap();
            // An error: the test has failed, and the store must end.
            let _ = wait.lock().unwrap().recv();
        }
    };
    assert!(node.toy.ranges_hook.set(Box::new(hook)).is_ok());
    Gate { reached: Arc::new(Mutex::new(reached)), open }
}

/// Waits for what must not wait for the install. The limit is no measure, it only ends a test that
/// hangs.
async fn beside<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(60), work).await;
    done.unwrap_or_else(|_| panic!("{what} waits for the install"))
}

/// Stores 1 and 2, each with one thread for each kind of work of all its Regions.
async fn two_stores() -> (LocalTransport, [Node; 2]) {
    let network = LocalTransport::new();
    let open = async |id| {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::open(dir, id, network.for_store(id), quick).await;
        network.join(id, &node.store.endpoint());
        node
    };
    let nodes = [open(1).await, open(2).await];
    (network, nodes)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_snapshot_is_installed_the_other_regions_go_on() {
    let (low, middle) = (slots(0, 8192), slots(8192, 12_288));
    let (upper, rest) = (slots(12_288, 14_000), slots(14_000, 16_384));
    let (_network, nodes) = two_stores().await;
    let (from, to) = (&nodes[0], &nodes[1]);
    let sent = from.store.bootstrap(lone(1, 1, low)).await.unwrap();
    sent.wait_serving().await.unwrap();
    let moved = key_in(low);
    write(&sent, &[Command::Add(moved, 7)]).await.unwrap();
    let other = to.store.bootstrap(lone(2, 2, middle)).await.unwrap();
    other.wait_serving().await.unwrap();

    let gate = hold_install(to);
    let joining = to.store.create_empty(1, 12).await.unwrap();
    let learner = Peer { id: 12, store: 2, role: PeerRole::Learner };
    let adding = tokio::spawn({
        let (sent, epoch) = (Arc::clone(&sent), sent.descriptor().epoch);
        async move { sent.add_learner(epoch, learner).await }
    });
    gate.wait().await;

    // It holds between its beginning and its end.
    assert_eq!(sum(&to.engine, moved), 0);
    let key = key_in(middle);
    let written = beside("a write", write(&other, &[Command::Add(key, 5)])).await.unwrap();
    assert_eq!(written, [Reply::Sum(5)]);
    let third = beside("a creation", to.store.bootstrap(lone(3, 2, upper))).await.unwrap();
    beside("a start", third.wait_serving()).await.unwrap();
    let key = key_in(upper);
    beside("a write", write(&third, &[Command::Add(key, 1)])).await.unwrap();
    let overlaps = beside("a refusal", to.store.bootstrap(lone(4, 2, slots(8000, 8192)))).await;
    assert!(matches!(overlaps, Err(StoreError::Create { .. })), "its slots are claimed");
    beside("a removal", to.store.destroy(3)).await.unwrap();
    assert_eq!(sum(&to.engine, key), 0);
    let fifth = beside("a creation", to.store.bootstrap(lone(5, 2, rest))).await.unwrap();
    beside("a start", fifth.wait_serving()).await.unwrap();

    gate.open();
    adding.await.unwrap().unwrap();
    until("the snapshot is installed", || joining.status().applied >= sent.status().applied).await;
    assert_eq!(sum(&to.engine, moved), 7);
    assert!(from.contents(1) == to.contents(1));
    to.check_memory();
    drop((sent, other, joining, third, fifth));
    for node in nodes {
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_destroyed_during_its_install_is_gone() {
    let (network, [from, to]) = two_stores().await;
    let sent = from.store.bootstrap(lone(1, 1, SlotRange::ALL)).await.unwrap();
    sent.wait_serving().await.unwrap();
    write(&sent, &[Command::Fill(1, 7)]).await.unwrap();
    let gate = hold_install(&to);
    let joining = to.store.create_empty(1, 12).await.unwrap();
    let adding = tokio::spawn(async move {
        let learner = Peer { id: 12, store: 2, role: PeerRole::Learner };
        sent.add_learner(sent.descriptor().epoch, learner).await
    });
    gate.wait().await;
    let destroying = tokio::spawn({
        let store = to.store.clone();
        async move { store.destroy(1).await }
    });
    joining.wait_stopped().await;
    // It waits for the install, whose rows it would not clear.
    assert!(!destroying.is_finished());
    gate.open();
    destroying.await.unwrap().unwrap();
    assert!(to.store.region(1).is_none());
    assert_eq!((to.count_rows(), install_file(&to.dir.path().join("snapshots"))), (0, None));
    to.check_memory();
    let back = to.store.create_empty(1, 12).await;
    assert!(matches!(back, Err(StoreError::Create { .. })), "{back:?}");

    // Nothing of it comes back with a start.
    network.isolate(1);
    adding.abort();
    drop(joining);
    let dir = to.close().await;
    let to = Node::open(dir, 2, network.for_store(2), quick).await;
    assert_eq!((to.store.regions().len(), to.count_rows()), (0, 0));
    to.close().await;
    from.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_creations_at_once_one_succeeds() {
    let (_network, [node, other]) = two_stores().await;
    other.close().await;
    for round in 0..10 {
        let (low, peer) = (slots(0, 8192), 100 + round);
        let mut descriptor = lone(1, 1, low);
        descriptor.peers[0].id = peer;
        let (one, two) = tokio::join!(
            node.store.bootstrap(descriptor.clone()),
            node.store.bootstrap(descriptor),
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
        let refused = one.as_ref().err().or(two.as_ref().err()).unwrap();
        assert!(matches!(refused, StoreError::Create { .. }), "{refused}");
        let region = one.or(two).unwrap();
        region.wait_serving().await.unwrap();
        assert!(Arc::ptr_eq(&region, &node.region()), "the one that is listed");
        // Of a creation beside a removal, either comes first; the removal removes what it finds.
        let mut later = lone(1, 1, low);
        later.peers[0].id = 200 + round;
        let (created, removed) = tokio::join!(node.store.bootstrap(later), node.store.destroy(1));
        removed.unwrap();
        assert!(created.is_err() || node.region().peer() == 200 + round);
        if created.is_ok() {
            node.store.destroy(1).await.unwrap();
        }
        assert!(node.store.region(1).is_none());
    }
    node.close().await;
}
