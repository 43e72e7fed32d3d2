//! The row table: rows that were written and are not in RocksDB yet, and rows that are read often.
//!
//! ```text
//!  apply ──batches──▶ row table ──────sorted, merged, in the background──────▶ RocksDB
//!                      ▲     ▲                                                  ▲
//!              as its  │     │as of write n                                     │ snapshot taken
//!           batch sees │   reads ──────────what the table does not know────────┘ before n was read
//! ```
//!
//! A batch of apply takes effect here, and RocksDB gets the rows later: each once, however often it
//! was written in between, and in key order. The Raft log holds what is not in RocksDB yet. The
//! applied records of the Regions are rows like any other, so what RocksDB has is the state as of
//! one write, always, and after a crash the log goes on from there.
//!
//! # One state
//!
//! Writes are numbered. A row keeps the versions that an open read may look for ([`needed`]):
//!
//! ```text
//! row a     write 3 ─▶ "x"     write 7 ─▶ "y"        a read opened after write 5 sees "x"
//! ```
//!
//! What a batch writes stands in the rows at once, [`pending`], where its own reads see it
//! and no others do. A commit gives all of its versions the next number and then publishes that
//! number, so nobody sees half of a write, and nothing of one that is taken back.
//!
//! A read opens in three steps, in this order: it registers, it takes RocksDB's snapshot, it takes
//! the number of the last published write. So RocksDB's snapshot is never newer than the number.
//! What the snapshot lacks of the state is in the table: a row that was written behind stays, and
//! stays in its group, until every open read registered after it was in RocksDB, or sees an older
//! state of the row, which is there. So a read that stays open for long holds what was in the table
//! when it began, and not all that is written while it lasts.
//!
//! A look-up of one row needs no such steps: the row as of the last published write is either here,
//! or RocksDB has it.
//!
//! # Rows that were read
//!
//! A row that a look-up has found in RocksDB is kept for the next. It must not hide a write that
//! came in between: if there was one, then its row is here, or has left since
//! ([`shard::Shard::departed`]), or it went past the table ([`RowTable::through`]).
//!
//! # What goes past the table
//!
//! Few writes must be in RocksDB at once: those that create, change or remove a Region or a range
//! ([`RowTable::write_through`]). They wait until everything before them is there, and no read
//! opens while they are made.
//!
//! # Bounds
//!
//! Rows that RocksDB lacks take a bounded number of bytes: beyond it, writers wait. Of the others
//! those stay that are touched again and again ([`room`]); one walk over many rows displaces none
//! of them: walks keep nothing, unless they are told to.

mod behind;
mod body;
mod group;
pub(crate) mod needed;
mod page;
pub(crate) mod pending;
pub(crate) mod room;
mod row;
mod shard;
mod slab;
mod sorted;
mod stats;
mod walk;

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use neokv_encoding::family::Family;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::families;
use crate::range::{Direction, KeyRange};
use crate::readers::{ReaderTicket, Readers};
pub(crate) use behind::Direct;
use behind::Leaving;
use body::Body;
pub(crate) use body::Value;
use group::GroupOf;
use needed::{Needed, OpenReads};
use page::Seen;
use pending::Pending;
use room::{LOOKS, Room, RoomBounds};
pub(crate) use row::Found;
use row::{Made, Row, Version};
use shard::{Place, Shards, short};
pub(crate) use sorted::Behind;
pub use stats::RowStats;
use stats::{Ages, Counts};
pub(crate) use walk::TableWalk;

/// Longer rows, in bytes, are not kept once RocksDB has them: its cache serves them as well, and
/// one of them would displace many others.
const LONG: usize = 4 << 10;

/// Bounds of a table, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Rows that RocksDB lacks.
    pub(crate) dirty: usize,
    /// All rows.
    pub(crate) rows: RoomBounds,
}

#[cfg(test)]
impl Bounds {
    /// Without room that grows.
    fn both(dirty: usize, rows: usize) -> Bounds {
        Bounds { dirty, rows: RoomBounds { first: rows, most: rows } }
    }
}

/// What is decided for one write after the other.
#[derive(Debug, Default)]
struct Order {
    /// The number of the last write.
    last: u64,
    /// Rows that became dirty since the last cut.
    dirty: Vec<Place>,
    /// Bytes that were written since, about.
    dirty_bytes: usize,
    ages: Ages,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct RowTable {
    shards: Shards,
    bounds: Bounds,
    room: Room,
    order: Mutex<Order>,
    /// The last write that readers see.
    published: AtomicU64,
    /// The last write that went past the table.
    through: AtomicU64,
    reads: OpenReads,
    /// Shared by reads that open; held alone by a write that goes past the table.
    gate: RwLock<()>,
    /// Numbers of batches.
    batches: AtomicU32,
    /// Bytes of the rows that are being written behind.
    behind_bytes: AtomicUsize,
    /// Held by whoever writes behind.
    drain: Mutex<()>,
    /// Clean rows that are still in their groups.
    leaving: Mutex<Leaving>,
    /// Told when rows were written behind.
    drained: Condvar,
    /// Told when rows should be.
    wanted: Condvar,
    counts: Counts,
}

/// An open read: what it may look for stays. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenRead<'a> {
    table: &'a RowTable,
    /// The last write that it sees.
    pub(crate) at: u64,
    registration: ReaderTicket<'a>,
}

