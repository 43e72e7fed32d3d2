//! The task that turns what waits into entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use neokv_encoding::hlc;
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::Progress;
use super::flight::{Flight, Flights, Tower};
use super::queue::{Answer, Draft, Judge, Queue, Submission};
use super::window::Window;
use crate::apply::Adapter;
use crate::config::Config;
use crate::error::ProposeError;
use crate::machine::{ApplyError, Stamp, StateMachine};
use crate::metrics;
use crate::published::Published;
use crate::types::{Data, Follow, Responder, TypeConfig, WriteResult};

/// Pause before an entry is offered again to a leader that has just been elected and has not heard
/// from its majority.
const LEASE_RETRY: Duration = Duration::from_millis(10);

type Raft<M> = openraft::Raft<TypeConfig, Adapter<M>>;
type FlightOf<M> = Flight<<M as StateMachine>::Command, <M as StateMachine>::Reply>;
type AnswerOf<M> = Answer<<M as StateMachine>::Command, <M as StateMachine>::Reply>;
type SubmissionOf<M> = Submission<<M as StateMachine>::Command, <M as StateMachine>::Reply>;
/// Where a caller waits for the outcome of its submission.
pub(crate) type Outcome<M> = oneshot::Receiver<
    Result<Progress<<M as StateMachine>::Command, <M as StateMachine>::Reply>, ProposeError>,
>;

/// Bounds of the queue and of entries; see [`Config`].
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) entry_bytes: usize,
    pub(crate) entry_commands: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) queue_commands: usize,
    pub(crate) command_bytes: usize,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Limits {
        Limits {
            entry_bytes: config.entry_bytes,
            entry_commands: config.entry_commands.max(1),
            queue_bytes: config.queue_bytes,
            queue_commands: config.queue_commands,
            command_bytes: config.command_bytes,
        }
    }
}

/// One Region's proposer.
pub(crate) struct Proposer<M: StateMachine> {
    region: u64,
    machine: Arc<M>,
    published: Arc<Published>,
    limits: Limits,
    now_ms: fn() -> u64,
    /// How often an entry is offered again while the leader has no lease.
    lease_retries: u32,
    queue: Mutex<Queue<M::Command, M::Reply>>,
    flights: Flights<M::Command, M::Reply>,
    window: Window,
    /// The disk is full.
    stalled: AtomicBool,
    wake: Notify,
}

impl<M: StateMachine> Judge<M::Command> for M {
    fn weight(&self, command: &M::Command) -> usize {
        StateMachine::weight(self, command)
    }
    fn alone(&self, command: &M::Command) -> bool {
        StateMachine::alone(self, command)
    }
}

impl<M: StateMachine> Proposer<M> {
    /// A proposer; [`run`](Self::run) must be spawned.
    pub(crate) fn new(
        region: u64,
        machine: Arc<M>,
        published: Arc<Published>,
        config: &Config,
    ) -> Arc<Proposer<M>> {
        let retries = config.heartbeat.as_millis() / LEASE_RETRY.as_millis().max(1);
        Arc::new(Proposer {
            region,
            machine,
            published,
            limits: Limits::from(config),
            now_ms: config.now_ms,
            lease_retries: u32::try_from(retries).unwrap_or(u32::MAX).max(1),
            queue: Mutex::new(Queue::default()),
            flights: Flights::default(),
            window: Window::new(config.window, config.eager_bytes),
            stalled: AtomicBool::new(false),
            wake: Notify::new(),
        })
    }

    /// Queues the commands of one caller; what became of them arrives on the channel.
    pub(crate) fn submit(&self, commands: Vec<M::Command>) -> Result<Outcome<M>, ProposeError> {
        if self.stalled.load(Ordering::Acquire) {
            return Err(ProposeError::NoSpace);
        }
        let (answer, wait) = oneshot::channel();
        let submission = Submission::new(commands, &*self.machine, answer);
        if submission.heaviest > self.limits.command_bytes {
            return Err(ProposeError::TooBig {
                bytes: submission.heaviest,
                limit: self.limits.command_bytes,
            });
        }
        let wake = {
            let mut queue = self.queue.lock();
            if queue.is_closed() {
                return Err(shutting_down(self.region));
            }
            if !queue.has_room(submission.weight, submission.commands.len(), &self.limits) {
                return Err(ProposeError::Busy { region: self.region, waiting: queue.bytes() });
            }
            queue.push(submission);
            self.window.is_open(queue.bytes())
        };
        if wake {
            self.wake.notify_one();
        }
        Ok(wait)
    }

