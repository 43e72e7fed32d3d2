//! Ranges as commands write them: by position, by score, by name.
//!
//! | range | written | means |
//! | --- | --- | --- |
//! | [`IndexRange`] | `0 -1` | positions, both included; negative ones count from the end |
//! | [`ScoreRange`] | `1 (5`, `-inf +inf` | scores; `(` leaves the bound itself out |
//! | [`LexRange`] | `[a (c`, `- +` | members by their bytes; `-` and `+` are the ends of all |
//!
//! The families that hold sorted sets are ordered by bytes, so a range that is not empty is one
//! span of keys, start included and end excluded: [`ScoreRange::span`] in the score index,
//! [`LexRange::span`] among the members. Whoever walks such a span meets the rows of the range and
//! no others.
//!
//! Parsing follows the oddities of Redis. A score bound is read by C's `strtod` without the checks
//! that scores themselves go through: leading spaces are skipped, `1e999` is infinity, and an empty
//! bound is 0.

use std::cmp::Ordering;
use std::ops::Range;

use bytes::Bytes;

use super::ScoreSpan;
use crate::error::CommandError;
use crate::number;

/// Positions from `start` to `stop`, both included, as written: negative ones count from the end
/// (-1 is the last).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRange {
    start: i64,
    stop: i64,
}

impl IndexRange {
    /// Reads two integers, or [`CommandError::NotInteger`].
    pub fn parse(start: &[u8], stop: &[u8]) -> Result<IndexRange, CommandError> {
        Ok(IndexRange { start: number::integer(start)?, stop: number::integer(stop)? })
    }

    /// The positions that the range covers in a sequence of `len` elements, counted from 0; `0..0`
    /// if there are none.
    pub fn resolve(self, len: u64) -> Range<u64> {
        index_range(self.start, self.stop, len)
    }
}

/// The positions from `start` to `stop`, both included and negative ones counted from the end, of a
/// sequence of `len` elements: what LRANGE, GETRANGE, LTRIM and ZRANGE mean. Empty ranges come out
/// as `0..0`.
pub fn index_range(start: i64, stop: i64, len: u64) -> Range<u64> {
    let start = from_either_end(start, len).unwrap_or(0);
    let Some(stop) = from_either_end(stop, len) else { return 0..0 };
    if start > stop || start >= len { 0..0 } else { start..(stop + 1).min(len) }
}

/// The position that `index` names in a sequence of `len` elements, -1 being the last; `None`
/// before the first. Positions past the end come out as they are.
pub fn from_either_end(index: i64, len: u64) -> Option<u64> {
    if index < 0 { len.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) }
}

/// Scores between two bounds. A bound is never NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRange {
    min: f64,
    min_excluded: bool,
    max: f64,
    max_excluded: bool,
}

impl ScoreRange {
    /// Reads two bounds, or [`CommandError::NotScoreBound`].
    pub fn parse(min: &[u8], max: &[u8]) -> Result<ScoreRange, CommandError> {
        let (min, min_excluded) = score_bound(min).ok_or(CommandError::NotScoreBound)?;
        let (max, max_excluded) = score_bound(max).ok_or(CommandError::NotScoreBound)?;
        Ok(ScoreRange { min, min_excluded, max, max_excluded })
    }

    /// Whether every score is in the range.
    pub fn is_everything(&self) -> bool {
        let open = self.min == f64::NEG_INFINITY && self.max == f64::INFINITY;
        open && !self.min_excluded && !self.max_excluded
    }

    /// The stretch of the score index that holds exactly these scores; `None` if no score can be in
    /// the range.
    pub fn span(&self) -> Option<ScoreSpan> {
        let start = if self.min_excluded {
            ScoreSpan::after(self.min)?
        } else {
            ScoreSpan::position(self.min, &[])
        };
        let end = if self.max_excluded {
            Some(ScoreSpan::position(self.max, &[]))
        } else {
            ScoreSpan::after(self.max)
        };
        end.as_ref().is_none_or(|end| start < *end).then_some(ScoreSpan { start, end })
    }
}

