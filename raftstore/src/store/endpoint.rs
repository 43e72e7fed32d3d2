//! The receiving end: messages from other stores, handed to the Region they are for.
//!
//! # Who may answer
//!
//! Peer ids are never used again, so a message for another peer than the one that lives here is for
//! one that was removed, or for one that is to come. Neither is answered by the one that is here.
//!
//! # Messages that come early
//!
//! The child of a split campaigns as soon as its parent's leader has applied the split, and the
//! others apply it a moment later. Its first messages would be refused, and it would have no leader
//! until an election times out. So a message for a replica that may come waits for it, for a moment
//! ([`EARLY`]).
//!
//! # The quiet period
//!
//! A follower promises its leader not to help elect another one for as long as the longest election
//! timeout. A restart forgets the promise. So for that long after its start, a replica that was
//! recovered from disk neither votes nor campaigns, unless the leader itself hands its leadership
//! over. A lone voter has promised nothing to anybody and campaigns at once; a replica that was
//! created by bootstrap has never heard of a leader.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use neokv_encoding::region::ReplicaState;
use neokv_engine::Engine;
use openraft::raft::VoteRequest;
use openraft::storage::Snapshot;

use super::Inner;
use super::directory::Directory;
use crate::blocking::{DroppedInBackground, blocking};
use crate::error::StoreError;
use crate::group::Raft;
use crate::machine::StateMachine;
use crate::records;
use crate::region::Region;
use crate::snapshot::{Arrived, Received, Receiver, SnapshotData};
use crate::space::SpaceAlarm;
use crate::transport::wire::{VoteAnswer, Writer};
use crate::transport::{Endpoint, Message, MessageKind, TransportError, wire};
use crate::types::{SnapshotMeta, TypeConfig, log_id_in, membership_in};

/// How long a message waits for its replica to start.
const EARLY: Duration = Duration::from_millis(500);

impl<M: StateMachine> Endpoint for Inner<M> {
    fn receive(&self, message: Message) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let store = self.config.store_id;
        let handler = Handler {
            store,
            receiver: Arc::clone(&self.receiver),
            space: Arc::clone(&self.space),
            quiet: self.is_quiet(message.region),
        };
        let (directory, engine) = (Arc::clone(&self.directory), self.engine.clone());
        let work = async move {
            let region = addressee(&directory, &engine, &message).await;
            let region = region.ok_or_else(|| TransportError::Refused {
                store,
                why: format!("peer {} of region {} is not here", message.to, message.region),
            })?;
            handler.handle(&region, message).await
        };
        let handled = self.handle.spawn(work);
        Box::pin(async move { handled.await.unwrap_or_else(|error| Err(refused(store, &error))) })
    }
}

/// The replica that a message is for, if it is here or comes in a moment.
async fn addressee<M: StateMachine>(
    directory: &Directory<M>,
    engine: &Engine,
    message: &Message,
) -> Option<Arc<Region<M>>> {
    let (id, peer) = (message.region, message.to);
    if let Some(region) = directory.running(id, peer) {
        return Some(region);
    }
    // Not if this peer, or a later one, was here and was removed.
    let engine = engine.clone();
    let known = blocking(move || records::replica(&engine, id)).await.ok()?.ok()?;
    let may_come = known.is_none_or(|known| match known.state {
        ReplicaState::Tombstone => known.peer < peer,
        ReplicaState::Joining | ReplicaState::Member => known.peer == peer,
    });
    if !may_come {
        return None;
    }
    tokio::time::timeout(EARLY, directory.wait_for(id, peer)).await.ok()
}

/// What is needed to handle one message.
struct Handler {
    store: u64,
    receiver: Arc<Receiver>,
    space: Arc<SpaceAlarm>,
    quiet: bool,
}

