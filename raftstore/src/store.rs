//! All Regions with a replica on this store, and what they share: engine, log writer, apply
//! threads, Raft runtime.

mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use neokv_encoding::region::Descriptor;
use neokv_engine::Engine;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::{Handle, Runtime};

use crate::apply::ApplyPool;
use crate::config::Config;
use crate::error::StoreError;
use crate::log::LogWriter;
use crate::machine::StateMachine;
use crate::metrics;
use crate::region::Region;
use crate::slots::SlotTable;
use crate::snapshot::{self, Receiver};
use crate::space::SpaceAlarm;
use crate::transport::{Endpoint, Transport};

/// How often the janitor looks after logs and dead groups.
const JANITOR: Duration = Duration::from_secs(1);
/// How long the end of a store waits for tasks of its runtime.
const RUNTIME_END: Duration = Duration::from_secs(5);

type Regions<M> = Arc<RwLock<BTreeMap<u64, Arc<Region<M>>>>>;

/// A store: the replicas of Regions on one engine. Clones share it.
pub struct Store<M: StateMachine>(Arc<Inner<M>>);

impl<M: StateMachine> Clone for Store<M> {
    fn clone(&self) -> Self {
        Store(Arc::clone(&self.0))
    }
}

/// What clones of a store share.
pub(crate) struct Inner<M: StateMachine> {
    pub(crate) engine: Engine,
    pub(crate) machine: Arc<M>,
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) writer: LogWriter,
    pub(crate) space: Arc<SpaceAlarm>,
    pub(crate) pool: ApplyPool,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    regions: Regions<M>,
    slots: SlotTable<Region<M>>,
    /// Recovered Regions with other voters, until the quiet period is over.
    quiet: RwLock<BTreeSet<u64>>,
    started: Instant,
    /// One Region at a time is created or started.
    creating: tokio::sync::Mutex<()>,
    /// Ends when a Region's state machine is gone.
    gone: Mutex<Vec<tokio::sync::oneshot::Receiver<()>>>,
}

impl<M: StateMachine> Store<M> {
    /// Opens the store on an engine: finishes snapshot installations that a crash interrupted,
    /// recovers every Region and starts its group. Lone voters campaign at once;
    /// [`Region::wait_serving`] tells when a Region serves.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a record is damaged or the engine fails. Nothing is served then.
    pub async fn open(
        engine: Engine,
        machine: Arc<M>,
        config: Config,
        transport: Arc<dyn Transport>,
    ) -> Result<Store<M>, StoreError> {
        let dir = config.snapshot_dir.clone();
        let recovering = engine.clone();
        let recovered =
            tokio::task::spawn_blocking(move || snapshot::recover(&recovering, &dir)).await;
        recovered.map_err(|error| StoreError::Io {
            what: "recovering snapshots".into(),
            source: error.into(),
        })??;
        let store = Store(Arc::new(Inner::new(engine, machine, config, transport)?));
        if let Err(error) = store.start_regions().await {
            store.shutdown().await;
            return Err(error);
        }
        store.0.handle.spawn(janitor(Arc::downgrade(&store.0)));
        Ok(store)
    }

    async fn start_regions(&self) -> Result<(), StoreError> {
        for descriptor in start::recorded(&self.0.engine)? {
            self.0.start_region(&descriptor, true).await?;
        }
        Ok(())
    }

    /// Creates this store's replica of a new Region with its start state: no data, the descriptor's
    /// peers as membership, and a log that begins after index 5. Every store of the descriptor does
    /// the same, so all replicas begin alike and no replica is special.
    ///
    /// # Errors
    ///
    /// [`StoreError::Bootstrap`] if the Region is here already, overlaps another one, or has no
    /// peer on this store.
    pub async fn bootstrap(&self, descriptor: Descriptor) -> Result<Arc<Region<M>>, StoreError> {
        self.0.create(descriptor, true).await
    }

    /// Creates an empty replica that knows nothing yet: the leader fills it with a snapshot. For a
    /// peer that joins a Region which has lived elsewhere before.
    ///
    /// # Errors
    ///
    /// Like [`bootstrap`](Self::bootstrap).
    pub async fn create_empty(&self, descriptor: Descriptor) -> Result<Arc<Region<M>>, StoreError> {
        self.0.create(descriptor, false).await
    }

    /// The Region that owns a slot, if it has a replica here. Lock-free.
    pub fn region_of_slot(&self, slot: u16) -> Option<Arc<Region<M>>> {
        self.0.slots.get(slot)
    }

    /// A Region by its id.
    pub fn region(&self, id: u64) -> Option<Arc<Region<M>>> {
        self.0.region(id)
    }

