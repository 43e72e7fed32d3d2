//! In place of the crate of this name, which openraft depends on for statistics of its batches.
//!
//! That crate prepares a table for each of its sixteen precisions when the first histogram is made,
//! of which openraft uses one: 29 MiB that stay for as long as the process runs, and that is half
//! of what a server without data takes. Each histogram then has 252 counters, and openraft keeps
//! several for every Raft group. This one counts by powers of two and prepares nothing. It has what
//! openraft calls, under the same names.
//!
//! ```
//! use base2histogram::Histogram;
//!
//! let mut sizes = Histogram::<()>::new();
//! for size in [1, 5, 6, 900] {
//!     sizes.record(size);
//! }
//! assert_eq!(sizes.total(), 4);
//! assert_eq!(sizes.percentile(0.5), 7, "half of them have at most three bits");
//! assert_eq!(sizes.percentile(1.0), 1023);
//! ```

use std::fmt;
use std::marker::PhantomData;

/// Numbers by their length in bits: from 0, which is the number 0, to 64.
const LENGTHS: usize = 65;

/// How many numbers of each length in bits were recorded. `T` is what the other crate labels
/// periods with; nothing is kept of it here.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    counts: [u64; LENGTHS],
    label: PhantomData<T>,
}

impl<T> Histogram<T> {
    /// A histogram of nothing.
    #[must_use]
    pub fn new() -> Histogram<T> {
        Histogram { counts: [0; LENGTHS], label: PhantomData }
    }

    /// Counts a number.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a number so many times.
    pub fn record_n(&mut self, value: u64, times: u64) {
        let length = u64::BITS - value.leading_zeros();
        if let Some(count) = usize::try_from(length).ok().and_then(|at| self.counts.get_mut(at)) {
            *count = count.saturating_add(times);
        }
    }

    /// How many numbers were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The largest number of the length in bits that the share `part` of all numbers, from 0 to 1,
    /// does not exceed; 0 for a histogram of nothing.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of more than 2^53 numbers need not be exact"
    )]
    pub fn percentile(&self, part: f64) -> u64 {
        let wanted = self.total() as f64 * part;
        let mut counted = 0u64;
        for (length, count) in self.counts.iter().enumerate() {
            counted = counted.saturating_add(*count);
            if counted > 0 && counted as f64 >= wanted {
                return largest(length);
            }
        }
        0
    }

    /// The usual percentiles.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.1),
            p50: self.percentile(0.5),
            p90: self.percentile(0.9),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Histogram<T> {
        Histogram::new()
    }
}

impl<T> fmt::Debug for Histogram<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Histogram({})", self.percentile_stats())
    }
}

/// The largest number of a length in bits.
fn largest(length: usize) -> u64 {
    u32::try_from(length)
        .ok()
        .and_then(|length| 1u64.checked_shl(length))
        .map_or(u64::MAX, |next| next - 1)
}

/// Numbers that a share of all that were counted does not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many were counted.
    pub samples: u64,
    /// One in a thousand.
    pub p0_1: u64,
    /// One in a hundred.
    pub p1: u64,
    /// One in twenty.
    pub p5: u64,
    /// One in ten.
    pub p10: u64,
    /// Half of them.
    pub p50: u64,
    /// Nine in ten.
    pub p90: u64,
    /// 99 in a hundred.
    pub p99: u64,
    /// 999 in a thousand.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PercentileStats { samples, p50, p90, p99, .. } = self;
        write!(f, "{samples} samples, p50 {p50}, p90 {p90}, p99 {p99}")
    }
}

/// Histograms under each other, as text.
#[derive(Clone, Debug, Default)]
pub struct AsciiChart(Vec<(&'static str, Histogram)>);

impl AsciiChart {
    /// A chart of nothing.
    #[must_use]
    pub fn new() -> AsciiChart {
        AsciiChart::default()
    }

    /// With one more histogram.
    #[must_use]
    pub fn add(mut self, name: &'static str, histogram: Histogram) -> AsciiChart {
        self.0.push((name, histogram));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, histogram)| {
            writeln!(f, "{name}: {}", histogram.percentile_stats())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_by_their_length() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile(0.5), 0);
        for value in [0, 1, 2, 3, 1 << 40, u64::MAX] {
            histogram.record(value);
        }
        let found = [0.0, 0.2, 0.5, 0.6, 0.8, 1.0].map(|part| histogram.percentile(part));
        assert_eq!(found, [0, 1, 3, 3, (1 << 41) - 1, u64::MAX]);
        assert_eq!(
            histogram.percentile_stats().to_string().as_str(),
            &format!("6 samples, p50 3, p90 {0}, p99 {0}", u64::MAX)
        );
    }
}
