//! Telling a log that a crash cut short from a log that was damaged.
//!
//! A crash may tear the end of the write-ahead log: the last writes were on their way, nobody was
//! told that they are durable, and dropping them is right. Damage in the middle is another matter:
//! behind it stand writes that were acknowledged. RocksDB's point-in-time recovery stops at the
//! first bad record in both cases and says nothing. So before RocksDB opens, [`check`] reads the
//! log files and decides:
//!
//! ```text
//!   000012.log   ████████████████████████████                 good to the end
//!   000015.log   █████████████████▒                           torn: bad bytes, and no good record behind them → open
//!   000015.log   █████████▒███████                            damaged: a good record stands behind bad bytes  → refuse
//!   000012.log   █████████▒        000015.log  ██████         damaged: later writes exist in the next file    → refuse
//! ```
//!
//! The last case has an exception. A store that crashed, recovered, and crashed again before it
//! deleted the old log has a torn log that is not the last. Its successor then goes on with exactly
//! the sequence number at which the torn one ended, which proves that nothing between them was
//! lost.
//!
//! What this cannot see: a tail that is cut *exactly* between two records looks like a shorter log.
//! RocksDB notes the sizes of synced, closed logs in its manifest and refuses then; for the last
//! log no trace of the cut exists.
//!
//! The format is in [`crate::wal`]. The check reads each log once, a block at a time; it costs a
//! tenth of the replay.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::{EngineError, Result};
use crate::wal::{self, BLOCK, Fragment, HEADER, Part};

/// A log file, as far as it makes sense.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    /// Sequence number of the first record.
    first: Option<u64>,
    /// Sequence number after the last good record.
    next: Option<u64>,
    /// The first thing that does not make sense.
    problem: Option<Problem>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Problem {
    /// Bytes from the start of the file.
    offset: u64,
    what: &'static str,
    /// Where a good record stands behind it.
    good_behind: Option<u64>,
}

/// Checks the write-ahead logs in `dir`. The caller holds the lock on the directory.
///
/// # Errors
/// A damaged log, with file and offset, or one that cannot be read.
pub fn check(dir: &Path) -> Result<()> {
    let mut before: Option<(PathBuf, Log)> = None;
    for (number, path) in logs(dir)? {
        let log = scan(&path, number)?;
        if let Some(behind) = log.problem.as_ref().and_then(|problem| problem.good_behind) {
            return Err(damaged(
                &path,
                &log,
                &format!("and a good record stands behind it, at offset {behind}"),
            ));
        }
        // An empty log says nothing about the one before it.
        if let (Some((torn, torn_log)), Some(first)) = (&before, log.first)
            && torn_log.problem.is_some()
            && torn_log.next != Some(first)
        {
            return Err(damaged(
                torn,
                torn_log,
                &format!("and {} goes on with later writes", path.display()),
            ));
        }
        if let Some(problem) = &log.problem {
            let file = path.display();
            tracing::warn!(%file, problem.offset, problem.what, "the log ends in a torn record, as after a crash");
        }
        if log.first.is_some() || log.problem.is_some() {
            before = Some((path, log));
        }
    }
    Ok(())
}

fn damaged(path: &Path, log: &Log, because: &str) -> EngineError {
    let (offset, what) =
        log.problem.as_ref().map_or((0, "nothing"), |problem| (problem.offset, problem.what));
    let detail = format!(
        "the write-ahead log has {what} at offset {offset}, {because}: acknowledged writes may be lost"
    );
    EngineError::Corruption { file: Some(path.to_path_buf()), detail }
}

/// The log files of a directory, oldest first.
fn logs(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| EngineError::from_io(dir, e))? {
        let path = entry.map_err(|e| EngineError::from_io(dir, e))?.path();
        if path.extension().is_some_and(|extension| extension == "log")
            && let Some(number) =
                path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok())
        {
            logs.push((number, path));
        }
    }
    logs.sort();
    Ok(logs)
}

/// Reads one log to its end or to the first thing that does not make sense, and then looks for good
/// records behind that.
fn scan(path: &Path, number: u64) -> Result<Log> {
    let mut file = File::open(path).map_err(|e| EngineError::from_io(path, e))?;
    let mut scan = Scan { number, log: Log::default(), open: None, ended: false };
    let mut block = Vec::with_capacity(BLOCK);
    let mut offset = 0u64;
    loop {
        block.clear();
        let limit = u64::try_from(BLOCK).unwrap_or(u64::MAX);
        let read = file
            .by_ref()
            .take(limit)
            .read_to_end(&mut block)
            .map_err(|e| EngineError::from_io(path, e))?;
        if read == 0 {
            break;
        }
        scan.block(&block, offset);
        if scan.log.problem.as_ref().is_some_and(|problem| problem.good_behind.is_some()) {
            break;
        }
        offset = offset.saturating_add(u64::try_from(read).unwrap_or(0));
    }
    Ok(scan.finish())
}

