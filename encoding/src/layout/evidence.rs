//! Evidence that a value adds for a format, in bits: how rare the value would be if the bytes were
//! of another format. [`crate::explain::guess()`] ranks readings of unknown bytes by it.
//!
//! Eight zero bytes are common in real data; a plausible date in the right place is rare. The
//! numbers are estimates, not measurements. They are good enough if they put the reading first that
//! a person would choose.

/// Times between 2001 and 2128 are plausible in milliseconds; a random u64 hardly ever is one.
const EPOCH: std::ops::Range<u64> = 1_000_000_000_000..5_000_000_000_000;

/// A byte of a few known values. Unknown ones end the decoding, so every value that gets here
/// counts.
pub(crate) fn tag(_: u64) -> i32 {
    6
}

/// A number that is small in practice: an id, a count, an index.
pub(crate) fn small(value: u64) -> i32 {
    match value {
        0..0x1_0000 => 6,
        0x1_0000..0x1_0000_0000 => 3,
        _ => -8,
    }
}

/// A slot: refused by the decoder if there is no such slot.
pub(crate) fn slot(_: u64) -> i32 {
    2
}

/// Milliseconds since 1970.
pub(crate) fn time(ms: u64) -> i32 {
    if EPOCH.contains(&ms) { 20 } else { -8 }
}

/// Milliseconds since 1970, or 0 for never.
pub(crate) fn expiry(ms: u64) -> i32 {
    if ms == 0 { 10 } else { time(ms) }
}

/// A stamp of the hybrid logical clock. A test's clock may start at 0.
pub(crate) fn hlc(stamp: u64) -> i32 {
    if stamp < 0x100_0000 { 4 } else { time(crate::hlc::ms(stamp)) }
}
