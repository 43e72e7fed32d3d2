//! Why a question has no answer.

use std::path::{Path, PathBuf};

use neokv_engine::EngineError;

use crate::server::Server;

/// A question that has no answer at all.
///
/// The texts say what failed; the directory and the cause are in the fields, so that a tool can
/// print each in its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// No store could be opened.
    #[error("cannot open the store")]
    Open {
        /// The data directory.
        dir: PathBuf,
        /// What the engine says.
        source: EngineError,
    },
    /// The directory could not be copied.
    #[error("cannot copy the store")]
    Copy {
        /// The data directory.
        dir: PathBuf,
        /// What the engine says.
        source: EngineError,
    },
    /// A server runs on the directory, and it must not.
    #[error("a server runs on the directory")]
    Running {
        /// The data directory.
        dir: PathBuf,
        /// Which server.
        server: Server,
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
        /// Ids that are there, nearest first, five at most.
        nearest: Vec<u64>,
    },
    /// No Region was named and the store has several.
    #[error("which Region?")]
    SeveralRegions {
        /// The data directory.
        dir: PathBuf,
        /// How many there are.
        count: usize,
        /// The first of them.
        first: u64,
    },
}

impl InspectError {
    /// The data directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self {
            InspectError::Open { dir, .. }
            | InspectError::Copy { dir, .. }
            | InspectError::Running { dir, .. }
            | InspectError::Read { dir, .. }
            | InspectError::NoRegion { dir, .. }
            | InspectError::SeveralRegions { dir, .. } => dir,
        }
    }

    /// The cause, in one line.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            InspectError::Open { source, .. }
            | InspectError::Copy { source, .. }
            | InspectError::Read { source, .. } => source.to_string(),
            InspectError::Running { server, .. } => {
                format!("{server}: what its logs hold is in its memory, and changes")
            }
            InspectError::NoRegion { nearest, .. } if nearest.is_empty() => {
                "the store has no Region at all".into()
            }
            InspectError::NoRegion { nearest, .. } => {
                let ids: Vec<String> = nearest.iter().map(u64::to_string).collect();
                format!("it has {}", ids.join(", "))
            }
            InspectError::SeveralRegions { count, .. } => {
                format!("this store has {count} of them")
            }
        }
    }

    /// Error and cause in one line, for an answer that goes on without what failed.
    #[must_use]
    pub fn in_one_line(&self) -> String {
        format!("{self}: {}", self.why())
    }
}
