//! Leadership moves to another voter, without an election timeout.
//!
//! ```text
//!   leader   takes no new writes and reads; tells the voter to campaign
//!   voter    campaigns at once; the others vote for it although their old leader lives
//! ```
//!
//! Raft gives no way back: if the voter does not win, the old leader takes no writes until a new
//! election, which is after two election timeouts at most. So leadership is handed only to a voter
//! that has the whole log, and that answers.

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;

use super::unknown_outcome;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::region::Region;

impl<M: StateMachine> Region<M> {
    /// Hands leadership to another voter; returns when this replica no longer leads. `Ok` does not
    /// mean that the other one leads by then: see its [`status`](Region::status).
    ///
    /// # Errors
    ///
    /// [`StoreError::NotLeader`] if another replica leads, [`StoreError::Refused`] if the peer is
    /// no voter or lacks a part of the log. [`StoreError::Unknown`] if it did not take over in
    /// time.
    pub async fn transfer_leadership(&self, to: u64) -> Result<(), StoreError> {
        if !self.is_serving() {
            return Err(self.not_serving().into());
        }
        let region = self.id;
        let refused = |why: String| Err(StoreError::Refused { region, why });
        let raft = self.group()?;
        let metrics = raft.metrics().borrow_watched().clone();
        if to == self.peer || !metrics.membership_config.voter_ids().any(|voter| voter == to) {
            return refused(format!("peer {to} is not one of its other voters"));
        }
        let matched = metrics.replication.as_ref().and_then(|peers| peers.get(&to).copied());
        let matched = matched.flatten().map(|id| id.index);
        if matched < metrics.last_log_index {
            return refused(format!("peer {to} does not have the whole log yet; try again"));
        }
        let trigger = raft.trigger();
        trigger.transfer_leader(to).await.map_err(|fatal| self.group_error(&fatal))?;
        let waiting = raft.wait(Some(self.timeouts.operation));
        let over = waiting.metrics(|now| now.state != ServerState::Leader, "the transfer").await;
        over.map(drop).map_err(|_| unknown_outcome(region, &format!("peer {to} did not take over")))
    }
}
