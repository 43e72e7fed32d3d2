//! One row, with the versions that somebody may still read.
//!
//! ```text
//! newest ─▶ "y", pending      older ─▶ "x", write 7 ─▶ absent, write 3
//! ```
//!
//! A version says what the row was from one write on until the next. The newest one may be
//! *pending*: a batch has made it that is not committed, and only that batch sees it.

use std::ops::Deref;
use std::sync::Arc;

use neokv_encoding::family::Family;

use super::needed::Needed;

/// Bytes that a version takes besides key and value, about.
const VERSION: usize = 32;
/// Bytes that a row takes besides its versions, about: itself, and its place in the index.
const ROW: usize = 64;

/// A value that was found. Key and value share one allocation.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    bytes: Arc<[u8]>,
    /// Where the value begins.
    start: usize,
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

impl Value {
    /// The key of the row.
    pub(crate) fn key(&self) -> &[u8] {
        self.bytes.get(..self.start).unwrap_or_default()
    }
}

/// A row as one write left it: its key, and its value unless it does not exist.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) exists: bool,
}

impl Found {
    /// The value, if the row exists.
    #[inline]
    pub(crate) fn into_value(self) -> Option<Value> {
        self.exists.then_some(self.value)
    }

    /// The value, if the row exists.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.exists.then_some(&*self.value)
    }
}

/// The write that made a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Made(u64);

impl Made {
    const PENDING: u64 = 1 << 63;

    /// By a committed write.
    pub(crate) fn by(write: u64) -> Made {
        Made(write)
    }

    /// By a batch that is not committed: which batch, and which of its writes, counted from 0.
    pub(crate) fn pending(batch: u32, serial: u32) -> Made {
        Made(Made::PENDING | u64::from(batch) << 32 | u64::from(serial))
    }

    fn is_pending(self) -> bool {
        self.0 & Made::PENDING != 0
    }

    /// Which write of `batch` it is, counted from 0; `None` if it is committed.
    fn serial_in(self, batch: u32) -> Option<u32> {
        if !self.is_pending() {
            return None;
        }
        let (owner, serial) = (self.0 >> 32 & 0x7fff_ffff, self.0 & 0xffff_ffff);
        assert_eq!(owner, u64::from(batch), "two batches must not write one row at once");
        u32::try_from(serial).ok()
    }
}

/// What a row was from one write on.
#[derive(Debug)]
pub(crate) struct Version {
    /// The key, and the value behind it.
    bytes: Arc<[u8]>,
    made: Made,
    exists: bool,
}

impl Version {
    /// A version with the bytes of key and value, one behind the other.
    pub(crate) fn new(bytes: &[u8], exists: bool, made: Made) -> Version {
        Version { bytes: Arc::from(bytes), made, exists }
    }

    pub(crate) fn weight(&self) -> usize {
        VERSION + self.bytes.len()
    }
}

/// A version that is not the newest, and those before it.
#[derive(Debug)]
struct Older {
    version: Version,
    before: Option<Box<Older>>,
}

/// What a batch has replaced with a write.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// Bytes of the value.
    pub(crate) len: usize,
    /// Which write of the batch it was.
    pub(crate) serial: u32,
    pub(crate) version: Version,
}

/// Where a shard has the place of a row, for walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Nowhere,
    /// Among those that are not in their groups yet.
    Arrived,
    Group,
}

/// See the module. A row that is not in RocksDB yet is *dirty*; one that is there too is *clean*.
#[derive(Debug)]
pub(crate) struct Row {
    newest: Version,
    older: Option<Box<Older>>,
    key_len: u32,
    /// Part of the key's hash: what the index needs when it grows.
    pub(crate) hash: u32,
    /// Reads that registered before this mark may not find in RocksDB what the row was last.
    pub(crate) mark: u64,
    pub(crate) family: Family,
    /// Has a committed version that RocksDB lacks.
    pub(crate) is_dirty: bool,
    /// Walks find it.
    pub(crate) is_shown: bool,
    /// Where its shard has its place for walks.
    pub(crate) listed: Listed,
    /// Read or written since the last look of the eviction.
    pub(crate) is_touched: bool,
}

impl Row {
    /// A row with its only version.
    pub(crate) fn new(family: Family, key_len: usize, hash: u32, newest: Version) -> Row {
        Row {
            newest,
            older: None,
            // Keys are bounded far below.
            key_len: u32::try_from(key_len).unwrap_or(u32::MAX),
            hash,
            mark: 0,
            family,
            is_dirty: false,
            is_shown: false,
            listed: Listed::Nowhere,
            is_touched: false,
        }
    }

    #[inline]
    fn key_len(&self) -> usize {
        usize::try_from(self.key_len).unwrap_or(usize::MAX)
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.newest.bytes.get(..self.key_len()).unwrap_or_default()
    }

