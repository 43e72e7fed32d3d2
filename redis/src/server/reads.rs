//! Reads: when they happen, on which threads, and over which Regions.
//!
//! ```text
//!             ┌─ Latest, Snapshot ───────────────────────────────► here
//! route ─ read┼─ Budgeted ── within the budget, in memory? ─ yes ─► here
//!  point      │                    no: thrown away, again ──┐
//!             └─ Blocking ─────────────────────────────────┴────► blocking pool, a few at a time
//! ```
//!
//! Where a majority must confirm the read first, that is waited for before the blocking pool is: a
//! Region that hears nothing from its majority keeps nobody else from reading. All Regions of a
//! read are asked at the same time.
//!
//! A read over several Regions runs on the blocking pool, one Region after the other, and its
//! replies become one. Each part sees its own Region at one instant; there is no instant that all
//! share, as there is none in a cluster of Redis.
//!
//! Rows are read through the Region only, which looks at its shape again when they have been read:
//! if it has been split meanwhile, the result is thrown away and the read starts again.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Read, ReadBudget};
use neokv_raftstore::{ReadError, ReadPoint, Region};
use neokv_resp::Reply;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinError;

use super::Context;
use super::connection::{CloseReason, Connection};
use super::dispatch::Call;
use super::pipeline::error_reply;
use super::routing::{Destination, NoRoute, Place, Route, read_refused};
use crate::command::declare::{Merge, ReadHandler, ReadMode};
use crate::command::{Args, Outcome};
use crate::error::CommandError;
use crate::host::Host;
use crate::keyspace::reply_limit::reply_bytes;
use crate::keyspace::{NAMESPACE, View, ViewSource};
use crate::machine::RedisMachine;

/// What a budgeted read may read on a connection's thread, where others wait for their turn.
const BUDGET: ReadBudget = ReadBudget { rows: 1024, bytes: 256 << 10 };

/// After so many rows, the connection's batch lets others have the thread.
const ROWS_PER_TURN: u32 = 4096;

/// Why an attempt to read came to nothing.
enum Failed {
    /// As for any command; the client has not been told.
    NoRoute(NoRoute),
    /// The connection ends.
    Close(CloseReason),
}

impl From<NoRoute> for Failed {
    fn from(why: NoRoute) -> Failed {
        Failed::NoRoute(why)
    }
}

impl From<CloseReason> for Failed {
    fn from(why: CloseReason) -> Failed {
        Failed::Close(why)
    }
}

impl Connection {
    /// Runs a read where its mode says, and answers it.
    pub(super) async fn read(
        &mut self,
        call: Call,
        handler: ReadHandler,
        mode: ReadMode,
    ) -> Result<(), CloseReason> {
        self.settle().await?;
        loop {
            let reply = match self.try_read(call, handler, mode).await {
                Ok(()) => return Ok(()),
                Err(Failed::Close(reason)) => return Err(reason),
                Err(Failed::NoRoute(NoRoute::Refused(reply))) => {
                    self.router.forget();
                    self.redirect(call, &reply);
                    return Ok(());
                }
                Err(Failed::NoRoute(NoRoute::NotYet(reply))) => reply,
            };
            // Its Region has been split, or is about to serve.
            self.router.forget();
            if self.client.is_killed() {
                return Err(CloseReason::Killed);
            }
            if !self.wait.pause().await {
                self.redirect(call, &reply);
                return Ok(());
            }
        }
    }

    /// One attempt: returns when the read has been answered.
    async fn try_read(
        &mut self,
        call: Call,
        handler: ReadHandler,
        mode: ReadMode,
    ) -> Result<(), Failed> {
        let route = self.route(call)?;
        let read = match (route, mode) {
            (Routed::Every(regions, merge), _) => {
                return self.read_every(call, handler, regions, merge).await;
            }
            (Routed::One(part), _) => self.permitted(part).await?,
        };
        if mode == ReadMode::Blocking {
            return self.read_blocking(call, handler, read).await;
        }
        if mode == ReadMode::Budgeted {
            return self.read_budgeted(call, handler, read).await;
        }
        let outcome = if mode == ReadMode::Latest {
            read.run_latest(&self.context, handler, &self.args)
        } else {
            read.run(&self.context, handler, &self.args)
        };
        let outcome = outcome.map_err(|error| self.no_read(read.slot, &error))?;
        self.answer(call, outcome);
        Ok(())
    }

    /// Where the read in `args` goes.
    fn route(&mut self, call: Call) -> Result<Routed, NoRoute> {
        let access = self.access();
        Ok(match self.router.route(&self.context, call.command, &self.args, access)? {
            Route::One(place) => Routed::One(Part::new(&place)),
            Route::Every(regions, merge) => Routed::Every(regions, merge),
        })
    }

