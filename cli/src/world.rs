//! Everything outside the program that a command may touch: streams, the terminal, the time, the
//! environment.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::args::Color;
use crate::output::Paint;

/// The outside, as one command sees it.
pub struct World<'a> {
    /// Input, for `-`.
    pub stdin: &'a mut dyn Read,
    /// The answer.
    pub stdout: &'a mut dyn Write,
    /// Notes and errors.
    pub stderr: &'a mut dyn Write,
    /// Columns of the screen that shows stdout, if one does.
    pub columns: Option<usize>,
    /// Whether a screen shows stderr.
    pub stderr_on_screen: bool,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Environment variables.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
}

/// Colours of the two streams.
#[derive(Clone, Copy, Debug)]
pub struct Paints {
    /// Of the answer.
    pub stdout: Paint,
    /// Of notes and errors.
    pub stderr: Paint,
}

impl World<'_> {
    /// Which streams get colour. `NO_COLOR` counts if it is not empty; `CLICOLOR_FORCE` if it is
    /// neither empty nor 0.
    pub fn paint(&self, color: Color) -> Paints {
        let set = |name| (self.env)(name).is_some_and(|value| !value.is_empty());
        let forced =
            set("CLICOLOR_FORCE") && (self.env)("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let plain = set("NO_COLOR") || (self.env)("TERM").is_some_and(|term| term == "dumb");
        let paint = |on_screen: bool| {
            Paint::new(match color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => !plain && (forced || on_screen),
            })
        };
        Paints { stdout: paint(self.columns.is_some()), stderr: paint(self.stderr_on_screen) }
    }

    /// Prints a note that is no part of the answer.
    pub fn note(&mut self, text: &str) {
        // Nobody reads it then; the answer matters more.
        let _closed = writeln!(self.stderr, "note: {text}");
    }
}

/// Calls `f` with the streams of this process.
pub(crate) fn with_process<T>(f: impl FnOnce(&mut World<'_>) -> T) -> T {
    let stdout = io::stdout();
    let columns = stdout.is_terminal().then(|| {
        let size = terminal_size::terminal_size_of(&stdout);
        size.map_or(80, |(width, _)| usize::from(width.0))
    });
    f(&mut World {
        stdin: &mut io::stdin().lock(),
        stdout: &mut stdout.lock(),
        stderr: &mut io::stderr().lock(),
        columns,
        stderr_on_screen: io::stderr().is_terminal(),
        now_ms: now_ms(),
        env: &|name| std::env::var_os(name),
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
