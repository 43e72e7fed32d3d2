//! The one thread that writes the logs of all groups.
//!
//! # When a write fails
//!
//! * **No space**: nothing of the batch was acknowledged, so the thread keeps it, reports the store
//!   as stalled (which refuses new writes and answers those in flight with *outcome unknown*), and
//!   tries again until there is room. Reads go on.
//! * **Anything else**: the state of the file is unknown. After a failed fsync the kernel may have
//!   dropped the pages that could not be written, and the next fsync would succeed without them. So
//!   the [`fatal`](crate::Config::fatal) hook is called, which ends the process; the next start
//!   recovers what really is on disk. There is no retry.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind};
use neokv_engine::{Durability, Engine, EngineError, LogBatch};
use openraft::storage::IOFlushed;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::group::GroupLog;
use crate::config::{FatalError, FatalHook, Sync};
use crate::error::StoreError;
use crate::mailbox::{Inbox, Mailbox, Taken, mailbox};
use crate::metrics;
use crate::space::SpaceAlarm;
use crate::types::{Entry, LogId, TypeConfig, Vote, entry_out, entry_weight, log_id_out, vote_out};

/// Most bytes of entries in one batch.
const BATCH_BYTES: usize = 8 << 20;
/// Most operations in one batch.
const BATCH_OPS: usize = 4096;
/// Pause between two attempts while the disk is full.
const SPACE_RETRY: Duration = Duration::from_millis(200);
/// Interval of syncs with [`Sync::EverySecond`].
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// One queued write.
pub(crate) enum Op {
    /// Entries of one group, consecutive.
    Append { log: Arc<GroupLog>, epoch: u64, entries: Vec<Entry>, done: IOFlushed<TypeConfig> },
    /// A vote.
    Vote { log: Arc<GroupLog>, vote: Vote, done: oneshot::Sender<io::Result<()>> },
    /// Remove the entries from `from` on.
    Truncate { region: u64, from: u64 },
    /// Remove the entries `first..=upto`, and remember `upto`.
    Purge { region: u64, first: u64, upto: LogId },
}

