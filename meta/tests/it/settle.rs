//! Random clusters with random failures: the rules repair them, come to rest, and stay at rest.
//!
//! A clock moves in ticks of 5 s. In each tick stores report unless they are dead, Regions elect a
//! leader if a majority of their voters lives, operators send their step, of which some are lost,
//! and one round of the rules begins more operators. Every step is checked when it is carried out.

use std::{collections::BTreeSet, time::Duration};

use fastrand::Rng;
use neokv_encoding::raft::PeerRole;
use neokv_meta::{
    cluster::{Cluster, Region, State, Store, Wish},
    operator::{Operator, Progress, Step},
    placement::{Overlap, overlap},
    plan::{Plan, plan},
};
use proptest::prelude::*;

use crate::support::{NOW, region, settings};

const TICK: Duration = Duration::from_secs(5);
/// Twelve ticks.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Ticks after which a store that died is surely down.
const UNTIL_DOWN: usize = 8;
/// Ticks in which failures happen.
const EVENTS_UNTIL: usize = 60;
/// Ticks after which the rules must have come to rest.
const BOUND: usize = 600;

struct Simulation {
    cluster: Cluster,
    dead: BTreeSet<u64>,
    running: Vec<Operator>,
    now: Duration,
    next_peer: u64,
    rng: Rng,
}

/// What a random cluster is made of.
#[derive(Clone, Debug)]
struct Shape {
    stores: u64,
    regions: u64,
    replicas: usize,
    labels: usize,
    tolerance: usize,
    per_store: usize,
    total: usize,
    events: usize,
    seed: u64,
}

fn shapes() -> impl Strategy<Value = Shape> {
    let numbers = (3..=8u64, 0..=20u64, 0..=1usize, 0..=2usize);
    (numbers, (1..=3usize, 1..=4usize, 1..=8usize), 0..=8usize, any::<u64>()).prop_map(
        |((stores, regions, replicas, labels), (tolerance, per_store, total), events, seed)| {
            let replicas = replicas * 2 + 1;
            let (stores, regions) = (stores, regions);
            Shape { stores, regions, replicas, labels, tolerance, per_store, total, events, seed }
        },
    )
}

impl Simulation {
    fn new(shape: &Shape) -> Simulation {
        let mut rng = Rng::with_seed(shape.seed);
        let mut cluster = Cluster { settings: settings(), ..Cluster::default() };
        let wanted = &mut cluster.settings;
        wanted.replicas = shape.replicas;
        wanted.tolerance = shape.tolerance;
        wanted.limits.per_store = shape.per_store;
        wanted.limits.total = shape.total;
        wanted.labels = ["zone", "rack"][..shape.labels].iter().map(|s| s.to_string()).collect();
        for id in 1..=shape.stores {
            let labels = [("zone", rng.u8(0..3)), ("rack", rng.u8(0..2))];
            let labels = labels.map(|(key, n)| (key.to_owned(), n.to_string())).into();
            let (capacity, used, heartbeat) = (1 << 30, rng.u64(0..3), NOW);
            let (wish, evict_leaders) = (Wish::Serve, false);
            let store = Store { labels, capacity, used, heartbeat, wish, evict_leaders };
            cluster.stores.insert(id, store);
        }
        for id in 1..=shape.regions {
            let mut stores: Vec<u64> = cluster.stores.keys().copied().collect();
            rng.shuffle(&mut stores);
            let most = (shape.replicas + 1).min(stores.len());
            stores.truncate(rng.usize(1..=most));
            let learner = stores.len() > 1 && rng.u8(0..4) == 0;
            let mut words: Vec<String> = stores.iter().map(u64::to_string).collect();
            words[0] += "*";
            if learner {
                *words.last_mut().unwrap() += "l";
            }
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            cluster.regions.insert(id, region(id, &words));
        }
        let (dead, running) = (BTreeSet::new(), Vec::new());
        Simulation { cluster, dead, running, now: NOW, next_peer: 1_000_000, rng }
    }

    /// Something happens to a store. No Region ever loses a majority at once.
    fn event(&mut self) {
        let ids: Vec<u64> = self.cluster.stores.keys().copied().collect();
        let id = *self.rng.choice(&ids).unwrap();
        let kind = self.rng.u8(0..5);
        if kind == 0 {
            self.dead.remove(&id);
        } else if kind == 1 {
            self.dead.insert(id);
            if !self.cluster.regions.values().all(|region| self.has_majority(region)) {
                self.dead.remove(&id);
            }
        }
        let store = self.cluster.stores.get_mut(&id).unwrap();
        match kind {
            2 => store.wish = Wish::Drain,
            3 => store.wish = Wish::Serve,
            4 => store.evict_leaders = !store.evict_leaders,
            _ => {}
        }
    }

