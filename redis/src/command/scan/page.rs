//! One page of a walk: what SCAN, HSCAN, SSCAN and ZSCAN have in common.
//!
//! ```text
//! HSCAN h 0 MATCH a* COUNT 2        examines at most 2 · FILTER_FACTOR fields from the first on
//!   1) "293847562938475"            the position where the next page starts; "0" after the last
//!   2) 1) "a1" 2) "x" …
//! ```
//!
//! * A page is bounded by COUNT, or, when MATCH or TYPE leave elements out, by [`FILTER_FACTOR`]
//!   times COUNT examined rows. It also ends when it has as many bytes as one reply may have.
//! * A collection of at most [`SMALL`] elements comes as one page otherwise, as the compact
//!   encodings of Redis do.
//! * An element that exists from the first page to the last is returned at least once, and every
//!   walk ends, even if no cursor is remembered: see [`crate::keyspace::cursor_table`]. A page in
//!   the order of hashes is a [`HashPage`].

use std::collections::BTreeMap;

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_engine::Direction;
use neokv_resp::Reply;

use crate::command::declare::Argument;
use crate::command::declare::argument::words::{KEY, integer, pattern};
use crate::command::{Args, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::cursor_table::{CursorMeaning, Owner};
use crate::keyspace::glob::Pattern;
use crate::keyspace::{Collection, ReplyLimit, View};
use crate::number;

/// Collections up to this size are returned at once.
pub const SMALL: u64 = 128;
/// How many rows per COUNT may be examined when a filter leaves some out.
pub const FILTER_FACTOR: u64 = 8;
/// COUNT where none is given.
const DEFAULT_COUNT: u64 = 10;
/// The least COUNT in the order of hashes, where every page costs a pass over all elements.
const LEAST_HASH_COUNT: u64 = 1024;

/// The arguments of HSCAN, SSCAN and ZSCAN.
pub const SCAN_ARGUMENTS: &[Argument] = &[
    KEY,
    integer("cursor"),
    pattern("pattern").after("MATCH").optional(),
    integer("count").after("COUNT").optional(),
];

/// What these commands cost.
pub const SCAN_COST: &str = "O(1) for every call. O(N) for a complete iteration, including enough \
                             command calls for the cursor to return back to 0. N is the number of \
                             elements inside the collection..";

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
                let count = number::integer(value)?;
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
    pub fn budget(&self, view: &View<'_>) -> PageBudget {
        let examine =
            if self.filters() { self.count.saturating_mul(FILTER_FACTOR) } else { self.count };
        PageBudget { take: self.count, examine, limit: view.reply_limit() }
    }

    /// An empty page in the order of hashes, from this one on.
    pub fn hash_page(&self, view: &View<'_>, from: u64) -> HashPage {
        HashPage {
            from,
            end: None,
            elements: BTreeMap::new(),
            count: 0,
            max: self.count.max(LEAST_HASH_COUNT),
            limit: view.reply_limit(),
        }
    }
}

/// What is left of a page.
#[derive(Clone, Copy, Debug)]
pub struct PageBudget {
    take: u64,
    examine: u64,
    limit: ReplyLimit,
}

impl PageBudget {
    /// All elements, as long as they are not too many bytes for one reply.
    fn all(view: &View<'_>) -> PageBudget {
        PageBudget { take: u64::MAX, examine: u64::MAX, limit: view.reply_limit() }
    }

    /// Whether the page is full.
    pub fn is_spent(&self) -> bool {
        self.take == 0 || self.examine == 0
    }

    /// Counts one examined row, which must not be behind a full page, and the bytes that the page
    /// has got from it, if any. The page also ends when it has as many bytes as one reply may have.
    pub fn examined(&mut self, taken: Option<usize>) {
        self.examine -= 1;
        if let Some(bytes) = taken {
            self.take = if self.limit.add(bytes).is_ok() { self.take - 1 } else { 0 };
        }
    }
}

/// The elements with the smallest hashes, as many as a page may have. Elements with equal hashes
/// are on one page.
pub struct HashPage {
    /// The smallest hash that belongs to the page.
    from: u64,
    /// The smallest hash that does not, once there were too many elements.
    end: Option<u64>,
    /// What the reply holds for each element, and its bytes.
    elements: BTreeMap<u64, Vec<(Vec<Reply>, usize)>>,
    count: u64,
    max: u64,
    limit: ReplyLimit,
}

impl HashPage {
    /// Whether an element with this hash may belong to the page.
    pub fn wants(&self, hash: u64) -> bool {
        hash >= self.from && self.end.is_none_or(|end| hash < end)
    }

    /// Adds an element that the page wants; others may have to leave it.
    pub fn add(&mut self, hash: u64, items: Vec<Reply>, bytes: usize) {
        let mut is_full = self.limit.add(bytes).is_err();
        self.elements.entry(hash).or_default().push((items, bytes));
        self.count += 1;
        is_full |= self.count > self.max;
        while is_full && self.elements.len() > 1 {
            let Some((last, removed)) = self.elements.pop_last() else { break };
            self.end = Some(last);
            for (_, bytes) in removed {
                self.count -= 1;
                self.limit.remove(bytes);
            }
            is_full = self.count > self.max || self.limit.is_exceeded();
        }
    }

