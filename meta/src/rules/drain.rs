//! Drain: a store that people want to switch off gets empty.
//!
//! ```text
//!   1 2 3*    store 3 is drained     add 4, promote 4, lead 1, remove 3
//!   1 2 3*    nowhere to go          lead 1: at least its clients need not move later
//! ```
//!
//! When its last replica is gone the store is a tombstone, and can be switched off. Nobody has to
//! record that: it follows from the wish and from the Regions.

use std::time::Duration;

use neokv_encoding::raft::{Peer, PeerRole};

use super::{Found, Proposal, destination, next_leader, remove, replace};
use crate::{
    cluster::{Cluster, Region, State},
    operator::Step,
};

/// What has to leave the stores that are drained.
pub fn propose(cluster: &Cluster, now: Duration) -> Found {
    let mut found = Found::default();
    for region in cluster.regions.values() {
        let mut peers = region.descriptor.peers.iter();
        let is_leaving = |peer: &&Peer| cluster.state(peer.store, now) == State::Draining;
        let Some(peer) = peers.find(is_leaving) else { continue };
        match cluster.why_not(region, now) {
            Some(why) => found.add(region.id(), Err(why)),
            None => leave(cluster, region, peer, now, &mut found),
        }
    }
    found
}

/// Moves one replica away.
fn leave(cluster: &Cluster, region: &Region, peer: &Peer, now: Duration, found: &mut Found) {
    let store = peer.store;
    if peer.role == PeerRole::Learner {
        let why = format!("store {store} is drained, and its learner is not needed");
        let steps = vec![Step::Remove { peer: peer.id, store }];
        return found.add(region.id(), Ok(Proposal::new(region, steps, &why)));
    }
    if region.voters().count() > cluster.settings.replicas {
        let why = format!("store {store} is drained, and enough others vote");
        let steps = remove(cluster, region, peer, now);
        return found.add(region.id(), steps.map(|steps| Proposal::new(region, steps, &why)));
    }
    match destination(cluster, region, Some(store), now) {
        Ok((to, place)) => {
            let why = format!("store {store} is drained; its replica goes to {place}");
            let steps = replace(cluster, region, peer, to, now);
            found.add(region.id(), Ok(Proposal::new(region, steps, &why)));
        }
        Err(none) => {
            found.add(region.id(), Err(format!("store {store} is drained, and {none}")));
            let leads = region.leader == Some(peer.id);
            let next = next_leader(cluster, region, store, now).filter(|_| leads);
            if let Some(next) = next {
                let why = format!(
                    "store {store} is drained; store {next} leads, the replica stays: {none}"
                );
                let steps = vec![Step::TransferLeader { store: next }];
                found.add(region.id(), Ok(Proposal::new(region, steps, &why)));
            }
        }
    }
}
