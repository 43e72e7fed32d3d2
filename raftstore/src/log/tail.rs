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
//! oldest, once the byte limit is exceeded.

use std::collections::VecDeque;

use crate::types::{Entry, entry_weight};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// Index of the first entry held.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    /// Adds the next entry. A gap to the entries held cannot be: Raft appends consecutively. If it
    /// came about all the same, the older ones are forgotten rather than a reader shown a log with
    /// a hole.
    pub(crate) fn push(&mut self, entry: Entry) {
        let index = entry.log_id.index;
        if self.entries.back().is_some_and(|last| last.log_id.index.checked_add(1) != Some(index)) {
            debug_assert!(false, "append must be consecutive");
            self.clear();
        }
        self.bytes = self.bytes.saturating_add(entry_weight(&entry));
        self.entries.push_back(entry);
    }

    /// Removes the entries from `from` on.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= from) {
            self.drop_one(VecDeque::pop_back);
        }
    }

    /// Removes the entries up to `upto`.
    pub(crate) fn purge(&mut self, upto: u64) {
        while self.entries.front().is_some_and(|entry| entry.log_id.index <= upto) {
            self.drop_one(VecDeque::pop_front);
        }
    }

    /// Forgets the oldest entries below `stored_end` until at most `limit` bytes are held.
    pub(crate) fn evict(&mut self, limit: usize, stored_end: u64) {
        while self.bytes > limit
            && self.entries.front().is_some_and(|entry| entry.log_id.index < stored_end)
        {
            self.drop_one(VecDeque::pop_front);
        }
    }

    /// The entries in `start..end`, as far as they are held, up to `limit` bytes but at least one.
    pub(crate) fn read(&self, start: u64, end: u64, limit: usize) -> Vec<Entry> {
        let Some(first) = self.first() else { return Vec::new() };
        let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
        let count = usize::try_from(end.saturating_sub(start.max(first))).unwrap_or(usize::MAX);
        let mut bytes = 0usize;
        self.entries
            .iter()
            .skip(skip)
            .take(count)
            .take_while(|entry| {
                let room = bytes < limit;
                bytes = bytes.saturating_add(entry_weight(entry));
                room
            })
            .cloned()
            .collect()
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    fn drop_one(&mut self, pop: fn(&mut VecDeque<Entry>) -> Option<Entry>) {
        if let Some(entry) = pop(&mut self.entries) {
            self.bytes = self.bytes.saturating_sub(entry_weight(&entry));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::EntryPayload;

    use super::*;
    use crate::types::{Data, log_id};

    fn tail(indexes: std::ops::Range<u64>) -> Tail {
        let mut tail = Tail::default();
        for index in indexes {
            let payload = EntryPayload::Normal(Data::Command(Bytes::from(vec![0; 36])));
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
        assert_eq!(
            indexes(&tail.read(12, 20, 250)),
            [12, 13, 14],
            "100 bytes each: the third one crosses the limit"
        );
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
}
