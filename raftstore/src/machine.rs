//! The state machine seam: what a log entry *does* is behind [`StateMachine`].
//!
//! This crate orders commands, makes them durable and hands them back in the same order on every
//! replica. It does not know what they mean. The implementer (`neokv-redis`, later `neokv-meta`)
//! does three things:
//!
//! ```text
//!   leader, proposer task:  commands ──encode(stamp)──▶ bytes        (once per log entry)
//!   every replica, apply:   bytes ──apply(cx)──▶ effects in cx.batch, an outcome per command
//!   connection on the leader:      outcomes ◀── split back to the submissions they came from
//! ```
//!
//! # The laws of `apply`
//!
//! 1. It is a pure function of (state, entry): no clock, no random number, no iteration over an
//!    unordered map, no local identity. The leader puts what it needs into the entry: the
//!    [`Stamp`].
//! 2. Effects go into [`ApplyContext::batch`]; what the machine keeps in memory about the data
//!    goes into [`ApplyContext::pending`]. The batch is written together with the applied index
//!    and the clock in one write, or not at all. After the write the machine gets `pending` back
//!    ([`StateMachine::committed`]); after a crash, or while the disk is full, the same entry is
//!    applied again to the same state.
//! 3. It moves [`ApplyContext::clock`]: `base = max(stamp.hlc, clock)`, command number `i` owns
//!    `base + i`, and afterwards `clock = base + number of commands`. So the clock grows strictly
//!    within a Region.
//! 4. A command that fails is still applied: its effect is its error reply. Only bytes that cannot
//!    be understood, or an engine that cannot be read, are an [`ApplyError`], and that stops the
//!    Region loudly.
//! 5. The Region may have another shape than when the entry was proposed. A command whose slots the
//!    Region does not own *now* ([`ApplyContext::owns`]) has no effect and is
//!    [`Outcome::Misrouted`]. So is one that was meant for all of the Region, if the Region had
//!    another range when the caller looked ([`ApplyContext::is_as_routed`]).
//!
//! # Machines with memory
//!
//! A machine may mirror a part of the data in memory. It loads it when a Region starts or its data
//! is replaced ([`StateMachine::loaded`]), changes it in [`StateMachine::committed`] and forgets it
//! in [`StateMachine::removed`]. It keeps what it knows by slot or by key, not by Region: when a
//! Region is split, no data moves and the machine is only told that the child starts. One
//! that acts only where it leads watches [`StateMachine::leadership`].

use std::sync::Arc;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_engine::{Batch, Engine, EngineError, KeyRange};

/// What the leader adds to an entry, because apply may neither read a clock nor draw a random
/// number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Hybrid logical clock: 48 bit milliseconds, 16 bit counter. Grows strictly within one
    /// leadership.
    pub hlc: u64,
    /// Seed of the random numbers that the commands of this entry may need.
    pub seed: u64,
}

/// What has become of one command of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<R> {
    /// It was carried out; its answer.
    Reply(R),
    /// The Region no longer owns its slots, so it had no effect. The caller routes it again.
    Misrouted,
}

/// A replica's part in its group changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leadership {
    /// It leads and has applied an entry of its own term: it serves.
    Gained {
        /// The term that it leads.
        term: u64,
    },
    /// It no longer leads, or has stopped.
    Lost,
}

