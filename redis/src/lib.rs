//! The Redis side of NeoKV: command table, command semantics, connections, expiry, configuration,
//! and the neokv server.
//!
//! One request travels through the modules in this order:
//!
//! ```text
//! socket ── server ──► command::table ──► server (session commands answer here)
//!                           │
//!             read ◄────────┴────────► write
//!              │                         │
//!     keyspace::View over        machine::Command ──► raftstore (log, fsync, commit)
//!     the engine or a snapshot                           │
//!              │                         machine::RedisMachine::apply, once per replica
//!              │                                         │
//!              ▼                                keyspace::Tx over the entry's batch
//!      command::{string, hash, …} ◄──────────────────────┘
//! ```
//!
//! * [`command`]: every command is declared once, in a table next to its handler. Arity checks,
//!   routing, `COMMAND`, the flags that decide where a command runs and the documentation all
//!   follow from that declaration.
//! * [`keyspace`]: what a user key is in terms of the engine's column families. Handlers speak of
//!   strings, collections, subkeys and scores; only this module knows about expiry rows, key counts
//!   and the older one-family format.
//! * [`machine`]: what a log entry means. It is a pure function of the state and the entry: no
//!   clock, no random source, no address of this process enters it.
//! * [`cleaner`]: finds keys whose time is over and has their removal agreed through the log.
//! * [`server`], [`config`], [`metrics`], [`node`], [`process`]: sockets, sessions, options,
//!   numbers, and the process around them.

pub mod cleaner;
pub mod command;
pub mod config;
pub mod keyspace;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod process;
pub mod server;

#[cfg(test)]
pub(crate) mod testing;