impl Handler {
    async fn handle<M: StateMachine>(
        &self,
        region: &Region<M>,
        message: Message,
    ) -> Result<Bytes, TransportError> {
        let raft = region.group().map_err(|error| self.refused(&error))?;
        match message.kind {
            // From the leader: entries, or a heartbeat.
            MessageKind::Append => {
                let request = wire::append_in(message.body)?;
                // While the log writer waits for space its queue is not emptied: what would only
                // wait there stays with the leader, which comes again.
                if !request.entries.is_empty() && self.space.is_raised() {
                    return Err(self.refused(&"its disk is full"));
                }
                let answer = raft.append_entries(request).await;
                Ok(wire::append_answer_out(&answer.map_err(|error| self.refused(&error))?))
            }
            // From a leader that wants this replica to take over.
            MessageKind::TransferLeader => {
                let request = wire::transfer_in(message.body)?;
                let answer = raft.handle_transfer_leader(request).await;
                Ok(wire::transfer_answer_out(&answer.map_err(|error| self.refused(&error))?))
            }
            // From a candidate, or from one that asks whether it would win.
            MessageKind::Vote | MessageKind::PreVote => self.vote(region, raft, message).await,
            // From a leader whose log no longer reaches back to where this replica is.
            MessageKind::SnapshotOffer => {
                let (receiver, id) = (Arc::clone(&self.receiver), region.id);
                let snapshots = Arc::clone(&region.snapshots);
                // Reads records, creates a directory.
                let offered = blocking(move || {
                    receiver.offer(id, message.body, |offered| {
                        snapshots.fits(offered).map_err(|error| error.to_string())
                    })
                });
                offered.await.map_err(|error| self.refused(&error))?
            }
            MessageKind::SnapshotChunk => self.receiver.chunk(region.id, message.body).await,
            MessageKind::SnapshotEnd => self.install(region, raft, message.body).await,
        }
    }

    async fn vote<M: StateMachine>(
        &self,
        region: &Region<M>,
        raft: &Raft<M>,
        message: Message,
    ) -> Result<Bytes, TransportError> {
        let request: VoteRequest<TypeConfig> = wire::vote_in(message.body)?;
        if self.quiet && !request.leadership_transfer {
            let why = "it has just restarted and keeps an older promise";
            return Err(self.refused(&why));
        }
        let answer = match message.kind {
            MessageKind::PreVote => raft.pre_vote(request).await,
            _ => raft.vote(request).await,
        };
        let vote = answer.map_err(|error| self.refused(&error))?;
        let unlisted = region.unlisted(message.from);
        Ok(wire::vote_answer_out(&VoteAnswer { vote, unlisted }))
    }

    /// All of a snapshot has been sent: it goes to Raft, which has it installed.
    async fn install<M: StateMachine>(
        &self,
        region: &Region<M>,
        raft: &Raft<M>,
        body: Bytes,
    ) -> Result<Bytes, TransportError> {
        // The place is held until the install is over, and so is the claim of the shape.
        let Arrived { vote, package, place: _place } = self.receiver.end(region.id, body).await?;
        let snapshots = Arc::clone(&region.snapshots);
        // What does not fit is removed there, too.
        let claimed = blocking(move || {
            let claim = snapshots.claim(&package.manifest.descriptor)?;
            Ok::<_, StoreError>(Received { package, claim })
        });
        let received = claimed.await.map_err(|error| self.refused(&error))?;
        let received = received.map_err(|error| self.refused(&error))?;
        let applied = &received.package.manifest.applied;
        let meta = SnapshotMeta {
            last_log_id: applied.log_id.map(log_id_in),
            last_membership: membership_in(&applied.membership),
        };
        let received = SnapshotData::Received(DroppedInBackground::new(Box::new(received)));
        let snapshot = Snapshot { meta, snapshot: received };
        let answer = raft.install_full_snapshot(vote, snapshot).await;
        let answer = answer.map_err(|error| self.refused(&error))?;
        Ok(Writer::new().vote(&answer.vote).finish())
    }

    fn refused(&self, why: &dyn ToString) -> TransportError {
        refused(self.store, why)
    }
}

fn refused(store: u64, why: &dyn ToString) -> TransportError {
    TransportError::Refused { store, why: why.to_string() }
}
