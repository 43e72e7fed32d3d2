//! Messages between stores.
//!
//! A [`Message`] names the Region, the two peers and the kind; its body is bytes in this crate's
//! own versioned format (`wire`). So a [`Transport`] needs to understand nothing, and the far end
//! of it is one call: [`Endpoint::receive`], which every [`Store`](crate::Store) offers.
//!
//! ```text
//!   Raft ─▶ network (per peer) ─encode▶ Message ─▶ Transport ══▶ Endpoint::receive ─decode▶ Raft of the other store
//!                                                      ◀══ answer bytes ◀─encode─
//! ```
//!
//! Rules for an implementation: deliver at most once, answer or fail within a bounded time, and
//! never answer for another store. Order between calls is not needed. A message for a Region that
//! the store does not have is refused politely: it may be early (a split not applied yet) or late
//! (the replica is gone).
//!
//! [`LocalTransport`](local::LocalTransport) joins stores of one process. A standalone store has no
//! peers at all: [`NoPeers`].

pub(crate) mod endpoint;
pub mod local;
pub(crate) mod network;
pub(crate) mod wire;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Entries, or none: a heartbeat.
    Append,
    /// A candidate asks for a vote.
    Vote,
    /// A would-be candidate asks whether it would get one.
    PreVote,
    /// The leader hands its leadership over.
    TransferLeader,
    /// A snapshot is about to be sent: its meta and list of files.
    SnapshotBegin,
    /// A piece of one of its files.
    SnapshotChunk,
    /// All pieces are sent: install it.
    SnapshotEnd,
}

/// One message between two replicas of a Region.
#[derive(Debug, Clone)]
pub struct Message {
    /// The Region.
    pub region: u64,
    /// The sending peer.
    pub from: u64,
    /// The peer it is for. Another peer of the same Region must not answer it.
    pub to: u64,
    /// What it asks for.
    pub kind: Kind,
    /// The rest, opaque to transports.
    pub body: Bytes,
}

/// Why a message was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The store cannot be reached now. Try again later.
    #[error("store {store} cannot be reached: {why}")]
    Unreachable {
        /// The store.
        store: u64,
        /// What is known about it.
        why: String,
    },
    /// The store was reached and does not want the message now. Try again later.
    #[error("store {store} refuses: {why}")]
    Refused {
        /// The store.
        store: u64,
        /// Its reason.
        why: String,
    },
    /// Bytes that cannot be decoded: another version, or damage.
    #[error("message cannot be decoded: {0}")]
    Garbled(String),
}

/// Carries messages to other stores.
pub trait Transport: Send + Sync + 'static {
    /// Delivers a message to a store and returns its answer.
    fn call(
        &self,
        store: u64,
        message: Message,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}

/// The receiving end.
pub trait Endpoint: Send + Sync + 'static {
    /// Handles a message that came from another store.
    fn receive(&self, message: Message) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}

/// The transport of a store that stands alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn call(
        &self,
        store: u64,
        _message: Message,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        Box::pin(async move {
            Err(TransportError::Unreachable { store, why: "this store stands alone".into() })
        })
    }
}