    fn has_majority(&self, region: &Region) -> bool {
        let alive = region.voters().filter(|peer| !self.dead.contains(&peer.store)).count();
        alive * 2 > region.voters().count()
    }

    /// Stores and Regions report.
    fn report(&mut self) {
        for (id, store) in &mut self.cluster.stores {
            if !self.dead.contains(id) {
                store.heartbeat = self.now;
            }
        }
        for id in self.cluster.regions.keys().copied().collect::<Vec<_>>() {
            let region = self.cluster.regions[&id].clone();
            let is_alive = |store: u64| !self.dead.contains(&store);
            let mut leader = region.leader.filter(|_| region.leader_store().is_some_and(is_alive));
            if leader.is_none() && self.has_majority(&region) {
                leader = region.voters().find(|peer| is_alive(peer.store)).map(|peer| peer.id);
            }
            let behind = region.descriptor.peers.iter().filter(|peer| !is_alive(peer.store));
            let pending = behind.map(|peer| peer.id).collect();
            self.cluster.regions.insert(id, Region { leader, pending, ..region });
        }
    }

    /// Every operator sends its step, or ends.
    fn advance(&mut self) {
        for operator in std::mem::take(&mut self.running) {
            let region = &self.cluster.regions[&operator.region];
            match operator.advance(region, self.now) {
                Progress::Continue(step) => {
                    if self.has_majority(region) && self.rng.u8(0..8) != 0 {
                        self.carry_out(&operator, step);
                    }
                    self.running.push(operator);
                }
                Progress::Wait(_) => self.running.push(operator),
                Progress::Done | Progress::Stale(_) | Progress::TimedOut => {}
            }
        }
    }

    /// One step, with what must be true of it.
    fn carry_out(&mut self, operator: &Operator, step: Step) {
        let before = self.cluster.regions[&operator.region].clone();
        let mut region = before.clone();
        let peers = &mut region.descriptor.peers;
        step.apply(peers).expect("the step fits");
        for peer in peers.iter_mut().filter(|peer| peer.id == 0) {
            peer.id = self.next_peer;
            // It catches up until the next report.
            region.pending.insert(peer.id);
            self.next_peer += 1;
        }
        if let Step::TransferLeader { store } = step {
            let next = region.voters().find(|peer| peer.store == store);
            region.leader = Some(next.expect("only a voter leads").id);
        } else {
            region.descriptor.epoch.conf_ver += self.rng.u64(1..=2);
        }
        let stores: BTreeSet<u64> = region.stores().collect();
        assert_eq!(stores.len(), region.descriptor.peers.len(), "two replicas on one store");
        assert!(region.leader_store().is_some(), "the leader was removed: {operator:?}");
        assert!(self.has_majority(&region), "a majority is lost: {operator:?}");
        let made_for = operator.peers.iter().filter(|peer| peer.role == PeerRole::Voter).count();
        let least = made_for.min(self.cluster.settings.replicas);
        assert!(region.voters().count() >= least, "too few voters: {operator:?}");
        self.cluster.regions.insert(operator.region, region);
    }

    /// One round of the rules, with what must be true of its answer.
    fn round(&mut self) -> Plan {
        let plan = plan(&self.cluster, &self.running, self.now);
        for proposal in &plan.proposals {
            let region = &self.cluster.regions[&proposal.region];
            self.running.push(proposal.begin(region, self.now + TIMEOUT).expect("the same shape"));
        }
        let limits = self.cluster.settings.limits;
        assert!(self.running.len() <= limits.total, "too many operators");
        let busy: BTreeSet<u64> = self.running.iter().map(|operator| operator.region).collect();
        assert_eq!(busy.len(), self.running.len(), "two operators for one Region");
        for id in self.cluster.stores.keys() {
            let works = |operator: &&Operator| {
                operator.steps.iter().any(|step| step.gives_work_to() == Some(*id))
            };
            let work = self.running.iter().filter(works).count();
            assert!(work <= limits.per_store, "too many operators for store {id}");
        }
        plan
    }

    fn tick(&mut self) -> Plan {
        self.now += TICK;
        self.report();
        self.advance();
        self.round()
    }

    /// Ticks until nothing was proposed for as long as it takes a dead store to be down.
    fn settle(&mut self) -> Plan {
        let mut quiet = 0;
        for _ in 0..BOUND {
            let plan = self.tick();
            let rests = plan.proposals.is_empty() && self.running.is_empty();
            quiet = if rests { quiet + 1 } else { 0 };
            if quiet > UNTIL_DOWN {
                return plan;
            }
        }
        panic!("no rest: {:#?}", self.running);
    }

    fn up(&self) -> Vec<u64> {
        let ids = self.cluster.stores.keys().copied();
        ids.filter(|id| self.cluster.state(*id, self.now) == State::Up).collect()
    }

