//! openraft's own test suite for log stores and state machines, against ours on a real engine.

use std::io;
use std::sync::Arc;

use futures_util::{Stream, TryStreamExt, stream};
use openraft::alias::SnapshotOf;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, StorageError};

use super::state_machine::Builder as SnapshotBuilder;
use super::{Adapter, LogStore};
use crate::apply::ApplyPool;
use crate::config::SyncMode;
use crate::log::writer::WriterParts;
use crate::log::{GroupLog, LogWriter, TailBudget, TailLimits};
use crate::ownership::Ownership;
use crate::snapshot::{SnapshotData, Snapshots};
use crate::space::SpaceAlarm;
use crate::testing::{self, Nothing};
use crate::types::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig, log_id};

/// Every store of the suite has an engine of its own, and a Region with peer id 0.
struct Builder;

/// Keeps what a store needs until the test is over.
struct Guard {
    pool: ApplyPool,
    writer: LogWriter,
    _dir: tempfile::TempDir,
}

impl Drop for Guard {
    /// No thread is left that has the engine: the process may end after the test, and must not
    /// while RocksDB is closed.
    fn drop(&mut self) {
        self.pool.stop();
        self.writer.stop();
    }
}

/// The suite applies entries with gaps between them, which Raft never does and which our state
/// machine asserts: the gaps are filled with blank entries.
struct WithoutGaps(Adapter<Nothing>);

impl RaftStateMachine<TypeConfig> for WithoutGaps {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder<Nothing>;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        self.0.applied_state().await
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        let (mut last, _) = self.0.applied_state().await?;
        let mut dense = Vec::new();
        for (entry, responder) in entries.try_collect::<Vec<_>>().await? {
            let term = entry.log_id.leader_id.term;
            let missing = last.map_or(entry.log_id.index, |id| id.index + 1)..entry.log_id.index;
            for index in missing {
                let payload = EntryPayload::Blank;
                dense.push(Ok((Entry { log_id: log_id(term, index), payload }, None)));
            }
            last = Some(entry.log_id);
            dense.push(Ok((entry, responder)));
        }
        self.0.apply(stream::iter(dense)).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder<Nothing> {
        self.0.get_snapshot_builder().await
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> io::Result<()> {
        self.0.install_snapshot(meta, data).await
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotData>>> {
        self.0.get_current_snapshot().await
    }
}

impl StoreBuilder<TypeConfig, LogStore, WithoutGaps, Guard> for Builder {
    async fn build(&self) -> Result<(Guard, LogStore, WithoutGaps), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let engine = testing::engine(dir.path());
        let writer = LogWriter::start(WriterParts {
            engine: engine.clone(),
            sync: SyncMode::Never,
            stands_alone: false,
            fatal: Arc::new(|error| panic!("{error}")),
            space: SpaceAlarm::new(|_| {}),
        });
        let writer = writer.unwrap();
        let pool = ApplyPool::start(1, &engine, 1 << 20).unwrap();
        let applier = testing::applier(&engine, 0);
        let limits = TailLimits { bytes: 1 << 20, budget: TailBudget::new(1 << 20) };
        let published = Arc::clone(&applier.parts().published);
        let log = GroupLog::open(&engine, 1, 0, limits, published).unwrap();
        let passing = dir.path().join("snapshots");
        let machine = Arc::clone(&applier.parts().machine);
        let snapshots = Snapshots::new(engine, machine, 1, passing, Ownership::default());
        let adapter =
            Adapter::new(applier, Arc::new(snapshots), writer.clone(), pool.lane(1), None);
        let store = LogStore::new(Arc::new(log), writer.clone(), 0);
        Ok((Guard { pool, writer, _dir: dir }, store, WithoutGaps(adapter)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_suite_passes() {
    Suite::test_all(Builder).await.unwrap();
}
