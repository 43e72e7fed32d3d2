//! Three stores in one process, over three engines: what one store cannot show.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_engine::{Direction, KeyRange, Read};
use neokv_raftstore::transport::local::LocalTransport;
use neokv_raftstore::{Action, Config, ProposeError, ReadError, Role};

use crate::toy::{Command, Node, Reply, is_filled, region_on, sum};

/// Stores 1 to n of Region 1, joined.
struct Cluster {
    cable: LocalTransport,
    nodes: Vec<Node>,
}

fn quick(config: &mut Config) {
    config.heartbeat = Duration::from_millis(50);
    config.election_min = Duration::from_millis(150);
    config.election_max = Duration::from_millis(300);
    config.quiet_period = Some(Duration::ZERO);
    config.snapshot_chunk = 1000;
}

/// Waits until a condition holds; the test fails if it never does.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

impl Cluster {
    async fn new(size: u64) -> Cluster {
        let cable = LocalTransport::new();
        let mut nodes = Vec::new();
        let ids: Vec<u64> = (1..=size).collect();
        for id in &ids {
            nodes.push(open(&cable, tempfile::tempdir().unwrap(), *id).await);
        }
        for node in &nodes {
            node.store.bootstrap(region_on(&ids)).await.unwrap();
        }
        Cluster { cable, nodes }
    }

    fn node(&self, id: u64) -> &Node {
        self.nodes.iter().find(|node| node.store.id() == id).unwrap()
    }

    /// The store that serves, not counting some.
    async fn leader(&self, but: &[u64]) -> &Node {
        let serving = || {
            self.nodes
                .iter()
                .find(|node| !but.contains(&node.store.id()) && node.region().is_serving())
        };
        until("a leader", || serving().is_some()).await;
        serving().unwrap()
    }

    /// Every other store.
    fn others(&self, id: u64) -> Vec<&Node> {
        self.nodes.iter().filter(|node| node.store.id() != id).collect()
    }

    /// Waits until all have applied what the leader has.
    async fn settle(&self) {
        let leader = self.leader(&[]).await;
        let applied = leader.region().status().applied;
        until("all applied", || {
            self.nodes.iter().all(|node| node.region().status().applied >= applied)
        })
        .await;
    }

    async fn close(self) {
        for node in self.nodes {
            node.close().await;
        }
    }
}

async fn open(cable: &LocalTransport, dir: tempfile::TempDir, id: u64) -> Node {
    let node = Node::open(dir, id, cable.for_store(id), quick).await;
    cable.join(id, &node.store.endpoint());
    node
}

