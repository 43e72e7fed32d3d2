//! What the engine holds of one group's log: the records and entries that an open reads.

use std::io;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind};
use neokv_encoding::raft as stored;
use neokv_engine::{Direction, Engine, KeyRange, Read};

use crate::error::StoreError;
use crate::types::{LogId, Origin, log_id_in};

/// The first index and the last id of the entries from `start` on.
pub(super) fn ends(
    engine: &Engine,
    region: u64,
    start: u64,
) -> Result<Option<(u64, LogId)>, StoreError> {
    let range = || log_range(region, start, u64::MAX);
    let mut front = engine.cursor(Family::RaftLog, range(), Direction::Forward)?;
    let Some((key, _)) = front.next()? else { return Ok(None) };
    let first = index_of(region, key)?;
    let mut back = engine.cursor(Family::RaftLog, range(), Direction::Reverse)?;
    let Some((key, value)) = back.next()? else { return Ok(None) };
    let last = index_of(region, key)?;
    let id = stored::Entry::decode_log_id(value).map_err(|source| StoreError::Record {
        region,
        what: "log entry",
        source,
    })?;
    if id.index != last {
        return Err(damaged_store(region, last, "the entry says it is another one"));
    }
    let id = Origin::Disk.log_id(id);
    let id = id.map_err(|error| damaged_store(region, last, &error.to_string()))?;
    Ok(Some((first, log_id_in(id))))
}

fn index_of(region: u64, key: &[u8]) -> Result<u64, StoreError> {
    let decoded = key::decode_raft_log(key);
    decoded.map(|(_, index)| index).map_err(|source| StoreError::Record {
        region,
        what: "log key",
        source,
    })
}

/// The committed position, if it names an entry of this log (which starts at `first`) or a purged
/// one. Raft would refuse to start from any other.
pub(super) fn trusted(
    engine: &Engine,
    region: u64,
    committed: Option<LogId>,
    first: u64,
) -> Result<Option<LogId>, StoreError> {
    let Some(committed) = committed.filter(|id| id.index >= first) else {
        return Ok(committed);
    };
    let entry = engine.get(Family::RaftLog, &key::raft_log(region, committed.index))?;
    let found = entry.and_then(|entry| stored::Entry::decode_log_id(&entry).ok());
    if found.map(log_id_in) == Some(committed) {
        return Ok(Some(committed));
    }
    tracing::warn!(region, %committed, "the committed position names no entry of the log: ignored");
    Ok(None)
}

/// The keys of the entries `start..end`.
pub(super) fn log_range(region: u64, start: u64, end: u64) -> KeyRange {
    KeyRange::new(key::raft_log(region, start).to_vec(), key::raft_log(region, end).to_vec())
}

/// [`damaged_store`], as Raft wants its errors.
pub(super) fn damaged(region: u64, index: u64, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, damaged_store(region, index, why))
}

/// The log is not what this store wrote.
pub(super) fn damaged_store(region: u64, index: u64, why: &str) -> StoreError {
    StoreError::DamagedLog { region, index, why: why.to_owned() }
}

/// Reads one record of the family `raft_state`.
pub(super) fn record<T>(
    engine: &Engine,
    region: u64,
    kind: RaftStateKind,
    what: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<T, neokv_encoding::DecodeError>,
) -> Result<Option<T>, StoreError> {
    let found = engine.get(Family::RaftState, &key::raft_state(region, kind))?;
    let Some(bytes) = found else { return Ok(None) };
    decode(&bytes).map(Some).map_err(|source| StoreError::Record { region, what, source })
}
