//! How much may wait for entries in the whole store.
//!
//! Every submission takes its bytes out of one quota, whichever Region it is for, and gives them
//! back when it leaves the queue. So a thousand Regions together use no more memory than one may.

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
}
