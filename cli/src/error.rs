//! What can go wrong, and how it is reported: what failed, where, why, and what to try.
//!
//! ```text
//! error: cannot open the store
//!   where: ./neokv-data
//!   why:   ./neokv-data holds no NeoKV store; check the path
//!   try:   the data directory of the server: neoctl --dir DIR …
//! ```

use std::io;

use std::path::PathBuf;

use neokv_inspect::{Action, EngineError, InspectError};
use neokv_redis::replay::ReplayError;

/// How a command ended, for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Answered.
    Ok,
    /// Answered: it is not there.
    Negative,
    /// The arguments are wrong.
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
        why: String,
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
    /// The store cannot be opened or read, or lacks what was asked for.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// The log could not be applied to a copy of the store.
    #[error("cannot replay the log")]
    Replay {
        /// The data directory.
        dir: PathBuf,
        /// What the server's code says.
        source: ReplayError,
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
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            CliError::Bytes { .. } | CliError::Usage { .. } => Exit::Usage,
            CliError::Inspect(error) => exit_of(error),
            CliError::Replay { source, .. } if source.is_damage() => Exit::NotUnderstood,
            CliError::Replay { .. } | CliError::Input(_) | CliError::Output(_) => Exit::CannotOpen,
        }
    }

    /// Where it failed, if that is a place.
    #[must_use]
    pub fn place(&self) -> Option<String> {
        match self {
            // The usage of --region is wrong in any directory.
            CliError::Inspect(InspectError::SeveralRegions { .. }) => None,
            CliError::Inspect(error) => Some(error.dir().display().to_string()),
            CliError::Replay { dir, .. } => Some(format!("a copy of {}", dir.display())),
            _ => None,
        }
    }

    /// Why it failed.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            CliError::Bytes { why, .. } | CliError::Usage { why, .. } => why.clone(),
            CliError::Inspect(error) => error.why(),
            CliError::Replay { source, .. } => source.to_string(),
            CliError::Input(error) | CliError::Output(error) => error.to_string(),
        }
    }

    /// What to try instead.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            CliError::Bytes { .. } => {
                "hex:2f96…, esc:a\\x00b, utf8:text, bare text (escapes allowed), - for stdin".into()
            }
            CliError::Usage { hint, .. } => hint.clone(),
            CliError::Inspect(error) => hint_for(error),
            CliError::Replay { .. } => {
                "without --replay: the rows as they are, and neoctl raft log".into()
            }
            CliError::Input(_) => "the bytes as an argument instead of -".into(),
            CliError::Output(_) => "another output".into(),
        }
    }
}

fn exit_of(error: &InspectError) -> Exit {
    match error {
        InspectError::NoRegion { .. } => Exit::Negative,
        InspectError::SeveralRegions { .. } => Exit::Usage,
        // Bytes on the disk are wrong, and not the access to them.
        InspectError::Open { source: EngineError::Corruption { .. }, .. }
        | InspectError::Copy { source: EngineError::Corruption { .. }, .. }
        | InspectError::Read { source: EngineError::Corruption { .. }, .. } => Exit::NotUnderstood,
        _ => Exit::CannotOpen,
    }
}

fn hint_for(error: &InspectError) -> String {
    let source = match error {
        InspectError::SeveralRegions { first, .. } => {
            return format!("--region {first}, or another of neoctl region list");
        }
        InspectError::Running { .. } => {
            return "without --replay, or when the server is stopped".into();
        }
        InspectError::Open { source, .. }
        | InspectError::Copy { source, .. }
        | InspectError::Read { source, .. } => source,
        _ => return "neoctl region list".into(),
    };
    let hint = match (source, source.action()) {
        (EngineError::NoStore { .. }, _) => "the data directory of the server: neoctl --dir DIR …",
        (EngineError::FormatVersion { .. }, _) => "the neoctl of the release that wrote it",
        (_, Action::Retry) => "again: the server may be moving its files",
        (_, Action::Elsewhere) => {
            "neoctl raft log and region list: other families may be readable; then restore the \
             store"
        }
        _ => "whether this user may read the directory, and whether the disk is healthy",
    };
    hint.into()
}
