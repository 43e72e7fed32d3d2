//! The background removal of expired keys.
//!
//! Reads hide such keys at once; the cleaner gives their space back. It works on the leader of each
//! Region, in two steps, so that every replica removes the same keys at the same place of its
//! history:
//!
//! ```text
//! find      walk over family `expire` (slot, instant, key) from where the last round ended, with
//!           one iterator for the whole store; leave a slot as soon as an instant lies ahead, or at
//!           once where another store leads: one seek per slot that has expiries
//! propose   to the leader's Region of each key: PurgeExpired { key, expire_ms } × up to BATCH
//! apply     removes a key if its record still has exactly that expiry and the entry's clock has
//!           reached it
//! ```
//!
//! Between finding and applying a client may have changed the key. Then its expiry differs, and
//! apply leaves it alone. Apply does the same if the key's slot belongs to another Region by then.
//! The cleaner's own clock matters little: if it runs ahead, apply, which uses the entry's clock,
//! removes nothing.
//!
//! A round examines a bounded number of rows and slots, so that a mass expiry does not crowd out
//! clients. When a round found a full batch the next one follows at once, otherwise after a pause.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use neokv_encoding::family::Family;
use neokv_encoding::key::{ExpireKey, slot_bounds};
use neokv_encoding::region::Epoch;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, KeyRange, Read};
use neokv_raftstore::{Done, Region, Store};
use neokv_resp::Reply;

use crate::error::CommandError;
use crate::machine::{ExpiredKey, LogCommand, RedisMachine};

/// Keys per round.
pub const BATCH: usize = 512;
/// Seeks per round.
const SEEKS: usize = 4096;
/// Longest wait for one Region, so that others do not wait with it.
const PROPOSAL: Duration = Duration::from_secs(2);

/// What one round found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ExpiredBatch {
    /// Expired keys, at most [`BATCH`], in the order of their slots.
    pub keys: Vec<Expired>,
    /// The slot where the next round starts.
    pub next: u16,
}

/// One expired key.
#[derive(Debug, PartialEq, Eq)]
pub struct Expired {
    /// Its slot.
    pub slot: u16,
    /// Its namespace.
    pub namespace: u32,
    /// What apply must know of it.
    pub key: ExpiredKey,
}

/// Looks for keys that have expired, from slot `from` on. `now_ms_of` a slot is the time in its
/// Region; `None`: the slot is not ours. Bounded work.
///
/// # Errors
///
/// If the engine cannot be read or a row is damaged.
pub fn find(
    read: &dyn Read,
    from: u16,
    now_ms_of: impl Fn(u16) -> Option<u64>,
) -> Result<ExpiredBatch, CommandError> {
    let (start, end) = slot_bounds(SlotRange { start: from, ..SlotRange::ALL });
    let mut rows = read.cursor(Family::Expire, KeyRange::new(start, end), Direction::Forward)?;
    let mut found = ExpiredBatch::default();
    let mut seeks = 0;
    let mut asked = None;
    while let Some((row, _)) = rows.next()? {
        let ExpireKey { slot, expire_ms, namespace, key } = ExpireKey::decode(row)?;
        if found.keys.len() >= BATCH || seeks >= SEEKS {
            found.next = slot;
            break;
        }
        // Asked once for every slot.
        let now_ms = match asked {
            Some((known, now_ms)) if known == slot => now_ms,
            _ => asked.insert((slot, now_ms_of(slot))).1,
        };
        if now_ms.is_some_and(|now_ms| expire_ms <= now_ms) {
            found.keys.push(Expired { slot, namespace, key: ExpiredKey { key, expire_ms } });
        } else {
            seeks += 1;
            let (next_slot, _) = slot_bounds(SlotRange { start: slot + 1, ..SlotRange::ALL });
            rows.seek(&next_slot)?;
        }
    }
    Ok(found)
}

