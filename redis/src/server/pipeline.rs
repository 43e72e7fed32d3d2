//! Running what a connection has received: one batch of pipelined commands, in order.
//!
//! ```text
//! received   SET a   SET b   INCR c   GET a   SET d   PING
//! run        └───── one proposal ────┘ read   └─ one ─┘ here
//! replies    +OK     +OK     :1       $1      +OK     +PONG      in one buffer, one write
//! ```
//!
//! Writes are gathered ([`Writes`]) until something that is not a write comes, the batch ends, or
//! enough of them have come together. Then they are *settled*: proposed as one submission, and
//! their replies appended. Everything else settles first, so that it sees the writes before it and
//! its reply comes after theirs.
//!
//! While a submission is in the log, the connection reads nothing from its socket: the client's own
//! send buffer is the backpressure.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use neokv_encoding::hlc;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Budget, Read};
use neokv_raftstore::{ReadError, ReadPoint};
use neokv_resp::Reply;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinError;

use super::connection::{Connection, Ended};
use super::context::wall_clock_ms;
use super::dispatch::{self, Call, Refusal};
use super::routing::{Destination, read_refused, write_refused};
use super::session::{Replies, SessionCx};
use super::{Context, Limits};
use crate::command::{Args, CommandError, Group, Handler, Outcome};
use crate::keyspace::{View, ViewSource};
use crate::machine::{self, NAMESPACE};

type Reader = fn(&View<'_>, &Args) -> Outcome;

/// What a command that reads many rows may read on a connection's thread, where others wait for
/// their turn.
const GLANCE: Budget = Budget { rows: 1024, bytes: 256 << 10 };

/// After so many rows, the connection's batch lets others have the thread.
const ROWS_PER_TURN: u32 = 4096;

/// Writes that wait to travel together. All go to the same Region.
#[derive(Default)]
pub struct Writes {
    commands: Vec<machine::Command>,
    /// The position of each in the command table.
    positions: Vec<usize>,
    bytes: usize,
    destination: Option<Destination>,
}

impl Writes {
    /// Takes a command's words in.
    fn push(&mut self, call: Call, args: Vec<Bytes>) {
        self.bytes = args.iter().fold(self.bytes, |sum, arg| sum.saturating_add(arg.len()));
        self.commands.push(machine::Command::Client { command: call.command, args });
        self.positions.push(call.position);
    }

    fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.bytes >= limits.pipeline_bytes || self.commands.len() >= limits.pipeline_commands
    }

    fn goes_elsewhere(&self, destination: &Destination) -> bool {
        self.destination.as_ref().is_some_and(|mine| mine.region.id() != destination.region.id())
    }
}

impl Connection {
    /// Runs every complete command in the input buffer.
    pub(super) async fn run_batch(&mut self) -> Result<(), Ended> {
        self.clock = Instant::now();
        while !self.session.closing {
            if self.client.is_cut() {
                return Err(Ended::Killed);
            }
            match self.parser.parse(&mut self.input, &mut self.args) {
                Ok(true) => self.run_command().await?,
                Ok(false) if self.writes.is_empty() => break,
                // More may have come while their replies waited for the client: nobody else looks
                // at it.
                Ok(false) => self.settle().await?,
                Err(error) => {
                    self.settle().await?;
                    let text = format!("ERR {error}");
                    self.context.stats.count_error(&text);
                    self.session.begin_command();
                    if self.session.end_command() {
                        self.output.push(&Reply::error(text), self.session.protocol);
                    }
                    self.session.closing = true;
                }
            }
        }
        self.settle().await?;
        self.args.clear();
        self.router.forget();
        Ok(())
    }

