//! Everything outside the program that a command may touch: streams, the terminal, the time, the
//! environment variables.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Columns of a terminal that does not tell its width.
const USUAL_COLUMNS: usize = 80;

/// The outside, as one command sees it.
pub struct Environment<'a> {
    /// Input, for `-`.
    pub stdin: &'a mut dyn Read,
    /// The answer.
    pub stdout: &'a mut dyn Write,
    /// Notes and errors.
    pub stderr: &'a mut dyn Write,
    /// Columns of the terminal that shows stdout, if one does.
    pub columns: Option<usize>,
    /// Whether a terminal shows stderr.
    pub stderr_is_terminal: bool,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Environment variables.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
}

impl Environment<'_> {
    /// Prints a note that is no part of the answer.
    pub fn note(&mut self, text: &str) {
        // If stderr is closed, nobody would read the note; the answer matters more.
        let _closed = writeln!(self.stderr, "note: {text}");
    }
}

/// Calls `f` with the streams of this process.
pub(crate) fn with_process<T>(f: impl FnOnce(&mut Environment<'_>) -> T) -> T {
    let stdout = io::stdout();
    let columns = stdout.is_terminal().then(|| {
        let size = terminal_size::terminal_size_of(&stdout);
        size.map_or(USUAL_COLUMNS, |(width, _)| usize::from(width.0))
    });
    f(&mut Environment {
        stdin: &mut io::stdin().lock(),
        stdout: &mut stdout.lock(),
        stderr: &mut io::stderr().lock(),
        columns,
        stderr_is_terminal: io::stderr().is_terminal(),
        now_ms: now_ms(),
        variable: &|name| std::env::var_os(name),
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
