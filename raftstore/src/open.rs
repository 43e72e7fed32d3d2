//! How a store opens.
//!
//! ```text
//!   1. snapshots whose install a crash interrupted are installed          no group runs yet
//!   2. replicas whose removal was applied and not finished are cleared away
//!   3. the groups of all others start, many at a time: each reads a few records, no log
//!   4. Raft applies what the log holds beyond the applied record; lone voters campaign
//! ```
//!
//! [`Store::open`] returns after 3. [`Region::wait_serving`](crate::Region::wait_serving) tells
//! when a Region serves.
//!
//! # Rows that nobody owns
//!
//! A removal that a crash has interrupted leaves rows that no replica owns: those of a tombstone
//! that still has a descriptor. Step 2 clears them. Any others have no explanation: the records of
//! a Region were lost, or files of two stores were mixed. They may be the only copy of somebody's
//! data, so the start is refused, before step 1 and again after it, and nothing is changed.
//!
//! An install that was begun may have left rows in ranges that no record names. Step 1 finishes it.
//! If it cannot, its Region does not start, and as long as the operator has not removed that
//! replica no row can be told to be without an explanation: none is cleared, and the start goes on.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use neokv_encoding::region::ReplicaState;
use neokv_engine::Engine;

use crate::blocking::blocking;
use crate::config::Config;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::operation::Dispatch;
use crate::records::{self, Recorded};
use crate::snapshot::{self, Broken};
use crate::store::{Inner, Store, janitor};
use crate::transport::Transport;

/// Regions that are started at the same time.
const STARTING: usize = 32;

impl<M: StateMachine> Store<M> {
    /// Opens the store on an engine, recovers every Region and starts its group.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a record is damaged, there are rows that no Region owns and nothing
    /// explains ([`StoreError::UnknownRows`]), or the engine fails. Nothing is served then. A
    /// Region that cannot start is not an error of its store: [`Region::stopped`](crate::Region)
    /// says why.
    pub async fn open(
        engine: Engine,
        machine: Arc<M>,
        config: Config,
        transport: Arc<dyn Transport>,
    ) -> Result<Store<M>, StoreError> {
        let inner = Inner::new(engine, machine, config, transport, Dispatch::of)?;
        let store = Store(inner);
        if let Err(error) = store.recover().await {
            store.shutdown().await;
            return Err(error);
        }
        store.0.handle.spawn(janitor::run(Arc::downgrade(&store.0)));
        Ok(store)
    }

    /// Steps 1 to 3. One Region that cannot start does not keep the others from starting: it is
    /// stopped, and says why.
    async fn recover(&self) -> Result<(), StoreError> {
        let inner = Arc::clone(&self.0);
        // Entries that a start applies again may want to start or remove replicas, too: they wait.
        let _one_at_a_time = inner.lifecycle.lock().await;
        let failed = |source| StoreError::Io { what: "recovering the store".into(), source };
        let store = Arc::clone(&inner);
        let Recovered { living, mut broken } =
            blocking(move || recover_records(&store)).await.map_err(failed)??;
        let starting = living.into_iter().map(|recorded| {
            let cause = broken.remove(&recorded.region);
            let inner = &inner;
            async move {
                match cause {
                    Some(cause) => inner.list_stopped(recorded, &cause),
                    // A failure is in the log, and in the Region's status.
                    None => drop(inner.start_region(recorded, true).await),
                }
            }
        });
        stream::iter(starting).buffer_unordered(STARTING).for_each(async |()| ()).await;
        Ok(())
    }
}

/// What the records say at a start.
struct Recovered {
    /// The replicas that live here.
    living: Vec<Recorded>,
    /// Those of them that cannot start.
    broken: Broken,
}

/// Finishes what a crash interrupted; returns the replicas that live here. Blocks on disk.
fn recover_records<M: StateMachine>(inner: &Inner<M>) -> Result<Recovered, StoreError> {
    refuse_unknown_rows(inner)?;
    let broken = snapshot::recover(&inner.engine, &*inner.machine, &inner.config.snapshot_dir)?;
    let all_explained = refuse_unknown_rows(inner)?;
    let mut living = Vec::new();
    for recorded in records::all(&inner.engine)? {
        let region = recorded.region;
        if recorded.replica.state != ReplicaState::Tombstone {
            living.push(recorded);
        } else if all_explained && records::has_remains(&inner.engine, region)? {
            inner.destroy_records(region)?;
        }
    }
    Ok(Recovered { living, broken })
}

/// Refuses to go on with rows that no Region owns and no interrupted operation explains. Blocks on
/// disk. `false`: an install is not finished, so nothing can be said about such rows.
fn refuse_unknown_rows<M: StateMachine>(inner: &Inner<M>) -> Result<bool, StoreError> {
    let engine = &inner.engine;
    for unfinished in engine.unfinished_ingests()? {
        let replica = records::replica(engine, unfinished.region)?;
        if replica.is_some_and(|replica| replica.state != ReplicaState::Tombstone) {
            return Ok(false);
        }
    }
    // Without a snapshot: nobody writes yet, and the end of a snapshot makes RocksDB compact every
    // small family, at every start.
    let unexplained = records::unexplained(engine, &*inner.machine)?;
    let found = records::first_rows(engine, unexplained)?;
    if found.is_empty() { Ok(true) } else { Err(StoreError::UnknownRows { found }) }
}
