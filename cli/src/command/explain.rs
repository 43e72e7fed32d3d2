//! `explain`: annotated bytes.

use bytes::Bytes;
use neokv_encoding::explain::{self as explanation, Explained};
use neokv_encoding::family::Family;
use neokv_encoding::key::IDENTITY;
use serde::Serialize;

use crate::args;
use crate::environment::Environment;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::{Field, UserBytes};
use crate::output::stored_key::Decoded;
use crate::output::table::Page;

/// Bytes and what they may be.
#[derive(Debug, Serialize)]
pub struct Explanation {
    input: UserBytes,
    /// The best first; exactly one if the family was given.
    readings: Vec<Reading>,
    /// Arguments that make the bytes again, if they are a key.
    inverse: Option<String>,
    #[serde(skip)]
    all: bool,
    #[serde(skip)]
    guessed: bool,
}

/// One reading of bytes.
#[derive(Debug, Serialize)]
pub struct Reading {
    /// What the bytes were read as.
    pub what: String,
    /// Bits that speak for it; comparable between readings of the same bytes.
    pub evidence: i32,
    /// Whether the server accepts the bytes.
    pub clean: bool,
    /// The tree.
    pub fields: Field,
    /// The same, for printing.
    #[serde(skip)]
    pub explained: Explained,
}

impl From<Explained> for Reading {
    fn from(explained: Explained) -> Reading {
        Reading {
            what: explained.what.clone(),
            evidence: explained.evidence,
            clean: explained.is_clean(),
            fields: Field::from(&explained.root),
            explained,
        }
    }
}

impl Reading {
    /// Whether nothing is known about the bytes.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.what == "raw bytes"
    }

    /// What is wrong with bytes that have these readings, the best one first.
    #[must_use]
    pub fn problems_of(readings: &[Reading]) -> Vec<String> {
        match readings.first() {
            Some(best) if best.is_raw() => {
                vec!["the bytes have no format of this store".to_string()]
            }
            Some(best) => best.problems(),
            None => Vec::new(),
        }
    }

    /// What is wrong with the bytes in this reading.
    fn problems(&self) -> Vec<String> {
        let problem = |span: &explanation::Span| {
            let text = span.problem.as_deref().unwrap_or_default();
            format!("{}, bytes {}..{}: {text}", span.field, span.range.start, span.range.end)
        };
        self.explained.problems().map(problem).collect()
    }

    /// How plausible the reading is: `clean, 34 bits of evidence`.
    #[must_use]
    pub fn plausibility(&self) -> String {
        let problems = self.explained.problems().count();
        match (self.is_raw(), problems) {
            (true, _) => "always possible".to_string(),
            (_, 0) => format!("clean, {} bits of evidence", self.evidence),
            (_, 1) => format!("1 problem, {} bits of evidence", self.evidence),
            (_, many) => format!("{many} problems, {} bits of evidence", self.evidence),
        }
    }
}

/// Explains the bytes of the arguments.
///
/// # Errors
/// Bytes that are not written as they should be, or a value whose meaning needs its key.
pub fn explain(
    args: &args::Explain,
    environment: &mut Environment<'_>,
) -> Result<Explanation, CliError> {
    let input = args.bytes.read("BYTES", environment)?;
    let key = args.key.as_ref().map(|key| key.read("--key", environment)).transpose()?;
    let (readings, inverse) = match args.family {
        None => (explanation::guess(&input), None),
        Some(family) if args.value => {
            let key = key.map_or_else(|| needless_key(family), Ok)?;
            (vec![explanation::value(family, &key, &input)], None)
        }
        Some(family) => (vec![explanation::key(family, &input)], Some(family)),
    };
    let best = readings.first().filter(|best| best.is_clean());
    let inverse = inverse.or_else(|| best.and_then(|best| family_of_key(&best.what)));
    let command =
        inverse.and_then(|family| Decoded::of(family, &input)).and_then(|key| key.command());
    Ok(Explanation {
        readings: readings.into_iter().map(Reading::from).collect(),
        inverse: command,
        input: UserBytes(input),
        all: args.all,
        guessed: args.family.is_none(),
    })
}

/// A key for values that mean the same under every key of their family.
fn needless_key(family: Family) -> Result<Bytes, CliError> {
    match family {
        Family::Default => Ok(Bytes::from_static(IDENTITY)),
        Family::RaftLog
        | Family::Metadata
        | Family::ZsetScore
        | Family::Expire
        | Family::SlotStats => Ok(Bytes::new()),
        Family::RaftState | Family::Region | Family::Subkey => Err(CliError::Usage {
            what: format!("a value of family {family} needs its key"),
            why: "the key says which of several formats the value has".into(),
            hint: "--key hex:…, or no --family to see every plausible reading".into(),
        }),
    }
}

/// The family whose keys a reading is about.
fn family_of_key(what: &str) -> Option<Family> {
    what.strip_suffix(" key").and_then(Family::from_name)
}

impl Answer for Explanation {
    const SCHEMA: &'static str = "explain";

    fn page(&self, page: &mut Page) {
        let shown = if self.all { self.readings.len() } else { 1 };
        for (number, reading) in self.readings.iter().take(shown).enumerate() {
            if number > 0 {
                page.blank();
            }
            if self.guessed {
                let place = number + 1;
                page.heading(&format!(
                    "reading {place} of {}: {}",
                    self.readings.len(),
                    reading.plausibility()
                ));
            }
            page.explained(&reading.explained, &self.input.0);
        }
        if let Some(command) = &self.inverse {
            page.blank();
            page.verbatim(&format!("inverse: neoctl {command}"));
        }
        if self.readings.len() > shown {
            page.blank();
            page.dim("also possible (--all shows them in full):");
        }
        for reading in self.readings.iter().skip(shown) {
            page.text(&format!("  {}: {}", reading.what, reading.plausibility()));
        }
    }

    fn problems(&self) -> Vec<String> {
        Reading::problems_of(&self.readings)
    }
}
