//! The task that turns submissions into entries.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use neokv_encoding::hlc;
use neokv_encoding::region::{Epoch, RegionState};
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::in_flight::{AllInFlight, EntryEvents, InFlight};
use super::queue::{AnswerSender, CommandTraits, Draft, Queue, Returned, Submission};
use super::quota::QueueQuota;
use super::window::Window;
use super::{Done, Progress};
use crate::config::Config;
use crate::error::ProposeError;
use crate::group::Raft;
use crate::machine::{ApplyError, Outcome, Stamp, StateMachine};
use crate::metrics;
use crate::published::Published;
use crate::random::SplitMix64;
use crate::region_clock::RegionClock;
use crate::shape::Shape;
use crate::types::{Completion, Data, Responder, TypeConfig, WriteResult};

/// Pause before an entry is offered again to a leader that has just been elected and has not heard
/// from its majority.
const LEASE_RETRY: Duration = Duration::from_millis(10);

type InFlightOf<M> = InFlight<<M as StateMachine>::Command, <M as StateMachine>::Reply>;
type SubmissionOf<M> = Submission<<M as StateMachine>::Command, <M as StateMachine>::Reply>;
type ReturnedOf<M> = Returned<<M as StateMachine>::Command, <M as StateMachine>::Reply>;
type DraftOf<M> = Draft<<M as StateMachine>::Command, <M as StateMachine>::Reply>;

/// What a caller is told about its submission in the end.
pub(crate) type SubmissionResult<M> =
    super::queue::SubmissionResult<<M as StateMachine>::Command, <M as StateMachine>::Reply>;

/// Bounds of the queue and of entries; see [`Config`].
#[derive(Debug, Clone)]
pub(crate) struct EntryLimits {
    pub(crate) entry_bytes: usize,
    pub(crate) entry_commands: usize,
    pub(crate) queue_commands: usize,
    pub(crate) command_bytes: usize,
}

impl From<&Config> for EntryLimits {
    fn from(config: &Config) -> EntryLimits {
        EntryLimits {
            entry_bytes: config.entry_bytes,
            entry_commands: config.entry_commands.max(1),
            queue_commands: config.queue_commands,
            command_bytes: config.command_bytes,
        }
    }
}

/// One Region's proposer.
pub(crate) struct Proposer<M: StateMachine> {
    parts: ProposerParts<M>,
    limits: EntryLimits,
    timeout: Duration,
    /// How often an entry is offered again while the leader has no lease.
    lease_retries: u32,
    queue: Mutex<Queue<M::Command, M::Reply>>,
    in_flight: AllInFlight<M::Command, M::Reply>,
    window: Window,
    wake: Notify,
}

/// What a [`Proposer`] is made from.
pub(crate) struct ProposerParts<M: StateMachine> {
    pub(crate) region: u64,
    pub(crate) machine: Arc<M>,
    pub(crate) published: Arc<Published>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) clock: RegionClock,
    pub(crate) quota: QueueQuota,
}

impl<M: StateMachine> CommandTraits<M::Command> for M {
    fn weight(&self, command: &M::Command) -> usize {
        StateMachine::weight(self, command)
    }
    fn alone(&self, command: &M::Command) -> bool {
        StateMachine::alone(self, command)
    }
}

impl<M: StateMachine> Proposer<M> {
    /// A proposer; [`run`](Self::run) must be spawned.
    pub(crate) fn new(parts: ProposerParts<M>, config: &Config) -> Arc<Proposer<M>> {
        let retries = config.heartbeat.as_millis() / LEASE_RETRY.as_millis();
        Arc::new(Proposer {
            parts,
            limits: EntryLimits::from(config),
            timeout: config.propose_timeout,
            lease_retries: u32::try_from(retries).unwrap_or(u32::MAX).max(1),
            queue: Mutex::new(Queue::default()),
            in_flight: AllInFlight::default(),
            window: Window::new(config.window, config.eager_bytes),
            wake: Notify::new(),
        })
    }

