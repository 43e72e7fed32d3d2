//! One row, with the versions that somebody may still read.
//!
//! ```text
//! newest ─▶ "y", pending      older ─▶ "x", write 7 ─▶ absent, write 3
//! ```
//!
//! A version says what the row was from one write on until the next. The newest one may be
//! *pending*: a batch has made it that is not committed, and only that batch sees it.

use neokv_encoding::family::Family;

use super::body::{Body, Value};
use super::needed::Needed;
use super::page::Seen;

/// Bytes that an older version takes besides its bytes, about.
const VERSION: usize = 48;
/// Bytes that a row takes besides its bytes and its older versions, about: itself, and its place in
/// the index.
const ROW: usize = size_of::<Row>() + 11;

/// A row as one write left it: its key, and its value unless it does not exist.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) value: Value,
    pub(crate) exists: bool,
}

impl Found {
    /// What stays of a row when its part is not locked any more.
    #[inline]
    fn of(seen: Seen<'_>) -> Found {
        Found { value: seen.body.read(), exists: seen.exists }
    }

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
    body: Body,
    made: Made,
    exists: bool,
}

impl Version {
    /// A version of a row. `None`: it does not exist.
    pub(crate) fn new(key: &[u8], value: Option<&[u8]>, made: Made) -> Version {
        Version { body: Body::new(key, value.unwrap_or_default()), made, exists: value.is_some() }
    }

    /// Bytes of memory that it takes as an older version, about.
    pub(crate) fn weight(&self) -> usize {
        VERSION + self.body.weight()
    }

    fn see(&self) -> Seen<'_> {
        Seen { body: &self.body, exists: self.exists }
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

/// What is true of a row or not, a bit for each.
#[derive(Clone, Copy, Debug, Default)]
struct Marks(u8);

impl Marks {
    /// Its newest version has a value.
    const EXISTS: u8 = 1;
    /// It has a committed version that RocksDB lacks.
    const DIRTY: u8 = 1 << 1;
    /// Walks find it.
    const SHOWN: u8 = 1 << 2;
    /// It was read or written since the last look of the eviction.
    const TOUCHED: u8 = 1 << 3;
    /// Its place is among those of its shard that are not in their groups yet.
    const ARRIVED: u8 = 1 << 4;
    /// Its place is in its group.
    const GROUPED: u8 = 1 << 5;

    fn has(self, bit: u8) -> bool {
        self.0 & bit != 0
    }

    fn set(&mut self, bit: u8, is_set: bool) {
        self.0 = if is_set { self.0 | bit } else { self.0 & !bit };
    }
}

/// See the module. A row that is not in RocksDB yet is *dirty*; one that is there too is *clean*.
///
/// There are millions of rows, so every byte here counts.
#[derive(Debug)]
pub(crate) struct Row {
    /// The newest version.
    body: Body,
    made: Made,
    older: Option<Box<Older>>,
    /// Part of the key's hash: what the index needs when it grows.
    pub(crate) hash: u32,
    /// In which round of [`super::behind`] the row became clean the last time, or a later one that
    /// took this one over.
    pub(crate) round: u16,
    pub(crate) family: Family,
    marks: Marks,
}

impl Row {
    /// A row with its only version.
    pub(crate) fn new(family: Family, hash: u32, newest: Version) -> Row {
        let Version { body, made, exists } = newest;
        let mut marks = Marks::default();
        marks.set(Marks::EXISTS, exists);
        Row { body, made, older: None, hash, round: 0, family, marks }
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.body.key()
    }

    /// Whether it has a committed version that RocksDB lacks.
    pub(crate) fn is_dirty(&self) -> bool {
        self.marks.has(Marks::DIRTY)
    }

    /// It gets a committed version that RocksDB lacks. Returns whether it had one.
    pub(crate) fn set_dirty(&mut self) -> bool {
        let was_dirty = self.is_dirty();
        self.marks.set(Marks::DIRTY, true);
        was_dirty
    }

    /// Whether walks find it.
    pub(crate) fn is_shown(&self) -> bool {
        self.marks.has(Marks::SHOWN)
    }

    /// Lets walks find it, or not.
    pub(crate) fn set_shown(&mut self, is_shown: bool) {
        self.marks.set(Marks::SHOWN, is_shown);
    }

