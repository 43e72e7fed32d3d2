//! What is left of a sorted set when most of its members are removed at once: see
//! [`crate::keyspace::Survivors`].
//!
//! A range of ranks or scores is one stretch of the score index. What is left stands before and
//! behind it, so nobody needs to read the stretch again.

use std::ops::Range;

use bytes::Bytes;
use neokv_encoding::double;
use neokv_engine::Direction;

use super::rows::{self, ScoredMember};
use crate::error::CommandError;
use crate::keyspace::{Collection, ScoreSpan, Survivors, Tx, View};

/// Removes the members at these ranks, if it is best done by writing the others again. False:
/// nothing is done. The caller saves the sorted set.
pub fn keep_outside(
    tx: &mut Tx<'_>,
    zset: &mut Collection,
    ranks: &Range<u64>,
) -> Result<bool, CommandError> {
    let Some(mut survivors) = tx.survivors(zset, ranks.end - ranks.start) else {
        return Ok(false);
    };
    let (view, everything) = (tx.view(), ScoreSpan::all());
    let behind = zset.size() - ranks.end;
    let fit = gather(view, zset, &everything, Direction::Forward, ranks.start, &mut survivors)?
        && gather(view, zset, &everything, Direction::Reverse, behind, &mut survivors)?;
    replace(tx, zset, survivors, fit, ranks.end - ranks.start)
}

/// Removes these members, if it is best done by writing the others again. False: nothing is done.
/// The caller saves the sorted set.
pub fn keep_others(
    tx: &mut Tx<'_>,
    zset: &mut Collection,
    removed: &[ScoredMember],
) -> Result<bool, CommandError> {
    let count = u64::try_from(removed.len()).unwrap_or(u64::MAX);
    let Some(mut survivors) = tx.survivors(zset, count) else { return Ok(false) };
    let order = |one: &&ScoredMember, other: &&ScoredMember| {
        one.0.total_cmp(&other.0).then_with(|| one.1.cmp(&other.1))
    };
    let ends = removed.iter().min_by(order).zip(removed.iter().max_by(order));
    let Some((first, last)) = ends else { return Ok(false) };
    let before = ScoreSpan { start: Vec::new(), end: Some(ScoreSpan::position(first.0, &first.1)) };
    let mut start = ScoreSpan::position(last.0, &last.1);
    start.push(0);
    let behind = ScoreSpan { start, end: None };
    let view = tx.view();
    let fit = gather(view, zset, &before, Direction::Forward, u64::MAX, &mut survivors)?
        && gather(view, zset, &behind, Direction::Forward, u64::MAX, &mut survivors)?;
    if replace(tx, zset, survivors, fit, count)? {
        return Ok(true);
    }
    // There are others in between, as in a range by name over different scores.
    let members: Vec<Bytes> = removed.iter().map(|(_, member)| member.clone()).collect();
    Ok(tx.remove_most(zset, &members)?.is_some())
}

/// Adds the first `most` members of a stretch of the score index to the survivors. Returns whether
/// they fit.
fn gather(
    view: View<'_>,
    zset: &Collection,
    span: &ScoreSpan,
    direction: Direction,
    mut most: u64,
    survivors: &mut Survivors,
) -> Result<bool, CommandError> {
    let mut fit = true;
    if most > 0 {
        rows::visit_scores(view, zset, span, direction, 0, &mut |score, member| {
            fit = survivors.add(member, &double::encode_value(score));
            most -= 1;
            fit && most > 0
        })?;
    }
    Ok(fit)
}

/// Leaves the survivors alone, if they are all: `removed` fewer than there were.
fn replace(
    tx: &mut Tx<'_>,
    zset: &mut Collection,
    survivors: Survivors,
    fit: bool,
    removed: u64,
) -> Result<bool, CommandError> {
    let complete = fit && zset.size().checked_sub(removed) == Some(survivors.count());
    if complete {
        tx.rewrite(zset, survivors)?;
    }
    Ok(complete)
}
