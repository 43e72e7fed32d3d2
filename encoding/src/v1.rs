//! The older format of strings ("phase 1"), kept readable.
//!
//! Before there was a family `metadata`, a string was one record in the data family: the key ended
//! in the tag `'S'`, and the value was the expiry followed by the payload.
//!
//! ```text
//! key    slot 2 · namespace 4 · length 4 · user key … · 'S'      UserKey::v1_string, family subkey
//! value  expire_ms 8 · payload …                                 0 = never expires
//! ```
//!
//! It shows how to change a format under live data: reads fall back to it when `metadata`
//! knows nothing, every write stores the newer form and deletes the old record, and so the old form
//! disappears without a migration run. The old form was replaced because a bare record does not
//! tell its type: telling a string from a hash took one look-up per type.

use crate::{
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence, show},
};

/// Tag at the end of the key of a string.
pub const STRING: u8 = b'S';

const TAG: &Field = &Field::new("tag", "phase-1 format: the type is part of the key")
    .show(show::letter)
    .evidence(evidence::tag);
const EXPIRE_MS: &Field = &Field::new("expire_ms", "phase-1 format: 0 = never expires")
    .show(show::expiry)
    .evidence(evidence::expiry);
const PAYLOAD: &Field = &Field::new("value", "phase-1 format: the string itself, to the end");

/// Value of a phase-1 string. `expire_ms` counts milliseconds since 1970; 0 never expires.
pub fn encode_value(expire_ms: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + payload.len());
    out.extend_from_slice(&expire_ms.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Expiry and payload of a phase-1 string.
///
/// # Errors
/// Fewer than eight bytes.
pub fn decode_value(bytes: &[u8]) -> std::result::Result<(u64, &[u8]), DecodeError> {
    layout::decode(bytes, "phase-1 string", read_value)
}

pub(crate) fn read_value<'a, T: Trace>(r: &mut Reader<'a, T>) -> Result<(u64, &'a [u8])> {
    Ok((r.u64(EXPIRE_MS)?, r.rest(PAYLOAD)))
}

pub(crate) fn read_tag<T: Trace>(r: &mut Reader<'_, T>) -> Result<()> {
    r.tag(TAG, |tag| (tag == STRING).then_some(()))
}
