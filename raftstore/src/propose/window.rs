//! When the next entry may leave.
//!
//! ```text
//!   commands wait ─▶ │ N+2 │ ─▶ log: │ N+1 queued │ N being synced │ ─▶ │ N-1 being applied │ ─▶
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
    in_flight: AtomicUsize,
    /// Those of them that are neither committed nor over.
    unsettled: AtomicUsize,
    /// Bytes of the entry that left last.
    newest: AtomicUsize,
}

impl Window {
    /// A window without entries.
    pub(super) fn new(size: usize, eager_bytes: usize) -> Window {
        Window {
            size: size.max(1),
            eager_bytes,
            in_flight: AtomicUsize::new(0),
            unsettled: AtomicUsize::new(0),
            newest: AtomicUsize::new(0),
        }
    }

    /// Whether an entry of so many bytes may leave.
    pub(super) fn is_open(&self, bytes: usize) -> bool {
        if self.in_flight.load(Ordering::Acquire) >= self.size {
            return false;
        }
        match self.unsettled.load(Ordering::Acquire) {
            0 => true,
            1 => bytes >= self.newest.load(Ordering::Acquire).min(self.eager_bytes),
            _ => bytes >= self.eager_bytes,
        }
    }

    /// An entry leaves.
    pub(super) fn proposed(&self, bytes: usize) {
        self.newest.store(bytes, Ordering::Release);
        self.unsettled.fetch_add(1, Ordering::AcqRel);
        self.in_flight.fetch_add(1, Ordering::AcqRel);
    }

    /// An entry is committed, or it is over without.
    pub(super) fn settled(&self) {
        self.unsettled.fetch_sub(1, Ordering::AcqRel);
    }

    /// An entry is over.
    pub(super) fn finished(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Entries that have left and are not over.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests;
