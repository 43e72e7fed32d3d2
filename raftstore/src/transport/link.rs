//! The way from one replica to another: one question, one answer, within a time that grows with the
//! size of the question.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Message, MessageKind, Transport, TransportError};
use crate::config::Config;

/// See the module.
#[derive(Clone)]
pub(crate) struct Link {
    transport: Arc<dyn Transport>,
    config: Arc<Config>,
    region: u64,
    from: u64,
    to: u64,
    store: u64,
}

/// The two ends of a link.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) region: u64,
    /// The sending peer.
    pub(crate) from: u64,
    /// The peer that is asked.
    pub(crate) to: u64,
    /// The store where it lives.
    pub(crate) store: u64,
}

impl Link {
    /// A link over `transport`.
    pub(crate) fn new(transport: Arc<dyn Transport>, config: Arc<Config>, ends: Ends) -> Link {
        let Ends { region, from, to, store } = ends;
        Link { transport, config, region, from, to, store }
    }

    /// The settings of the store.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Asks, and waits for the answer as long as a message of this size may take.
    pub(crate) async fn ask(
        &self,
        kind: MessageKind,
        body: Bytes,
    ) -> Result<Bytes, TransportError> {
        let limit = self.config.answer_timeout(body.len());
        self.ask_within(kind, body, limit).await
    }

    /// Asks for something that may take as long as `limit`.
    pub(crate) async fn ask_within(
        &self,
        kind: MessageKind,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, TransportError> {
        let (region, from, to) = (self.region, self.from, self.to);
        let message = Message { region, from, to, kind, body };
        let answer = tokio::time::timeout(limit, self.transport.call(self.store, message)).await;
        answer.unwrap_or_else(|_| {
            let why = format!("no answer within {limit:?}");
            Err(TransportError::Unreachable { store: self.store, why })
        })
    }
}
