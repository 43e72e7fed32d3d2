//! Three stores on their own threads and timers: what the stepped cluster leaves to them.

use std::time::Duration;

use neokv_raftstore::transport::local::LocalTransport;
use neokv_raftstore::{Action, Config, ProposeError, ReadError};

use crate::node::{Node, region_on};
use crate::toy::Command;

/// Stores 1 to 3 of Region 1, joined.
struct Cluster {
    network: LocalTransport,
    nodes: Vec<Node>,
}

pub fn quick(config: &mut Config) {
    config.heartbeat = Duration::from_millis(50);
    config.election_min = Duration::from_millis(150);
    config.election_max = Duration::from_millis(300);
    config.quiet_period = Some(Duration::ZERO);
}

/// Waits until a condition holds. The limit is no measure, it only ends a test that hangs.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

impl Cluster {
    async fn new() -> Cluster {
        let network = LocalTransport::new();
        let mut nodes = Vec::new();
        for id in 1..=3 {
            let dir = tempfile::tempdir().unwrap();
            let node = Node::open(dir, id, network.for_store(id), quick).await;
            network.join(id, &node.store.endpoint());
            nodes.push(node);
        }
        for node in &nodes {
            node.store.bootstrap(region_on(&[1, 2, 3])).await.unwrap();
        }
        Cluster { network, nodes }
    }

    /// The store that serves, not counting one.
    async fn leader(&self, but: u64) -> &Node {
        let serving = || {
            let mut nodes = self.nodes.iter().filter(|node| node.store.id() != but);
            nodes.find(|node| node.region().is_serving())
        };
        until("a leader", || serving().is_some()).await;
        serving().unwrap()
    }

    /// Waits until all have applied what the leader has, byte by byte.
    async fn compare(&self) {
        let leader = self.leader(0).await;
        let applied = leader.region().status().applied;
        until("all applied", || {
            self.nodes.iter().all(|node| node.region().status().applied >= applied)
        })
        .await;
        let expected = leader.contents(1);
        for node in &self.nodes {
            assert!(node.contents(1) == expected, "store {}", node.store.id());
            node.check_memory();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_elects_replicates_and_survives_the_loss_of_its_leader() {
    let cluster = Cluster::new().await;
    let old = cluster.leader(0).await;
    for number in 1..=20 {
        // What stands behind Much is left out of the entry, and comes again in another.
        let commands = [Command::Add(1, 1), Command::Much, Command::Fill(2, number), Command::Fail];
        assert_eq!(old.write(&commands).await.unwrap().len(), 4);
    }
    cluster.compare().await;

    let id = old.store.id();
    cluster.network.isolate(id);
    let new = cluster.leader(id).await;
    assert_eq!(new.add(1, 10).await, 30, "the new leader has what the old one acknowledged");
    let region = old.region();
    let epoch = region.descriptor().epoch;
    assert!(region.read_index(epoch).await.is_err(), "its majority does not answer");

    cluster.network.heal_all();
    let leader = Some(new.store.id());
    until("the old leader follows", || region.status().leader_store == leader).await;
    let error = old.write(&[Command::Add(1, 1)]).await.unwrap_err();
    assert_eq!(error, ProposeError::NotLeader { region: 1, leader });
    assert_eq!(error.action(), Action::Elsewhere);
    let error = region.read_index(epoch).await.unwrap_err();
    assert_eq!(error, ReadError::NotLeader { region: 1, leader });
    cluster.compare().await;
    for node in cluster.nodes {
        node.close().await;
    }
}
