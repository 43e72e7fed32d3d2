//! What a Region tells its readers without a lock.
//!
//! The apply thread and the log store write here, every reader of the Region reads here. The
//! central bit is *serving*:
//!
//! ```text
//!   serving  =  this replica leads in term T  ∧  it has applied an entry of term T  ∧  it has not stopped
//! ```
//!
//! The second half is what makes a new leader safe: an applied entry of its own term proves that it
//! has applied everything its predecessors acknowledged.
//!
//! # Why a lone voter may read without asking
//!
//! Leadership is derived from the vote, inside `save_vote`: our own committed vote makes us leader
//! once it is durable, any other vote ends it *before* it is written, and therefore before any
//! other replica can hear of it. The set of voters is narrowed the same way, when a membership
//! entry is *appended*, not when it is applied. So while `serving` and `sole` hold, nobody else can
//! have been elected, and every acknowledged write has been applied here: the state of the engine
//! is the latest. With more voters the vote alone proves nothing, and reads ask the majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub(crate) struct Published {
    applied_index: AtomicU64,
    applied_term: AtomicU64,
    clock: AtomicU64,
    serving: AtomicBool,
    sole: AtomicBool,
    /// Index of the newest membership entry in the log: an older one that is applied later says
    /// nothing.
    membership: AtomicU64,
    truth: Mutex<Truth>,
    /// Wakes those who wait for `serving`.
    changed: Notify,
}

/// What `serving` is computed from.
#[derive(Debug, Default)]
struct Truth {
    leader_term: u64,
    applied_term: u64,
    stopped: Option<Arc<str>>,
}

impl Published {
    /// Of a group that has applied up to here.
    pub(crate) fn new(applied: (u64, u64), clock: u64, sole: bool) -> Published {
        let (term, index) = applied;
        Published {
            applied_index: AtomicU64::new(index),
            applied_term: AtomicU64::new(term),
            clock: AtomicU64::new(clock),
            serving: AtomicBool::new(false),
            sole: AtomicBool::new(sole),
            membership: AtomicU64::new(0),
            truth: Mutex::new(Truth { leader_term: 0, applied_term: term, stopped: None }),
            changed: Notify::new(),
        }
    }

    /// The applied clock, if this replica may answer reads alone.
    pub(crate) fn read_alone(&self) -> Option<u64> {
        (self.serving.load(Ordering::Acquire) && self.sole.load(Ordering::Acquire))
            .then(|| self.clock.load(Ordering::Acquire))
    }

    /// Whether this replica leads and has applied an entry of its own term.
    pub(crate) fn serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Whether this replica is the only voter.
    pub(crate) fn sole(&self) -> bool {
        self.sole.load(Ordering::Acquire)
    }

    /// The applied clock.
    pub(crate) fn clock(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    /// Index of the last applied entry.
    pub(crate) fn applied_index(&self) -> u64 {
        self.applied_index.load(Ordering::Acquire)
    }

    /// Entries up to `(term, index)` are in the engine, and the clock stands at `clock`.
    pub(crate) fn applied(&self, term: u64, index: u64, clock: u64) {
        self.clock.store(clock, Ordering::Release);
        self.applied_index.store(index, Ordering::Release);
        if self.applied_term.swap(term, Ordering::AcqRel) != term {
            let mut truth = self.truth.lock();
            truth.applied_term = term;
            self.recompute(&truth);
        }
    }

    /// Our own committed vote for `term` is durable: we lead.
    pub(crate) fn lead(&self, term: u64) {
        let mut truth = self.truth.lock();
        truth.leader_term = term;
        self.recompute(&truth);
    }

    /// Another vote is about to be written: we lead no more.
    pub(crate) fn follow(&self) {
        let mut truth = self.truth.lock();
        truth.leader_term = 0;
        self.recompute(&truth);
    }

    /// A membership entry was appended: from now on other voters count. Being alone again waits for
    /// apply.
    pub(crate) fn membership_appended(&self, index: u64, sole: bool) {
        self.membership.fetch_max(index, Ordering::AcqRel);
        if !sole {
            self.sole.store(false, Ordering::Release);
        }
    }

    /// A membership is applied (or came with a snapshot).
    pub(crate) fn membership_applied(&self, index: u64, sole: bool) {
        let newest = index >= self.membership.load(Ordering::Acquire);
        self.sole.store(sole && newest, Ordering::Release);
    }

    /// The group is dead. The first cause stays.
    pub(crate) fn stop(&self, why: &str) {
        let mut truth = self.truth.lock();
        if truth.stopped.is_none() {
            truth.stopped = Some(Arc::from(why));
        }
        self.recompute(&truth);
    }

    /// Why the group is dead, if it is.
    pub(crate) fn stopped(&self) -> Option<Arc<str>> {
        self.truth.lock().stopped.clone()
    }

    /// Whether this replica leads, perhaps without serving yet.
    pub(crate) fn leads(&self) -> bool {
        self.truth.lock().leader_term != 0
    }

    /// Waits until the Region serves here or has stopped.
    pub(crate) async fn wait_serving(&self) {
        loop {
            let changed = self.changed.notified();
            if self.serving() || self.stopped().is_some() {
                return;
            }
            changed.await;
        }
    }

    fn recompute(&self, truth: &Truth) {
        let serving = truth.stopped.is_none()
            && truth.leader_term != 0
            && truth.leader_term == truth.applied_term;
        self.serving.store(serving, Ordering::Release);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_only_after_an_entry_of_its_own_term() {
        let region = Published::new((1, 9), 77, true);
        assert_eq!(region.read_alone(), None, "a follower serves nothing");
        region.lead(2);
        assert_eq!(region.read_alone(), None, "the last applied entry is of term 1");
        region.applied(2, 10, 78);
        assert_eq!(region.read_alone(), Some(78));
        region.applied(2, 11, 80);
        assert_eq!((region.read_alone(), region.applied_index()), (Some(80), 11));
    }

    #[test]
    fn another_vote_more_voters_or_death_end_it() {
        let serving = || {
            let region = Published::new((0, 5), 0, true);
            region.lead(1);
            region.applied(1, 6, 1);
            assert!(region.read_alone().is_some());
            region
        };
        let region = serving();
        region.follow();
        assert!(!region.serving());
        let region = serving();
        region.membership_appended(7, false);
        assert!(region.serving() && region.read_alone().is_none());
        region.membership_applied(5, true);
        assert!(region.read_alone().is_none(), "a newer membership is in the log");
        region.membership_applied(8, true);
        assert!(region.read_alone().is_some());
        let region = serving();
        region.stop("first");
        region.stop("second");
        assert!(!region.serving());
        assert_eq!(region.stopped().as_deref(), Some("first"));
    }
}
