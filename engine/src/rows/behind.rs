//! Rows on their way into RocksDB, and writes that go past the table.
//!
//! ```text
//! cut      the number of the last write, and which rows became dirty since the cut before
//! rows     of each the version as of the cut, sorted: for RocksDB
//! written  rows that were not written again are clean; the others are in the next cut
//! later    clean rows leave their groups, once every open read is younger, or so old that it
//!          finds nothing of them here
//! ```

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::group::GroupOf;
use super::pending::Pending;
use super::room::LOOKS;
use super::row::{Made, Row, Version};
use super::shard::Shard;
use super::sorted::Behind;
use super::{Order, Place, RowTable};
use crate::range::KeyRange;
use crate::readers::Readers;
use neokv_encoding::family::Family;

/// The state of one write, on its way into RocksDB.
#[derive(Debug)]
struct Cut {
    /// The last write that it has.
    at: u64,
    /// The ticket by which that state stays readable.
    ticket: u64,
    rows: Vec<Place>,
    bytes: usize,
}

/// Clean rows that are still in their groups.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// Those that became clean since the rows left the last time, without being written.
    pub(super) clean: Vec<Place>,
    /// Those that may leave some time, in the order of their rounds.
    marked: VecDeque<Marked>,
    /// The number of the last round.
    round: u16,
}

/// Rows that became clean together.
#[derive(Debug)]
struct Marked {
    /// A row that was written again since, and became clean again, is in a later round.
    round: u16,
    /// Reads that registered before it may not find in RocksDB what the rows were last: see
    /// [`Readers`].
    mark: u64,
    rows: Vec<Place>,
}

impl Leaving {
    /// A number that no earlier round has whose rows are still here. There are few of those.
    fn next_round(&mut self) -> u16 {
        loop {
            self.round = self.round.wrapping_add(1);
            if self.marked.iter().all(|marked| marked.round != self.round) {
                return self.round;
            }
        }
    }
}

/// What a write past the table changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Direct {
    /// Rows that it writes or deletes.
    pub(crate) rows: Vec<(Family, Vec<u8>, Option<Vec<u8>>)>,
    /// Ranges that it deletes, before it writes its rows.
    pub(crate) ranges: Vec<(Family, KeyRange)>,
}

impl Direct {
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.ranges.is_empty()
    }

    /// A range is deleted, with what was written to it before.
    pub(crate) fn delete_range(&mut self, family: Family, range: KeyRange) {
        self.rows.retain(|(of, key, _)| *of != family || !range.contains(key));
        self.ranges.push((family, range));
    }
}

impl RowTable {
    /// Waits until there is room for more rows that RocksDB lacks, or until `give_up`.
    pub(crate) fn wait_for_room(&self, mut give_up: impl FnMut() -> bool) {
        const LOOK: Duration = Duration::from_millis(10);
        let (mut order, mut began) = (self.order.lock(), None);
        while self.dirty_in(&order) > self.bounds.dirty && !give_up() {
            began.get_or_insert_with(Instant::now);
            self.wanted.notify_one();
            // Limited: what makes the caller give up tells nobody here.
            self.drained.wait_for(&mut order, LOOK);
        }
        if let Some(began) = began {
            self.counts.waited(began.elapsed());
        }
    }