    /// The least overlap that a Region can have on these stores.
    fn least_overlap(&self, stores: &[u64]) -> Option<Overlap> {
        let sets = (0u32..1 << stores.len()).filter(|set| {
            usize::try_from(set.count_ones()).unwrap() == self.cluster.settings.replicas
        });
        let chosen = sets.map(|set| {
            let chosen = stores.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0);
            chosen.map(|(_, store)| *store).collect::<Vec<_>>()
        });
        chosen.map(|stores| overlap(&self.cluster, &stores)).min()
    }

    /// What must be true at rest.
    fn check_rest(&self, plan: &Plan) {
        let (up, wanted) = (self.up(), &self.cluster.settings);
        if up.len() < wanted.replicas {
            return self.check_shortage(plan, up.len());
        }
        let least = self.least_overlap(&up).unwrap();
        for region in self.cluster.regions.values() {
            assert_eq!(region.voters().count(), wanted.replicas, "{region:?}");
            assert_eq!(region.learners().count(), 0, "{region:?}");
            assert!(region.stores().all(|store| up.contains(&store)), "{region:?}");
            let stores: Vec<u64> = region.stores().collect();
            assert_eq!(overlap(&self.cluster, &stores), least, "{region:?} in {:?}", self.cluster);
        }
        for (id, store) in &self.cluster.stores {
            let is_empty = self.cluster.regions_on(*id) == 0;
            assert!(store.wish == Wish::Serve || is_empty, "store {id} is not drained");
        }
        self.check_leaders(&up);
        self.check_balance(&up);
    }

    /// Too few stores are up: nothing is given up, and every Region has its reason.
    fn check_shortage(&self, plan: &Plan, up: usize) {
        for region in self.cluster.regions.values() {
            assert!(region.voters().count() >= up.min(self.cluster.settings.replicas));
            assert!(region.leader.is_some());
            let state = |store| self.cluster.state(store, self.now);
            let good = region.voters().filter(|peer| state(peer.store) == State::Up).count();
            if good < self.cluster.settings.replicas {
                assert!(plan.left_out.contains_key(&region.id()), "no reason for {region:?}");
            }
        }
    }

    fn check_leaders(&self, up: &[u64]) {
        let may_lead = |store: u64| !self.cluster.stores[&store].evict_leaders;
        for region in self.cluster.regions.values() {
            let leader = region.leader_store().unwrap();
            if !may_lead(leader) {
                assert!(!region.stores().any(may_lead), "{region:?} has a leader to evict");
            }
            for other in region.stores().filter(|store| may_lead(*store) && may_lead(leader)) {
                let (many, few) = (self.cluster.leaders_on(leader), self.cluster.leaders_on(other));
                assert!(many <= few + self.cluster.settings.tolerance, "{region:?} {up:?}");
            }
        }
    }

    fn check_balance(&self, up: &[u64]) {
        let count = |store: &u64| self.cluster.regions_on(*store);
        let tolerance = self.cluster.settings.tolerance;
        if self.cluster.settings.labels.is_empty() {
            let most = up.iter().map(count).max().unwrap_or_default();
            let least = up.iter().map(count).min().unwrap_or_default();
            assert!(most <= least + tolerance, "{most} and {least} Regions");
        }
        for region in self.cluster.regions.values() {
            let stores: Vec<u64> = region.stores().collect();
            for (at, from) in stores.iter().enumerate() {
                for to in up.iter().filter(|to| !stores.contains(to)) {
                    let mut moved = stores.clone();
                    moved[at] = *to;
                    let worse = overlap(&self.cluster, &moved) > overlap(&self.cluster, &stores);
                    let balanced = count(from) <= count(to) + tolerance;
                    assert!(worse || balanced, "{region:?} should move from {from} to {to}");
                }
            }
        }
    }
}

fn config() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(512), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn clusters_are_repaired_and_come_to_rest(shape in shapes()) {
        let mut simulation = Simulation::new(&shape);
        let mut at: Vec<usize> =
            (0..shape.events).map(|_| simulation.rng.usize(0..EVENTS_UNTIL)).collect();
        at.sort_unstable();
        for tick in 0..EVENTS_UNTIL {
            for _ in at.iter().filter(|at| **at == tick) {
                simulation.event();
            }
            simulation.tick();
        }
        let rest = simulation.settle();
        simulation.check_rest(&rest);
        let shapes = |cluster: &Cluster| {
            cluster.regions.values().map(|region| region.descriptor.clone()).collect::<Vec<_>>()
        };
        let before = shapes(&simulation.cluster);
        for _ in 0..20 {
            let plan = simulation.tick();
            prop_assert!(plan.proposals.is_empty(), "a swing: {:?}", plan.proposals);
        }
        prop_assert_eq!(before, shapes(&simulation.cluster));
    }
}
