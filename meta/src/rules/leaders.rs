//! Leaders: stores lead about equally many Regions, and those that shall lead none do not.
//!
//! ```text
//!   store 1 leads 6, store 2 leads 2, tolerance 2     region 4: lead 2
//!   store 1 leads 4, store 2 leads 2                  nothing: 4 and 2 differ by no more than 2
//! ```
//!
//! A leader moves only between stores that differ by more than the tolerance, and by at least 2: a
//! move between 3 and 2 would make 2 and 3, and would be undone in the next round.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use super::{Found, Proposal, may_lead, next_leader, up};
use crate::{
    cluster::{Cluster, Counted, Region},
    operator::Step,
    words::number,
};

/// Which Regions should be led by another store.
pub fn propose(cluster: &Cluster, now: Duration) -> Found {
    let cluster = &Counted::new(cluster);
    let mut found = Found::default();
    for region in cluster.regions.values() {
        let Some(from) = region.leader_store() else { continue };
        if !cluster.stores.get(&from).is_some_and(|store| store.evict_leaders) {
            continue;
        }
        let answer = match (cluster.why_not(region, now), next_leader(cluster, region, from, now)) {
            (Some(why), _) => Err(why),
            (None, None) => Err(format!("store {from} shall lead nothing and no other can")),
            (None, Some(store)) => {
                let why = format!("store {from} shall lead nothing; store {store} leads");
                Ok(Proposal::new(region, vec![Step::TransferLeader { store }], &why))
            }
        };
        found.add(region.id(), answer);
    }
    if found.proposals.is_empty() {
        found.proposals.extend(level(cluster, now));
    }
    found
}

/// The move between the two stores that differ most.
fn level(cluster: &Counted<'_>, now: Duration) -> Option<Proposal> {
    let mut leaders: BTreeMap<u64, usize> =
        up(cluster, now).into_iter().map(|id| (id, 0)).collect();
    leaders.retain(|id, _| cluster.stores.get(id).is_some_and(|store| !store.evict_leaders));
    for store in cluster.regions.values().filter_map(Region::leader_store) {
        if let Some(count) = leaders.get_mut(&store) {
            *count += 1;
        }
    }
    let tolerance = cluster.settings.tolerance.max(1);
    for (from, to) in pairs(&leaders, tolerance) {
        let mut led = cluster.regions.values().filter(|region| region.leader_store() == Some(from));
        let fits = |region: &&Region| {
            cluster.why_not(region, now).is_none() && may_lead(cluster, region, to, now)
        };
        if let Some(region) = led.find(fits) {
            let count = |store| leaders.get(&store).copied().unwrap_or_default();
            let (many, few) = (count(from), count(to));
            let why = format!(
                "store {from} leads {} and store {to} leads {few}; store {to} takes this one",
                number(many, "Region")
            );
            return Some(Proposal::new(region, vec![Step::TransferLeader { store: to }], &why));
        }
    }
    None
}

/// Pairs of stores whose counts differ by more than the tolerance, the most different first.
pub(super) fn pairs(counts: &BTreeMap<u64, usize>, tolerance: usize) -> Vec<(u64, u64)> {
    let mut pairs = Vec::new();
    for (from, many) in counts {
        for (to, few) in counts {
            let difference = many.saturating_sub(*few);
            if difference > tolerance {
                pairs.push((Reverse(difference), *from, *to));
            }
        }
    }
    pairs.sort_unstable();
    pairs.into_iter().map(|(_, from, to)| (from, to)).collect()
}
