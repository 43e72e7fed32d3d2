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

/// Finds the log that holds a write. It looks into the directory only after RocksDB has begun a new
/// log, and remembers where that begins.
pub(crate) struct LogFinder {
    dir: PathBuf,
    /// Number and first write of a log.
    found: Mutex<(u64, u64)>,
}

impl LogFinder {
    pub(crate) fn new(dir: PathBuf) -> LogFinder {
        LogFinder { dir, found: Mutex::new((0, 0)) }
    }

    /// The number of the log that holds a write, as in [`SyncedNote::log`]. `current` is the log
    /// that RocksDB writes to.
    pub(crate) fn log_of(&self, write: u64, current: Option<u64>) -> u64 {
        let (number, first) = *self.found.lock();
        if Some(number) == current && first <= write {
            return number;
        }
        match recovery::log_of(&self.dir, write) {
            Ok(Some(found)) => {
                *self.found.lock() = found;
                found.0
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
    use super::*;

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
}
