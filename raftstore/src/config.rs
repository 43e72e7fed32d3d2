//! What can be tuned, with the reason for each default.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;

/// When an appended entry counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
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
    "{what}: {cause}; the state on disk is unknown, so the process must end and recover at its \
     next start"
)]
pub struct FatalError {
    /// What failed.
    pub what: &'static str,
    /// How.
    pub cause: String,
}

/// What is done on a [`FatalError`].
pub type FatalHook = Arc<dyn Fn(&FatalError) + Send + Sync>;

/// Where the work of a store runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Execution {
    /// On threads of the store's own: a runtime for the groups, one thread for the log, some for
    /// apply.
    #[default]
    Threads,
    /// On the caller's runtime, log and apply included, without ticks: for tests that step through
    /// a history. The runtime must have one thread.
    Stepped,
}

/// Settings of a [`Store`](crate::Store).
#[derive(Clone)]
pub struct Config {
    /// This store's id, as in the peers of descriptors.
    pub store_id: u64,
    /// Directory for snapshots on their way in and out. On the same file system as the engine's.
    pub snapshot_dir: PathBuf,
    /// When an appended entry counts as durable. Votes are always synced: they are rare, and a
    /// forgotten one could elect two leaders in one term.
    pub sync: SyncMode,
    /// Called when a write or sync of the log failed for another reason than a full disk. Must end
    /// the process: after a failed fsync the kernel may have dropped the dirty pages, so a retry
    /// that succeeds proves nothing. The default logs and aborts.
    pub fatal: FatalHook,
    /// What entries are stamped with, and what readers decide expiry by.
    pub clock: Clock,

    /// Where the work runs.
    pub execution: Execution,
    /// Whether this is the only store: no Region has a replica elsewhere. Then nobody waits for
    /// heartbeats, and short work that may block need not be handed to another thread.
    pub stands_alone: bool,
    /// Threads of the runtime that runs the Raft groups. They never block, unless the store stands
    /// alone, so few suffice for hundreds of Regions.
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
    /// Bytes that may wait for entries, in all Regions together, before writes are refused.
    pub queue_bytes: usize,
    /// Commands that may wait in one Region.
    pub queue_commands: usize,
    /// Largest command.
    pub command_bytes: usize,
    /// How long a write may take. One that still waits is refused; one in the log is answered with
    /// *outcome unknown*.
    /// So is a split or a change of peers.
    pub propose_timeout: Duration,
    /// How long a new learner may take to catch up, before the wait for it ends.
    pub catch_up_timeout: Duration,
    /// Entries are applied in one engine write until they, or their effects, have so many bytes.
    pub apply_bytes: usize,

    /// Bytes of recent entries that one Region keeps in memory, so that neither replication nor
    /// apply reads the engine.
    pub tail_bytes: usize,
    /// Bytes of recent entries that all Regions keep in memory together.
    pub tails_bytes: usize,
    /// Bytes of applied log to keep, in all Regions together. Above it the largest logs are purged.
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
    /// Longest wait for a majority to confirm a read.
    pub read_timeout: Duration,
    /// Longest wait for the answer to a small message.
    pub message_timeout: Duration,
    /// Slowest link that is good enough: a message of so many bytes gets a second more.
    pub message_bytes_per_second: NonZeroU64,

    /// Bytes of a snapshot sent in one message.
    pub snapshot_chunk: usize,
    /// Bytes per second that building snapshots may read, all of them together; `None` for as fast
    /// as it goes.
    pub snapshot_bytes_per_second: Option<NonZeroU64>,
    /// Snapshots that are sent at the same time.
    pub snapshots_sent: usize,
    /// Snapshots that are received at the same time.
    pub snapshots_received: usize,
    /// A transfer that has not moved for so long gives up its place.
    pub snapshot_idle_timeout: Duration,
}

impl Config {
    /// Defaults for a store with this id, whose snapshots pass through `snapshot_dir`.
    pub fn new(store_id: u64, snapshot_dir: impl Into<PathBuf>) -> Config {
        Config {
            store_id,
            snapshot_dir: snapshot_dir.into(),
            sync: SyncMode::Always,
            fatal: Arc::new(abort),
            clock: Clock::default(),
            execution: Execution::Threads,
            stands_alone: false,
            raft_threads: 1,
            apply_threads: 2,
            entry_bytes: 1 << 20,
            entry_commands: 4096,
            window: 3,
            eager_bytes: 16 << 10,
            queue_bytes: 256 << 20,
            queue_commands: 1 << 20,
            command_bytes: 1 << 30,
            propose_timeout: Duration::from_secs(30),
            catch_up_timeout: Duration::from_secs(600),
            apply_bytes: 1 << 20,
            tail_bytes: 8 << 20,
            tails_bytes: 64 << 20,
            log_bytes: 64 << 20,
            log_entries: 100_000,
            heartbeat: Duration::from_millis(500),
            election_min: Duration::from_millis(1500),
            election_max: Duration::from_millis(2000),
            quiet_period: None,
            read_timeout: Duration::from_secs(2),
            message_timeout: Duration::from_secs(1),
            message_bytes_per_second: NonZeroU64::MIN.saturating_add((1 << 20) - 1),
            snapshot_chunk: 1 << 20,
            snapshot_bytes_per_second: NonZeroU64::new(64 << 20),
            snapshots_sent: 2,
            snapshots_received: 2,
            snapshot_idle_timeout: Duration::from_secs(60),
        }
    }

    /// The effective quiet period.
    pub(crate) fn quiet(&self) -> Duration {
        self.quiet_period.unwrap_or(self.election_max)
    }

    /// How long to wait for the answer to a message of so many bytes.
    pub(crate) fn answer_timeout(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let millis = bytes.saturating_mul(1000) / self.message_bytes_per_second;
        self.message_timeout + Duration::from_millis(millis)
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

/// The default [`Config::fatal`].
fn abort(error: &FatalError) {
    tracing::error!(%error, "fatal");
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_messages_get_more_time() {
        let config = Config::new(1, "unused");
        assert_eq!(config.answer_timeout(0), Duration::from_secs(1));
        assert_eq!(config.answer_timeout(8 << 20), Duration::from_secs(9));
    }
}
