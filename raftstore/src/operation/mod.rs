//! Operations that change a Region itself, one file for each.
//!
//! Each file follows one operation through its phases, in this order:
//!
//! ```text
//!   propose      on the leader: who may ask, for which epoch, what the entry says
//!   apply        on every replica, in the log's order: what the entry does to descriptor and
//!                batch; a pure function of the Region as of the entry, and of the entry
//!   on applied   on this store, after the write is published: start, stop or remove a group
//! ```
//!
//! | file | operation | entry |
//! | --- | --- | --- |
//! | [`membership`] | other peers: learners, voters, removal | Raft's membership entry |
//! | [`split`] | one Region becomes two | admin command |
//! | [`transfer`] | another voter leads | none |
//! | [`lifecycle`] | a replica is created, removed, remembered | none: this store's own records |
//!
//! A new operation is a new file, its line in [`Dispatch`], and its row in [`rule`].
//!
//! # Which part of the epoch must fit
//!
//! A command is made for a Region that its caller has seen. Whether it still fits is decided twice:
//! at propose, to refuse at once, and at apply, where the log's order decides:
//!
//! | operation | version must fit | conf_ver must fit | moves |
//! | --- | --- | --- | --- |
//! | reads and writes of keys | yes | no | nothing |
//! | membership | no | yes | conf_ver |
//! | split | yes | yes | version |

pub(crate) mod lifecycle;
pub(crate) mod membership;
pub(crate) mod split;
mod transfer;

use std::sync::{Arc, Weak};

use neokv_encoding::proto::AdminCommand;
use neokv_encoding::proto::admin_command::Kind;
use neokv_encoding::region::{Descriptor, Epoch};
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader};
use tokio::sync::oneshot;

use crate::apply::{AdminOutcome, AdminRefusal, Change, OperationContext, Operations};
use crate::error::StoreError;
use crate::machine::{ApplyError, StateMachine};
use crate::region::Region;
use crate::store::Inner;
use crate::types::{Completion, Data, Responder, TypeConfig, WriteResult};

/// Which parts of the epoch must be those that the command was made for.
#[derive(Debug, Clone, Copy)]
struct Rule {
    version: bool,
    conf_ver: bool,
}

/// The rule of an admin command; `None` for one that this version does not carry out.
fn rule(command: &AdminCommand) -> Option<Rule> {
    match command.kind.as_ref()? {
        Kind::Split(_) => Some(Rule { version: true, conf_ver: true }),
        _ => None,
    }
}

impl Rule {
    fn fits(self, made_for: Epoch, now: Epoch) -> bool {
        (!self.version || made_for.version == now.version)
            && (!self.conf_ver || made_for.conf_ver == now.conf_ver)
    }
}

/// Sends every change to the file of its operation.
pub(crate) struct Dispatch<M: StateMachine> {
    store: Weak<Inner<M>>,
}

impl<M: StateMachine> Dispatch<M> {
    /// For the store that is being made.
    pub(crate) fn of(store: Weak<Inner<M>>) -> Arc<dyn Operations> {
        Arc::new(Dispatch { store })
    }
}

impl<M: StateMachine> Operations for Dispatch<M> {
    fn apply(
        &self,
        cx: &mut OperationContext<'_, '_>,
        change: &Change,
    ) -> Result<AdminOutcome, ApplyError> {
        let (epoch, command) = match change {
            Change::Membership(membership) => {
                membership::apply(cx, membership);
                return Ok(Ok(()));
            }
            Change::Admin { epoch, command } => (*epoch, command),
        };
        let rule = rule(command).ok_or_else(unknown)?;
        if !rule.fits(epoch, cx.descriptor.epoch) {
            return Ok(Err(AdminRefusal::StaleEpoch(Arc::clone(cx.descriptor))));
        }
        match &command.kind {
            Some(Kind::Split(split)) => split::apply(cx, split),
            _ => Err(unknown()),
        }
    }

