//! The time of one Region: the store's [`Clock`], unless entries of the Region are ahead of it.
//!
//! A stamp may be ahead of the clock here: it came from a leader whose clock was, or from this
//! machine before its clock was set right and the process was restarted. Time in the Region must
//! not go back behind the stamp, or what has expired comes alive; and it must not stand still at
//! it, or nothing expires for as long as the clocks differ. So it goes on from the stamp, at half
//! speed like a clock whose wall is behind, until the store's clock has caught up:
//!
//! ```text
//!   stamp, an hour ahead ─▶ ●╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌●      half speed
//!                                            ╱  ╲________  the store's clock from here on
//!   store's clock          ────────────────╱               two hours later
//! ```
//!
//! A snapshot brings the clock of its Region along, which is treated like a stamp: the Region must
//! not go back behind it, and the store does not follow it. One that leaves no room for further
//! stamps is refused where it comes in, in an entry or a snapshot.
//!
//! Proposer, readers and cleaner of the Region ask this clock, so that what has expired for one has
//! expired for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use neokv_encoding::hlc;
use parking_lot::Mutex;

use crate::clock::Clock;

/// See the module. Clones are the same clock.
#[derive(Clone)]
pub(crate) struct RegionClock(Arc<Inner>);

struct Inner {
    store: Clock,
    /// The latest stamp of the Region's entries, milliseconds since 1970.
    stamped_ms: AtomicU64,
    /// Whether `ahead` is something: readers look here first.
    is_ahead: AtomicBool,
    ahead: Mutex<Option<Ahead>>,
}

/// A stamp that is ahead of the store's clock.
struct Ahead {
    stamp_ms: u64,
    /// Monotonic time at which it was applied here.
    since: Duration,
}

impl Ahead {
    fn at(&self, monotonic: Duration) -> u64 {
        let passed = monotonic.saturating_sub(self.since) / 2;
        self.stamp_ms.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX))
    }
}

impl RegionClock {
    /// The clock of a Region that has applied entries up to this stamp (a hybrid logical clock).
    pub(crate) fn new(store: Clock, applied: u64) -> RegionClock {
        let clock = RegionClock(Arc::new(Inner {
            store,
            stamped_ms: AtomicU64::new(0),
            is_ahead: AtomicBool::new(false),
            ahead: Mutex::new(None),
        }));
        clock.observe(applied);
        clock
    }

    /// Milliseconds since 1970. Never less than it said before, nor than a stamp that it has
    /// observed.
    pub(crate) fn now_ms(&self) -> u64 {
        let Inner { store, is_ahead, ahead, .. } = &*self.0;
        if !is_ahead.load(Ordering::Acquire) {
            return store.now_ms();
        }
        // The store's clock is asked under the lock: whoever finds that it has caught up has not
        // said more before.
        let mut ahead = ahead.lock();
        let now = store.now_ms();
        let here = ahead.as_ref().map_or(0, |ahead| ahead.at(store.monotonic()));
        if here <= now {
            *ahead = None;
            is_ahead.store(false, Ordering::Release);
        }
        now.max(here)
    }

    /// Entries with stamps up to this one (a hybrid logical clock) are about to be written. Called
    /// before they are: who sees their rows must not decide expiry by an earlier time.
    pub(crate) fn observe(&self, stamp: u64) {
        let Inner { store, stamped_ms, is_ahead, ahead } = &*self.0;
        let stamp_ms = hlc::ms(stamp);
        stamped_ms.fetch_max(stamp_ms, Ordering::AcqRel);
        if store.observe(stamp_ms) {
            return;
        }
        let mut ahead = ahead.lock();
        let monotonic = store.monotonic();
        if ahead.as_ref().is_none_or(|ahead| ahead.at(monotonic) < stamp_ms) {
            *ahead = Some(Ahead { stamp_ms, since: monotonic });
            is_ahead.store(true, Ordering::Release);
        }
    }

    /// Milliseconds by which the Region's time is ahead of the store's.
    pub(crate) fn ahead_ms(&self) -> u64 {
        // The Region's first: what passes in between must not count.
        let here = self.now_ms();
        here.saturating_sub(self.0.store.now_ms())
    }

    /// The latest stamp of entries whose rows may be seen, milliseconds since 1970.
    pub(crate) fn stamped_ms(&self) -> u64 {
        self.0.stamped_ms.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::TimeSource;

    /// A machine whose clocks the test moves.
    #[derive(Clone, Default)]
    struct Machine(Arc<(AtomicU64, AtomicU64)>);

    impl TimeSource for Machine {
        fn wall_ms(&self) -> u64 {
            self.0.0.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.1.load(Ordering::Relaxed))
        }
    }

    impl Machine {
        fn at(wall_ms: u64) -> Machine {
            let machine = Machine::default();
            machine.0.0.store(wall_ms, Ordering::Relaxed);
            machine
        }

        fn pass(&self, ms: u64) {
            self.0.0.fetch_add(ms, Ordering::Relaxed);
            self.0.1.fetch_add(ms, Ordering::Relaxed);
        }
    }

    const HOUR: u64 = 3_600_000;

    #[test]
    fn is_the_stores_clock_as_long_as_no_stamp_is_ahead() {
        let machine = Machine::at(1_000_000);
        let clock = RegionClock::new(Clock::new(machine.clone()), hlc::from_ms(999_000));
        assert_eq!((clock.now_ms(), clock.stamped_ms()), (1_000_000, 999_000));
        assert_eq!(clock.ahead_ms(), 0);
        machine.pass(10);
        clock.observe(hlc::from_ms(1_000_010));
        assert_eq!((clock.now_ms(), clock.stamped_ms()), (1_000_010, 1_000_010));
    }

    #[test]
    fn goes_on_from_a_stamp_that_is_ahead_until_the_store_has_caught_up() {
        let machine = Machine::at(0);
        let stamp = hlc::from_ms(HOUR);
        let clock = RegionClock::new(Clock::new(machine.clone()), stamp);
        assert_eq!(clock.now_ms(), HOUR, "it does not go back");
        assert_eq!(clock.ahead_ms(), HOUR - 1000, "the store follows by a step");
        let mut last = HOUR;
        for minute in 1..=120 {
            machine.pass(60_000);
            let now = clock.now_ms();
            assert_eq!(now, HOUR + minute * 30_000, "it does not stand still");
            // The Region is written: its own stamps change nothing.
            clock.observe(hlc::from_ms(now));
            assert!(now > last);
            last = now;
        }
        machine.pass(60_000);
        assert_eq!(clock.now_ms(), 2 * HOUR + 60_000, "the store has caught up");
    }

    #[test]
    fn many_stamps_do_not_hold_it_up() {
        let machine = Machine::at(0);
        let clock = RegionClock::new(Clock::new(machine.clone()), hlc::from_ms(HOUR));
        for _ in 0..1000 {
            machine.pass(1);
            clock.observe(hlc::from_ms(clock.now_ms()));
        }
        assert_eq!(clock.now_ms(), HOUR + 500);
    }
}