    /// Every Region with a replica here, by id.
    pub fn regions(&self) -> Vec<Arc<Region<M>>> {
        self.0.regions.read().values().cloned().collect()
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// The state machine.
    pub fn machine(&self) -> &Arc<M> {
        &self.0.machine
    }

    /// This store's id.
    pub fn id(&self) -> u64 {
        self.0.config.store_id
    }

    /// The receiving end for messages of other stores.
    pub fn endpoint(&self) -> Arc<dyn Endpoint> {
        Arc::clone(&self.0) as Arc<dyn Endpoint>
    }

    /// Ends the store: refuses new work, ends the groups, waits until what was committed is applied
    /// and what was appended is written and synced. The engine closes when the last handle of
    /// store, Regions and engine is dropped.
    pub async fn shutdown(&self) {
        let regions = std::mem::take(&mut *self.0.regions.write());
        self.0.slots.clear();
        for region in regions.values() {
            region.proposer.close();
        }
        for region in regions.values() {
            if let Err(error) = region.raft.shutdown().await {
                tracing::error!(region = region.id, %error, "group did not end in order");
            }
            region.applier.published.stop("the store has shut down");
        }
        let gone = std::mem::take(&mut *self.0.gone.lock());
        for machine in gone {
            let _ = machine.await;
        }
        drop(regions);
        let (pool, writer) = (self.0.pool.clone(), self.0.writer.clone());
        let runtime = self.0.runtime.lock().take();
        let threads = tokio::task::spawn_blocking(move || {
            pool.stop();
            writer.stop();
            // Waited for: its tasks hold the engine, and a process must not exit while another
            // thread closes it.
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(RUNTIME_END);
            }
        });
        let _ = threads.await;
    }
}

impl<M: StateMachine> std::fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<M: StateMachine> Inner<M> {
    fn new(
        engine: Engine,
        machine: Arc<M>,
        config: Config,
        transport: Arc<dyn Transport>,
    ) -> Result<Inner<M>, StoreError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(config.raft_threads.max(1))
            .thread_name("raft")
            .enable_all()
            .build()
            .map_err(|source| StoreError::Io {
                what: "starting the raft runtime".into(),
                source,
            })?;
        let regions: Regions<M> = Arc::default();
        let space = space_alarm(&regions);
        let writer = LogWriter::start(
            engine.clone(),
            config.sync,
            Arc::clone(&config.fatal),
            Arc::clone(&space),
        )?;
        Ok(Inner {
            pool: ApplyPool::start(config.apply_threads)?,
            receiver: Arc::new(Receiver::new(config.store_id, config.snapshot_dir.clone())),
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            slots: SlotTable::default(),
            quiet: RwLock::default(),
            started: Instant::now(),
            creating: tokio::sync::Mutex::new(()),
            gone: Mutex::default(),
            engine,
            machine,
            config,
            transport,
            writer,
            space,
            regions,
        })
    }

    /// A Region by its id.
    pub(crate) fn region(&self, id: u64) -> Option<Arc<Region<M>>> {
        self.regions.read().get(&id).cloned()
    }

    /// Whether a Region's replica must keep quiet; see [`crate::transport::endpoint`].
    pub(crate) fn is_quiet(&self, region: u64) -> bool {
        self.started.elapsed() < self.config.quiet() && self.quiet.read().contains(&region)
    }
}

impl<M: StateMachine> Drop for Inner<M> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

/// Tells every proposer about a full disk.
fn space_alarm<M: StateMachine>(regions: &Regions<M>) -> Arc<SpaceAlarm> {
    let regions = Arc::downgrade(regions);
    SpaceAlarm::new(move |full| {
        metrics::stalled(full);
        if let Some(regions) = regions.upgrade() {
            let regions: Vec<_> = regions.read().values().cloned().collect();
            regions.iter().for_each(|region| region.proposer.stall(full));
        }
    })
}

/// Once a second: purge logs that have grown too long, notice groups that have died.
async fn janitor<M: StateMachine>(store: Weak<Inner<M>>) {
    loop {
        tokio::time::sleep(JANITOR).await;
        let Some(store) = store.upgrade() else { return };
        let regions: Vec<_> = store.regions.read().values().cloned().collect();
        for region in &regions {
            region.supervise();
            if let Err(error) =
                region.compact_log(store.config.log_bytes, store.config.log_entries).await
            {
                tracing::warn!(region = region.id, %error, "log not purged");
            }
        }
        let stopped =
            regions.iter().filter(|region| region.applier.published.stopped().is_some()).count();
        metrics::regions(regions.len(), stopped);
    }
}