/// One bound of a score range, and whether the bound itself is left out.
fn score_bound(text: &[u8]) -> Option<(f64, bool)> {
    // A zero byte ends the argument here, as it does for C.
    let text = text.split(|byte| *byte == 0).next()?;
    match text.split_first() {
        Some((b'(', number)) => Some((number::strtod_loose(number)?, true)),
        _ => Some((number::strtod_loose(text)?, false)),
    }
}

/// One bound of a range of members.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LexBound {
    /// `-`: before every member.
    Least,
    /// `[x` and `(x`: at `bytes`, which `excluded` leaves out.
    At { bytes: Bytes, excluded: bool },
    /// `+`: after every member.
    Greatest,
}

impl LexBound {
    fn parse(text: &Bytes) -> Option<LexBound> {
        // A zero byte ends the argument here, as it does for C.
        let alone = text.get(1).is_none_or(|byte| *byte == 0);
        match text.first()? {
            b'-' if alone => Some(LexBound::Least),
            b'+' if alone => Some(LexBound::Greatest),
            first @ (b'[' | b'(') => {
                Some(LexBound::At { bytes: text.slice(1..), excluded: *first == b'(' })
            }
            _ => None,
        }
    }

    /// Where a member lies relative to the bound.
    fn locate(&self, member: &[u8]) -> Ordering {
        match self {
            LexBound::Least => Ordering::Greater,
            LexBound::At { bytes, .. } => member.cmp(bytes),
            LexBound::Greatest => Ordering::Less,
        }
    }

    /// Whether a member that equals the bound belongs to the range.
    fn includes_itself(&self) -> bool {
        matches!(self, LexBound::At { excluded: false, .. })
    }
}

/// Members between two bounds, by their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LexRange {
    min: LexBound,
    max: LexBound,
}

/// A stretch of members: the first one, included, and the end, excluded; `None` goes through the
/// last member.
pub type MemberSpan = (Vec<u8>, Option<Vec<u8>>);

impl LexRange {
    /// Reads two bounds, or [`CommandError::NotLexBound`].
    pub fn parse(min: &Bytes, max: &Bytes) -> Result<LexRange, CommandError> {
        let min = LexBound::parse(min).ok_or(CommandError::NotLexBound)?;
        let max = LexBound::parse(max).ok_or(CommandError::NotLexBound)?;
        Ok(LexRange { min, max })
    }

    /// Whether `member` is not before the range.
    pub fn reaches(&self, member: &[u8]) -> bool {
        let place = self.min.locate(member);
        place.is_gt() || (place.is_eq() && self.min.includes_itself())
    }

    /// Whether `member` is not after the range.
    pub fn holds(&self, member: &[u8]) -> bool {
        let place = self.max.locate(member);
        place.is_lt() || (place.is_eq() && self.max.includes_itself())
    }