    /// Keeps everybody from writing behind.
    #[cfg(test)]
    pub(crate) fn hold_drain(&self) -> impl Sized + '_ {
        self.drain.lock()
    }

    /// Whether there is room for more rows that RocksDB lacks.
    pub(crate) fn has_room(&self) -> bool {
        self.dirty_in(&self.order.lock()) <= self.bounds.dirty
    }

    /// Whether writers will have to wait soon.
    pub(crate) fn is_filling(&self) -> bool {
        self.dirty_in(&self.order.lock()) > self.bounds.dirty.midpoint(self.enough())
    }

    fn dirty_in(&self, order: &Order) -> usize {
        order.dirty_bytes + self.behind_bytes.load(Ordering::Relaxed)
    }

    /// So many dirty bytes are written behind: the more at once, the less often RocksDB merges them
    /// with what it has. The rest of the bound is for what is written meanwhile.
    pub(super) fn enough(&self) -> usize {
        self.bounds.dirty / 4 * 3
    }

    /// Waits until enough is dirty to be written behind, `at_most` that long. False: nothing is.
    pub(crate) fn wait_for_work(&self, at_most: Duration, is_over: impl Fn() -> bool) -> bool {
        let mut order = self.order.lock();
        if order.dirty_bytes < self.enough() && !is_over() {
            self.wanted.wait_for(&mut order, at_most);
        }
        !order.dirty.is_empty()
    }

    /// Ends a wait for work.
    pub(crate) fn wake(&self) {
        let _order = self.order.lock();
        self.wanted.notify_all();
    }

    /// Whether enough is dirty to be written behind.
    pub(crate) fn has_enough(&self) -> bool {
        self.order.lock().dirty_bytes >= self.enough()
    }

    /// Lets clean rows leave. Returns whether all have.
    pub(crate) fn release_clean(&self, readers: &Readers) -> bool {
        let _one_at_a_time = self.drain.lock();
        self.leave(readers)
    }

    /// Writes behind what is dirty: `write` gets the rows, sorted. `true` if there was something.
    ///
    /// # Errors
    /// What `write` says; the rows stay dirty.
    pub(crate) fn drain<E>(
        &self,
        readers: &Readers,
        write: impl FnOnce(&Behind<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        let _one_at_a_time = self.drain.lock();
        self.drain_alone(readers, write)
    }

    /// The same, for who holds the lock.
    fn drain_alone<E>(
        &self,
        readers: &Readers,
        write: impl FnOnce(&Behind<'_>) -> Result<(), E>,
    ) -> Result<bool, E> {
        self.leave(readers);
        let cut = self.cut(&mut self.order.lock(), readers);
        let has_rows = !cut.rows.is_empty();
        let (left, written) = self.write_cut(cut, readers, write);
        self.put_back(&mut self.order.lock(), left, written.is_ok());
        self.leave(readers);
        written.map(|()| has_rows)
    }

    /// Takes what is dirty, and keeps the state of the last write readable.
    fn cut(&self, order: &mut Order, readers: &Readers) -> Cut {
        let rows = std::mem::take(&mut order.dirty);
        let bytes = std::mem::take(&mut order.dirty_bytes);
        order.ages.cut();
        self.behind_bytes.store(bytes, Ordering::Relaxed);
        let ticket = readers.mark();
        Cut { at: self.reads.open(ticket, || order.last), ticket, rows, bytes }
    }

    /// What of a cut is dirty still counts from now on.
    fn put_back(&self, order: &mut Order, mut left: Cut, is_written: bool) {
        order.ages.put_back(is_written, !left.rows.is_empty());
        order.dirty.append(&mut left.rows);
        order.dirty_bytes += left.bytes;
        self.behind_bytes.store(0, Ordering::Relaxed);
        self.drained.notify_all();
    }

    /// Writes a cut. Returns what of it is dirty after.
    fn write_cut<E>(
        &self,
        mut cut: Cut,
        readers: &Readers,
        write: impl FnOnce(&Behind<'_>) -> Result<(), E>,
    ) -> (Cut, Result<(), E>) {
        cut.rows.sort_unstable();
        let behind = Behind::new(self, &cut.rows, cut.at);
        let is_empty = behind.len() == 0;
        let written = if is_empty { Ok(()) } else { self.counted(&behind, write) };
        // The versions of the cut are not needed any more.
        drop(behind);
        self.reads.close(cut.ticket);
        match written {
            Ok(()) => (self.settle(cut, readers), Ok(())),
            Err(error) => (cut, Err(error)),
        }
    }

    /// Writes rows, and counts them.
    fn counted<E>(
        &self,
        behind: &Behind<'_>,
        write: impl FnOnce(&Behind<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let began = Instant::now();
        let written = write(behind);
        self.counts.drained(behind.len(), behind.bytes(), began.elapsed(), written.is_ok());
        written
    }

    /// The rows of a cut are in RocksDB. Returns those that were written again meanwhile.
    fn settle(&self, mut cut: Cut, readers: &Readers) -> Cut {
        let (mark, needed) = (readers.mark(), self.needed());
        let round = self.leaving.lock().next_round();
        let rows = std::mem::take(&mut cut.rows);
        let mut left = Cut { rows: Vec::new(), bytes: 0, ..cut };
        let mut clean = Vec::with_capacity(rows.len());
        self.shards.at_places(rows, |shard, place| {
            let Some(row) = shard.at(place.at) else { return };
            let freed = row.trim(&needed);
            if row.settle(cut.at) {
                row.round = round;
                clean.push(place);
            } else {
                left.bytes += row.weight();
                left.rows.push(place);
            }
            shard.weigh(freed, 0);
        });
        self.leaving.lock().marked.push_back(Marked { round, mark, rows: clean });
        left
    }

    /// Clean rows leave their groups, those that no open read looks for here. Returns whether all
    /// have left.
    fn leave(&self, readers: &Readers) -> bool {
        let mut leaving = self.leaving.lock();
        let clean = std::mem::take(&mut leaving.clean);
        if !clean.is_empty() {
            let (mark, round) = (readers.mark(), leaving.next_round());
            self.shards.at_places(clean.iter().copied(), |shard, place| {
                shard.at(place.at).into_iter().for_each(|row| row.round = round);
            });
            leaving.marked.push_back(Marked { round, mark, rows: clean });
        }
        self.join_rounds(&mut leaving);
        let (needed, mut gone) = (self.needed(), 0);
        for Marked { round, mark, rows } in std::mem::take(&mut leaving.marked) {
            let Some(seen) = self.seen_before(mark, readers) else {
                leaving.marked.push_back(Marked { round, mark, rows });
                continue;
            };
            let (mut left, marked) = (Vec::new(), rows.len());
            self.shards.at_places(rows, |shard, place| {
                // It may have been written again since.
                let is_it = |row: &&mut Row| !row.is_written() && row.round == round;
                let Some(row) = shard.at(place.at).filter(is_it) else { return };
                let freed = row.trim(&needed);
                let leaves = seen.is_none_or(|at| row.is_younger_than(at));
                shard.weigh(freed, 0);
                if leaves {
                    shard.hide(place.at);
                } else {
                    left.push(place);
                }
            });
            gone += marked - left.len();
            if !left.is_empty() {
                leaving.marked.push_back(Marked { round, mark, rows: left });
            }
        }
        let is_empty = leaving.marked.is_empty();
        // Whoever takes a write back waits for the list.
        drop(leaving);
        self.make_room(LOOKS * gone);
        is_empty
    }

    /// Makes one round of many, which a read can hold that stays open for long. Rows of the earlier
    /// ones leave later than they might.
    fn join_rounds(&self, leaving: &mut Leaving) {
        const MANY: usize = 256;
        if leaving.marked.len() < MANY {
            return;
        }
        let Some(mut last) = leaving.marked.pop_back() else { return };
        for earlier in leaving.marked.drain(..) {
            self.shards.at_places(earlier.rows, |shard, place| {
                let row = shard.at(place.at).filter(|row| row.round == earlier.round);
                if let Some(row) = row {
                    row.round = last.round;
                    last.rows.push(place);
                }
            });
        }
        leaving.marked.push_back(last);
    }

    /// Of the reads that registered before `mark`, the last write that any of them sees;
    /// `Some(None)` if there are none. `None`: one is not open yet or any more, or it is that of a
    /// batch, which sees everything.
    fn seen_before(&self, mark: u64, readers: &Readers) -> Option<Option<u64>> {
        let tickets = readers.before(mark);
        if tickets.is_empty() {
            return Some(None);
        }
        self.reads.last_seen(&tickets).map(Some)
    }

    /// Makes a write that must be in RocksDB at once: behind everything before it, and seen by
    /// every read that opens after it. `drain` writes behind, `direct` makes the write, of
    /// `changed` and of what `batches` have written.
    ///
    /// # Errors
    /// What the two say. If `direct` fails nobody knows whether it was made.
    pub(crate) fn write_through<E>(
        &self,
        readers: &Readers,
        changed: &Direct,
        batches: &mut [Pending],
        drain: impl Fn(&Behind<'_>) -> Result<(), E>,
        direct: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let _one_at_a_time = self.drain.lock();
        // Most of it while others write on; the rest while they wait.
        self.drain_alone(readers, &drain)?;
        let mut order = self.order.lock();
        let rest = self.cut(&mut order, readers);
        let (left, written) = self.write_cut(rest, readers, &drain);
        self.put_back(&mut order, left, written.is_ok());
        written?;
        let no_read_opens = self.gate.write();
        let at = order.last + 1;
        self.through.store(at, Ordering::Release);
        direct()?;
        self.note(at, changed);
        for pending in &*batches {
            self.note_batch(at, pending);
        }
        order.last = at;
        self.published.store(at, Ordering::Release);
        drop((no_read_opens, order));
        self.forget_replaced(batches);
        self.leave(readers);
        Ok(())
    }

    /// Makes the rows that are here agree with what was written past them. Open reads go on seeing
    /// what they saw.
    fn note(&self, at: u64, changed: &Direct) {
        let mut clean = Vec::new();
        for (family, range) in &changed.ranges {
            for (number, mut shard) in self.shards.each() {
                for place in shard.places_in(*family, range) {
                    note_row(&mut shard, place, None, at);
                    clean.push(Place { shard: number, at: place });
                }
            }
        }
        for (family, key, value) in &changed.rows {
            let number = self.shards.number(*family, GroupOf::of(*family, key));
            let mut shard = self.shards.lock(number);
            if let Some(place) = shard.find(*family, key, self.shards.hash(*family, key)) {
                note_row(&mut shard, place, value.as_deref(), at);
                clean.push(Place { shard: number, at: place });
            }
        }
        // They have older versions, which go when the rows leave the next time.
        self.leaving.lock().clean.append(&mut clean);
    }

    /// What a batch has written is in RocksDB.
    fn note_batch(&self, at: u64, pending: &Pending) {
        let mut clean = Vec::new();
        self.shards.at_places(pending.places(), |shard, place| {
            let Some(row) = shard.at(place.at) else { return };
            row.stamp(at);
            if RowTable::keeps(row.family) {
                clean.push(place);
            } else {
                // Others write rows of these families without a note here.
                shard.remove(place.at);
            }
        });
        self.leaving.lock().clean.append(&mut clean);
    }

    /// Forgets the rows of ranges whose data are being replaced in RocksDB, and what was noted of
    /// them. Nobody may read or write the ranges.
    pub(crate) fn forget(&self, ranges: &[(Family, KeyRange)]) {
        let _no_drain = self.drain.lock();
        let mut order = self.order.lock();
        let mut leaving = self.leaving.lock();
        let mut gone = HashSet::new();
        for (number, mut shard) in self.shards.each() {
            for (family, range) in ranges {
                for place in shard.places_in(*family, range) {
                    shard.remove(place);
                    gone.insert(Place { shard: number, at: place });
                }
            }
        }
        order.dirty.retain(|place| !gone.contains(place));
        if order.dirty.is_empty() {
            order.dirty_bytes = 0;
            order.ages.clear();
        }
        leaving.clean.retain(|place| !gone.contains(place));
        let marked = leaving.marked.iter_mut();
        marked.for_each(|marked| marked.rows.retain(|place| !gone.contains(place)));
    }
}

fn note_row(shard: &mut Shard, place: u32, value: Option<&[u8]>, at: u64) {
    let Some(row) = shard.at(place) else { return };
    let weight = row.weight();
    row.note(Version::new(row.key(), value, Made::by(at)));
    let now = row.weight();
    shard.weigh(weight, now);
}

#[cfg(test)]
mod tests {
    use super::super::{Bounds, Sight};
    use super::*;
    use crate::range::Direction;

    const KEY: &[u8] = b"\0\x01key";

    fn table() -> RowTable {
        RowTable::new(Bounds::both(1 << 20, 1 << 20))
    }

    fn commit(table: &RowTable, value: &[u8]) {
        let mut pending = table.begin();
        table.write(&mut pending, Family::Metadata, KEY, Some(value));
        table.commit(&mut [pending]);
    }

    /// What a walk finds that sees the state as of a write.
    fn walked(table: &RowTable, at: u64) -> Option<Vec<u8>> {
        let range = KeyRange::all();
        let walk = table.walk(Family::Metadata, &range, Direction::Forward, Sight::AsOf(at));
        walk.row().and_then(|(_, value)| value.map(<[u8]>::to_vec))
    }

    #[test]
    fn what_is_written_behind_is_the_state_of_the_cut_whatever_is_written_meanwhile() {
        let (table, readers) = (table(), Readers::new());
        commit(&table, b"old");
        let cut = table.cut(&mut table.order.lock(), &readers);
        // Nobody but the cut needs the older version any more.
        commit(&table, b"new");
        let mut written = Vec::new();
        let (left, result) = table.write_cut(cut, &readers, |rows| {
            commit(&table, b"newest");
            rows.each_of(Family::Metadata, |_, value| {
                written.push(value.map(<[u8]>::to_vec));
                Ok::<_, ()>(())
            })
        });
        assert_eq!((written, result), (vec![Some(b"old".to_vec())], Ok(())));
        assert!(left.rows.len() == 1, "it is dirty still");
    }

    #[test]
    fn a_read_that_opens_while_rows_are_written_behind_finds_them_here() {
        let (table, readers) = (table(), Readers::new());
        commit(&table, b"old");
        let mut open = None;
        let drained = table.drain(&readers, |_| {
            // RocksDB does not have the row yet, so neither has the snapshot of this read.
            open = Some(table.open(&readers, || ()).1);
            Ok::<_, ()>(())
        });
        assert_eq!(drained, Ok(true));
        let open = open.unwrap();
        assert!(!table.release_clean(&readers), "the row stays");
        assert_eq!(walked(&table, open.at).as_deref(), Some(&b"old"[..]));
        // A newer version does not take it away either, written behind or not.
        commit(&table, b"new");
        for _ in 0..2 {
            assert_eq!(walked(&table, open.at).as_deref(), Some(&b"old"[..]));
            table.drain(&readers, |_| Ok::<_, ()>(())).unwrap();
        }
        let at = open.at;
        drop(open);
        assert!(table.release_clean(&readers), "nobody looks for it any more");
        assert_eq!(walked(&table, at), None);
    }

    #[test]
    fn a_read_that_stays_open_finds_its_rows_however_many_rounds_pass() {
        const OTHER: &[u8] = b"\0\x01other";
        let (table, readers) = (table(), Readers::new());
        let drain = || table.drain(&readers, |_| Ok::<_, ()>(())).unwrap();
        let write_other = || {
            let mut pending = table.begin();
            table.write(&mut pending, Family::Metadata, OTHER, Some(b"value"));
            table.commit(&mut [pending]);
        };
        commit(&table, b"old");
        let mut open = None;
        let drained = table.drain(&readers, |_| {
            open = Some(table.open(&readers, || ()).1);
            Ok::<_, ()>(())
        });
        assert_eq!(drained, Ok(true));
        let open = open.unwrap();
        // A batch that is open too, so that no round can tell what its rows are needed for.
        let batch = readers.enter();
        for _ in 0..1000 {
            write_other();
            drain();
            assert!(table.leaving.lock().marked.len() <= 256);
            assert_eq!(walked(&table, open.at).as_deref(), Some(&b"old"[..]));
        }
        let at = table.last_published();
        drop((open, batch));
        assert!(table.release_clean(&readers));
        assert_eq!(walked(&table, at), None, "no row is left for walks");
    }
}
