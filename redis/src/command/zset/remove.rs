//! Commands that remove members: ZREM, ZPOPMIN, ZPOPMAX, ZREMRANGEBYRANK, ZREMRANGEBYSCORE,
//! ZREMRANGEBYLEX.

use neokv_engine::Direction;
use neokv_resp::Reply;

use super::rows::{self, Limit, Selection};
use super::survivors;
use crate::command::{Args, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::range::{IndexRange, LexRange, ScoreRange};
use crate::keyspace::{Collection, Tx};
use crate::number;

/// `ZREM key member [member ...]`
pub fn zrem(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let Some(mut zset) = tx.existing(args::get(args, 1)?, rows::TYPE)? else {
        return Ok(Reply::Integer(0));
    };
    let members = args::rest(args, 2);
    if let Some(removed) = tx.remove_most(&mut zset, members)? {
        tx.save(zset)?;
        return Ok(Reply::count(removed));
    }
    let mut removed = 0u64;
    for member in members {
        if let Some(score) = rows::score(tx.view(), &zset, member)? {
            rows::remove(tx, &mut zset, score, member)?;
            removed += 1;
        }
    }
    tx.save(zset)?;
    Ok(Reply::count(removed))
}

/// `ZPOPMIN key [count]`
pub fn zpopmin(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    pop(tx, args, Direction::Forward)
}

/// `ZPOPMAX key [count]`
pub fn zpopmax(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    pop(tx, args, Direction::Reverse)
}

/// Removes members from one end. With a count the reply has pairs, also for a single member;
/// without, one flat pair.
fn pop(tx: &mut Tx<'_>, args: &Args, direction: Direction) -> CommandResult {
    let count = match args::rest(args, 2) {
        [] => None,
        [count] => Some(number::positive_count(count)?),
        _ => return Err(CommandError::Syntax),
    };
    let zset = tx.existing(args::get(args, 1)?, rows::TYPE)?;
    let (Some(zset), true) = (zset, count != Some(0)) else { return Ok(Reply::Array(Vec::new())) };
    let popped = rows::first(tx.view(), &zset, direction, count.unwrap_or(1))?;
    rows::remove_all(tx, zset, &popped)?;
    let pairs =
        popped.into_iter().map(|(score, member)| (Reply::Bulk(member), Reply::Double(score)));
    Ok(match count {
        Some(_) => Reply::Pairs(pairs.collect()),
        None => Reply::Array(pairs.flat_map(|(member, score)| [member, score]).collect()),
    })
}

/// `ZREMRANGEBYRANK key start stop`
pub fn zremrangebyrank(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let range = IndexRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    let Some(mut zset) = tx.existing(args::get(args, 1)?, rows::TYPE)? else {
        return Ok(Reply::Integer(0));
    };
    let ranks = range.resolve(zset.size());
    // Nobody needs to read the members in between.
    if survivors::keep_outside(tx, &mut zset, &ranks)? {
        tx.save(zset)?;
        return Ok(Reply::count(ranks.end - ranks.start));
    }
    remove_selected(tx, zset, &Selection::Index(range))
}

/// `ZREMRANGEBYSCORE key min max`
pub fn zremrangebyscore(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let range = ScoreRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    match tx.existing(args::get(args, 1)?, rows::TYPE)? {
        Some(zset) => remove_selected(tx, zset, &Selection::Score(range)),
        None => Ok(Reply::Integer(0)),
    }
}

/// `ZREMRANGEBYLEX key min max`
pub fn zremrangebylex(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let range = LexRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    match tx.existing(args::get(args, 1)?, rows::TYPE)? {
        Some(zset) => remove_selected(tx, zset, &Selection::Lex(range)),
        None => Ok(Reply::Integer(0)),
    }
}

fn remove_selected(tx: &mut Tx<'_>, zset: Collection, selection: &Selection) -> CommandResult {
    let selected = rows::select(tx.view(), &zset, selection, Direction::Forward, Limit::ALL)?;
    rows::remove_all(tx, zset, &selected)?;
    Ok(Reply::count(selected.len().try_into().unwrap_or(u64::MAX)))
}
