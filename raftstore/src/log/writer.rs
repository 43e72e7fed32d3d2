//! The one thread that writes the logs of all groups.
//!
//! # When it wakes
//!
//! A task that queues entries for a writer that sleeps does not wake it at once: other groups may
//! have something to append as well. It leaves that to a task of its own, which runs when the
//! tasks that are ready now have run. So all groups that have work at the same time share one batch
//! and one sync, and nothing waits for a timer. A writer that is awake takes what has come since.
//! Votes and barriers wake it at once. In a store that stands alone that task may write itself
//! what is short ([`stand_in`]).
//!
//! # When a write fails
//!
//! * **A write finds no space**: nothing of the batch was acknowledged, so the thread keeps it,
//!   reports the store as stalled (which refuses new writes and answers those in flight with
//!   *outcome unknown*), and tries again until there is room. Reads go on. When the store stops
//!   meanwhile, every waiting caller is told that the write failed, and nothing more is written:
//!   operations queued behind the batch must not reach the disk without it.
//! * **A sync fails**, for whatever reason, a full disk included: the state of the file is unknown.
//!   The kernel may have dropped the pages that could not be written, and the next fsync would
//!   succeed without them. So the [`fatal`](crate::Config::fatal) hook is called, which ends the
//!   process; the next start recovers what is really on the disk. There is no retry.
//! * **A write fails for another reason, or the thread panics**: the same.
//!
//! # What is synced
//!
//! Votes always. Appends with [`SyncMode::Always`], and in every mode where the group has other
//! voters: they count this replica's copy of an entry as one of the majority's, and it must still
//! be there after a power loss. The relaxed modes are for lone voters.

mod stand_in;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind};
use neokv_engine::{Durability, Engine, EngineError, LogBatch};
use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use self::stand_in::StandIn;
use super::group::{AppendTicket, GroupLog};
use crate::config::{FatalError, FatalHook, SyncMode};
use crate::error::StoreError;
use crate::mailbox::{Inbox, Mailbox, Taken, mailbox};
use crate::metrics;
use crate::panics;
use crate::space::{MayBeFull, SpaceAlarm};
use crate::types::{Entry, LogId, TypeConfig, Vote, entry_out, entry_weight, log_id_out, vote_out};

/// Most bytes of entries in one batch.
const BATCH_BYTES: usize = 8 << 20;
/// Most operations in one batch.
const BATCH_OPS: usize = 4096;
/// Interval of syncs with [`SyncMode::EverySecond`].
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// One queued write.
pub(crate) enum Op {
    /// Entries of one group, consecutive, and what [`GroupLog::push`] said of them.
    Append {
        log: Arc<GroupLog>,
        ticket: AppendTicket,
        entries: Vec<Entry>,
        done: IOFlushed<TypeConfig>,
    },
    /// A vote.
    Vote { log: Arc<GroupLog>, vote: Vote, done: oneshot::Sender<io::Result<()>> },
    /// Remove the entries from `from` on.
    Truncate { region: u64, from: u64 },
    /// Remove the entries `first..=upto`, and remember `upto`.
    Purge { region: u64, first: u64, upto: LogId },
    /// Nothing: tells when everything before it is written, or written and synced.
    Barrier { synced: bool, done: oneshot::Sender<io::Result<()>> },
}

impl Op {
    /// Whether the writer need not be woken for it at once.
    fn may_wait(&self) -> bool {
        match self {
            Op::Append { .. } | Op::Truncate { .. } | Op::Purge { .. } => true,
            Op::Vote { .. } | Op::Barrier { .. } => false,
        }
    }
}

/// The way to the thread. Cloned into every group's log store.
#[derive(Clone)]
pub(crate) struct LogWriter(Arc<Shared>);

struct Shared {
    mode: RunMode,
    stopping: Arc<AtomicBool>,
}

/// How operations get written.
enum RunMode {
    /// By a thread that takes them from a mailbox.
    Thread {
        queue: Mailbox<Op>,
        /// Locked while a batch is written.
        batcher: Arc<Mutex<Batcher>>,
        thread: Mutex<Option<JoinHandle<()>>>,
    },
    /// By the caller, one at a time: for tests that step through a history.
    Inline(Mutex<Batcher>),
}

/// What the writer is made from.
pub(crate) struct WriterParts {
    pub(crate) engine: Engine,
    pub(crate) sync: SyncMode,
    /// See [`Config::stands_alone`](crate::Config::stands_alone).
    pub(crate) stands_alone: bool,
    pub(crate) fatal: FatalHook,
    pub(crate) space: Arc<SpaceAlarm>,
}

impl LogWriter {
    /// Starts the thread.
    pub(crate) fn start(parts: WriterParts) -> Result<LogWriter, StoreError> {
        let disk = Box::new(parts.engine.clone());
        Self::start_on(disk, parts)
    }

