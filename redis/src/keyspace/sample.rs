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
//! | otherwise | `k` walks down the trie of the subkeys | nearly uniform | dozens of seeks each |
//!
//! **The walk.** Sorted subkeys are an implicit trie: all subkeys with a common prefix are
//! neighbours. A node is the run between two subkeys, `low` and `high`. The byte after their common
//! prefix is where the run branches; the walk draws one value between the two bytes and seeks to
//! it. That finds the first subkey at or above the drawn value, whose branch becomes the next
//! node:
//!
//! ```text
//! low                                      high       draw 'e' of 'a' to 'z', seek "user:e":
//! user:ada  user:bea  user:bob  user:kim … user:zoe   arrives at user:kim, branch 'k' is next;
//!      ▔         ▔         ▔         ▔          ▔     'c' to 'k' would all have led there
//! ```
//!
//! A branch behind a gap is drawn more often than others. Two things make up for it. Bytes that
//! occur in the first or last few subkeys are drawn 8 times as often as those that do not, so the
//! gap between `9` and `a` in hexadecimal digits counts little. And the walk knows the exact
//! *chance* with which it reaches the element where it ends: the product of the shares of all
//! values that would have led the same way. If the chance is more than `1/4n`, the element is kept
//! with probability `1 / (4n · chance)` only; otherwise the walk starts again, at most 64 times.
//!
//! **The remaining bias.** Elements whose chance is at least `1/4n` come out equally
//! often, those below it keep their smaller chance. UUIDs, hashes, words and numbers of equal
//! length have practically no bias. With `user:1` to `user:2000` the crowded branch `1` is too
//! small a target, and its members come out down to a sixth as often as the average. A collection
//! can be built so that a walk practically never meets some elements (`a`, `aa`, `aaa` and so on,
//! by the hundred thousand). Whoever needs exact uniformity asks for at least `n` / 128 elements at
//! once.
//!
//! Everything here depends on the rows and on the generator's state alone, so SPOP removes the same
//! members on every replica: the generator is seeded by the log entry, and the floating-point steps
//! are single IEEE operations.

use std::collections::BTreeMap;

use bytes::Bytes;
use neokv_engine::Direction;
use neokv_raftstore::SplitMix64;

use super::{Collection, ReplyLimit, Subkeys, View};
use crate::error::CommandError;

/// A subkey and its value.
pub type Element = (Bytes, Bytes);

/// Up to this size one element is found by counting rows.
const COUNTABLE: u64 = 512;
/// One walk costs about as much as reading this many rows in order.
const WALK_COST: u64 = 128;
/// How often a walk starts again because it met an element with too high a chance.
const MAX_WALKS: u32 = 64;
/// When walks are to meet different elements, so many more repetitions than elements end them.
const TOLERATED_REPEATS: usize = 64;
/// How many levels a walk goes down before it takes what it has: bounds the work on subkeys made to
/// mislead it.
const MAX_DEPTH: u32 = 512;
/// A node expected to hold at most this many elements is read as a whole.
const SMALL_RUN: usize = 32;
/// A value of at most so many bytes is kept while such a node is read.
const KEPT: usize = 4096;
/// An element whose chance is at least one in this many times the size is met as often as any other
/// such element. Also the number of walks that one element takes on average.
const EVENNESS: f64 = 4.0;
/// How many subkeys from the start and from the end tell which bytes occur. Reading backwards is
/// slower.
const ALPHABET_ROWS: (usize, usize) = (64, 8);
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
        let Some((subkey, value)) = rows.next()? else { break };
        if chosen.contains_key(&subkey) {
            continue;
        }
        if random.below(left) < missing {
            limit.add(subkey.len() + value.len())?;
            chosen.insert(subkey, value);
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
    let mut current = rows.next()?;
    let (mut at, mut bytes, mut drawn) = (0u64, 0u64, Vec::with_capacity(draws.len()));
    for (index, turn) in draws {
        while at < index && current.is_some() {
            current = rows.next()?;
            at += 1;
        }
        let Some(element) = &current else { break };
        charge(&mut bytes, element)?;
        drawn.push((turn, element.clone()));
    }
    drawn.sort_unstable_by_key(|(turn, _)| *turn);
    Ok(drawn.into_iter().map(|(_, element)| element).collect())
}