    /// Queues the commands of one caller, who routed by this epoch; what becomes of them arrives on
    /// the channel.
    pub(crate) fn submit(
        &self,
        epoch: Epoch,
        commands: Vec<M::Command>,
    ) -> Result<oneshot::Receiver<SubmissionResult<M>>, ProposeError> {
        let ProposerParts { region, machine, quota, .. } = &self.parts;
        let (region, version) = (*region, epoch.version);
        // From here on the caller has an answer to wait for, whatever happens to its commands.
        let (answer, wait) = AnswerSender::new();
        let deadline = Instant::now() + self.timeout;
        let returned = Returned { commands, version, answer, deadline };
        let mut submission = Submission::new(returned, &**machine);
        // The fence: a caller that saw another shape gets its commands back at once.
        if !self.accepts(version) {
            self.misrouted(vec![submission]);
            return Ok(wait);
        }
        let (bytes, limit) = (submission.heaviest, self.limits.command_bytes);
        if bytes > limit {
            return Err(ProposeError::TooBig { bytes, limit });
        }
        // Two bounds on what waits: bytes in the whole store, commands in this Region.
        let busy = || ProposeError::Busy { region, waiting: quota.used() };
        submission.share = Some(quota.take(submission.weight).ok_or_else(busy)?);
        let wake = {
            // Compared under the lock under which they change: whoever closes or stalls the queue
            // answers what is in it, and finds nothing that comes later.
            let mut queue = self.queue.lock();
            if queue.is_closed() {
                drop(queue);
                return if self.parts.shape.is_removed() {
                    self.misrouted(vec![submission]);
                    Ok(wait)
                } else {
                    Err(self.closed())
                };
            }
            if queue.is_stalled() {
                return Err(ProposeError::NoSpace);
            }
            if !queue.has_room(submission.commands.len(), &self.limits) {
                return Err(busy());
            }
            queue.push(submission);
            self.window.is_open(queue.bytes())
        };
        // Without room in the window the proposer sleeps on: an entry that ends wakes it.
        if wake {
            self.wake.notify_one();
        }
        Ok(wait)
    }

    /// Whether the Region takes writes that were routed by this version of its epoch.
    fn accepts(&self, version: u64) -> bool {
        let descriptor = self.parts.shape.descriptor();
        descriptor.epoch.version == version
            && descriptor.state == RegionState::Normal
            && !self.parts.shape.is_removed()
    }

    /// The task. Ends when the queue is closed.
    pub(crate) async fn run(self: Arc<Self>, raft: Raft<M>) {
        let mut stamps = Stamps::new();
        while let Some((epoch, draft)) = self.next().await {
            let (now_ms, applied) = (self.parts.clock.now_ms(), self.parts.published.clock());
            let stamp = stamps.next(draft.commands.len(), now_ms, applied);
            let command = self.parts.machine.encode(stamp, &draft.commands);
            metrics::proposed(draft.commands.len(), self.parts.quota.used());
            let Some(entry) = self.begin(epoch.version, draft) else { continue };
            let offer = Offer { epoch, command, retries: self.lease_retries };
            Arc::clone(&self).offer_to_raft(raft.clone(), entry, offer).await;
        }
    }

    /// Waits until there is something to propose and the window has room. Submissions that were
    /// made for another shape of the Region go back to their callers on the way.
    async fn next(&self) -> Option<(Epoch, DraftOf<M>)> {
        loop {
            let stale = {
                let mut queue = self.queue.lock();
                let mut stale = Vec::new();
                if self.window.is_open(queue.bytes()) {
                    // The epoch is read once: the entry carries the one that its commands fit.
                    let epoch = self.parts.shape.descriptor().epoch;
                    let cut = queue.cut(epoch.version, &self.limits, &*self.parts.machine);
                    if let Some(draft) = cut.draft {
                        self.misrouted(cut.stale);
                        return Some((epoch, draft));
                    }
                    stale = cut.stale;
                }
                if queue.is_closed() {
                    return None;
                }
                stale
            };
            // Outside the lock: callers that are told may submit again.
            self.misrouted(stale);
            self.wake.notified().await;
        }
    }

    /// An entry that is about to be handed to Raft; `None` if the disk is full by now, and nothing
    /// happens.
    fn begin(self: &Arc<Self>, version: u64, draft: DraftOf<M>) -> Option<Arc<InFlightOf<M>>> {
        self.window.proposed(draft.bytes);
        let events: Arc<dyn EntryEvents<M::Command, M::Reply>> = Arc::clone(self) as _;
        let entry = InFlight::new(version, draft.waiters, events);
        self.in_flight.add(&entry);
        // What is in flight when the disk becomes full is given up, and so is what waits. The draft
        // was neither since it was cut: it is the one here that can be refused.
        if self.queue.lock().is_stalled() {
            entry.fail(&ProposeError::NoSpace);
            return None;
        }
        Some(entry)
    }

    /// Hands an entry to Raft.
    async fn offer_to_raft(
        self: Arc<Self>,
        raft: Raft<M>,
        entry: Arc<InFlightOf<M>>,
        offer: Offer,
    ) {
        let data = Data::Command { epoch: offer.epoch, command: offer.command.clone() };
        let responder = Responder::new(EntryResponder {
            proposer: Arc::clone(&self),
            entry,
            offer,
            raft: raft.clone(),
            runtime: tokio::runtime::Handle::current(),
        });
        if let Err(fatal) = raft.client_write_ff(data, Some(responder)).await {
            self.parts.published.stop(&fatal.to_string());
        }
    }

