//! The receiver's side: files replace what was there; and other work on whole ranges.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, DefaultKey, INGEST_PREFIX};
use rocksdb::{IngestExternalFileOptions, SizeApproximationFlags};

use super::RangeFile;
use crate::batch::LogBatch;
use crate::engine::{Durability, Engine};
use crate::error::{EngineError, Result};
use crate::range::{Direction, KeyRange};
use crate::read::Read;

/// Bytes read at once while summing a file.
const CHUNK: usize = 64 << 10;

/// An ingest that has begun and not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnfinishedIngest {
    /// The Region whose data was being replaced.
    pub region: u64,
}

/// Size and CRC-32C of a file.
pub(super) fn sum(path: &Path) -> Result<(u64, u32)> {
    let io = |error| EngineError::from_io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let mut chunk = vec![0; CHUNK];
    let (mut bytes, mut checksum) = (0, 0);
    loop {
        let read = file.read(&mut chunk).map_err(io)?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else {
            return Ok((bytes, checksum));
        };
        checksum = crc32c::crc32c_append(checksum, part);
        bytes += part.len() as u64;
    }
}

/// Checks that a file is as it was sent. Reads all of it: for files whose bytes were not summed
/// while they arrived, or that have been through a crash since.
///
/// # Errors
/// Another size or checksum: the file must be fetched again.
pub fn verify(file: &RangeFile) -> Result<()> {
    let (bytes, checksum) = sum(&file.path)?;
    if (bytes, checksum) == (file.bytes, file.checksum) {
        return Ok(());
    }
    Err(EngineError::Corruption {
        file: Some(file.path.clone()),
        detail: format!(
            "has {bytes} bytes with checksum {checksum:08x}, expected {} bytes with {:08x}: fetch \
             the file again",
            file.bytes, file.checksum
        ),
    })
}

impl Engine {
    /// Replaces everything in `cleared` by what `files` hold, for `region`. `begin` is written
    /// together with the removal of the old data, `finish` after the new data is in place, each
    /// synced and all or nothing. Nothing may read or write the ranges meanwhile. The files are
    /// used up if they are on the same file system.
    ///
    /// The files are not read again: they are whole because they were summed while they arrived,
    /// or by [`verify`].
    ///
    /// # Errors
    /// If the first batch cannot be written, nothing has changed. Later failures leave the Region
    /// in [`Engine::unfinished_ingests`]: do the install again.
    pub fn ingest(
        &self,
        region: u64,
        cleared: &[(Family, KeyRange)],
        files: &[RangeFile],
        mut begin: LogBatch,
        mut finish: LogBatch,
    ) -> Result<()> {
        let _held = self.hold_orphans();
        let mark = key::ingest(region);
        begin.put(Family::Default, &mark, b"");
        for (family, range) in cleared {
            begin.delete_range(*family, &range.start, &range.end);
        }
        self.write_log(begin, Durability::Synced)?;
        self.delete_files_in_ranges(cleared)?;
        self.take_in(files)?;
        let waits = self.0.waiting.enter();
        self.0.rows.forget(cleared);
        drop(waits);
        finish.delete(Family::Default, &mark);
        self.write_log(finish, Durability::Synced)
    }

