//! One Region's apply: groups of entries become engine writes.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::region::{Applied, Descriptor};
use neokv_engine::{Action, Durability, Engine, EngineError, Read};
use openraft::EntryPayload;
use parking_lot::Mutex;

use crate::error::StoreError;
use crate::machine::{ApplyContext, ApplyError, StateMachine};
use crate::metrics;
use crate::published::Published;
use crate::space::SpaceAlarm;
use crate::types::{Data, Entry, Replies, config_out, entry_weight, is_sole_voter, log_id_out};

/// Pause between two attempts while the disk is full.
const SPACE_RETRY: Duration = Duration::from_millis(200);

/// What one Region's apply thread works on.
pub(crate) struct Applier<M> {
    pub(crate) region: u64,
    pub(crate) peer: u64,
    pub(crate) engine: Engine,
    pub(crate) machine: Arc<M>,
    pub(crate) published: Arc<Published>,
    pub(crate) descriptor: ArcSwap<Descriptor>,
    apply_bytes: usize,
    space: Arc<SpaceAlarm>,
    /// The applied record, as it is in the engine. Written by the apply thread only.
    applied: Mutex<Applied>,
}

/// A group that has been written: the replies of its entries.
type Group = Vec<Replies>;

impl<M: StateMachine> Applier<M> {
    /// Reads the Region's records.
    pub(crate) fn open(
        engine: &Engine,
        region: u64,
        peer: u64,
        machine: Arc<M>,
        apply_bytes: usize,
        space: Arc<SpaceAlarm>,
    ) -> Result<Applier<M>, StoreError> {
        let descriptor = read_descriptor(engine, region)?
            .ok_or(StoreError::Missing { region, what: "descriptor" })?;
        let applied = read_applied(engine, region)?.unwrap_or_default();
        let at = applied.log_id.map_or((0, 0), |id| (id.term, id.index));
        let sole = is_sole_voter(&applied.membership.configs, peer);
        let published = Arc::new(Published::new(at, applied.clock, sole));
        Ok(Applier {
            region,
            peer,
            engine: engine.clone(),
            machine,
            published,
            descriptor: ArcSwap::from_pointee(descriptor),
            apply_bytes,
            space,
            applied: Mutex::new(applied),
        })
    }

    /// The applied record.
    pub(crate) fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// Applies all entries, in as few writes as the limits allow. `each` gets every entry's
    /// replies, after its write.
    pub(crate) fn apply(
        &self,
        entries: &[Entry],
        mut each: impl FnMut(Replies),
    ) -> Result<(), ApplyError> {
        let mut at = 0usize;
        while let Some(rest) = entries.get(at..).filter(|rest| !rest.is_empty()) {
            let started = Instant::now();
            let group = self.apply_until_space(rest)?;
            metrics::applied(started.elapsed(), group.len());
            assert!(!group.is_empty(), "every group applies at least one entry");
            at = at.saturating_add(group.len());
            group.into_iter().for_each(&mut each);
        }
        Ok(())
    }

