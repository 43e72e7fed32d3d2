//! Periodic work for all Regions, once a second.
//!
//! Nothing here waits for a Region: slow work runs in a task of its own, so that one Region
//! that does not answer holds up no other.
//!
//! # Logs
//!
//! A log that grows beyond its bound is purged to much less than the bound, and the memtable in
//! which RocksDB has the logs is flushed behind it: what was purged is not written to a file.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use neokv_encoding::region::ReplicaState;
use neokv_engine::Engine;

use super::Inner;
use crate::blocking::blocking;
use crate::config::Config;
use crate::log::LogWriter;
use crate::machine::StateMachine;
use crate::metrics;
use crate::panics;
use crate::region::Region;

/// How many times its limit the log may reach while a follower needs it.
const HARD: u64 = 2;

/// How often.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks after the store until it ends.
pub(crate) async fn run<M: StateMachine>(store: Weak<Inner<M>>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        let Some(store) = store.upgrade() else { return };
        store.look_after();
    }
}

impl<M: StateMachine> Inner<M> {
    /// Looks after every Region, then after what they share. A defect in one look must not end all
    /// later ones: it stops the Region that it is about, and no other.
    pub(super) fn look_after(self: &Arc<Self>) {
        let regions = self.directory.all();
        for region in &regions {
            if let Err(why) = panics::catch(|| self.look_after_region(region)) {
                region.failure_handler().panicked("the janitor", &why);
            }
        }
        if let Err(why) = panics::catch(|| self.look_after_store(&regions)) {
            metrics::panicked();
            tracing::error!(why, "the janitor panicked, which is a defect of the program");
        }
    }

    /// Answers proposals whose time is over, gives back what an idle Region holds in memory for its
    /// writes and its log, and tries a removal again that did not succeed.
    fn look_after_region(&self, region: &Region<M>) {
        region.proposer.expire();
        region.proposer.release_memory();
        region.log.release_memory();
        if region.shape.replica().state == ReplicaState::Tombstone {
            self.operations.removed(region.id);
        }
    }

    /// Keeps logs and transfers within their bounds, and measures.
    fn look_after_store(self: &Arc<Self>, regions: &[Arc<Region<M>>]) {
        let receiver = Arc::clone(&self.receiver);
        // Removes directories.
        self.handle.spawn(blocking(move || receiver.drop_stuck()));
        self.compact_logs(regions);
        let stopped = regions.iter().filter(|region| region.published.stopped().is_some()).count();
        metrics::regions(regions.len(), stopped);
        metrics::clock_offset(self.config.clock.offset_ms());
    }

    /// Purges logs that have too many entries, and the largest ones while all of them together have
    /// too many bytes.
    fn compact_logs(&self, regions: &[Arc<Region<M>>]) {
        let sizes: Vec<(u64, u64)> = regions.iter().map(|region| region.log.size()).collect();
        metrics::log_bytes(sizes.iter().map(|(bytes, _)| bytes).sum());
        let are_replicated = regions.iter().any(|region| region.descriptor().peers.len() > 1);
        let limits = LogLimits::new(&self.config, are_replicated);
        for (number, purge) in purges(&sizes, &limits) {
            let Some(region) = regions.get(number) else { continue };
            // A follower that is a little behind is waited for, as long as that is affordable.
            let followers = region.held_by_followers(self.config.election_max);
            let upto = followers.filter(|_| purge.waits_for_followers).unwrap_or(u64::MAX);
            self.compact(Arc::clone(region), upto, purge.keep_bytes, purge.keep_entries);
        }
    }

    /// Purges one log, in a task of its own.
    fn compact(&self, region: Arc<Region<M>>, upto: u64, bytes: u64, entries: u64) {
        let (engine, writer) = (self.engine.clone(), self.writer.clone());
        self.handle.spawn(async move {
            match region.compact_log_up_to(upto, bytes, entries).await {
                Ok(true) => flush_log(engine, &writer).await,
                Ok(false) => {}
                Err(error) => tracing::warn!(region = region.id, %error, "log not purged"),
            }
        });
    }
}

/// Behind a purge: the memtable of the logs is flushed while little of what it holds is left.
async fn flush_log(engine: Engine, writer: &LogWriter) {
    // The purge is in the queue of the writer.
    let purged = writer.barrier().await;
    let flushed = match purged {
        Ok(()) => blocking(move || engine.flush_purged_log().map_err(io::Error::other)).await,
        Err(error) => Err(error),
    };
    if let Err(error) = flushed.and_then(|flushed| flushed) {
        tracing::warn!(%error, "the memtable of the log not flushed");
    }
}

