//! What RocksDB reports about itself between two calls: background errors and write stalls.
//!
//! A flush or compaction that fails has no caller to tell. RocksDB remembers the error and refuses
//! later writes with it; the listener here learns of it at once, and so do the metrics and the
//! operator.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use rocksdb::event_listener::{
    BackgroundErrorRecoveryInfo, BackgroundErrorStatus, DBBackgroundErrorReason,
    DBWriteStallCondition, EventListener, MemTableInfo, MutableStatus, WriteStallInfo,
};

use crate::error::EngineError;

/// Whether the store takes writes, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Reads and writes work.
    Good,
    /// The disk is full or was when last written: reads work, writes are refused until
    /// [`crate::Engine::resume`] succeeds.
    Full {
        /// What RocksDB said.
        detail: String,
    },
    /// A background job failed: reads work as far as their files are readable, writes are refused.
    Failed {
        /// What RocksDB said, with the file where known.
        detail: String,
    },
}

/// Written by RocksDB's threads, read by everyone.
#[derive(Default)]
pub(crate) struct HealthState {
    error: Mutex<Option<(bool, String)>>,
    /// Mirrors `error.is_some()`: what each write asks.
    failed: AtomicBool,
    stalls: AtomicU64,
    stopped: AtomicBool,
    /// How often RocksDB may have begun a new write-ahead log.
    logs_begun: AtomicU64,
    /// Held by whoever tries to take writes again.
    pub(crate) resuming: Mutex<()>,
}

impl HealthState {
    pub(crate) fn current(&self) -> Health {
        match &*self.error.lock() {
            None => Health::Good,
            Some((true, detail)) => Health::Full { detail: detail.clone() },
            Some((false, detail)) => Health::Failed { detail: detail.clone() },
        }
    }

    /// Notes a failure seen by a background job or by a write.
    pub(crate) fn fail(&self, error: &EngineError) {
        let full = matches!(error, EngineError::NoSpace { .. });
        let mut current = self.error.lock();
        // A full disk takes precedence: whatever fails because of it recovers with it.
        if !matches!(*current, Some((true, _))) || full {
            *current = Some((full, error.to_string()));
        }
        self.failed.store(true, Ordering::Release);
    }

    pub(crate) fn clear(&self) {
        *self.error.lock() = None;
        self.failed.store(false, Ordering::Release);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.failed.load(Ordering::Acquire) && matches!(*self.error.lock(), Some((true, _)))
    }

    /// How often writes began to be slowed down or stopped.
    pub(crate) fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Grows before RocksDB writes to a new write-ahead log: whoever has written to that log sees
    /// it grown.
    pub(crate) fn logs_begun(&self) -> u64 {
        self.logs_begun.load(Ordering::Acquire)
    }
}

/// Reports RocksDB's events to [`HealthState`].
pub(crate) struct Listener(pub(crate) Arc<HealthState>);

impl EventListener for Listener {
    /// A new log begins only together with a new memtable, and RocksDB tells of the one that is
    /// full before it lets the next write through.
    fn on_memtable_sealed(&self, _: &MemTableInfo) {
        self.0.logs_begun.fetch_add(1, Ordering::Release);
    }

    fn on_background_error(&self, reason: DBBackgroundErrorReason, status: MutableStatus) {
        if let Err(error) = status.result() {
            let error = EngineError::from_rocksdb(error.clone());
            tracing::error!(%error, ?reason, "RocksDB's background work failed");
            self.0.fail(&error);
        }
    }

    /// RocksDB may retry a flush or a compaction by itself. It must not touch a failed write of the
    /// log: what the disk holds then is unknown, and the process decides. Nor may it wait for
    /// space: it looks every few seconds, while [`crate::Engine::resume`] goes on with the first
    /// write that has room, and the two exclude each other.
    fn on_error_recovery_begin(
        &self,
        reason: DBBackgroundErrorReason,
        status: &BackgroundErrorStatus,
        automatic: &mut bool,
    ) {
        let full = status.result().as_ref().err().is_some_and(|error| {
            matches!(EngineError::from_rocksdb(error.clone()), EngineError::NoSpace { .. })
        });
        let background = matches!(
            reason,
            DBBackgroundErrorReason::KFlush | DBBackgroundErrorReason::KCompaction
        );
        *automatic = background && !full;
    }

    fn on_error_recovery_end(&self, info: &BackgroundErrorRecoveryInfo) {
        if info.new_bg_error().result().is_ok() {
            tracing::info!("RocksDB recovered from its background error");
            self.0.clear();
        }
    }

    fn on_stall_conditions_changed(&self, info: &WriteStallInfo) {
        let family = info
            .cf_name()
            .map(|name| String::from_utf8_lossy(&name).into_owned())
            .unwrap_or_default();
        let now = info.cur();
        if now != DBWriteStallCondition::KNormal {
            self.0.stalls.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(family, condition = ?now, "writes wait for flushes or compactions");
        }
        self.0.stopped.store(now == DBWriteStallCondition::KStopped, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_stays_the_named_cause() {
        let state = HealthState::default();
        assert_eq!(state.current(), Health::Good);
        state.fail(&EngineError::Io { detail: "sync failed".into() });
        assert!(matches!(state.current(), Health::Failed { .. }));
        assert!(!state.is_full());
        state.fail(&EngineError::NoSpace { detail: "full".into() });
        state.fail(&EngineError::Io { detail: "flush failed".into() });
        assert!(matches!(state.current(), Health::Full { .. }));
        assert!(state.is_full());
        state.clear();
        assert_eq!(state.current(), Health::Good);
    }
}
