//! Reads: when they happen, on which threads, and over which Regions.
//!
//! ```text
//!             ┌─ Snapshot ───────────────────────────────────────► here
//!             ├─ Latest ── one look-up? ── yes ──────────────────► here
//!             │              no: a string in chunks, as Budgeted
//! route ─ read┼─ Budgeted ── within the budget, in memory? ─ yes ─► here
//!  point      │                    no: discarded, again ───┐
//!             └─ Blocking ─────────────────────────────────┴────► blocking pool, a few at a time
//! ```
//!
//! A Region with several voters asks its majority before it permits a read. The connection waits
//! for the permission before it waits for a place on the blocking pool, so a Region without its
//! majority takes no place from other reads. All Regions of a read are asked at the same time.
//!
//! A Region without its majority refuses the read at its deadline, and the client gets TRYAGAIN.
//! CLIENT KILL ends the wait at once, and so does a connection that breaks.
//!
//! A read over several Regions runs on the blocking pool, one Region after the other, and its
//! replies become one. Each part sees its own Region at one instant; there is no instant that all
//! share, as there is none in a cluster of Redis.
//!
//! Only the Region reads rows. It compares its shape after the read with its shape before: if it
//! was split meanwhile, the result is discarded and the read starts again.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Read, ReadBudget};
use neokv_raftstore::{ReadError, ReadPoint, Region};
use neokv_resp::Reply;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinError;
use tokio::time::Instant;

use super::Context;
use super::connection::{CloseReason, Connection};
use super::dispatch::Call;
use super::pipeline::error_reply;
use super::routing::{Destination, Failed, NoRoute, Place, Route, read_refused};
use crate::command::declare::{Merge, ReadHandler, ReadMode};
use crate::command::{Args, CommandResult};
use crate::error::CommandError;
use crate::host::Host;
use crate::keyspace::reply_limit::reply_bytes;
use crate::keyspace::{Latest, NAMESPACE, View, ViewSource};
use crate::machine::RedisMachine;

/// The most that a budgeted read may read on the connection's thread, which other connections
/// share.
const BUDGET: ReadBudget = ReadBudget { rows: 1024, bytes: 256 << 10 };

/// After reading so many rows, a connection yields its thread to the others.
const ROWS_PER_TURN: u32 = 4096;

