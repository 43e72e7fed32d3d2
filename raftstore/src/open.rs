//! How a store opens.
//!
//! ```text
//!   1. snapshots whose install a crash interrupted are installed          no group runs yet
//!   2. replicas whose removal was applied and not finished are cleared away, and rows that no
//!      replica owns
//!   3. the groups of all others start, many at a time: each reads a few records, no log
//!   4. Raft applies what the log holds beyond the applied record; lone voters campaign
//! ```
//!
//! [`Store::open`] returns after 3. [`Region::wait_serving`](crate::Region::wait_serving) tells
//! when a Region serves.

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

/// An id that no Region has.
const NO_REGION: u64 = 0;

/// Regions that are started at the same time.
const STARTING: usize = 32;

impl<M: StateMachine> Store<M> {
    /// Opens the store on an engine, recovers every Region and starts its group.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when a record is damaged or the engine fails. Nothing is served then. A
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
    let broken = snapshot::recover(&inner.engine, &*inner.machine, &inner.config.snapshot_dir)?;
    let mut living = Vec::new();
    for recorded in records::all(&inner.engine)? {
        let region = recorded.region;
        if recorded.replica.state != ReplicaState::Tombstone {
            living.push(recorded);
        } else if records::has_remains(&inner.engine, region)? {
            inner.destroy_records(region)?;
        }
    }
    // Rows that a crash left before they were cleared.
    inner.clear_unowned(NO_REGION)?;
    Ok(Recovered { living, broken })
}
