//! The node: a store with its Regions, and a server in front of it.
//!
//! ```text
//! Node::open    engine (claims the directory) ─► identity ─► Raft store ─► its first Regions
//! Node::serve   disk guard, metrics, cleaner, listeners ─► port
//! Node::stop    listeners first, then what is under way, then cleaner and Raft, the engine last
//! ```
//!
//! Whether it stands alone or is one of many is in the [`Deployment`] that it is opened with.
//!
//! A stop follows the order of dependence: nothing is closed while something else uses it.
//! Every acknowledged write is durable before its OK, so a stop saves nothing that a crash would
//! lose; it only spares the next start some work.
//!
//! Threads are kept apart by what they may wait for. The `front` threads serve sockets
//! ([`crate::server::threads`]); the Raft store has its own runtime and its own threads for log and
//! apply; the disk guard has one thread. A slow client, a big reply or a stalled disk therefore
//! never delays a heartbeat. A node that stands alone sends none, and lets Raft's thread do short
//! work that may wait for the disk.

pub mod deployment;
mod error;
#[cfg(test)]
mod tests;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use neokv_encoding::identity::Identity;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Engine, Options};
use neokv_raftstore::{ReadError, Region, Store, SyncMode};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::deployment::Deployment;
use self::deployment::missing_regions;
pub use self::error::NodeError;
use crate::config::{Config, DamagedLog, Settings, Source, Sync};
use crate::disk::{DiskGuard, Watcher};
use crate::identity::{self, NodeIdentity};
use crate::machine::{Bounds, RedisMachine};
use crate::process::memory_limit::memory_limit;
use crate::server::{Context, ContextSource, Server, Threads, report};
use crate::{cleaner, metrics, process};

/// How often the node checks whether a Region has failed.
const WATCH: Duration = Duration::from_millis(250);
/// Entries that a Region without followers keeps in memory, in bytes: only apply reads them, at
/// once.
const ALONE_TAIL_BYTES: usize = 2 << 20;
/// How often metrics are sampled.
const SAMPLE: Duration = Duration::from_secs(1);
/// How long a stop waits for requests under way before it cuts them off.
const GRACE: Duration = Duration::from_secs(10);

/// A node that is open, and serves after [`Node::serve`].
pub struct Node {
    context: Arc<Context>,
    server: Option<Server>,
    disk_watcher: Option<Watcher>,
    /// True ends the cleaner.
    stop: watch::Sender<bool>,
    cleaner: Option<JoinHandle<()>>,
    sampler: Option<JoinHandle<()>>,
}

impl Node {
    /// Opens the data directory, recovers it, makes the Regions of a first start, and waits until
    /// those that have no other replica serve.
    ///
    /// # Errors
    /// The directory is in use, of another format, of another store, damaged, or cannot be written.
    pub async fn open(settings: Settings, deployment: Deployment) -> Result<Node, NodeError> {
        let Deployment { store_id, cluster_id, first_ranges, stands_alone, transport, topology } =
            deployment;
        let config = &settings.config;
        // The engine claims the directory and recovers what is in it; the Raft store starts the
        // groups of the Regions that are there.
        let (engine, identity) = open_engine(config.clone(), store_id, cluster_id).await?;
        let mut store_config =
            neokv_raftstore::Config { stands_alone, ..store_config(config, store_id) };
        if stands_alone {
            store_config.tail_bytes = ALONE_TAIL_BYTES;
        }
        let machine = Arc::new(RedisMachine::new(bounds(config, &store_config)));
        let store = Store::open(engine.clone(), machine, store_config, transport).await?;
        // Regions that are missing are made; a failure must not leave groups running.
        if let Err(error) = start_regions(&store, &first_ranges).await {
            store.shutdown().await;
            return Err(error);
        }
        let store = Arc::new(store);
        let identity = NodeIdentity::new(&identity, config_file(&settings));
        let context = Context::new(ContextSource {
            topology: topology(Arc::clone(&store), &identity),
            store,
            engine,
            disk: Arc::new(DiskGuard::new(config.disk_reserve)),
            settings: Arc::new(settings),
            identity,
        });
        let (stop, _) = watch::channel(false);
        Ok(Node {
            context: Arc::new(context),
            server: None,
            disk_watcher: None,
            stop,
            cleaner: None,
            sampler: None,
        })
    }

