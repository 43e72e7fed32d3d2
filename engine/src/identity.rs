//! Whose directory this is.
//!
//! Two records answer that, checked from the outside in, so that a wrong directory is refused
//! before anything in it changes:
//!
//! 1. **The file `NEOKV`** beside RocksDB's files: one line of text, `neokv store, format 1`. It is
//!    read before RocksDB is asked, and whoever writes to the store holds a lock on it. A directory
//!    with other content and without this file is not ours.
//! 2. **The identity record** in family `default`: cluster id, store id, format version. It is
//!    written once, when the store joins its cluster, and compared at every start: a disk that was
//!    moved to another machine, or a copied directory, must not speak with another store's voice.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use neokv_encoding::FORMAT_VERSION;
use neokv_encoding::family::Family;
use neokv_encoding::identity::Identity;
use neokv_encoding::key::IDENTITY;
use rustix::fs::{FlockOperation, flock};

use crate::batch::LogBatch;
use crate::engine::{Durability, Engine};
use crate::error::{EngineError, Result};

/// Name of the marker file.
pub(crate) const MARKER: &str = "NEOKV";

const MARKER_PREFIX: &str = "neokv store, format ";

/// Longest marker that is read; ours has 22 bytes.
const MARKER_LIMIT: u64 = 64;

/// The right to write to a directory. The system takes the lock back when the process ends, however
/// it ends.
pub(crate) struct DirLock {
    _file: File,
}

/// Claims `dir` for writing: creates it if needed, locks it, and marks it if it is empty.
///
/// # Errors
/// The directory is in use, holds something else, or has another format.
pub(crate) fn claim(dir: &Path) -> Result<DirLock> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |error| EngineError::from_io(&path, error)
    };
    std::fs::create_dir_all(dir).map_err(io(dir))?;
    let path = dir.join(MARKER);
    if !path.exists() {
        refuse_foreign(dir)?;
    }
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io(&path))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(EngineError::Locked { dir: dir.to_path_buf() });
    }
    if file.metadata().map_err(io(&path))?.len() == 0 {
        writeln!(file, "{MARKER_PREFIX}{FORMAT_VERSION}").map_err(io(&path))?;
        file.sync_all().map_err(io(&path))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir))?;
    }
    check_format(dir)?;
    Ok(DirLock { _file: file })
}

/// Checks that `dir` holds a store that this release can read, changing nothing.
///
/// # Errors
/// There is no store, or it has another format.
pub(crate) fn check_format(dir: &Path) -> Result<()> {
    let path = dir.join(MARKER);
    let mut text = String::new();
    match File::open(&path) {
        Ok(file) => file
            .take(MARKER_LIMIT)
            .read_to_string(&mut text)
            .map_err(|e| EngineError::from_io(&path, e))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(EngineError::NoStore { dir: dir.to_path_buf() });
        }
        Err(error) => return Err(EngineError::from_io(&path, error)),
    };
    match text.trim_end().strip_prefix(MARKER_PREFIX).and_then(|version| version.parse().ok()) {
        Some(FORMAT_VERSION) => Ok(()),
        Some(found) => Err(EngineError::FormatVersion {
            dir: dir.to_path_buf(),
            found,
            supported: FORMAT_VERSION,
        }),
        None => Err(EngineError::Corruption {
            file: Some(path),
            detail: format!("the marker reads {text:?}"),
        }),
    }
}

/// An empty directory may become a store; `lost+found` of a fresh file system does not count.
fn refuse_foreign(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| EngineError::from_io(dir, e))? {
        let name = entry.map_err(|e| EngineError::from_io(dir, e))?.file_name();
        if name != "lost+found" && name != MARKER {
            let found = name.to_string_lossy().into_owned();
            return Err(EngineError::ForeignDirectory { dir: PathBuf::from(dir), found });
        }
    }
    Ok(())
}

/// The identity that the store was given, or `None` before it joined a cluster.
///
/// # Errors
/// The record is damaged, or of another format version.
pub fn read(engine: &Engine) -> Result<Option<Identity>> {
    let Some(bytes) = engine.get(Family::Default, IDENTITY)? else { return Ok(None) };
    let identity =
        Identity::decode(&bytes).map_err(|e| EngineError::from_decode("store identity", e))?;
    if identity.format_version != FORMAT_VERSION {
        return Err(EngineError::FormatVersion {
            dir: engine.dir().to_path_buf(),
            found: identity.format_version,
            supported: FORMAT_VERSION,
        });
    }
    Ok(Some(identity))
}

/// Gives a new store its identity, or checks that an existing one has it. Returns whether the store
/// is new.
///
/// # Errors
/// The directory belongs to another store or cluster, or has another format version.
pub fn establish(engine: &Engine, cluster_id: u64, store_id: u64) -> Result<bool> {
    match read(engine)? {
        Some(found) if (found.cluster_id, found.store_id) == (cluster_id, store_id) => Ok(false),
        Some(found) => Err(EngineError::ForeignStore {
            found_cluster: found.cluster_id,
            found_store: found.store_id,
            cluster: cluster_id,
            store: store_id,
        }),
        None => {
            let identity = Identity { format_version: FORMAT_VERSION, cluster_id, store_id };
            let mut batch: LogBatch = engine.log_batch();
            batch.put(Family::Default, IDENTITY, identity.encode());
            engine.write_log(batch, Durability::Synced)?;
            Ok(true)
        }
    }
}
