//! Commands that ask about single members or about numbers: ZCARD, ZSCORE, ZMSCORE, ZRANK,
//! ZREVRANK, ZCOUNT, ZLEXCOUNT, ZSCAN.

use bytes::Bytes;
use neokv_encoding::double;
use neokv_engine::Direction;
use neokv_resp::{Reply, format_double};

use super::rows;
use crate::command::scan::page;
use crate::command::{Args, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::range::{LexRange, ScoreRange};
use crate::keyspace::{Collection, View};

/// Members up to this length keep a small sorted set of Redis in its compact encoding.
const COMPACT_MEMBER: usize = 64;

/// `ZCARD key`
pub fn zcard(view: &View<'_>, args: &Args) -> CommandResult {
    let zset = view.collection(args::get(args, 1)?, rows::TYPE)?;
    Ok(Reply::count(zset.map_or(0, |zset| zset.size())))
}

/// `ZSCORE key member`
pub fn zscore(view: &View<'_>, args: &Args) -> CommandResult {
    let Some(zset) = view.collection(args::get(args, 1)?, rows::TYPE)? else {
        return Ok(Reply::Nil);
    };
    Ok(rows::score(*view, &zset, args::get(args, 2)?)?.map_or(Reply::Nil, Reply::Double))
}

/// `ZMSCORE key member [member ...]`
pub fn zmscore(view: &View<'_>, args: &Args) -> CommandResult {
    let zset = view.collection(args::get(args, 1)?, rows::TYPE)?;
    let score = |member: &Bytes| match &zset {
        Some(zset) => Ok(rows::score(*view, zset, member)?.map_or(Reply::Nil, Reply::Double)),
        None => Ok(Reply::Nil),
    };
    Ok(Reply::Array(args::rest(args, 2).iter().map(score).collect::<Result<_, CommandError>>()?))
}

/// `ZRANK key member`
pub fn zrank(view: &View<'_>, args: &Args) -> CommandResult {
    Ok(rank_of(view, args)?.map_or(Reply::Nil, |(rank, _)| Reply::count(rank)))
}

/// `ZREVRANK key member`
pub fn zrevrank(view: &View<'_>, args: &Args) -> CommandResult {
    match rank_of(view, args)? {
        Some((rank, zset)) => Ok(Reply::count(zset.behind(rank)?)),
        None => Ok(Reply::Nil),
    }
}

/// The ascending rank of the member that the command names, and its sorted set.
fn rank_of(view: &View<'_>, args: &Args) -> Result<Option<(u64, Collection)>, CommandError> {
    let Some(zset) = view.collection(args::get(args, 1)?, rows::TYPE)? else { return Ok(None) };
    let member = args::get(args, 2)?;
    let Some(score) = rows::score(*view, &zset, member)? else { return Ok(None) };
    Ok(Some((rows::rank(*view, &zset, score, member)?, zset)))
}

/// `ZCOUNT key min max`
pub fn zcount(view: &View<'_>, args: &Args) -> CommandResult {
    let range = ScoreRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    let Some(zset) = view.collection(args::get(args, 1)?, rows::TYPE)? else {
        return Ok(Reply::Integer(0));
    };
    Ok(Reply::count(rows::count_scores(*view, &zset, &range)?))
}

/// `ZLEXCOUNT key min max`
pub fn zlexcount(view: &View<'_>, args: &Args) -> CommandResult {
    let range = LexRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    let Some(zset) = view.collection(args::get(args, 1)?, rows::TYPE)? else {
        return Ok(Reply::Integer(0));
    };
    Ok(Reply::count(rows::count_lex(*view, &zset, &range)?))
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`. Scores are strings here, in RESP3 too.
///
/// A small sorted set comes at once and ordered by score, as from the compact encoding of Redis.
pub fn zscan(view: &View<'_>, args: &Args) -> CommandResult {
    let cursor = page::parse_cursor(args::get(args, 2)?)?;
    let Some(zset) = view.collection(args::get(args, 1)?, rows::TYPE)? else {
        return Ok(page::page_reply(0, Vec::new()));
    };
    let options = page::ScanOptions::parse(args, 3, false)?;
    if zset.size() <= page::SMALL {
        return Ok(page::page_reply(0, small_page(view, &zset, &options)?));
    }
    page::collection_page(view, &zset, cursor, &options, |items, member, score| {
        items.push(Reply::bulk(Bytes::copy_from_slice(member)));
        items.push(Reply::bulk(format_double(double::decode_value(score)?)));
        Ok(())
    })
}

/// All members of a small sorted set that MATCH lets pass, and their scores.
fn small_page(
    view: &View<'_>,
    zset: &Collection,
    options: &page::ScanOptions,
) -> Result<Vec<Reply>, CommandError> {
    let members = rows::first(*view, zset, Direction::Forward, zset.size())?;
    let compact = members.iter().all(|(_, member)| member.len() <= COMPACT_MEMBER);
    let mut items = Vec::new();
    for (score, member) in members {
        if options.matches(&member) {
            items.push(Reply::Bulk(member));
            items.push(Reply::bulk(match whole_number(score).filter(|_| compact) {
                Some(number) => number.to_string(),
                None => format_double(score),
            }));
        }
    }
    Ok(items)
}

/// The integer that the compact encoding of Redis keeps instead of this score, if it does: ZSCAN
/// prints all digits of such a score, where others print 17 and an exponent.
fn whole_number(score: f64) -> Option<i64> {
    const LIMIT: f64 = 4_611_686_018_427_387_904.0;
    if score.abs() > LIMIT || score.fract() != 0.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "an integral value up to 2^62 is exact")]
    Some(score as i64)
}
