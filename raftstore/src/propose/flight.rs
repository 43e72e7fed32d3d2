//! An entry on its way through Raft, and who waits for it.
//!
//! A flight ends exactly once: with replies, with an error, or, if Raft drops it without a word,
//! when its last handle goes. It can be *abandoned* before that: its waiters are told that the
//! outcome is unknown, while the entry itself goes on and may well take effect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Progress;
use super::queue::{Answer, Waiter};
use crate::error::ProposeError;
use crate::metrics;

/// Told about the fate of flights.
pub(super) trait Tower<C, R>: Send + Sync {
    /// These commands were left out of their entry, all of their caller's: they are next.
    fn put_back(&self, left: Vec<(Vec<C>, Answer<C, R>)>);
    /// A flight's entry is committed, or the flight ended without: the log is free for the next.
    fn cleared(&self);
    /// A flight is over: the window has room.
    fn landed(&self);
}

/// See the module.
pub(super) struct Flight<C, R> {
    /// Commands of the entry.
    commands: usize,
    waiters: Mutex<Vec<Waiter<C, R>>>,
    cleared: AtomicBool,
    tower: Arc<dyn Tower<C, R>>,
}

impl<C, R> Flight<C, R> {
    /// An entry that these wait for.
    pub(super) fn new(
        waiters: Vec<Waiter<C, R>>,
        tower: Arc<dyn Tower<C, R>>,
    ) -> Arc<Flight<C, R>> {
        let commands = waiters.iter().map(|waiter| waiter.count).fold(0, usize::saturating_add);
        Arc::new(Flight {
            commands,
            waiters: Mutex::new(waiters),
            cleared: AtomicBool::new(false),
            tower,
        })
    }

    /// Number of commands in the entry.
    pub(super) fn commands(&self) -> usize {
        self.commands
    }

    /// The entry is committed. Counts once.
    pub(super) fn clear(&self) {
        if !self.cleared.swap(true, Ordering::AcqRel) {
            self.tower.cleared();
        }
    }

    /// Deals the replies out, in order. `left` are the commands behind them that the machine has
    /// left out of the entry. A caller of whose commands some were carried out gets the others
    /// back; one of whose commands none was waits on.
    pub(super) fn succeed(&self, replies: Vec<R>, left: Vec<C>) {
        let (mut replies, mut left) = (replies.into_iter(), left.into_iter());
        let mut untouched = Vec::new();
        for Waiter { count, rest: behind, answer } in std::mem::take(&mut *self.waiters.lock()) {
            let mine: Vec<R> = replies.by_ref().take(count).collect();
            let missing = count.saturating_sub(mine.len());
            let mut rest: Vec<C> = left.by_ref().take(missing).collect();
            if rest.len() < missing {
                let _ = answer.send(Err(short_of_replies()));
                continue;
            }
            rest.extend(behind);
            if mine.is_empty() {
                untouched.push((rest, answer));
            } else {
                let _ = answer.send(Ok(Progress { replies: mine, rest }));
            }
        }
        if !untouched.is_empty() {
            self.tower.put_back(untouched);
        }
    }

    /// Tells everybody that it failed.
    pub(super) fn fail(&self, error: &ProposeError) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        if matches!(error, ProposeError::Unknown { .. }) {
            metrics::unknown(waiters.len());
        }
        for waiter in waiters {
            let _ = waiter.answer.send(Err(error.clone()));
        }
    }
}

impl<C, R> Drop for Flight<C, R> {
    fn drop(&mut self) {
        if !self.waiters.get_mut().is_empty() {
            self.fail(&ProposeError::Unknown {
                why: Arc::from("the region stopped while the write was in flight"),
            });
        }
        self.clear();
        self.tower.landed();
    }
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

fn short_of_replies() -> ProposeError {
    ProposeError::Unknown {
        why: Arc::from("the state machine answered fewer commands than it was given"),
    }
}
