//! What the rules would do for a small cluster, and why: `cargo run -p neokv-meta --example rules`.
//!
//! Five stores in three zones. Store 3 is down, store 2 is being drained, and store 1 leads
//! everything. Rounds follow each other, every step succeeds at once, until nothing is proposed.

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
    cluster::{Cluster, Region, State, Store, Wish},
    operator::Step,
    plan::plan,
};

const NOW: Duration = Duration::from_secs(10_000);

fn main() {
    let mut cluster = small_cluster();
    for round in 1.. {
        println!("round {round}");
        print(&cluster);
        let plan = plan(&cluster, &[], NOW);
        for proposal in &plan.proposals {
            let steps: Vec<String> = proposal.steps.iter().map(Step::to_string).collect();
            println!("  ▸ {}\n      {}", proposal.reason, steps.join(", "));
        }
        for (region, why) in &plan.left_out {
            println!("  · region {region} has to wait: {why}");
        }
        if plan.proposals.is_empty() {
            println!("  nothing is left to do");
            return;
        }
        for proposal in plan.proposals {
            carry_out(&mut cluster, proposal.region, &proposal.steps);
        }
    }
}

/// The cluster that this example is about.
fn small_cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.settings.labels = vec!["zone".to_owned()];
    cluster.settings.tolerance = 1;
    for (id, zone) in [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c")] {
        let store = Store {
            labels: BTreeMap::from([("zone".to_owned(), zone.to_owned())]),
            capacity: 1 << 40,
            used: id << 30,
            heartbeat: if id == 3 { Duration::ZERO } else { NOW },
            wish: if id == 2 { Wish::Drain } else { Wish::Serve },
            evict_leaders: false,
        };
        cluster.stores.insert(id, store);
    }
    let replicas: [[u64; 3]; 4] = [[1, 2, 3], [1, 3, 5], [1, 4, 5], [1, 2, 5]];
    for (id, stores) in (1..).zip(replicas) {
        let start = u16::try_from(id - 1).unwrap_or(0) * 4096;
        let peer = |store| Peer { id: id * 10 + store, store, role: PeerRole::Voter };
        let descriptor = Descriptor {
            id,
            slots: SlotRange { start, end: start + 4096 },
            epoch: Epoch { version: 1, conf_ver: 1 },
            peers: stores.map(peer).to_vec(),
            state: RegionState::Normal,
        };
        let (leader, pending) = (Some(id * 10 + 1), BTreeSet::new());
        cluster.regions.insert(id, Region { descriptor, leader, bytes: 1 << 30, pending });
    }
    cluster
}

/// All steps of an operator, at once.
fn carry_out(cluster: &mut Cluster, id: u64, steps: &[Step]) {
    let Some(region) = cluster.regions.get_mut(&id) else { return };
    for step in steps {
        let epoch = &mut region.descriptor.epoch;
        epoch.conf_ver += 1;
        let new = id * 10_000 + epoch.conf_ver;
        step.apply(&mut region.descriptor.peers);
        for peer in region.descriptor.peers.iter_mut().filter(|peer| peer.id == 0) {
            peer.id = new;
        }
        if let Step::TransferLeader { store } = *step {
            region.leader = region.on(store).map(|peer| peer.id);
        }
    }
}

fn print(cluster: &Cluster) {
    for id in cluster.stores.keys() {
        let (regions, leads) = (cluster.regions_on(*id), cluster.leaders_on(*id));
        let state = match cluster.state(*id, NOW) {
            State::Tombstone => "is empty and can be switched off".to_owned(),
            state => format!("is {state}, has {regions} Regions and leads {leads}"),
        };
        println!("  store {id} {state}");
    }
    for region in cluster.regions.values() {
        let name = |store| {
            if region.leader_store() == Some(store) {
                format!("{store}*")
            } else {
                store.to_string()
            }
        };
        let stores: Vec<String> = region.stores().map(name).collect();
        println!("  region {} on stores {}", region.id(), stores.join(" "));
    }
}
