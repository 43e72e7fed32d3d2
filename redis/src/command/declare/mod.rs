//! The vocabulary in which a command is declared, and the macro that reads a table of declarations.
//!
//! A command is declared once, in the table of the file that holds its handler. A row has the name,
//! the arity, the handler, the flags, the version of Redis that introduced it, its cost and what it
//! does; whatever else applies follows by name:
//!
//! ```ignore
//! pub const COMMANDS: &[Command] = commands! { String;
//!     "strlen", 2, Read(strlen, Latest), [ReadOnly Fast], "2.2.0", "O(1)",
//!         "Get the length of the value stored in a key",
//!         keys: &[one(&[Ro])],
//!         arguments: &[KEY];
//! };
//! ```
//!
//! Everything else follows from the row: the arity check, the keys (and with them slot, Region,
//! CROSSSLOT), whether the command goes through the log, on which threads it runs, and what
//! `COMMAND`, `COMMAND DOCS` and HELP tell.
//!
//! A **container** (CONFIG, CLUSTER, …) has its subcommands in the same row, as a table of full
//! declarations. They are commands like all others: found, checked, routed and counted under their
//! own names, `config|get`.
//!
//! * [`keys`]: where a command's keys are, and what happens to them.
//! * [`argument`]: the grammar of a command's words, for `COMMAND DOCS`.

pub mod argument;
pub mod keys;

use neokv_resp::Reply;

pub use self::argument::Argument;
pub use self::keys::{KeyFlag, KeySpec};
use super::{Args, CommandResult};
use crate::error::CommandError;
use crate::host::Host;
use crate::keyspace::{Tx, View};
use crate::session::Session;

/// The code of a command, by the state that it works on.
#[derive(Clone, Copy)]
pub enum Handler {
    /// Reads the keyspace.
    Read(ReadHandler, ReadMode),
    /// Changes the keyspace; runs in apply, on every replica.
    Write(WriteHandler),
    /// A write that must be the only command of its log entry.
    WriteAlone(WriteHandler),
    /// Concerns the connection or the process, not the keyspace.
    Session(SessionHandler),
    /// One of the subcommands runs instead.
    Container,
}

/// Code that gets a consistent state of the keyspace and cannot change it.
pub type ReadHandler = fn(&View<'_>, &Args) -> CommandResult;
/// Code that runs inside apply: it must be a pure function of the state and its arguments.
pub type WriteHandler = fn(&mut Tx<'_>, &Args) -> CommandResult;
/// Code that sees the connection and the process.
pub type SessionHandler = fn(&mut SessionCx<'_>, &Args) -> CommandResult;

/// What a session command works with: the connection that it came on, the process, the commands.
pub struct SessionCx<'a> {
    /// The connection that the command came on.
    pub session: &'a mut Session,
    /// The process.
    pub host: &'a dyn Host,
    /// All commands.
    pub commands: &'static dyn CommandTable,
}

/// All commands, as those that tell about commands see them.
pub trait CommandTable: Sync {
    /// Every command, each container followed by its subcommands.
    fn all(&self) -> &[&'static Command];

    /// The command that `args` call, with its position in [`CommandTable::all`]: of a container
    /// that is followed by another word, the subcommand.
    ///
    /// # Errors
    /// [`NotFound`], by the first word or the second.
    fn find(&self, args: &Args) -> Result<(usize, &'static Command), NotFound>;

    /// The command of this name, in any case; a subcommand is named with its container,
    /// `config|get`.
    fn lookup(&self, name: &[u8]) -> Option<&'static Command>;
}

/// Why no command was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// The first word is not a command.
    Command,
    /// The second word is not a subcommand of this container.
    Subcommand {
        /// The container's position.
        position: usize,
        /// The container's name.
        container: &'static str,
    },
}

/// How a read uses the engine, and on which threads it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// Looks up one record: reads the newest state, without a snapshot. What has to read more, as
    /// of a string in chunks, is read again as [`ReadMode::Budgeted`].
    Latest,
    /// A few look-ups, whatever the arguments and the data: on a snapshot.
    Snapshot,
    /// As many rows as the arguments or the data ask for, and little work besides: on the
    /// connection's thread while they are few and in memory, on the blocking pool otherwise.
    Budgeted,
    /// On the blocking pool: it may work longer than the rows that it reads tell.
    Blocking,
}

/// Which Regions a command concerns.
#[derive(Clone, Copy)]
pub enum Scope {
    /// The Region of its keys.
    Keys,
    /// The Region of the slot that its arguments name. `None` if they name none: then the handler
    /// refuses the command, whatever the Region.
    Slot(fn(&Args) -> Option<u16>),
    /// The Region of this slot, or the next one that this node leads.
    FromSlot(fn(&Args) -> Option<u16>),
    /// Every Region that this node leads. The replies of the parts become one reply.
    EveryRegion(Merge),
    /// No Region: the connection or the process.
    Server,
}

/// Makes one reply of the replies of several Regions. They come in the order of their slots; there
/// are at least two, and none is an error. The number is a random one, for choices.
pub type Merge = fn(Vec<Reply>, u64) -> Reply;

/// A property of a command, as `COMMAND INFO` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// May change the keyspace.
    Write,
    /// Reads the keyspace and never changes it.
    ReadOnly,
    /// May make the store grow: refused when the disk is nearly full.
    DenyOom,
    /// For operators.
    Admin,
    /// Not for scripts.
    NoScript,
    /// Allowed while the store is still loading.
    Loading,
    /// Allowed on a replica whose data may be old.
    Stale,
    /// Takes constant or logarithmic time.
    Fast,
    /// Allowed before the client has authenticated.
    NoAuth,
    /// Allowed while a script takes too long.
    AllowBusy,
}

impl Flag {
    /// The flag's name in `COMMAND INFO`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Flag::Write => "write",
            Flag::ReadOnly => "readonly",
            Flag::DenyOom => "denyoom",
            Flag::Admin => "admin",
            Flag::NoScript => "noscript",
            Flag::Loading => "loading",
            Flag::Stale => "stale",
            Flag::Fast => "fast",
            Flag::NoAuth => "no_auth",
            Flag::AllowBusy => "allow_busy",
        }
    }
}

