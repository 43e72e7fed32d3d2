//! The note at the end of every batch in the write-ahead log: what came before the batch, and how
//! much of that was on the disk.
//!
//! ```text
//! note  version 1 · tag 16 · before 8 · synced 8 · log 8
//! ```
//!
//! `before` and `synced` are sequence numbers of RocksDB, which gives each write of a batch one.
//! Each of them is the number of the last write of some batch in the log.
//!
//! * `before` is the last write before this batch, so that a batch missing between two others is
//!   noticed even if it left no bad bytes. It is 0 in the first batch after the store was opened:
//!   everything older had been recovered by then.
//! * `synced` is the last write that a finished sync covered when this batch was written. Damage to
//!   a batch is damage to a promise only if a later batch says that it was synced.
//! * `log` is the number of the log file that holds the write `synced`. If that file is gone, what
//!   was in it has reached a data file. So even where the beginning of the oldest log is lost,
//!   nobody has to guess whether the synced write was part of it.
//!
//! The tag is chosen at random for each data directory and is known nowhere else. A client can
//! store bytes that look like a record of the log; it cannot store the tag.

use crate::{
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence},
};

/// Version byte of the note.
const VERSION: u8 = 1;

/// Bytes of a tag.
pub const TAG_LENGTH: usize = 16;

/// Bytes of a note.
pub const NOTE_LENGTH: usize = 1 + TAG_LENGTH + 8 + 8 + 8;

const VERSION_FIELD: &Field =
    &Field::new("version", "a note of another release is not misread").evidence(evidence::tag);
const TAG: &Field =
    &Field::new("tag", "random for each directory, so that no client can write a note");
const BEFORE: &Field = &Field::new("before", "the last write before this batch; 0 after an open")
    .evidence(evidence::small);
const SYNCED: &Field =
    &Field::new("synced", "the last write known to be on the disk").evidence(evidence::small);
const LOG: &Field = &Field::new("log", "the log file that holds the synced write; 0 for none")
    .evidence(evidence::small);

/// The random bytes that mark the notes of one data directory.
pub type Tag = [u8; TAG_LENGTH];

/// What a batch says about the batches before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncedNote {
    /// Whose note it is.
    pub tag: Tag,
    /// Sequence number of the last write before this batch; 0 if it is the first since the store
    /// was opened.
    pub before: u64,
    /// Sequence number of the last write that was known to be on the disk; 0 for none.
    pub synced: u64,
    /// Number of the log file that holds this write; 0 if none does, because the write has reached
    /// a data file since; `u64::MAX` if the writer could not find out, which counts as the newest.
    pub log: u64,
}

impl SyncedNote {
    /// The bytes.
    pub fn encode(&self) -> [u8; NOTE_LENGTH] {
        let mut out = [0; NOTE_LENGTH];
        let numbers = [self.before, self.synced, self.log].into_iter().flat_map(u64::to_be_bytes);
        let bytes = [VERSION].into_iter().chain(self.tag).chain(numbers);
        out.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        out
    }

    /// The inverse of [`SyncedNote::encode`]. The caller compares the tag.
    ///
    /// # Errors
    /// Another length or version, or more synced than written.
    pub fn decode(bytes: &[u8]) -> std::result::Result<SyncedNote, DecodeError> {
        layout::decode(bytes, "synced note", read)
    }
}

pub(crate) fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<SyncedNote> {
    r.tag(VERSION_FIELD, |version| (version == VERSION).then_some(()))?;
    let tag = r.bytes(TAG, TAG_LENGTH)?.try_into();
    let tag = tag.map_err(|_| DecodeError::Invalid { what: "tag", why: "16 bytes" })?;
    let (before, synced, log) = (r.u64(BEFORE)?, r.u64(SYNCED)?, r.u64(LOG)?);
    if synced > before {
        return Err(DecodeError::Invalid {
            what: "synced",
            why: "only what was written before can be on the disk",
        });
    }
    Ok(SyncedNote { tag, before, synced, log })
}
