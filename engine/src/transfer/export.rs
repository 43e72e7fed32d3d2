//! The sender's side: rows of a snapshot into sorted files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use neokv_encoding::family::Family;
use rocksdb::SstFileWriter;

use super::Pace;
use super::ingest::sum;
use crate::cursor::Cursor;
use crate::error::Result;
use crate::families::{self, Shared};
use crate::options::Options;
use crate::range::KeyRange;
use crate::snapshot::Snapshot;

/// One file of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeFile {
    /// Family that the rows belong to.
    pub family: Family,
    /// Where it is.
    pub path: PathBuf,
    /// Rows in it.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// CRC-32C of the whole file.
    pub checksum: u32,
}

/// How an export is cut and how fast it goes.
#[derive(Clone, Debug)]
pub struct ExportLimits {
    /// A file is finished when it has about this many bytes.
    pub file_bytes: u64,
    /// The rate, shared with whatever else keeps to it.
    pub pace: Arc<Pace>,
}

impl Default for ExportLimits {
    fn default() -> ExportLimits {
        ExportLimits { file_bytes: 64 << 20, pace: Arc::new(Pace::new(None)) }
    }
}

/// Writes the rows of some ranges into files, one with each call of [`Export::next_file`].
pub struct Export<'s> {
    snapshot: &'s Snapshot<'s>,
    ranges: std::vec::IntoIter<(Family, KeyRange)>,
    /// The range that is being written.
    current: Option<(Family, Cursor<'s>)>,
    dir: PathBuf,
    limits: ExportLimits,
    /// What the options of all families refer to. Writing files needs neither cache nor memtables.
    shared: Shared,
    /// Number of files so far, which makes their names distinct.
    files: u32,
}

impl<'s> Export<'s> {
    /// Of what `snapshot` shows in `ranges`, into the existing directory `dir`. Ranges of one
    /// family must not overlap.
    pub fn new(
        snapshot: &'s Snapshot<'s>,
        ranges: Vec<(Family, KeyRange)>,
        dir: &Path,
        limits: ExportLimits,
    ) -> Export<'s> {
        let unused = Options { block_cache_bytes: 0, memtable_bytes: 0, ..Options::default() };
        Export {
            snapshot,
            ranges: ranges.into_iter(),
            current: None,
            dir: dir.to_path_buf(),
            limits,
            shared: Shared::new(&unused),
            files: 0,
        }
    }

    /// Writes and syncs the next file, with rows of one range in order; `None` after the last. The
    /// file's place in the directory is not synced: a sender that crashes begins again.
    ///
    /// # Errors
    /// A damaged source, or no space for the file. Do not go on; remove the directory.
    pub fn next_file(&mut self) -> Result<Option<RangeFile>> {
        loop {
            if let Some((family, mut rows)) = self.current.take() {
                // A range may be empty, or end exactly where the file before it did.
                if let Some(file) = self.write(family, &mut rows)? {
                    self.current = Some((family, rows));
                    return Ok(Some(file));
                }
            }
            let Some((family, range)) = self.ranges.next() else { return Ok(None) };
            self.current = Some((family, self.snapshot.scan(family, range)?));
        }
    }

    /// Writes rows until the file is full or the range ends; `None` if there are no rows.
    fn write(&mut self, family: Family, rows: &mut Cursor<'_>) -> Result<Option<RangeFile>> {
        let Some((key, value)) = rows.next()? else { return Ok(None) };
        // The family's own options, so that the file is compressed and filtered as if it had been
        // compacted into the last level.
        let options = families::family(family, &self.shared);
        let path = self.dir.join(format!("{}-{}.sst", family.name(), self.files));
        self.files += 1;
        let steps = families::file_steps();
        let mut writer = SstFileWriter::create_with_env_options(&options, &steps);
        writer.open(&path)?;
        writer.put(key, value)?;
        let (mut count, mut ahead) = (1, length(key, value));
        // The size is asked before the cursor moves: no row need be kept for the next file.
        while writer.file_size() < self.limits.file_bytes {
            let Some((key, value)) = rows.next()? else { break };
            writer.put(key, value)?;
            count += 1;
            ahead += length(key, value);
            if ahead >= self.limits.pace.step() {
                self.limits.pace.wait_for(ahead);
                ahead = 0;
            }
        }
        self.limits.pace.wait_for(ahead);
        writer.finish()?;
        let (bytes, checksum) = sum(&path)?;
        Ok(Some(RangeFile { family, path, rows: count, bytes, checksum }))
    }
}

impl std::fmt::Debug for Export<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Export({} files in {})", self.files, self.dir.display())
    }
}

fn length(key: &[u8], value: &[u8]) -> u64 {
    // A length of memory fits: `usize` has 64 bits at most.
    (key.len() + value.len()) as u64
}
