//! How many bytes of log a group holds, without asking the engine.
//!
//! The log is cut into marks of at least [`GRAIN`] bytes. Appending extends the last mark or starts
//! a new one, purging takes away from the front, truncating from the back. The answer to *up to
//! where must I purge so that at most so much remains?* is a mark's end, right to within one grain:
//! deliberately coarse, because every purge leaves a range tombstone behind and many small ones
//! slow down reading.
//!
//! A log that was there when the store started is one mark, whatever its size: its ends are known
//! and its bytes are estimated, so that opening a Region reads no log. Where such a mark must be
//! cut in its middle, its entries count as equally large.

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

/// Neighbouring entries: `first..=last`, and what they weigh together.
#[derive(Debug, Clone, Copy)]
struct Mark {
    first: u64,
    last: u64,
    bytes: u64,
}

impl Mark {
    fn entries(&self) -> u64 {
        self.last - self.first + 1
    }

    /// The share of `entries` of this mark's entries in its bytes.
    fn share(&self, entries: u64) -> u64 {
        let share = u128::from(self.bytes) * u128::from(entries) / u128::from(self.entries());
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// How many of its entries have at least so many bytes.
    fn entries_of(&self, bytes: u64) -> u64 {
        let wanted = u128::from(bytes) * u128::from(self.entries());
        let entries = wanted.div_ceil(u128::from(self.bytes.max(1)));
        u64::try_from(entries).unwrap_or(u64::MAX).min(self.entries())
    }
}

impl Meter {
    /// The entries `first..=last` were there at the start, of about so many bytes.
    pub(crate) fn recovered(first: u64, last: u64, bytes: u64) -> Meter {
        assert!(first <= last, "a log that is there has entries");
        Meter { marks: VecDeque::from([Mark { first, last, bytes }]), bytes }
    }

    /// An entry was appended.
    pub(crate) fn add(&mut self, index: u64, bytes: u64) {
        self.bytes += bytes;
        match self.marks.back_mut() {
            Some(mark) if mark.bytes < GRAIN && index - mark.first < GRAIN_ENTRIES => {
                mark.last = index;
                mark.bytes += bytes;
            }
            _ => self.marks.push_back(Mark { first: index, last: index, bytes }),
        }
    }

    /// Entries above `keep` are gone; `None` keeps nothing.
    pub(crate) fn truncate(&mut self, keep: Option<u64>) {
        while let Some(mark) = self.marks.back_mut() {
            let kept = keep
                .filter(|keep| mark.first <= *keep)
                .map_or(0, |keep| keep.min(mark.last) - mark.first + 1);
            if kept == mark.entries() {
                return;
            }
            let lost = mark.bytes - mark.share(kept);
            self.bytes -= lost;
            if kept > 0 {
                *mark = Mark { last: mark.first + kept - 1, bytes: mark.bytes - lost, ..*mark };
                return;
            }
            self.marks.pop_back();
        }
    }

    /// Entries up to `upto` are gone.
    pub(crate) fn purge(&mut self, upto: u64) {
        while let Some(mark) = self.marks.front_mut() {
            if upto < mark.first {
                return;
            }
            let gone = upto.min(mark.last) - mark.first + 1;
            let lost = mark.share(gone);
            self.bytes -= lost;
            if gone < mark.entries() {
                *mark = Mark { first: upto + 1, bytes: mark.bytes - lost, ..*mark };
                return;
            }
            self.marks.pop_front();
        }
    }

    /// Bytes held, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Entries held.
    pub(crate) fn entries(&self) -> u64 {
        match (self.marks.front(), self.marks.back()) {
            (Some(front), Some(back)) => back.last - front.first + 1,
            _ => 0,
        }
    }

    /// The first and the last index held.
    pub(crate) fn ends(&self) -> Option<(u64, u64)> {
        Some((self.marks.front()?.first, self.marks.back()?.last))
    }

