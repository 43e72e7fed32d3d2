//! How far a Region's log goes, and how far its effects are in RocksDB.
//!
//! A server applies entries in memory and writes the rows to RocksDB some seconds later. What
//! RocksDB has is the state as of one write; the log holds the entries beyond it:
//!
//! ```text
//!  log    ──────────────────────┼─────────────────────┼──────────────┤ last
//!                            applied              committed
//!         effects in the rows    effects not in the rows: in the memory of a running server, or
//!         that are shown         applied by the next start
//! ```

use std::collections::BTreeMap;

use neokv_encoding::family::Family;
use neokv_encoding::key::{
    RaftStateKind, decode_raft_log, prefix_end, raft_log, raft_state, region_prefix,
};
use neokv_encoding::raft::LogId;
use neokv_engine::{Direction, Engine, EngineError, KeyRange, Read as _};

use crate::records::RegionRecords;

/// How far one Region is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The last entry whose effects are in RocksDB.
    pub applied: Option<u64>,
    /// The last entry that is known to be on a majority. As stored, which is lazily: it may be
    /// before `applied`.
    pub committed: Option<u64>,
    /// The last entry in the log.
    pub last: Option<u64>,
}

impl Progress {
    /// Entries in the log whose effects are not in RocksDB.
    #[must_use]
    pub fn lag(&self) -> u64 {
        // A log that ends before, or is empty, has been replaced by a snapshot.
        self.last.unwrap_or(0).saturating_sub(self.applied.unwrap_or(0))
    }

    /// How many of them are known to be on a majority.
    #[must_use]
    pub fn committed_lag(&self) -> u64 {
        let known = self.committed.unwrap_or(0).min(self.last.unwrap_or(0));
        known.saturating_sub(self.applied.unwrap_or(0))
    }
}

/// Reads how far each living Region is. What cannot be read is a problem, and that Region is left
/// out.
pub(crate) fn read(
    engine: &Engine,
    regions: &[RegionRecords],
) -> (BTreeMap<u64, Progress>, Vec<String>) {
    let (mut all, mut problems) = (BTreeMap::new(), Vec::new());
    for region in regions.iter().filter(|region| !region.is_tombstone()) {
        match of(engine, region) {
            Ok(progress) => drop(all.insert(region.id, progress)),
            Err(error) => problems
                .push(format!("how far the log of Region {} goes is unknown: {error}", region.id)),
        }
    }
    (all, problems)
}

fn of(engine: &Engine, region: &RegionRecords) -> Result<Progress, EngineError> {
    let committed =
        engine.get(Family::RaftState, &raft_state(region.id, RaftStateKind::Committed))?;
    // A damaged record is a problem of the answer that shows it.
    let committed = committed.and_then(|record| LogId::decode(&record).ok());
    Ok(Progress {
        applied: region.applied_id().map(|applied| applied.index),
        committed: committed.map(|committed| committed.index),
        last: edge(engine, region.id, Direction::Reverse)?,
    })
}

/// The first or last index of a Region's log.
pub(crate) fn edge(
    engine: &Engine,
    region: u64,
    direction: Direction,
) -> Result<Option<u64>, EngineError> {
    let mut cursor = engine.cursor(Family::RaftLog, span(region, 0, u64::MAX), direction)?;
    let found = cursor.next()?;
    Ok(found.and_then(|(key, _)| decode_raft_log(key).ok()).map(|(_, index)| index))
}

/// All indexes of a Region's log, from one to another, both included.
pub(crate) fn span(region: u64, from: u64, to: u64) -> KeyRange {
    let end = match to.checked_add(1) {
        Some(end) => raft_log(region, end).to_vec(),
        None => prefix_end(&region_prefix(region)),
    };
    KeyRange::new(raft_log(region, from), end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_begins_behind_what_is_applied() {
        // Each case: applied, committed, last; entries beyond, and those of them on a majority.
        for (applied, committed, last, lag, known) in [
            (Some(5), Some(4), Some(7), 2, 0),
            (Some(5), Some(6), Some(7), 2, 1),
            (None, None, Some(3), 3, 0),
            (None, Some(2), Some(3), 3, 2),
            (Some(9), Some(9), None, 0, 0),
            (Some(9), Some(12), Some(4), 0, 0),
            (None, None, None, 0, 0),
        ] {
            let progress = Progress { applied, committed, last };
            assert_eq!((progress.lag(), progress.committed_lag()), (lag, known));
        }
    }
}
