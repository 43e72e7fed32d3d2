//! What waits for an entry, and how entries are cut from it.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::proposer::Limits;
use crate::error::ProposeError;

/// Where the replies of a submission go.
pub(super) type Answer<R> = oneshot::Sender<Result<Vec<R>, ProposeError>>;

/// The consecutive commands of one caller.
pub(super) struct Submission<C, R> {
    /// What is left to do.
    pub(super) commands: Vec<C>,
    /// Weight of those commands.
    pub(super) weight: usize,
    /// Whether one of them must be alone in its entry.
    pub(super) has_alone: bool,
    /// Replies of the commands that are done already.
    pub(super) done: Vec<R>,
    /// Who waits.
    pub(super) answer: Answer<R>,
}

/// One caller's part of an entry.
pub(super) enum Waiter<C, R> {
    /// The whole submission: so many commands.
    Whole(usize, Answer<R>),
    /// The first commands of it; the rest goes back to the head of the queue when they have succeeded.
    Part(usize, Box<Submission<C, R>>),
    /// The last commands of one whose earlier parts are done.
    Last(usize, Box<Submission<C, R>>),
}

/// The commands of the next entry and who waits for them.
pub(super) struct Draft<C, R> {
    pub(super) commands: Vec<C>,
    /// Weight of the commands.
    pub(super) bytes: usize,
    pub(super) waiters: Vec<Waiter<C, R>>,
}

/// See the module.
pub(super) struct Queue<C, R> {
    waiting: VecDeque<Submission<C, R>>,
    bytes: usize,
    commands: usize,
    /// A cut submission's first part is in flight: nothing may overtake its rest.
    blocked: bool,
    closed: bool,
}

impl<C, R> Default for Queue<C, R> {
    fn default() -> Self {
        Queue { waiting: VecDeque::new(), bytes: 0, commands: 0, blocked: false, closed: false }
    }
}

/// How the queue judges commands: the state machine's answers.
pub(super) trait Judge<C> {
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

    /// Whether no submission will come any more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether another submission of this size may wait. One always may, however large.
    pub(super) fn has_room(&self, weight: usize, commands: usize, limits: &Limits) -> bool {
        self.waiting.is_empty()
            || (self.bytes.saturating_add(weight) <= limits.queue_bytes
                && self.commands.saturating_add(commands) <= limits.queue_commands)
    }

    /// Adds a submission at the end.
    pub(super) fn push(&mut self, submission: Submission<C, R>) {
        self.bytes = self.bytes.saturating_add(submission.weight);
        self.commands = self.commands.saturating_add(submission.commands.len());
        self.waiting.push_back(submission);
    }

    /// Puts the rest of a cut submission back to the head and lets the queue go on.
    pub(super) fn resume(&mut self, rest: Option<Submission<C, R>>) {
        self.blocked = false;
        if let Some(rest) = rest {
            self.bytes = self.bytes.saturating_add(rest.weight);
            self.commands = self.commands.saturating_add(rest.commands.len());
            self.waiting.push_front(rest);
        }
    }

