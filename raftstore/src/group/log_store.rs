//! What Raft wants from a log, on top of [`GroupLog`] and [`LogWriter`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream;
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;

use crate::log::group::{GroupLog, READ_BYTES};
use crate::log::writer::{LogWriter, Op};
use crate::types::{Entry, LogId, TypeConfig, Vote, is_sole_voter};

/// The log of one group, as Raft uses it. Clones are readers.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Arc<GroupLog>,
    writer: LogWriter,
    peer: u64,
}

impl LogStore {
    /// Joins a group's log and the store's writer.
    pub(crate) fn new(log: Arc<GroupLog>, writer: LogWriter, peer: u64) -> LogStore {
        LogStore { log, writer, peer }
    }

    /// From now on the voters of the newest appended membership count.
    fn note_memberships(&self, entries: &[Entry]) {
        for entry in entries {
            if let EntryPayload::Membership(membership) = &entry.payload {
                let sole = is_sole_voter(membership.get_joint_config(), self.peer);
                self.log.published().membership_appended(entry.log_id.index, sole);
            }
        }
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = bounds(&range);
        self.log.read(start, end, usize::MAX).await
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.log.read(start, end, READ_BYTES).await
    }

    /// Raft applies what this returns. An entry that is committed and not in the log would be left
    /// out forever, so that is an error; the end of the log is the end of the stream.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (start, end) = bounds(&range);
        let log = Arc::clone(&self.log);
        let chunks = stream::unfold((log, start, end), |(log, start, end)| async move {
            if start >= end {
                return None;
            }
            let read = log.read(start, end, READ_BYTES).await;
            match read.and_then(|entries| expect_start(entries, &log, start)) {
                Ok(entries) if entries.is_empty() => None,
                Ok(entries) => {
                    let next = start + entries.len() as u64;
                    let items: Vec<io::Result<Entry>> = entries.into_iter().map(Ok).collect();
                    Some((stream::iter(items), (log, next, end)))
                }
                Err(error) => Some((stream::iter(vec![Err(error)]), (log, end, end))),
            }
        });
        futures_util::StreamExt::flatten(chunks)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log.vote())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let (last_purged_log_id, last_log_id) = self.log.ends();
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.log.voting(vote);
        let (done, wait) = oneshot::channel();
        self.writer.submit(Op::Vote { log: Arc::clone(&self.log), vote: *vote, done })?;
        wait.await.map_err(|_| io::Error::other("the log writer has stopped"))?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.log.set_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.log.committed())
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        self.note_memberships(&entries);
        let ticket = self.log.push(&entries);
        let log = Arc::clone(&self.log);
        self.writer.submit(Op::Append { log, ticket, entries, done: callback })
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let from = self.log.truncate(last_log_id);
        self.writer.submit(Op::Truncate { region: self.log.region(), from })
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let first = self.log.purge(log_id);
        self.writer.submit(Op::Purge { region: self.log.region(), first, upto: log_id })
    }
}

/// Entries that begin at `start`: none where the log ends.
fn expect_start(entries: Vec<Entry>, log: &GroupLog, start: u64) -> io::Result<Vec<Entry>> {
    let found = entries.first().map(|entry| entry.log_id.index);
    let end = log.ends().1.max(log.committed()).map_or(0, |id| id.index + 1);
    if found == Some(start) || found.is_none() && start >= end {
        return Ok(entries);
    }
    let why = format!("region {}: entry {start} to apply is gone, found {found:?}", log.region());
    Err(io::Error::new(io::ErrorKind::InvalidData, why))
}

/// A range as `start..end`.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