    /// Whether its place belongs into the list of those that have arrived. If walks need not find
    /// it any more, it is not listed from now on.
    pub(crate) fn stays_arrived(&mut self) -> bool {
        let is_listed = self.listed == Listed::Arrived;
        if is_listed && !self.is_shown {
            self.listed = Listed::Nowhere;
        }
        is_listed && self.is_shown
    }

    /// Reads the first and the last byte.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        let byte = |byte: Option<&u8>| byte.copied().map_or(0, u64::from);
        byte(self.newest.bytes.first()) + byte(self.newest.bytes.last())
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn weight(&self) -> usize {
        ROW + self.versions().map(Version::weight).sum::<usize>()
    }

    /// From the newest to the oldest.
    fn versions(&self) -> impl Iterator<Item = &Version> {
        let older = std::iter::successors(self.older.as_deref(), |older| older.before.as_deref());
        std::iter::once(&self.newest).chain(older.map(|older| &older.version))
    }

    fn found(&self, version: &Version) -> Found {
        let value = Value { bytes: Arc::clone(&version.bytes), start: self.key_len() };
        Found { value, exists: version.exists }
    }

    /// What the batch that writes it sees.
    #[inline]
    pub(crate) fn newest(&self) -> Found {
        self.found(&self.newest)
    }

    /// What write `at` and all later ones see until the next version. `None`: the row is younger,
    /// and RocksDB knows.
    #[inline]
    pub(crate) fn as_of(&self, at: u64) -> Option<Found> {
        if self.newest.made.0 <= at {
            return Some(self.newest());
        }
        self.versions().find(|version| version.made.0 <= at).map(|version| self.found(version))
    }

    /// Whether it has something that RocksDB lacks.
    pub(crate) fn is_written(&self) -> bool {
        self.is_dirty || self.newest.made.is_pending()
    }

    /// Puts a version of `batch` on top. Returns the one that the batch had made before, if it had.
    pub(crate) fn write(&mut self, version: Version, batch: u32) -> Option<Replaced> {
        self.is_touched = true;
        let serial = self.newest.made.serial_in(batch);
        let before = std::mem::replace(&mut self.newest, version);
        if let Some(serial) = serial {
            let len = before.bytes.len() - self.key_len();
            return Some(Replaced { len, serial, version: before });
        }
        self.older = Some(Box::new(Older { version: before, before: self.older.take() }));
        None
    }

    /// Takes the batch's version back: `before` stands again, or what is committed. False: nothing
    /// is left of the row.
    pub(crate) fn undo(&mut self, before: Option<Version>) -> bool {
        let before = before.or_else(|| {
            let older = *self.older.take()?;
            self.older = older.before;
            Some(older.version)
        });
        before.map(|before| self.newest = before).is_some()
    }

    /// The batch deletes the row, if `covered` says so of the write that made its version.
    pub(crate) fn delete_if(&mut self, batch: u32, covered: impl FnOnce(u32) -> bool) {
        if self.newest.made.serial_in(batch).is_some_and(covered) {
            self.newest.bytes = Arc::from(self.key());
            self.newest.exists = false;
        }
    }

    /// The batch is committed as write `at`.
    pub(crate) fn stamp(&mut self, at: u64) {
        self.newest.made = Made::by(at);
    }

    /// Forgets the versions that no open read can see. Returns their bytes.
    pub(crate) fn trim(&mut self, needed: &Needed) -> usize {
        let Some(mut next) = self.older.take() else { return 0 };
        let (mut freed, mut later, mut kept) = (0, self.newest.made, Vec::new());
        // From the newest down: a version is needed if a read stands between it and the next one.
        loop {
            let Older { version, before } = *next;
            if needed.between(version.made.0, later.0) {
                later = version.made;
                kept.push(version);
            } else {
                freed += version.weight();
            }
            match before {
                Some(before) => next = before,
                None => break,
            }
        }
        for version in kept.into_iter().rev() {
            self.older = Some(Box::new(Older { version, before: self.older.take() }));
        }
        freed
    }

    /// The state as of `cut` is in RocksDB. False: it was written again since, and is still dirty.
    pub(crate) fn settle(&mut self, cut: u64) -> bool {
        let committed = self.versions().find(|version| !version.made.is_pending());
        self.is_dirty = committed.is_some_and(|version| version.made.0 > cut);
        !self.is_dirty
    }

    /// Notes what write `at` has written past the table, below what a batch is writing. Returns the
    /// bytes that it adds.
    pub(crate) fn note(&mut self, version: Version) -> usize {
        let added = version.weight();
        if self.newest.made.is_pending() {
            self.older = Some(Box::new(Older { version, before: self.older.take() }));
        } else {
            let before = std::mem::replace(&mut self.newest, version);
            self.older = Some(Box::new(Older { version: before, before: self.older.take() }));
        }
        added
    }

