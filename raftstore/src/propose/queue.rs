//! What waits for an entry, and how entries are cut from it.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use super::Progress;
use super::proposer::Limits;
use crate::error::ProposeError;

/// Where the replies of a submission go.
pub(super) type Answer<C, R> = oneshot::Sender<Result<Progress<C, R>, ProposeError>>;

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
    /// Who waits.
    pub(super) answer: Answer<C, R>,
}

impl<C, R> Submission<C, R> {
    /// A submission of these commands.
    pub(super) fn new(
        commands: Vec<C>,
        judge: &impl Judge<C>,
        answer: Answer<C, R>,
    ) -> Submission<C, R> {
        let (mut weight, mut heaviest, mut has_alone) = (0usize, 0, false);
        for command in &commands {
            let bytes = judge.weight(command);
            weight = weight.saturating_add(bytes);
            heaviest = heaviest.max(bytes);
            has_alone |= judge.alone(command);
        }
        Submission { commands, weight, heaviest, has_alone, answer }
    }
}

/// One caller's part of an entry.
pub(super) struct Waiter<C, R> {
    /// How many of the entry's commands are the caller's.
    pub(super) count: usize,
    /// The commands that did not fit into the entry. They go back to the caller.
    pub(super) rest: Vec<C>,
    pub(super) answer: Answer<C, R>,
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
    /// How many at the head were put back.
    returned: usize,
    bytes: usize,
    commands: usize,
    closed: bool,
}

impl<C, R> Default for Queue<C, R> {
    fn default() -> Self {
        Queue { waiting: VecDeque::new(), returned: 0, bytes: 0, commands: 0, closed: false }
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
        self.count_in(&submission);
        self.waiting.push_back(submission);
    }

    /// Puts submissions that were taken, in this order, back to the head, behind those that were
    /// put back before.
    pub(super) fn put_back(&mut self, submissions: Vec<Submission<C, R>>) {
        for submission in submissions {
            self.count_in(&submission);
            self.waiting.insert(self.returned, submission);
            self.returned = self.returned.saturating_add(1);
        }
    }

    fn count_in(&mut self, submission: &Submission<C, R>) {
        self.bytes = self.bytes.saturating_add(submission.weight);
        self.commands = self.commands.saturating_add(submission.commands.len());
    }

    /// Refuses further submissions and returns those that wait.
    pub(super) fn close(&mut self) -> Vec<Submission<C, R>> {
        self.closed = true;
        self.drain()
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> Vec<Submission<C, R>> {
        (self.bytes, self.commands, self.returned) = (0, 0, 0);
        self.waiting.drain(..).collect()
    }

    /// Cuts the next entry from the head.
    pub(super) fn take(&mut self, limits: &Limits, judge: &impl Judge<C>) -> Option<Draft<C, R>> {
        let mut draft = Draft { commands: Vec::new(), bytes: 0, waiters: Vec::new() };
        while let Some(next) = self.waiting.front() {
            let fits = draft.bytes.saturating_add(next.weight) <= limits.entry_bytes
                && draft.commands.len().saturating_add(next.commands.len())
                    <= limits.entry_commands;
            let whole = fits && !next.has_alone;
            if !whole && !draft.commands.is_empty() {
                break;
            }
            let Some(next) = self.pop() else { break };
            if whole {
                join(&mut draft, next);
            } else {
                cut(&mut draft, next, limits, judge);
                break;
            }
        }
        (!draft.commands.is_empty()).then_some(draft)
    }

    fn pop(&mut self) -> Option<Submission<C, R>> {
        let next = self.waiting.pop_front()?;
        self.returned = self.returned.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(next.weight);
        self.commands = self.commands.saturating_sub(next.commands.len());
        Some(next)
    }
}

/// Adds a whole submission to the draft.
fn join<C, R>(draft: &mut Draft<C, R>, mut next: Submission<C, R>) {
    let count = next.commands.len();
    draft.bytes = draft.bytes.saturating_add(next.weight);
    if draft.commands.is_empty() {
        draft.commands = next.commands;
    } else {
        draft.commands.append(&mut next.commands);
    }
    draft.waiters.push(Waiter { count, rest: Vec::new(), answer: next.answer });
}

/// Moves the first commands of a submission into the empty draft: as many as may share an entry, at
/// least one.
fn cut<C, R>(
    draft: &mut Draft<C, R>,
    mut next: Submission<C, R>,
    limits: &Limits,
    judge: &impl Judge<C>,
) {
    let mut bytes = 0usize;
    let mut count = 0usize;
    for command in &next.commands {
        let weight = judge.weight(command);
        let alone = judge.alone(command);
        let full =
            bytes.saturating_add(weight) > limits.entry_bytes || count >= limits.entry_commands;
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
    draft.commands = next.commands;
    draft.bytes = bytes;
    draft.waiters.push(Waiter { count, rest, answer: next.answer });
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
        Limits {
            entry_bytes: 100,
            entry_commands: 4,
            queue_bytes: 1000,
            queue_commands: 100,
            command_bytes: 500,
        }
    }

    fn submit(queue: &mut Queue<i64, i64>, commands: &[i64]) {
        queue.push(Submission::new(commands.to_vec(), &ByValue, oneshot::channel().0));
    }

    /// Takes all entries; each caller submits what did not fit again.
    fn entries(queue: &mut Queue<i64, i64>) -> Vec<Vec<i64>> {
        let mut all = Vec::new();
        while let Some(draft) = queue.take(&limits(), &ByValue) {
            assert_eq!(
                draft.bytes,
                draft.commands.iter().map(|command| ByValue.weight(command)).sum::<usize>()
            );
            assert_eq!(
                draft.commands.len(),
                draft.waiters.iter().map(|waiter| waiter.count).sum::<usize>()
            );
            all.push(draft.commands);
            draft
                .waiters
                .iter()
                .filter(|waiter| !waiter.rest.is_empty())
                .for_each(|waiter| submit(queue, &waiter.rest));
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
        assert_eq!(
            entries(&mut queue),
            [vec![1], vec![-4], vec![5], vec![6], vec![-2], vec![-7], vec![3]]
        );
    }

    #[test]
    fn of_a_large_submission_the_first_commands_go_and_the_rest_goes_back() {
        let mut queue = Queue::default();
        submit(&mut queue, &[60, 60, 10, 200]);
        submit(&mut queue, &[1]);
        let draft = queue.take(&limits(), &ByValue).unwrap();
        assert_eq!((draft.commands, draft.waiters[0].count), (vec![60], 1));
        assert_eq!(draft.waiters[0].rest, [60, 10, 200]);
        submit(&mut queue, &draft.waiters[0].rest);
        assert_eq!(entries(&mut queue), [vec![1], vec![60, 10], vec![200]]);
    }

    #[test]
    fn what_is_put_back_is_next_and_in_order() {
        let mut queue = Queue::default();
        submit(&mut queue, &[1]);
        for back in [&[2][..], &[3]] {
            queue.put_back(vec![Submission::new(back.to_vec(), &ByValue, oneshot::channel().0)]);
        }
        assert_eq!((queue.bytes(), queue.commands), (6, 3));
        assert_eq!(entries(&mut queue), [vec![2, 3, 1]]);
        queue.put_back(vec![Submission::new(vec![4], &ByValue, oneshot::channel().0)]);
        submit(&mut queue, &[5]);
        assert_eq!(entries(&mut queue), [vec![4, 5]]);
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
