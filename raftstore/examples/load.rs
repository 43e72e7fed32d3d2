//! How many small commands per second does the path of a write carry?
//!
//! ```text
//! cargo run -p neokv-raftstore --example load -- \
//!     [clients] [pipeline] [seconds] [always|everysec|no] [window] [eager bytes]
//! ```
//!
//! Clients are tasks that propose `pipeline` commands, wait for the replies and go on: what a
//! server's connections do, without their protocol. A command stores 64 bytes under one of a
//! million keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::slot_bounds;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Engine, KeyRange, Options};
use neokv_raftstore::transport::NoPeers;
use neokv_raftstore::{
    ApplyContext, ApplyError, Config, Outcome, Stamp, StateMachine, Store, SyncMode,
};

/// Stores a value of 64 bytes per command.
struct Rows;

impl StateMachine for Rows {
    type Command = u64;
    type Reply = ();
    type Pending = ();

    fn weight(&self, _: &u64) -> usize {
        80
    }

    fn alone(&self, _: &u64) -> bool {
        false
    }

    fn encode(&self, stamp: Stamp, commands: &[u64]) -> Bytes {
        let mut out = Vec::with_capacity(8 + 80 * commands.len());
        out.extend_from_slice(&stamp.hlc.to_be_bytes());
        for command in commands {
            out.extend_from_slice(&command.to_be_bytes());
            out.extend_from_slice(&[b'v'; 64]);
        }
        out.into()
    }

    fn decode(&self, payload: &Bytes) -> Result<Vec<u64>, ApplyError> {
        let keys = rows(payload).map(|row| row.get(..8).and_then(|key| key.try_into().ok()));
        let keys = keys.map(|key| key.map(u64::from_be_bytes));
        keys.collect::<Option<_>>().ok_or(ApplyError::Undecodable("not whole rows".into()))
    }

    fn apply(
        &self,
        cx: &mut ApplyContext<'_>,
        payload: &Bytes,
    ) -> Result<Vec<Outcome<()>>, ApplyError> {
        let rows = rows(payload);
        let count = rows.len();
        for row in rows {
            let (key, value) = row.split_at(8.min(row.len()));
            cx.batch.put(Family::Metadata, [b"\0\0", key].concat(), value);
        }
        cx.clock = cx.clock.wrapping_add(count as u64);
        Ok(vec![Outcome::Reply(()); count])
    }

    fn ranges(&self, descriptor: &Descriptor) -> Vec<(Family, KeyRange)> {
        let (start, end) = slot_bounds(descriptor.slots);
        vec![(Family::Metadata, KeyRange::new(start, end))]
    }
}

/// The rows of an entry: a key of 8 bytes and its value.
fn rows(payload: &Bytes) -> std::slice::Chunks<'_, u8> {
    payload.get(8..).unwrap_or_default().chunks(72)
}

/// The n-th argument, or a default.
fn argument<T: std::str::FromStr>(number: usize, default: T) -> T {
    std::env::args().nth(number).and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (clients, pipeline) = (argument(1, 50u64), argument(2, 1usize));
    let seconds = Duration::from_secs(argument(3, 5));
    let dir = std::env::temp_dir().join(format!("neokv-load-{}", std::process::id()));
    let engine = Engine::open(&dir.join("db"), &Options::default())?;
    let mut config = Config::new(1, dir.join("snapshots"));
    config.sync = match argument(4, String::from("always")).as_str() {
        "everysec" => SyncMode::EverySecond,
        "no" => SyncMode::Never,
        _ => SyncMode::Always,
    };
    config.window = argument(5, config.window);
    config.eager_bytes = argument(6, config.eager_bytes);
    let peers = vec![Peer { id: 1, store: 1, role: PeerRole::Voter }];
    let (slots, epoch, state) =
        (SlotRange::ALL, Epoch { version: 1, conf_ver: 1 }, RegionState::Normal);
    let store = Store::open(engine, Arc::new(Rows), config, Arc::new(NoPeers)).await?;
    let region = store.bootstrap(Descriptor { id: 1, slots, epoch, peers, state }).await?;
    region.wait_serving().await?;

    let done = Arc::new(AtomicU64::new(0));
    let started = Instant::now();
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (region, done) = (Arc::clone(&region), Arc::clone(&done));
            tokio::spawn(async move {
                let mut key = client.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                while started.elapsed() < seconds {
                    let commands = (0..pipeline)
                        .map(|_| {
                            key = key
                                .wrapping_mul(6_364_136_223_846_793_005)
                                .wrapping_add(1_442_695_040_888_963_407);
                            (key >> 33) % 1_000_000
                        })
                        .collect();
                    if region.propose(epoch, commands).await.is_err() {
                        return;
                    }
                    done.fetch_add(pipeline as u64, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    let done = done.load(Ordering::Relaxed);
    let rate = done as f64 / started.elapsed().as_secs_f64();
    let entries = region.status().applied.map_or(0, |id| id.index);
    println!(
        "{clients} clients, pipeline {pipeline}: {rate:.0} commands/s, {:.1} per entry",
        done as f64 / entries as f64
    );
    store.shutdown().await;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
