//! Walks down the trie of one collection's subkeys, which get to know it on the way.
//!
//! Sorted subkeys are an implicit trie: all subkeys with a common prefix are neighbours. A node is
//! such a run of neighbours. The byte after the common prefix is where the run branches; branch 0
//! is the subkey that ends there. The branches of a node are divided into *cells*, stretches that
//! together leave none out:
//!
//! ```text
//! user:ada user:bea user:bob user:kim … user:zoe      node "user:", branches a to z
//!  └─ a ─┘ └────── b ──────┘ └ c-k ─┘ …  └─ z ─┘      its cells; no subkey with c was ever seen
//! ```
//!
//! A walk draws a cell by its size, seeks to where it begins, and reads on. If the cell ends within
//! [`MAX_RUN`] rows, one of them is drawn, and the walk ends. Otherwise the cell is the next node:
//! its first and its last subkey tell the common prefix, however long that is.
//!
//! **Cells** end at the bytes that were seen in other subkeys, at any place in them: those are
//! likely to be branches here too. If they are not, the cell is empty, or it is large and becomes a
//! node of its own, with a cell for every byte; either is found out at the first visit.
//!
//! **Sizes.** The size of a cell that was read to its end is known. That of a node is the sum of
//! its cells, where those not yet visited count as the average of what was found in the others and
//! of what was expected here, and in the first node as what the header's size leaves to them. A
//! walk corrects the sizes on its way, so each is a better guide than the one before it. Of a
//! thousand walks, few meet a node of an upper level for the first time; most cost a seek and a run
//! of rows on the last level.
//!
//! **The chance** with which a walk ends at an element is exactly known, whatever the sizes are
//! worth: it is the product of the shares of the cells on its way, divided by the number of
//! elements of the last one. An element whose chance is more than `1/en` of `n` elements is kept
//! with the probability `1 / (chance · en)` alone; otherwise the walk starts again. So all elements
//! whose chance is at least `1/en` come out equally often. The *evenness* `e` is 4 for the first
//! walks, which know little, and 2 for those behind them.

use neokv_engine::Direction;
use neokv_raftstore::SplitMix64;

use super::trie::{Alphabet, Content, Drawn, Node, branch, common_prefix, start_of};
use super::{Element, to_f64, unit};
use crate::error::CommandError;
use crate::keyspace::{Collection, Subkeys, View};

/// How often a walk starts again because it met nothing, or an element with too high a chance.
const MAX_WALKS: u32 = 64;
/// How many levels a walk goes down before it takes what it has: bounds the work on subkeys made to
/// mislead it.
const MAX_DEPTH: usize = 512;
/// A cell of at most this many elements is read as a whole: about as much work as to find its
/// branches.
const MAX_RUN: u64 = 128;
/// A value of at most so many bytes is copied before it is known whether it is needed.
const SHORT: usize = 4096;
/// How many nodes are remembered, and bytes of them. What does not fit is found out again at the
/// next visit.
const MAX_NODES: usize = 4096;
const MAX_NODE_BYTES: usize = 16 << 20;
/// The evenness of the first walks.
const FIRST_EVENNESS: f64 = 4.0;
/// The evenness of those behind them.
const EVENNESS: f64 = 2.0;
/// How many walks it takes until sizes are trusted.
const FIRST_WALKS: u64 = 64;
/// How many of the first subkeys tell which bytes occur.
const LEARNED_ROWS: usize = 64;
/// So do the first subkeys of so many branches of the first node.
const LEARNED_BRANCHES: usize = 32;

/// Walks down the trie of one collection's subkeys.
pub struct Walker<'a> {
    /// Finds the first row at or above a subkey.
    up: Subkeys<'a>,
    /// Finds the last row below a subkey.
    down: Subkeys<'a>,
    /// Number of elements.
    size: f64,
    /// Which branches are likely.
    alphabet: Alphabet,
    /// The nodes that are remembered, the root first; none if there are no rows. During a walk one
    /// may follow that will not be.
    nodes: Vec<Node>,
    /// How many nodes are remembered, and the bytes of memory that they take.
    remembered: usize,
    remembered_bytes: usize,
    /// The cells that the walk has come through, each with its node.
    path: Vec<(usize, usize)>,
    /// How many walks there were.
    walks: u64,
}

/// What a walk has met, and with what chance.
struct Meeting {
    place: Place,
    chance: f64,
}

