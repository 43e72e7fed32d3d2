//! Which readers are open: the guard between snapshots and the orphan filter.
//!
//! Readers and the filter's own views draw tickets from one counter. The order in which each side
//! does its two steps is what makes it safe:
//!
//! ```text
//! reader:  1. draw a ticket and register it      2. take the RocksDB snapshot
//! filter:  1. take the RocksDB snapshot (view)   2. draw a ticket
//! ```
//!
//! A reader with a *larger* ticket than the view registered after the view's snapshot existed, so
//! its own snapshot is not older than the view. A reader with a *smaller* one may be older. Hence:
//! once no smaller ticket is registered, no reader, open now or later, sees a state before the
//! view, and what was dead in the view may go.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The open readers of one store.
#[derive(Debug)]
pub(crate) struct Readers {
    state: Mutex<State>,
    /// The smallest registered ticket, `u64::MAX` if there is none: what the filter asks for each
    /// row, without the lock.
    oldest: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    open: BTreeSet<u64>,
}

/// A registered reader; leaves when dropped.
#[derive(Debug)]
pub(crate) struct ReaderTicket<'a> {
    readers: &'a Readers,
    ticket: u64,
}

impl Readers {
    pub(crate) fn new() -> Readers {
        Readers { state: Mutex::new(State::default()), oldest: AtomicU64::new(u64::MAX) }
    }

    /// Registers a reader. Call it before taking the reader's snapshot.
    pub(crate) fn enter(&self) -> ReaderTicket<'_> {
        let mut state = self.state.lock();
        let ticket = state.draw();
        state.open.insert(ticket);
        self.publish(&state);
        ReaderTicket { readers: self, ticket }
    }

    /// Draws a ticket without registering. Call it after taking the view's snapshot.
    pub(crate) fn mark(&self) -> u64 {
        self.state.lock().draw()
    }

    /// Whether every reader that registered before `mark` has left.
    pub(crate) fn left_before(&self, mark: u64) -> bool {
        self.oldest.load(Ordering::Acquire) > mark
    }

    /// The tickets of the open readers that registered before `mark`.
    pub(crate) fn before(&self, mark: u64) -> Vec<u64> {
        self.state.lock().open.range(..mark).copied().collect()
    }

    /// How many readers are open.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().open.len()
    }

    fn leave(&self, ticket: u64) {
        let mut state = self.state.lock();
        state.open.remove(&ticket);
        self.publish(&state);
    }

    fn publish(&self, state: &State) {
        self.oldest.store(state.open.first().copied().unwrap_or(u64::MAX), Ordering::Release);
    }
}

impl State {
    fn draw(&mut self) -> u64 {
        let ticket = self.next;
        self.next += 1;
        ticket
    }
}

impl ReaderTicket<'_> {
    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.ticket
    }
}

impl Drop for ReaderTicket<'_> {
    fn drop(&mut self) {
        self.readers.leave(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_waits_for_the_readers_before_it_and_no_others() {
        let readers = Readers::new();
        assert!(readers.left_before(readers.mark()), "nobody is open");
        let first = readers.enter();
        let second = readers.enter();
        let mark = readers.mark();
        let third = readers.enter();
        assert!(!readers.left_before(mark));
        drop(first);
        assert!(!readers.left_before(mark), "the second is still open");
        drop(second);
        assert!(readers.left_before(mark), "the third came after the mark");
        assert_eq!(readers.count(), 1);
        drop(third);
        assert_eq!(readers.count(), 0);
    }
}
