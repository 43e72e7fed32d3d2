//! A copy of the directory of a stopped store, for a tool that wants to go on from it.
//!
//! | files | in the copy | because |
//! | --- | --- | --- |
//! | tables (`*.sst`) | a second name of the same file, where the file system can | they are most of the bytes, and RocksDB never changes one |
//! | tables in `behind/` | copied | they become tables of the copy, which RocksDB may note in them |
//! | logs, manifest, marker, ... | copied | who opens the copy changes them |
//! | `LOCK`, RocksDB's own messages, other directories | not there | nothing of the state is in them |
//!
//! The directory is only read. A server that starts on it meanwhile is not held up; the copy is of
//! no use then, and that is found out.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::{EngineError, Result};
use crate::families::BEHIND_DIR;
use crate::marker;

/// What is in a directory: each file's length, and when it was changed last.
type Listing = BTreeMap<OsString, (u64, SystemTime)>;

/// Copies the store in `dir`, which nobody has open, into the existing empty directory `to`.
///
/// # Errors
/// There is no store, a file cannot be read or written, or files changed meanwhile.
pub fn copy_stopped(dir: &Path, to: &Path) -> Result<()> {
    marker::read(dir)?;
    let behind = dir.join(BEHIND_DIR);
    let lists = || Ok::<_, EngineError>((list(dir)?, list(&behind)?));
    let before = lists()?;
    let copied = copy(dir, to, &before.0).and_then(|()| {
        let target = to.join(BEHIND_DIR);
        fs::create_dir(&target).map_err(|error| EngineError::from_io(&target, error))?;
        before.1.keys().try_for_each(|name| copy_file(&behind.join(name), &target.join(name)))
    });
    // First: a file that is gone is the trace of a server, too.
    if lists()? != before {
        let detail = format!("files of {} changed while they were copied", dir.display());
        return Err(EngineError::Busy { detail });
    }
    copied
}

fn copy(dir: &Path, to: &Path, files: &Listing) -> Result<()> {
    for name in files.keys() {
        let (file, target) = (dir.join(name), to.join(name));
        let is_table = file.extension().is_some_and(|extension| extension == "sst");
        if !is_table || fs::hard_link(&file, &target).is_err() {
            copy_file(&file, &target)?;
        }
    }
    Ok(())
}

fn copy_file(file: &Path, target: &Path) -> Result<()> {
    fs::copy(file, target).map(drop).map_err(|error| EngineError::from_io(file, error))
}

/// The files of a directory that belong to the state of a store; none if there is no directory.
fn list(dir: &Path) -> Result<Listing> {
    let failed = |error| EngineError::from_io(dir, error);
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Listing::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Listing::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let is_message = name.as_encoded_bytes().starts_with(b"LOG") || name == "LOCK";
        let found: PathBuf = entry.path();
        match fs::metadata(&found) {
            Ok(found) if found.is_file() && !is_message => {
                files.insert(name, (found.len(), found.modified().map_err(failed)?));
            }
            Ok(_) => {}
            // It went since the directory was read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(EngineError::from_io(&found, error)),
        }
    }
    Ok(files)
}
