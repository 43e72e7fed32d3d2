//! The trace that turns a decoder's run into a tree of spans.

use std::ops::Range;

use super::{Explained, Span, message};
use crate::{
    error::DecodeError,
    layout::{Content, Field, Reader, Result, Trace, show},
};

/// Evidence in bits that every problem takes away from a reading.
const PROBLEM: i32 = 16;

/// A format as a whole.
pub(super) struct Format {
    pub name: &'static str,
    pub why: &'static str,
}

/// Notes every field that a reader reads, as a span.
pub(super) struct Recorder {
    root: Span,
    /// The groups that were opened and not closed yet, the outermost first. A new span goes into
    /// the last of them, or into the root.
    open: Vec<Span>,
    evidence: i32,
}

impl Recorder {
    fn new(format: &Format, len: usize) -> Recorder {
        let root = Span::leaf(0..len, format.name, format!("{len} bytes"), format.why);
        Recorder { root, open: Vec::new(), evidence: 0 }
    }

    fn push(&mut self, span: Span) {
        self.open.last_mut().unwrap_or(&mut self.root).children.push(span);
    }
}

impl Trace for Recorder {
    fn leaf(&mut self, field: &'static Field, end: usize, len: usize, content: Content<'_>) {
        let range = end - len..end;
        let mut span = match content {
            Content::Number(number) => {
                self.evidence += (field.evidence)(number);
                Span::leaf(range, field.name, (field.show)(number), field.why)
            }
            Content::Bytes(bytes) => Span::leaf(range, field.name, show::bytes(bytes), field.why),
        };
        if let (Some(name), Content::Bytes(bytes)) = (field.message, content) {
            self.evidence += message::explain(name, bytes, &mut span);
        }
        self.push(span);
    }

    fn missing(&mut self, field: &'static Field, end: usize, need: usize, left: &[u8]) {
        let mut span = Span::leaf(end - left.len()..end, field.name, show::bytes(left), field.why);
        span.problem =
            Some(DecodeError::Truncated { what: field.name, need, have: left.len() }.to_string());
        self.push(span);
    }

    fn open(&mut self, field: &'static Field, at: usize) {
        self.open.push(Span::leaf(at..at, field.name, String::new(), field.why));
    }

    fn close(&mut self, at: usize) {
        if let Some(mut span) = self.open.pop() {
            span.range.end = at;
            self.push(span);
        }
    }
}

/// Runs a decoder over bytes and makes a tree of what it reads. The second part is the value that
/// the decoder returned, if it accepted the bytes.
pub(super) fn record<'a, X>(
    format: &Format,
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a, Recorder>) -> Result<X>,
) -> (Explained, Option<X>) {
    let mut reader = Reader::new(bytes, Recorder::new(format, bytes.len()));
    let result = read(&mut reader);
    let end = reader.finish(format.name);
    let (Recorder { mut root, evidence, .. }, rest) = reader.into_parts();
    let rest_range = bytes.len() - rest.len()..bytes.len();
    let accepted = match (result, end) {
        (Ok(value), Ok(())) => Some(value),
        (Ok(_), Err(trailing)) => {
            root.children.push(left_over(rest_range, rest, trailing.to_string()));
            None
        }
        (Err(refused), _) => {
            // A truncated field already has its problem, from `Trace::missing`. Any other refusal
            // concerns the field that was read last.
            if !matches!(refused, DecodeError::Truncated { .. }) {
                root.last_leaf().add_problem(refused.to_string());
            }
            if !rest.is_empty() {
                root.children.push(left_over(
                    rest_range,
                    rest,
                    "not read: the decoder stopped before it".to_string(),
                ));
            }
            None
        }
    };
    let mut explained = Explained { what: format.name.to_string(), root, evidence };
    explained.evidence -=
        PROBLEM * i32::try_from(explained.problems().count()).unwrap_or(i32::MAX / PROBLEM);
    (explained, accepted)
}

fn left_over(range: Range<usize>, bytes: &[u8], problem: String) -> Span {
    let mut span = Span::leaf(range, "left over", show::bytes(bytes), "no field of this format");
    span.problem = Some(problem);
    span
}

impl Explained {
    /// Adds a problem that the decoder does not look for: to a top-level field, or to the root if
    /// there is no such field.
    pub(super) fn add_problem(&mut self, field: &str, problem: String) {
        let found = self.root.children.iter_mut().find(|span| span.field == field);
        self.evidence -= PROBLEM;
        match found {
            Some(span) => span.add_problem(problem),
            None => self.root.add_problem(problem),
        }
    }
}
