//! A state machine for tests: counters, rows in all data families, commands that fail, and one that
//! must be alone.
//!
//! Payload: `hlc u64 · seed u64 · commands`, a command is `tag u8 · key u8 · number u64`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use neokv_encoding::family::Family;
use neokv_encoding::key::UserKey;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Engine, Options, Read};
use neokv_raftstore::transport::{NoPeers, Transport};
use neokv_raftstore::{ApplyContext, ApplyError, Config, Region, Stamp, StateMachine, Store};

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Adds to a counter; answers the sum.
    Add(u8, u64),
    /// Writes a row into every data family.
    Fill(u8, u64),
    /// Answers an error and does nothing.
    Fail,
    /// Removes all counters; must be alone in its entry.
    Clear,
    /// Cannot be applied: stops the Region.
    Poison,
    /// Nothing, of this many bytes.
    Pad(usize),
    /// Adds 1 to counter 0, answers the sum, and leaves the commands behind it out of the entry.
    Much,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    Sum(u64),
    Done,
    Error,
}

#[derive(Default)]
pub struct Toy {
    /// Entries applied by this process.
    pub applied: AtomicUsize,
    /// Commands of the largest entry encoded.
    pub largest: AtomicUsize,
    /// Snapshots installed.
    pub installed: AtomicUsize,
}

/// The key of a counter or row.
pub fn user_key(key: u8) -> UserKey {
    UserKey::new(0, Bytes::from(format!("key-{key}")))
}

fn rows(key: u8, number: u64) -> [(Family, Vec<u8>); 4] {
    let user = user_key(key);
    [
        (Family::Metadata, user.metadata()),
        (Family::Subkey, user.subkey(number, b"field")),
        (Family::ZsetScore, user.score(number, 1.5, b"member")),
        (Family::Expire, user.expire(number)),
    ]
}

/// Whether the row is there in every data family.
pub fn is_filled(from: &dyn Read, key: u8, number: u64) -> bool {
    rows(key, number).iter().all(|(family, key)| from.get(*family, key).unwrap().is_some())
}

/// A counter's value.
pub fn sum(from: &dyn Read, key: u8) -> u64 {
    let stored = from.get(Family::Metadata, &user_key(key).metadata()).unwrap();
    stored.map_or(0, |bytes| u64::from_be_bytes(<[u8; 8]>::try_from(&bytes[..]).unwrap()))
}

/// Clock and commands of an entry.
fn decode(payload: &Bytes) -> Result<(u64, Vec<Command>), ApplyError> {
    let mut from = payload.clone();
    let (hlc, _seed) = (from.get_u64(), from.get_u64());
    let mut commands = Vec::new();
    while from.has_remaining() {
        let (tag, key, number) = (from.get_u8(), from.get_u8(), from.get_u64());
        commands.push(match tag {
            0 => Command::Add(key, number),
            1 => Command::Fill(key, number),
            2 => Command::Fail,
            3 => Command::Clear,
            4 => Command::Poison,
            5 => {
                from.advance(number as usize);
                Command::Pad(number as usize)
            }
            6 => Command::Much,
            _ => return Err(ApplyError::Undecodable(format!("tag {tag}"))),
        });
    }
    Ok((hlc, commands))
}

fn add(cx: &mut ApplyContext<'_>, key: u8, number: u64) -> Reply {
    let sum = sum(&cx.batch, key) + number;
    cx.batch.put(Family::Metadata, user_key(key).metadata(), sum.to_be_bytes());
    Reply::Sum(sum)
}

impl StateMachine for Toy {
    type Command = Command;
    type Reply = Reply;

    fn weight(&self, command: &Command) -> usize {
        match command {
            Command::Pad(bytes) => *bytes,
            _ => 10,
        }
    }

    fn alone(&self, command: &Command) -> bool {
        matches!(command, Command::Clear)
    }

    fn encode(&self, stamp: Stamp, commands: &[Command]) -> Bytes {
        self.largest.fetch_max(commands.len(), Ordering::Relaxed);
        let mut out = BytesMut::new();
        out.put_u64(stamp.hlc);
        out.put_u64(stamp.seed);
        for command in commands {
            let (tag, key, number) = match command {
                Command::Add(key, number) => (0, *key, *number),
                Command::Fill(key, number) => (1, *key, *number),
                Command::Fail => (2, 0, 0),
                Command::Clear => (3, 0, 0),
                Command::Poison => (4, 0, 0),
                Command::Pad(bytes) => (5, 0, *bytes as u64),
                Command::Much => (6, 0, 0),
            };
            out.put_u8(tag);
            out.put_u8(key);
            out.put_u64(number);
            if tag == 5 {
                out.put_bytes(0, number as usize);
            }
        }
        out.freeze()
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, payload: &Bytes) -> Result<Vec<Reply>, ApplyError> {
        let (hlc, commands) = decode(payload)?;
        let total = commands.len() as u64;
        let mut replies = Vec::new();
        for command in commands {
            let much = command == Command::Much;
            replies.push(match command {
                Command::Add(key, number) => add(cx, key, number),
                Command::Much => add(cx, 0, 1),
                Command::Fill(key, number) => {
                    for (family, row) in rows(key, number) {
                        cx.batch.put(family, row, number.to_be_bytes());
                    }
                    Reply::Done
                }
                Command::Fail => Reply::Error,
                Command::Clear => {
                    if !cx.is_fresh() {
                        return Err(ApplyError::NeedsFreshBatch);
                    }
                    cx.seal();
                    for key in 0..=u8::MAX {
                        cx.batch.delete(Family::Metadata, user_key(key).metadata());
                    }
                    Reply::Done
                }
                Command::Pad(_) => Reply::Done,
                Command::Poison => return Err(ApplyError::Undecodable("poison".to_owned())),
            });
            if much {
                break;
            }
        }
        cx.clock = cx.clock.max(hlc) + total;
        self.applied.fetch_add(1, Ordering::Relaxed);
        Ok(replies)
    }

    fn commands_behind(&self, payload: &Bytes, done: usize) -> Result<Vec<Command>, ApplyError> {
        Ok(decode(payload)?.1.split_off(done))
    }

    fn installed(&self, _: &Descriptor) {
        self.installed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Region 1 over all slots, with peer `n` on store `n` for every given store.
pub fn region_on(stores: &[u64]) -> Descriptor {
    Descriptor {
        id: 1,
        slots: SlotRange::ALL,
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: stores
            .iter()
            .map(|store| Peer { id: *store, store: *store, role: PeerRole::Voter })
            .collect(),
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

    pub fn region(&self) -> Arc<Region<Toy>> {
        self.store.region(1).unwrap()
    }

    /// Adds to a counter.
    pub async fn add(&self, key: u8, number: u64) -> u64 {
        match self.region().propose(vec![Command::Add(key, number)]).await.unwrap()[..] {
            [Reply::Sum(sum)] => sum,
            ref other => panic!("{other:?}"),
        }
    }
}
