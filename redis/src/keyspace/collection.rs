//! An open hash, set, list or sorted set, or a string in chunks: its header, read once, changed in
//! memory, written back by [`super::Tx::save`].

use neokv_encoding::key::UserKey;
use neokv_encoding::{DecodeError, metadata};

use super::view::Stored;
use crate::error::CommandError;

/// The header of a collection, and where its rows are.
///
/// A handler opens it ([`super::View::collection`], [`super::Tx::open`]), changes `meta`, writes
/// rows, and hands it to [`super::Tx::save`]. Between opening and saving nothing else may write the
/// same key, and a command holds at most one open `Collection` per key: commands with a source and
/// a destination must first ask whether both are the same key.
#[derive(Clone, Debug)]
pub struct Collection {
    /// The user key.
    pub key: UserKey,
    /// The header. Handlers change `size`, and lists also `head` and `tail`; nothing else.
    pub meta: metadata::Collection,
    /// The header as it is stored now, if it is.
    pub(super) saved: Option<metadata::Collection>,
    /// What was stored under this key when the collection was opened.
    pub(super) stored: Stored,
    /// What the keys of all rows of this version start with, in `subkey` and in `zset_score`.
    pub(super) prefix: Vec<u8>,
}

impl Collection {
    /// A collection over a header; `saved` if that header is what is stored.
    pub(super) fn new(
        key: UserKey,
        meta: metadata::Collection,
        stored: Stored,
        saved: bool,
    ) -> Collection {
        let prefix = key.subkey_prefix(meta.version);
        let saved = saved.then_some(meta);
        Collection { key, meta, saved, stored, prefix }
    }

    /// Number of elements; of a string its length.
    pub fn size(&self) -> u64 {
        self.meta.size
    }

    /// Whether there are no elements; saving an empty collection deletes its key.
    pub fn is_empty(&self) -> bool {
        self.meta.size == 0
    }

    /// Counts an element that has been added.
    ///
    /// # Errors
    /// [`CommandError::Damaged`] if the stored size cannot be right.
    pub fn grow(&mut self) -> Result<(), CommandError> {
        self.meta.size = self.meta.size.checked_add(1).ok_or_else(wrong_size)?;
        Ok(())
    }

    /// Counts an element that has been removed.
    ///
    /// # Errors
    /// [`CommandError::Damaged`] if there should have been none.
    pub fn shrink(&mut self) -> Result<(), CommandError> {
        self.meta.size = self.meta.size.checked_sub(1).ok_or_else(wrong_size)?;
        Ok(())
    }

    /// How many elements stand behind the one at `index`.
    ///
    /// # Errors
    /// [`CommandError::Damaged`] if by the stored size there is no such element.
    pub fn behind(&self, index: u64) -> Result<u64, CommandError> {
        let behind = self.meta.size.checked_sub(1).and_then(|last| last.checked_sub(index));
        behind.ok_or_else(wrong_size)
    }

    /// The first byte string that all rows of this collection start with.
    pub fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    /// What the rows of all collections of this key start with, whatever their version.
    pub fn key_prefix(&self) -> &[u8] {
        let version = self.prefix.len() - size_of_val(&self.meta.version);
        self.prefix.get(..version).unwrap_or_default()
    }

    /// Bytes of the engine's key of each row, without the subkey. The user's key is in it.
    pub fn prefix_len(&self) -> usize {
        self.prefix.len()
    }

    /// The engine's key of the row of `subkey`.
    pub(super) fn row(&self, subkey: &[u8]) -> Vec<u8> {
        let mut row = Vec::with_capacity(self.prefix.len() + subkey.len());
        row.extend_from_slice(&self.prefix);
        row.extend_from_slice(subkey);
        row
    }
}

/// The stored size is a number that the rows contradict.
fn wrong_size() -> CommandError {
    CommandError::Damaged(DecodeError::Invalid {
        what: "collection",
        why: "its size is not the number of its rows",
    })
}
