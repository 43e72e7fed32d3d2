//! Which replica of this store may have which keys, while ranges change owners.
//!
//! The records of Regions say who owns what. They change in two ways: by entries of the log, which
//! only divide what their Region owns anyway, and by installs, creations and removals of replicas,
//! which clear data and give ranges to another Region. The latter look at the records under the
//! lock of [`Ownership`], one at a time.
//!
//! Creations and removals are short and hold the lock to their end. An install is long: it *claims*
//! its shape under the lock, from the moment in which the snapshot has arrived until its records
//! are written. No replica may be created, no other snapshot be accepted, and no rows be cleared
//! that overlap a claimed shape; everything else goes on.
//!
//! ```text
//!   install      ─lock─┐claim ════ files taken in ════ records written ═┐
//!   others       ──────┴── creations and removals beside it, one at a time
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use neokv_encoding::region::Descriptor;
use parking_lot::{Mutex, MutexGuard};

use crate::machine::StateMachine;
use crate::ranges::FamilyRange;

/// The lock, and the claims. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Ownership {
    changing: Arc<Mutex<()>>,
    claims: Arc<Mutex<Claims>>,
}

/// Shapes that Regions are about to have. Their lock is held for a moment only: a claim may end on
/// a thread that must not wait for the disk.
#[derive(Default)]
struct Claims {
    next: u64,
    shapes: BTreeMap<u64, Descriptor>,
}

/// The lock of [`Ownership`], held.
pub(crate) struct OwnershipGuard<'a> {
    ownership: &'a Ownership,
    _changing: MutexGuard<'a, ()>,
}

impl Ownership {
    /// Waits until no other range changes hands.
    pub(crate) fn lock(&self) -> OwnershipGuard<'_> {
        OwnershipGuard { ownership: self, _changing: self.changing.lock() }
    }
}

impl OwnershipGuard<'_> {
    /// What the Regions other than `region` have claimed. To be asked *before* the records are
    /// read: a claim ends after its records are written, so what is claimed no more is recorded.
    pub(crate) fn claimed_by_others<M: StateMachine>(
        &self,
        machine: &M,
        region: u64,
    ) -> Vec<FamilyRange> {
        let shapes: Vec<Descriptor> =
            self.ownership.claims.lock().shapes.values().cloned().collect();
        let others = shapes.iter().filter(|shape| shape.id != region);
        others.flat_map(|shape| machine.ranges(shape)).collect()
    }

    /// Claims a shape for its Region, until the result is dropped.
    pub(crate) fn claim(&self, shape: Descriptor) -> Claim {
        let claims = Arc::clone(&self.ownership.claims);
        let mut locked = claims.lock();
        let number = locked.next;
        locked.next += 1;
        locked.shapes.insert(number, shape);
        drop(locked);
        Claim { claims, number }
    }
}

/// A claimed shape.
pub(crate) struct Claim {
    claims: Arc<Mutex<Claims>>,
    number: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().shapes.remove(&self.number);
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({})", self.number)
    }
}
