//! Why a node cannot start.
//!
//! [`NodeError::report`] is what the operator reads: what failed, where, why, what to try. The
//! process then leaves with code 3.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use neokv_engine::EngineError;
use neokv_raftstore::StoreError;

use crate::metrics::MetricsError;
use crate::server::ListenError;

/// The advice for a full disk. Recovery writes what it reads from the log to files, and an empty
/// store writes its first records. Neither can wait, so a start on a full disk fails.
const FREE_SPACE: &str = "free some space on that disk, then start neokv again; nothing is lost";

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The data directory cannot be opened.
    #[error("cannot open the data directory {}: {source}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: EngineError,
    },
    /// The Raft store in the directory cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A Region stopped before it could serve.
    #[error("region {region} cannot serve: {why}")]
    Region {
        /// The Region.
        region: u64,
        /// Why.
        why: String,
    },
    /// A Region stopped while it served.
    #[error("region {region} has stopped: {why}")]
    RegionStopped {
        /// The Region.
        region: u64,
        /// Why.
        why: Arc<str>,
    },
    /// An address for clients cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics endpoint cannot be opened.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The operating system refused a thread, a signal handler or another resource.
    #[error("cannot start {what}: {source}")]
    Runtime {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Opening panicked; the log has more.
    #[error("opening the store crashed: {0}")]
    Crashed(String),
}

/// Whether this is a file of the write-ahead log.
fn is_log(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "log")
}

impl NodeError {
    /// The error as the operator should see it.
    #[must_use]
    pub fn report(&self) -> String {
        let (place, why) = match self {
            NodeError::Directory { dir, source: EngineError::NoSpace { detail } } => {
                (format!("data directory {}", dir.display()), detail.clone())
            }
            NodeError::Store(StoreError::Engine(EngineError::NoSpace { detail })) => {
                ("the data directory".to_owned(), detail.clone())
            }
            NodeError::Directory { dir, source } => {
                (format!("data directory {}", dir.display()), source.to_string())
            }
            NodeError::Listen(error) => {
                (format!("address {}", error.address), error.source.to_string())
            }
            NodeError::Metrics(error) => (format!("address {}", error.address), error.why.clone()),
            other => ("this machine".to_owned(), other.to_string()),
        };
        format!(
            "error: neokv {}\n  where: {place}\n  why: {why}\n  try: {}",
            if self.is_stop() { "had to stop" } else { "cannot start" },
            self.advice()
        )
    }

    /// Whether the node had served before.
    #[must_use]
    pub fn is_stop(&self) -> bool {
        matches!(self, NodeError::RegionStopped { .. })
    }

    /// What to try.
    fn advice(&self) -> &'static str {
        match self {
            NodeError::Directory { source, .. } => match source {
                EngineError::Locked { .. } => {
                    "stop the process that uses it, or start with another --dir"
                }
                EngineError::FormatVersion { .. } => {
                    "start the release that wrote it, or another --dir"
                }
                EngineError::ForeignStore { .. } | EngineError::ForeignDirectory { .. } => {
                    "start with the --dir of this store, or with an empty one"
                }
                EngineError::NoSpace { .. } => FREE_SPACE,
                EngineError::Corruption { file: Some(file), .. } if is_log(file) => {
                    "keep a copy of the directory, then restore it from a backup; or start with \
                     --damaged-log accept, which serves what was written before the damage"
                }
                EngineError::Corruption { .. } => {
                    "keep a copy of the directory, then restore it from a backup"
                }
                _ => "check that the path is a directory that this user may write to",
            },
            NodeError::Listen(_) => {
                "another --port (0 takes a free one), or an address of this machine for --bind"
            }
            NodeError::Metrics(_) => "another --metrics-bind, or leave it off",
            NodeError::Store(StoreError::Engine(EngineError::NoSpace { .. })) => FREE_SPACE,
            NodeError::Store(StoreError::UnknownRows { .. }) => {
                "keep a copy of the directory, then restore it from a backup"
            }
            NodeError::Store(_)
            | NodeError::Region { .. }
            | NodeError::RegionStopped { .. }
            | NodeError::Crashed(_) => "keep a copy of the directory; --log-level debug tells more",
            NodeError::Runtime { .. } => {
                "check the limits of this user (ulimit -a) and the memory of the machine"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_report_says_where_why_and_what_to_try() {
        let dir = PathBuf::from("/data");
        let error = NodeError::Directory { dir: dir.clone(), source: EngineError::Locked { dir } };
        assert_eq!(
            error.report(),
            "error: neokv cannot start\n  where: data directory /data\n  \
             why: /data is in use by another process; stop that process, or choose another \
             directory\n  try: stop the process that uses it, or start with another --dir"
        );
    }

    #[test]
    fn a_taken_port_is_named() {
        let address = SocketAddr::from(([127, 0, 0, 1], 7000));
        let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        let report = NodeError::Listen(ListenError { address, source }).report();
        assert!(
            report.contains(
                "where: address 127.0.0.1:7000\n  why: address in use\n  try: another --port"
            ),
            "{report}"
        );
    }
}