    /// Starts to serve and returns the port.
    ///
    /// # Errors
    /// An address is taken, or a thread cannot be started.
    pub async fn serve(&mut self) -> Result<u16, NodeError> {
        let context = &self.context;
        let config = &context.settings.config;
        let engine = context.engine.clone();
        let watcher = Watcher::start(Arc::clone(&context.disk), move || engine.free_space().ok())
            .map_err(|source| NodeError::Runtime { what: "the disk guard", source })?;
        self.disk_watcher = Some(watcher);
        if let Some(address) = config.metrics_bind {
            metrics::serve(address).await?;
            // The first scrape must not come before the first sample.
            publish(Arc::clone(context)).await;
            self.sampler = Some(tokio::spawn(sample(Arc::clone(context))));
        }
        self.cleaner = Some(self.start_cleaner());
        let threads = Threads::start(config.threads)
            .map_err(|source| NodeError::Runtime { what: "the clients' threads", source })?;
        let context = Arc::clone(context);
        let server = Server::listen(context, &config.bind, config.port, threads).await?;
        let port = server.port();
        self.context.identity.set_port(port);
        self.server = Some(server);
        tracing::info!(port, dir = %config.dir.display(), sync = ?config.sync, "ready");
        Ok(port)
    }

    /// Starts the removal of expired keys.
    fn start_cleaner(&self) -> JoinHandle<()> {
        let context = Arc::clone(&self.context);
        let store = Arc::clone(&context.store);
        let pause = context.settings.config.expire_interval;
        let count = move |keys| {
            context.stats.expired_keys.fetch_add(keys, Ordering::Relaxed);
        };
        tokio::spawn(cleaner::run(store, pause, self.stop.subscribe(), count))
    }

