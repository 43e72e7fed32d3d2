//! A disk that is really full.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::Descriptor;
use neokv_raftstore::transport::local::LocalTransport;

use crate::installs::{hold_install, install_file, key_in, lone, slots};
use crate::node::{Node, region_on, write};
use crate::small_disk::small_disk;
use crate::threads::{quick, until};
use crate::toy::{Command, sum};

/// Takes all that is left of the disk. The result gives it back.
fn fill(disk: &Path) -> PathBuf {
    let path = disk.join("filler");
    let mut filler = std::fs::File::create(&path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
    path
}

/// The limit is no measure, it only ends a test that hangs.
async fn close(node: Node) -> tempfile::TempDir {
    tokio::time::timeout(Duration::from_secs(60), node.close()).await.expect("the store ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_ends_while_a_vote_waits_for_space() {
    let test = "full_disk::a_store_ends_while_a_vote_waits_for_space";
    let Some(disk) = small_disk(test, 128) else { return };
    let (network, [one, two]) = two_stores(&disk).await;
    for node in [&one, &two] {
        node.store.bootstrap(voters()).await.unwrap();
    }
    let lone = two.store.bootstrap(lone(2, 2, slots(8192, 16_384))).await.unwrap();
    lone.wait_serving().await.unwrap();
    let (there, here) = (one.region(), two.region());
    until("a leader", || there.is_serving() || here.is_serving()).await;
    if !here.is_serving() {
        there.transfer_leadership(2).await.unwrap();
        here.wait_serving().await.unwrap();
    }
    two.add(key_in(slots(0, 8192)), 5).await;
    let filler = fill(&disk);
    // Until the log writer waits with one of them.
    while write(&lone, &[Command::Pad(1 << 16)]).await.is_ok() {}
    // The other store campaigns, and its vote is to be saved here: that ends the leadership.
    assert!(here.is_serving());
    let transferring = tokio::spawn(async move { here.transfer_leadership(1).await });
    let here = two.region();
    until("the vote is to be saved", || !here.is_serving()).await;
    transferring.abort();
    // Its Region holds the store open until the task is gone.
    let _ = transferring.await;
    drop((lone, here));
    let dir = close(two).await;

    std::fs::remove_file(filler).unwrap();
    let two = Node::open(dir, 2, network.for_store(2), quick).await;
    network.join(2, &two.store.endpoint());
    let here = two.region();
    until("a leader", || there.is_serving() || here.is_serving()).await;
    let leader = if there.is_serving() { &one } else { &two };
    assert_eq!(leader.add(key_in(slots(0, 8192)), 1).await, 6);
    drop((there, here));
    close(two).await;
    close(one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_install_for_which_the_disk_fills_after_its_begin_is_finished_by_a_restart() {
    let test =
        "full_disk::an_install_for_which_the_disk_fills_after_its_begin_is_finished_by_a_restart";
    let Some(disk) = small_disk(test, 128) else { return };
    let (network, [one, two]) = two_stores(&disk).await;
    let key = key_in(slots(0, 8192));
    let sent = one.store.bootstrap(lone(1, 1, slots(0, 8192))).await.unwrap();
    sent.wait_serving().await.unwrap();
    write(&sent, &[Command::Add(key, 7)]).await.unwrap();
    let other = two.store.bootstrap(lone(2, 2, slots(8192, 16_384))).await.unwrap();
    other.wait_serving().await.unwrap();
    let gate = hold_install(&two);
    two.store.create_empty(1, 12).await.unwrap();
    let adding = tokio::spawn(async move {
        let learner = Peer { id: 12, store: 2, role: PeerRole::Learner };
        sent.add_learner(sent.descriptor().epoch, learner).await
    });
    // The INSTALL file is written: from here on there is no room for anything.
    gate.wait().await;
    let filler = fill(&disk);
    while write(&other, &[Command::Pad(1 << 16)]).await.is_ok() {}
    gate.open();
    drop(other);
    network.isolate(1);
    let dir = close(two).await;
    let snapshots = dir.path().join("snapshots");
    assert!(install_file(&snapshots).is_some(), "it is not finished");

    std::fs::remove_file(filler).unwrap();
    let two = Node::open(dir, 2, network.for_store(2), quick).await;
    // Nobody has sent it again: the start has finished it.
    assert_eq!((sum(&two.engine, key), install_file(&snapshots)), (7, None));
    assert_eq!(two.region().descriptor().slots, slots(0, 8192));
    adding.abort();
    let _ = adding.await;
    close(two).await;
    close(one).await;
}

/// Region 1 over the lower half, with a voter on each store.
fn voters() -> Descriptor {
    Descriptor { slots: slots(0, 8192), ..region_on(&[1, 2]) }
}

/// Store 1 on the usual disk, store 2 on the small one.
async fn two_stores(small: &Path) -> (LocalTransport, [Node; 2]) {
    let network = LocalTransport::new();
    let open = async |id, dir: tempfile::TempDir| {
        let node = Node::open(dir, id, network.for_store(id), quick).await;
        network.join(id, &node.store.endpoint());
        node
    };
    let one = open(1, tempfile::tempdir().unwrap()).await;
    let two = open(2, tempfile::tempdir_in(small).unwrap()).await;
    (network, [one, two])
}
