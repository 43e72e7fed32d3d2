//! Elements of a collection at random, without reading all of it.
//!
//! A collection is a run of sorted rows without numbers, so no row can be read by its index. There
//! are three ways to choose random elements; the number wanted (`k`) and the size (`n`) decide
//! which:
//!
//! | when | way | distribution | cost |
//! | --- | --- | --- | --- |
//! | `n` ≤ 512, one element | draw an index, count from the nearer end | exact | ≤ 256 rows |
//! | `k` ≥ `n` / 128, or `n` ≤ 512 | one pass over the rows | exact | `n` rows |
//! | otherwise | `k` walks down the trie of the subkeys: [`walk`] | nearly uniform | 128 rows each |
//!
//! **The remaining bias** is that of the walks. They learn the sizes of the branches on the way and
//! correct what they know to be uneven, so the more of them a command makes, the less bias remains:
//!
//! * Hashes, UUIDs and numbers come out evenly, also numbers of all lengths (`user:1` to
//!   `user:200000`).
//! * A branch that holds far more than its share, but only some levels down, is not known to the
//!   first walks: of a set with 1000 hexadecimal numbers and 19,000 members `zz:…`, a single draw
//!   finds one of the latter in half of all cases, and a hundred draws at once find them in the
//!   right proportion. Where there are hundreds of such places (`tenant:17:session:1` to `9999`,
//!   for many tenants), elements of heavy branches come out down to a third as often as others.
//! * A collection can be built so that a walk practically never meets some elements (`a`, `aa`,
//!   `aaa` and so on, by the hundred thousand).
//!
//! Whoever needs exact uniformity asks for at least `n` / 128 elements at once.
//!
//! Everything here depends on the rows and on the generator's state alone, so SPOP removes the same
//! members on every replica: the generator is seeded by the log entry, and the floating-point steps
//! are single IEEE operations.

mod trie;
mod walk;

use std::collections::BTreeMap;

use bytes::Bytes;
use neokv_engine::Direction;
use neokv_raftstore::SplitMix64;

use self::walk::Walker;
use super::{Collection, ReplyLimit, View};
use crate::error::CommandError;

/// A subkey and its value.
pub type Element = (Bytes, Bytes);

/// Up to this size one element is found by counting rows.
const COUNTABLE: u64 = 512;
/// One walk costs about as much as reading this many rows in order; the first ones cost more.
const WALK_COST: u64 = 128;
/// When walks are to meet different elements, so many more repetitions than elements end them.
const TOLERATED_REPEATS: usize = 64;
/// The most bytes that elements drawn with repetition may add up to: a short command must not fill
/// the memory.
const MAX_REPEATED_BYTES: u64 = 512 << 20;
/// The most elements that may be drawn with repetition.
pub const MAX_REPEATED: u64 = 1 << 20;

/// One element, or `None` if the collection is empty.
pub fn one(
    view: &View<'_>,
    from: &Collection,
    random: &mut SplitMix64,
) -> Result<Option<Element>, CommandError> {
    if from.size() <= COUNTABLE {
        return nth(view, from, random.below(from.size()));
    }
    Walker::new(view, from)?.walk(random)
}

/// The elements that a count in a command asks for: up to `count` different ones, sorted by subkey,
/// or, if `count` is negative, `-count` drawn one by one from all.
pub fn draw(
    view: &View<'_>,
    from: &Collection,
    count: i64,
    random: &mut SplitMix64,
) -> Result<Vec<Element>, CommandError> {
    if count < 0 {
        repeated(view, from, count.unsigned_abs(), random)
    } else {
        distinct(view, from, count.unsigned_abs(), random)
    }
}

/// `count` different elements, or all if there are no more, sorted by subkey.
pub fn distinct(
    view: &View<'_>,
    from: &Collection,
    count: u64,
    random: &mut SplitMix64,
) -> Result<Vec<Element>, CommandError> {
    let count = count.min(from.size());
    let (mut chosen, mut limit) = (BTreeMap::new(), view.reply_limit());
    if is_dense(from.size(), count) {
        complete(view, from, count, &mut chosen, &mut limit, random)?;
    } else {
        let mut walker = Walker::new(view, from)?;
        // Few walks meet an element for the second time, unless they are badly biased or there are
        // fewer rows than the header says. Then one pass over the rows finishes what they have
        // begun.
        let mut repeats = 0;
        while count_of(chosen.len()) < count && repeats <= chosen.len() + TOLERATED_REPEATS {
            let Some((subkey, value)) = walker.walk(random)? else { break };
            let len = subkey.len() + value.len();
            match chosen.insert(subkey, value) {
                Some(_) => repeats += 1,
                None => limit.add(len)?,
            }
        }
        complete(view, from, count, &mut chosen, &mut limit, random)?;
    }
    Ok(chosen.into_iter().collect())
}

