//! The rows of a sorted set in both families: one member's score, writing and removing members, and
//! selecting ranges.

use bytes::Bytes;
use neokv_encoding::double;
use neokv_encoding::metadata::DataType;
use neokv_engine::Direction;

use super::survivors;
use crate::error::CommandError;
use crate::keyspace::range::{IndexRange, LexRange, ScoreRange};
use crate::keyspace::{Collection, ScoreSpan, Tx, View};

/// The type of every collection here.
pub const TYPE: DataType = DataType::Zset;

/// Up to this size Redis keeps a sorted set in an array, and a range by name over members of
/// *different* scores has a defined answer, which [`visit_lex`] gives too.
const COMPACT: u64 = 128;

/// A score and its member.
pub type ScoredMember = (f64, Bytes);

/// Called with the score and the name of one member after the other; returns whether it wants the
/// next one.
pub type Visitor<'v> = dyn FnMut(f64, &[u8]) -> bool + 'v;

/// The score of a member.
pub fn score(
    view: View<'_>,
    zset: &Collection,
    member: &[u8],
) -> Result<Option<f64>, CommandError> {
    match view.subkey(zset, member)? {
        Some(value) => Ok(Some(double::decode_value(&value)?)),
        None => Ok(None),
    }
}

/// Gives a member its score. `old` is the one that it has now, if it is a member. The caller saves
/// the sorted set.
pub fn set(
    tx: &mut Tx<'_>,
    zset: &mut Collection,
    member: &[u8],
    old: Option<f64>,
    new: f64,
) -> Result<(), CommandError> {
    match old {
        Some(old) => tx.delete_score(zset, old, member)?,
        None => zset.grow()?,
    }
    // Adding 0 turns -0 into 0 and changes nothing else: both families then hold the same score.
    let new = new + 0.0;
    tx.put_score(zset, new, member)?;
    tx.put_subkey(zset, member, &double::encode_value(new))
}

/// Removes a member, whose score is `score`. The caller saves the sorted set.
pub fn remove(
    tx: &mut Tx<'_>,
    zset: &mut Collection,
    score: f64,
    member: &[u8],
) -> Result<(), CommandError> {
    zset.shrink()?;
    tx.delete_score(zset, score, member)?;
    tx.delete_subkey(zset, member)
}

/// Removes members, with their scores, and saves the sorted set.
pub fn remove_all(
    tx: &mut Tx<'_>,
    mut zset: Collection,
    rows: &[ScoredMember],
) -> Result<(), CommandError> {
    let removed = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    if removed == zset.size() {
        // The key is deleted, and its rows with it.
        zset.meta.size = 0;
    } else if !survivors::keep_others(tx, &mut zset, rows)? {
        for (score, member) in rows {
            remove(tx, &mut zset, *score, member)?;
        }
    }
    tx.save(zset)
}

/// A choice of members, as a command's arguments describe it.
#[derive(Clone, Debug, PartialEq)]
pub enum Selection {
    /// By rank.
    Index(IndexRange),
    /// By score.
    Score(ScoreRange),
    /// By name.
    Lex(LexRange),
}

/// A part of a selection: LIMIT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many members are passed over.
    pub skip: u64,
    /// How many are then taken, at most.
    pub take: u64,
}

impl Limit {
    /// All members.
    pub const ALL: Limit = Limit { skip: 0, take: u64::MAX };
}

/// The selected members in ascending or descending order. The limit does not apply to ranks.
pub fn select(
    view: View<'_>,
    zset: &Collection,
    selection: &Selection,
    direction: Direction,
    limit: Limit,
) -> Result<Vec<ScoredMember>, CommandError> {
    let Limit { skip, take } = limit;
    match selection {
        Selection::Index(range) => by_index(view, zset, *range, direction),
        Selection::Score(range) => match range.span() {
            Some(span) => {
                collect(view, take, |visit| visit_scores(view, zset, &span, direction, skip, visit))
            }
            None => Ok(Vec::new()),
        },
        Selection::Lex(range) => {
            collect(view, take, |visit| visit_lex(view, zset, range, direction, skip, visit))
        }
    }
}

