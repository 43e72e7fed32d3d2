//! Purging the applied part of a log.
//!
//! Raft purges only what a snapshot covers. Ours is virtual: building one is reading the applied
//! record. So a purge is three steps, each of which Raft may take its time for:
//!
//! ```text
//!   build a snapshot ──▶ wait until Raft has it ──▶ purge up to the cut ──▶ wait until it is done
//! ```
//!
//! Applied rows are in memory first and in RocksDB later. Until then the log is where they are
//! kept, so nothing is purged that the applied record *in RocksDB* does not cover.
//!
//! Every wait has an end: a Region whose group does not answer must not hold up the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::WatchReceiver;

use super::Region;
use crate::blocking::blocking;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::records;
use crate::types::LogId;

/// How long one step may take.
const STEP: Duration = Duration::from_secs(10);

/// Whether a purge of the Region is under way.
#[derive(Debug, Default)]
pub(crate) struct Compacting(AtomicBool);

impl Compacting {
    /// Begins, unless one is under way.
    fn begin(&self) -> Option<Ongoing<'_>> {
        (!self.0.swap(true, Ordering::AcqRel)).then(|| Ongoing(self))
    }
}

/// A purge under way. It ends when this is dropped.
struct Ongoing<'a>(&'a Compacting);

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

impl<M: StateMachine> Region<M> {
    /// Purges applied entries so that about `bytes` and `entries` of log remain; `true` if there
    /// was something to purge. One purge of a Region runs at a time: a second one does nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError::Group`] if the group has died or does not answer.
    pub async fn compact_log(&self, bytes: u64, entries: u64) -> Result<bool, StoreError> {
        self.compact_log_up_to(u64::MAX, bytes, entries).await
    }

    /// The same, but nothing above `index` is purged.
    pub(crate) async fn compact_log_up_to(
        &self,
        index: u64,
        bytes: u64,
        entries: u64,
    ) -> Result<bool, StoreError> {
        let Some(_ongoing) = self.compacting.begin() else { return Ok(false) };
        let most = self.applied_behind().await?.min(index);
        let Some(upto) = self.log.cut(bytes, entries, most) else { return Ok(false) };
        let raft = self.group()?;
        let trigger = raft.trigger();
        trigger.snapshot().await.map_err(|fatal| self.group_error(&fatal))?;
        let reached = |id: &Option<LogId>| id.as_ref().is_some_and(|id| id.index >= upto);
        let mut progress = raft.watch_snapshot_progress();
        let covered = progress.wait_until(|id| reached(id));
        self.within("the snapshot that a purge needs", covered).await?;
        trigger.purge_log(upto).await.map_err(|fatal| self.group_error(&fatal))?;
        let waiting = raft.wait(None);
        let purged = waiting.metrics(|metrics| reached(&metrics.purged), "purge");
        self.within("the purge", purged).await?;
        crate::metrics::purged();
        Ok(true)
    }

    /// Brings what is applied into RocksDB. Returns the index of the applied record there.
    async fn applied_behind(&self) -> Result<u64, StoreError> {
        let (engine, region) = (self.engine.clone(), self.id);
        let applied = blocking(move || {
            engine.drain()?;
            records::applied_behind(&engine, region)
        });
        let applied = applied.await.map_err(|error| self.group_error(&error))??;
        Ok(applied.and_then(|applied| applied.log_id).map_or(0, |id| id.index))
    }

    /// On the leader: the last entry that all of its followers have which answered within `recent`.
    /// What is purged above it costs one of them a snapshot.
    pub(crate) fn held_by_followers(&self, recent: Duration) -> Option<u64> {
        let metrics = self.raft.get()?.metrics().borrow_watched().clone();
        let answered = metrics.heartbeat?;
        let is_live = |peer: &u64| {
            let last = answered.get(peer).and_then(|last| last.as_ref());
            last.is_some_and(|last| last.elapsed() < recent)
        };
        let followers = metrics.replication?;
        let live = followers.iter().filter(|(peer, _)| is_live(peer));
        live.map(|(_, matched)| matched.as_ref().map_or(0, |id| id.index)).min()
    }

    /// Waits for a step.
    async fn within<T, E: ToString>(
        &self,
        what: &str,
        step: impl Future<Output = Result<T, E>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(STEP, step).await {
            Ok(done) => done.map_err(|error| self.group_error(&error)),
            Err(_) => Err(self.group_error(&format!("{what} took longer than {STEP:?}"))),
        }
    }
}