    /// It was read or written, so the eviction leaves it for now.
    #[inline]
    pub(crate) fn set_touched(&mut self) {
        self.marks.set(Marks::TOUCHED, true);
    }

    /// Its place comes into the list of those that have arrived. False: it is listed already, there
    /// or in its group.
    pub(crate) fn arrive(&mut self) -> bool {
        let is_listed = self.marks.has(Marks::ARRIVED | Marks::GROUPED);
        self.marks.set(Marks::ARRIVED, !self.marks.has(Marks::GROUPED));
        !is_listed
    }

    /// Whether its place belongs into the list of those that have arrived. If walks need not find
    /// it any more, it is not listed from now on.
    pub(crate) fn stays_arrived(&mut self) -> bool {
        let stays = self.marks.has(Marks::ARRIVED) && self.is_shown();
        self.marks.set(Marks::ARRIVED, stays);
        stays
    }

    /// Its place moves from the list of those that have arrived to its group. False: it is not in
    /// that list, or walks need not find it.
    pub(crate) fn join_group(&mut self) -> bool {
        let joins = self.stays_arrived();
        if joins {
            self.marks.set(Marks::ARRIVED, false);
            self.marks.set(Marks::GROUPED, true);
        }
        joins
    }

    /// Its place leaves its group. False: it was not there.
    pub(crate) fn leave_group(&mut self) -> bool {
        let was_there = self.marks.has(Marks::GROUPED);
        self.marks.set(Marks::GROUPED, false);
        was_there
    }

    /// Reads the bytes at both ends of what a look-up will read.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        self.body.touch()
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn weight(&self) -> usize {
        ROW + self.body.weight() + self.older().map(Version::weight).sum::<usize>()
    }

    /// From the newest to the oldest, without the newest of all.
    fn older(&self) -> impl Iterator<Item = &Version> {
        let older = std::iter::successors(self.older.as_deref(), |older| older.before.as_deref());
        older.map(|older| &older.version)
    }

    /// Puts a version under the newest one.
    fn push_older(&mut self, version: Version) {
        self.older = Some(Box::new(Older { version, before: self.older.take() }));
    }

    /// Puts a version in the place of the newest one, which it returns.
    fn replace(&mut self, version: Version) -> Version {
        let exists = self.marks.has(Marks::EXISTS);
        self.marks.set(Marks::EXISTS, version.exists);
        let body = std::mem::replace(&mut self.body, version.body);
        Version { body, made: std::mem::replace(&mut self.made, version.made), exists }
    }

    /// What the batch that writes it sees, under the lock of its part.
    #[inline]
    pub(crate) fn see_newest(&self) -> Seen<'_> {
        Seen { body: &self.body, exists: self.marks.has(Marks::EXISTS) }
    }

