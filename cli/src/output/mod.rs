//! Answers and their printers.
//!
//! A command makes one typed value; [`Answer`] says how it reads as a page and what its schema is
//! called. JSON comes from the same value through serde, inside an envelope:
//!
//! ```json
//! {"schema": "neoctl.region-list", "version": 1, "source": {…}, "answer": {…}, "problems": ["…"]}
//! ```
//!
//! * [`table`]: pages for people, wrapped and cut to the terminal.
//! * [`json`]: numbers and bytes for scripts.
//! * [`stored_key`]: keys by meaning.
//! * [`command_line`]: commands as a person would type them.
//! * [`header`]: where an answer from a store comes from.
//! * [`paint`]: who gets colour, and what it looks like.

pub mod command_line;
pub mod header;
pub mod json;
pub mod paint;
pub mod stored_key;
pub mod table;

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde::Serialize;

use self::header::Header;
use self::paint::{Color, Paint, Paints};
use self::table::Page;
use crate::environment::Environment;
use crate::error::{CliError, Exit};

/// Place of the first option of every command in help: behind the command's own options.
pub(crate) const GLOBAL: usize = 500;

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Options {
    /// Form of the answer
    #[arg(
        id = "output",
        short,
        long,
        global = true,
        display_order = GLOBAL + 1,
        value_name = "FORM",
        value_enum,
        default_value_t = Form::Table
    )]
    pub form: Form,
    /// Colour; auto asks the terminal and NO_COLOR
    #[arg(
        long,
        global = true,
        display_order = GLOBAL + 2,
        value_name = "WHEN",
        value_enum,
        default_value_t = Color::Auto
    )]
    pub color: Color,
    /// Columns that tables keep to [default: the terminal's; no limit when piped]
    #[arg(long, global = true, display_order = GLOBAL + 3, value_name = "N")]
    pub width: Option<usize>,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// For scripts: one object, with the name and version of its schema
    Json,
}

/// What a command found out: one type per command, printed by every printer.
pub trait Answer: Serialize {
    /// Name of the schema in JSON, after `neoctl.`.
    const SCHEMA: &'static str;
    /// Version of the schema: grows when a field goes or changes its meaning.
    const VERSION: u32 = 1;

    /// Writes the answer for people.
    fn page(&self, page: &mut Page);

    /// Whether the answer is "no".
    fn is_negative(&self) -> bool {
        false
    }

    /// What is damaged or not understood, one sentence each. The page marks each in its place.
    fn problems(&self) -> Vec<String> {
        Vec::new()
    }
}

#[derive(Serialize)]
struct Envelope<'a, A> {
    schema: String,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a Header>,
    answer: &'a A,
    problems: Vec<String>,
}

/// Prints an answer in the form that the options ask for.
///
/// # Errors
/// The stream is closed or cannot be written.
pub fn print<A: Answer>(
    answer: &A,
    source: Option<&Header>,
    options: &Options,
    environment: &mut Environment<'_>,
) -> Result<Exit, CliError> {
    let mut problems: Vec<String> =
        source.map(|source| source.problems.clone()).unwrap_or_default();
    problems.extend(answer.problems());
    let exit = match (problems.is_empty(), answer.is_negative()) {
        (false, _) => Exit::NotUnderstood,
        (true, true) => Exit::Negative,
        (true, false) => Exit::Ok,
    };
    let text = match options.form {
        Form::Json => {
            let schema = format!("neoctl.{}", A::SCHEMA);
            let envelope = Envelope { schema, version: A::VERSION, source, answer, problems };
            let json = serde_json::to_string_pretty(&envelope);
            json.map_err(|error| CliError::Output(error.into()))? + "\n"
        }
        Form::Table => {
            let columns = options.width.or(environment.columns).unwrap_or(usize::MAX);
            let mut page = Page::new(columns, Paints::choose(options.color, environment).stdout);
            if let Some(source) = source {
                source.page(&mut page);
            }
            answer.page(&mut page);
            page.finish()
        }
    };
    let printed = environment.stdout.write_all(text.as_bytes());
    printed.and_then(|()| environment.stdout.flush()).map_err(CliError::Output)?;
    if exit == Exit::NotUnderstood && options.form == Form::Table {
        environment.note("not everything was understood; the places are marked ⚠");
    }
    Ok(exit)
}

/// The text of an error for stderr, up to four lines.
#[must_use]
pub fn report(error: &CliError, paint: Paint) -> String {
    let mut out = format!("{} {error}\n", paint.problem("error:"));
    if let Some(place) = error.place() {
        let _ = writeln!(out, "  where: {place}");
    }
    let _ = writeln!(out, "  why:   {}", error.why());
    let _ = writeln!(out, "  try:   {}", error.hint());
    out
}
