//! The submissions that wait for an entry, and how entries are cut from them.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Progress;
use super::proposer::EntryLimits;
use super::quota::Share;
use crate::error::ProposeError;

/// What a caller is told in the end.
pub(super) type SubmissionResult<C, R> = Result<Progress<C, R>, ProposeError>;

/// Where the outcomes of a submission go: once.
#[derive(Debug)]
pub(super) struct AnswerSender<C, R>(Option<oneshot::Sender<SubmissionResult<C, R>>>);

impl<C, R> AnswerSender<C, R> {
    /// An answer, and where its caller waits for it.
    pub(super) fn new() -> (AnswerSender<C, R>, oneshot::Receiver<SubmissionResult<C, R>>) {
        let (sender, receiver) = oneshot::channel();
        (AnswerSender(Some(sender)), receiver)
    }

    /// Tells the caller, unless that was done before or it does not wait. Whether the caller was
    /// told.
    pub(super) fn send(&mut self, result: SubmissionResult<C, R>) -> bool {
        self.0.take().is_some_and(|sender| sender.send(result).is_ok())
    }

    /// Whether the caller was told something.
    pub(super) fn is_sent(&self) -> bool {
        self.0.is_none()
    }
}

/// The consecutive commands of one caller.
pub(super) struct Submission<C, R> {
    /// What is to be done.
    pub(super) commands: Vec<C>,
    /// Weight of those commands.
    pub(super) weight: usize,
    /// Weight of the heaviest of them.
    pub(super) heaviest: usize,
    /// Whether one of them must be alone in its entry.
    pub(super) has_alone: bool,
    /// Version of the Region's epoch that the caller routed by.
    pub(super) version: u64,
    /// When the caller gives up.
    pub(super) deadline: Instant,
    /// Where its caller waits.
    pub(super) answer: AnswerSender<C, R>,
    /// Its bytes in the quota of the store.
    pub(super) share: Option<Share>,
}

/// Commands that come back from an entry, all of their caller's.
pub(super) struct Returned<C, R> {
    pub(super) commands: Vec<C>,
    pub(super) version: u64,
    pub(super) answer: AnswerSender<C, R>,
    pub(super) deadline: Instant,
}

impl<C, R> Submission<C, R> {
    /// A submission of these commands.
    pub(super) fn new(returned: Returned<C, R>, commands: &impl CommandTraits<C>) -> Self {
        let Returned { commands: all, version, answer, deadline } = returned;
        let (mut weight, mut heaviest, mut has_alone) = (0, 0, false);
        for command in &all {
            let bytes = commands.weight(command);
            weight += bytes;
            heaviest = heaviest.max(bytes);
            has_alone |= commands.alone(command);
        }
        let share = None;
        Submission { commands: all, weight, heaviest, has_alone, version, deadline, answer, share }
    }
}

/// One caller's part of an entry.
pub(super) struct Waiter<C, R> {
    /// How many of the entry's commands are the caller's.
    pub(super) count: usize,
    /// The commands that did not fit into the entry. They go back to the caller.
    pub(super) rest: Vec<C>,
    /// The bytes of those in the quota of the store.
    pub(super) share: Option<Share>,
    pub(super) answer: AnswerSender<C, R>,
    pub(super) deadline: Instant,
}

/// The commands of the next entry and their callers.
pub(super) struct Draft<C, R> {
    pub(super) commands: Vec<C>,
    /// Weight of the commands.
    pub(super) bytes: usize,
    pub(super) waiters: Vec<Waiter<C, R>>,
}

/// What cutting an entry gave.
pub(super) struct Cut<C, R> {
    /// The next entry, if anything waits for one.
    pub(super) draft: Option<Draft<C, R>>,
    /// Submissions that were made for another version of the Region.
    pub(super) stale: Vec<Submission<C, R>>,
}

/// See the module.
pub(super) struct Queue<C, R> {
    waiting: VecDeque<Submission<C, R>>,
    /// How many at the head were put back.
    returned: usize,
    bytes: usize,
    commands: usize,
    closed: bool,
    stalled: bool,
    /// Something came since [`Queue::release_memory`] looked last.
    busy: bool,
}

impl<C, R> Default for Queue<C, R> {
    fn default() -> Self {
        Queue {
            waiting: VecDeque::new(),
            returned: 0,
            bytes: 0,
            commands: 0,
            closed: false,
            stalled: false,
            busy: false,
        }
    }
}

/// What the queue must know of a command: the state machine's answers.
pub(super) trait CommandTraits<C> {
    /// Weight in bytes.
    fn weight(&self, command: &C) -> usize;
    /// Whether it must be alone in its entry.
    fn alone(&self, command: &C) -> bool;
}

impl<C, R> Queue<C, R> {
    /// Bytes waiting.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether no submission will come any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether the disk is full: nothing may wait for an entry.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Whether so many commands more may wait. One submission always may, however large.
    pub(super) fn has_room(&self, commands: usize, limits: &EntryLimits) -> bool {
        self.waiting.is_empty() || self.commands + commands <= limits.queue_commands
    }

