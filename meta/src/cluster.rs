//! What is known of the cluster at one instant: the input of every rule.
//!
//! ```text
//! settings   replicas 3 · labels zone, rack · disconnected after 20 s · down after 30 min
//! store 3    zone=b rack=2 · 40 of 100 GiB · heard of 31 s ago · serves
//! region 7   slots 0-8191 · epoch 4-9 · peers 71 on 1, 72 on 2, 73 on 3 · led by 71
//! ```
//!
//! Stores and Regions report; this is the sum of their reports. Nothing in it is a decision, except
//! what people wish of a store: that it serves, that it is emptied, that it leads nothing. The
//! state of a store is derived from that wish and from the age of its last heartbeat:
//!
//! ```text
//!   Up ──no heartbeat──▶ Disconnected ──still none──▶ Down     replicas are replaced
//!   │
//!   └──wish: drain──▶ Draining ──nothing left on it──▶ Tombstone
//! ```
//!
//! Every map is sorted, so that two nodes with the same knowledge come to the same decisions.
//! Points in time are durations since an origin that the caller chooses; no clock is read here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::Deref,
    time::Duration,
};

use neokv_encoding::{
    raft::{Peer, PeerRole},
    region::{Descriptor, RegionState},
};

/// What is known of all stores and Regions, and what is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Cluster {
    /// Stores by their ids.
    pub stores: BTreeMap<u64, Store>,
    /// Regions by their ids.
    pub regions: BTreeMap<u64, Region>,
    /// Regions that an operator works on: no rule proposes anything for them.
    pub busy: BTreeSet<u64>,
    /// What is wanted.
    pub settings: Settings,
}

/// A server with its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Where it stands: `zone` → `b`. Replicas of a Region are kept apart by these.
    pub labels: BTreeMap<String, String>,
    /// Size of its disk in bytes.
    pub capacity: u64,
    /// Bytes of it that are used.
    pub used: u64,
    /// When it was last heard of.
    pub heartbeat: Duration,
    /// What people want of it.
    pub wish: Wish,
    /// Whether it shall lead no Region; it keeps its replicas.
    pub evict_leaders: bool,
}

/// What people want of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It takes replicas and leaders.
    Serve,
    /// It is emptied, to be switched off.
    Drain,
}

/// What may be expected of a store now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It serves, and takes new replicas.
    Up,
    /// It has been silent for a while. It gets nothing new, and keeps what it has.
    Disconnected,
    /// It is being emptied.
    Draining,
    /// It has been silent for so long that its replicas are replaced.
    Down,
    /// It was emptied, or nobody knows it (any more).
    Tombstone,
}

impl State {
    /// Whether the replicas on such a store are as good as lost.
    pub fn is_lost(self) -> bool {
        matches!(self, State::Down | State::Tombstone)
    }
}

/// As it stands behind "store 3 is".
impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Up => "up",
            State::Disconnected => "disconnected",
            State::Draining => "draining",
            State::Down => "down",
            State::Tombstone => "a tombstone",
        })
    }
}

/// A Region, as its leader last reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Its slots, shape and replicas.
    pub descriptor: Descriptor,
    /// Peer id of its leader, if one is known.
    pub leader: Option<u64>,
    /// Bytes of data.
    pub bytes: u64,
    /// Peer ids of replicas that have not caught up with the log.
    pub pending: BTreeSet<u64>,
}

impl Region {
    /// Its id.
    pub fn id(&self) -> u64 {
        self.descriptor.id
    }

    /// The replica on a store.
    pub fn on(&self, store: u64) -> Option<&Peer> {
        self.descriptor.peers.iter().find(|peer| peer.store == store)
    }

    /// The replicas that vote.
    pub fn voters(&self) -> impl Iterator<Item = &Peer> {
        self.descriptor.peers.iter().filter(|peer| peer.role == PeerRole::Voter)
    }

    /// The replicas that only receive the log.
    pub fn learners(&self) -> impl Iterator<Item = &Peer> {
        self.descriptor.peers.iter().filter(|peer| peer.role == PeerRole::Learner)
    }

    /// Stores of all replicas.
    pub fn stores(&self) -> impl Iterator<Item = u64> {
        self.descriptor.peers.iter().map(|peer| peer.store)
    }

    /// The store that leads it, if one is known.
    pub fn leader_store(&self) -> Option<u64> {
        let leader = self.leader?;
        self.descriptor.peers.iter().find(|peer| peer.id == leader).map(|peer| peer.store)
    }

    /// Whether the replica has what the leader has.
    pub fn has_caught_up(&self, peer: &Peer) -> bool {
        !self.pending.contains(&peer.id)
    }
}