    /// The outcomes of an entry's commands, and the commands themselves if a caller needs them
    /// back.
    fn distribute(&self, entry: &InFlightOf<M>, outcomes: Vec<Outcome<M::Reply>>, payload: &Bytes) {
        // A command that was refused was so by this shape, or by one before it.
        let descriptor = self.parts.shape.descriptor();
        let left_out = entry.commands().saturating_sub(outcomes.len());
        let misrouted = outcomes.iter().filter(|one| matches!(one, Outcome::Misrouted)).count();
        // Mostly every command has its reply, and nobody needs the commands again.
        if left_out == 0 && misrouted == 0 {
            return entry.succeed(outcomes, Vec::new(), &descriptor);
        }
        metrics::left_out(left_out);
        metrics::misrouted(misrouted);
        match self.parts.machine.decode(payload) {
            Ok(commands) => entry.succeed(outcomes, commands, &descriptor),
            Err(error) => entry.fail(&undecodable(&error)),
        }
    }

    fn error(&self, error: ClientWriteError<TypeConfig>) -> ProposeError {
        match error {
            ClientWriteError::ForwardToLeader(forward) => self.elsewhere(&forward),
            other => ProposeError::Unknown { why: Arc::from(other.to_string()) },
        }
    }

    fn elsewhere(&self, forward: &ForwardToLeader<TypeConfig>) -> ProposeError {
        let region = self.parts.region;
        match forward.reason {
            ForwardReason::LeadershipTransfer => {
                ProposeError::NotReady { region, why: "leadership is moving to another store" }
            }
            _ => {
                let leader = forward.leader_node.map(|node| node.store);
                ProposeError::NotLeader { region, leader }
            }
        }
    }

    /// The disk is full (`true`) or writable again. While it is full, those who wait are refused
    /// and those whose entry is in flight are told that its outcome is unknown: it takes effect
    /// when space returns.
    pub(crate) fn stall(&self, full: bool) {
        // First, so that no entry begins unseen between the two.
        let waiting = self.queue.lock().stall(full);
        refuse::<M>(waiting, &ProposeError::NoSpace);
        if full {
            let why = "the disk is full; the write may take effect when space returns";
            self.in_flight.abandon(why);
        }
    }

    /// Answers those whose deadline has passed. Called once in a while.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        if self.window.in_flight() > 0 {
            self.in_flight.expire(now);
        }
        let expired = self.queue.lock().expired(now);
        let why = "the log does not keep up with the writes";
        refuse::<M>(expired, &ProposeError::NotReady { region: self.parts.region, why });
    }

    /// Called once in a while: a Region that was not written to since the last call gives back the
    /// memory that its writes needed.
    pub(crate) fn release_memory(&self) {
        if self.queue.lock().release_memory() {
            self.in_flight.release_memory();
        }
    }

    /// For how many submissions and entries there is memory.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> (usize, usize) {
        (self.queue.lock().capacity(), self.in_flight.capacity())
    }

    /// Refuses the submissions that are queued and those that come.
    pub(crate) fn close(&self) {
        let waiting = self.queue.lock().close();
        self.end(waiting);
        self.wake.notify_one();
    }

    /// Answers submissions that will not be proposed, because the queue is closed. Where the Region
    /// has left this store they go back to their callers, who route them again.
    fn end(&self, submissions: Vec<SubmissionOf<M>>) {
        if self.parts.shape.is_removed() {
            self.misrouted(submissions);
        } else {
            refuse::<M>(submissions, &self.closed());
        }
    }

    /// Gives submissions back to their callers, who route them again.
    fn misrouted(&self, submissions: Vec<SubmissionOf<M>>) {
        if submissions.is_empty() {
            return;
        }
        let descriptor = self.parts.shape.descriptor();
        for mut submission in submissions {
            metrics::misrouted(submission.commands.len());
            let back = |command| Done::Misrouted { command, descriptor: Arc::clone(&descriptor) };
            let done = submission.commands.into_iter().map(back).collect();
            submission.answer.send(Ok(Progress { done, rest: Vec::new() }));
        }
    }

    /// The window has room again: wakes the task if there is something to propose. What is queued
    /// from now on finds the room itself, see [`submit`](Self::submit).
    fn wake_for_waiting(&self) {
        if !self.queue.lock().is_empty() {
            self.wake.notify_one();
        }
    }

    /// What is said while the queue is closed.
    fn closed(&self) -> ProposeError {
        let why = self.parts.published.stopped();
        let why = why.unwrap_or_else(|| Arc::from("the store is shutting down"));
        ProposeError::Stopped { region: self.parts.region, why }
    }

    /// Entries in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.window.in_flight()
    }
}

