//! Clusters as compact text.
//!
//! ```text
//! settings labels=zone,rack tolerance=1
//! store 3 zone=b silent=31 used=40 drain evict
//! region 7: 1* 2 3l 4l!          * leads, l is a learner, ! has not caught up
//! ```
//!
//! A disk has 100 bytes. A store is disconnected after 10 s of silence and down after 30 s. The
//! peer of Region 7 on store 3 is 703.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use neokv_encoding::{
    epoch::Epoch,
    raft::{Peer, PeerRole},
    region::{Descriptor, RegionState},
    slot::SlotRange,
};
use neokv_meta::{
    cluster::{Cluster, Region, Settings, Store, Wish},
    operator::Step,
    rules::Proposal,
};

pub const NOW: Duration = Duration::from_secs(1000);

pub fn settings() -> Settings {
    Settings {
        disconnected_after: Duration::from_secs(10),
        down_after: Duration::from_secs(30),
        ..Settings::default()
    }
}

pub fn cluster(text: &str) -> Cluster {
    let mut cluster = Cluster { settings: settings(), ..Cluster::default() };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[0] {
            "settings" => words[1..].iter().for_each(|word| set(&mut cluster.settings, word)),
            "store" => {
                cluster.stores.insert(words[1].parse().unwrap(), store(&words[2..]));
            }
            "region" => {
                let id = words[1].trim_end_matches(':').parse().unwrap();
                cluster.regions.insert(id, region(id, &words[2..]));
            }
            other => panic!("{other} is no kind of line"),
        }
    }
    cluster
}

fn set(settings: &mut Settings, word: &str) {
    let (key, value) = word.split_once('=').unwrap();
    match key {
        "labels" => settings.labels = value.split(',').map(str::to_owned).collect(),
        "replicas" => settings.replicas = value.parse().unwrap(),
        "tolerance" => settings.tolerance = value.parse().unwrap(),
        "per_store" => settings.limits.per_store = value.parse().unwrap(),
        "total" => settings.limits.total = value.parse().unwrap(),
        other => panic!("{other} is no setting"),
    }
}

fn store(words: &[&str]) -> Store {
    let (labels, wish, evict_leaders) = (BTreeMap::new(), Wish::Serve, false);
    let mut store = Store { labels, capacity: 100, used: 0, heartbeat: NOW, wish, evict_leaders };
    for word in words {
        match word.split_once('=') {
            None if *word == "drain" => store.wish = Wish::Drain,
            None if *word == "evict" => store.evict_leaders = true,
            None => panic!("{word} is nothing about a store"),
            Some(("silent", s)) => store.heartbeat = NOW - Duration::from_secs(s.parse().unwrap()),
            Some(("used", bytes)) => store.used = bytes.parse().unwrap(),
            Some((key, value)) => {
                store.labels.insert(key.to_owned(), value.to_owned());
            }
        }
    }
    store
}

/// A Region from words such as `1*`, `2` and `3l!`, or `merging`.
pub fn region(id: u64, words: &[&str]) -> Region {
    let epoch = Epoch { version: 1, conf_ver: 5 };
    let (slots, state) = (SlotRange::ALL, RegionState::Normal);
    let descriptor = Descriptor { id, slots, epoch, peers: Vec::new(), state };
    let mut region = Region { descriptor, leader: None, bytes: 1, pending: BTreeSet::new() };
    for word in words {
        if *word == "merging" {
            region.descriptor.state = RegionState::Merging;
            continue;
        }
        let digits = word.trim_end_matches(|c: char| !c.is_ascii_digit());
        let marks = &word[digits.len()..];
        let store: u64 = digits.parse().unwrap();
        let role = if marks.contains('l') { PeerRole::Learner } else { PeerRole::Voter };
        let peer = Peer { id: id * 100 + store, store, role };
        region.descriptor.peers.push(peer);
        if marks.contains('*') {
            region.leader = Some(peer.id);
        }
        if marks.contains('!') {
            region.pending.insert(peer.id);
        }
    }
    region
}

/// A proposal in two lines.
pub fn show(proposal: &Proposal) -> String {
    let steps: Vec<String> = proposal.steps.iter().map(Step::to_string).collect();
    format!("{}\n> {}\n", proposal.reason, steps.join(", "))
}
