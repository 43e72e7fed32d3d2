//! Keys of every family: bytes that RocksDB sorts the way the server wants to scan.
//!
//! Data keys (slots and users' data):
//!
//! ```text
//! metadata    slot 2 · namespace 4 · user key …
//! subkey      slot 2 · namespace 4 · length 4 · user key … · version 8 · subkey …
//!             slot 2 · namespace 4 · length 4 · user key … · 'S'        a phase-1 string
//! zset_score  slot 2 · namespace 4 · length 4 · user key … · version 8 · score 8 · member …
//! expire      slot 2 · expire_ms 8 · namespace 4 · user key …
//! slot_stats  slot 2 · namespace 4
//! ```
//!
//! * The slot comes first and no Region id is in the key: a Region is one contiguous range in every
//!   family, and a split moves no data. See [`slot_bounds`].
//! * The rest of a key follows the order of the scans: SCAN by name, HGETALL all parts of one
//!   collection, ZRANGE by score and then member, the cleaner by time. Numbers are big-endian, so
//!   that they sort as numbers.
//! * Where something follows the user key its length comes before it: a user key may contain any
//!   byte, so no byte could mark its end. `metadata` and `expire` keys need no length because
//!   nothing follows.
//! * `version` ties parts to one incarnation of their key. After DEL and a new HSET the old parts
//!   carry another version. They are orphans: invisible at once, dropped later.
//!
//! The bookkeeping keys of `raft_log`, `raft_state` and `region` are the Region id, then index or
//! kind: [`raft_log()`], [`raft_state()`], [`region()`]. Those of `default` begin with a name:
//! [`IDENTITY`], [`ingest()`].
//!
//! Types: [`UserKey`] makes data keys. [`SubkeyRef`] and [`ScoreRef`] read them without copying;
//! [`SubkeyKey`], [`ScoreKey`] and [`ExpireKey`] own what they read. Decoders check lengths and
//! slots below 16384, but not that the slot is the key's own: that costs a CRC per key, and
//! [`crate::explain`] is there for suspicious bytes.

mod data;
mod system;

pub use data::{ExpireKey, ScoreKey, ScoreRef, SubkeyFamilyRef, SubkeyKey, SubkeyRef, UserKey};
pub(crate) use data::{
    read_expire, read_metadata, read_score, read_slot_stats, read_subkey_family,
};
pub use system::{
    BEHIND, DefaultKey, IDENTITY, INGEST_PREFIX, RaftStateKind, RegionKind, decode_default,
    decode_raft_log, decode_raft_state, decode_region, ingest, raft_log, raft_state, region,
    region_prefix,
};
pub(crate) use system::{read_default, read_raft_log, read_raft_state, read_region};

use crate::{error::DecodeError, layout, slot::SlotRange};

/// The keys of a slot range, valid in every data family: the first key, and the first key that is
/// not in it any more.
///
/// ```
/// use neokv_encoding::{key::slot_bounds, slot::SlotRange};
/// assert_eq!(slot_bounds(SlotRange::ALL), (vec![0x00, 0x00], vec![0x40, 0x00]));
/// ```
pub fn slot_bounds(range: SlotRange) -> (Vec<u8>, Vec<u8>) {
    (slot_prefix(range.start).to_vec(), slot_prefix(range.end).to_vec())
}

/// What the keys of one slot start with in every data family.
pub fn slot_prefix(slot: u16) -> [u8; 2] {
    slot.to_be_bytes()
}

/// What the `metadata` keys of one slot and namespace start with.
pub fn metadata_slot_prefix(slot: u16, namespace: u32) -> [u8; 6] {
    let ([s0, s1], [n0, n1, n2, n3]) = (slot_prefix(slot), namespace.to_be_bytes());
    [s0, s1, n0, n1, n2, n3]
}

/// Key of the numbers about one slot and namespace in family `slot_stats`.
pub fn slot_stats(slot: u16, namespace: u32) -> [u8; 6] {
    metadata_slot_prefix(slot, namespace)
}

/// Slot and namespace of a key of family `slot_stats`.
///
/// # Errors
/// Other than six bytes, or a slot that does not exist.
pub fn decode_slot_stats(bytes: &[u8]) -> Result<(u16, u32), DecodeError> {
    layout::decode(bytes, "slot_stats key", read_slot_stats)
}

/// The subkey of a list's element: its position, so that the elements sort by position.
pub fn list_subkey(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

/// The position in the subkey of a list's element. `None` if the subkey has not eight bytes.
pub fn list_position(subkey: &[u8]) -> Option<u64> {
    subkey.try_into().ok().map(u64::from_be_bytes)
}

/// The smallest key greater than every key that starts with `prefix`; empty if there is none (the
/// prefix is all 0xff).
///
/// ```
/// use neokv_encoding::key::prefix_end;
/// assert_eq!(prefix_end(&[1, 2]), [1, 3]);
/// assert_eq!(prefix_end(&[1, 0xff]), [2]);
/// assert_eq!(prefix_end(&[0xff, 0xff]), []);
/// ```
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}