/// What a Region's log entries do to the data. See the module for the laws.
pub trait StateMachine: Send + Sync + 'static {
    /// One write command, as the front end hands it in.
    type Command: Send + 'static;
    /// What applying one command answers.
    type Reply: Send + 'static;
    /// What the machine has to change in its memory once a batch is written. `()` without memory.
    type Pending: Default + Send;

    /// Approximate size of the command in its entry, in bytes. Bounds queues and entries.
    fn weight(&self, command: &Self::Command) -> usize;

    /// Whether the command must be the only one of its entry (a command that deletes ranges, say,
    /// because range deletions are not visible to reads of the same batch).
    fn alone(&self, command: &Self::Command) -> bool;

    /// The payload of the entry that carries these commands, in order. Called on the leader only.
    fn encode(&self, stamp: Stamp, commands: &[Self::Command]) -> Bytes;

    /// The commands of an entry, in order: the inverse of [`encode`](Self::encode). Called on the
    /// leader, for commands that go back to their callers.
    ///
    /// # Errors
    ///
    /// [`ApplyError::Undecodable`].
    fn decode(&self, payload: &Bytes) -> Result<Vec<Self::Command>, ApplyError>;

    /// Applies one entry: an outcome for each command, in order. Runs on an apply thread and may
    /// block on the engine.
    ///
    /// The machine may leave the last commands of an entry out, if those before them did much: it
    /// then returns fewer outcomes, at least one. That is a decision like any other: a pure
    /// function of state and entry (law 1), the same on every replica. The leader proposes the
    /// commands again that were left out.
    ///
    /// # Errors
    ///
    /// [`ApplyError`] when the payload cannot be understood or the engine fails. Nothing of the
    /// entry is kept then.
    fn apply(
        &self,
        cx: &mut ApplyContext<'_, Self::Pending>,
        payload: &Bytes,
    ) -> Result<Vec<Outcome<Self::Reply>>, ApplyError>;

    /// The key ranges that hold the data of a Region of this shape, in every family of the machine.
    /// Regions whose slots do not overlap must have ranges that do not overlap.
    fn ranges(&self, descriptor: &Descriptor) -> Vec<(Family, KeyRange)>;

    /// Entries of a Region were written: `pending` is what [`apply`](Self::apply) gathered. Runs on
    /// the apply thread, after the write and before replies leave and readers see the new index.
    fn committed(&self, region: u64, pending: Self::Pending) {
        let _ = (region, pending);
    }

    /// A Region starts on this store, or a snapshot has replaced its data: read from the engine
    /// what the machine keeps in memory about it. Nothing is applied to the Region meanwhile.
    ///
    /// # Errors
    ///
    /// The engine failed, or a record is damaged: the Region does not start.
    fn loaded(&self, engine: &Engine, descriptor: &Descriptor) -> Result<(), EngineError> {
        let _ = (engine, descriptor);
        Ok(())
    }

    /// The data of these ranges has left this store: forget what is in memory about it.
    fn removed(&self, region: u64, ranges: &[(Family, KeyRange)]) {
        let _ = (region, ranges);
    }

    /// A replica gained or lost leadership. Called in order, from any thread, while a lock of the
    /// Region is held: it must not block or call the Region, but leave that to a thread of its own.
    fn leadership(&self, region: u64, change: Leadership) {
        let _ = (region, change);
    }
}

/// Where one entry is applied. Several consecutive entries may share one batch; each sees the
/// effects of those before.
///
/// A machine that needs a batch for one entry alone (because it deletes ranges, which reads of the
/// same batch do not see) returns [`ApplyError::NeedsFreshBatch`] before any effect unless
/// [`is_fresh`](Self::is_fresh), and calls [`seal`](Self::seal) so that nothing comes after it.
pub struct ApplyContext<'e, P = ()> {
    /// All effects. Reads of it see its own writes over the engine's state.
    pub batch: Batch<'e>,
    /// The Region as of this entry.
    pub descriptor: Arc<Descriptor>,
    /// The epoch that the Region had when the entry was proposed.
    pub proposed: Epoch,
    /// The Region's hybrid logical clock: the next unused value. The machine must move it, see the
    /// module.
    pub clock: u64,
    /// Bytes of memory that the replies so far take, about. The machine adds to it: they wait for
    /// the write, so that many of them end the batch as large effects do.
    pub answered: u64,
    /// What the machine has to change in its memory once the batch is written.
    pub pending: P,
    pub(crate) fresh: bool,
    pub(crate) sealed: bool,
}

impl<'e, P: Default> ApplyContext<'e, P> {
    /// A context over an empty batch. Public for the tests of state machines; the store makes its
    /// own.
    pub fn new(batch: Batch<'e>, descriptor: Arc<Descriptor>, clock: u64) -> ApplyContext<'e, P> {
        ApplyContext {
            batch,
            proposed: descriptor.epoch,
            descriptor,
            clock,
            answered: 0,
            pending: P::default(),
            fresh: true,
            sealed: false,
        }
    }
}

impl<P> ApplyContext<'_, P> {
    /// Whether the Region owns this slot as of this entry, and is not frozen by a merge.
    pub fn owns(&self, slot: u16) -> bool {
        self.descriptor.state == RegionState::Normal && self.descriptor.slots.contains(slot)
    }

    /// Whether the Region has the range, as of this entry, that it had when the entry was proposed,
    /// and is not frozen by a merge.
    pub fn is_as_routed(&self) -> bool {
        let now = &self.descriptor;
        now.state == RegionState::Normal && now.epoch.version == self.proposed.version
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

impl<P> std::fmt::Debug for ApplyContext<'_, P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApplyContext")
            .field("region", &self.descriptor.id)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
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
    /// A write that was shared with other Regions failed.
    #[error("{0}")]
    NotWritten(String),
    /// The engine failed. [`EngineError::NoSpace`] is retried until space returns; anything else
    /// stops the Region.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
