//! The commands: how they are declared, found, and what they do.
//!
//! | file | commands |
//! | --- | --- |
//! | [`string`], [`numeric`] | strings, as bytes and as numbers |
//! | [`hash`], [`list`], [`set`], [`set_algebra`], [`zset`] | one type each |
//! | [`keys`], [`expiry`], [`scan`], [`server`] | keys of any type, the keyspace as a whole |
//! | [`connection`], [`info`], [`cluster`], [`introspection`] | the connection and the process |
//!
//! Each file holds the declarations ([`declare`]) of its commands beside their code. [`table`]
//! joins them and finds a command by its words.
//!
//! The code of a command is one of three kinds:
//!
//! * `Read` gets a [`View`](crate::keyspace::View): a consistent state of the keyspace at one
//!   instant. It cannot write.
//! * `Write` gets a [`Tx`](crate::keyspace::Tx). It runs inside apply, on every replica, so it must
//!   be a pure function of the state and its arguments: time comes from
//!   [`Tx::now_ms`](crate::keyspace::Tx::now_ms), randomness from
//!   [`Tx::random`](crate::keyspace::Tx::random), never from the machine it runs on. When it
//!   returns an error, everything it wrote is undone, and the error is the reply.
//! * `Session` concerns the connection or the process (HELLO, INFO, …). It gets a
//!   [`SessionCx`](declare::SessionCx).

pub mod args;
pub mod cluster;
pub mod connection;
pub mod container;
pub mod declare;
pub mod expiry;
pub mod hash;
pub mod info;
pub mod introspection;
pub mod keys;
pub mod list;
pub mod numeric;
pub mod scan;
pub mod server;
pub mod set;
pub mod set_algebra;
pub mod string;
pub mod table;
pub mod zset;

use bytes::Bytes;
use neokv_resp::Reply;

pub use self::declare::{Command, Handler};
use crate::error::CommandError;

/// The words of a request. `args[0]` is the command's name as the client wrote it, or in lower case
/// when it comes out of the log; the number of words has been checked against the command's arity
/// before a handler sees them.
pub type Args = [Bytes];

/// What a handler returns: the reply, or an error whose text is the reply.
pub type CommandResult = Result<Reply, CommandError>;
