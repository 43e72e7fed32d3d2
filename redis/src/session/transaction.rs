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
#[derive(Debug, PartialEq, Eq)]
pub struct TransactionCommand {
    /// Its name in lower case.
    name: &'static str,
    step: Step,
    /// The fewest words, its name included.
    min_words: usize,
    /// The most words.
    max_words: usize,
}

/// What a command does to a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Begins one.
    Begin,
    /// Ends one and runs it.
    Run,
    /// Ends one and forgets it.
    Forget,
    /// Names keys which must not change before the next one.
    Guard,
}

const COMMANDS: &[TransactionCommand] = &[
    TransactionCommand { name: "multi", step: Step::Begin, min_words: 1, max_words: 1 },
    TransactionCommand { name: "exec", step: Step::Run, min_words: 1, max_words: 1 },
    TransactionCommand { name: "discard", step: Step::Forget, min_words: 1, max_words: 1 },
    TransactionCommand { name: "watch", step: Step::Guard, min_words: 2, max_words: usize::MAX },
];

impl TransactionCommand {
    /// The command that `name` is, in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<&'static TransactionCommand> {
        COMMANDS.iter().find(|command| name.eq_ignore_ascii_case(command.name.as_bytes()))
    }

    /// Checks the number of words.
    fn check_arity(&self, args: &[Bytes]) -> Result<(), CommandError> {
        let fits = (self.min_words..=self.max_words).contains(&args.len());
        if fits { Ok(()) } else { Err(CommandError::WrongArity(self.name)) }
    }
}

/// Whether a connection is inside a transaction that was refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RefusedTransaction {
    open: bool,
}

impl RefusedTransaction {
    /// Begins or ends a transaction. Returns the error that is the reply.
    pub fn advance(&mut self, command: &TransactionCommand, args: &[Bytes]) -> Cow<'static, str> {
        match command.check_arity(args) {
            Ok(()) => self.take(command.step).into(),
            // As in Redis, EXEC ends a transaction however it is spelled; others do nothing.
            Err(error) if command.step == Step::Run => {
                self.open = false;
                let why = error.to_string();
                let why = why.strip_prefix("ERR ").unwrap_or(&why);
                format!("EXECABORT Transaction discarded because of: {why}").into()
            }
            Err(error) => error.to_string().into(),
        }
    }

    fn take(&mut self, step: Step) -> &'static str {
        let was_open = self.open;
        self.open = match step {
            Step::Begin => true,
            Step::Run | Step::Forget => false,
            Step::Guard => was_open,
        };
        match (step, was_open) {
            (Step::Begin, _) => UNSUPPORTED,
            (Step::Run, true) => ABORTED,
            (Step::Run, false) => "ERR EXEC without MULTI",
            (Step::Forget, true) => DISCARDED,
            (Step::Forget, false) => "ERR DISCARD without MULTI",
            (Step::Guard, true) => REFUSED,
            (Step::Guard, false) => UNWATCHABLE,
        }
    }

    /// Why the command of this name must not run now. QUIT and RESET always may, as in Redis.
    #[must_use]
    pub fn refuses(self, name: &str) -> Option<&'static str> {
        (self.open && !matches!(name, "quit" | "reset")).then_some(REFUSED)
    }
}