/// The first members in `direction`, `most` of them if there are so many.
pub fn first(
    view: View<'_>,
    zset: &Collection,
    direction: Direction,
    most: u64,
) -> Result<Vec<ScoredMember>, CommandError> {
    collect(view, most, |visit| visit_scores(view, zset, &ScoreSpan::all(), direction, 0, visit))
}

/// How many members lie in a range of scores.
pub fn count_scores(
    view: View<'_>,
    zset: &Collection,
    range: &ScoreRange,
) -> Result<u64, CommandError> {
    if range.is_everything() {
        return Ok(zset.size());
    }
    let Some(span) = range.span() else { return Ok(0) };
    count(|visit| visit_scores(view, zset, &span, Direction::Forward, 0, visit))
}

/// How many members lie in a range of names.
pub fn count_lex(view: View<'_>, zset: &Collection, range: &LexRange) -> Result<u64, CommandError> {
    count(|visit| visit_lex(view, zset, range, Direction::Forward, 0, visit))
}

/// How many members come before this one, which has this score. Walks away from it in both
/// directions at once, so that it costs twice the distance to the nearer end.
pub fn rank(
    view: View<'_>,
    zset: &Collection,
    score: f64,
    member: &[u8],
) -> Result<u64, CommandError> {
    let here = ScoreSpan::position(score, member);
    let mut after = here.clone();
    after.push(0);
    let mut lower =
        view.scores(zset, &ScoreSpan { start: Vec::new(), end: Some(here) }, Direction::Reverse)?;
    let mut higher =
        view.scores(zset, &ScoreSpan { start: after, end: None }, Direction::Forward)?;
    let mut steps = 0u64;
    loop {
        if lower.next_ref()?.is_none() {
            return Ok(steps);
        }
        if higher.next_ref()?.is_none() {
            return zset.behind(steps);
        }
        steps += 1;
    }
}

/// The opposite direction.
pub fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::Forward => Direction::Reverse,
        Direction::Reverse => Direction::Forward,
    }
}

/// Members by rank, where rank 0 is the first one in `direction`. Starts at whichever end is
/// nearer.
fn by_index(
    view: View<'_>,
    zset: &Collection,
    range: IndexRange,
    direction: Direction,
) -> Result<Vec<ScoredMember>, CommandError> {
    let ranks = range.resolve(zset.size());
    let take = ranks.end - ranks.start;
    if take == 0 {
        return Ok(Vec::new());
    }
    let behind = zset.size() - ranks.end;
    view.expect_rows(take + ranks.start.min(behind))?;
    let everything = ScoreSpan::all();
    if ranks.start <= behind {
        return collect(view, take, |visit| {
            visit_scores(view, zset, &everything, direction, ranks.start, visit)
        });
    }
    let back = opposite(direction);
    let mut rows =
        collect(view, take, |visit| visit_scores(view, zset, &everything, back, behind, visit))?;
    rows.reverse();
    Ok(rows)
}