/// The commands that a command belongs to, as the documentation groups them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandGroup {
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
    /// Transactions.
    Transactions,
}

impl CommandGroup {
    /// The group's name in `COMMAND DOCS`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CommandGroup::Generic => "generic",
            CommandGroup::String => "string",
            CommandGroup::List => "list",
            CommandGroup::Set => "set",
            CommandGroup::SortedSet => "sorted-set",
            CommandGroup::Hash => "hash",
            CommandGroup::Connection => "connection",
            CommandGroup::Server => "server",
            CommandGroup::Cluster => "cluster",
            CommandGroup::Transactions => "transactions",
        }
    }

    /// The ACL category that follows from the group.
    #[must_use]
    pub fn category(self) -> Option<&'static str> {
        match self {
            CommandGroup::Generic => Some("@keyspace"),
            CommandGroup::String => Some("@string"),
            CommandGroup::List => Some("@list"),
            CommandGroup::Set => Some("@set"),
            CommandGroup::SortedSet => Some("@sortedset"),
            CommandGroup::Hash => Some("@hash"),
            CommandGroup::Connection => Some("@connection"),
            CommandGroup::Transactions => Some("@transaction"),
            CommandGroup::Server | CommandGroup::Cluster => None,
        }
    }
}

/// What a write answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// A status or a number.
    Status,
    /// What was stored, which may be large.
    Stored,
    /// What was stored if this word is among its options, else a status.
    StoredWith(&'static str),
}

/// What a version of Redis changed: the version and the change.
pub type Change = (&'static str, &'static str);

/// One command, declared.
pub struct Command {
    /// Its name in lower case; of a subcommand, container and subcommand: `config|get`.
    pub name: &'static str,
    /// Number of words including the name; negative: at least that many.
    pub arity: i32,
    /// Its code.
    pub handler: Handler,
    /// Its properties.
    pub flags: &'static [Flag],
    /// The version of Redis that introduced it.
    pub since: &'static str,
    /// What it costs.
    pub complexity: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The documentation's group.
    pub group: CommandGroup,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Which Regions it concerns, where that does not follow from keys and handler.
    pub scope: Option<Scope>,
    /// Of a write: what it answers with.
    pub answers: Answers,
    /// The grammar of its words.
    pub arguments: &'static [Argument],
    /// What later versions of Redis changed.
    pub history: &'static [Change],
    /// The version of Redis that deprecated it, and what to use instead.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Hints for clients and proxies.
    pub tips: &'static [&'static str],
    /// ACL categories that do not follow from flags and group.
    pub categories: &'static [&'static str],
    /// The commands of a container.
    pub subcommands: &'static [Command],
    /// Of a subcommand: its lines in its container's HELP.
    pub help: &'static [&'static str],
}

