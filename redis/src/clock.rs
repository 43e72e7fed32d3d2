//! The wall clock of this machine, in microseconds: for TIME and INFO, which tell the time as the
//! machine has it.
//!
//! Nothing else uses it. The time of the Region decides expiry and stamps entries
//! ([`Region::now_ms`](neokv_raftstore::Region::now_ms)): it never goes back and does not follow a
//! jump of this clock at once.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970; zero if the clock stands before that.
#[must_use]
pub fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Microseconds since 1970.
#[must_use]
pub fn now_us() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}
