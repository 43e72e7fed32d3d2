//! The records of family `region`, Region by Region.
//!
//! A record that cannot be decoded is kept as the reason why, so that the others can be shown.

use std::collections::BTreeMap;
use std::fmt;

use neokv_encoding::DecodeError;
use neokv_encoding::family::Family;
use neokv_encoding::key::{RegionKind, decode_region};
use neokv_encoding::raft::LogId;
use neokv_encoding::region::{Applied, Descriptor, Stats};
use neokv_engine::{Direction, Engine, EngineError, KeyRange, Read as _};
use serde::Serialize;

use crate::output::json::Number;

/// A record, or why it cannot be read; `None` if there is none.
pub type Record<T> = Option<Result<T, DecodeError>>;

/// What a store knows about one Region.
#[derive(Clone, Debug, Default)]
pub struct RegionRecords {
    /// Region id.
    pub id: u64,
    /// What the Region is.
    pub descriptor: Record<Descriptor>,
    /// How far its log is applied here.
    pub applied: Record<Applied>,
    /// Numbers about its data.
    pub stats: Record<Stats>,
}

/// Term and index of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LogIdView {
    /// Term of the leader that wrote it.
    pub term: Number,
    /// Position in the log.
    pub index: Number,
}

impl From<LogId> for LogIdView {
    fn from(LogId { term, index }: LogId) -> LogIdView {
        LogIdView { term: Number(term), index: Number(index) }
    }
}

/// `term-index`.
impl fmt::Display for LogIdView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.index)
    }
}

impl RegionRecords {
    /// The last applied entry.
    #[must_use]
    pub fn applied_id(&self) -> Option<LogIdView> {
        let applied = self.applied.as_ref()?.as_ref().ok()?;
        applied.log_id.map(LogIdView::from)
    }

    /// What is wrong with the records.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let id = self.id;
        let name = |kind: RegionKind, error: &DecodeError| {
            format!("Region {id}, {}: {error}", kind.name())
        };
        let mut problems = Vec::new();
        problems.extend(refusal(&self.descriptor).map(|error| name(RegionKind::Descriptor, error)));
        problems.extend(refusal(&self.applied).map(|error| name(RegionKind::Applied, error)));
        problems.extend(refusal(&self.stats).map(|error| name(RegionKind::Stats, error)));
        if let Some(Ok(descriptor)) = &self.descriptor
            && descriptor.id != id
        {
            problems.push(format!("Region {id}, descriptor: it says Region {}", descriptor.id));
        }
        if self.descriptor.is_none() {
            problems.push(format!("Region {id} has records but no descriptor"));
        }
        problems
    }
}

fn refusal<T>(record: &Record<T>) -> Option<&DecodeError> {
    record.as_ref().and_then(|record| record.as_ref().err())
}

/// Reads all Regions, by id. A key that is none of a Region is skipped: `neoctl explain` is for
/// single records.
///
/// # Errors
/// A damaged or unreadable file.
pub fn read(engine: &Engine) -> Result<Vec<RegionRecords>, EngineError> {
    let mut regions: BTreeMap<u64, RegionRecords> = BTreeMap::new();
    let mut cursor = engine.cursor(Family::Region, KeyRange::all(), Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let Ok((id, kind)) = decode_region(key) else { continue };
        let region =
            regions.entry(id).or_insert_with(|| RegionRecords { id, ..RegionRecords::default() });
        match kind {
            RegionKind::Descriptor => region.descriptor = Some(Descriptor::decode(value)),
            RegionKind::Applied => region.applied = Some(Applied::decode(value)),
            RegionKind::Stats => region.stats = Some(Stats::decode(value)),
        }
    }
    Ok(regions.into_values().collect())
}
