//! How many bytes of log a group holds, without asking the engine.
//!
//! The log is cut into marks of at least [`GRAIN`] bytes. Appending extends the last mark or starts
//! a new one, purging drops marks from the front, truncating from the back. The answer to *up to
//! where must I purge so that at most so much remains?* is therefore a mark's end, right to within
//! one grain: coarse on purpose, because every purge leaves a range tombstone behind and many small
//! ones slow down reading.

use std::collections::VecDeque;

/// Smallest mark, in bytes.
const GRAIN: u64 = 256 << 10;
/// Most entries of one mark, so that a log of tiny entries can be cut too.
const GRAIN_ENTRIES: u64 = 4096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    marks: VecDeque<Mark>,
    bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    first: u64,
    last: u64,
    bytes: u64,
}

impl Meter {
    /// An entry was appended.
    pub(crate) fn add(&mut self, index: u64, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        match self.marks.back_mut() {
            Some(mark)
                if mark.bytes < GRAIN && index.saturating_sub(mark.first) < GRAIN_ENTRIES =>
            {
                mark.last = index;
                mark.bytes = mark.bytes.saturating_add(bytes);
            }
            _ => self.marks.push_back(Mark { first: index, last: index, bytes }),
        }
    }

    /// Entries above `keep` are gone; `None` keeps nothing.
    pub(crate) fn truncate(&mut self, keep: Option<u64>) {
        while let Some(mark) = self.marks.back_mut() {
            match keep {
                Some(keep) if mark.last <= keep => return,
                Some(keep) if mark.first <= keep => {
                    mark.last = keep;
                    return;
                }
                _ => {
                    self.bytes = self.bytes.saturating_sub(mark.bytes);
                    self.marks.pop_back();
                }
            }
        }
    }

    /// Entries up to `upto` are gone.
    pub(crate) fn purge(&mut self, upto: u64) {
        while let Some(mark) = self.marks.front() {
            if mark.last > upto {
                return;
            }
            self.bytes = self.bytes.saturating_sub(mark.bytes);
            self.marks.pop_front();
        }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Entries held.
    pub(crate) fn entries(&self) -> u64 {
        match (self.marks.front(), self.marks.back()) {
            (Some(front), Some(back)) => back.last.saturating_sub(front.first).saturating_add(1),
            _ => 0,
        }
    }

    /// The index up to which to purge when more than `bytes` or `entries` are held, so that about
    /// half of the limits remains; never above `applied`. `None` while both limits hold or nothing
    /// may go.
    pub(crate) fn cut(&self, bytes: u64, entries: u64, applied: u64) -> Option<u64> {
        if self.bytes <= bytes && self.entries() <= entries {
            return None;
        }
        let end = self.marks.back().map_or(0, |mark| mark.last);
        let mut held = self.bytes;
        let mut cut = None;
        for mark in self.marks.iter().take_while(|mark| mark.last <= applied) {
            if held <= bytes / 2 && end.saturating_sub(mark.first) < entries / 2 {
                break;
            }
            held = held.saturating_sub(mark.bytes);
            cut = Some(mark.last);
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(entries: u64, bytes: u64) -> Meter {
        let mut meter = Meter::default();
        for index in 6..6 + entries {
            meter.add(index, bytes);
        }
        meter
    }

    #[test]
    fn counts_what_is_held() {
        let mut meter = filled(100, 100 << 10);
        assert_eq!((meter.bytes(), meter.entries()), (100 * (100 << 10), 100));
        meter.purge(5);
        assert_eq!(meter.entries(), 100);
        meter.truncate(None);
        assert_eq!((meter.bytes(), meter.entries()), (0, 0));
    }

    #[test]
    fn cuts_by_bytes_to_about_half_and_never_above_applied() {
        let meter = filled(100, 100 << 10);
        let limit = 50 * (100 << 10);
        assert_eq!(meter.cut(u64::MAX, u64::MAX, 200), None);
        let cut = meter.cut(limit, u64::MAX, 200).unwrap();
        assert!((78..=84).contains(&cut), "about 25 of 100 entries remain, cut at {cut}");
        let cut = meter.cut(limit, u64::MAX, 20).unwrap();
        assert!(cut <= 20, "cut at {cut}");
        assert_eq!(meter.cut(limit, u64::MAX, 5), None);
    }

    #[test]
    fn cuts_by_entries_even_if_they_are_tiny() {
        let meter = filled(100_000, 10);
        let cut = meter.cut(u64::MAX, 50_000, 1_000_000).unwrap();
        assert!((70_000..=85_000).contains(&cut), "cut at {cut}");
    }

    #[test]
    fn truncation_and_purge_move_the_ends() {
        let mut meter = filled(100, 100 << 10);
        meter.truncate(Some(55));
        assert_eq!(meter.entries(), 50);
        meter.add(56, 1);
        assert_eq!(meter.entries(), 51);
        let cut = meter.cut(0, u64::MAX, 1000).unwrap();
        meter.purge(cut);
        assert_eq!((cut, meter.entries()), (56, 0));
    }
}