    /// Starts the thread; it writes to `disk`.
    fn start_on(disk: Box<dyn Disk>, parts: WriterParts) -> Result<LogWriter, StoreError> {
        let (queue, inbox) = mailbox();
        let stopping = Arc::new(AtomicBool::new(false));
        let fatal = Arc::clone(&parts.fatal);
        let batcher = Batcher::new(disk, parts, Arc::clone(&stopping));
        let batcher = Arc::new(Mutex::new(batcher));
        let of_thread = Arc::clone(&batcher);
        let thread = thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || {
                // Without this thread nothing becomes durable, so the process must not go on.
                if let Err(cause) = panics::catch(|| run(&of_thread, &inbox)) {
                    fatal(&FatalError { what: "the log writer panicked", cause });
                }
            })
            .map_err(|source| StoreError::Io { what: "starting the log writer".into(), source })?;
        let mode = RunMode::Thread { queue, batcher, thread: Mutex::new(Some(thread)) };
        Ok(LogWriter(Arc::new(Shared { mode, stopping })))
    }

    /// A writer without a thread: every operation is written when it is submitted.
    pub(crate) fn inline(parts: WriterParts) -> LogWriter {
        let stopping = Arc::new(AtomicBool::new(false));
        let batcher = Batcher::new(Box::new(parts.engine.clone()), parts, Arc::clone(&stopping));
        LogWriter(Arc::new(Shared { mode: RunMode::Inline(Mutex::new(batcher)), stopping }))
    }

    /// Queues a write. See the module for when the writer wakes.
    pub(crate) fn submit(&self, op: Op) -> io::Result<()> {
        match (&self.0.mode, Handle::try_current()) {
            (RunMode::Inline(batcher), _) => batcher.lock().write_all(&mut vec![op]),
            (RunMode::Thread { queue, .. }, Ok(runtime)) if op.may_wait() => {
                if queue.leave(op).map_err(|_| stopped())? {
                    let stand_in = StandIn::new(self.clone());
                    runtime.spawn(async move {
                        tokio::task::yield_now().await;
                        stand_in.work();
                    });
                }
            }
            (RunMode::Thread { queue, .. }, _) => queue.send(op).map_err(|_| stopped())?,
        }
        Ok(())
    }

    /// Waits until everything that was submitted before is written.
    pub(crate) async fn barrier(&self) -> io::Result<()> {
        self.wait_for(false).await
    }

    /// Waits until everything that was written to the engine before, by this writer or not, is
    /// durable.
    pub(crate) async fn synced_barrier(&self) -> io::Result<()> {
        self.wait_for(true).await
    }

    async fn wait_for(&self, synced: bool) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.submit(Op::Barrier { synced, done })?;
        wait.await.map_err(|_| stopped())?
    }

    /// The store is about to stop: from now on no thread waits for space. Whatever can be written
    /// is still written.
    pub(crate) fn stop_waiting(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Writes and syncs what is queued, then ends the thread. While the disk is full it ends
    /// without having written: nothing of the queue was acknowledged.
    pub(crate) fn stop(&self) {
        self.stop_waiting();
        match &self.0.mode {
            RunMode::Thread { queue, thread, .. } => {
                queue.close();
                if let Some(thread) = thread.lock().take() {
                    let _ = thread.join();
                }
            }
            RunMode::Inline(batcher) => batcher.lock().end(),
        }
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log writer has stopped")
}

/// Where batches are written: the engine, or in tests a disk that fails when it is told to.
trait Disk: Send {
    /// Writes a batch, without syncing it.
    fn write(&self, batch: LogBatch) -> Result<(), EngineError>;

    /// Whether the disk takes writes, by what is known; tries to go on after it was full.
    fn resume(&self) -> Result<(), EngineError>;

    /// Makes durable what was written.
    fn sync(&self) -> Result<(), EngineError>;
}

impl Disk for Engine {
    fn write(&self, batch: LogBatch) -> Result<(), EngineError> {
        self.write_log(batch, Durability::Buffered)
    }

    fn resume(&self) -> Result<(), EngineError> {
        Engine::resume(self)
    }

    fn sync(&self) -> Result<(), EngineError> {
        Engine::sync(self)
    }
}

/// What the thread does.
fn run(batcher: &Mutex<Batcher>, inbox: &Inbox<Op>) {
    let mut queued = VecDeque::new();
    let mut ops = Vec::new();
    loop {
        if queued.is_empty() {
            // Nothing to write: sleep until there is, or until a sync is due.
            let until_sync = batcher.lock().until_sync();
            match inbox.take(&mut queued, until_sync) {
                Taken::Items => {}
                Taken::Timeout => {
                    batcher.lock().sync();
                    continue;
                }
                Taken::Closed => return batcher.lock().end(),
            }
        } else {
            inbox.take_waiting(&mut queued);
        }
        fill(&mut ops, &mut queued);
        batcher.lock().write_all(&mut ops);
    }
}

/// Moves operations for one batch over.
fn fill(ops: &mut Vec<Op>, queued: &mut VecDeque<Op>) {
    let mut bytes = 0;
    while ops.len() < BATCH_OPS && bytes < BATCH_BYTES {
        let Some(op) = queued.pop_front() else { break };
        bytes += weight(&op);
        ops.push(op);
    }
}

/// Turns operations into batches, writes and syncs them, and tells their callers.
struct Batcher {
    disk: Box<dyn Disk>,
    parts: WriterParts,
    stopping: Arc<AtomicBool>,
    /// Since when something is written but not synced.
    unsynced: Option<Instant>,
    /// Why nothing more is written.
    failed: Option<String>,
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// Nothing of the batch counts as written.
    #[error(transparent)]
    Write(EngineError),
    /// The batch is written, and how much of it is on the disk is unknown.
    #[error(transparent)]
    Sync(EngineError),
    #[error("the disk is full and the store is stopping")]
    Stopping,
}

impl MayBeFull for WriteError {
    fn is_full(&self) -> bool {
        matches!(self, WriteError::Write(error) if error.is_full())
    }
}

impl Batcher {
    fn new(disk: Box<dyn Disk>, parts: WriterParts, stopping: Arc<AtomicBool>) -> Batcher {
        Batcher { disk, parts, stopping, unsynced: None, failed: None }
    }

    /// How long to wait for work: until a sync is due.
    fn until_sync(&self) -> Option<Duration> {
        let since = self.unsynced.filter(|_| self.parts.sync == SyncMode::EverySecond)?;
        Some(SYNC_INTERVAL.saturating_sub(since.elapsed()))
    }

    /// Writes the operations as one batch and tells everybody, in order.
    fn write_all(&mut self, ops: &mut Vec<Op>) {
        let outcome = self.write(ops);
        for op in ops.drain(..) {
            complete(op, &outcome);
        }
    }

    /// Writes the batch; on a full disk until it succeeds.
    fn write(&mut self, ops: &[Op]) -> Result<(), String> {
        if let Some(why) = &self.failed {
            return Err(why.clone());
        }
        let (space, engine) = (Arc::clone(&self.parts.space), self.parts.engine.clone());
        let stopping = Arc::clone(&self.stopping);
        let give_up = || stopping.load(Ordering::Acquire).then_some(WriteError::Stopping);
        match space.retry(&engine, "the log", give_up, || self.write_once(ops)) {
            Ok(()) => Ok(()),
            Err(WriteError::Write(error)) => Err(self.fail("writing the log", &error)),
            Err(WriteError::Sync(error)) => Err(self.fail("syncing the log", &error)),
            // A later batch that finds room again must not be written: it would follow entries
            // that were given up, and leave a hole in a log or forget a truncation.
            Err(stopping @ WriteError::Stopping) => {
                Err(self.failed.insert(stopping.to_string()).clone())
            }
        }
    }

    fn write_once(&mut self, ops: &[Op]) -> Result<(), WriteError> {
        let mut batch = self.parts.engine.log_batch();
        let overdue = self.parts.sync == SyncMode::EverySecond
            && self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL);
        let mut must_sync = overdue;
        for op in ops {
            add(&mut batch, op);
            must_sync |= self.syncs(op);
        }
        let started = Instant::now();
        self.disk.write(batch).map_err(WriteError::Write)?;
        self.unsynced = self.unsynced.or(Some(started));
        if must_sync {
            // A disk that is known to be full refuses before it syncs, which is no failed sync.
            self.disk.resume().map_err(WriteError::Write)?;
            self.disk.sync().map_err(WriteError::Sync)?;
            self.unsynced = None;
        }
        metrics::log_write(started.elapsed(), ops.len());
        Ok(())
    }

    /// Whether this operation must be durable before it is answered.
    fn syncs(&self, op: &Op) -> bool {
        match op {
            Op::Vote { .. } => true,
            Op::Append { log, .. } => {
                self.parts.sync == SyncMode::Always || !log.published().sole()
            }
            Op::Barrier { synced, .. } => *synced,
            Op::Truncate { .. } | Op::Purge { .. } => false,
        }
    }

    /// A sync of its own: the second is over, or the writer ends.
    fn sync(&mut self) {
        if let Err(error) = self.disk.resume() {
            tracing::warn!(%error, "the sync of the log waits for space");
            // What is written stays unsynced; the next attempt is a second away.
            self.unsynced = Some(Instant::now());
            return;
        }
        match self.disk.sync() {
            Ok(()) => self.unsynced = None,
            Err(error) => drop(self.fail("syncing the log", &error)),
        }
    }

    /// The last sync.
    fn end(&mut self) {
        if self.unsynced.is_some() {
            self.sync();
        }
    }

    /// Reports a failure after which the process must not go on; returns what to tell those who
    /// wait, should it go on all the same.
    fn fail(&mut self, what: &'static str, error: &EngineError) -> String {
        let cause = error.to_string();
        (self.parts.fatal)(&FatalError { what, cause: cause.clone() });
        let why = format!("{what}: {cause}");
        // Nothing more is tried, not even the last sync.
        self.unsynced = None;
        self.failed = Some(why.clone());
        why
    }
}