    fn applied(&self, new: &Arc<Descriptor>, change: &Change) {
        // A store that is ending starts nothing new.
        let Some(store) = self.store.upgrade() else { return };
        match change {
            Change::Membership(_) => membership::applied(&store, new),
            Change::Admin { command, .. } => {
                if let Some(Kind::Split(split)) = &command.kind {
                    split::applied(&store, new, split);
                }
            }
        }
    }

    fn removed(&self, region: u64) {
        if let Some(store) = self.store.upgrade() {
            lifecycle::remove_soon(&store, region);
        }
    }

    fn unlisted(&self, region: u64, peer: u64, conf_ver: u64) {
        if let Some(store) = self.store.upgrade() {
            membership::unlisted(&store, region, peer, conf_ver);
        }
    }
}

fn unknown() -> ApplyError {
    ApplyError::Undecodable("an admin command that this version cannot carry out".into())
}

impl<M: StateMachine> Region<M> {
    /// Has an admin command carried out through the log. Returns when it is applied here.
    pub(crate) async fn propose_admin(
        &self,
        epoch: Epoch,
        command: AdminCommand,
    ) -> Result<(), StoreError> {
        let region = self.id;
        let now = self.descriptor();
        let fits = rule(&command).is_some_and(|rule| rule.fits(epoch, now.epoch));
        if !fits {
            return Err(StoreError::StaleEpoch { descriptor: now });
        }
        if !self.is_serving() {
            return Err(self.not_serving().into());
        }
        let (told, wait) = oneshot::channel();
        let responder = Responder::new(AdminResponder { region, told });
        let data = Data::Admin { epoch, command: Box::new(command) };
        let raft = self.group()?;
        let proposed = async {
            let proposed = raft.client_write_ff(data, Some(responder)).await;
            proposed.map_err(|fatal| unknown_outcome(region, &fatal))?;
            let why = "the region stopped while the operation was in flight";
            wait.await.unwrap_or_else(|_| Err(unknown_outcome(region, &why)))
        };
        self.in_time(proposed).await
    }

    /// Waits for an operation that Raft was given. A leader without a majority does not answer
    /// before it hears from one: what becomes of the operation is unknown then.
    async fn in_time<T>(
        &self,
        operation: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let limit = self.timeouts.operation;
        let done = tokio::time::timeout(limit, operation).await;
        let why = || format!("it was not committed and applied within {limit:?}");
        done.unwrap_or_else(|_| Err(unknown_outcome(self.id, &why())))
    }
}

/// Brings the outcome of an admin command back to who asked for it.
struct AdminResponder {
    region: u64,
    told: oneshot::Sender<Result<(), StoreError>>,
}

impl Completion<WriteResult> for AdminResponder {
    fn committed(&mut self) {}

    fn completed(self: Box<Self>, result: WriteResult) {
        let region = self.region;
        let outcome = match result {
            Ok(response) => match response.data.take::<AdminOutcome>() {
                Some(Ok(())) => Ok(()),
                Some(Err(AdminRefusal::StaleEpoch(descriptor))) => {
                    Err(StoreError::StaleEpoch { descriptor })
                }
                Some(Err(AdminRefusal::Unfit(why))) => Err(StoreError::Refused { region, why }),
                None => Err(unknown_outcome(region, &"it was applied without an answer")),
            },
            // Refused before it was in the log: nothing happened.
            Err(ClientWriteError::ForwardToLeader(forward)) => Err(elsewhere(region, &forward)),
            Err(error) => Err(unknown_outcome(region, &error)),
        };
        let _ = self.told.send(outcome);
    }
}

/// Raft did not take an operation.
fn elsewhere(region: u64, forward: &ForwardToLeader<TypeConfig>) -> StoreError {
    match forward.reason {
        ForwardReason::LeaseExpired => {
            StoreError::NotReady { region, why: "its majority does not answer" }
        }
        ForwardReason::LeadershipTransfer => {
            StoreError::NotReady { region, why: "leadership is moving to another store" }
        }
        ForwardReason::NotLeader => {
            let leader = forward.leader_node.as_ref().map(|node| node.store);
            StoreError::NotLeader { region, leader }
        }
    }
}

fn unknown_outcome(region: u64, why: &dyn ToString) -> StoreError {
    StoreError::Unknown { region, why: why.to_string() }
}
