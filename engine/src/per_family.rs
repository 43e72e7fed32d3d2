//! One value for each column family, found by index: a look-up never fails.

use neokv_encoding::family::Family;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PerFamily<T> {
    default: T,
    raft_log: T,
    raft_state: T,
    region: T,
    metadata: T,
    subkey: T,
    zset_score: T,
    expire: T,
    slot_stats: T,
}

impl<T> PerFamily<T> {
    /// What `make` makes for each family.
    pub(crate) fn try_from_fn<E>(
        mut make: impl FnMut(Family) -> Result<T, E>,
    ) -> Result<PerFamily<T>, E> {
        Ok(PerFamily {
            default: make(Family::Default)?,
            raft_log: make(Family::RaftLog)?,
            raft_state: make(Family::RaftState)?,
            region: make(Family::Region)?,
            metadata: make(Family::Metadata)?,
            subkey: make(Family::Subkey)?,
            zset_score: make(Family::ZsetScore)?,
            expire: make(Family::Expire)?,
            slot_stats: make(Family::SlotStats)?,
        })
    }

    #[inline]
    pub(crate) fn get(&self, family: Family) -> &T {
        match family {
            Family::Default => &self.default,
            Family::RaftLog => &self.raft_log,
            Family::RaftState => &self.raft_state,
            Family::Region => &self.region,
            Family::Metadata => &self.metadata,
            Family::Subkey => &self.subkey,
            Family::ZsetScore => &self.zset_score,
            Family::Expire => &self.expire,
            Family::SlotStats => &self.slot_stats,
        }
    }
}
