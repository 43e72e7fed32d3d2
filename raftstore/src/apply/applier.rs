//! One Region's apply: groups of entries become engine writes.

use std::sync::Arc;
use std::time::Instant;

use neokv_encoding::family::Family;
use neokv_encoding::hlc;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::region::Applied;
use neokv_engine::{Durability, Engine};
use openraft::EntryPayload;
use parking_lot::Mutex;

use super::operations::{Change, OperationContext, Operations};
use crate::clock::Clock;
use crate::machine::{ApplyContext, ApplyError, StateMachine};
use crate::metrics;
use crate::published::Published;
use crate::shape::Shape;
use crate::space::{MayBeFull, SpaceAlarm};
use crate::types::{Answer, Data, Entry, config_out, entry_weight, is_sole_voter, log_id_out};

/// What one Region's apply thread works on.
pub(crate) struct Applier<M: StateMachine> {
    parts: ApplierParts<M>,
    /// The applied record, as it is in the engine. Written by the apply thread only.
    applied: Mutex<Applied>,
}

/// What an [`Applier`] is made from.
pub(crate) struct ApplierParts<M: StateMachine> {
    pub(crate) region: u64,
    pub(crate) peer: u64,
    pub(crate) store: u64,
    pub(crate) engine: Engine,
    pub(crate) machine: Arc<M>,
    pub(crate) published: Arc<Published>,
    pub(crate) shape: Arc<Shape>,
    pub(crate) clock: Clock,
    pub(crate) space: Arc<SpaceAlarm>,
    pub(crate) operations: Arc<dyn Operations>,
    /// Held from the look at a replica's records to the write that creates it.
    pub(crate) creation: Arc<Mutex<()>>,
    /// Entries share a write until they, or their effects, have so many bytes.
    pub(crate) apply_bytes: usize,
}

/// Entries that have been written together.
struct Group {
    /// The answer to each.
    answers: Vec<Answer>,
    /// The changes among them that took effect.
    changes: Vec<Change>,
}

impl MayBeFull for ApplyError {
    fn is_full(&self) -> bool {
        matches!(self, ApplyError::Engine(error) if error.is_full())
    }
}

impl<M: StateMachine> Applier<M> {
    /// Goes on from `applied`, the record in the engine.
    pub(crate) fn new(parts: ApplierParts<M>, applied: Applied) -> Applier<M> {
        Applier { parts, applied: Mutex::new(applied) }
    }

    /// The parts, for an install that replaces the Region's data by a snapshot.
    pub(crate) fn parts(&self) -> &ApplierParts<M> {
        &self.parts
    }

    /// The applied record.
    pub(crate) fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// Applies all entries, in as few writes as the limits allow. `each` gets every entry's answer,
    /// after its write.
    pub(crate) fn apply(
        &self,
        entries: &[Entry],
        mut each: impl FnMut(Answer),
    ) -> Result<(), ApplyError> {
        let mut rest = entries;
        while !rest.is_empty() {
            let started = Instant::now();
            let group = self.apply_until_space(rest)?;
            let applied = group.answers.len();
            metrics::applied(started.elapsed(), applied);
            assert!(applied > 0, "every group applies at least one entry");
            for change in &group.changes {
                self.parts.operations.applied(&self.parts.shape.descriptor(), change);
            }
            group.answers.into_iter().for_each(&mut each);
            rest = rest.get(applied..).unwrap_or_default();
        }
        Ok(())
    }

    /// Applies one group; while the disk is full, again and again. Clients do not wait with it: see
    /// [`SpaceAlarm`].
    fn apply_until_space(&self, entries: &[Entry]) -> Result<Group, ApplyError> {
        let ApplierParts { space, engine, published, .. } = &self.parts;
        let give_up = || published.stopped().map(ApplyError::Stopped);
        space.retry(engine, "apply", give_up, || self.apply_group(entries))
    }

