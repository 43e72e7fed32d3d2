//! What a command is, and the vocabulary in which one is declared.
//!
//! Every command of the server is one [`Command`] value in the `COMMANDS` table of the file that
//! also holds its handler:
//!
//! ```ignore
//! pub const COMMANDS: &[Command] = &[Command {
//!     name: "strlen",
//!     arity: 2,
//!     flags: &[Flag::ReadOnly, Flag::Fast, Flag::Point],
//!     keys: KeySpec::ONE,
//!     group: Group::String,
//!     since: "2.2.0",
//!     complexity: "O(1)",
//!     summary: "Get the length of the value stored in a key",
//!     handler: Handler::Read(strlen),
//! }];
//! ```
//!
//! [`table`] joins these tables and finds a command by name. Everything else follows from the
//! declaration: the arity check, the keys (and with them slot, Region, CROSSSLOT), whether the
//! command goes through the log, what `COMMAND` tells clients, and on which threads it runs.
//!
//! The three kinds of [`Handler`]:
//!
//! * `Read` gets a [`View`]: a consistent state of the keyspace at one instant. It cannot write.
//! * `Write` gets a [`Tx`]. It runs inside apply, on every replica, so it must be a pure function
//!   of the state and its arguments: time comes from [`Tx::now_ms`], randomness from
//!   [`Tx::random`], never from the machine it runs on. When it returns an error, everything it
//!   wrote is undone, and the error is the reply.
//! * `Session` concerns the connection (HELLO, CLIENT, …) and runs in the server.

pub mod args;
pub mod cluster;
pub mod connection;
pub mod error;
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
pub mod subcommand;
pub mod table;
pub mod zset;

use bytes::Bytes;
use neokv_resp::Reply;

pub use self::error::CommandError;
use crate::keyspace::{Tx, View};
use crate::server::SessionCx;

/// The words of a request. `args[0]` is the command's name as the client wrote it, or in lower case
/// when it comes out of the log; the number of words has been checked against the command's arity
/// before a handler sees them.
pub type Args = [Bytes];

/// What a handler returns: the reply, or an error whose text is the reply.
pub type Outcome = Result<Reply, CommandError>;

