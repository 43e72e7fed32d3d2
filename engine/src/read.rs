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
//! Values come back as [`Slice`]s that point to where they are held, in a block of RocksDB or in
//! the row table; rows of up to a kibibyte are copied out of the table. Range reads go through a
//! [`crate::Cursor`].

use std::ops::Deref;

use neokv_encoding::family::Family;
use rocksdb::DBPinnableSlice;

use crate::cursor::Cursor;
use crate::error::Result;
use crate::range::{Direction, KeyRange};
use crate::rows::Value;

/// A value, where RocksDB or the row table holds it. Keep it short: it may hold a cache block in
/// memory.
pub struct Slice<'a>(Held<'a>);

enum Held<'a> {
    Pinned(DBPinnableSlice<'a>),
    Row(Value),
}

impl<'a> Slice<'a> {
    /// A value that RocksDB holds.
    pub(crate) fn pinned(value: DBPinnableSlice<'a>) -> Slice<'a> {
        Slice(Held::Pinned(value))
    }

    /// A value that the row table holds.
    pub(crate) fn of_row(value: Value) -> Slice<'a> {
        Slice(Held::Row(value))
    }
}

impl Deref for Slice<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Pinned(value) => value,
            Held::Row(value) => value,
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

    /// Shows the values of some rows, in the order of their keys, if memory has all of them. False:
    /// it has not, or this read cannot tell; then walk, and what was shown does not count.
    ///
    /// `keys` are `len` bytes each, one behind the other.
    ///
    /// # Errors
    /// [`crate::EngineError::BudgetExceeded`] from a [`crate::BudgetedRead`].
    fn get_cached(
        &self,
        _family: Family,
        _keys: &[u8],
        _len: usize,
        _show: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        Ok(false)
    }

    /// Keeps a row in memory that a walk of this read has found, for the next
    /// [`get_cached`](Read::get_cached). Walks keep nothing on their own: a long one would displace
    /// what others use.
    fn keep(&self, _family: Family, _key: &[u8], _value: &[u8]) {}

    /// Tells how many rows are going to be read, where that is known, so that a reader that may not
    /// read as many refuses before the work and not in the middle of it.
    ///
    /// # Errors
    /// [`crate::EngineError::BudgetExceeded`] from a [`crate::BudgetedRead`]; others never refuse.
    fn expect_rows(&self, _rows: u64) -> Result<()> {
        Ok(())
    }
}
