//! One Region becomes two, at a slot boundary.
//!
//! ```text
//!   before   │ 0 ──────────────── parent, version 3 ──────────────── 16383 │
//!   after    │ 0 ── parent, version 4 ── 8191 │ 8192 ── child, version 4 ── 16383 │
//! ```
//!
//! ```text
//!   propose      the leader, for the whole epoch that the caller saw: ids of the child and its
//!                peers are the caller's
//!   apply        in one batch: the parent's smaller range and higher version, and on every store
//!                of the parent the child's start state (see `lifecycle`), with the parent's clock
//!   on applied   the child's group starts; where the parent is led, the child campaigns at once
//! ```
//!
//! No data moves: both ranges are where they were, slot by slot, and so are the counts of keys.
//!
//! # What may stand in the way
//!
//! * A replica of the child is here already: a message created it before this replica of the parent
//!   got so far. It is left alone, the child's leader fills it.
//! * The child's peer was here and was removed while this replica of the parent slept, or this
//!   store joined the parent after the split was made and before it applied it, so that the child
//!   has no peer here: then no Region owns the child's range here. The batch records the child as
//!   removed, with its descriptor, which says so until the range is cleared, also after a crash.

use std::collections::BTreeSet;
use std::sync::Arc;

use neokv_encoding::proto::admin_command::Kind;
use neokv_encoding::proto::{self, AdminCommand};
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, Replica, ReplicaState};
use neokv_encoding::slot::SlotRange;

use super::lifecycle;
use crate::apply::{AdminOutcome, AdminRefusal, OperationContext};
use crate::blocking::blocking;
use crate::error::StoreError;
use crate::machine::{ApplyError, StateMachine};
use crate::records::{self, Recorded};
use crate::region::Region;
use crate::shape;
use crate::store::Inner;

/// Stands in the tombstone of a Region that never had a peer on this store. Any peer may follow it.
const NO_PEER: u64 = 0;

// Propose.

/// Where a Region is cut, and what the new one is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitPlan {
    /// First slot of the child. The parent keeps the slots below.
    pub slot: u16,
    /// Id of the child, never used before.
    pub child: u64,
    /// Peer ids of the child, never used before: one for each peer of the parent, in the order of
    /// its descriptor.
    pub child_peers: Vec<u64>,
}

impl<M: StateMachine> Region<M> {
    /// Splits the Region. Returns when the split is applied here; the child is then about to start.
    /// `epoch` is that of the descriptor that the caller saw.
    ///
    /// # Errors
    ///
    /// [`StoreError::StaleEpoch`] if the Region has changed since, [`StoreError::Refused`] if the
    /// plan does not fit it, [`StoreError::NotLeader`] if another replica leads.
    pub async fn split(&self, epoch: Epoch, plan: SplitPlan) -> Result<(), StoreError> {
        let descriptor = self.descriptor();
        if descriptor.epoch != epoch {
            return Err(StoreError::StaleEpoch { descriptor });
        }
        let unfit = |why: &str| StoreError::Refused { region: self.id, why: why.to_owned() };
        let (engine, child) = (self.engine.clone(), plan.child);
        let known = blocking(move || records::replica(&engine, child)).await;
        if known.map_err(|error| self.group_error(&error))??.is_some() {
            return Err(unfit("the id of the child is or was that of another region"));
        }
        if plan.child_peers.len() != descriptor.peers.len() {
            return Err(unfit("a split needs one new peer for each peer of the region"));
        }
        let peers = descriptor.peers.iter().zip(&plan.child_peers);
        let child_peers = peers.map(|(parent, id)| proto::RegionPeer {
            id: *id,
            store: parent.store,
            learner: parent.role == PeerRole::Learner,
        });
        let split = proto::Split {
            slot: u32::from(plan.slot),
            child: plan.child,
            child_peers: child_peers.collect(),
        };
        self.propose_admin(epoch, AdminCommand { kind: Some(Kind::Split(split)) }).await
    }
}

