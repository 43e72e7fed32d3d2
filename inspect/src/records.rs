//! The records of family `region`, Region by Region.
//!
//! A record that cannot be decoded is kept as the reason why, so that the others can be shown.

use std::collections::BTreeMap;

use neokv_encoding::DecodeError;
use neokv_encoding::family::Family;
use neokv_encoding::key::{RegionKind, decode_region};
use neokv_encoding::raft::LogId;
use neokv_encoding::region::{Applied, Descriptor, Replica, ReplicaState};
use neokv_engine::{Direction, Engine, EngineError, KeyRange, Read as _};

/// A record, or why it cannot be read; `None` if there is none.
pub type Record<T> = Option<Result<T, DecodeError>>;

/// What a store has recorded about one Region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionRecords {
    /// Region id.
    pub id: u64,
    /// The peer that lives on this store, or the last one that did.
    pub replica: Record<Replica>,
    /// What the Region is.
    pub descriptor: Record<Descriptor>,
    /// How far its log is applied here.
    pub applied: Record<Applied>,
}

impl RegionRecords {
    /// What the Region is, if its record can be read.
    #[must_use]
    pub fn descriptor(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref()?.as_ref().ok()
    }

    /// This store's replica of it, if its record can be read.
    #[must_use]
    pub fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()?.as_ref().ok()
    }

    /// How far it is applied, if the record can be read.
    #[must_use]
    pub fn applied(&self) -> Option<&Applied> {
        self.applied.as_ref()?.as_ref().ok()
    }

    /// The last applied entry.
    #[must_use]
    pub fn applied_id(&self) -> Option<LogId> {
        self.applied()?.log_id
    }

    /// Whether this store had a replica and no longer has one.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.replica().is_some_and(|replica| replica.state == ReplicaState::Tombstone)
    }

    /// What is wrong with the records, one sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let id = self.id;
        let mut problems = Vec::new();
        let mut unreadable = |kind: RegionKind, error: Option<&DecodeError>| {
            let text = |error| format!("Region {id}, {}: {error}", kind.name());
            problems.extend(error.map(text));
        };
        unreadable(RegionKind::Replica, refusal(&self.replica));
        unreadable(RegionKind::Descriptor, refusal(&self.descriptor));
        unreadable(RegionKind::Applied, refusal(&self.applied));
        if let Some(descriptor) = self.descriptor()
            && descriptor.id != id
        {
            problems.push(format!("Region {id}, descriptor: it says Region {}", descriptor.id));
        }
        if self.replica.is_none() {
            problems.push(format!("Region {id} has records but none of its replica"));
        }
        // A joining replica learns its shape with its first snapshot, and a tombstone needs none.
        let is_member = self.replica().is_some_and(|replica| replica.state == ReplicaState::Member);
        if is_member && self.descriptor.is_none() {
            problems.push(format!("Region {id} has a member here but no descriptor"));
        }
        problems
    }
}

fn refusal<T>(record: &Record<T>) -> Option<&DecodeError> {
    record.as_ref().and_then(|record| record.as_ref().err())
}

/// Reads the records of all Regions, by id. Keys that belong to no Region are reported as problems.
pub(crate) fn read(engine: &Engine) -> Result<(Vec<RegionRecords>, Vec<String>), EngineError> {
    let mut regions: BTreeMap<u64, RegionRecords> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut cursor = engine.cursor(Family::Region, KeyRange::all(), Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let (id, kind) = match decode_region(key) {
            Ok(found) => found,
            Err(error) => {
                let key = key.escape_ascii();
                problems.push(format!("family region, key \"{key}\": {error}"));
                continue;
            }
        };
        let region =
            regions.entry(id).or_insert_with(|| RegionRecords { id, ..RegionRecords::default() });
        match kind {
            RegionKind::Replica => region.replica = Some(Replica::decode(value)),
            RegionKind::Descriptor => region.descriptor = Some(Descriptor::decode(value)),
            RegionKind::Applied => region.applied = Some(Applied::decode(value)),
        }
    }
    Ok((regions.into_values().collect(), problems))
}

#[cfg(test)]
mod tests {
    use neokv_encoding::region::Epoch;

    use super::*;

    fn with(state: ReplicaState) -> RegionRecords {
        let replica = Replica { peer: 1, state, epoch: Epoch::default() };
        RegionRecords { id: 3, replica: Some(Ok(replica)), ..RegionRecords::default() }
    }

    #[test]
    fn only_a_member_needs_a_descriptor() {
        assert!(with(ReplicaState::Joining).problems().is_empty());
        assert!(with(ReplicaState::Tombstone).problems().is_empty());
        let problems = with(ReplicaState::Member).problems();
        assert_eq!(problems, ["Region 3 has a member here but no descriptor"]);
    }

    #[test]
    fn records_without_a_replica_are_a_problem() {
        let records = RegionRecords { id: 3, ..RegionRecords::default() };
        assert_eq!(records.problems(), ["Region 3 has records but none of its replica"]);
    }
}