impl Drop for OpenRead<'_> {
    fn drop(&mut self) {
        self.table.reads.close(self.registration.number());
    }
}

/// Who looks at rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// A read of the state as of a write.
    AsOf(u64),
    /// The batch that is writing in the range.
    Batch,
}

impl Sight {
    /// What it sees of a row.
    fn of(self, row: &Row) -> Option<Seen<'_>> {
        match self {
            Sight::AsOf(at) => row.see_as_of(at),
            Sight::Batch => Some(row.see_newest()),
        }
    }
}

impl RowTable {
    pub(crate) fn new(bounds: Bounds) -> RowTable {
        RowTable {
            shards: Shards::new(),
            bounds,
            room: Room::new(bounds.rows),
            order: Mutex::default(),
            published: AtomicU64::new(0),
            through: AtomicU64::new(0),
            reads: OpenReads::default(),
            gate: RwLock::new(()),
            batches: AtomicU32::new(0),
            behind_bytes: AtomicUsize::new(0),
            drain: Mutex::default(),
            leaving: Mutex::default(),
            drained: Condvar::new(),
            wanted: Condvar::new(),
            counts: Counts::default(),
        }
    }

    /// Whether rows of the family are kept here.
    pub(crate) fn keeps(family: Family) -> bool {
        family == Family::Region || Family::DATA.contains(&family)
    }

    /// The last write that readers see.
    #[inline]
    pub(crate) fn last_published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    fn needed(&self) -> Needed {
        self.reads.needed(|| self.last_published())
    }

    fn next_batch(&self) -> u32 {
        self.batches.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff
    }

