//! Stores of one process, joined: for tests and lessons.
//!
//! Every direction between two stores can be cut and healed, so partitions, deaf leaders and
//! one-way links can be played through with real engines and the real bytes on the (short) wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{Endpoint, Message, Transport, TransportError};

/// The network between the stores of one process. Clones share it.
#[derive(Clone, Default)]
pub struct LocalTransport(Arc<Mutex<Links>>);

#[derive(Default)]
struct Links {
    stores: BTreeMap<u64, Weak<dyn Endpoint>>,
    cut: BTreeSet<(u64, u64)>,
}

impl LocalTransport {
    /// No stores yet.
    pub fn new() -> LocalTransport {
        LocalTransport::default()
    }

    /// The transport that the store with this id sends with.
    pub fn for_store(&self, from: u64) -> Arc<dyn Transport> {
        Arc::new(Sender { from, links: Arc::clone(&self.0) })
    }

    /// Makes a store reachable under its id, instead of any before it. It is held weakly: a dropped
    /// store is down.
    pub fn join(&self, id: u64, store: &Arc<dyn Endpoint>) {
        self.0.lock().stores.insert(id, Arc::downgrade(store));
    }

    /// Cuts both directions between two stores.
    pub fn cut(&self, one: u64, other: u64) {
        self.cut_one_way(one, other);
        self.cut_one_way(other, one);
    }

    /// Cuts one direction: requests of `from` do not reach `to`, and neither do its answers to
    /// `to`'s requests.
    pub fn cut_one_way(&self, from: u64, to: u64) {
        self.0.lock().cut.insert((from, to));
    }

    /// Cuts a store off from all others.
    pub fn isolate(&self, id: u64) {
        let others: Vec<u64> =
            self.0.lock().stores.keys().copied().filter(|other| *other != id).collect();
        others.into_iter().for_each(|other| self.cut(id, other));
    }

    /// Heals both directions between two stores.
    pub fn heal(&self, one: u64, other: u64) {
        let mut links = self.0.lock();
        links.cut.remove(&(one, other));
        links.cut.remove(&(other, one));
    }

    /// Heals everything.
    pub fn heal_all(&self) {
        self.0.lock().cut.clear();
    }
}

impl std::fmt::Debug for LocalTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let links = self.0.lock();
        f.debug_struct("LocalTransport")
            .field("stores", &links.stores.keys())
            .field("cut", &links.cut)
            .finish()
    }
}

/// What one store sends with.
struct Sender {
    from: u64,
    links: Arc<Mutex<Links>>,
}

impl Transport for Sender {
    fn call(
        &self,
        store: u64,
        message: Message,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (from, links) = (self.from, Arc::clone(&self.links));
        Box::pin(async move {
            let there = {
                let links = links.lock();
                check(&links, from, store, store)?;
                links.stores.get(&store).and_then(Weak::upgrade)
            };
            let there = there.ok_or_else(|| unreachable(store, "it is down"))?;
            let answer = there.receive(message).await;
            check(&links.lock(), store, from, store)?;
            answer
        })
    }
}

fn check(links: &Links, from: u64, to: u64, store: u64) -> Result<(), TransportError> {
    if links.cut.contains(&(from, to)) {
        Err(unreachable(store, "the link is cut"))
    } else {
        Ok(())
    }
}

fn unreachable(store: u64, why: &str) -> TransportError {
    TransportError::Unreachable { store, why: why.into() }
}
