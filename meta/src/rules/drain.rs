//! Drain: a store that people want to switch off gets empty.
//!
//! ```text
//!   1 2 3*    store 3 is drained     add 4, promote 4, lead 1, remove 3
//!   1 2 3*    nowhere to go          lead 1: at least its clients need not move later
//! ```
//!
//! Only a replica that needs a new place is moved here: learners, and voters of a Region that has
//! more than enough, are removed by [`super::repair`].
//!
//! When its last replica is gone the store is a tombstone, and can be switched off. Nobody has to
//! record that: it follows from the wish and from the Regions.

use std::time::Duration;

use neokv_encoding::raft::Peer;

use super::{Found, Proposal, destination, next_leader, replace};
use crate::{
    cluster::{Cluster, Counted, Region, State},
    operator::Step,
};

/// What has to leave the stores that are drained.
pub fn propose(cluster: &Cluster, now: Duration) -> Found {
    let cluster = &Counted::new(cluster);
    let mut found = Found::default();
    let wanted = cluster.settings.replicas;
    for region in cluster.regions.values().filter(|region| region.voters().count() <= wanted) {
        let is_leaving = |peer: &&Peer| cluster.state(peer.store, now) == State::Draining;
        let Some(peer) = region.voters().find(is_leaving) else { continue };
        match cluster.why_not(region, now) {
            Some(why) => found.add(region.id(), Err(why)),
            None => leave(cluster, region, peer, now, &mut found),
        }
    }
    found
}

/// Moves one replica away, or at least its leader.
fn leave(cluster: &Counted<'_>, region: &Region, peer: &Peer, now: Duration, found: &mut Found) {
    let store = peer.store;
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
                let why = format!("store {store} is drained; store {next} leads, and {none}");
                let steps = vec![Step::TransferLeader { store: next }];
                found.add(region.id(), Ok(Proposal::new(region, steps, &why)));
            }
        }
    }
}
