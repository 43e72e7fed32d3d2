//! What a Region tells its readers without a lock.
//!
//! The apply thread and the log store write here, every reader of the Region reads here. The
//! central bit is *serving*:
//!
//! ```text
//!   serving  =  this replica leads in term T
//!            ∧  it has applied an entry of term T
//!            ∧  it has not stopped
//! ```
//!
//! The second half is what makes a new leader safe: an applied entry of its own term proves that it
//! has applied everything its predecessors acknowledged.
//!
//! # Why a lone voter may read without asking
//!
//! Leadership is derived from the vote, inside `save_vote`: our own committed vote makes us leader
//! once it is durable, any other vote ends it *before* it is written, and therefore before any
//! other replica can learn of it. The set of voters is narrowed the same way, when a membership
//! entry is *appended*, not when it is applied. So while `serving` and `sole` hold, no other can
//! have been elected, and every acknowledged write has been applied here: the state of the engine
//! is the latest. With more voters the vote alone proves nothing, and reads ask the majority.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::machine::Leadership;

/// Told when the replica begins or ends to serve.
type Watch = Box<dyn Fn(Leadership) + Send + Sync>;

/// See the module.
pub(crate) struct Published {
    applied_index: AtomicU64,
    applied_term: AtomicU64,
    clock: AtomicU64,
    serving: AtomicBool,
    sole: AtomicBool,
    /// Index of the newest membership entry in the log: an older one that is applied later is
    /// ignored.
    membership: AtomicU64,
    inputs: Mutex<Inputs>,
    /// Wakes those who wait for a change of `serving` or for the end.
    changed: Notify,
    watch: Watch,
}

/// What `serving` is computed from.
#[derive(Debug, Default)]
struct Inputs {
    /// The term that this replica leads; 0: none.
    leader_term: u64,
    applied_term: u64,
    stopped: Option<Arc<str>>,
}

/// Where a group stands when its replica starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartPoint {
    /// Term of the last applied entry.
    pub(crate) term: u64,
    /// Its index.
    pub(crate) index: u64,
    /// The applied clock.
    pub(crate) clock: u64,
    /// Whether the replica is the only voter.
    pub(crate) sole: bool,
}

impl Published {
    /// Of a group that has applied up to here. `watch` is told when the replica begins or ends to
    /// serve. It is called while a lock of the Region is held: it must not block, and it must not
    /// ask the Region whether it serves or has stopped.
    pub(crate) fn new(
        start: StartPoint,
        watch: impl Fn(Leadership) + Send + Sync + 'static,
    ) -> Published {
        Published {
            applied_index: AtomicU64::new(start.index),
            applied_term: AtomicU64::new(start.term),
            clock: AtomicU64::new(start.clock),
            serving: AtomicBool::new(false),
            sole: AtomicBool::new(start.sole),
            membership: AtomicU64::new(0),
            inputs: Mutex::new(Inputs { applied_term: start.term, ..Inputs::default() }),
            changed: Notify::new(),
            watch: Box::new(watch),
        }
    }

    /// Whether this replica may answer reads without asking others.
    pub(crate) fn may_read_alone(&self) -> bool {
        self.serving() && self.sole()
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
        // The lock is taken for the first entry of a term only.
        if self.applied_term.swap(term, Ordering::AcqRel) != term {
            self.update(|inputs| inputs.applied_term = term);
        }
    }

    /// Our own committed vote for `term` is durable: we lead.
    pub(crate) fn lead(&self, term: u64) {
        self.update(|inputs| inputs.leader_term = term);
    }

    /// Another vote is about to be written: we no longer lead.
    pub(crate) fn follow(&self) {
        self.update(|inputs| inputs.leader_term = 0);
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
        self.update(|inputs| {
            if inputs.stopped.is_none() {
                inputs.stopped = Some(Arc::from(why));
            }
        });
    }

    /// Why the group is dead, if it is.
    pub(crate) fn stopped(&self) -> Option<Arc<str>> {
        self.inputs.lock().stopped.clone()
    }

    /// Whether this replica leads, perhaps without serving yet.
    pub(crate) fn leads(&self) -> bool {
        self.inputs.lock().leader_term != 0
    }

    /// Waits until the Region serves here or has stopped.
    pub(crate) async fn wait_serving(&self) {
        self.wait(|| self.serving() || self.stopped().is_some()).await;
    }

    /// Waits until the Region has stopped, and tells why.
    pub(crate) async fn wait_stopped(&self) -> Arc<str> {
        self.wait(|| self.stopped().is_some()).await;
        self.stopped().unwrap_or_default()
    }

    async fn wait(&self, reached: impl Fn() -> bool) {
        loop {
            // Listens before it looks: a change in between wakes it.
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if reached() {
                return;
            }
            changed.await;
        }
    }

    /// Changes the inputs and everything that follows from them.
    fn update(&self, change: impl FnOnce(&mut Inputs)) {
        let mut inputs = self.inputs.lock();
        change(&mut inputs);
        let term = inputs.leader_term;
        let serving = inputs.stopped.is_none() && term != 0 && term == inputs.applied_term;
        if self.serving.swap(serving, Ordering::AcqRel) != serving {
            // Under the lock, so that the watch sees changes in their order.
            (self.watch)(if serving { Leadership::Gained { term } } else { Leadership::Lost });
        }
        self.changed.notify_waiters();
    }
}

impl std::fmt::Debug for Published {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Published")
            .field("applied", &self.applied_index())
            .field("serving", &self.serving())
            .field("sole", &self.sole())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(term: u64, index: u64, clock: u64) -> Published {
        Published::new(StartPoint { term, index, clock, sole: true }, |_| {})
    }

    #[test]
    fn serves_only_after_an_entry_of_its_own_term() {
        let region = published(1, 9, 77);
        assert!(!region.may_read_alone(), "a follower serves nothing");
        region.lead(2);
        assert!(!region.may_read_alone(), "the last applied entry is of term 1");
        region.applied(2, 10, 78);
        assert!(region.may_read_alone());
        assert_eq!(region.clock(), 78);
        region.applied(2, 11, 80);
        assert_eq!((region.clock(), region.applied_index()), (80, 11));
    }

    #[test]
    fn another_vote_more_voters_or_death_end_it() {
        let serving = || {
            let region = published(0, 5, 0);
            region.lead(1);
            region.applied(1, 6, 1);
            assert!(region.may_read_alone());
            region
        };
        let region = serving();
        region.follow();
        assert!(!region.serving());
        let region = serving();
        region.membership_appended(7, false);
        assert!(region.serving() && !region.may_read_alone());
        region.membership_applied(5, true);
        assert!(!region.may_read_alone(), "a newer membership is in the log");
        region.membership_applied(8, true);
        assert!(region.may_read_alone());
        let region = serving();
        region.stop("first");
        region.stop("second");
        assert!(!region.serving());
        assert_eq!(region.stopped().as_deref(), Some("first"));
    }

    #[test]
    fn the_watch_hears_of_every_change_once() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let start = StartPoint { term: 1, index: 9, clock: 0, sole: true };
        let region = Published::new(start, {
            let heard = Arc::clone(&heard);
            move |change| heard.lock().push(change)
        });
        region.lead(2);
        region.applied(2, 10, 0);
        region.applied(2, 11, 0);
        region.lead(2);
        region.follow();
        region.stop("end");
        assert_eq!(*heard.lock(), [Leadership::Gained { term: 2 }, Leadership::Lost]);
    }
}
