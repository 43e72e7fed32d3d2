//! What each batch says in the write-ahead log: which write came before it, and up to which write
//! everything was synced. Recovery uses it to tell what was promised ([`crate::recovery`]).
//!
//! Writes go through [`SyncedNotes::write`] one at a time, so that "the write before" is well
//! defined. That costs nothing: RocksDB itself lets one batch through after the other, or puts
//! batches that wait at the same time into one record, and with two writers only one ever waits.
//! Syncs are not held up and hold nobody up.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use neokv_encoding::synced::{SyncedNote, Tag};
use parking_lot::Mutex;
use rocksdb::WriteBatch;

use crate::{recovery, wal};

type Result = std::result::Result<(), rocksdb::Error>;

/// The notes of one open store.
///
/// Invariant: `synced` ≤ `written`, and both are the last sequence number of a batch in the log, or
/// 0 as long as there is none since the store was opened.
pub(crate) struct SyncedNotes {
    tag: Tag,
    /// Held by the thread that writes.
    writing: Mutex<()>,
    written: AtomicU64,
    synced: Mutex<Synced>,
}

/// The last write that a finished sync covered, and the number of the log that holds it.
#[derive(Clone, Copy, Default)]
struct Synced {
    write: u64,
    log: u64,
}

impl SyncedNotes {
    pub(crate) fn new(tag: Tag) -> SyncedNotes {
        SyncedNotes {
            tag,
            writing: Mutex::new(()),
            written: AtomicU64::new(0),
            synced: Mutex::new(Synced::default()),
        }
    }

    /// Puts the note at the end of a batch and writes it.
    pub(crate) fn write(
        &self,
        mut batch: WriteBatch,
        write: impl FnOnce(&WriteBatch) -> Result,
    ) -> Result {
        let _one_at_a_time = self.writing.lock();
        let before = self.written.load(Ordering::Acquire);
        // It may grow meanwhile, to `before` at most.
        let Synced { write: synced, log } = *self.synced.lock();
        batch.put_log_data(SyncedNote { tag: self.tag, before, synced, log }.encode());
        write(&batch)?;
        // RocksDB has put the sequence number into the batch. One without writes has none.
        if let Some((first, next)) = wal::sequences(batch.data())
            && first < next
        {
            self.written.store(next - 1, Ordering::Release);
        }
        Ok(())
    }

    /// Runs a sync and remembers what it covered: at least what had been written when it began.
    /// `log_of` tells which log holds a write.
    pub(crate) fn sync(
        &self,
        sync: impl FnOnce() -> Result,
        log_of: impl FnOnce(u64) -> u64,
    ) -> Result {
        let written = self.written.load(Ordering::Acquire);
        sync()?;
        if written > self.synced.lock().write {
            let found = Synced { write: written, log: log_of(written) };
            let mut synced = self.synced.lock();
            if written > synced.write {
                *synced = found;
            }
        }
        Ok(())
    }
}

/// Finds the log that holds a write. It looks into the directory only after RocksDB may have begun
/// a new log, and remembers where that begins.
pub(crate) struct LogFinder {
    dir: PathBuf,
    found: Mutex<FoundLog>,
}

/// A log that had writes when it was looked for.
#[derive(Clone, Copy, Default)]
struct FoundLog {
    number: u64,
    first_write: u64,
    /// How many logs had begun by then, if it was the newest; otherwise `None`.
    begun: Option<u64>,
}

impl LogFinder {
    pub(crate) fn new(dir: PathBuf) -> LogFinder {
        LogFinder { dir, found: Mutex::default() }
    }

