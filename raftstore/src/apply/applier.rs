//! One Region's apply: groups of entries become engine writes.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::region::{Applied, Begun, Descriptor};
use neokv_engine::{Action, Durability, Engine, EngineError, Read};
use openraft::EntryPayload;
use parking_lot::Mutex;

use crate::error::StoreError;
use crate::machine::{ApplyContext, ApplyError, Progress, StateMachine};
use crate::metrics;
use crate::published::Published;
use crate::space::SpaceAlarm;
use crate::types::{Data, Entry, Replies, config_out, entry_weight, is_sole_voter, log_id_out};

/// Pause between two attempts while the disk is full.
const SPACE_RETRY: Duration = Duration::from_millis(200);

/// What one engine write may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// No further entry is added when the entries have so many bytes.
    pub(crate) group_bytes: usize,
    /// No further command is added when the effects have so many bytes.
    pub(crate) batch_bytes: usize,
}

/// What one Region's apply thread works on.
pub(crate) struct Applier<M: StateMachine> {
    pub(crate) region: u64,
    pub(crate) peer: u64,
    pub(crate) engine: Engine,
    pub(crate) machine: Arc<M>,
    pub(crate) published: Arc<Published>,
    pub(crate) descriptor: ArcSwap<Descriptor>,
    limits: BatchLimits,
    space: Arc<SpaceAlarm>,
    /// The applied record, as it is in the engine. Written by the apply thread only.
    applied: Mutex<Applied>,
    /// Replies of the first commands of the entry that is begun.
    kept: Mutex<Vec<M::Reply>>,
}

/// What one engine write has applied.
struct Group<R> {
    /// Commands of the first entry that earlier writes have applied.
    first: usize,
    /// The replies of each entry that is applied now.
    entries: Vec<Vec<R>>,
    /// Those of the first commands of the entry that follows, or of the next ones.
    part: Vec<R>,
}

