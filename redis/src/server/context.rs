//! What all connections of a server share.
//!
//! One [`Context`] is built when the node opens and lives as long as the process serves. Its fields
//! are either immutable, atomic, or used so rarely that their lock does not matter; see
//! [`crate::server`] for the rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use neokv_engine::Engine;
use neokv_raftstore::Store;
use tokio::sync::Semaphore;

use super::{Clients, Stats};
use crate::config::{Config, Settings};
use crate::keyspace::CursorTable;
use crate::machine::RedisMachine;
use crate::node::disk::DiskGuard;
use crate::node::identity::Names;

/// Tells the Redis address of a store, as `host:port`, if it is known.
pub type Redirect = Box<dyn Fn(u64) -> Option<String> + Send + Sync>;

/// What all connections share.
pub struct Context {
    /// The Regions of this store.
    pub store: Arc<Store<RedisMachine>>,
    /// The engine, for reads.
    pub engine: Engine,
    /// Refuses writes when the disk is nearly full.
    pub disk: Arc<DiskGuard>,
    /// The effective options, for CONFIG GET and INFO.
    pub settings: Arc<Settings>,
    /// What the node is called, in INFO and CLUSTER.
    pub names: Names,
    /// Positions of SCAN cursors.
    pub cursors: CursorTable,
    /// Bounds on connections and buffers.
    pub limits: Limits,
    /// The password that clients must give; `None` asks for none.
    pub password: ArcSwapOption<Password>,
    /// Whether keys of one command must share a slot, as in Redis Cluster.
    pub cluster_mode: bool,
    /// The connections.
    pub clients: Clients,
    /// The counters.
    pub stats: Stats,
    /// How many heavy commands may run at once.
    pub heavy: Semaphore,
    /// Bytes in the buffers of those connections that hold more than [`Limits::high_water`].
    pub held: AtomicUsize,
    /// When the server was started.
    pub started: Instant,
    /// Where the Redis port of another store is, for MOVED. Nothing is known in a standalone
    /// server.
    pub redirect: Redirect,
}

impl Context {
    /// A context over an open store, with everything else taken from the options.
    #[must_use]
    pub fn new(
        store: Arc<Store<RedisMachine>>,
        engine: Engine,
        disk: Arc<DiskGuard>,
        settings: Arc<Settings>,
        names: Names,
    ) -> Context {
        let config = &settings.config;
        Context {
            store,
            engine,
            disk,
            names,
            cursors: CursorTable::new(),
            limits: Limits::from(config),
            password: ArcSwapOption::from(Password::new(&config.requirepass).map(Arc::new)),
            cluster_mode: config.cluster_mode,
            clients: Clients::default(),
            stats: Stats::default(),
            heavy: Semaphore::new(heavy_permits()),
            held: AtomicUsize::new(0),
            started: Instant::now(),
            redirect: Box::new(|_| None),
            settings,
        }
    }

    /// Whether a client must authenticate before other commands.
    pub fn needs_password(&self) -> bool {
        self.password.load().is_some()
    }

    /// Moves a connection's share of [`Context::held`] from `before` to `after`; returns the new
    /// total.
    pub fn hold(&self, before: usize, after: usize) -> usize {
        if after >= before {
            let more = after - before;
            self.held.fetch_add(more, Ordering::Relaxed).saturating_add(more)
        } else {
            let less = before - after;
            self.held.fetch_sub(less, Ordering::Relaxed).saturating_sub(less)
        }
    }
}

/// Twice the processors: enough to keep disks busy, too few to fill memory with half-built replies.
fn heavy_permits() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| cores.get().saturating_mul(2))
}

/// Milliseconds since 1970 by this machine's clock; 0 if it stands before that.
#[must_use]
pub fn wall_clock_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}

/// Bounds on connections and their buffers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections served at the same time.
    pub clients: usize,
    /// A connection idle for this long is closed; zero never.
    pub idle: Duration,
    /// Bounds on one command.
    pub parser: neokv_resp::Limits,
    /// Unsent bytes from which on a connection runs nothing more until its client reads.
    pub high_water: usize,
    /// Unsent bytes, and bytes received meanwhile, at which a connection is closed.
    pub output: usize,
    /// Buffered bytes of all connections together at which one that needs more is closed.
    pub held: usize,
    /// Bytes of commands that one connection may have on their way through the log.
    pub pipeline_bytes: usize,
    /// Commands that one connection may have on their way through the log.
    pub pipeline_commands: usize,
}

impl From<&Config> for Limits {
    fn from(config: &Config) -> Limits {
        Limits {
            clients: config.maxclients,
            idle: config.timeout,
            parser: neokv_resp::Limits {
                max_bulk: config.proto_max_bulk_len,
                max_args: config.max_args,
                ..neokv_resp::Limits::default()
            },
            high_water: 256 << 10,
            output: config.client_output_buffer_limit,
            held: config.client_output_buffer_limit.saturating_mul(4),
            pipeline_bytes: 4 << 20,
            pipeline_commands: 4096,
        }
    }
}

/// A password, compared in a time that does not depend on where two differ.
pub struct Password(Box<[u8]>);

impl Password {
    /// `None` for the empty password, which asks for none.
    #[must_use]
    pub fn new(text: &str) -> Option<Password> {
        (!text.is_empty()).then(|| Password(text.as_bytes().into()))
    }

    /// Whether `attempt` is the password.
    #[must_use]
    pub fn matches(&self, attempt: &[u8]) -> bool {
        // Every byte of the attempt is looked at. The time tells its length, which the client
        // knows, and no more.
        let mut expected = self.0.iter().cycle();
        let differing =
            attempt.iter().fold(0u8, |seen, byte| seen | (byte ^ expected.next().unwrap_or(&0)));
        differing == 0 && attempt.len() == self.0.len()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_itself_only() {
        let password = Password::new("secret").unwrap();
        assert!(password.matches(b"secret"));
        for wrong in [&b""[..], b"s", b"secre", b"secrets", b"secretsecret", b"Secret", b"terces"] {
            assert!(!password.matches(wrong), "{}", wrong.escape_ascii());
        }
        assert!(Password::new("").is_none());
        assert!(!format!("{password:?}").contains("secret"));
    }
}
