//! ZADD and ZINCRBY: adding members and changing their scores.

use bytes::Bytes;
use neokv_resp::Reply;

use super::rows;
use crate::command::{Args, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::{Collection, Tx};
use crate::number;

/// The options of ZADD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ZaddOptions {
    /// NX: only new members.
    only_new: bool,
    /// XX: only existing members.
    only_existing: bool,
    /// GT: existing members only to a higher score.
    only_up: bool,
    /// LT: existing members only to a lower score.
    only_down: bool,
    /// CH: count changed members too.
    count_changed: bool,
    /// INCR: the score is added to what the member has, and the reply is the sum.
    increment: bool,
}

impl ZaddOptions {
    /// Takes the options off the front of `words`; the rest is scores and members.
    fn parse<'w>(&mut self, words: &'w Args) -> &'w Args {
        let mut rest = words;
        while let [word, others @ ..] = rest {
            let option = [
                ("NX", &mut self.only_new),
                ("XX", &mut self.only_existing),
                ("GT", &mut self.only_up),
                ("LT", &mut self.only_down),
                ("CH", &mut self.count_changed),
                ("INCR", &mut self.increment),
            ];
            let Some((_, set)) = option.into_iter().find(|(name, _)| args::is(word, name)) else {
                break;
            };
            *set = true;
            rest = others;
        }
        rest
    }

    /// Refuses options that exclude each other.
    fn check(&self, members: usize) -> Result<(), CommandError> {
        if self.only_new && self.only_existing {
            return Err(CommandError::NxWithXx);
        }
        if (self.only_new && (self.only_up || self.only_down)) || (self.only_up && self.only_down) {
            return Err(CommandError::custom(
                "ERR GT, LT, and/or NX options at the same time are not compatible",
            ));
        }
        if self.increment && members > 1 {
            return Err(CommandError::custom(
                "ERR INCR option supports a single increment-element pair",
            ));
        }
        Ok(())
    }

    /// The score that a member gets, given the one it has; `None` if the options forbid the change.
    fn decide(&self, current: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(current) = current else { return Ok((!self.only_existing).then_some(given)) };
        if self.only_new {
            return Ok(None);
        }
        let new = if self.increment { current + given } else { given };
        if new.is_nan() {
            return Err(CommandError::ScoreNotANumber);
        }
        let forbidden = (self.only_down && new >= current) || (self.only_up && new <= current);
        Ok((!forbidden).then_some(new))
    }
}

/// What became of the members of one command.
#[derive(Default)]
struct Counts {
    added: u64,
    changed: u64,
    /// The score of the last member, unless the options forbade the change.
    score: Option<f64>,
}

/// `ZADD key [NX|XX] [GT|LT] [CH] [INCR] score member [score member ...]`
pub fn zadd(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    add(tx, args, ZaddOptions::default())
}

/// `ZINCRBY key increment member`
pub fn zincrby(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    add(tx, args, ZaddOptions { increment: true, ..ZaddOptions::default() })
}

/// Both commands: ZINCRBY is ZADD with INCR, down to reading a first argument like `nx` as an
/// option.
fn add(tx: &mut Tx<'_>, args: &Args, mut options: ZaddOptions) -> CommandResult {
    let words = options.parse(args::rest(args, 2));
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    options.check(words.len() / 2)?;
    // All scores are read before the first one is written: a bad one at the end refuses the whole
    // command.
    let mut scored = Vec::with_capacity(words.len() / 2);
    for (score, member) in args::pairs(words, 0) {
        scored.push((number::float(score)?, member));
    }
    let key = args::get(args, 1)?;
    let zset = if options.only_existing {
        tx.existing(key, rows::TYPE)?
    } else {
        Some(tx.open(key, rows::TYPE)?)
    };
    let counts = match zset {
        Some(zset) => add_all(tx, zset, &scored, options)?,
        None => Counts::default(),
    };
    Ok(if options.increment {
        counts.score.map_or(Reply::Nil, Reply::Double)
    } else {
        let changed = if options.count_changed { counts.changed } else { 0 };
        Reply::count(counts.added + changed)
    })
}

/// Adds the members one after the other, so that one named twice is new only once, and saves the
/// sorted set.
fn add_all(
    tx: &mut Tx<'_>,
    mut zset: Collection,
    scored: &[(f64, &Bytes)],
    options: ZaddOptions,
) -> Result<Counts, CommandError> {
    let mut counts = Counts::default();
    for (given, member) in scored {
        // A sorted set that is being created has no rows to look for.
        let current = if zset.is_empty() { None } else { rows::score(tx.view(), &zset, member)? };
        counts.score = options.decide(current, *given)?;
        let Some(new) = counts.score else { continue };
        match current {
            None => counts.added += 1,
            Some(current) if current == new => continue,
            Some(_) => counts.changed += 1,
        }
        rows::set(tx, &mut zset, member, current, new)?;
    }
    tx.save(zset)?;
    Ok(counts)
}