/// What it takes to offer an entry to Raft again.
struct Offer {
    epoch: Epoch,
    command: Bytes,
    retries: u32,
}

/// Reports an entry's outcome to the proposer.
struct EntryResponder<M: StateMachine> {
    proposer: Arc<Proposer<M>>,
    entry: Arc<InFlightOf<M>>,
    offer: Offer,
    raft: Raft<M>,
    runtime: tokio::runtime::Handle,
}

impl<M: StateMachine> Completion<WriteResult> for EntryResponder<M> {
    fn committed(&mut self) {
        self.entry.settle();
    }

    /// Runs on the apply thread (success) or on Raft's (refusal).
    fn completed(self: Box<Self>, result: WriteResult) {
        let EntryResponder { proposer, entry, mut offer, raft, runtime } = *self;
        match result {
            Ok(response) => {
                let outcomes = response.data.take().unwrap_or_default();
                proposer.distribute(&entry, outcomes, &offer.command);
            }
            // A leader that was just elected and has not heard from its majority yet: once more, a
            // little later, as long as it leads.
            Err(ClientWriteError::ForwardToLeader(forward))
                if forward.reason == ForwardReason::LeaseExpired =>
            {
                if offer.retries == 0 || !proposer.parts.published.leads() {
                    let region = proposer.parts.region;
                    let why = "its majority does not answer";
                    return entry.fail(&ProposeError::NotReady { region, why });
                }
                offer.retries -= 1;
                runtime.spawn(async move {
                    tokio::time::sleep(LEASE_RETRY).await;
                    proposer.offer_to_raft(raft, entry, offer).await;
                });
            }
            Err(error) => entry.fail(&proposer.error(error)),
        }
    }
}

impl<M: StateMachine> EntryEvents<M::Command, M::Reply> for Proposer<M> {
    fn put_back(&self, left: Vec<ReturnedOf<M>>) {
        let ProposerParts { machine, quota, .. } = &self.parts;
        let back = left.into_iter().map(|returned| {
            let mut submission = Submission::new(returned, &**machine);
            submission.share = Some(quota.take_always(submission.weight));
            submission
        });
        let back: Vec<SubmissionOf<M>> = back.collect();
        let mut queue = self.queue.lock();
        if queue.is_closed() {
            drop(queue);
            self.end(back);
        } else if queue.is_stalled() {
            drop(queue);
            refuse::<M>(back, &ProposeError::NoSpace);
        } else {
            queue.put_back(back);
        }
    }

    fn settled(&self) {
        self.window.settled();
        self.wake_for_waiting();
    }

    fn finished(&self) {
        self.window.finished();
        self.wake_for_waiting();
    }
}

/// Answers submissions of which nothing has been done with an error.
fn refuse<M: StateMachine>(submissions: Vec<SubmissionOf<M>>, error: &ProposeError) {
    for mut submission in submissions {
        submission.answer.send(Err(error.clone()));
    }
}

fn undecodable(error: &ApplyError) -> ProposeError {
    ProposeError::Unknown { why: Arc::from(error.to_string()) }
}

/// The stamps of one proposer: strictly growing clock values, and seeds.
struct Stamps {
    next: u64,
    seeds: SplitMix64,
}

impl Stamps {
    fn new() -> Stamps {
        Stamps { next: 0, seeds: SplitMix64::from_entropy() }
    }

    /// The stamp of an entry with so many commands. Each command owns one value of the clock.
    fn next(&mut self, commands: usize, now_ms: u64, applied: u64) -> Stamp {
        let hlc = self.next.max(applied).max(hlc::from_ms(now_ms));
        self.next = hlc + commands as u64;
        Stamp { hlc, seed: self.seeds.next_u64() }
    }
}

#[cfg(test)]
mod waiting_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_by_the_number_of_commands_even_when_the_clock_stands_still_or_goes_back() {
        let mut stamps = Stamps::new();
        let first = stamps.next(3, 1000, 0);
        let second = stamps.next(2, 1000, 0);
        let third = stamps.next(1, 10, 0);
        assert_eq!(first.hlc, 1000 << 16);
        assert_eq!((second.hlc, third.hlc), (first.hlc + 3, first.hlc + 5));
        assert_ne!(first.seed, second.seed);
        assert_eq!(stamps.next(1, 1001, 0).hlc, 1001 << 16);
    }

    #[test]
    fn stamps_continue_where_an_earlier_leader_stopped() {
        let mut stamps = Stamps::new();
        assert_eq!(stamps.next(1, 1000, 77 << 32).hlc, 77 << 32);
    }
}
