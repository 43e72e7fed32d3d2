//! Periodic work for all Regions, once a second.
//!
//! Nothing here waits for a Region: slow work runs in a task of its own, so that one Region
//! that does not answer holds up no other.

use std::sync::{Arc, Weak};
use std::time::Duration;

use neokv_encoding::region::ReplicaState;

use super::Inner;
use crate::blocking::blocking;
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
                region.vitals().panicked("the janitor", &why);
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
    /// too many bytes. Entries that a live follower lacks stay, up to [`HARD`] times the limit.
    fn compact_logs(&self, regions: &[Arc<Region<M>>]) {
        let mut sizes: Vec<(u64, u64, &Arc<Region<M>>)> = regions
            .iter()
            .map(|region| {
                let (bytes, entries) = region.log.size();
                (bytes, entries, region)
            })
            .collect();
        sizes.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
        let total: u64 = sizes.iter().map(|(bytes, ..)| bytes).sum();
        metrics::log_bytes(total);
        // Down to half of the budget, so that purges are few and large.
        let limit = self.config.log_bytes;
        let mut surplus = if total > limit { total - limit / 2 } else { 0 };
        for (bytes, entries, region) in sizes {
            let by_bytes = bytes.min(surplus);
            let too_many = entries > self.config.log_entries;
            if by_bytes == 0 && !too_many {
                continue;
            }
            surplus -= by_bytes;
            let keep_entries = if too_many { self.config.log_entries / 2 } else { u64::MAX };
            // A follower that is a little behind is waited for, as long as that is affordable.
            let hard =
                total > limit.saturating_mul(HARD) || entries / HARD > self.config.log_entries;
            let followers = region.held_by_followers(self.config.election_max);
            let upto = followers.filter(|_| !hard).unwrap_or(u64::MAX);
            self.compact(Arc::clone(region), upto, bytes - by_bytes, keep_entries);
        }
    }

    /// Purges one log, in a task of its own.
    fn compact(&self, region: Arc<Region<M>>, upto: u64, bytes: u64, entries: u64) {
        self.handle.spawn(async move {
            if let Err(error) = region.compact_log_up_to(upto, bytes, entries).await {
                tracing::warn!(region = region.id, %error, "log not purged");
            }
        });
    }
}