/// What the logs of a store may hold.
struct LogLimits {
    /// Bytes of all of them together.
    bytes: u64,
    /// What a purge leaves of those bytes. Much less than the bound, so that purges are few and
    /// large.
    keep: u64,
    /// Entries of each.
    entries: u64,
}

impl LogLimits {
    /// The limits of a store whose Regions have replicas elsewhere, or have not.
    fn new(config: &Config, are_replicated: bool) -> LogLimits {
        let (bytes, entries) = (config.log_bytes, config.log_entries);
        // Nobody but another replica reads entries again that are in RocksDB.
        let keep = if are_replicated { bytes / 2 } else { bytes / 16 };
        LogLimits { bytes, keep, entries }
    }
}

/// What is to be purged of one log.
#[derive(Debug, PartialEq, Eq)]
struct Purge {
    /// About so many bytes remain.
    keep_bytes: u64,
    /// About so many entries remain.
    keep_entries: u64,
    /// Entries that a live follower lacks stay: until there is [`HARD`] times too much.
    waits_for_followers: bool,
}

/// Which logs are to be purged, of those with so many bytes and entries, by their positions; the
/// largest ones first.
fn purges(sizes: &[(u64, u64)], limits: &LogLimits) -> Vec<(usize, Purge)> {
    let mut largest: Vec<(usize, u64, u64)> = sizes
        .iter()
        .enumerate()
        .map(|(number, (bytes, entries))| (number, *bytes, *entries))
        .collect();
    largest.sort_by_key(|(_, bytes, _)| std::cmp::Reverse(*bytes));
    let total: u64 = sizes.iter().map(|(bytes, _)| bytes).sum();
    let mut surplus = if total > limits.bytes { total - limits.keep } else { 0 };
    let mut purges = Vec::new();
    for (number, bytes, entries) in largest {
        let by_bytes = bytes.min(surplus);
        let too_many = entries > limits.entries;
        if by_bytes == 0 && !too_many {
            continue;
        }
        surplus -= by_bytes;
        let keep_entries = if too_many { limits.entries / 2 } else { u64::MAX };
        let hard = total > limits.bytes.saturating_mul(HARD) || entries / HARD > limits.entries;
        let purge =
            Purge { keep_bytes: bytes - by_bytes, keep_entries, waits_for_followers: !hard };
        purges.push((number, purge));
    }
    purges
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LogLimits = LogLimits { bytes: 1000, keep: 500, entries: 100 };

    fn purge(keep_bytes: u64, keep_entries: u64, waits_for_followers: bool) -> Purge {
        Purge { keep_bytes, keep_entries, waits_for_followers }
    }

    #[test]
    fn more_is_kept_for_replicas_elsewhere() {
        let config = Config { log_bytes: 1600, ..Config::new(1, "unused") };
        let kept = |are_replicated| LogLimits::new(&config, are_replicated).keep;
        assert_eq!((kept(true), kept(false)), (800, 100));
    }

    #[test]
    fn the_largest_logs_are_purged_until_no_more_remains_than_is_kept() {
        assert_eq!(purges(&[(400, 1), (600, 1)], &LIMITS), [], "as much as may be");
        let purged = purges(&[(100, 1), (700, 1), (500, 1), (10, 1)], &LIMITS);
        assert_eq!(purged, [(1, purge(0, u64::MAX, true)), (2, purge(390, u64::MAX, true))]);
    }

    #[test]
    fn a_log_with_too_many_entries_is_purged_whatever_the_others_hold() {
        assert_eq!(purges(&[(5, 100), (7, 101)], &LIMITS), [(1, purge(7, 50, true))]);
    }

    #[test]
    fn followers_are_waited_for_until_there_is_twice_too_much() {
        let waits = |sizes: &[(u64, u64)]| {
            let purges = purges(sizes, &LIMITS).into_iter();
            purges.map(|(_, purge)| purge.waits_for_followers).collect::<Vec<_>>()
        };
        assert_eq!(waits(&[(2000, 1)]), [true]);
        assert_eq!(waits(&[(2001, 1)]), [false]);
        assert_eq!(waits(&[(1000, 1), (1001, 1)]), [false, false]);
        assert_eq!(waits(&[(1, 201)]), [true]);
        assert_eq!(waits(&[(1, 202), (1, 150)]), [false, true], "each for itself");
    }
}
