//! One group's log: what is in memory, what is in the engine, and how to read across both.
//!
//! Invariants ([`State::validate`] checks them after every change):
//!
//! * the log is exactly the indexes in `first..=last`, with `purged < first`; readers never look
//!   outside, so entries that a truncation or a purge has removed are gone at once, although their
//!   bytes disappear from the engine a little later;
//! * an entry below `stored_end` is in the engine, one at or above is in the tail, and the tail
//!   ends where the log ends;
//! * the meter covers the log, and nothing else;
//! * `generation` counts truncations: a write that was queued before one does not move `stored_end`
//!   after it.
//!
//! # The committed position
//!
//! Raft reports from time to time how far the log is committed; a start applies up to there without
//! waiting for a leader. The position is written with the next append. It must never be ahead of
//! the entries on disk, or Raft refuses to start: so the position travels in the queue of the log
//! writer *behind* the entries that it names ([`GroupLog::push`] takes it along), and a position
//! that is found without its entry is ignored when the log is opened ([`trusted`]).

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind};
use neokv_encoding::raft as stored;
use neokv_engine::{Direction, Engine, Read};
use parking_lot::Mutex;

use super::meter::Meter;
use super::on_disk::{damaged, damaged_store, ends, log_range, record, trusted};
use super::tail::{Tail, TailBudget};
use crate::blocking::blocking;
use crate::error::StoreError;
use crate::published::Published;
use crate::types::Origin::Disk;
use crate::types::{Entry, LogId, Vote, entry_in, entry_weight, log_id_in, vote_in};

/// Entries read from the engine in one go, in bytes: bounds what a lagging follower or a restart
/// costs in memory.
pub(crate) const READ_BYTES: usize = 2 << 20;

/// See the module.
pub(crate) struct GroupLog {
    region: u64,
    peer: u64,
    engine: Engine,
    limits: TailLimits,
    published: Arc<Published>,
    state: Mutex<State>,
}

/// What one tail may hold.
#[derive(Clone)]
pub(crate) struct TailLimits {
    /// Bytes of this tail.
    pub(crate) bytes: usize,
    /// Bytes of all tails of the store.
    pub(crate) budget: Arc<TailBudget>,
}

/// What changes.
struct State {
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// The committed position has moved since it was last put into the queue of the writer.
    committed_moved: bool,
    purged: Option<LogId>,
    /// Index of the first entry, if there is one. Right after `purged`, except in a log that began
    /// elsewhere.
    first: u64,
    last: Option<LogId>,
    tail: Tail,
    stored_end: u64,
    generation: u64,
    meter: Meter,
    /// Something was appended since [`GroupLog::release_memory`] looked last.
    busy: bool,
}

/// What goes with an append to the log writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AppendTicket {
    /// For [`GroupLog::mark_stored`].
    pub(crate) generation: u64,
    /// The committed position, if it has moved. Its entry is in this append or in an earlier one.
    pub(crate) committed: Option<LogId>,
}

impl GroupLog {
    /// Reads the state of a group's log from the engine: a few records, whatever its length.
    pub(crate) fn open(
        engine: &Engine,
        region: u64,
        peer: u64,
        limits: TailLimits,
        published: Arc<Published>,
    ) -> Result<GroupLog, StoreError> {
        let read = |kind, what| {
            let decode = |bytes: &[u8]| stored::LogId::decode(bytes).and_then(|id| Disk.log_id(id));
            record(engine, region, kind, what, decode)
        };
        let vote = record(engine, region, RaftStateKind::Vote, "vote", |bytes: &[u8]| {
            stored::Vote::decode(bytes).and_then(|vote| Disk.vote(vote))
        })?;
        let committed = read(RaftStateKind::Committed, "committed")?.map(log_id_in);
        let purged = read(RaftStateKind::Purged, "purged")?.map(log_id_in);
        let start = purged.map_or(0, |id| id.index + 1);
        let ends = ends(engine, region, start)?;
        if let (Some(purged), Some((first, _))) = (purged, &ends)
            && *first != purged.index + 1
        {
            return Err(damaged_store(region, purged.index + 1, "the entry is missing"));
        }
        let mut state = State::empty(vote.map(vote_in), purged, &limits);
        if let Some((first, last)) = ends {
            let bytes = engine
                .approximate_size(Family::RaftLog, &log_range(region, first, last.index + 1))?;
            state.meter = Meter::recovered(first, last.index, bytes);
            state.first = first;
            state.last = Some(last);
            state.stored_end = last.index + 1;
        }
        state.committed = trusted(engine, region, committed, state.first)?;
        state.validate();
        let engine = engine.clone();
        Ok(GroupLog { region, peer, engine, limits, published, state: Mutex::new(state) })
    }

