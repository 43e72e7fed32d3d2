//! The layer that a value came from.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The table's default.
    Default,
    /// The configuration file, with the key's dotted path.
    File {
        /// The file.
        path: PathBuf,
        /// `network.port`.
        key: String,
    },
    /// The named environment variable.
    Environment(String),
    /// The named flag, without dashes.
    Flag(&'static str),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => write!(f, "default"),
            Source::File { path, key } => {
                write!(f, "configuration file {}, key {key}", path.display())
            }
            Source::Environment(name) => write!(f, "environment variable {name}"),
            Source::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}
