//! One group's log: what is in memory, what is in the engine, and how to read across both.
//!
//! Invariants, with `purged ≤ last`:
//!
//! * the log is exactly the indexes in `first..=last`, with `purged < first`; readers never look
//!   outside, so entries that a truncation or a purge has removed are gone at once, although their
//!   bytes disappear from the engine a little later;
//! * an entry below `stored_end` is in the engine, one at or above is in the tail;
//! * `epoch` counts truncations: a write that was queued before one does not move `stored_end`
//!   after it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind};
use neokv_encoding::raft as stored;
use neokv_engine::{Direction, Engine, KeyRange, Read};
use parking_lot::Mutex;

use super::meter::Meter;
use super::tail::Tail;
use crate::error::StoreError;
use crate::published::Published;
use crate::types::{Entry, LogId, Vote, entry_in, entry_weight, log_id_in, vote_in};

/// Entries read from the engine in one go, in bytes: bounds what a lagging follower or a restart
/// costs in memory.
pub(crate) const READ_BYTES: usize = 2 << 20;

/// See the module.
pub(crate) struct GroupLog {
    region: u64,
    peer: u64,
    engine: Engine,
    tail_bytes: usize,
    published: Arc<Published>,
    state: Mutex<State>,
}

/// What changes.
#[derive(Default)]
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    committed_dirty: bool,
    purged: Option<LogId>,
    /// Index of the first entry, if there is one. Right after `purged`, except in a log that began
    /// elsewhere.
    first: u64,
    last: Option<LogId>,
    tail: Tail,
    stored_end: u64,
    epoch: u64,
    meter: Meter,
}

impl GroupLog {
    /// Reads the state of a group's log from the engine.
    pub(crate) fn open(
        engine: &Engine,
        region: u64,
        peer: u64,
        tail_bytes: usize,
        published: Arc<Published>,
    ) -> Result<GroupLog, StoreError> {
        let vote =
            record(engine, region, RaftStateKind::Vote, "vote", stored::Vote::decode)?.map(vote_in);
        let committed =
            record(engine, region, RaftStateKind::Committed, "committed", stored::LogId::decode)?;
        let purged =
            record(engine, region, RaftStateKind::Purged, "purged", stored::LogId::decode)?
                .map(log_id_in);
        let mut meter = Meter::default();
        let mut last = purged;
        let first = purged.map_or(0, |id| id.index.saturating_add(1));
        let mut cursor = engine.cursor(
            Family::RaftLog,
            log_range(region, first, u64::MAX),
            Direction::Forward,
        )?;
        let mut ends = None;
        while let Some((key, value)) = cursor.next()? {
            let (_, index) = key::decode_raft_log(key).map_err(|source| StoreError::Record {
                region,
                what: "log key",
                source,
            })?;
            meter.add(index, value.len() as u64);
            ends = Some((ends.map_or(index, |(first, _)| first), index));
        }
        if let Some((_, index)) = ends
            && let Some(bytes) = engine.get(Family::RaftLog, &key::raft_log(region, index))?
        {
            let entry = stored::Entry::decode(&Bytes::copy_from_slice(&bytes))
                .map_err(|source| StoreError::Record { region, what: "log entry", source })?;
            last = Some(log_id_in(entry.log_id));
        }
        let first = ends.map_or(first, |(first, _)| first);
        let stored_end = last.map_or(0, |id| id.index.saturating_add(1));
        let state = State {
            vote,
            committed: committed.map(log_id_in),
            purged,
            first,
            last,
            stored_end,
            meter,
            ..State::default()
        };
        Ok(GroupLog {
            region,
            peer,
            engine: engine.clone(),
            tail_bytes,
            published,
            state: Mutex::new(state),
        })
    }

    /// The Region.
    pub(crate) fn region(&self) -> u64 {
        self.region
    }

    /// What the Region tells its readers.
    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// The last purged and the last log id; the latter falls back to the former.
    pub(crate) fn ends(&self) -> (Option<LogId>, Option<LogId>) {
        let state = self.state.lock();
        (state.purged, state.last)
    }

    /// The vote, as last saved.
    pub(crate) fn vote(&self) -> Option<Vote> {
        self.state.lock().vote
    }

    /// A vote is about to be written. Unless it confirms ourselves as leader, leadership ends here,
    /// before anybody can learn of the vote.
    pub(crate) fn voting(&self, vote: &Vote) {
        if !self.is_own(vote) {
            self.published.follow();
        }
    }

    /// The vote is durable.
    pub(crate) fn voted(&self, vote: Vote) {
        self.state.lock().vote = Some(vote);
        if self.is_own(&vote) {
            self.published.lead(vote.leader_id.term);
        }
    }

    fn is_own(&self, vote: &Vote) -> bool {
        vote.committed && vote.leader_id.voted_for == self.peer
    }

    /// Remembers the committed log id; it is written with the next append.
    pub(crate) fn set_committed(&self, committed: Option<LogId>) {
        let mut state = self.state.lock();
        state.committed_dirty |= state.committed != committed;
        state.committed = committed;
    }

    /// The committed log id.
    pub(crate) fn committed(&self) -> Option<LogId> {
        self.state.lock().committed
    }

    /// The committed log id, if it has not been written since it changed.
    pub(crate) fn take_committed(&self) -> Option<LogId> {
        let mut state = self.state.lock();
        if !std::mem::take(&mut state.committed_dirty) { None } else { state.committed }
    }

    /// Makes entries readable; returns the epoch for [`GroupLog::written`].
    pub(crate) fn push(&self, entries: &[Entry]) -> u64 {
        let mut state = self.state.lock();
        if let Some(entry) = entries.first()
            && state.last == state.purged
        {
            state.first = entry.log_id.index;
        }
        for entry in entries {
            state.meter.add(entry.log_id.index, entry_weight(entry) as u64);
            state.tail.push(entry.clone());
            state.last = Some(entry.log_id);
        }
        state.epoch
    }

