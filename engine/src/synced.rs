//! What each batch says in the write-ahead log: which write came before it, and up to which write
//! everything was synced. Recovery uses it to tell what was promised ([`crate::recovery`]).
//!
//! Writes go through [`SyncedNotes::write`] one at a time, so that "the write before" is well
//! defined. That costs nothing: RocksDB itself lets one batch through after the other, or puts
//! batches that wait at the same time into one record, and with two writers only one ever waits.
//! Syncs are not held up and hold nobody up.

use std::sync::atomic::{AtomicU64, Ordering};

use neokv_encoding::synced::{SyncedNote, Tag};
use parking_lot::Mutex;
use rocksdb::WriteBatch;

use crate::wal;

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
    synced: AtomicU64,
}

impl SyncedNotes {
    pub(crate) fn new(tag: Tag) -> SyncedNotes {
        let none = || AtomicU64::new(0);
        SyncedNotes { tag, writing: Mutex::new(()), written: none(), synced: none() }
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
        let synced = self.synced.load(Ordering::Acquire);
        batch.put_log_data(SyncedNote { tag: self.tag, before, synced }.encode());
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
    pub(crate) fn sync(&self, sync: impl FnOnce() -> Result) -> Result {
        let written = self.written.load(Ordering::Acquire);
        sync()?;
        self.synced.fetch_max(written, Ordering::AcqRel);
        Ok(())
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
        let expected = |before, synced| SyncedNote { tag: [7; 16], before, synced };
        assert_eq!(note_of(&notes, 10), expected(0, 0));
        assert_eq!(note_of(&notes, 12), expected(11, 0));
        notes.sync(|| Ok(())).unwrap();
        assert_eq!(note_of(&notes, 14), expected(13, 13));
        assert_eq!(note_of(&notes, 16), expected(15, 13));
    }

    #[test]
    fn what_is_written_during_a_sync_is_not_covered_by_it() {
        let notes = SyncedNotes::new([7; 16]);
        note_of(&notes, 10);
        notes
            .sync(|| {
                note_of(&notes, 12);
                Ok(())
            })
            .unwrap();
        assert_eq!(note_of(&notes, 14).synced, 11);
    }
}
