//! What all logs together say: whether batches are missing, and whether they had been synced.
//!
//! Every batch names the last write before it and the last one that was synced
//! ([`neokv_encoding::synced`]). So the batches form a chain, through all log files, and a missing
//! batch is noticed by those after it. Where the chain has lost its beginning, the number of the
//! log that held the synced write tells whether it is missing too.

use neokv_encoding::synced::SyncedNote;

use crate::wal::SyncedWrite;

/// A place in the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which log, counted from the oldest.
    pub(super) log: usize,
    /// The number of that log.
    pub(super) number: u64,
    /// Bytes from its start.
    pub(super) offset: u64,
}

/// A place from which on batches are missing, or seem to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) at: Place,
    pub(super) what: &'static str,
    /// The last write before it, where known.
    after: Option<u64>,
}

impl Hole {
    /// Whether this write is missing.
    fn includes(&self, synced: SyncedWrite) -> bool {
        match self.after {
            Some(after) => synced.write > after,
            // No log has a good batch before the hole. Then the synced write is missing, unless the
            // log that held it was deleted: that happens once its writes are in data files. Where
            // the note lost the name of the log, it does not refuse a start that may be legal.
            None => synced.write > 0 && synced.log.is_some_and(|log| log >= self.at.number),
        }
    }
}

/// What the logs turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Good to the end.
    Whole,
    /// The end is torn, and nothing stands behind it.
    Torn(Hole),
    /// Batches are missing that later batches name.
    Missing {
        hole: Hole,
        /// The first of the later ones.
        behind: Place,
        /// Whether a later one says that writes from the hole on were synced.
        synced: bool,
    },
}

/// Batches that are missing.
#[derive(Debug)]
struct Missing {
    hole: Hole,
    behind: Place,
    synced: bool,
}

impl Missing {
    fn new(hole: Hole, behind: Place, synced: SyncedWrite) -> Missing {
        Missing { hole, behind, synced: hole.includes(synced) }
    }

    fn add_synced(&mut self, synced: SyncedWrite) {
        self.synced |= self.hole.includes(synced);
    }
}

/// Receives every batch in the order of the logs.
#[derive(Debug, Default)]
pub(super) struct History {
    log: usize,
    number: u64,
    /// The last write of the good batches so far.
    last: Option<u64>,
    /// Bad bytes behind which no good batch was found yet.
    torn: Option<Hole>,
    /// A log without a byte, and nothing good before it.
    empty: Option<Place>,
    missing: Option<Missing>,
}

impl History {
    /// The next log begins, with this number and so many bytes.
    pub(super) fn begin(&mut self, log: usize, number: u64, length: u64) {
        self.log = log;
        self.number = number;
        // RocksDB begins a new log only behind one that is not empty. So an empty one has lost what
        // was in it, if a log of the same process follows.
        if length == 0 && self.last.is_none() {
            let begin = self.place(0);
            self.empty.get_or_insert(begin);
        }
    }

    fn place(&self, offset: u64) -> Place {
        Place { log: self.log, number: self.number, offset }
    }

    /// A good batch, with nothing bad before it in its log.
    pub(super) fn batch(
        &mut self,
        offset: u64,
        sequences: Option<(u64, u64)>,
        note: Option<SyncedNote>,
    ) {
        let at = self.place(offset);
        match note {
            // The first batch after an open: what is older was recovered then, whatever it was.
            Some(SyncedNote { before: 0, .. }) => {
                let (log, number) = (self.log, self.number);
                *self = History { log, number, ..History::default() }
            }
            Some(note) => {
                if let Some(missing) = &mut self.missing {
                    return missing.add_synced(note.into());
                }
                if let Some(hole) = self.hole_before(at, note) {
                    self.missing = Some(Missing::new(hole, at, note.into()));
                    return;
                }
                // The bad bytes belong to a write that failed.
                self.torn = None;
                self.empty = None;
            }
            // RocksDB itself writes an empty batch when it has recovered.
            None if sequences.is_some_and(|(first, next)| first == next) => {
                self.torn = None;
                self.empty = None;
                self.last = sequences.and_then(|(first, _)| first.checked_sub(1));
            }
            None => {}
        }
        if let Some((first, next)) = sequences
            && first < next
        {
            self.last = self.last.max(Some(next - 1));
        }
    }

    /// What is missing between the good batches so far and one that says this.
    fn hole_before(&self, at: Place, note: SyncedNote) -> Option<Hole> {
        let begins_badly = self.torn.is_some() || self.empty.is_some();
        let is_missing = self.last.map_or(begins_badly, |last| note.before > last);
        let at = self.empty.unwrap_or(at);
        let gap = Hole { at, what: "nothing of what was written", after: self.last };
        is_missing.then(|| self.torn.unwrap_or(gap))
    }

    /// Bytes that are no batch; in this log, only [`History::behind`] follows.
    pub(super) fn bad(&mut self, offset: u64, what: &'static str) {
        let at = self.place(offset);
        self.torn.get_or_insert(Hole { at, what, after: self.last });
    }

    /// A batch, or a part of one, behind bad bytes of the same log.
    pub(super) fn behind(&mut self, offset: u64, synced: SyncedWrite) {
        let at = self.place(offset);
        match (&mut self.missing, self.torn) {
            (Some(missing), _) => missing.add_synced(synced),
            (None, Some(hole)) => self.missing = Some(Missing::new(hole, at, synced)),
            (None, None) => {}
        }
    }

    pub(super) fn outcome(self) -> Outcome {
        match (self.missing, self.torn) {
            (Some(Missing { hole, behind, synced, .. }), _) => {
                Outcome::Missing { hole, behind, synced }
            }
            (None, Some(hole)) => Outcome::Torn(hole),
            (None, None) => Outcome::Whole,
        }
    }
}
