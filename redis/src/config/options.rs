//! The one table of options.
//!
//! A row gives an option everything: the field of [`Config`] that the program reads, the flag, and
//! by rule the environment variable (`NEOKV_` and the flag's name) and the place in the TOML file
//! (the group's section and the flag's name). The reader, `--help`, `--print-config`,
//! `conf/neokv.toml` and CONFIG GET all walk this table, so an option cannot exist in one of them
//! and be missing from another.
//!
//! Adding an option is adding a row; the tests of the parent module hold the rest of the promises
//! (defaults are within range, names are unique, the shipped file is what the table prints).

use super::value::OptionKind::{Addresses, Bytes, Count, Flag, Listen, Path, Secret, Time, Word};
use super::value::Unit::{Milliseconds, Seconds};
use super::value::{Choice, OptionKind, OptionValue};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// A section of `--help` and of the configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionGroup {
    /// Where clients connect, and how many.
    Network,
    /// What one client may ask of the server's memory.
    Limits,
    /// The data directory, durability and RocksDB.
    Storage,
    /// The replicated log.
    Raft,
    /// Threads and background work.
    Runtime,
    /// Logs and metrics.
    Observe,
}

impl OptionGroup {
    /// All groups in the order in which help and files list them.
    pub const ALL: [OptionGroup; 6] = [
        OptionGroup::Network,
        OptionGroup::Limits,
        OptionGroup::Storage,
        OptionGroup::Raft,
        OptionGroup::Runtime,
        OptionGroup::Observe,
    ];

    /// The TOML section.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            OptionGroup::Network => "network",
            OptionGroup::Limits => "limits",
            OptionGroup::Storage => "storage",
            OptionGroup::Raft => "raft",
            OptionGroup::Runtime => "runtime",
            OptionGroup::Observe => "observe",
        }
    }

    /// The heading in `--help` and in the file.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            OptionGroup::Network => "Network, where clients connect",
            OptionGroup::Limits => "Limits, what one client may cost",
            OptionGroup::Storage => "Storage, where data live and how safely",
            OptionGroup::Raft => "Raft, the log that every write goes through",
            OptionGroup::Runtime => "Runtime, threads and background work",
            OptionGroup::Observe => "Observe, logs and metrics",
        }
    }
}

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct ConfigOption {
    /// The flag without its dashes; also the TOML key below the group's section.
    pub name: &'static str,
    /// The section it belongs to.
    pub group: OptionGroup,
    /// What it may hold.
    pub kind: OptionKind,
    /// The default, as text that `kind` reads.
    pub default: &'static str,
    /// The name under which CONFIG GET answers: Redis's own where Redis has this option.
    pub config_get: &'static str,
    /// One sentence or two for `--help`.
    pub help: &'static str,
}

