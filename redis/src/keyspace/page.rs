//! One page of a walk: what SCAN, HSCAN, SSCAN and ZSCAN have in common.
//!
//! ```text
//! HSCAN h 0 MATCH a* COUNT 2        examines at most 2 · FILTER_FACTOR fields from the first on
//!   1) "293847562938475"            the place where the next page starts; "0" after the last page
//!   2) 1) "a1" 2) "x" …
//! ```
//!
//! * A page is bounded by COUNT, or, when MATCH or TYPE leave elements out, by [`FILTER_FACTOR`]
//!   times COUNT examined rows. More bytes than one reply may have end it, too.
//! * A collection of at most [`SMALL`] elements comes as one page otherwise, as the compact
//!   encodings of Redis do.
//! * What is there from the first page to the last is returned at least once (see
//!   [`super::cursor_table`]).

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_engine::Direction;
use neokv_resp::Reply;

use super::cursor_table::Owner;
use super::glob::Pattern;
use super::{Collection, Tally, View};
use crate::command::{Args, CommandError, Outcome, args};

/// Collections up to this size are returned at once.
pub const SMALL: u64 = 128;
/// How many rows per COUNT may be examined when a filter leaves some out.
pub const FILTER_FACTOR: u64 = 8;
/// COUNT where none is given.
const DEFAULT_COUNT: u64 = 10;

/// The options of the SCAN family.
#[derive(Debug)]
pub struct ScanOptions {
    /// MATCH, unless it matches everything.
    pub pattern: Option<Pattern>,
    /// COUNT, at least 1.
    pub count: u64,
    /// TYPE, in the client's spelling.
    pub kind: Option<Bytes>,
}

impl ScanOptions {
    /// Reads the options from `args[at..]`; TYPE only if `with_type`.
    pub fn parse(args: &Args, at: usize, with_type: bool) -> Result<ScanOptions, CommandError> {
        let mut options = ScanOptions { pattern: None, count: DEFAULT_COUNT, kind: None };
        for option in args::rest(args, at).chunks(2) {
            let [name, value] = option else { return Err(CommandError::Syntax) };
            if args::is(name, "COUNT") {
                let count = args::integer(value)?;
                options.count = u64::try_from(count)
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(CommandError::Syntax)?;
            } else if args::is(name, "MATCH") {
                options.pattern = (value.as_ref() != b"*").then(|| Pattern::new(value.clone()));
            } else if with_type && args::is(name, "TYPE") {
                options.kind = Some(value.clone());
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(options)
    }

    /// Whether some elements may be left out.
    pub fn filters(&self) -> bool {
        self.pattern.is_some() || self.kind.is_some()
    }

    /// Whether MATCH lets `name` pass.
    pub fn matches(&self, name: &[u8]) -> bool {
        self.pattern.as_ref().is_none_or(|pattern| pattern.matches(name))
    }

    /// How many elements a page returns, and how many it examines, at most.
    pub fn budget(&self, view: &View<'_>) -> Budget {
        let examine =
            if self.filters() { self.count.saturating_mul(FILTER_FACTOR) } else { self.count };
        Budget { take: self.count, examine, tally: view.tally() }
    }
}

/// What is left of a page.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    take: u64,
    examine: u64,
    tally: Tally,
}

impl Budget {
    /// All elements, as long as they are not too many bytes for one reply.
    pub fn all(view: &View<'_>) -> Budget {
        Budget { take: u64::MAX, examine: u64::MAX, tally: view.tally() }
    }

    /// Whether the page is full.
    pub fn is_spent(&self) -> bool {
        self.take == 0 || self.examine == 0
    }

    /// Counts one examined row, and the bytes that the page has got from it, if any. More bytes
    /// than one reply may have end the page.
    pub fn examined(&mut self, taken: Option<usize>) {
        self.examine = self.examine.saturating_sub(1);
        if let Some(bytes) = taken {
            self.take = if self.tally.add(bytes).is_ok() { self.take.saturating_sub(1) } else { 0 };
        }
    }
}

/// Reads a cursor as Redis does, with C's `strtoul`: a sign is allowed, and a negative number wraps
/// around.
pub fn parse_cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let text = arg.split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text.split_first() {
        None => return Ok(0),
        Some((b'-', digits)) => (true, digits),
        Some((b'+', digits)) => (false, digits),
        Some(_) => (false, text),
    };
    if digits.is_empty() {
        return Err(CommandError::InvalidCursor);
    }
    let value = digits.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    });
    let value = value.ok_or(CommandError::InvalidCursor)?;
    Ok(if negative { value.wrapping_neg() } else { value })
}