// Apply.

/// Cuts the descriptor and writes the child's start state.
pub(super) fn apply(
    cx: &mut OperationContext<'_, '_>,
    split: &proto::Split,
) -> Result<AdminOutcome, ApplyError> {
    let parent = &**cx.descriptor;
    let (parent, child) = match halves(parent, split) {
        Ok(halves) => halves,
        Err(why) => return Ok(Err(AdminRefusal::Unfit(why.to_owned()))),
    };
    write_child(cx, child)?;
    *cx.descriptor = Arc::new(parent);
    Ok(Ok(()))
}

/// The two descriptors after the split, or why there cannot be one.
fn halves(
    parent: &Descriptor,
    split: &proto::Split,
) -> Result<(Descriptor, Descriptor), &'static str> {
    let cut = u16::try_from(split.slot).map_err(|_| "there is no such slot")?;
    if cut <= parent.slots.start || cut >= parent.slots.end {
        return Err("the slot must be inside the region, and not its first");
    }
    // The child has one peer on each store of the parent: no data moves.
    let stores = |peers: &mut dyn Iterator<Item = u64>| {
        let mut stores: Vec<u64> = peers.collect();
        stores.sort_unstable();
        stores
    };
    let theirs = stores(&mut split.child_peers.iter().map(|peer| peer.store));
    if theirs != stores(&mut parent.peers.iter().map(|peer| peer.store)) {
        return Err("the child must have its peers where the region has them");
    }
    if split.child == parent.id {
        return Err("the child needs an id of its own");
    }
    // A peer id is openraft's node id and is never used twice.
    let parents: BTreeSet<u64> = parent.peers.iter().map(|peer| peer.id).collect();
    let children: BTreeSet<u64> = split.child_peers.iter().map(|peer| peer.id).collect();
    if children.len() != split.child_peers.len() || !children.is_disjoint(&parents) {
        return Err("the child's peers need ids of their own");
    }
    // Both ranges are new, so both halves get a new version. The child's peers are its first ones.
    // (It fits: larger ones are refused where they come in.)
    let version = parent.epoch.version + 1;
    let role = |learner| if learner { PeerRole::Learner } else { PeerRole::Voter };
    let peer = |peer: &proto::RegionPeer| Peer {
        id: peer.id,
        store: peer.store,
        role: role(peer.learner),
    };
    let child = Descriptor {
        id: split.child,
        slots: SlotRange { start: cut, end: parent.slots.end },
        epoch: Epoch { version, conf_ver: 1 },
        peers: split.child_peers.iter().map(peer).collect(),
        state: parent.state,
    };
    let parent = Descriptor {
        slots: SlotRange { start: parent.slots.start, end: cut },
        epoch: Epoch { version, ..parent.epoch },
        ..parent.clone()
    };
    Ok((parent, child))
}

/// Writes the child's start state, unless its replica was here before or this store has no peer of
/// it. If no replica of it lives here, its range is to be cleared, and the records say so.
fn write_child(cx: &mut OperationContext<'_, '_>, child: Descriptor) -> Result<(), ApplyError> {
    let region = child.id;
    let mine = child.peers.iter().find(|peer| peer.store == cx.store).map(|peer| peer.id);
    let known = records::replica(&*cx.batch, region).map_err(damaged)?;
    let removed = match (known, mine) {
        // A message was quicker: the child's leader fills the replica that is here.
        (Some(known), _) if known.state != ReplicaState::Tombstone => return Ok(()),
        (Some(removed), Some(peer)) if removed.peer < peer => None,
        (None, Some(_)) => None,
        (Some(removed), _) => Some(removed),
        (None, None) => {
            let (peer, epoch) = (NO_PEER, child.epoch);
            Some(Replica { peer, state: ReplicaState::Tombstone, epoch })
        }
    };
    match (removed, mine) {
        (None, Some(peer)) => {
            let replica = Replica { peer, state: ReplicaState::Member, epoch: child.epoch };
            let new = Recorded { region, replica, descriptor: Some(child) };
            lifecycle::write_new(cx.batch, &new, cx.clock);
        }
        // A descriptor beside a tombstone: the removal is not finished.
        (Some(removed), _) => shape::write(cx.batch, &child, &removed),
        (None, None) => {}
    }
    Ok(())
}

