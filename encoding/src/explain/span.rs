//! The tree that an explanation is.

use std::ops::Range;

/// What some of the bytes are.
///
/// Invariant: children, if there are any, tile `range` exactly, in order; a child may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Which bytes.
    pub range: Range<usize>,
    /// Name of the field or group.
    pub field: &'static str,
    /// What the bytes say; empty for a group that only its children explain.
    pub value: String,
    /// Why the field is there, or why it is encoded this way.
    pub why: &'static str,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// The fields that it consists of.
    pub children: Vec<Span>,
}

impl Span {
    pub(super) fn leaf(
        range: Range<usize>,
        field: &'static str,
        value: String,
        why: &'static str,
    ) -> Span {
        Span { range, field, value, why, problem: None, children: Vec::new() }
    }

    /// This span and all below it, parents first, each with its depth.
    pub fn walk(&self) -> impl Iterator<Item = (usize, &Span)> {
        let mut stack = vec![(0, self)];
        std::iter::from_fn(move || {
            let (depth, span) = stack.pop()?;
            stack.extend(span.children.iter().rev().map(|child| (depth + 1, child)));
            Some((depth, span))
        })
    }

    /// The spans without children: together they are the bytes of this one, in order.
    pub fn leaves(&self) -> impl Iterator<Item = &Span> {
        self.walk().map(|(_, span)| span).filter(|span| span.children.is_empty())
    }

    /// The spans with a problem.
    pub fn problems(&self) -> impl Iterator<Item = &Span> {
        self.walk().map(|(_, span)| span).filter(|span| span.problem.is_some())
    }

    pub(super) fn add_problem(&mut self, problem: String) {
        self.problem = Some(match self.problem.take() {
            Some(earlier) => format!("{earlier}; {problem}"),
            None => problem,
        });
    }

    pub(super) fn last_leaf(&mut self) -> &mut Span {
        let mut span = self;
        while !span.children.is_empty() {
            let last = span.children.len() - 1;
            #[expect(
                clippy::indexing_slicing,
                reason = "not empty; `last_mut` would keep the borrow on the way out"
            )]
            let next = &mut span.children[last];
            span = next;
        }
        span
    }
}

/// Bytes with their meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What the bytes were read as.
    pub what: String,
    /// The tree; its range is all of the bytes.
    pub root: Span,
    /// Bits of evidence that the bytes are this at all: only good for comparing readings of the
    /// same bytes.
    pub evidence: i32,
}

impl Explained {
    /// The leaves of the tree, in order.
    pub fn leaves(&self) -> impl Iterator<Item = &Span> {
        self.root.leaves()
    }

    /// The spans with a problem.
    pub fn problems(&self) -> impl Iterator<Item = &Span> {
        self.root.problems()
    }

    /// Whether nothing is wrong: the server accepts these bytes.
    pub fn is_clean(&self) -> bool {
        self.problems().next().is_none()
    }

    /// The first field with this name, parents first.
    pub fn find(&self, field: &str) -> Option<&Span> {
        self.root.walk().map(|(_, span)| span).find(|span| span.field == field)
    }
}
