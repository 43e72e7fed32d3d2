//! Rows at places that stay theirs.
//!
//! They are in pages, so that growth moves none of them and takes no more memory than a page.

use super::row::Row;

/// Rows of a page: they fill 5 KiB.
const PAGE: u32 = 128;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    pages: Vec<Box<[Option<Row>]>>,
    /// Places that ever had a row: those before this one.
    used: u32,
    /// Those of them without a row.
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
        let place = self.free.pop().unwrap_or(self.used);
        if place == self.used {
            if place.is_multiple_of(PAGE) {
                self.pages.push((0..PAGE).map(|_| None).collect());
            }
            // The bytes of the table are bounded, long before the places are.
            self.used += 1;
        }
        let page = self.pages.get_mut(number(place / PAGE));
        match page.and_then(|page| page.get_mut(number(place % PAGE))) {
            Some(free) => *free = Some(row),
            None => unreachable!("a place that was used, or a new one in the last page"),
        }
        place
    }

    /// Takes a row out.
    pub(crate) fn remove(&mut self, place: u32) -> Option<Row> {
        let page = self.pages.get_mut(number(place / PAGE))?;
        let row = page.get_mut(number(place % PAGE))?.take()?;
        self.free.push(place);
        Some(row)
    }

    /// Number of places that ever had a row.
    pub(crate) fn places(&self) -> u32 {
        self.used
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
        Row::new(Family::Metadata, 0, Version::new(key, Some(b""), Made::by(1)))
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
        assert_eq!((slab.iter().count(), slab.places()), (places.len(), PAGE + 2));
        assert!(slab.get(2 * PAGE).is_none());
    }
}
