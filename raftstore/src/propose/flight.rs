//! An entry on its way through Raft, and who waits for it.
//!
//! A flight ends exactly once: with replies, with an error, or, if Raft drops it without a word, when its last handle
//! goes. It can be *abandoned* before that: its waiters are told that the outcome is unknown, while the entry itself
//! goes on and may well take effect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::queue::{Submission, Waiter};
use crate::error::ProposeError;
use crate::metrics;

/// Told about the fate of flights.
pub(super) trait Tower<C, R>: Send + Sync {
    /// The first part of a cut submission is decided: go on, with its rest if it succeeded.
    fn resume(&self, rest: Option<Submission<C, R>>);
    /// A flight's entry is committed, or the flight ended without: the log is free for the next.
    fn cleared(&self);
    /// A flight is over: the window has room.
    fn landed(&self);
}

/// See the module.
pub(super) struct Flight<C, R> {
    waiters: Mutex<Vec<Waiter<C, R>>>,
    cleared: AtomicBool,
    tower: Arc<dyn Tower<C, R>>,
}

impl<C, R> Flight<C, R> {
    /// An entry that these wait for.
    pub(super) fn new(waiters: Vec<Waiter<C, R>>, tower: Arc<dyn Tower<C, R>>) -> Arc<Flight<C, R>> {
        Arc::new(Flight { waiters: Mutex::new(waiters), cleared: AtomicBool::new(false), tower })
    }

    /// The entry is committed. Counts once.
    pub(super) fn clear(&self) {
        if !self.cleared.swap(true, Ordering::AcqRel) {
            self.tower.cleared();
        }
    }

    /// Deals the replies out, in order.
    pub(super) fn succeed(&self, replies: Vec<R>) {
        let mut replies = replies.into_iter();
        for waiter in std::mem::take(&mut *self.waiters.lock()) {
            match waiter {
                Waiter::Whole(count, answer) => {
                    let mine: Vec<R> = replies.by_ref().take(count).collect();
                    let complete = mine.len() == count;
                    let _ = answer.send(if complete { Ok(mine) } else { Err(short_of_replies()) });
                }
                Waiter::Part(count, mut submission) => {
                    let complete = collect(&mut submission, &mut replies, count);
                    if complete {
                        self.tower.resume(Some(*submission));
                    } else {
                        let _ = submission.answer.send(Err(short_of_replies()));
                        self.tower.resume(None);
                    }
                }
                Waiter::Last(count, mut submission) => {
                    let complete = collect(&mut submission, &mut replies, count);
                    let _ =
                        submission.answer.send(if complete { Ok(submission.done) } else { Err(short_of_replies()) });
                }
            }
        }
    }

    /// Tells everybody that it failed.
    pub(super) fn fail(&self, error: &ProposeError) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        if matches!(error, ProposeError::Unknown { .. }) {
            metrics::unknown(waiters.len());
        }
        for waiter in waiters {
            match waiter {
                Waiter::Whole(_, answer) => drop(answer.send(Err(error.clone()))),
                Waiter::Last(_, submission) => refuse(*submission, error),
                Waiter::Part(_, submission) => {
                    refuse(*submission, error);
                    self.tower.resume(None);
                }
            }
        }
    }
}

impl<C, R> Drop for Flight<C, R> {
    fn drop(&mut self) {
        if !self.waiters.get_mut().is_empty() {
            self.fail(&ProposeError::Unknown { why: Arc::from("the region stopped while the write was in flight") });
        }
        self.clear();
        self.tower.landed();
    }
}

/// Moves the replies of one part to those of the earlier ones; `false` if there are too few.
fn collect<C, R>(submission: &mut Submission<C, R>, replies: &mut impl Iterator<Item = R>, count: usize) -> bool {
    let before = submission.done.len();
    submission.done.extend(replies.take(count));
    submission.done.len().saturating_sub(before) == count
}

/// The flights that have not ended.
pub(super) struct Flights<C, R>(Mutex<Vec<Weak<Flight<C, R>>>>);

impl<C, R> Default for Flights<C, R> {
    fn default() -> Self {
        Flights(Mutex::new(Vec::new()))
    }
}

impl<C, R> Flights<C, R> {
    /// Remembers a flight.
    pub(super) fn add(&self, flight: &Arc<Flight<C, R>>) {
        let mut flights = self.0.lock();
        flights.retain(|flight| flight.strong_count() > 0);
        flights.push(Arc::downgrade(flight));
    }

    /// Tells everybody who waits for any of them that the outcome is unknown.
    pub(super) fn abandon(&self, why: &str) {
        let flights: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        for flight in flights {
            flight.fail(&ProposeError::Unknown { why: Arc::from(why) });
        }
    }
}

/// Answers a submission with an error. If some of its commands have been done already, a definite refusal of the rest
/// would hide that.
pub(super) fn refuse<C, R>(submission: Submission<C, R>, error: &ProposeError) {
    let error = if submission.done.is_empty() {
        error.clone()
    } else {
        ProposeError::Unknown { why: Arc::from(format!("the first commands took effect, then: {error}")) }
    };
    let _ = submission.answer.send(Err(error));
}

fn short_of_replies() -> ProposeError {
    ProposeError::Unknown { why: Arc::from("the state machine answered fewer commands than it was given") }
}
