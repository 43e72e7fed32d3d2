//! Commands that ask about single members or about numbers: ZCARD, ZSCORE, ZMSCORE, ZRANK,
//! ZREVRANK, ZCOUNT, ZLEXCOUNT, ZSCAN.

use bytes::Bytes;
use neokv_encoding::double;
use neokv_resp::{Reply, format_double};

use super::rows;
use crate::command::{Args, CommandError, Outcome, args};
use crate::keyspace::range::{LexRange, ScoreRange};
use crate::keyspace::{View, page};

/// `ZCARD key`
pub fn zcard(view: &View<'_>, args: &Args) -> Outcome {
    let zset = view.collection(args::get(args, 1)?, rows::KIND)?;
    Ok(Reply::count(zset.map_or(0, |zset| zset.size())))
}

/// `ZSCORE key member`
pub fn zscore(view: &View<'_>, args: &Args) -> Outcome {
    let Some(zset) = view.collection(args::get(args, 1)?, rows::KIND)? else {
        return Ok(Reply::Nil);
    };
    Ok(rows::score(*view, &zset, args::get(args, 2)?)?.map_or(Reply::Nil, Reply::Double))
}

/// `ZMSCORE key member [member ...]`
pub fn zmscore(view: &View<'_>, args: &Args) -> Outcome {
    let zset = view.collection(args::get(args, 1)?, rows::KIND)?;
    let score = |member: &Bytes| match &zset {
        Some(zset) => Ok(rows::score(*view, zset, member)?.map_or(Reply::Nil, Reply::Double)),
        None => Ok(Reply::Nil),
    };
    Ok(Reply::Array(args::rest(args, 2).iter().map(score).collect::<Result<_, CommandError>>()?))
}

/// `ZRANK key member`
pub fn zrank(view: &View<'_>, args: &Args) -> Outcome {
    Ok(rank_of(view, args)?.map_or(Reply::Nil, |(rank, _)| Reply::count(rank)))
}

/// `ZREVRANK key member`
pub fn zrevrank(view: &View<'_>, args: &Args) -> Outcome {
    let from_end =
        |(rank, size): (u64, u64)| Reply::count(size.saturating_sub(1).saturating_sub(rank));
    Ok(rank_of(view, args)?.map_or(Reply::Nil, from_end))
}

/// The ascending rank of the member that the command names, and the size of its sorted set.
fn rank_of(view: &View<'_>, args: &Args) -> Result<Option<(u64, u64)>, CommandError> {
    let Some(zset) = view.collection(args::get(args, 1)?, rows::KIND)? else { return Ok(None) };
    let member = args::get(args, 2)?;
    let Some(score) = rows::score(*view, &zset, member)? else { return Ok(None) };
    Ok(Some((rows::rank(*view, &zset, score, member)?, zset.size())))
}

/// `ZCOUNT key min max`
pub fn zcount(view: &View<'_>, args: &Args) -> Outcome {
    let range = ScoreRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    let Some(zset) = view.collection(args::get(args, 1)?, rows::KIND)? else {
        return Ok(Reply::Integer(0));
    };
    Ok(Reply::count(rows::count_scores(*view, &zset, &range)?))
}

/// `ZLEXCOUNT key min max`
pub fn zlexcount(view: &View<'_>, args: &Args) -> Outcome {
    let range = LexRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    let Some(zset) = view.collection(args::get(args, 1)?, rows::KIND)? else {
        return Ok(Reply::Integer(0));
    };
    Ok(Reply::count(rows::count_lex(*view, &zset, &range)?))
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`. Scores are strings here, in RESP3 too.
pub fn zscan(view: &View<'_>, args: &Args) -> Outcome {
    page::scan_collection(view, args, rows::KIND, |items, member, score| {
        items.push(Reply::bulk(Bytes::copy_from_slice(member)));
        items.push(Reply::bulk(format_double(double::decode_value(score)?)));
        Ok(())
    })
}
