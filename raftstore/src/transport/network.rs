//! What Raft wants from a network, on top of a [`Transport`].
//!
//! Every failure to reach a peer is told to Raft as *unreachable*, which makes it back off at once;
//! its other category would be retried ten times in a row.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::{Kind, Message, Transport, TransportError, wire};
use crate::apply::SnapshotData;
use crate::snapshot;
use crate::types::{StoreNode, TypeConfig, Vote};

/// Pauses before an unreachable peer is tried again, in milliseconds; the last one repeats.
const BACKOFF_MS: [u64; 6] = [50, 100, 200, 400, 1000, 2000];

/// Makes links for one replica.
pub(crate) struct Links {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) region: u64,
    pub(crate) peer: u64,
    pub(crate) timeout: Duration,
    pub(crate) snapshot_chunk: usize,
}

impl RaftNetworkFactory<TypeConfig> for Links {
    type Network = Link;

    async fn new_client(&mut self, target: u64, node: &StoreNode) -> Link {
        Link {
            transport: Arc::clone(&self.transport),
            store: node.store,
            region: self.region,
            from: self.peer,
            to: target,
            timeout: self.timeout,
            snapshot_chunk: self.snapshot_chunk,
        }
    }
}

/// The way from one replica to another.
#[derive(Clone)]
pub(crate) struct Link {
    transport: Arc<dyn Transport>,
    store: u64,
    region: u64,
    from: u64,
    to: u64,
    timeout: Duration,
    snapshot_chunk: usize,
}

impl Link {
    /// One question and its answer, within `limit`.
    pub(crate) async fn call(
        &self,
        kind: Kind,
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, TransportError> {
        let message = Message { region: self.region, from: self.from, to: self.to, kind, body };
        let answer = tokio::time::timeout(limit, self.transport.call(self.store, message)).await;
        answer.unwrap_or_else(|_| {
            Err(TransportError::Unreachable {
                store: self.store,
                why: format!("no answer within {limit:?}"),
            })
        })
    }

    /// Bytes of a snapshot in one message.
    pub(crate) fn snapshot_chunk(&self) -> usize {
        self.snapshot_chunk
    }

    async fn ask(
        &self,
        kind: Kind,
        body: Bytes,
        option: &RPCOption,
    ) -> Result<Bytes, RPCError<TypeConfig>> {
        self.call(kind, body, self.timeout.min(option.soft_ttl())).await.map_err(rpc_error)
    }
}

fn rpc_error(error: TransportError) -> RPCError<TypeConfig> {
    match error {
        TransportError::Garbled(_) => RPCError::Network(NetworkError::new(&error)),
        _ => RPCError::Unreachable(Unreachable::new(&error)),
    }
}

impl RaftNetworkV2<TypeConfig> for Link {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(Kind::Append, wire::append_out(&request), &option).await?;
        wire::append_answer_in(answer).map_err(rpc_error)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(Kind::Vote, wire::vote_out(&request), &option).await?;
        wire::vote_answer_in(answer).map_err(rpc_error)
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(Kind::PreVote, wire::vote_out(&request), &option).await?;
        wire::vote_answer_in(answer).map_err(rpc_error)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let sending = snapshot::send(self.clone(), vote, snapshot.snapshot, option.hard_ttl());
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => sent
                .map(SnapshotResponse::new)
                .map_err(|error| StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(Kind::TransferLeader, wire::transfer_out(&request), &option).await?;
        wire::transfer_answer_in(answer).map_err(rpc_error)
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = BACKOFF_MS.last().copied().unwrap_or(1000);
        let pauses = BACKOFF_MS.into_iter().chain(std::iter::repeat(last));
        Some(Backoff::new(pauses.map(Duration::from_millis)))
    }
}
