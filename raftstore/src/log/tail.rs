//! The newest entries of one group, in memory.
//!
//! An entry is readable the moment it is appended, long before it is durable; apply and every
//! follower read it once, shortly after. So the log keeps its end here:
//!
//! ```text
//!   engine   6 7 8 9 10 11 12 13 14 | written by the log writer up to `stored_end` (exclusive)
//!   tail               11 12 13 14 15 16 17
//!                      └ first: older ones have been evicted, they are in the engine
//! ```
//!
//! Invariants: entries are consecutive; an entry that is not in the engine yet is never evicted, so
//! every entry of the log is in the tail or in the engine at any moment. What is evicted is the
//! oldest.
//!
//! # The budget is the store's
//!
//! A store of a thousand Regions cannot give each of them megabytes. All tails count their bytes in
//! one [`TailBudget`]. A tail keeps what its own limit allows while there is room in the budget;
//! when there is none, a Region that appends gives up what has been applied, and a Region that has
//! become idle gives up all of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::types::{Entry, entry_weight};

/// Bytes that the tails of all groups of a store hold together.
#[derive(Debug)]
pub(crate) struct TailBudget {
    limit: usize,
    used: AtomicUsize,
}

impl TailBudget {
    /// A budget of so many bytes.
    pub(crate) fn new(limit: usize) -> Arc<TailBudget> {
        Arc::new(TailBudget { limit, used: AtomicUsize::new(0) })
    }

    /// Whether the tails hold more than they should.
    pub(crate) fn is_exceeded(&self) -> bool {
        self.used() > self.limit
    }

    /// Bytes held.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
    budget: Arc<TailBudget>,
}

impl Tail {
    /// An empty tail that counts in this budget.
    pub(crate) fn new(budget: Arc<TailBudget>) -> Tail {
        Tail { entries: VecDeque::new(), bytes: 0, budget }
    }

    /// Index of the first entry held.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    /// Index of the last entry held.
    pub(crate) fn last(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.log_id.index)
    }

    /// Adds the next entry.
    ///
    /// # Panics
    ///
    /// If there is a gap between it and those held: a log with a hole must not be shown to anybody.
    pub(crate) fn push(&mut self, entry: Entry) {
        let index = entry.log_id.index;
        if let Some(last) = self.last() {
            assert_eq!(index, last + 1, "entries are appended consecutively");
        }
        let weight = entry_weight(&entry);
        self.bytes += weight;
        self.budget.used.fetch_add(weight, Ordering::Relaxed);
        self.entries.push_back(entry);
    }

    /// Removes the entries from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.last().is_some_and(|last| last >= from) {
            self.drop_one(VecDeque::pop_back);
        }
    }

    /// Removes the entries up to `upto`.
    pub(crate) fn purge(&mut self, upto: u64) {
        while self.first().is_some_and(|first| first <= upto) {
            self.drop_one(VecDeque::pop_front);
        }
        self.shrink();
    }

    /// Forgets the oldest entries below `end`, which the engine must have, until at most `limit`
    /// bytes are held.
    pub(crate) fn evict(&mut self, limit: usize, end: u64) {
        while self.bytes > limit && self.first().is_some_and(|first| first < end) {
            self.drop_one(VecDeque::pop_front);
        }
        self.shrink();
    }

    /// The entries in `start..end`, as far as they are held, up to `limit` bytes but at least one.
    pub(crate) fn read(&self, start: u64, end: u64, limit: usize) -> Vec<Entry> {
        let Some(first) = self.first() else { return Vec::new() };
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let count = usize::try_from(end.saturating_sub(start.max(first))).unwrap_or(usize::MAX);
        let mut bytes = 0;
        self.entries
            .iter()
            .skip(skip)
            .take(count)
            .take_while(|entry| {
                let room = bytes < limit;
                bytes += entry_weight(entry);
                room
            })
            .cloned()
            .collect()
    }

    /// An empty tail holds no memory.
    fn shrink(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    fn drop_one(&mut self, pop: fn(&mut VecDeque<Entry>) -> Option<Entry>) {
        if let Some(entry) = pop(&mut self.entries) {
            let weight = entry_weight(&entry);
            self.bytes -= weight;
            self.budget.used.fetch_sub(weight, Ordering::Relaxed);
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use neokv_encoding::region::Epoch;
    use openraft::EntryPayload;

    use super::*;
    use crate::types::{Data, log_id};

    /// Entries of a hundred bytes each.
    fn tail(indexes: std::ops::Range<u64>) -> Tail {
        let mut tail = Tail::new(TailBudget::new(1000));
        for index in indexes {
            let command = Bytes::from(vec![0; 36]);
            let payload = EntryPayload::Normal(Data::Command { epoch: Epoch::default(), command });
            tail.push(Entry { log_id: log_id(1, index), payload });
        }
        tail
    }

    fn indexes(entries: &[Entry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.log_id.index).collect()
    }

    #[test]
    fn reads_what_it_holds_within_the_limit() {
        let tail = tail(10..20);
        assert_eq!(indexes(&tail.read(12, 15, usize::MAX)), [12, 13, 14]);
        assert_eq!(indexes(&tail.read(18, 30, usize::MAX)), [18, 19]);
        assert_eq!(indexes(&tail.read(5, 12, usize::MAX)), [10, 11]);
        assert_eq!(indexes(&tail.read(12, 20, 250)), [12, 13, 14], "the third crosses the limit");
        assert_eq!(indexes(&tail.read(12, 20, 1)), [12], "never nothing");
        assert!(tail.read(20, 30, usize::MAX).is_empty());
        assert!(tail.read(15, 15, usize::MAX).is_empty());
    }

    #[test]
    fn evicts_only_what_the_engine_has() {
        let mut tail = tail(10..20);
        tail.evict(0, 14);
        assert_eq!(indexes(&tail.read(0, 30, usize::MAX)), [14, 15, 16, 17, 18, 19]);
        tail.evict(300, 30);
        assert_eq!(indexes(&tail.read(0, 30, usize::MAX)), [17, 18, 19]);
    }

    #[test]
    fn truncation_and_purge() {
        let mut tail = tail(10..20);
        tail.truncate(16);
        tail.purge(12);
        assert_eq!(indexes(&tail.read(0, 30, usize::MAX)), [13, 14, 15]);
        tail.purge(100);
        assert_eq!((tail.first(), tail.bytes), (None, 0));
    }

    #[test]
    fn every_byte_counts_in_the_budget_until_it_is_given_up() {
        let mut one = tail(1..11);
        let budget = Arc::clone(&one.budget);
        assert_eq!((budget.used(), budget.is_exceeded()), (1000, false));
        let mut other = Tail::new(Arc::clone(&budget));
        for entry in one.read(1, 3, usize::MAX) {
            other.push(entry);
        }
        assert_eq!((budget.used(), budget.is_exceeded()), (1200, true));
        one.evict(0, 6);
        one.truncate(9);
        assert_eq!(budget.used(), 500);
        drop((one, other));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    #[should_panic(expected = "entries are appended consecutively")]
    fn a_gap_is_not_accepted() {
        let mut tail = tail(10..20);
        let entry = Entry { log_id: log_id(1, 21), payload: EntryPayload::Blank };
        tail.push(entry);
    }
}