    /// Runs the command in `args`, or gathers it.
    async fn run_command(&mut self) -> Result<(), Ended> {
        self.session.begin_command();
        match dispatch::resolve(&self.context, &self.session, &self.args) {
            Ok(call) => {
                self.last_command = call.position;
                match call.command.handler {
                    Handler::Read(handler) => self.read(call, handler).await?,
                    Handler::Write(_) => self.gather(call).await?,
                    Handler::Session(handler) => {
                        self.settle().await?;
                        if call.command.group == Group::Server {
                            // INFO and CONFIG RESETSTAT must know what has been, and take their
                            // time.
                            self.meter.flush(&self.context.stats);
                            tokio::task::yield_now().await;
                        }
                        let mut cx = SessionCx::new(&mut self.session, &self.context);
                        let outcome = handler(&mut cx, &self.args);
                        self.answer(call, outcome);
                        self.parser.set_stranger(!self.session.authenticated);
                    }
                }
                self.session.asking &= call.command.name == "asking";
            }
            Err(refusal) => {
                self.settle().await?;
                if refusal == Refusal::Unknown && dispatch::is_http(&self.args) {
                    return Err(Ended::Http);
                }
                self.refuse(&refusal);
            }
        }
        // Arguments share the input's memory, which can grow in place only without them.
        self.args.clear();
        // However long the pipeline, others get their turn.
        tokio::task::coop::consume_budget().await;
        self.relieve().await
    }

    /// Answers a command that may not run.
    fn refuse(&mut self, refusal: &Refusal) {
        self.context.stats.count_error(refusal.text());
        if let Refusal::Error { position, .. } = refusal {
            self.context.stats.count_rejected(*position);
        }
        if self.session.end_command() {
            refusal.write(&self.args, self.output.buffer());
        }
    }

    /// Answers a command that is not served here.
    fn redirect(&mut self, call: Call, reply: &Reply) {
        self.context.stats.count_rejected(call.position);
        if let Reply::Error(text) = reply {
            self.context.stats.count_error(text);
        }
        if self.session.end_command() {
            self.output.push(reply, self.session.protocol);
        }
    }

    /// Answers a command that has run.
    fn answer(&mut self, call: Call, outcome: Outcome) {
        let reply = outcome.unwrap_or_else(|error| error_reply(&error));
        self.count(call.position, 1);
        if let Reply::Error(text) = &reply {
            self.meter.count_failure(&self.context.stats, call.position, text);
        }
        if self.session.end_command() {
            self.output.push(&reply, self.session.protocol);
        }
    }

    /// Counts calls that have just ended; they took the time since the last ones ended.
    fn count(&mut self, position: usize, calls: u64) {
        let now = Instant::now();
        self.meter.count(
            &self.context.stats,
            position,
            calls,
            now.saturating_duration_since(self.clock),
        );
        self.clock = now;
    }

    /// Runs a read where it is, or apart if it is heavy.
    async fn read(&mut self, call: Call, handler: Reader) -> Result<(), Ended> {
        self.settle().await?;
        if call.traits.heavy {
            return self.read_apart(call, handler).await;
        }
        let Some(moment) = self.moment(call).await else { return Ok(()) };
        if call.traits.walk {
            return self.read_walk(call, handler, moment).await;
        }
        let outcome = moment.read(&self.context, call.traits.point, handler, &self.args);
        self.answer(call, outcome);
        Ok(())
    }

    /// Where and when a read happens; `None` if it does not happen here, which the client has then
    /// been told.
    async fn moment(&mut self, call: Call) -> Option<Moment> {
        let destination = match self.router.route(&self.context, call.command, &self.args) {
            Ok(destination) => destination,
            Err(reply) => {
                self.redirect(call, &reply);
                return None;
            }
        };
        let point = match destination.region.read_now() {
            Err(ReadError::NeedsQuorum { .. }) => destination.region.read_index().await,
            settled => settled,
        };
        match point {
            Ok(point) => Some(Moment::of(destination, point, self.session.seed())),
            Err(error) => {
                let reply = read_refused(&self.context.redirect, destination.slot, &error);
                self.redirect(call, &reply);
                None
            }
        }
    }