    /// The stretch of members in the range; `None` if no member can be.
    pub fn span(&self) -> Option<MemberSpan> {
        // The successor of a string in byte order is the string with a zero byte behind it.
        let at = |bytes: &Bytes, or_after: bool| {
            let mut bound = bytes.to_vec();
            bound.extend(or_after.then_some(0));
            bound
        };
        let start = match &self.min {
            LexBound::Least => Vec::new(),
            LexBound::At { bytes, excluded } => at(bytes, *excluded),
            LexBound::Greatest => return None,
        };
        let end = match &self.max {
            LexBound::Least => return None,
            LexBound::At { bytes, excluded } => Some(at(bytes, !excluded)),
            LexBound::Greatest => None,
        };
        end.as_ref().is_none_or(|end| start < *end).then_some((start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_count_from_both_ends() {
        for (start, stop, expected) in [
            (0, -1, 0..5),
            (1, 3, 1..4),
            (-2, -1, 3..5),
            (-100, 1, 0..2),
            (3, 100, 3..5),
            (5, 9, 0..0),
            (3, 2, 0..0),
            (0, -100, 0..0),
            (i64::MIN, i64::MAX, 0..5),
            (i64::MAX, i64::MIN, 0..0),
        ] {
            assert_eq!(index_range(start, stop, 5), expected, "{start} {stop}");
        }
        assert_eq!(index_range(0, -1, 0), 0..0);
        assert!(matches!(IndexRange::parse(b"0", b"x"), Err(CommandError::NotInteger)));
        assert_eq!(IndexRange::parse(b"-2", b"-1").unwrap().resolve(3), 1..3);
    }

    #[test]
    fn bounds_of_scores_are_read_as_c_reads_them() {
        let range = |min: &str, max: &str| ScoreRange::parse(min.as_bytes(), max.as_bytes());
        assert_eq!(range(" 1", "1e999").unwrap(), range("1", "inf").unwrap());
        assert_eq!(range("", "1\0x").unwrap(), range("0", "1").unwrap());
        assert!(range("-inf", "+inf").unwrap().is_everything());
        assert!(!range("(-inf", "+inf").unwrap().is_everything());
        for bad in ["x", "nan", "(nan", "[1", "1x", "((1"] {
            assert!(matches!(range(bad, "1"), Err(CommandError::NotScoreBound)), "{bad}");
            assert!(matches!(range("1", bad), Err(CommandError::NotScoreBound)), "{bad}");
        }
    }

    #[test]
    fn a_span_of_scores_holds_the_scores_of_its_range() {
        let scores = [
            f64::NEG_INFINITY,
            -1.5,
            -0.0,
            0.0,
            f64::from_bits(1),
            1.0,
            1.5,
            f64::MAX,
            f64::INFINITY,
        ];
        let bounds = [
            ("-inf", f64::NEG_INFINITY),
            ("-1.5", -1.5),
            ("0", 0.0),
            ("1", 1.0),
            ("1.5", 1.5),
            ("inf", f64::INFINITY),
        ];
        let open =
            |excluded: bool, text: &str| format!("{}{text}", if excluded { "(" } else { "" });
        for ((low, min), (high, max)) in
            bounds.iter().flat_map(|min| bounds.iter().map(move |max| (min, max)))
        {
            for (above, below) in [(false, false), (false, true), (true, false), (true, true)] {
                let (low, high) = (open(above, low), open(below, high));
                let span = ScoreRange::parse(low.as_bytes(), high.as_bytes()).unwrap().span();
                for score in scores {
                    let position = ScoreSpan::position(score, b"member");
                    let inside = span.as_ref().is_some_and(|span| {
                        position >= span.start
                            && span.end.as_ref().is_none_or(|end| position < *end)
                    });
                    let expected = (if above { score > *min } else { score >= *min })
                        && (if below { score < *max } else { score <= *max });
                    assert_eq!(inside, expected, "{score} in {low} {high}");
                }
            }
        }
    }

    #[test]
    fn a_span_of_members_holds_the_members_of_its_range() {
        let members: [&[u8]; 7] = [b"", b"a", b"a\0", b"a\0\0", b"ab", b"b", b"\xff\xff"];
        let bounds: [&'static [u8]; 9] =
            [b"-", b"+", b"[", b"(", b"[a", b"(a", b"[a\0", b"(b", b"[\xff\xff"];
        for (min, max) in bounds.iter().flat_map(|min| bounds.iter().map(move |max| (min, max))) {
            let range =
                LexRange::parse(&Bytes::from_static(min), &Bytes::from_static(max)).unwrap();
            for member in members {
                let inside = range.span().is_some_and(|(start, end)| {
                    member >= start.as_slice() && end.is_none_or(|end| member < end.as_slice())
                });
                assert_eq!(
                    inside,
                    range.reaches(member) && range.holds(member),
                    "{member:?} in {min:?} {max:?}"
                );
            }
        }
        for bad in ["", "a", "--", "+x", "{a"] {
            let (bad, good) = (Bytes::from_static(bad.as_bytes()), Bytes::from_static(b"-"));
            assert!(
                matches!(LexRange::parse(&bad, &good), Err(CommandError::NotLexBound)),
                "{bad:?}"
            );
        }
    }
}