    /// Permission to read a Region as of now: at once where its replica is the only voter, else
    /// confirmed by a majority.
    async fn permitted(&mut self, part: Part) -> Result<RegionRead, NoRoute> {
        let (slot, seed) = (part.slot, self.session.seed());
        part.ask(seed).await.map_err(|error| self.no_read(slot, &error))
    }

    /// What to do about a read that is not possible, or whose result does not count.
    fn no_read(&self, slot: u16, error: &ReadError) -> NoRoute {
        let reply = read_refused(&*self.context.topology, slot, error);
        match error {
            ReadError::StaleEpoch { .. } | ReadError::NotReady { .. } => NoRoute::NotYet(reply),
            _ => NoRoute::Refused(reply),
        }
    }

    /// Runs a read of many rows here if its budget is enough for it, else on the blocking pool.
    async fn read_budgeted(
        &mut self,
        call: Call,
        handler: ReadHandler,
        read: RegionRead,
    ) -> Result<(), Failed> {
        let ran = read.run_budgeted(&self.context, handler, &self.args);
        let (outcome, rows) = ran.map_err(|error| self.no_read(read.slot, &error))?;
        self.rows_read += rows;
        match outcome {
            Some(outcome) => self.answer(call, outcome),
            None => self.read_blocking(call, handler, read).await?,
        }
        if self.rows_read >= ROWS_PER_TURN {
            self.rows_read = 0;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Runs a read of one Region on the blocking pool.
    async fn read_blocking(
        &mut self,
        call: Call,
        handler: ReadHandler,
        mut read: RegionRead,
    ) -> Result<(), Failed> {
        let context = self.context.clone();
        let _permit = self.permit(&context).await?;
        // What it reads is as new as when it was asked for, or newer. If the Region has changed
        // meanwhile, it says so afterwards.
        read.renew();
        let slot = read.slot;
        let work = move |context: &Context, args: &Args| read.run(context, handler, args);
        self.on_blocking_pool(call, slot, work).await
    }

    /// Runs a read over several Regions on the blocking pool.
    async fn read_every(
        &mut self,
        call: Call,
        handler: ReadHandler,
        regions: Vec<Destination>,
        merge: Merge,
    ) -> Result<(), Failed> {
        let asked = regions.into_iter().map(|destination| {
            let (part, seed) = (Part::whole(destination), self.session.seed());
            let slot = part.slot;
            async move { part.ask(seed).await.map_err(|error| (slot, error)) }
        });
        let asked: Vec<_> = asked.collect();
        let reads: Result<Vec<RegionRead>, _> = join_all(asked).await.into_iter().collect();
        // A Region that this node has just ceased to lead is left out next time.
        let mut reads = reads.map_err(|(slot, error)| self.no_read(slot, &error).again())?;
        let context = self.context.clone();
        let _permit = self.permit(&context).await?;
        reads.iter_mut().for_each(RegionRead::renew);
        let seed = self.session.seed();
        self.on_blocking_pool(call, 0, move |context, args| {
            // Together they may take as much as one reply may.
            let (mut replies, mut bytes) = (Vec::with_capacity(reads.len()), 0);
            for read in reads {
                let reply = match read.run(context, handler, args)? {
                    Ok(reply) => reply,
                    Err(error) => return Ok(Err(error)),
                };
                bytes += reply_bytes(&reply);
                if bytes > context.max_reply_bytes() {
                    return Ok(Err(CommandError::LimitExceeded));
                }
                replies.push(reply);
            }
            Ok(Ok(merge(replies, seed)))
        })
        .await
    }

    /// Runs `work` on the blocking pool and answers with its outcome. The reply is encoded there
    /// too, behind those that are waiting to be sent. `slot` is for MOVED.
    async fn on_blocking_pool(
        &mut self,
        call: Call,
        slot: u16,
        work: impl FnOnce(&Context, &Args) -> Result<Outcome, ReadError> + Send + 'static,
    ) -> Result<(), Failed> {
        let protocol = self.session.protocol;
        let context = self.context.clone();
        let (args, mut buffer) = (std::mem::take(&mut self.args), self.output.lend());
        let before = buffer.len();
        let task = move || -> (Vec<Bytes>, BytesMut, Result<Option<String>, ReadError>) {
            let failure = work(&context, &args).map(|outcome| {
                let reply = outcome.unwrap_or_else(|error| error_reply(&error));
                reply.write(protocol, &mut buffer);
                if let Reply::Error(text) = reply { Some(text.into_owned()) } else { None }
            });
            (args, buffer, failure)
        };
        // A panic took the buffer with it, so the order of replies is lost: the connection ends.
        let lost = |error: JoinError| {
            if error.is_panic() { CloseReason::Panicked } else { CloseReason::Stopping }
        };
        let (args, mut buffer, failure) = tokio::task::spawn_blocking(task).await.map_err(lost)?;
        self.args = args;
        // CLIENT REPLY OFF and SKIP: the client wants no reply.
        if failure.is_ok() && !self.session.end_command() {
            buffer.truncate(before);
        }
        self.output.restore(buffer);
        let failure = failure.map_err(|error| self.no_read(slot, &error))?;
        self.count(call.position, 1);
        if let Some(text) = failure {
            self.stats.count_failure(&self.context.stats, call.position, &text);
        }
        Ok(())
    }

    /// The right to read on the blocking pool, for which others may be waiting too. A connection
    /// that is killed does not wait on.
    async fn permit<'c>(&self, context: &'c Context) -> Result<SemaphorePermit<'c>, CloseReason> {
        let mut turn = pin!(context.blocking_reads.acquire());
        poll_fn(|cx| {
            if self.client.poll_closing(cx.waker()) && self.client.is_killed() {
                return Poll::Ready(Err(CloseReason::Killed));
            }
            turn.as_mut().poll(cx).map_err(|_closed| CloseReason::Stopping)
        })
        .await
    }
}