    /// Runs a read of many rows: where it is if a glance is enough for it, else apart.
    async fn read_walk(
        &mut self,
        call: Call,
        handler: Reader,
        moment: Moment,
    ) -> Result<(), Ended> {
        let (outcome, rows) = moment.glance(&self.context, handler, &self.args);
        self.walked = self.walked.saturating_add(rows);
        match outcome {
            Some(outcome) => self.answer(call, outcome),
            None => self.read_apart(call, handler).await?,
        }
        if self.walked >= ROWS_PER_TURN {
            self.walked = 0;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Runs a heavy read on the blocking pool. The reply is encoded there too, behind those that
    /// are waiting to be sent.
    async fn read_apart(&mut self, call: Call, handler: Reader) -> Result<(), Ended> {
        let context = self.context.clone();
        let _permit = self.permit(&context).await?;
        // Asked for after the wait: what is read is not older than what the answer is about.
        let Some(moment) = self.moment(call).await else { return Ok(()) };
        let sent = self.session.end_command().then_some(self.session.protocol);
        let (place, args, mut buffer) =
            (context.clone(), std::mem::take(&mut self.args), self.output.lend());
        let work = move || -> (BytesMut, Option<String>) {
            let reply = moment
                .read(&place, false, handler, &args)
                .unwrap_or_else(|error| error_reply(&error));
            if let Some(protocol) = sent {
                reply.write(protocol, &mut buffer);
            }
            let failure =
                if let Reply::Error(text) = reply { Some(text.into_owned()) } else { None };
            (buffer, failure)
        };
        // A panic took the buffer with it, so the order of replies is lost: the connection ends.
        let lost =
            |error: JoinError| if error.is_panic() { Ended::Panicked } else { Ended::Stopping };
        let (buffer, failure) = tokio::task::spawn_blocking(work).await.map_err(lost)?;
        self.output.restore(buffer);
        self.count(call.position, 1);
        if let Some(text) = failure {
            self.meter.count_failure(&self.context.stats, call.position, &text);
        }
        Ok(())
    }

    /// The right to read much, for which others may be waiting too. A connection that is killed
    /// does not wait on.
    async fn permit<'c>(&self, context: &'c Context) -> Result<SemaphorePermit<'c>, Ended> {
        let mut turn = pin!(context.heavy.acquire());
        poll_fn(|cx| {
            if self.client.poll_dismissed(cx.waker()) && self.client.is_cut() {
                return Poll::Ready(Err(Ended::Killed));
            }
            turn.as_mut().poll(cx).map_err(|_closed| Ended::Stopping)
        })
        .await
    }

    /// Adds a write to those that wait, which may make them go.
    async fn gather(&mut self, call: Call) -> Result<(), Ended> {
        let destination = match self.router.route(&self.context, call.command, &self.args) {
            Ok(destination) => destination,
            Err(reply) => {
                self.settle().await?;
                self.redirect(call, &reply);
                return Ok(());
            }
        };
        if self.writes.is_empty() {
            self.writes.destination = Some(destination.clone());
        } else if self.writes.goes_elsewhere(destination) {
            let destination = destination.clone();
            self.settle().await?;
            self.writes.destination = Some(destination);
        }
        self.writes.push(call, std::mem::take(&mut self.args));
        // With CLIENT REPLY the fate of a reply is decided command by command.
        if self.session.replies != Replies::On || self.writes.is_full(&self.context.limits) {
            self.settle().await?;
        }
        Ok(())
    }

    /// Sends the gathered writes through the log and appends their replies.
    pub(super) async fn settle(&mut self) -> Result<(), Ended> {
        if self.writes.is_empty() { Ok(()) } else { self.settle_some().await }
    }

