//! How fast rows go into files.
//!
//! Nobody waits for rows to be written behind, as a rule, but everybody who writes waits for a sync
//! of the log, and the two share a disk. So the files are written no faster than RocksDB's own in
//! the background, in small steps; what is read back counts too. As soon as somebody does wait, or
//! would soon because many rows are dirty, they are written as fast as it goes.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::Engine;

/// Bytes after which the pace is looked at.
const STEP: usize = 256 << 10;
/// So long a sleep lasts at most before it is asked again whether somebody waits.
const LONGEST_SLEEP: Duration = Duration::from_millis(5);

/// How many wait until rows are in RocksDB.
#[derive(Debug, Default)]
pub(crate) struct Waiting(AtomicUsize);

/// Somebody waits while this lives.
pub(crate) struct Waits<'a>(&'a Waiting);

impl Waiting {
    pub(crate) fn enter(&self) -> Waits<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waits(self)
    }

    fn is_any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The pace of the files of one drain.
pub(super) struct Pace<'a> {
    engine: &'a Engine,
    begun: Instant,
    /// Bytes since, written and read.
    moved: u64,
    /// Bytes since the pace was looked at.
    step: usize,
}

impl Pace<'_> {
    pub(super) fn new(engine: &Engine) -> Pace<'_> {
        Pace { engine, begun: Instant::now(), moved: 0, step: 0 }
    }

    /// Notes that so many bytes went to the disk or came from it, and waits if that was too fast.
    pub(super) fn moved(&mut self, bytes: usize) {
        self.step += bytes;
        if self.step < STEP {
            return;
        }
        // A length of memory fits.
        self.moved += std::mem::take(&mut self.step) as u64;
        let Some(rate) = self.engine.options().background_bytes_per_second else { return };
        let due = due(self.moved, rate);
        loop {
            let early = due.saturating_sub(self.begun.elapsed());
            if early.is_zero() || self.is_urgent() {
                return;
            }
            thread::sleep(early.min(LONGEST_SLEEP));
        }
    }

    fn is_urgent(&self) -> bool {
        self.engine.0.waiting.is_any() || self.engine.0.rows.is_filling()
    }
}

/// When so many bytes are due, from the beginning on.
fn due(bytes: u64, rate: NonZeroU64) -> Duration {
    let nanos = u128::from(bytes) * Duration::from_secs(1).as_nanos() / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use neokv_encoding::family::Family;

    use super::*;
    use crate::options::Options;

    #[test]
    fn bytes_are_due_at_the_rate() {
        let due = |bytes, rate| due(bytes, NonZeroU64::new(rate).unwrap());
        assert_eq!(due(1 << 20, 1 << 22), Duration::from_millis(250));
        assert_eq!(due(0, 1), Duration::ZERO);
        assert_eq!(due(u64::MAX, 1), Duration::from_nanos(u64::MAX));
    }

    /// A store that would take days to write at its pace what `fill` leaves.
    fn slow(dirty_bytes: usize) -> (tempfile::TempDir, Engine) {
        let dir = tempfile::tempdir().unwrap();
        let rate = NonZeroU64::new(1);
        let options =
            Options { background_bytes_per_second: rate, dirty_bytes, ..Options::default() };
        let engine = Engine::open(dir.path(), &options).unwrap();
        (dir, engine)
    }

    fn fill(engine: &Engine, from: u32, rows: u32) {
        for row in from..from + rows {
            let mut batch = engine.batch();
            batch.put(Family::Metadata, row.to_be_bytes(), vec![7; 64 << 10]);
            engine.write_behind(vec![batch]).unwrap();
        }
    }

    #[test]
    fn a_pace_holds_nobody_up_who_waits() {
        // Whoever asks for it, or closes the store.
        let (_dir, engine) = slow(64 << 20);
        for round in 0..2 {
            fill(&engine, round * 40, 40);
            engine.drain().unwrap();
        }
        fill(&engine, 80, 40);
        engine.0.rows.wake();
        drop(engine);
        // And whoever writes more than may wait.
        let (dir, engine) = slow(4 << 20);
        fill(&engine, 0, 1000);
        drop(engine);
        let engine = Engine::open(dir.path(), &Options::default()).unwrap();
        for row in 0..1000_u32 {
            let found = engine.get_behind(Family::Metadata, &row.to_be_bytes()).unwrap();
            assert!(found.is_some(), "{row}");
        }
    }
}