    /// The index up to which to purge so that at most about `bytes` and `entries` remain; never
    /// above `applied`. `None` where nothing may or must go.
    pub(crate) fn cut(&self, bytes: u64, entries: u64, applied: u64) -> Option<u64> {
        let mut surplus = self.bytes.saturating_sub(bytes);
        let mut surplus_entries = self.entries().saturating_sub(entries);
        let mut cut = None;
        for mark in &self.marks {
            if (surplus == 0 && surplus_entries == 0) || mark.first > applied {
                break;
            }
            let wanted = mark.entries_of(surplus).max(surplus_entries.min(mark.entries()));
            let small = mark.bytes < 2 * GRAIN && mark.entries() <= GRAIN_ENTRIES;
            let whole = small || wanted == mark.entries();
            if whole && mark.last <= applied {
                cut = Some(mark.last);
                surplus = surplus.saturating_sub(mark.bytes);
                surplus_entries = surplus_entries.saturating_sub(mark.entries());
                continue;
            }
            // Only a large mark is cut in its middle, and nothing above what is applied goes.
            let last = (mark.first + wanted - 1).min(applied);
            return if small { cut } else { Some(last) };
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: u64 = 100 << 10;

    fn filled(entries: u64, bytes: u64) -> Meter {
        let mut meter = Meter::default();
        for index in 6..6 + entries {
            meter.add(index, bytes);
        }
        meter
    }

    #[test]
    fn counts_what_is_held() {
        let mut meter = filled(100, ENTRY);
        assert_eq!(
            (meter.bytes(), meter.entries(), meter.ends()),
            (100 * ENTRY, 100, Some((6, 105)))
        );
        meter.purge(5);
        assert_eq!(meter.entries(), 100);
        meter.truncate(None);
        assert_eq!((meter.bytes(), meter.entries(), meter.ends()), (0, 0, None));
    }

    #[test]
    fn cuts_by_bytes_to_within_a_grain_and_never_above_applied() {
        let meter = filled(100, ENTRY);
        assert_eq!(meter.cut(u64::MAX, u64::MAX, 200), None);
        let cut = meter.cut(25 * ENTRY, u64::MAX, 200).unwrap();
        assert!((78..=84).contains(&cut), "about 25 of 100 entries remain, cut at {cut}");
        let cut = meter.cut(25 * ENTRY, u64::MAX, 20).unwrap();
        assert!(cut <= 20, "cut at {cut}");
        assert_eq!(meter.cut(25 * ENTRY, u64::MAX, 5), None);
    }

    #[test]
    fn cuts_by_entries_even_if_they_are_tiny() {
        let meter = filled(100_000, 10);
        let cut = meter.cut(u64::MAX, 25_000, 1_000_000).unwrap();
        assert!((75_000..=80_000).contains(&cut), "cut at {cut}");
    }

    #[test]
    fn what_was_recovered_is_cut_where_it_must_be() {
        let meter = Meter::recovered(1001, 2000, 1000 * ENTRY);
        assert_eq!(meter.cut(250 * ENTRY, u64::MAX, 5000), Some(1750));
        assert_eq!(meter.cut(u64::MAX, 100, 5000), Some(1900));
        assert_eq!(meter.cut(0, 0, 1200), Some(1200));
        assert_eq!(meter.cut(0, 0, 1000), None);
        assert_eq!(meter.cut(0, 0, 2000), Some(2000));
        let mut meter = meter;
        meter.purge(1750);
        assert_eq!((meter.bytes(), meter.ends()), (250 * ENTRY, Some((1751, 2000))));
        meter.add(2001, ENTRY);
        meter.truncate(Some(1850));
        assert_eq!((meter.bytes(), meter.ends()), (100 * ENTRY, Some((1751, 1850))));
    }

    #[test]
    fn truncation_and_purge_move_the_ends() {
        let mut meter = filled(100, ENTRY);
        meter.truncate(Some(55));
        assert_eq!((meter.entries(), meter.bytes()), (50, 50 * ENTRY));
        meter.add(56, 1);
        assert_eq!(meter.entries(), 51);
        let cut = meter.cut(0, 0, 1000).unwrap();
        meter.purge(cut);
        assert_eq!((cut, meter.entries(), meter.bytes()), (56, 0, 0));
    }
}
