//! Taking a snapshot: rows and records from one engine snapshot, into files of a directory of their
//! own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_engine::transfer::{ExportLimits, SlotFile, export};
use neokv_engine::{Engine, Read};

use super::header::{FileInfo, Header};
use crate::apply::applier::{read_applied, read_descriptor};
use crate::error::StoreError;

/// Numbers directories within this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What can be packed into a snapshot.
pub(crate) trait Source: Send + Sync {
    /// Takes the snapshot. Blocks on disk.
    fn pack(&self) -> Result<Package, StoreError>;
}

/// A directory that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// A new, empty directory `parent/what-region-number`.
    pub(crate) fn create(parent: &Path, what: &str, region: u64) -> Result<Dir, StoreError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{what}-{region}-{number}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(|source| io(&path, source))?;
        Ok(Dir(path))
    }

    /// A directory left by an earlier process.
    pub(crate) fn adopt(path: PathBuf) -> Dir {
        Dir(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Leaves the directory where it is: a later start works on it.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::debug!(dir = %self.0.display(), %error, "snapshot directory not removed");
        }
    }
}

/// A snapshot in files. Removes them when dropped.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) header: Header,
    pub(crate) files: Vec<SlotFile>,
    pub(crate) dir: Dir,
}

/// Packs one Region.
pub(crate) struct Packer {
    engine: Engine,
    region: u64,
    dir: PathBuf,
}

impl Packer {
    /// Packs `region` into directories below `dir`.
    pub(crate) fn new(engine: Engine, region: u64, dir: PathBuf) -> Packer {
        Packer { engine, region, dir }
    }
}

impl Source for Packer {
    fn pack(&self) -> Result<Package, StoreError> {
        let region = self.region;
        let dir = Dir::create(&self.dir, "out", region)?;
        let snapshot = self.engine.snapshot();
        let applied = read_applied(&snapshot, region)?
            .ok_or(StoreError::Missing { region, what: "applied" })?;
        let descriptor = read_descriptor(&snapshot, region)?
            .ok_or(StoreError::Missing { region, what: "descriptor" })?;
        let stats = snapshot.get(Family::Region, &key::region(region, RegionKind::Stats))?;
        let stats = stats.map(|stats| Bytes::copy_from_slice(&stats));
        let exported = export(&snapshot, descriptor.slots, dir.path(), &ExportLimits::default())?;
        let files =
            exported.into_iter().enumerate().map(|(number, file)| rename(dir.path(), number, file));
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let infos = files.iter().map(FileInfo::from).collect();
        Ok(Package {
            header: Header { region, applied, descriptor, stats, files: infos },
            files,
            dir,
        })
    }
}

/// The path of a snapshot's file: by its number alone, so that a header is enough to find it.
pub(super) fn file_path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{number}.sst"))
}

fn rename(dir: &Path, number: usize, file: SlotFile) -> Result<SlotFile, StoreError> {
    let path = file_path(dir, number);
    fs::rename(&file.path, &path).map_err(|source| io(&file.path, source))?;
    Ok(SlotFile { path, ..file })
}

pub(crate) fn io(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { what: path.display().to_string(), source }
}