    /// Adds a submission at the end.
    pub(super) fn push(&mut self, submission: Submission<C, R>) {
        self.count_in(&submission);
        self.waiting.push_back(submission);
    }

    /// Puts submissions that were taken, in this order, back to the head, behind those that were
    /// put back before.
    pub(super) fn put_back(&mut self, submissions: Vec<Submission<C, R>>) {
        for submission in submissions {
            self.count_in(&submission);
            self.waiting.insert(self.returned, submission);
            self.returned += 1;
        }
    }

    /// Refuses further submissions and returns those that wait.
    pub(super) fn close(&mut self) -> Vec<Submission<C, R>> {
        self.closed = true;
        self.drain()
    }

    /// The disk is full (`true`) or writable again. While it is full nothing waits: returns what
    /// did.
    pub(super) fn stall(&mut self, full: bool) -> Vec<Submission<C, R>> {
        self.stalled = full;
        if full { self.drain() } else { Vec::new() }
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<Submission<C, R>> {
        (self.bytes, self.commands, self.returned) = (0, 0, 0);
        self.waiting.drain(..).collect()
    }

    /// Called once in a while: a queue that is empty and that nothing came to since the last call
    /// gives its memory back. Whether that is so.
    pub(super) fn release_memory(&mut self) -> bool {
        let is_idle = !std::mem::take(&mut self.busy) && self.waiting.is_empty();
        if is_idle {
            self.waiting = VecDeque::new();
        }
        is_idle
    }

    /// For how many submissions there is memory.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.waiting.capacity()
    }

    /// Takes out what has waited too long.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Submission<C, R>> {
        // Deadlines grow from the head to the end, those that were put back aside: they are older.
        let mut expired = Vec::new();
        while self.waiting.front().is_some_and(|front| front.deadline <= now) {
            expired.extend(self.pop());
        }
        expired
    }

    /// Cuts the next entry from the head, for this version of the Region.
    pub(super) fn cut(
        &mut self,
        version: u64,
        limits: &EntryLimits,
        traits: &impl CommandTraits<C>,
    ) -> Cut<C, R> {
        let mut draft = Draft { commands: Vec::new(), bytes: 0, waiters: Vec::new() };
        let mut stale = Vec::new();
        while let Some(next) = self.waiting.front() {
            if next.version != version {
                stale.extend(self.pop());
                continue;
            }
            let fits = draft.bytes + next.weight <= limits.entry_bytes
                && draft.commands.len() + next.commands.len() <= limits.entry_commands;
            let whole = fits && !next.has_alone;
            if !whole && !draft.commands.is_empty() {
                break;
            }
            let Some(next) = self.pop() else { break };
            if whole {
                join(&mut draft, next);
            } else {
                first_part(&mut draft, next, limits, traits);
                break;
            }
        }
        let draft = (!draft.commands.is_empty()).then_some(draft);
        Cut { draft, stale }
    }

    fn count_in(&mut self, submission: &Submission<C, R>) {
        self.bytes += submission.weight;
        self.commands += submission.commands.len();
        self.busy = true;
    }

    fn pop(&mut self) -> Option<Submission<C, R>> {
        let next = self.waiting.pop_front()?;
        self.returned = self.returned.saturating_sub(1);
        self.bytes -= next.weight;
        self.commands -= next.commands.len();
        Some(next)
    }
}

/// Adds a whole submission to the draft.
fn join<C, R>(draft: &mut Draft<C, R>, mut next: Submission<C, R>) {
    let count = next.commands.len();
    draft.bytes += next.weight;
    if draft.commands.is_empty() {
        draft.commands = next.commands;
    } else {
        draft.commands.append(&mut next.commands);
    }
    let (answer, deadline) = (next.answer, next.deadline);
    // Here, the submission gives its share of the quota back.
    draft.waiters.push(Waiter { count, rest: Vec::new(), share: None, answer, deadline });
}

/// Moves the first commands of a submission into the empty draft: as many as may share an entry, at
/// least one.
fn first_part<C, R>(
    draft: &mut Draft<C, R>,
    mut next: Submission<C, R>,
    limits: &EntryLimits,
    traits: &impl CommandTraits<C>,
) {
    let mut bytes = 0;
    let mut count = 0;
    for command in &next.commands {
        let weight = traits.weight(command);
        let alone = traits.alone(command);
        let full = bytes + weight > limits.entry_bytes || count >= limits.entry_commands;
        if count > 0 && (alone || full) {
            break;
        }
        bytes += weight;
        count += 1;
        if alone {
            break;
        }
    }
    let rest = next.commands.split_off(count);
    draft.commands = next.commands;
    draft.bytes = bytes;
    let (answer, deadline) = (next.answer, next.deadline);
    // What does not fit is held as long as the entry is on its way.
    let mut share = next.share.filter(|_| !rest.is_empty());
    if let Some(share) = &mut share {
        share.shrink(next.weight - bytes);
    }
    draft.waiters.push(Waiter { count, rest, share, answer, deadline });
}

#[cfg(test)]
mod tests;
