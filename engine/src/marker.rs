//! Marks a directory as a store, and locks it for the one process that writes to it.
//!
//! The mark is a file ([`neokv_encoding::marker`] says what is in it). It is read before RocksDB is
//! asked. Whoever writes to the store holds a lock on it. Its tag is random and marks the engine's
//! notes in the write-ahead log ([`neokv_encoding::synced`]).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use neokv_encoding::FORMAT_VERSION;
use neokv_encoding::identity::Identity;
use neokv_encoding::marker::{self, Marker};
use neokv_encoding::synced::Tag;
use rustix::fs::{FlockOperation, flock};

use crate::error::{EngineError, Result};

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
    let path = dir.join(marker::FILE_NAME);
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
        let text = marker::encode(random_tag().map_err(io(Path::new(RANDOM)))?);
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
    let path = dir.join(marker::FILE_NAME);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(file) => file
            .take(marker::LIMIT)
            .read_to_end(&mut bytes)
            .map_err(|e| EngineError::from_io(&path, e))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(EngineError::NoStore { dir: dir.to_path_buf() });
        }
        Err(error) => return Err(EngineError::from_io(&path, error)),
    };
    match Marker::decode(&bytes) {
        Ok(Marker::Current { tag }) => Ok(tag),
        Ok(Marker::Other { format_version }) => {
            let (dir, supported) = (dir.to_path_buf(), FORMAT_VERSION);
            Err(EngineError::FormatVersion { dir, found: format_version, supported })
        }
        Err(error) => Err(EngineError::Corruption {
            detail: format!("{error}; the file reads {:?}", String::from_utf8_lossy(&bytes)),
            file: Some(path),
        }),
    }
}

/// An empty directory may become a store; `lost+found` of a fresh file system does not count.
fn refuse_foreign(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(|e| EngineError::from_io(dir, e))? {
        let name = entry.map_err(|e| EngineError::from_io(dir, e))?.file_name();
        if name != "lost+found" && name != marker::FILE_NAME {
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