/// `count` elements, each drawn from all, in the order of the draws; empty if the collection is.
/// More than [`MAX_REPEATED`] elements or 512 MiB of them are refused as out of range.
pub fn repeated(
    view: &View<'_>,
    from: &Collection,
    count: u64,
    random: &mut SplitMix64,
) -> Result<Vec<Element>, CommandError> {
    if count > MAX_REPEATED {
        return Err(CommandError::OutOfRange);
    }
    let mut drawn = Vec::new();
    let mut bytes = 0u64;
    if is_dense(from.size(), count) {
        return draw_indexes(view, from, count, random);
    }
    let mut walker = Walker::new(view, from)?;
    for _ in 0..count {
        let Some(element) = walker.walk(random)? else { break };
        charge(&mut bytes, &element)?;
        drawn.push(element);
    }
    Ok(drawn)
}

/// Whether reading all of `size` rows costs no more than `count` walks.
fn is_dense(size: u64, count: u64) -> bool {
    size <= COUNTABLE || count >= size.div_ceil(WALK_COST)
}

/// Adds an element to the bytes drawn so far, and refuses when they become too many.
fn charge(bytes: &mut u64, element: &Element) -> Result<(), CommandError> {
    *bytes += count_of(element.0.len()) + count_of(element.1.len());
    if *bytes > MAX_REPEATED_BYTES { Err(CommandError::OutOfRange) } else { Ok(()) }
}

/// A length as a number of elements or bytes.
fn count_of(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// The element at `index` of those sorted by subkey, counted from the nearer end.
fn nth(view: &View<'_>, from: &Collection, index: u64) -> Result<Option<Element>, CommandError> {
    let Some(back) = from.size().checked_sub(index + 1) else { return Ok(None) };
    let (direction, skip) =
        if back < index { (Direction::Reverse, back) } else { (Direction::Forward, index) };
    let mut rows = view.subkeys(from, direction)?;
    for _ in 0..skip {
        rows.next_ref()?;
    }
    rows.next()
}

/// Adds elements that are not yet in `chosen`, each subset being equally likely, until it holds
/// `count`.
///
/// Selection sampling: of the `left` candidates still to come, `missing` are needed, so the next
/// one is taken with probability `missing / left`. Whatever is taken, the last candidates fill the
/// rest.
fn complete(
    view: &View<'_>,
    from: &Collection,
    count: u64,
    chosen: &mut BTreeMap<Bytes, Bytes>,
    limit: &mut ReplyLimit,
    random: &mut SplitMix64,
) -> Result<(), CommandError> {
    // `chosen` has at most `count` elements, and `count` is at most the size.
    let mut left = from.size() - count_of(chosen.len());
    let mut missing = count - count_of(chosen.len());
    if missing == 0 {
        return Ok(());
    }
    let mut rows = view.subkeys(from, Direction::Forward)?;
    while missing > 0 && left > 0 {
        let Some((subkey, value)) = rows.next_ref()? else { break };
        if chosen.contains_key(subkey) {
            continue;
        }
        if random.below(left) < missing {
            limit.add(subkey.len() + value.len())?;
            chosen.insert(Bytes::copy_from_slice(subkey), Bytes::copy_from_slice(value));
            missing -= 1;
        }
        left -= 1;
    }
    Ok(())
}

/// Draws `count` indexes and collects their elements in one pass over the rows, then puts them back
/// in the order of the draws.
fn draw_indexes(
    view: &View<'_>,
    from: &Collection,
    count: u64,
    random: &mut SplitMix64,
) -> Result<Vec<Element>, CommandError> {
    if from.size() == 0 {
        return Ok(Vec::new());
    }
    let mut draws: Vec<(u64, u64)> =
        (0..count).map(|turn| (random.below(from.size()), turn)).collect();
    draws.sort_unstable();
    let mut rows = view.subkeys(from, Direction::Forward)?;
    let (mut next, mut bytes, mut drawn) = (0u64, 0u64, Vec::<(u64, Element)>::new());
    for (index, turn) in draws {
        // An index that was drawn before is that of the row read last.
        let element = if next == index + 1 {
            drawn.last().map(|(_, element)| element.clone())
        } else {
            while next < index && rows.next_ref()?.is_some() {
                next += 1;
            }
            next += 1;
            rows.next()?
        };
        let Some(element) = element else { break };
        charge(&mut bytes, &element)?;
        drawn.push((turn, element));
    }
    drawn.sort_unstable_by_key(|(turn, _)| *turn);
    Ok(drawn.into_iter().map(|(_, element)| element).collect())
}

/// A number below 1, each multiple of 2^-53 equally likely.
fn unit(random: &mut SplitMix64) -> f64 {
    to_f64(random.next_u64() >> 11) / to_f64(1 << 53)
}

/// The double nearest to a number; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes behind 2^53 do not occur, and would only be rounded"
)]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
