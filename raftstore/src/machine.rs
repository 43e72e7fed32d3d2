//! The state machine seam: what a log entry *does* is behind [`StateMachine`].
//!
//! This crate orders commands, makes them durable and hands them back in the same order on every
//! replica. It does not know what they mean. The implementer (`neokv-redis`, later `neokv-meta`)
//! does three things:
//!
//! ```text
//!   leader, proposer task:   commands ──encode(stamp)──▶ bytes          (once per log entry)
//!   every replica, apply:    bytes ──apply(cx)──▶ effects in cx.batch, replies
//!   connection on the leader:                replies ◀── split back to the submissions they came from
//! ```
//!
//! # The laws of `apply`
//!
//! 1. It is a pure function of (state, entry): no clock, no random number, no iteration over an
//!    unordered map, no local identity. The leader puts what it needs into the entry: the
//!    [`Stamp`].
//! 2. Effects go into [`ApplyContext::batch`] and nowhere else. The batch is written together with
//!    the applied index and the clock in one write, or not at all; after a crash (or a full disk)
//!    the same entry is applied again to the same state.
//! 3. It moves [`ApplyContext::clock`]: `base = max(stamp.hlc, clock)`, command number `i` owns
//!    `base + i`, and afterwards `clock = base + number of commands`. So the clock grows strictly
//!    within a Region.
//! 4. A command that fails is still applied: its effect is its error reply. Only bytes that cannot
//!    be understood, or an engine that cannot be read, are an [`ApplyError`], and that stops the
//!    Region loudly.

use std::sync::Arc;

use bytes::Bytes;
use neokv_encoding::region::Descriptor;
use neokv_engine::{Batch, EngineError};

/// What the leader adds to an entry, because apply may neither look at a clock nor throw dice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Hybrid logical clock: 48 bit milliseconds, 16 bit counter. Grows strictly within one
    /// leadership.
    pub hlc: u64,
    /// Seed of the random numbers that the commands of this entry may need.
    pub seed: u64,
}

/// What a Region's log entries do to the data. See the module for the laws.
pub trait StateMachine: Send + Sync + 'static {
    /// One write command, as the front end hands it in.
    type Command: Send + 'static;
    /// What applying one command answers.
    type Reply: Send + 'static;

    /// Approximate size of the command in its entry, in bytes. Bounds queues and entries.
    fn weight(&self, command: &Self::Command) -> usize;

    /// Whether the command must be the only one of its entry (a command that deletes ranges, say,
    /// because range deletions are not visible to reads of the same batch).
    fn alone(&self, command: &Self::Command) -> bool;

    /// The payload of the entry that carries these commands, in order. Called on the leader only.
    fn encode(&self, stamp: Stamp, commands: &[Self::Command]) -> Bytes;

    /// Applies one entry: a reply for each command, in order. Runs on an apply thread and may block
    /// on the engine.
    ///
    /// The machine may leave the last commands of an entry out, if those before them did much: it
    /// then returns fewer replies, at least one. That is a decision like any other: a pure function
    /// of state and entry (law 1), the same on every replica. The leader proposes the commands
    /// again that were left out.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] when the payload cannot be understood or the engine fails. Nothing of the
    /// entry is kept then.
    fn apply(
        &self,
        cx: &mut ApplyContext<'_>,
        payload: &Bytes,
    ) -> Result<Vec<Self::Reply>, ApplyError>;

    /// The commands of an entry, in order, without the first `done` of them. Called on the leader,
    /// where [`apply`] has left commands out, with the payload that [`encode`] made.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Undecodable`]; also from a machine that never leaves commands out, which need
    /// not implement this.
    ///
    /// [`apply`]: Self::apply
    /// [`encode`]: Self::encode
    fn commands_behind(
        &self,
        payload: &Bytes,
        done: usize,
    ) -> Result<Vec<Self::Command>, ApplyError> {
        let _ = (payload, done);
        Err(ApplyError::Undecodable(
            "the machine left commands out of an entry and cannot name them".to_owned(),
        ))
    }

    /// The Region's data has been replaced by a snapshot: drop what was cached about it in memory.
    fn installed(&self, descriptor: &Descriptor) {
        let _ = descriptor;
    }
}

/// Where one entry is applied. Several consecutive entries may share one batch; each sees the
/// effects of those before.
///
/// A machine that needs a batch for one entry alone (because it deletes ranges, which reads of the
/// same batch do not see) returns [`ApplyError::NeedsFreshBatch`] before any effect unless
/// [`is_fresh`](Self::is_fresh), and calls [`seal`](Self::seal) so that nothing comes after it.
pub struct ApplyContext<'e> {
    /// All effects. Reads of it see its own writes over the engine's state.
    pub batch: Batch<'e>,
    /// The Region as of this entry.
    pub descriptor: &'e Descriptor,
    /// The Region's hybrid logical clock: the next unused value. The machine must move it, see the
    /// module.
    pub clock: u64,
    /// Bytes of memory that the replies so far take, about. The machine adds to it: they wait for
    /// the write, so that many of them end the batch as large effects do.
    pub answered: u64,
    pub(crate) fresh: bool,
    pub(crate) sealed: bool,
}

impl<'e> ApplyContext<'e> {
    /// A context over an empty batch. Public for the tests of state machines; the store makes its
    /// own.
    pub fn new(batch: Batch<'e>, descriptor: &'e Descriptor, clock: u64) -> ApplyContext<'e> {
        ApplyContext { batch, descriptor, clock, answered: 0, fresh: true, sealed: false }
    }

    /// Whether no entry before this one shares the batch.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// No entry after this one may share the batch.
    pub fn seal(&mut self) {
        self.sealed = true;
    }
}

impl std::fmt::Debug for ApplyContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApplyContext")
            .field("region", &self.descriptor.id)
            .field("clock", &self.clock)
            .finish()
    }
}

/// Why an entry could not be applied. Never a command's own failure: that is a reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// The bytes of the entry cannot be understood by this version of the program. The Region
    /// stops.
    #[error("entry cannot be decoded: {0}; the store needs a version that knows this entry")]
    Undecodable(String),
    /// The entry must be the first of its batch. Returned before any effect; the same entry comes
    /// again.
    #[error("the entry needs a batch of its own")]
    NeedsFreshBatch,
    /// The store is stopping while the disk is full.
    #[error("stopped while waiting for space: {0}")]
    Stopped(Arc<str>),
    /// The engine failed. [`EngineError::NoSpace`] is retried until space returns; anything else
    /// stops the Region.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