    /// The log of a Region that does not start: nothing of it was read, and nothing will be.
    pub(crate) fn unread(
        engine: &Engine,
        region: u64,
        peer: u64,
        limits: TailLimits,
        published: Arc<Published>,
    ) -> GroupLog {
        let state = State::empty(None, None, &limits);
        GroupLog {
            region,
            peer,
            engine: engine.clone(),
            limits,
            published,
            state: Mutex::new(state),
        }
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

    /// Remembers the committed log id; the next append takes it along.
    pub(crate) fn set_committed(&self, committed: Option<LogId>) {
        let mut state = self.state.lock();
        state.committed_moved |= state.committed != committed;
        state.committed = committed;
    }

    /// The committed log id.
    pub(crate) fn committed(&self) -> Option<LogId> {
        self.state.lock().committed
    }

    /// Makes entries readable. What is returned goes with them into the queue of the log writer, in
    /// the order of the calls.
    pub(crate) fn push(&self, entries: &[Entry]) -> AppendTicket {
        let mut state = self.state.lock();
        state.busy = true;
        if let Some(entry) = entries.first()
            && state.last == state.purged
        {
            state.first = entry.log_id.index;
            state.stored_end = entry.log_id.index;
        }
        for entry in entries {
            state.meter.add(entry.log_id.index, entry_weight(entry) as u64);
            state.tail.push(entry.clone());
            state.last = Some(entry.log_id);
        }
        let committed = state.committed_to_write();
        state.validate();
        AppendTicket { generation: state.generation, committed }
    }

    /// Entries below `end` have reached the engine, if nothing was truncated since `generation`.
    pub(crate) fn mark_stored(&self, generation: u64, end: u64) {
        let mut state = self.state.lock();
        if state.generation != generation {
            return;
        }
        state.stored_end = state.stored_end.max(end);
        let stored_end = state.stored_end;
        state.tail.evict(self.limits.bytes, stored_end);
        if self.limits.budget.is_exceeded() {
            let applied_end = self.published.applied_index() + 1;
            state.tail.evict(0, stored_end.min(applied_end));
        }
        state.validate();
    }

    /// Called once in a while: a log that was not appended to since the last call gives up the
    /// memory of what is applied.
    pub(crate) fn release_memory(&self) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.busy) {
            return;
        }
        let end = state.stored_end.min(self.published.applied_index() + 1);
        state.tail.evict(0, end);
        state.validate();
    }

    /// Removes everything above `keep`; returns the first removed index.
    pub(crate) fn truncate(&self, keep: Option<LogId>) -> u64 {
        let mut state = self.state.lock();
        let from = keep.map_or(0, |id| id.index + 1);
        state.tail.truncate(from);
        state.meter.truncate(keep.map(|id| id.index));
        if state.last > keep {
            state.last = keep.or(state.purged);
        }
        state.stored_end = state.stored_end.min(from);
        state.generation += 1;
        state.validate();
        from
    }

    /// Removes everything up to `upto`; returns the first index that may still have bytes in the
    /// engine.
    pub(crate) fn purge(&self, upto: LogId) -> u64 {
        let mut state = self.state.lock();
        let first = state.first;
        state.first = first.max(upto.index + 1);
        state.tail.purge(upto.index);
        state.meter.purge(upto.index);
        state.purged = state.purged.max(Some(upto));
        state.last = state.last.max(Some(upto));
        state.stored_end = state.stored_end.max(upto.index + 1);
        state.validate();
        first
    }

    /// Bytes (about) and entries held.
    pub(crate) fn size(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.meter.bytes(), state.meter.entries())
    }

    /// Where to purge so that about so much remains; see [`Meter::cut`].
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
        loop {
            let generation = self.state.lock().generation;
            let read = self.read_once(start, end, limit).await;
            // What looks like damage may be the trace of a truncation: entries that it removed are
            // gone from the engine, and those that were appended after it are not there yet.
            if read.is_ok() || self.state.lock().generation == generation {
                return read;
            }
        }
    }

    async fn read_once(
        self: &Arc<Self>,
        start: u64,
        end: u64,
        limit: usize,
    ) -> io::Result<Vec<Entry>> {
        let (start, end, cold_end) = {
            let state = self.state.lock();
            let start = start.max(state.first);
            let end = end.min(state.last.map_or(0, |id| id.index + 1));
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
        let mut entries = blocking(move || log.read_engine(start, cold_end, limit)).await??;
        // The rest is in memory, unless it was evicted or truncated while we read.
        let read_end = entries.last().map_or(start, |entry| entry.log_id.index + 1);
        if read_end == cold_end && cold_end < end {
            let bytes: usize = entries.iter().map(entry_weight).sum();
            let state = self.state.lock();
            if bytes < limit && state.tail.first() <= Some(cold_end) {
                entries.extend(state.tail.read(cold_end, end, limit - bytes));
            }
        }
        Ok(entries)
    }

    /// Entries from the engine. A hole means damage, unless the entries were purged while we read.
    pub(crate) fn read_engine(&self, start: u64, end: u64, limit: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0;
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
            let entry = stored::Entry::decode(&Bytes::copy_from_slice(value));
            let entry = entry_in(entry.map_err(io::Error::other)?);
            if entry.log_id.index != index {
                return Err(damaged(self.region, index, "the entry says it is another one"));
            }
            bytes += entry_weight(&entry);
            entries.push(entry);
            next += 1;
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
        index < state.first || state.last.is_none_or(|id| id.index < index)
    }
}

