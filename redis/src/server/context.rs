//! What all connections of a server share.
//!
//! One [`Context`] is built when the node opens and lives as long as the process serves. Its fields
//! are either immutable, atomic, or used so rarely that their lock does not matter; see
//! [`crate::server`] for the rule.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use neokv_engine::Engine;
use neokv_raftstore::Store;
use tokio::sync::Semaphore;

use crate::clients::Clients;
use crate::command::table;
use crate::config::{Config, ParameterStore, Settings};
use crate::disk::DiskGuard;
use crate::identity::NodeIdentity;
use crate::keyspace::CursorTable;
use crate::machine::RedisMachine;
use crate::password::Password;
use crate::stats::ServerStats;
use crate::topology::Topology;

/// What all connections share.
pub struct Context {
    /// The Regions of this store.
    pub store: Arc<Store<RedisMachine>>,
    /// The engine, for reads.
    pub engine: Engine,
    /// Which Regions and nodes there are.
    pub topology: Arc<dyn Topology>,
    /// Refuses writes when the disk is nearly full.
    pub disk: Arc<DiskGuard>,
    /// The effective options, for CONFIG GET and INFO.
    pub settings: Arc<Settings>,
    /// What CONFIG SET has set.
    pub parameters: ParameterStore,
    /// What the node is called, in INFO and CLUSTER.
    pub identity: NodeIdentity,
    /// Positions of SCAN cursors.
    pub cursors: CursorTable,
    /// Bounds on connections and buffers.
    pub limits: ServerLimits,
    /// The password that clients must give; `None` asks for none.
    pub password: Option<Password>,
    /// Whether keys of one command must share a slot, as in Redis Cluster.
    pub cluster_mode: bool,
    /// The connections.
    pub clients: Clients,
    /// The counters.
    pub stats: ServerStats,
    /// How many reads may run on the blocking pool at once.
    pub blocking_reads: Semaphore,
    /// Bytes in the buffers of those connections that hold more than
    /// [`ServerLimits::high_water`].
    pub buffered: AtomicUsize,
    /// When the server was started.
    pub started: Instant,
}

/// What a [`Context`] is made from.
pub struct ContextSource {
    /// An open store.
    pub store: Arc<Store<RedisMachine>>,
    /// Its engine.
    pub engine: Engine,
    /// Which Regions and nodes there are.
    pub topology: Arc<dyn Topology>,
    /// The guard of the disk that the engine is on.
    pub disk: Arc<DiskGuard>,
    /// The effective options.
    pub settings: Arc<Settings>,
    /// What the node is called.
    pub identity: NodeIdentity,
}

impl Context {
    /// A context over an open store, with everything else taken from the options.
    #[must_use]
    pub fn new(source: ContextSource) -> Context {
        let ContextSource { store, engine, topology, disk, settings, identity } = source;
        let config = &settings.config;
        let names = || table::all().map(|command| command.name);
        Context {
            store,
            engine,
            topology,
            disk,
            parameters: ParameterStore::default(),
            identity,
            cursors: CursorTable::new(),
            limits: ServerLimits::from(config),
            password: Password::new(&config.requirepass),
            cluster_mode: config.cluster_mode,
            clients: Clients::new(names()),
            stats: ServerStats::new(names()),
            blocking_reads: Semaphore::new(blocking_reads()),
            buffered: AtomicUsize::new(0),
            started: Instant::now(),
            settings,
        }
    }

    /// Whether a client must authenticate before it runs other commands.
    pub fn needs_password(&self) -> bool {
        self.password.is_some()
    }

    /// Moves a connection's share of [`Context::buffered`] from `before` to `after`; returns the
    /// new total.
    pub fn account(&self, before: usize, after: usize) -> usize {
        if after >= before {
            let more = after - before;
            self.buffered.fetch_add(more, Ordering::Relaxed) + more
        } else {
            let less = before - after;
            self.buffered.fetch_sub(less, Ordering::Relaxed) - less
        }
    }
}

/// Twice the number of processors: enough to keep disks busy, too few to fill memory with
/// unfinished replies.
fn blocking_reads() -> usize {
    std::thread::available_parallelism().map_or(4, |cores| cores.get() * 2)
}

/// Bounds on connections and their buffers.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Connections served at the same time.
    pub clients: usize,
    /// A connection idle for this long is closed; zero never.
    pub idle: Duration,
    /// Bounds on one command.
    pub parser: neokv_resp::ParserLimits,
    /// Unsent bytes from which on a connection runs nothing more until its client reads.
    pub high_water: usize,
    /// Unsent bytes, and bytes received meanwhile, at which a connection is closed.
    pub output: usize,
    /// Buffered bytes of all connections together at which one that needs more is closed.
    pub buffered: usize,
    /// Bytes of commands that one connection may have on their way through the log.
    pub pipeline_bytes: usize,
    /// Commands that one connection may have on their way through the log.
    pub pipeline_commands: usize,
    /// Bytes of replies that may be held for one connection until those before them are known.
    pub held_replies: u64,
}

impl From<&Config> for ServerLimits {
    fn from(config: &Config) -> ServerLimits {
        ServerLimits {
            clients: config.maxclients,
            idle: config.timeout,
            parser: neokv_resp::ParserLimits {
                max_bulk: config.proto_max_bulk_len,
                max_args: config.max_args,
                ..neokv_resp::ParserLimits::default()
            },
            high_water: 256 << 10,
            output: config.client_output_buffer_limit,
            buffered: config.client_output_buffer_limit * 4,
            pipeline_bytes: 4 << 20,
            pipeline_commands: 4096,
            held_replies: u64::try_from(config.client_output_buffer_limit).unwrap_or(u64::MAX),
        }
    }
}
