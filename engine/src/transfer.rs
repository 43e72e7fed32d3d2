//! Moving a range of slots from one store to another: the data part of a Raft snapshot.
//!
//! The sender writes the four data families of the range, as a [`Snapshot`] shows them, into sorted
//! files; the receiver takes the files in whole, without passing the rows through memtable and log.
//!
//! ```text
//! sender    snapshot ──▶ export ──▶ metadata-0.sst  subkey-0.sst  subkey-1.sst  ...   each with rows, bytes, checksum
//! receiver  verify checksums
//!           1. one synced batch: "installing" marker · old range deleted · the caller's `begin`
//!           2. files taken in, family by family
//!           3. one synced batch: the caller's `finish` (descriptor, applied state) · marker deleted
//! ```
//!
//! RocksDB cannot take in files of several families and a batch in one step. The marker makes up
//! for it: after a crash between 1 and 3, [`Engine::unfinished_ingests`] names the range, which
//! holds nothing that may be served; the install must be done again from its beginning. During all
//! three steps the orphan filter is held off, because metadata and rows do not belong together.
//!
//! The marker is a record of family `default`: key `ingest/` · first slot u16 · end slot u16, empty
//! value.
//!
//! Memory is constant: one block being written, one chunk being summed. The sender can be slowed to
//! a rate, so that building a snapshot does not hold up clients.

use std::fs::File;
use std::io::Read as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use neokv_encoding::family::Family;
use neokv_encoding::key::slot_bounds;
use neokv_encoding::slot::SlotRange;
use rocksdb::{DBCompressionType, IngestExternalFileOptions, SstFileWriter};

use crate::batch::LogBatch;
use crate::engine::{Durability, Engine};
use crate::error::{EngineError, Result};
use crate::read::{Direction, KeyRange, Read};
use crate::snapshot::Snapshot;

const MARKER: &[u8] = b"ingest/";

/// Bytes read at once while summing a file.
const CHUNK: usize = 64 << 10;

/// One file of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotFile {
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

/// How an export is cut and paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportLimits {
    /// A file is finished when it has this many bytes.
    pub file_bytes: u64,
    /// Bytes of keys and values per second; `None` for as fast as it goes.
    pub bytes_per_second: Option<NonZeroU64>,
}

impl Default for ExportLimits {
    fn default() -> ExportLimits {
        ExportLimits { file_bytes: 64 << 20, bytes_per_second: None }
    }
}

/// Writes what `snapshot` shows of `slots` into files in the existing directory `dir`, each
/// family's rows in order.
///
/// # Errors
/// A damaged source, or no space for the files. Files already written stay; remove the directory.
pub fn export(
    snapshot: &Snapshot<'_>,
    slots: SlotRange,
    dir: &Path,
    limits: &ExportLimits,
) -> Result<Vec<SlotFile>> {
    let (start, end) = slot_bounds(slots);
    let mut pace = Pace::new(limits.bytes_per_second);
    let mut files = Vec::new();
    for family in Family::DATA {
        let range = KeyRange::new(start.clone(), end.clone());
        export_family(snapshot, family, range, dir, limits, &mut pace, &mut files)?;
    }
    Ok(files)
}

fn export_family(
    snapshot: &Snapshot<'_>,
    family: Family,
    range: KeyRange,
    dir: &Path,
    limits: &ExportLimits,
    pace: &mut Pace,
    files: &mut Vec<SlotFile>,
) -> Result<()> {
    let mut options = rocksdb::Options::default();
    options.set_compression_type(DBCompressionType::Zstd);
    let mut rows = snapshot.scan(family, range)?;
    let mut next = rows.next()?.map(|(key, value)| (key.to_vec(), value.to_vec()));
    let mut number = 0u32;
    while let Some((key, value)) = next.take() {
        let path = dir.join(format!("{}-{number}.sst", family.name()));
        let mut writer = SstFileWriter::create(&options);
        writer.open(&path)?;
        writer.put(&key, &value)?;
        let mut count = 1;
        while let Some((key, value)) = rows.next()? {
            if writer.file_size() >= limits.file_bytes {
                next = Some((key.to_vec(), value.to_vec()));
                break;
            }
            writer.put(key, value)?;
            count += 1;
            pace.passed(key.len().saturating_add(value.len()));
        }
        writer.finish()?;
        drop(writer);
        let (bytes, checksum) = sum(&path)?;
        files.push(SlotFile { family, path, rows: count, bytes, checksum });
        number = number.saturating_add(1);
    }
    Ok(())
}

/// Slows the export down to a rate by sleeping whenever it is ahead.
struct Pace {
    per_second: Option<NonZeroU64>,
    began: Instant,
    bytes: u64,
    /// Looked at the clock last at this many bytes.
    looked: u64,
}

