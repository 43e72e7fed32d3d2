//! What a batch has written and not committed: in the table already, seen by nobody else.
//!
//! ```text
//! write a=1   write b=1   savepoint   write a=2   write a=3   delete b   write c=1
//!
//! rows    a ─▶ 3, pending     b ─▶ deleted, pending     c ─▶ 1, pending
//! undo    a was 1             b was 1                   c was not there
//! ```
//!
//! A commit gives all of them the number of the write ([`super::RowTable::commit`]); a batch that
//! is dropped takes them back.
//!
//! # Memory
//!
//! A row holds its newest value, the committed one, and at most one more, the one that stood at the
//! savepoint. Two hundred appends to one long string cost that string three times, not two hundred
//! times.
//!
//! # The meter
//!
//! [`Pending::metered`] is the size of the rows written since [`Pending::start_meter`], each
//! counted once with its newest value. Unlike [`Pending::memory`] it does not depend on what the
//! batch held before.

use neokv_encoding::family::Family;

use super::RowTable;
use super::group::GroupOf;
use super::row::{Found, Made, Replaced, Row, Version};
use super::shard::{Place, short};
use crate::range::KeyRange;

/// Bytes that a row takes in memory besides key and value, about.
///
/// Frozen: what a log entry does may depend on [`Pending::metered`], so replicas of two releases
/// that disagree here would diverge.
const ROW: usize = 128;

/// What the first write of a row since the savepoint has replaced.
#[derive(Debug)]
struct Undo {
    place: Place,
    /// `None`: the batch had not written the row.
    before: Option<Version>,
}

/// What the batch was when a savepoint was set.
#[derive(Clone, Copy, Debug)]
struct Savepoint {
    serial: u32,
    touched: usize,
    size: usize,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The number of the batch.
    batch: u32,
    /// The rows it has written, each once.
    touched: Vec<Place>,
    /// Since the savepoint, in order.
    undo: Vec<Undo>,
    savepoint: Option<Savepoint>,
    /// Writes so far, those included that a later one has replaced.
    serial: u32,
    /// Whether it has rows of families that the table does not keep.
    has_foreign: bool,
    /// Bytes of the rows' keys and values.
    size: usize,
    meter: Meter,
}

/// Counts the rows written since it was started.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    /// The number of writes before it was started.
    from: u32,
    /// What it shows.
    bytes: usize,
    /// What it showed at the savepoint.
    at_savepoint: usize,
}

impl Meter {
    /// A row has been written in place of `replaced`.
    fn count(&mut self, key: usize, value: usize, replaced: Option<&Replaced>) {
        let counted = replaced.filter(|replaced| replaced.serial >= self.from);
        let (gone, new) = counted.map_or((0, key + ROW), |replaced| (replaced.len, 0));
        self.bytes = self.bytes + value + new - gone;
    }
}

impl Pending {
    /// What a batch with this number has written: nothing.
    pub(crate) fn new(batch: u32) -> Pending {
        Pending {
            batch,
            touched: Vec::new(),
            undo: Vec::new(),
            savepoint: None,
            serial: 0,
            has_foreign: false,
            size: 0,
            meter: Meter::default(),
        }
    }

    /// Number of rows written.
    pub(crate) fn len(&self) -> usize {
        self.touched.len()
    }

    /// Writes so far, those included that a later one has replaced or that were taken back.
    pub(crate) fn writes(&self) -> u32 {
        self.serial
    }

    /// Bytes of memory that the rows take, about.
    pub(crate) fn memory(&self) -> usize {
        self.size + ROW * self.len()
    }

    /// Sets the meter to zero.
    pub(crate) fn start_meter(&mut self) {
        self.meter = Meter { from: self.serial, ..Meter::default() };
    }

    /// Bytes of memory that the rows written since the meter was started take, about. Follows from
    /// those writes alone, except for what a rollback takes back.
    pub(crate) fn metered(&self) -> usize {
        self.meter.bytes
    }

    /// Marks the state that [`RowTable::rollback`] returns to, in place of an earlier one.
    pub(crate) fn savepoint(&mut self) {
        self.undo.clear();
        self.meter.at_savepoint = self.meter.bytes;
        let touched = self.touched.len();
        self.savepoint = Some(Savepoint { serial: self.serial, touched, size: self.size });
    }

    /// It is committed: nothing is left to take back.
    pub(super) fn close(&mut self) {
        self.touched.clear();
        self.undo.clear();
    }

    /// The places of its rows.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.touched.iter().copied()
    }
}

impl RowTable {
    /// A batch that has written nothing.
    pub(crate) fn begin(&self) -> Pending {
        Pending::new(self.next_batch())
    }

