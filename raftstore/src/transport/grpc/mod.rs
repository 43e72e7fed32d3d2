//! Stores on different machines, joined over gRPC.
//!
//! ```text
//!   store 1                                                          store 2
//!   GrpcTransport                                                 GrpcServer
//!    call ─▶ lane ─▶ queue  ══ control: votes, heartbeats ══▶  session ─▶ Endpoint::receive
//!                    queue  ══ log: appends with entries ═══▶  session
//!                    queue  ══ snapshot: its pieces ════════▶  session
//!                      ▲            answers, in any order          │
//!                      └───────────────────────────────────────────┘
//! ```
//!
//! # Lanes
//!
//! A store sends to another one in three lanes. Each has a queue, one connection and on it one
//! stream in each direction, opened when the first message comes and kept. The lanes do not share a
//! connection: HTTP/2 gives every stream a window of its own, but all streams of a connection share
//! its window, its socket and TCP's order of bytes. One lost packet of a snapshot, or one socket
//! buffer full of it, would hold up every heartbeat behind it until a follower elects another
//! leader. A connection more costs a socket and a ping now and then.
//!
//! What waits in a lane travels as one frame, and so do the answers. Calls have numbers, so many
//! are in flight and their answers come in any order.
//!
//! # First words
//!
//! The client says which version it speaks, its cluster, its store and which store it means to
//! reach. The server refuses what does not fit, with a sentence that callers get as
//! [`TransportError::Refused`](super::TransportError::Refused). So the sending store is known once
//! for all messages of a stream.
//!
//! # When a store is not there
//!
//! The first call makes the connection and waits for it. If that fails, or the connection ends,
//! everything in the lane fails, and so does every call after it, at once, with the last error:
//! Raft knows better than a queue what is worth sending again. The next attempt comes after a pause
//! (`backoff`), if anybody has called since, and asks for the address anew ([`Addresses`]).
//!
//! # Bounds
//!
//! A queue is bounded in calls and bytes and refuses what is too much. A server stops reading a
//! connection on which too much is in progress, HTTP/2 stops its sender, and the sender's queue
//! fills. Messages are bounded in size; what cannot be decoded ends its stream. Pings find a peer
//! that is silently gone within seconds. All this is in [`GrpcSettings`].
//!
//! The tasks of a transport or server run on the runtime on which it was made.
//! [`GrpcTransport::stop`] and [`GrpcServer::stop`] return when all of them are gone.

mod address;
mod backoff;
mod client;
mod frame;
mod lane;
mod queue;
mod server;
mod session;
mod settings;
mod socket;
mod tls;

#[cfg(test)]
mod tests;

pub use address::{AddressTable, Addresses};
pub use client::GrpcTransport;
pub use server::GrpcServer;
pub use settings::{GrpcSettings, TlsFiles};
pub use tls::GrpcError;

/// The messages, the client and the server of `proto/transport.proto`.
mod proto {
    tonic::include_proto!("neokv.transport");
}
