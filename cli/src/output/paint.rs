//! Colour: who gets it, and what it looks like.

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

use crate::environment::Environment;

/// When to print colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Colours of the two streams.
#[derive(Clone, Copy, Debug)]
pub struct Paints {
    /// Of the answer.
    pub stdout: Paint,
    /// Of notes and errors.
    pub stderr: Paint,
}

impl Paints {
    /// Which streams get colour. `NO_COLOR` counts if it is not empty; `CLICOLOR_FORCE` if it is
    /// neither empty nor 0.
    #[must_use]
    pub fn choose(color: Color, environment: &Environment<'_>) -> Paints {
        let variable = |name| (environment.variable)(name).filter(|value| !value.is_empty());
        let is_forced = variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let is_plain = variable("NO_COLOR").is_some()
            || variable("TERM").is_some_and(|terminal| terminal == "dumb");
        let paint = |is_terminal: bool| {
            Paint::new(match color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => !is_plain && (is_forced || is_terminal),
            })
        };
        Paints {
            stdout: paint(environment.columns.is_some()),
            stderr: paint(environment.stderr_is_terminal),
        }
    }
}

/// Colour, or none.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    on: bool,
}

/// Colours of fields, in turn, so that fields side by side differ.
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

    /// Text that is less important.
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