/// The state of reading one log.
struct Scan {
    number: u64,
    log: Log,
    /// A record whose first fragment was read and whose last was not: offset, and the sequence
    /// number after it.
    open: Option<(u64, Option<u64>)>,
    /// Blank or old space was reached: what follows must not be good.
    ended: bool,
}

impl Scan {
    /// Reads one block, which stands at `base` in the file.
    fn block(&mut self, block: &[u8], base: u64) {
        let mut at = 0;
        while self.log.problem.is_none() && !self.ended && block.len().saturating_sub(at) >= HEADER
        {
            let Some(rest) = block.get(at..) else { break };
            let offset = base.saturating_add(wide(at));
            match wal::fragment(rest, self.number) {
                Fragment::Good { part, payload, length } => {
                    self.part(part, payload, offset);
                    if self.log.problem.is_some() {
                        // The fragment itself is the good record behind the problem.
                        return;
                    }
                    at = at.saturating_add(length);
                }
                Fragment::Blank | Fragment::Stale => self.ended = true,
                Fragment::Bad(what) => self.problem(offset, what),
            }
        }
        let is_short = block.len() < BLOCK;
        if self.log.problem.is_none() && !self.ended && is_short && at < block.len() {
            self.problem(base.saturating_add(wide(at)), "a few bytes that are no record");
        }
        if self.log.problem.is_some() || self.ended {
            self.search(block, at, base);
        }
    }

    /// Follows the fragments of a record.
    fn part(&mut self, part: Part, payload: &[u8], offset: u64) {
        match (part, self.open) {
            (Part::Full | Part::First | Part::Note, Some((start, _))) => {
                self.log.problem = Some(Problem {
                    offset: start,
                    what: "a record without its end",
                    good_behind: Some(offset),
                });
            }
            (Part::Middle | Part::Last, None) => {
                self.log.problem = Some(Problem {
                    offset,
                    what: "a record without its beginning",
                    good_behind: Some(offset),
                });
            }
            (Part::Full, None) => self.complete(wal::sequences(payload)),
            (Part::First, None) => {
                let sequences = wal::sequences(payload);
                self.log.first = self.log.first.or(sequences.map(|(first, _)| first));
                self.open = Some((offset, sequences.map(|(_, next)| next)));
            }
            (Part::Last, Some((_, next))) => {
                self.log.next = next.or(self.log.next);
                self.open = None;
            }
            (Part::Middle, Some(_)) | (Part::Note, None) => {}
        }
    }

    fn complete(&mut self, sequences: Option<(u64, u64)>) {
        if let Some((first, next)) = sequences {
            self.log.first = self.log.first.or(Some(first));
            self.log.next = Some(next);
        }
    }

    fn problem(&mut self, offset: u64, what: &'static str) {
        // A torn record that spans blocks is torn from its first fragment on.
        let offset = self.open.map_or(offset, |(start, _)| start);
        self.log.problem = Some(Problem { offset, what, good_behind: None });
    }

    /// Looks for a good record behind the end, at every byte: where a length is damaged, so is the
    /// position of the next record.
    fn search(&mut self, block: &[u8], from: usize, base: u64) {
        let blank =
            |from: usize| block.get(from..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0));
        if blank(from) {
            return;
        }
        for at in from..block.len() {
            let Some(rest) = block.get(at..) else { return };
            if let Fragment::Good { .. } = wal::fragment(rest, self.number) {
                let behind = base.saturating_add(wide(at));
                let what = "unwritten space";
                let problem = self.log.problem.get_or_insert(Problem {
                    offset: base,
                    what,
                    good_behind: None,
                });
                problem.good_behind = Some(behind);
                return;
            }
        }
    }

    fn finish(mut self) -> Log {
        if let (None, Some((start, _))) = (&self.log.problem, self.open) {
            self.log.problem = Some(Problem {
                offset: start,
                what: "a record without its end",
                good_behind: None,
            });
        }
        self.log
    }
}

