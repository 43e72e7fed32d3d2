//! The one clock of a store: what entries are stamped with, and what readers decide expiry by.
//!
//! The wall clock of a machine jumps: an operator sets it, a virtual machine wakes up, a time
//! server corrects hours at once. A store must neither adopt a jump for good nor stand still after
//! one. So the clock here runs by the machine's *monotonic* time and only drifts towards the wall
//! clock:
//!
//! ```text
//!   wall ahead by at most STEP          adopted at once (a time server at work)
//!   wall ahead by more                  the clock runs at twice its speed until it has caught up,
//!                                       which takes as long as the jump was
//!   wall behind                         the clock runs at half its speed until the wall has
//!                                       caught up
//! ```
//!
//! * It **never goes back**: a key that has expired for one reader has expired for all after it.
//! * It **never stands still**: after the wall clock was set back, keys go on expiring.
//! * A jump is **bounded**: one that lasts ten minutes moves the clock by ten minutes and a
//!   [`STEP`] at most, and the same time later it is right again.
//! * A jump is **reported**: [`Clock::offset_ms`] is a metric, and the log says when it grows
//!   large.
//!
//! Monotonic time includes the time that the machine slept (`CLOCK_BOOTTIME`), so waking up is no
//! jump. At its start the clock adopts the wall time, because nothing else tells how long the
//! process was down.
//!
//! [`Clock::observe`] tells it about a stamp of another machine that was applied here: the clock
//! goes on from there, but is never more than a [`STEP`] ahead of the wall because of it. A machine
//! whose clock is a year ahead must not drag the others with it. The Regions that it has stamped do
//! not go back all the same: each has a clock of its own for that ([`crate::region_clock`]).

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::time::{ClockId, clock_gettime};

use crate::metrics;

/// Milliseconds by which the wall clock may be ahead and still be believed at once.
const STEP: u64 = 1000;

/// Where the clock gets the time from.
pub trait TimeSource: Send + Sync + 'static {
    /// Milliseconds since 1970 by the machine's clock, which may jump; 0 if it stands before that.
    fn wall_ms(&self) -> u64;
    /// Time since some fixed moment, which only grows.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemTimeSource;

impl TimeSource for SystemTimeSource {
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanos)
    }
}

/// A store's clock. Clones are the same clock.
#[derive(Clone)]
pub struct Clock(Arc<Inner>);

struct Inner {
    source: Box<dyn TimeSource>,
    state: Mutex<State>,
}

/// What the clock showed last.
#[derive(Debug)]
struct State {
    /// Milliseconds since 1970.
    shown_ms: u64,
    /// Monotonic time at which it showed that.
    at: Duration,
    /// Monotonic time that has not been shown yet, because it is less than a millisecond.
    rest: Duration,
    /// Milliseconds by which the wall clock was ahead (or, negative, behind) then.
    offset_ms: i64,
    /// Whether the operator has been told that the clocks differ.
    reported: bool,
    /// Whether the operator has been told that a stamp of another store is ahead.
    peer_reported: bool,
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new(SystemTimeSource)
    }
}

impl Clock {
    /// A clock that starts at the wall time.
    pub fn new(source: impl TimeSource) -> Clock {
        let state = State {
            shown_ms: source.wall_ms(),
            at: source.monotonic(),
            rest: Duration::ZERO,
            offset_ms: 0,
            reported: false,
            peer_reported: false,
        };
        Clock(Arc::new(Inner { source: Box::new(source), state: Mutex::new(state) }))
    }

    /// Milliseconds since 1970. Never less than it said before.
    pub fn now_ms(&self) -> u64 {
        let (wall, monotonic) = (self.0.source.wall_ms(), self.0.source.monotonic());
        let mut state = self.0.state.lock();
        state.advance(wall, monotonic);
        state.shown_ms
    }

    /// An entry with a stamp of this time was applied: the clock goes on from there, within
    /// bounds. False: the stamp is beyond them.
    pub fn observe(&self, ms: u64) -> bool {
        // Usually the stamp is one of this clock's own.
        if ms <= self.0.state.lock().shown_ms {
            return true;
        }
        let (wall, monotonic) = (self.0.source.wall_ms(), self.0.source.monotonic());
        let mut state = self.0.state.lock();
        // Up to now first: the time that has passed must not be added to the stamp as well.
        state.advance(wall, monotonic);
        let bound = wall.saturating_add(STEP);
        state.shown_ms = state.shown_ms.max(ms.min(bound));
        if ms > bound && !state.peer_reported {
            let ahead_ms = ms - wall;
            tracing::warn!(ahead_ms, "another store's clock is ahead; its stamps are not followed");
        }
        state.peer_reported = ms > bound;
        state.report(wall);
        ms <= bound
    }

    /// Time since some fixed moment, which only grows.
    pub(crate) fn monotonic(&self) -> Duration {
        self.0.source.monotonic()
    }

    /// Milliseconds by which the wall clock was ahead of this one (negative: behind) when this one
    /// was last read.
    pub fn offset_ms(&self) -> i64 {
        self.0.state.lock().offset_ms
    }
}

impl State {
    /// Moves on by the monotonic time that has passed, faster or slower towards the wall clock.
    fn advance(&mut self, wall: u64, monotonic: Duration) {
        // Two readers may get here in another order than they asked the source.
        let passed = monotonic.saturating_sub(self.at) + self.rest;
        self.at = self.at.max(monotonic);
        let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
        let natural = self.shown_ms.saturating_add(passed_ms);
        if wall >= natural {
            // Ahead: a step is adopted, and of a jump as much as time has passed.
            self.shown_ms =
                wall.min(natural.saturating_add(passed_ms.max(self.step(wall, natural))));
            self.rest = passed.saturating_sub(Duration::from_millis(passed_ms));
        } else {
            // Behind: half of the time that has passed, but not back to before the wall.
            let halves = passed_ms / 2;
            self.shown_ms = wall.max(self.shown_ms.saturating_add(halves));
            self.rest = passed.saturating_sub(Duration::from_millis(halves.saturating_mul(2)));
        }
        self.report(wall);
    }

