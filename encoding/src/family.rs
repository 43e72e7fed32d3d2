//! The nine column families, by name.
//!
//! A column family is a key space of its own inside the one RocksDB of a store. Which family a
//! record is in decides what its key and value mean (see [`crate::key`]); the engine decides how
//! each family is tuned.
//!
//! | family | key → value |
//! | --- | --- |
//! | `default` | `"identity"` → [`Identity`](crate::identity::Identity); `"behind"` and `"ingest/"` · Region → nothing |
//! | `raft_log` | Region · index → [`Entry`](crate::raft::Entry) |
//! | `raft_state` | Region · kind → [`Vote`](crate::raft::Vote) or [`LogId`](crate::raft::LogId) |
//! | `region` | Region · kind → replica, descriptor, applied state: [`crate::region`] |
//! | `metadata` | slot · namespace · key → [`Metadata`](crate::metadata::Metadata) |
//! | `subkey` | slot · namespace · key · version · subkey → field value, element, score or nothing |
//! | `zset_score` | slot · namespace · key · version · score · member → nothing |
//! | `expire` | slot · expiry · namespace · key → nothing |
//! | `slot_stats` | slot · namespace → [`SlotStats`](crate::slot_stats::SlotStats) |

use std::fmt;

/// A column family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The store's identity, and marks of unfinished ingests.
    Default,
    /// Log entries of all Regions.
    RaftLog,
    /// Votes and log positions of all Regions.
    RaftState,
    /// Descriptors and applied states of all Regions.
    Region,
    /// One record per user key: type, expiry, and the value of a string.
    Metadata,
    /// Fields, members, elements; and strings of the phase-1 format.
    Subkey,
    /// Members of sorted sets by score.
    ZsetScore,
    /// Keys with an expiry, by time.
    Expire,
    /// Numbers about the keys of each slot.
    SlotStats,
}

impl Family {
    /// Every family, in the order of the table above.
    pub const ALL: [Family; 9] = [
        Family::Default,
        Family::RaftLog,
        Family::RaftState,
        Family::Region,
        Family::Metadata,
        Family::Subkey,
        Family::ZsetScore,
        Family::Expire,
        Family::SlotStats,
    ];

    /// The families that hold users' data. Their keys start with the slot, so that a Region is one
    /// range in each.
    pub const DATA: [Family; 5] =
        [Family::Metadata, Family::Subkey, Family::ZsetScore, Family::Expire, Family::SlotStats];

    /// Name of the column family in RocksDB.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Default => "default",
            Family::RaftLog => "raft_log",
            Family::RaftState => "raft_state",
            Family::Region => "region",
            Family::Metadata => "metadata",
            Family::Subkey => "subkey",
            Family::ZsetScore => "zset_score",
            Family::Expire => "expire",
            Family::SlotStats => "slot_stats",
        }
    }

    /// The family with this name.
    pub fn from_name(name: &str) -> Option<Family> {
        Family::ALL.into_iter().find(|family| family.name() == name)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_found() {
        for family in Family::ALL {
            assert_eq!(Family::from_name(family.name()), Some(family));
        }
        assert_eq!(Family::from_name("data"), None);
    }
}