    async fn settle_some(&mut self) -> Result<(), Ended> {
        let mut commands = std::mem::take(&mut self.writes.commands);
        let mut positions = std::mem::take(&mut self.writes.positions);
        self.writes.bytes = 0;
        let Some(Destination { region, slot, .. }) = self.writes.destination.take() else {
            return Ok(());
        };
        let mut done = 0usize;
        // Nearly always once. What one entry did not carry out goes when the replies before it are
        // on their way, so that a client which does not read them gets no more of them made.
        while !commands.is_empty() {
            match region.propose_some(commands).await {
                Ok(progress) => {
                    let waiting = positions.get(done..).unwrap_or_default();
                    let mine = waiting.get(..progress.replies.len()).unwrap_or_default();
                    // One reply per command is the proposer's promise; without it no reply could be
                    // told from another.
                    if mine.is_empty()
                        || mine.len().saturating_add(progress.rest.len()) != waiting.len()
                    {
                        return Err(Ended::Panicked);
                    }
                    self.count_writes(mine);
                    done = done.saturating_add(mine.len());
                    self.answer_writes(mine, progress.replies)?;
                    commands = progress.rest;
                }
                Err(error) => {
                    let waiting = positions.get(done..).unwrap_or_default();
                    self.count_writes(waiting);
                    let reply = write_refused(&self.context.redirect, slot, &error);
                    waiting.iter().for_each(|position| self.answer_write(*position, &reply));
                    commands = Vec::new();
                }
            }
            self.relieve().await?;
            if !commands.is_empty() && self.client.is_cut() {
                return Err(Ended::Killed);
            }
        }
        positions.clear();
        self.writes.positions = positions;
        Ok(())
    }

    /// Appends the replies of writes; each is given up as soon as it is copied, because together
    /// they may be large.
    fn answer_writes(&mut self, positions: &[usize], replies: Vec<Reply>) -> Result<(), Ended> {
        for (reply, position) in replies.into_iter().zip(positions) {
            self.answer_write(*position, &reply);
            drop(reply);
            self.shed()?;
        }
        Ok(())
    }

    fn answer_write(&mut self, position: usize, reply: &Reply) {
        if let Reply::Error(text) = reply {
            self.meter.count_failure(&self.context.stats, position, text);
        }
        if self.session.end_command() {
            self.output.push(reply, self.session.protocol);
        }
    }

    /// Counts the calls of a submission; each took an equal share of its time.
    fn count_writes(&mut self, positions: &[usize]) {
        let now = Instant::now();
        let calls = u32::try_from(positions.len()).unwrap_or(u32::MAX).max(1);
        let share = now.saturating_duration_since(self.clock) / calls;
        for position in positions {
            self.meter.count(&self.context.stats, *position, 1, share);
        }
        self.clock = now;
    }
}

/// Where and when a read happens.
#[derive(Clone, Copy)]
struct Moment {
    region: u64,
    slots: SlotRange,
    now_ms: u64,
    seed: u64,
}

impl Moment {
    /// A key is over for a reader by its own clock, or by that of the last applied write, whichever
    /// is ahead.
    fn of(destination: &Destination, point: ReadPoint, seed: u64) -> Moment {
        Moment {
            region: destination.region.id(),
            slots: destination.slots,
            now_ms: wall_clock_ms().max(hlc::ms(point.applied_clock)),
            seed,
        }
    }

    /// Runs a handler: on the latest state if it looks up one record only, else on one state for
    /// all its reads.
    fn read(self, context: &Context, point: bool, handler: Reader, args: &Args) -> Outcome {
        if point {
            return handler(&self.view(context, &context.engine), args);
        }
        let snapshot = context.engine.snapshot();
        handler(&self.view(context, &snapshot), args)
    }

    /// Runs a handler on what is in memory, within [`GLANCE`]; `None` if that was not enough. Also
    /// returns how many rows were read, which take their time in any case.
    fn glance(self, context: &Context, handler: Reader, args: &Args) -> (Option<Outcome>, u32) {
        let glance = context.engine.glance(GLANCE);
        let outcome = handler(&self.view(context, &glance), args);
        ((!glance.is_spent()).then_some(outcome), glance.rows_read())
    }

    fn view<'a>(self, context: &'a Context, read: &'a dyn Read) -> View<'a> {
        View::new(ViewSource {
            read,
            now_ms: self.now_ms,
            namespace: NAMESPACE,
            region: self.region,
            slots: self.slots,
            seed: self.seed,
            cursors: Some(&context.cursors),
            // A client that has more than this waiting is disconnected.
            most: u64::try_from(context.limits.output).unwrap_or(u64::MAX),
        })
    }
}

/// The reply for a failed command. A fault of the store is also told to the operator.
fn error_reply(error: &CommandError) -> Reply {
    if error.is_fault() {
        tracing::error!(%error, "a read failed");
    }
    error.reply()
}
