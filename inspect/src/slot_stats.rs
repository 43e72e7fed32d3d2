//! Sums of family `slot_stats`: how many user keys there are in a range of slots.

use neokv_encoding::family::Family;
use neokv_encoding::key::decode_slot_stats;
use neokv_encoding::slot_stats::SlotStats;
use neokv_engine::{Direction, KeyRange};

use crate::error::InspectError;
use crate::source::Source;

/// A number of user keys.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// The sum, expired keys included until they are removed; `None` if one part is unknown.
    pub(crate) keys: Option<u64>,
    /// Records that cannot be read.
    pub(crate) problems: Vec<String>,
}

/// Adds the records of a range up. There is at most one for each slot and namespace.
pub(crate) fn count(source: &Source, range: KeyRange) -> Count {
    walk(source, range)
        .unwrap_or_else(|error| Count { keys: None, problems: vec![error.in_one_line()] })
}

fn walk(source: &Source, range: KeyRange) -> Result<Count, InspectError> {
    let failed = |error| source.failed(Family::SlotStats, error);
    let mut cursor = source.cursor(Family::SlotStats, range, Direction::Forward)?;
    let mut count = Count { keys: Some(0), problems: Vec::new() };
    while let Some((key, value)) = cursor.next().map_err(failed)? {
        let slot = decode_slot_stats(key);
        let stats = SlotStats::decode(value);
        // The sum of 16384 damaged records may be too large for a number.
        let sum = match (&slot, &stats) {
            (Ok(_), Ok(stats)) => count.keys.and_then(|keys| keys.checked_add(stats.keys)),
            _ => None,
        };
        count.keys = sum;
        let place = match &slot {
            Ok((slot, namespace)) => format!("slot {slot}, namespace {namespace}"),
            Err(_) => format!("key \"{}\"", key.escape_ascii()),
        };
        let error = slot.err().or(stats.err());
        count.problems.extend(error.map(|error| format!("slot stats, {place}: {error}")));
    }
    Ok(count)
}