    /// Entries below `end` have reached the engine, if nothing was truncated since `epoch`.
    pub(crate) fn written(&self, epoch: u64, end: u64) {
        let mut state = self.state.lock();
        if state.epoch == epoch {
            state.stored_end = state.stored_end.max(end);
            let stored_end = state.stored_end;
            state.tail.evict(self.tail_bytes, stored_end);
        }
    }

    /// Removes everything above `keep`; returns the first removed index.
    pub(crate) fn truncate(&self, keep: Option<LogId>) -> u64 {
        let mut state = self.state.lock();
        let from = keep.map_or(0, |id| id.index.saturating_add(1));
        state.tail.truncate(from);
        state.meter.truncate(keep.map(|id| id.index));
        if state.last > keep {
            state.last = keep.or(state.purged);
        }
        state.stored_end = state.stored_end.min(from);
        state.epoch = state.epoch.wrapping_add(1);
        from
    }

    /// Removes everything up to `upto`; returns the first index that may still have bytes in the
    /// engine.
    pub(crate) fn purge(&self, upto: LogId) -> u64 {
        let mut state = self.state.lock();
        let first = state.first;
        state.first = first.max(upto.index.saturating_add(1));
        state.tail.purge(upto.index);
        state.meter.purge(upto.index);
        if state.purged < Some(upto) {
            state.purged = Some(upto);
        }
        if state.last < Some(upto) {
            state.last = Some(upto);
        }
        state.stored_end = state.stored_end.max(upto.index.saturating_add(1));
        first
    }

    /// Bytes and entries held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.meter.bytes(), state.meter.entries())
    }

    /// Where to purge so that about half of the limits remains; see [`Meter::cut`].
    pub(crate) fn cut(&self, bytes: u64, entries: u64, applied: u64) -> Option<u64> {
        self.state.lock().meter.cut(bytes, entries, applied)
    }

    /// Entries of `start..end`, as far as they are in the log, up to `limit` bytes but at least
    /// one. Only the part that is no longer in memory blocks on the engine.
    pub(crate) async fn read(
        self: &Arc<Self>,
        start: u64,
        end: u64,
        limit: usize,
    ) -> io::Result<Vec<Entry>> {
        let (start, end, cold_end) = {
            let state = self.state.lock();
            let start = start.max(state.first);
            let end = end.min(state.last.map_or(0, |id| id.index.saturating_add(1)));
            let first = state.tail.first().unwrap_or(u64::MAX);
            if start >= end {
                return Ok(Vec::new());
            }
            if start >= first {
                return Ok(state.tail.read(start, end, limit));
            }
            (start, end, end.min(first))
        };
        let log = Arc::clone(self);
        let cold = tokio::task::spawn_blocking(move || log.read_engine(start, cold_end, limit));
        let mut entries = cold.await.map_err(io::Error::other)??;
        let read = entries.len() as u64;
        if start.saturating_add(read) == cold_end && cold_end < end {
            let bytes: usize = entries.iter().map(entry_weight).sum();
            if bytes < limit {
                let state = self.state.lock();
                if state.tail.first() <= Some(cold_end) {
                    entries.extend(state.tail.read(cold_end, end, limit - bytes));
                }
            }
        }
        Ok(entries)
    }

    /// Entries from the engine. A hole means damage, unless the entries were purged while we read.
    fn read_engine(&self, start: u64, end: u64, limit: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0usize;
        let mut next = start;
        let range = log_range(self.region, start, end);
        let mut cursor = self
            .engine
            .cursor(Family::RaftLog, range, Direction::Forward)
            .map_err(io::Error::other)?;
        while next < end && bytes < limit {
            let Some((key, value)) = cursor.next().map_err(io::Error::other)? else { break };
            let (_, index) = key::decode_raft_log(key).map_err(io::Error::other)?;
            if index != next {
                break;
            }
            let entry = entry_in(
                stored::Entry::decode(&Bytes::copy_from_slice(value)).map_err(io::Error::other)?,
            );
            if entry.log_id.index != index {
                return Err(damaged(self.region, index, "the entry says it is another one"));
            }
            bytes = bytes.saturating_add(entry_weight(&entry));
            entries.push(entry);
            next = next.saturating_add(1);
        }
        let complete = next >= end || bytes >= limit;
        if !complete && !self.is_gone(next) {
            return Err(damaged(self.region, next, "the entry is missing"));
        }
        Ok(entries)
    }

    /// Whether `index` is outside the log by now.
    fn is_gone(&self, index: u64) -> bool {
        let state = self.state.lock();
        state.purged.is_some_and(|id| id.index >= index)
            || state.last.is_none_or(|id| id.index < index)
    }
}

/// The keys of the entries `start..end`.
fn log_range(region: u64, start: u64, end: u64) -> KeyRange {
    KeyRange::new(key::raft_log(region, start).to_vec(), key::raft_log(region, end).to_vec())
}

fn damaged(region: u64, index: u64, why: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("log of region {region} is damaged at index {index}: {why}"),
    )
}

/// Reads one record of the family `raft_state`.
fn record<T>(
    engine: &Engine,
    region: u64,
    kind: RaftStateKind,
    what: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<T, neokv_encoding::DecodeError>,
) -> Result<Option<T>, StoreError> {
    let Some(bytes) = engine.get(Family::RaftState, &key::raft_state(region, kind))? else {
        return Ok(None);
    };
    decode(&bytes).map(Some).map_err(|source| StoreError::Record { region, what, source })
}
