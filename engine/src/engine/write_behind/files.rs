//! Many rows on their way into RocksDB: a file for each family.
//!
//! Rows that are written as a batch go into the write-ahead log, then into a memtable, then into a
//! file, and everybody who writes waits meanwhile. Where they are many they go into files at once:
//!
//! ```text
//! 1  files    the rows of each family, sorted, into behind/FAMILY.sst              synced
//! 2  mark     a record says that these files belong together                       synced
//! 3  take in  RocksDB makes each file one of its own, one family after the other
//! 4  done     the mark is removed
//! ```
//!
//! All of them or nothing: without the mark the next start removes the files, with it the next
//! start does steps 3 and 4 again ([`finish`]). That may take in a file for a second time. It holds
//! the same rows, and nothing was written after them: the mark is removed before anything else is.
//! And no newer file gets the name of one that a mark still speaks of: that the mark is gone is
//! synced before the next files are made.
//!
//! RocksDB takes a file in by giving it a second name; it removes the first one after its list of
//! files is on the disk. So a file that is gone from the directory is in RocksDB.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use neokv_encoding::family::Family;
use neokv_encoding::key;
use rocksdb::{IngestExternalFileOptions, SstFileWriter};

use super::super::{Durability, Engine};
use super::pace::Pace;
use crate::error::{EngineError, Result};
use crate::families::{self, BEHIND_DIR as DIR};
use crate::rows::Behind;

/// Where the rows of a family are on their way.
fn path(engine: &Engine, family: Family) -> PathBuf {
    engine.dir().join(DIR).join(format!("{}.sst", family.name()))
}

/// Brings rows, which are sorted, into RocksDB.
///
/// # Errors
/// Before the mark nothing has changed. After it the next start, or the next call, goes on.
pub(super) fn write(engine: &Engine, rows: &Behind<'_>) -> Result<()> {
    let dir = engine.dir().join(DIR);
    // The mark of the files before these may have been removed in memory only.
    engine.sync()?;
    fs::create_dir_all(&dir).map_err(|error| EngineError::from_io(&dir, error))?;
    let mut pace = Pace::new(engine);
    for family in rows.families() {
        write_file(engine, rows, family, &mut pace)?;
    }
    // The directory is new, so its own name must be on the disk as well: a file that is lost would
    // be taken for one that RocksDB has.
    sync_dir(&dir)?;
    sync_dir(engine.dir())?;
    mark(engine, true)?;
    finish(engine)
}

/// Writes and syncs the file of one family.
fn write_file(
    engine: &Engine,
    rows: &Behind<'_>,
    family: Family,
    pace: &mut Pace<'_>,
) -> Result<()> {
    let mut options = families::family(family, &engine.0.shared);
    families::for_new_rows(&mut options);
    let steps = families::file_steps();
    let mut writer = SstFileWriter::create_with_env_options(&options, &steps);
    writer.open(path(engine, family))?;
    rows.each_of(family, |key, value| {
        match value {
            Some(value) => writer.put(key, value)?,
            None => writer.delete(key)?,
        }
        pace.moved(key.len() + value.map_or(0, <[u8]>::len));
        Ok::<_, EngineError>(())
    })?;
    writer.finish()?;
    bring_back(&path(engine, family), pace)
}

/// Reads a file, so that the page cache has it.
///
/// RocksDB's writer tells the kernel to forget each page that has reached the disk, and offers no
/// way to keep it from that. But the rows are young: look-ups come for them, and soon a compaction
/// reads all of them. Each of these reads would wait for the disk.
fn bring_back(path: &Path, pace: &mut Pace<'_>) -> Result<()> {
    const STEP: usize = 256 << 10;
    let failed = |error| EngineError::from_io(path, error);
    let (mut file, mut buffer) = (File::open(path).map_err(failed)?, vec![0; STEP]);
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            return Ok(());
        }
        pace.moved(read);
    }
}

/// Does what the mark asks for, if there is one, and removes files without one.
///
/// # Errors
/// The directory cannot be read, or RocksDB refuses a file.
pub(crate) fn finish(engine: &Engine) -> Result<()> {
    let dir = engine.dir().join(DIR);
    if engine.get_behind(Family::Default, key::BEHIND)?.is_none() {
        return match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(EngineError::from_io(&dir, error))
            }
            _ => Ok(()),
        };
    }
    for family in Family::ALL {
        take_in(engine, family, &path(engine, family))?;
    }
    mark(engine, false)
}

/// Hands a file to RocksDB, if it is there.
fn take_in(engine: &Engine, family: Family, path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    // RocksDB would flush the memtable while it holds up all writes of the store.
    engine.flush_family(family)?;
    let (db, handle) = (engine.0.db.raw(), engine.0.db.handle(family));
    Ok(db.ingest_external_file_cf_opts(handle, &options, vec![path])?)
}

/// Sets the mark, or removes it.
fn mark(engine: &Engine, is_set: bool) -> Result<()> {
    let mut batch = engine.log_batch();
    if is_set {
        batch.put(Family::Default, key::BEHIND, b"");
        return engine.write_log(batch, Durability::Synced);
    }
    batch.delete(Family::Default, key::BEHIND);
    engine.write_log(batch, Durability::Buffered)
}

