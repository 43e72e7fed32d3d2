//! Histories drawn from a seed: writes, reads, lost messages, elections, crashes, splits, moves of
//! peers and purges in any order, and the promises checked at every step and at the end.
//!
//! Every write adds another power of two to a counter. So the sum says which writes took effect,
//! and one that took effect twice would be seen as a carry.
//!
//! * What was acknowledged is there, once. What was refused is not. What is unknown may be.
//! * An answer contains everything that was acknowledged before it was asked for.
//! * In one term at most one store leads a Region.
//! * In the end all members of a Region hold the same bytes.
//!
//! `NEOKV_HISTORIES=first..last` runs other seeds than those of the suite.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::ReplicaState;
use neokv_raftstore::{Done, ProposeError, ReadError, Region, SplitPlan};
use tokio::task::JoinHandle;

use super::{Cluster, PROMISE};
use crate::toy::{Command, Reply, Toy, slot, sum};

/// The keys that are written: of different slots.
const KEYS: u8 = 6;
/// Writes to one key: a `u64` has so many bits, with room for a carry.
const WRITES: u32 = 60;
/// Steps of a history.
const STEPS: usize = 600;

/// What is known of one key.
#[derive(Debug, Default)]
struct Key {
    /// Writes that were begun.
    asked: u32,
    /// Sum of what was acknowledged.
    acknowledged: u64,
    /// Sum of what may have taken effect.
    possible: u64,
}

/// An operation under way.
struct Ongoing {
    key: u8,
    /// What a write adds; 0: a read.
    adds: u64,
    /// What was acknowledged when it began.
    before: u64,
    task: JoinHandle<Outcome>,
}

enum Outcome {
    Answer(u64),
    Refused,
    Unknown,
}

struct History {
    random: fastrand::Rng,
    cluster: Cluster,
    keys: [Key; KEYS as usize],
    ongoing: Vec<Ongoing>,
    /// Operations on Regions under way. Their outcome says nothing that is not checked elsewhere.
    changes: Vec<JoinHandle<()>>,
    /// Who leads a Region in a term.
    leaders: BTreeMap<(u64, u64), u64>,
    /// The last id that was used for a Region or a peer.
    last_id: u64,
}

#[test]
fn whatever_happens_no_write_is_lost_or_doubled() {
    let seeds = std::env::var("NEOKV_HISTORIES").ok();
    let seeds = seeds.as_deref().and_then(|text| text.split_once(".."));
    let (first, last) = seeds.map_or((0, 12), |(from, to)| {
        (from.parse().expect("a number"), to.parse().expect("a number"))
    });
    for seed in first..last {
        println!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(History::run(seed));
    }
}

impl History {
    async fn run(seed: u64) {
        let mut history = History {
            random: fastrand::Rng::with_seed(seed),
            cluster: Cluster::new(3).await,
            keys: Default::default(),
            ongoing: Vec::new(),
            changes: Vec::new(),
            leaders: BTreeMap::new(),
            last_id: 100,
        };
        history.cluster.open(4).await;
        for _ in 0..STEPS {
            history.step().await;
            history.check();
        }
        history.finish().await;
    }

    async fn step(&mut self) {
        match self.random.u32(0..100) {
            0..35 => self.deliver().await,
            35..37 => self.lose(),
            37..70 => self.write(),
            70..80 => self.read(),
            80..89 => self.heartbeat().await,
            89..91 => self.campaign().await,
            91..93 => self.purge(),
            93..94 => self.crash().await,
            94..95 => self.split(),
            95..97 => self.move_peer().await,
            _ => self.cluster.pass(Duration::from_millis(self.random.u64(0..1000))).await,
        }
        self.cluster.settle().await;
    }

    async fn deliver(&mut self) {
        // Mostly a few, now and then all.
        let most = if self.random.u8(0..4) == 0 { 100 } else { 6 };
        for _ in 0..self.random.usize(1..most) {
            let waiting = self.cluster.network.waiting();
            if let Some(message) = self.random.choice(waiting) {
                self.cluster.deliver(message).await;
            }
        }
    }

    fn lose(&mut self) {
        let waiting = self.cluster.network.waiting();
        if let Some(message) = self.random.choice(waiting) {
            self.cluster.network.drop_message(message.number);
        }
    }

    fn any_store(&mut self) -> u64 {
        let stores: Vec<u64> = self.cluster.nodes.keys().copied().collect();
        self.random.choice(stores).unwrap()
    }

    fn any_region(&mut self) -> Option<Arc<Region<Toy>>> {
        let store = self.any_store();
        let regions = self.cluster.node(store).store.regions();
        self.random.choice(regions)
    }

