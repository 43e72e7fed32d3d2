//! Glob patterns as Redis matches them in KEYS, in MATCH of the SCAN family and in CONFIG GET.
//!
//! | pattern | matches |
//! | --- | --- |
//! | `*` | any bytes, also none |
//! | `?` | one byte |
//! | `[abc]`, `[a-z]`, `[^a]` | one byte that is (not) in the class |
//! | `\x` | `x` itself, also inside a class |
//! | anything else | itself |
//!
//! A pattern is taken apart once and then matched against many names. As every part but `*`
//! consumes exactly one byte, it suffices to go back to the latest `*`: the time is at most the
//! product of both lengths, also for patterns made to explode a matcher that tries all
//! combinations.
//!
//! Corners that follow Redis: a class that is never closed ends with the pattern; `[]` and a `]`
//! right after `[` is an empty class; ranges compare bytes as signed; the empty name matches the
//! empty pattern only (callers treat the pattern `*` separately, as Redis does).

use bytes::Bytes;

/// A pattern, taken apart.
#[derive(Clone, Debug)]
pub struct Pattern {
    parts: Vec<GlobPart>,
    ignore_case: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum GlobPart {
    /// `*`
    Anything,
    /// `?`
    AnyByte,
    /// A byte that stands for itself.
    Byte(u8),
    /// `[…]`: inclusive ranges, of signed bytes.
    Class { inverted: bool, ranges: Vec<(i8, i8)> },
}

impl Pattern {
    /// Takes a pattern apart. Every byte string is a pattern.
    pub fn new(pattern: Bytes) -> Pattern {
        Pattern { parts: parse(&pattern), ignore_case: false }
    }

    /// The same, for names whose ASCII letters match in either case.
    pub fn ignoring_case(pattern: &[u8]) -> Pattern {
        Pattern { parts: parse(&pattern.to_ascii_lowercase()), ignore_case: true }
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        if name.is_empty() {
            return self.parts.is_empty();
        }
        let (mut part, mut at) = (0usize, 0usize);
        // Where to go on after a mismatch: the part after the latest `*`, and the byte at which it
        // was tried last.
        let mut retry: Option<(usize, usize)> = None;
        while let Some(&byte) = name.get(at) {
            match self.parts.get(part) {
                Some(GlobPart::Anything) => {
                    part += 1;
                    retry = Some((part, at));
                    continue;
                }
                Some(single)
                    if single.accepts(if self.ignore_case {
                        byte.to_ascii_lowercase()
                    } else {
                        byte
                    }) =>
                {
                    part += 1;
                    at += 1;
                    continue;
                }
                _ => {}
            }
            let Some((after, tried)) = retry else { return false };
            part = after;
            at = tried + 1;
            retry = Some((after, at));
        }
        self.parts.get(part..).unwrap_or_default().iter().all(|part| *part == GlobPart::Anything)
    }
}

impl GlobPart {
    /// Whether this part, which is not `*`, matches a byte.
    fn accepts(&self, byte: u8) -> bool {
        match self {
            GlobPart::Anything => false,
            GlobPart::AnyByte => true,
            GlobPart::Byte(own) => *own == byte,
            GlobPart::Class { inverted, ranges } => {
                let byte = byte.cast_signed();
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&byte)) != *inverted
            }
        }
    }
}

fn parse(mut pattern: &[u8]) -> Vec<GlobPart> {
    let mut parts = Vec::new();
    while let Some((&first, rest)) = pattern.split_first() {
        pattern = rest;
        let part = match (first, rest.split_first()) {
            (b'*', _) => GlobPart::Anything,
            (b'?', _) => GlobPart::AnyByte,
            (b'[', _) => {
                let (class, after) = parse_class(rest);
                pattern = after;
                class
            }
            (b'\\', Some((&escaped, after))) => {
                pattern = after;
                GlobPart::Byte(escaped)
            }
            (byte, _) => GlobPart::Byte(byte),
        };
        // A row of stars is one star.
        if !(part == GlobPart::Anything && parts.last() == Some(&GlobPart::Anything)) {
            parts.push(part);
        }
    }
    parts
}

/// The class whose `[` has been read, and what follows its `]`.
fn parse_class(pattern: &[u8]) -> (GlobPart, &[u8]) {
    let (inverted, mut pattern) = match pattern.split_first() {
        Some((b'^', rest)) => (true, rest),
        _ => (false, pattern),
    };
    let mut ranges = Vec::new();
    loop {
        let (range, rest) = match pattern {
            [] => break,
            [b'\\', escaped, rest @ ..] => ((*escaped, *escaped), rest),
            [b']', rest @ ..] => {
                pattern = rest;
                break;
            }
            [low, b'-', high, rest @ ..] => ((*low, *high), rest),
            [byte, rest @ ..] => ((*byte, *byte), rest),
        };
        let (low, high) = (range.0.cast_signed(), range.1.cast_signed());
        ranges.push((low.min(high), low.max(high)));
        pattern = rest;
    }
    (GlobPart::Class { inverted, ranges }, pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(Bytes::copy_from_slice(pattern.as_bytes())).matches(name.as_bytes())
    }

    #[test]
    fn patterns_match_as_documented() {
        for (pattern, name) in [
            ("*", "a"),
            ("", ""),
            ("a*", "a"),
            ("a**", "abc"),
            ("*c", "abc"),
            ("a*c", "abbc"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            (r"\*", "*"),
            (r"a\", r"a\"),
            (r"[\]]", "]"),
            ("[abc", "b"),
            ("[^", "x"),
            ("[a-", "-"),
            ("*a*b*c", "xxaxxbxxbxc"),
            ("x[^]", "xz"),
        ] {
            assert!(matches(pattern, name), "{pattern} should match {name}");
        }
        for (pattern, name) in [
            ("", "a"),
            ("a", ""),
            ("*", ""),
            ("a", "ab"),
            ("ab", "a"),
            ("h[^e]llo", "hello"),
            ("[]", "a"),
            ("[]a]", "a]x"),
            ("[", "["),
            ("a?", "a"),
            ("*a", "ab"),
            ("A", "a"),
        ] {
            assert!(!matches(pattern, name), "{pattern} should not match {name}");
        }
        assert!(Pattern::ignoring_case(b"MAX*").matches(b"maxMemory"));
    }

    #[test]
    fn hostile_patterns_take_no_exponential_time() {
        let pattern = "a*".repeat(60) + "b";
        assert!(!matches(&pattern, &"a".repeat(5000)));
    }
}