/// Makes the names in a directory durable.
fn sync_dir(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|error| EngineError::from_io(dir, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;
    use crate::range::{Direction, KeyRange};
    use crate::read::Read;

    /// More than a batch takes.
    const ROWS: u32 = 3000;

    fn fill(engine: &Engine, value: &[u8]) {
        let mut batch = engine.batch();
        for row in 0..ROWS {
            batch.put(Family::Metadata, [&[0; 6], &row.to_be_bytes()[..]].concat(), value);
            batch.put(Family::Expire, [&[0; 6], &row.to_be_bytes()[..]].concat(), value);
        }
        batch.put(Family::Region, b"applied", value);
        engine.write_behind(vec![batch]).unwrap();
    }

    /// What the directory would be after a crash now.
    fn image(dir: &Path) -> tempfile::TempDir {
        let image = tempfile::tempdir().unwrap();
        for (from, to) in [(dir, image.path()), (&dir.join(DIR), &image.path().join(DIR))] {
            fs::create_dir_all(to).unwrap();
            for file in fs::read_dir(from).into_iter().flatten().flatten() {
                if file.file_type().unwrap().is_file() {
                    fs::copy(file.path(), to.join(file.file_name())).unwrap();
                }
            }
        }
        image
    }

    /// The values of a directory's rows, each once.
    fn values(dir: &Path) -> Vec<Vec<u8>> {
        let engine = Engine::open(dir, &Options::default()).unwrap();
        assert!(engine.get(Family::Default, key::BEHIND).unwrap().is_none());
        let mut found = vec![engine.get(Family::Region, b"applied").unwrap().unwrap().to_vec()];
        for family in [Family::Metadata, Family::Expire] {
            let all = KeyRange::new(Vec::new(), Vec::new());
            let mut rows = engine.cursor(family, all, Direction::Forward).unwrap();
            while let Some((_, value)) = rows.next().unwrap() {
                found.push(value.to_vec());
            }
        }
        assert_eq!(found.len(), 2 * ROWS as usize + 1);
        found.dedup();
        found
    }

    #[test]
    fn a_crash_at_any_step_leaves_all_of_the_rows_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &Options::default()).unwrap();
        fill(&engine, b"old");
        engine.drain().unwrap();
        fill(&engine, b"new");
        let mut images = Vec::new();
        engine
            .0
            .rows
            .drain(&engine.0.readers, |rows| {
                fs::create_dir_all(engine.dir().join(DIR)).unwrap();
                for family in rows.families() {
                    images.push((&b"old"[..], image(dir.path())));
                    write_file(&engine, rows, family, &mut Pace::new(&engine))?;
                }
                images.push((b"old", image(dir.path())));
                mark(&engine, true)?;
                for family in Family::ALL {
                    images.push((b"new", image(dir.path())));
                    // As if RocksDB had not come to remove the file's first name.
                    let path = path(&engine, family);
                    let kept = path.with_extension("kept");
                    let is_there = fs::hard_link(&path, &kept).is_ok();
                    take_in(&engine, family, &path)?;
                    images.push((b"new", image(dir.path())));
                    if is_there {
                        fs::rename(&kept, &path).unwrap();
                        images.push((b"new", image(dir.path())));
                        fs::remove_file(&path).unwrap();
                    }
                }
                mark(&engine, false)
            })
            .unwrap();
        images.push((b"new", image(dir.path())));
        assert!(images.len() > 20);
        for (expected, image) in images {
            // A copy for a tool finds the same, and leaves what it was made of as it was.
            let copy = tempfile::tempdir().unwrap();
            crate::copy_stopped(image.path(), copy.path()).unwrap();
            assert_eq!(values(copy.path()), [expected]);
            assert_eq!(values(image.path()), [expected]);
        }
    }

    #[test]
    fn a_failure_behind_the_mark_is_made_up_for_before_newer_rows_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &Options::default()).unwrap();
        let long = vec![b'v'; 1 << 20];
        let mut batch = engine.batch();
        batch.put(Family::Region, b"applied", &long);
        engine.write_behind(vec![batch]).unwrap();
        let failed = engine.0.rows.drain(&engine.0.readers, |rows| {
            fs::create_dir_all(engine.dir().join(DIR)).unwrap();
            for family in rows.families() {
                write_file(&engine, rows, family, &mut Pace::new(&engine))?;
            }
            mark(&engine, true)?;
            Err(EngineError::Io { detail: "told to".into() })
        });
        failed.unwrap_err();
        let mut batch = engine.batch();
        batch.put(Family::Region, b"applied", b"new");
        engine.write_behind(vec![batch]).unwrap();
        engine.drain().unwrap();
        drop(engine);
        let engine = Engine::open(dir.path(), &Options::default()).unwrap();
        let stored = engine.get_behind(Family::Region, b"applied").unwrap();
        assert_eq!(stored.as_deref(), Some(&b"new"[..]));
    }
}
