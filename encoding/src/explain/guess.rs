//! Unknown bytes: every plausible reading, the best first.

use super::{
    Explained, applied, descriptor, entry, key, log_id, manifest, metadata, raw, replica, stats,
    store_identity, v1_string, vote, write_request,
};
use crate::family::Family;

/// Every plausible reading of bytes whose origin is unknown, the best first. The last one is always
/// the raw bytes, so there is at least one.
///
/// A reading is plausible if its evidence is positive. A field whose value would be rare in random
/// bytes adds evidence: a tag among few, a slot that is the key's own, a date of this century. Each
/// problem takes evidence away. Bytes with a torn end or one flipped bit still have enough of it to
/// be listed, below readings without problems.
pub fn guess(bytes: &[u8]) -> Vec<Explained> {
    let values = [
        entry,
        descriptor,
        applied,
        vote,
        log_id,
        stats,
        replica,
        manifest,
        store_identity,
        metadata,
        v1_string,
        write_request,
    ];
    let mut readings: Vec<Explained> =
        Family::ALL.iter().map(|family| key(*family, bytes)).collect();
    readings.extend(values.iter().map(|read| read(bytes)));
    // The keys of this family are fixed texts, and other bytes hardly ever equal one of them.
    for reading in
        readings.iter_mut().filter(|reading| reading.what == "default key" && reading.is_clean())
    {
        reading.evidence += 56;
    }
    readings.retain(|reading| reading.evidence > 0);
    // Stable: equal evidence keeps the order above.
    readings.sort_by_key(|reading| (!reading.is_clean(), -reading.evidence));
    readings.push(raw(bytes));
    readings
}
