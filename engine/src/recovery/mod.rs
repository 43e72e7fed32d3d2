//! Telling a log that a crash cut short from a log that was damaged.
//!
//! A crash may tear the write-ahead log: the last writes were on their way, nobody was told that
//! they were durable, and dropping them is right. A power loss may even leave the pages of a file
//! written out of order, so that later writes follow a hole. Damage in what was synced is another
//! matter: those writes were acknowledged. RocksDB does not tell the two apart, and where a hole
//! reads as zeros it reads on behind it as if nothing were missing. So the engine reads the log
//! files and decides before RocksDB opens.
//!
//! Every batch ends in a note that says which write came before it, and up to which write
//! everything was synced by then ([`neokv_encoding::synced`]):
//!
//! ```text
//!   15.log  ██████████████████▒         bad bytes, nothing behind them: torn → open
//!   15.log  ██████████▒████████         bad bytes, batches behind them, and of these
//!                                         none says that more than █ was synced → cut, open
//!                                         one says that more was synced: damaged → refuse
//!   12.log  ██████████   15.log  ████   whole, but 15 names a write behind 12 that is missing:
//!                                         the same question
//!   12.log  ██████████▒  15.log  ████   15 misses nothing: the write had failed → open
//! ```
//!
//! Logs that RocksDB does not need any more do not count: after a crash some may be left and others
//! gone. RocksDB's MANIFEST tells which they are.
//!
//! What was never promised is cut off together with everything behind it, so that RocksDB finds one
//! state of the past and nothing of a later one. The bytes that were cut off are kept beside the
//! log, with `.cut` behind its name, until the next cut. If the disk has no room for them, those
//! that were never synced are dropped, and those that were keep the store from opening.
//!
//! A batch counts as one only if its note has the tag of this directory. So bytes of a client that
//! look like a record of the log, inside a torn record, prove nothing.
//!
//! What this cannot see: damage to the very last batches. Until a later batch says that they were
//! synced, they look like writes that were on their way. If the last batch stands in two blocks and
//! the first of them is lost, its note still counts, unless its last sixteen bytes are split.
//!
//! An operator who wants to go on with what is left of a damaged log opens the store with
//! [`DamagedLog::Accept`].
//!
//! The format is in [`crate::wal`]. The check reads each log once, a block at a time; it costs a
//! tenth of the replay.

mod history;
mod manifest;
mod scan;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use neokv_encoding::synced::Tag;

use self::history::{History, Hole, Outcome, Place};
use crate::error::{EngineError, Result};
use crate::marker;
use crate::options::DamagedLog;
use crate::wal;

/// Bytes at the beginning of a log in which its first batch begins.
const LOG_BEGIN: usize = 256;

/// Reads the write-ahead logs of a store that nobody has open, and changes nothing. For tools: they
/// open the store through RocksDB alone, so where this fails they show more, or less, than what the
/// server will find.
///
/// # Errors
/// Batches are missing, whether they were promised or not; or the logs cannot be read.
pub fn check(dir: &Path) -> Result<()> {
    let tag = marker::read(dir)?;
    let logs = needed_logs(dir)?;
    match read(&logs, &tag)? {
        Outcome::Whole | Outcome::Torn(_) => Ok(()),
        Outcome::Missing { hole, behind, synced: true } => Err(damage(&logs, hole, behind)),
        Outcome::Missing { hole, .. } => {
            let (file, offset) = (path_of(&logs, hole.at), hole.at.offset);
            let what = hole.what;
            let detail = format!(
                "the write-ahead log has {what} at offset {offset}, as after a power loss; what \
                 stands behind was never synced, and the server will drop it"
            );
            Err(EngineError::Corruption { file: Some(file), detail })
        }
    }
}

/// Checks the write-ahead logs in `dir` and cuts off what was never promised. The caller holds the
/// lock on the directory, whose notes have this tag.
///
/// # Errors
/// A damaged log, with file and offset, unless that is accepted; or one that cannot be read or cut.
pub(crate) fn recover(dir: &Path, tag: &Tag, damaged: DamagedLog) -> Result<()> {
    let logs = needed_logs(dir)?;
    match read(&logs, tag)? {
        Outcome::Whole => Ok(()),
        Outcome::Torn(Hole { at, what, .. }) => {
            tracing::warn!(
                file = %path_of(&logs, at).display(), at.offset, what,
                "the log ends in a torn record, as after a crash"
            );
            Ok(())
        }
        Outcome::Missing { hole, behind, synced } => {
            let file = path_of(&logs, hole.at);
            let file = file.display();
            if synced && damaged == DamagedLog::Refuse {
                return Err(damage(&logs, hole, behind));
            }
            if synced {
                tracing::error!(
                    %file, hole.at.offset, hole.what,
                    "the log is damaged, and the store is opened with what stands before the \
                     damage: acknowledged writes are lost"
                );
            } else {
                tracing::warn!(
                    %file, hole.at.offset, hole.what,
                    "the log has a hole, as after a power loss: writes that were never synced are \
                     dropped"
                );
            }
            let keep = if synced { Keep::Always } else { Keep::IfThereIsRoom };
            cut(dir, &logs, hole.at, keep, copy)
        }
    }
}

/// A log file and its number.
type Numbered = (u64, PathBuf);

/// Reads these logs, oldest first.
fn read(logs: &[Numbered], tag: &Tag) -> Result<Outcome> {
    let mut history = History::default();
    for (place, (number, path)) in logs.iter().enumerate() {
        let length = path.metadata().map_err(|e| EngineError::from_io(path, e))?.len();
        history.begin(place, *number, length);
        scan::scan(path, *number, tag, &mut history)?;
    }
    Ok(history.outcome())
}

