//! Taking a snapshot: rows and records from one engine snapshot, file by file.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use neokv_encoding::snapshot::{File, Manifest};
use neokv_engine::Engine;
use neokv_engine::transfer::{Export, ExportLimits, Pace, RangeFile};

use super::dir::{Package, file_path, io};
use crate::blocking::DroppedInBackground;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::ownership::Claim;
use crate::records;

/// Where the data of a snapshot is.
pub(crate) enum SnapshotData {
    /// In the engine of the replica that built it; can be exported at any time.
    Here(Arc<dyn Source>),
    /// In files that came from a peer, ready to be taken in. Raft may drop it, on a thread of its
    /// own: because the vote of its sender is old, or what is in it.
    Received(DroppedInBackground<Box<Received>>),
}

impl fmt::Debug for SnapshotData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here"),
            Self::Received(received) => write!(f, "{received:?}"),
        }
    }
}

/// A snapshot that may be installed: its files are whole, and its shape is claimed.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) package: Package,
    pub(crate) claim: Claim,
}

/// What takes each file of an export. An error ends the export.
pub(crate) type FileSink<'a> = dyn FnMut(RangeFile) -> Result<(), StoreError> + 'a;

/// What can be exported as a snapshot.
pub(crate) trait Source: Send + Sync {
    /// The descriptor as it is now, to offer the snapshot with.
    fn descriptor(&self) -> Result<Vec<u8>, StoreError>;

    /// Takes the snapshot and writes its files into `dir`, each given to `sink` before the next is
    /// begun. Blocks on disk, and keeps to `pace`.
    fn export(
        &self,
        dir: &Path,
        pace: &Arc<Pace>,
        sink: &mut FileSink<'_>,
    ) -> Result<Manifest, StoreError>;
}

/// The replica of one Region as a source.
pub(crate) struct RegionSource<M> {
    pub(crate) engine: Engine,
    pub(crate) machine: Arc<M>,
    pub(crate) region: u64,
}

impl<M: StateMachine> Source for RegionSource<M> {
    fn descriptor(&self) -> Result<Vec<u8>, StoreError> {
        let region = self.region;
        let descriptor = records::descriptor(&self.engine, region)?;
        let descriptor = descriptor.ok_or(StoreError::Missing { region, what: "descriptor" })?;
        Ok(descriptor.encode())
    }

    fn export(
        &self,
        dir: &Path,
        pace: &Arc<Pace>,
        sink: &mut FileSink<'_>,
    ) -> Result<Manifest, StoreError> {
        let region = self.region;
        let missing = |what| StoreError::Missing { region, what };
        // Rows and records are of this one state.
        let snapshot = self.engine.snapshot();
        let applied = records::applied(&snapshot, region)?.ok_or(missing("applied"))?;
        let descriptor = records::descriptor(&snapshot, region)?.ok_or(missing("descriptor"))?;
        let ranges = self.machine.ranges(&descriptor);
        let limits = ExportLimits { pace: Arc::clone(pace), ..ExportLimits::default() };
        let mut export = Export::new(&snapshot, ranges, dir, limits);
        let mut files = Vec::new();
        while let Some(file) = export.next_file()? {
            let path = file_path(dir, files.len());
            std::fs::rename(&file.path, &path).map_err(|source| io(&file.path, source))?;
            let RangeFile { family, rows, bytes, checksum, .. } = file;
            files.push(File { family, rows, size: bytes, checksum });
            sink(RangeFile { path, ..file })?;
        }
        Ok(Manifest { descriptor, applied, files })
    }
}
