//! Replicas that apply the same log are equal byte for byte once everything is in data files,
//! whenever each of them has written its rows there.
//!
//! Three nodes in this process share one Region. Random commands of all types go to the leader. One
//! replica writes everything behind and flushes after nearly every pipeline, one does either now
//! and then, one never and is killed on the way; the leadership moves. In the end two are stopped,
//! and one writes everything behind and is killed. What is compared are the rows that RocksDB has
//! in all families of users' data, and how far the log was applied. Rows of deleted collections are
//! dropped before: compactions do that, sooner or later.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, Engine, KeyRange, Options, Read};
use neokv_raftstore::Region;
use neokv_raftstore::transport::local::LocalTransport;
use neokv_redis::config::{self, Request};
use neokv_redis::machine::RedisMachine;
use neokv_redis::node::{Deployment, Node};
use neokv_tests::client::Connection;
use neokv_tests::oracle::generator::Generator;

use crate::support::{noise, until};

const STORES: [u64; 3] = [1, 2, 3];
/// The replica that is killed, and the one that leads from the middle on.
const KILLED: u64 = 3;
const SECOND_LEADER: u64 = 2;
/// Pipelines before the kill, between it and the change of the leader, and after that.
const PIPELINES: usize = 60;
/// Commands of a pipeline.
const TOGETHER: usize = 40;

/// A node and its directory.
struct Replica {
    id: u64,
    dir: tempfile::TempDir,
    node: Node,
}

impl Replica {
    async fn open(network: &LocalTransport, id: u64, dir: tempfile::TempDir) -> Replica {
        let arguments = ["neokv", "--port", "0", "--sync", "no", "--expire-interval", "1h"];
        // A short log: one that has missed much gets a snapshot.
        let bounds = ["--raft-log-entries", "100", "--raft-log-bytes", "1mb", "--dir"];
        let words = arguments.into_iter().chain(bounds).map(OsString::from);
        let words = words.chain([data(&dir).into_os_string()]);
        let Request::Serve(settings) = config::load(words, []).unwrap() else { unreachable!() };
        let deployment = Deployment {
            store_id: id,
            cluster_id: Some(1),
            first_ranges: Vec::new(),
            transport: network.for_store(id),
            ..Deployment::standalone(1)
        };
        let node = Node::open(settings, deployment).await.unwrap();
        network.join(id, &node.context().store.endpoint());
        Replica { id, dir, node }
    }

    fn region(&self) -> Arc<Region<RedisMachine>> {
        self.node.context().store.region(1).unwrap()
    }

    /// The log index up to which everything was applied, and whether there is nothing behind it.
    fn applied(&self) -> (u64, bool) {
        let status = self.region().status();
        let applied = status.applied.map_or(0, |id| id.index);
        (applied, status.last_index == Some(applied))
    }

    /// Ends as a kill does: what is left is what the directory holds now.
    async fn kill(self, network: &LocalTransport) -> (u64, tempfile::TempDir) {
        network.isolate(self.id);
        let image = tempfile::tempdir().unwrap();
        copy(&data(&self.dir), &data(&image));
        self.node.stop().await;
        network.heal_all();
        (self.id, image)
    }

    /// The same, when everything that it has applied was written behind.
    async fn kill_written_behind(self, network: &LocalTransport) -> tempfile::TempDir {
        let engine = self.node.context().engine.clone();
        engine.drain().unwrap();
        engine.wait_for_background_work().unwrap();
        drop(engine);
        self.kill(network).await.1
    }
}

fn data(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("data")
}

/// Copies a folder that its owner still has open, and to which nothing is written any more. What it
/// still removes is left out.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if let Err(error) = std::fs::copy(&path, &target) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", path.display());
        }
    }
}

/// Region 1 over all slots, with a voter on each store.
fn shared_region() -> Descriptor {
    let peer = |store| Peer { id: store, store, role: PeerRole::Voter };
    Descriptor {
        id: 1,
        slots: SlotRange::ALL,
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: STORES.map(peer).to_vec(),
        state: RegionState::Normal,
    }
}

/// Commands for the leader: those of the differential test, and long strings.
struct Commands {
    generator: Generator,
    random: fastrand::Rng,
    sent: u64,
}

impl Commands {
    fn new(seed: u64) -> Commands {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let generator = Generator::new(seed, u64::try_from(now).unwrap()).unwrap();
        Commands { generator, random: fastrand::Rng::with_seed(seed), sent: 0 }
    }

    fn next(&mut self) -> Vec<Vec<u8>> {
        self.sent += 1;
        let long = format!("long:{}", self.random.u8(..5)).into_bytes();
        let value = noise(self.sent, self.random.usize(..60_000));
        match self.random.u8(..40) {
            0 => vec![b"SET".to_vec(), long, value],
            1 => vec![b"APPEND".to_vec(), long, value],
            2 => {
                let at = self.random.u32(..200_000).to_string().into_bytes();
                vec![b"SETRANGE".to_vec(), long, at, value]
            }
            3 => vec![b"DEL".to_vec(), long],
            _ => self.generator.next_command().args,
        }
    }

