//! What can go wrong in the engine, sorted by what the caller should do about it.
//!
//! RocksDB reports a failure as a line of text. Callers need a decision: try again, let another
//! replica answer, correct the input, or stop the process before a wrong byte is served.
//! [`EngineError::from_rocksdb`] reads the line once, here, and keeps what an operator needs from
//! it: for damage, the name of the damaged file.
//!
//! | error | [`Action`] | because |
//! | --- | --- | --- |
//! | [`NoSpace`](EngineError::NoSpace), [`Busy`](EngineError::Busy), [`BudgetExceeded`](EngineError::BudgetExceeded) | `Retry` | the state is unharmed and the cause can pass |
//! | [`Corruption`](EngineError::Corruption) | `Elsewhere` | these bytes stay wrong; another replica has the right ones |
//! | [`Io`](EngineError::Io) | `Stop` | after a failed write or sync nobody knows what the disk holds |
//! | everything about the directory or an argument | `FixInput` | it fails the same way until someone changes it |

use std::io;
use std::path::{Path, PathBuf};

use neokv_encoding::DecodeError;

/// What the caller of a failed operation should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Try again later; nothing is broken.
    Retry,
    /// Let another replica serve; this one's bytes are damaged.
    Elsewhere,
    /// The caller or the operator must change something first.
    FixInput,
    /// Stop the process: going on could acknowledge or serve something wrong.
    Stop,
}

/// An operation of the engine failed. See the module header for which error means what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The disk is full. Reads go on; writes work again once space is free and
    /// [`crate::Engine::resume`] succeeded.
    #[error(
        "no space left on the disk that holds the data ({detail}); free some space, and writes go \
         on by themselves"
    )]
    NoSpace {
        /// RocksDB's or the system's message.
        detail: String,
    },
    /// Bytes on disk are not what was written.
    #[error(
        "damaged data{}: {detail}; restore this store from another replica or a backup",
        .file.as_ref().map(|f| format!(" in {}", f.display())).unwrap_or_default()
    )]
    Corruption {
        /// The damaged file, where known.
        file: Option<PathBuf>,
        /// What is wrong, with the offset where known.
        detail: String,
    },
    /// The file system failed.
    #[error("input/output error: {detail}; check the disk and the system log")]
    Io {
        /// RocksDB's or the system's message.
        detail: String,
    },
    /// Another process has the directory open.
    #[error(
        "{} is in use by another process; stop that process, or choose another directory",
        .dir.display()
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// The directory was written in a format that this release does not know.
    #[error(
        "{} has data of format {found}, this release reads format {supported}; run the release \
         that wrote it",
        .dir.display()
    )]
    FormatVersion {
        /// The data directory.
        dir: PathBuf,
        /// Format version of the data.
        found: u32,
        /// Format version of this release.
        supported: u32,
    },
    /// The directory belongs to another store or cluster.
    #[error(
        "this directory belongs to store {found_store} of cluster {found_cluster:x}, not to store \
         {store} of cluster {cluster:x}; give each store its own directory"
    )]
    ForeignStore {
        /// Cluster id on disk.
        found_cluster: u64,
        /// Store id on disk.
        found_store: u64,
        /// Cluster id that was asked for.
        cluster: u64,
        /// Store id that was asked for.
        store: u64,
    },
    /// The directory holds something, but no store of this project.
    #[error(
        "{} is not empty and holds no NeoKV store (it holds {found}); give an empty directory or \
         that of a store",
        .dir.display()
    )]
    ForeignDirectory {
        /// The data directory.
        dir: PathBuf,
        /// One name found in it.
        found: String,
    },
    /// A tool asked for a store that is not there.
    #[error("{} holds no NeoKV store; check the path", .dir.display())]
    NoStore {
        /// The data directory.
        dir: PathBuf,
    },
    /// RocksDB cannot serve this now: a conflicting background operation, a shutdown, a deadline.
    #[error("the storage engine is busy: {detail}; try again")]
    Busy {
        /// RocksDB's message.
        detail: String,
    },
    /// A [`crate::BudgetedRead`] would have had to read more than it may, or from a disk. Read
    /// again from a snapshot, where waiting is allowed.
    #[error("this reads more than its budget, or from the disk; read it from a snapshot")]
    BudgetExceeded,
    /// The operation makes no sense here: a write to a read-only store, a wrong file, a wrong
    /// range.
    #[error("refused by the storage engine: {detail}")]
    Invalid {
        /// What is wrong with it.
        detail: String,
    },
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, EngineError>;