    /// What may be adopted at once: nothing of a jump.
    fn step(&self, wall: u64, natural: u64) -> u64 {
        let ahead = wall.saturating_sub(natural);
        if ahead <= STEP { ahead } else { 0 }
    }

    fn report(&mut self, wall: u64) {
        let offset = i128::from(wall) - i128::from(self.shown_ms);
        self.offset_ms =
            i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX });
        let large = self.offset_ms.unsigned_abs() > STEP;
        if large != self.reported {
            self.reported = large;
            metrics::clock_offset(self.offset_ms);
            if large {
                tracing::warn!(
                    offset_ms = self.offset_ms,
                    "the wall clock jumped; expiry follows it slowly (positive: it jumped ahead)"
                );
            } else {
                tracing::info!("the wall clock and the clock of the store agree again");
            }
        }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clock").field(&*self.0.state.lock()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Milliseconds of wall and monotonic time, set by the test.
    #[derive(Clone, Default)]
    struct Fake(Arc<(AtomicU64, AtomicU64)>);

    impl TimeSource for Fake {
        fn wall_ms(&self) -> u64 {
            self.0.0.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.1.load(Ordering::Relaxed))
        }
    }

    impl Fake {
        /// Time passes, on both clocks.
        fn pass(&self, ms: u64) {
            self.0.0.fetch_add(ms, Ordering::Relaxed);
            self.0.1.fetch_add(ms, Ordering::Relaxed);
        }

        /// Somebody sets the wall clock.
        fn set(&self, ms: u64) {
            self.0.0.store(ms, Ordering::Relaxed);
        }
    }

    fn clock() -> (Fake, Clock) {
        let fake = Fake::default();
        fake.set(1_000_000);
        (fake.clone(), Clock::new(fake))
    }

    /// Lets so many milliseconds pass and reads the clock every ten of them.
    fn run(fake: &Fake, clock: &Clock, ms: u64) -> u64 {
        let mut last = clock.now_ms();
        for _ in 0..ms / 10 {
            fake.pass(10);
            let now = clock.now_ms();
            assert!(now >= last, "it never goes back");
            last = now;
        }
        last
    }

    #[test]
    fn follows_the_wall_and_small_steps_of_it_at_once() {
        let (fake, clock) = clock();
        assert_eq!(clock.now_ms(), 1_000_000);
        fake.pass(500);
        assert_eq!(clock.now_ms(), 1_000_500);
        fake.set(1_001_400);
        assert_eq!(clock.now_ms(), 1_001_400, "a step of 900 ms");
        assert_eq!(clock.offset_ms(), 0);
    }

    #[test]
    fn a_jump_ahead_is_bounded_and_given_back_when_the_wall_is_set_right() {
        let (fake, clock) = clock();
        let year = 365 * 86_400_000;
        fake.set(1_000_000 + year);
        let after = run(&fake, &clock, 60_000);
        assert_eq!(after, 1_000_000 + 120_000, "twice its speed for a minute");
        assert!(clock.offset_ms() > 0);
        fake.set(1_060_000);
        let later = run(&fake, &clock, 60_000);
        assert_eq!(later, 1_150_000, "half its speed: keys go on expiring");
        let right = run(&fake, &clock, 60_000);
        assert_eq!((right, clock.offset_ms()), (1_180_000, 0), "right again");
        assert_eq!(run(&fake, &clock, 1000), 1_181_000);
    }

    #[test]
    fn a_jump_that_lasts_is_adopted_within_its_own_length() {
        let (fake, clock) = clock();
        fake.set(1_000_000 + 3_600_000);
        assert_eq!(run(&fake, &clock, 3_600_000), 1_000_000 + 2 * 3_600_000);
        assert_eq!(clock.offset_ms(), 0);
    }

    #[test]
    fn set_back_the_clock_neither_stands_nor_goes_back() {
        let (fake, clock) = clock();
        fake.set(500_000);
        assert_eq!(clock.now_ms(), 1_000_000);
        assert_eq!(run(&fake, &clock, 10_000), 1_005_000);
    }

    #[test]
    fn reading_often_does_not_lose_time() {
        let (fake, clock) = clock();
        fake.set(900_000);
        for _ in 0..1001 {
            fake.pass(1);
            clock.now_ms();
        }
        assert_eq!(clock.now_ms(), 1_000_500, "half of each millisecond counts");
    }

    #[test]
    fn goes_on_from_an_observed_stamp() {
        let (fake, clock) = clock();
        clock.observe(1_000_800);
        assert_eq!(clock.now_ms(), 1_000_800);
        assert_eq!(run(&fake, &clock, 1000), 1_001_300, "slower until the wall has caught up");
        clock.observe(7);
        assert_eq!(clock.now_ms(), 1_001_300);
    }

    #[test]
    fn a_stamp_far_ahead_is_followed_by_a_step_only() {
        let (fake, clock) = clock();
        clock.observe(1_000_000 + 365 * 86_400_000);
        assert_eq!(clock.now_ms(), 1_001_000);
        fake.pass(5000);
        assert_eq!(clock.now_ms(), 1_005_000, "right again");
    }

    #[test]
    fn the_machine_has_clocks() {
        let clock = Clock::default();
        assert!(clock.now_ms() > 1_600_000_000_000);
        assert!(SystemTimeSource.monotonic() > Duration::ZERO);
    }
}