impl<M: StateMachine> Applier<M> {
    /// Reads the Region's records.
    pub(crate) fn open(
        engine: &Engine,
        region: u64,
        peer: u64,
        machine: Arc<M>,
        limits: BatchLimits,
        space: Arc<SpaceAlarm>,
    ) -> Result<Applier<M>, StoreError> {
        let descriptor = read_descriptor(engine, region)?.ok_or(StoreError::Missing { region, what: "descriptor" })?;
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
            limits,
            space,
            applied: Mutex::new(applied),
            kept: Mutex::new(Vec::new()),
        })
    }

    /// The applied record.
    pub(crate) fn applied(&self) -> Applied {
        self.applied.lock().clone()
    }

    /// Applies all entries, in as few writes as the limits allow. `each` gets every entry's replies, after its write.
    pub(crate) fn apply(&self, entries: &[Entry], mut each: impl FnMut(Replies)) -> Result<(), ApplyError> {
        let mut at = 0usize;
        while let Some(rest) = entries.get(at..).filter(|rest| !rest.is_empty()) {
            let started = Instant::now();
            let Group { mut first, entries, part } = self.apply_until_space(rest)?;
            metrics::applied(started.elapsed(), entries.len());
            assert!(!entries.is_empty() || !part.is_empty(), "every group applies at least one command");
            at = at.saturating_add(entries.len());
            for replies in entries {
                each(Replies::of(self.whole(std::mem::take(&mut first), replies)));
            }
            if !part.is_empty() {
                *self.kept.lock() = self.whole(first, part);
            }
        }
        Ok(())
    }

    /// Replies from command `first` on, with those before them. If these were given to an earlier process, nobody waits for
    /// any of them, and a reply that came at the wrong place would be taken for another's: then there are none.
    fn whole(&self, first: usize, replies: Vec<M::Reply>) -> Vec<M::Reply> {
        if first == 0 {
            return replies;
        }
        let mut all = std::mem::take(&mut *self.kept.lock());
        if all.len() != first {
            return Vec::new();
        }
        all.extend(replies);
        all
    }

    /// Applies one group; while the disk is full, again and again. Clients do not wait with it: see [`SpaceAlarm`].
    fn apply_until_space(&self, entries: &[Entry]) -> Result<Group<M::Reply>, ApplyError> {
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

    /// Applies as much of the entries as fits into one write, at least one command. An entry that fails after others
    /// does not take them down: they are applied without it first, and it fails alone next time.
    fn apply_group(&self, entries: &[Entry]) -> Result<Group<M::Reply>, ApplyError> {
        let descriptor = self.descriptor.load_full();
        let mut applied = self.applied.lock().clone();
        let first = applied.begun.map_or(Ok(0), |begun| resumed(begun, entries.first()))?;
        let mut cx =
            ApplyContext::new(self.engine.batch(), &descriptor, applied.clock).resumed(first, self.limits.batch_bytes);
        let mut group = Group { first, entries: Vec::new(), part: Vec::new() };
        let mut bytes = 0usize;
        for (position, entry) in entries.iter().enumerate() {
            if position > 0 && (cx.sealed || cx.is_full() || bytes >= self.limits.group_bytes) {
                break;
            }
            cx.fresh = position == 0;
            match self.apply_entry(&mut cx, entry, &mut applied) {
                Ok(Progress::Whole(replies)) => group.entries.push(replies),
                Ok(Progress::Part(replies)) => {
                    let commands = u32::try_from(cx.first.saturating_add(replies.len())).unwrap_or(u32::MAX);
                    applied.begun = Some(Begun { term: log_id_out(&entry.log_id).term, commands });
                    group.part = replies;
                    break;
                }
                Err(ApplyError::NeedsFreshBatch) if position > 0 => break,
                Err(_) if position > 0 => return self.apply_group(entries.get(..position).unwrap_or_default()),
                Err(error) => return Err(error),
            }
            applied.log_id = Some(log_id_out(&entry.log_id));
            applied.clock = cx.clock;
            applied.begun = None;
            cx.first = 0;
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
    ) -> Result<Progress<M::Reply>, ApplyError> {
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                applied.membership = config_out(Some(&entry.log_id), membership);
            }
            EntryPayload::Normal(Data::Command(payload)) => return self.machine.apply(cx, payload),
            EntryPayload::Normal(Data::Admin(_)) => {
                return Err(ApplyError::Undecodable("an admin command that this version cannot carry out".into()));
            }
        }
        Ok(Progress::Whole(Vec::new()))
    }

    /// The one write: effects, and the applied record that says which.
    fn commit(&self, mut cx: ApplyContext<'_>, applied: Applied) -> Result<(), ApplyError> {
        let at = |applied: &Applied| (applied.log_id, applied.begun);
        debug_assert!(at(&applied) > at(&self.applied.lock()), "commands are applied in order, once");
        cx.batch.put(Family::Region, key::region(self.region, RegionKind::Applied), applied.encode());
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

/// How many commands of the entry are applied already. It must be the one that was begun: another at its place means that
/// the log has lost a committed entry.
fn resumed(begun: Begun, entry: Option<&Entry>) -> Result<usize, ApplyError> {
    let same = entry.is_some_and(|entry| {
        let is_command = matches!(entry.payload, EntryPayload::Normal(Data::Command(_)));
        is_command && log_id_out(&entry.log_id).term == begun.term
    });
    if !same {
        let Begun { term, commands } = begun;
        let found = entry.map(|entry| entry.log_id.to_string()).unwrap_or_default();
        let detail =
            format!("{commands} commands of an entry of term {term} are applied, and the log goes on with {found}");
        return Err(ApplyError::Engine(EngineError::Corruption { file: None, detail }));
    }
    Ok(usize::try_from(begun.commands).unwrap_or(usize::MAX))
}

/// The descriptor record of a Region.
pub(crate) fn read_descriptor(from: &dyn Read, region: u64) -> Result<Option<Descriptor>, StoreError> {
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
