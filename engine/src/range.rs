//! Ranges of keys, and the two directions of a walk.

use neokv_encoding::key::prefix_end;

/// Keys from `start` to before `end`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyRange {
    /// First key, included.
    pub start: Vec<u8>,
    /// First key after the range; empty for no end.
    pub end: Vec<u8>,
}

impl KeyRange {
    /// The keys from `start` (included) to `end` (excluded; empty for no end).
    pub fn new(start: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> KeyRange {
        KeyRange { start: start.into(), end: end.into() }
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: &[u8]) -> KeyRange {
        KeyRange { start: prefix.to_vec(), end: prefix_end(prefix) }
    }

    /// Every key of a family.
    pub fn all() -> KeyRange {
        KeyRange::default()
    }

    /// Whether `key` is in the range.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice() && self.is_before_end(key)
    }

    #[inline]
    pub(crate) fn is_before_end(&self, key: &[u8]) -> bool {
        self.end.is_empty() || key < self.end.as_slice()
    }

    /// A bound for calls of RocksDB that know no open end: the range's end, or a key behind every
    /// key that is stored, because no format begins with that many bytes of 0xff.
    pub(crate) fn closed_end(&self) -> &[u8] {
        if self.end.is_empty() { &[0xff; 32] } else { &self.end }
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        !self.end.is_empty() && self.start >= self.end
    }
}

/// Which way a cursor walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Reverse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_the_start_and_exclude_the_end() {
        let range = KeyRange::prefix(b"ab");
        assert_eq!(range, KeyRange::new(*b"ab", *b"ac"));
        for (key, inside) in
            [(&b"aa\xff"[..], false), (b"ab", true), (b"ab\xff\xff", true), (b"ac", false)]
        {
            assert_eq!(range.contains(key), inside, "{key:?}");
        }
        assert!(KeyRange::all().contains(b""));
        assert!(KeyRange::prefix(b"\xff\xff").end.is_empty());
        assert!(KeyRange::new(*b"b", *b"b").is_empty());
        assert!(!KeyRange::all().is_empty());
    }
}