/// What is wanted of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Voters of each Region.
    pub replicas: usize,
    /// Keys of the labels that keep replicas apart, the weightiest first.
    pub labels: Vec<String>,
    /// Silence after which a store gets nothing new.
    pub disconnected_after: Duration,
    /// Silence after which the replicas of a store are replaced.
    pub down_after: Duration,
    /// By how many Regions, or leaders, two stores may differ. At least 1 counts.
    pub tolerance: usize,
    /// Percentage of a disk above which a store gets no new replica.
    pub full_percent: u64,
    /// How much may be in progress at once.
    pub limits: Limits,
}

/// How much may be in progress at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Operators that give work to one store: a replica to take, or Regions to lead.
    pub per_store: usize,
    /// Operators in all.
    pub total: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            replicas: 3,
            labels: Vec::new(),
            disconnected_after: Duration::from_secs(20),
            down_after: Duration::from_secs(30 * 60),
            tolerance: 2,
            full_percent: 85,
            limits: Limits { per_store: 4, total: 64 },
        }
    }
}

impl Cluster {
    /// What may be expected of a store at the instant `now`.
    pub fn state(&self, id: u64, now: Duration) -> State {
        let Some(store) = self.stores.get(&id) else { return State::Tombstone };
        let silent = now.saturating_sub(store.heartbeat);
        let is_empty = || self.regions.values().all(|region| region.on(id).is_none());
        if store.wish == Wish::Drain && is_empty() {
            State::Tombstone
        } else if silent >= self.settings.down_after {
            State::Down
        } else if store.wish == Wish::Drain {
            State::Draining
        } else if silent >= self.settings.disconnected_after {
            State::Disconnected
        } else {
            State::Up
        }
    }

    /// The state of a store in words: `store 3 is down for 31 s`.
    pub fn describe(&self, id: u64, now: Duration) -> String {
        let state = self.state(id, now);
        match self.stores.get(&id) {
            None => format!("store {id} is unknown"),
            Some(store) if matches!(state, State::Down | State::Disconnected) => {
                let silent = now.saturating_sub(store.heartbeat).as_secs();
                format!("store {id} is {state} for {silent} s")
            }
            Some(_) => format!("store {id} is {state}"),
        }
    }

    /// How many Regions have a replica on a store.
    pub fn regions_on(&self, store: u64) -> usize {
        self.regions.values().filter(|region| region.on(store).is_some()).count()
    }

    /// How many Regions a store leads.
    pub fn leaders_on(&self, store: u64) -> usize {
        self.regions.values().filter(|region| region.leader_store() == Some(store)).count()
    }

    /// Why no rule may propose anything for a Region now, if so.
    pub fn why_not(&self, region: &Region, now: Duration) -> Option<String> {
        let id = region.id();
        if self.busy.contains(&id) {
            return Some("an operator works on it".to_owned());
        }
        if region.descriptor.state == RegionState::Merging {
            return Some("it is being merged".to_owned());
        }
        match region.leader_store() {
            None => Some("no leader is known, so nobody can change it".to_owned()),
            Some(store) if self.state(store, now).is_lost() => {
                Some(format!("its leader is lost: {}", self.describe(store, now)))
            }
            Some(_) => None,
        }
    }
}

/// A cluster whose Regions were counted once, for rules that ask again and again.
#[derive(Debug)]
pub struct Counted<'a> {
    cluster: &'a Cluster,
    regions: BTreeMap<u64, usize>,
    leaders: BTreeMap<u64, usize>,
}

impl<'a> Counted<'a> {
    /// Counts the Regions and leaders of every store.
    pub fn new(cluster: &'a Cluster) -> Counted<'a> {
        let (mut regions, mut leaders) = (BTreeMap::new(), BTreeMap::new());
        for region in cluster.regions.values() {
            for store in region.stores() {
                *regions.entry(store).or_default() += 1;
            }
            if let Some(store) = region.leader_store() {
                *leaders.entry(store).or_default() += 1;
            }
        }
        Counted { cluster, regions, leaders }
    }

    /// As [`Cluster::regions_on`].
    pub fn regions_on(&self, store: u64) -> usize {
        self.regions.get(&store).copied().unwrap_or_default()
    }

    /// As [`Cluster::leaders_on`].
    pub fn leaders_on(&self, store: u64) -> usize {
        self.leaders.get(&store).copied().unwrap_or_default()
    }
}

/// Everything else is as in the cluster.
impl Deref for Counted<'_> {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.cluster
    }
}
