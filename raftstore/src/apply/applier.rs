//! One Region's apply: what its entries do, prepared for a write and published after it.

use std::sync::Arc;
use std::time::Instant;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::region::Applied;
use neokv_engine::{Batch, Durability, Engine};
use openraft::EntryPayload;
use parking_lot::Mutex;

use super::operations::{AdminOutcome, Change, OperationContext, Operations};
use crate::machine::{ApplyContext, ApplyError, StateMachine};
use crate::metrics;
use crate::published::Published;
use crate::region_clock::RegionClock;
use crate::shape::Shape;
use crate::space::{MayBeFull, SpaceAlarm};
use crate::types::{
    Answer, Data, Entry, Origin, config_out, entry_weight, is_sole_voter, log_id_out,
};

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
    pub(crate) clock: RegionClock,
    pub(crate) space: Arc<SpaceAlarm>,
    pub(crate) operations: Arc<dyn Operations>,
    /// Held from the look at a replica's records to the write that creates it.
    pub(crate) creation: Arc<Mutex<()>>,
    /// Entries share a write until they, or their effects, have so many bytes.
    pub(crate) apply_bytes: usize,
}

/// What has been prepared for one write, besides the rows.
pub(crate) struct Staged<P> {
    /// The applied record as of the write.
    applied: Applied,
    /// The answer to each entry.
    answers: Vec<Answer>,
    /// For the machine's memory.
    pending: P,
    /// Bytes of memory that rows and answers take, about.
    pub(crate) bytes: usize,
}

impl<P> Staged<P> {
    /// How many entries.
    pub(crate) fn entries(&self) -> usize {
        self.answers.len()
    }
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