/// The handle of the thread. Cloned into every group's log store.
#[derive(Clone)]
pub(crate) struct LogWriter {
    queue: Mailbox<Op>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl LogWriter {
    /// Starts the thread.
    pub(crate) fn start(
        engine: Engine,
        sync: Sync,
        fatal: FatalHook,
        space: Arc<SpaceAlarm>,
    ) -> Result<LogWriter, StoreError> {
        let (queue, inbox) = mailbox();
        let worker = Worker {
            engine,
            sync,
            fatal,
            space,
            inbox,
            queued: VecDeque::new(),
            unsynced: None,
            dead: None,
        };
        let thread =
            thread::Builder::new().name("log-writer".into()).spawn(move || worker.run()).map_err(
                |source| StoreError::Io { what: "starting the log writer".into(), source },
            )?;
        Ok(LogWriter { queue, thread: Arc::new(Mutex::new(Some(thread))) })
    }

    /// Queues a write.
    pub(crate) fn submit(&self, op: Op) -> io::Result<()> {
        self.queue.send(op).map_err(|_| stopped())
    }

    /// Writes and syncs what is queued, then ends the thread. While the disk is full it ends
    /// without having written: nothing of what waits was acknowledged.
    pub(crate) fn stop(&self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the log writer has stopped")
}

/// The thread's state.
struct Worker {
    engine: Engine,
    sync: Sync,
    fatal: FatalHook,
    space: Arc<SpaceAlarm>,
    inbox: Inbox<Op>,
    /// Taken from the inbox, not written yet.
    queued: VecDeque<Op>,
    /// Since when something is written but not synced.
    unsynced: Option<Instant>,
    /// Why nothing is written any more.
    dead: Option<String>,
}

impl Worker {
    fn run(mut self) {
        let mut ops = Vec::new();
        while self.gather(&mut ops) {
            let outcome = self.write(&ops);
            self.complete(&mut ops, &outcome);
        }
        if self.dead.is_none() && self.unsynced.is_some() {
            self.sync_now();
        }
    }

    /// Waits for work and takes all there is, up to a batch. `false` when stopped and empty.
    fn gather(&mut self, ops: &mut Vec<Op>) -> bool {
        if self.queued.is_empty() {
            loop {
                let patience = self.patience();
                match self.inbox.take(&mut self.queued, patience) {
                    Taken::Items => break,
                    Taken::Timeout => self.sync_now(),
                    Taken::Closed => return false,
                }
            }
        } else {
            self.inbox.take_waiting(&mut self.queued);
        }
        let mut bytes = 0usize;
        while ops.len() < BATCH_OPS && bytes < BATCH_BYTES {
            let Some(op) = self.queued.pop_front() else { break };
            bytes = bytes.saturating_add(weight(&op));
            ops.push(op);
        }
        true
    }

    /// How long to wait for work: until a sync is due.
    fn patience(&self) -> Option<Duration> {
        let since = self.unsynced.filter(|_| self.sync == Sync::EverySecond)?;
        Some(SYNC_INTERVAL.saturating_sub(since.elapsed()))
    }

    /// Writes the batch; on a full disk until it succeeds.
    fn write(&mut self, ops: &[Op]) -> Result<(), String> {
        let mut waiting = None;
        let outcome = loop {
            if let Some(why) = &self.dead {
                break Err(why.clone());
            }
            match self.write_once(ops) {
                Ok(()) => break Ok(()),
                Err(EngineError::NoSpace { .. }) if self.inbox.is_closed() => {
                    break Err("the disk is full and the store is stopping".into());
                }
                Err(error @ EngineError::NoSpace { .. }) => {
                    let alarm = waiting.get_or_insert_with(|| {
                        tracing::error!(%error, "no space for the log; writes wait until there is room");
                        self.space.wait()
                    });
                    alarm.sound();
                    thread::sleep(SPACE_RETRY);
                    if let Err(error) = self.engine.resume() {
                        tracing::debug!(%error, "the engine cannot resume yet");
                    }
                }
                Err(error) => self.die("writing the log", &error),
            }
        };
        if waiting.is_some() {
            tracing::info!("the log is writable again");
        }
        outcome
    }

    fn write_once(&mut self, ops: &[Op]) -> Result<(), EngineError> {
        let mut batch = self.engine.log_batch();
        let mut must_sync = false;
        for op in ops {
            add(&mut batch, op);
            must_sync |= self.syncs(op);
        }
        if self.sync == Sync::EverySecond
            && self.unsynced.is_some_and(|since| since.elapsed() >= SYNC_INTERVAL)
        {
            must_sync = true;
        }
        let started = Instant::now();
        let durability = if must_sync { Durability::Synced } else { Durability::Buffered };
        self.engine.write_log(batch, durability)?;
        metrics::log_write(started.elapsed(), ops.len());
        self.unsynced = if must_sync { None } else { self.unsynced.or(Some(started)) };
        Ok(())
    }

    /// Whether this operation must be durable before it is answered.
    fn syncs(&self, op: &Op) -> bool {
        match op {
            Op::Vote { .. } => true,
            Op::Append { .. } => self.sync == Sync::Always,
            Op::Truncate { .. } | Op::Purge { .. } => false,
        }
    }

    /// A sync of its own: the second is over, or the thread ends.
    fn sync_now(&mut self) {
        self.unsynced = None;
        match self.engine.sync() {
            Ok(()) => {}
            Err(error @ EngineError::NoSpace { .. }) => {
                tracing::warn!(%error, "sync of the log must wait for space")
            }
            Err(error) => self.die("syncing the log", &error),
        }
    }

    fn die(&mut self, what: &'static str, error: &EngineError) {
        let cause = error.to_string();
        (self.fatal)(&FatalError { what, cause: cause.clone() });
        self.dead = Some(format!("{what}: {cause}"));
    }

    /// Tells everybody, in order.
    fn complete(&mut self, ops: &mut Vec<Op>, outcome: &Result<(), String>) {
        let answer = || outcome.clone().map_err(io::Error::other);
        for op in ops.drain(..) {
            match op {
                Op::Append { log, epoch, entries, done } => {
                    if let (Ok(()), Some(last)) = (outcome, entries.last()) {
                        log.written(epoch, last.log_id.index.saturating_add(1));
                    }
                    done.io_completed(answer());
                }
                Op::Vote { log, vote, done } => {
                    if outcome.is_ok() {
                        log.voted(vote);
                    }
                    let _ = done.send(answer());
                }
                Op::Truncate { .. } | Op::Purge { .. } => {}
            }
        }
    }
}

/// Adds an operation to the batch.
fn add(batch: &mut LogBatch, op: &Op) {
    match op {
        Op::Append { log, entries, .. } => {
            let region = log.region();
            for entry in entries {
                let key = key::raft_log(region, entry.log_id.index);
                batch.put(Family::RaftLog, key, entry_out(entry).encode());
            }
            if let Some(committed) = log.take_committed() {
                put_log_id(batch, region, RaftStateKind::Committed, &committed);
            }
        }
        Op::Vote { log, vote, .. } => {
            let key = key::raft_state(log.region(), RaftStateKind::Vote);
            batch.put(Family::RaftState, key, vote_out(vote).encode());
        }
        Op::Truncate { region, from } => {
            batch.delete_range(
                Family::RaftLog,
                key::raft_log(*region, *from),
                key::raft_log(*region, u64::MAX),
            );
        }
        Op::Purge { region, first, upto } => {
            put_log_id(batch, *region, RaftStateKind::Purged, upto);
            let end = upto.index.saturating_add(1);
            if *first < end {
                batch.delete_range(
                    Family::RaftLog,
                    key::raft_log(*region, *first),
                    key::raft_log(*region, end),
                );
            }
        }
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
    use futures_util::FutureExt;
    use neokv_engine::Options;
    use openraft::EntryPayload;
    use openraft::type_config::TypeConfigExt;

    use super::*;
    use crate::published::Published;
    use crate::types::{Data, log_id, vote_in};

    struct Fixture {
        engine: Engine,
        writer: LogWriter,
        logs: Vec<Arc<GroupLog>>,
        _dir: tempfile::TempDir,
    }

    impl Fixture {
        fn new(sync: Sync) -> Fixture {
            let dir = tempfile::tempdir().unwrap();
            let engine = Engine::open(&dir.path().join("db"), &Options::default()).unwrap();
            let fatal: FatalHook = Arc::new(|error| panic!("{error}"));
            let writer =
                LogWriter::start(engine.clone(), sync, fatal, SpaceAlarm::new(|_| {})).unwrap();
            let logs = (1..=3).map(|region| Arc::new(open(&engine, region))).collect();
            Fixture { engine, writer, logs, _dir: dir }
        }

        /// Queues one entry; the future is ready when it is said to be durable.
        fn append(
            &self,
            group: usize,
            index: u64,
        ) -> impl Future<Output = io::Result<()>> + Unpin + use<> {
            let payload = EntryPayload::Normal(Data::Command(bytes::Bytes::from(vec![7; 100])));
            let entries = vec![Entry { log_id: log_id(1, index), payload }];
            let log = Arc::clone(&self.logs[group]);
            let epoch = log.push(&entries);
            let (sender, receiver) = TypeConfig::oneshot();
            self.writer
                .submit(Op::Append { log, epoch, entries, done: IOFlushed::signal(sender) })
                .unwrap();
            receiver.map(|answer| answer.unwrap())
        }
    }

    fn open(engine: &Engine, region: u64) -> GroupLog {
        GroupLog::open(engine, region, 1, 1 << 20, Arc::new(Published::new((0, 0), 0, true)))
            .unwrap()
    }

    #[tokio::test]
    async fn appends_of_all_groups_complete_in_the_order_in_which_they_were_queued() {
        let fixture = Fixture::new(Sync::Always);
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
        for sync in [Sync::Always, Sync::EverySecond, Sync::Never] {
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
        let fixture = Fixture::new(Sync::Never);
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
        let fixture = Fixture::new(Sync::Never);
        let small = Arc::new(
            GroupLog::open(&fixture.engine, 9, 1, 1000, Arc::new(Published::new((0, 0), 0, true)))
                .unwrap(),
        );
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
}
