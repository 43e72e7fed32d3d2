//! Reading the [`Facts`]: the one place that asks Regions, engine, counters, allocator and kernel.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::raft::LogId;
use neokv_encoding::region::{Descriptor, Stats};
use neokv_engine::{Direction, Engine, EngineError, EngineStats, KeyRange, Read};
use neokv_raftstore::Status;

use super::facts::{self, CommandStat, Expires, Facts};
use crate::process::usage::{Cpu, Memory};
use crate::server::Context;

/// Keys with an expiry are counted one by one up to here; beyond it RocksDB's estimate has to do.
const COUNTED_EXPIRES: u64 = 1_000;

/// Everything that INFO and the metrics tell. Asks engine, kernel and allocator: a millisecond or
/// so.
#[must_use]
pub fn facts(context: &Context) -> Facts {
    let engine = context.engine.stats();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Facts {
        uptime_seconds: context.started.elapsed().as_secs(),
        time_usec: now.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX)),
        memory: Memory::now(),
        cpu: Cpu::now(),
        disk: context.disk.state(engine.disk_bytes),
        server: server(context),
        raft: raft(context),
        expires: expires(&context.engine, &engine),
        engine,
        keys: keys(context),
    }
}

/// The Regions of this store, as descriptors.
#[must_use]
pub fn descriptors(context: &Context) -> Vec<Arc<Descriptor>> {
    context.store.regions().iter().map(|region| region.descriptor()).collect()
}

/// Raft, summed over the Regions.
#[must_use]
pub fn raft(context: &Context) -> facts::Raft {
    context.store.regions().iter().map(|region| region.status()).fold(facts::Raft::default(), add)
}

/// Adds one Region's numbers to the sum.
fn add(sum: facts::Raft, region: Status) -> facts::Raft {
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    facts::Raft {
        regions: sum.regions.saturating_add(1),
        leading: sum.leading.saturating_add(u64::from(region.serving)),
        stopped: sum.stopped.saturating_add(u64::from(region.stopped.is_some())),
        term: sum.term.max(region.term),
        last: sum.last.saturating_add(region.last_index.unwrap_or(0)),
        committed: sum.committed.saturating_add(index(region.committed)),
        applied: sum.applied.saturating_add(index(region.applied)),
        purged: sum.purged.saturating_add(index(region.purged)),
        log_bytes: sum.log_bytes.saturating_add(region.log_bytes),
        log_entries: sum.log_entries.saturating_add(region.log_entries),
    }
}

/// Clients and commands.
fn server(context: &Context) -> facts::Server {
    let stats = &context.stats;
    let commandstats = stats.commands().into_iter().map(|count| CommandStat {
        name: count.name,
        calls: count.calls,
        microseconds: count.microseconds,
        rejected: count.rejected,
        failed: count.failed,
    });
    facts::Server {
        clients: u64::try_from(context.clients.len()).unwrap_or(u64::MAX),
        connections: stats.connections.load(Ordering::Relaxed),
        rejected_connections: stats.rejected_connections.load(Ordering::Relaxed),
        commands: stats.calls(),
        input_bytes: stats.input_bytes.load(Ordering::Relaxed),
        output_bytes: stats.output_bytes.load(Ordering::Relaxed),
        error_replies: stats.error_replies(),
        expired_keys: stats.expired_keys.load(Ordering::Relaxed),
        commandstats: commandstats.collect(),
        errorstats: stats.errors(),
    }
}

/// Keys of all Regions, from the counts that apply keeps. A count that cannot be read is left out
/// of the sum.
fn keys(context: &Context) -> u64 {
    let count = |descriptor: &Arc<Descriptor>| -> Option<u64> {
        let row = key::region(descriptor.id, RegionKind::Stats);
        let bytes = context.engine.get(Family::Region, &row).ok()??;
        Some(Stats::decode(&bytes).ok()?.keys)
    };
    descriptors(context).iter().filter_map(count).sum()
}

/// Keys with an expiry have one row each in family `expire`: a few are counted, many are estimated.
fn expires(engine: &Engine, stats: &EngineStats) -> Expires {
    match count_expires(engine) {
        Ok(count) if count <= COUNTED_EXPIRES => Expires { count, exact: true },
        Ok(counted) => {
            let family = stats.families.iter().find(|stats| stats.family == Family::Expire);
            let count = family.map_or(counted, |stats| stats.keys.max(counted));
            Expires { count, exact: false }
        }
        Err(_) => Expires::default(),
    }
}

fn count_expires(engine: &Engine) -> Result<u64, EngineError> {
    let mut cursor = engine.cursor(Family::Expire, KeyRange::prefix(b""), Direction::Forward)?;
    let mut count = 0_u64;
    while count <= COUNTED_EXPIRES && cursor.next()?.is_some() {
        count = count.saturating_add(1);
    }
    Ok(count)
}
