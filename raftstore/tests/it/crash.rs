//! What a crash leaves: images of a running store's directory, opened as a new process would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use neokv_raftstore::transport::NoPeers;

use crate::node::Node;
use crate::toy::{Command, Reply, sum};

/// Copies the directory as it is now. Nothing is flushed first: what is only in memory is not in
/// the copy. A copy during which files came or went is not the state of any moment: another is
/// made.
pub fn image(from: &Path) -> tempfile::TempDir {
    loop {
        let to = tempfile::tempdir().unwrap();
        let before = files(from);
        let copied = before.iter().try_for_each(|path| copy(from, path, to.path()));
        if copied.is_ok() && files(from) == before {
            return to;
        }
    }
}

/// Every file and directory below, parents first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().flat_map(|path| [vec![path.clone()], files(&path)].concat()).collect()
}

fn copy(from: &Path, path: &Path, to: &Path) -> std::io::Result<()> {
    let target = to.join(path.strip_prefix(from).unwrap());
    if path.is_dir() { std::fs::create_dir(target) } else { std::fs::copy(path, target).map(drop) }
}

/// The newest write-ahead log.
fn wal(dir: &Path) -> PathBuf {
    let files = std::fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "log")).max().unwrap()
}

async fn recover(dir: tempfile::TempDir) -> Node {
    let node = Node::open(dir, 1, Arc::new(NoPeers), |_| {}).await;
    node.region().wait_serving().await.unwrap();
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn an_apply_that_was_lost_is_done_again_and_once() {
    let node = Node::alone(|_| {}).await;
    for number in 1..=9 {
        assert_eq!(node.add(1, 1).await, number);
    }
    node.engine.drain().unwrap();
    let torn = image(node.dir.path());
    let log = wal(torn.path());
    let length = std::fs::metadata(&log).unwrap().len();
    std::fs::File::options().write(true).open(&log).unwrap().set_len(length - 1).unwrap();

    let whole = recover(image(node.dir.path())).await;
    assert_eq!(whole.toy.applied.load(Ordering::Relaxed), 0, "everything was written behind");
    assert_eq!(sum(&whole.engine, 1), 9);
    let torn = recover(torn).await;
    let again = torn.toy.applied.load(Ordering::Relaxed);
    assert!((1..=9).contains(&again), "the last write of the log was of the ninth apply: {again}");
    assert_eq!(sum(&torn.engine, 1), 9);
    assert_eq!(torn.add(1, 1).await, 10);
    for node in [node, whole, torn] {
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_a_busy_store_hold_every_acknowledged_write_once() {
    let node = Arc::new(Node::alone(|_| {}).await);
    let (asked, acknowledged) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (node, asked, acknowledged) =
                (Arc::clone(&node), Arc::clone(&asked), Arc::clone(&acknowledged));
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while stop.load(Ordering::SeqCst) == 0 {
                    asked.fetch_add(2, Ordering::SeqCst);
                    let replies =
                        node.write(&[Command::Add(1, 1), Command::Add(2, 1)]).await.unwrap();
                    assert!(matches!(replies[..], [Reply::Sum(_), Reply::Sum(_)]));
                    acknowledged.fetch_add(2, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let mut images = Vec::new();
    for _ in 0..4 {
        let target = acknowledged.load(Ordering::SeqCst) + 100;
        while acknowledged.load(Ordering::SeqCst) < target {
            tokio::task::yield_now().await;
        }
        let at_least = acknowledged.load(Ordering::SeqCst);
        let from = node.dir.path().to_path_buf();
        let dir = tokio::task::spawn_blocking(move || image(&from)).await.unwrap();
        images.push((at_least, dir, asked.load(Ordering::SeqCst)));
    }
    stop.store(1, Ordering::SeqCst);
    futures_util::future::join_all(clients).await;
    for (at_least, dir, at_most) in images {
        let found = recover(dir).await;
        let (one, two) = (sum(&found.engine, 1), sum(&found.engine, 2));
        assert_eq!(one, two, "a submission is applied whole");
        assert!(
            (at_least..=at_most).contains(&(one + two)),
            "{at_least} <= {} <= {at_most}",
            one + two
        );
        found.close().await;
    }
    Arc::into_inner(node).unwrap().close().await;
}
