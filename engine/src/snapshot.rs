//! One state of the store, for answers that need several reads.
//!
//! RocksDB keeps the records of a snapshot alive on its own, with one exception: a compaction
//! filter removes a row even if a snapshot shows it. So every snapshot of the engine is registered
//! ([`crate::readers`]), and the orphan filter removes nothing that a registered one may still look
//! for.
//!
//! A snapshot that stays open keeps overwritten and deleted records on disk. Close it as soon as
//! the answer is built.

use neokv_encoding::family::Family;
use rocksdb::ReadOptions;

use crate::cursor::{self, Cursor};
use crate::db::Db;
use crate::error::Result;
use crate::range::{Direction, KeyRange};
use crate::read::{Read, Slice};
use crate::readers::Readers;
use crate::rows::{OpenRead, RowTable, Sight};

/// A view of the store as it was when the snapshot was taken. From [`crate::Engine::snapshot`].
pub struct Snapshot<'a> {
    db: &'a Db,
    options: ReadOptions,
    // Dropped in this order: RocksDB's snapshot first, then the registration that protects it.
    raw: rocksdb::Snapshot<'a>,
    rows: &'a RowTable,
    open: OpenRead<'a>,
}

impl<'a> Snapshot<'a> {
    /// Registers before taking the snapshot: see [`crate::readers`] and [`crate::rows`] for why the
    /// order matters.
    pub(crate) fn take(db: &'a Db, rows: &'a RowTable, readers: &'a Readers) -> Snapshot<'a> {
        let (raw, open) = rows.open(readers, || db.raw().snapshot());
        let mut options = ReadOptions::default();
        options.set_snapshot(&raw);
        Snapshot { db, options, raw, rows, open }
    }

    /// Like [`Read::cursor`], for a walk over much data that will not be read again soon: it does
    /// not fill the cache.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    pub fn scan(&self, family: Family, range: KeyRange) -> Result<Cursor<'_>> {
        Ok(self.cursor_with(family, range, Direction::Forward, |options| options.fill_cache(false)))
    }

    /// Makes reads with `options` see this state.
    pub(crate) fn bind(&self, options: &mut ReadOptions) {
        options.set_snapshot(&self.raw);
    }

    /// A look-up with options of the caller's, which must be bound to this snapshot.
    #[inline]
    pub(crate) fn get_with(
        &self,
        family: Family,
        key: &[u8],
        options: &ReadOptions,
    ) -> std::result::Result<Option<Slice<'_>>, rocksdb::Error> {
        if let Some(found) = self.rows.get(family, key, self.open.at) {
            return Ok(found.map(Slice::of_row));
        }
        let found = self.db.raw().get_pinned_cf_opt(self.db.handle(family), key, options)?;
        self.rows.keep(family, key, found.as_deref(), self.open.at);
        Ok(found.map(Slice::pinned))
    }

    /// A walk with further options.
    pub(crate) fn cursor_with(
        &self,
        family: Family,
        range: KeyRange,
        direction: Direction,
        further: impl FnOnce(&mut ReadOptions),
    ) -> Cursor<'_> {
        let mut options = cursor::read_options(family, &range, direction);
        self.bind(&mut options);
        further(&mut options);
        let raw = self.db.raw().raw_iterator_cf_opt(self.db.handle(family), options);
        let rows = self.rows.walk(family, &range, direction, Sight::AsOf(self.open.at));
        Cursor::new(raw, rows, range, direction)
    }
}

impl Read for Snapshot<'_> {
    #[inline]
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        Ok(self.get_with(family, key, &self.options)?)
    }

    fn cursor(&self, family: Family, range: KeyRange, direction: Direction) -> Result<Cursor<'_>> {
        Ok(self.cursor_with(family, range, direction, |_| {}))
    }

    fn get_cached(
        &self,
        family: Family,
        keys: &[u8],
        len: usize,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<bool> {
        let keys = keys.chunks_exact(len.max(1));
        Ok(self.rows.get_all(family, keys, self.open.at, show))
    }

    fn keep(&self, family: Family, key: &[u8], value: &[u8]) {
        self.rows.keep(family, key, Some(value), self.open.at);
    }
}

impl std::fmt::Debug for Snapshot<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot(sequence {:?})", self.raw.sequence_number())
    }
}