    /// Applies as many of the entries as fit into one write, at least one. An entry that fails
    /// after others does not take them along: they are applied without it, and it fails alone next
    /// time.
    fn apply_group(&self, entries: &[Entry]) -> Result<Group, ApplyError> {
        let mut applied = self.applied();
        let (engine, shape) = (&self.parts.engine, &self.parts.shape);
        let mut cx = ApplyContext::new(engine.batch(), shape.descriptor(), applied.clock);
        let mut group = Group { answers: Vec::new(), changes: Vec::new() };
        let mut bytes = 0;
        // Held until the write: an admin entry may look whether a replica is here, and create it.
        let mut creating = None;
        for (position, entry) in entries.iter().enumerate() {
            let answered = usize::try_from(cx.answered).unwrap_or(usize::MAX);
            let weight = cx.batch.size().max(bytes) + answered;
            if position > 0 && (cx.sealed || weight >= self.parts.apply_bytes) {
                break;
            }
            cx.fresh = position == 0;
            self.check_order(&applied, entry);
            if matches!(entry.payload, EntryPayload::Normal(Data::Admin { .. })) {
                creating.get_or_insert_with(|| self.parts.creation.lock());
            }
            match self.apply_entry(&mut cx, entry, &mut applied, &mut group.changes) {
                Ok(answer) => group.answers.push(answer),
                Err(ApplyError::NeedsFreshBatch) if position > 0 => break,
                Err(_) if position > 0 => {
                    drop(creating);
                    return self.apply_group(entries.get(..position).unwrap_or_default());
                }
                Err(error) => return Err(error),
            }
            applied.log_id = Some(log_id_out(&entry.log_id));
            applied.clock = cx.clock;
            bytes += entry_weight(entry);
        }
        self.commit(cx, applied)?;
        drop(creating);
        Ok(group)
    }

    /// Entries are applied once and without a gap, or replicas differ.
    fn check_order(&self, applied: &Applied, entry: &Entry) {
        let region = self.parts.region;
        if let Some(last) = applied.log_id {
            let index = entry.log_id.index;
            assert_eq!(index, last.index + 1, "region {region} applied {last}: the next entry");
            let term = entry.log_id.leader_id.term;
            assert!(term >= last.term, "region {region} applied {last}: term {term} after it");
        }
    }

    fn apply_entry(
        &self,
        cx: &mut ApplyContext<'_, M::Pending>,
        entry: &Entry,
        applied: &mut Applied,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, ApplyError> {
        match &entry.payload {
            // A new leader's first entry: its log id is all that counts.
            EntryPayload::Blank => Ok(Answer::default()),
            EntryPayload::Normal(Data::Command { epoch, command }) => {
                cx.proposed = *epoch;
                Ok(Answer::of(self.parts.machine.apply(cx, command)?))
            }
            EntryPayload::Membership(membership) => {
                applied.membership = config_out(Some(&entry.log_id), membership);
                let change = Change::Membership(applied.membership.clone());
                self.apply_change(cx, change, changes)
            }
            EntryPayload::Normal(Data::Admin { epoch, command }) => {
                let change = Change::Admin { epoch: *epoch, command: (**command).clone() };
                self.apply_change(cx, change, changes)
            }
        }
    }

    /// An entry that changes the Region itself.
    fn apply_change(
        &self,
        cx: &mut ApplyContext<'_, M::Pending>,
        change: Change,
        changes: &mut Vec<Change>,
    ) -> Result<Answer, ApplyError> {
        let mut operation = OperationContext {
            batch: &mut cx.batch,
            descriptor: &mut cx.descriptor,
            clock: cx.clock,
            store: self.parts.store,
        };
        let outcome = self.parts.operations.apply(&mut operation, &change)?;
        if outcome.is_ok() {
            changes.push(change);
        }
        Ok(Answer::of(outcome))
    }

    /// The one write: effects, shape, applied index, membership and clock. Then everybody may see
    /// them, the index last: a reader that has seen it finds the rest.
    fn commit(
        &self,
        mut cx: ApplyContext<'_, M::Pending>,
        applied: Applied,
    ) -> Result<(), ApplyError> {
        let ApplierParts { region, engine, shape, machine, .. } = &self.parts;
        let is_reshaped = !Arc::ptr_eq(&cx.descriptor, &shape.descriptor());
        let reshaped = is_reshaped.then(|| shape.change(&mut cx.batch, cx.descriptor));
        cx.batch.put(Family::Region, key::region(*region, RegionKind::Applied), applied.encode());
        engine.write(cx.batch, Durability::Buffered)?;
        machine.committed(*region, cx.pending);
        if let Some(reshaped) = reshaped {
            reshaped.publish(shape);
        }
        self.publish(applied);
        Ok(())
    }

    /// The engine holds this state now: readers may see it.
    pub(crate) fn publish(&self, applied: Applied) {
        let ApplierParts { published, clock, peer, .. } = &self.parts;
        let mut current = self.applied.lock();
        let id = applied.log_id.unwrap_or_default();
        if current.membership != applied.membership {
            let sole = is_sole_voter(&applied.membership.configs, *peer);
            published.membership_applied(id.index, sole);
        }
        clock.observe(hlc::ms(applied.clock));
        published.applied(id.term, id.index, applied.clock);
        *current = applied;
    }
}
