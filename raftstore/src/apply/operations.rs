//! Entries that change the Region itself, as apply sees them.
//!
//! Apply does not know what such an entry does. The file of its operation says so
//! ([`crate::operation`]), and apply reaches it through the trait [`Operations`].

use std::sync::Arc;

use neokv_encoding::proto::AdminCommand;
use neokv_encoding::raft::Membership;
use neokv_encoding::region::{Descriptor, Epoch};
use neokv_engine::Batch;

use crate::machine::ApplyError;

/// A change of the Region itself, as an entry carries it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// Other peers.
    Membership(Membership),
    /// An admin command, and the epoch that it was proposed for.
    Admin { epoch: Epoch, command: AdminCommand },
}

/// What has become of an admin command: the same on every replica.
pub(crate) type AdminOutcome = Result<(), AdminRefusal>;

/// Why an admin command changed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminRefusal {
    /// The Region no longer has the shape that the command was made for, but this one.
    StaleEpoch(Arc<Descriptor>),
    /// It does not fit the Region.
    Unfit(String),
}

/// Where a change is applied. Everything it does must follow from this and from the entry.
pub(crate) struct OperationContext<'a, 'e> {
    /// All effects.
    pub(crate) batch: &'a mut Batch<'e>,
    /// The Region as of this entry. A change that alters it puts another one here.
    pub(crate) descriptor: &'a mut Arc<Descriptor>,
    /// The Region's clock: what the Region goes on with, and what a child inherits.
    pub(crate) clock: u64,
    /// The store of this replica. Effects on records that only this store has may depend on it;
    /// nothing else may.
    pub(crate) store: u64,
}

/// How apply reaches the operations.
pub(crate) trait Operations: Send + Sync {
    /// Applies a change: what it does to descriptor and batch.
    ///
    /// # Errors
    ///
    /// A change that this version does not know; the Region stops.
    fn apply(
        &self,
        cx: &mut OperationContext<'_, '_>,
        change: &Change,
    ) -> Result<AdminOutcome, ApplyError>;

    /// A change that took effect is written and published: what is left to do on this store. Runs
    /// on the apply thread; slow work belongs elsewhere. `new` is the Region's shape by now.
    fn applied(&self, new: &Arc<Descriptor>, change: &Change);

    /// The replica of a Region is found to be a tombstone while its group still runs.
    fn removed(&self, region: u64);

    /// Another member has applied a configuration of this conf_ver that does not list `peer`, which
    /// lived here when it asked.
    fn unlisted(&self, region: u64, peer: u64, conf_ver: u64);
}