impl State {
    /// Of a log without entries.
    fn empty(vote: Option<Vote>, purged: Option<LogId>, limits: &TailLimits) -> State {
        let start = purged.map_or(0, |id| id.index + 1);
        State {
            vote,
            committed: None,
            committed_moved: false,
            purged,
            first: start,
            last: purged,
            tail: Tail::new(Arc::clone(&limits.budget)),
            stored_end: start,
            generation: 0,
            meter: Meter::default(),
            busy: true,
        }
    }

    /// The committed position, if it has moved and its entry is in the log already.
    fn committed_to_write(&mut self) -> Option<LogId> {
        let last = self.last.map(|id| id.index);
        let known = self.committed.filter(|id| Some(id.index) <= last);
        if self.committed_moved && known.is_some() {
            self.committed_moved = false;
            known
        } else {
            None
        }
    }

    /// The invariants of the module header. They cost a few comparisons, and a log that breaks one
    /// would lose entries or show removed ones: so they hold in production too.
    fn validate(&self) {
        assert!(self.purged <= self.last, "the log ends before what was purged");
        assert!(self.purged.is_none_or(|id| id.index < self.first), "a purged entry is shown");
        let end = self.last.map_or(0, |id| id.index + 1);
        assert!(self.stored_end <= end.max(self.first), "more is stored than there is");
        match (self.tail.first(), self.tail.last()) {
            (Some(first), Some(last)) => {
                assert!(self.first <= first, "memory holds an entry before the log");
                assert!(first <= self.stored_end, "an entry is neither stored nor in memory");
                assert_eq!(last + 1, end, "memory does not end where the log ends");
            }
            _ => assert!(self.stored_end == end || end <= self.first, "entries are in no place"),
        }
        let covered = self.meter.ends();
        let log = (self.first < end).then(|| (self.first, end - 1));
        assert_eq!(covered, log, "the meter does not cover the log");
    }
}
