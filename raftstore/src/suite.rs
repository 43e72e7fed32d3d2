//! openraft's own test suite for log stores and state machines, against ours on a real engine.

use std::sync::Arc;

use bytes::Bytes;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_encoding::{family::Family, raft::Peer, raft::PeerRole};
use neokv_engine::{Durability, Engine, Options};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use crate::apply::{Adapter, Applier, ApplyPool};
use crate::config::Sync;
use crate::log::{GroupLog, LogStore, LogWriter};
use crate::machine::{ApplyContext, ApplyError, Stamp, StateMachine};
use crate::snapshot::Packer;
use crate::space::SpaceAlarm;
use crate::types::TypeConfig;

/// The suite's entries carry no commands.
struct Nothing;

impl StateMachine for Nothing {
    type Command = ();
    type Reply = ();
    fn weight(&self, (): &()) -> usize {
        0
    }
    fn alone(&self, (): &()) -> bool {
        false
    }
    fn encode(&self, _: Stamp, _: &[()]) -> Bytes {
        Bytes::new()
    }
    fn apply(&self, _: &mut ApplyContext<'_>, _: &Bytes) -> Result<Vec<()>, ApplyError> {
        Ok(Vec::new())
    }
}

/// Every store of the suite has an engine of its own, and a Region with peer id 0.
struct Builder;

/// Keeps what a store needs until the test is over.
struct Guard(ApplyPool, LogWriter, tempfile::TempDir);

impl Drop for Guard {
    fn drop(&mut self) {
        self.1.stop();
        let _ = (&self.0, &self.2);
    }
}

fn descriptor() -> Descriptor {
    Descriptor {
        id: 1,
        slots: SlotRange::ALL,
        epoch: Epoch::default(),
        peers: vec![Peer { id: 0, store: 1, role: PeerRole::Voter }],
        state: RegionState::Normal,
    }
}

impl StoreBuilder<TypeConfig, LogStore, Adapter<Nothing>, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, Adapter<Nothing>), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&dir.path().join("db"), &Options::default()).unwrap();
        let fatal = Arc::new(|error: &crate::FatalError| panic!("{error}"));
        let space = SpaceAlarm::new(|_| {});
        let writer =
            LogWriter::start(engine.clone(), Sync::Never, fatal, Arc::clone(&space)).unwrap();
        let pool = ApplyPool::start(1).unwrap();
        let mut batch = engine.log_batch();
        batch.put(Family::Region, key::region(1, RegionKind::Descriptor), descriptor().encode());
        engine.write_log(batch, Durability::Buffered).unwrap();
        let applier =
            Arc::new(Applier::open(&engine, 1, 0, Arc::new(Nothing), 1 << 20, space).unwrap());
        let log = GroupLog::open(&engine, 1, 0, 1 << 20, Arc::clone(&applier.published)).unwrap();
        let packer = Arc::new(Packer::new(engine.clone(), 1, dir.path().join("snapshots")));
        let adapter = Adapter::new(applier, packer, pool.lane(1), None);
        let store = LogStore::new(Arc::new(log), writer.clone(), 0);
        Ok((Guard(pool, writer, dir), store, adapter))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
