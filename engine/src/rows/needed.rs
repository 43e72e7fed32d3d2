//! Which versions of a row somebody may still read.
//!
//! A read sees the writes up to the one that was the last when it opened. It can open at any
//! moment, so the state as of the last published write is always needed, and so is every later one.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// The open reads: by their tickets ([`crate::readers`]), the last write that each sees.
#[derive(Debug, Default)]
pub(crate) struct OpenReads(Mutex<BTreeMap<u64, u64>>);

impl OpenReads {
    /// A read with this ticket opens on the state that `last` says. It is asked under the lock, so
    /// that nobody finds the state unneeded in between.
    pub(crate) fn open(&self, ticket: u64, last: impl FnOnce() -> u64) -> u64 {
        let mut open = self.0.lock();
        let at = last();
        open.insert(ticket, at);
        at
    }

    /// The read with this ticket is over.
    pub(crate) fn close(&self, ticket: u64) {
        self.0.lock().remove(&ticket);
    }

    /// The last write that any of the reads with these tickets sees. `None`: one of them is not
    /// open.
    pub(crate) fn last_seen(&self, tickets: &[u64]) -> Option<u64> {
        let open = self.0.lock();
        tickets.iter().try_fold(0, |last, ticket| Some(open.get(ticket)?.max(&last).to_owned()))
    }

    /// What is needed from now on: `last` says which write was published last.
    pub(crate) fn needed(&self, last: impl FnOnce() -> u64) -> Needed {
        let open = self.0.lock();
        let published = last();
        let mut earlier: Vec<u64> = open.values().copied().filter(|at| *at < published).collect();
        earlier.sort_unstable();
        Needed { published, open: earlier }
    }
}

/// The states that somebody reads, or may yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needed {
    published: u64,
    /// Earlier ones, in order.
    open: Vec<u64>,
}

impl Needed {
    /// Whether anybody may look for a version that write `from` made and write `to` replaced.
    pub(crate) fn between(&self, from: u64, to: u64) -> bool {
        if to > self.published {
            return true;
        }
        let first = self.open.partition_point(|at| *at < from);
        self.open.get(first).is_some_and(|at| *at < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_needed_while_a_read_stands_on_it_or_one_may_open() {
        let reads = OpenReads::default();
        assert_eq!(reads.open(1, || 3), 3);
        assert_eq!(reads.open(2, || 5), 5);
        let needed = reads.needed(|| 9);
        // Each case: a version made by the first write and replaced by the second.
        for (from, to, expected) in [
            (1, 3, false),
            (1, 4, true),
            (3, 4, true),
            (4, 5, false),
            (4, 6, true),
            (6, 9, false),
            (6, 10, true),
            (9, 10, true),
            (10, 11, true),
        ] {
            assert_eq!(needed.between(from, to), expected, "{from} to {to}");
        }
        assert_eq!((reads.last_seen(&[1, 2]), reads.last_seen(&[1, 9])), (Some(5), None));
        reads.close(1);
        assert!(!reads.needed(|| 9).between(1, 4));
        assert!(reads.needed(|| 9).between(4, 6));
    }
}
