//! How threads that block are handed their work: a queue that one thread empties.
//!
//! The thread takes everything that waits at once, and sleeps when nothing does. It never spins
//! before it sleeps: the time until more work comes is that of an fsync or of a client's answer,
//! and where cores are few a spinning thread takes them from those that produce the work. A
//! sender wakes the thread only if it sleeps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The end that work is put in. Clones share it; when the last one goes, the mailbox closes.
pub(crate) struct Mailbox<T>(Arc<Shared<T>>);

/// The end of the thread that takes the work out. When it goes, the mailbox closes and what is left
/// is dropped.
pub(crate) struct Inbox<T>(Arc<Shared<T>>);

struct Shared<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    items: Vec<T>,
    asleep: bool,
    closed: bool,
    /// Mailboxes that share this state.
    senders: usize,
}

/// The mailbox is closed: this item will not be taken out.
#[derive(Debug)]
pub(crate) struct Closed;

/// What taking got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Something.
    Items,
    /// Nothing came in time.
    Timeout,
    /// Nothing, and nothing will come.
    Closed,
}

/// A mailbox and its inbox.
pub(crate) fn mailbox<T>() -> (Mailbox<T>, Inbox<T>) {
    let state = State { items: Vec::new(), asleep: false, closed: false, senders: 1 };
    let shared = Arc::new(Shared { state: Mutex::new(state), filled: Condvar::new() });
    (Mailbox(Arc::clone(&shared)), Inbox(shared))
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        self.0.state.lock().senders += 1;
        Mailbox(Arc::clone(&self.0))
    }
}

impl<T> Drop for Mailbox<T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.senders -= 1;
        if state.senders == 0 {
            state.closed = true;
            self.0.wake(&mut state);
        }
    }
}

impl<T> Mailbox<T> {
    /// Adds an item at the end.
    pub(crate) fn send(&self, item: T) -> Result<(), Closed> {
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.items.push(item);
        self.0.wake(&mut state);
        Ok(())
    }

    /// Adds an item at the end, without waking the thread. True: the thread sleeps and nothing else
    /// waits for it, so somebody must [`wake`](Self::wake) it.
    pub(crate) fn leave(&self, item: T) -> Result<bool, Closed> {
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(Closed);
        }
        state.items.push(item);
        Ok(state.asleep && state.items.len() == 1)
    }

    /// Takes the item out that waits, in place of the thread. `None` if the thread is awake, if
    /// there are more items or none, or if this one does not fit.
    pub(crate) fn take_single(&self, fits: impl FnMut(&T) -> bool) -> Option<T> {
        let mut state = self.0.state.lock();
        let is_for_us = state.asleep && state.items.len() == 1 && state.items.iter().all(fits);
        if is_for_us { state.items.pop() } else { None }
    }

    /// Wakes the thread if something waits for it.
    pub(crate) fn wake(&self) {
        let mut state = self.0.state.lock();
        if !state.items.is_empty() {
            self.0.wake(&mut state);
        }
    }

    /// Whether the thread sleeps.
    #[cfg(test)]
    pub(crate) fn is_asleep(&self) -> bool {
        self.0.state.lock().asleep
    }

    /// Takes no more items in. Those that wait can still be taken out.
    pub(crate) fn close(&self) {
        let mut state = self.0.state.lock();
        state.closed = true;
        self.0.wake(&mut state);
    }
}

impl<T> Shared<T> {
    fn wake(&self, state: &mut State<T>) {
        if std::mem::take(&mut state.asleep) {
            self.filled.notify_one();
        }
    }
}

impl<T> Inbox<T> {
    /// Moves all items, in order, to the end of `into`; waits for one, at most for `limit`.
    pub(crate) fn take(&self, into: &mut VecDeque<T>, limit: Option<Duration>) -> Taken {
        let mut state = self.0.state.lock();
        while state.items.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            state.asleep = true;
            let timed_out = match limit {
                None => {
                    self.0.filled.wait(&mut state);
                    false
                }
                Some(limit) => self.0.filled.wait_for(&mut state, limit).timed_out(),
            };
            state.asleep = false;
            if timed_out && state.items.is_empty() {
                return Taken::Timeout;
            }
        }
        into.extend(state.items.drain(..));
        Taken::Items
    }

    /// Moves all items, in order, to the end of `into`, without waiting.
    pub(crate) fn take_waiting(&self, into: &mut VecDeque<T>) {
        into.extend(self.0.state.lock().items.drain(..));
    }
}