    /// The task. Ends when the queue is closed.
    pub(crate) async fn run(self: Arc<Self>, raft: Raft<M>) {
        let mut stamps = Stamps::new();
        while let Some(draft) = self.next().await {
            let stamp = stamps.next(&draft.commands, (self.now_ms)(), self.published.clock());
            let payload = self.machine.encode(stamp, &draft.commands);
            metrics::proposed(draft.commands.len(), self.queue.lock().bytes());
            self.window.launched(draft.bytes);
            let tower: Arc<dyn Tower<M::Command, M::Reply>> = Arc::clone(&self) as _;
            let flight = Flight::new(draft.waiters, tower);
            self.flights.add(&flight);
            Arc::clone(&self).launch(raft.clone(), flight, payload, self.lease_retries).await;
        }
    }

    /// Waits until there is something to propose and the window has room.
    async fn next(&self) -> Option<Draft<M::Command, M::Reply>> {
        loop {
            {
                let mut queue = self.queue.lock();
                if self.window.is_open(queue.bytes())
                    && let Some(draft) = queue.take(&self.limits, &*self.machine)
                {
                    return Some(draft);
                }
                if queue.is_closed() {
                    return None;
                }
            }
            self.wake.notified().await;
        }
    }

    /// Hands an entry to Raft.
    async fn launch(
        self: Arc<Self>,
        raft: Raft<M>,
        flight: Arc<FlightOf<M>>,
        payload: Bytes,
        retries: u32,
    ) {
        let again = (raft.clone(), payload.clone(), tokio::runtime::Handle::current());
        let responder =
            Responder::new(Pilot { proposer: Arc::clone(&self), flight, again, retries });
        if let Err(fatal) = raft.client_write_ff(Data::Command(payload), Some(responder)).await {
            self.published.stop(&fatal.to_string());
        }
    }

    /// Raft's answer about one entry. Runs on the apply thread (success) or on Raft's (refusal).
    fn landed_with(
        self: Arc<Self>,
        result: WriteResult,
        flight: Arc<FlightOf<M>>,
        (raft, payload, runtime): (Raft<M>, Bytes, tokio::runtime::Handle),
        retries: u32,
    ) {
        match result {
            Ok(response) => {
                let replies = response.data.take::<M::Reply>().unwrap_or_default();
                match self.left_out(&payload, replies.len(), flight.commands()) {
                    Ok(left) => flight.succeed(replies, left),
                    Err(error) => {
                        flight.fail(&ProposeError::Unknown { why: Arc::from(error.to_string()) })
                    }
                }
            }
            Err(ClientWriteError::ForwardToLeader(forward))
                if forward.reason == ForwardReason::LeaseExpired =>
            {
                if retries == 0 || !self.published.leads() {
                    let why = "its majority does not answer";
                    return flight.fail(&ProposeError::NotReady { region: self.region, why });
                }
                runtime.spawn(async move {
                    tokio::time::sleep(LEASE_RETRY).await;
                    self.launch(raft, flight, payload, retries.saturating_sub(1)).await;
                });
            }
            Err(error) => flight.fail(&self.error(error)),
        }
    }

    /// The commands of an entry that the machine has left out: those behind the `done` first ones
    /// of `all`.
    fn left_out(
        &self,
        payload: &Bytes,
        done: usize,
        all: usize,
    ) -> Result<Vec<M::Command>, ApplyError> {
        if done == 0 || done >= all {
            return Ok(Vec::new());
        }
        metrics::left_out(all.saturating_sub(done));
        self.machine.commands_behind(payload, done)
    }

    fn error(&self, error: ClientWriteError<TypeConfig>) -> ProposeError {
        match error {
            ClientWriteError::ForwardToLeader(forward) => self.elsewhere(&forward),
            other => ProposeError::Unknown { why: Arc::from(other.to_string()) },
        }
    }

    fn elsewhere(&self, forward: &ForwardToLeader<TypeConfig>) -> ProposeError {
        match forward.reason {
            ForwardReason::LeadershipTransfer => ProposeError::NotReady {
                region: self.region,
                why: "leadership is moving to another store",
            },
            _ => ProposeError::NotLeader {
                region: self.region,
                leader: forward.leader_node.map(|node| node.store),
            },
        }
    }

