//! Whose directory this is, and what is in it.

use neokv_encoding::family::Family;
use neokv_encoding::identity::Identity;
use neokv_engine::KeyRange;

use crate::records::RegionRecords;
use crate::slot_stats;
use crate::source::Source;

/// A summary of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whose directory it is; `None` before the store joined a cluster.
    pub identity: Option<Identity>,
    /// Number of Regions with a record here.
    pub regions: usize,
    /// User keys of all Regions, as apply counts them; `None` if one of the counts cannot be read.
    pub keys: Option<u64>,
    /// Every column family, in its usual order.
    pub families: Vec<FamilySize>,
    /// What is wrong with the records that were read for this, one sentence each.
    pub problems: Vec<String>,
}

/// How large a column family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FamilySize {
    /// The family.
    pub family: Family,
    /// Number of rows, estimated by RocksDB.
    pub rows: u64,
    /// Bytes in its files. What is only in memory and in the write-ahead log is not in them.
    pub file_bytes: u64,
}

/// Summarises a store.
#[must_use]
pub fn summary(source: &Source) -> Summary {
    let families = Family::ALL.into_iter().map(|family| {
        let stats = source.engine().family_stats(family);
        FamilySize { family, rows: stats.keys, file_bytes: stats.live_file_bytes }
    });
    let count = slot_stats::count(source, KeyRange::all());
    let mut problems: Vec<String> =
        source.regions.iter().flat_map(RegionRecords::problems).collect();
    problems.extend(count.problems);
    Summary {
        identity: source.identity,
        regions: source.regions.len(),
        keys: count.keys,
        families: families.collect(),
        problems,
    }
}
