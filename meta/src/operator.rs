//! An operator: the steps that bring one Region from one shape to another, and how far they are.
//!
//! ```text
//! made for epoch 4-9   peers 71 on 1, 72 on 2, 73 on 3 · led by 73
//!   AddLearner on 5     done when a learner is on store 5
//!   Promote on 5        sent when that learner has caught up; done when it votes
//!   TransferLeader to 1 done when store 1 leads
//!   Remove 73 on 3      done when peer 73 is gone
//! ```
//!
//! Nothing is remembered between two reports of a Region. [`Operator::advance`] compares the peers
//! that it was made for, with the first steps applied, to the peers that the descriptor shows. They
//! are equal for exactly one number of steps, or else somebody else has changed the Region and the
//! operator is stale. So a step that was sent twice, or whose answer was lost, does no harm, and an
//! operator survives the process that made it.
//!
//! A replica that does not exist yet has no peer id, and a Region has at most one replica on a
//! store. Therefore the steps name stores; only a removal names the peer as well, since a later
//! peer on the same store must never be removed in its place.

use std::{fmt, time::Duration};

use neokv_encoding::{
    epoch::Epoch,
    raft::{Peer, PeerRole},
};

use crate::cluster::Region;

/// One change of a Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Add a replica that only receives the log.
    AddLearner {
        /// Where.
        store: u64,
    },
    /// Let the learner on a store vote.
    Promote {
        /// Where it is.
        store: u64,
    },
    /// Let the voter on a store lead.
    TransferLeader {
        /// Where it is.
        store: u64,
    },
    /// Remove a replica.
    Remove {
        /// Which one.
        peer: u64,
        /// Where it is.
        store: u64,
    },
}

impl Step {
    /// The store that gets work through this step, if one does.
    pub fn gives_work_to(&self) -> Option<u64> {
        match *self {
            Step::AddLearner { store }
            | Step::Promote { store }
            | Step::TransferLeader { store } => Some(store),
            Step::Remove { .. } => None,
        }
    }

    /// What the peers become, or `None` if the step is impossible. A new peer has id 0.
    pub fn apply(&self, peers: &mut Vec<Peer>) -> Option<()> {
        match *self {
            Step::AddLearner { store } => {
                if peers.iter().any(|peer| peer.store == store) {
                    return None;
                }
                peers.push(Peer { id: 0, store, role: PeerRole::Learner });
            }
            Step::Promote { store } => {
                let learner = peers.iter_mut().find(|peer| peer.store == store)?;
                learner.role = PeerRole::Voter;
            }
            Step::TransferLeader { .. } => {}
            Step::Remove { peer, .. } => {
                let at = peers.iter().position(|known| known.id == peer)?;
                peers.remove(at);
            }
        }
        Some(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::AddLearner { store } => write!(f, "add {store}"),
            Step::Promote { store } => write!(f, "promote {store}"),
            Step::TransferLeader { store } => write!(f, "lead {store}"),
            Step::Remove { store, .. } => write!(f, "remove {store}"),
        }
    }
}

/// Steps for one Region, in order, made for one shape of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Region id.
    pub region: u64,
    /// Shape of the Region that the steps were made for.
    pub epoch: Epoch,
    /// Its peers in that shape.
    pub peers: Vec<Peer>,
    /// What to do.
    pub steps: Vec<Step>,
    /// When to give up.
    pub deadline: Duration,
    /// Why, for people.
    pub reason: String,
}

/// What is next for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send this step to the Region's leader; it may have been sent before.
    Continue(Step),
    /// Nothing to send until the Region has reported again.
    Wait(String),
    /// Every step is done.
    Done,
    /// The Region is not what the steps were made for: drop the operator.
    Stale(String),
    /// The deadline has passed: drop the operator.
    TimedOut,
}

impl Operator {
    /// Compares the operator with what its Region has reported.
    pub fn advance(&self, region: &Region, now: Duration) -> Progress {
        let done = match self.changes_done(region) {
            Ok(done) => done,
            Err(why) => return Progress::Stale(why),
        };
        let Some(step) = self.next(done, region) else { return Progress::Done };
        if now >= self.deadline {
            return Progress::TimedOut;
        }
        may_send(step, region)
    }

    /// How many of the steps lie before the first whose effect on the peers does not show.
    fn changes_done(&self, region: &Region) -> Result<usize, String> {
        let (made, seen) = (self.epoch, region.descriptor.epoch);
        if made.version != seen.version {
            return Err(format!("made for epoch {made}, and the slots have changed since: {seen}"));
        }
        let mut peers = self.peers.clone();
        let (mut changes, mut done) = (0, 0);
        loop {
            if self.shows(&peers, &region.descriptor.peers) {
                // Other peers may have come and gone; what was checked for them is void then.
                let fits = match changes {
                    0 => seen.conf_ver == made.conf_ver,
                    changes => seen.conf_ver >= made.conf_ver.saturating_add(changes),
                };
                return if fits { Ok(done) } else { Err(self.not_ours(region)) };
            }
            // Up to the next step that changes peers, and past it.
            let rest = self.steps.get(done..).unwrap_or_default();
            let next = rest.iter().position(|step| !matches!(step, Step::TransferLeader { .. }));
            let step = next.and_then(|next| Some((next, rest.get(next)?)));
            let Some((next, step)) = step else { return Err(self.not_ours(region)) };
            step.apply(&mut peers).ok_or_else(|| self.not_ours(region))?;
            done += next + 1;
            changes += 1;
        }
    }

    fn not_ours(&self, region: &Region) -> String {
        let (made, seen) = (self.epoch, region.descriptor.epoch);
        format!("made for epoch {made}, and somebody else has changed the peers since: {seen}")
    }

    /// Whether the peers are the expected ones, where one with id 0 is any that is new.
    fn shows(&self, expected: &[Peer], seen: &[Peer]) -> bool {
        let is_new = |id| self.peers.iter().all(|peer| peer.id != id);
        let same = |a: &Peer, b: &Peer| {
            let same_id = a.id == b.id || (a.id == 0 && is_new(b.id));
            same_id && a.store == b.store && a.role == b.role
        };
        expected.len() == seen.len()
            && expected.iter().all(|peer| seen.iter().any(|other| same(peer, other)))
    }

    /// The first step that is not done, given how many changes of peers are.
    fn next(&self, done: usize, region: &Region) -> Option<Step> {
        let leads = |store| region.leader_store() == Some(store);
        let mut rest = self.steps.iter().skip(done);
        rest.find(|step| !matches!(step, Step::TransferLeader { store } if leads(*store))).copied()
    }
}

/// Whether a step may be sent now.
fn may_send(step: Step, region: &Region) -> Progress {
    let id = region.id();
    let Some(leader) = region.leader_store() else {
        return Progress::Wait(format!("region {id} has no leader that could take the step"));
    };
    match step {
        Step::Promote { store } | Step::TransferLeader { store } => match region.on(store) {
            Some(peer) if !region.has_caught_up(peer) => {
                Progress::Wait(format!("the replica on store {store} has not caught up"))
            }
            _ => Progress::Continue(step),
        },
        Step::Remove { store, .. } if store == leader => {
            Progress::Stale(format!("store {store} leads region {id} now, so its replica stays"))
        }
        Step::Remove { .. } | Step::AddLearner { .. } => Progress::Continue(step),
    }
}
