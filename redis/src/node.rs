//! The standalone node: one store, one Region over all slots with one replica, and a server in
//! front of it.
//!
//! ```text
//! Node::open    engine (claims the directory) ─► identity ─► Raft store ─► Region 1, made at the first start
//! Node::serve   disk guard, cleaner, metrics, listeners ─► port
//! Node::stop    listeners first, then what is under way, then cleaner and Raft, the engine last
//! ```
//!
//! The order of stopping is the order of dependence: nothing that is still used is taken away.
//! Every acknowledged write is durable before its OK, so a stop saves nothing that a crash would
//! lose; it only spares the next start some work.
//!
//! Threads are kept apart by what they may wait for. The `front` runtime (made by the binary)
//! serves sockets; the Raft store has its own runtime and its own threads for log and apply; the
//! disk guard has one thread. A slow client, a big reply or a stalled disk therefore never delays a
//! heartbeat.
//!
//! * [`facts`] is what INFO and the metrics tell, [`report`] reads it; [`disk`] guards the free
//!   space; [`identity`] is what the node is called. What connections share is the server's
//!   [`Context`].

pub mod disk;
mod error;
pub mod facts;
pub mod identity;
pub mod report;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use neokv_encoding::identity::Identity;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Engine, Options};
use neokv_raftstore::transport::NoPeers;
use neokv_raftstore::{ReadError, Store, Sync as LogSync};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::disk::DiskGuard;
pub use self::error::NodeError;
use self::identity::Names;
use crate::cleaner::{self, Pace};
use crate::config::{Config, Settings, Source, Sync};
use crate::machine::RedisMachine;
use crate::server::{Context, Server};
use crate::{metrics, process};

/// The id of the only store, its only Region, and that Region's only peer.
const STANDALONE: u64 = 1;
/// How often metrics are sampled.
const SAMPLE: Duration = Duration::from_secs(1);
/// How long a stop waits for requests under way before it cuts them off.
const GRACE: Duration = Duration::from_secs(10);

/// A node that is open, and serves after [`Node::serve`].
pub struct Node {
    context: Arc<Context>,
    server: Option<Server>,
    watcher: Option<disk::Watcher>,
    /// True ends the cleaner.
    stop: watch::Sender<bool>,
    cleaner: Option<JoinHandle<()>>,
    sampler: Option<JoinHandle<()>>,
}

impl Node {
    /// Opens the data directory, recovers it, and waits until its Region leads.
    ///
    /// # Errors
    /// The directory is in use, of another format, of another store, damaged, or cannot be written.
    pub async fn open(settings: Settings) -> Result<Node, NodeError> {
        let config = &settings.config;
        let (engine, identity) = open_engine(config.clone()).await?;
        let machine = Arc::new(RedisMachine);
        let store =
            Store::open(engine.clone(), machine, store_config(config), Arc::new(NoPeers)).await?;
        if let Err(error) = lead(&store).await {
            store.shutdown().await;
            return Err(error);
        }
        let disk = Arc::new(DiskGuard::new(config.disk_reserve));
        let names = Names::new(&identity, config_file(&settings));
        let context = Context::new(Arc::new(store), engine, disk, Arc::new(settings), names);
        let (stop, _) = watch::channel(false);
        Ok(Node {
            context: Arc::new(context),
            server: None,
            watcher: None,
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
        let measured = context.engine.clone();
        let watcher =
            disk::Watcher::start(Arc::clone(&context.disk), move || measured.free_space().ok())
                .map_err(|source| NodeError::Runtime { what: "the disk guard", source })?;
        self.watcher = Some(watcher);
        if let Some(address) = config.metrics_bind {
            metrics::serve(address).await?;
            // The first scrape must not come before the first sample.
            publish(Arc::clone(context)).await;
            self.sampler = Some(tokio::spawn(sample(Arc::clone(context))));
        }
        let pace = Pace { pause: config.expire_interval };
        let counting = Arc::clone(context);
        let removed = move |keys| {
            counting.stats.expired_keys.fetch_add(keys, Ordering::Relaxed);
        };
        let (store, engine) = (Arc::clone(&context.store), context.engine.clone());
        let cleaner = cleaner::run(store, engine, pace, self.stop.subscribe(), removed);
        self.cleaner = Some(tokio::spawn(cleaner));
        let server = Server::listen(Arc::clone(context), &config.bind, config.port).await?;
        let port = server.port();
        context.names.set_port(port);
        self.server = Some(server);
        tracing::info!(port, dir = %config.dir.display(), sync = ?config.sync, "ready");
        Ok(port)
    }

    /// What connections, INFO and metrics see of the node.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
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
        }
        self.stop.send_replace(true);
        if let Some(cleaner) = self.cleaner.take() {
            // A cleaner that crashed has stopped too.
            let _stopped = cleaner.await;
        }
        drop(self.watcher.take());
        self.context.store.shutdown().await;
        flush(self.context.engine.clone()).await;
        tracing::info!("stopped");
    }
}

/// Makes the Region at the first start, and waits until it leads.
async fn lead(store: &Store<RedisMachine>) -> Result<(), NodeError> {
    // A first start that was killed between the two steps has an identity and no Region.
    if store.regions().is_empty() {
        store.bootstrap(first_region()).await?;
    }
    for region in store.regions() {
        let wrong =
            |error: ReadError| NodeError::Region { region: region.id(), why: error.to_string() };
        region.wait_serving().await.map_err(wrong)?;
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

/// Publishes the metrics. Reading the facts asks the disk, so it must not hold up a thread that
/// serves.
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
async fn open_engine(config: Config) -> Result<(Engine, Identity), NodeError> {
    let opening = tokio::task::spawn_blocking(move || {
        let at = |source| NodeError::Directory { dir: config.dir.clone(), source };
        let engine = Engine::open(&config.dir, &engine_options(&config)).map_err(at)?;
        let known = neokv_engine::identity::read(&engine).map_err(at)?;
        let cluster_id = known.map_or_else(identity::random, |identity| identity.cluster_id);
        let new = neokv_engine::identity::establish(&engine, cluster_id, STANDALONE).map_err(at)?;
        tracing::info!(dir = %config.dir.display(), cluster = format!("{cluster_id:016x}"), new, "directory opened");
        let identity = Identity {
            format_version: neokv_encoding::FORMAT_VERSION,
            cluster_id,
            store_id: STANDALONE,
        };
        Ok((engine, identity))
    });
    opening.await.map_err(|error| NodeError::Crashed(error.to_string()))?
}

/// Region 1: all slots, one voter.
fn first_region() -> Descriptor {
    Descriptor {
        id: STANDALONE,
        slots: SlotRange::ALL,
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: vec![Peer { id: STANDALONE, store: STANDALONE, role: PeerRole::Voter }],
        state: RegionState::Normal,
    }
}

fn engine_options(config: &Config) -> Options {
    Options {
        block_cache_bytes: config.block_cache,
        memtable_bytes: config.write_buffer,
        max_wal_bytes: config.wal_limit,
        background_bytes_per_second: NonZeroU64::new(config.background_io_limit),
        background_jobs: config.background_jobs,
        low_space_bytes: config.disk_reserve,
        ..Options::default()
    }
}

fn store_config(config: &Config) -> neokv_raftstore::Config {
    let sync = match config.sync {
        Sync::Always => LogSync::Always,
        Sync::EverySec => LogSync::EverySecond,
        Sync::No => LogSync::Never,
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
        ..neokv_raftstore::Config::new(STANDALONE, config.dir.join("snapshots"))
    }
}