impl EngineError {
    /// What the caller should do.
    pub fn action(&self) -> Action {
        match self {
            EngineError::NoSpace { .. }
            | EngineError::Busy { .. }
            | EngineError::BudgetExceeded => Action::Retry,
            EngineError::Corruption { .. } => Action::Elsewhere,
            EngineError::Io { .. } => Action::Stop,
            EngineError::Locked { .. }
            | EngineError::FormatVersion { .. }
            | EngineError::ForeignStore { .. }
            | EngineError::ForeignDirectory { .. }
            | EngineError::NoStore { .. }
            | EngineError::Invalid { .. } => Action::FixInput,
        }
    }

    /// Sorts a message of RocksDB, `Kind: detail`, into an error.
    pub(crate) fn from_rocksdb(error: rocksdb::Error) -> EngineError {
        use rocksdb::ErrorKind as Kind;
        let kind = error.kind();
        let detail = error.into_string();
        match kind {
            Kind::Corruption => EngineError::Corruption { file: file_in(&detail), detail },
            _ if says_no_space(&detail) => EngineError::NoSpace { detail },
            Kind::IOError => EngineError::Io { detail },
            Kind::Incomplete
            | Kind::ShutdownInProgress
            | Kind::TimedOut
            | Kind::Aborted
            | Kind::Busy
            | Kind::TryAgain
            | Kind::MergeInProgress => EngineError::Busy { detail },
            Kind::NotFound
            | Kind::NotSupported
            | Kind::InvalidArgument
            | Kind::Expired
            | Kind::CompactionTooLarge
            | Kind::ColumnFamilyDropped => EngineError::Invalid { detail },
            Kind::Unknown => EngineError::Io { detail },
        }
    }

    /// An operation of the standard library on `path` failed.
    pub(crate) fn from_io(path: &Path, error: io::Error) -> EngineError {
        let detail = format!("{}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                EngineError::NoSpace { detail }
            }
            _ => EngineError::Io { detail },
        }
    }

    /// A record of the engine's own could not be decoded.
    pub(crate) fn from_decode(what: &str, error: DecodeError) -> EngineError {
        EngineError::Corruption { file: None, detail: format!("{what}: {error}") }
    }
}

impl From<rocksdb::Error> for EngineError {
    fn from(error: rocksdb::Error) -> EngineError {
        EngineError::from_rocksdb(error)
    }
}

/// ENOSPC, EDQUOT, and RocksDB's own limit read alike to a client: the store takes no writes.
fn says_no_space(detail: &str) -> bool {
    [
        "No space left on device",
        "NoSpace",
        "Disk quota exceeded",
        "Max allowed space was reached",
        "Space limit reached",
    ]
    .iter()
    .any(|text| detail.contains(text))
}

/// RocksDB names the file inside the sentence: `Corruption: block checksum mismatch: ... in
/// /data/000012.sst offset 0 ...`.
fn file_in(detail: &str) -> Option<PathBuf> {
    let is_edge = |c: char| {
        c.is_whitespace() || matches!(c, ',' | ';' | ':' | '(' | ')' | '"' | '\'' | '[' | ']')
    };
    detail
        .split(is_edge)
        .map(|word| word.trim_end_matches('.'))
        .find(|word| word.ends_with(".sst") || word.ends_with(".log") || word.contains("MANIFEST-"))
        .map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_names_its_file() {
        let detail = "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4  \
                      in /d/a b/000012.sst offset 0";
        assert_eq!(file_in(detail), Some(PathBuf::from("b/000012.sst")));
        assert_eq!(
            file_in("Corruption: bad record in file (/data/MANIFEST-000005)."),
            Some("/data/MANIFEST-000005".into())
        );
        assert_eq!(file_in("Corruption: no file here"), None);
        let error = EngineError::Corruption {
            file: Some("/data/000012.sst".into()),
            detail: "checksum".into(),
        };
        assert_eq!(
            error.to_string(),
            "damaged data in /data/000012.sst: checksum; restore this store from another replica \
             or a backup"
        );
        assert_eq!(error.action(), Action::Elsewhere);
    }

    #[test]
    fn a_full_disk_is_not_just_an_io_error() {
        assert!(says_no_space(
            "IO error: No space left on device: While appending to file: /d/000004.log"
        ));
        assert!(!says_no_space("IO error: No such file or directory"));
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(matches!(EngineError::from_io(Path::new("/d"), full), EngineError::NoSpace { .. }));
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        assert!(matches!(EngineError::from_io(Path::new("/d"), denied), EngineError::Io { .. }));
    }
}
