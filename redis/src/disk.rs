//! The disk guard: writes stop before the disk is full, and go on by themselves when there is space
//! again.
//!
//! A disk that is really full hurts more than a refused write: compaction, which would give space
//! back, needs space itself. So a thread measures the free space, the more often the less there is,
//! and below the reserve (`--disk-reserve`) every command that can make the store grow is refused.
//! What frees space goes on: DEL, and expiry through the cleaner. So do reads.
//!
//! ```text
//! free < reserve                 refuse   ◄──┐
//! free >= reserve + reserve/16   serve    ───┘   the gap keeps the guard from flapping
//! ```
//!
//! Which commands these are is the flag `DenyOom` in the command table, the one by which Redis
//! refuses writes when its memory is full. So the error code is OOM, which clients know.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::config::format_bytes;
use crate::error::CommandError;
use crate::facts::DiskFacts;

/// How often the free space is measured while there is much of it.
const INTERVAL: Duration = Duration::from_millis(250);

/// How often it is measured near the reserve: a compaction can take tens of megabytes within the
/// longer interval.
const NEAR_INTERVAL: Duration = Duration::from_millis(20);

/// The state that sessions ask before a command that needs space.
#[derive(Debug, Default)]
pub struct DiskGuard {
    reserve: u64,
    free: AtomicU64,
    refusing: AtomicBool,
}

impl DiskGuard {
    /// A guard that keeps `reserve` bytes free; 0 never refuses.
    #[must_use]
    pub fn new(reserve: u64) -> DiskGuard {
        DiskGuard { reserve, free: AtomicU64::new(u64::MAX), refusing: AtomicBool::new(false) }
    }

    /// Whether commands that need space are refused now. One relaxed load: it is asked for every
    /// write.
    #[inline]
    #[must_use]
    pub fn refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }

    /// The error for a command that needs space, or `Ok` if there is some.
    ///
    /// # Errors
    /// The disk's free space is below the reserve.
    #[inline]
    pub fn check(&self) -> Result<(), CommandError> {
        if self.refusing() { Err(self.refusal()) } else { Ok(()) }
    }

    #[cold]
    fn refusal(&self) -> CommandError {
        CommandError::custom(format!(
            "OOM command not allowed: the disk has {} bytes free, less than the reserve of {}; \
             free some space and writes resume by themselves",
            self.free.load(Ordering::Relaxed),
            format_bytes(self.reserve)
        ))
    }

    /// How long the last measurement holds.
    fn interval(&self) -> Duration {
        let near = self.free.load(Ordering::Relaxed) < self.reserve * 3;
        if near && !self.refusing() { NEAR_INTERVAL } else { INTERVAL }
    }

    /// What INFO and the metrics tell; `used` is the size of the data directory.
    #[must_use]
    pub fn state(&self, used: u64) -> DiskFacts {
        DiskFacts {
            free: self.free.load(Ordering::Relaxed),
            used,
            reserve: self.reserve,
            refusing: self.refusing(),
        }
    }

    /// Takes a new measurement into account. Returns whether the answer to writes has changed.
    pub fn measured(&self, free: u64) -> bool {
        self.free.store(free, Ordering::Relaxed);
        let refusing = self.refusing();
        let enough = if refusing { self.reserve + self.reserve / 16 } else { self.reserve };
        let refuse = free < enough;
        self.refusing.store(refuse, Ordering::Relaxed);
        refuse != refusing
    }
}

/// The thread that measures. It ends when this is dropped.
pub struct Watcher {
    /// Dropping the sender wakes the thread and ends it.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Measures once, so that the first write is decided by a real number, and then again and again
    /// with `free_space` on a thread of its own: a failing disk may block the call.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        guard: Arc<DiskGuard>,
        free_space: impl Fn() -> Option<u64> + Send + 'static,
    ) -> std::io::Result<Watcher> {
        let look = move || -> Duration {
            if let Some(free) = free_space()
                && guard.measured(free)
            {
                let reserve = guard.reserve;
                if guard.refusing() {
                    tracing::error!(
                        free,
                        reserve,
                        "the disk is nearly full: writes that need space are refused"
                    );
                } else {
                    tracing::info!(free, reserve, "the disk has space again: writes are served");
                }
            }
            guard.interval()
        };
        let mut interval = look();
        let (stop, stopped) = channel::<()>();
        let thread =
            std::thread::Builder::new().name("disk-guard".to_owned()).spawn(move || {
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    interval = look();
                }
            })?;
        Ok(Watcher { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only panics if a measurement does, and then there is nothing left to stop.
            let _ended = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_below_the_reserve_and_serves_again_with_a_margin() {
        let guard = DiskGuard::new(1600);
        let steps = [
            (2000, false),
            (1600, false),
            (1599, true),
            (1600, true),
            (1699, true),
            (1700, false),
            (1600, false),
        ];
        for (free, refusing) in steps {
            guard.measured(free);
            assert_eq!(guard.refusing(), refusing, "{free} bytes free");
            assert_eq!(guard.check().is_err(), refusing);
        }
    }

    #[test]
    fn says_what_is_wrong_in_a_way_that_clients_know() {
        let guard = DiskGuard::new(256 << 20);
        assert!(guard.measured(1000), "changed");
        assert!(!guard.measured(999), "no change");
        let text = guard.check().expect_err("refused").to_string();
        assert!(text.starts_with("OOM command not allowed: the disk has 999 bytes free"), "{text}");
        assert!(text.contains("reserve of 256mb"), "{text}");
    }

    #[test]
    fn near_the_reserve_it_is_measured_more_often() {
        let guard = DiskGuard::new(1000);
        for (free, interval) in
            [(3000, INTERVAL), (2999, NEAR_INTERVAL), (1000, NEAR_INTERVAL), (999, INTERVAL)]
        {
            guard.measured(free);
            assert_eq!(guard.interval(), interval, "{free} bytes free");
        }
        assert_eq!(DiskGuard::new(0).interval(), INTERVAL);
    }

    #[test]
    fn without_a_reserve_nothing_is_refused() {
        let guard = DiskGuard::new(0);
        guard.measured(0);
        assert!(guard.check().is_ok());
    }

    #[test]
    fn the_watcher_measures_before_it_returns_and_ends_when_dropped() {
        let guard = Arc::new(DiskGuard::new(10));
        let watcher = Watcher::start(Arc::clone(&guard), || Some(5)).expect("a thread");
        assert!(guard.refusing());
        drop(watcher);
        assert_eq!(Arc::strong_count(&guard), 1, "the thread has released the guard");
    }
}
