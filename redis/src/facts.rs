//! What the node can tell about itself at one instant: the source of INFO and of the metrics.
//!
//! [`Facts`] is plain data. Gathering it touches the engine, the Regions, the allocator and the
//! kernel once; after that the sections of INFO and the rows of the metrics table are pure
//! functions of it, which is how they are tested. A fact that nobody measured is absent from the
//! structs here, rather than a zero that looks like a measurement.

use neokv_engine::EngineStats;

use crate::process::usage::{Cpu, Memory};
use crate::stats::CommandCount;

/// Everything, read at one instant.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Seconds since the node was opened.
    pub uptime_seconds: u64,
    /// Wall clock, microseconds since 1970.
    pub time_usec: u64,
    /// Memory of the process.
    pub memory: Memory,
    /// Processor time of the process.
    pub cpu: Cpu,
    /// The disk under the data directory.
    pub disk: DiskFacts,
    /// Clients and commands.
    pub server: ServerFacts,
    /// Raft, summed over the Regions of this store.
    pub raft: RaftFacts,
    /// The storage engine.
    pub engine: EngineStats,
    /// Keys, expired ones that are not yet removed included.
    pub keys: u64,
    /// Keys with an expiry.
    pub expires: ExpiryFacts,
}

/// The disk under the data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskFacts {
    /// Bytes that may still be written.
    pub free: u64,
    /// Bytes that the data directory takes.
    pub used: u64,
    /// The configured reserve.
    pub reserve: u64,
    /// Whether writes that need space are refused now.
    pub refusing: bool,
}

/// A number of keys with an expiry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExpiryFacts {
    /// How many.
    pub count: u64,
    /// False if `count` is RocksDB's estimate, because counting would have taken too long.
    pub exact: bool,
}

/// Clients and commands.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    /// Connections now.
    pub clients: u64,
    /// Connections ever accepted.
    pub connections: u64,
    /// Connections refused because of the limit.
    pub rejected_connections: u64,
    /// Commands run.
    pub commands: u64,
    /// Bytes received.
    pub input_bytes: u64,
    /// Bytes sent.
    pub output_bytes: u64,
    /// Replies that were errors.
    pub error_replies: u64,
    /// Expired keys that the cleaner removed.
    pub expired_keys: u64,
    /// Calls per command that was called at all.
    pub command_stats: Vec<CommandCount>,
    /// Error replies by code.
    pub error_stats: Vec<(String, u64)>,
}

/// Raft, summed over the Regions of this store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RaftFacts {
    /// Regions with a replica here.
    pub regions: u64,
    /// Those that are led from here.
    pub leading: u64,
    /// Those that have stopped after a failure.
    pub stopped: u64,
    /// The largest term.
    pub term: u64,
    /// Last appended index.
    pub last: u64,
    /// Last committed index.
    pub committed: u64,
    /// Last applied index.
    pub applied: u64,
    /// Last purged index.
    pub purged: u64,
    /// Bytes of log held.
    pub log_bytes: u64,
    /// Entries of log held.
    pub log_entries: u64,
}
