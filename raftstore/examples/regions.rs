//! What do many Regions cost in one process?
//!
//! ```text
//! cargo run -p neokv-raftstore --example regions -- [regions] [idle seconds]
//! ```
//!
//! Creates so many Regions of one replica, writes to each, shuts down and starts again. Prints how
//! long the start takes until every Region serves, how much of a core they take while nobody asks
//! for anything, and how much memory each of them holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::slot_bounds;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::{SLOTS, SlotRange};
use neokv_engine::{Engine, KeyRange, Options};
use neokv_raftstore::transport::NoPeers;
use neokv_raftstore::{ApplyContext, ApplyError, Config, Outcome, Stamp, StateMachine, Store};

/// Stores the payload of every entry under the first slot of its Region.
struct Last;

impl StateMachine for Last {
    type Command = Bytes;
    type Reply = ();
    type Pending = ();

    fn weight(&self, command: &Bytes) -> usize {
        command.len()
    }

    fn alone(&self, _: &Bytes) -> bool {
        true
    }

    fn encode(&self, _: Stamp, commands: &[Bytes]) -> Bytes {
        commands.iter().flatten().copied().collect()
    }

    fn decode(&self, payload: &Bytes) -> Result<Vec<Bytes>, ApplyError> {
        Ok(vec![payload.clone()])
    }

    fn apply(
        &self,
        cx: &mut ApplyContext<'_>,
        payload: &Bytes,
    ) -> Result<Vec<Outcome<()>>, ApplyError> {
        let (start, _) = slot_bounds(cx.descriptor.slots);
        cx.batch.put(Family::Metadata, start, payload.clone());
        cx.clock = cx.clock.wrapping_add(1);
        Ok(vec![Outcome::Reply(())])
    }

    fn ranges(&self, descriptor: &Descriptor) -> Vec<(Family, KeyRange)> {
        let (start, end) = slot_bounds(descriptor.slots);
        vec![(Family::Metadata, KeyRange::new(start, end))]
    }
}

/// Region `number` of so many, with its one replica on store 1.
fn part(number: u16, of: u16) -> Descriptor {
    let width = SLOTS / of.max(1);
    let id = u64::from(number) + 1;
    Descriptor {
        id,
        slots: SlotRange { start: number * width, end: (number + 1) * width },
        epoch: Epoch { version: 1, conf_ver: 1 },
        peers: vec![Peer { id, store: 1, role: PeerRole::Voter }],
        state: RegionState::Normal,
    }
}

/// Bytes of memory that the process holds.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|text| text.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

/// Time of processors that the process has taken.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold spaces: the 12th and 13th field, in hundredths of a second.
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    let ticks = fields.skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

async fn open(dir: &std::path::Path) -> Result<Store<Last>, Box<dyn std::error::Error>> {
    let engine = Engine::open(&dir.join("db"), &Options::default())?;
    let config = Config::new(1, dir.join("snapshots"));
    Ok(Store::open(engine, Arc::new(Last), config, Arc::new(NoPeers)).await?)
}

/// Creates the Regions and writes to each, several times.
async fn fill(dir: &std::path::Path, regions: u16) -> Result<Duration, Box<dyn std::error::Error>> {
    let store = open(dir).await?;
    let started = Instant::now();
    for number in 0..regions {
        let region = store.bootstrap(part(number, regions)).await?;
        region.wait_serving().await?;
    }
    let created = started.elapsed();
    for round in 0..4u8 {
        let writes = store.regions().into_iter().map(|region| async move {
            let epoch = region.descriptor().epoch;
            region.propose(epoch, vec![Bytes::from(vec![round; 200])]).await.map(drop)
        });
        futures_util::future::try_join_all(writes).await?;
    }
    store.shutdown().await;
    Ok(created)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let argument = |number| std::env::args().nth(number);
    let regions: u16 = argument(1).map_or(Ok(1000), |text| text.parse())?;
    let idle = Duration::from_secs(argument(2).map_or(Ok(10), |text| text.parse())?);
    let dir = std::env::temp_dir().join(format!("neokv-regions-{}", std::process::id()));
    let created = fill(&dir, regions).await?;
    println!("{regions} regions of one replica");
    println!("create        {:>8.2} s", created.as_secs_f64());

    let engine = Engine::open(&dir.join("db"), &Options::default())?;
    let before = resident();
    let config = Config::new(1, dir.join("snapshots"));
    let started = Instant::now();
    let store = Store::open(engine, Arc::new(Last), config, Arc::new(NoPeers)).await?;
    for region in store.regions() {
        region.wait_serving().await?;
    }
    println!("start         {:>8.2} s", started.elapsed().as_secs_f64());

    tokio::time::sleep(Duration::from_secs(2)).await;
    let (begin, used) = (Instant::now(), cpu());
    tokio::time::sleep(idle).await;
    let share = (cpu() - used).as_secs_f64() / begin.elapsed().as_secs_f64();
    println!("idle          {:>8.2} % of a core", share * 100.0);
    let each = resident().saturating_sub(before) as f64 / f64::from(regions) / f64::from(1 << 20);
    println!("memory        {each:>8.3} MiB each");
    store.shutdown().await;
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
