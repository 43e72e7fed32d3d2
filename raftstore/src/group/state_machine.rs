//! What Raft wants from a state machine, on top of [`Applier`].
//!
//! # Snapshots are virtual until a peer needs one
//!
//! The engine itself is the snapshot: everything applied is in it. So building one is reading the
//! applied record, which is enough to let Raft purge the log. The data is taken when a peer must
//! have it, from one engine snapshot, whose applied record then *is* the meta that travels with it
//! (see [`crate::snapshot`]).

use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::RaftSnapshotBuilder;
use openraft::alias::SnapshotOf;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use tokio::sync::oneshot;

use crate::apply::{Applier, Chunk, Lane};
use crate::blocking::blocking;
use crate::log::LogWriter;
use crate::machine::StateMachine;
use crate::snapshot::{SnapshotData, Snapshots};
use crate::types::{
    Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig, entry_weight, log_id_in,
    membership_in,
};

/// Entries handed to the apply thread at a time.
const CHUNK_ENTRIES: usize = 1024;
/// Bytes handed to the apply thread at a time.
const CHUNK_BYTES: usize = 8 << 20;

/// An apply of so few entries is short.
const SHORT_ENTRIES: usize = 8;
/// An apply of so few bytes is short.
const SHORT_BYTES: usize = 256 << 10;

/// See the module.
pub(crate) struct Adapter<M: StateMachine> {
    applier: Arc<Applier<M>>,
    snapshots: Arc<Snapshots<M>>,
    writer: LogWriter,
    lane: Lane,
    /// Dropped with the adapter: Raft's worker drains its queue before it lets go, and a store that
    /// ends must wait.
    _alive: Option<oneshot::Sender<()>>,
}

impl<M: StateMachine> Adapter<M> {
    /// Joins a Region's apply and its thread; `snapshots` are the Region's, `writer` writes its
    /// log, `alive` is dropped at the end.
    pub(crate) fn new(
        applier: Arc<Applier<M>>,
        snapshots: Arc<Snapshots<M>>,
        writer: LogWriter,
        lane: Lane,
        alive: Option<oneshot::Sender<()>>,
    ) -> Adapter<M> {
        Adapter { applier, snapshots, writer, lane, _alive: alive }
    }

    /// The applied state as a snapshot.
    fn snapshot(&self) -> SnapshotOf<TypeConfig, SnapshotData> {
        let applied = self.applier.applied();
        let meta = SnapshotMeta {
            last_log_id: applied.log_id.map(log_id_in),
            last_membership: membership_in(&applied.membership),
        };
        Snapshot { meta, snapshot: SnapshotData::Here(self.snapshots.source()) }
    }

    /// Applies one chunk of so many bytes: on the Region's thread, unless it is short.
    async fn apply_chunk(
        &self,
        entries: Vec<Entry>,
        bytes: usize,
        responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    ) -> Result<(), io::Error> {
        let is_short = entries.len() <= SHORT_ENTRIES
            && bytes <= SHORT_BYTES
            && self.applier.parts().published.sole();
        let (chunk, end) = Chunk::new(Arc::clone(&self.applier), entries, responders);
        let ending = || io::Error::other("the apply thread has ended");
        let job = Box::new(chunk);
        let sent = if is_short { self.lane.send_short(job) } else { self.lane.send(job) };
        sent.map_err(|_| ending())?;
        end.await.map_err(|_| ending())?
    }
}

impl<M: StateMachine> RaftStateMachine<TypeConfig> for Adapter<M> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder<M>;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let applied = self.applier.applied();
        Ok((applied.log_id.map(log_id_in), membership_in(&applied.membership)))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        let mut more = true;
        while more {
            let mut chunk = Vec::new();
            let mut responders = Vec::new();
            let mut bytes = 0;
            while chunk.len() < CHUNK_ENTRIES && bytes < CHUNK_BYTES {
                let Some(item) = entries.next().await else {
                    more = false;
                    break;
                };
                let (entry, responder) = item?;
                bytes += entry_weight(&entry);
                chunk.push(entry);
                responders.push(responder);
            }
            if !chunk.is_empty() {
                self.apply_chunk(chunk, bytes, responders).await?;
            }
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder<M>> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder<M> {
        Builder(Adapter::new(
            Arc::clone(&self.applier),
            Arc::clone(&self.snapshots),
            self.writer.clone(),
            self.lane.clone(),
            None,
        ))
    }

    /// Not on the apply thread: other Regions share it, and taking files in may wait for the disk.
    /// Raft's worker applies nothing to this Region meanwhile.
    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> Result<(), io::Error> {
        let applier = Arc::clone(&self.applier);
        let (expected, snapshots) = (meta.last_log_id, Arc::clone(&self.snapshots));
        let installed = blocking(move || {
            let received = snapshots.received(data)?;
            snapshots.install(received, expected, &applier)
        });
        let outcome = match self.writer.synced_barrier().await {
            Ok(()) => installed.await.and_then(|outcome| outcome.map_err(io::Error::other)),
            Err(error) => Err(error),
        };
        outcome.inspect_err(|error| {
            self.applier.stop(&format!("a snapshot could not be installed: {error}"));
        })
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        Ok(Some(self.snapshot()).filter(|snapshot| snapshot.meta.last_log_id.is_some()))
    }
}

/// Builds the virtual snapshot.
pub(crate) struct Builder<M: StateMachine>(Adapter<M>);

impl<M: StateMachine> RaftSnapshotBuilder<TypeConfig> for Builder<M> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        Ok(self.0.snapshot())
    }
}