fn wide(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wal::tests::encode;

    /// A batch of `count` writes, padded to `length` bytes.
    fn batch(sequence: u64, count: u32, length: usize) -> Vec<u8> {
        let mut bytes = [&sequence.to_le_bytes()[..], &count.to_le_bytes()].concat();
        bytes.resize(length.max(12), 0xab);
        bytes
    }

    /// Records as RocksDB lays them out: split at blocks, short block ends filled with zeros.
    fn log(batches: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for batch in batches {
            let (mut rest, mut first) = (&batch[..], true);
            loop {
                let left = BLOCK - out.len() % BLOCK;
                if left < HEADER {
                    out.resize(out.len() + left, 0);
                    continue;
                }
                let take = rest.len().min(left - HEADER);
                let last = take == rest.len();
                let kind = match (first, last) {
                    (true, true) => 1,
                    (true, false) => 2,
                    (false, false) => 3,
                    (false, true) => 4,
                };
                out.extend(encode(kind, None, &rest[..take]));
                (rest, first) = (&rest[take..], false);
                if last {
                    break;
                }
            }
        }
        out
    }

    fn scan_bytes(bytes: &[u8]) -> Log {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("000004.log");
        std::fs::write(&path, bytes).unwrap();
        scan(&path, 4).unwrap()
    }

    fn three() -> Vec<u8> {
        log(&[batch(1, 2, 100), batch(3, 1, 70_000), batch(4, 5, 40)])
    }

    #[test]
    fn a_whole_log_has_no_problem() {
        assert_eq!(scan_bytes(&three()), Log { first: Some(1), next: Some(9), problem: None });
        assert_eq!(scan_bytes(&[]), Log::default());
        let mut preallocated = three();
        preallocated.resize(preallocated.len() + 5000, 0);
        assert_eq!(scan_bytes(&preallocated).problem, None);
    }

    #[test]
    fn every_cut_is_a_torn_tail() {
        let whole = three();
        let ends: Vec<usize> = [&[batch(1, 2, 100)][..], &[batch(1, 2, 100), batch(3, 1, 70_000)]]
            .iter()
            .map(|b| log(b).len())
            .collect();
        for cut in
            (0..whole.len()).filter(|cut| cut % 97 == 0 || whole.len() - cut < 60 || *cut < 130)
        {
            let found = scan_bytes(&whole[..cut]);
            let expected = if cut >= ends[1] {
                Some(4)
            } else if cut >= ends[0] {
                Some(3)
            } else {
                None
            };
            assert_eq!(found.next, expected, "cut at {cut}");
            assert_eq!(
                found.problem.is_some(),
                cut != 0 && !ends.contains(&cut),
                "cut at {cut}: {found:?}"
            );
            assert!(
                found.problem.is_none_or(|problem| problem.good_behind.is_none()),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn every_flip_before_the_last_record_is_damage() {
        let whole = three();
        let last = log(&[batch(4, 5, 40)]).len();
        for at in (0..whole.len() - last).step_by(211).chain(0..120) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let problem = scan_bytes(&bytes).problem.unwrap_or_else(|| panic!("flip at {at}"));
            assert!(problem.good_behind.is_some(), "flip at {at}: {problem:?}");
        }
        let mut torn = whole.clone();
        let at = torn.len() - 3;
        torn[at] ^= 1;
        assert_eq!(
            scan_bytes(&torn).problem.unwrap().good_behind,
            None,
            "the last record may be torn"
        );
    }

    #[test]
    fn garbage_behind_the_last_record_is_a_torn_tail() {
        let mut bytes = three();
        let end = bytes.len();
        bytes.extend((0..5000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()));
        let problem = scan_bytes(&bytes).problem.unwrap();
        assert_eq!((problem.offset, problem.good_behind), (u64::try_from(end).unwrap(), None));
    }

    #[test]
    fn a_torn_log_may_be_followed_only_by_its_continuation() {
        let check_pair = |first: &[u8], second: &[u8]| {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("000004.log"), first).unwrap();
            std::fs::write(dir.path().join("000010.log"), second).unwrap();
            check(dir.path())
        };
        let torn = &three()[..three().len() - 3];
        check_pair(&three(), &log(&[batch(9, 1, 30)])).unwrap();
        check_pair(&three(), &log(&[batch(12, 1, 30)])).unwrap();
        check_pair(torn, &log(&[batch(4, 1, 30)])).unwrap();
        check_pair(torn, &[]).unwrap();
        let error = check_pair(torn, &log(&[batch(9, 1, 30)])).unwrap_err();
        let EngineError::Corruption { file: Some(file), detail } = error else { panic!("{error}") };
        assert!(file.ends_with("000004.log"));
        assert!(detail.contains("000010.log"), "{detail}");
    }
}
