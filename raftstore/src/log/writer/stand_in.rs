//! Writing a short append without the thread.
//!
//! The thread is woken for an append and then wakes Raft's thread, which sleeps meanwhile. For one
//! small entry these two steps cost about as much as what Raft does with it. A store that stands
//! alone has no heartbeats that would wait for a sync. So there a task of Raft's runtime writes and
//! syncs an append in place of the thread: if it is small, if nothing else waits, and if the thread
//! sleeps. A large one is left to the thread, so that more commands are gathered while it is
//! synced.
//!
//! # Order
//!
//! Operations are written in the order in which they were queued. A thread that sleeps has nothing
//! in hand. The batcher is locked before the append is taken out: what the thread takes out after
//! that is written when the batcher is free again.
//!
//! # When a write fails
//!
//! The same happens as on the thread. On a full disk Raft's thread waits for space; it would get no
//! further without the log.

use super::{Batcher, LogWriter, Op, RunMode, WriterParts, weight};
use crate::config::{FatalError, SyncMode};
use crate::panics;

/// An append of so many bytes is short: one command, or a few.
const SHORT_BYTES: usize = 4 << 10;

/// See the module. Dropped, it wakes the thread for what is left to it, also when the runtime ends
/// and drops the task that has it.
pub(super) struct StandIn(LogWriter);

impl StandIn {
    pub(super) fn new(writer: LogWriter) -> StandIn {
        StandIn(writer)
    }

    /// Writes what waits, if it is short and alone.
    pub(super) fn work(&self) {
        let RunMode::Thread { queue, batcher, .. } = &self.0.0.mode else { return };
        // Somebody else writes: it goes on with this, or the thread does.
        let Some(mut batcher) = batcher.try_lock() else { return };
        let Some(op) = queue.take_single(|op| batcher.is_short(op)) else { return };
        if let Err(cause) = panics::catch(|| batcher.write_all(&mut vec![op])) {
            // What was queued behind it must not be written without it.
            batcher.failed = Some(cause.clone());
            (batcher.parts.fatal)(&FatalError { what: "the log writer panicked", cause });
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        if let RunMode::Thread { queue, .. } = &self.0.0.mode {
            queue.wake();
        }
    }
}

impl Batcher {
    /// Whether a task of Raft's runtime may write this.
    fn is_short(&self, op: &Op) -> bool {
        let WriterParts { stands_alone, sync, .. } = &self.parts;
        let Op::Append { log, .. } = op else { return false };
        // Of what is synced once a second only the thread knows when that is due.
        *stands_alone
            && *sync != SyncMode::EverySecond
            && log.published().sole()
            && weight(op) <= SHORT_BYTES
    }
}
