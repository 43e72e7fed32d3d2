//! `decode`: every plausible reading of bytes as a tree of fields.

use neokv_encoding::explain::{self as explanation, Span};
use serde::Serialize;

use super::explain::Reading;
use crate::args;
use crate::environment::Environment;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::UserBytes;
use crate::output::table::Page;

/// Every plausible reading.
#[derive(Debug, Serialize)]
pub struct Readings {
    input: UserBytes,
    /// The best first; the last one is always the raw bytes.
    readings: Vec<Reading>,
}

/// Tries every reading.
///
/// # Errors
/// Bytes that are not written as they should be.
pub fn decode(
    args: &args::Decode,
    environment: &mut Environment<'_>,
) -> Result<Readings, CliError> {
    let input = args.bytes.read("BYTES", environment)?;
    let readings = explanation::guess(&input).into_iter().map(Reading::from).collect();
    Ok(Readings { input: UserBytes(input), readings })
}

impl Answer for Readings {
    const SCHEMA: &'static str = "decode";

    fn page(&self, page: &mut Page) {
        for (number, reading) in self.readings.iter().enumerate() {
            page.heading(&format!("{}. {} ({})", number + 1, reading.what, reading.plausibility()));
            branch(&reading.explained.root, "   ", page);
        }
    }

    fn problems(&self) -> Vec<String> {
        Reading::problems_of(&self.readings)
    }
}

/// The fields below a span, one a line.
fn branch(span: &Span, indent: &str, page: &mut Page) {
    if let Some(problem) = &span.problem {
        page.problem_at(indent, problem);
    }
    let children = children(span);
    let names = children.iter().map(|child| child.field.len()).max().unwrap_or(0);
    for (number, child) in children.iter().enumerate() {
        let last = number + 1 == children.len();
        let (mark, below) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        page.hanging(&format!("{indent}{mark}{:<names$}  ", child.field), &child.value);
        branch(child, &format!("{indent}{below}"), page);
    }
}

/// The children that get a line: not the tags of a message's fields, and not a value that its field
/// shows already.
fn children(span: &Span) -> Vec<&Span> {
    let shown: Vec<&Span> = span.children.iter().filter(|child| child.field != "tag").collect();
    match shown.as_slice() {
        [only]
            if only.children.is_empty() && only.value == span.value && only.problem.is_none() =>
        {
            Vec::new()
        }
        _ => shown,
    }
}
