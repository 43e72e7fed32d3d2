//! What a walk knows of the trie: nodes, their cells and how large those are. See [`super::walk`].

use neokv_raftstore::SplitMix64;

use super::{count_of, to_f64, unit};

/// How many bytes of a subkey behind a common prefix are taken note of.
const LEARNED_BYTES: usize = 64;

/// A run of neighbouring subkeys with a common prefix.
pub struct Node {
    /// The common prefix.
    pub prefix: Vec<u8>,
    /// The last subkey of the run.
    high: Vec<u8>,
    /// The first branch.
    least: u16,
    /// Stretches of branches, in order; together they are all from `least` to that of `high`.
    pub cells: Vec<Cell>,
    /// How many elements were expected here before any cell was visited.
    expected: f64,
    /// Whether there are exactly so many.
    pub is_exact: bool,
}

/// A stretch of a node's branches.
pub struct Cell {
    /// Its last branch.
    last: u16,
    /// What is known of it.
    pub content: Content,
    /// About how many elements it has; meaningless before the first visit.
    pub size: f64,
}

/// What is known of a cell.
#[derive(Clone, Copy)]
pub enum Content {
    /// Nothing.
    Unvisited,
    /// It has so many elements.
    Counted(u64),
    /// It is this node.
    Node(usize),
    /// It is a node that could not be remembered.
    Forgotten,
}

impl Node {
    /// The node from `low` to `high`, which are two subkeys. `known`: the branches that are likely;
    /// `None` if any byte may be one.
    pub fn new(low: &[u8], high: Vec<u8>, expected: f64, known: Option<&Alphabet>) -> Node {
        let depth = common_prefix(low, &high);
        let (least, most) = (branch(low, depth), branch(&high, depth));
        let mut lasts: Vec<u16> = match known {
            Some(alphabet) => alphabet.between(least, most).collect(),
            // Behind a subkey that ends here there may be a single branch.
            None if least == 0 => Vec::new(),
            None => (least..most).collect(),
        };
        // One cell would be this node again.
        if lasts.is_empty() && least < most {
            lasts.push(least);
        }
        lasts.push(most);
        let cells =
            lasts.into_iter().map(|last| Cell { last, content: Content::Unvisited, size: 0.0 });
        let prefix = low.get(..depth).unwrap_or_default().to_vec();
        Node { prefix, high, least, cells: cells.collect(), expected, is_exact: false }
    }

    /// Bytes of memory that it takes, about.
    pub fn memory(&self) -> usize {
        self.prefix.len() + self.high.len() + self.cells.len() * size_of::<Cell>()
    }

    /// About how many elements a cell has that was never visited: the average of those that were,
    /// and of what was expected before. At least one, so that it can be drawn.
    fn unvisited_size(&self) -> f64 {
        let (mut visited, mut sum) = (0.0, 0.0);
        for cell in &self.cells {
            if !matches!(cell.content, Content::Unvisited) {
                visited += 1.0;
                sum += cell.size;
            }
        }
        let all = to_f64(count_of(self.cells.len()));
        let average = (sum + self.expected / all) / (visited + 1.0);
        let left =
            if self.is_exact { (self.expected - sum) / (all - visited).max(1.0) } else { 1.0 };
        average.max(left).max(1.0)
    }

    /// About how many elements each cell has.
    fn sizes(&self) -> impl Iterator<Item = f64> {
        let unvisited = self.unvisited_size();
        self.cells.iter().map(move |cell| match cell.content {
            Content::Unvisited => unvisited,
            _ => cell.size,
        })
    }

    /// About how many elements the node has.
    pub fn size(&self) -> f64 {
        self.sizes().sum()
    }

    /// A cell, by size; `None` if all are empty.
    pub fn draw(&self, random: &mut SplitMix64) -> Option<Drawn> {
        let all = self.size();
        let mut left = unit(random) * all;
        let mut drawn = None;
        for (position, size) in self.sizes().enumerate().filter(|(_, size)| *size > 0.0) {
            drawn = Some((position, size));
            if left < size {
                break;
            }
            left -= size;
        }
        let (position, size) = drawn?;
        let cell = self.cells.get(position)?;
        let before = position.checked_sub(1).and_then(|before| self.cells.get(before));
        Some(Drawn {
            position,
            share: size / all,
            size,
            content: cell.content,
            prefix: self.prefix.clone(),
            first: before.map_or(self.least, |before| before.last + 1),
            last: cell.last,
            high: self.high.clone(),
        })
    }
}

/// A cell that was drawn.
pub struct Drawn {
    /// Which of the node's cells it is.
    pub position: usize,
    /// The probability with which it was drawn.
    pub share: f64,
    /// About how many elements it has.
    pub size: f64,
    /// What is known of it.
    pub content: Content,
    /// The common prefix of the node.
    pub prefix: Vec<u8>,
    /// The first branch, and the last.
    first: u16,
    last: u16,
    /// The last subkey of the node.
    pub high: Vec<u8>,
}

impl Drawn {
    /// The smallest subkey that belongs here.
    pub fn start(&self) -> Vec<u8> {
        start_of(&self.prefix, self.prefix.len(), self.first).unwrap_or_else(|| self.prefix.clone())
    }

    /// The smallest subkey behind the cell; `None` if that is behind the node.
    pub fn end(&self) -> Option<Vec<u8>> {
        let depth = self.prefix.len();
        let is_last = self.last == branch(&self.high, depth);
        if is_last { None } else { start_of(&self.prefix, depth, self.last + 1) }
    }

    /// Whether a subkey that is not before the start belongs here.
    pub fn reaches(&self, subkey: &[u8]) -> bool {
        subkey.starts_with(&self.prefix) && branch(subkey, self.prefix.len()) <= self.last
    }
}

/// Which bytes occur.
pub struct Alphabet {
    /// By branch.
    known: [bool; 257],
}

impl Alphabet {
    /// Knows no byte yet.
    pub fn new() -> Alphabet {
        Alphabet { known: [false; 257] }
    }

    /// Takes note of the bytes of a subkey behind its first `depth`.
    pub fn learn(&mut self, subkey: &[u8], depth: usize) {
        for at in (depth..subkey.len()).take(LEARNED_BYTES) {
            if let Some(known) = self.known.get_mut(usize::from(branch(subkey, at))) {
                *known = true;
            }
        }
    }

    /// The known branches from `least` to before `most`.
    fn between(&self, least: u16, most: u16) -> impl Iterator<Item = u16> {
        (least..most).filter(|branch| self.known.get(usize::from(*branch)) == Some(&true))
    }
}

/// Number of leading bytes that two subkeys share.
pub fn common_prefix(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(left, right)| left == right).count()
}

/// The branch that `subkey` takes at `depth`: 0 if it ends there, else its byte plus one. Sorted
/// like the subkeys.
pub fn branch(subkey: &[u8], depth: usize) -> u16 {
    subkey.get(depth).map_or(0, |byte| u16::from(*byte) + 1)
}

/// The smallest subkey that shares `depth` bytes with `sibling` and takes `branch` there; `None`
/// for the branch of the subkey that ends there, and for branches behind the last byte.
pub fn start_of(sibling: &[u8], depth: usize, branch: u16) -> Option<Vec<u8>> {
    let byte = u8::try_from(branch.checked_sub(1)?).ok()?;
    let mut start = sibling.get(..depth)?.to_vec();
    start.push(byte);
    Some(start)
}