/// Removes the expired keys of every Region that this store leads, until `stop` becomes true or its
/// sender is gone. Waits for `pause` after a round that found less than a full batch. `removed` is
/// called with every number of keys that were removed.
pub async fn run(
    store: Arc<Store<RedisMachine>>,
    pause: Duration,
    mut stop: tokio::sync::watch::Receiver<bool>,
    removed: impl Fn(u64) + Send + Sync,
) {
    // Where the next round starts. Kept in memory only: after a restart the walk starts over.
    let mut next = 0;
    loop {
        // What a round has proposed goes on without it.
        let is_busy = tokio::select! {
            changed = stop.changed() => {
                if changed.is_err() || *stop.borrow() {
                    return;
                }
                continue;
            }
            is_busy = round(&store, &mut next, &removed) => is_busy,
        };
        let wait = if is_busy { Duration::ZERO } else { pause };
        tokio::select! {
            changed = stop.changed() => if changed.is_err() || *stop.borrow() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// One round. True if there is more to do at once.
async fn round(
    store: &Arc<Store<RedisMachine>>,
    next: &mut u16,
    removed: &(impl Fn(u64) + Sync),
) -> bool {
    let (reader, from) = (Arc::clone(store), *next);
    let found = tokio::task::spawn_blocking(move || {
        // Where another replica leads, that one cleans. The leader's clock only decides what is
        // proposed, never what is applied.
        let now_ms_of = |slot| {
            let region = reader.region_of_slot(slot).filter(|region| region.is_serving())?;
            Some(region.now_ms())
        };
        find(reader.engine(), from, now_ms_of)
    });
    let found = match found.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot look for expired keys");
            *next = after(from);
            return false;
        }
        Err(_) => return false,
    };
    *next = found.next;
    let is_full = found.keys.len() >= BATCH;
    let last = found.keys.last().map(|expired| expired.slot);
    let counts = join_all(purges(store, found.keys).into_values().map(Purge::propose)).await;
    let count = counts.iter().sum();
    removed(count);
    if let Some(last) = last.filter(|_| is_full && count == 0) {
        // Their Region does not write now, or its clock has not reached them. Others must not wait
        // for it.
        *next = after(last);
        return false;
    }
    is_full
}

/// The slot behind `slot`, or the first one.
fn after(slot: u16) -> u16 {
    if slot + 1 < SlotRange::ALL.end { slot + 1 } else { SlotRange::ALL.start }
}

/// What is proposed to one Region.
struct Purge {
    region: Arc<Region<RedisMachine>>,
    epoch: Epoch,
    by_namespace: BTreeMap<u32, Vec<ExpiredKey>>,
}

/// The keys by Region.
fn purges(store: &Store<RedisMachine>, keys: Vec<Expired>) -> BTreeMap<u64, Purge> {
    let mut purges = BTreeMap::new();
    for Expired { slot, namespace, key } in keys {
        // Without a Region, the next round finds the key again.
        let Some(region) = store.region_of_slot(slot) else { continue };
        let purge = purges.entry(region.id()).or_insert_with(|| {
            let epoch = region.descriptor().epoch;
            Purge { region, epoch, by_namespace: BTreeMap::new() }
        });
        purge.by_namespace.entry(namespace).or_default().push(key);
    }
    purges
}

impl Purge {
    /// Proposes it; returns how many keys were removed.
    async fn propose(self) -> u64 {
        let commands = self.by_namespace.into_iter();
        let commands = commands.map(|(namespace, keys)| LogCommand::Purge { namespace, keys });
        let (region, commands) = (self.region, commands.collect());
        let proposed = tokio::time::timeout(PROPOSAL, region.propose(self.epoch, commands)).await;
        match proposed {
            Ok(Ok(outcomes)) => {
                let counts = outcomes.iter().filter_map(|outcome| match outcome {
                    Done::Reply(Reply::Integer(count)) => u64::try_from(*count).ok(),
                    _ => None,
                });
                counts.sum()
            }
            Ok(Err(error)) => {
                tracing::debug!(region = region.id(), %error, "expired keys stay for now");
                0
            }
            // Entries in the log are applied all the same.
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;
    use neokv_encoding::key::UserKey;
    use neokv_encoding::raft::{Peer, PeerRole};
    use neokv_encoding::region::{Descriptor, RegionState};
    use neokv_engine::{Durability, Engine, Options};
    use neokv_raftstore::clock::TimeSource;
    use neokv_raftstore::transport::NoPeers;
    use neokv_raftstore::{Clock, ProposeError};

    use super::*;
    use crate::command::table;
    use crate::keyspace::NAMESPACE;
    use crate::testing::{Bench, START_MS};

    fn names(found: &ExpiredBatch) -> Vec<String> {
        let mut names: Vec<String> =
            found.keys.iter().map(|of| String::from_utf8(of.key.key.to_vec()).unwrap()).collect();
        names.sort();
        names
    }

    fn purge(found: ExpiredBatch) -> LogCommand {
        let keys = found.keys.into_iter().map(|of| of.key).collect();
        LogCommand::Purge { namespace: NAMESPACE, keys }
    }

    #[test]
    fn finding_skips_what_lies_ahead() {
        let mut bench = Bench::new();
        // One slot with both, and other slots.
        for (key, ms) in
            [("{a}1", 5), ("{a}2", 10), ("{a}3", 11), ("{a}4", 99), ("b", 10), ("c", 11)]
        {
            bench.run(&format!("SET {key} v PX {ms}"));
        }
        bench.run("SET ever v");
        let found = find(&bench.engine, 0, |_| Some(bench.now_ms + 10)).unwrap();
        assert_eq!(names(&found), ["b", "{a}1", "{a}2"]);
        assert_eq!(found.next, 0);
        bench.advance(10);
        bench.apply(vec![purge(found)]).unwrap();
        bench.check(&[("DBSIZE", "4")]);
        let found = find(&bench.engine, 0, |_| Some(bench.now_ms)).unwrap();
        assert_eq!(found, ExpiredBatch { keys: Vec::new(), next: 0 });
    }

    #[test]
    fn rounds_are_bounded_and_go_on_where_the_last_one_ended() {
        let mut bench = Bench::new();
        let keys = 3 * u32::try_from(BATCH).unwrap();
        for n in 0..keys {
            bench.run(&format!("SET k{n} v PX 1"));
        }
        bench.advance(1);
        let (mut from, mut rounds) = (0, 0);
        while bench.run("DBSIZE") != "0" {
            let found = find(&bench.engine, from, |_| Some(bench.now_ms)).unwrap();
            assert!(found.keys.len() <= BATCH);
            assert!(found.keys.iter().all(|of| of.slot >= from));
            from = found.next;
            bench.apply(vec![purge(found)]).unwrap();
            rounds += 1;
            assert!(rounds <= 4);
        }
        assert_eq!(rounds, 3);
    }

    /// A clock that the test moves.
    #[derive(Clone, Default)]
    struct Hands(Arc<AtomicU64>);

    impl TimeSource for Hands {
        fn wall_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.wall_ms())
        }
    }

    /// A store in `dir` with Region 1 over all slots, and more rows than a round takes in slot 7365
    /// that have expired. None of them can be removed: there are no such keys.
    async fn store_with_rows_that_stay(
        dir: &std::path::Path,
        tune: impl FnOnce(&mut neokv_raftstore::Config),
    ) -> (Store<RedisMachine>, Arc<Region<RedisMachine>>) {
        let engine = Engine::open(&dir.join("data"), &Options::default()).unwrap();
        let mut config = neokv_raftstore::Config::new(1, dir.join("snapshots"));
        tune(&mut config);
        let machine = Arc::new(RedisMachine::default());
        let store = Store::open(engine.clone(), machine, config, Arc::new(NoPeers)).await.unwrap();
        let peers = vec![Peer { id: 1, store: 1, role: PeerRole::Voter }];
        let (slots, state, epoch) = (SlotRange::ALL, RegionState::Normal, EPOCH);
        let region =
            store.bootstrap(Descriptor { id: 1, slots, epoch, peers, state }).await.unwrap();
        region.wait_serving().await.unwrap();
        let mut batch = engine.batch();
        for n in 0..2 * BATCH {
            let key = UserKey::new(NAMESPACE, format!("{{c}}{n}").into());
            batch.put(Family::Expire, key.expire(1), []);
        }
        engine.write(batch, Durability::Buffered).unwrap();
        (store, region)
    }

    const EPOCH: Epoch = Epoch { version: 1, conf_ver: 1 };

    /// A Region that refuses what the cleaner proposes: no command is small enough for it.
    #[tokio::test]
    async fn a_region_that_refuses_does_not_hold_up_what_is_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let small = |config: &mut neokv_raftstore::Config| config.command_bytes = 0;
        let (store, region) = store_with_rows_that_stay(dir.path(), small).await;
        let purge = LogCommand::Purge { namespace: NAMESPACE, keys: Vec::new() };
        let refused = region.propose(EPOCH, vec![purge]).await;
        assert!(matches!(refused, Err(ProposeError::TooBig { .. })));
        let (store, mut next, removed) = (Arc::new(store), 0, AtomicU64::new(0));
        let count = |keys| {
            removed.fetch_add(keys, Ordering::Relaxed);
        };
        assert!(!round(&store, &mut next, &count).await, "the next round comes after a pause");
        assert_eq!((next, removed.load(Ordering::Relaxed)), (7366, 0));
        // Its keys are found again when their turn comes.
        let found = find(store.engine(), 0, |_| Some(START_MS)).unwrap();
        assert_eq!(found.keys.len(), BATCH);
        store.shutdown().await;
    }

    /// More rows than a round takes stand before the key that has expired, and none of them can be
    /// removed: their records have another expiry.
    #[tokio::test]
    async fn what_cannot_be_removed_does_not_hold_up_what_is_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let hands = Hands(Arc::new(AtomicU64::new(START_MS)));
        // "a" has slot 15495, "c" 7365.
        let by_hand =
            |config: &mut neokv_raftstore::Config| config.clock = Clock::new(hands.clone());
        let (store, region) = store_with_rows_that_stay(dir.path(), by_hand).await;
        let engine = store.engine().clone();
        let command = table::lookup(b"set").unwrap();
        let args = ["set", "a", "v", "px", "10"].map(Bytes::from).to_vec();
        let command = LogCommand::Client { namespace: NAMESPACE, command, args };
        region.propose(EPOCH, vec![command]).await.unwrap();
        let expired = || find(&engine, 15_495, |_| Some(START_MS + 10)).unwrap();
        assert_eq!(names(&expired()), ["a"]);
        hands.0.fetch_add(100, Ordering::Relaxed);
        let (store, mut next, removed) = (Arc::new(store), 0, AtomicU64::new(0));
        let count = |keys| {
            removed.fetch_add(keys, Ordering::Relaxed);
        };
        // The first round meets only rows that stay, and asks for a pause.
        assert!(!round(&store, &mut next, &count).await);
        assert_eq!((next, removed.load(Ordering::Relaxed)), (7366, 0));
        round(&store, &mut next, &count).await;
        assert_eq!(removed.load(Ordering::Relaxed), 1);
        assert_eq!(names(&expired()), Vec::<String>::new());
        store.shutdown().await;
    }

    #[test]
    fn slots_of_others_are_left_to_them() {
        let mut bench = Bench::new();
        bench.run("SET k v PX 1");
        bench.run("SET other v PX 1");
        let slot = neokv_encoding::slot::slot_of(b"k");
        let only = |other| (other == slot).then_some(bench.now_ms + 1);
        let found = find(&bench.engine, 0, only).unwrap();
        assert_eq!(names(&found), ["k"]);
        // The round begins behind it.
        let found = find(&bench.engine, slot + 1, only).unwrap();
        assert_eq!(names(&found), Vec::<String>::new());
    }
}