    /// Mostly the store that serves a key, now and then any other.
    fn route(&mut self, key: u8) -> Option<Arc<Region<Toy>>> {
        let store = self.any_store();
        let lucky = self.random.u8(0..10) < 8;
        let mut stores = self.cluster.nodes.values();
        let served = stores.find_map(|node| {
            let region = node.store.region_of_slot(slot(key))?;
            region.is_serving().then_some(region)
        });
        let any = || self.cluster.node(store).store.region_of_slot(slot(key));
        if lucky { served } else { any() }
    }

    async fn heartbeat(&mut self) {
        for node in self.cluster.nodes.values() {
            for region in node.store.regions().iter().filter(|region| region.is_serving()) {
                region.heartbeat().await.unwrap();
            }
        }
    }

    /// Once in a while the promise to the old leader is over, and an election can succeed.
    async fn campaign(&mut self) {
        if self.random.bool() {
            self.cluster.pass(PROMISE).await;
        }
        if let Some(region) = self.any_region() {
            region.campaign().await.unwrap();
        }
    }

    fn write(&mut self) {
        let key = self.random.u8(0..KEYS);
        let Some(region) = self.route(key) else { return };
        let known = &mut self.keys[usize::from(key)];
        if known.asked == WRITES {
            return;
        }
        let adds = 1u64 << known.asked;
        known.asked += 1;
        let before = known.acknowledged;
        // Now and then by an epoch that has been, or will be.
        let mut epoch = region.descriptor().epoch;
        if self.random.u8(0..10) == 0 {
            epoch.version = self.random.u64(1..4);
        }
        let task = tokio::spawn(async move {
            match region.propose(epoch, vec![Command::Add(key, adds)]).await {
                Ok(done) => match done[..] {
                    [Done::Reply(Reply::Sum(sum))] => Outcome::Answer(sum),
                    [Done::Misrouted { .. }] => Outcome::Refused,
                    ref other => panic!("{other:?}"),
                },
                Err(ProposeError::Unknown { .. }) => Outcome::Unknown,
                Err(_) => Outcome::Refused,
            }
        });
        self.ongoing.push(Ongoing { key, adds, before, task });
    }

    fn read(&mut self) {
        let key = self.random.u8(0..KEYS);
        let Some(region) = self.route(key) else { return };
        let before = self.keys[usize::from(key)].acknowledged;
        let epoch = region.descriptor().epoch;
        let task = tokio::spawn(async move {
            let read = async {
                let point = region.read_index(epoch).await?;
                region.read_latest(&point, |rows, _| sum(rows, key))
            };
            let read: Result<u64, ReadError> = read.await;
            read.map_or(Outcome::Refused, Outcome::Answer)
        });
        self.ongoing.push(Ongoing { key, adds: 0, before, task });
    }

    async fn crash(&mut self) {
        let store = self.any_store();
        self.cluster.crash(store).await;
        self.cluster.open(store).await;
    }

    fn purge(&mut self) {
        if let Some(region) = self.any_region() {
            self.changes.push(tokio::spawn(async move {
                let _ = region.compact_log(0, 0).await;
            }));
        }
    }

    fn split(&mut self) {
        let Some(region) = self.any_region() else { return };
        let descriptor = region.descriptor();
        if descriptor.slots.len() < 2 || self.last_id > 200 {
            return;
        }
        let slot = self.random.u16(descriptor.slots.start + 1..descriptor.slots.end);
        let mut fresh = || {
            self.last_id += 1;
            self.last_id
        };
        let child = fresh();
        let child_peers = descriptor.peers.iter().map(|_| fresh()).collect();
        let plan = SplitPlan { slot, child, child_peers };
        self.changes.push(tokio::spawn(async move {
            let _ = region.split(descriptor.epoch, plan).await;
        }));
    }

    /// A peer joins on a store that has none, or leaves one of four.
    async fn move_peer(&mut self) {
        let Some(region) = self.any_region() else { return };
        let descriptor = region.descriptor();
        let has = |store: u64| descriptor.peers.iter().any(|peer| peer.store == store);
        let voters = descriptor.peers.iter().map(|peer| peer.id);
        let (id, epoch) = (region.id(), descriptor.epoch);
        if let Some(store) = (1..=4).find(|store| !has(*store)) {
            self.last_id += 1;
            let mut peer = Peer { id: self.last_id, store, role: PeerRole::Learner };
            let there = &self.cluster.node(store).store;
            match there.region(id) {
                None => drop(there.create_empty(id, peer.id).await.unwrap()),
                // Of an earlier try that was given up.
                Some(old) if old.status().replica.state == ReplicaState::Joining => {
                    peer.id = old.peer();
                }
                // It was removed and has not heard of it, or this leader is not up to date.
                Some(_) => return,
            }
            let mut voters: BTreeSet<u64> = voters.collect();
            self.changes.push(tokio::spawn(async move {
                if region.add_learner(epoch, peer).await.is_ok() {
                    voters.insert(peer.id);
                    let _ = region.change_voters(region.descriptor().epoch, voters).await;
                }
            }));
        } else {
            let gone = self.random.usize(0..descriptor.peers.len());
            let left = voters.enumerate().filter(|(place, _)| *place != gone).map(|(_, id)| id);
            let left = left.collect();
            self.changes.push(tokio::spawn(async move {
                let _ = region.change_voters(epoch, left).await;
            }));
        }
    }

