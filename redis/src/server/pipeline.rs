//! Running what a connection has received: one batch of pipelined commands, in order.
//!
//! ```text
//! received   SET a   SET b   INCR c   GET a   SET d   PING
//! run        └───── one proposal ────┘ read   └─ one ─┘ here
//! replies    +OK     +OK     :1       $1      +OK     +PONG      in one buffer, one write
//! ```
//!
//! Writes are gathered until something that is not a write comes, the batch ends, or enough of them
//! have come together; then they are *settled*: proposed together, and their replies appended
//! ([`writes`](super::writes)). Everything else settles first, so that it sees the writes before it
//! and its reply comes after theirs. Reads are in [`reads`](super::reads).
//!
//! While writes are in the log, the connection reads nothing from its socket: the client's own send
//! buffer is the backpressure.

use std::time::Instant;

use neokv_resp::{ProtocolError, Reply};

use super::connection::{CloseReason, Connection};
use super::dispatch::{self, Call, Refusal};
use super::routing::{Access, RouteWait};
use crate::command::declare::{CommandGroup, SessionCx};
use crate::command::{CommandResult, Handler, table};
use crate::error::CommandError;

impl Connection {
    /// Runs every complete command in the input buffer.
    pub(super) async fn run_batch(&mut self) -> Result<(), CloseReason> {
        self.clock = Instant::now();
        while !self.session.closing {
            if self.client.is_killed() {
                return Err(CloseReason::Killed);
            }
            match self.parser.parse(&mut self.input, &mut self.args) {
                Ok(true) => self.run_command().await?,
                Ok(false) if self.writes.is_empty() => break,
                // Settling may read more input, while replies wait for the client. So the loop
                // parses once more after it.
                Ok(false) => self.settle().await?,
                Err(error) => self.refuse_bytes(&error).await?,
            }
        }
        self.settle().await?;
        self.args.clear();
        self.router.forget();
        self.wait = RouteWait::default();
        Ok(())
    }

    /// Answers bytes that are no command. The start of the next command is unknown, so the
    /// connection ends.
    async fn refuse_bytes(&mut self, error: &ProtocolError) -> Result<(), CloseReason> {
        self.settle().await?;
        let text = format!("ERR {error}");
        self.context.stats.count_error(&text);
        self.session.begin_command();
        if self.session.end_command() {
            self.output.push(&Reply::error(text), self.session.protocol);
        }
        self.session.closing = true;
        Ok(())
    }

    /// Runs the command in `args`, or gathers it.
    async fn run_command(&mut self) -> Result<(), CloseReason> {
        self.session.begin_command();
        let resolved = dispatch::resolve(&self.context, &mut self.session, &self.args);
        let is_asking = resolved.as_ref().is_ok_and(|call| call.command.name == "asking");
        match resolved {
            Ok(call) => {
                self.last_command = call.position;
                match call.command.handler {
                    Handler::Read(handler, mode) => self.read(call, handler, mode).await?,
                    Handler::Write(_) | Handler::WriteAlone(_) => self.gather(call).await?,
                    Handler::Session(_) | Handler::Container => self.run_session(call).await?,
                }
            }
            Err(refusal) => {
                self.settle().await?;
                if refusal == Refusal::Unknown && dispatch::is_http(&self.args) {
                    return Err(CloseReason::Http);
                }
                self.refuse(&refusal);
            }
        }
        // ASKING holds for one command, also for one that was refused.
        self.session.asking &= is_asking;
        // Arguments share the input's memory, which can grow in place only without them.
        self.args.clear();
        // Other connections get their turn, however long this pipeline is.
        tokio::task::coop::consume_budget().await;
        self.relieve().await
    }

    /// Runs a command about the connection or the process.
    async fn run_session(&mut self, call: Call) -> Result<(), CloseReason> {
        self.settle().await?;
        if call.command.group == CommandGroup::Server {
            // INFO and CONFIG RESETSTAT must see what this connection has counted. They take a
            // while, so other connections go first.
            self.stats.flush(&self.context.stats);
            tokio::task::yield_now().await;
        }
        let outcome = match call.command.handler {
            Handler::Session(handler) => {
                let mut cx = SessionCx {
                    session: &mut self.session,
                    host: &*self.context,
                    commands: table::table(),
                };
                handler(&mut cx, &self.args)
            }
            // Cannot be: the arity of a container asks for a second word, which names a subcommand.
            _ => Err(CommandError::WrongArity(call.command.name)),
        };
        self.answer(call, outcome);
        self.parser.set_unauthenticated(!self.session.authenticated);
        Ok(())
    }

    /// Where this connection's next command may run.
    pub(super) fn access(&self) -> Access {
        Access { readonly: self.session.readonly, asking: self.session.asking }
    }

    /// Answers a command that may not run.
    fn refuse(&mut self, refusal: &Refusal) {
        self.context.stats.count_error(refusal.text());
        if let Refusal::Error { position: Some(position), .. } = refusal {
            self.context.stats.count_rejected(*position);
        }
        if self.session.end_command() {
            refusal.write(&self.args, self.output.buffer());
        }
    }

    /// Answers a command that is not served here.
    pub(super) fn redirect(&mut self, call: Call, reply: &Reply) {
        self.context.stats.count_rejected(call.position);
        if let Reply::Error(text) = reply {
            self.context.stats.count_error(text);
        }
        if self.session.end_command() {
            self.output.push(reply, self.session.protocol);
        }
    }

    /// Answers a command that has run.
    pub(super) fn answer(&mut self, call: Call, outcome: CommandResult) {
        let reply = outcome.unwrap_or_else(|error| error_reply(&error));
        self.count(call.position, 1);
        if let Reply::Error(text) = &reply {
            self.stats.count_failure(&self.context.stats, call.position, text);
        }
        if self.session.end_command() {
            self.output.push(&reply, self.session.protocol);
        }
    }

    /// Counts calls that have just ended. Their time is the time since the calls before them ended.
    pub(super) fn count(&mut self, position: usize, calls: u64) {
        let now = Instant::now();
        let time = now.saturating_duration_since(self.clock);
        self.stats.count(&self.context.stats, position, calls, time);
        self.clock = now;
    }
}

/// The reply for a failed command. A fault of the store is also told to the operator.
pub(super) fn error_reply(error: &CommandError) -> Reply {
    if error.is_fault() {
        tracing::error!(%error, "a read failed");
    }
    error.reply()
}
