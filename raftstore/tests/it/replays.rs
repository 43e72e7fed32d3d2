//! What a replay makes of the directory of a killed store.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind, RegionKind};
use neokv_encoding::raft::{Entry, LogId};
use neokv_encoding::region::{Applied, Descriptor};
use neokv_engine::{Direction, Durability, Engine, KeyRange, Options, Read};
use neokv_raftstore::{Replayed, SplitPlan, replay};

use crate::crash::image;
use crate::node::Node;
use crate::toy::{Command, Toy, sum};

fn open(dir: &Path) -> Engine {
    Engine::open(&dir.join("db"), &Options::default()).unwrap()
}

fn replayed(engine: &Engine) -> Vec<Replayed> {
    replay(engine, &Arc::new(Toy::default()), 1).unwrap()
}

/// How far Region 1 is applied in RocksDB.
fn applied(engine: &Engine) -> Applied {
    let stored = engine.get_behind(Family::Region, &key::region(1, RegionKind::Applied)).unwrap();
    Applied::decode(&stored.unwrap()).unwrap()
}

/// The entries of Region 1 from an index on.
fn entries(engine: &Engine, from: u64) -> Vec<Entry> {
    let range = KeyRange::new(key::raft_log(1, from), key::raft_log(1, u64::MAX));
    let mut cursor = engine.cursor(Family::RaftLog, range, Direction::Forward).unwrap();
    let mut entries = Vec::new();
    while let Some((_, value)) = cursor.next().unwrap() {
        entries.push(Entry::decode(&Bytes::copy_from_slice(value)).unwrap());
    }
    entries
}

/// A store, and its directory as a kill leaves it, with at least this many entries beyond the rows:
/// now and then the store writes rows behind just before the kill.
async fn killed(lag: usize) -> (Node, tempfile::TempDir) {
    let node = Node::alone(|_| {}).await;
    node.add(1, 5).await;
    node.engine.drain().unwrap();
    loop {
        node.write(&[Command::Clear]).await.unwrap();
        for number in 1..=4 {
            node.add(1, number).await;
            node.write(&[Command::Fill(number as u8, number), Command::Fail]).await.unwrap();
        }
        let killed = image(node.dir.path());
        let engine = open(killed.path());
        let from = applied(&engine).log_id.unwrap().index + 1;
        if entries(&engine, from).len() >= lag {
            return (node, killed);
        }
    }
}

/// All rows, and the records of the Regions.
fn contents(engine: &Engine) -> Vec<(Family, Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    for family in Family::DATA.into_iter().chain([Family::Region]) {
        let mut cursor = engine.cursor(family, KeyRange::all(), Direction::Forward).unwrap();
        while let Some((key, value)) = cursor.next().unwrap() {
            rows.push((family, key.to_vec(), value.to_vec()));
        }
    }
    rows
}

fn change(engine: &Engine, records: &[(Family, Vec<u8>, Vec<u8>)]) {
    let mut batch = engine.log_batch();
    for (family, key, value) in records {
        batch.put(*family, key, value);
    }
    engine.write_log(batch, Durability::Synced).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_reaches_the_state_that_was_served_and_adds_nothing() {
    let (node, killed) = killed(3).await;
    let engine = open(killed.path());
    let before = applied(&engine).log_id.unwrap();
    let log = entries(&engine, before.index + 1);
    let all = replayed(&engine);
    let [Replayed { region: 1, entries: count, failed: None }] = all[..] else { panic!("{all:?}") };
    assert_eq!(count, log.len() as u64);
    engine.drain().unwrap();
    assert_eq!(applied(&engine).log_id, Some(log.last().unwrap().log_id));
    assert_eq!(entries(&engine, before.index + 1), log, "the log is as it was");
    let again = replayed(&engine);
    assert_eq!(again, [Replayed { region: 1, entries: 0, failed: None }]);
    assert_eq!(contents(&engine), contents(&node.engine), "the applied record included");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_other_voters_only_what_is_committed_is_applied() {
    let (node, killed) = killed(3).await;
    let engine = open(killed.path());
    let mut record = applied(&engine);
    record.membership.configs = vec![[1, 2].into()];
    record.membership.nodes.insert(2, 2);
    let next = entries(&engine, record.log_id.unwrap().index + 1)[1].log_id;
    change(
        &engine,
        &[
            (Family::Region, key::region(1, RegionKind::Applied).to_vec(), record.encode()),
            (
                Family::RaftState,
                key::raft_state(1, RaftStateKind::Committed).to_vec(),
                LogId::encode(&next).to_vec(),
            ),
        ],
    );
    assert_eq!(replayed(&engine), [Replayed { region: 1, entries: 2, failed: None }]);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_child_of_a_split_is_there() {
    let (node, killed) = killed(1).await;
    let engine = open(killed.path());
    let last = entries(&engine, 0).last().unwrap().log_id.index;
    let plan = SplitPlan { slot: 8192, child: 2, child_peers: vec![2] };
    let epoch = node.region().descriptor().epoch;
    node.region().split(epoch, plan).await.unwrap();
    // The same log, had the store been killed before it applied the split.
    for entry in entries(&node.engine, last + 1) {
        let key = key::raft_log(1, entry.log_id.index).to_vec();
        change(&engine, &[(Family::RaftLog, key, entry.encode().to_vec())]);
    }
    let all = replayed(&engine);
    assert_eq!(all.iter().map(|one| one.region).collect::<Vec<_>>(), [1, 2]);
    let child = engine.get(Family::Region, &key::region(2, RegionKind::Descriptor)).unwrap();
    assert_eq!(Descriptor::decode(&child.unwrap()).unwrap().slots.start, 8192);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_applied_is_told_and_what_stands_before_it_is_applied() {
    let node = Node::alone(|_| {}).await;
    node.add(1, 5).await;
    node.write(&[Command::Poison]).await.unwrap_err();
    node.region().wait_stopped().await;
    let broken = image(node.dir.path());
    let engine = open(broken.path());
    let all = replayed(&engine);
    let [Replayed { failed: Some(why), .. }] = &all[..] else { panic!("{all:?}") };
    assert!(why.contains("apply failed"), "{why}");
    assert_eq!(sum(&engine, 1), 5);

    let (other, holed) = killed(3).await;
    let engine = open(holed.path());
    let at = applied(&engine).log_id.unwrap().index + 2;
    let mut batch = engine.log_batch();
    batch.delete(Family::RaftLog, key::raft_log(1, at));
    engine.write_log(batch, Durability::Synced).unwrap();
    let all = replayed(&engine);
    let [Replayed { entries: 0, failed: Some(why), .. }] = &all[..] else { panic!("{all:?}") };
    assert!(why.contains(&format!("index {at}: the entry is missing")), "{why}");
    node.close().await;
    other.close().await;
}
