//! Stores of one process, joined by a network that moves when it is told to: for tests and lessons
//! that step through a history.
//!
//! Every message waits until it is delivered or dropped. So the order of messages is the test's
//! choice, or that of a seed, and the same choice gives the same history. Messages that are sent
//! between two looks at the network are numbered by sender, receiver and Region: the order in which
//! the tasks of a runtime run is not part of the history.
//!
//! ```text
//!   store 1 ──call──▶ ┌ waiting ─────────────────────────┐
//!                     │ 4  1 → 2  append term 1, after … │ ──deliver(4)──▶ store 2 ──answer──▶
//!   store 3 ──call──▶ │ 5  3 → 2  pre-vote term 2, …     │ ──drop(5)─────▶ "unreachable"
//!                     └──────────────────────────────────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Endpoint, Message, Transport, TransportError};

/// The network. Clones share it.
#[derive(Clone, Default)]
pub struct SteppedTransport(Arc<Mutex<Network>>);

#[derive(Default)]
struct Network {
    stores: BTreeMap<u64, Weak<dyn Endpoint>>,
    /// Directions in which messages are dropped at once.
    cut: BTreeSet<(u64, u64)>,
    waiting: BTreeMap<u64, Undelivered>,
    /// Sent since the last look; they have no numbers yet.
    fresh: Vec<Undelivered>,
    numbered: u64,
}

impl Network {
    /// Gives numbers to the messages that have none.
    fn number(&mut self) {
        let mut fresh = std::mem::take(&mut self.fresh);
        // Stable: what one replica sends another stays in order.
        fresh.sort_by_key(|undelivered| {
            (undelivered.from, undelivered.to, undelivered.message.region)
        });
        for undelivered in fresh {
            self.numbered += 1;
            self.waiting.insert(self.numbered, undelivered);
        }
    }
}

/// A message that waits to be delivered.
struct Undelivered {
    from: u64,
    to: u64,
    message: Message,
    answer: oneshot::Sender<Result<Bytes, TransportError>>,
}

/// A message that waits, as the test sees it.
#[derive(Debug, Clone)]
pub struct WaitingMessage {
    /// Number of the message, in the order of sending.
    pub number: u64,
    /// The sending store.
    pub from: u64,
    /// The store that it is for.
    pub to: u64,
    /// The message.
    pub message: Message,
}

impl SteppedTransport {
    /// No stores yet.
    pub fn new() -> SteppedTransport {
        SteppedTransport::default()
    }

    /// The transport that the store with this id sends with.
    pub fn for_store(&self, from: u64) -> Arc<dyn Transport> {
        Arc::new(Sender { from, network: Arc::clone(&self.0) })
    }

    /// Makes a store reachable under its id, instead of any before it. It is held weakly: a dropped
    /// store is down.
    pub fn join(&self, id: u64, store: &Arc<dyn Endpoint>) {
        self.0.lock().stores.insert(id, Arc::downgrade(store));
    }

    /// Messages from one store to the other are dropped from now on, and so are those that wait.
    pub fn cut(&self, from: u64, to: u64) {
        self.0.lock().cut.insert((from, to));
        for waiting in self.waiting().into_iter().filter(|one| (one.from, one.to) == (from, to)) {
            self.drop_message(waiting.number);
        }
    }

    /// Messages pass again everywhere.
    pub fn heal(&self) {
        self.0.lock().cut.clear();
    }

    /// The messages that wait, oldest first.
    pub fn waiting(&self) -> Vec<WaitingMessage> {
        let mut network = self.0.lock();
        network.number();
        let waiting = network.waiting.iter();
        waiting
            .map(|(number, Undelivered { from, to, message, .. })| WaitingMessage {
                number: *number,
                from: *from,
                to: *to,
                message: message.clone(),
            })
            .collect()
    }

    /// Delivers a message: the store handles it and its answer goes back. Returns whether it was
    /// answered, or why not; `None` if no such message waits.
    pub async fn deliver(&self, number: u64) -> Option<Result<(), TransportError>> {
        let (undelivered, store) = {
            let mut network = self.0.lock();
            network.number();
            let undelivered = network.waiting.remove(&number)?;
            let store = network.stores.get(&undelivered.to).and_then(Weak::upgrade);
            (undelivered, store)
        };
        let answer = match store {
            Some(store) => store.receive(undelivered.message).await,
            None => Err(unreachable(undelivered.to, "it is down")),
        };
        let told = answer.as_ref().map(drop).map_err(Clone::clone);
        // The sender may have given up meanwhile.
        let _ = undelivered.answer.send(answer);
        Some(told)
    }

    /// Drops a message: its sender is told that the store cannot be reached. `false` if no such
    /// message waits.
    pub fn drop_message(&self, number: u64) -> bool {
        let undelivered = {
            let mut network = self.0.lock();
            network.number();
            network.waiting.remove(&number)
        };
        let Some(undelivered) = undelivered else { return false };
        let _ =
            undelivered.answer.send(Err(unreachable(undelivered.to, "the message was dropped")));
        true
    }
}

impl std::fmt::Debug for SteppedTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let network = self.0.lock();
        f.debug_struct("SteppedTransport")
            .field("stores", &network.stores.keys())
            .field("waiting", &network.waiting.len())
            .finish_non_exhaustive()
    }
}

/// What one store sends with.
struct Sender {
    from: u64,
    network: Arc<Mutex<Network>>,
}

impl Transport for Sender {
    fn call(
        &self,
        store: u64,
        message: Message,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let wait = {
            let mut network = self.network.lock();
            if network.cut.contains(&(self.from, store)) {
                None
            } else {
                let (answer, wait) = oneshot::channel();
                network.fresh.push(Undelivered { from: self.from, to: store, message, answer });
                Some(wait)
            }
        };
        Box::pin(async move {
            let Some(wait) = wait else { return Err(unreachable(store, "the link is cut")) };
            wait.await.unwrap_or_else(|_| Err(unreachable(store, "the network is gone")))
        })
    }
}

fn unreachable(store: u64, why: &str) -> TransportError {
    TransportError::Unreachable { store, why: why.into() }
}
