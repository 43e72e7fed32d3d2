//! Directories in which snapshots pass through a store, and what they hold.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use neokv_encoding::snapshot::{self, Manifest};
use neokv_engine::transfer::RangeFile;

use crate::error::StoreError;

/// Numbers directories within this process.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// What the name of such a directory begins with.
const PREFIXES: [&str; 3] = ["in-", "out-", "copy-"];

/// Whether a path has the name of such a directory. Anything else in their parent is the
/// operator's, and left alone.
pub(crate) fn is_transfer(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A directory that is removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Dir(PathBuf);

impl Dir {
    /// A new, empty directory `parent/what-region-number`.
    pub(crate) fn create(parent: &Path, what: &str, region: u64) -> Result<Dir, StoreError> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{what}-{region}-{number}"));
        // Left by an earlier process that did not get to remove it.
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
    pub(crate) manifest: Manifest,
    pub(crate) dir: Dir,
}

/// The files of a manifest in a directory.
pub(crate) fn files(dir: &Path, manifest: &Manifest) -> Vec<RangeFile> {
    let at = |(number, file): (usize, &snapshot::File)| RangeFile {
        family: file.family,
        path: file_path(dir, number),
        rows: file.rows,
        bytes: file.size,
        checksum: file.checksum,
    };
    manifest.files.iter().enumerate().map(at).collect()
}

/// The path of a snapshot's file: by its number alone, so that a manifest is enough to find it.
pub(crate) fn file_path(dir: &Path, number: usize) -> PathBuf {
    dir.join(format!("{number}.sst"))
}

/// Writes a file so that a crash leaves all of it or nothing.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<(), StoreError> {
    let unfinished = path.with_extension("unfinished");
    let written = File::create(&unfinished).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|source| io(&unfinished, source))?;
    fs::rename(&unfinished, path).map_err(|source| io(path, source))?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Makes creations and removals in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| io(path, source))
}

pub(crate) fn io(path: &Path, source: std::io::Error) -> StoreError {
    StoreError::Io { what: path.display().to_string(), source }
}