    /// What has come to an end fits what is known, and no term has two leaders.
    fn check(&mut self) {
        let ongoing = std::mem::take(&mut self.ongoing);
        for one in ongoing {
            if !one.task.is_finished() {
                self.ongoing.push(one);
                continue;
            }
            let known = &mut self.keys[usize::from(one.key)];
            match one.task.now_or_never().unwrap().unwrap() {
                Outcome::Answer(sum) => {
                    let seen = sum & (one.before | one.adds);
                    assert_eq!(seen, one.before | one.adds, "key {}: {sum:b}", one.key);
                    known.acknowledged |= one.adds;
                    known.possible |= one.adds;
                }
                Outcome::Unknown => known.possible |= one.adds,
                Outcome::Refused => {}
            }
        }
        for (store, node) in &self.cluster.nodes {
            for region in node.store.regions() {
                let status = region.status();
                assert_eq!(status.stopped, None);
                if status.serving {
                    let leader = self.leaders.entry((region.id(), status.term)).or_insert(*store);
                    assert_eq!(leader, store, "region {} in term {}", region.id(), status.term);
                }
            }
        }
    }

    /// Voters of a Region hold the same bytes.
    fn compare(&self) {
        for node in self.cluster.nodes.values() {
            node.check_memory();
            for region in node.store.regions().iter().filter(|region| region.is_serving()) {
                let own = node.contents(region.id());
                for voter in region.status().voters.concat() {
                    let store = region.status().peers[&voter];
                    let other = self.cluster.node(store);
                    let status = other.store.region(region.id()).map(|region| region.status());
                    assert!(
                        other.contents(region.id()) == own,
                        "{:#?}\n is not on store {store}:\n{status:#?}",
                        region.status()
                    );
                }
            }
        }
    }

    /// A replica of a parent that was brought past a split by a snapshot has not created the child:
    /// what creates it then is the scheduler.
    async fn create_missing(&self) {
        let nodes = self.cluster.nodes.values();
        let serving: Vec<_> = nodes
            .flat_map(|node| node.store.regions())
            .filter(|region| region.is_serving())
            .collect();
        for region in serving {
            for peer in &region.descriptor().peers {
                let there = &self.cluster.node(peer.store).store;
                if there.region(region.id()).is_none() {
                    // Refused where the peer was removed and this leader has not heard of it yet.
                    let _ = there.create_empty(region.id(), peer.id).await;
                }
            }
        }
    }

    /// Says how much has happened, to show whether a history is worth its name.
    fn report(&self) {
        let count = |bits: &dyn Fn(&Key) -> u64| -> u32 {
            self.keys.iter().map(|key| bits(key).count_ones()).sum()
        };
        println!(
            "{} writes, {} acknowledged, {} unknown; {} leaderships of {} regions",
            self.keys.iter().map(|key| key.asked).sum::<u32>(),
            count(&|key| key.acknowledged),
            count(&|key| key.possible & !key.acknowledged),
            self.leaders.len(),
            self.leaders.keys().map(|(region, _)| region).collect::<BTreeSet<_>>().len(),
        );
    }

    /// Lets everything come to an end, and looks at what is left.
    async fn finish(mut self) {
        // Every Region gets a leader that everybody follows.
        for _ in 0..40 {
            self.cluster.stabilize().await;
            self.cluster.pass(PROMISE).await;
            self.check();
            self.create_missing().await;
            let mut led = BTreeMap::new();
            for node in self.cluster.nodes.values() {
                for region in node.store.regions() {
                    *led.entry(region.id()).or_insert(false) |= region.is_serving();
                }
            }
            for region in led.iter().filter(|(_, led)| !**led).map(|(region, _)| *region) {
                let store = self.any_store();
                if let Some(region) = self.cluster.region(store, region) {
                    region.campaign().await.unwrap();
                }
            }
            self.heartbeat().await;
        }
        self.cluster.stabilize().await;
        self.check();
        assert!(self.ongoing.is_empty(), "everything has an outcome");
        for (number, known) in self.keys.iter().enumerate() {
            let key = u8::try_from(number).unwrap();
            let leads = self.cluster.nodes.values().find_map(|node| {
                let region = node.store.region_of_slot(slot(key))?;
                region.is_serving().then_some(node)
            });
            let found = sum(&leads.expect("every slot is served").engine, key);
            assert_eq!(found & known.acknowledged, known.acknowledged, "key {key}: lost");
            assert_eq!(found & !known.possible, 0, "key {key}: refused, and yet done, or twice");
        }
        self.compare();
        self.report();
        for task in self.changes {
            task.abort();
        }
        self.cluster.end().await;
    }
}