    /// What the reply holds, and the hash that the next page starts from, if there is one.
    pub fn finish(self) -> (Vec<Reply>, Option<u64>) {
        let items = self.elements.into_values().flatten().flat_map(|(items, _)| items);
        (items.collect(), self.end)
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

/// Appends what the reply holds for one element, given its subkey and value.
pub trait Emit: FnMut(&mut Vec<Reply>, &[u8], &[u8]) -> Result<(), CommandError> {}

impl<F: FnMut(&mut Vec<Reply>, &[u8], &[u8]) -> Result<(), CommandError>> Emit for F {}

/// HSCAN, SSCAN and ZSCAN: `args` are `name key cursor [MATCH pattern] [COUNT count]`.
pub fn scan_collection(
    view: &View<'_>,
    args: &Args,
    kind: DataType,
    emit: impl Emit,
) -> CommandResult {
    let cursor = parse_cursor(args::get(args, 2)?)?;
    let Some(collection) = view.collection(args::get(args, 1)?, kind)? else {
        return Ok(page_reply(0, Vec::new()));
    };
    let options = ScanOptions::parse(args, 3, false)?;
    collection_page(view, &collection, cursor, &options, emit)
}

/// The page of a collection that `cursor` stands for, and the cursor of the next one.
pub fn collection_page(
    view: &View<'_>,
    collection: &Collection,
    cursor: u64,
    options: &ScanOptions,
    emit: impl Emit,
) -> CommandResult {
    let owner = Owner::Collection { prefix: collection.key_prefix() };
    let table = view.cursors();
    match table.map_or(CursorMeaning::Beginning, |table| table.meaning(owner, cursor)) {
        CursorMeaning::Beginning => page_by_name(view, collection, &[], options, emit),
        CursorMeaning::At(subkey) => page_by_name(view, collection, &subkey, options, emit),
        CursorMeaning::Forgotten(hash) => match find_hash(view, collection, hash)? {
            Some(subkey) => page_by_name(view, collection, &subkey, options, emit),
            None => page_by_hash(view, collection, 0, options, emit),
        },
        CursorMeaning::HashOrder(hash) => page_by_hash(view, collection, hash, options, emit),
    }
}

/// The elements from `start` on, by their subkeys.
fn page_by_name(
    view: &View<'_>,
    collection: &Collection,
    start: &[u8],
    options: &ScanOptions,
    mut emit: impl Emit,
) -> CommandResult {
    let owner = Owner::Collection { prefix: collection.key_prefix() };
    let mut rows = view.subkeys_from(collection, start, Direction::Forward)?;
    let mut budget =
        if collection.size() <= SMALL { PageBudget::all(view) } else { options.budget(view) };
    let mut items = Vec::new();
    while let Some((subkey, value)) = rows.next_ref()? {
        if budget.is_spent() {
            let position = Bytes::copy_from_slice(subkey);
            let next = view.cursors().map_or(0, |table| table.remember(owner, 0, position));
            return Ok(page_reply(next, items));
        }
        let taken = options.matches(subkey);
        if taken {
            emit(&mut items, subkey, value)?;
        }
        budget.examined(taken.then(|| subkey.len() + value.len()));
    }
    Ok(page_reply(0, items))
}

/// The first subkey with this hash.
fn find_hash(
    view: &View<'_>,
    collection: &Collection,
    hash: u64,
) -> Result<Option<Bytes>, CommandError> {
    let owner = Owner::Collection { prefix: collection.key_prefix() };
    let mut rows = view.subkeys(collection, Direction::Forward)?;
    while let Some((subkey, _)) = rows.next_ref()? {
        if owner.hash(subkey) == hash {
            return Ok(Some(Bytes::copy_from_slice(subkey)));
        }
    }
    Ok(None)
}

/// The elements with the smallest hashes from `from` on.
fn page_by_hash(
    view: &View<'_>,
    collection: &Collection,
    from: u64,
    options: &ScanOptions,
    mut emit: impl Emit,
) -> CommandResult {
    let owner = Owner::Collection { prefix: collection.key_prefix() };
    let mut rows = view.subkeys(collection, Direction::Forward)?;
    let mut page = options.hash_page(view, from);
    while let Some((subkey, value)) = rows.next_ref()? {
        let hash = owner.hash(subkey);
        if page.wants(hash) && options.matches(subkey) {
            let mut items = Vec::new();
            emit(&mut items, subkey, value)?;
            page.add(hash, items, subkey.len() + value.len());
        }
    }
    let (items, next) = page.finish();
    Ok(page_reply(next.map_or(0, |hash| owner.hash_cursor(0, hash)), items))
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
