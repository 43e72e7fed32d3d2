//! What Raft wants from a network, on top of a [`Link`].
//!
//! Every failure to reach a peer is told to Raft as *unreachable*, which makes it back off at once;
//! its other category would be retried ten times in a row.
//!
//! A request may take as long as its size requires ([`Config::answer_timeout`]): an append of
//! several megabytes over a slow link is no reason to send it again from the start.

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

use crate::config::Config;
use crate::snapshot::{self, SendLimits, SnapshotData};
use crate::transport::link::{Ends, Link};
use crate::transport::{MessageKind, Transport, TransportError, wire};
use crate::types::{StoreNode, TypeConfig, Vote};

/// Pauses before an unreachable peer is tried again, in milliseconds; the last one repeats.
const BACKOFF_MS: [u64; 6] = [50, 100, 200, 400, 1000, 2000];

/// Makes links for one replica.
pub(crate) struct PeerConnections {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) config: Arc<Config>,
    pub(crate) sending: Arc<SendLimits>,
    pub(crate) region: u64,
    pub(crate) peer: u64,
    /// Told when another member does not know this peer.
    pub(crate) unlisted: Unlisted,
}

/// Told the conf_ver of a configuration that does not list this peer.
pub(crate) type Unlisted = Arc<dyn Fn(u64) + Send + Sync>;

impl RaftNetworkFactory<TypeConfig> for PeerConnections {
    type Network = PeerConnection;

    async fn new_client(&mut self, target: u64, node: &StoreNode) -> PeerConnection {
        let ends = Ends { region: self.region, from: self.peer, to: target, store: node.store };
        let link = Link::new(Arc::clone(&self.transport), Arc::clone(&self.config), ends);
        PeerConnection {
            link,
            sending: Arc::clone(&self.sending),
            unlisted: Arc::clone(&self.unlisted),
        }
    }
}

/// Another replica of the group.
pub(crate) struct PeerConnection {
    link: Link,
    sending: Arc<SendLimits>,
    unlisted: Unlisted,
}

impl PeerConnection {
    async fn ask(&self, kind: MessageKind, body: Bytes) -> Result<Bytes, RPCError<TypeConfig>> {
        self.link.ask(kind, body).await.map_err(rpc_error)
    }

    /// Asks for a vote, or whether there would be one.
    async fn ask_vote(
        &self,
        kind: MessageKind,
        request: &VoteRequest<TypeConfig>,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(kind, wire::vote_out(request)).await?;
        let answer = wire::vote_answer_in(answer).map_err(rpc_error)?;
        if let Some(conf_ver) = answer.unlisted {
            (self.unlisted)(conf_ver);
        }
        Ok(answer.vote)
    }
}

fn rpc_error(error: TransportError) -> RPCError<TypeConfig> {
    match error {
        TransportError::Garbled(_) => RPCError::Network(NetworkError::new(&error)),
        _ => RPCError::Unreachable(Unreachable::new(&error)),
    }
}

impl RaftNetworkV2<TypeConfig> for PeerConnection {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(MessageKind::Append, wire::append_out(&request)).await?;
        wire::append_answer_in(answer).map_err(rpc_error)
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(MessageKind::Vote, &request).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(MessageKind::PreVote, &request).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let limit = option.hard_ttl();
        let sending = snapshot::send(&self.link, &self.sending, vote, snapshot.snapshot, limit);
        tokio::select! {
            biased;
            // The peer is gone from the group, or we no longer lead.
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => sent
                .map(SnapshotResponse::new)
                .map_err(|error| StreamingError::Unreachable(Unreachable::new(&error))),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        _: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.ask(MessageKind::TransferLeader, wire::transfer_out(&request)).await?;
        wire::transfer_answer_in(answer).map_err(rpc_error)
    }

    fn backoff(&self) -> Option<Backoff> {
        let last = BACKOFF_MS.last().copied().unwrap_or(1000);
        let pauses = BACKOFF_MS.into_iter().chain(std::iter::repeat(last));
        Some(Backoff::new(pauses.map(Duration::from_millis)))
    }
}
