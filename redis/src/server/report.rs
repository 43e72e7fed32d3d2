//! Collects the [`Facts`]. No other place asks Regions, engine, counters, allocator and kernel.

use std::sync::atomic::Ordering;

use neokv_encoding::family::Family;
use neokv_encoding::raft::LogId;
use neokv_encoding::slot_stats::SlotStats;
use neokv_engine::{Direction, Engine, EngineError, EngineStats, KeyRange, Read};
use neokv_raftstore::Status;

use super::Context;
use crate::clock;
use crate::facts::{ExpiryFacts, Facts, RaftFacts, ServerFacts};
use crate::process::usage::{Cpu, Memory};

/// Up to so many keys with an expiry are counted one by one. Beyond that, RocksDB's estimate is
/// used.
const COUNTED_EXPIRES: u64 = 1_000;

/// Everything that INFO and the metrics tell. It takes about a millisecond, because it asks engine,
/// kernel and allocator.
#[must_use]
pub fn facts(context: &Context) -> Facts {
    let engine = context.engine.stats();
    Facts {
        uptime_seconds: context.started.elapsed().as_secs(),
        time_usec: clock::now_us(),
        memory: Memory::now(),
        cpu: Cpu::now(),
        disk: context.disk.state(engine.disk_bytes),
        server: server(context),
        raft: raft(context),
        expires: expires(&context.engine, &engine),
        engine,
        keys: keys(&context.engine),
    }
}

/// Raft, summed over the Regions.
fn raft(context: &Context) -> RaftFacts {
    context.store.regions().iter().map(|region| region.status()).fold(RaftFacts::default(), add)
}

/// Adds one Region's numbers to the sum.
fn add(sum: RaftFacts, region: Status) -> RaftFacts {
    let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
    RaftFacts {
        regions: sum.regions + 1,
        leading: sum.leading + u64::from(region.serving),
        stopped: sum.stopped + u64::from(region.stopped.is_some()),
        term: sum.term.max(region.term),
        last: sum.last + region.last_index.unwrap_or(0),
        committed: sum.committed + index(region.committed),
        applied: sum.applied + index(region.applied),
        purged: sum.purged + index(region.purged),
        log_bytes: sum.log_bytes + region.log_bytes,
        log_entries: sum.log_entries + region.log_entries,
    }
}

/// Clients and commands.
fn server(context: &Context) -> ServerFacts {
    let stats = &context.stats;
    ServerFacts {
        clients: u64::try_from(context.clients.len()).unwrap_or(u64::MAX),
        connections: stats.connections.load(Ordering::Relaxed),
        rejected_connections: stats.rejected_connections.load(Ordering::Relaxed),
        commands: stats.calls(),
        input_bytes: stats.input_bytes.load(Ordering::Relaxed),
        output_bytes: stats.output_bytes.load(Ordering::Relaxed),
        error_replies: stats.error_replies(),
        expired_keys: stats.expired_keys.load(Ordering::Relaxed),
        command_stats: stats.commands(),
        error_stats: stats.errors(),
    }
}

/// Keys of all slots that are here, from the counts that apply keeps. A count that cannot be read
/// is left out of the sum.
fn keys(engine: &Engine) -> u64 {
    let count = || -> Result<u64, EngineError> {
        let mut rows = engine.cursor(Family::SlotStats, KeyRange::all(), Direction::Forward)?;
        let mut keys = 0;
        while let Some((_, value)) = rows.next()? {
            let of_slot = SlotStats::decode(value).map_or(0, |stats| stats.keys);
            // Damaged counts may be any number.
            keys = u64::saturating_add(keys, of_slot);
        }
        Ok(keys)
    };
    count().unwrap_or(0)
}

/// Keys with an expiry have one row each in family `expire`: a few are counted, many are estimated.
fn expires(engine: &Engine, stats: &EngineStats) -> ExpiryFacts {
    match count_expires(engine) {
        Ok(count) if count <= COUNTED_EXPIRES => ExpiryFacts { count, exact: true },
        Ok(counted) => {
            let family = stats.families.iter().find(|stats| stats.family == Family::Expire);
            let count = family.map_or(counted, |stats| stats.keys.max(counted));
            ExpiryFacts { count, exact: false }
        }
        Err(_) => ExpiryFacts::default(),
    }
}

fn count_expires(engine: &Engine) -> Result<u64, EngineError> {
    let mut cursor = engine.cursor(Family::Expire, KeyRange::prefix(b""), Direction::Forward)?;
    let mut count = 0_u64;
    while count <= COUNTED_EXPIRES && cursor.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}
