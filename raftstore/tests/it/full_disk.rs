//! A full disk. Needs a small file system of its own, so it runs only when it is told of one:
//!
//! ```text
//! mount -t tmpfs -o size=300m tmpfs /mnt/small
//! NEOKV_SMALL_DISK=/mnt/small cargo test -p neokv-raftstore --test it -- --ignored full_disk
//! ```

use std::sync::Arc;

use neokv_raftstore::transport::NoPeers;
use neokv_raftstore::{Action, ProposeError};

use crate::toy::{Command, Node, Reply, region_on, sum};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a small file system, see the module"]
async fn writes_are_refused_reads_go_on_and_writes_resume_by_themselves() {
    let disk = std::env::var("NEOKV_SMALL_DISK").unwrap();
    let filler = std::path::Path::new(&disk).join("filler");
    let dir = tempfile::tempdir_in(&disk).unwrap();
    let node = Node::open(dir, 1, Arc::new(NoPeers), |_| {}).await;
    node.store.bootstrap(region_on(&[1])).await.unwrap();
    node.region().wait_serving().await.unwrap();
    assert_eq!(node.add(1, 5).await, 5);
    let free = node.engine.free_space().unwrap();
    std::fs::write(&filler, vec![1; usize::try_from(free.saturating_sub(4 << 20)).unwrap()]).unwrap();

    let region = node.region();
    let mut refusals = Vec::new();
    while refusals.len() < 3 {
        match region.propose(vec![Command::Pad(500_000), Command::Add(2, 1)]).await {
            Ok(_) => {}
            Err(error) => refusals.push(error),
        }
    }
    assert!(matches!(refusals[0], ProposeError::Unknown { .. }), "{refusals:?}");
    assert_eq!(refusals[2], ProposeError::NoSpace);
    assert_eq!(refusals[2].action(), Action::Retry);
    region.read_now().unwrap();
    assert_eq!(sum(&node.engine, 1), 5, "reads go on");

    std::fs::remove_file(&filler).unwrap();
    let sum = loop {
        match region.propose(vec![Command::Add(1, 1)]).await {
            Ok(replies) => break replies,
            Err(error) => assert_eq!(error, ProposeError::NoSpace),
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(sum, [Reply::Sum(6)]);
    drop(region);
    let node = node.restart(|_| {}).await;
    assert_eq!(crate::toy::sum(&node.engine, 1), 6);
    node.close().await;
}
