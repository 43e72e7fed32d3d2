//! What can be tuned, with the reason for each default.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When an appended entry counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sync {
    /// After an fsync. An acknowledged write survives power loss.
    #[default]
    Always,
    /// After the write; the file is synced once a second. A power loss may cost the last second.
    EverySecond,
    /// After the write; the operating system syncs when it likes. A crash of the process alone
    /// loses nothing.
    Never,
}

/// A failure after which the process must not go on: see [`Config::fatal`].
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "{what}: {cause}; the state on disk is unknown, so the process must end and recover at its next start"
)]
pub struct FatalError {
    /// What failed.
    pub what: &'static str,
    /// How.
    pub cause: String,
}

/// What is done on a [`FatalError`].
pub type FatalHook = Arc<dyn Fn(&FatalError) + Send + std::marker::Sync>;

/// Settings of a [`Store`](crate::Store).
#[derive(Clone)]
pub struct Config {
    /// This store's id, as in the peers of descriptors.
    pub store_id: u64,
    /// Directory for snapshots on their way in and out. On the same file system as the engine's.
    pub snapshot_dir: PathBuf,
    /// When an appended entry counts as durable. Votes are always synced: they are rare, and a
    /// forgotten one could elect two leaders in one term.
    pub sync: Sync,
    /// Called when a write or sync of the log failed for another reason than a full disk. Must end
    /// the process: after a failed fsync the kernel may have dropped the dirty pages, so a retry
    /// that succeeds proves nothing. The default logs and aborts.
    pub fatal: FatalHook,
    /// Wall clock in milliseconds since 1970, for stamps.
    pub now_ms: fn() -> u64,

    /// Threads of the runtime that runs the Raft groups. They never block, so few suffice for
    /// hundreds of Regions.
    pub raft_threads: usize,
    /// OS threads that apply entries. A Region always uses the same one.
    pub apply_threads: usize,

    /// Target size of one entry in bytes: submissions that wait are packed together up to it.
    pub entry_bytes: usize,
    /// Commands in one entry.
    pub entry_commands: usize,
    /// Entries of one Region between here and the end of apply. 1 would leave the log idle while an
    /// entry is applied; more than a few only makes entries smaller.
    pub window: usize,
    /// Bytes that are worth an entry of their own, however busy the log is: every entry costs a
    /// share of an fsync, and few clients are served better by one entry of all than by two of
    /// half.
    pub eager_bytes: usize,
    /// Bytes that may wait in one Region's queue before writes are refused.
    pub queue_bytes: usize,
    /// Commands that may wait in one Region's queue.
    pub queue_commands: usize,
    /// Largest command.
    pub command_bytes: usize,
    /// Entries are applied in one engine write until they, or their effects, have so many bytes.
    pub apply_bytes: usize,

    /// Bytes of recent entries kept in memory per Region, so that neither replication nor apply
    /// reads the engine.
    pub tail_bytes: usize,
    /// Bytes of applied log to keep per Region. Above it, the older half is purged.
    pub log_bytes: u64,
    /// Applied entries to keep per Region.
    pub log_entries: u64,

    /// Interval of a leader's heartbeats.
    pub heartbeat: Duration,
    /// Shortest election timeout.
    pub election_min: Duration,
    /// Longest election timeout; also the time for which followers keep their promise to a leader.
    pub election_max: Duration,
    /// For this long after its start a recovered replica with other voters neither votes nor
    /// campaigns, because it has forgotten which leader it promised to follow. `None` means
    /// `election_max`. A lone voter needs no such pause.
    pub quiet_period: Option<Duration>,
    /// Longest wait for a majority to confirm a read, and for one message to a peer.
    pub rpc_timeout: Duration,
    /// Bytes of a snapshot sent in one message.
    pub snapshot_chunk: usize,
}

impl Config {
    /// Defaults for a store with this id, whose snapshots pass through `snapshot_dir`.
    pub fn new(store_id: u64, snapshot_dir: impl Into<PathBuf>) -> Config {
        Config {
            store_id,
            snapshot_dir: snapshot_dir.into(),
            sync: Sync::Always,
            fatal: Arc::new(abort),
            now_ms: wall_clock_ms,
            raft_threads: 1,
            apply_threads: 1,
            entry_bytes: 1 << 20,
            entry_commands: 4096,
            window: 3,
            eager_bytes: 16 << 10,
            queue_bytes: 256 << 20,
            queue_commands: 1 << 20,
            command_bytes: 1 << 30,
            apply_bytes: 1 << 20,
            tail_bytes: 8 << 20,
            log_bytes: 64 << 20,
            log_entries: 100_000,
            heartbeat: Duration::from_millis(500),
            election_min: Duration::from_millis(1500),
            election_max: Duration::from_millis(2000),
            quiet_period: None,
            rpc_timeout: Duration::from_secs(2),
            snapshot_chunk: 1 << 20,
        }
    }

    /// The effective quiet period.
    pub(crate) fn quiet(&self) -> Duration {
        self.quiet_period.unwrap_or(self.election_max)
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("store_id", &self.store_id)
            .field("sync", &self.sync)
            .field("window", &self.window)
            .finish_non_exhaustive()
    }
}

/// Milliseconds since 1970 by this machine's clock; 0 if it stands before that.
fn wall_clock_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// The default [`Config::fatal`].
fn abort(error: &FatalError) {
    tracing::error!(%error, "fatal");
    std::process::abort();
}
