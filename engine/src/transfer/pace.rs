//! How fast all exports together may read.
//!
//! A [`Pace`] is a token bucket, kept as one instant: the time at which everything that was taken
//! from it so far would have passed at the given rate. Whoever takes more moves this instant on and
//! sleeps until it. An instant in the past means that nothing passed for a while; at most
//! [`BURST`] of that time is still worth something.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The unused time that may be made up for.
const BURST: Duration = Duration::from_millis(100);

/// Longest time that one step should sleep, so that a slow export still ends soon after it is told
/// to. A row that is larger than a step takes as long as it takes.
const STEPS_PER_SECOND: u64 = 10;

/// Largest step in bytes.
const LARGEST_STEP: u64 = 256 << 10;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// A rate in bytes per second that any number of exports share.
#[derive(Debug)]
pub struct Pace {
    rate: Option<NonZeroU64>,
    /// When everything that was taken has passed.
    passed: Mutex<Instant>,
}

impl Pace {
    /// At most this many bytes of keys and values per second; `None` for as fast as it goes.
    pub fn new(bytes_per_second: Option<NonZeroU64>) -> Pace {
        Pace { rate: bytes_per_second, passed: Mutex::new(Instant::now()) }
    }

    /// How many bytes to gather before [`Pace::wait_for`] is worth a call.
    pub(super) fn step(&self) -> u64 {
        self.rate
            .map_or(LARGEST_STEP, |rate| (rate.get() / STEPS_PER_SECOND).clamp(1, LARGEST_STEP))
    }

    /// Takes `bytes` from the bucket and sleeps until they are due.
    pub(super) fn wait_for(&self, bytes: u64) {
        let wait = self.take(Instant::now(), bytes);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
    }

    /// Takes `bytes` at the time `now`: how long to wait for them.
    fn take(&self, now: Instant, bytes: u64) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let nanos = u128::from(bytes) * NANOS_PER_SECOND / u128::from(rate.get());
        let needed = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut passed = self.passed.lock();
        let from = now.checked_sub(BURST).map_or(*passed, |earliest| earliest.max(*passed));
        // A time beyond the end of the clock never comes: nothing is left to add up.
        *passed = from.checked_add(needed).unwrap_or(from);
        passed.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rate: u64) -> (Pace, Instant) {
        let pace = Pace::new(NonZeroU64::new(rate));
        let began = *pace.passed.lock();
        (pace, began)
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_rate_is_kept_over_many_steps() {
        let (pace, mut now) = pace(1000);
        let began = now;
        for _ in 0..50 {
            now += pace.take(now, 100);
        }
        assert_eq!(now - began, ms(5000), "5000 bytes at 1000 per second");
    }

    #[test]
    fn all_who_share_it_add_up() {
        let (pace, now) = pace(1000);
        assert_eq!(pace.take(now, 500), ms(500));
        assert_eq!(pace.take(now, 500), ms(1000), "the second waits for the first");
        assert_eq!(pace.take(now + ms(1000), 0), ms(0));
    }

    #[test]
    fn idle_time_is_worth_one_burst() {
        let (pace, now) = pace(1000);
        assert_eq!(pace.take(now + ms(60_000), 100), ms(0));
        assert_eq!(pace.take(now + ms(60_000), 100), ms(100));
    }

    #[test]
    fn no_rate_never_waits() {
        let unlimited = Pace::new(None);
        assert_eq!(unlimited.take(Instant::now(), u64::MAX), ms(0));
        assert_eq!(unlimited.step(), LARGEST_STEP);
    }

    #[test]
    fn a_step_takes_a_tenth_of_a_second_at_most() {
        assert_eq!(pace(1000).0.step(), 100);
        assert_eq!(pace(1).0.step(), 1);
        assert_eq!(pace(u64::MAX).0.step(), LARGEST_STEP);
    }
}
