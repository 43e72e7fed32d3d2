//! The receiving end: messages from other stores, handed to the Region they are for.
//!
//! # The quiet period
//!
//! A follower promises its leader not to help elect another one for as long as the longest election
//! timeout. A restart forgets the promise. So for that long after its start, a replica that was
//! recovered from disk neither votes nor campaigns, unless the leader itself hands its leadership
//! over. A lone voter has promised nothing to anybody and campaigns at once; a replica that was
//! created by bootstrap has never heard of a leader.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use openraft::raft::VoteRequest;

use super::{Endpoint, Kind, Message, TransportError, wire};
use crate::machine::StateMachine;
use crate::region::Region;
use crate::store::Inner;
use crate::types::TypeConfig;

impl<M: StateMachine> Endpoint for Inner<M> {
    fn receive(&self, message: Message) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let store = self.config.store_id;
        let region = self.region(message.region).filter(|region| region.peer == message.to);
        let receiver = Arc::clone(&self.receiver);
        let quiet = self.is_quiet(message.region);
        let handle = self.handle.clone();
        Box::pin(async move {
            let region = region.ok_or_else(|| TransportError::Refused {
                store,
                why: format!("peer {} of region {} is not here", message.to, message.region),
            })?;
            let work = async move {
                match message.kind {
                    Kind::Append | Kind::TransferLeader => follow(&region, store, message).await,
                    Kind::Vote | Kind::PreVote => vote(&region, store, message, quiet).await,
                    _ => receiver.receive(&region, message).await,
                }
            };
            let done = handle.spawn(work).await;
            done.unwrap_or_else(|error| Err(refused(store, &error)))
        })
    }
}

async fn follow<M: StateMachine>(
    region: &Region<M>,
    store: u64,
    message: Message,
) -> Result<Bytes, TransportError> {
    if message.kind == Kind::TransferLeader {
        let request = wire::transfer_in(message.body)?;
        let answer = region
            .raft
            .handle_transfer_leader(request)
            .await
            .map_err(|error| refused(store, &error))?;
        return Ok(wire::transfer_answer_out(&answer));
    }
    let request = wire::append_in(message.body)?;
    let answer =
        region.raft.append_entries(request).await.map_err(|error| refused(store, &error))?;
    Ok(wire::append_answer_out(&answer))
}

async fn vote<M: StateMachine>(
    region: &Region<M>,
    store: u64,
    message: Message,
    quiet: bool,
) -> Result<Bytes, TransportError> {
    let request: VoteRequest<TypeConfig> = wire::vote_in(message.body)?;
    if quiet && !request.leadership_transfer {
        let why = "it has just restarted and keeps an older promise".to_string();
        return Err(TransportError::Refused { store, why });
    }
    let answer = match message.kind {
        Kind::PreVote => region.raft.pre_vote(request).await,
        _ => region.raft.vote(request).await,
    };
    Ok(wire::vote_answer_out(&answer.map_err(|error| refused(store, &error))?))
}

pub(crate) fn refused(store: u64, error: &impl ToString) -> TransportError {
    TransportError::Refused { store, why: error.to_string() }
}
