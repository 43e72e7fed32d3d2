//! The one way to read, whatever is read from: the live store, a snapshot, or a batch that is not
//! written yet.
//!
//! Code that only reads takes `&dyn Read` and works on all three:
//!
//! * [`crate::Engine`]: the newest committed state. Two calls may see two states.
//! * [`crate::Snapshot`]: one state, for answers built from several reads.
//! * [`crate::Batch`]: the newest committed state with the batch's own writes over it. Apply reads
//!   through it, so the second command of a log entry sees what the first one did.
//!
//! Values come back as [`Slice`]s that point to where they are held, in a block of RocksDB or in a
//! batch, instead of copying them. Range reads go through a [`crate::Cursor`].

use std::ops::Deref;

use neokv_encoding::family::Family;
use neokv_encoding::key::prefix_end;
use rocksdb::DBPinnableSlice;

use crate::cursor::Cursor;
use crate::error::Result;

/// A value, where RocksDB or a batch holds it. Keep it short: it may hold a cache block in memory.
pub struct Slice<'a>(Held<'a>);

enum Held<'a> {
    Pinned(DBPinnableSlice<'a>),
    Batch(&'a [u8]),
}

impl<'a> Slice<'a> {
    /// A value that RocksDB holds.
    pub(crate) fn pinned(value: DBPinnableSlice<'a>) -> Slice<'a> {
        Slice(Held::Pinned(value))
    }

    /// A value that a batch holds.
    pub(crate) fn of_batch(value: &'a [u8]) -> Slice<'a> {
        Slice(Held::Batch(value))
    }
}

impl Deref for Slice<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Pinned(value) => value,
            Held::Batch(value) => value,
        }
    }
}

impl AsRef<[u8]> for Slice<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for Slice<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slice({} bytes)", self.len())
    }
}

/// Keys from `start` to before `end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// First key, included.
    pub start: Vec<u8>,
    /// First key after the range; empty for no end.
    pub end: Vec<u8>,
}

impl KeyRange {
    /// The keys from `start` (included) to `end` (excluded; empty for no end).
    pub fn new(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> KeyRange {
        KeyRange { start: start.into(), end: end.into() }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        KeyRange { start: prefix.to_vec(), end: prefix_end(prefix) }
    }

    /// Every key of a family.
    pub fn all() -> KeyRange {
        KeyRange::default()
    }

    /// Whether `key` is in the range.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.is_before_end(key)
    }

    #[inline]
    pub(crate) fn is_before_end(&self, key: &[u8]) -> bool {
        self.end.is_empty() || key < self.end.as_slice()
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }
}

/// Which way a cursor walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Reverse,
}

/// Reads of one state of the store.
pub trait Read {
    /// The value of `key`, or `None`.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>>;

    /// Walks the keys of `range`. The cursor sees the state of the moment it was opened.
    ///
    /// # Errors
    /// A damaged or unreadable file. Most surface only when the cursor moves.
    fn cursor(&self, family: Family, range: KeyRange, direction: Direction) -> Result<Cursor<'_>>;

    /// Tells how many rows are going to be read, where that is known, so that a reader that may not
    /// read as many refuses before the work and not in the middle of it.
    ///
    /// # Errors
    /// [`crate::EngineError::Beyond`] from a [`crate::Glance`]; others never refuse.
    fn expect_rows(&self, _rows: u64) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_the_start_and_exclude_the_end() {
        let range = KeyRange::prefix(b"ab");
        assert_eq!(range, KeyRange::new(*b"ab", *b"ac"));
        for (key, inside) in
            [(&b"aa\xff"[..], false), (b"ab", true), (b"ab\xff\xff", true), (b"ac", false)]
        {
            assert_eq!(range.contains(key), inside, "{key:?}");
        }
        assert!(KeyRange::all().contains(b""));
        assert!(KeyRange::prefix(b"\xff\xff").end.is_empty());
        assert!(KeyRange::new(*b"b", *b"b").is_empty());
        assert!(!KeyRange::all().is_empty());
    }
}