/// The reply of the SCAN family: the next cursor and the page.
pub fn page_reply(next: u64, items: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::bulk(next.to_string()), Reply::Array(items)])
}

/// HSCAN, SSCAN and ZSCAN: `args` are `name key cursor [MATCH pattern] [COUNT count]`. `emit`
/// appends what the reply holds for one element, given its subkey and value.
pub fn scan_collection(
    view: &View<'_>,
    args: &Args,
    kind: DataType,
    emit: impl FnMut(&mut Vec<Reply>, &[u8], &[u8]) -> Result<(), CommandError>,
) -> Outcome {
    let cursor = parse_cursor(args::get(args, 2)?)?;
    let Some(collection) = view.collection(args::get(args, 1)?, kind)? else {
        return Ok(page_reply(0, Vec::new()));
    };
    let options = ScanOptions::parse(args, 3, false)?;
    let (next, items) = collection_page(view, &collection, cursor, &options, emit)?;
    Ok(page_reply(next, items))
}

/// The page of a collection that `cursor` stands for, and the cursor of the next one.
fn collection_page(
    view: &View<'_>,
    collection: &Collection,
    cursor: u64,
    options: &ScanOptions,
    mut emit: impl FnMut(&mut Vec<Reply>, &[u8], &[u8]) -> Result<(), CommandError>,
) -> Result<(u64, Vec<Reply>), CommandError> {
    let owner = Owner::Collection { prefix: collection.prefix() };
    let resume = if cursor == 0 {
        None
    } else {
        view.cursors().and_then(|table| table.recall(owner, cursor))
    };
    let mut rows =
        view.subkeys_from(collection, resume.as_deref().unwrap_or_default(), Direction::Forward)?;
    let mut budget =
        if collection.size() <= SMALL { Budget::all(view) } else { options.budget(view) };
    let mut items = Vec::new();
    while let Some((subkey, value)) = rows.next_ref()? {
        if budget.is_spent() {
            let place = Bytes::copy_from_slice(subkey);
            let next = view.cursors().map_or(0, |table| table.remember(owner, 0, place));
            return Ok((next, items));
        }
        let taken = options.matches(subkey);
        if taken {
            emit(&mut items, subkey, value)?;
        }
        budget.examined(taken.then(|| subkey.len().saturating_add(value.len())));
    }
    Ok((0, items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_as_strtoul_does() {
        let ok = |text: &str| parse_cursor(text.as_bytes()).unwrap();
        assert_eq!(ok("0"), 0);
        assert_eq!(ok(""), 0);
        assert_eq!(ok("+5"), 5);
        assert_eq!(ok("-1"), u64::MAX);
        assert_eq!(ok("18446744073709551615"), u64::MAX);
        assert_eq!(ok("007"), 7);
        for bad in ["x", "1x", " 1", "1 ", "-", "+", "18446744073709551616", "1.0"] {
            assert!(parse_cursor(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn options_follow_the_grammar() {
        let parse = |line: &str, with_type| {
            let words: Vec<Bytes> =
                line.split_whitespace().map(|w| Bytes::copy_from_slice(w.as_bytes())).collect();
            ScanOptions::parse(&words, 0, with_type)
        };
        let options = parse("count 5 MATCH a* TYPE hash", true).unwrap();
        assert_eq!((options.count, options.kind.as_deref()), (5, Some(&b"hash"[..])));
        assert!(options.matches(b"ab") && !options.matches(b"b") && options.filters());
        assert!(!parse("match *", false).unwrap().filters());
        assert!(matches!(parse("TYPE hash", false), Err(CommandError::Syntax)));
        assert!(matches!(parse("COUNT", true), Err(CommandError::Syntax)));
        assert!(matches!(parse("COUNT 0", true), Err(CommandError::Syntax)));
        assert!(matches!(parse("COUNT x", true), Err(CommandError::NotInteger)));
        assert!(matches!(parse("BOGUS 1", true), Err(CommandError::Syntax)));
    }
}
