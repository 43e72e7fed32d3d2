//! What can go wrong, and how it is told: what failed, where, why, and what to try.
//!
//! ```text
//! error: cannot open the store
//!   where: ./neokv-data
//!   why:   ./neokv-data holds no NeoKV store; check the path
//!   try:   give the data directory of the server: neoctl --dir DIR …
//! ```

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use neokv_engine::{Action, EngineError};

use crate::bytes_input::BytesError;
use crate::output::Paint;

/// How a command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Answered.
    Ok,
    /// Answered: it is not there.
    Negative,
    /// The arguments make no sense.
    Usage,
    /// The store cannot be opened, or a stream cannot be read or written.
    CannotOpen,
    /// Bytes are damaged or of no known format; what could be read was printed.
    NotUnderstood,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::Negative => 1,
            Exit::Usage => 2,
            Exit::CannotOpen => 3,
            Exit::NotUnderstood => 5,
        }
    }
}

/// A command that gives no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// Bytes that are not written as they should be.
    #[error("cannot read the bytes of {argument}")]
    Bytes {
        /// Name of the argument.
        argument: &'static str,
        /// What is wrong with them.
        source: BytesError,
    },
    /// Arguments that do not go together.
    #[error("{what}")]
    Usage {
        /// What is wrong.
        what: String,
        /// The rule behind it.
        why: String,
        /// A command line or option that works.
        hint: String,
    },
    /// No store could be opened.
    #[error("cannot open the store")]
    Open {
        /// The data directory.
        dir: PathBuf,
        /// What the engine says.
        source: EngineError,
    },
    /// A store was opened and then could not be read.
    #[error("cannot read {what}")]
    Read {
        /// Which records.
        what: &'static str,
        /// The data directory.
        dir: PathBuf,
        /// What the engine says.
        source: EngineError,
    },
    /// The store has no such Region.
    #[error("no Region {id} in this store")]
    NoRegion {
        /// The data directory.
        dir: PathBuf,
        /// What was asked for.
        id: u64,
        /// Regions that are there, nearest first.
        nearest: Vec<u64>,
    },
    /// Input for `-` could not be read.
    #[error("cannot read the standard input")]
    Input(#[source] io::Error),
    /// The answer could not be printed.
    #[error("cannot print the answer")]
    Output(#[source] io::Error),
}

impl CliError {
    /// The exit code of a command that fails this way.
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Bytes { .. } | CliError::Usage { .. } => Exit::Usage,
            CliError::NoRegion { .. } => Exit::Negative,
            CliError::Open { source, .. } | CliError::Read { source, .. } if is_damage(source) => {
                Exit::NotUnderstood
            }
            CliError::Open { .. }
            | CliError::Read { .. }
            | CliError::Input(_)
            | CliError::Output(_) => Exit::CannotOpen,
        }
    }

    /// The error in one line, for an answer that goes on without what failed.
    pub fn told(&self) -> String {
        format!("{self}: {}", self.why())
    }

    /// The text for stderr, up to four lines.
    pub fn report(&self, paint: Paint) -> String {
        let mut out = format!("{} {self}\n", paint.problem("error:"));
        if let Some(place) = self.place() {
            let _ = writeln!(out, "  where: {place}");
        }
        let _ = writeln!(out, "  why:   {}", self.why());
        let _ = writeln!(out, "  try:   {}", self.hint());
        out
    }

    fn place(&self) -> Option<String> {
        match self {
            CliError::Open { dir, .. }
            | CliError::Read { dir, .. }
            | CliError::NoRegion { dir, .. } => Some(dir.display().to_string()),
            _ => None,
        }
    }

    fn why(&self) -> String {
        match self {
            CliError::Bytes { source, .. } => source.to_string(),
            CliError::Usage { why, .. } => why.clone(),
            CliError::Open { source, .. } | CliError::Read { source, .. } => source.to_string(),
            CliError::NoRegion { nearest, .. } if nearest.is_empty() => {
                "the store has no Region at all".to_string()
            }
            CliError::NoRegion { nearest, .. } => {
                let ids: Vec<String> = nearest.iter().map(u64::to_string).collect();
                format!("it has {}", ids.join(", "))
            }
            CliError::Input(error) | CliError::Output(error) => error.to_string(),
        }
    }

    fn hint(&self) -> String {
        match self {
            CliError::Bytes { .. } => {
                "hex:2f96…, esc:a\\x00b, utf8:text, bare text (escapes allowed), - for stdin".into()
            }
            CliError::Usage { hint, .. } => hint.clone(),
            CliError::Open { source, .. } | CliError::Read { source, .. } => match (source, source.action()) {
                (EngineError::NoStore { .. }, _) => "the data directory of the server: neoctl --dir DIR …".into(),
                (EngineError::FormatVersion { .. }, _) => "the neoctl of the release that wrote it".into(),
                (_, Action::Retry) => "again: the server may just be moving its files".into(),
                (_, Action::Elsewhere) => {
                    "neoctl raft log and region list: other families may be readable; then restore the store".into()
                }
                _ => "whether this user may read the directory, and whether the disk is healthy".into(),
            },
            CliError::NoRegion { .. } => "neoctl region list".into(),
            CliError::Input(_) => "the bytes as an argument instead of -".into(),
            CliError::Output(_) => "another output".into(),
        }
    }
}

/// Whether bytes on the disk are wrong, and not the access to them.
fn is_damage(error: &EngineError) -> bool {
    matches!(error, EngineError::Corruption { .. })
}
