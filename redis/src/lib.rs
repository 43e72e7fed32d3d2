//! The Redis side of NeoKV: command table, command semantics, connections, expiry, configuration,
//! and the neokv server.
//!
//! One request travels through the modules in this order:
//!
//! ```text
//! socket ── server ──► command::table ──► server (commands about the connection answer here)
//!                           │
//!             read ◄────────┴────────► write
//!              │                         │
//!     keyspace::View over      machine::LogCommand ──► raftstore (log, fsync, commit)
//!     the engine or a snapshot                           │
//!              │                         machine::RedisMachine::apply, once per replica
//!              │                                         │
//!              ▼                                keyspace::Tx over the entry's batch
//!      command::{string, hash, …} ◄──────────────────────┘
//! ```
//!
//! # Modules
//!
//! A module uses only those above it in this list:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`error`], [`number`], [`stable_hash`], [`clock`], [`password`] | they need nothing else |
//! | [`config`], [`process`] | options; exit, signals, logs, memory and processor time |
//! | [`keyspace`] | what a user key is in terms of the engine's column families |
//! | [`clients`], [`session`] | all connections, and the state of one |
//! | [`stats`], [`facts`], [`identity`], [`disk`] | counters, what INFO tells, names, free space |
//! | [`topology`] | which Regions and nodes there are |
//! | [`host`] | the process as commands about the connection see it |
//! | [`command`] | every command: its declaration and its code |
//! | [`machine`] | what a log entry means |
//! | [`replay`] | the state that a start would reach, for tools |
//! | [`server`] | sockets: from bytes to commands, and where these run |
//! | [`cleaner`], [`metrics`] | removal of expired keys; numbers for Prometheus |
//! | [`node`] | all of them together, opened and stopped in order |
//!
//! Commands know neither the server nor the node: what they see is a [`View`](keyspace::View), a
//! [`Tx`](keyspace::Tx) or a [`Host`](host::Host). What a log entry does is a pure function of the
//! state and the entry: no clock, no random source, no address of this process enters it.

pub mod cleaner;
pub mod clients;
pub mod clock;
pub mod command;
pub mod config;
pub mod disk;
pub mod error;
pub mod facts;
pub mod host;
pub mod identity;
pub mod keyspace;
pub mod machine;
pub mod metrics;
pub mod node;
pub mod number;
pub mod password;
pub mod process;
pub mod replay;
pub mod server;
pub mod session;
pub mod stable_hash;
pub mod stats;
pub mod topology;

#[cfg(test)]
pub(crate) mod testing;

/// The version of Redis whose commands and texts this server follows, for HELLO and INFO.
pub const REDIS_VERSION: &str = "7.0.15";
