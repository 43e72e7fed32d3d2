//! Rows that a walk has taken and not returned yet: a stretch of bytes, and where in it they are.

use super::body::{Body, Value};

/// A row that somebody sees, under the lock of its part.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) body: &'a Body,
    pub(crate) exists: bool,
}

/// See the module. It stands on one of its rows, or behind the last.
#[derive(Debug, Default)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    rows: Vec<Taken>,
    /// The row that it stands on.
    at: usize,
}

/// A row that was taken.
#[derive(Debug)]
struct Taken {
    /// Where its key begins, where its value begins, and where that ends.
    key: usize,
    value: usize,
    end: usize,
    exists: bool,
    /// Of a long row: its bytes, which are not among those of the page.
    long: Option<Box<Value>>,
}

impl Page {
    /// Takes a row.
    pub(crate) fn push(&mut self, Seen { body, exists }: Seen<'_>) {
        let key = self.bytes.len();
        let long = match body {
            Body::Long(_) => Some(Box::new(body.read())),
            Body::Short(_) => {
                self.bytes.extend_from_slice(body.key());
                self.bytes.extend_from_slice(body.value());
                None
            }
        };
        let end = self.bytes.len();
        let value = if long.is_some() { end } else { key + body.key().len() };
        self.rows.push(Taken { key, value, end, exists, long });
    }

    /// Number of rows that were taken.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The row it stands on: its key, and its value unless it does not exist.
    #[inline]
    pub(crate) fn row(&self) -> Option<(&[u8], Option<&[u8]>)> {
        self.rows.get(self.at).map(|row| self.bytes_of(row))
    }

    /// The key of the last row.
    pub(crate) fn last_key(&self) -> Option<&[u8]> {
        self.rows.last().map(|row| self.bytes_of(row).0)
    }

    #[inline]
    fn bytes_of<'a>(&'a self, row: &'a Taken) -> (&'a [u8], Option<&'a [u8]>) {
        let part = |from, to| self.bytes.get(from..to).unwrap_or_default();
        let (key, value) = match &row.long {
            Some(long) => (long.key(), &***long),
            None => (part(row.key, row.value), part(row.value, row.end)),
        };
        (key, row.exists.then_some(value))
    }

    /// Moves to the next row.
    #[inline]
    pub(crate) fn step(&mut self) {
        self.at += 1;
    }

    /// Forgets its rows and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.at = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order_long_ones_too() {
        let mut page = Page::default();
        let long = vec![b'v'; 1 << 16];
        let rows: [(&[u8], Option<&[u8]>); 4] =
            [(b"a", Some(b"1")), (b"bb", None), (b"c", Some(&long)), (b"d", Some(b""))];
        for _ in 0..2 {
            for (key, value) in rows {
                let body = Body::new(key, value.unwrap_or_default());
                page.push(Seen { body: &body, exists: value.is_some() });
            }
            assert_eq!((page.len(), page.last_key()), (4, Some(&b"d"[..])));
            for row in rows {
                assert_eq!(page.row(), Some(row));
                page.step();
            }
            assert_eq!(page.row(), None);
            page.clear();
            assert_eq!((page.len(), page.row(), page.last_key()), (0, None, None));
        }
    }
}
