//! A throw-away copy of the directory of a stopped store, to be changed and then looked at.
//!
//! It is made beside the directory, so that large files get a second name there instead of a second
//! copy, or where temporary files are if that folder cannot be written to. The directory itself is
//! only read. The copy is removed when it is dropped.

use std::path::{Path, PathBuf};

use neokv_engine::{EngineError, copy_stopped};
use tempfile::TempDir;

use crate::error::InspectError;
use crate::server::Server;

/// How often copying is tried while a server comes and goes.
const ATTEMPTS: usize = 3;

/// See the module.
#[derive(Debug)]
pub struct StoreCopy {
    pub(crate) scratch: TempDir,
    /// The directory that was copied, as it was given.
    pub dir: PathBuf,
}

impl StoreCopy {
    /// Copies the store in `dir`.
    ///
    /// # Errors
    /// There is no store, a server runs on it, or the files cannot be copied.
    pub fn of(dir: &Path) -> Result<StoreCopy, InspectError> {
        let failed = |source| InspectError::Copy { dir: dir.to_path_buf(), source };
        let mut attempt = 1;
        loop {
            let server = Server::on(dir);
            if server.running {
                return Err(InspectError::Running { dir: dir.to_path_buf(), server });
            }
            let scratch = beside(dir).map_err(failed)?;
            match copy_stopped(dir, scratch.path()) {
                Ok(()) => return Ok(StoreCopy { scratch, dir: dir.to_path_buf() }),
                Err(EngineError::Busy { .. }) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Where the copy is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }
}

/// A new folder beside a directory, or where temporary files are.
fn beside(dir: &Path) -> Result<TempDir, EngineError> {
    let named = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".neokv-replay-");
        builder
    };
    let parent = dir.canonicalize().ok().and_then(|dir| dir.parent().map(Path::to_path_buf));
    if let Some(scratch) = parent.and_then(|parent| named().tempdir_in(parent).ok()) {
        return Ok(scratch);
    }
    let scratch = named().tempdir();
    scratch.map_err(|error| EngineError::Io { detail: format!("no folder for a copy: {error}") })
}
