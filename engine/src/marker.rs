//! The file `NEOKV`, which marks a directory as a store.
//!
//! ```text
//! neokv store, format 2
//! log tag 5f0c6b...                 32 digits
//! ```
//!
//! It is read before RocksDB is asked. Whoever writes to the store holds a lock on it. The tag is
//! random and marks the engine's notes in the write-ahead log ([`neokv_encoding::synced`]).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use neokv_encoding::FORMAT_VERSION;
use neokv_encoding::identity::Identity;
use neokv_encoding::synced::{TAG_LENGTH, Tag};
use rustix::fs::{FlockOperation, flock};

use crate::error::{EngineError, Result};

/// Name of the marker file.
const MARKER: &str = "NEOKV";

const MARKER_PREFIX: &str = "neokv store, format ";

const TAG_PREFIX: &str = "log tag ";

/// Longest marker that is read; ours has 63 bytes.
const MARKER_LIMIT: u64 = 128;

/// Where the system gives random bytes.
const RANDOM: &str = "/dev/urandom";

/// The right to write to a directory. The system takes the lock back when the process ends, however
/// it ends.
pub(crate) struct DirLock {
    _file: File,
    /// What marks the notes in the directory's log.
    pub(crate) tag: Tag,
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
        let tag = u128::from_be_bytes(random_tag().map_err(io(Path::new(RANDOM)))?);
        let text = format!("{MARKER_PREFIX}{FORMAT_VERSION}\n{TAG_PREFIX}{tag:032x}\n");
        file.write_all(text.as_bytes()).map_err(io(&path))?;
        file.sync_all().map_err(io(&path))?;
        File::open(dir).and_then(|dir| dir.sync_all()).map_err(io(dir))?;
    }
    let tag = read(dir)?;
    Ok(DirLock { _file: file, tag })
}

fn random_tag() -> std::io::Result<Tag> {
    let mut tag = Tag::default();
    File::open(RANDOM)?.read_exact(&mut tag)?;
    Ok(tag)
}

/// Checks that `dir` holds a store that this release can read, changing nothing. Returns what marks
/// the notes in its log.
///
/// # Errors
/// There is no store, or it has another format.
pub(crate) fn read(dir: &Path) -> Result<Tag> {
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
    let corrupt = || EngineError::Corruption {
        file: Some(path.clone()),
        detail: format!("the marker reads {text:?}"),
    };
    let mut lines = text.lines();
    let format = lines.next().and_then(|line| line.strip_prefix(MARKER_PREFIX)?.parse().ok());
    match format {
        Some(FORMAT_VERSION) => {}
        Some(found) => {
            let (dir, supported) = (dir.to_path_buf(), FORMAT_VERSION);
            return Err(EngineError::FormatVersion { dir, found, supported });
        }
        None => return Err(corrupt()),
    }
    let tag = lines.next().and_then(|line| line.strip_prefix(TAG_PREFIX));
    let tag = tag.filter(|tag| tag.len() == 2 * TAG_LENGTH);
    let tag = tag.and_then(|tag| u128::from_str_radix(tag, 16).ok()).ok_or_else(corrupt)?;
    Ok(tag.to_be_bytes())
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

/// Reads an identity record ([`crate::identity`]) and compares its format version with that of this
/// release.
///
/// # Errors
/// The record is damaged, or of another format version.
pub(crate) fn decode_identity(dir: &Path, bytes: &[u8]) -> Result<Identity> {
    let identity =
        Identity::decode(bytes).map_err(|e| EngineError::from_decode("store identity", e))?;
    if identity.format_version == FORMAT_VERSION {
        return Ok(identity);
    }
    Err(EngineError::FormatVersion {
        dir: dir.to_path_buf(),
        found: identity.format_version,
        supported: FORMAT_VERSION,
    })
}