    /// Whether the eviction may take the row out, which it asks of each row in turn: not one that
    /// RocksDB lacks, or that an open read may look for here, or that was touched since it last
    /// asked.
    pub(crate) fn may_leave(&mut self) -> bool {
        if self.is_dirty || self.is_shown || self.older.is_some() || self.newest.made.is_pending() {
            return false;
        }
        !std::mem::take(&mut self.is_touched) || self.newest.bytes.len() > super::LONG
    }

    /// Whether a read as of `at` finds nothing here: it is older than all that is known of the row.
    pub(crate) fn is_younger_than(&self, at: u64) -> bool {
        self.older.is_none() && self.newest.made.0 > at
    }

    /// The last write that changed it.
    pub(crate) fn last_write(&self) -> u64 {
        self.newest.made.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::needed::OpenReads;
    use super::*;

    fn version(value: &str, made: Made) -> Version {
        Version::new(format!("key{value}").as_bytes(), !value.is_empty(), made)
    }

    fn row() -> Row {
        Row::new(Family::Metadata, 3, 0, version("a", Made::by(3)))
    }

    fn seen(row: &Row, at: u64) -> Option<Vec<u8>> {
        row.as_of(at).and_then(|found| found.value().map(<[u8]>::to_vec))
    }

    #[test]
    fn only_the_batch_sees_what_is_pending_until_it_is_committed() {
        let mut row = row();
        assert!(row.write(version("b", Made::pending(1, 0)), 1).is_none());
        let replaced = row.write(version("c", Made::pending(1, 4)), 1).unwrap();
        assert_eq!((replaced.len, replaced.serial), (1, 0));
        assert_eq!(&*row.newest().value, b"c");
        assert_eq!(seen(&row, 9).as_deref(), Some(&b"a"[..]));
        assert!(row.as_of(2).is_none(), "the row is younger");
        row.stamp(7);
        assert_eq!(seen(&row, 6).as_deref(), Some(&b"a"[..]));
        assert_eq!(seen(&row, 7).as_deref(), Some(&b"c"[..]));
    }

    #[test]
    fn what_a_batch_takes_back_is_gone() {
        let mut row = row();
        row.write(version("b", Made::pending(1, 0)), 1);
        let replaced = row.write(version("c", Made::pending(1, 1)), 1).unwrap();
        assert!(row.undo(Some(replaced.version)));
        assert_eq!(&*row.newest().value, b"b");
        assert!(row.undo(None));
        assert_eq!(&*row.newest().value, b"a");
        let mut new = Row::new(Family::Metadata, 3, 0, version("x", Made::pending(1, 2)));
        assert!(!new.undo(None), "nothing was there before");
    }

    #[test]
    fn versions_go_when_no_read_needs_them() {
        let reads = OpenReads::default();
        let mut row = row();
        for at in [5, 8, 9] {
            row.write(version("b", Made::pending(1, 0)), 1);
            row.stamp(at);
        }
        reads.open(1, || 6);
        let weight = row.weight();
        let freed = row.trim(&reads.needed(|| 9));
        assert_eq!(row.versions().count(), 2, "as of 6, and the newest");
        assert_eq!(row.weight(), weight - freed);
        assert!(seen(&row, 6).is_some() && row.as_of(4).is_none());
        reads.close(1);
        row.trim(&reads.needed(|| 9));
        assert_eq!(row.versions().count(), 1);
    }

    #[test]
    fn a_row_that_is_written_again_stays_dirty() {
        let mut row = row();
        row.is_dirty = true;
        row.write(version("b", Made::pending(1, 0)), 1);
        assert!(row.settle(3), "what is pending has its own turn");
        row.stamp(4);
        assert!(!row.settle(3));
        assert!(row.settle(4));
    }

    #[test]
    fn a_row_leaves_when_it_is_nobodys() {
        let mut row = row();
        row.is_touched = true;
        assert!(!row.may_leave());
        assert!(row.may_leave(), "not touched since the last question");
        for hold in [|row: &mut Row| row.is_dirty = true, |row: &mut Row| row.is_shown = true] {
            let mut held = super::tests::row();
            hold(&mut held);
            assert!(!held.may_leave() && !held.may_leave());
        }
    }

    #[test]
    #[should_panic(expected = "two batches must not write one row at once")]
    fn two_batches_on_one_row_are_a_defect() {
        let mut row = row();
        row.write(version("b", Made::pending(1, 0)), 1);
        row.write(version("c", Made::pending(2, 0)), 2);
    }
}
