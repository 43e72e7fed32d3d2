//! Panics in the work of Regions: noticed, counted, and told to those who wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ::metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use neokv_encoding::region::{Descriptor, ReplicaState};

use super::unwatched;
use crate::apply::{AdminOutcome, Change, OperationContext, Operations};
use crate::error::{Action, ProposeError, ReadError};
use crate::machine::ApplyError;
use crate::operation::Dispatch;
use crate::store::{SHUT_DOWN, Store};
use crate::testing::Nothing;

/// Counts panics; panics itself, when it is told to, where something is measured.
#[derive(Default)]
struct Panics {
    count: Arc<AtomicU64>,
    broken: AtomicBool,
}

impl Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match key.name() {
            "neokv_raft_panics_total" => Counter::from_arc(Arc::clone(&self.count)),
            _ => Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        assert!(!self.broken.load(Ordering::SeqCst), "told to");
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// The operations, but the removal of Region 1 panics.
struct Faulty(Arc<dyn Operations>);

impl Operations for Faulty {
    fn apply(
        &self,
        cx: &mut OperationContext<'_, '_>,
        change: &Change,
    ) -> Result<AdminOutcome, ApplyError> {
        self.0.apply(cx, change)
    }

    fn applied(&self, new: &Arc<Descriptor>, change: &Change) {
        self.0.applied(new, change);
    }

    fn removed(&self, region: u64) {
        assert_ne!(region, 1, "told to");
    }

    fn unlisted(&self, region: u64, peer: u64, conf_ver: u64) {
        self.0.unlisted(region, peer, conf_ver);
    }
}

async fn store(dir: &std::path::Path) -> Store<Nothing> {
    unwatched(dir, |_| {}, |weak| Arc::new(Faulty(Dispatch::of(weak)))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_a_group_stops_its_region_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let (one, other) = (store.region(1).unwrap(), store.region(2).unwrap());
    let epoch = one.descriptor().epoch;
    one.group().unwrap().external_request(|_| panic!("told to")).await.unwrap();
    let cause = one.wait_stopped().await;
    assert!(cause.contains("the group panicked"), "{cause}");
    let error = one.propose(epoch, vec![()]).await.unwrap_err();
    assert!(matches!(error, ProposeError::Stopped { .. }), "{error}");
    assert_eq!(error.action(), Action::Stop);
    assert!(matches!(one.read_now(epoch), Err(ReadError::Stopped { .. })));
    assert!(other.is_serving() && other.stopped().is_none());
    other.campaign().await.expect("its group goes on");
    store.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_ends_in_order_has_not_panicked() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let region = store.region(2).unwrap();
    store.destroy(2).await.unwrap();
    assert_eq!(&*region.stopped().unwrap(), "the replica was removed from this store");
    let region = store.region(1).unwrap();
    store.shutdown().await;
    assert_eq!(&*region.stopped().unwrap(), SHUT_DOWN);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_of_the_janitor_stops_the_region_it_is_about_and_no_look_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).await;
    let (one, other) = (store.region(1).unwrap(), store.region(2).unwrap());
    let panics = Panics::default();
    let look = || {
        ::metrics::with_local_recorder(&panics, || store.0.look_after());
        panics.count.load(Ordering::SeqCst)
    };
    assert_eq!(look(), 0);
    // One that belongs to no Region.
    panics.broken.store(true, Ordering::SeqCst);
    assert_eq!(look(), 1);
    panics.broken.store(false, Ordering::SeqCst);
    assert!(one.stopped().is_none() && other.stopped().is_none());
    // One in the work for a Region: its removal was applied.
    let unlisted = Descriptor { peers: Vec::new(), ..(*one.descriptor()).clone() };
    let reshaped = one.shape.change(&mut store.engine().log_batch(), Arc::new(unlisted));
    assert_eq!(reshaped.publish(&one.shape), ReplicaState::Tombstone);
    assert_eq!(look(), 2);
    let cause = one.stopped().unwrap();
    assert!(cause.contains("the janitor panicked") && cause.contains("told to"), "{cause}");
    assert!(other.is_serving(), "the look went on");
    store.shutdown().await;
}
