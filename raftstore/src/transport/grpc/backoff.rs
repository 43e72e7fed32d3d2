//! Pauses between attempts to connect.
//!
//! Each pause may be twice as long as the one before, up to a bound, and is drawn from the upper
//! half of that: stores that lost the same peer at the same moment do not come back together.

use std::time::Duration;

use crate::random::SplitMix64;

/// See the module.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    /// The longest that the next pause may be.
    next: Duration,
    random: SplitMix64,
}

impl Backoff {
    /// Pauses from `min` up to `max`.
    pub(super) fn new(min: Duration, max: Duration, random: SplitMix64) -> Backoff {
        let min = min.min(max);
        Backoff { min, max, next: min, random }
    }

    /// How long to wait before the next attempt.
    pub(super) fn pause(&mut self) -> Duration {
        let longest = self.next;
        self.next = longest.saturating_mul(2).min(self.max);
        let half = longest / 2;
        let micros = u64::try_from(half.as_micros()).unwrap_or(u64::MAX);
        half + Duration::from_micros(self.random.below(micros.saturating_add(1)))
    }

    /// The connection held: the next failure is a first one.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }

    /// The longest pause of all.
    pub(super) fn longest(&self) -> Duration {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn pauses_double_up_to_the_bound_and_are_drawn_from_the_upper_half() {
        for seed in 0..50 {
            let mut backoff = Backoff::new(50 * MS, 2000 * MS, SplitMix64::new(seed));
            for longest in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
                let pause = backoff.pause();
                assert!(longest * MS / 2 <= pause && pause <= longest * MS, "{pause:?}");
            }
            backoff.reset();
            assert!(backoff.pause() <= 50 * MS);
        }
    }

    #[test]
    fn two_stores_do_not_wait_alike() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(50 * MS, 2000 * MS, SplitMix64::new(seed));
            (0..8).map(|_| backoff.pause()).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }

    #[test]
    fn bounds_in_the_wrong_order_do_no_harm() {
        let mut backoff = Backoff::new(5 * MS, Duration::ZERO, SplitMix64::new(1));
        assert_eq!((backoff.pause(), backoff.pause()), (Duration::ZERO, Duration::ZERO));
    }
}