/// The code of a command, by the state that it works on.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Reads the keyspace.
    Read(fn(&View<'_>, &Args) -> Outcome),
    /// Changes the keyspace; runs in apply.
    Write(fn(&mut Tx<'_>, &Args) -> Outcome),
    /// Concerns the connection or the process, not the keyspace.
    Session(fn(&mut SessionCx<'_>, &Args) -> Outcome),
}

/// One property of a command. Those with a [`Flag::name`] are shown to clients in `COMMAND INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// May change the keyspace.
    Write,
    /// Reads the keyspace and never changes it.
    ReadOnly,
    /// May make the store grow: refused when memory or disk are short.
    DenyOom,
    /// Takes constant or logarithmic time.
    Fast,
    /// For operators.
    Admin,
    /// Not for scripts.
    NoScript,
    /// Allowed before the client has authenticated.
    NoAuth,
    /// Allowed while the store is still loading.
    Loading,
    /// Allowed on a replica whose data may be old.
    Stale,
    /// Where its keys are depends on the arguments.
    MovableKeys,
    /// Looks up one metadata record and nothing else, so it needs no snapshot. Internal.
    Point,
    /// May read much: it runs apart from the threads that keep connections and heartbeats alive.
    /// Internal.
    Heavy,
    /// Reads one row after the other, and does little else: it runs where it is while the rows are
    /// few and in memory, and apart, like [`Flag::Heavy`], when they turn out not to be. Internal.
    Walk,
    /// Must be the only command of its log entry. Internal.
    Alone,
    /// Can take long or change everything: shown to clients in the ACL category `@dangerous` only.
    Dangerous,
}

impl Flag {
    /// The flag's name in `COMMAND INFO`; `None` for those that concern this server alone.
    pub fn name(self) -> Option<&'static str> {
        Some(match self {
            Flag::Write => "write",
            Flag::ReadOnly => "readonly",
            Flag::DenyOom => "denyoom",
            Flag::Fast => "fast",
            Flag::Admin => "admin",
            Flag::NoScript => "noscript",
            Flag::NoAuth => "no_auth",
            Flag::Loading => "loading",
            Flag::Stale => "stale",
            Flag::MovableKeys => "movablekeys",
            Flag::Point | Flag::Heavy | Flag::Walk | Flag::Alone | Flag::Dangerous => return None,
        })
    }
}

/// Where the keys are among a command's arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySpec {
    /// The command has no keys.
    None,
    /// Every `step`-th argument from `first` to `last`, both inclusive; a negative `last` counts
    /// from the end (-1 is the last argument).
    Range {
        /// Index of the first key; the command's name has index 0.
        first: i32,
        /// Index of the last key.
        last: i32,
        /// Distance between keys.
        step: i32,
    },
    /// The argument at this index says how many keys follow it.
    Count {
        /// Index of the number of keys.
        at: usize,
    },
}

impl KeySpec {
    /// One key, right after the name.
    pub const ONE: KeySpec = KeySpec::Range { first: 1, last: 1, step: 1 };
    /// Two keys, right after the name.
    pub const TWO: KeySpec = KeySpec::Range { first: 1, last: 2, step: 1 };
    /// Every argument is a key.
    pub const ALL: KeySpec = KeySpec::Range { first: 1, last: -1, step: 1 };
    /// Keys and values take turns.
    pub const PAIRS: KeySpec = KeySpec::Range { first: 1, last: -1, step: 2 };

    /// The indexes of the keys among `args`. Malformed key counts yield no keys: the handler then
    /// refuses the command.
    pub fn indexes(self, args: &Args) -> impl Iterator<Item = usize> + use<> {
        let (start, end, step) = self.bounds(args).unwrap_or((0, 0, 1));
        (start..end).step_by(step)
    }

    /// The keys among `args`.
    pub fn keys(self, args: &Args) -> impl Iterator<Item = &Bytes> {
        self.indexes(args).filter_map(|at| args.get(at))
    }

    /// Start, end (exclusive) and step of the key indexes.
    fn bounds(self, args: &Args) -> Option<(usize, usize, usize)> {
        match self {
            KeySpec::None => None,
            KeySpec::Range { first, last, step } => {
                let end = match usize::try_from(last) {
                    Ok(last) => last.checked_add(1)?,
                    Err(_) => {
                        let back = usize::try_from(last.unsigned_abs()).ok()?;
                        args.len().checked_sub(back)?.checked_add(1)?
                    }
                };
                Some((
                    usize::try_from(first).ok()?,
                    end.min(args.len()),
                    usize::try_from(step).ok()?.max(1),
                ))
            }
            KeySpec::Count { at } => {
                let count = usize::try_from(args::integer(args.get(at)?).ok()?).ok()?;
                let start = at.checked_add(1)?;
                let end = start.checked_add(count)?;
                (end <= args.len()).then_some((start, end, 1))
            }
        }
    }
}

/// The family of commands that a command belongs to, as the documentation groups them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// The cluster.
    Cluster,
}

impl Group {
    /// The group's name in `COMMAND DOCS`.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Cluster => "cluster",
        }
    }
}

/// One command, declared.
pub struct Command {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Number of words including the name; negative: at least that many.
    pub arity: i32,
    /// Its properties.
    pub flags: &'static [Flag],
    /// Where its keys are.
    pub keys: KeySpec,
    /// Its family.
    pub group: Group,
    /// The version of Redis that introduced it.
    pub since: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Its code.
    pub handler: Handler,
}

impl Command {
    /// Whether the command has the property `flag`.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Checks the number of words against the arity.
    pub fn check_arity(&self, args: &Args) -> Result<(), CommandError> {
        let least = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        let fits = if self.arity < 0 { args.len() >= least } else { args.len() == least };
        if fits { Ok(()) } else { Err(CommandError::WrongArity(self.name)) }
    }

    /// Whether the command changes the keyspace and therefore goes through the log.
    pub fn is_write(&self) -> bool {
        matches!(self.handler, Handler::Write(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    #[test]
    fn key_specs_find_the_keys() {
        let keys = |spec: KeySpec, line: &str| spec.indexes(&words(line)).collect::<Vec<_>>();
        assert_eq!(keys(KeySpec::None, "ping a"), [0usize; 0]);
        assert_eq!(keys(KeySpec::ONE, "get a"), [1]);
        assert_eq!(keys(KeySpec::ONE, "get"), [0usize; 0]);
        assert_eq!(keys(KeySpec::ALL, "del a b c"), [1, 2, 3]);
        assert_eq!(keys(KeySpec::PAIRS, "mset a 1 b 2"), [1, 3]);
        assert_eq!(keys(KeySpec::Count { at: 1 }, "sintercard 2 a b limit 1"), [2, 3]);
        assert_eq!(keys(KeySpec::Count { at: 1 }, "sintercard 5 a b"), [0usize; 0]);
        assert_eq!(keys(KeySpec::Count { at: 1 }, "sintercard -1 a b"), [0usize; 0]);
        assert_eq!(keys(KeySpec::Count { at: 1 }, "sintercard x a b"), [0usize; 0]);
    }
}
