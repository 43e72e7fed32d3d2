//! What the Regions of a store are, how far they are, and how many keys they have.
//!
//! [`crate::Source::regions`] has the records alone. Counting the keys of a Region reads one short
//! record for each of its slots.

use neokv_encoding::key::slot_bounds;
use neokv_engine::KeyRange;

use crate::error::InspectError;
use crate::progress::Progress;
use crate::records::RegionRecords;
use crate::slot_stats;
use crate::source::Source;

/// One Region of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// What the store has recorded about it.
    pub records: RegionRecords,
    /// Its user keys, expired ones included until they are removed. `None` if a record that is
    /// needed for this is missing or cannot be read, and for a tombstone.
    pub keys: Option<u64>,
    /// How far its log goes, and how far its effects are in the rows; `None` for a tombstone, and
    /// if it cannot be read.
    pub progress: Option<Progress>,
    /// What is wrong with its records, one sentence each.
    pub problems: Vec<String>,
}

/// All Regions of a store, by id.
#[must_use]
pub fn list(source: &Source) -> Vec<Region> {
    source.regions.iter().map(|records| counted(source, records)).collect()
}

/// One Region.
///
/// # Errors
/// There is no Region with this id.
pub fn show(source: &Source, id: u64) -> Result<Region, InspectError> {
    Ok(counted(source, source.region(Some(id))?))
}

fn counted(source: &Source, records: &RegionRecords) -> Region {
    let mut problems = records.problems();
    let descriptor = records.descriptor().filter(|_| !records.is_tombstone());
    let keys = descriptor.and_then(|descriptor| {
        let (start, end) = slot_bounds(descriptor.slots);
        let count = slot_stats::count(source, KeyRange::new(start, end));
        problems.extend(count.problems);
        count.keys
    });
    let progress = source.progress.get(&records.id).copied();
    Region { records: records.clone(), keys, progress, problems }
}