    /// Writes a row; `None` deletes it.
    pub(crate) fn write(
        &self,
        pending: &mut Pending,
        family: Family,
        key: &[u8],
        value: Option<&[u8]>,
    ) {
        let made = Made::pending(pending.batch, pending.serial);
        pending.serial += 1;
        pending.has_foreign |= !RowTable::keeps(family);
        let version = Version::new(key, value, made);
        let hash = self.shards.hash(family, key);
        let number = self.shards.number(family, GroupOf::of(family, key));
        let mut shard = self.shards.lock(number);
        let found = shard.find(family, key, hash);
        let (at, replaced) = match found.and_then(|at| Some((at, shard.at(at)?))) {
            Some((at, row)) => {
                let weight = row.weight();
                let replaced = row.write(version, pending.batch);
                let now = row.weight();
                shard.weigh(weight, now);
                (at, replaced)
            }
            None => (shard.insert(Row::new(family, short(hash), version)), None),
        };
        shard.show(at);
        drop(shard);
        self.shards.note_slot(family, key);
        pending.wrote(
            Place { shard: number, at },
            key.len(),
            value.map_or(0, <[u8]>::len),
            replaced,
        );
    }

    /// Takes back what was written since the savepoint, and forgets the savepoint. False: there is
    /// none.
    pub(crate) fn rollback(&self, pending: &mut Pending) -> bool {
        let Some(savepoint) = pending.savepoint.take() else { return false };
        for Undo { place, before } in pending.undo.drain(..).rev() {
            self.take_back(place, before);
        }
        pending.touched.truncate(savepoint.touched);
        pending.size = savepoint.size;
        pending.meter.bytes = pending.meter.at_savepoint;
        true
    }

    /// Takes back everything.
    pub(crate) fn abandon(&self, pending: &mut Pending) {
        for place in pending.touched.drain(..).rev() {
            self.take_back(place, None);
        }
        pending.undo.clear();
    }

    /// Whether the table keeps all rows that a batch has written.
    pub(crate) fn keeps_all(&self, pending: &Pending) -> bool {
        !pending.has_foreign
    }

    /// Shows what a batch has written.
    pub(crate) fn each_pending(
        &self,
        pending: &Pending,
        mut show: impl FnMut(Family, &[u8], Option<&[u8]>),
    ) {
        self.shards.at_places(pending.places(), |shard, place| {
            let Some(row) = shard.at(place.at) else { return };
            show(row.family, row.key(), row.newest().value());
        });
    }

    /// The first `writes` writes of a batch are deleted, those to a range.
    pub(crate) fn delete_covered(
        &self,
        pending: &Pending,
        family: Family,
        range: &KeyRange,
        writes: u32,
    ) {
        self.shards.at_places(pending.places(), |shard, place| {
            let row = shard.at(place.at).filter(|row| row.family == family);
            let Some(row) = row.filter(|row| range.contains(row.key())) else { return };
            let weight = row.weight();
            row.delete_if(pending.batch, |serial| serial < writes);
            let now = row.weight();
            shard.weigh(weight, now);
        });
    }

    fn take_back(&self, place: Place, before: Option<Version>) {
        let mut shard = self.shards.lock(place.shard);
        let Some(row) = shard.at(place.at) else { return };
        let weight = row.weight();
        let (is_left, is_written) = (row.undo(before), row.is_written());
        if !is_left {
            shard.remove(place.at);
            return;
        }
        let now = row.weight();
        shard.weigh(weight, now);
        if !is_written {
            drop(shard);
            self.leaving.lock().clean.push(place);
        }
    }

    /// What the batch sees of a row. `None`: the table does not know the row.
    #[inline]
    pub(crate) fn newest(&self, family: Family, key: &[u8]) -> Option<Found> {
        let hash = self.shards.hash(family, key);
        let mut shard = self.shards.of(family, key);
        let row = shard.row(family, key, hash)?;
        row.set_touched();
        Some(row.newest())
    }
}

impl Pending {
    /// Takes note of a write that has replaced `replaced`.
    fn wrote(&mut self, place: Place, key: usize, value: usize, replaced: Option<Replaced>) {
        self.meter.count(key, value, replaced.as_ref());
        self.size += value;
        match &replaced {
            Some(replaced) => self.size -= replaced.len,
            None => {
                self.size += key;
                self.touched.push(place);
            }
        }
        let Some(savepoint) = self.savepoint else { return };
        if replaced.as_ref().is_none_or(|replaced| replaced.serial < savepoint.serial) {
            self.undo.push(Undo { place, before: replaced.map(|replaced| replaced.version) });
        }
    }
}
