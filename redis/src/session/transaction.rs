//! Transactions, which are refused as a whole.
//!
//! A client library sends a transaction in one go and reads the replies afterwards:
//!
//! ```text
//! sent      MULTI             INCR n   INCR n   EXEC
//! answered  ERR transactions  ERR      ERR      EXECABORT
//! ```
//!
//! If only MULTI were refused, the commands behind it would take effect one by one, while the
//! client reports the error of MULTI and may send all of it again. So everything from a refused
//! MULTI up to EXEC or DISCARD is refused, those two included. EXEC answers EXECABORT, as Redis
//! does after an error in the queue: client libraries then report that the transaction was
//! discarded.
//!
//! The server cannot tell a command that was sent together with MULTI from one that was sent after
//! the refusal was read. A client that has given up says so with DISCARD or RESET, or closes the
//! connection.
//!
//! WATCH is refused too. Nothing needs to be kept away behind it: the writes that depend on it
//! stand behind a MULTI.
//!
//! These commands are not in the command table: `COMMAND` lists what is served. UNWATCH is: it
//! answers OK, because nothing is watched.

use std::borrow::Cow;

use bytes::Bytes;

use crate::error::CommandError;

/// The reply to MULTI.
const UNSUPPORTED: &str = "ERR transactions are not supported, nothing of this one takes effect; \
                           DISCARD ends it";
/// The reply to WATCH.
const UNWATCHABLE: &str = "ERR transactions are not supported, no key is watched";
/// The reply to a command inside a refused transaction.
const REFUSED: &str =
    "ERR not done: this command stands behind a refused MULTI; EXEC, DISCARD or RESET ends that";
/// The reply to EXEC at the end of a refused transaction.
const ABORTED: &str = "EXECABORT Transaction discarded because of previous errors.";
/// The reply to DISCARD at the end of a refused transaction.
const DISCARDED: &str = "ERR the transaction was refused from its MULTI on, nothing was done";

/// A command that begins, ends or guards a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionCommand {
    /// Begins one.
    Multi,
    /// Ends one and runs it.
    Exec,
    /// Ends one and forgets it.
    Discard,
    /// Names keys which must not change before the next one.
    Watch,
}

impl TransactionCommand {
    /// The command that `name` is, in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<TransactionCommand> {
        [
            ("multi", TransactionCommand::Multi),
            ("exec", TransactionCommand::Exec),
            ("discard", TransactionCommand::Discard),
            ("watch", TransactionCommand::Watch),
        ]
        .into_iter()
        .find(|(word, _)| name.eq_ignore_ascii_case(word.as_bytes()))
        .map(|(_, command)| command)
    }

    /// Its name in lower case.
    fn name(self) -> &'static str {
        match self {
            TransactionCommand::Multi => "multi",
            TransactionCommand::Exec => "exec",
            TransactionCommand::Discard => "discard",
            TransactionCommand::Watch => "watch",
        }
    }

    /// Checks the number of words.
    fn check_arity(self, args: &[Bytes]) -> Result<(), CommandError> {
        let fits =
            if self == TransactionCommand::Watch { args.len() >= 2 } else { args.len() == 1 };
        if fits { Ok(()) } else { Err(CommandError::WrongArity(self.name())) }
    }
}

/// Whether a connection is inside a transaction that was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedTransaction {
    open: bool,
}

impl RefusedTransaction {
    /// Begins or ends a transaction. Returns the error that is the reply.
    pub fn advance(&mut self, command: TransactionCommand, args: &[Bytes]) -> Cow<'static, str> {
        match command.check_arity(args) {
            Ok(()) => self.step(command).into(),
            // As in Redis, EXEC ends a transaction however it is spelled; others do nothing.
            Err(error) if command == TransactionCommand::Exec => {
                self.open = false;
                let why = error.to_string();
                let why = why.strip_prefix("ERR ").unwrap_or(&why);
                format!("EXECABORT Transaction discarded because of: {why}").into()
            }
            Err(error) => error.to_string().into(),
        }
    }

    fn step(&mut self, command: TransactionCommand) -> &'static str {
        let was_open = self.open;
        self.open = match command {
            TransactionCommand::Multi => true,
            TransactionCommand::Exec | TransactionCommand::Discard => false,
            TransactionCommand::Watch => was_open,
        };
        match (command, was_open) {
            (TransactionCommand::Multi, _) => UNSUPPORTED,
            (TransactionCommand::Exec, true) => ABORTED,
            (TransactionCommand::Exec, false) => "ERR EXEC without MULTI",
            (TransactionCommand::Discard, true) => DISCARDED,
            (TransactionCommand::Discard, false) => "ERR DISCARD without MULTI",
            (TransactionCommand::Watch, true) => REFUSED,
            (TransactionCommand::Watch, false) => UNWATCHABLE,
        }
    }

    /// Why the command of this name must not run now. QUIT and RESET always may, as in Redis.
    #[must_use]
    pub fn refuses(self, name: &str) -> Option<&'static str> {
        (self.open && !matches!(name, "quit" | "reset")).then_some(REFUSED)
    }
}
