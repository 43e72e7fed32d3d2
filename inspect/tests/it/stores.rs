//! Small stores, built through the engine and the encoders: no server is involved. The tests of
//! `neoctl` use them as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use neokv_encoding::double;
use neokv_encoding::family::Family;
use neokv_encoding::hlc;
use neokv_encoding::key::{self, RaftStateKind, RegionKind, UserKey};
use neokv_encoding::metadata::{Collection, DataType, encode_string};
use neokv_encoding::proto::{
    AdminCommand, ClientCommand, ExpiredKey, PurgeExpired, RedisWriteRequest, Split, WriteCommand,
    admin_command, write_command::Kind,
};
use neokv_encoding::raft::{Entry, LogId, Membership, Payload, Peer, PeerRole, Vote};
use neokv_encoding::region::{Applied, Descriptor, Epoch, RegionState, Replica, ReplicaState};
use neokv_encoding::slot::SlotRange;
use neokv_encoding::slot_stats::SlotStats;
use neokv_encoding::v1;
use neokv_engine::transfer::{Export, ExportLimits};
use neokv_engine::{Batch, Durability, Engine, KeyRange, Options, identity};
use prost::Message as _;

/// The time of all tests: 2023-11-14T22:13:20Z.
pub const NOW_MS: u64 = 1_700_000_000_000;

/// The shape of every Region.
const EPOCH: Epoch = Epoch { version: 1, conf_ver: 1 };

/// User keys of the small store that the metadata family has a record of.
const KEYS: [&str; 7] = ["greeting", "soon", "over", "user:{42}", "todo", "colours", "board"];

/// The version of the live collections.
pub fn version() -> u64 {
    hlc::from_ms(NOW_MS - 60_000) + 3
}

/// Closes a store and waits until nobody holds its lock: a program that another test starts at this
/// very moment keeps a copy of all open files until it has become itself.
pub fn close(engine: Engine, dir: &Path) {
    drop(engine);
    std::fs::File::open(dir.join("NEOKV")).unwrap().lock_shared().unwrap();
}

/// Flips a bit in the middle of the newest log of a closed store. That is inside the batch of the
/// small store, which is by far the largest record.
pub fn damage_log(dir: &Path) {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let log = files.filter(is_log).max().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, bytes).unwrap();
}

/// A store of one Region with one peer, keys of every type, and a short log.
pub fn small(dir: &Path) -> Engine {
    let engine = Engine::open(dir, &Options::default()).unwrap();
    identity::establish(&engine, 0xc0ffee, 1).unwrap();
    let mut batch = engine.batch();
    region(&mut batch, 1, SlotRange::ALL);
    log(&mut batch);
    strings(&mut batch);
    collections(&mut batch);
    counts(&mut batch);
    engine.write(batch, Durability::Synced).unwrap();
    engine
}

pub fn user(key: &str) -> UserKey {
    UserKey::new(0, Bytes::copy_from_slice(key.as_bytes()))
}

pub fn region(batch: &mut Batch<'_>, id: u64, slots: SlotRange) {
    let peers = vec![Peer { id: 1, store: 1, role: PeerRole::Voter }];
    let descriptor = Descriptor { id, slots, epoch: EPOCH, peers, state: RegionState::Normal };
    let applied = Applied {
        log_id: Some(LogId { term: 2, index: 5 }),
        membership: membership(),
        clock: hlc::from_ms(NOW_MS - 1000) + 2,
    };
    batch.put(Family::Region, key::region(id, RegionKind::Descriptor), descriptor.encode());
    batch.put(Family::Region, key::region(id, RegionKind::Applied), applied.encode());
    replica(batch, id, 1, ReplicaState::Member);
    let vote = Vote { term: 2, node: Some(1), committed: true };
    batch.put(Family::RaftState, key::raft_state(id, RaftStateKind::Vote), vote.encode());
    let committed = LogId { term: 2, index: 4 };
    batch.put(Family::RaftState, key::raft_state(id, RaftStateKind::Committed), committed.encode());
    let purged = LogId { term: 1, index: 0 };
    batch.put(Family::RaftState, key::raft_state(id, RaftStateKind::Purged), purged.encode());
}

/// The record of the peer that a Region has, or had, on the store.
pub fn replica(batch: &mut Batch<'_>, id: u64, peer: u64, state: ReplicaState) {
    let replica = Replica { peer, state, epoch: EPOCH };
    batch.put(Family::Region, key::region(id, RegionKind::Replica), replica.encode());
}