/// Tells the caller of an operation what became of it.
fn complete(op: Op, outcome: &Result<(), String>) {
    let answer = outcome.clone().map_err(io::Error::other);
    match op {
        Op::Append { log, ticket, entries, done } => {
            if let (Ok(()), Some(last)) = (outcome, entries.last()) {
                log.mark_stored(ticket.generation, last.log_id.index + 1);
            }
            done.io_completed(answer);
        }
        Op::Vote { log, vote, done } => {
            if outcome.is_ok() {
                log.voted(vote);
            }
            let _ = done.send(answer);
        }
        Op::Barrier { done, .. } => {
            let _ = done.send(answer);
        }
        Op::Truncate { .. } | Op::Purge { .. } => {}
    }
}

/// Adds an operation to the batch.
fn add(batch: &mut LogBatch, op: &Op) {
    match op {
        Op::Append { log, ticket, entries, .. } => {
            let region = log.region();
            for entry in entries {
                let key = key::raft_log(region, entry.log_id.index);
                batch.put(Family::RaftLog, key, entry_out(entry).encode());
            }
            if let Some(committed) = &ticket.committed {
                put_log_id(batch, region, RaftStateKind::Committed, committed);
            }
        }
        Op::Vote { log, vote, .. } => {
            let key = key::raft_state(log.region(), RaftStateKind::Vote);
            batch.put(Family::RaftState, key, vote_out(vote).encode());
        }
        Op::Truncate { region, from } => {
            let (start, end) = (key::raft_log(*region, *from), key::raft_log(*region, u64::MAX));
            batch.delete_range(Family::RaftLog, start, end);
        }
        Op::Purge { region, first, upto } => {
            put_log_id(batch, *region, RaftStateKind::Purged, upto);
            let end = upto.index + 1;
            if *first < end {
                let (start, end) = (key::raft_log(*region, *first), key::raft_log(*region, end));
                batch.delete_range(Family::RaftLog, start, end);
            }
        }
        Op::Barrier { .. } => {}
    }
}

