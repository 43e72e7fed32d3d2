//! The alarm of a full disk, and the one loop that waits for space.
//!
//! The log writer and the apply threads meet a full disk each on their own, keep what they hold and
//! wait for space ([`SpaceAlarm::retry`]). Clients must not wait with them: as long as one of them
//! waits, new writes are refused, and those in flight are told that their outcome is unknown. The
//! alarm is over when the last of them has gone on:
//!
//! ```text
//!   log writer   ──────█ waits ████████──────────
//!   apply        ─────────────█ waits ██████████─
//!   alarm        ──────█████████████████████████─
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use neokv_engine::{Engine, EngineError};
use parking_lot::Mutex;

use crate::error::StoreError;

/// Pause between two attempts while the disk is full.
const PAUSE: Duration = Duration::from_millis(200);

/// Counts the threads that wait for space and tells the proposers. Shared by all threads of a store
/// that write.
pub(crate) struct SpaceAlarm {
    waiting: AtomicUsize,
    /// Held while the proposers are told, so that the last they hear is what is so.
    telling: Mutex<()>,
    tell: Box<dyn Fn(bool) + Send + Sync>,
}

/// An error that may be a full disk.
pub(crate) trait MayBeFull: std::fmt::Display {
    /// Whether the same attempt may succeed when space returns.
    fn is_full(&self) -> bool;
}

impl MayBeFull for EngineError {
    fn is_full(&self) -> bool {
        matches!(self, EngineError::NoSpace { .. })
    }
}

impl MayBeFull for StoreError {
    fn is_full(&self) -> bool {
        use std::io::ErrorKind;
        match self {
            StoreError::Engine(error) => error.is_full(),
            StoreError::Io { source, .. } => {
                matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }
}

impl SpaceAlarm {
    /// An alarm that calls `tell` with `true` when a thread begins to wait and again whenever it
    /// has waited in vain, and with `false` when none waits any longer.
    pub(crate) fn new(tell: impl Fn(bool) + Send + Sync + 'static) -> Arc<SpaceAlarm> {
        Arc::new(SpaceAlarm {
            waiting: AtomicUsize::new(0),
            telling: Mutex::default(),
            tell: Box::new(tell),
        })
    }

    /// Attempts something until it succeeds, fails for another reason than a full disk, or
    /// `give_up` returns why to end. Blocks the thread. `what` names the work for the operator.
    pub(crate) fn retry<T, E: MayBeFull>(
        &self,
        engine: &Engine,
        what: &str,
        give_up: impl Fn() -> Option<E>,
        mut attempt: impl FnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut waiting = None;
        loop {
            match attempt() {
                Err(error) if error.is_full() => {
                    if let Some(error) = give_up() {
                        return Err(error);
                    }
                    if waiting.is_none() {
                        tracing::error!(%error, "no space to write {what}: waiting for some");
                    }
                    waiting.get_or_insert_with(|| self.raise()).tell();
                    thread::sleep(PAUSE);
                    if let Err(error) = engine.resume() {
                        tracing::debug!(%error, "the engine cannot resume yet");
                    }
                }
                outcome => {
                    if waiting.is_some() {
                        tracing::info!("there is space to write {what} again");
                    }
                    return outcome;
                }
            }
        }
    }

    /// Whether anything waits for space.
    pub(crate) fn is_raised(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > 0
    }

    /// A proposer has come that has heard nothing yet. It can be told by then.
    pub(crate) fn tell_newcomer(&self) {
        // Without a wait now, one that begins later tells it.
        if self.is_raised() {
            self.tell_all();
        }
    }

    /// Tells every proposer what is so now.
    fn tell_all(&self) {
        let _one_at_a_time = self.telling.lock();
        (self.tell)(self.is_raised());
    }

    /// Begins to wait. The wait ends when the result is dropped.
    pub(crate) fn raise(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(self)
    }
}

/// A thread that waits for space.
pub(crate) struct Waiting<'a>(&'a SpaceAlarm);

impl Waiting<'_> {
    /// There still is no space: writes that were proposed since the last call are answered as well.
    fn tell(&self) {
        self.0.tell_all();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.tell_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alarm_lasts_until_no_thread_waits() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let alarm = SpaceAlarm::new({
            let told = Arc::clone(&told);
            move |full| told.lock().push(full)
        });
        assert!(!alarm.is_raised());
        let log = alarm.raise();
        log.tell();
        let apply = alarm.raise();
        apply.tell();
        drop(log);
        assert_eq!(*told.lock(), [true, true], "apply still waits");
        assert!(alarm.is_raised());
        drop(apply);
        assert!(!alarm.is_raised());
        assert_eq!(*told.lock(), [true, true, false]);
    }

    #[test]
    fn who_comes_during_the_alarm_is_told_at_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let alarm = SpaceAlarm::new({
            let told = Arc::clone(&told);
            move |full| told.lock().push(full)
        });
        alarm.tell_newcomer();
        assert!(told.lock().is_empty(), "there is nothing to tell");
        let waiting = alarm.raise();
        alarm.tell_newcomer();
        assert_eq!(*told.lock(), [true]);
        drop(waiting);
        alarm.tell_newcomer();
        assert_eq!(*told.lock(), [true, false]);
    }
}
