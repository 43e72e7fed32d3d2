//! The directory that an answer comes from.
//!
//! | state of the directory | opened as | sees |
//! | --- | --- | --- |
//! | no server runs on it: stopped, or killed | read-only | everything up to the last complete write |
//! | it was copied ([`StoreCopy`]) | read-only | what whoever changed the copy has made of it |
//! | a server runs on it | a secondary, with a scratch folder of its own that is removed afterwards | everything up to now |
//!
//! Either way nothing in the directory is created, changed or removed, and the server is not
//! disturbed. The source sees one state of the store: all answers agree.
//!
//! Rows are those in RocksDB. The effects of the last entries of the logs are not among them
//! ([`crate::progress`]). A server writes many rows at once as files that RocksDB takes in one
//! after the other; what is read between the first and the last of them is half of a write, and is
//! told as a problem.
//!
//! A tool must not make a store look better than it is. The write-ahead log of a stopped store is
//! checked for damage before anything is reported about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::identity::Identity;
use neokv_encoding::key;
use neokv_engine::{
    Cursor, Direction, Engine, EngineError, KeyRange, Read as _, identity, recovery,
};
use tempfile::TempDir;

use crate::copy::StoreCopy;
use crate::error::InspectError;
use crate::progress::{self, Progress};
use crate::records::{self, RegionRecords};
use crate::server::Server;

/// How often opening is tried while a server moves its files.
const ATTEMPTS: usize = 5;
/// Ids of other Regions that an error names.
const NEAREST: usize = 5;
/// How often, and in which intervals, it is looked whether a server has taken its files in.
const LOOKS: usize = 50;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// An open store.
pub struct Source {
    // Dropped in this order: the store before its scratch folder.
    engine: Engine,
    _scratch: Option<TempDir>,
    /// The data directory, as it was given.
    pub dir: PathBuf,
    /// Whether a server runs on it.
    pub server: Server,
    /// Whose directory it is; `None` before the store joined a cluster.
    pub identity: Option<Identity>,
    /// The records of its Regions, by id.
    pub regions: Vec<RegionRecords>,
    /// How far each living Region is, by id.
    pub progress: BTreeMap<u64, Progress>,
    /// When it was opened, in milliseconds since 1970. Keys are expired or not as of this time.
    pub read_at_ms: u64,
    /// What is wrong with the store as a whole.
    pub problems: Vec<String>,
}

impl Source {
    /// Opens the store in `dir` for looking at it. The time comes from the caller.
    ///
    /// # Errors
    /// There is no store, it has another format, or it cannot be read.
    pub fn open(dir: &Path, now_ms: u64) -> Result<Source, InspectError> {
        let failed = |source| InspectError::Open { dir: dir.to_path_buf(), source };
        let (engine, scratch, server) = open(dir).map_err(failed)?;
        Source::read(dir, engine, scratch, server, now_ms)
    }

    /// Opens a copy. The answers name the directory that it was made of.
    ///
    /// # Errors
    /// The copy cannot be read.
    pub fn of_copy(copy: StoreCopy, now_ms: u64) -> Result<Source, InspectError> {
        let StoreCopy { scratch, dir } = copy;
        let failed = |source| InspectError::Open { dir: dir.clone(), source };
        let engine = Engine::open_read_only(scratch.path()).map_err(failed)?;
        let server = Server { running: false, pid: None };
        Source::read(&dir, engine, Some(scratch), server, now_ms)
    }

    fn read(
        dir: &Path,
        engine: Engine,
        scratch: Option<TempDir>,
        server: Server,
        now_ms: u64,
    ) -> Result<Source, InspectError> {
        let failed = |source| InspectError::Open { dir: dir.to_path_buf(), source };
        let identity = identity::read(&engine).map_err(failed)?;
        let mut problems = Vec::new();
        if !server.running
            && let Err(error) = recovery::check(engine.dir())
        {
            problems.push(format!(
                "the write-ahead log ends too early, later writes are not shown: {error}"
            ));
        }
        problems.extend(half_written(&engine, server).map_err(failed)?);
        let (regions, unknown) = records::read(&engine).map_err(|source| InspectError::Read {
            what: "the Region records",
            dir: dir.to_path_buf(),
            source,
        })?;
        problems.extend(unknown);
        let (progress, unknown) = progress::read(&engine, &regions);
        problems.extend(unknown);
        Ok(Source {
            engine,
            _scratch: scratch,
            dir: dir.to_path_buf(),
            server,
            identity,
            regions,
            progress,
            read_at_ms: now_ms,
            problems,
        })
    }