    /// The disk is full (`true`) or writable again. While it is full, those who wait are refused
    /// and those whose entry is in flight are told that its outcome is unknown: it takes effect
    /// when space returns.
    pub(crate) fn stall(&self, full: bool) {
        self.stalled.store(full, Ordering::Release);
        if full {
            self.flights.abandon("the disk is full; the write may take effect when space returns");
            self.refuse_waiting(&ProposeError::NoSpace);
        }
    }

    /// Refuses what waits and what will come.
    pub(crate) fn close(&self) {
        let waiting = self.queue.lock().close();
        refuse::<M>(waiting, &shutting_down(self.region));
        self.wake.notify_one();
    }

    /// Refuses what waits.
    pub(crate) fn refuse_waiting(&self, error: &ProposeError) {
        let waiting = self.queue.lock().drain();
        refuse::<M>(waiting, error);
    }

    /// Entries in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.window.flying()
    }
}

/// Brings an entry's fate back to the proposer.
struct Pilot<M: StateMachine> {
    proposer: Arc<Proposer<M>>,
    flight: Arc<FlightOf<M>>,
    /// What it takes to offer the entry again.
    again: (Raft<M>, Bytes, tokio::runtime::Handle),
    retries: u32,
}

impl<M: StateMachine> Follow<WriteResult> for Pilot<M> {
    fn committed(&mut self) {
        self.flight.clear();
    }

    fn completed(self: Box<Self>, result: WriteResult) {
        let Pilot { proposer, flight, again, retries } = *self;
        proposer.landed_with(result, flight, again, retries);
    }
}

impl<M: StateMachine> Tower<M::Command, M::Reply> for Proposer<M> {
    fn put_back(&self, left: Vec<(Vec<M::Command>, AnswerOf<M>)>) {
        let back = left
            .into_iter()
            .map(|(commands, answer)| Submission::new(commands, &*self.machine, answer));
        let back: Vec<SubmissionOf<M>> = back.collect();
        let mut queue = self.queue.lock();
        if queue.is_closed() {
            drop(queue);
            refuse::<M>(back, &shutting_down(self.region));
        } else if self.stalled.load(Ordering::Acquire) {
            drop(queue);
            refuse::<M>(back, &ProposeError::NoSpace);
        } else {
            queue.put_back(back);
        }
    }

    fn cleared(&self) {
        self.window.cleared();
        self.wake.notify_one();
    }

    fn landed(&self) {
        self.window.landed();
        self.wake.notify_one();
    }
}

/// Answers submissions of which nothing has been done with an error.
fn refuse<M: StateMachine>(submissions: Vec<SubmissionOf<M>>, error: &ProposeError) {
    for submission in submissions {
        let _ = submission.answer.send(Err(error.clone()));
    }
}

fn shutting_down(region: u64) -> ProposeError {
    ProposeError::Stopped { region, why: Arc::from("the store is shutting down") }
}

/// The stamps of one proposer: strictly growing clock values, and seeds.
struct Stamps {
    next: u64,
    seed: u64,
}

impl Stamps {
    fn new() -> Stamps {
        use std::hash::{BuildHasher, Hasher};
        let seed = std::collections::hash_map::RandomState::new().build_hasher().finish();
        Stamps { next: 0, seed }
    }

    /// The stamp of an entry with these commands. Each command owns one value of the clock.
    fn next<C>(&mut self, commands: &[C], now_ms: u64, applied: u64) -> Stamp {
        let hlc = self.next.max(applied).max(hlc::from_ms(now_ms));
        self.next = hlc.saturating_add(commands.len() as u64);
        Stamp { hlc, seed: self.draw() }
    }

    /// SplitMix64: one addition and three multiplications per entry, and every value once per
    /// period.
    fn draw(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ (self.seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_by_the_number_of_commands_even_when_the_clock_stands_still_or_goes_back() {
        let mut stamps = Stamps::new();
        let first = stamps.next(&[(); 3], 1000, 0);
        let second = stamps.next(&[(); 2], 1000, 0);
        let third = stamps.next(&[(); 1], 10, 0);
        assert_eq!(first.hlc, 1000 << 16);
        assert_eq!((second.hlc, third.hlc), (first.hlc + 3, first.hlc + 5));
        assert_ne!(first.seed, second.seed);
        assert_eq!(stamps.next(&[(); 1], 1001, 0).hlc, 1001 << 16);
    }

    #[test]
    fn stamps_continue_where_an_earlier_leader_stopped() {
        let mut stamps = Stamps::new();
        assert_eq!(stamps.next(&[(); 1], 1000, 77 << 32).hlc, 77 << 32);
    }
}
