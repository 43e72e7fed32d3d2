//! An entry on its way through Raft, and the callers that wait for it.
//!
//! It ends exactly once: with outcomes, with an error, or, if Raft drops it silently, when its last
//! handle is dropped. Those who wait for it can be given an answer before that: they are told that
//! the outcome is unknown, while the entry itself goes on and may well take effect.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use neokv_encoding::region::Descriptor;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::queue::{Returned, Waiter};
use super::{Done, Progress};
use crate::error::ProposeError;
use crate::machine::Outcome;
use crate::metrics;

/// Told what becomes of entries.
pub(super) trait EntryEvents<C, R>: Send + Sync {
    /// These commands were left out of their entry, all of their caller's: they are next.
    fn put_back(&self, left: Vec<Returned<C, R>>);
    /// An entry is settled: committed, or over without. The log is free for the next.
    fn settled(&self);
    /// An entry is over: the window has room.
    fn finished(&self);
}

/// See the module.
pub(super) struct InFlight<C, R> {
    /// Commands of the entry.
    commands: usize,
    /// Version of the Region's epoch that they were proposed for.
    version: u64,
    waiters: Mutex<Vec<Waiter<C, R>>>,
    settled: AtomicBool,
    events: Arc<dyn EntryEvents<C, R>>,
}

impl<C, R> InFlight<C, R> {
    /// An entry that these wait for, proposed for this version of the epoch.
    pub(super) fn new(
        version: u64,
        waiters: Vec<Waiter<C, R>>,
        events: Arc<dyn EntryEvents<C, R>>,
    ) -> Arc<InFlight<C, R>> {
        let commands = waiters.iter().map(|waiter| waiter.count).sum();
        let settled = AtomicBool::new(false);
        let waiters = Mutex::new(waiters);
        Arc::new(InFlight { commands, version, waiters, settled, events })
    }

    /// Number of commands in the entry.
    pub(super) fn commands(&self) -> usize {
        self.commands
    }

    /// The entry is committed, or over without. Counts once.
    pub(super) fn settle(&self) {
        if !self.settled.swap(true, Ordering::AcqRel) {
            self.events.settled();
        }
    }

    /// Hands the outcomes out, in order. There may be fewer outcomes than commands, if the machine
    /// has left some out. `commands` are those of the entry; they may be empty if every one has a
    /// reply.
    ///
    /// A caller of whose commands some were carried out gets the others back; one of whose commands
    /// none was waits on. What the Region refused goes back with `descriptor`, by which it did.
    pub(super) fn succeed(
        &self,
        outcomes: Vec<Outcome<R>>,
        commands: Vec<C>,
        descriptor: &Arc<Descriptor>,
    ) {
        if outcomes.len() > self.commands {
            // Which of them belongs to which command cannot be told.
            return self.fail(&lost_count());
        }
        let (mut outcomes, mut commands) = (outcomes.into_iter(), commands.into_iter());
        let mut untouched = Vec::new();
        for mut waiter in std::mem::take(&mut *self.waiters.lock()) {
            let (mut done, mut rest) = (Vec::with_capacity(waiter.count), Vec::new());
            let mut complete = true;
            for _ in 0..waiter.count {
                match (outcomes.next(), commands.next()) {
                    (Some(Outcome::Reply(reply)), _) => done.push(Done::Reply(reply)),
                    (Some(Outcome::Misrouted), Some(command)) => {
                        let descriptor = Arc::clone(descriptor);
                        done.push(Done::Misrouted { command, descriptor });
                    }
                    (None, Some(own)) => rest.push(own),
                    (_, None) => complete = false,
                }
            }
            rest.extend(waiter.rest);
            // Its caller holds the rest from here on, or the queue, which counts it again.
            drop(waiter.share);
            if !complete {
                waiter.answer.send(Err(lost_count()));
            } else if done.is_empty() && !waiter.answer.is_sent() {
                let (answer, deadline) = (waiter.answer, waiter.deadline);
                let version = self.version;
                untouched.push(Returned { commands: rest, version, answer, deadline });
            } else {
                waiter.answer.send(Ok(Progress { done, rest }));
            }
        }
        if !untouched.is_empty() {
            self.events.put_back(untouched);
        }
    }

    /// Tells everybody that it failed.
    pub(super) fn fail(&self, error: &ProposeError) {
        self.answer_if(error, |_| true);
    }

    /// Tells those whose deadline has passed that the outcome is unknown.
    pub(super) fn expire(&self, now: Instant) {
        let why = Arc::from("the log did not get to it in time");
        self.answer_if(&ProposeError::Unknown { why }, |waiter| waiter.deadline <= now);
    }

    /// Answers some of those who wait. They keep their place: outcomes are dealt out by position.
    fn answer_if(&self, error: &ProposeError, chosen: impl Fn(&Waiter<C, R>) -> bool) {
        let mut waiters = self.waiters.lock();
        let mut told = 0;
        for waiter in waiters.iter_mut().filter(|waiter| chosen(waiter)) {
            told += usize::from(waiter.answer.send(Err(error.clone())));
        }
        if matches!(error, ProposeError::Unknown { .. }) {
            metrics::unknown(told);
        }
    }
}

impl<C, R> Drop for InFlight<C, R> {
    fn drop(&mut self) {
        let why = Arc::from("the region stopped while the write was in flight");
        self.fail(&ProposeError::Unknown { why });
        self.settle();
        self.events.finished();
    }
}

/// The entries that have not ended.
pub(super) struct AllInFlight<C, R>(Mutex<Vec<Weak<InFlight<C, R>>>>);

impl<C, R> Default for AllInFlight<C, R> {
    fn default() -> Self {
        AllInFlight(Mutex::new(Vec::new()))
    }
}