fn put_log_id(batch: &mut LogBatch, region: u64, kind: RaftStateKind, id: &LogId) {
    batch.put(Family::RaftState, key::raft_state(region, kind), log_id_out(id).encode());
}

fn weight(op: &Op) -> usize {
    match op {
        Op::Append { entries, .. } => entries.iter().map(entry_weight).sum(),
        _ => 64,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt;
    use neokv_encoding::region::Epoch;
    use neokv_engine::Options;
    use openraft::EntryPayload;
    use openraft::type_config::TypeConfigExt;

    use super::*;
    use crate::log::group::TailLimits;
    use crate::log::tail::TailBudget;
    use crate::published::{Published, StartPoint};
    use crate::types::{Data, log_id, vote_in};

    struct Fixture {
        engine: Engine,
        writer: LogWriter,
        logs: Vec<Arc<GroupLog>>,
        _dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new(sync: SyncMode) -> Fixture {
            Fixture::on(sync, LogWriter::start)
        }

        fn on(
            sync: SyncMode,
            start: impl FnOnce(WriterParts) -> Result<LogWriter, StoreError>,
        ) -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(&dir.path().join("db"), &Options::default()).unwrap();
            let fatal: FatalHook = Arc::new(|error| panic!("{error}"));
            let space = SpaceAlarm::new(|_| {});
            let stands_alone = false;
            let parts = WriterParts { engine: engine.clone(), sync, stands_alone, fatal, space };
            let writer = start(parts).unwrap();
            let logs = (1..=3).map(|region| Arc::new(open(&engine, region))).collect();
            Fixture { engine, writer, logs, _dir: dir }
        }

        /// Queues one entry; the future is ready when it is said to be durable.
        fn append(
            &self,
            group: usize,
            index: u64,
        ) -> impl Future<Output = io::Result<()>> + Unpin + use<> {
            self.append_of(100, group, index)
        }

        /// The same with an entry of so many bytes.
        fn append_of(
            &self,
            bytes: usize,
            group: usize,
            index: u64,
        ) -> impl Future<Output = io::Result<()>> + Unpin + use<> {
            let command = bytes::Bytes::from(vec![7; bytes]);
            let payload = EntryPayload::Normal(Data::Command { epoch: Epoch::default(), command });
            let entries = vec![Entry { log_id: log_id(1, index), payload }];
            let log = Arc::clone(&self.logs[group]);
            let ticket = log.push(&entries);
            let (sender, receiver) = TypeConfig::oneshot();
            self.writer
                .submit(Op::Append { log, ticket, entries, done: IOFlushed::signal(sender) })
                .unwrap();
            receiver.map(|answer| answer.unwrap())
        }
    }

    fn open_with(engine: &Engine, region: u64, tail_bytes: usize) -> GroupLog {
        let start = StartPoint { term: 0, index: 0, clock: 0, sole: true };
        let published = Arc::new(Published::new(start, |_| {}));
        let limits = TailLimits { bytes: tail_bytes, budget: TailBudget::new(1 << 20) };
        GroupLog::open(engine, region, 1, limits, published).unwrap()
    }

    fn open(engine: &Engine, region: u64) -> GroupLog {
        open_with(engine, region, 1 << 20)
    }

    #[tokio::test]
    async fn appends_of_all_groups_complete_in_the_order_in_which_they_were_queued() {
        let fixture = Fixture::new(SyncMode::Always);
        let mut waiting: Vec<_> =
            (0..300u64).map(|n| fixture.append((n % 3) as usize, n / 3)).collect();
        waiting.pop().unwrap().await.unwrap();
        for earlier in waiting {
            let earlier = tokio::task::unconstrained(earlier);
            assert!(
                earlier.now_or_never().is_some(),
                "an earlier append must have completed before"
            );
        }
        for region in 1..=3 {
            assert!(
                fixture.engine.get(Family::RaftLog, &key::raft_log(region, 99)).unwrap().is_some()
            );
            assert_eq!(open(&fixture.engine, region).ends().1, Some(log_id(1, 99)));
        }
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn what_is_queued_at_the_stop_is_written() {
        for sync in [SyncMode::Always, SyncMode::EverySecond, SyncMode::Never] {
            let fixture = Fixture::new(sync);
            let waiting: Vec<_> = (0..50).map(|index| fixture.append(0, index)).collect();
            fixture.writer.stop();
            for append in waiting {
                append.await.unwrap();
            }
            assert_eq!(open(&fixture.engine, 1).ends().1, Some(log_id(1, 49)));
            let refused = fixture.writer.submit(Op::Truncate { region: 1, from: 100 });
            assert!(refused.is_err(), "after the stop nothing is taken");
        }
    }

    #[tokio::test]
    async fn a_vote_is_on_disk_before_it_is_answered_and_truncation_keeps_its_place() {
        let fixture = Fixture::new(SyncMode::Never);
        let log = &fixture.logs[0];
        for index in 0..10 {
            drop(fixture.append(0, index));
        }
        let from = log.truncate(Some(log_id(1, 4)));
        fixture.writer.submit(Op::Truncate { region: 1, from }).unwrap();
        let last = fixture.append(0, 5);
        let vote = vote_in(neokv_encoding::raft::Vote { term: 9, node: Some(1), committed: false });
        let (done, wait) = oneshot::channel();
        fixture.writer.submit(Op::Vote { log: Arc::clone(log), vote, done }).unwrap();
        wait.await.unwrap().unwrap();
        assert!(last.now_or_never().is_some());
        let reopened = open(&fixture.engine, 1);
        assert_eq!((reopened.vote(), reopened.ends().1), (Some(vote), Some(log_id(1, 5))));
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn entries_are_read_from_memory_and_engine_as_one_log() {
        let fixture = Fixture::new(SyncMode::Never);
        let small = Arc::new(open_with(&fixture.engine, 9, 1000));
        let fixture = Fixture { logs: vec![small], ..fixture };
        for index in 6..106 {
            fixture.append(0, index).await.unwrap();
        }
        let read = |start, end, limit| fixture.logs[0].read(start, end, limit);
        let indexes = |entries: Vec<Entry>| {
            entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>()
        };
        assert_eq!(indexes(read(0, 1000, usize::MAX).await.unwrap()), (6..106).collect::<Vec<_>>());
        assert_eq!(indexes(read(50, 53, usize::MAX).await.unwrap()), [50, 51, 52]);
        assert_eq!(indexes(read(90, 1000, 300).await.unwrap()), [90, 91], "164 bytes each");
        assert_eq!(indexes(read(104, 106, usize::MAX).await.unwrap()), [104, 105]);
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn the_committed_position_is_never_ahead_of_the_entries_on_disk() {
        let fixture = Fixture::new(SyncMode::Always);
        let log = &fixture.logs[0];
        let entry = |index| Entry { log_id: log_id(1, index), payload: EntryPayload::Blank };
        // With two followers that are quick, entry 2 is committed while entry 1 is still written
        // here. The position must not travel with entry 1.
        let first = log.push(&[entry(1)]);
        let second = log.push(&[entry(2)]);
        log.set_committed(Some(log_id(1, 2)));
        assert_eq!((first.committed, second.committed), (None, None));
        let third = log.push(&[entry(3)]);
        assert_eq!(third.committed, Some(log_id(1, 2)), "behind the entry that it names");
        // A position that Raft learned before its entry came waits for the entry.
        log.set_committed(Some(log_id(1, 5)));
        assert_eq!(log.push(&[entry(4)]).committed, None);
        assert_eq!(log.push(&[entry(5)]).committed, Some(log_id(1, 5)));
        assert_eq!(log.push(&[entry(6)]).committed, None, "once is enough");
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn a_committed_position_without_its_entry_is_ignored() {
        let fixture = Fixture::new(SyncMode::Always);
        for index in 0..10 {
            fixture.append(0, index).await.unwrap();
        }
        for (saved, trusted) in [
            (log_id(1, 9), Some(log_id(1, 9))),
            (log_id(1, 10), None),
            (log_id(2, 9), None),
            (log_id(7, 1_000_000), None),
        ] {
            let mut batch = fixture.engine.log_batch();
            put_log_id(&mut batch, 1, RaftStateKind::Committed, &saved);
            fixture.engine.write_log(batch, Durability::Synced).unwrap();
            assert_eq!(open(&fixture.engine, 1).committed(), trusted, "{saved}");
        }
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn a_log_that_begins_behind_what_was_purged_is_damaged() {
        let fixture = Fixture::new(SyncMode::Always);
        for index in 6..20 {
            fixture.append(0, index).await.unwrap();
        }
        let open = || {
            let start = StartPoint { term: 0, index: 0, clock: 0, sole: true };
            let published = Arc::new(Published::new(start, |_| {}));
            let limits = TailLimits { bytes: 1000, budget: TailBudget::new(1000) };
            GroupLog::open(&fixture.engine, 1, 1, limits, published)
        };
        let mut batch = fixture.engine.log_batch();
        put_log_id(&mut batch, 1, RaftStateKind::Purged, &log_id(1, 5));
        fixture.engine.write_log(batch, Durability::Synced).unwrap();
        let whole = open().unwrap();
        let indexes = whole.size().1;
        assert_eq!(indexes, 14);
        let mut batch = fixture.engine.log_batch();
        put_log_id(&mut batch, 1, RaftStateKind::Purged, &log_id(1, 4));
        fixture.engine.write_log(batch, Durability::Synced).unwrap();
        let error = open().err().unwrap();
        assert!(matches!(error, StoreError::DamagedLog { region: 1, index: 5, .. }), "{error}");
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn a_log_that_says_it_ends_where_none_can_follow_is_damaged() {
        let fixture = Fixture::new(SyncMode::Always);
        fixture.writer.stop();
        let open = || {
            let start = StartPoint { term: 0, index: 0, clock: 0, sole: true };
            let published = Arc::new(Published::new(start, |_| {}));
            let limits = TailLimits { bytes: 1000, budget: TailBudget::new(1000) };
            GroupLog::open(&fixture.engine, 1, 1, limits, published).map(drop)
        };
        for (kind, what) in
            [(RaftStateKind::Purged, "purged"), (RaftStateKind::Committed, "committed")]
        {
            let mut batch = fixture.engine.log_batch();
            put_log_id(&mut batch, 1, kind, &log_id(1, u64::MAX));
            fixture.engine.write_log(batch, Durability::Synced).unwrap();
            let error = open().unwrap_err();
            assert!(
                matches!(&error, StoreError::Record { what: found, .. } if *found == what),
                "{error}"
            );
            let mut batch = fixture.engine.log_batch();
            put_log_id(&mut batch, 1, kind, &log_id(1, 5));
            fixture.engine.write_log(batch, Durability::Synced).unwrap();
        }
        let index = u64::MAX - 1;
        let entry = Entry { log_id: log_id(1, index), payload: EntryPayload::Blank };
        let mut batch = fixture.engine.log_batch();
        batch.delete(Family::RaftState, key::raft_state(1, RaftStateKind::Purged));
        batch.put(Family::RaftLog, key::raft_log(1, index), entry_out(&entry).encode());
        fixture.engine.write_log(batch, Durability::Synced).unwrap();
        let error = open().unwrap_err();
        assert!(
            matches!(&error, StoreError::Record { what, .. } if *what == "log entry"),
            "{error}"
        );
    }

    /// A disk that fails as it is told to.
    #[derive(Default)]
    struct Faults {
        /// Writes find no space while this is set.
        full: AtomicBool,
        /// The next sync fails for lack of space.
        sync_fails: AtomicBool,
        /// The next write panics.
        panics: AtomicBool,
        /// Syncs that succeeded.
        syncs: AtomicUsize,
        /// Writes that found no space.
        refused: AtomicUsize,
        /// The names of the threads that wrote.
        writers: Mutex<Vec<String>>,
    }

    struct FaultyDisk(Engine, Arc<Faults>);

    fn no_space() -> EngineError {
        EngineError::NoSpace { detail: "told to".into() }
    }

    impl Disk for FaultyDisk {
        fn write(&self, batch: LogBatch) -> Result<(), EngineError> {
            assert!(!self.1.panics.load(Ordering::SeqCst), "told to");
            if self.1.full.load(Ordering::SeqCst) {
                self.1.refused.fetch_add(1, Ordering::SeqCst);
                return Err(no_space());
            }
            self.1.writers.lock().push(thread_name());
            self.0.write_log(batch, Durability::Buffered)
        }

        fn resume(&self) -> Result<(), EngineError> {
            Ok(())
        }

        fn sync(&self) -> Result<(), EngineError> {
            if self.1.sync_fails.load(Ordering::SeqCst) {
                return Err(no_space());
            }
            self.1.syncs.fetch_add(1, Ordering::SeqCst);
            self.0.sync()
        }
    }

    fn thread_name() -> String {
        thread::current().name().unwrap_or_default().to_owned()
    }

    /// A writer on a disk with faults, and the fatal errors that it reported.
    fn faulty(sync: SyncMode) -> (Fixture, Arc<Faults>, Arc<Mutex<Vec<String>>>) {
        faulty_store(sync, false)
    }

    /// The same for a store that stands alone, or does not.
    fn faulty_store(
        sync: SyncMode,
        stands_alone: bool,
    ) -> (Fixture, Arc<Faults>, Arc<Mutex<Vec<String>>>) {
        let (faults, fatal) = (Arc::new(Faults::default()), Arc::new(Mutex::new(Vec::new())));
        let (disk, told) = (Arc::clone(&faults), Arc::clone(&fatal));
        let fixture = Fixture::on(sync, move |parts| {
            let fatal: FatalHook = Arc::new(move |error| told.lock().push(error.to_string()));
            let disk = Box::new(FaultyDisk(parts.engine.clone(), disk));
            LogWriter::start_on(disk, WriterParts { fatal, stands_alone, ..parts })
        });
        (fixture, faults, fatal)
    }

    fn wait_until(reached: impl Fn() -> bool) {
        while !reached() {
            thread::yield_now();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_waits_for_space_and_is_written_once_there_is_some() {
        let (fixture, faults, fatal) = faulty(SyncMode::Always);
        faults.full.store(true, Ordering::SeqCst);
        let waiting = fixture.append(0, 0);
        wait_until(|| faults.refused.load(Ordering::SeqCst) > 0);
        faults.full.store(false, Ordering::SeqCst);
        waiting.await.unwrap();
        assert_eq!(open(&fixture.engine, 1).ends().1, Some(log_id(1, 0)));
        assert!(fatal.lock().is_empty());
        fixture.writer.stop();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_follows_a_batch_that_was_given_up_is_not_written() {
        let (fixture, faults, fatal) = faulty(SyncMode::Always);
        fixture.append(0, 0).await.unwrap();
        faults.full.store(true, Ordering::SeqCst);
        let given_up = fixture.append(0, 1);
        wait_until(|| faults.refused.load(Ordering::SeqCst) > 0);
        fixture.writer.stop_waiting();
        given_up.await.unwrap_err();
        // There is room again, and the writer is still there.
        faults.full.store(false, Ordering::SeqCst);
        fixture.append(0, 2).await.unwrap_err();
        assert!(fixture.writer.barrier().await.is_err());
        fixture.writer.stop();
        assert_eq!(open(&fixture.engine, 1).ends().1, Some(log_id(1, 0)), "no hole");
        assert!(fatal.lock().is_empty(), "the store was stopping, which is no failure");
    }

    #[tokio::test]
    async fn a_failed_sync_is_fatal_even_for_lack_of_space() {
        let (fixture, faults, fatal) = faulty(SyncMode::Always);
        faults.sync_fails.store(true, Ordering::SeqCst);
        fixture.append(0, 0).await.unwrap_err();
        assert!(fatal.lock().concat().contains("syncing the log"), "{fatal:?}");
        faults.sync_fails.store(false, Ordering::SeqCst);
        fixture.append(0, 1).await.unwrap_err();
        assert_eq!(faults.syncs.load(Ordering::SeqCst), 0, "no second sync hides the first");
        fixture.writer.stop();
        assert_eq!((fatal.lock().len(), faults.syncs.load(Ordering::SeqCst)), (1, 0));
    }

    #[tokio::test]
    async fn a_panic_of_the_thread_is_fatal_and_leaves_nobody_waiting() {
        let (fixture, faults, fatal) = faulty(SyncMode::Always);
        faults.panics.store(true, Ordering::SeqCst);
        assert!(fixture.writer.barrier().await.is_err());
        wait_until(|| !fatal.lock().is_empty());
        assert!(fatal.lock().concat().contains("told to"), "{fatal:?}");
        assert!(fixture.writer.barrier().await.is_err());
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn relaxed_modes_sync_the_entries_of_groups_with_other_voters() {
        let (fixture, faults, _) = faulty(SyncMode::Never);
        fixture.append(0, 0).await.unwrap();
        assert_eq!(faults.syncs.load(Ordering::SeqCst), 0);
        fixture.logs[0].published().membership_appended(1, false);
        fixture.append(0, 1).await.unwrap();
        assert_eq!(faults.syncs.load(Ordering::SeqCst), 1);
        fixture.writer.stop();
    }

    #[test]
    fn a_writer_that_is_dropped_ends_its_thread_and_writes_what_is_queued() {
        let Fixture { engine, writer, logs, _dir } = Fixture::new(SyncMode::Never);
        let thread = match &writer.0.mode {
            RunMode::Thread { thread, .. } => thread.lock().take().unwrap(),
            RunMode::Inline(_) => unreachable!("it has a thread"),
        };
        let vote = vote_in(neokv_encoding::raft::Vote { term: 3, node: Some(1), committed: false });
        let (done, _wait) = oneshot::channel();
        writer.submit(Op::Vote { log: Arc::clone(&logs[0]), vote, done }).unwrap();
        drop(writer);
        thread.join().unwrap();
        assert_eq!(open(&engine, 1).vote(), Some(vote));
    }

    /// A writer that sleeps.
    fn sleeping() -> (Arc<Fixture>, Arc<Faults>) {
        let (fixture, faults, _) = faulty(SyncMode::Always);
        wait_until_asleep(&fixture);
        (Arc::new(fixture), faults)
    }

    fn wait_until_asleep(fixture: &Fixture) {
        let RunMode::Thread { queue, .. } = &fixture.writer.0.mode else {
            unreachable!("a thread")
        };
        wait_until(|| queue.is_asleep());
    }

    #[tokio::test]
    async fn groups_that_append_at_the_same_time_share_a_sync() {
        let (fixture, faults) = sleeping();
        let appends: Vec<_> = (0..30).map(|n| fixture.append(n % 3, n as u64 / 3)).collect();
        for append in appends {
            append.await.unwrap();
        }
        assert_eq!(faults.syncs.load(Ordering::SeqCst), 1);
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn a_runtime_that_is_never_idle_wakes_the_writer_all_the_same() {
        let (fixture, faults) = sleeping();
        let _append = fixture.append(0, 0);
        while faults.syncs.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        fixture.writer.stop();
    }

    #[test]
    fn a_runtime_that_ends_wakes_the_writer() {
        let (fixture, _) = sleeping();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let entered = runtime.enter();
        let _append = fixture.append(0, 0);
        drop(entered);
        drop(runtime);
        let log = &fixture.logs[0];
        wait_until(|| open(&fixture.engine, log.region()).ends().1 == Some(log_id(1, 0)));
        fixture.writer.stop();
    }

    /// Appends a few times, each time to a thread that sleeps. Returns which threads wrote.
    async fn writers(
        fixture: &Fixture,
        faults: &Faults,
        bytes: usize,
        group: usize,
    ) -> Vec<String> {
        faults.writers.lock().clear();
        for _ in 0..3 {
            let index = fixture.logs[group].ends().1.map_or(0, |id| id.index + 1);
            wait_until_asleep(fixture);
            fixture.append_of(bytes, group, index).await.unwrap();
        }
        std::mem::take(&mut *faults.writers.lock())
    }

    #[tokio::test]
    async fn a_short_append_needs_no_thread_where_no_heartbeat_waits() {
        let (fixture, faults, _) = faulty_store(SyncMode::Always, true);
        let here = || vec![thread_name(); 3];
        let there = || vec!["log-writer".to_owned(); 3];
        assert_eq!(writers(&fixture, &faults, 100, 0).await, here());
        assert_eq!(faults.syncs.load(Ordering::SeqCst), 3, "it is as durable");
        assert_eq!(writers(&fixture, &faults, 5000, 0).await, there(), "it is large");
        // One with other voters must answer them in time.
        fixture.logs[1].published().membership_appended(1, false);
        assert_eq!(writers(&fixture, &faults, 100, 1).await, there());
        fixture.writer.stop();
        let (fixture, faults, _) = faulty_store(SyncMode::EverySecond, true);
        assert_eq!(writers(&fixture, &faults, 100, 0).await, there(), "a sync will be due");
        fixture.writer.stop();
    }

    #[tokio::test]
    async fn short_appends_of_several_groups_share_a_sync_on_the_thread() {
        let (fixture, faults, _) = faulty_store(SyncMode::Always, true);
        wait_until_asleep(&fixture);
        let appends: Vec<_> = (0..3).map(|group| fixture.append(group, 0)).collect();
        for append in appends {
            append.await.unwrap();
        }
        assert_eq!(*faults.writers.lock(), ["log-writer"]);
        assert_eq!(faults.syncs.load(Ordering::SeqCst), 1);
        fixture.writer.stop();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn appends_keep_their_order_whoever_writes_them() {
        let (fixture, _, _) = faulty_store(SyncMode::Never, true);
        let fixture = Arc::new(fixture);
        let tasks: Vec<_> = (0..3)
            .map(|group| {
                let fixture = Arc::clone(&fixture);
                tokio::spawn(async move {
                    for index in 0..200 {
                        // Every third one is large, and the next does not wait for it.
                        let bytes = if index % 3 == 0 { 5000 } else { 100 };
                        let append = fixture.append_of(bytes, group, index);
                        if index % 3 != 0 {
                            append.await.unwrap();
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        fixture.writer.stop();
        for region in 1..=3 {
            let log = Arc::new(open(&fixture.engine, region));
            assert_eq!(log.read(0, 200, usize::MAX).await.unwrap().len(), 200);
        }
    }

    #[tokio::test]
    async fn a_panic_in_place_of_the_thread_is_fatal_too() {
        let (fixture, faults, fatal) = faulty_store(SyncMode::Always, true);
        wait_until_asleep(&fixture);
        faults.panics.store(true, Ordering::SeqCst);
        let lost = fixture.append(0, 0);
        wait_until_told(&fatal).await;
        faults.panics.store(false, Ordering::SeqCst);
        assert!(fixture.append(0, 1).await.is_err(), "it must not be written without the first");
        drop(lost);
        assert!(faults.writers.lock().is_empty());
        fixture.writer.stop();
    }

    async fn wait_until_told(fatal: &Mutex<Vec<String>>) {
        while fatal.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    }
}