/// A run of neighbouring subkeys with a common prefix.
struct Node {
    /// The first element of the run.
    low: Element,
    /// The last subkey of the run.
    high: Bytes,
    /// The probability with which a walk comes here.
    chance: f64,
}

/// Walks down the trie of one collection's subkeys.
struct Walker<'a> {
    /// Finds the first row at or above a subkey.
    up: Subkeys<'a>,
    /// Finds the last row below a subkey.
    down: Subkeys<'a>,
    /// Number of elements.
    size: f64,
    /// Which branches are worth drawing.
    alphabet: Alphabet,
    /// First element and last subkey, where every walk starts; `None` if there are no rows.
    root: Option<(Element, Bytes)>,
}

impl<'a> Walker<'a> {
    /// Prepares walks over `from`.
    fn new(view: &View<'a>, from: &Collection) -> Result<Walker<'a>, CommandError> {
        let (mut up, mut down) =
            (view.subkeys(from, Direction::Forward)?, view.subkeys(from, Direction::Reverse)?);
        let root = up.next()?.zip(down.next()?).map(|(first, (last, _))| (first, last));
        let mut alphabet = Alphabet::new();
        for (rows, count) in [(&mut up, ALPHABET_ROWS.0), (&mut down, ALPHABET_ROWS.1)] {
            for _ in 0..count {
                let Some((subkey, _)) = rows.next_ref()? else { break };
                alphabet.learn(subkey);
            }
        }
        Ok(Walker { up, down, size: to_f64(from.size()), alphabet, root })
    }

    /// One element, nearly uniformly: see the module's description. `None` if there are no rows.
    fn walk(&mut self, random: &mut SplitMix64) -> Result<Option<Element>, CommandError> {
        let mut last = None;
        for _ in 0..MAX_WALKS {
            let Some((element, chance)) = self.descend(random)? else { return Ok(None) };
            let excess = chance * self.size * EVENNESS;
            last = Some(element);
            if excess <= 1.0 || unit(random) * excess < 1.0 {
                break;
            }
        }
        Ok(last)
    }

    /// Goes down to one element, and tells with what probability it got there.
    fn descend(&mut self, random: &mut SplitMix64) -> Result<Option<(Element, f64)>, CommandError> {
        let Some((low, high)) = self.root.clone() else { return Ok(None) };
        let mut node = Node { low, high, chance: 1.0 };
        for _ in 0..MAX_DEPTH {
            if node.low.0 == node.high {
                break;
            }
            if node.chance * self.size <= to_f64(count_of(SMALL_RUN))
                && let Some(picked) = self.pick_from_small(&node, random)?
            {
                return Ok(Some(picked));
            }
            node = self.step(node, random)?;
        }
        Ok(Some((node.low, node.chance)))
    }

    /// Draws a branch of `node`, which has at least two elements, and goes there.
    fn step(&mut self, node: Node, random: &mut SplitMix64) -> Result<Node, CommandError> {
        let depth = common_prefix(&node.low.0, &node.high);
        let (least, most) = (branch(&node.low.0, depth), branch(&node.high, depth));
        let drawn = self.alphabet.draw(least, most, random);
        let Some(bound) = bound_of(&node.high, depth, drawn) else {
            let chance = node.chance * self.alphabet.share(drawn, drawn, least, most);
            return Ok(Node { high: node.low.0.clone(), low: node.low, chance });
        };
        self.up.seek(&bound)?;
        let Some(low) = self.up.next()? else {
            return Ok(Node { high: node.low.0.clone(), ..node });
        };
        let reached = branch(&low.0, depth);
        // All values above the branch before this one, up to this one, would have led here.
        let before = if drawn == least { None } else { self.last_below(&bound)? };
        let first = before.map_or(reached, |before| branch(&before, depth) + 1);
        let chance = node.chance * self.alphabet.share(first, reached, least, most);
        let end = if reached < most { bound_of(&node.high, depth, reached + 1) } else { None };
        let high = match end {
            Some(end) => self.last_below(&end)?.unwrap_or(node.high),
            None => node.high,
        };
        Ok(Node { low, high, chance })
    }

    /// A uniformly chosen element of `node` and its probability, if the node has no more than a few
    /// elements.
    fn pick_from_small(
        &mut self,
        node: &Node,
        random: &mut SplitMix64,
    ) -> Result<Option<(Element, f64)>, CommandError> {
        let mut run = Vec::new();
        self.up.seek(&node.low.0)?;
        while let Some((subkey, value)) = self.up.next_ref()? {
            let is_last = *subkey >= node.high[..];
            // Short values are kept, because reading a row again costs more.
            let value = (value.len() <= KEPT).then(|| Bytes::copy_from_slice(value));
            run.push((Bytes::copy_from_slice(subkey), value));
            if is_last {
                let size = count_of(run.len());
                let index = usize::try_from(random.below(size)).unwrap_or(0);
                let Some((subkey, value)) = run.into_iter().nth(index) else { return Ok(None) };
                let element = match value {
                    Some(value) => Some((subkey, value)),
                    None => {
                        self.up.seek(&subkey)?;
                        self.up.next()?
                    }
                };
                return Ok(element.map(|element| (element, node.chance / to_f64(size))));
            }
            if run.len() > SMALL_RUN * 2 {
                break;
            }
        }
        Ok(None)
    }

    /// The last subkey below `bound`.
    fn last_below(&mut self, bound: &[u8]) -> Result<Option<Bytes>, CommandError> {
        self.down.seek(bound)?;
        let found = self.down.next()?.map(|(subkey, _)| subkey);
        if found.as_deref() == Some(bound) {
            return Ok(self.down.next()?.map(|(subkey, _)| subkey));
        }
        Ok(found)
    }
}

/// How readily each branch is drawn: bytes that are known to occur more readily than others.
struct Alphabet {
    /// By branch: 0 for "ends here", then the bytes.
    weights: [u64; 257],
}

impl Alphabet {
    /// The weight of a byte that occurs, where one that is not known to occur weighs 1.
    const KNOWN: u64 = 8;