/// The first `take` members that `visit_all` visits. Stops it at the last one.
fn collect(
    view: View<'_>,
    mut take: u64,
    visit_all: impl FnOnce(&mut Visitor<'_>) -> Result<(), CommandError>,
) -> Result<Vec<ScoredMember>, CommandError> {
    let (mut rows, mut limit, mut counted) = (Vec::new(), view.reply_limit(), Ok(()));
    if take > 0 {
        visit_all(&mut |score, member| {
            counted = limit.add(member.len());
            rows.push((score, Bytes::copy_from_slice(member)));
            take -= 1;
            take > 0 && counted.is_ok()
        })?;
    }
    counted.map(|()| rows)
}

/// How many members `visit_all` visits.
fn count(
    visit_all: impl FnOnce(&mut Visitor<'_>) -> Result<(), CommandError>,
) -> Result<u64, CommandError> {
    let mut count = 0u64;
    visit_all(&mut |_, _| {
        count += 1;
        true
    })?;
    Ok(count)
}

/// Visits a stretch of the score index, but for its first `skip` members.
pub fn visit_scores(
    view: View<'_>,
    zset: &Collection,
    span: &ScoreSpan,
    direction: Direction,
    mut skip: u64,
    visit: &mut Visitor<'_>,
) -> Result<(), CommandError> {
    let mut rows = view.scores(zset, span, direction)?;
    while let Some((score, member)) = rows.next_ref()? {
        if skip > 0 {
            skip -= 1;
        } else if !visit(score, member) {
            break;
        }
    }
    Ok(())
}

/// Visits a range of names, but for its first `skip` members.
///
/// Such a range has a meaning only if all members have the same score, because then members stand
/// in the order of their names. Otherwise Redis returns what its search happens to meet: in a
/// compact sorted set that is well defined ([`visit_mixed`]), in a larger one it depends on the
/// random heights of a skip list, and here members come by name.
fn visit_lex(
    view: View<'_>,
    zset: &Collection,
    range: &LexRange,
    direction: Direction,
    skip: u64,
    visit: &mut Visitor<'_>,
) -> Result<(), CommandError> {
    let Some((start, end)) = range.span() else { return Ok(()) };
    let everything = ScoreSpan::all();
    let lowest = view.scores(zset, &everything, Direction::Forward)?.next()?;
    let highest = view.scores(zset, &everything, Direction::Reverse)?.next()?;
    let (Some((score, first)), Some((highest, last))) = (lowest, highest) else { return Ok(()) };
    if score == highest {
        let end = match end {
            Some(end) => Some(ScoreSpan::position(score, &end)),
            None => ScoreSpan::after(score),
        };
        let span = ScoreSpan { start: ScoreSpan::position(score, &start), end };
        return visit_scores(view, zset, &span, direction, skip, visit);
    }
    if zset.size() > COMPACT {
        return visit_names(view, zset, range, direction, skip, visit);
    }
    if range.reaches(&last) && range.holds(&first) {
        visit_mixed(view, zset, range, direction, skip, visit)?;
    }
    Ok(())
}

/// Visits what Redis finds when it looks for a range of names in a compact sorted set whose members
/// have different scores: it walks in the order of scores to the first member that is not before
/// the range, which must not be after it either, passes over `skip` members without looking at
/// them, and goes on up to one that is after the range.
fn visit_mixed(
    view: View<'_>,
    zset: &Collection,
    range: &LexRange,
    direction: Direction,
    mut skip: u64,
    visit: &mut Visitor<'_>,
) -> Result<(), CommandError> {
    let mut found = false;
    visit_scores(view, zset, &ScoreSpan::all(), direction, 0, &mut |score, member| {
        let (entered, stays) = match direction {
            Direction::Forward => (range.reaches(member), range.holds(member)),
            Direction::Reverse => (range.holds(member), range.reaches(member)),
        };
        if !found && !entered {
            return true;
        }
        let passes = skip > 0 && (found || stays);
        found = true;
        skip = skip.saturating_sub(1);
        passes || (stays && visit(score, member))
    })
}

/// Visits the members in a range of names by name, whatever their scores, but for the first `skip`.
fn visit_names(
    view: View<'_>,
    zset: &Collection,
    range: &LexRange,
    direction: Direction,
    mut skip: u64,
    visit: &mut Visitor<'_>,
) -> Result<(), CommandError> {
    let Some((start, end)) = range.span() else { return Ok(()) };
    let mut rows = match (direction, end) {
        (Direction::Forward, _) => view.subkeys_from(zset, &start, direction)?,
        (Direction::Reverse, Some(end)) => view.subkeys_between(zset, &start, &end, direction)?,
        (Direction::Reverse, None) => view.subkeys(zset, direction)?,
    };
    while let Some((member, value)) = rows.next_ref()? {
        if !range.reaches(member) || !range.holds(member) {
            break;
        }
        if skip > 0 {
            skip -= 1;
        } else if !visit(double::decode_value(value)?, member) {
            break;
        }
    }
    Ok(())
}
