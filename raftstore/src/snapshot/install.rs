//! Replacing a Region's data by a snapshot, in steps that a crash cannot tear apart.
//!
//! ```text
//!   0. the shape is claimed; the log writer has written and synced what was queued
//!   1. INSTALL file (the manifest), whole or not at all
//!   2. engine: old data deleted, marked as unfinished      from here on the install must be
//!                                                          finished, now or at a restart
//!   3. engine: hard links of the files taken in            the files themselves stay
//!   4. engine: descriptor, replica and applied record; mark removed; synced
//!   5. INSTALL file and directory removed
//! ```
//!
//! Step 0 comes first because the install is durable at once: a truncation that was queued before
//! it must not be lost behind it, and neither must the records of other Regions by which it was
//! decided that the snapshot fits.
//!
//! No lock is held meanwhile. The claim keeps other replicas out of the ranges that the Region will
//! have, its records keep them out of those that it had, and Raft applies nothing to it.
//!
//! While the disk is full, steps 1 to 4 are done again until there is room: each of them may be
//! repeated. What a crash leaves is told in [`super::recovery`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::region::Descriptor;
use neokv_encoding::snapshot::Manifest;
use neokv_engine::transfer::{Pace, RangeFile};
use neokv_engine::{Engine, LogBatch};

use super::dir::{Dir, Package, file_path, files, io, sync_dir, write_whole};
use super::source::{Received, RegionSource, SnapshotData, Source};
use crate::apply::Applier;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::metrics;
use crate::ownership::{Claim, Ownership};
use crate::ranges::{self, FamilyRange};
use crate::records;
use crate::shape::{Reshaped, Shape};
use crate::types::{LogId, log_id_in};

/// Name of the file that says an install was begun.
pub(crate) const INSTALL: &str = "INSTALL";

/// The snapshots of one Region on this store: where they come from and how they are installed.
pub(crate) struct Snapshots<M> {
    engine: Engine,
    machine: Arc<M>,
    region: u64,
    dir: PathBuf,
    ownership: Ownership,
}

impl<M: StateMachine> Snapshots<M> {
    /// Of `region`; snapshots pass through directories below `dir`.
    pub(crate) fn new(
        engine: Engine,
        machine: Arc<M>,
        region: u64,
        dir: PathBuf,
        ownership: Ownership,
    ) -> Snapshots<M> {
        Snapshots { engine, machine, region, dir, ownership }
    }

    /// The Region as a source of snapshots.
    pub(crate) fn source(&self) -> Arc<dyn Source> {
        let (engine, machine) = (self.engine.clone(), Arc::clone(&self.machine));
        Arc::new(RegionSource { engine, machine, region: self.region })
    }

    /// Whether the Region may have this shape here: another Region of the store must not own a part
    /// of it, or be about to. It does where this store has not applied a split or a merge yet,
    /// which it will. Blocks on disk.
    pub(crate) fn fits(&self, shape: &Descriptor) -> Result<(), StoreError> {
        let ownership = self.ownership.lock();
        let claimed = ownership.claimed_by_others(&*self.machine, shape.id);
        fits(&self.engine, &*self.machine, shape, claimed)
    }

    /// Claims this shape for the Region, if it fits. Blocks on disk.
    pub(crate) fn claim(&self, shape: &Descriptor) -> Result<Claim, StoreError> {
        let ownership = self.ownership.lock();
        let claimed = ownership.claimed_by_others(&*self.machine, shape.id);
        fits(&self.engine, &*self.machine, shape, claimed)?;
        Ok(ownership.claim(shape.clone()))
    }

    /// All of the Region as a package, for a state machine that is filled from another one in the
    /// same process.
    pub(crate) fn package(source: &dyn Source, dir: &Path) -> Result<Package, StoreError> {
        let dir = Dir::create(dir, "copy", 0)?;
        let manifest = source.export(dir.path(), &Arc::new(Pace::new(None)), &mut |_| Ok(()))?;
        Ok(Package { manifest, dir })
    }

    /// What Raft was given, as files that may be installed. Blocks on disk.
    pub(crate) fn received(&self, data: SnapshotData) -> Result<Received, StoreError> {
        match data {
            SnapshotData::Received(received) => {
                let why = || "it was taken in already".to_owned();
                let gone = || StoreError::Snapshot { region: self.region, why: why() };
                received.into_inner().map(|received| *received).ok_or_else(gone)
            }
            SnapshotData::Here(source) => {
                let package = Self::package(&*source, &self.dir)?;
                let claim = self.claim(&package.manifest.descriptor)?;
                Ok(Received { package, claim })
            }
        }
    }

