//! Linearizable reads: proof that this replica still leads, then a local read.
//!
//! ```text
//!   lone voter:   serving?  ── yes ──▶ ReadPoint            no await, no lock (see `published`)
//!   more voters:  join the NEXT round ──▶ leader asks its majority "still me?" ──▶ wait until applied ──▶ ReadPoint
//! ```
//!
//! A round of heartbeats costs the same for one read or ten thousand. So one round is in flight per
//! Region, and reads that arrive meanwhile join the next one. They must not join the one in flight:
//! its question may have been asked before an earlier write of theirs was acknowledged elsewhere.
//!
//! Leases would save the round; they are not used, because a restarted follower forgets the promise
//! that makes them safe.

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::linearizable_read::LinearizerOption;
use tokio::sync::{mpsc, oneshot};

use crate::apply::Adapter;
use crate::error::ReadError;
use crate::machine::StateMachine;
use crate::published::Published;
use crate::types::TypeConfig;

/// Reads that may wait for a round.
const WAITING: usize = 65_536;

/// Permission to read this replica's engine: it holds every write acknowledged before the read
/// began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadPoint {
    /// The Region's applied hybrid logical clock. What has expired by it has expired for every
    /// reader from now on.
    pub applied_clock: u64,
}

type Asker = oneshot::Sender<Result<ReadPoint, ReadError>>;

/// The queue of reads that wait for a round.
pub(crate) struct ReadRounds {
    queue: mpsc::Sender<Asker>,
    region: u64,
}

impl ReadRounds {
    /// The queue, and the end that [`run`] works on.
    pub(crate) fn new(region: u64) -> (ReadRounds, mpsc::Receiver<Asker>) {
        let (queue, asked) = mpsc::channel(WAITING);
        (ReadRounds { queue, region }, asked)
    }

    /// Joins the next round.
    pub(crate) async fn join(&self) -> Result<ReadPoint, ReadError> {
        let (answer, wait) = oneshot::channel();
        let not_ready = |why| ReadError::NotReady { region: self.region, why };
        self.queue.try_send(answer).map_err(|_| not_ready("too many reads are waiting"))?;
        wait.await.map_err(|_| not_ready("the region is stopping"))?
    }
}

/// The task that makes the rounds.
pub(crate) async fn run<M: StateMachine>(
    raft: openraft::Raft<TypeConfig, Adapter<M>>,
    published: Arc<Published>,
    region: u64,
    timeout: Duration,
    mut asked: mpsc::Receiver<Asker>,
) {
    let mut round = Vec::new();
    while asked.recv_many(&mut round, WAITING).await > 0 {
        let outcome = confirm(&raft, &published, region, timeout).await;
        for asker in round.drain(..) {
            let _ = asker.send(outcome.clone());
        }
    }
}

/// One round: the majority confirms us, and we have applied what was committed when it was asked.
async fn confirm<M: StateMachine>(
    raft: &openraft::Raft<TypeConfig, Adapter<M>>,
    published: &Published,
    region: u64,
    timeout: Duration,
) -> Result<ReadPoint, ReadError> {
    let stopped = |why: String| ReadError::Stopped { region, why: Arc::from(why) };
    let option = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(timeout);
    let linearizer = raft.get_read_linearizer(option).await.map_err(|error| match error {
        RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
            ReadError::NotLeader { region, leader: forward.leader_node.map(|node| node.store) }
        }
        RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)) => {
            ReadError::NotReady { region, why: "its majority does not answer" }
        }
        RaftError::Fatal(fatal) => stopped(fatal.to_string()),
    })?;
    let applied = linearizer
        .try_await_ready(raft, Some(timeout))
        .await
        .map_err(|fatal| stopped(fatal.to_string()))?;
    applied.map_err(|_| ReadError::NotReady { region, why: "apply lags behind" })?;
    Ok(ReadPoint { applied_clock: published.clock() })
}
