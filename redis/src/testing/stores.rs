//! Nodes with real stores: one that stands alone, and one whose Region has a second voter.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::Arc;

use neokv_encoding::raft::{Peer, PeerRole};
use neokv_engine::{Engine, Options};
use neokv_raftstore::transport::local::LocalTransport;
use neokv_raftstore::{Store, StoreError};
use tempfile::TempDir;

use crate::command::table;
use crate::config::{self, Request, Settings};
use crate::keyspace::NAMESPACE;
use crate::machine::{LogCommand, RedisMachine};
use crate::node::{Deployment, Node};
use crate::topology::{LocalTopology, NodeInfo, RegionInfo, Topology};

/// The settings of a node that keeps its data in `dir` and takes any port.
pub(crate) fn settings(dir: &TempDir, options: &[&str]) -> Settings {
    let words = ["neokv", "--port", "0", "--dir"].iter().chain(options).map(OsString::from);
    let mut arguments: Vec<OsString> = words.collect();
    arguments.insert(4, dir.path().join("data").into_os_string());
    match config::load(arguments, []) {
        Ok(Request::Serve(settings)) => settings,
        _ => panic!("the options are wrong"),
    }
}

/// A command that stops the Region which applies it: a read in the log, which no release applies.
pub(crate) fn inapplicable(key: &'static str) -> LogCommand {
    LogCommand::Client {
        namespace: NAMESPACE,
        command: table::lookup(b"get").unwrap(),
        args: vec!["get".into(), key.into()],
    }
}

/// A node with two Regions of equal size: it leads both. Region 1 has a second voter in another
/// store of this process, so its reads and writes need both stores. Region 2 has no other replica.
pub(crate) struct TwoStores {
    pub node: Node,
    follower: Store<RedisMachine>,
    network: LocalTransport,
    _dirs: [TempDir; 2],
}

impl TwoStores {
    pub async fn open() -> TwoStores {
        let network = LocalTransport::new();
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let deployment = Deployment {
            stands_alone: false,
            transport: network.for_store(1),
            topology: Box::new(|store, identity| {
                Arc::new(KnownAddresses(LocalTopology::new(store, identity.node.clone())))
            }),
            ..Deployment::standalone(2)
        };
        let node = Node::open(settings(&dirs[0], &[]), deployment).await.unwrap();
        let leader = &node.context().store;
        network.join(1, &leader.endpoint());

        let engine = Engine::open(&dirs[1].path().join("data"), &Options::default()).unwrap();
        let config = neokv_raftstore::Config::new(2, dirs[1].path().join("snapshots"));
        let machine = RedisMachine::default().into();
        let follower = Store::open(engine, machine, config, network.for_store(2)).await.unwrap();
        network.join(2, &follower.endpoint());

        // The second replica joins empty, gets a snapshot as a learner, and becomes a voter.
        follower.create_empty(1, 20).await.unwrap();
        let region = leader.region(1).unwrap();
        let peer = Peer { id: 20, store: 2, role: PeerRole::Learner };
        region.add_learner(region.descriptor().epoch, peer).await.unwrap();
        let voters = BTreeSet::from([1, 20]);
        region.change_voters(region.descriptor().epoch, voters).await.unwrap();
        TwoStores { node, follower, network, _dirs: dirs }
    }

    /// Hands the lead of Region 1 to the other store. The node then has a follower, which knows its
    /// leader.
    pub async fn hand_over(&self) {
        let region = self.node.context().store.region(1).unwrap();
        // The other voter may still lack the last entry.
        while let Err(error) = region.transfer_leadership(20).await {
            assert!(matches!(error, StoreError::Refused { .. }), "{error}");
            tokio::task::yield_now().await;
        }
        self.follower.region(1).unwrap().wait_serving().await.unwrap();
        while region.status().leader_store != Some(2) {
            tokio::task::yield_now().await;
        }
    }

    /// From now on the stores do not reach each other: Region 1 has lost its majority.
    pub fn cut(&self) {
        self.network.cut(1, 2);
    }

    pub async fn stop(self) {
        self.follower.shutdown().await;
        self.node.stop().await;
    }
}

/// The topology of a store that also knows where the clients of every store go: to `10.0.0.<id>`.
struct KnownAddresses(LocalTopology<RedisMachine>);

impl Topology for KnownAddresses {
    fn regions(&self) -> Vec<RegionInfo> {
        self.0.regions()
    }

    fn region_of_slot(&self, slot: u16) -> Option<RegionInfo> {
        self.0.region_of_slot(slot)
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        self.0.nodes()
    }

    fn address(&self, store: u64) -> Option<String> {
        Some(format!("10.0.0.{store}:6379"))
    }
}