    /// Installs a snapshot. Nothing is applied to the Region meanwhile, and what was queued for its
    /// log before is written and synced. `expected` is the log id that Raft was told. Blocks on
    /// disk, and while it is full.
    pub(crate) fn install(
        &self,
        received: Received,
        expected: Option<LogId>,
        applier: &Applier<M>,
    ) -> Result<(), StoreError> {
        // The claim is held to the end.
        let Received { package: Package { manifest, dir }, claim: _claim } = received;
        let region = self.region;
        let is_announced =
            manifest.descriptor.id == region && manifest.applied.log_id.map(log_id_in) == expected;
        if !is_announced {
            let why = "it is not the one that was announced".into();
            return Err(StoreError::Snapshot { region, why });
        }
        let parts = applier.parts();
        let descriptor = Arc::new(manifest.descriptor.clone());
        let stopped = || {
            let why = parts.published.stopped()?;
            Some(StoreError::Snapshot { region, why: why.to_string() })
        };
        let replaced = parts.space.retry(&self.engine, "a snapshot", stopped, || {
            self.replace(dir.path(), &manifest, &descriptor, &parts.shape)
        });
        let (reshaped, cleared) = match replaced {
            Ok(replaced) => replaced,
            Err(error) => {
                // The next start does it again, if that must be.
                dir.keep();
                return Err(error);
            }
        };
        if let Err(error) = finished(dir) {
            // What is left of the directory says only what is so already.
            tracing::warn!(region, %error, "the directory of an installed snapshot stays");
        }
        // What the Region had and has no more is forgotten, what it has is read.
        parts.machine.removed(region, &cleared);
        parts.machine.loaded(&self.engine, &descriptor)?;
        reshaped.publish(&parts.shape);
        applier.publish(manifest.applied);
        // The snapshot's clock is that of the Region, whose stamps it must not go back behind. The
        // store and its other Regions do not follow it further than a stamp.
        let ahead_ms = parts.clock.ahead_ms();
        if ahead_ms > 0 {
            tracing::warn!(region, ahead_ms, "the clock that a snapshot carries is ahead of ours");
        }
        metrics::snapshot_installed();
        tracing::info!(region, files = manifest.files.len(), "snapshot installed");
        Ok(())
    }

    /// Steps 1 to 4.
    fn replace(
        &self,
        dir: &Path,
        manifest: &Manifest,
        descriptor: &Arc<Descriptor>,
        shape: &Shape,
    ) -> Result<(Reshaped, Vec<FamilyRange>), StoreError> {
        begin(dir, manifest)?;
        shape.replacing();
        let mut finish = self.engine.log_batch();
        let reshaped = shape.change(&mut finish, Arc::clone(descriptor));
        let cleared = replace(&self.engine, &*self.machine, dir, manifest, finish)?;
        Ok((reshaped, cleared))
    }
}

/// Whether no other Region owns a part of this shape. `claimed` is what others have claimed.
pub(super) fn fits<M: StateMachine>(
    engine: &Engine,
    machine: &M,
    shape: &Descriptor,
    claimed: Vec<FamilyRange>,
) -> Result<(), StoreError> {
    let region = shape.id;
    let mut others = claimed;
    others.extend(records::owned_by_others(&engine.snapshot(), machine, region)?);
    if ranges::overlap(&machine.ranges(shape), &others) {
        let why = format!("slots {} belong to another region here", shape.slots);
        return Err(StoreError::Snapshot { region, why });
    }
    Ok(())
}

/// Step 1.
pub(super) fn begin(dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    write_whole(&dir.join(INSTALL), &manifest.encode())?;
    dir.parent().map_or(Ok(()), sync_dir)
}

/// Steps 2 to 4. `finish` holds the records of the shape. Returns what was cleared.
pub(super) fn replace<M: StateMachine>(
    engine: &Engine,
    machine: &M,
    dir: &Path,
    manifest: &Manifest,
    mut finish: LogBatch,
) -> Result<Vec<FamilyRange>, StoreError> {
    let links = link_all(dir, &files(dir, manifest))?;
    let region = manifest.descriptor.id;
    let cleared = cleared(engine, machine, &manifest.descriptor)?;
    let applied = key::region(region, RegionKind::Applied);
    finish.put(Family::Region, applied, manifest.applied.encode());
    engine.ingest(region, &cleared, &links, engine.log_batch(), finish)?;
    Ok(cleared)
}

/// What the Region had and will have, except what others own.
fn cleared<M: StateMachine>(
    engine: &Engine,
    machine: &M,
    new: &Descriptor,
) -> Result<Vec<FamilyRange>, StoreError> {
    let snapshot = engine.snapshot();
    let old = records::descriptor(&snapshot, new.id)?;
    let mut mine = machine.ranges(new);
    if let Some(old) = old {
        // Ranges that are in both would be deleted twice.
        mine.extend(ranges::subtract(machine.ranges(&old), &mine));
    }
    let others = records::owned_by_others(&snapshot, machine, new.id)?;
    Ok(ranges::subtract(mine, &others))
}

/// Hard links for the engine to use up, in a directory that an earlier attempt may have left.
pub(super) fn link_all(dir: &Path, files: &[RangeFile]) -> Result<Vec<RangeFile>, StoreError> {
    let links = dir.join("links");
    let _ = fs::remove_dir_all(&links);
    fs::create_dir(&links).map_err(|source| io(&links, source))?;
    let link = |(number, file): (usize, &RangeFile)| {
        let path = file_path(&links, number);
        fs::hard_link(&file.path, &path).map_err(|source| io(&file.path, source))?;
        Ok(RangeFile { path, ..file.clone() })
    };
    files.iter().enumerate().map(link).collect()
}

/// Step 5: the INSTALL file first, so that a crash in between does not find it without its files.
pub(super) fn finished(dir: Dir) -> Result<(), StoreError> {
    let path = dir.path().join(INSTALL);
    fs::remove_file(&path).map_err(|source| io(&path, source))?;
    sync_dir(dir.path())
}
