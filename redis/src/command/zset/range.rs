//! ZRANGE and its relatives: ZREVRANGE, ZRANGEBYSCORE, ZREVRANGEBYSCORE, ZRANGEBYLEX,
//! ZREVRANGEBYLEX.
//!
//! The relatives are ZRANGE with BYSCORE, BYLEX or REV decided beforehand; what a name decides is
//! no longer an option. All seven share one grammar, so that errors come in the same order:
//! options, then bounds, then the key.

use neokv_engine::Direction;
use neokv_resp::Reply;

use super::rows::{self, Limit, Selection};
use crate::command::{Args, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::View;
use crate::keyspace::range::{IndexRange, LexRange, ScoreRange};
use crate::number;

/// What the bounds of a range are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Index,
    Score,
    Lex,
}

/// `ZRANGE key start stop [BYSCORE|BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub fn zrange(view: &View<'_>, args: &Args) -> CommandResult {
    range(view, args, None, None)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub fn zrevrange(view: &View<'_>, args: &Args) -> CommandResult {
    range(view, args, Some(By::Index), Some(Direction::Reverse))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub fn zrangebyscore(view: &View<'_>, args: &Args) -> CommandResult {
    range(view, args, Some(By::Score), Some(Direction::Forward))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub fn zrevrangebyscore(view: &View<'_>, args: &Args) -> CommandResult {
    range(view, args, Some(By::Score), Some(Direction::Reverse))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub fn zrangebylex(view: &View<'_>, args: &Args) -> CommandResult {
    range(view, args, Some(By::Lex), Some(Direction::Forward))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub fn zrevrangebylex(view: &View<'_>, args: &Args) -> CommandResult {
    range(view, args, Some(By::Lex), Some(Direction::Reverse))
}

/// The options of one command, those that its name decides included.
#[derive(Debug, PartialEq, Eq)]
struct RangeOptions {
    by: Option<By>,
    direction: Option<Direction>,
    with_scores: bool,
    offset: i64,
    /// The second number of LIMIT; negative: no limit.
    limit: i64,
}

impl RangeOptions {
    fn parse(&mut self, words: &Args) -> Result<(), CommandError> {
        let mut rest = words;
        while let [word, others @ ..] = rest {
            rest = others;
            if args::is(word, "WITHSCORES") {
                self.with_scores = true;
            } else if args::is(word, "LIMIT")
                && let [offset, limit, others @ ..] = rest
            {
                self.offset = number::integer(offset)?;
                self.limit = number::integer(limit)?;
                rest = others;
            } else if self.direction.is_none() && args::is(word, "REV") {
                self.direction = Some(Direction::Reverse);
            } else if self.by.is_none() && args::is(word, "BYLEX") {
                self.by = Some(By::Lex);
            } else if self.by.is_none() && args::is(word, "BYSCORE") {
                self.by = Some(By::Score);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(())
    }

    /// Refuses options that do not go together. A limit of -1 counts as none, whatever the offset.
    fn check(&self) -> Result<(), CommandError> {
        let by = self.by.unwrap_or(By::Index);
        if by == By::Index && self.limit != -1 {
            return Err(CommandError::custom(
                "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
                 BYLEX",
            ));
        }
        if by == By::Lex && self.with_scores {
            return Err(CommandError::custom(
                "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
            ));
        }
        Ok(())
    }

    /// LIMIT. A negative offset passes over everything.
    fn limit(&self) -> Limit {
        match u64::try_from(self.offset) {
            Ok(skip) => Limit { skip, take: u64::try_from(self.limit).unwrap_or(u64::MAX) },
            Err(_) => Limit { skip: 0, take: 0 },
        }
    }
}

fn range(
    view: &View<'_>,
    args: &Args,
    by: Option<By>,
    direction: Option<Direction>,
) -> CommandResult {
    let mut options = RangeOptions { by, direction, with_scores: false, offset: 0, limit: -1 };
    options.parse(args::rest(args, 4))?;
    options.check()?;
    let by = options.by.unwrap_or(By::Index);
    let direction = options.direction.unwrap_or(Direction::Forward);
    let (first, second) = (args::get(args, 2)?, args::get(args, 3)?);
    // Backwards, scores and names are given from the upper bound to the lower one; ranks are not.
    let (min, max) =
        if direction == Direction::Reverse { (second, first) } else { (first, second) };
    let selection = match by {
        By::Index => Selection::Index(IndexRange::parse(first, second)?),
        By::Score => Selection::Score(ScoreRange::parse(min, max)?),
        By::Lex => Selection::Lex(LexRange::parse(min, max)?),
    };
    let Some(zset) = view.collection(args::get(args, 1)?, rows::TYPE)? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let selected = rows::select(*view, &zset, &selection, direction, options.limit())?.into_iter();
    Ok(if options.with_scores {
        Reply::Pairs(
            selected.map(|(score, member)| (Reply::Bulk(member), Reply::Double(score))).collect(),
        )
    } else {
        Reply::Array(selected.map(|(_, member)| Reply::Bulk(member)).collect())
    })
}