impl ConfigOption {
    /// `NEOKV_MAX_ARGS` for `max-args`.
    #[must_use]
    pub fn env(&self) -> String {
        format!("NEOKV_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// `limits.max-args` for `max-args`.
    #[must_use]
    pub fn toml(&self) -> String {
        format!("{}.{}", self.group.section(), self.name)
    }
}

/// When an acknowledged write is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Before its OK: an OK means fsynced.
    Always,
    /// At most a second after its OK.
    EverySec,
    /// When the operating system writes it; survives a crash of the process, not of the machine.
    No,
}

/// What a start does about damage in the part of the write-ahead log that was synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamagedLog {
    /// It ends.
    Refuse,
    /// It goes on without what stands behind the damage.
    Accept,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Turns a read [`OptionValue`] into the type of a [`Config`] field; `None` if the table pairs a
/// kind with a wrong type.
trait FromValue: Sized {
    fn from_value(value: &OptionValue) -> Option<Self>;
}

macro_rules! from_value {
    ($($ty:ty: $pattern:pat => $result:expr;)*) => {
        $(impl FromValue for $ty {
            fn from_value(value: &OptionValue) -> Option<Self> {
                match value {
                    $pattern => $result,
                    _ => None,
                }
            }
        })*
    };
}

from_value! {
    bool: OptionValue::Flag(flag) => Some(*flag);
    u64: OptionValue::Number(number) => Some(*number);
    u16: OptionValue::Number(number) => u16::try_from(*number).ok();
    usize: OptionValue::Number(number) => usize::try_from(*number).ok();
    Duration: OptionValue::Time(time) => Some(*time);
    String: OptionValue::Secret(text) => Some(text.clone());
    PathBuf: OptionValue::Path(path) => Some(path.clone());
    Vec<IpAddr>: OptionValue::Addresses(addresses) => Some(addresses.clone());
    Option<SocketAddr>: OptionValue::Listen(address) => Some(*address);
    &'static str: OptionValue::Word(word) => Some(word);
    Sync: OptionValue::Word(word) => Some(match *word {
        "always" => Sync::Always,
        "everysec" => Sync::EverySec,
        _ => Sync::No,
    });
    DamagedLog: OptionValue::Word(word) => Some(match *word {
        "accept" => DamagedLog::Accept,
        _ => DamagedLog::Refuse,
    });
    LogFormat: OptionValue::Word(word) => Some(match *word {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    });
}

const SYNC: &[Choice] = &[
    ("always", "an OK means fsynced"),
    ("everysec", "fsync every second: a power cut may take the last second"),
    ("no", "the operating system decides: a power cut may take more"),
];
const DAMAGED_LOG: &[Choice] = &[
    ("refuse", "keep the data as they are and end: everything behind the damage would be lost"),
    ("accept", "serve what stands before the damage; the rest is kept in *.log.cut"),
];
const LOG_FORMAT: &[Choice] = &[("text", "for people"), ("json", "one object per line")];
const LOG_LEVEL: &[Choice] =
    &[("error", ""), ("warn", ""), ("info", ""), ("debug", ""), ("trace", "")];

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

macro_rules! options {
    ($(
        $field:ident: $ty:ty = $name:literal, $group:ident, $kind:expr, $default:literal,
        $config_get:literal, $help:literal;
    )*) => {
        /// Every option, in the order in which help lists them.
        pub const OPTIONS: &[ConfigOption] = &[$(ConfigOption {
            name: $name,
            group: OptionGroup::$group,
            kind: $kind,
            default: $default,
            config_get: $config_get,
            help: $help,
        }),*];

        /// The effective value of every option, typed.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Config {
            $(#[doc = $help] pub $field: $ty,)*
        }

        impl Config {
            /// `values` in the table's order; `None` if a kind and a field's type do not fit each
            /// other.
            pub(super) fn from_values(values: &[OptionValue]) -> Option<Config> {
                let mut values = values.iter();
                Some(Config { $($field: <$ty>::from_value(values.next()?)?,)* })
            }
        }
    };
}

options! {
    port: u16 = "port", Network, Count { min: 0, max: 65535 }, "16379", "port",
        "Port for Redis clients. 0 takes a free one; the NEOKV_READY line tells which.";
    bind: Vec<IpAddr> = "bind", Network, Addresses, "127.0.0.1", "bind",
        "Addresses to listen on. Beyond loopback, set a password as well.";
    requirepass: String = "requirepass", Network, Secret, "", "requirepass",
        "Password that clients give with AUTH or HELLO; empty asks for none. Prefer the file or \
         the environment: flags show in ps.";
    maxclients: usize = "maxclients", Network,
        Count { min: 1, max: 1_000_000 }, "10000", "maxclients",
        "Connections served at the same time; one more is told so and closed.";
    timeout: Duration = "timeout", Network,
        Time { unit: Seconds, min: 0, max: 31_536_000 }, "0", "timeout",
        "Close a connection that has been idle this long; 0 never does.";
    cluster_mode: bool = "cluster-mode", Network, Flag, "no", "cluster-enabled",
        "Speak as a cluster node: keys of one command must share a slot, or CROSSSLOT.";

    proto_max_bulk_len: usize = "proto-max-bulk-len", Limits,
        Bytes { min: MIB, max: 1000 * MIB }, "512mb", "proto-max-bulk-len",
        "Largest single argument.";
    max_args: usize = "max-args", Limits, Count { min: 16, max: 16_777_216 }, "1048576", "max-args",
        "Most arguments of one command.";
    client_output_buffer_limit: usize = "client-output-buffer-limit", Limits,
        Bytes { min: MIB, max: 64 * GIB }, "1gb", "client-output-buffer-limit",
        "A connection with more unread replies than this is closed; a command that gathers more \
         for its reply fails.";

    dir: PathBuf = "dir", Storage, Path, "./neokv-data", "dir",
        "The data directory; created if missing. One server at a time.";
    sync: Sync = "sync", Storage, Word(SYNC), "always", "appendfsync",
        "When an acknowledged write is on disk.";
    damaged_log: DamagedLog = "damaged-log", Storage, Word(DAMAGED_LOG), "refuse", "damaged-log",
        "What a start does when a part of the write-ahead log is damaged that was synced before, \
         whatever --sync says. What was not synced yet is dropped with a warning.";
    disk_reserve: u64 = "disk-reserve", Storage,
        Bytes { min: 0, max: 1024 * GIB }, "256mb", "disk-reserve",
        "Refuse writes that need space while the disk has less free than this; reads and deletes \
         go on. 0 never refuses.";
    block_cache: usize = "block-cache", Storage,
        Bytes { min: MIB, max: 1024 * GIB }, "12mb", "block-cache",
        "Memory for blocks read from disk.";
    row_table: usize = "row-table", Storage,
        Bytes { min: 0, max: 1024 * GIB }, "0", "row-table",
        "Memory for rows at most: those that wait for being written behind, and those that are \
         used often. It begins with 88 MiB, and grows only when a row has to be read from a file \
         again. 0 is a quarter of the memory that the process may use.";
    write_behind: usize = "write-behind", Storage,
        Bytes { min: MIB, max: 64 * GIB }, "64mb", "write-behind",
        "Applied rows that may wait in memory; with so many, writers wait. After a crash the log \
         is applied again from where they begin, so this bounds the time to restart. The larger, \
         the fewer bytes are written to disk.";
    write_buffer: usize = "write-buffer", Storage,
        Bytes { min: MIB, max: 64 * GIB }, "64mb", "write-buffer",
        "Memory for writes that are not yet flushed to a file, all column families together. Above \
         it the largest part is flushed; writers do not wait for it.";
    wal_limit: u64 = "wal-limit", Storage,
        Bytes { min: 4 * MIB, max: 64 * GIB }, "128mb", "wal-limit",
        "Write-ahead log that a restart may have to replay; beyond it the oldest part is flushed.";
    background_io_limit: u64 = "background-io-limit", Storage,
        Bytes { min: 0, max: 64 * GIB }, "128mb", "background-io-limit",
        "Bytes per second that flushes and compactions may write, and as many again for rows that \
         are written behind while no client waits for it; 0 sets no limit.";

    initial_regions: u16 = "initial-regions", Raft,
        Count { min: 1, max: 16_384 }, "1", "initial-regions",
        "Regions into which the first start cuts the keyspace; later starts keep what is there. \
         With more than one, all keys of a command must be in one Region, or CROSSSLOT.";
    raft_log_bytes: u64 = "raft-log-bytes", Raft,
        Bytes { min: MIB, max: 1024 * GIB }, "16mb", "raft-log-bytes",
        "Log that all Regions together keep, in bytes. Above it, applied entries of the largest \
         logs are purged, oldest first: down to half, or to a sixteenth where no Region has \
         followers. Those that a live follower lacks stay; above twice as much they go too, and \
         the follower gets a snapshot.";
    raft_log_entries: u64 = "raft-log-entries", Raft,
        Count { min: 100, max: 100_000_000 }, "100000", "raft-log-entries",
        "Log that each Region keeps, in entries. It is purged in the same way, whichever of the \
         two limits is reached first.";
    proposer_bytes: usize = "proposer-bytes", Raft,
        Bytes { min: 4 * KIB, max: 16 * MIB }, "1mb", "proposer-bytes",
        "Commands that wait are gathered into one log entry up to this size, in bytes.";
    proposer_commands: usize = "proposer-commands", Raft,
        Count { min: 1, max: 65_536 }, "4096", "proposer-commands",
        "Commands that one log entry gathers at most.";
    proposer_window: usize = "proposer-window", Raft,
        Count { min: 1, max: 1024 }, "3", "proposer-window",
        "Entries of one Region that are proposed and not yet applied, at most.";

    threads: usize = "threads", Runtime, Count { min: 0, max: 1024 }, "0", "io-threads",
        "Threads that serve clients; 0 takes one per core.";
    raft_threads: usize = "raft-threads", Runtime, Count { min: 1, max: 256 }, "1", "raft-threads",
        "Threads that drive Raft. They are apart from the clients' threads, so that heartbeats \
         never wait behind a reply.";
    apply_threads: usize = "apply-threads", Runtime,
        Count { min: 1, max: 256 }, "2", "apply-threads",
        "Threads that apply committed entries; each Region uses one of them.";
    background_jobs: u16 = "background-jobs", Runtime,
        Count { min: 1, max: 64 }, "2", "background-jobs",
        "Threads for flushes and compactions.";
    expire_interval: Duration = "expire-interval", Runtime,
        Time { unit: Milliseconds, min: 10, max: 3_600_000 }, "500ms", "expire-interval",
        "How often the cleaner looks for expired keys. Reads never see one, whatever this is.";

    metrics_bind: Option<SocketAddr> = "metrics-bind", Observe, Listen, "off", "metrics-bind",
        "Serve Prometheus metrics here, under /metrics.";
    log_format: LogFormat = "log-format", Observe, Word(LOG_FORMAT), "text", "log-format",
        "How log lines look. They go to stderr.";
    log_level: &'static str = "log-level", Observe, Word(LOG_LEVEL), "info", "loglevel",
        "The least severe level of the lines that are printed.";
}
