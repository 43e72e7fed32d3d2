//! Reading one log file: what is good in it, where it becomes unreadable, and what follows.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use neokv_encoding::synced::Tag;

use super::history::History;
use crate::error::{EngineError, Result};
use crate::wal::{self, BATCH_HEADER, BLOCK, Fragment, HEADER, NOTE_RECORD, Part};

/// Reads the log with this number from beginning to end, a block at a time, and tells `history`.
pub(super) fn scan(path: &Path, number: u64, tag: &Tag, history: &mut History) -> Result<()> {
    let io = |error| EngineError::from_io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let mut scan = Scan { number, tag, history, open: None, stopped: false };
    let mut block = Vec::with_capacity(BLOCK);
    let mut base = 0;
    loop {
        block.clear();
        file.by_ref().take(BLOCK as u64).read_to_end(&mut block).map_err(io)?;
        if block.is_empty() {
            break;
        }
        scan.block(&block, base);
        base += block.len() as u64;
    }
    scan.finish(base);
    Ok(())
}

/// A batch whose fragments are being read: of a batch of any size, only its ends are kept.
struct Open {
    /// Where it begins in the file.
    offset: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Open {
    fn at(offset: u64) -> Open {
        Open { offset, head: Vec::new(), tail: Vec::new() }
    }

    fn push(&mut self, payload: &[u8]) {
        let missing = BATCH_HEADER.saturating_sub(self.head.len()).min(payload.len());
        self.head.extend(payload.iter().take(missing));
        let end = payload.len().saturating_sub(NOTE_RECORD);
        self.tail.extend(payload.iter().skip(end));
        self.tail.drain(..self.tail.len().saturating_sub(NOTE_RECORD));
    }
}

/// The state of reading one log.
struct Scan<'a> {
    number: u64,
    tag: &'a Tag,
    history: &'a mut History,
    /// A batch whose first fragment was read and whose last was not.
    open: Option<Open>,
    /// Something was unreadable. Good bytes after it count only with a note.
    stopped: bool,
}

impl Scan<'_> {
    /// Reads one block, which stands at `base` in the file.
    fn block(&mut self, block: &[u8], base: u64) {
        let mut at = 0;
        while let Some(rest) = block.get(at..).filter(|rest| rest.len() >= HEADER) {
            let offset = base + at as u64;
            let what = match wal::fragment(rest, self.number) {
                Fragment::Good { part, payload, length } => {
                    self.part(part, payload, offset);
                    at += length;
                    continue;
                }
                Fragment::Bad(what) => what,
                Fragment::Blank | Fragment::Stale => "unwritten space",
            };
            self.stop(offset, what);
            // Where a length is damaged, so is the position of the next fragment.
            let Some(next) = self.next_good(block, at + 1) else { return };
            at = next;
        }
        // A whole block may end in a few zeros; the last block of a file may end anywhere.
        if block.get(at..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
            self.stop(base + at as u64, "a few bytes that are no record");
        }
    }

    /// The next place of a good fragment, at any byte. It searches only where the tag occurs at
    /// all, because looking at every byte takes long.
    fn next_good(&self, block: &[u8], from: usize) -> Option<usize> {
        let rest = block.get(from..)?;
        if !rest.windows(self.tag.len()).any(|window| window == self.tag) {
            return None;
        }
        let is_good = |at: &usize| {
            let fragment = rest.get(*at..).map(|rest| wal::fragment(rest, self.number));
            matches!(fragment, Some(Fragment::Good { .. }))
        };
        (0..rest.len()).find(is_good).map(|at| from + at)
    }

    /// Follows the fragments of a batch.
    fn part(&mut self, part: Part, payload: &[u8], offset: u64) {
        match (part, &self.open) {
            // A batch must end before another begins.
            (Part::Full | Part::First | Part::Note, Some(open)) => {
                self.stop(open.offset, "a record without its end");
            }
            (Part::Middle | Part::Last, None) => {
                self.stop(offset, "a record without its beginning")
            }
            _ => {}
        }
        match part {
            Part::Full => {
                let mut whole = Open::at(offset);
                whole.push(payload);
                self.complete(&whole);
            }
            Part::First => {
                self.note_begin(payload, offset);
                let open = self.open.insert(Open::at(offset));
                open.push(payload);
            }
            Part::Middle => {
                self.note_begin(payload, offset);
                if let Some(open) = &mut self.open {
                    open.push(payload);
                }
            }
            Part::Last => match self.open.take() {
                Some(mut open) => {
                    open.push(payload);
                    self.complete(&open);
                }
                None => self.note_end(payload, offset),
            },
            Part::Note => {}
        }
    }

    /// A fragment that others follow may hold the first part of a note, and those that follow may
    /// be lost.
    fn note_begin(&mut self, payload: &[u8], offset: u64) {
        if self.stopped
            && let Some(synced) = wal::note_begin(payload, self.tag)
        {
            self.history.behind(offset, synced);
        }
    }

    /// The last fragment of a batch whose others are lost may hold its note, or the last part of
    /// it.
    fn note_end(&mut self, payload: &[u8], offset: u64) {
        // At the beginning of a block stands what RocksDB has written, so even a part without the
        // tag is believed. Elsewhere a value may hold what looks like a fragment.
        let synced = match offset % BLOCK as u64 {
            0 => wal::note_end(payload, self.tag),
            _ => wal::note(payload, self.tag).map(Into::into),
        };
        if let Some(synced) = synced {
            self.history.behind(offset, synced);
        }
    }

    fn complete(&mut self, batch: &Open) {
        let sequences = wal::sequences(&batch.head);
        let note = wal::note(&batch.tail, self.tag);
        if !self.stopped {
            // A note vouches only for writes before its own batch.
            let note = note.filter(|note| sequences.is_none_or(|(first, _)| note.before < first));
            self.history.batch(batch.offset, sequences, note);
        } else if let Some(note) = note {
            self.history.behind(batch.offset, note.into());
        }
    }

    /// Something is unreadable. A batch that spans it is bad from its first fragment on.
    fn stop(&mut self, offset: u64, what: &'static str) {
        let offset = self.open.take().map_or(offset, |open| open.offset);
        if !self.stopped {
            self.stopped = true;
            self.history.bad(offset, what);
        }
    }

    fn finish(mut self, length: u64) {
        if self.open.is_some() {
            self.stop(length, "a record without its end");
        }
    }
}
