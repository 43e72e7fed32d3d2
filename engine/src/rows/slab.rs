//! Rows at places that stay theirs.
//!
//! They are in pages, so that growth moves none of them and takes no more memory than a page.

use super::row::Row;

/// Rows of a page: they fill 4 KiB.
const PAGE: u32 = 64;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    pages: Vec<Box<[Option<Row>]>>,
    /// Places without a row.
    free: Vec<u32>,
}

impl Slab {
    /// The row at a place.
    #[inline]
    pub(crate) fn get(&self, place: u32) -> Option<&Row> {
        self.pages.get(number(place / PAGE))?.get(number(place % PAGE))?.as_ref()
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, place: u32) -> Option<&mut Row> {
        self.pages.get_mut(number(place / PAGE))?.get_mut(number(place % PAGE))?.as_mut()
    }

    /// Takes a row in. Returns its place.
    pub(crate) fn insert(&mut self, row: Row) -> u32 {
        if self.free.is_empty() {
            let first = self.places();
            self.pages.push((0..PAGE).map(|_| None).collect());
            // The lowest first.
            self.free.extend((first..first + PAGE).rev());
        }
        let place = self.free.pop();
        let page = place.and_then(|place| self.pages.get_mut(number(place / PAGE)));
        match (place, page.zip(place).and_then(|(page, at)| page.get_mut(number(at % PAGE)))) {
            (Some(place), Some(free)) => {
                *free = Some(row);
                place
            }
            _ => unreachable!("a page with free places was added"),
        }
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, place: u32) -> Option<Row> {
        let page = self.pages.get_mut(number(place / PAGE))?;
        let row = page.get_mut(number(place % PAGE))?.take()?;
        self.free.push(place);
        Some(row)
    }

    /// Number of places, those without a row included.
    pub(crate) fn places(&self) -> u32 {
        // Bounded by the bytes of the table long before.
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX).saturating_mul(PAGE)
    }

    /// The rows and their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Row)> {
        let rows = (0..).zip(self.pages.iter().flatten());
        rows.filter_map(|(place, row)| Some((place, row.as_ref()?)))
    }
}

fn number(part: u32) -> usize {
    usize::try_from(part).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use neokv_encoding::family::Family;

    use super::super::row::{Made, Version};
    use super::*;

    fn row(key: &[u8]) -> Row {
        Row::new(Family::Metadata, key.len(), 0, Version::new(key, true, Made::by(1)))
    }

    #[test]
    fn a_place_is_used_again_and_no_row_moves() {
        let mut slab = Slab::default();
        let places: Vec<u32> = (0..PAGE + 2).map(|n| slab.insert(row(&n.to_be_bytes()))).collect();
        assert_eq!(places, (0..PAGE + 2).collect::<Vec<_>>());
        assert_eq!(slab.remove(3).unwrap().key(), 3u32.to_be_bytes());
        assert!(slab.remove(3).is_none() && slab.get(3).is_none());
        assert_eq!(slab.insert(row(b"new")), 3);
        assert_eq!(slab.get(3).unwrap().key(), b"new");
        assert_eq!(slab.get(PAGE + 1).unwrap().key(), (PAGE + 1).to_be_bytes());
        assert_eq!((slab.iter().count(), slab.places()), (places.len(), 2 * PAGE));
        assert!(slab.get(2 * PAGE).is_none());
    }
}
