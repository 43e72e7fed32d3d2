//! Values of family `slot_stats`: numbers about the keys of one slot, kept exact by apply.
//!
//! ```text
//! slot stats  version 1 · keys 8
//! ```
//!
//! The counts are per slot and not per Region, because a Region is a range of slots: a split or a
//! merge of Regions leaves these records where they are, and no count has to be divided. A slot
//! without keys has no record.

use crate::{
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence},
    raft,
};

const KEYS: &Field =
    &Field::new("keys", "number of user keys, for DBSIZE").evidence(evidence::small);

/// Numbers about the keys of one slot and namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SlotStats {
    /// Number of user keys.
    pub keys: u64,
}

impl SlotStats {
    /// The record of family `slot_stats`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = raft::versioned(9);
        out.extend_from_slice(&self.keys.to_be_bytes());
        out
    }

    /// The inverse of [`SlotStats::encode`].
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<SlotStats, DecodeError> {
        layout::decode(bytes, "slot stats", read)
    }
}

pub(crate) fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<SlotStats> {
    raft::read_version(r)?;
    Ok(SlotStats { keys: r.u64(KEYS)? })
}
