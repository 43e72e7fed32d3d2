//! Answers and their printers.
//!
//! A command makes one typed value; [`Answer`] says how it reads as a page and what its schema is
//! called. JSON comes from the same value through serde, inside an envelope:
//!
//! ```json
//! {"schema": "neoctl.region-list", "version": 1, "source": {…}, "answer": {…}, "problems": ["…"]}
//! ```
//!
//! * [`table`]: pages for people, wrapped and cut to the screen.
//! * [`json`]: numbers and bytes for scripts.
//! * [`stored_key`]: keys by meaning.
//! * [`command_line`]: commands as a person would type them.

pub mod command_line;
pub mod json;
pub mod stored_key;
pub mod table;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::{Args, Form};
use crate::error::{CliError, Exit};
use crate::source::Header;
use crate::world::World;
use table::Page;

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

/// Prints an answer in the form that the arguments ask for.
///
/// # Errors
/// The stream is closed or cannot be written.
pub fn print<A: Answer>(
    answer: &A,
    source: Option<&Header>,
    args: &Args,
    world: &mut World<'_>,
) -> Result<Exit, CliError> {
    let mut problems: Vec<String> =
        source.map(|source| source.problems.clone()).unwrap_or_default();
    problems.extend(answer.problems());
    let exit = match (problems.is_empty(), answer.is_negative()) {
        (false, _) => Exit::NotUnderstood,
        (true, true) => Exit::Negative,
        (true, false) => Exit::Ok,
    };
    let text = match args.output {
        Form::Json => {
            let schema = format!("neoctl.{}", A::SCHEMA);
            let envelope = Envelope { schema, version: A::VERSION, source, answer, problems };
            let json = serde_json::to_string_pretty(&envelope);
            json.map_err(|error| CliError::Output(error.into()))? + "\n"
        }
        Form::Table => {
            let columns = args.width.or(world.columns).unwrap_or(usize::MAX);
            let mut page = Page::new(columns, world.paint(args.color).stdout);
            if let Some(source) = source {
                source.page(&mut page);
            }
            answer.page(&mut page);
            page.finish()
        }
    };
    world
        .stdout
        .write_all(text.as_bytes())
        .and_then(|()| world.stdout.flush())
        .map_err(CliError::Output)?;
    if exit == Exit::NotUnderstood && args.output == Form::Table {
        world.note("not everything was understood; the places are marked ⚠");
    }
    Ok(exit)
}

/// Colour, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

/// Fields take turns, so that neighbours differ.
const FIELDS: [AnsiColor; 6] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::BrightBlue,
    AnsiColor::BrightRed,
];

impl Paint {
    /// Paints if `on`, passes text through otherwise.
    #[must_use]
    pub fn new(on: bool) -> Paint {
        Paint { on }
    }

    /// Text of the field with this number.
    #[must_use]
    pub fn field(self, number: usize, text: &str) -> String {
        let color = FIELDS.get(number % FIELDS.len()).copied().unwrap_or(AnsiColor::Cyan);
        self.styled(Style::new().fg_color(Some(color.into())), text)
    }

    /// A heading.
    #[must_use]
    pub fn heading(self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// Something that matters less.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.styled(Style::new().dimmed(), text)
    }

    /// Something that is wrong.
    #[must_use]
    pub fn problem(self, text: &str) -> String {
        self.styled(Style::new().bold().fg_color(Some(AnsiColor::Red.into())), text)
    }

    fn styled(self, style: Style, text: &str) -> String {
        if self.on && !text.trim().is_empty() {
            format!("{style}{text}{style:#}")
        } else {
            text.to_string()
        }
    }
}