    /// Sends a pipeline; errors of commands are answers like others.
    fn pipeline(&mut self, connection: &mut Connection) {
        for _ in 0..TOGETHER {
            connection.queue(&self.next());
        }
        connection.flush().unwrap();
        for _ in 0..TOGETHER {
            connection.receive().unwrap();
        }
    }

    /// Sends pipelines to the leader, and lets replicas flush between them.
    fn pipelines(&mut self, leader: u16, replicas: &[Replica]) {
        let mut connection = Connection::open(leader).unwrap();
        for _ in 0..PIPELINES {
            self.pipeline(&mut connection);
            for replica in replicas {
                let engine = &replica.node.context().engine;
                match replica.id {
                    1 if self.random.u8(..4) > 0 => engine.flush().unwrap(),
                    2 if self.random.u8(..8) == 0 => engine.drain().unwrap(),
                    2 if self.random.u8(..16) == 0 => {
                        let at = self.random.usize(..Family::DATA.len());
                        engine.flush_family(Family::DATA[at]).unwrap();
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Waits until all have applied the same, with nothing left in their logs; then none moves any
/// more.
fn settle(replicas: &[Replica], network: &LocalTransport) {
    until("the same state on all replicas", || {
        network.heal_all();
        let are_equal = || {
            let first = replicas[0].applied();
            first.1 && replicas.iter().all(|replica| replica.applied() == first)
        };
        if !are_equal() {
            return false;
        }
        STORES.iter().for_each(|id| network.isolate(*id));
        are_equal()
    });
}

/// What the files of a stopped node hold: all rows of users' data, and how far the log was applied.
fn rows(data: &Path) -> Vec<(Family, Vec<u8>, Vec<u8>)> {
    let engine = Engine::open(data, &Options::default()).unwrap();
    let mut rows = Vec::new();
    for family in Family::DATA {
        // What no reader can see any more goes.
        engine.compact(family, &KeyRange::all()).unwrap();
        let mut cursor = engine.cursor(family, KeyRange::all(), Direction::Forward).unwrap();
        while let Some((key, value)) = cursor.next().unwrap() {
            rows.push((family, key.to_vec(), value.to_vec()));
        }
    }
    let applied = key::region(1, RegionKind::Applied);
    let record = engine.get(Family::Region, &applied).unwrap().unwrap();
    rows.push((Family::Region, applied.to_vec(), record.to_vec()));
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_of_one_log_are_equal_byte_for_byte_whatever_their_flush_times() {
    let network = LocalTransport::new();
    let mut replicas = Vec::new();
    for id in STORES {
        let replica = Replica::open(&network, id, tempfile::tempdir().unwrap()).await;
        replica.node.context().store.bootstrap(shared_region()).await.unwrap();
        replicas.push(replica);
    }
    let ports = [replicas[0].node.serve().await.unwrap(), replicas[1].node.serve().await.unwrap()];
    replicas[0].region().campaign().await.unwrap();
    replicas[0].region().wait_serving().await.unwrap();

    let mut commands = Commands::new(2_026);
    tokio::task::block_in_place(|| commands.pipelines(ports[0], &replicas));
    // The third one is killed with whatever it has not flushed, and misses a part of the log.
    let (id, image) = replicas.pop().unwrap().kill(&network).await;
    assert_eq!(id, KILLED);
    tokio::task::block_in_place(|| commands.pipelines(ports[0], &replicas));
    replicas.push(Replica::open(&network, KILLED, image).await);
    tokio::task::block_in_place(|| {
        until("the other leader", || {
            let change = replicas[0].region();
            // Refused while the other one lacks a part of the log.
            let _ = tokio::runtime::Handle::current()
                .block_on(change.transfer_leadership(SECOND_LEADER));
            replicas[1].region().is_serving()
        });
        commands.pipelines(ports[1], &replicas);
        settle(&replicas, &network);
    });

    let mut dirs = Vec::new();
    for replica in replicas {
        if replica.id == KILLED {
            dirs.push(replica.kill_written_behind(&network).await);
        } else {
            replica.node.stop().await;
            dirs.push(replica.dir);
        }
    }
    let [first, others @ ..] = &dirs[..] else { unreachable!() };
    let expected = rows(&data(first));
    for family in Family::DATA {
        assert!(expected.iter().any(|row| row.0 == family), "no row of {family}");
    }
    for dir in others {
        let found = rows(&data(dir));
        let differs = expected.iter().zip(&found).find(|(expected, found)| expected != found);
        assert_eq!(differs, None);
        assert_eq!(found.len(), expected.len());
    }
}
