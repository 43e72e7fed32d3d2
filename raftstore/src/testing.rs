//! What the tests inside this crate share: an engine in a folder of its own, a Region over all
//! slots, and a state machine that carries out nothing.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::slot_bounds;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Applied, Descriptor, Epoch, RegionState, Replica, ReplicaState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Engine, KeyRange, Options};

use crate::apply::{Applier, ApplierParts};
use crate::clock::Clock;
use crate::machine::{ApplyContext, ApplyError, Outcome, StateMachine};
use crate::operation::Dispatch;
use crate::published::{Published, StartPoint};
use crate::records;
use crate::region_clock::RegionClock;
use crate::shape::{Routes, Shape};
use crate::space::SpaceAlarm;

/// What machines without commands have in common.
macro_rules! no_commands {
    () => {
        type Command = ();
        type Reply = ();
        type Pending = ();

        fn weight(&self, (): &()) -> usize {
            0
        }

        fn alone(&self, (): &()) -> bool {
            false
        }

        fn encode(&self, _: $crate::machine::Stamp, _: &[()]) -> ::bytes::Bytes {
            ::bytes::Bytes::new()
        }

        fn decode(&self, _: &::bytes::Bytes) -> Result<Vec<()>, $crate::machine::ApplyError> {
            Ok(Vec::new())
        }
    };
}
pub(crate) use no_commands;

/// Whose entries carry no commands.
pub(crate) struct Nothing;

impl StateMachine for Nothing {
    no_commands!();

    fn apply(&self, _: &mut ApplyContext<'_>, _: &Bytes) -> Result<Vec<Outcome<()>>, ApplyError> {
        Ok(Vec::new())
    }

    fn ranges(&self, descriptor: &Descriptor) -> Vec<(Family, KeyRange)> {
        let (start, end) = slot_bounds(descriptor.slots);
        Family::DATA.map(|family| (family, KeyRange::new(start.clone(), end.clone()))).to_vec()
    }
}

/// A table of slots that is never looked at.
pub(crate) struct NoRoutes;

impl Routes for NoRoutes {
    fn reshaped(&self, _: &Descriptor, _: &Descriptor) {}
}

/// An engine in `dir`.
pub(crate) fn engine(dir: &std::path::Path) -> Engine {
    Engine::open(&dir.join("db"), &Options::default()).unwrap()
}

/// Region `id` over these slots with one peer of the same id on store 1.
pub(crate) fn descriptor(id: u64, slots: SlotRange) -> Descriptor {
    Descriptor {
        id,
        slots,
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: vec![Peer { id, store: 1, role: PeerRole::Voter }],
        state: RegionState::Normal,
    }
}

/// The replica of that Region on store 1.
pub(crate) fn member(peer: u64) -> Replica {
    let epoch = Epoch { version: 1, conf_ver: 1 };
    Replica { peer, state: ReplicaState::Member, epoch }
}

/// An applier of Region 1, going on from what the engine holds.
pub(crate) fn applier(engine: &Engine, peer: u64) -> Arc<Applier<Nothing>> {
    applier_with(engine, peer, SpaceAlarm::new(|_| {}))
}

/// The same, with an alarm of the test's own.
pub(crate) fn applier_with(
    engine: &Engine,
    peer: u64,
    space: Arc<SpaceAlarm>,
) -> Arc<Applier<Nothing>> {
    applier_by(engine, peer, space, Clock::default())
}

/// The same, by this clock.
pub(crate) fn applier_by(
    engine: &Engine,
    peer: u64,
    space: Arc<SpaceAlarm>,
    clock: Clock,
) -> Arc<Applier<Nothing>> {
    let applied: Applied = records::applied(engine, 1).unwrap().unwrap_or_default();
    let id = applied.log_id.unwrap_or_default();
    let start = StartPoint { term: id.term, index: id.index, clock: applied.clock, sole: true };
    let shape = Shape::new(descriptor(1, SlotRange::ALL), member(peer), Arc::new(NoRoutes));
    let parts = ApplierParts {
        region: 1,
        peer,
        store: 1,
        engine: engine.clone(),
        machine: Arc::new(Nothing),
        published: Arc::new(Published::new(start, |_| {})),
        shape: Arc::new(shape),
        clock: RegionClock::new(clock, applied.clock),
        space,
        operations: Dispatch::<Nothing>::of(Weak::new()),
        creation: Arc::default(),
        apply_bytes: 1 << 20,
    };
    Arc::new(Applier::new(parts, applied))
}
