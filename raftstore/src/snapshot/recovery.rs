//! What a crash, or a failure, leaves of installs, and what becomes of it.
//!
//! ```text
//!   engine's mark   INSTALL file    what became of the install
//!   no              no              never begun: the directory goes
//!   no              yes             not begun in the engine, or finished: done again if it still
//!                                   says something new, discarded if not; both are right, for its
//!                                   sender was told nothing, or that it is done
//!   yes             yes             the old data is gone: done again
//!   yes             no              the files are gone too: the Region does not start
//! ```
//!
//! An install is done again only if it still makes sense: its replica lives here, the snapshot is
//! newer than what is applied, lists the replica (or the replica joins and is not listed yet), and
//! its shape overlaps no other Region. A directory that outlived its replica would otherwise bring
//! old data back to life: so the removal of a replica discards what is left of its installs, and a
//! start discards what a removal did not get to.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use neokv_encoding::region::ReplicaState;
use neokv_encoding::snapshot::Manifest;
use neokv_engine::Engine;
use neokv_engine::transfer::verify;

use super::dir::{Dir, files, io, is_transfer, sync_dir};
use super::install::{INSTALL, finished, fits, replace};
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::records;
use crate::shape;
use crate::types::{Origin, log_id_in};

/// Regions whose data was being replaced and cannot be: they must not start. By id, with the cause.
pub(crate) type Broken = BTreeMap<u64, StoreError>;

/// At the start of a store, before any group runs: finishes installs that were begun, and removes
/// what is left of transfers.
///
/// # Errors
///
/// The directory or the engine fails. What concerns one Region alone is in the result.
pub(crate) fn recover<M: StateMachine>(
    engine: &Engine,
    machine: &M,
    parent: &Path,
) -> Result<Broken, StoreError> {
    fs::create_dir_all(parent).map_err(|source| io(parent, source))?;
    let mut failed = Broken::new();
    for path in transfers(parent)? {
        match fs::read(path.join(INSTALL)) {
            Ok(manifest) => resume_or_discard(engine, machine, path, &manifest, &mut failed)?,
            // A transfer that never got so far: its directory goes.
            Err(error) if error.kind() == ErrorKind::NotFound => drop(Dir::adopt(path)),
            Err(source) => return Err(io(&path, source)),
        }
    }
    let mut broken = Broken::new();
    for unfinished in engine.unfinished_ingests()? {
        let region = unfinished.region;
        let replica = records::replica(engine, region)?;
        if replica.is_none_or(|replica| replica.state == ReplicaState::Tombstone) {
            forget(engine, region)?;
            continue;
        }
        let why = format!(
            "its data was being replaced and the files are gone from {}; remove this replica and \
             add it anew",
            parent.display()
        );
        let cause = failed.remove(&region).unwrap_or(StoreError::Snapshot { region, why });
        broken.insert(region, cause);
    }
    Ok(broken)
}

/// Removes what is left of the installs of a replica that was removed: directories, and the
/// engine's mark. Its record is a tombstone already.
pub(crate) fn discard(engine: &Engine, parent: &Path, region: u64) -> Result<(), StoreError> {
    for path in transfers(parent)? {
        let Ok(manifest) = fs::read(path.join(INSTALL)) else { continue };
        let is_of_region =
            Manifest::decode(&manifest).is_ok_and(|found| found.descriptor.id == region);
        if is_of_region {
            remove(path)?;
        }
    }
    if engine.unfinished_ingests()?.iter().any(|unfinished| unfinished.region == region) {
        forget(engine, region)?;
    }
    Ok(())
}

/// The directories of transfers; others may be the operator's.
fn transfers(parent: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
        Err(source) => return Err(io(parent, source)),
    };
    for entry in entries {
        let path = entry.map_err(|source| io(parent, source))?.path();
        if is_transfer(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Does an interrupted install again, if that makes sense. A failure is that of its Region.
fn resume_or_discard<M: StateMachine>(
    engine: &Engine,
    machine: &M,
    path: PathBuf,
    manifest: &[u8],
    failed: &mut Broken,
) -> Result<(), StoreError> {
    let decoded = Manifest::decode(manifest).and_then(|found| Origin::Disk.manifest(found));
    let manifest = match decoded {
        Ok(manifest) => manifest,
        Err(error) => {
            // Left for the operator: if it was begun, the engine's mark names its Region.
            tracing::error!(dir = %path.display(), %error, "INSTALL cannot be read");
            return Ok(());
        }
    };
    let region = manifest.descriptor.id;
    if !makes_sense(engine, machine, &manifest)? {
        tracing::warn!(region, dir = %path.display(), "an old install is discarded");
        return remove(path);
    }
    tracing::warn!(region, "finishing the install of a snapshot that was interrupted");
    match resume(engine, machine, &path, &manifest) {
        Ok(()) => finished(Dir::adopt(path)),
        Err(error) => {
            tracing::error!(region, %error, "the install of a snapshot cannot be finished");
            failed.insert(region, error);
            Ok(())
        }
    }
}

/// Whether an install is still wanted.
fn makes_sense<M: StateMachine>(
    engine: &Engine,
    machine: &M,
    manifest: &Manifest,
) -> Result<bool, StoreError> {
    let descriptor = &manifest.descriptor;
    let region = descriptor.id;
    let Some(replica) = records::replica(engine, region)? else { return Ok(false) };
    let listed = descriptor.peers.iter().any(|peer| peer.id == replica.peer);
    let lives = match replica.state {
        ReplicaState::Tombstone => false,
        ReplicaState::Joining => true,
        ReplicaState::Member => listed,
    };
    let applied = records::applied(engine, region)?.and_then(|applied| applied.log_id);
    let newer = manifest.applied.log_id.map(log_id_in) > applied.map(log_id_in);
    let fits = match fits(engine, machine, descriptor, Vec::new()) {
        Ok(()) => true,
        Err(StoreError::Snapshot { .. }) => false,
        Err(error) => return Err(error),
    };
    Ok(lives && newer && fits)
}

/// Does an interrupted install again. Its files were whole before the crash; they are read once
/// more to be sure that they still are.
fn resume<M: StateMachine>(
    engine: &Engine,
    machine: &M,
    path: &Path,
    manifest: &Manifest,
) -> Result<(), StoreError> {
    let region = manifest.descriptor.id;
    let replica = records::replica(engine, region)?;
    let replica = replica.ok_or(StoreError::Missing { region, what: "replica" })?;
    files(path, manifest).iter().try_for_each(verify)?;
    let mut finish = engine.log_batch();
    let replica = shape::follow(replica, &manifest.descriptor);
    shape::write(&mut finish, &manifest.descriptor, &replica);
    replace(engine, machine, path, manifest, finish).map(drop)
}

/// Removes the engine's mark of an unfinished install: nothing is cleared or taken in.
fn forget(engine: &Engine, region: u64) -> Result<(), StoreError> {
    Ok(engine.ingest(region, &[], &[], engine.log_batch(), engine.log_batch())?)
}

/// Removes a directory with its INSTALL file first.
fn remove(path: PathBuf) -> Result<(), StoreError> {
    let dir = Dir::adopt(path);
    let install = dir.path().join(INSTALL);
    match fs::remove_file(&install) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io(&install, error)),
        _ => sync_dir(dir.path()),
    }
}