fn membership() -> Membership {
    Membership {
        log_id: Some(LogId { term: 1, index: 1 }),
        configs: vec![[1].into()],
        nodes: [(1, 1)].into(),
    }
}

fn client(words: &[&[u8]]) -> WriteCommand {
    let args = words.iter().map(|word| Bytes::copy_from_slice(word)).collect();
    WriteCommand { namespace: 0, kind: Some(Kind::Client(ClientCommand { args })) }
}

fn request(ms: u64, commands: Vec<WriteCommand>) -> Payload {
    let request =
        RedisWriteRequest { hlc: hlc::from_ms(ms), seed: 42, commands, ..Default::default() };
    Payload::Command { epoch: EPOCH, command: Bytes::from(request.encode_to_vec()) }
}

fn log(batch: &mut Batch<'_>) {
    let purge =
        PurgeExpired { keys: vec![ExpiredKey { key: "foo".into(), expire_ms: NOW_MS - 1 }] };
    let split = AdminCommand {
        kind: Some(admin_command::Kind::Split(Split { slot: 8192, child: 4, child_peers: vec![] })),
    };
    let payloads = [
        (1, Payload::Membership(membership())),
        (1, Payload::Blank),
        (1, request(NOW_MS - 86_400_000, vec![client(&[b"set", b"greeting", b"hello world"])])),
        (2, Payload::Blank),
        (
            2,
            request(
                NOW_MS - 60_000,
                vec![
                    client(&[b"hset", b"user:{42}", b"name", b"Ada", b"born", b"1815"]),
                    client(&[b"rpush", b"todo", b"it's", b"\x00\xff", b""]),
                    WriteCommand { namespace: 3, kind: Some(Kind::Purge(purge)) },
                ],
            ),
        ),
        (2, request(NOW_MS - 1000, vec![client(&[b"append", b"greeting", &[b'x'; 200]])])),
        (2, Payload::Admin { epoch: EPOCH, command: split }),
    ];
    for (index, (term, payload)) in (1..).zip(payloads) {
        let entry = Entry { log_id: LogId { term, index }, payload };
        batch.put(Family::RaftLog, key::raft_log(1, index), entry.encode());
    }
}

fn strings(batch: &mut Batch<'_>) {
    batch.put(Family::Metadata, user("greeting").metadata(), encode_string(0, b"hello world"));
    for (name, expire_ms) in [("soon", NOW_MS + 60_000), ("over", NOW_MS - 1)] {
        batch.put(Family::Metadata, user(name).metadata(), encode_string(expire_ms, b"x"));
        batch.put(Family::Expire, user(name).expire(expire_ms), b"");
    }
    batch.put(Family::Subkey, user("old").v1_string(), v1::encode_value(0, b"phase 1"));
}

fn collections(batch: &mut Batch<'_>) {
    let version = version();
    let hash = user("user:{42}");
    let record = Collection { size: 2, ..Collection::new(DataType::Hash, version) };
    batch.put(Family::Metadata, hash.metadata(), record.encode());
    batch.put(Family::Subkey, hash.subkey(version, b"born"), b"1815");
    batch.put(Family::Subkey, hash.subkey(version, b"name"), b"Ada");
    // What DEL and FLUSHALL leave behind until compaction.
    batch.put(Family::Subkey, hash.subkey(7, b"name"), b"Lovelace");
    batch.put(Family::Subkey, user("gone").subkey(9, b"field"), b"value");
    // An expiry that the key had before PERSIST, and an older record behind the newer one.
    batch.put(Family::Expire, hash.expire(NOW_MS + 5), b"");
    batch.put(Family::Subkey, hash.v1_string(), v1::encode_value(0, b"string once"));

    let list = user("todo");
    let mut record = Collection { size: 3, ..Collection::new(DataType::List, version + 1) };
    record.tail += 3;
    batch.put(Family::Metadata, list.metadata(), record.encode());
    for (position, element) in (record.head..).zip([&b"it's"[..], b"\x00\xff", b""]) {
        batch.put(Family::Subkey, list.subkey(version + 1, &position.to_be_bytes()), element);
    }

    let set = user("colours");
    let record = Collection { size: 2, ..Collection::new(DataType::Set, version) };
    batch.put(Family::Metadata, set.metadata(), record.encode());
    for member in [b"blue", b"teal"] {
        batch.put(Family::Subkey, set.subkey(version, member), b"");
    }

    let zset = user("board");
    let record = Collection { size: 3, ..Collection::new(DataType::Zset, version) };
    batch.put(Family::Metadata, zset.metadata(), record.encode());
    for (member, score) in [("ada", -1.5), ("bob", 10.0), ("cy", f64::INFINITY)] {
        batch.put(
            Family::Subkey,
            zset.subkey(version, member.as_bytes()),
            double::encode_value(score),
        );
        batch.put(Family::ZsetScore, zset.score(version, score, member.as_bytes()), b"");
    }
}