fn damaged(error: StoreError) -> ApplyError {
    match error {
        StoreError::Engine(error) => ApplyError::Engine(error),
        other => ApplyError::Undecodable(other.to_string()),
    }
}

// On applied.

/// Starts the child. The parent has given up its slots already: who asks for one of them meanwhile
/// is told to come again.
pub(super) fn applied<M: StateMachine>(
    store: &Arc<Inner<M>>,
    parent: &Arc<Descriptor>,
    split: &proto::Split,
) {
    let (child, parent) = (split.child, parent.id);
    let starting = Arc::clone(store);
    store.handle.spawn(async move {
        if let Err(error) = starting.start_child(parent, child).await {
            tracing::error!(region = child, parent, %error, "the child of a split did not start");
        }
    });
}

impl<M: StateMachine> Inner<M> {
    async fn start_child(self: &Arc<Self>, parent: u64, child: u64) -> Result<(), StoreError> {
        let _one_at_a_time = self.lifecycle.lock().await;
        let store = Arc::clone(self);
        let recorded = blocking(move || store.recorded_or_clear(child)).await;
        let failed = |source| StoreError::Io { what: "starting a child".into(), source };
        let Some(recorded) = recorded.map_err(failed)?? else { return Ok(()) };
        // A message may have created it: then it runs already.
        if self.directory.get(child).is_some() {
            return Ok(());
        }
        let started = self.start_region(recorded, false).await?;
        let leads = self.directory.get(parent).is_some_and(|parent| parent.published.leads());
        // A lone voter campaigns by itself; of several the one beside the parent's leader does, if
        // no other was quicker.
        if leads && !started.published.sole() && started.status().term == 0 {
            started.campaign().await?;
        }
        Ok(())
    }

