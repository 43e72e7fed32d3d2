//! When the next entry may leave.
//!
//! ```text
//!   commands wait ──▶ │ entry N+2 │ ──▶ log: │ N+1 queued │ N being synced │ ──▶ │ N-1 being applied │ ──▶ replies
//! ```
//!
//! Every entry costs a trip through Raft and a part of an fsync, so entries should be few and
//! large; but the log must not stand idle while commands wait. The rule needs no clock and no guess
//! of the load:
//!
//! * the log is free: the next entry leaves, whatever its size;
//! * one entry is in the log: the next queues behind it once it is at least as large, so that the
//!   log finds it when it has synced the one before. With a constant number of clients the two grow
//!   equal;
//! * more are in the log: only an entry of `eager_bytes` is worth an fsync of its own;
//! * never more than `window` entries between here and the end of apply.

use std::sync::atomic::{AtomicUsize, Ordering};

/// See the module.
#[derive(Debug)]
pub(super) struct Window {
    /// Most entries in flight.
    size: usize,
    /// Bytes that make an entry large.
    eager_bytes: usize,
    /// Entries that have left and are not over.
    flying: AtomicUsize,
    /// Those of them that are not committed.
    uncommitted: AtomicUsize,
    /// Bytes of the entry that left last.
    newest: AtomicUsize,
}

impl Window {
    /// A window without entries.
    pub(super) fn new(size: usize, eager_bytes: usize) -> Window {
        Window {
            size: size.max(1),
            eager_bytes,
            flying: AtomicUsize::new(0),
            uncommitted: AtomicUsize::new(0),
            newest: AtomicUsize::new(0),
        }
    }

    /// Whether an entry of so many bytes may leave.
    pub(super) fn is_open(&self, bytes: usize) -> bool {
        if self.flying.load(Ordering::Acquire) >= self.size {
            return false;
        }
        match self.uncommitted.load(Ordering::Acquire) {
            0 => true,
            1 => bytes >= self.newest.load(Ordering::Acquire).min(self.eager_bytes),
            _ => bytes >= self.eager_bytes,
        }
    }

    /// An entry leaves.
    pub(super) fn launched(&self, bytes: usize) {
        self.newest.store(bytes, Ordering::Release);
        self.uncommitted.fetch_add(1, Ordering::AcqRel);
        self.flying.fetch_add(1, Ordering::AcqRel);
    }

    /// An entry is committed, or it is over without.
    pub(super) fn cleared(&self) {
        self.uncommitted.fetch_sub(1, Ordering::AcqRel);
    }

    /// An entry is over.
    pub(super) fn landed(&self) {
        self.flying.fetch_sub(1, Ordering::AcqRel);
    }

    /// Entries that have left and are not over.
    pub(super) fn flying(&self) -> usize {
        self.flying.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_log_takes_anything_and_a_busy_one_what_is_worth_it() {
        let window = Window::new(4, 1000);
        assert!(window.is_open(1));
        window.launched(100);
        assert!(!window.is_open(99));
        assert!(window.is_open(100), "as large as the one before");
        window.launched(100);
        assert!(!window.is_open(999));
        assert!(window.is_open(1000), "large");
        window.cleared();
        assert!(window.is_open(100));
        window.cleared();
        assert!(window.is_open(1), "both are being applied, the log is free");
    }

    #[test]
    fn behind_a_huge_entry_a_large_one_suffices() {
        let window = Window::new(4, 1000);
        window.launched(1_000_000);
        assert!(!window.is_open(999));
        assert!(window.is_open(1000));
    }

    #[test]
    fn no_more_than_the_window_fly_and_all_that_land_make_room() {
        let window = Window::new(2, 0);
        window.launched(1);
        window.launched(1);
        assert!(!window.is_open(1 << 30));
        window.cleared();
        assert!(!window.is_open(1 << 30), "committed, but not over");
        window.landed();
        assert!(window.is_open(1));
        assert_eq!(window.flying(), 1);
    }
}
