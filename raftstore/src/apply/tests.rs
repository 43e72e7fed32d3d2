//! Entries that may create a replica, and the lock that keeps others from creating it meanwhile.

use std::sync::Arc;

use neokv_encoding::family::Family;
use neokv_encoding::proto::AdminCommand;
use neokv_encoding::region::{Applied, Descriptor, Epoch};
use neokv_encoding::slot::SlotRange;
use openraft::EntryPayload;
use parking_lot::Mutex;

use super::applier::{Applier, ApplierParts};
use super::operations::{AdminOutcome, Change, OperationContext, Operations};
use crate::clock::Clock;
use crate::machine::ApplyError;
use crate::published::{Published, StartPoint};
use crate::shape::Shape;
use crate::space::SpaceAlarm;
use crate::testing::{self, NoRoutes, Nothing};
use crate::types::{Data, Entry, log_id};

/// Writes a row for an entry of epoch version 1, fails for any other, and notes whether the lock was
/// held.
struct Creates {
    creation: Arc<Mutex<()>>,
    was_held: Mutex<Vec<bool>>,
}

impl Operations for Creates {
    fn apply(
        &self,
        cx: &mut OperationContext<'_, '_>,
        change: &Change,
    ) -> Result<AdminOutcome, ApplyError> {
        self.was_held.lock().push(self.creation.is_locked());
        match change {
            Change::Admin { epoch, .. } if epoch.version == 1 => {
                cx.batch.put(Family::Subkey, b"\x00\x01row", b"created");
                Ok(Ok(()))
            }
            _ => Err(ApplyError::Undecodable("told to".into())),
        }
    }

    fn applied(&self, _: &Arc<Descriptor>, _: &Change) {
        self.was_held.lock().push(self.creation.is_locked());
    }

    fn removed(&self, _: u64) {}

    fn unlisted(&self, _: u64, _: u64, _: u64) {}
}

fn admin(index: u64, version: u64) -> Entry {
    let epoch = Epoch { version, conf_ver: 1 };
    let command = Box::new(AdminCommand { kind: None });
    Entry {
        log_id: log_id(1, index),
        payload: EntryPayload::Normal(Data::Admin { epoch, command }),
    }
}

#[test]
fn creation_is_locked_until_the_entry_is_written_and_no_longer() {
    let dir = tempfile::tempdir().unwrap();
    let engine = testing::engine(dir.path());
    let creation = Arc::new(Mutex::new(()));
    let was_held = Mutex::new(Vec::new());
    let operations = Arc::new(Creates { creation: Arc::clone(&creation), was_held });
    let start = StartPoint { term: 0, index: 0, clock: 0, sole: true };
    let descriptor = testing::descriptor(1, SlotRange::ALL);
    let parts = ApplierParts {
        region: 1,
        peer: 1,
        store: 1,
        engine: engine.clone(),
        machine: Arc::new(Nothing),
        published: Arc::new(Published::new(start, |_| {})),
        shape: Arc::new(Shape::new(descriptor, testing::member(1), Arc::new(NoRoutes))),
        clock: Clock::default(),
        space: SpaceAlarm::new(|_| {}),
        operations: Arc::clone(&operations) as _,
        creation: Arc::clone(&creation),
        apply_bytes: 1 << 20,
    };
    let applier = Applier::new(parts, Applied::default());
    applier.apply(&[admin(6, 1)], |_| {}).unwrap();
    assert_eq!(*operations.was_held.lock(), [true, false], "until it is written");
    assert!(engine.get(Family::Subkey, b"\x00\x01row").unwrap().is_some());
    // An entry that fails does not take those before it along, which are applied once more.
    let failed = applier.apply(&[admin(7, 1), admin(8, 2)], |_| {});
    assert!(matches!(failed, Err(ApplyError::Undecodable(_))));
    assert_eq!(applier.applied().log_id.unwrap().index, 7);
    assert!(!creation.is_locked());
}
