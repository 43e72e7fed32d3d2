//! Several stores on one thread, over real engines, whose messages wait until the test delivers
//! them: a history is a choice of steps, and the same steps give the same history.
//!
//! Nothing moves by itself: there are no timers, logs are written and entries applied where they
//! are handed in, and time stands still until a step lets it pass.
//!
//! [`script`] runs the stories in `tests/scripts/cluster`, [`histories`] draws steps from a seed.

mod histories;
mod script;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use neokv_raftstore::clock::TimeSource;
use neokv_raftstore::transport::TransportError;
use neokv_raftstore::transport::stepped::{SteppedTransport, WaitingMessage};
use neokv_raftstore::{Clock, Config, Execution, Region, SyncMode};

use crate::crash::image;
use crate::node::{Node, region_on};
use crate::toy::Toy;

/// The clock of every store: it stands still.
struct Noon;

impl TimeSource for Noon {
    fn wall_ms(&self) -> u64 {
        43_200_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// How long a follower keeps its promise to a leader.
pub const PROMISE: Duration = Duration::from_secs(100);

/// A message that was delivered, and what the receiver said to it.
pub struct Delivered {
    pub message: WaitingMessage,
    pub answer: Result<(), TransportError>,
}

/// The stores.
#[derive(Default)]
pub struct Cluster {
    pub network: SteppedTransport,
    pub nodes: BTreeMap<u64, Node>,
    /// Stores that are down, and what is in their directories.
    pub down: BTreeMap<u64, tempfile::TempDir>,
}

impl Cluster {
    /// Stores 1 to `size`, each with a peer of Region 1.
    pub async fn new(size: u64) -> Cluster {
        let mut cluster = Cluster::default();
        let ids: Vec<u64> = (1..=size).collect();
        for id in &ids {
            cluster.open(*id).await;
            cluster.node(*id).store.bootstrap(region_on(&ids)).await.unwrap();
        }
        cluster.settle().await;
        cluster
    }

    /// Opens a store: a new one, or one that is down.
    pub async fn open(&mut self, id: u64) {
        self.open_quiet(id, Duration::ZERO).await;
    }

    /// Opens a store that gives no vote for so long.
    pub async fn open_quiet(&mut self, id: u64, quiet: Duration) {
        let dir = self.down.remove(&id).unwrap_or_else(|| tempfile::tempdir().unwrap());
        let tune = |config: &mut Config| tune(config, quiet);
        let node = Node::open(dir, id, self.network.for_store(id), tune).await;
        self.network.join(id, &node.store.endpoint());
        self.nodes.insert(id, node);
        self.settle().await;
    }

    /// Shuts a store down.
    pub async fn close(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        self.down.insert(id, node.close().await);
        self.settle().await;
    }

    /// Ends a store as `kill -9` does: what is left is what its directory holds now.
    pub async fn crash(&mut self, id: u64) {
        let node = self.nodes.remove(&id).unwrap();
        self.down.insert(id, image(node.dir.path()));
        // What the process does after its last moment reaches no other store.
        for other in self.nodes.keys() {
            self.network.cut(id, *other);
            self.network.cut(*other, id);
        }
        node.close().await;
        self.network.heal();
        self.settle().await;
    }

    pub fn node(&self, id: u64) -> &Node {
        &self.nodes[&id]
    }

    /// A store's replica of a Region.
    pub fn region(&self, store: u64, region: u64) -> Option<Arc<Region<Toy>>> {
        self.nodes.get(&store).and_then(|node| node.store.region(region))
    }

    /// Runs every task as far as it comes without a message. Raft sleeps for a microsecond here and
    /// there, so a little time passes.
    pub async fn settle(&self) {
        for _ in 0..6 {
            for _ in 0..25 {
                tokio::task::yield_now().await;
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }

    /// Delivers a message; the receiver handles it and its answer goes back.
    pub async fn deliver(&self, message: WaitingMessage) -> Option<Delivered> {
        let network = self.network.clone();
        let number = message.number;
        let delivered = tokio::spawn(async move { network.deliver(number).await });
        self.settle().await;
        // One that waits for more messages goes on by itself.
        let answer = if delivered.is_finished() { delivered.await.unwrap() } else { Some(Ok(())) };
        answer.map(|answer| Delivered { message, answer })
    }

    /// Delivers the messages that wait, and those that follow, until none waits.
    pub async fn stabilize(&self) -> Vec<Delivered> {
        let mut all = Vec::new();
        self.settle().await;
        while let Some(next) = self.network.waiting().into_iter().next() {
            all.extend(self.deliver(next).await);
            assert!(all.len() < 10_000, "messages follow each other without end");
        }
        all
    }

    /// Lets time pass, in steps: what a timer begins may set another one.
    pub async fn pass(&self, time: Duration) {
        const STEPS: u32 = 20;
        for _ in 0..STEPS {
            tokio::time::advance(time / STEPS).await;
            self.settle().await;
        }
    }

    pub async fn end(mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.close(id).await;
        }
    }
}

fn tune(config: &mut Config, quiet: Duration) {
    config.execution = Execution::Stepped;
    config.clock = Clock::new(Noon);
    // A process that is killed loses nothing that it has written.
    config.sync = SyncMode::Never;
    config.quiet_period = Some(quiet);
    // Long, for a message waits as long as the test likes. What needs it lets the time pass.
    config.message_timeout = Duration::from_secs(3600);
    config.election_min = PROMISE / 2;
    config.election_max = PROMISE;
    config.snapshot_chunk = 700;
    config.snapshot_bytes_per_second = NonZeroU64::new(u64::MAX);
}
