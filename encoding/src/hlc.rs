//! The hybrid logical clock: 48 bits of milliseconds since 1970, then 16 bits of counter, in one
//! u64.
//!
//! ```text
//! hlc  018bcfe568000003
//!      018bcfe56800      = 1 700 000 000 000 ms = 2023-11-14T22:13:20Z
//!                  0003  = third step after the first of that millisecond
//! ```
//!
//! The leader stamps every log entry with `max(last stamp + commands in the entry, now << 16)`. So
//! stamps grow strictly within a Region even if a clock stands still or goes back, they follow real
//! time closely enough for expiry, and they give collections versions that are never used twice.
//! Two stamps compare as plain numbers.

/// Bits of the counter.
pub const COUNTER_BITS: u32 = 16;

/// The greatest number of milliseconds that a stamp is made from: in the year 4199. Behind it there
/// is room for more commands than a Region ever sees before a stamp is refused when it is read.
pub const MAX_MS: u64 = (1 << 46) - 1;

/// The first stamp of a millisecond. Milliseconds beyond [`MAX_MS`] count as [`MAX_MS`].
pub fn from_ms(ms: u64) -> u64 {
    ms.min(MAX_MS) << COUNTER_BITS
}

/// The milliseconds since 1970 of a stamp.
pub fn ms(hlc: u64) -> u64 {
    hlc >> COUNTER_BITS
}

/// The counter of a stamp.
pub fn counter(hlc: u64) -> u64 {
    hlc & ((1 << COUNTER_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let stamp = from_ms(1_700_000_000_000) + 3;
        assert_eq!(stamp, 0x018b_cfe5_6800_0003);
        assert_eq!((ms(stamp), counter(stamp)), (1_700_000_000_000, 3));
        assert_eq!(from_ms(u64::MAX), from_ms(MAX_MS));
        assert_eq!(ms(from_ms(u64::MAX)), MAX_MS);
        // The counter runs over into the milliseconds: still growing.
        assert_eq!(from_ms(5) + 65536, from_ms(6));
    }
}
