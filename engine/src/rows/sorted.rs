//! The rows of a cut, sorted: what RocksDB gets.
//!
//! The rows stay where they are. Only their keys are copied, for sorting, and each row is read when
//! its turn comes: a copy of all of them would be a good part of the memory that they take.

use neokv_encoding::family::Family;

use super::RowTable;
use super::page::{Page, Seen};
use super::shard::{Place, Shard};

/// The rows of a cut, sorted by family and key. See the module.
pub(crate) struct Behind<'a> {
    table: &'a RowTable,
    /// The last write that they show.
    at: u64,
    rows: Vec<(Family, Place)>,
    /// Bytes of their keys and values.
    bytes: usize,
}

/// So many rows are read together.
const TOGETHER: usize = 64;

/// A row that is being sorted.
struct Unsorted {
    family: Family,
    place: Place,
    /// Where its key is among all keys.
    start: usize,
    len: u32,
}

impl<'a> Behind<'a> {
    /// The rows at `places`, which are dirty, as of write `at`.
    pub(super) fn new(table: &'a RowTable, places: &[Place], at: u64) -> Behind<'a> {
        let (mut keys, mut rows, mut bytes) = (Vec::new(), Vec::with_capacity(places.len()), 0);
        for places in places.chunks(TOGETHER) {
            table.shards.touch(places.iter().copied());
            table.shards.at_places(places.iter().copied(), |shard, place| {
                let (family, seen) = seen_as_of(shard, place, at);
                let key = seen.body.key();
                bytes += seen.body.len();
                let Ok(len) = u32::try_from(key.len()) else {
                    unreachable!("a key stands in a log entry, which is far below 4 GiB")
                };
                rows.push(Unsorted { family, place, start: keys.len(), len });
                keys.extend_from_slice(key);
            });
        }
        let key_of = |row: &Unsorted| {
            let from_here = keys.get(row.start..).unwrap_or_default();
            from_here.get(..usize::try_from(row.len).unwrap_or(usize::MAX)).unwrap_or_default()
        };
        rows.sort_unstable_by(|one, other| {
            one.family.cmp(&other.family).then_with(|| key_of(one).cmp(key_of(other)))
        });
        let rows = rows.into_iter().map(|row| (row.family, row.place)).collect();
        Behind { table, at, rows, bytes }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of keys and values.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The families that have rows, in order.
    pub(crate) fn families(&self) -> impl Iterator<Item = Family> {
        let same = |one: &(Family, Place), next: &(Family, Place)| one.0 == next.0;
        self.rows.chunk_by(same).filter_map(|rows| rows.first()).map(|(family, _)| *family)
    }

    /// Shows the rows of a family in key order; no value: the row is deleted.
    ///
    /// # Errors
    /// What `show` says.
    pub(crate) fn each_of<E>(
        &self,
        family: Family,
        mut show: impl FnMut(&[u8], Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Neighbours are in one part, mostly.
        let of_family = |rows: &&[(Family, Place)]| rows.first().is_some_and(|row| row.0 == family);
        let in_one_part = |(one, here): &(Family, Place), (next, there): &(Family, Place)| {
            one == next && here.shard == there.shard
        };
        let mut page = Page::default();
        for rows in self.rows.chunk_by(in_one_part).filter(of_family) {
            for rows in rows.chunks(TOGETHER) {
                let places = || rows.iter().map(|(_, place)| *place);
                self.table.shards.touch(places());
                self.table.shards.at_places(places(), |shard, place| {
                    page.push(seen_as_of(shard, place, self.at).1);
                });
                // The part is not locked while its rows are shown.
                while let Some((key, value)) = page.row() {
                    show(key, value)?;
                    page.step();
                }
                page.clear();
            }
        }
        Ok(())
    }
}

/// A dirty row as of a cut, and its family.
fn seen_as_of(shard: &mut Shard, place: Place, at: u64) -> (Family, Seen<'_>) {
    let seen = shard.at(place.at).and_then(|row| Some((row.family, row.see_as_of(at)?)));
    match seen {
        Some(seen) => seen,
        None => unreachable!("dirty rows stay until they are written behind"),
    }
}