impl Pace {
    /// The clock is looked at once per this many bytes.
    const STEP: u64 = 256 << 10;

    fn new(per_second: Option<NonZeroU64>) -> Pace {
        Pace { per_second, began: Instant::now(), bytes: 0, looked: 0 }
    }

    fn passed(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let Some(per_second) = self.per_second else { return };
        if self.bytes.saturating_sub(self.looked) < Self::STEP {
            return;
        }
        self.looked = self.bytes;
        let millis = self.bytes.saturating_mul(1000).checked_div(per_second.get()).unwrap_or(0);
        std::thread::sleep(Duration::from_millis(millis).saturating_sub(self.began.elapsed()));
    }
}

/// Size and CRC-32C of a file.
fn sum(path: &Path) -> Result<(u64, u32)> {
    let io = |error| EngineError::from_io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let mut chunk = Vec::with_capacity(CHUNK);
    let (mut bytes, mut checksum) = (0u64, 0);
    loop {
        chunk.clear();
        let limit = u64::try_from(CHUNK).unwrap_or(u64::MAX);
        let read = file.by_ref().take(limit).read_to_end(&mut chunk).map_err(io)?;
        if read == 0 {
            return Ok((bytes, checksum));
        }
        checksum = crc32c::crc32c_append(checksum, &chunk);
        bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(0));
    }
}

/// Checks that a file arrived as it was sent.
///
/// # Errors
/// Another size or checksum: the file must be fetched again.
pub fn verify(file: &SlotFile) -> Result<()> {
    let (bytes, checksum) = sum(&file.path)?;
    if (bytes, checksum) == (file.bytes, file.checksum) {
        return Ok(());
    }
    Err(EngineError::Corruption {
        file: Some(file.path.clone()),
        detail: format!(
            "{bytes} bytes with checksum {checksum:08x}, sent were {} bytes with {:08x}: fetch the file again",
            file.bytes, file.checksum
        ),
    })
}

impl Engine {
    /// Replaces everything in `slots` by what `files` hold. `begin` is written together with the
    /// removal of the old data, `finish` after the new data is in place, each synced and all or
    /// nothing. Nothing may read or write the range meanwhile. The files are used up if they are on
    /// the same file system.
    ///
    /// # Errors
    /// A file that did not arrive whole: nothing has changed. Later failures leave the range in
    /// [`Engine::unfinished_ingests`]: do the install again.
    pub fn ingest(
        &self,
        slots: SlotRange,
        files: &[SlotFile],
        mut begin: LogBatch,
        mut finish: LogBatch,
    ) -> Result<()> {
        files.iter().try_for_each(verify)?;
        let _held = self.hold_orphans();
        let marker = marker(slots);
        let (start, end) = slot_bounds(slots);
        begin.put(Family::Default, &marker, b"");
        for family in Family::DATA {
            begin.delete_range(family, &start, &end);
        }
        self.write_log(begin, Durability::Synced)?;
        self.delete_files_in_slots(slots)?;
        self.take_in(files)?;
        finish.delete(Family::Default, &marker);
        self.write_log(finish, Durability::Synced)
    }

    fn take_in(&self, files: &[SlotFile]) -> Result<()> {
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        options.set_verify_checksums_before_ingest(true);
        options.set_snapshot_consistency(true);
        for family in Family::DATA {
            let paths: Vec<&Path> = files
                .iter()
                .filter(|file| file.family == family)
                .map(|file| file.path.as_path())
                .collect();
            if !paths.is_empty() {
                self.0.db.raw().ingest_external_file_cf_opts(
                    self.0.db.handle(family),
                    &options,
                    paths,
                )?;
            }
        }
        Ok(())
    }

    /// Ranges whose install was cut short. They hold nothing that may be served.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    pub fn unfinished_ingests(&self) -> Result<Vec<SlotRange>> {
        let mut ranges = Vec::new();
        let mut rows =
            self.cursor(Family::Default, KeyRange::prefix(MARKER), Direction::Forward)?;
        while let Some((key, _)) = rows.next()? {
            let wrong = || EngineError::Corruption {
                file: None,
                detail: format!("an ingest marker reads {key:02x?}"),
            };
            let slots: [u8; 4] = key
                .get(MARKER.len()..)
                .and_then(|slots| slots.try_into().ok())
                .ok_or_else(wrong)?;
            let [s0, s1, e0, e1] = slots;
            let range = SlotRange::new(u16::from_be_bytes([s0, s1]), u16::from_be_bytes([e0, e1]));
            ranges.push(range.ok_or_else(wrong)?);
        }
        Ok(ranges)
    }
}

fn marker(slots: SlotRange) -> Vec<u8> {
    [MARKER, &slots.start.to_be_bytes(), &slots.end.to_be_bytes()].concat()
}
