//! Linearizable reads: proof that this replica still leads, then a local read.
//!
//! ```text
//!   lone voter:   serving?  ── yes ────────────────────────────────▶ ReadPoint   no await, no lock
//!   more voters:  join the NEXT round ──▶ leader asks its majority
//!                 "still me?" ──▶ wait until applied ───────────────▶ ReadPoint
//!
//!   ReadPoint ──▶ Region::read_…(point, work) ──▶ work reads the engine ──▶ same shape? ── answer
//! ```
//!
//! A round of heartbeats costs the same for one read or ten thousand. So one round is in flight per
//! Region, and reads that arrive meanwhile join the next one. They must not join the one in flight:
//! its question may have been asked before an earlier write of theirs was acknowledged elsewhere.
//!
//! # The fence
//!
//! While a read waits, or while it runs, the Region may be split, and the half that it reads may be
//! led, written, moved away and cleared by others. So the shape is compared twice: after the wait,
//! with the epoch that the caller routed by; and after the work, when everything has been read. A
//! read whose Region has changed answers [`ReadError::StaleEpoch`], and the caller routes it again.
//! In the same way a read is given up whose replica lost its leadership and had its data replaced
//! by a snapshot meanwhile. No other code reads the engine for a client.
//!
//! Leases would save the round; they are not used, because a restarted follower forgets the promise
//! that makes them safe.

use std::sync::Arc;
use std::time::Duration;

use neokv_encoding::region::Descriptor;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::linearizable_read::LinearizerOption;
use tokio::sync::{mpsc, oneshot};

use crate::error::ReadError;
use crate::group::Raft;
use crate::machine::StateMachine;

/// Reads that may wait for a round.
const WAITING: usize = 65_536;

/// For so many reads a Region keeps memory between its rounds.
const KEPT: usize = 64;

/// Permission to read a Region: its replica here holds every write acknowledged before the read
/// began.
#[derive(Debug, Clone)]
pub struct ReadPoint {
    /// The Region as it was when the permission was given.
    pub descriptor: Arc<Descriptor>,
    /// The instant at which expiry is decided: milliseconds since 1970. Not before the stamp of any
    /// write that is applied here, nor, on one store, before that of an earlier read: what has
    /// expired for those has expired for this read. After a change of leader that does not hold
    /// for reads of the former one: they leave nothing in the log, so if its clock was ahead, a key
    /// that had expired for them lives again until the new leader's clock has come as far.
    pub now_ms: u64,
    /// How often the data here had been replaced before leadership was looked at.
    pub(crate) replaced: u64,
}

type Asker = oneshot::Sender<Result<(), ReadError>>;

/// Reads that wait for the next round.
pub(crate) type Asked = mpsc::Receiver<Asker>;

/// The queue of reads that wait for a round.
pub(crate) struct ReadRounds {
    queue: mpsc::Sender<Asker>,
    region: u64,
}

impl ReadRounds {
    /// The queue, and the end that [`run`] works on.
    pub(crate) fn new(region: u64) -> (ReadRounds, Asked) {
        let (queue, asked) = mpsc::channel(WAITING);
        (ReadRounds { queue, region }, asked)
    }

    /// Joins the next round: returns when a majority has confirmed this replica, and it has applied
    /// what was committed then.
    pub(crate) async fn join(&self) -> Result<(), ReadError> {
        let (answer, wait) = oneshot::channel();
        let not_ready = |why| ReadError::NotReady { region: self.region, why };
        self.queue.try_send(answer).map_err(|_| not_ready("too many reads are waiting"))?;
        wait.await.map_err(|_| not_ready("the region is stopping"))?
    }
}

/// The task that makes the rounds.
pub(crate) async fn run<M: StateMachine>(
    raft: Raft<M>,
    region: u64,
    timeout: Duration,
    mut asked: Asked,
) {
    let mut round = Vec::new();
    while asked.recv_many(&mut round, WAITING).await > 0 {
        // Raft answers in time, unless its core waits for the disk. Reads do not wait with it.
        let outcome = tokio::time::timeout(timeout * 2, confirm(&raft, region, timeout)).await;
        let busy = ReadError::NotReady { region, why: "its group is busy with its disk" };
        let outcome = outcome.unwrap_or(Err(busy));
        answer(&mut round, &outcome);
    }
}

/// Tells everybody in a round what has become of it. A large round gives its memory back: the next
/// one may be long in coming.
fn answer(round: &mut Vec<Asker>, outcome: &Result<(), ReadError>) {
    for asker in round.drain(..) {
        // One that does not wait any more is not told.
        let _ = asker.send(outcome.clone());
    }
    round.shrink_to(KEPT);
}

/// One round: the majority confirms us, and we have applied what was committed when it was asked.
async fn confirm<M: StateMachine>(
    raft: &Raft<M>,
    region: u64,
    timeout: Duration,
) -> Result<(), ReadError> {
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
    let applied = linearizer.try_await_ready(raft, Some(timeout)).await;
    let applied = applied.map_err(|fatal| stopped(fatal.to_string()))?;
    applied.map_err(|_| ReadError::NotReady { region, why: "apply lags behind" })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_round_is_answered_and_gives_its_memory_back() {
        let (mut round, waits): (Vec<Asker>, Vec<_>) =
            (0..100 * KEPT).map(|_| oneshot::channel()).unzip();
        answer(&mut round, &Err(ReadError::NeedsQuorum { region: 1 }));
        for mut wait in waits {
            assert_eq!(wait.try_recv(), Ok(Err(ReadError::NeedsQuorum { region: 1 })));
        }
        assert!(round.is_empty() && round.capacity() <= KEPT, "{}", round.capacity());
        // A small one keeps it.
        round.push(oneshot::channel().0);
        let kept = round.capacity();
        answer(&mut round, &Ok(()));
        assert_eq!(round.capacity(), kept);
    }
}