fn path_of(logs: &[Numbered], place: Place) -> PathBuf {
    logs.get(place.log).map(|(_, path)| path.clone()).unwrap_or_default()
}

fn damage(logs: &[Numbered], hole: Hole, behind: Place) -> EngineError {
    let detail = format!(
        "the write-ahead log has {} at offset {}, where acknowledged writes must stand: the batch \
         at offset {} of {} knows that they were synced; to go on without them and everything \
         behind, accept the damaged log",
        hole.what,
        hole.at.offset,
        behind.offset,
        path_of(logs, behind).display()
    );
    EngineError::Corruption { file: Some(path_of(logs, hole.at)), detail }
}

/// The log that holds a write, and the first write in it; `None` if that log is gone. For the
/// directory of an open store, whose logs this process writes.
pub(crate) fn log_of(dir: &Path, write: u64) -> Result<Option<(u64, u64)>> {
    // Logs follow each other. So it is the newest that does not begin behind the write.
    for (number, path) in logs(dir)?.into_iter().rev() {
        let mut begin = Vec::with_capacity(LOG_BEGIN);
        let file = File::open(&path);
        match file.and_then(|file| file.take(LOG_BEGIN as u64).read_to_end(&mut begin)) {
            Ok(_) => {
                if let Some(first) = wal::begins(&begin).filter(|first| *first <= write) {
                    return Ok(Some((number, first)));
                }
            }
            // RocksDB has deleted it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(EngineError::from_io(&path, error)),
        }
    }
    Ok(None)
}

/// The logs that RocksDB will replay, oldest first. It skips the others, and so may they say or
/// lack anything.
fn needed_logs(dir: &Path) -> Result<Vec<Numbered>> {
    let first = manifest::first_log(dir)?;
    let mut logs = logs(dir)?;
    logs.retain(|(number, _)| *number >= first);
    Ok(logs)
}

/// The log files of a directory, oldest first.
fn logs(dir: &Path) -> Result<Vec<Numbered>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| EngineError::from_io(dir, e))? {
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

/// Copies what is left of one file to another.
type CopyRest = fn(&mut File, &mut File) -> io::Result<u64>;

/// Whether what is cut off may go without a copy if the disk has no room for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// It was synced: somebody may still want to read it.
    Always,
    /// It was never promised.
    IfThereIsRoom,
}

/// Cuts everything from a place on off the logs. A crash at any instruction loses nothing: the next
/// start finds the same hole and goes on, or finds nothing behind it any more.
fn cut(dir: &Path, logs: &[Numbered], from: Place, keep: Keep, copy: CopyRest) -> Result<()> {
    // Files of this cut, if a crash has interrupted it, have greater numbers: logs that an earlier
    // cut has shortened are older than any hole that is found after it.
    for (number, old) in kept(dir)? {
        if number < from.number {
            fs::remove_file(&old).map_err(|e| EngineError::from_io(&old, e))?;
        }
    }
    // The newest log first, and the one with the hole last, so that no start in between takes what
    // stands behind the hole for a continuation.
    for (log, (_, path)) in logs.iter().enumerate().skip(from.log).rev() {
        let cut = if log == from.log && from.offset > 0 {
            shorten(dir, path, from.offset, keep, copy)
        } else {
            move_aside(dir, path)
        };
        cut.map_err(|e| EngineError::from_io(path, e))?;
    }
    Ok(())
}

/// What cuts have kept, with the numbers of the logs.
fn kept(dir: &Path) -> Result<Vec<Numbered>> {
    let entries = fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = entries.map_err(|e| EngineError::from_io(dir, e))?;
    let numbered = entries.into_iter().filter_map(|entry| {
        let number = entry.file_name().to_str()?.strip_suffix(".log.cut")?.parse().ok()?;
        Some((number, entry.path()))
    });
    Ok(numbered.collect())
}

/// Keeps a whole log under the name of what was cut off. That needs no space.
fn move_aside(dir: &Path, log: &Path) -> io::Result<()> {
    let length = log.metadata()?.len();
    // An empty one holds nothing; a crash may have left it here behind the move.
    if length > 0 {
        fs::rename(log, log.with_extension("log.cut"))?;
        // RocksDB sees by this file that the number is taken.
        File::create(log)?;
    }
    File::open(dir)?.sync_all()
}

/// Ends a log after its first bytes, and keeps the others in a file beside it.
fn shorten(dir: &Path, log: &Path, length: u64, keep: Keep, copy: CopyRest) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(log)?;
    file.seek(SeekFrom::Start(length))?;
    let beside = log.with_extension("log.cut");
    let copied = File::create(&beside).and_then(|mut kept| {
        copy(&mut file, &mut kept)?;
        kept.sync_all()?;
        File::open(dir)?.sync_all()
    });
    if let Err(error) = copied {
        let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        if !is_full || keep == Keep::Always {
            return Err(error);
        }
        // Half a copy would take the space that the store needs.
        fs::remove_file(&beside).or_else(|error| match error.kind() {
            ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
        let lost = file.metadata()?.len() - length;
        tracing::warn!(
            file = %log.display(), offset = length, lost,
            "the disk is full: so many bytes that were never synced are dropped without a copy"
        );
    }
    file.set_len(length)?;
    file.sync_all()
}

/// The copy of a file as the system makes it.
fn copy(from: &mut File, to: &mut File) -> io::Result<u64> {
    io::copy(from, to)
}
