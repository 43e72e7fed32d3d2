//! Messages between stores.
//!
//! A [`Message`] names the Region, the two peers and the kind; its body is bytes in this crate's
//! own versioned format (`wire`). So a [`Transport`] needs to understand nothing, and the far end
//! of it is one call: [`Endpoint::receive`], which every [`Store`](crate::Store) offers.
//!
//! ```text
//!   Raft ─▶ network (per peer) ─encode▶ Message ─▶ Transport
//!                                                     ║
//!   Raft of the other store ◀─decode─ Endpoint::receive ◀╝      and the answer's bytes back
//! ```
//!
//! Rules for an implementation: deliver at most once, answer or fail within a bounded time, and
//! never answer for another store. Order between calls is not needed. A message for a Region that
//! the store does not have is refused politely: it may be early (a split not applied yet) or late
//! (the replica is gone).
//!
//! [`LocalTransport`](local::LocalTransport) joins stores of one process;
//! [`SteppedTransport`](stepped::SteppedTransport) does so one message at a time. Stores on
//! different machines are joined by [`grpc`]. A standalone store has no peers at all: [`NoPeers`].

pub mod grpc;
pub(crate) mod link;
pub mod local;
pub mod stepped;
pub(crate) mod wire;

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// What a message asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// Entries, or none: a heartbeat.
    Append,
    /// A candidate asks for a vote.
    Vote,
    /// A would-be candidate asks whether it would get one.
    PreVote,
    /// The leader hands its leadership over.
    TransferLeader,
    /// Asks for a place to send a snapshot to.
    SnapshotOffer,
    /// A piece of one of its files.
    SnapshotChunk,
    /// All pieces are sent: install it.
    SnapshotEnd,
}

impl MessageKind {
    /// Its name, as tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            MessageKind::Append => "append",
            MessageKind::Vote => "vote",
            MessageKind::PreVote => "pre-vote",
            MessageKind::TransferLeader => "transfer-leader",
            MessageKind::SnapshotOffer => "snapshot-offer",
            MessageKind::SnapshotChunk => "snapshot-chunk",
            MessageKind::SnapshotEnd => "snapshot-end",
        }
    }
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
    pub kind: MessageKind,
    /// The rest, opaque to transports.
    pub body: Bytes,
}

/// What it asks for, in one line.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Message { region, from, to, kind, body } = self;
        write!(f, "region {region}: {from} -> {to}: {}", kind.name())?;
        match wire::describe(*kind, body) {
            Some(text) => write!(f, " {text}"),
            None => Ok(()),
        }
    }
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
