//! What Raft wants from a state machine, on top of [`Applier`].
//!
//! # Snapshots are virtual until somebody needs one
//!
//! The engine itself is the snapshot: everything applied is in it. So building one is reading the
//! applied record, which is enough to let Raft purge the log. The data is taken when a peer must
//! have it, from one engine snapshot, whose applied record then *is* the meta that travels with it
//! (see [`crate::snapshot`]).

use std::fmt;
use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::RaftSnapshotBuilder;
use openraft::alias::SnapshotOf;
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine, Snapshot};
use tokio::sync::oneshot;

use super::applier::Applier;
use super::pool::Lane;
use crate::machine::StateMachine;
use crate::snapshot::{self, Package};
use crate::types::{
    Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig, entry_weight, log_id_in,
    membership_in,
};

/// Entries handed to the apply thread at a time.
const CHUNK_ENTRIES: usize = 1024;
/// Bytes handed to the apply thread at a time.
const CHUNK_BYTES: usize = 8 << 20;

/// Where the data of a snapshot is.
pub(crate) enum SnapshotData {
    /// In the engine of the replica that built it; can be packed at any time.
    Here(Arc<dyn snapshot::Source>),
    /// In files that came from a peer, ready to be ingested.
    Received(Box<Package>),
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here"),
            Self::Received(package) => write!(f, "Received({package:?})"),
        }
    }
}

/// See the module.
pub(crate) struct Adapter<M> {
    applier: Arc<Applier<M>>,
    source: Arc<dyn snapshot::Source>,
    lane: Lane,
    /// Dropped with the adapter: Raft's worker drains its queue before it lets go, and a store that
    /// ends must wait.
    _alive: Option<oneshot::Sender<()>>,
}

impl<M: StateMachine> Adapter<M> {
    /// Joins a Region's apply and its thread; `source` packs its snapshots, `alive` is dropped at
    /// the end.
    pub(crate) fn new(
        applier: Arc<Applier<M>>,
        source: Arc<dyn snapshot::Source>,
        lane: Lane,
        alive: Option<oneshot::Sender<()>>,
    ) -> Adapter<M> {
        Adapter { applier, source, lane, _alive: alive }
    }

    /// The applied state as a snapshot.
    fn snapshot(&self) -> SnapshotOf<TypeConfig, SnapshotData> {
        let applied = self.applier.applied();
        let meta = SnapshotMeta {
            last_log_id: applied.log_id.map(log_id_in),
            last_membership: membership_in(&applied.membership),
        };
        Snapshot { meta, snapshot: SnapshotData::Here(Arc::clone(&self.source)) }
    }

    /// Applies one chunk on the Region's thread.
    async fn apply_chunk(
        &self,
        entries: Vec<Entry>,
        responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    ) -> Result<(), io::Error> {
        let applier = Arc::clone(&self.applier);
        let outcome = self.lane.run(move || {
            let mut responders = responders.into_iter();
            let outcome = applier.apply(&entries, |replies| {
                if let Some(responder) = responders.next().flatten() {
                    responder.send(replies);
                }
            });
            // Before the responders that are left are dropped: who waits for them must find the
            // cause.
            if let Err(error) = &outcome {
                tracing::error!(region = applier.region, %error, "apply failed: the region stops");
                applier.published.stop(&format!("apply failed: {error}"));
            }
            outcome.map_err(io::Error::other)
        });
        outcome.await?
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
            let mut bytes = 0usize;
            while chunk.len() < CHUNK_ENTRIES && bytes < CHUNK_BYTES {
                let Some(item) = entries.next().await else {
                    more = false;
                    break;
                };
                let (entry, responder) = item?;
                bytes = bytes.saturating_add(entry_weight(&entry));
                chunk.push(entry);
                responders.push(responder);
            }
            if !chunk.is_empty() {
                self.apply_chunk(chunk, responders).await?;
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
            Arc::clone(&self.source),
            self.lane.clone(),
            None,
        ))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        data: SnapshotData,
    ) -> Result<(), io::Error> {
        let applier = Arc::clone(&self.applier);
        let expected = meta.last_log_id;
        let outcome = self.lane.run(move || {
            let package = match data {
                SnapshotData::Received(package) => *package,
                SnapshotData::Here(source) => source.pack()?,
            };
            snapshot::install(&applier, package, expected)
        });
        outcome.await?.map_err(|error| {
            tracing::error!(region = self.applier.region, %error, "snapshot could not be installed: the region stops");
            self.applier.published.stop(&format!("snapshot could not be installed: {error}"));
            io::Error::other(error)
        })
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<TypeConfig, SnapshotData>>, io::Error> {
        Ok(Some(self.snapshot()).filter(|snapshot| snapshot.meta.last_log_id.is_some()))
    }
}

/// Builds the virtual snapshot.
pub(crate) struct Builder<M>(Adapter<M>);

impl<M: StateMachine> RaftSnapshotBuilder<TypeConfig> for Builder<M> {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotData>, io::Error> {
        Ok(self.0.snapshot())
    }
}
