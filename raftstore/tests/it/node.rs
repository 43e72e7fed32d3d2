//! A store with its directory, engine and state machine.

use std::sync::Arc;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind, slot_bounds};
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, Engine, KeyRange, Options, Read};
use neokv_raftstore::transport::{NoPeers, Transport};
use neokv_raftstore::{Config, Done, ProposeError, Region, Store};

use crate::toy::{Command, Reply, Toy};

/// Region 1 over all slots, with peer `n` on store `n` for every given store.
pub fn region_on(stores: &[u64]) -> Descriptor {
    let peer = |store: &u64| Peer { id: *store, store: *store, role: PeerRole::Voter };
    Descriptor {
        id: 1,
        slots: SlotRange::ALL,
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: stores.iter().map(peer).collect(),
        state: RegionState::Normal,
    }
}

/// A store in a directory that outlives it.
pub struct Node {
    pub dir: tempfile::TempDir,
    pub store: Store<Toy>,
    pub toy: Arc<Toy>,
    pub engine: Engine,
}

impl Node {
    /// A store that stands alone, with Region 1.
    pub async fn alone(tune: impl FnOnce(&mut Config)) -> Node {
        let node = Node::open(tempfile::tempdir().unwrap(), 1, Arc::new(NoPeers), tune).await;
        node.store.bootstrap(region_on(&[1])).await.unwrap();
        node.region().wait_serving().await.unwrap();
        node
    }

    /// Opens a store.
    pub async fn open(
        dir: tempfile::TempDir,
        id: u64,
        transport: Arc<dyn Transport>,
        tune: impl FnOnce(&mut Config),
    ) -> Node {
        let options =
            Options { statistics: false, low_space_bytes: 32 << 20, ..Options::default() };
        let engine = Engine::open(&dir.path().join("db"), &options).unwrap();
        let toy = Arc::new(Toy::default());
        let mut config = Config::new(id, dir.path().join("snapshots"));
        config.fatal = Arc::new(|error| panic!("{error}"));
        tune(&mut config);
        let store = Store::open(engine.clone(), Arc::clone(&toy), config, transport).await.unwrap();
        Node { dir, store, toy, engine }
    }

    /// Shuts down and opens again.
    pub async fn restart(self, tune: impl FnOnce(&mut Config)) -> Node {
        let dir = self.close().await;
        let node = Node::open(dir, 1, Arc::new(NoPeers), tune).await;
        node.region().wait_serving().await.unwrap();
        node
    }

    /// Shuts down; the directory remains.
    pub async fn close(self) -> tempfile::TempDir {
        self.store.shutdown().await;
        let Node { dir, store, engine, .. } = self;
        drop((store, engine));
        dir
    }

    /// Region 1.
    pub fn region(&self) -> Arc<Region<Toy>> {
        self.store.region(1).unwrap()
    }

    /// Writes to Region 1, whatever its epoch is.
    pub async fn write(&self, commands: &[Command]) -> Result<Vec<Reply>, ProposeError> {
        write(&self.region(), commands).await
    }

    /// Adds to a counter.
    pub async fn add(&self, key: u8, number: u64) -> u64 {
        match self.write(&[Command::Add(key, number)]).await.unwrap()[..] {
            [Reply::Sum(sum)] => sum,
            ref other => panic!("{other:?}"),
        }
    }

    /// A Region's data and applied record, byte by byte. Empty if there is no replica.
    pub fn contents(&self, region: u64) -> Vec<(Family, Vec<u8>, Vec<u8>)> {
        let Some(region) = self.store.region(region) else { return Vec::new() };
        let (region, descriptor) = (region.id(), region.descriptor());
        let (start, end) = slot_bounds(descriptor.slots);
        let mut rows = Vec::new();
        for family in Family::DATA {
            let range = KeyRange::new(start.clone(), end.clone());
            let mut cursor = self.engine.cursor(family, range, Direction::Forward).unwrap();
            while let Some((key, value)) = cursor.next().unwrap() {
                rows.push((family, key.to_vec(), value.to_vec()));
            }
        }
        for kind in [RegionKind::Descriptor, RegionKind::Applied] {
            let key = key::region(region, kind);
            if let Some(record) = self.engine.get(Family::Region, &key).unwrap() {
                rows.push((Family::Region, key.to_vec(), record.to_vec()));
            }
        }
        rows
    }

    /// Rows in all data families, whichever Region they belong to.
    pub fn count_rows(&self) -> usize {
        let mut rows = 0;
        for family in Family::DATA {
            let mut cursor =
                self.engine.cursor(family, KeyRange::all(), Direction::Forward).unwrap();
            while cursor.next().unwrap().is_some() {
                rows += 1;
            }
        }
        rows
    }

    /// What the machine has in memory is what is in the engine.
    pub fn check_memory(&self) {
        let mut cursor =
            self.engine.cursor(Family::Metadata, KeyRange::all(), Direction::Forward).unwrap();
        let mut stored = std::collections::BTreeMap::new();
        while let Some((key, value)) = cursor.next().unwrap() {
            stored.insert(key.to_vec(), value.to_vec());
        }
        assert_eq!(*self.toy.rows.lock().unwrap(), stored);
    }
}

/// Writes to a Region, whatever its epoch is.
pub async fn write(region: &Region<Toy>, commands: &[Command]) -> Result<Vec<Reply>, ProposeError> {
    let done = region.propose(region.descriptor().epoch, commands.to_vec()).await?;
    Ok(replies(done))
}

/// The replies to commands that were all carried out.
pub fn replies(done: Vec<Done<Command, Reply>>) -> Vec<Reply> {
    let reply = |done| match done {
        Done::Reply(reply) => reply,
        Done::Misrouted { command, .. } => panic!("{command:?} was misrouted"),
    };
    done.into_iter().map(reply).collect()
}