    /// Applies one group; while the disk is full, again and again. Clients do not wait with it: see
    /// [`SpaceAlarm`].
    fn apply_until_space(&self, entries: &[Entry]) -> Result<Group, ApplyError> {
        let mut waiting = None;
        loop {
            match self.apply_group(entries) {
                Err(ApplyError::Engine(error)) if error.action() == Action::Retry => {
                    if let Some(why) = self.published.stopped() {
                        return Err(ApplyError::Stopped(why));
                    }
                    tracing::warn!(region = self.region, %error, "apply waits for space");
                    waiting.get_or_insert_with(|| self.space.wait()).sound();
                    thread::sleep(SPACE_RETRY);
                    if let Err(error) = self.engine.resume() {
                        tracing::debug!(%error, "the engine cannot resume yet");
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Applies as many of the entries as fit into one write, at least one. An entry that fails
    /// after others does not take them down: they are applied without it first, and it fails alone
    /// next time.
    fn apply_group(&self, entries: &[Entry]) -> Result<Group, ApplyError> {
        let descriptor = self.descriptor.load_full();
        let mut applied = self.applied.lock().clone();
        let mut cx = ApplyContext::new(self.engine.batch(), &descriptor, applied.clock);
        let mut group = Vec::new();
        let mut bytes = 0usize;
        for (position, entry) in entries.iter().enumerate() {
            let held =
                cx.batch.size().saturating_add(usize::try_from(cx.answered).unwrap_or(usize::MAX));
            if position > 0 && (cx.sealed || bytes.max(held) >= self.apply_bytes) {
                break;
            }
            cx.fresh = position == 0;
            match self.apply_entry(&mut cx, entry, &mut applied) {
                Ok(replies) => group.push(replies),
                Err(ApplyError::NeedsFreshBatch) if position > 0 => break,
                Err(_) if position > 0 => {
                    return self.apply_group(entries.get(..position).unwrap_or_default());
                }
                Err(error) => return Err(error),
            }
            applied.log_id = Some(log_id_out(&entry.log_id));
            applied.clock = cx.clock;
            bytes = bytes.saturating_add(entry_weight(entry));
        }
        self.commit(cx, applied)?;
        Ok(group)
    }

    fn apply_entry(
        &self,
        cx: &mut ApplyContext<'_>,
        entry: &Entry,
        applied: &mut Applied,
    ) -> Result<Replies, ApplyError> {
        match &entry.payload {
            EntryPayload::Blank => Ok(Replies::default()),
            EntryPayload::Membership(membership) => {
                applied.membership = config_out(Some(&entry.log_id), membership);
                Ok(Replies::default())
            }
            EntryPayload::Normal(Data::Command(payload)) => {
                Ok(Replies::of(self.machine.apply(cx, payload)?))
            }
            EntryPayload::Normal(Data::Admin(_)) => Err(ApplyError::Undecodable(
                "an admin command that this version cannot carry out".into(),
            )),
        }
    }

    /// The one write: effects, applied index, membership and clock.
    fn commit(&self, mut cx: ApplyContext<'_>, applied: Applied) -> Result<(), ApplyError> {
        debug_assert!(
            applied.log_id > self.applied.lock().log_id,
            "entries are applied in order, once"
        );
        cx.batch.put(
            Family::Region,
            key::region(self.region, RegionKind::Applied),
            applied.encode(),
        );
        self.engine.write(cx.batch, Durability::Buffered)?;
        self.publish(applied);
        Ok(())
    }

    /// The engine holds this state now: readers may see it.
    pub(crate) fn publish(&self, applied: Applied) {
        let mut current = self.applied.lock();
        let id = applied.log_id.unwrap_or_default();
        if current.membership != applied.membership {
            let sole = is_sole_voter(&applied.membership.configs, self.peer);
            self.published.membership_applied(id.index, sole);
        }
        self.published.applied(id.term, id.index, applied.clock);
        *current = applied;
    }
}

/// The descriptor record of a Region.
pub(crate) fn read_descriptor(
    from: &dyn Read,
    region: u64,
) -> Result<Option<Descriptor>, StoreError> {
    record(from, region, RegionKind::Descriptor, "descriptor", Descriptor::decode)
}

/// The applied record of a Region.
pub(crate) fn read_applied(from: &dyn Read, region: u64) -> Result<Option<Applied>, StoreError> {
    record(from, region, RegionKind::Applied, "applied", Applied::decode)
}

fn record<T>(
    from: &dyn Read,
    region: u64,
    kind: RegionKind,
    what: &'static str,
    decode: impl FnOnce(&[u8]) -> Result<T, neokv_encoding::DecodeError>,
) -> Result<Option<T>, StoreError> {
    let found: Result<_, EngineError> = from.get(Family::Region, &key::region(region, kind));
    let Some(bytes) = found? else { return Ok(None) };
    decode(&bytes).map(Some).map_err(|source| StoreError::Record { region, what, source })
}