    /// What connections, INFO and metrics see of the node.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Waits until a Region has failed, and returns why: its log or data are damaged, or the
    /// program has a defect. A server that stands alone ends then, because it no longer serves a
    /// part of its keyspace. A Region that was removed from this store has not failed.
    pub async fn failed(&self) -> NodeError {
        loop {
            for region in self.context.store.regions() {
                if let Some(why) = failure(&region) {
                    return NodeError::RegionStopped { region: region.id(), why };
                }
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Stops: no new connections, requests under way finish, then everything closes.
    pub async fn stop(mut self) {
        if let Some(server) = self.server.take() {
            let left = server.stop(GRACE).await;
            if left > 0 {
                tracing::warn!(left, "connections did not finish in time and are cut off");
            }
        }
        if let Some(sampler) = self.sampler.take() {
            sampler.abort();
            // It has the store too, until it is gone.
            let _ended = sampler.await;
        }
        // No connection writes any more; the cleaner still may, so it ends before the Raft store.
        self.stop.send_replace(true);
        if let Some(cleaner) = self.cleaner.take() {
            // A cleaner that panicked has stopped too.
            let _stopped = cleaner.await;
        }
        drop(self.disk_watcher.take());
        self.context.store.shutdown().await;
        flush(self.context.engine.clone()).await;
        tracing::info!("stopped");
    }
}

/// Why a Region has failed, if it has. A Region that was removed from this store has stopped too,
/// but it has not failed: it asks its callers to route again.
fn failure(region: &Region<RedisMachine>) -> Option<Arc<str>> {
    region.stopped()?;
    match region.read_now(region.descriptor().epoch) {
        Err(ReadError::Stopped { why, .. }) => Some(why),
        _ => None,
    }
}

/// Makes the Regions of a first start, or those that a first start which was killed has not made,
/// and waits until every Region serves whose only replica is here. Others need stores that may not
/// be running.
async fn start_regions(
    store: &Store<RedisMachine>,
    first_ranges: &[SlotRange],
) -> Result<(), NodeError> {
    // Those that cannot start are listed too: their slots are not free.
    let here: Vec<_> = store.regions().iter().map(|region| region.descriptor()).collect();
    for descriptor in missing_regions(store.id(), first_ranges, &here) {
        store.bootstrap(descriptor).await?;
    }
    for region in store.regions() {
        if region.descriptor().peers.len() == 1 {
            region.wait_serving().await.map_err(|error: ReadError| NodeError::Region {
                region: region.id(),
                why: error.to_string(),
            })?;
        }
    }
    Ok(())
}

/// Writes what is in memory to files, so that the next start has less to replay. Failing loses
/// nothing.
async fn flush(engine: Engine) {
    match tokio::task::spawn_blocking(move || engine.flush()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, "the final flush failed; the next start recovers from the log")
        }
        Err(error) => {
            tracing::warn!(%error, "the final flush crashed; the next start recovers from the log")
        }
    }
}

/// Publishes the metrics again and again.
async fn sample(context: Arc<Context>) {
    loop {
        tokio::time::sleep(SAMPLE).await;
        publish(Arc::clone(&context)).await;
    }
}

/// Publishes the metrics. Collecting the facts reads from the disk, so it does not run on a thread
/// that serves connections.
async fn publish(context: Arc<Context>) {
    if let Err(error) =
        tokio::task::spawn_blocking(move || metrics::publish(&report::facts(&context))).await
    {
        tracing::warn!(%error, "metrics could not be sampled");
    }
}

fn config_file(settings: &Settings) -> String {
    let from_file = settings.list.iter().find_map(|setting| match &setting.source {
        Source::File { path, .. } => Some(path.display().to_string()),
        _ => None,
    });
    from_file.unwrap_or_default()
}

/// Opens the directory and gives a new one its identity. Recovery reads the disk, so this runs on
/// the blocking pool.
async fn open_engine(
    config: Config,
    store_id: u64,
    cluster_id: Option<u64>,
) -> Result<(Engine, Identity), NodeError> {
    let opening = tokio::task::spawn_blocking(move || {
        let at = |source| NodeError::Directory { dir: config.dir.clone(), source };
        let engine = Engine::open(&config.dir, &engine_options(&config)).map_err(at)?;
        let known = neokv_engine::identity::read(&engine).map_err(at)?;
        let cluster_id = cluster_id
            .or(known.map(|identity| identity.cluster_id))
            .unwrap_or_else(identity::random);
        let new = neokv_engine::identity::establish(&engine, cluster_id, store_id).map_err(at)?;
        let (dir, cluster) = (config.dir.display(), format!("{cluster_id:016x}"));
        tracing::info!(%dir, cluster, new, "directory opened");
        let format_version = neokv_encoding::FORMAT_VERSION;
        Ok((engine, Identity { format_version, cluster_id, store_id }))
    });
    opening.await.map_err(|error| NodeError::Crashed(error.to_string()))?
}

/// What one log entry may do, by the memory that is left beside caches, memtables and queues.
fn bounds(config: &Config, store: &neokv_raftstore::Config) -> Bounds {
    let wide = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let reserved = [
        config.block_cache,
        row_bytes(config),
        config.write_buffer,
        store.queue_bytes,
        store.tails_bytes,
    ];
    let reserved = reserved.into_iter().map(wide).sum();
    let at_once = NonZeroU64::new(wide(config.apply_threads)).unwrap_or(NonZeroU64::MIN);
    let bounds = Bounds::for_memory(memory_limit(), reserved, at_once);
    if bounds != Bounds::default() {
        let command_bytes = bounds.command_bytes;
        tracing::info!(command_bytes, "memory is small: commands that write more are refused");
    }
    bounds
}

/// The most memory that rows take.
fn row_bytes(config: &Config) -> usize {
    match config.row_table {
        0 => usize::try_from(memory_limit() / 4).unwrap_or(usize::MAX),
        bytes => bytes,
    }
}

fn engine_options(config: &Config) -> Options {
    Options {
        block_cache_bytes: config.block_cache,
        memtable_bytes: config.write_buffer,
        dirty_bytes: config.write_behind,
        row_bytes: row_bytes(config),
        max_wal_bytes: config.wal_limit,
        background_bytes_per_second: NonZeroU64::new(config.background_io_limit),
        background_jobs: config.background_jobs,
        low_space_bytes: config.disk_reserve,
        damaged_log: match config.damaged_log {
            DamagedLog::Refuse => neokv_engine::DamagedLog::Refuse,
            DamagedLog::Accept => neokv_engine::DamagedLog::Accept,
        },
        ..Options::default()
    }
}

fn store_config(config: &Config, store_id: u64) -> neokv_raftstore::Config {
    let sync = match config.sync {
        Sync::Always => SyncMode::Always,
        Sync::EverySec => SyncMode::EverySecond,
        Sync::No => SyncMode::Never,
    };
    neokv_raftstore::Config {
        sync,
        fatal: Arc::new(process::die),
        raft_threads: config.raft_threads,
        apply_threads: config.apply_threads,
        entry_bytes: config.proposer_bytes,
        entry_commands: config.proposer_commands,
        window: config.proposer_window,
        log_bytes: config.raft_log_bytes,
        log_entries: config.raft_log_entries,
        ..neokv_raftstore::Config::new(store_id, config.dir.join("snapshots"))
    }
}
