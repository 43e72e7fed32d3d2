//! Arithmetic on key ranges: what one Region has of the data, and another has not.
//!
//! A store clears a Region's data when a snapshot replaces it or the replica is removed. It must
//! never clear what another of its Regions owns by now: after a split that this replica missed, the
//! half that its old descriptor still names belongs to the child. So before anything is cleared,
//! [`subtract`] takes away what the others own.

use neokv_encoding::family::Family;
use neokv_engine::KeyRange;

/// A range of keys in one family. An empty end means: to the last key.
pub(crate) type FamilyRange = (Family, KeyRange);

/// What is in `ranges` and in none of `others`.
pub(crate) fn subtract(ranges: Vec<FamilyRange>, others: &[FamilyRange]) -> Vec<FamilyRange> {
    others.iter().fold(ranges, |left, (family, other)| {
        left.into_iter()
            .flat_map(|(mine, range)| {
                let parts = if mine == *family { without(&range, other) } else { vec![range] };
                parts.into_iter().map(move |part| (mine, part))
            })
            .collect()
    })
}

/// What is in `ranges` and in one of `others`.
pub(crate) fn intersect(ranges: Vec<FamilyRange>, others: &[FamilyRange]) -> Vec<FamilyRange> {
    let outside = subtract(ranges.clone(), others);
    subtract(ranges, &outside)
}

/// Whether two lists of ranges share a key.
pub(crate) fn overlap(one: &[FamilyRange], other: &[FamilyRange]) -> bool {
    one.iter().any(|(family, range)| {
        other.iter().any(|(theirs, other)| family == theirs && overlaps(range, other))
    })
}

fn overlaps(one: &KeyRange, other: &KeyRange) -> bool {
    !one.is_empty()
        && !other.is_empty()
        && before(&one.start, &other.end)
        && before(&other.start, &one.end)
}

/// Whether a key stands before the end of a range.
fn before(key: &[u8], end: &[u8]) -> bool {
    end.is_empty() || key < end
}

/// What is left of `range` when `other` is taken out of its middle: at most two parts.
fn without(range: &KeyRange, other: &KeyRange) -> Vec<KeyRange> {
    if !overlaps(range, other) {
        return vec![range.clone()];
    }
    let mut parts = Vec::new();
    if range.start < other.start {
        parts.push(KeyRange::new(range.start.clone(), other.start.clone()));
    }
    if !other.end.is_empty() && before(&other.end, &range.end) {
        parts.push(KeyRange::new(other.end.clone(), range.end.clone()));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &str, end: &str) -> KeyRange {
        KeyRange::new(start.as_bytes(), end.as_bytes())
    }

    fn left(mine: (&str, &str), others: &[(&str, &str)]) -> Vec<(String, String)> {
        let others: Vec<FamilyRange> =
            others.iter().map(|(start, end)| (Family::Subkey, range(start, end))).collect();
        subtract(vec![(Family::Subkey, range(mine.0, mine.1))], &others)
            .into_iter()
            .map(|(_, range)| {
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                (text(range.start), text(range.end))
            })
            .collect()
    }

    #[test]
    fn takes_out_what_others_own() {
        let pair = |start: &str, end: &str| (start.to_owned(), end.to_owned());
        assert_eq!(left(("b", "h"), &[]), [pair("b", "h")]);
        assert_eq!(left(("b", "h"), &[("h", "k"), ("a", "b")]), [pair("b", "h")]);
        assert_eq!(left(("b", "h"), &[("d", "e")]), [pair("b", "d"), pair("e", "h")]);
        assert_eq!(left(("b", "h"), &[("d", "e"), ("f", "z")]), [pair("b", "d"), pair("e", "f")]);
        assert_eq!(left(("b", "h"), &[("a", "c")]), [pair("c", "h")]);
        assert!(left(("b", "h"), &[("b", "h")]).is_empty());
        assert!(left(("b", "h"), &[("a", "")]).is_empty());
        assert_eq!(left(("b", ""), &[("d", "f")]), [pair("b", "d"), pair("f", "")]);
        assert!(left(("b", "h"), &[("b", "d"), ("d", "h")]).is_empty());
    }

    #[test]
    fn what_is_in_both() {
        let mine = vec![(Family::Subkey, range("b", "h"))];
        let others = [(Family::Subkey, range("a", "c")), (Family::Subkey, range("e", "f"))];
        let both = [(Family::Subkey, range("b", "c")), (Family::Subkey, range("e", "f"))];
        assert_eq!(intersect(mine.clone(), &others), both);
        assert!(intersect(mine, &[(Family::Expire, range("a", "z"))]).is_empty());
    }

    #[test]
    fn families_do_not_touch_each_other() {
        let mine = vec![(Family::Subkey, range("a", "b"))];
        assert_eq!(subtract(mine.clone(), &[(Family::Expire, range("a", "b"))]), mine);
        assert!(!overlap(&mine, &[(Family::Expire, range("a", "b"))]));
        assert!(overlap(&mine, &[(Family::Subkey, range("", ""))]));
        assert!(!overlap(&mine, &[(Family::Subkey, range("b", "c"))]));
    }
}