    /// The number of the log that holds a write, as in [`SyncedNote::log`]. `begun` has grown if
    /// RocksDB has begun a log since the last call; `current` is the log that it writes to now.
    pub(crate) fn log_of(
        &self,
        write: u64,
        begun: u64,
        current: impl FnOnce() -> Option<u64>,
    ) -> u64 {
        let known = *self.found.lock();
        if known.begun == Some(begun) && known.first_write <= write {
            return known.number;
        }
        match recovery::log_of(&self.dir, write) {
            Ok(Some((number, first_write))) => {
                // If another log has begun, the next write may stand there.
                let begun = Some(begun).filter(|_| current() == Some(number));
                *self.found.lock() = FoundLog { number, first_write, begun };
                number
            }
            Ok(None) => 0,
            Err(error) => {
                tracing::warn!(%error, "it is unknown which log holds the last synced write");
                u64::MAX
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::path::Path;

    use neokv_encoding::family::Family;

    use super::*;
    use crate::log_bytes::encode;
    use crate::{Durability, Engine, Options};

    /// The note that a batch of two writes gets, which RocksDB then numbers from `first`.
    fn note_of(notes: &SyncedNotes, first: u64) -> SyncedNote {
        let mut batch = WriteBatch::default();
        batch.put(b"a", b"1");
        batch.put(b"b", b"2");
        let mut found = None;
        notes
            .write(batch, |batch| {
                assert_eq!(batch.len(), 2, "a note is no write");
                found = wal::note(batch.data(), &[7; 16]);
                Ok(())
            })
            .unwrap();
        notes.written.store(first + 1, Ordering::Release);
        found.unwrap()
    }

    #[test]
    fn a_batch_names_the_write_before_it_and_what_was_synced() {
        let notes = SyncedNotes::new([7; 16]);
        let expected = |before, synced, log| SyncedNote { tag: [7; 16], before, synced, log };
        assert_eq!(note_of(&notes, 10), expected(0, 0, 0));
        assert_eq!(note_of(&notes, 12), expected(11, 0, 0));
        notes.sync(|| Ok(()), |write| write + 100).unwrap();
        assert_eq!(note_of(&notes, 14), expected(13, 13, 113));
        assert_eq!(note_of(&notes, 16), expected(15, 13, 113));
    }

    #[test]
    fn what_is_written_during_a_sync_is_not_covered_by_it() {
        let notes = SyncedNotes::new([7; 16]);
        note_of(&notes, 10);
        notes
            .sync(
                || {
                    note_of(&notes, 12);
                    Ok(())
                },
                |write| write,
            )
            .unwrap();
        let note = note_of(&notes, 14);
        assert_eq!((note.synced, note.log), (11, 11));
    }

    /// A log whose first batch begins with a write.
    fn log(dir: &Path, number: u64, first: u64) {
        let mut batch = WriteBatch::default();
        batch.put(b"a", b"1");
        let mut payload = batch.data().to_vec();
        payload[..8].copy_from_slice(&first.to_le_bytes());
        let path = dir.join(format!("{number:06}.log"));
        std::fs::write(path, encode(1, None, &payload)).unwrap();
    }

    #[test]
    fn a_log_is_looked_for_when_another_may_have_begun_and_not_at_every_sync() {
        let dir = tempfile::tempdir().unwrap();
        let finder = LogFinder::new(dir.path().to_path_buf());
        let asked = Cell::new(0);
        let current = |number| {
            let asked = &asked;
            move || {
                asked.set(asked.get() + 1);
                Some(number)
            }
        };
        log(dir.path(), 4, 10);
        assert_eq!((finder.log_of(10, 1, current(4)), asked.get()), (4, 1));
        assert_eq!((finder.log_of(19, 1, current(4)), asked.get()), (4, 1), "it is known");
        // Another has begun, and nothing was written to it: the write stands in the one before.
        std::fs::write(dir.path().join("000009.log"), []).unwrap();
        assert_eq!((finder.log_of(19, 2, current(9)), asked.get()), (4, 2));
        // Then it has a write, and RocksDB tells nothing more.
        log(dir.path(), 9, 20);
        assert_eq!((finder.log_of(20, 2, current(9)), asked.get()), (9, 3));
        assert_eq!((finder.log_of(21, 2, current(9)), asked.get()), (9, 3), "it is known");
        // A sync that began before does not get the newer one.
        assert_eq!(finder.log_of(19, 2, current(9)), 4);
    }

    #[test]
    fn rocksdb_tells_of_a_new_log_before_it_writes_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &Options::default()).unwrap();
        let finder = LogFinder::new(dir.path().to_path_buf());
        let current = || Some(engine.0.db.raw().get_current_wal_file().unwrap().log_number());
        let mut logs = Vec::new();
        for round in 0..4u8 {
            let begun = engine.0.health.logs_begun();
            let mut batch = engine.log_batch();
            batch.put(Family::Default, b"key", [round]);
            engine.write_log(batch, Durability::Synced).unwrap();
            assert_eq!(engine.0.health.logs_begun(), begun, "no log has begun");
            let write = engine.0.db.raw().latest_sequence_number();
            let log = finder.log_of(write, begun, current);
            assert_eq!(Some(log), current());
            logs.push(log);
            engine.flush_family(Family::Default).unwrap();
            assert!(engine.0.health.logs_begun() > begun, "a flush begins a log");
        }
        assert!(logs.is_sorted_by(|one, next| one < next), "{logs:?}");
    }
}