    /// What write `at` and all later ones see until the next version, under the lock of its part.
    /// `None`: the row is younger, and RocksDB knows.
    #[inline]
    pub(crate) fn see_as_of(&self, at: u64) -> Option<Seen<'_>> {
        if self.made.0 <= at {
            return Some(self.see_newest());
        }
        self.older().find(|version| version.made.0 <= at).map(Version::see)
    }

    /// What the batch that writes it sees.
    #[inline]
    pub(crate) fn newest(&self) -> Found {
        Found::of(self.see_newest())
    }

    /// What write `at` and all later ones see: see [`Row::see_as_of`].
    #[inline]
    pub(crate) fn as_of(&self, at: u64) -> Option<Found> {
        self.see_as_of(at).map(Found::of)
    }

    /// Whether it has something that RocksDB lacks.
    pub(crate) fn is_written(&self) -> bool {
        self.is_dirty() || self.made.is_pending()
    }

    /// Puts a version of `batch` on top. Returns the one that the batch had made before, if it had.
    pub(crate) fn write(&mut self, version: Version, batch: u32) -> Option<Replaced> {
        self.set_touched();
        let serial = self.made.serial_in(batch);
        let before = self.replace(version);
        if let Some(serial) = serial {
            let len = before.body.value().len();
            return Some(Replaced { len, serial, version: before });
        }
        self.push_older(before);
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
        before.map(|before| self.replace(before)).is_some()
    }

    /// The batch deletes the row, if `covered` says so of the write that made its version.
    pub(crate) fn delete_if(&mut self, batch: u32, covered: impl FnOnce(u32) -> bool) {
        if self.made.serial_in(batch).is_some_and(covered) {
            self.body = Body::new(self.key(), b"");
            self.marks.set(Marks::EXISTS, false);
        }
    }

    /// The batch is committed as write `at`.
    pub(crate) fn stamp(&mut self, at: u64) {
        self.made = Made::by(at);
    }

    /// Forgets the versions that no open read can see. Returns their bytes.
    pub(crate) fn trim(&mut self, needed: &Needed) -> usize {
        let Some(mut next) = self.older.take() else { return 0 };
        let (mut freed, mut later, mut kept) = (0, self.made, Vec::new());
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
        kept.into_iter().rev().for_each(|version| self.push_older(version));
        freed
    }

    /// The state as of `cut` is in RocksDB. False: it was written again since, and is still dirty.
    pub(crate) fn settle(&mut self, cut: u64) -> bool {
        // Under a pending version stand committed ones only.
        let committed = match self.made.is_pending() {
            true => self.older().next().map(|version| version.made),
            false => Some(self.made),
        };
        let is_dirty = committed.is_some_and(|made| made.0 > cut);
        self.marks.set(Marks::DIRTY, is_dirty);
        !is_dirty
    }

    /// Notes what write `at` has written past the table, below what a batch is writing.
    pub(crate) fn note(&mut self, version: Version) {
        if self.made.is_pending() {
            self.push_older(version);
        } else {
            let before = self.replace(version);
            self.push_older(before);
        }
    }

    /// Whether the eviction may take the row out, which it asks of each row in turn: not one that
    /// RocksDB lacks, or that an open read may look for here, or that was touched since it last
    /// asked.
    pub(crate) fn may_leave(&mut self) -> bool {
        if self.is_dirty() || self.is_shown() || self.older.is_some() || self.made.is_pending() {
            return false;
        }
        let is_touched = self.marks.has(Marks::TOUCHED);
        self.marks.set(Marks::TOUCHED, false);
        !is_touched || self.body.len() > super::LONG
    }

    /// Whether a read as of `at` finds nothing here: it is older than all that is known of the row.
    pub(crate) fn is_younger_than(&self, at: u64) -> bool {
        self.older.is_none() && self.made.0 > at
    }

    /// The last write that changed it.
    pub(crate) fn last_write(&self) -> u64 {
        self.made.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::needed::OpenReads;
    use super::*;

    fn version(value: &str, made: Made) -> Version {
        Version::new(b"key", (!value.is_empty()).then_some(value.as_bytes()), made)
    }

    fn row() -> Row {
        Row::new(Family::Metadata, 0, version("a", Made::by(3)))
    }

    fn seen(row: &Row, at: u64) -> Option<Vec<u8>> {
        row.as_of(at).and_then(|found| found.value().map(<[u8]>::to_vec))
    }

    #[test]
    fn a_row_takes_forty_bytes_beside_its_own() {
        assert_eq!(size_of::<Option<Row>>(), 40);
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
        let mut new = Row::new(Family::Metadata, 0, version("x", Made::pending(1, 2)));
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
        assert_eq!(row.older().count(), 1, "as of 6, and the newest");
        assert_eq!(row.weight(), weight - freed);
        assert!(seen(&row, 6).is_some() && row.as_of(4).is_none());
        reads.close(1);
        row.trim(&reads.needed(|| 9));
        assert_eq!(row.older().count(), 0);
    }

    #[test]
    fn a_row_that_is_written_again_stays_dirty() {
        let mut row = row();
        row.set_dirty();
        row.write(version("b", Made::pending(1, 0)), 1);
        assert!(row.settle(3), "what is pending has its own turn");
        row.stamp(4);
        assert!(!row.settle(3));
        assert!(row.settle(4));
    }

    #[test]
    fn a_row_leaves_when_it_is_nobodys() {
        let mut row = row();
        row.set_touched();
        assert!(!row.may_leave());
        assert!(row.may_leave(), "not touched since the last question");
        for hold in [|row: &mut Row| _ = row.set_dirty(), |row: &mut Row| row.set_shown(true)] {
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
