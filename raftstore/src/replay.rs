//! Applies what the logs of a stopped store hold beyond its rows, without starting a group.
//!
//! For tools that show the state which the next start would reach. They hand in an engine on a copy
//! of the store's directory, because rows and records change. The entries go through the same code
//! as in a running store ([`mod@crate::apply`]); there is no election, no new entry, and nothing
//! that an entry would start or remove on this store.
//!
//! # How far
//!
//! ```text
//!  the only voter is here, by the log's newest configuration     all of the log
//!  there are others                                              what is known to be committed
//! ```
//!
//! A lone voter that starts again has all of its log committed. Where there are other voters,
//! another leader may replace what this store does not know to be committed.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use neokv_encoding::region::{Applied, Descriptor, ReplicaState};
use neokv_engine::Engine;
use openraft::EntryPayload;

use crate::apply::{Applier, ApplierParts, ApplyPool, Chunk};
use crate::clock::Clock;
use crate::error::StoreError;
use crate::log::{GroupLog, TailBudget, TailLimits};
use crate::machine::StateMachine;
use crate::operation::Dispatch;
use crate::published::{Published, StartPoint};
use crate::records::{self, Recorded};
use crate::region_clock::RegionClock;
use crate::shape::{Routes, Shape};
use crate::space::SpaceAlarm;
use crate::types::{Entry, config_out, is_sole_voter};

/// Bytes of entries that are read at once, and of effects that are one write.
const AT_ONCE: usize = 1 << 20;

/// What a replay has done to one Region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// The Region.
    pub region: u64,
    /// Entries that were applied.
    pub entries: u64,
    /// Why the others were not, if it failed.
    pub failed: Option<String>,
}

/// Applies the logs of all Regions that have a replica on this store. A Region that fails does not
/// keep the others from it.
///
/// # Errors
///
/// The records of the Regions cannot be read.
pub fn replay<M: StateMachine>(
    engine: &Engine,
    machine: &Arc<M>,
    store: u64,
) -> Result<Vec<Replayed>, StoreError> {
    let pool = ApplyPool::inline(engine, AT_ONCE);
    let replay = Replay { engine, machine, store, pool };
    let (mut done, mut all) = (BTreeSet::new(), Vec::new());
    // The child of a split is recorded by an entry of its parent.
    loop {
        let mut living = records::all(engine)?;
        living.retain(|one| one.replica.state != ReplicaState::Tombstone);
        living.retain(|one| done.insert(one.region));
        if living.is_empty() {
            return Ok(all);
        }
        all.extend(living.into_iter().map(|recorded| replay.region(recorded)));
    }
}

struct Replay<'a, M: StateMachine> {
    engine: &'a Engine,
    machine: &'a Arc<M>,
    store: u64,
    pool: ApplyPool,
}

/// A table of slots that is never looked at.
struct NoRoutes;

impl Routes for NoRoutes {
    fn reshaped(&self, _: &Descriptor, _: &Descriptor) {}
}

impl<M: StateMachine> Replay<'_, M> {
    fn region(&self, recorded: Recorded) -> Replayed {
        let (region, mut entries) = (recorded.region, 0);
        let failed = self.log(recorded, &mut entries).err().map(|error| error.to_string());
        Replayed { region, entries, failed }
    }

    /// Applies the log of a Region. Counts what was applied.
    fn log(&self, recorded: Recorded, entries: &mut u64) -> Result<(), StoreError> {
        let Recorded { region, replica, descriptor } = recorded;
        // A replica that knows nothing yet of its Region gets all of it with a snapshot.
        let Some(descriptor) = descriptor else { return Ok(()) };
        if self.engine.unfinished_ingests()?.iter().any(|ingest| ingest.region == region) {
            return Err(StoreError::Snapshot {
                region,
                why: "the install of a snapshot was interrupted, the next start finishes it".into(),
            });
        }
        let applied = records::applied(self.engine, region)?.unwrap_or_default();
        self.machine.loaded(self.engine, &descriptor)?;
        let published = Arc::new(Published::new(start_point(&applied, replica.peer), |_| {}));
        let limits = TailLimits { bytes: 0, budget: TailBudget::new(0) };
        let told = Arc::clone(&published);
        let log = GroupLog::open(self.engine, region, replica.peer, limits, told)?;
        let mut next = applied.log_id.map_or(0, |id| id.index) + 1;
        let end = end(&log, &applied, next, replica.peer)?;
        let shape = Shape::new(descriptor, replica, Arc::new(NoRoutes));
        let applier = self.applier(region, shape, applied, &published);
        while next < end {
            let read = read(&log, next, end)?;
            let count = read.len();
            let responders = std::iter::repeat_with(|| None).take(count).collect();
            let (chunk, _) = Chunk::new(Arc::clone(&applier), read, responders);
            let _on_this_thread = self.pool.lane(region).send(Box::new(chunk));
            let at = applier.applied().log_id.map_or(0, |id| id.index);
            *entries += at + 1 - next;
            if let Some(why) = published.stopped() {
                return Err(StoreError::Group { region, why: why.to_string() });
            }
            next = at + 1;
        }
        Ok(())
    }

    fn applier(
        &self,
        region: u64,
        shape: Shape,
        applied: Applied,
        published: &Arc<Published>,
    ) -> Arc<Applier<M>> {
        let stopping = Arc::clone(published);
        let parts = ApplierParts {
            region,
            peer: shape.replica().peer,
            store: self.store,
            engine: self.engine.clone(),
            machine: Arc::clone(self.machine),
            published: Arc::clone(published),
            shape: Arc::new(shape),
            clock: RegionClock::new(Clock::default(), applied.clock),
            // A tool does not wait until somebody has made room.
            space: SpaceAlarm::new(move |is_full| {
                if is_full {
                    stopping.stop("the disk is full");
                }
            }),
            // Without a store: nothing is started or removed.
            operations: Dispatch::<M>::of(Weak::new()),
            creation: Arc::default(),
            apply_bytes: AT_ONCE,
        };
        Arc::new(Applier::new(parts, applied))
    }
}

fn start_point(applied: &Applied, peer: u64) -> StartPoint {
    let id = applied.log_id.unwrap_or_default();
    let sole = is_sole_voter(&applied.membership.configs, peer);
    StartPoint { term: id.term, index: id.index, clock: applied.clock, sole }
}

/// Behind the last entry that is to be applied. See the module.
fn end(log: &GroupLog, applied: &Applied, next: u64, peer: u64) -> Result<u64, StoreError> {
    let (_, last) = log.ends();
    let end = last.map_or(0, |last| last.index + 1);
    let mut configs = applied.membership.configs.clone();
    let mut at = next;
    while at < end {
        for entry in read(log, at, end)? {
            if let EntryPayload::Membership(membership) = &entry.payload {
                configs = config_out(None, membership).configs;
            }
            at = entry.log_id.index + 1;
        }
    }
    if is_sole_voter(&configs, peer) {
        return Ok(end);
    }
    Ok(log.committed().map_or(0, |committed| committed.index + 1).min(end))
}

/// The next entries of a log, at least one.
fn read(log: &GroupLog, next: u64, end: u64) -> Result<Vec<Entry>, StoreError> {
    let region = log.region();
    let read = log.read_engine(next, end, AT_ONCE);
    let read = read.map_err(|source| StoreError::Io { what: "reading the log".into(), source })?;
    if read.first().is_none_or(|first| first.log_id.index != next) {
        let why = "the entry is missing".into();
        return Err(StoreError::DamagedLog { region, index: next, why });
    }
    Ok(read)
}
