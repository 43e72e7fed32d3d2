//! The calls of one lane: those that wait, and those that are with the other store.
//!
//! ```text
//!   enqueue ──▶ waiting ──next_frame──▶ in flight ──answer──▶ the caller
//!      │           │                        │
//!      │           └────────────────────────┴── down, stop: every caller is told
//!      └─ the store is down, or too much waits: refused at once
//! ```
//!
//! A caller that gives up drops its [`Ticket`], and the call is forgotten. A call is given to one
//! connection at most: when that ends, the call has failed and is not sent again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::frame;
use super::lane::Lane;
use super::proto::Call;
use super::settings::GrpcSettings;
use crate::metrics;
use crate::transport::{Message, TransportError};

/// The outcome of a call.
pub(super) type Outcome = Result<Bytes, TransportError>;

/// The calls of one lane to one store. Clones share them.
#[derive(Clone)]
pub(super) struct Queue(Arc<Shared>);

struct Shared {
    settings: Arc<GrpcSettings>,
    store: u64,
    lane: Lane,
    state: Mutex<State>,
    /// Something waits, room has come up, or the connection is another one.
    changed: Notify,
    /// Somebody wants to reach the store.
    wanted: Notify,
}

struct State {
    reach: Reach,
    /// Number of the connection, or of the attempt to make one.
    connection: u64,
    /// Somebody has called since the last attempt.
    is_wanted: bool,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    in_flight: HashMap<u64, oneshot::Sender<Outcome>>,
    next_number: u64,
}

/// What is known about the other store.
enum Reach {
    /// Nothing. Calls wait for the first attempt.
    Unknown,
    /// It is connected, and takes messages of so many bytes.
    Up(usize),
    /// It was not reached. Calls are told so at once.
    Down(TransportError),
    /// This store stops.
    Stopped,
}

struct Waiting {
    number: u64,
    message: Message,
    caller: oneshot::Sender<Outcome>,
}

/// The caller's end of a call. Dropping it gives the call up.
pub(super) struct Ticket {
    queue: Queue,
    number: u64,
    outcome: oneshot::Receiver<Outcome>,
}

impl Queue {
    /// An empty queue.
    pub(super) fn new(settings: Arc<GrpcSettings>, store: u64, lane: Lane) -> Queue {
        let state = State {
            reach: Reach::Unknown,
            connection: 0,
            is_wanted: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            in_flight: HashMap::new(),
            next_number: 1,
        };
        let (changed, wanted) = (Notify::new(), Notify::new());
        Queue(Arc::new(Shared { settings, store, lane, state: Mutex::new(state), changed, wanted }))
    }

    /// Adds a call.
    ///
    /// # Errors
    ///
    /// [`TransportError::Unreachable`] if the store was not reached at the last attempt, or if too
    /// much waits for it already; [`TransportError::Refused`] if the message is too large. Nothing
    /// was sent then.
    pub(super) fn enqueue(&self, message: Message) -> Result<Ticket, TransportError> {
        let Shared { settings, wanted, changed, .. } = &*self.0;
        let mut state = self.0.state.lock();
        if !std::mem::replace(&mut state.is_wanted, true) {
            wanted.notify_one();
        }
        let limit = match &state.reach {
            Reach::Stopped => return Err(self.stopped()),
            Reach::Down(why) => return Err(why.clone()),
            Reach::Unknown => settings.message_bytes,
            Reach::Up(limit) => *limit,
        };
        if message.body.len() > limit {
            return Err(self.too_large(&message, limit));
        }
        let bytes = frame::weight(&message.body);
        let total = state.waiting_bytes.saturating_add(bytes);
        let is_full = state.waiting.len() >= settings.queue_calls || total > settings.queue_bytes;
        if is_full && !state.waiting.is_empty() {
            metrics::transport_full();
            let (calls, bytes) = (state.waiting.len(), state.waiting_bytes);
            return Err(self.unreachable(format!(
                "{calls} calls with {bytes} bytes wait for it already ({} lane)",
                self.0.lane
            )));
        }
        let number = state.next_number;
        state.next_number += 1;
        state.waiting_bytes = total;
        let (caller, outcome) = oneshot::channel();
        state.waiting.push_back(Waiting { number, message, caller });
        drop(state);
        changed.notify_waiters();
        Ok(Ticket { queue: self.clone(), number, outcome })
    }

    /// Waits until somebody wants to reach the store.
    pub(super) async fn wanted(&self) {
        while !self.0.state.lock().is_wanted {
            self.0.wanted.notified().await;
        }
    }

    /// An attempt to connect begins; its number.
    pub(super) fn attempt(&self) -> u64 {
        let mut state = self.0.state.lock();
        state.connection += 1;
        state.is_wanted = false;
        state.connection
    }

