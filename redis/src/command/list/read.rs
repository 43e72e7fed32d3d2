//! List commands that only look: LLEN, LINDEX, LRANGE, LPOS.

use std::ops::Range;

use neokv_encoding::key::list_subkey;
use neokv_encoding::metadata::DataType;
use neokv_resp::parse_integer;
use neokv_resp::{Bulks, Reply, Shape};

use super::End;
use super::elements::{self, ElementCursor};
use crate::command::{Args, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::range::IndexRange;
use crate::keyspace::{Collection, View};
use crate::number;

/// `LLEN key`
pub fn llen(view: &View<'_>, args: &Args) -> CommandResult {
    let list = view.collection(args::get(args, 1)?, DataType::List)?;
    Ok(Reply::count(list.map_or(0, |list| list.size())))
}

/// `LINDEX key index`
pub fn lindex(view: &View<'_>, args: &Args) -> CommandResult {
    let Some(list) = view.collection(args::get(args, 1)?, DataType::List)? else {
        return Ok(Reply::Nil);
    };
    match elements::position(&list, number::integer(args::get(args, 2)?)?) {
        Some(position) => Ok(Reply::Bulk(elements::get(*view, &list, position)?)),
        None => Ok(Reply::Nil),
    }
}

/// Runs of up to so many elements are kept in memory for the next who asks: one that is longer
/// would displace many other rows.
const SHORT_RUN: u64 = 256;

/// `LRANGE key start stop`
pub fn lrange(view: &View<'_>, args: &Args) -> CommandResult {
    let range = IndexRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    let Some(list) = view.collection(args::get(args, 1)?, DataType::List)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let range = range.resolve(list.size());
    let head = list.meta.head;
    let positions = head + range.start..head + range.end;
    let count = positions.end - positions.start;
    view.expect_rows(count)?;
    if count <= SHORT_RUN
        && let Some(elements) = cached(view, &list, positions.clone())?
    {
        return Ok(Reply::Bulks(Shape::Array, elements));
    }
    let mut elements = Bulks::expecting(count);
    if !positions.is_empty() {
        let mut cursor = ElementCursor::new(*view, &list, positions, End::Left)?;
        while let Some((position, element)) = cursor.next()? {
            elements.push(element);
            view.check_reply(elements.size())?;
            if count <= SHORT_RUN {
                view.keep_subkey(&list, &list_subkey(position), element);
            }
        }
    }
    Ok(Reply::Bulks(Shape::Array, elements))
}

/// A run of elements, if memory has all of them.
///
/// Their positions are known, so each can be looked up. That is faster than a walk, which has to
/// ask every file whether it has elements in between.
fn cached(
    view: &View<'_>,
    list: &Collection,
    positions: Range<u64>,
) -> Result<Option<Bulks>, CommandError> {
    let mut elements = Bulks::expecting(positions.end - positions.start);
    let mut within = Ok(());
    let has_all = view.subkeys_cached(list, positions.map(list_subkey), &mut |element| {
        if within.is_ok() {
            elements.push(element);
            within = view.check_reply(elements.size());
        }
    })?;
    within.map(|()| has_all.then_some(elements))
}

/// The options of LPOS.
struct Search {
    /// Where the search starts.
    from: End,
    /// Which match is the first one that counts.
    rank: i64,
    /// How many matches are wanted, 0 being all; without COUNT the reply is one index instead of a
    /// list.
    count: Option<i64>,
    /// How many elements may be looked at, 0 being all.
    maxlen: u64,
}

impl Search {
    fn parse(options: &Args) -> Result<Search, CommandError> {
        let mut search = Search { from: End::Left, rank: 1, count: None, maxlen: 0 };
        let mut rest = options;
        while let [option, value, others @ ..] = rest {
            if args::is(option, "RANK") {
                search.set_rank(number::integer(value)?)?;
            } else if args::is(option, "COUNT") {
                let count = parse_integer(value).filter(|count| *count >= 0);
                search.count = Some(count.ok_or(CommandError::NegativeCount)?);
            } else if args::is(option, "MAXLEN") {
                let maxlen = parse_integer(value).and_then(|maxlen| u64::try_from(maxlen).ok());
                search.maxlen =
                    maxlen.ok_or_else(|| CommandError::custom("ERR MAXLEN can't be negative"))?;
            } else {
                return Err(CommandError::Syntax);
            }
            rest = others;
        }
        if rest.is_empty() { Ok(search) } else { Err(CommandError::Syntax) }
    }

    fn set_rank(&mut self, rank: i64) -> Result<(), CommandError> {
        if rank == 0 {
            return Err(CommandError::custom(
                "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second \
                 ... or use negative to start from the end of the list",
            ));
        }
        // The smallest integer has no positive counterpart and stays as it is, in Redis too: then
        // every match counts, and `is_enough` never holds.
        self.from = if rank < 0 { End::Right } else { End::Left };
        self.rank = if rank < 0 { rank.wrapping_neg() } else { rank };
        Ok(())
    }

    /// Whether the `matches`-th match is the last one wanted.
    fn is_enough(&self, matches: i64) -> bool {
        match self.count {
            None => true,
            Some(0) => false,
            Some(count) => matches.wrapping_sub(self.rank).wrapping_add(1) >= count,
        }
    }
}

/// `LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]`
pub fn lpos(view: &View<'_>, args: &Args) -> CommandResult {
    let search = Search::parse(args::rest(args, 3))?;
    let wanted = args::get(args, 2)?;
    let (mut found, mut limit) = (Vec::new(), view.reply_limit());
    if let Some(list) = view.collection(args::get(args, 1)?, DataType::List)? {
        let head = list.meta.head;
        let mut cursor = ElementCursor::new(*view, &list, head..list.meta.tail, search.from)?;
        let (mut seen, mut matches) = (0u64, 0i64);
        while (search.maxlen == 0 || seen < search.maxlen)
            && let Some((position, element)) = cursor.next()?
        {
            seen += 1;
            if element != wanted {
                continue;
            }
            matches += 1;
            if matches >= search.rank {
                limit.add(0)?;
                found.push(Reply::count(position - head));
                if search.is_enough(matches) {
                    break;
                }
            }
        }
    }
    match search.count {
        Some(_) => Ok(Reply::Array(found)),
        None => Ok(found.pop().unwrap_or(Reply::Nil)),
    }
}
