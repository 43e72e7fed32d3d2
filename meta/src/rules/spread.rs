//! Spread: the replicas of a Region stand as far apart as the labels allow.
//!
//! ```text
//!   1 zone a · 2 zone a · 3 zone b     store 4 of zone c is new     add 4, promote 4, remove 2
//! ```
//!
//! Stores come back, are added and get labels. This rule moves one replica where that lowers the
//! overlap of its Region, and takes the move that lowers it most.

use std::time::Duration;

use neokv_encoding::raft::Peer;

use super::{Found, Proposal, replace, sound, up};
use crate::{
    cluster::{Cluster, Counted, Region},
    placement::{self, Overlap},
};

/// Which replicas can stand further apart.
pub fn propose(cluster: &Cluster, now: Duration) -> Found {
    let cluster = &Counted::new(cluster);
    let mut found = Found::default();
    if cluster.settings.labels.is_empty() {
        return found;
    }
    for region in sound(cluster, now) {
        let Some((peer, store)) = best_move(cluster, region, now) else { continue };
        let stores: Vec<u64> = region.stores().collect();
        let after = overlap_after(cluster, &stores, peer.store, store);
        let gain = placement::gain(cluster, &after, &placement::overlap(cluster, &stores));
        let why = format!(
            "its replica on store {} moves to store {store}, so that fewer share a {}",
            peer.store,
            gain.map_or("label", |(_, key)| key)
        );
        let steps = replace(cluster, region, peer, store, now);
        found.proposals.push(Proposal::new(region, steps, &why));
    }
    found
}

/// The replica and the store that lower the overlap of the Region most, if any do.
fn best_move<'a>(
    cluster: &Counted<'_>,
    region: &'a Region,
    now: Duration,
) -> Option<(&'a Peer, u64)> {
    let stores: Vec<u64> = region.stores().collect();
    let as_it_is = placement::overlap(cluster, &stores);
    let mut fit = up(cluster, now);
    fit.retain(|store| placement::why_not(cluster, region, *store, now).is_none());
    let moves = region.voters().flat_map(|peer| fit.iter().map(move |store| (peer, *store)));
    let after = moves.map(|(peer, store)| {
        let cost = (region.leader == Some(peer.id), cluster.regions_on(store), store);
        (overlap_after(cluster, &stores, peer.store, store), cost, peer)
    });
    let (overlap, (_, _, store), peer) = after.min_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)))?;
    (overlap < as_it_is).then_some((peer, store))
}

/// The overlap once a replica has moved.
pub(super) fn overlap_after(cluster: &Counted<'_>, stores: &[u64], from: u64, to: u64) -> Overlap {
    let moved: Vec<u64> = stores.iter().map(|s| if *s == from { to } else { *s }).collect();
    placement::overlap(cluster, &moved)
}
