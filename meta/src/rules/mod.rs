//! The rules: each looks at the cluster and proposes what it would change, with its reason.
//!
//! | rule, most urgent first | what it sees to |
//! | --- | --- |
//! | [`repair`] | every Region has as many voters as are wanted, on stores that are not lost |
//! | [`drain`] | stores that are to be emptied get empty |
//! | [`spread`] | replicas stand as far apart as the labels allow |
//! | [`leaders`] | stores lead equally many Regions, and those that shall lead none do not |
//! | [`balance`] | stores have equally many Regions |
//!
//! A rule is a function of the [`Cluster`] and of the time alone. What it found consists of
//! proposals and of the Regions that it would have liked to change and cannot, each with the
//! reason.
//!
//! # Why they come to rest
//!
//! No rule undoes what a more urgent one did. Repair and drain end when there is nothing lost or
//! leaving. Each proposal of `spread` lowers the overlap of a Region, and `balance` never raises
//! it. Each proposal of `balance` lowers the sum of the squares of Regions by store, and each of
//! `leaders` the one of leaders: they move something only between stores that differ by 2 or more.

pub mod balance;
pub mod drain;
pub mod leaders;
pub mod repair;
pub mod spread;

use std::{collections::BTreeMap, time::Duration};

use neokv_encoding::{epoch::Epoch, raft::Peer};

use crate::{
    cluster::{Cluster, Counted, Region, State},
    operator::{Operator, Step},
    placement::{self, NoStore},
};

/// What a rule would do with one Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Region id.
    pub region: u64,
    /// Shape of the Region that the steps are made for.
    pub epoch: Epoch,
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// Why, as one sentence.
    pub reason: String,
}

impl Proposal {
    /// A proposal for a Region as it is now. The sentence gets the Region as its first words.
    pub(crate) fn new(region: &Region, steps: Vec<Step>, why: &str) -> Proposal {
        let reason = format!("region {}: {why}", region.id());
        Proposal { region: region.id(), epoch: region.descriptor.epoch, steps, reason }
    }

    /// The operator that carries it out, or `None` if the Region has another shape by now.
    pub fn begin(&self, region: &Region, deadline: Duration) -> Option<Operator> {
        let fits = region.id() == self.region && region.descriptor.epoch == self.epoch;
        fits.then(|| Operator {
            region: self.region,
            epoch: self.epoch,
            peers: region.descriptor.peers.clone(),
            steps: self.steps.clone(),
            deadline,
            reason: self.reason.clone(),
        })
    }
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Found {
    /// What it would do, the most urgent first.
    pub proposals: Vec<Proposal>,
    /// Regions that it would change and cannot, and why.
    pub left_out: BTreeMap<u64, String>,
}

impl Found {
    /// Takes the answer for one Region.
    fn add(&mut self, region: u64, answer: Result<Proposal, String>) {
        match answer {
            Ok(proposal) => self.proposals.push(proposal),
            Err(why) => {
                self.left_out.insert(region, why);
            }
        }
    }
}

/// A rule.
pub type Rule = fn(&Cluster, Duration) -> Found;

/// All rules by name, the most urgent first.
pub const ALL: &[(&str, Rule)] = &[
    ("repair", repair::propose),
    ("drain", drain::propose),
    ("spread", spread::propose),
    ("leaders", leaders::propose),
    ("balance", balance::propose),
];

/// The stores that are up.
fn up(cluster: &Counted<'_>, now: Duration) -> Vec<u64> {
    let ids = cluster.stores.keys().copied();
    ids.filter(|id| cluster.state(*id, now) == State::Up).collect()
}

/// Whether the replica on a store could lead its Region, whatever people wish of the store.
fn can_lead(cluster: &Counted<'_>, region: &Region, store: u64, now: Duration) -> bool {
    let ready = region.voters().any(|peer| peer.store == store && region.has_caught_up(peer));
    ready && cluster.state(store, now) == State::Up
}

/// Whether a store may lead a Region that it has a replica of.
fn may_lead(cluster: &Counted<'_>, region: &Region, store: u64, now: Duration) -> bool {
    let willing = cluster.stores.get(&store).is_some_and(|store| !store.evict_leaders);
    willing && can_lead(cluster, region, store, now)
}

/// The store with the fewest leaders that may lead the Region in place of `from`.
fn next_leader(cluster: &Counted<'_>, region: &Region, from: u64, now: Duration) -> Option<u64> {
    let others = region.stores().filter(|store| *store != from);
    let fit = others.filter(|store| may_lead(cluster, region, *store, now));
    fit.min_by_key(|store| (cluster.leaders_on(*store), *store))
}

/// The store that leads the Region when the replica on `from` goes: a replica that has to go
/// matters more than a store that shall not lead.
fn successor(cluster: &Counted<'_>, region: &Region, from: u64, now: Duration) -> Option<u64> {
    let others = region.stores().filter(|store| *store != from);
    let able = others.filter(|store| can_lead(cluster, region, *store, now)).min();
    next_leader(cluster, region, from, now).or(able)
}

/// The steps that remove a replica whose Region has enough others. A leader hands over first.
///
/// # Errors
/// It leads and nobody can take over.
fn remove(
    cluster: &Counted<'_>,
    region: &Region,
    peer: &Peer,
    now: Duration,
) -> Result<Vec<Step>, String> {
    let remove = Step::Remove { peer: peer.id, store: peer.store };
    if region.leader != Some(peer.id) {
        return Ok(vec![remove]);
    }
    match successor(cluster, region, peer.store, now) {
        Some(store) => Ok(vec![Step::TransferLeader { store }, remove]),
        None => Err(format!("store {} leads it and no other replica can", peer.store)),
    }
}

/// The steps that make a replica on `store` vote and then remove `peer`.
fn replace(
    cluster: &Counted<'_>,
    region: &Region,
    peer: &Peer,
    store: u64,
    now: Duration,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if region.on(store).is_none() {
        steps.push(Step::AddLearner { store });
    }
    steps.push(Step::Promote { store });
    if region.leader == Some(peer.id) {
        // The new replica can lead as well, and must where the Region has no other.
        let next = successor(cluster, region, peer.store, now).unwrap_or(store);
        steps.push(Step::TransferLeader { store: next });
    }
    steps.push(Step::Remove { peer: peer.id, store: peer.store });
    steps
}

/// The store for a replica in place of the one on `leaving`, and why in words: the store of a
/// learner that is left over, or a new one.
fn destination(
    cluster: &Counted<'_>,
    region: &Region,
    leaving: Option<u64>,
    now: Duration,
) -> Result<(u64, String), NoStore> {
    let mut learners = region.learners().filter(|peer| cluster.state(peer.store, now) == State::Up);
    if let Some(learner) = learners.next() {
        let store = learner.store;
        return Ok((store, format!("store {store}, which has a learner already")));
    }
    let choice = placement::place(cluster, region, leaving, now)?;
    Ok((choice.store, format!("store {}, {}", choice.store, choice.reason)))
}

/// Regions that are as repair leaves them: other rules touch no others.
fn sound<'a>(cluster: &'a Counted<'_>, now: Duration) -> impl Iterator<Item = &'a Region> {
    cluster.regions.values().filter(move |region| {
        cluster.why_not(region, now).is_none()
            && region.learners().next().is_none()
            && region.voters().count() == cluster.settings.replicas
            && region.voters().all(|peer| region.has_caught_up(peer))
            && region.stores().all(|store| !cluster.state(store, now).is_lost())
    })
}
