//! How much may wait for entries in the whole store.
//!
//! Every submission takes its bytes out of one quota, whichever Region it is for, and gives them
//! back when its commands are in an entry. What does not fit into the entry keeps its share until
//! the caller gets it back. So a thousand Regions together use no more memory than one may.
//!
//! Commands that an entry left out come back to the queue. They were let in before, so they are
//! never refused, but they count again: what comes after them waits. How many they can be is
//! bounded by the entries in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes that all queues of a store may hold together. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct QueueQuota(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: usize,
    used: AtomicUsize,
}

/// Some bytes of the quota. Given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    quota: QueueQuota,
    bytes: usize,
}

impl QueueQuota {
    /// A quota of so many bytes.
    pub(crate) fn new(limit: usize) -> QueueQuota {
        QueueQuota(Arc::new(Shared { limit, used: AtomicUsize::new(0) }))
    }

    /// Bytes taken.
    pub(crate) fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes bytes, if there are so many. The first to come gets what it asks for, however much.
    pub(crate) fn take(&self, bytes: usize) -> Option<Share> {
        let used = self.0.used.fetch_add(bytes, Ordering::AcqRel);
        let share = Share { quota: self.clone(), bytes };
        let fits = used == 0 || used + bytes <= self.0.limit;
        // What does not fit is given back by the drop.
        fits.then_some(share)
    }

    /// Takes bytes for what cannot be refused, also if there are not so many.
    pub(crate) fn take_always(&self, bytes: usize) -> Share {
        self.0.used.fetch_add(bytes, Ordering::AcqRel);
        Share { quota: self.clone(), bytes }
    }
}

impl Share {
    /// Gives back what is more than so many bytes.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let surplus = self.bytes - bytes;
        self.quota.0.used.fetch_sub(surplus, Ordering::AcqRel);
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.0.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_shared_and_given_back() {
        let quota = QueueQuota::new(100);
        let huge = quota.take(1000).unwrap();
        assert!(quota.clone().take(1).is_none(), "the first took more than all");
        drop(huge);
        let (one, other) = (quota.take(60).unwrap(), quota.take(40).unwrap());
        assert!(quota.take(1).is_none());
        assert_eq!(quota.used(), 100, "what was refused is given back");
        drop(one);
        assert!(quota.take(60).is_some());
        drop(other);
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn what_cannot_be_refused_counts_too_and_a_share_can_be_made_smaller() {
        let quota = QueueQuota::new(100);
        let mut back = quota.take_always(150);
        assert!(quota.take(1).is_none());
        back.shrink(90);
        assert_eq!(quota.used(), 90);
        assert!(quota.take(10).is_some() && quota.take(11).is_none());
        drop(back);
        assert_eq!(quota.used(), 0);
    }
}