    /// The Region with this id; without an id, the only one that lives here.
    ///
    /// # Errors
    /// There is no such Region, or none was asked for and there are several.
    pub fn region(&self, id: Option<u64>) -> Result<&RegionRecords, InspectError> {
        let living: Vec<&RegionRecords> =
            self.regions.iter().filter(|region| !region.is_tombstone()).collect();
        match (id, living.as_slice()) {
            (None, [only]) => Ok(only),
            (None, [first, _, ..]) => Err(InspectError::SeveralRegions {
                dir: self.dir.clone(),
                count: living.len(),
                first: first.id,
            }),
            // A store without any Region lacks the first one that a server makes.
            (id, _) => self.named(id.unwrap_or(1)),
        }
    }

    fn named(&self, id: u64) -> Result<&RegionRecords, InspectError> {
        self.regions.iter().find(|region| region.id == id).ok_or_else(|| {
            let mut nearest: Vec<u64> = self.regions.iter().map(|region| region.id).collect();
            nearest.sort_by_key(|other| other.abs_diff(id));
            nearest.truncate(NEAREST);
            InspectError::NoRegion { dir: self.dir.clone(), id, nearest }
        })
    }

    /// The Region of this store that a slot belongs to.
    #[must_use]
    pub fn region_of(&self, slot: u16) -> Option<&RegionRecords> {
        let owns = |region: &&RegionRecords| {
            let descriptor = region.descriptor().filter(|_| !region.is_tombstone());
            descriptor.is_some_and(|descriptor| descriptor.slots.contains(slot))
        };
        self.regions.iter().find(owns)
    }

    /// The value of a key.
    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, InspectError> {
        let value = self.engine.get(family, key).map_err(|error| self.failed(family, error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Walks a range.
    pub(crate) fn cursor(
        &self,
        family: Family,
        range: KeyRange,
        direction: Direction,
    ) -> Result<Cursor<'_>, InspectError> {
        self.engine.cursor(family, range, direction).map_err(|error| self.failed(family, error))
    }

    /// The error of a failed read.
    pub(crate) fn failed(&self, family: Family, source: EngineError) -> InspectError {
        InspectError::Read { what: family.name(), dir: self.dir.clone(), source }
    }

    /// The engine, for numbers about it.
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }
}

/// What to say of rows of which RocksDB may have a part.
fn half_written(engine: &Engine, server: Server) -> Result<Option<String>, EngineError> {
    let is_marked = || engine.get_behind(Family::Default, key::BEHIND).map(|mark| mark.is_some());
    if !server.running {
        return Ok(is_marked()?.then(|| {
            "the server was stopped while RocksDB took in files of rows, so the rows shown may be \
             half of a write: the next start of the server finishes it, and neoctl --replay \
             shows the state after it"
                .into()
        }));
    }
    // A running server needs a moment.
    for _ in 0..LOOKS {
        if !is_marked()? {
            return Ok(None);
        }
        thread::sleep(BETWEEN_LOOKS);
        engine.catch_up()?;
    }
    Ok(is_marked()?.then(|| {
        "the server makes RocksDB take in files of rows just now, so the rows shown may be half of \
         a write: ask again"
            .into()
    }))
}

/// Opens the engine in the way that fits the directory. A server that starts, stops or moves files
/// meanwhile makes an attempt fail; the next one sees the new state.
fn open(dir: &Path) -> Result<(Engine, Option<TempDir>, Server), EngineError> {
    let mut attempt = 1;
    loop {
        let server = Server::on(dir);
        let opened = if server.running {
            beside(dir)
        } else {
            Engine::open_read_only(dir).map(|engine| (engine, None))
        };
        match opened {
            Ok((engine, scratch)) => return Ok((engine, scratch, server)),
            Err(EngineError::Io { .. } | EngineError::Busy { .. }) if attempt < ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens a store that another process writes to.
fn beside(dir: &Path) -> Result<(Engine, Option<TempDir>), EngineError> {
    let io =
        |error: std::io::Error| EngineError::Io { detail: format!("no scratch folder: {error}") };
    let scratch = tempfile::Builder::new().prefix("neokv-inspect-").tempdir().map_err(io)?;
    let engine = Engine::open_secondary(dir, scratch.path())?;
    Ok((engine, Some(scratch)))
}
