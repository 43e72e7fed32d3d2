//! Bringing rows of the table into RocksDB, and the thread that does.
//!
//! A few rows are one batch, through the write-ahead log. Many are [files], written at a [pace].

pub(crate) mod files;
pub(crate) mod pace;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use neokv_encoding::family::Family;

use super::{Durability, Engine, Inner};
use crate::error::{EngineError, Result};
use crate::rows::Behind;

/// How long a row waits at most, if the disk takes it.
const INTERVAL: Duration = Duration::from_secs(3);
/// How often the thread looks whether RocksDB has caught up.
const WHILE_IT_LAGS: Duration = Duration::from_millis(20);
/// Files of a family that RocksDB has not merged yet: with so many it is not given more.
const UNMERGED: u64 = 24;
/// How often, and in which intervals, the thread looks whether clean rows may go.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);
/// How long after a failure it is tried again.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// Up to so many bytes of keys and values, and so many rows, are a batch. Everybody who writes
/// waits for one.
const FEW_BYTES: usize = 256 << 10;
const FEW_ROWS: usize = 1 << 11;

impl Engine {
    /// Brings everything that waits for it into RocksDB, as fast as it goes.
    ///
    /// # Errors
    /// The write failed; the rows go on waiting.
    pub fn drain(&self) -> Result<()> {
        let _waits = self.0.waiting.enter();
        self.drain_at_pace()
    }

    /// The same at a pace at which others hardly notice, unless somebody waits.
    fn drain_at_pace(&self) -> Result<()> {
        self.0.rows.drain(&self.0.readers, |rows| self.write_rows(rows)).map(drop)
    }

    /// Whether RocksDB has more files to merge than it should.
    fn lags(&self) -> bool {
        Family::DATA.into_iter().any(|family| self.level0_files(family) >= UNMERGED)
    }

    /// Writes rows of the table into RocksDB: all of them or nothing.
    pub(crate) fn write_rows(&self, rows: &Behind<'_>) -> Result<()> {
        if self.0.health.is_full() {
            self.resume()?;
        }
        let note = |error: &EngineError| self.note_failure(error);
        // What a failure has left half done comes first: it is older.
        files::finish(self).inspect_err(note)?;
        if rows.bytes() > FEW_BYTES || rows.len() > FEW_ROWS {
            return files::write(self, rows).inspect_err(note);
        }
        let mut batch = self.log_batch();
        for family in rows.families() {
            let handle = self.0.db.handle(family);
            rows.each_of(family, |key, value| {
                match value {
                    Some(value) => batch.raw.put_cf(handle, key, value),
                    None => batch.raw.delete_cf(handle, key),
                }
                Ok::<_, EngineError>(())
            })?;
        }
        self.write_log(batch, Durability::Buffered)
    }
}

/// The running thread. It ends when this is dropped, after what waits is in RocksDB.
pub(crate) struct WriteBehind {
    engine: Engine,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl WriteBehind {
    /// Starts the thread. `engine` is a handle of its own, which does not end it.
    pub(crate) fn start(engine: Engine) -> Result<WriteBehind> {
        let stopping = Arc::new(AtomicBool::new(false));
        let (own, is_over) = (engine.clone(), Arc::clone(&stopping));
        let thread = thread::Builder::new()
            .name("write-behind".into())
            .spawn(move || guarded(&own, || run(&own, &is_over)))
            .map_err(|error| EngineError::Io { detail: format!("starting a thread: {error}") })?;
        Ok(WriteBehind { engine, stopping, thread: Some(thread) })
    }
}

impl Drop for WriteBehind {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let _waits = self.engine.0.waiting.enter();
        self.engine.0.rows.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Does the work of the thread. A panic fails the store: nobody else would make room, and writers
/// would wait for ever.
fn guarded(engine: &Engine, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        let detail = "the thread that writes rows behind has ended, a defect of the program".into();
        engine.note_failure(&EngineError::Io { detail });
    }
}

/// What the thread does.
fn run(engine: &Engine, stopping: &AtomicBool) {
    let is_over = || stopping.load(Ordering::Acquire);
    while !is_over() {
        let Inner { rows, readers, .. } = &**engine.0;
        if !rows.wait_for_work(INTERVAL, is_over) {
            // What a long read has held since the last time may go.
            rows.release_clean(readers);
            continue;
        }
        if engine.lags() {
            thread::sleep(WHILE_IT_LAGS);
            continue;
        }
        if let Err(error) = engine.drain_at_pace() {
            // Writers learn of it by the state of the store, and wait or are refused.
            tracing::warn!(%error, "rows could not be written behind; they stay in memory");
            thread::sleep(AFTER_FAILURE);
            continue;
        }
        // What was written is in memory until those have ended who may look for it there.
        for _ in 0..LOOKS {
            if rows.release_clean(readers) || rows.has_enough() || is_over() {
                break;
            }
            thread::sleep(BETWEEN_LOOKS);
        }
    }
    if let Err(error) = engine.drain() {
        tracing::warn!(%error, "rows were not written behind: the next start applies them again");
    }
}

#[cfg(test)]
mod tests {
    mod power_loss;

    use super::*;
    use crate::options::Options;

    #[test]
    fn a_panic_of_the_thread_fails_writers_instead_of_letting_them_wait() {
        let dir = tempfile::tempdir().unwrap();
        // A single row is more than may wait, and nothing takes it away.
        let options = Options { dirty_bytes: 64, ..Options::default() };
        let engine = Engine::open(dir.path(), &options).unwrap();
        guarded(&engine, || panic!("told to"));
        let _nobody_drains = engine.0.rows.hold_drain();
        for attempt in 0..2 {
            let mut batch = engine.batch();
            batch.put(Family::Metadata, b"key", b"value");
            assert_eq!(engine.write_behind(vec![batch]).is_err(), attempt == 1);
        }
    }
}
