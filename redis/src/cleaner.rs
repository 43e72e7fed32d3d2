//! The background removal of keys whose time is over.
//!
//! Reads hide such keys at once; this gives their space back. It works on the leader of each
//! Region, in two steps, so that every replica removes the same keys at the same place of its
//! history:
//!
//! ```text
//! find      walk over family `expire` (slot, instant, key) from where the last round ended, skipping in every slot to
//! the
//!           next one as soon as an instant lies ahead: one seek per slot that has expiries at all
//! propose   PurgeExpired { slot, key, expire_ms } × up to BATCH, through the log
//! apply     removes a key if its record still has exactly that expiry and the entry's clock has reached it
//! ```
//!
//! Between finding and applying a client may have changed the key. Then its expiry is another one,
//! and apply leaves it alone. The cleaner's own clock matters little: should it run ahead, apply,
//! which has the entry's clock, removes nothing.
//!
//! A round looks at a bounded number of rows and slots, so that a mass expiry does not crowd out
//! clients. When a round found a full batch the next one follows at once, otherwise after a pause.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use neokv_encoding::family::Family;
use neokv_encoding::key::{ExpireKey, slot_bounds};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, Engine, KeyRange, Read};
use neokv_raftstore::{Region, Store};
use neokv_resp::Reply;

use crate::command::CommandError;
use crate::machine::{Command, ExpiredKey, RedisMachine};

/// Keys per proposal.
pub const BATCH: usize = 512;
/// Seeks per round.
const SEEKS: usize = 4096;

/// How often the cleaner looks when there is nothing to do.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Pause after a round that found less than a full batch.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { pause: Duration::from_millis(100) }
    }
}

/// What one round found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Keys that are over, at most [`BATCH`].
    pub keys: Vec<ExpiredKey>,
    /// The slot where the next round starts.
    pub next: u16,
}

/// Looks for keys of `slots` that are over at `now_ms`, from slot `from` on. Bounded work.
///
/// # Errors
///
/// If the engine cannot be read or a row is damaged.
pub fn find(
    read: &dyn Read,
    slots: SlotRange,
    from: u16,
    now_ms: u64,
) -> Result<Found, CommandError> {
    let from = if slots.contains(from) { from } else { slots.start };
    let (start, end) = slot_bounds(SlotRange { start: from, end: slots.end });
    let mut rows = read.cursor(Family::Expire, KeyRange::new(start, end), Direction::Forward)?;
    let mut found = Found { keys: Vec::new(), next: slots.start };
    let mut seeks = 0;
    while let Some((row, _)) = rows.next()? {
        let row = ExpireKey::decode(row)?;
        if found.keys.len() >= BATCH || seeks >= SEEKS {
            found.next = row.slot;
            break;
        }
        if row.expire_ms <= now_ms {
            let ExpireKey { slot, expire_ms, namespace, key } = row;
            found.keys.push(ExpiredKey { slot, namespace, key, expire_ms });
        } else {
            seeks += 1;
            rows.seek(&row.slot.saturating_add(1).to_be_bytes())?;
        }
    }
    Ok(found)
}

/// Cleans every Region that this store leads, until `stop` becomes true or its sender is gone.
/// `removed` hears of every number of keys that were removed.
pub async fn run(
    store: Arc<Store<RedisMachine>>,
    engine: Engine,
    pace: Pace,
    mut stop: tokio::sync::watch::Receiver<bool>,
    removed: impl Fn(u64) + Send + Sync,
) {
    // Where the next round of each Region starts. Kept in memory only: after a restart the walk
    // starts over.
    let mut positions: HashMap<u64, u16> = HashMap::new();
    loop {
        let mut busy = false;
        for region in store.regions() {
            if *stop.borrow() {
                return;
            }
            busy |= clean(&region, &engine, &mut positions, &removed).await;
        }
        let pause = if busy { Duration::ZERO } else { pace.pause };
        tokio::select! {
            changed = stop.changed() => if changed.is_err() || *stop.borrow() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// One round over one Region. True if there is more to do at once.
async fn clean(
    region: &Region<RedisMachine>,
    engine: &Engine,
    positions: &mut HashMap<u64, u16>,
    removed: &(impl Fn(u64) + Sync),
) -> bool {
    if !region.is_serving() {
        // Another replica leads, and cleans.
        return false;
    }
    let descriptor = region.descriptor();
    let (id, slots) = (descriptor.id, descriptor.slots);
    let from = positions.get(&id).copied().unwrap_or(slots.start);
    let reader = engine.clone();
    let found = tokio::task::spawn_blocking(move || find(&reader, slots, from, now_ms())).await;
    let found = match found {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::warn!(region = id, %error, "cannot look for expired keys");
            return false;
        }
        Err(_) => return false,
    };
    positions.insert(id, found.next);
    if found.keys.is_empty() {
        return false;
    }
    let full = found.keys.len() >= BATCH;
    match region.propose(vec![Command::Purge(found.keys)]).await {
        Ok(replies) => {
            let counts = replies.iter().filter_map(|reply| match reply {
                Reply::Integer(count) => u64::try_from(*count).ok(),
                _ => None,
            });
            let count = counts.sum();
            removed(count);
            // A full batch that removed nothing holds instants which the log's clock has not
            // reached: give it time.
            full && count > 0
        }
        Err(error) => {
            tracing::debug!(region = id, %error, "expired keys stay for now");
            false
        }
    }
}

/// The leader's clock, in milliseconds since the Unix epoch. It only decides what is proposed,
/// never what is applied.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn names(found: &Found) -> Vec<String> {
        let mut names: Vec<String> =
            found.keys.iter().map(|key| String::from_utf8(key.key.to_vec()).unwrap()).collect();
        names.sort();
        names
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
        let found = find(&bench.engine, SlotRange::ALL, 0, bench.now_ms + 10).unwrap();
        assert_eq!(names(&found), ["b", "{a}1", "{a}2"]);
        assert_eq!(found.next, 0);
        bench.advance(10);
        bench.apply(vec![Command::Purge(found.keys)]).unwrap();
        bench.check(&[("DBSIZE", "4")]);
        let found = find(&bench.engine, SlotRange::ALL, 0, bench.now_ms).unwrap();
        assert_eq!(found, Found { keys: Vec::new(), next: 0 });
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
            let found = find(&bench.engine, SlotRange::ALL, from, bench.now_ms).unwrap();
            assert!(found.keys.len() <= BATCH);
            assert!(found.keys.iter().all(|key| key.slot >= from));
            from = found.next;
            bench.apply(vec![Command::Purge(found.keys)]).unwrap();
            rounds += 1;
            assert!(rounds <= 4);
        }
        assert_eq!(rounds, 3);
    }

    #[test]
    fn a_position_outside_the_region_starts_over() {
        let mut bench = Bench::new();
        bench.run("SET k v PX 1");
        let slot = neokv_encoding::slot::slot_of(b"k");
        let slots = SlotRange { start: slot, end: slot + 1 };
        let found = find(&bench.engine, slots, 0, bench.now_ms + 1).unwrap();
        assert_eq!((names(&found), found.next), (vec!["k".to_owned()], slot));
        let slots = SlotRange { start: slot + 1, end: slot + 2 };
        assert!(find(&bench.engine, slots, slot, bench.now_ms + 1).unwrap().keys.is_empty());
    }
}
