//! Which replica of this store may have which keys, while ranges change hands.
//!
//! The records of Regions say who owns what. They change in two ways: by entries of the log, which
//! only divide what their Region owns anyway, and by installs, creations and removals of replicas,
//! which clear data and give ranges to another Region. The latter hold the lock of [`Ownership`],
//! one at a time.
//!
//! A snapshot is checked against the records when it arrives, and installed a little later, when
//! Raft gets to it. In between its shape is *claimed*: no replica may be created, and no other
//! snapshot be accepted, that overlaps it.

use std::collections::BTreeMap;
use std::sync::Arc;

use neokv_encoding::region::Descriptor;
use parking_lot::{Mutex, MutexGuard};

use crate::machine::StateMachine;
use crate::ranges::FamilyRange;

/// The lock, and the claims. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Ownership(Arc<Mutex<Claims>>);

/// Shapes that Regions are about to have.
#[derive(Default)]
pub(crate) struct Claims(BTreeMap<u64, Descriptor>);

impl Ownership {
    /// Waits until no other range changes hands.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Claims> {
        self.0.lock()
    }
}

impl Claims {
    /// What the Regions other than `region` have claimed.
    pub(crate) fn of_others<M: StateMachine>(&self, machine: &M, region: u64) -> Vec<FamilyRange> {
        let others = self.0.values().filter(|shape| shape.id != region);
        others.flat_map(|shape| machine.ranges(shape)).collect()
    }

    /// Claims a shape for its Region, until the result is dropped.
    pub(crate) fn claim(&mut self, ownership: &Ownership, shape: Descriptor) -> Claim {
        let region = shape.id;
        self.0.insert(region, shape);
        Claim { ownership: ownership.clone(), region }
    }
}

/// A claimed shape.
pub(crate) struct Claim {
    ownership: Ownership,
    region: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ownership.lock().0.remove(&self.region);
    }
}
