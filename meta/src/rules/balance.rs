//! Balance: stores have about equally many Regions.
//!
//! ```text
//!   store 1 has 9, store 4 is new and has 0     region 2: add 4, promote 4, remove 1
//! ```
//!
//! A replica moves only between stores that differ by more than the tolerance, and only where its
//! Region then stands as far apart as before: labels matter more than counts. Of the Regions that
//! fit, one that the source does not lead moves first, and of those the one with the fewest bytes.

use std::{collections::BTreeMap, time::Duration};

use super::{Found, Proposal, leaders::pairs, replace, sound, spread::overlap_after, up};
use crate::{
    cluster::{Cluster, Counted, Region},
    placement,
    words::number,
};

/// The move between the two stores that differ most.
pub fn propose(cluster: &Cluster, now: Duration) -> Found {
    let cluster = &Counted::new(cluster);
    let ids = up(cluster, now).into_iter();
    let counts: BTreeMap<u64, usize> = ids.map(|id| (id, cluster.regions_on(id))).collect();
    let mut found = Found::default();
    for (from, to) in pairs(&counts, cluster.settings.tolerance.max(1)) {
        let fit = sound(cluster, now).filter(|region| fits(cluster, region, from, to, now));
        let best = fit.min_by_key(|r| (r.leader_store() == Some(from), r.bytes, r.id()));
        let peer = best.and_then(|region| Some((region, region.on(from)?)));
        let Some((region, peer)) = peer else { continue };
        let count = |store| counts.get(&store).copied().unwrap_or_default();
        let (many, few) = (count(from), count(to));
        let why = format!(
            "store {from} has {} and store {to} has {few}; its replica moves to store {to}",
            number(many, "Region")
        );
        found.proposals.push(Proposal::new(region, replace(cluster, region, peer, to, now), &why));
        break;
    }
    found
}

/// Whether a replica of the Region may move between these stores.
fn fits(cluster: &Counted<'_>, region: &Region, from: u64, to: u64, now: Duration) -> bool {
    let stores: Vec<u64> = region.stores().collect();
    stores.contains(&from)
        && placement::why_not(cluster, region, to, now).is_none()
        && overlap_after(cluster, &stores, from, to) <= placement::overlap(cluster, &stores)
}