    /// Knows no byte yet.
    fn new() -> Alphabet {
        Alphabet { weights: [1; 257] }
    }

    /// Takes note of the bytes of one subkey.
    fn learn(&mut self, subkey: &[u8]) {
        for at in 0..subkey.len() {
            if let Some(weight) = self.weights.get_mut(usize::from(branch(subkey, at))) {
                *weight = Self::KNOWN;
            }
        }
    }

    /// The weights of the branches from `first` to `last`.
    fn between(&self, first: u16, last: u16) -> &[u64] {
        self.weights.get(usize::from(first)..=usize::from(last)).unwrap_or_default()
    }

    /// A branch from `least` to `most`, by weight.
    fn draw(&self, least: u16, most: u16, random: &mut SplitMix64) -> u16 {
        let weights = self.between(least, most);
        let mut left = random.below(weights.iter().sum());
        for (branch, weight) in (least..most).zip(weights) {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return branch,
            }
        }
        most
    }

    /// The probability that a draw between `least` and `most` comes out between `first` and `last`.
    fn share(&self, first: u16, last: u16, least: u16, most: u16) -> f64 {
        let part: u64 = self.between(first, last).iter().sum();
        let whole: u64 = self.between(least, most).iter().sum();
        to_f64(part) / to_f64(whole.max(1))
    }
}

/// Number of leading bytes that two subkeys share.
fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(left, right)| left == right).count()
}

/// The branch that `subkey` takes at `depth`: 0 if it ends there, else its byte plus one. Sorted
/// like the subkeys.
fn branch(subkey: &[u8], depth: usize) -> u16 {
    subkey.get(depth).map_or(0, |byte| u16::from(*byte) + 1)
}

/// The smallest subkey that shares `depth` bytes with `sibling` and takes `branch` there; `None`
/// for the branch of the subkey that ends there, and for branches beyond the last byte.
fn bound_of(sibling: &[u8], depth: usize, branch: u16) -> Option<Vec<u8>> {
    let byte = u8::try_from(branch.checked_sub(1)?).ok()?;
    let mut bound = sibling.get(..depth)?.to_vec();
    bound.push(byte);
    Some(bound)
}

/// A number below 1, each multiple of 2^-53 equally likely.
fn unit(random: &mut SplitMix64) -> f64 {
    to_f64(random.next_u64() >> 11) / to_f64(1 << 53)
}

/// The double nearest to a number; exact up to 2^53.
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes beyond 2^53 do not occur, and would only be rounded"
)]
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