/// An element, or where it is.
enum Place {
    /// This one.
    Here(Element),
    /// The row so many rows behind the first one from a subkey on.
    Behind(Vec<u8>, u64),
}

impl<'a> Walker<'a> {
    /// Prepares walks over `from`.
    pub fn new(view: &View<'a>, from: &Collection) -> Result<Walker<'a>, CommandError> {
        let mut walker = Walker {
            up: view.subkeys(from, Direction::Forward)?,
            down: view.subkeys(from, Direction::Reverse)?,
            size: to_f64(from.size()),
            alphabet: Alphabet::new(),
            nodes: Vec::new(),
            remembered: 0,
            remembered_bytes: 0,
            path: Vec::new(),
            walks: 0,
        };
        let (first, last) = (walker.up.next()?, walker.down.next()?);
        if let (Some((first, _)), Some((last, _))) = (first, last) {
            let root = walker.root(&first, &last)?;
            walker.push(root);
        }
        Ok(walker)
    }

    /// The node of all subkeys. Reads some of them, to learn which bytes occur.
    fn root(&mut self, first: &[u8], last: &[u8]) -> Result<Node, CommandError> {
        let depth = common_prefix(first, last);
        for _ in 0..LEARNED_ROWS {
            let Some((subkey, _)) = self.up.next_ref()? else { break };
            self.alphabet.learn(subkey, depth);
        }
        let (mut next, mut left) = (branch(first, depth) + 1, LEARNED_BRANCHES);
        while left > 0
            && let Some(start) = start_of(last, depth, next)
        {
            self.up.seek(&start)?;
            let Some((subkey, _)) = self.up.next_ref()? else { break };
            self.alphabet.learn(subkey, depth);
            (next, left) = (branch(subkey, depth) + 1, left - 1);
        }
        self.alphabet.learn(first, depth);
        self.alphabet.learn(last, depth);
        // So many branches, and not yet all: then any byte may be one.
        let known = (left > 0).then_some(&self.alphabet);
        let mut root = Node::new(first, last.to_vec(), self.size, known);
        root.is_exact = true;
        Ok(root)
    }

    /// One element, nearly uniformly: see the module's description. `None` if there are no rows.
    pub fn walk(&mut self, random: &mut SplitMix64) -> Result<Option<Element>, CommandError> {
        let mut last = None;
        for _ in 0..MAX_WALKS {
            self.walks += 1;
            let Some(Meeting { place, chance }) = self.descend(random)? else { continue };
            last = Some(place);
            let evenness = if self.walks <= FIRST_WALKS { FIRST_EVENNESS } else { EVENNESS };
            let excess = chance * self.size * evenness;
            if excess <= 1.0 || unit(random) * excess < 1.0 {
                break;
            }
        }
        let (start, index) = match last {
            Some(Place::Here(element)) => return Ok(Some(element)),
            Some(Place::Behind(start, index)) => (start, index),
            // No walk met anything, which is as good as impossible, or there are no rows.
            None => (Vec::new(), 0),
        };
        self.up.seek(&start)?;
        for _ in 0..index {
            self.up.next_ref()?;
        }
        self.up.next()
    }

    /// Goes down to one element. `None` if it came to an empty cell, or there are no rows.
    fn descend(&mut self, random: &mut SplitMix64) -> Result<Option<Meeting>, CommandError> {
        let (mut at, mut chance, mut met) = (0, 1.0, None);
        self.path.clear();
        for level in 0..MAX_DEPTH {
            let Some(drawn) = self.nodes.get(at).and_then(|node| node.draw(random)) else { break };
            chance *= drawn.share;
            self.path.push((at, drawn.position));
            let (count, place) = match drawn.content {
                // It has been visited before.
                Content::Node(next) if level + 1 < MAX_DEPTH => {
                    at = next;
                    continue;
                }
                Content::Counted(count) => {
                    (count, Some(Place::Behind(drawn.start(), random.below(count))))
                }
                // Deep enough.
                _ if level + 1 == MAX_DEPTH => (1, Some(Place::Behind(drawn.start(), 0))),
                _ => match self.visit(&drawn, random)? {
                    Visit::Run { count, place } => {
                        self.note(at, &drawn, Content::Counted(count), to_f64(count));
                        (count, place)
                    }
                    Visit::Node(node) => {
                        at = self.enter(at, &drawn, node);
                        continue;
                    }
                },
            };
            met = place.map(|place| Meeting { place, chance: chance / to_f64(count) });
            break;
        }
        self.correct_sizes();
        Ok(met)
    }

    /// Finds out what is in a cell.
    fn visit(&mut self, cell: &Drawn, random: &mut SplitMix64) -> Result<Visit, CommandError> {
        // A cell that is surely large is not read in vain.
        let most = if cell.size > to_f64(MAX_RUN * 2) { 1 } else { MAX_RUN };
        let (mut low, mut count) = (Vec::new(), 0);
        let (mut drawn, mut short) = (Vec::new(), Some(Vec::new()));
        self.up.seek(&cell.start())?;
        loop {
            let row = self.up.next_ref()?.filter(|(subkey, _)| cell.reaches(subkey));
            let Some((subkey, value)) = row else {
                let place = match short {
                    Some(value) => Place::Here((drawn.into(), value.into())),
                    None => Place::Behind(drawn, 0),
                };
                return Ok(Visit::Run { count, place: (count > 0).then_some(place) });
            };
            if count == most {
                break;
            }
            count += 1;
            if count == 1 {
                low.extend_from_slice(subkey);
            }
            // Of the rows so far, each is the drawn one with equal probability.
            if random.below(count) == 0 {
                drawn.clear();
                drawn.extend_from_slice(subkey);
                // Most elements are not kept, so a long value is read when it is needed.
                short = (value.len() <= SHORT).then(|| value.to_vec());
            }
        }
        let high = match cell.end() {
            Some(end) => self.last_below(&end)?,
            None => cell.high.clone(),
        };
        let depth = common_prefix(&low, &high);
        self.alphabet.learn(&low, depth);
        self.alphabet.learn(&high, depth);
        // The alphabet does not know the branches of a cell that has several.
        let known = (depth > cell.prefix.len()).then_some(&self.alphabet);
        let expected = cell.size.max(to_f64(count + 1));
        Ok(Visit::Node(Node::new(&low, high, expected, known)))
    }

    /// The last subkey below `end`, where there is one.
    fn last_below(&mut self, end: &[u8]) -> Result<Vec<u8>, CommandError> {
        self.down.seek(end)?;
        if let Some((subkey, _)) = self.down.next_ref()?
            && subkey != end
        {
            return Ok(subkey.to_vec());
        }
        Ok(self.down.next_ref()?.map(|(subkey, _)| subkey.to_vec()).unwrap_or_default())
    }

    /// Makes a cell a node, and returns which. If it cannot be remembered, it takes the place of
    /// the last one that could not: the way to it is then of no more interest.
    fn enter(&mut self, at: usize, cell: &Drawn, node: Node) -> usize {
        let fits = self.remembered < MAX_NODES && self.remembered_bytes < MAX_NODE_BYTES;
        let content = if fits { Content::Node(self.remembered) } else { Content::Forgotten };
        self.note(at, cell, content, node.size());
        if fits {
            self.push(node)
        } else {
            self.forget();
            self.path.retain(|(at, _)| *at < self.remembered);
            self.nodes.push(node);
            self.remembered
        }
    }

    /// Remembers a node, and returns which it is.
    fn push(&mut self, node: Node) -> usize {
        self.remembered_bytes += node.memory();
        self.nodes.push(node);
        self.remembered = self.nodes.len();
        self.remembered - 1
    }

    /// Forgets the node that is not to be remembered.
    fn forget(&mut self) {
        self.nodes.truncate(self.remembered);
    }

    /// Takes note of what a cell of a node holds.
    fn note(&mut self, at: usize, drawn: &Drawn, content: Content, size: f64) {
        let cell = self.nodes.get_mut(at).and_then(|node| node.cells.get_mut(drawn.position));
        if let Some(cell) = cell {
            (cell.content, cell.size) = (content, size);
        }
    }

    /// Corrects the sizes of the cells on the way, from below, by what the walk has found.
    fn correct_sizes(&mut self) {
        let mut below = None;
        while let Some((at, position)) = self.path.pop() {
            let size = below.and_then(|below: usize| self.nodes.get(below)).map(Node::size);
            let cell = self.nodes.get_mut(at).and_then(|node| node.cells.get_mut(position));
            if let (Some(cell), Some(size)) = (cell, size) {
                cell.size = size;
            }
            below = Some(at);
        }
        self.forget();
    }
}

/// What is found in a cell.
enum Visit {
    /// So many rows, all read, and one of them drawn.
    Run { count: u64, place: Option<Place> },
    /// Too many rows to be read.
    Node(Node),
}

#[cfg(test)]
mod tests;