impl<C, R> AllInFlight<C, R> {
    /// Remembers an entry.
    pub(super) fn add(&self, entry: &Arc<InFlight<C, R>>) {
        let mut entries = self.0.lock();
        entries.retain(|entry| entry.strong_count() > 0);
        entries.push(Arc::downgrade(entry));
    }

    /// Tells the callers of all of them that the outcome is unknown.
    pub(super) fn abandon(&self, why: &str) {
        let error = ProposeError::Unknown { why: Arc::from(why) };
        self.each(|entry| entry.fail(&error));
    }

    /// Tells those whose deadline has passed that the outcome is unknown.
    pub(super) fn expire(&self, now: Instant) {
        self.each(|entry| entry.expire(now));
    }

    /// Forgets those that have ended, and gives back the memory of those that were. Called where
    /// none begins often.
    pub(super) fn release_memory(&self) {
        let mut entries = self.0.lock();
        // Each keeps the memory of its entry.
        entries.retain(|entry| entry.strong_count() > 0);
        entries.shrink_to_fit();
    }

    /// For how many entries there is memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.lock().capacity()
    }

    fn each(&self, act: impl Fn(&InFlight<C, R>)) {
        // Outside the lock: the last handle of an entry may go here, which calls events.
        let entries: Vec<_> = self.0.lock().iter().filter_map(Weak::upgrade).collect();
        entries.iter().for_each(|entry| act(entry));
    }
}

fn lost_count() -> ProposeError {
    let why = "the state machine answered for another number of commands than it was given";
    ProposeError::Unknown { why: Arc::from(why) }
}

#[cfg(test)]
mod tests {
    use neokv_encoding::slot::SlotRange;
    use tokio::sync::oneshot;

    use super::*;
    use crate::propose::queue::AnswerSender;
    use crate::testing;

    /// Counts what it is told.
    #[derive(Default)]
    struct Told {
        put_back: Mutex<Vec<Vec<char>>>,
        counts: Mutex<(usize, usize)>,
    }

    impl EntryEvents<char, u8> for Told {
        fn put_back(&self, left: Vec<Returned<char, u8>>) {
            self.put_back.lock().extend(left.into_iter().map(|one| one.commands));
        }
        fn settled(&self) {
            self.counts.lock().0 += 1;
        }
        fn finished(&self) {
            self.counts.lock().1 += 1;
        }
    }

    type Wait = oneshot::Receiver<Result<Progress<char, u8>, ProposeError>>;

    fn shape() -> Arc<Descriptor> {
        Arc::new(testing::descriptor(1, SlotRange::ALL))
    }

    fn waiter(count: usize, rest: &str) -> (Waiter<char, u8>, Wait) {
        let (answer, wait) = AnswerSender::new();
        let deadline = Instant::now();
        (Waiter { count, rest: rest.chars().collect(), share: None, answer, deadline }, wait)
    }

    #[tokio::test]
    async fn everybody_gets_what_became_of_their_own_commands() {
        let told = Arc::new(Told::default());
        let (waiters, mut waits): (Vec<_>, Vec<_>) =
            [waiter(2, ""), waiter(2, "x"), waiter(1, "yz")].into_iter().unzip();
        let entry = InFlight::new(1, waiters, Arc::clone(&told) as _);
        entry.settle();
        entry.settle();
        let reply = Outcome::Reply;
        entry.succeed(
            vec![reply(1), Outcome::Misrouted, reply(3)],
            "abcde".chars().collect(),
            &shape(),
        );
        drop(entry);
        let first = waits.remove(0).await.unwrap().unwrap();
        assert_eq!(
            first.done,
            [Done::Reply(1), Done::Misrouted { command: 'b', descriptor: shape() }]
        );
        assert!(first.rest.is_empty());
        let second = waits.remove(0).await.unwrap().unwrap();
        assert_eq!((second.done, second.rest), (vec![Done::Reply(3)], vec!['d', 'x']));
        assert_eq!(*told.put_back.lock(), [['e', 'y', 'z']], "nothing of it was done");
        assert_eq!(*told.counts.lock(), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_too_long_is_told_and_the_others_keep_their_places() {
        let told = Arc::new(Told::default());
        let (mut early, early_wait) = waiter(1, "");
        let (late, late_wait) = waiter(1, "");
        early.deadline = Instant::now() - std::time::Duration::from_secs(1);
        let entry = InFlight::new(1, vec![early, late], Arc::clone(&told) as _);
        entry.expire(Instant::now() - std::time::Duration::from_millis(500));
        assert!(matches!(early_wait.await, Ok(Err(ProposeError::Unknown { .. }))));
        entry.succeed(vec![Outcome::Reply(1), Outcome::Reply(2)], Vec::new(), &shape());
        assert_eq!(late_wait.await.unwrap().unwrap().done, [Done::Reply(2)]);
    }

    #[tokio::test]
    async fn more_outcomes_than_commands_say_nothing_of_any_of_them() {
        let (waiter, wait) = waiter(1, "");
        let entry = InFlight::new(1, vec![waiter], Arc::new(Told::default()) as _);
        entry.succeed(vec![Outcome::Reply(1), Outcome::Reply(2)], Vec::new(), &shape());
        assert!(matches!(wait.await, Ok(Err(ProposeError::Unknown { .. }))));
    }

    #[tokio::test]
    async fn an_entry_that_is_dropped_leaves_nobody_waiting() {
        let (waiter, wait) = waiter(1, "");
        let told = Arc::new(Told::default());
        drop(InFlight::new(1, vec![waiter], Arc::clone(&told) as _));
        assert!(matches!(wait.await, Ok(Err(ProposeError::Unknown { .. }))));
        assert_eq!(*told.counts.lock(), (1, 1));
    }
}