    /// Hands the files to RocksDB, all of one family in one step.
    ///
    /// RocksDB takes files in while it holds all writes of the store up, and first flushes the
    /// memtable if that touches their range, as the removal of the old data does. So the memtable
    /// is flushed before, while others write on.
    fn take_in(&self, files: &[RangeFile]) -> Result<()> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_snapshot_consistency(true);
        for family in Family::ALL {
            let own = files.iter().filter(|file| file.family == family);
            let paths: Vec<&Path> = own.map(|file| file.path.as_path()).collect();
            if !paths.is_empty() {
                self.flush_family(family)?;
                let (db, handle) = (self.0.db.raw(), self.0.db.handle(family));
                db.ingest_external_file_cf_opts(handle, &options, paths)?;
            }
        }
        Ok(())
    }

    /// The Regions whose install was cut short. Their ranges hold nothing that may be served.
    ///
    /// # Errors
    /// A damaged or unreadable file, or a damaged mark.
    pub fn unfinished_ingests(&self) -> Result<Vec<UnfinishedIngest>> {
        let mut unfinished = Vec::new();
        let range = KeyRange::prefix(INGEST_PREFIX);
        let mut rows = self.cursor(Family::Default, range, Direction::Forward)?;
        while let Some((key, _)) = rows.next()? {
            let decoded = key::decode_default(key);
            let decoded = decoded.map_err(|e| EngineError::from_decode("ingest mark", e))?;
            if let DefaultKey::Ingest { region } = decoded {
                unfinished.push(UnfinishedIngest { region });
            }
        }
        Ok(unfinished)
    }

    /// Removes every key of `ranges` with one record each, however many keys there are; all or
    /// nothing, and durable when it returns. The space comes back with later compactions.
    ///
    /// # Errors
    /// The write failed.
    pub fn clear_ranges(&self, ranges: &[(Family, KeyRange)]) -> Result<()> {
        let mut batch = self.log_batch();
        for (family, range) in ranges {
            batch.delete_range(*family, &range.start, &range.end);
        }
        self.write_log(batch, Durability::Synced)
    }

    /// Gives the space of ranges that were cleared back at once: deletes the data files that lie
    /// wholly inside one of them. Only while nobody reads an older state: returns false and does
    /// nothing if a snapshot is open.
    ///
    /// A deleted file may have held the very record that cleared an older file that reaches over
    /// the edge of the range. So the ranges are cleared once more at the end.
    ///
    /// # Errors
    /// The files could not be removed, or the write failed.
    pub fn delete_files_in_ranges(&self, ranges: &[(Family, KeyRange)]) -> Result<bool> {
        if self.0.readers.count() > 0 {
            return Ok(false);
        }
        for (family, range) in ranges.iter().filter(|(_, range)| !range.is_empty()) {
            let handle = self.0.db.handle(*family);
            let last = last_inside(range.closed_end());
            self.0.db.raw().delete_file_in_range_cf(handle, &range.start, &last)?;
        }
        self.clear_ranges(ranges)?;
        Ok(true)
    }

    /// Bytes that the keys of `range` take in files and memtables, about.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    pub fn approximate_size(&self, family: Family, range: &KeyRange) -> Result<u64> {
        let ranges = [rocksdb::Range::new(&range.start, range.closed_end())];
        let flags =
            SizeApproximationFlags::INCLUDE_FILES | SizeApproximationFlags::INCLUDE_MEMTABLE;
        let handle = self.0.db.handle(family);
        let sizes = self.0.db.raw().get_approximate_sizes_cf_with_flags(handle, flags, &ranges)?;
        Ok(sizes.first().copied().unwrap_or(0))
    }
}

/// Bytes that make a key of the same beginning sort behind what is stored.
const FILL: [u8; 32] = [0xff; 32];

/// A key before `end`, as near to it as it matters. RocksDB counts a file whose last key *equals*
/// the end of a range as inside, so the end itself would delete too much.
fn last_inside(end: &[u8]) -> Vec<u8> {
    let mut last = end.to_vec();
    match last.pop() {
        // The key without this byte is the very one before the end.
        Some(0) | None => last,
        Some(byte) => {
            last.push(byte - 1);
            last.extend(FILL);
            last
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_key_is_before_the_end() {
        assert_eq!(last_inside(&[0x40, 0]), [0x40]);
        assert_eq!(last_inside(&[0]), [0_u8; 0]);
        let last = last_inside(&[0x2f, 0x96]);
        assert!(last.as_slice() < &[0x2f, 0x96][..] && last.as_slice() > &[0x2f, 0x95, 0xff][..]);
        assert!(last_inside(KeyRange::all().closed_end()) > vec![0xff, 0xff]);
    }
}
