//! All Regions with a replica on this store, and what they share: engine, log writer, apply
//! threads, Raft runtime, and the budgets that bound them together.
//!
//! [`crate::open`] tells how a store opens, [`crate::operation`] what happens to its Regions after
//! that.

pub(crate) mod directory;
mod endpoint;
pub(crate) mod janitor;
mod slots;
mod start;

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use neokv_engine::Engine;
use parking_lot::{Mutex, RwLock};
use tokio::runtime::{Handle, Runtime};
use tokio::time::Instant;

use self::directory::Directory;
pub use self::slots::SlotTable;
use crate::apply::{ApplyPool, Operations};
use crate::config::{Config, Execution};
use crate::error::StoreError;
use crate::log::writer::WriterParts;
use crate::log::{LogWriter, TailBudget};
use crate::machine::StateMachine;
use crate::metrics;
use crate::ownership::Ownership;
use crate::propose::QueueQuota;
use crate::region::Region;
use crate::snapshot::{Receiver, SendLimits};
use crate::space::SpaceAlarm;
use crate::transport::{Endpoint, Transport};

/// Why a healthy Region has stopped.
pub(crate) const SHUT_DOWN: &str = "the store has shut down";

/// How long the end of a store waits for tasks of its runtime.
const RUNTIME_END: Duration = Duration::from_secs(5);

/// A store: the replicas of Regions on one engine. Clones share it.
pub struct Store<M: StateMachine>(pub(crate) Arc<Inner<M>>);

impl<M: StateMachine> Clone for Store<M> {
    fn clone(&self) -> Self {
        Store(Arc::clone(&self.0))
    }
}

/// What clones of a store share.
pub(crate) struct Inner<M: StateMachine> {
    pub(crate) engine: Engine,
    pub(crate) machine: Arc<M>,
    pub(crate) config: Arc<Config>,
    pub(crate) directory: Arc<Directory<M>>,
    pub(crate) writer: LogWriter,
    pub(crate) handle: Handle,
    /// Held while ranges change hands, and what installs have claimed.
    pub(crate) ownership: Ownership,
    /// Held from the look at a replica's records to the write that creates it, by splits and by
    /// creations. For a moment only, after `ownership` where both are taken.
    pub(crate) creation: Arc<Mutex<()>>,
    /// One replica at a time is created, started or removed.
    pub(crate) lifecycle: tokio::sync::Mutex<()>,
    /// Regions whose removal is under way.
    pub(crate) removing: Mutex<BTreeSet<u64>>,
    transport: Arc<dyn Transport>,
    pub(crate) space: Arc<SpaceAlarm>,
    pool: ApplyPool,
    pub(crate) receiver: Arc<Receiver>,
    sending: Arc<SendLimits>,
    tails: Arc<TailBudget>,
    quota: QueueQuota,
    operations: Arc<dyn Operations>,
    /// `None`: the groups run on the caller's runtime.
    runtime: Mutex<Option<Runtime>>,
    /// Recovered Regions with other voters, until the quiet period is over.
    quiet: RwLock<BTreeSet<u64>>,
    started: Instant,
}

impl<M: StateMachine> Store<M> {
    /// The Region that owns a slot, if it has a replica here. Lock-free.
    pub fn region_of_slot(&self, slot: u16) -> Option<Arc<Region<M>>> {
        self.0.directory.of_slot(slot)
    }

    /// A Region by its id.
    pub fn region(&self, id: u64) -> Option<Arc<Region<M>>> {
        self.0.directory.living(id)
    }