/// The key counts of the slots.
fn counts(batch: &mut Batch<'_>) {
    let mut keys: BTreeMap<u16, u64> = BTreeMap::new();
    for name in KEYS {
        *keys.entry(user(name).slot).or_default() += 1;
    }
    for (slot, keys) in keys {
        batch.put(Family::SlotStats, key::slot_stats(slot, 0), SlotStats { keys }.encode());
    }
}

/// The small store, with a wrong byte here and there.
pub fn damaged(dir: &Path) -> Engine {
    let engine = small(dir);
    let mut batch = engine.batch();
    // A record of a type that does not exist.
    batch.put(Family::Metadata, user("greeting").metadata(), b"\x87\0\0\0\0\0\0\0\0x");
    // A hash that says that it has more fields than there are; an expiry that the cleaner cannot
    // find.
    let hash =
        Collection { size: 5, expire_ms: NOW_MS + 9, ..Collection::new(DataType::Hash, version()) };
    batch.put(Family::Metadata, user("user:{42}").metadata(), hash.encode());
    // A score that is none.
    batch.put(Family::Subkey, user("board").subkey(version(), b"bob"), b"\x7f\xf8\0\0\0\0\0\0");
    // A key that ends inside its version.
    let mut short = user("colours").subkey_prefix(3);
    short.truncate(short.len() - 4);
    batch.put(Family::Subkey, short, b"");
    // The log: a lost entry, one in a wrong place, one cut short.
    batch.delete(Family::RaftLog, key::raft_log(1, 3));
    let misplaced = Entry { log_id: LogId { term: 2, index: 9 }, payload: Payload::Blank };
    batch.put(Family::RaftLog, key::raft_log(1, 4), misplaced.encode());
    batch.put(Family::RaftLog, key::raft_log(1, 5), b"\x01\x02\0\0\0");
    // The key count of a slot.
    let slot = user("greeting").slot;
    batch.put(Family::SlotStats, key::slot_stats(slot, 0), b"\x01\0");
    batch.put(Family::RaftState, key::raft_state(1, RaftStateKind::Vote), b"\x02");
    engine.write(batch, Durability::Synced).unwrap();
    engine
}

/// The small store, stopped while RocksDB took in two files of rows: it has the record of the key
/// "late", and the row of its expiry is in the file that it has not.
pub fn half_written(dir: &Path) -> Engine {
    let expire_ms = NOW_MS + 1000;
    let aside = tempfile::tempdir().unwrap();
    let other = Engine::open(aside.path(), &Options::default()).unwrap();
    let mut batch = other.log_batch();
    batch.put(Family::Expire, user("late").expire(expire_ms), b"");
    other.write_log(batch, Durability::Buffered).unwrap();
    let snapshot = other.snapshot();
    let rows = vec![(Family::Expire, KeyRange::all())];
    let mut export = Export::new(&snapshot, rows, aside.path(), ExportLimits::default());
    let file = export.next_file().unwrap().unwrap();
    let engine = small(dir);
    std::fs::create_dir(dir.join("behind")).unwrap();
    std::fs::copy(file.path, dir.join("behind/expire.sst")).unwrap();
    let mut batch = engine.log_batch();
    batch.put(Family::Default, key::BEHIND, b"");
    batch.put(Family::Metadata, user("late").metadata(), encode_string(expire_ms, b"x"));
    engine.write_log(batch, Durability::Synced).unwrap();
    engine
}

/// Three Regions, the tombstone of one that was here, and a replica that knows nothing yet.
pub fn several(dir: &Path) -> Engine {
    let engine = small(dir);
    let mut batch = engine.batch();
    region(&mut batch, 1, SlotRange { start: 0, end: 8192 });
    region(&mut batch, 4, SlotRange { start: 8192, end: 8193 });
    region(&mut batch, (1 << 60) + 1, SlotRange { start: 8193, end: 16384 });
    replica(&mut batch, 5, 7, ReplicaState::Tombstone);
    replica(&mut batch, 6, 9, ReplicaState::Joining);
    engine.write(batch, Durability::Synced).unwrap();
    engine
}
