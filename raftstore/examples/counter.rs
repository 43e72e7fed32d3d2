//! A replicated counter: a whole state machine, and a store with one Region of one replica.
//!
//! ```text
//! cargo run -p neokv-raftstore --example counter
//! cargo run -p neokv-raftstore --example counter      # again: it goes on counting
//! ```
//!
//! Every write goes through the Raft log: it is appended, synced, committed, applied, and only then
//! answered. Kill the process at any moment: what was answered is there at the next start, once.

use std::sync::Arc;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, slot_bounds};
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::{SlotRange, slot_of};
use neokv_engine::{Engine, KeyRange, Options, Read};
use neokv_raftstore::transport::NoPeers;
use neokv_raftstore::{ApplyContext, ApplyError, Config, Outcome, Stamp, StateMachine, Store};

/// The state machine: one number in the engine, and commands that add to it.
struct Counter;

/// The key of the number.
const NAME: &[u8] = b"counter";

/// Where the number is.
fn place() -> Vec<u8> {
    UserKey::new(0, Bytes::from_static(NAME)).metadata()
}

/// Reads the number from anything that can be read.
fn value(from: &dyn Read) -> Result<u64, ApplyError> {
    let stored = from.get(Family::Metadata, &place())?;
    let bytes = stored.as_deref().and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    Ok(bytes.map_or(0, u64::from_be_bytes))
}

impl StateMachine for Counter {
    type Command = u64;
    type Reply = u64;
    type Pending = ();

    fn weight(&self, _: &u64) -> usize {
        8
    }

    fn alone(&self, _: &u64) -> bool {
        false
    }

    /// The leader's clock comes first, then what to add.
    fn encode(&self, stamp: Stamp, commands: &[u64]) -> Bytes {
        std::iter::once(&stamp.hlc)
            .chain(commands)
            .flat_map(|number| number.to_be_bytes())
            .collect()
    }

    fn decode(&self, payload: &Bytes) -> Result<Vec<u64>, ApplyError> {
        decode(payload).map(|(_, numbers)| numbers)
    }

    /// Adds, and answers the sums. The number is read through the batch, so the second command sees
    /// the first.
    fn apply(
        &self,
        cx: &mut ApplyContext<'_>,
        payload: &Bytes,
    ) -> Result<Vec<Outcome<u64>>, ApplyError> {
        let (hlc, numbers) = decode(payload)?;
        let mut outcomes = Vec::new();
        for number in numbers {
            // After a split the counter lives in one of the two Regions.
            if !cx.owns(slot_of(NAME)) {
                outcomes.push(Outcome::Misrouted);
                continue;
            }
            let sum = value(&cx.batch)?.wrapping_add(number);
            cx.batch.put(Family::Metadata, place(), sum.to_be_bytes());
            outcomes.push(Outcome::Reply(sum));
        }
        cx.clock = cx.clock.max(hlc).wrapping_add(outcomes.len() as u64);
        Ok(outcomes)
    }

    /// Everything under the Region's slots, in the one family that this machine uses.
    fn ranges(&self, descriptor: &Descriptor) -> Vec<(Family, KeyRange)> {
        let (start, end) = slot_bounds(descriptor.slots);
        vec![(Family::Metadata, KeyRange::new(start, end))]
    }
}

/// The clock and the numbers of an entry.
fn decode(payload: &Bytes) -> Result<(u64, Vec<u64>), ApplyError> {
    let whole = |chunk: &[u8]| {
        let bytes = <[u8; 8]>::try_from(chunk).ok();
        bytes.map(u64::from_be_bytes).ok_or(ApplyError::Undecodable("not whole numbers".into()))
    };
    let mut numbers = payload.chunks(8).map(whole);
    let hlc = numbers.next().unwrap_or(Ok(0))?;
    Ok((hlc, numbers.collect::<Result<_, _>>()?))
}

/// Region 1 over all slots, with its one replica, peer 1, on store 1.
fn everything() -> Descriptor {
    Descriptor {
        id: 1,
        slots: SlotRange::ALL,
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: vec![Peer { id: 1, store: 1, role: PeerRole::Voter }],
        state: RegionState::Normal,
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join("neokv-counter");
    let engine = Engine::open(&dir.join("db"), &Options::default())?;
    let config = Config::new(1, dir.join("snapshots"));
    let store = Store::open(engine, Arc::new(Counter), config, Arc::new(NoPeers)).await?;
    let region = match store.region(1) {
        Some(region) => region,
        None => store.bootstrap(everything()).await?,
    };
    region.wait_serving().await?;

    let epoch = region.descriptor().epoch;
    let point = region.read_now(epoch)?;
    println!("found     {}", region.read_latest(&point, |rows, _| value(rows))??);
    let sums = region.propose(epoch, vec![1, 10, 100]).await?;
    println!("added     1, 10, 100: {sums:?}");
    let status = region.status();
    println!(
        "log       term {}, applied up to {:?}",
        status.term,
        status.applied.map(|id| id.index)
    );
    println!("data in   {}", dir.display());

    store.shutdown().await;
    Ok(())
}
