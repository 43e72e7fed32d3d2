//! Replacing a Region's data by a snapshot, in steps that a crash cannot tear apart.
//!
//! ```text
//!   1. INSTALL file (the header), synced          from here on the install will be finished, now or at a restart
//!   2. engine: old range deleted, marked as unfinished
//!   3. engine: hard links of the files ingested   the files themselves stay
//!   4. engine: descriptor, applied record, stats; mark removed; synced
//!   5. INSTALL file and directory removed
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind, slot_bounds};
use neokv_encoding::slot::SlotRange;
use neokv_engine::Engine;
use neokv_engine::transfer::SlotFile;

use super::header::Header;
use super::pack::{Dir, Package, file_path, io};
use crate::apply::Applier;
use crate::apply::applier::read_descriptor;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::metrics;
use crate::types::{LogId, log_id_in};

/// Name of the file that says an install was begun.
const INSTALL: &str = "INSTALL";

/// Installs a snapshot into a Region. Runs on its apply thread, so nothing is applied meanwhile.
/// `expected` is the log id that Raft was told.
pub(crate) fn install<M: StateMachine>(
    applier: &Applier<M>,
    package: Package,
    expected: Option<LogId>,
) -> Result<(), StoreError> {
    let Package { header, files, dir } = package;
    let region = applier.region;
    if header.region != region || header.applied.log_id.map(log_id_in) != expected {
        return Err(StoreError::Snapshot {
            region,
            why: "it is not the one that was announced".into(),
        });
    }
    begin(dir.path(), &header)?;
    if let Err(error) = replace(&applier.engine, dir.path(), &header, &files) {
        dir.keep();
        return Err(error);
    }
    finished(dir)?;
    applier.descriptor.store(std::sync::Arc::new(header.descriptor.clone()));
    applier.publish(header.applied);
    applier.machine.installed(&header.descriptor);
    metrics::snapshot_installed();
    tracing::info!(region, files = files.len(), "snapshot installed");
    Ok(())
}

/// At the start of a store: finishes installs that were begun, and removes what is left of
/// transfers.
pub(crate) fn recover(engine: &Engine, parent: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(parent).map_err(|source| io(parent, source))?;
    for entry in fs::read_dir(parent).map_err(|source| io(parent, source))? {
        let path = entry.map_err(|source| io(parent, source))?.path();
        let dir = Dir::adopt(path.clone());
        match fs::read(path.join(INSTALL)) {
            Ok(header) => {
                if let Err(error) = resume(engine, &path, header) {
                    dir.keep();
                    return Err(error);
                }
                finished(dir)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => drop(dir),
            Err(source) => {
                dir.keep();
                return Err(io(&path, source));
            }
        }
    }
    let unfinished = engine.unfinished_ingests()?;
    match unfinished.first() {
        None => Ok(()),
        Some(slots) => Err(StoreError::Snapshot {
            region: 0,
            why: format!(
                "slots {slots} were being replaced and the files are gone from {}; put them back, or remove this \
                 replica and add it anew",
                parent.display()
            ),
        }),
    }
}

/// Does an interrupted install again.
fn resume(engine: &Engine, path: &Path, header: Vec<u8>) -> Result<(), StoreError> {
    let header = Header::decode(Bytes::from(header)).map_err(|error| StoreError::Snapshot {
        region: 0,
        why: format!("{} cannot be read: {error}", path.join(INSTALL).display()),
    })?;
    tracing::warn!(
        region = header.region,
        "finishing the install of a snapshot that a crash interrupted"
    );
    let files: Vec<SlotFile> = header
        .files
        .iter()
        .enumerate()
        .map(|(number, info)| info.at(&file_path(path, number)))
        .collect();
    replace(engine, path, &header, &files)
}

/// Step 1.
pub(super) fn begin(dir: &Path, header: &Header) -> Result<(), StoreError> {
    let path = dir.join(INSTALL);
    let mut file = File::create(&path).map_err(|source| io(&path, source))?;
    file.write_all(&header.encode()).map_err(|source| io(&path, source))?;
    file.sync_all().map_err(|source| io(&path, source))?;
    sync_dir(dir)?;
    dir.parent().map_or(Ok(()), sync_dir)
}

/// Steps 2 to 4.
pub(super) fn replace(
    engine: &Engine,
    dir: &Path,
    header: &Header,
    files: &[SlotFile],
) -> Result<(), StoreError> {
    let links = link_all(dir, files)?;
    let region = header.region;
    let mut begin = engine.log_batch();
    if let Some(old) = read_descriptor(engine, region)?
        && old.slots != header.descriptor.slots
    {
        delete_slots(&mut begin, old.slots);
    }
    let mut finish = engine.log_batch();
    finish.put(
        Family::Region,
        key::region(region, RegionKind::Descriptor),
        header.descriptor.encode(),
    );
    finish.put(Family::Region, key::region(region, RegionKind::Applied), header.applied.encode());
    let stats = key::region(region, RegionKind::Stats);
    match &header.stats {
        Some(record) => finish.put(Family::Region, stats, record),
        None => finish.delete(Family::Region, stats),
    }
    engine.ingest(header.descriptor.slots, &links, begin, finish)?;
    Ok(())
}

fn delete_slots(batch: &mut neokv_engine::LogBatch, slots: SlotRange) {
    let (start, end) = slot_bounds(slots);
    for family in Family::DATA {
        batch.delete_range(family, &start, &end);
    }
}

/// Hard links for the engine to use up, in a directory that an earlier attempt may have left.
pub(super) fn link_all(dir: &Path, files: &[SlotFile]) -> Result<Vec<SlotFile>, StoreError> {
    let links = dir.join("links");
    let _ = fs::remove_dir_all(&links);
    fs::create_dir(&links).map_err(|source| io(&links, source))?;
    let link = |(number, file): (usize, &SlotFile)| {
        let path = file_path(&links, number);
        fs::hard_link(&file.path, &path).map_err(|source| io(&file.path, source))?;
        Ok(SlotFile { path, ..file.clone() })
    };
    files.iter().enumerate().map(link).collect()
}

/// Step 5: the INSTALL file first, so that a crash in between does not find it without its files.
fn finished(dir: Dir) -> Result<(), StoreError> {
    let path = dir.path().join(INSTALL);
    fs::remove_file(&path).map_err(|source| io(&path, source))?;
    sync_dir(dir.path())
}

/// Makes creations and removals in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| io(path, source))
}