    /// Every Region with a replica here, by id.
    pub fn regions(&self) -> Vec<Arc<Region<M>>> {
        self.0.directory.all_living()
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

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The receiving end for messages of other stores.
    pub fn endpoint(&self) -> Arc<dyn Endpoint> {
        Arc::clone(&self.0) as Arc<dyn Endpoint>
    }

    /// Ends the store: refuses new work, ends the groups, waits until what was committed is applied
    /// and what was appended is written and synced. While the disk is full no thread waits for
    /// space any longer. The engine closes when the last handle of store, Regions and engine is
    /// dropped.
    pub async fn shutdown(&self) {
        let regions = self.0.directory.close();
        for region in &regions {
            region.proposer.close();
        }
        // Before the groups end: one that waits for its vote to be written would wait with the
        // writer for space.
        self.0.writer.stop_waiting();
        join_all(regions.iter().map(|region| region.end(SHUT_DOWN))).await;
        drop(regions);
        // A Region that was about to start finds the directory closed, and ends by itself.
        drop(self.0.lifecycle.lock().await);
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

impl<M: StateMachine> Region<M> {
    /// Ends the group and waits until nothing of it works on the engine any more.
    pub(crate) async fn end(&self, why: &str) {
        // First, so that apply waits for space no longer.
        self.published.stop(why);
        self.proposer.close();
        let Some(raft) = self.raft.get() else { return };
        if let Err(error) = raft.shutdown().await {
            tracing::error!(region = self.id, %error, "group did not end in order");
        }
        // Raft's worker goes on with what is queued; it is over when its state machine is dropped.
        let gone = self.gone.lock().take();
        if let Some(gone) = gone {
            let _ = gone.await;
        }
    }
}

impl<M: StateMachine> std::fmt::Debug for Store<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<M: StateMachine> Inner<M> {
    /// A store without Regions. `operations` is told how to reach it.
    pub(crate) fn new(
        engine: Engine,
        machine: Arc<M>,
        config: Config,
        transport: Arc<dyn Transport>,
        operations: impl FnOnce(Weak<Inner<M>>) -> Arc<dyn Operations>,
    ) -> Result<Arc<Inner<M>>, StoreError> {
        let directory = Arc::new(Directory::default());
        let space = space_alarm(&directory);
        let writer = writer(&engine, &config, &space)?;
        let (runtime, handle) = runtime(&config)?;
        let pool = match config.execution {
            Execution::Threads => {
                ApplyPool::start(config.apply_threads, &engine, config.apply_bytes)?
            }
            Execution::Stepped => ApplyPool::inline(&engine, config.apply_bytes),
        };
        Ok(Arc::new_cyclic(|inner| Inner {
            operations: operations(Weak::clone(inner)),
            receiver: Arc::new(Receiver::new(&config)),
            sending: SendLimits::new(&config),
            tails: TailBudget::new(config.tails_bytes),
            quota: QueueQuota::new(config.queue_bytes),
            ownership: Ownership::default(),
            creation: Arc::default(),
            lifecycle: tokio::sync::Mutex::new(()),
            removing: Mutex::default(),
            runtime: Mutex::new(runtime),
            quiet: RwLock::default(),
            started: Instant::now(),
            config: Arc::new(config),
            engine,
            machine,
            directory,
            writer,
            handle,
            transport,
            space,
            pool,
        }))
    }
}

impl<M: StateMachine> Drop for Inner<M> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.lock().take() {
            runtime.shutdown_background();
        }
    }
}

/// The runtime of the groups: one of their own, or the caller's.
fn runtime(config: &Config) -> Result<(Option<Runtime>, Handle), StoreError> {
    if config.execution == Execution::Stepped {
        return Ok((None, Handle::current()));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.raft_threads.max(1))
        .thread_name("raft")
        .enable_all()
        .build()
        .map_err(|source| StoreError::Io { what: "starting the raft runtime".into(), source })?;
    let handle = runtime.handle().clone();
    Ok((Some(runtime), handle))
}

fn writer(
    engine: &Engine,
    config: &Config,
    space: &Arc<SpaceAlarm>,
) -> Result<LogWriter, StoreError> {
    let parts = WriterParts {
        engine: engine.clone(),
        sync: config.sync,
        stands_alone: config.stands_alone,
        fatal: Arc::clone(&config.fatal),
        space: Arc::clone(space),
    };
    match config.execution {
        Execution::Threads => LogWriter::start(parts),
        Execution::Stepped => Ok(LogWriter::inline(parts)),
    }
}

/// Tells every proposer about a full disk.
fn space_alarm<M: StateMachine>(directory: &Arc<Directory<M>>) -> Arc<SpaceAlarm> {
    let directory = Arc::downgrade(directory);
    SpaceAlarm::new(move |full| {
        metrics::stalled(full);
        if let Some(directory) = directory.upgrade() {
            directory.all().iter().for_each(|region| region.proposer.stall(full));
        }
    })
}

#[cfg(test)]
mod tests;
