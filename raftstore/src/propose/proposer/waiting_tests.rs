//! What waits for an entry while the disk becomes full, and what it takes of the store's quota.

use std::sync::{OnceLock, Weak};

use neokv_encoding::family::Family;
use neokv_encoding::region::Descriptor;
use neokv_encoding::slot::SlotRange;
use neokv_engine::KeyRange;

use super::*;
use crate::machine::ApplyContext;
use crate::published::StartPoint;
use crate::testing::{self, NoRoutes};

/// Whose commands are their weights.
#[derive(Default)]
struct Weights {
    /// Becomes full while a command is weighed.
    fills_up: OnceLock<Weak<Proposer<Weights>>>,
}

impl StateMachine for Weights {
    type Command = usize;
    type Reply = ();
    type Pending = ();

    fn weight(&self, weight: &usize) -> usize {
        if let Some(proposer) = self.fills_up.get().and_then(Weak::upgrade) {
            proposer.stall(true);
        }
        *weight
    }

    fn alone(&self, _: &usize) -> bool {
        false
    }

    fn encode(&self, _: Stamp, _: &[usize]) -> Bytes {
        Bytes::new()
    }

    fn decode(&self, _: &Bytes) -> Result<Vec<usize>, ApplyError> {
        Ok(Vec::new())
    }

    fn apply(&self, _: &mut ApplyContext<'_>, _: &Bytes) -> Result<Vec<Outcome<()>>, ApplyError> {
        Ok(Vec::new())
    }

    fn ranges(&self, _: &Descriptor) -> Vec<(Family, KeyRange)> {
        Vec::new()
    }
}

/// Entries have up to 100 bytes, and 1000 may wait in the store.
fn proposer() -> Arc<Proposer<Weights>> {
    let mut config = Config::new(1, "never used");
    config.entry_bytes = 100;
    let start = StartPoint { term: 0, index: 0, clock: 0, sole: true };
    let descriptor = testing::descriptor(1, SlotRange::ALL);
    let parts = ProposerParts {
        region: 1,
        machine: Arc::default(),
        published: Arc::new(Published::new(start, |_| {})),
        shape: Arc::new(Shape::new(descriptor, testing::member(1), Arc::new(NoRoutes))),
        clock: RegionClock::new(config.clock.clone(), 0),
        quota: QueueQuota::new(1000),
    };
    Proposer::new(parts, &config)
}

fn shape() -> Arc<Descriptor> {
    Arc::new(testing::descriptor(1, SlotRange::ALL))
}

fn epoch() -> Epoch {
    shape().epoch
}

#[tokio::test]
async fn what_comes_while_the_disk_becomes_full_is_refused() {
    let proposer = proposer();
    proposer.parts.machine.fills_up.set(Arc::downgrade(&proposer)).unwrap();
    let refused = proposer.submit(epoch(), vec![1]).map(drop);
    assert_eq!(refused, Err(ProposeError::NoSpace));
    assert_eq!(proposer.parts.quota.used(), 0);
}

#[tokio::test]
async fn an_entry_that_is_cut_while_the_disk_becomes_full_is_not_begun() {
    let proposer = proposer();
    let wait = proposer.submit(epoch(), vec![1]).unwrap();
    let (_, draft) = proposer.next().await.unwrap();
    proposer.stall(true);
    assert!(proposer.begin(1, draft).is_none());
    assert_eq!(wait.await.unwrap(), Err(ProposeError::NoSpace));
    assert_eq!(proposer.in_flight(), 0, "the window is free");
    proposer.stall(false);
    let wait = proposer.submit(epoch(), vec![1]).unwrap();
    let (_, draft) = proposer.next().await.unwrap();
    let entry = proposer.begin(1, draft).unwrap();
    proposer.stall(true);
    assert!(matches!(wait.await.unwrap(), Err(ProposeError::Unknown { .. })), "it is in the log");
    drop(entry);
}

#[tokio::test]
async fn what_is_held_for_a_later_entry_keeps_its_share_of_the_quota() {
    let proposer = proposer();
    let used = || proposer.parts.quota.used();
    let mut wait = proposer.submit(epoch(), vec![60, 30, 40, 50]).unwrap();
    assert_eq!(used(), 180);
    let (_, draft) = proposer.next().await.unwrap();
    assert_eq!((draft.commands.len(), used()), (2, 90), "the others wait in the entry");
    let entry = proposer.begin(1, draft).unwrap();
    // The entry left all of them out: they are in the queue once more.
    entry.succeed(Vec::new(), vec![60, 30], &shape());
    drop(entry);
    assert_eq!(used(), 180);
    assert!(wait.try_recv().is_err(), "nothing of it was done");
    let (_, draft) = proposer.next().await.unwrap();
    let entry = proposer.begin(1, draft).unwrap();
    entry.succeed(vec![Outcome::Reply(()), Outcome::Reply(())], Vec::new(), &shape());
    drop(entry);
    assert_eq!(wait.await.unwrap().unwrap().rest, [40, 50], "the caller has them");
    assert_eq!(used(), 0);
}

#[tokio::test]
async fn a_region_that_is_idle_between_two_looks_gives_its_memory_back() {
    let proposer = proposer();
    let waits: Vec<_> = (0..50).map(|_| proposer.submit(epoch(), vec![1]).unwrap()).collect();
    proposer.release_memory();
    proposer.release_memory();
    let (queue, _) = proposer.capacity();
    assert!(queue >= 50, "they wait still");
    proposer.stall(true);
    drop(waits);
    proposer.stall(false);
    let _wait = proposer.submit(epoch(), vec![1]).unwrap();
    let (_, draft) = proposer.next().await.unwrap();
    let entry = proposer.begin(1, draft).unwrap();
    let touched = proposer.capacity();
    assert!(touched.0 > 0 && touched.1 > 0, "{touched:?}");
    proposer.release_memory();
    assert_eq!(proposer.capacity(), touched, "it was written to a moment ago");
    proposer.release_memory();
    assert_eq!(proposer.capacity(), (0, 1), "its entry is in flight");
    drop(entry);
    proposer.release_memory();
    assert_eq!(proposer.capacity(), (0, 0));
}

#[tokio::test]
async fn what_waits_in_a_region_that_leaves_its_store_goes_back_to_be_routed_again() {
    let proposer = proposer();
    let waiting = proposer.submit(epoch(), vec![1]).unwrap();
    let late = proposer.submit(epoch(), vec![2]).unwrap();
    let (_, draft) = proposer.next().await.unwrap();
    assert_eq!(draft.commands, [1, 2]);
    let entry = proposer.begin(1, draft).unwrap();
    let queued = proposer.submit(epoch(), vec![3]).unwrap();
    proposer.parts.shape.remove();
    let back = |command| Done::Misrouted { command, descriptor: shape() };
    proposer.close();
    // The entry left the second one out.
    entry.succeed(vec![Outcome::Reply(())], vec![1, 2], &shape());
    assert_eq!(waiting.await.unwrap().unwrap().done, [Done::Reply(())]);
    assert_eq!(late.await.unwrap().unwrap().done, [back(2)]);
    assert_eq!(queued.await.unwrap().unwrap().done, [back(3)]);
    let after = proposer.submit(epoch(), vec![4]).unwrap();
    assert_eq!(after.await.unwrap().unwrap().done, [back(4)]);
}