    /// Opens a read: `take` takes RocksDB's snapshot, or an iterator.
    pub(crate) fn open<'a, T>(
        &'a self,
        readers: &'a Readers,
        take: impl FnOnce() -> T,
    ) -> (T, OpenRead<'a>) {
        let registration = readers.enter();
        let _no_write_past = self.gate.read();
        let taken = take();
        let at = self.reads.open(registration.number(), || self.last_published());
        (taken, OpenRead { table: self, at, registration })
    }

    /// A row's value as of write `at`; `None` if only RocksDB knows.
    #[inline]
    pub(crate) fn get(&self, family: Family, key: &[u8], at: u64) -> Option<Option<Value>> {
        let hash = self.shards.hash(family, key);
        let mut shard = self.shards.of(family, key);
        let row = shard.row(family, key, hash)?;
        row.set_touched();
        row.as_of(at).map(Found::into_value)
    }

    /// Shows the values of rows as of write `at`, in order. False: of one of them the table does
    /// not know the value, or knows that it has none.
    pub(crate) fn get_all<'k>(
        &self,
        family: Family,
        keys: impl Iterator<Item = &'k [u8]>,
        at: u64,
        show: &mut dyn FnMut(&[u8]),
    ) -> bool {
        let mut part = None;
        for key in keys {
            let (number, hash) = (
                self.shards.number(family, GroupOf::of(family, key)),
                self.shards.hash(family, key),
            );
            // Mostly they are in one group, so in one part.
            let mut shard = match part.take() {
                Some((locked, shard)) if locked == number => shard,
                // The other one is let go before.
                other => {
                    drop(other);
                    self.shards.lock(number)
                }
            };
            let Some(row) = shard.row(family, key, hash) else { return false };
            row.set_touched();
            let Some(seen) = row.see_as_of(at).filter(|seen| seen.exists) else { return false };
            match seen.body {
                Body::Short(_) => {
                    show(seen.body.value());
                    part = Some((number, shard));
                }
                Body::Long(_) => {
                    let value = seen.body.read();
                    drop(shard);
                    show(&value);
                }
            }
        }
        true
    }

    /// A row's value as of the last published write, or the number of that write if only RocksDB
    /// knows.
    #[inline]
    pub(crate) fn get_last(&self, family: Family, key: &[u8]) -> Result<Option<Value>, u64> {
        let hash = self.shards.hash(family, key);
        let mut shard = self.shards.of(family, key);
        // Under the lock: what was published before is not forgotten meanwhile.
        let at = self.last_published();
        let row = shard.row(family, key, hash).ok_or(at)?;
        row.set_touched();
        row.as_of(at).map(Found::into_value).ok_or(at)
    }

    /// Keeps what a read as of `at` found in RocksDB for those who look for it next.
    pub(crate) fn keep(&self, family: Family, key: &[u8], value: Option<&[u8]>, at: u64) {
        // Nobody asks twice for the older format of a string that does not exist.
        let is_absent_v1 =
            family == Family::Subkey && value.is_none() && families::in_no_collection(key);
        let is_long = key.len() + value.map_or(0, <[u8]>::len) > LONG;
        if !Self::keeps(family) || is_absent_v1 || is_long || self.room.most() == 0 {
            return;
        }
        let hash = self.shards.hash(family, key);
        let mut shard = self.shards.of(family, key);
        let through = self.through.load(Ordering::Acquire);
        let is_stale = at < through || at < shard.departed;
        if is_stale || shard.find(family, key, hash).is_some() {
            return;
        }
        // What the row was before nobody knows here: older reads look into RocksDB.
        let row = Row::new(family, short(hash), Version::new(key, value, Made::by(at)));
        let weight = row.weight();
        shard.insert(row);
        drop(shard);
        if value.is_some() {
            self.want_room(weight);
        }
        self.make_room(LOOKS);
    }

    /// Reads what look-ups of these rows will read, so that it is near to the processor when they
    /// come. Each look-up waits for memory several times, one after the other; here the waits of
    /// all rows of a part overlap. Returns which of them are not here, by their positions.
    pub(crate) fn warm<K: AsRef<[u8]>>(&self, family: Family, keys: &[K]) -> Vec<usize> {
        let expected = |(position, key): (usize, &K)| {
            let key = key.as_ref();
            let shard = self.shards.number(family, GroupOf::of(family, key));
            (shard, position, self.shards.hash(family, key))
        };
        let mut rows: Vec<(u32, usize, u64)> = keys.iter().enumerate().map(expected).collect();
        rows.sort_unstable();
        let (mut missing, mut read) = (Vec::new(), 0u64);
        let mut places = Vec::new();
        for part in rows.chunk_by(|one, next| one.0 == next.0) {
            let Some((number, ..)) = part.first() else { continue };
            let mut shard = self.shards.lock(*number);
            for (_, position, hash) in part {
                match shard.place_of(*hash) {
                    Some(place) => places.push(place),
                    None => missing.push(*position),
                }
            }
            for place in places.drain(..) {
                read = read.wrapping_add(shard.at(place).map_or(0, |row| row.touch()));
            }
        }
        // Otherwise the compiler may leave the reads out.
        std::hint::black_box(read);
        missing
    }

    /// Walks the rows of a range, as `sight` sees them.
    pub(crate) fn walk(
        &self,
        family: Family,
        range: &KeyRange,
        direction: Direction,
        sight: Sight,
    ) -> TableWalk<'_> {
        TableWalk::new(self, family, range, direction, sight)
    }

    /// Makes one write of what several batches hold.
    pub(crate) fn commit(&self, batches: &mut [Pending]) {
        let mut order = self.order.lock();
        let at = order.last + 1;
        for pending in &*batches {
            order.dirty_bytes += pending.memory();
            self.shards.at_places(pending.places(), |shard, place| {
                let Some(row) = shard.at(place.at) else { return };
                row.stamp(at);
                if !row.set_dirty() {
                    order.dirty.push(place);
                }
            });
        }
        if !order.dirty.is_empty() {
            order.ages.begin();
        }
        if order.dirty_bytes > self.enough() {
            self.wanted.notify_one();
        }
        order.last = at;
        self.published.store(at, Ordering::Release);
        drop(order);
        self.forget_replaced(batches);
    }

    /// Forgets what batches that were published have replaced, as far as nobody reads it.
    fn forget_replaced(&self, batches: &mut [Pending]) {
        let needed = self.needed();
        for pending in batches {
            self.shards.at_places(pending.places(), |shard, place| {
                let freed = shard.at(place.at).map_or(0, |row| row.trim(&needed));
                shard.weigh(freed, 0);
            });
            self.make_room(LOOKS * pending.len());
            pending.close();
        }
    }

    /// The prefixes of the groups that may have rows of a range, in no order. Looks at all groups
    /// that are not slots.
    fn groups_in(&self, family: Family, range: &KeyRange) -> Vec<Box<[u8]>> {
        let may_have = |prefix: &&[u8]| {
            range.is_before_end(prefix)
                && (**prefix >= *range.start || range.start.starts_with(prefix))
        };
        let mut found = Vec::new();
        for (_, mut shard) in self.shards.each() {
            found.extend(shard.prefixes(family).filter(may_have).map(Box::from));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"\0\x01key";

    fn commit(table: &RowTable, value: &[u8]) {
        let mut pending = table.begin();
        table.write(&mut pending, Family::Metadata, KEY, Some(value));
        table.commit(&mut [pending]);
    }

    fn found(table: &RowTable) -> Option<Vec<u8>> {
        table.get_last(Family::Metadata, KEY).ok().flatten().map(|value| value.to_vec())
    }

    #[test]
    fn a_row_that_was_read_does_not_hide_a_write_that_came_in_between() {
        let table = RowTable::new(Bounds::both(1 << 20, 1 << 20));
        let readers = Readers::new();
        let before = table.get_last(Family::Metadata, KEY).unwrap_err();
        commit(&table, b"new");
        table.keep(Family::Metadata, KEY, Some(b"old"), before);
        assert_eq!(found(&table).as_deref(), Some(&b"new"[..]));
        // It is written behind, and leaves.
        assert!(table.drain(&readers, |_| Ok::<_, ()>(())).unwrap());
        for _ in 0..2 {
            table.shards.of(Family::Metadata, KEY).evict(1, || true);
        }
        assert_eq!(found(&table), None);
        table.keep(Family::Metadata, KEY, Some(b"old"), before);
        assert_eq!(found(&table), None);
        table.keep(Family::Metadata, KEY, Some(b"new"), table.last_published());
        assert_eq!(found(&table).as_deref(), Some(&b"new"[..]));
    }

    #[test]
    fn a_row_that_was_read_is_not_kept_if_its_key_is_long() {
        let table = RowTable::new(Bounds::both(1 << 20, 1 << 20));
        for (len, is_kept) in [(LONG - 1, true), (LONG, false)] {
            let key = vec![1; len];
            let at = table.get_last(Family::Metadata, &key).unwrap_err();
            table.keep(Family::Metadata, &key, Some(b"v"), at);
            assert_eq!(table.get_last(Family::Metadata, &key).is_ok(), is_kept, "{len}");
        }
    }

    #[test]
    fn a_read_is_never_older_than_what_it_takes_from_rocksdb() {
        let table = RowTable::new(Bounds::both(1 << 20, 1 << 20));
        let readers = Readers::new();
        let ((), open) = table.open(&readers, || commit(&table, b"new"));
        assert_eq!(open.at, table.last_published());
    }

    #[test]
    fn a_read_that_stays_open_does_not_hold_what_is_written_while_it_lasts() {
        const ROWS: u16 = 5000;
        let table = RowTable::new(Bounds::both(1 << 20, 64 << 10));
        let readers = Readers::new();
        let ((), _open) = table.open(&readers, || ());
        for number in 0..ROWS {
            // Each is read and then written, as by a command.
            let key = number.to_be_bytes();
            let at = table.get_last(Family::Metadata, &key).unwrap_err();
            table.keep(Family::Metadata, &key, Some(b"old"), at);
            let mut pending = table.begin();
            table.write(&mut pending, Family::Metadata, &key, Some(b"new"));
            table.commit(&mut [pending]);
            if number % 100 == 99 {
                table.drain(&readers, |_| Ok::<_, ()>(())).unwrap();
            }
        }
        // The first was found in the very state that the read sees, and stays for it.
        table.release_clean(&readers);
        let held = table.shards.held();
        assert!(held < 128 << 10, "{held}");
    }

    #[test]
    fn what_could_not_be_written_behind_is_written_the_next_time() {
        let table = RowTable::new(Bounds::both(1 << 20, 1 << 20));
        let readers = Readers::new();
        commit(&table, b"one");
        let mut seen = Vec::new();
        let mut note = |rows: &Behind<'_>, done: Result<(), ()>| {
            let mut values = Vec::new();
            let note = |_: &[u8], value: Option<&[u8]>| {
                values.push(value.unwrap().to_vec());
                Ok::<_, ()>(())
            };
            rows.each_of(Family::Metadata, note).unwrap();
            seen.push(values);
            done
        };
        table.drain(&readers, |rows| note(rows, Err(()))).unwrap_err();
        table.drain(&readers, |rows| note(rows, Ok(()))).unwrap();
        commit(&table, b"two");
        table
            .drain(&readers, |rows| {
                // Written again meanwhile: the state of the cut is written, and the rest stays.
                commit(&table, b"three");
                note(rows, Ok(()))
            })
            .unwrap();
        table.drain(&readers, |rows| note(rows, Ok(()))).unwrap();
        assert!(!table.drain(&readers, |rows| note(rows, Ok(()))).unwrap());
        assert_eq!(
            seen,
            [[b"one".to_vec()], [b"one".to_vec()], [b"two".to_vec()], [b"three".to_vec()]]
        );
    }
}
