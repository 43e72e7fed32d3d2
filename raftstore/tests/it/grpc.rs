//! Stores joined over gRPC on loopback, each with its own server and transport, as on machines of
//! their own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use neokv_encoding::raft::{Peer, PeerRole};
use neokv_raftstore::Config;
use neokv_raftstore::transport::grpc::{AddressTable, GrpcServer, GrpcSettings, GrpcTransport};

use crate::node::{Node, region_on};
use crate::threads::until;
use crate::toy::{Command, is_filled, sum};

/// A store with its two ends.
struct Member {
    node: Node,
    transport: GrpcTransport,
    server: Option<GrpcServer>,
}

fn settings(store: u64) -> GrpcSettings {
    let mut settings = GrpcSettings::new(0xC1, store);
    settings.backoff_max = Duration::from_millis(100);
    settings
}

/// Elections that a machine under load does not begin by itself.
fn steady(config: &mut Config) {
    config.heartbeat = Duration::from_millis(100);
    config.election_min = Duration::from_millis(1000);
    config.election_max = Duration::from_millis(1500);
    config.quiet_period = Some(Duration::ZERO);
}

impl Member {
    /// Opens a store, which listens on a free port that the others find.
    async fn open(dir: tempfile::TempDir, id: u64, addresses: &AddressTable) -> Member {
        let transport = GrpcTransport::new(settings(id), Arc::new(addresses.clone())).unwrap();
        let node = Node::open(dir, id, Arc::new(transport.clone()), steady).await;
        let endpoint = node.store.endpoint();
        let server = GrpcServer::start("127.0.0.1:0", settings(id), endpoint).await.unwrap();
        addresses.set(id, server.address());
        Member { node, transport, server: Some(server) }
    }

    fn id(&self) -> u64 {
        self.node.store.id()
    }

    /// Ends both ends and the store; the directory remains.
    async fn close(self) -> tempfile::TempDir {
        self.transport.stop().await;
        if let Some(server) = self.server {
            server.stop().await;
        }
        self.node.close().await
    }
}

/// The one that serves.
async fn leader(members: &[Member]) -> usize {
    let serving = || members.iter().position(|member| member.node.region().is_serving());
    until("a leader", || serving().is_some()).await;
    serving().unwrap()
}

/// Waits until all have applied what `from` has, byte by byte.
async fn compare(from: &Node, members: &[Member]) {
    let applied = from.region().status().applied;
    let status = |member: &Member| member.node.region().status().applied;
    until("all applied", || members.iter().all(|member| status(member) >= applied)).await;
    let expected = from.contents(1);
    for member in members {
        assert!(member.node.contents(1) == expected, "store {}", member.id());
        member.node.check_memory();
    }
}

async fn three(addresses: &AddressTable) -> Vec<Member> {
    let mut members = Vec::new();
    for id in 1..=3 {
        members.push(Member::open(tempfile::tempdir().unwrap(), id, addresses).await);
    }
    for member in &members {
        member.node.store.bootstrap(region_on(&[1, 2, 3])).await.unwrap();
    }
    members
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_replicates_loses_its_leader_and_takes_it_back() {
    let addresses = AddressTable::new();
    let mut members = three(&addresses).await;
    let old = leader(&members).await;
    for number in 1..=20 {
        let commands = [Command::Add(1, 1), Command::Fill(2, number), Command::Fail];
        assert_eq!(members[old].node.write(&commands).await.unwrap().len(), 3);
    }
    compare(&members[old].node, &members).await;

    // Without its server it still reaches the others: nobody takes its place.
    members[old].server.take().unwrap().stop().await;
    assert_eq!(members[old].node.add(1, 10).await, 30);
    let term = members[old].node.region().status().term;

    let gone = members.remove(old);
    let id = gone.id();
    let dir = gone.close().await;
    let new = leader(&members).await;
    assert_eq!(members[new].node.add(1, 5).await, 35, "what was acknowledged is there");
    assert!(members[new].node.region().status().term > term);

    // It comes back on another port, follows, and catches up.
    let back = Member::open(dir, id, &addresses).await;
    members.push(back);
    let new = leader(&members).await;
    members[new].node.add(1, 5).await;
    compare(&members[new].node, &members).await;
    assert_eq!(sum(&members.last().unwrap().node.engine, 1), 40);
    for member in members {
        member.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_learner_catches_up_by_a_snapshot_and_becomes_a_voter() {
    let addresses = AddressTable::new();
    let mut members = three(&addresses).await;
    let first = leader(&members).await;
    let from = members[first].node.region();
    for number in 1..=50 {
        let pad = Command::Pad(100_000);
        let commands = [Command::Fill(3, number), pad, Command::Add(4, 1)];
        members[first].node.write(&commands).await.unwrap();
    }
    // What the learner needs is not in the log any more.
    assert!(from.compact_log(0, 0).await.unwrap());

    let joining = Member::open(tempfile::tempdir().unwrap(), 4, &addresses).await;
    joining.node.store.create_empty(1, 14).await.unwrap();
    let learner = Peer { id: 14, store: 4, role: PeerRole::Learner };
    from.add_learner(from.descriptor().epoch, learner).await.unwrap();
    assert!(joining.node.toy.loaded.load(std::sync::atomic::Ordering::Relaxed) > 0);
    let voters = BTreeSet::from([1, 2, 3, 14]);
    from.change_voters(from.descriptor().epoch, voters).await.unwrap();
    members.push(joining);
    compare(&members[first].node, &members).await;
    let engine = &members[3].node.engine;
    assert!((1..=50).all(|number| is_filled(engine, 3, number)));
    assert_eq!(sum(engine, 4), 50);
    for member in members {
        member.close().await;
    }
}