/// Everything a replica has of its data and applied state.
fn contents(node: &Node) -> Vec<(Family, Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    for family in Family::DATA {
        let mut cursor = node.engine.cursor(family, KeyRange::all(), Direction::Forward).unwrap();
        while let Some((key, value)) = cursor.next().unwrap() {
            rows.push((family, key.to_vec(), value.to_vec()));
        }
    }
    let applied =
        node.engine.get(Family::Region, &key::region(1, RegionKind::Applied)).unwrap().unwrap();
    rows.push((Family::Region, Vec::new(), applied.to_vec()));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_hold_the_same_bytes() {
    let cluster = Cluster::new(3).await;
    let leader = cluster.leader(&[]).await;
    for number in 1..=20 {
        // What stands behind Much is left out of the entry, and comes again in another.
        let commands =
            vec![Command::Add(1, number), Command::Much, Command::Fill(2, number), Command::Fail];
        assert_eq!(leader.region().propose(commands).await.unwrap().len(), 4);
    }
    cluster.settle().await;
    let expected = contents(leader);
    assert!(expected.len() > 60);
    for other in cluster.others(leader.store.id()) {
        assert_eq!(contents(other), expected);
        assert_eq!(other.region().status().role, Role::Follower);
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_points_to_the_leader() {
    let cluster = Cluster::new(3).await;
    let leader = cluster.leader(&[]).await.store.id();
    cluster.node(leader).add(1, 1).await;
    for follower in cluster.others(leader) {
        let region = follower.region();
        until("the leader is known", || region.status().leader == Some(leader)).await;
        let error = region.propose(vec![Command::Add(1, 1)]).await.unwrap_err();
        assert_eq!(error, ProposeError::NotLeader { region: 1, leader: Some(leader) });
        assert_eq!(error.action(), Action::Elsewhere);
        assert_eq!(
            region.read_index().await,
            Err(ReadError::NotLeader { region: 1, leader: Some(leader) })
        );
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_of_a_group_ask_the_majority_and_see_every_acknowledged_write() {
    let cluster = Cluster::new(3).await;
    let leader = cluster.leader(&[]).await;
    let region = leader.region();
    assert_eq!(region.read_now(), Err(ReadError::NeedsQuorum { region: 1 }));
    for number in 1..=50 {
        leader.add(1, 1).await;
        let reads = futures_util::future::join_all((0..10).map(|_| region.read_index())).await;
        assert!(reads.iter().all(Result::is_ok));
        assert_eq!(sum(&leader.engine, 1), number);
    }
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_off_leader_serves_nothing_and_rejoins_as_follower() {
    let cluster = Cluster::new(3).await;
    let old = cluster.leader(&[]).await;
    let id = old.store.id();
    old.add(1, 1).await;
    cluster.cable.isolate(id);
    let new = cluster.leader(&[id]).await;
    assert_eq!(new.add(1, 10).await, 11, "the new leader has what the old one acknowledged");
    assert!(old.region().read_index().await.is_err(), "its majority does not answer");
    cluster.cable.heal_all();
    until("the old leader follows", || old.region().status().leader == Some(new.store.id())).await;
    cluster.settle().await;
    assert_eq!(contents(old), contents(new));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_a_cut_off_leader_is_never_reported_as_done() {
    let cluster = Cluster::new(3).await;
    let old = cluster.leader(&[]).await;
    let id = old.store.id();
    old.add(1, 1).await;
    cluster.cable.isolate(id);
    let region = old.region();
    let lost = tokio::spawn(async move { region.propose(vec![Command::Add(1, 100)]).await });
    let new = cluster.leader(&[id]).await;
    assert_eq!(new.add(1, 10).await, 11);
    cluster.cable.heal_all();
    let outcome = lost.await.unwrap();
    assert!(outcome.is_err(), "{outcome:?}");
    cluster.settle().await;
    assert_eq!(sum(&old.engine, 1), 11);
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_fell_behind_the_log_catches_up_by_snapshot_with_every_family() {
    let cluster = Cluster::new(3).await;
    let leader = cluster.leader(&[]).await;
    leader.region().propose(vec![Command::Fill(9, 1)]).await.unwrap();
    cluster.settle().await;
    let behind = cluster.others(leader.store.id())[0];
    cluster.cable.isolate(behind.store.id());
    leader.region().propose(vec![Command::Clear]).await.unwrap();
    for number in 1..=200 {
        let commands = vec![Command::Add(1, 1), Command::Fill(2, number), Command::Fill(3, number)];
        leader.region().propose(commands).await.unwrap();
    }
    assert!(leader.region().compact_log(0, 0).await.unwrap());
    let purged = leader.region().status().purged;
    assert!(behind.region().status().applied < purged);
    cluster.cable.heal_all();
    until("a snapshot is installed", || behind.toy.installed.load(Ordering::Relaxed) == 1).await;
    leader.add(1, 1).await;
    cluster.settle().await;
    assert!((1..=200).all(|number| is_filled(&behind.engine, 2, number)));
    assert_eq!(sum(&behind.engine, 1), 201);
    assert!(
        behind.engine.get(Family::Metadata, &crate::toy::user_key(9).metadata()).unwrap().is_none()
    );
    assert_eq!(contents(behind), contents(leader));
    assert!(behind.engine.unfinished_ingests().unwrap().is_empty());
    let left = std::fs::read_dir(behind.dir.path().join("snapshots")).unwrap().count();
    assert_eq!(left, 0, "nothing of the transfer is left");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_replica_is_filled_and_can_replace_an_old_one() {
    let mut cluster = Cluster::new(3).await;
    let first = cluster.leader(&[]).await.store.id();
    for number in 1..=30 {
        cluster
            .node(first)
            .region()
            .propose(vec![Command::Fill(1, number), Command::Add(2, 1)])
            .await
            .unwrap();
    }
    let fourth = open(&cluster.cable, tempfile::tempdir().unwrap(), 4).await;
    let mut descriptor = region_on(&[1, 2, 3]);
    descriptor.peers.push(Peer { id: 4, store: 4, role: PeerRole::Learner });
    fourth.store.create_empty(descriptor.clone()).await.unwrap();
    cluster.nodes.push(fourth);
    let leader = cluster.node(first);
    leader.region().add_learner(descriptor.peers[3]).await.unwrap();
    let gone = cluster
        .nodes
        .iter()
        .map(|node| node.store.id())
        .find(|id| *id != first && *id != 4)
        .unwrap();
    let voters: BTreeSet<u64> = (1..=4).filter(|id| *id != gone).collect();
    leader.region().change_voters(voters.clone()).await.unwrap();
    assert_eq!(leader.region().status().voters, [voters.iter().copied().collect::<Vec<_>>()]);
    assert_eq!(leader.add(2, 1).await, 31);
    let applied = leader.region().status().applied;
    until("the new one applied", || cluster.node(4).region().status().applied >= applied).await;
    assert_eq!(contents(cluster.node(4)), contents(leader));
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_becomes_three_and_the_lone_reader_stops_reading_alone() {
    let mut cluster = Cluster::new(1).await;
    let leader = cluster.leader(&[]).await;
    leader.add(1, 5).await;
    assert!(leader.region().read_now().is_ok());
    for id in [2, 3] {
        let node = open(&cluster.cable, tempfile::tempdir().unwrap(), id).await;
        let mut descriptor = region_on(&[1]);
        let peer = Peer { id, store: id, role: PeerRole::Learner };
        descriptor.peers.push(peer);
        node.store.create_empty(descriptor).await.unwrap();
        cluster.nodes.push(node);
        cluster.node(1).region().add_learner(peer).await.unwrap();
    }
    let region = cluster.node(1).region();
    assert!(region.read_now().is_ok(), "learners do not count");
    region.change_voters(BTreeSet::from([1, 2, 3])).await.unwrap();
    assert_eq!(region.read_now(), Err(ReadError::NeedsQuorum { region: 1 }));
    assert!(region.read_index().await.is_ok());
    cluster.cable.isolate(1);
    let new = cluster.leader(&[1]).await;
    assert_eq!(new.add(1, 1).await, 6);
    assert!(region.read_index().await.is_err());
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_follower_keeps_quiet_for_the_time_of_its_promise() {
    let mut cluster = Cluster::new(3).await;
    let leader = cluster.leader(&[]).await.store.id();
    cluster.node(leader).add(1, 1).await;
    let first_term = cluster.node(leader).region().status().term;
    let position = cluster.nodes.iter().position(|node| node.store.id() != leader).unwrap();
    let node = cluster.nodes.remove(position);
    let id = node.store.id();
    let dir = node.close().await;
    let patient = |config: &mut Config| {
        quick(config);
        config.quiet_period = Some(Duration::from_secs(3600));
    };
    let node = Node::open(dir, id, cluster.cable.for_store(id), patient).await;
    cluster.cable.join(id, &node.store.endpoint());
    cluster.nodes.push(node);
    cluster.settle().await;
    cluster.cable.isolate(leader);
    let third = cluster.nodes.iter().find(|node| ![id, leader].contains(&node.store.id())).unwrap();
    for _ in 0..5 {
        let before = third.region().status().term;
        third.region().campaign().await.unwrap();
        until("a campaign", || third.region().status().term > before).await;
    }
    assert_ne!(
        third.region().status().role,
        Role::Leader,
        "without the quiet one's vote there is no majority"
    );
    assert_eq!(
        cluster.node(id).region().status().term,
        first_term,
        "it has not even looked at the new terms"
    );
    cluster.cable.heal_all();
    cluster.leader(&[]).await;
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_down_catches_up_from_the_log() {
    let mut cluster = Cluster::new(3).await;
    let leader = cluster.leader(&[]).await.store.id();
    let position = cluster.nodes.iter().position(|node| node.store.id() != leader).unwrap();
    let node = cluster.nodes.remove(position);
    let id = node.store.id();
    let dir = node.close().await;
    for _ in 0..50 {
        assert!(matches!(
            cluster.node(leader).region().propose(vec![Command::Add(1, 1)]).await.unwrap()[..],
            [Reply::Sum(_)]
        ));
    }
    let node = open(&cluster.cable, dir, id).await;
    cluster.nodes.push(node);
    cluster.settle().await;
    assert_eq!(sum(&cluster.node(id).engine, 1), 50);
    assert_eq!(cluster.node(id).toy.installed.load(Ordering::Relaxed), 0, "no snapshot was needed");
    cluster.close().await;
}