impl<T> Drop for Inbox<T> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.0.state.lock();
            state.closed = true;
            std::mem::take(&mut state.items)
        };
        // Outside the lock: what is dropped may tell others, who may send.
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn everything_sent_is_taken_once_and_in_order() {
        let (mailbox, inbox) = mailbox();
        let taker = thread::spawn(move || {
            let mut all = VecDeque::new();
            while inbox.take(&mut all, None) == Taken::Items {}
            all
        });
        for n in 0..100_000 {
            mailbox.send(n).unwrap();
            if n % 1000 == 0 {
                thread::yield_now();
            }
        }
        mailbox.close();
        assert!(mailbox.send(1).is_err());
        assert!(taker.join().unwrap().into_iter().eq(0..100_000));
    }

    #[test]
    fn what_was_sent_before_the_end_can_still_be_taken() {
        let (mailbox, inbox) = mailbox();
        let mut taken = VecDeque::new();
        assert_eq!(inbox.take(&mut taken, Some(Duration::ZERO)), Taken::Timeout);
        mailbox.send(1).unwrap();
        mailbox.close();
        assert_eq!(inbox.take(&mut taken, None), Taken::Items);
        assert_eq!(taken, [1]);
        assert_eq!(inbox.take(&mut taken, None), Taken::Closed);
    }

    #[test]
    fn the_last_sender_that_goes_closes_the_mailbox() {
        let (mailbox, inbox) = mailbox();
        let other = mailbox.clone();
        drop(mailbox);
        other.send(1).unwrap();
        drop(other);
        let mut taken = VecDeque::new();
        assert_eq!(inbox.take(&mut taken, None), Taken::Items);
        assert_eq!(inbox.take(&mut taken, None), Taken::Closed);
    }

    #[test]
    fn items_left_behind_are_dropped_so_that_their_senders_know() {
        let (mailbox, inbox) = mailbox();
        let (answer, mut wait) = tokio::sync::oneshot::channel::<()>();
        mailbox.send(answer).unwrap();
        drop(inbox);
        assert_eq!(wait.try_recv(), Err(tokio::sync::oneshot::error::TryRecvError::Closed));
        assert!(mailbox.send(tokio::sync::oneshot::channel().0).is_err());
    }

    #[test]
    fn an_item_that_waits_alone_can_be_taken_in_place_of_a_thread_that_sleeps() {
        let (mailbox, inbox) = mailbox();
        mailbox.send(1).unwrap();
        assert_eq!(mailbox.take_single(|_| true), None, "the thread is awake");
        let (taken, out) = std::sync::mpsc::channel();
        let taker = thread::spawn(move || {
            let mut all = VecDeque::new();
            while inbox.take(&mut all, None) == Taken::Items {
                taken.send(all.drain(..).collect::<Vec<_>>()).unwrap();
            }
        });
        assert_eq!(out.recv().unwrap(), [1]);
        while !mailbox.is_asleep() {
            thread::yield_now();
        }
        assert_eq!(mailbox.take_single(|_| true), None, "nothing waits");
        mailbox.leave(2).unwrap();
        assert_eq!(mailbox.take_single(|item| *item > 2), None, "it does not fit");
        assert_eq!(mailbox.take_single(|item| *item == 2), Some(2));
        mailbox.leave(3).unwrap();
        mailbox.leave(4).unwrap();
        assert_eq!(mailbox.take_single(|_| true), None, "there are two");
        drop(mailbox);
        assert_eq!(out.recv().unwrap(), [3, 4]);
        taker.join().unwrap();
    }

    #[test]
    fn what_is_left_waits_until_the_thread_is_woken() {
        let (mailbox, inbox) = mailbox();
        let (taken, out) = std::sync::mpsc::channel();
        let taker = thread::spawn(move || {
            let mut all = VecDeque::new();
            while inbox.take(&mut all, None) == Taken::Items {
                taken.send(all.drain(..).collect::<Vec<_>>()).unwrap();
            }
        });
        while !mailbox.is_asleep() {
            thread::yield_now();
        }
        assert!(mailbox.leave(1).unwrap(), "somebody must wake it");
        assert!(!mailbox.leave(2).unwrap(), "for the first item somebody does");
        assert!(mailbox.is_asleep());
        mailbox.wake();
        assert_eq!(out.recv().unwrap(), [1, 2]);
        drop(mailbox);
        taker.join().unwrap();
    }
}
