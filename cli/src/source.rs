//! The directory that an answer comes from.
//!
//! | state of the directory | opened as | sees |
//! | --- | --- | --- |
//! | no server runs on it: stopped, or killed | read-only | everything up to the last complete write |
//! | a server runs on it | a secondary, with a scratch folder of its own that is removed afterwards | everything up to now |
//!
//! Either way nothing in the directory is created, changed or removed, and the server is not
//! disturbed. The store stands still for the whole command: all parts of an answer are of one
//! state.
//!
//! A tool must not look better than the store is. The write-ahead log of a stopped store is checked
//! for damage before anything is said about it, and the [`Header`] of each answer tells what was
//! found.

pub mod regions;
pub mod server;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::identity::Identity;
use neokv_engine::{
    Cursor, Direction, Engine, EngineError, KeyRange, Read as _, identity, recovery,
};
use serde::Serialize;
use tempfile::TempDir;

use crate::error::CliError;
use crate::output::json::{Moment, Number};
use crate::output::table::Page;
use regions::{LogIdView, RegionRecords};
use server::Server;

/// How often opening is tried while a server moves its files.
const ATTEMPTS: usize = 5;
/// Regions that the header names.
const NAMED: usize = 3;

/// An open store.
pub struct Source {
    // Dropped in this order: the store before its scratch folder.
    engine: Engine,
    _scratch: Option<TempDir>,
    dir: PathBuf,
    /// What every answer begins with.
    pub header: Header,
    /// The Regions of the store, by id.
    pub regions: Vec<RegionRecords>,
}

/// Where an answer comes from, and in which state that was.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// The data directory, as it was given.
    pub dir: String,
    /// Whether a server runs on it.
    pub server: Server,
    /// Whose directory it is; null before the store joined a cluster.
    pub store: Option<Store>,
    /// How far each Region is applied.
    pub regions: Vec<AppliedView>,
    /// When it was read.
    pub read_at: Moment,
    /// What is wrong with the source as a whole.
    #[serde(skip)]
    pub problems: Vec<String>,
}

/// A store's identity.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Store {
    /// Id of the store in its cluster.
    pub store_id: Number,
    /// Id of the cluster.
    pub cluster_id: Number,
    /// Number of the on-disk format.
    pub format_version: u32,
}

/// How far a Region is applied.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AppliedView {
    /// The Region.
    pub region: Number,
    /// Last applied entry.
    pub applied: Option<LogIdView>,
}

impl Source {
    /// Opens the store in `dir` for looking at it.
    ///
    /// # Errors
    /// There is no store, it has another format, or it cannot be read.
    pub fn open(dir: &Path, now_ms: u64) -> Result<Source, CliError> {
        let failed = |source| CliError::Open { dir: dir.to_path_buf(), source };
        let (engine, scratch, server) = open(dir).map_err(failed)?;
        let identity = identity::read(&engine).map_err(failed)?;
        let mut problems = Vec::new();
        if !server.running
            && let Err(error) = recovery::check(dir)
        {
            problems.push(format!(
                "the write-ahead log ends too early, later writes are not shown: {error}"
            ));
        }
        let regions = regions::read(&engine).map_err(|source| CliError::Read {
            what: "the Region records",
            dir: dir.to_path_buf(),
            source,
        })?;
        let applied = regions
            .iter()
            .map(|region| AppliedView { region: Number(region.id), applied: region.applied_id() });
        let header = Header {
            dir: dir.display().to_string(),
            server,
            store: identity.map(Store::from),
            regions: applied.collect(),
            read_at: Moment(now_ms),
            problems,
        };
        Ok(Source { engine, _scratch: scratch, dir: dir.to_path_buf(), header, regions })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, CliError> {
        let value = self.engine.get(family, key).map_err(|error| self.failed(family, error))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Walks a range.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    pub fn cursor(
        &self,
        family: Family,
        range: KeyRange,
        direction: Direction,
    ) -> Result<Cursor<'_>, CliError> {
        self.engine.cursor(family, range, direction).map_err(|error| self.failed(family, error))
    }

    /// What a failed read is called.
    #[must_use]
    pub fn failed(&self, family: Family, source: EngineError) -> CliError {
        CliError::Read { what: family.name(), dir: self.dir.clone(), source }
    }

    /// The store behind, for numbers about it.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The Region that a command is about: the one that was asked for, or the only one.
    ///
    /// # Errors
    /// There is no such Region, or none was asked for and there are several.
    pub fn region(&self, id: Option<u64>) -> Result<&RegionRecords, CliError> {
        match (id, self.regions.as_slice()) {
            (None, [only]) => Ok(only),
            (None, [first, _, ..]) => Err(CliError::Usage {
                what: "which Region?".into(),
                why: format!("this store has {} of them", self.regions.len()),
                hint: format!("--region {}, or another of neoctl region list", first.id),
            }),
            (id, regions) => {
                let id = id.unwrap_or(1);
                let mut nearest: Vec<u64> = regions.iter().map(|region| region.id).collect();
                nearest.sort_by_key(|other| other.abs_diff(id));
                nearest.truncate(5);
                let missing = CliError::NoRegion { dir: self.dir.clone(), id, nearest };
                regions.iter().find(|region| region.id == id).ok_or(missing)
            }
        }
    }
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
                attempt += 1
            }
            Err(error) => return Err(error),
        }
    }
}

/// Opens a store that another process writes to.
fn beside(dir: &Path) -> Result<(Engine, Option<TempDir>), EngineError> {
    let io =
        |error: std::io::Error| EngineError::Io { detail: format!("no scratch folder: {error}") };
    let scratch = tempfile::Builder::new().prefix("neoctl-").tempdir().map_err(io)?;
    let engine = Engine::open_secondary(dir, scratch.path())?;
    Ok((engine, Some(scratch)))
}

impl From<Identity> for Store {
    fn from(identity: Identity) -> Store {
        Store {
            store_id: Number(identity.store_id),
            cluster_id: Number(identity.cluster_id),
            format_version: identity.format_version,
        }
    }
}

impl Header {
    /// The lines that answers begin with.
    pub fn page(&self, page: &mut Page) {
        // Paths have any length and are there to be copied: they are not wrapped.
        page.verbatim(&page.paint().dim(&format!("{} ({})", self.dir, self.server)));
        let store = self
            .store
            .map_or_else(|| "no identity yet".into(), |store| format!("store {}", store.store_id));
        let mut parts = vec![store];
        let named =
            self.regions.iter().take(NAMED).map(|AppliedView { region, applied }| match applied {
                Some(applied) => format!("Region {region} applied {applied}"),
                None => format!("Region {region} applied nothing"),
            });
        parts.extend(named);
        if let more @ 1.. = self.regions.len().saturating_sub(NAMED) {
            parts.push(format!("{more} more Regions"));
        }
        parts.push(format!("read {}", self.read_at));
        page.parts(&parts);
        for problem in &self.problems {
            page.problem(problem);
        }
        page.blank();
    }
}
