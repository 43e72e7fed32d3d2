//! The records of Regions, as they are in the engine.
//!
//! ```text
//!   region  replica      this store's own: which peer lives here
//!   region  descriptor   the Region's shape; missing while a joining replica knows nothing yet
//!   region  applied      how far its log is applied
//! ```

use std::collections::BTreeMap;

use neokv_encoding::DecodeError;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind, RegionKind};
use neokv_encoding::region::{Applied, Descriptor, Epoch, RegionState, Replica, ReplicaState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, Engine, KeyRange, Read};

use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::ranges::{self, FamilyRange};
use crate::types::Origin;

/// What is recorded about one Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) region: u64,
    pub(crate) replica: Replica,
    pub(crate) descriptor: Option<Descriptor>,
}

impl Recorded {
    /// The Region, if a replica of it lives here and knows its shape.
    fn living(&self) -> Option<&Descriptor> {
        self.descriptor.as_ref().filter(|_| self.replica.state != ReplicaState::Tombstone)
    }
}

/// The shape of a replica that knows nothing of its Region yet.
pub(crate) fn unknown(region: u64) -> Descriptor {
    Descriptor {
        id: region,
        slots: SlotRange { start: 0, end: 0 },
        epoch: Epoch::default(),
        peers: Vec::new(),
        state: RegionState::Normal,
    }
}

/// Every Region that has or had a replica here, by id.
pub(crate) fn all(from: &dyn Read) -> Result<Vec<Recorded>, StoreError> {
    let mut replicas = BTreeMap::new();
    let mut descriptors = BTreeMap::new();
    let mut cursor = from.cursor(Family::Region, KeyRange::all(), Direction::Forward)?;
    while let Some((key, value)) = cursor.next()? {
        let (region, kind) = key::decode_region(key).map_err(|source| StoreError::Record {
            region: 0,
            what: "region key",
            source,
        })?;
        match kind {
            RegionKind::Replica => {
                let replica = Replica::decode(value);
                replicas.insert(region, damaged(region, "replica", replica)?);
            }
            RegionKind::Descriptor => {
                let descriptor = descriptor_in(value);
                descriptors.insert(region, damaged(region, "descriptor", descriptor)?);
            }
            RegionKind::Applied => {}
        }
    }
    if let Some(region) = descriptors.keys().find(|region| !replicas.contains_key(region)) {
        return Err(StoreError::Missing { region: *region, what: "replica" });
    }
    let join =
        |(region, replica)| Recorded { region, replica, descriptor: descriptors.remove(&region) };
    Ok(replicas.into_iter().map(join).collect())
}

/// What the Regions of this store other than `region` own of the data.
pub(crate) fn owned_by_others<M: StateMachine>(
    from: &dyn Read,
    machine: &M,
    region: u64,
) -> Result<Vec<FamilyRange>, StoreError> {
    let all = all(from)?;
    let others = all.iter().filter(|one| one.region != region).filter_map(Recorded::living);
    Ok(others.flat_map(|descriptor| machine.ranges(descriptor)).collect())
}

/// The ranges of all slots, except what the Regions of this store other than `region` own.
pub(crate) fn unowned_but_for<M: StateMachine>(
    from: &dyn Read,
    machine: &M,
    region: u64,
) -> Result<Vec<FamilyRange>, StoreError> {
    let whole = Descriptor { slots: SlotRange::ALL, ..unknown(region) };
    let others = owned_by_others(from, machine, region)?;
    Ok(ranges::subtract(machine.ranges(&whole), &others))
}

/// The ranges of all slots, except what a Region of this store owns, and what an unfinished removal
/// is to clear. Rows there have no explanation.
pub(crate) fn unexplained<M: StateMachine>(
    from: &dyn Read,
    machine: &M,
) -> Result<Vec<FamilyRange>, StoreError> {
    let whole = Descriptor { slots: SlotRange::ALL, ..unknown(0) };
    let all = all(from)?;
    let known = all.iter().filter_map(|one| one.descriptor.as_ref());
    let known: Vec<FamilyRange> = known.flat_map(|known| machine.ranges(known)).collect();
    Ok(ranges::subtract(machine.ranges(&whole), &known))
}

/// Those of the ranges that hold a row.
pub(crate) fn with_rows(
    from: &dyn Read,
    ranges: Vec<FamilyRange>,
) -> Result<Vec<FamilyRange>, StoreError> {
    let mut found = Vec::new();
    for (family, range) in ranges {
        let has_row = from.cursor(family, range.clone(), Direction::Forward)?.next()?.is_some();
        if has_row {
            found.push((family, range));
        }
    }
    Ok(found)
}

/// Family and key of the first row in each of the ranges that hold one.
pub(crate) fn first_rows(
    from: &dyn Read,
    ranges: Vec<FamilyRange>,
) -> Result<Vec<(Family, Vec<u8>)>, StoreError> {
    let mut found = Vec::new();
    for (family, range) in ranges {
        let mut cursor = from.cursor(family, range, Direction::Forward)?;
        found.extend(cursor.next()?.map(|(key, _)| (family, key.to_vec())));
    }
    Ok(found)
}

/// Whether anything but the replica record is left of a Region.
pub(crate) fn has_remains(from: &dyn Read, region: u64) -> Result<bool, StoreError> {
    let records = [RegionKind::Descriptor, RegionKind::Applied]
        .map(|kind| (Family::Region, key::region(region, kind).to_vec()));
    let states =
        RaftStateKind::ALL.map(|kind| (Family::RaftState, key::raft_state(region, kind).to_vec()));
    for (family, key) in records.into_iter().chain(states) {
        if from.get(family, &key)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The descriptor record of a Region.
pub(crate) fn descriptor(from: &dyn Read, region: u64) -> Result<Option<Descriptor>, StoreError> {
    record(from, region, RegionKind::Descriptor, "descriptor", descriptor_in)
}

/// The applied record of a Region.
pub(crate) fn applied(from: &dyn Read, region: u64) -> Result<Option<Applied>, StoreError> {
    record(from, region, RegionKind::Applied, "applied", applied_in)
}

/// The same as it is in RocksDB: a restart goes on from there.
pub(crate) fn applied_behind(engine: &Engine, region: u64) -> Result<Option<Applied>, StoreError> {
    let stored = engine.get_behind(Family::Region, &key::region(region, RegionKind::Applied))?;
    let decoded = stored.as_deref().map(applied_in).transpose();
    decoded.map_err(|source| StoreError::Record { region, what: "applied", source })
}

fn applied_in(bytes: &[u8]) -> Result<Applied, DecodeError> {
    Applied::decode(bytes).and_then(|found| Origin::Disk.applied(found))
}

/// The replica record of a Region.
pub(crate) fn replica(from: &dyn Read, region: u64) -> Result<Option<Replica>, StoreError> {
    record(from, region, RegionKind::Replica, "replica", Replica::decode)
}

fn descriptor_in(bytes: &[u8]) -> Result<Descriptor, DecodeError> {
    Descriptor::decode(bytes).and_then(|found| Origin::Disk.descriptor(found))
}

fn record<T>(
    from: &dyn Read,
    region: u64,
    kind: RegionKind,
    what: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
) -> Result<Option<T>, StoreError> {
    let found = from.get(Family::Region, &key::region(region, kind))?;
    let Some(bytes) = found else { return Ok(None) };
    damaged(region, what, decode(&bytes)).map(Some)
}

fn damaged<T>(
    region: u64,
    what: &'static str,
    decoded: Result<T, DecodeError>,
) -> Result<T, StoreError> {
    decoded.map_err(|source| StoreError::Record { region, what, source })
}