    /// Refuses further submissions and returns those that wait.
    pub(super) fn close(&mut self) -> Vec<Submission<C, R>> {
        self.closed = true;
        self.drain()
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<Submission<C, R>> {
        self.bytes = 0;
        self.commands = 0;
        self.waiting.drain(..).collect()
    }

    /// Cuts the next entry from the head.
    pub(super) fn take(&mut self, limits: &Limits, judge: &impl Judge<C>) -> Option<Draft<C, R>> {
        if self.blocked {
            return None;
        }
        let mut draft = Draft { commands: Vec::new(), bytes: 0, waiters: Vec::new() };
        while let Some(next) = self.waiting.front() {
            let fits = draft.bytes.saturating_add(next.weight) <= limits.entry_bytes
                && draft.commands.len().saturating_add(next.commands.len()) <= limits.entry_commands;
            let single = next.commands.len() == 1;
            let whole = if next.has_alone { single && draft.commands.is_empty() } else { fits };
            if !whole && !draft.commands.is_empty() {
                break;
            }
            let Some(next) = self.pop() else { break };
            let last = next.has_alone || !fits;
            if whole || single {
                join(&mut draft, next);
            } else {
                self.cut(&mut draft, next, limits, judge);
            }
            if last || self.blocked {
                break;
            }
        }
        (!draft.commands.is_empty()).then_some(draft)
    }

    fn pop(&mut self) -> Option<Submission<C, R>> {
        let next = self.waiting.pop_front()?;
        self.bytes = self.bytes.saturating_sub(next.weight);
        self.commands = self.commands.saturating_sub(next.commands.len());
        Some(next)
    }

    /// Moves the first commands of a submission into the (empty) draft and blocks the queue until they are done.
    fn cut(&mut self, draft: &mut Draft<C, R>, mut next: Submission<C, R>, limits: &Limits, judge: &impl Judge<C>) {
        let mut bytes = 0usize;
        let mut count = 0usize;
        for command in &next.commands {
            let weight = judge.weight(command);
            let alone = judge.alone(command);
            let full = bytes.saturating_add(weight) > limits.entry_bytes || count >= limits.entry_commands;
            if count > 0 && (alone || full) {
                break;
            }
            bytes = bytes.saturating_add(weight);
            count = count.saturating_add(1);
            if alone {
                break;
            }
        }
        let rest = next.commands.split_off(count.min(next.commands.len()));
        draft.commands = std::mem::replace(&mut next.commands, rest);
        debug_assert!(!next.commands.is_empty(), "a submission that fits is not cut");
        draft.bytes = bytes;
        next.weight = next.weight.saturating_sub(bytes);
        next.has_alone = next.commands.iter().any(|command| judge.alone(command));
        self.blocked = true;
        draft.waiters.push(Waiter::Part(count, Box::new(next)));
    }
}

/// Adds a whole submission to the draft.
fn join<C, R>(draft: &mut Draft<C, R>, mut next: Submission<C, R>) {
    let count = next.commands.len();
    draft.bytes = draft.bytes.saturating_add(next.weight);
    if draft.commands.is_empty() {
        draft.commands = std::mem::take(&mut next.commands);
    } else {
        draft.commands.append(&mut next.commands);
    }
    draft.waiters.push(if next.done.is_empty() {
        Waiter::Whole(count, next.answer)
    } else {
        Waiter::Last(count, Box::new(next))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command is its weight; a negative one must be alone.
    struct ByValue;

    impl Judge<i64> for ByValue {
        fn weight(&self, command: &i64) -> usize {
            usize::try_from(command.abs()).unwrap()
        }
        fn alone(&self, command: &i64) -> bool {
            *command < 0
        }
    }

    fn limits() -> Limits {
        Limits { entry_bytes: 100, entry_commands: 4, queue_bytes: 1000, queue_commands: 100, command_bytes: 500 }
    }

    fn submit(queue: &mut Queue<i64, i64>, commands: &[i64]) -> oneshot::Receiver<Result<Vec<i64>, ProposeError>> {
        let (answer, wait) = oneshot::channel();
        queue.push(Submission {
            commands: commands.to_vec(),
            weight: commands.iter().map(|command| ByValue.weight(command)).sum(),
            has_alone: commands.iter().any(|command| *command < 0),
            done: Vec::new(),
            answer,
        });
        wait
    }

    /// Takes all entries, letting every part succeed at once.
    fn entries(queue: &mut Queue<i64, i64>) -> Vec<Vec<i64>> {
        let mut all = Vec::new();
        while let Some(draft) = queue.take(&limits(), &ByValue) {
            assert_eq!(draft.bytes, draft.commands.iter().map(|command| ByValue.weight(command)).sum::<usize>());
            all.push(draft.commands);
            for waiter in draft.waiters {
                if let Waiter::Part(count, mut rest) = waiter {
                    rest.done.extend(std::iter::repeat_n(0, count));
                    queue.resume(Some(*rest));
                }
            }
        }
        all
    }

    #[test]
    fn waiting_submissions_share_an_entry_up_to_the_limits() {
        let mut queue = Queue::default();
        for commands in [&[10, 20][..], &[30], &[50], &[1, 1, 1, 1], &[1]] {
            submit(&mut queue, commands);
        }
        assert_eq!(queue.bytes(), 115);
        assert_eq!(entries(&mut queue), [vec![10, 20, 30], vec![50], vec![1, 1, 1, 1], vec![1]]);
        assert_eq!((queue.bytes(), queue.commands), (0, 0));
    }

    #[test]
    fn a_command_that_must_be_alone_is() {
        let mut queue = Queue::default();
        for commands in [&[1, -2, 3][..], &[-4], &[5], &[6, -7]] {
            submit(&mut queue, commands);
        }
        assert_eq!(entries(&mut queue), [vec![1], vec![-2], vec![3], vec![-4], vec![5], vec![6], vec![-7]]);
    }

    #[test]
    fn a_large_submission_is_cut_and_nothing_overtakes_its_rest() {
        let mut queue = Queue::default();
        submit(&mut queue, &[60, 60, 10, 200]);
        submit(&mut queue, &[1]);
        let draft = queue.take(&limits(), &ByValue).unwrap();
        assert_eq!(draft.commands, [60]);
        assert!(queue.take(&limits(), &ByValue).is_none(), "the rest waits for the first part");
        let Some(Waiter::Part(1, rest)) = draft.waiters.into_iter().next() else { panic!("a part") };
        queue.resume(Some(*rest));
        assert_eq!(entries(&mut queue), [vec![60, 10], vec![200], vec![1]]);
    }

    #[test]
    fn the_queue_is_bounded_but_never_refuses_the_first() {
        let mut queue = Queue::default();
        assert!(queue.has_room(5000, 1, &limits()));
        submit(&mut queue, &[900]);
        assert!(queue.has_room(100, 1, &limits()));
        assert!(!queue.has_room(101, 1, &limits()));
        assert!(!queue.has_room(1, 100, &limits()));
    }
}