    /// The child, if a replica of it lives here. If none does, because it was removed or because
    /// this store joined the parent when the split was made already, what it would own is cleared.
    fn recorded_or_clear(&self, region: u64) -> Result<Option<Recorded>, StoreError> {
        let snapshot = self.engine.snapshot();
        let Some(replica) = records::replica(&snapshot, region)? else { return Ok(None) };
        let descriptor = records::descriptor(&snapshot, region)?;
        let has_remains = records::has_remains(&snapshot, region)?;
        drop(snapshot);
        if replica.state != ReplicaState::Tombstone {
            return Ok(Some(Recorded { region, replica, descriptor }));
        }
        // One that is listed still is about to be removed, which clears the same.
        if has_remains && self.directory.get(region).is_none() {
            self.destroy_records(region)?;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use neokv_engine::Durability;

    use super::*;
    use crate::ranges;
    use crate::testing::{self, Nothing};

    fn parent() -> Descriptor {
        let peer = |id, store, role| Peer { id, store, role };
        Descriptor {
            slots: SlotRange { start: 100, end: 200 },
            epoch: Epoch { version: 3, conf_ver: 7 },
            peers: vec![peer(1, 11, PeerRole::Voter), peer(2, 12, PeerRole::Learner)],
            ..records::unknown(1)
        }
    }

    fn plan(slot: u32) -> proto::Split {
        let peer = |id, store, learner| proto::RegionPeer { id, store, learner };
        let child_peers = vec![peer(21, 11, false), peer(22, 12, true)];
        proto::Split { slot, child: 9, child_peers }
    }

    #[test]
    fn both_halves_have_the_next_version_and_together_all_slots() {
        let (left, right) = halves(&parent(), &plan(150)).unwrap();
        assert_eq!((left.id, left.slots.to_string()), (1, "100-149".into()));
        assert_eq!((right.id, right.slots.to_string()), (9, "150-199".into()));
        assert_eq!(left.epoch, Epoch { version: 4, conf_ver: 7 });
        assert_eq!(right.epoch, Epoch { version: 4, conf_ver: 1 });
        assert_eq!(left.peers, parent().peers);
        let peers: Vec<_> =
            right.peers.iter().map(|peer| (peer.id, peer.store, peer.role)).collect();
        assert_eq!(peers, [(21, 11, PeerRole::Voter), (22, 12, PeerRole::Learner)]);
    }

    #[test]
    fn a_cut_outside_or_at_the_edge_is_refused() {
        for slot in [0, 99, 100, 200, 16384, 70_000] {
            assert!(halves(&parent(), &plan(slot)).is_err(), "{slot}");
        }
        assert!(halves(&parent(), &plan(101)).is_ok() && halves(&parent(), &plan(199)).is_ok());
    }

    #[test]
    fn ids_that_are_not_new_and_stores_that_are_not_the_parents_are_refused() {
        let refused = |change: fn(&mut proto::Split)| {
            let mut split = plan(150);
            change(&mut split);
            halves(&parent(), &split).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|split| split.child_peers.truncate(1)), "a store without a peer");
        assert!(refused(|split| split.child_peers[1].store = 11), "two peers on one store");
        assert!(refused(|split| split.child_peers[1].store = 13), "a store of no parent's peer");
        assert!(refused(|split| split.child = 1), "the parent's own id");
        assert!(refused(|split| split.child_peers[1].id = 21), "one id twice");
        assert!(refused(|split| split.child_peers[1].id = 1), "a peer of the parent");
    }

    /// Applies the split on this store; returns the child's records, and whether its rows have an
    /// explanation.
    fn applied_on(store: u64, engine: &neokv_engine::Engine) -> (Replica, bool) {
        let (mut batch, mut descriptor) = (engine.batch(), Arc::new(parent()));
        let (batch_of, shape_of) = (&mut batch, &mut descriptor);
        let mut cx = OperationContext { batch: batch_of, descriptor: shape_of, clock: 7, store };
        assert_eq!(apply(&mut cx, &plan(150)).unwrap(), Ok(()));
        shape::write(&mut batch, &descriptor, &testing::member(1));
        engine.write(batch, Durability::Synced).unwrap();
        let replica = records::replica(engine, 9).unwrap().unwrap();
        let child = Nothing.ranges(&halves(&parent(), &plan(150)).unwrap().1);
        let unexplained = records::unexplained(engine, &Nothing).unwrap();
        (replica, !ranges::overlap(&child, &unexplained))
    }

    #[test]
    fn the_range_of_a_child_that_does_not_live_here_is_recorded_as_to_be_cleared() {
        let dir = tempfile::tempdir().unwrap();
        let (replica, explained) = applied_on(11, &testing::engine(&dir.path().join("lives")));
        assert_eq!((replica.peer, replica.state, explained), (21, ReplicaState::Member, true));
        // This store has no peer of the child.
        let (replica, explained) = applied_on(13, &testing::engine(&dir.path().join("none")));
        assert_eq!((replica.peer, replica.state, explained), (0, ReplicaState::Tombstone, true));
        // Its peer was here and was removed.
        let engine = testing::engine(&dir.path().join("removed"));
        let mut batch = engine.log_batch();
        let removed = Replica { state: ReplicaState::Tombstone, ..testing::member(21) };
        shape::write_replica(&mut batch, 9, &removed);
        engine.write_log(batch, Durability::Synced).unwrap();
        let (replica, explained) = applied_on(11, &engine);
        assert_eq!((replica.peer, replica.state, explained), (21, ReplicaState::Tombstone, true));
    }
}
