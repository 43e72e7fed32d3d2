//! Repair: every Region has as many voters as are wanted, on stores that are not lost.
//!
//! ```text
//!   1 2 3     store 3 is down for 31 s        add 5, promote 5, remove 3
//!   1 2       2 voters of 3                   add 5, promote 5
//!   1 2 3 5   5 was added for 3               remove 3, or whichever is the worst
//!   1 2 3 4l  a learner that nobody needs     remove 4
//! ```
//!
//! The lost replica goes last: until its replacement votes it still counts, and it may come back.
//! Regions with the fewest voters left come first.

use std::{cmp::Reverse, time::Duration};

use neokv_encoding::raft::Peer;

use super::{Found, Proposal, destination, remove, replace};
use crate::{
    cluster::{Cluster, Counted, Region, State},
    operator::Step,
    placement,
    words::number,
};

/// What has to be repaired.
pub fn propose(cluster: &Cluster, now: Duration) -> Found {
    let cluster = &Counted::new(cluster);
    let mut found = Found::default();
    let mut regions: Vec<&Region> = cluster.regions.values().collect();
    regions.sort_by_key(|region| (kept(cluster, region, now).count(), region.id()));
    for region in regions {
        if let Some(answer) = repair(cluster, region, now) {
            let answer = cluster.why_not(region, now).map_or(answer, Err);
            found.add(region.id(), answer);
        }
    }
    found
}

fn is_lost(cluster: &Counted<'_>, peer: &Peer, now: Duration) -> bool {
    cluster.state(peer.store, now).is_lost()
}

/// The voters that are not lost.
fn kept<'a>(
    cluster: &Counted<'_>,
    region: &'a Region,
    now: Duration,
) -> impl Iterator<Item = &'a Peer> {
    region.voters().filter(move |peer| !is_lost(cluster, peer, now))
}

/// What is wrong with a Region, if anything, and what to do or why nothing can be done.
fn repair(
    cluster: &Counted<'_>,
    region: &Region,
    now: Duration,
) -> Option<Result<Proposal, String>> {
    let wanted = cluster.settings.replicas;
    let kept = kept(cluster, region, now).count();
    if let Some(lost) = region.voters().find(|peer| is_lost(cluster, peer, now)) {
        return Some(replace_lost(cluster, region, lost, kept, now));
    }
    if kept < wanted {
        return Some(add(cluster, region, kept, now));
    }
    if kept > wanted {
        let worst = worst(cluster, region, now)?;
        let why = format!(
            "{}, {wanted} wanted; the one on store {} goes: {}",
            number(kept, "voter"),
            worst.store,
            why_worst(cluster, worst.store, now)
        );
        return Some(
            remove(cluster, region, worst, now).map(|steps| Proposal::new(region, steps, &why)),
        );
    }
    // A store that is drained needs a new replica soon, and the learner can be it.
    let is_leaving = |peer: &Peer| cluster.state(peer.store, now) == State::Draining;
    let is_needed = |peer: &&Peer| {
        region.voters().any(is_leaving) && cluster.state(peer.store, now) == State::Up
    };
    let learner = region.learners().find(|peer| !is_needed(peer))?;
    let why = format!("the learner on store {} is not needed", learner.store);
    let steps = vec![Step::Remove { peer: learner.id, store: learner.store }];
    Some(Ok(Proposal::new(region, steps, &why)))
}

/// Replaces a voter that is lost.
fn replace_lost(
    cluster: &Counted<'_>,
    region: &Region,
    lost: &Peer,
    kept: usize,
    now: Duration,
) -> Result<Proposal, String> {
    let wrong = cluster.describe(lost.store, now);
    if kept >= cluster.settings.replicas {
        let why = format!("{wrong}; its replica goes, enough others vote");
        return Ok(Proposal::new(region, remove(cluster, region, lost, now)?, &why));
    }
    let (store, place) = destination(cluster, region, Some(lost.store), now)
        .map_err(|none| format!("{wrong}, and {none}"))?;
    let why = format!("{wrong}; its replica goes to {place}");
    Ok(Proposal::new(region, replace(cluster, region, lost, store, now), &why))
}

/// Adds a voter.
fn add(
    cluster: &Counted<'_>,
    region: &Region,
    kept: usize,
    now: Duration,
) -> Result<Proposal, String> {
    let wrong = format!("{}, {} wanted", number(kept, "voter"), cluster.settings.replicas);
    let (store, place) =
        destination(cluster, region, None, now).map_err(|none| format!("{wrong}, and {none}"))?;
    let mut steps = vec![Step::AddLearner { store }, Step::Promote { store }];
    if region.on(store).is_some() {
        steps.remove(0);
    }
    Ok(Proposal::new(region, steps, &format!("{wrong}; one more goes to {place}")))
}

/// The voter that is missed least: on a store in the worst state, behind the others, sharing the
/// most labels with them, on the store with the most Regions, with the highest id.
fn worst<'a>(cluster: &Counted<'_>, region: &'a Region, now: Duration) -> Option<&'a Peer> {
    // A leader that nobody can follow stays, and one of the others goes.
    let free = region.voters().filter(|peer| remove(cluster, region, peer, now).is_ok());
    free.max_by_key(|peer| {
        let others: Vec<u64> = region.stores().filter(|store| *store != peer.store).collect();
        let overlap = placement::overlap_with(cluster, peer.store, &others);
        (
            cluster.state(peer.store, now),
            Reverse(region.has_caught_up(peer)),
            overlap,
            cluster.regions_on(peer.store),
            peer.store,
        )
    })
}

fn why_worst(cluster: &Counted<'_>, store: u64, now: Duration) -> String {
    match cluster.state(store, now) {
        State::Up => "of all it adds the least".to_owned(),
        _ => cluster.describe(store, now),
    }
}