/// Where a read goes.
enum Routed {
    One(Part),
    Every(Vec<Destination>, Merge),
}

/// The part of a read that concerns one Region.
struct Part {
    destination: Destination,
    slots: SlotRange,
    slot: u16,
    next_slot: Option<u16>,
}

impl Part {
    fn new(place: &Place<'_>) -> Part {
        let Place { destination, slots, slot, next_slot } = place;
        Part {
            destination: (*destination).clone(),
            slots: *slots,
            slot: *slot,
            next_slot: *next_slot,
        }
    }

    /// All of a Region.
    fn whole(destination: Destination) -> Part {
        let slots = destination.descriptor.slots;
        Part { destination, slots, slot: slots.start, next_slot: None }
    }

    /// Asks the Region for permission to read it.
    async fn ask(self, seed: u64) -> Result<RegionRead, ReadError> {
        let Part { destination: Destination { region, descriptor }, slots, slot, next_slot } = self;
        let point = region.read_index(descriptor.epoch).await?;
        Ok(RegionRead { region, point, slots, slot, next_slot, seed })
    }
}

/// A read of one Region that may happen now.
struct RegionRead {
    region: Arc<Region<RedisMachine>>,
    point: ReadPoint,
    slots: SlotRange,
    slot: u16,
    next_slot: Option<u16>,
    seed: u64,
}

impl RegionRead {
    /// Goes on after a wait.
    fn renew(&mut self) {
        self.region.renew(&mut self.point);
    }

    /// Runs a handler that looks up one record, on the newest state.
    fn run_latest(
        &self,
        context: &Context,
        handler: ReadHandler,
        args: &Args,
    ) -> Result<Outcome, ReadError> {
        self.region
            .read_latest(&self.point, |read, now| handler(&self.view(context, read, now), args))
    }

    /// Runs a handler on one state for all that it reads.
    fn run(
        &self,
        context: &Context,
        handler: ReadHandler,
        args: &Args,
    ) -> Result<Outcome, ReadError> {
        self.region
            .read_snapshot(&self.point, |read, now| handler(&self.view(context, read, now), args))
    }

    /// Runs a handler on what is in memory, within [`BUDGET`]; `None` if that was not enough. Also
    /// returns how many rows were read, which take their time in any case.
    fn run_budgeted(
        &self,
        context: &Context,
        handler: ReadHandler,
        args: &Args,
    ) -> Result<(Option<Outcome>, u32), ReadError> {
        self.region.read_budgeted(&self.point, BUDGET, |read, now| {
            let outcome = handler(&self.view(context, read, now), args);
            ((!read.is_spent()).then_some(outcome), read.rows_read())
        })
    }

    fn view<'a>(&self, context: &'a Context, read: &'a dyn Read, now_ms: u64) -> View<'a> {
        View::new(ViewSource {
            read,
            now_ms,
            namespace: NAMESPACE,
            slots: self.slots,
            next_slot: self.next_slot,
            seed: self.seed,
            cursors: Some(&context.cursors),
            max_reply_bytes: context.max_reply_bytes(),
        })
    }
}
