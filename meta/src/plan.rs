//! One round: what every rule proposes, in order of urgency and within limits.
//!
//! ```text
//!   repair ▸ drain ▸ spread ▸ leaders ▸ balance
//!      │ first proposal within the limits
//!      ▼
//!   the cluster as it will be, once that is done ──▶ the same rule again, until it has no more
//! ```
//!
//! Each proposal is made for the cluster as it will be when the operators that run and the
//! proposals before it are done. So twenty Regions that need a new replica do not all choose the
//! store that has the fewest Regions now, and the balance does not move the same surplus twice.
//!
//! The limits: one operator for a Region, so many that give work to one store, so many in all. Of
//! every Region that a rule would change and does not, the plan says why.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    cluster::{Cluster, Limits},
    operator::{Operator, Step},
    rules::{self, Proposal},
    words::number,
};

/// What to begin now.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// Proposals to begin, the most urgent first; at most one for a Region.
    pub proposals: Vec<Proposal>,
    /// Regions that a rule would change and does not now, and why.
    pub left_out: BTreeMap<u64, String>,
}

/// What to begin now, while some operators run.
///
/// ```
/// use std::time::Duration;
/// use neokv_meta::{cluster::Cluster, plan::{Plan, plan}};
///
/// // Nothing is known, nothing is proposed.
/// assert_eq!(plan(&Cluster::default(), &[], Duration::ZERO), Plan::default());
/// ```
pub fn plan(cluster: &Cluster, running: &[Operator], now: Duration) -> Plan {
    let mut round = Round::new(cluster, running);
    for (_, rule) in rules::ALL {
        while let Some(proposal) = round.next(*rule, now) {
            round.accept(proposal);
        }
    }
    round.plan
}

/// A round in progress.
struct Round {
    /// The cluster once all that runs or was accepted is done.
    expected: Cluster,
    /// Operators by the store that they give work to.
    work: BTreeMap<u64, usize>,
    /// Operators that run or were accepted.
    total: usize,
    plan: Plan,
}

impl Round {
    fn new(cluster: &Cluster, running: &[Operator]) -> Round {
        let expected = cluster.clone();
        let (work, plan) = (BTreeMap::new(), Plan::default());
        let mut round = Round { expected, work, total: 0, plan };
        for operator in running {
            if let Some(region) = round.expected.regions.get_mut(&operator.region) {
                region.descriptor.peers.clone_from(&operator.peers);
            }
            round.begin(operator.region, &operator.steps);
        }
        round
    }

    /// The first proposal of a rule that is within the limits.
    fn next(&mut self, rule: rules::Rule, now: Duration) -> Option<Proposal> {
        let found = rule(&self.expected, now);
        for (region, why) in found.left_out {
            if self.plan.proposals.iter().all(|accepted| accepted.region != region) {
                self.plan.left_out.entry(region).or_insert(why);
            }
        }
        for proposal in found.proposals {
            match self.limit(&proposal) {
                None => return Some(proposal),
                Some(why) => {
                    self.plan.left_out.entry(proposal.region).or_insert(why);
                }
            }
        }
        None
    }

    /// The limit that a proposal would break.
    fn limit(&self, proposal: &Proposal) -> Option<String> {
        let Limits { per_store, total } = self.expected.settings.limits;
        if self.total >= total {
            return Some(format!("the limit is {} in all", number(total, "operator")));
        }
        let mut stores = stores(&proposal.steps).into_iter();
        let full = stores.find(|store| self.work.get(store).is_some_and(|n| *n >= per_store))?;
        Some(format!("the limit is {} for store {full}", number(per_store, "operator")))
    }

    fn accept(&mut self, proposal: Proposal) {
        self.begin(proposal.region, &proposal.steps);
        self.plan.left_out.remove(&proposal.region);
        self.plan.proposals.push(proposal);
    }

    /// Counts an operator, and applies its steps to what is expected.
    fn begin(&mut self, id: u64, steps: &[Step]) {
        self.total += 1;
        for store in stores(steps) {
            *self.work.entry(store).or_default() += 1;
        }
        self.expected.busy.insert(id);
        let Some(region) = self.expected.regions.get_mut(&id) else { return };
        for step in steps {
            // A step that no longer fits belongs to an operator that is about to end as stale.
            if step.apply(&mut region.descriptor.peers).is_none() {
                return;
            }
            if let Step::TransferLeader { store } = *step {
                region.leader = region.on(store).map(|peer| peer.id);
            }
        }
    }
}

/// The stores that get work from steps, each once.
fn stores(steps: &[Step]) -> BTreeSet<u64> {
    steps.iter().filter_map(Step::gives_work_to).collect()
}