    /// Prepares the next write: of these entries, from the first, as many as fit, at least one. It
    /// ends before an entry that [changes the Region](change_of), which may not be the first. An
    /// entry that fails after others does not take them along: they are prepared without it, and it
    /// fails alone next time.
    ///
    /// Nothing is kept until the batch is written and [`written`](Self::written) is called.
    pub(crate) fn stage<'e>(
        &self,
        engine: &'e Engine,
        entries: &[Entry],
    ) -> Result<(Batch<'e>, Staged<M::Pending>), ApplyError> {
        let ApplierParts { region, shape, clock, apply_bytes, .. } = &self.parts;
        let mut applied = self.applied();
        let mut cx = ApplyContext::new(engine.batch(), shape.descriptor(), applied.clock);
        let mut answers = Vec::new();
        let (mut entry_bytes, mut bytes) = (0, 0);
        for entry in entries.iter().take_while(|entry| change_of(entry).is_none()) {
            let is_first = answers.is_empty();
            if !is_first && (cx.sealed || bytes >= *apply_bytes) {
                break;
            }
            cx.fresh = is_first;
            self.check_order(&applied, entry);
            match self.effects(&mut cx, entry) {
                Ok(answer) => answers.push(answer),
                Err(ApplyError::NeedsFreshBatch) if !is_first => break,
                Err(_) if !is_first => {
                    // Takes back what the entries have written: they are about to write it again.
                    drop(cx);
                    return self.stage(engine, entries.get(..answers.len()).unwrap_or_default());
                }
                Err(error) => return Err(error),
            }
            applied.log_id = Some(log_id_out(&entry.log_id));
            applied.clock = cx.clock;
            // Entries that do little count by their own size: they are in memory as well.
            entry_bytes += entry_weight(entry);
            let answered = usize::try_from(cx.answered).unwrap_or(usize::MAX);
            bytes = cx.batch.size().max(entry_bytes).saturating_add(answered);
        }
        assert!(!answers.is_empty(), "region {region}: every write applies at least one entry");
        clock.observe(applied.clock);
        cx.batch.put(Family::Region, key::region(*region, RegionKind::Applied), applied.encode());
        Ok((cx.batch, Staged { applied, answers, pending: cx.pending, bytes }))
    }

    /// The batch is written. Memory first, then the index: a reader that has seen it finds the
    /// rest. Returns the answer to each entry.
    pub(crate) fn written(&self, staged: Staged<M::Pending>) -> Vec<Answer> {
        self.parts.machine.committed(self.parts.region, staged.pending);
        self.publish(staged.applied);
        staged.answers
    }

    /// What an entry does to the data.
    fn effects(
        &self,
        cx: &mut ApplyContext<'_, M::Pending>,
        entry: &Entry,
    ) -> Result<Answer, ApplyError> {
        match &entry.payload {
            EntryPayload::Normal(Data::Command { epoch, command }) => {
                cx.proposed = *epoch;
                let outcomes = self.parts.machine.apply(cx, command)?;
                // The stamp comes from a peer. Each replica finds the same.
                let counted = Origin::Peer.clock(cx.clock);
                counted.map_err(|error| ApplyError::Undecodable(error.to_string()))?;
                Ok(Answer::of(outcomes))
            }
            // A new leader's first entry: its log id is all that counts.
            _ => Ok(Answer::default()),
        }
    }

    /// Applies an entry that changes the Region itself, with a write of its own; while the disk is
    /// full, again and again.
    pub(crate) fn change(&self, entry: &Entry, change: &Change) -> Result<Answer, ApplyError> {
        let ApplierParts { engine, shape, operations, .. } = &self.parts;
        let began = Instant::now();
        let outcome = self.until_space(|| self.change_once(engine, entry, change))?;
        metrics::applied(began.elapsed(), 1);
        if outcome.is_ok() {
            operations.applied(&shape.descriptor(), change);
        }
        Ok(Answer::of(outcome))
    }

    fn change_once(
        &self,
        engine: &Engine,
        entry: &Entry,
        change: &Change,
    ) -> Result<AdminOutcome, ApplyError> {
        let ApplierParts { region, shape, operations, .. } = &self.parts;
        let mut applied = self.applied();
        self.check_order(&applied, entry);
        // Held until the write: the entry may look whether a replica is here, and create it.
        let _creating = self.parts.creation.lock();
        let (mut batch, mut descriptor) = (engine.batch(), shape.descriptor());
        let outcome = operations.apply(
            &mut OperationContext {
                batch: &mut batch,
                descriptor: &mut descriptor,
                clock: applied.clock,
                store: self.parts.store,
            },
            change,
        )?;
        if let Change::Membership(membership) = change {
            applied.membership = membership.clone();
        }
        applied.log_id = Some(log_id_out(&entry.log_id));
        let is_reshaped = !Arc::ptr_eq(&descriptor, &shape.descriptor());
        let reshaped = is_reshaped.then(|| shape.change(&mut batch, descriptor));
        batch.put(Family::Region, key::region(*region, RegionKind::Applied), applied.encode());
        engine.write(batch, Durability::Buffered)?;
        if let Some(reshaped) = reshaped {
            reshaped.publish(shape);
        }
        self.publish(applied);
        Ok(outcome)
    }

    /// The Region ends, with the cause in its status.
    pub(crate) fn stop(&self, why: &str) {
        tracing::error!(region = self.parts.region, why, "the region stops");
        self.parts.published.stop(why);
    }

    /// Attempts a write until the disk is not full. Clients do not wait with it: see
    /// [`SpaceAlarm`].
    pub(crate) fn until_space<T>(
        &self,
        attempt: impl FnMut() -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let ApplierParts { space, engine, published, .. } = &self.parts;
        let give_up = || published.stopped().map(ApplyError::Stopped);
        space.retry(engine, "apply", give_up, attempt)
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

    /// The engine holds this state now: readers may see it.
    pub(crate) fn publish(&self, applied: Applied) {
        let ApplierParts { published, clock, peer, .. } = &self.parts;
        let mut current = self.applied.lock();
        let id = applied.log_id.unwrap_or_default();
        if current.membership != applied.membership {
            let sole = is_sole_voter(&applied.membership.configs, *peer);
            published.membership_applied(id.index, sole);
        }
        clock.observe(applied.clock);
        published.applied(id.term, id.index, applied.clock);
        *current = applied;
    }
}

/// What an entry changes of the Region itself; `None` for one that is about the data.
pub(crate) fn change_of(entry: &Entry) -> Option<Change> {
    match &entry.payload {
        EntryPayload::Blank | EntryPayload::Normal(Data::Command { .. }) => None,
        EntryPayload::Membership(membership) => {
            Some(Change::Membership(config_out(Some(&entry.log_id), membership)))
        }
        EntryPayload::Normal(Data::Admin { epoch, command }) => {
            Some(Change::Admin { epoch: *epoch, command: (**command).clone() })
        }
    }
}
