//! What the replicas of a Region agree on, and how far: votes, log positions, entries.
//!
//! An entry is in one of these states, each implying the ones before it:
//!
//! ```text
//!            purged      applied         committed         appended
//!  ──────────────────┼───────────────┼─────────────────┼──────────────┤ last
//!  gone, in general    its effects     a majority has    on this disk,
//!                      are stored      it                may still be replaced
//! ```
//!
//! The committed position is stored lazily, with the next append: every applied entry was
//! committed, whatever the record says.

use neokv_encoding::DecodeError;
use neokv_encoding::family::Family;
use neokv_encoding::key::{RaftStateKind, raft_state};
use neokv_encoding::raft::{LogId, Vote};
use neokv_engine::Direction;

use crate::entry::{LogEntry, Positions};
use crate::error::InspectError;
use crate::progress::{self, Progress, span};
use crate::records::RegionRecords;
use crate::source::Source;

/// Votes and log positions of one Region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// Region id.
    pub region: u64,
    /// What this store's peer has promised.
    pub vote: Option<Vote>,
    /// The last entry that was removed.
    pub purged: Option<LogId>,
    /// The last committed entry as stored. Applied entries are committed too.
    pub committed: Option<LogId>,
    /// The last applied entry.
    pub applied: Option<LogId>,
    /// Index of the first entry in the store.
    pub first: Option<u64>,
    /// Index of the last entry in the store.
    pub last: Option<u64>,
    /// Records that cannot be read, one sentence each.
    pub problems: Vec<String>,
}

impl GroupState {
    fn read(source: &Source, region: &RegionRecords) -> Result<GroupState, InspectError> {
        let mut problems = Vec::new();
        let mut records = Records { source, region: region.id, problems: &mut problems };
        let vote = records.read(RaftStateKind::Vote, Vote::decode)?;
        let committed = records.read(RaftStateKind::Committed, LogId::decode)?;
        let purged = records.read(RaftStateKind::Purged, LogId::decode)?;
        let edge = |direction| {
            let found = progress::edge(source.engine(), region.id, direction);
            found.map_err(|error| source.failed(Family::RaftLog, error))
        };
        Ok(GroupState {
            region: region.id,
            vote,
            purged,
            committed,
            applied: region.applied_id(),
            first: edge(Direction::Forward)?,
            last: edge(Direction::Reverse)?,
            problems,
        })
    }

    /// How far the effects of the log are in RocksDB.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let index = |log_id: Option<LogId>| log_id.map(|log_id| log_id.index);
        Progress { applied: index(self.applied), committed: index(self.committed), last: self.last }
    }

    /// The positions that say how far an entry is.
    #[must_use]
    pub fn positions(&self) -> Positions {
        let index = |log_id: Option<LogId>| log_id.map(|log_id| log_id.index);
        Positions {
            purged: index(self.purged),
            applied: index(self.applied),
            committed: index(self.committed).max(index(self.applied)),
        }
    }
}

/// The records of one Region in family `raft_state`.
struct Records<'a> {
    source: &'a Source,
    region: u64,
    problems: &'a mut Vec<String>,
}

impl Records<'_> {
    /// Reads one record; a damaged one is a problem.
    fn read<T>(
        &mut self,
        kind: RaftStateKind,
        decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, InspectError> {
        let value = self.source.get(Family::RaftState, &raft_state(self.region, kind))?;
        Ok(value.and_then(|bytes| match decode(&bytes) {
            Ok(record) => Some(record),
            Err(error) => {
                let (region, name) = (self.region, kind.name());
                self.problems.push(format!("Region {region}, {name}: {error}"));
                None
            }
        }))
    }
}

/// Reads votes and log positions, of one Region or of all.
///
/// # Errors
/// There is no such Region, or a file is damaged.
pub fn states(source: &Source, region: Option<u64>) -> Result<Vec<GroupState>, InspectError> {
    let one = |region: &RegionRecords| GroupState::read(source, region);
    match region {
        Some(_) => Ok(vec![one(source.region(region)?)?]),
        None => source.regions.iter().map(one).collect(),
    }
}

/// Which part of a log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// The Region; `None` for the only one.
    pub region: Option<u64>,
    /// First index; `None` for the last entries up to the limit.
    pub from: Option<u64>,
    /// Last index, included; `None` for the end of the log.
    pub to: Option<u64>,
    /// Most entries to read.
    pub limit: usize,
}

/// A part of a Region's log.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    /// Votes and positions of the Region.
    pub state: GroupState,
    /// The entries, by index.
    pub entries: Vec<LogEntry>,
    /// Whether entries before or after these were left out because of the limit.
    pub more: bool,
    /// What is wrong with this part as a whole, one sentence each.
    pub problems: Vec<String>,
}

/// Reads entries.
///
/// # Errors
/// There is no such Region, or its state cannot be read. A damaged part of the log is a problem of
/// the answer.
pub fn log(source: &Source, query: &LogQuery) -> Result<Log, InspectError> {
    let region = source.region(query.region)?;
    let state = GroupState::read(source, region)?;
    let positions = state.positions();
    // Without a first index the last entries are wanted, so they are read from the end.
    let direction = if query.from.is_some() { Direction::Forward } else { Direction::Reverse };
    let range = span(region.id, query.from.unwrap_or(0), query.to.unwrap_or(u64::MAX));
    let mut log = Log { state, entries: Vec::new(), more: false, problems: Vec::new() };
    let mut cursor = source.cursor(Family::RaftLog, range, direction)?;
    loop {
        match cursor.next() {
            Ok(None) => break,
            Ok(Some(_)) if log.entries.len() == query.limit => {
                log.more = true;
                break;
            }
            Ok(Some((key, value))) => log.entries.push(LogEntry::decode(key, value, &positions)),
            Err(error) => {
                log.problems.push(source.failed(Family::RaftLog, error).in_one_line());
                break;
            }
        }
    }
    if direction == Direction::Reverse {
        log.entries.reverse();
    }
    log.find_gaps();
    Ok(log)
}

impl Log {
    /// Indexes follow each other without gap, and the first one follows the purged one.
    fn find_gaps(&mut self) {
        for pair in self.entries.windows(2) {
            if let [before, after] = pair
                && before.index.checked_add(1) != Some(after.index)
            {
                let (before, after) = (before.index, after.index);
                self.problems.push(format!("no entry between {before} and {after}"));
            }
        }
        let purged = self.state.purged.map(|purged| purged.index);
        if let (Some(purged), Some(first)) = (purged, self.state.first)
            && first > purged
            && first - purged > 1
        {
            self.problems
                .push(format!("the log is purged up to {purged}, but its first entry is {first}"));
        }
    }
}