    /// The attempt has succeeded: the store takes messages of so many bytes.
    pub(super) fn up(&self, message_bytes: u64) {
        let limit = usize::try_from(message_bytes).unwrap_or(usize::MAX);
        let mut state = self.0.state.lock();
        if !matches!(state.reach, Reach::Stopped) {
            state.reach = Reach::Up(limit.min(self.0.settings.message_bytes));
        }
        drop(state);
        self.0.changed.notify_waiters();
    }

    /// The attempt has failed or the connection has ended: every call that waits or is in flight
    /// is told why, and so are those to come, until another attempt succeeds.
    pub(super) fn down(&self, why: TransportError) {
        self.end(Reach::Down(why.clone()), &why);
    }

    /// This store stops: no call is taken any more.
    pub(super) fn stop(&self) {
        self.end(Reach::Stopped, &self.stopped());
    }

    fn end(&self, reach: Reach, why: &TransportError) {
        let (waiting, in_flight) = {
            let mut state = self.0.state.lock();
            if !matches!(state.reach, Reach::Stopped) {
                state.reach = reach;
            }
            // What is left of the connection gets no more calls.
            state.connection += 1;
            state.waiting_bytes = 0;
            (std::mem::take(&mut state.waiting), std::mem::take(&mut state.in_flight))
        };
        self.0.changed.notify_waiters();
        let waiting = waiting.into_iter().map(|waiting| waiting.caller);
        for caller in waiting.chain(in_flight.into_values()) {
            // It may have given up.
            let _ = caller.send(Err(why.clone()));
        }
    }

    /// What waits, as one frame, as soon as something does; `None` when the connection is over.
    pub(super) async fn next_frame(&self, connection: u64) -> Option<Vec<Call>> {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            {
                let mut state = self.0.state.lock();
                if state.connection != connection {
                    return None;
                }
                if let Reach::Up(limit) = state.reach {
                    let calls = self.take(&mut state, limit);
                    if !calls.is_empty() {
                        return Some(calls);
                    }
                }
            }
            changed.await;
        }
    }

    fn take(&self, state: &mut State, limit: usize) -> Vec<Call> {
        let settings = &self.0.settings;
        let (mut calls, mut bytes) = (Vec::new(), 0usize);
        while calls.len() < settings.frame_calls && state.in_flight.len() < settings.calls_in_flight
        {
            let Some(first) = state.waiting.front() else { break };
            let weight = frame::weight(&first.message.body);
            if !calls.is_empty() && bytes.saturating_add(weight) > settings.frame_bytes {
                break;
            }
            let Some(Waiting { number, message, caller }) = state.waiting.pop_front() else {
                break;
            };
            state.waiting_bytes = state.waiting_bytes.saturating_sub(weight);
            if message.body.len() > limit {
                // It came before the other end said how much it takes.
                let _ = caller.send(Err(self.too_large(&message, limit)));
                continue;
            }
            bytes = bytes.saturating_add(weight);
            state.in_flight.insert(number, caller);
            calls.push(frame::call(number, message));
        }
        if !calls.is_empty() {
            metrics::transport_sent(calls.len(), bytes);
        }
        calls
    }

    /// Gives answers of the connection to their callers.
    pub(super) fn answered(&self, answers: impl Iterator<Item = (u64, Outcome)>) {
        for (number, outcome) in answers {
            let caller = self.0.state.lock().in_flight.remove(&number);
            // It may have given up.
            if let Some(caller) = caller {
                let _ = caller.send(outcome);
            }
        }
        self.0.changed.notify_waiters();
    }

    /// Forgets a call whose caller has given up.
    fn forget(&self, number: u64) {
        let mut state = self.0.state.lock();
        if state.in_flight.remove(&number).is_some() {
            drop(state);
            self.0.changed.notify_waiters();
            return;
        }
        // Numbers only grow.
        let found = state.waiting.binary_search_by_key(&number, |waiting| waiting.number);
        if let Some(waiting) = found.ok().and_then(|at| state.waiting.remove(at)) {
            let weight = frame::weight(&waiting.message.body);
            state.waiting_bytes = state.waiting_bytes.saturating_sub(weight);
        }
    }

    /// An error about the other store.
    pub(super) fn unreachable(&self, why: impl Into<String>) -> TransportError {
        TransportError::Unreachable { store: self.0.store, why: why.into() }
    }

    fn stopped(&self) -> TransportError {
        self.unreachable("the transport of this store stops")
    }

    fn too_large(&self, message: &Message, limit: usize) -> TransportError {
        let (kind, bytes) = (message.kind.name(), message.body.len());
        let why = format!("{kind} of {bytes} bytes: {limit} are allowed in one message");
        TransportError::Refused { store: self.0.store, why }
    }
}

impl Ticket {
    /// Waits for the outcome.
    pub(super) async fn outcome(mut self) -> Outcome {
        let limit = self.queue.0.settings.call_timeout;
        match tokio::time::timeout(limit, &mut self.outcome).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(self.queue.stopped()),
            Err(_) => Err(self.queue.unreachable(format!("no answer within {limit:?}"))),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.forget(self.number);
    }
}