/// Why a Region does not permit a read, with the slot of the read, for MOVED.
type NotPermitted = (u16, ReadError);

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
                // Another node serves it, or none does. The client is told at once.
                Err(Failed::NoRoute(NoRoute::Refused(reply))) => {
                    self.router.forget();
                    self.redirect(call, &reply);
                    return Ok(());
                }
                Err(Failed::NoRoute(NoRoute::NotYet(reply))) => reply,
            };
            // Its Region was split, is about to serve, or has no majority: after a pause it is
            // looked up again.
            self.router.forget();
            if self.client.is_killed() {
                return Err(CloseReason::Killed);
            }
            if !self.wait.pause().await {
                // The batch has waited long enough.
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
        let part = match self.route(call)? {
            Routed::One(part) => part,
            Routed::Every(regions, merge) => {
                return self.read_every(call, handler, regions, merge).await;
            }
        };
        let read = self.permitted(part).await?;
        if mode == ReadMode::Blocking {
            return self.read_blocking(call, handler, read).await;
        }
        let ran = read.run(mode, &self.context, handler, &self.args);
        let Ran { outcome, rows } = ran.map_err(|error| self.no_read(read.slot, &error))?;
        self.rows_read += rows;
        match outcome {
            Some(outcome) => self.answer(call, outcome),
            // The budget was not enough.
            None => self.read_blocking(call, handler, read).await?,
        }
        if self.rows_read >= ROWS_PER_TURN {
            self.rows_read = 0;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Where the read in `args` goes.
    fn route(&mut self, call: Call) -> Result<Routed, NoRoute> {
        let access = self.access();
        Ok(match self.router.route(&self.context, call.command, &self.args, access)? {
            Route::One(place) => Routed::One(RoutedRead::new(&place)),
            Route::Every(regions, merge) => Routed::Every(regions, merge),
        })
    }

    /// Permission to read a Region as of now: at once where its replica is the only voter, else
    /// confirmed by a majority.
    async fn permitted(&mut self, part: RoutedRead) -> Result<RegionRead, Failed> {
        let asking = self.ask(part);
        let asked = self.wait_for_permission(asking).await?;
        Ok(asked.map_err(|(slot, error)| self.no_read(slot, &error))?)
    }

    /// Asks a Region for permission to read it, unless it is not asked again in this batch.
    fn ask(
        &mut self,
        part: RoutedRead,
    ) -> impl Future<Output = Result<RegionRead, NotPermitted>> + use<> {
        let refused = self.wait.unready(part.destination.descriptor.id).cloned();
        let (slot, seed) = (part.slot, self.session.seed());
        async move {
            match refused {
                Some(error) => Err((slot, error)),
                None => part.ask(seed).await.map_err(|error| (slot, error)),
            }
        }
    }

    /// Waits until Regions have answered, and notes how long they took if they refused.
    async fn wait_for_permission<T>(
        &mut self,
        asking: impl Future<Output = Result<T, NotPermitted>>,
    ) -> Result<Result<T, NotPermitted>, CloseReason> {
        let began = Instant::now();
        let asked = self.while_open(asking).await?;
        if let Err((_, error)) = &asked {
            self.wait.refused(began.elapsed(), error);
        }
        Ok(asked)
    }

    /// What follows from a read that is not possible, or whose result does not count.
    fn no_read(&self, slot: u16, error: &ReadError) -> NoRoute {
        let reply = read_refused(&*self.context.topology, slot, error);
        match error {
            // That may be over soon.
            ReadError::StaleEpoch { .. } | ReadError::NotReady { .. } => NoRoute::NotYet(reply),
            // Another node leads the Region, or it has stopped.
            _ => NoRoute::Refused(reply),
        }
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
        // Time has passed since the Region permitted the read, so the read sees newer rows, and
        // decides expiry by a later instant. If the Region has changed meanwhile, it says so
        // afterwards.
        read.renew();
        let slot = read.slot;
        let work =
            move |context: &Context, args: &Args| read.run_on_snapshot(context, handler, args);
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
        // All Regions are asked before the first answer is waited for.
        let asking =
            regions.into_iter().map(|destination| self.ask(RoutedRead::whole(destination)));
        let asking = join_all(asking);
        let asking = async { asking.await.into_iter().collect() };
        let reads = self.wait_for_permission(asking).await?;
        // A Region that this node has just ceased to lead is left out next time.
        let mut reads: Vec<RegionRead> =
            reads.map_err(|(slot, error)| self.no_read(slot, &error).again())?;
        let context = self.context.clone();
        let _permit = self.permit(&context).await?;
        reads.iter_mut().for_each(RegionRead::renew);
        let seed = self.session.seed();
        self.on_blocking_pool(call, 0, move |context, args| {
            // All replies together may be as large as one reply may be.
            let (mut replies, mut bytes) = (Vec::with_capacity(reads.len()), 0);
            for read in reads {
                let reply = match read.run_on_snapshot(context, handler, args)? {
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
    /// too, into the output buffer, behind the replies that wait to be sent. `slot` is for MOVED.
    async fn on_blocking_pool(
        &mut self,
        call: Call,
        slot: u16,
        work: impl FnOnce(&Context, &Args) -> Result<CommandResult, ReadError> + Send + 'static,
    ) -> Result<(), Failed> {
        let protocol = self.session.protocol;
        let context = self.context.clone();
        let (args, mut buffer) = (std::mem::take(&mut self.args), self.output.lend());
        let before = buffer.len();
        // Arguments and output buffer go to the other thread and come back with the outcome.
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
        // After CLIENT REPLY OFF or SKIP the client wants no reply. A read that has to run again
        // has written none.
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

    /// Waits for a place on the blocking pool, behind those that asked for one before.
    async fn permit<'c>(&self, context: &'c Context) -> Result<SemaphorePermit<'c>, CloseReason> {
        let permit = self.while_open(context.blocking_reads.acquire()).await?;
        permit.map_err(|_closed| CloseReason::Stopping)
    }
}

/// Where a read goes.
enum Routed {
    One(RoutedRead),
    Every(Vec<Destination>, Merge),
}

/// The part of a read that concerns one Region.
struct RoutedRead {
    destination: Destination,
    slots: SlotRange,
    slot: u16,
    next_slot: Option<u16>,
}

impl RoutedRead {
    fn new(place: &Place<'_>) -> RoutedRead {
        let Place { destination, slots, slot, next_slot } = place;
        RoutedRead {
            destination: (*destination).clone(),
            slots: *slots,
            slot: *slot,
            next_slot: *next_slot,
        }
    }

    /// All of a Region.
    fn whole(destination: Destination) -> RoutedRead {
        let slots = destination.descriptor.slots;
        RoutedRead { destination, slots, slot: slots.start, next_slot: None }
    }

    /// Asks the Region for permission to read it.
    async fn ask(self, seed: u64) -> Result<RegionRead, ReadError> {
        let RoutedRead { destination: Destination { region, descriptor }, slots, slot, next_slot } =
            self;
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

/// What came of a handler that ran on a connection's thread.
struct Ran {
    /// Its outcome. `None`: its budget was not enough, so it has to run again.
    outcome: Option<CommandResult>,
    /// The rows that a budgeted read has read; they took time even if there is no outcome.
    rows: u32,
}

impl RegionRead {
    /// Brings the instant of the read up to date, after a wait.
    fn renew(&mut self) {
        self.region.renew(&mut self.point);
    }

    /// Runs a handler here, on the rows that its mode names.
    fn run(
        &self,
        mode: ReadMode,
        context: &Context,
        handler: ReadHandler,
        args: &Args,
    ) -> Result<Ran, ReadError> {
        match mode {
            // One look-up: the newest state is one state. A string in chunks takes more.
            ReadMode::Latest => {
                let outcome = self.region.read_latest(&self.point, |read, now| {
                    let latest = Latest::new(read);
                    let outcome = handler(&self.view(context, &latest, now), args);
                    (!latest.has_refused()).then_some(outcome)
                })?;
                match outcome {
                    Some(outcome) => Ok(Ran { outcome: Some(outcome), rows: 0 }),
                    None => self.run(ReadMode::Budgeted, context, handler, args),
                }
            }
            // Only what is in memory, and not more than the budget.
            ReadMode::Budgeted => self.region.read_budgeted(&self.point, BUDGET, |read, now| {
                let outcome = handler(&self.view(context, read, now), args);
                Ran { outcome: (!read.is_spent()).then_some(outcome), rows: read.rows_read() }
            }),
            ReadMode::Snapshot | ReadMode::Blocking => {
                let outcome = self.run_on_snapshot(context, handler, args)?;
                Ok(Ran { outcome: Some(outcome), rows: 0 })
            }
        }
    }

    /// Runs a handler on one state for all that it reads.
    fn run_on_snapshot(
        &self,
        context: &Context,
        handler: ReadHandler,
        args: &Args,
    ) -> Result<CommandResult, ReadError> {
        self.region
            .read_snapshot(&self.point, |read, now| handler(&self.view(context, read, now), args))
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