impl Command {
    /// What a row leaves out.
    pub const fn of(group: CommandGroup) -> Command {
        Command {
            name: "",
            arity: 0,
            handler: Handler::Container,
            flags: &[],
            since: "",
            complexity: "",
            summary: "",
            group,
            keys: &[],
            scope: None,
            answers: Answers::Status,
            arguments: &[],
            history: &[],
            deprecated: None,
            tips: &[],
            categories: &[],
            subcommands: &[],
            help: &[],
        }
    }

    /// Whether the command has the property `flag`.
    #[must_use]
    pub fn has(&self, flag: Flag) -> bool {
        self.flags.contains(&flag)
    }

    /// Whether it is one of the commands of a container.
    #[must_use]
    pub fn is_subcommand(&self) -> bool {
        self.name.contains('|')
    }

    /// Of a subcommand, the word that calls it; the name otherwise.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, word)| word)
    }

    /// Checks the number of words against the arity.
    ///
    /// # Errors
    /// [`CommandError::WrongArity`].
    pub fn check_arity(&self, args: &Args) -> Result<(), CommandError> {
        let least = usize::try_from(self.arity.unsigned_abs()).unwrap_or(usize::MAX);
        let fits = if self.arity < 0 { args.len() >= least } else { args.len() == least };
        if fits { Ok(()) } else { Err(CommandError::WrongArity(self.name)) }
    }

    /// The code of a write; `None` for everything else.
    #[must_use]
    pub fn write_handler(&self) -> Option<WriteHandler> {
        match self.handler {
            Handler::Write(handler) | Handler::WriteAlone(handler) => Some(handler),
            Handler::Read(..) | Handler::Session(_) | Handler::Container => None,
        }
    }

    /// Whether the command changes the keyspace and therefore goes through the log.
    #[must_use]
    pub fn is_write(&self) -> bool {
        self.write_handler().is_some()
    }

    /// Whether the command must be the only one of its log entry.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        matches!(self.handler, Handler::WriteAlone(_))
    }

    /// Whether the reply of a write with these arguments may be as large as what is stored.
    #[must_use]
    pub fn answers_stored(&self, args: &Args) -> bool {
        match self.answers {
            Answers::Status => false,
            Answers::Stored => true,
            // A key or a value that is this word only makes the write wait for room.
            Answers::StoredWith(word) => {
                args.iter().skip(1).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
            }
        }
    }

    /// Which Regions the command concerns.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match (self.scope, self.handler) {
            (Some(scope), _) => scope,
            (None, Handler::Session(_) | Handler::Container) => Scope::Server,
            (None, _) => Scope::Keys,
        }
    }
}

/// Reads a table of declarations; see the module.
macro_rules! commands {
    ($group:ident; $(
        $name:literal, $arity:literal, $handler:expr, [$($flag:ident)*],
        $since:literal, $complexity:expr, $summary:literal $(, $field:ident: $value:expr)*;
    )*) => {{
        use $crate::command::declare::words::*;
        &[$($crate::command::declare::Command {
            name: $name,
            arity: $arity,
            handler: $handler,
            flags: &[$($crate::command::declare::Flag::$flag),*],
            since: $since,
            complexity: $complexity,
            summary: $summary,
            $($field: $value,)*
            ..$crate::command::declare::Command::of(
                $crate::command::declare::CommandGroup::$group,
            )
        }),*]
    }};
}

pub(crate) use commands;

/// The words that a row may use without a path.
pub mod words {
    pub use super::Answers::{Stored, StoredWith};
    pub use super::CommandGroup;
    pub use super::Handler::{Container, Read, Session, Write, WriteAlone};
    pub use super::ReadMode::{Blocking, Budgeted, Latest, Snapshot};
    pub use super::Scope::{EveryRegion, FromSlot, Slot};
    pub use super::argument::words::*;
    pub use super::keys::words::*;
}
