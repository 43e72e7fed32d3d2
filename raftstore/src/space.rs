//! The alarm of a full disk.
//!
//! The log writer and the apply threads meet a full disk each on their own, keep what they hold and
//! wait for space. Clients must not wait with them: as long as anybody waits, new writes are
//! refused, and those in flight are told that their outcome is unknown. The alarm is over when the
//! last of those who wait has gone on:
//!
//! ```text
//!   log writer   ──────█ waits ████████──────────
//!   apply        ─────────────█ waits ██████████─
//!   alarm        ──────█████████████████████████─
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts who waits for space and tells the proposers. Shared by all threads of a store that write.
pub(crate) struct SpaceAlarm {
    waiting: AtomicUsize,
    tell: Box<dyn Fn(bool) + Send + Sync>,
}

impl SpaceAlarm {
    /// An alarm that calls `tell` with `true` when somebody begins to wait and again whenever they
    /// have waited in vain, and with `false` when nobody waits any more.
    pub(crate) fn new(tell: impl Fn(bool) + Send + Sync + 'static) -> Arc<SpaceAlarm> {
        Arc::new(SpaceAlarm { waiting: AtomicUsize::new(0), tell: Box::new(tell) })
    }

    /// Begins to wait. The wait ends when the result is dropped.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        Waiting(Arc::clone(self))
    }
}

/// Somebody who waits for space.
pub(crate) struct Waiting(Arc<SpaceAlarm>);

impl Waiting {
    /// There still is no space: whatever has slipped into flight since the last call is answered as
    /// well.
    pub(crate) fn sound(&self) {
        (self.0.tell)(true);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == 1 {
            (self.0.tell)(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn the_alarm_lasts_until_nobody_waits() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let alarm = SpaceAlarm::new({
            let told = Arc::clone(&told);
            move |full| told.lock().push(full)
        });
        let log = alarm.wait();
        log.sound();
        let apply = alarm.wait();
        apply.sound();
        drop(log);
        assert_eq!(*told.lock(), [true, true], "apply still waits");
        drop(apply);
        assert_eq!(*told.lock(), [true, true, false]);
    }
}
