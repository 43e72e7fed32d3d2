//! The open store.
//!
//! [`Engine`] is a cheap clone of one open directory. Opening takes four steps: claim the
//! directory ([`crate::marker`]), read the write-ahead log for damage ([`crate::recovery`]), open
//! RocksDB, start the orphan filter ([`crate::orphans`]).
//!
//! # Closing
//!
//! The last clone closes the store: it stops RocksDB's background work and waits for it, so that no
//! compaction thread can be the last one to hold the handle (closing from there would wait for
//! itself), then closes RocksDB, then gives up the directory.
//!
//! # Durability
//!
//! A write that goes past the row table goes to the write-ahead log before it is visible, and to
//! the operating system before the call returns: it survives a crash of the process.
//! [`Durability::Synced`] also survives a crash of the machine and a power loss. One log orders
//! everything, so a synced write makes all earlier ones durable as well. Each batch notes in the
//! log how much was synced before it ([`crate::recovery`] says why).
//!
//! What [`Engine::write_behind`] is given is in memory until it is drained. Whoever calls it can
//! make the write again: the Raft log has it.

mod write_behind;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use neokv_encoding::family::Family;
use neokv_encoding::key::IDENTITY;
use rocksdb::{DB, ReadOptions, WriteBatch, WriteOptions};

use crate::batch::{Batch, LogBatch};
use crate::budget::ReadBudget;
use crate::budgeted_read::BudgetedRead;
use crate::cursor::{self, Cursor};
use crate::db::Db;
use crate::error::{EngineError, Result};
use crate::families::{self, Shared};
use crate::health::{Health, HealthState, Listener};
use crate::marker::{self, DirLock};
use crate::options::Options;
use crate::orphans::{self, OrphanControl, OrphanGuard};
use crate::range::{Direction, KeyRange};
use crate::read::{Read, Slice};
use crate::readers::Readers;
use crate::recovery;
use crate::rows::pending::Pending;
use crate::rows::room::RoomBounds;
use crate::rows::{Behind, Bounds, Direct, RowTable, Sight};
use crate::snapshot::Snapshot;
use crate::synced::{LogFinder, SyncedNotes};

use self::write_behind::pace::Waiting;
use self::write_behind::{WriteBehind, files};

/// What a write has survived when the call returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// A crash of the process: the operating system has it.
    Buffered,
    /// A crash of the machine or a power loss: the disk has it, and everything written before.
    Synced,
}

/// How a directory is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The one owner.
    Owner,
    /// A tool that looks at a state and changes nothing.
    ReadOnly,
    /// A tool that follows a running owner.
    Secondary,
}

/// One open store. Clones share it; the last one closes it.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Handle>);

/// What the clones share. The last one ends the thread that writes behind, which has the store too.
pub(crate) struct Handle {
    // Dropped in this order.
    _thread: Option<WriteBehind>,
    inner: Arc<Inner>,
}

impl std::ops::Deref for Handle {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

pub(crate) struct Inner {
    // Dropped in this order: the database before the lock on its directory.
    pub(crate) db: Arc<Db>,
    pub(crate) reads: ReadOptions,
    writes: WriteOptions,
    /// What each batch says in the log; `None` in a store that is open for reading only.
    notes: Option<SyncedNotes>,
    log_finder: LogFinder,
    pub(crate) mode: Mode,
    pub(crate) readers: Arc<Readers>,
    pub(crate) rows: RowTable,
    pub(crate) waiting: Waiting,
    pub(crate) orphans: Arc<OrphanControl>,
    pub(crate) health: Arc<HealthState>,
    pub(crate) shared: Shared,
    /// Kept for the statistics object inside.
    pub(crate) rocksdb_options: rocksdb::Options,
    pub(crate) options: Options,
    pub(crate) dir: PathBuf,
    _lock: Option<DirLock>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.db.raw().cancel_all_background_work(true);
    }
}

impl Engine {
    /// Opens the store in `dir` for reading and writing, and makes one if the directory is empty or
    /// absent.
    ///
    /// # Errors
    /// The directory is in use, holds something else, has another format, or its data are damaged.
    /// A log whose last writes were cut short by a crash is not damaged: a crash may leave it so.
    pub fn open(dir: &Path, options: &Options) -> Result<Engine> {
        let lock = marker::claim(dir)?;
        recovery::recover(dir, &lock.tag, options.damaged_log)?;
        Parts::new(options).open(dir, Mode::Owner, Some(lock), |parts| {
            let descriptors = orphans::descriptors(&parts.shared, &parts.orphans);
            DB::open_cf_descriptors(&parts.rocksdb_options, dir, descriptors)
        })
    }

    /// Opens the store of a stopped process, or the present state of a running one, and changes
    /// nothing.
    ///
    /// # Errors
    /// There is no store, it has another format, or its data are damaged.
    pub fn open_read_only(dir: &Path) -> Result<Engine> {
        marker::read(dir)?;
        Parts::for_tool().open(dir, Mode::ReadOnly, None, |parts| {
            let descriptors = orphans::descriptors(&parts.shared, &parts.orphans);
            DB::open_cf_descriptors_read_only(&parts.rocksdb_options, dir, descriptors, false)
        })
    }

    /// Follows the store of a running process: [`Engine::catch_up`] moves to its newest state.
    /// `scratch` is an existing directory of the tool's own.
    ///
    /// # Errors
    /// There is no store, it has another format, or its data are damaged.
    pub fn open_secondary(dir: &Path, scratch: &Path) -> Result<Engine> {
        marker::read(dir)?;
        Parts::for_tool().open(dir, Mode::Secondary, None, |parts| {
            let descriptors = orphans::descriptors(&parts.shared, &parts.orphans);
            DB::open_cf_descriptors_as_secondary(&parts.rocksdb_options, dir, scratch, descriptors)
        })
    }

    /// Moves a secondary to the newest state of the store that it follows.
    ///
    /// # Errors
    /// The engine is not a secondary, or the files cannot be read.
    pub fn catch_up(&self) -> Result<()> {
        if self.0.mode != Mode::Secondary {
            return Err(EngineError::Invalid { detail: "only a secondary can catch up".into() });
        }
        Ok(self.0.db.raw().try_catch_up_with_primary()?)
    }

    /// The newest committed value of `key`.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    #[inline]
    pub fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        let at = match self.0.rows.get_last(family, key) {
            Ok(found) => return Ok(found.map(Slice::of_row)),
            Err(at) => at,
        };
        let found = self.get_behind(family, key)?;
        self.0.rows.keep(family, key, found.as_deref(), at);
        Ok(found)
    }

    /// The value of `key` in RocksDB: without what is not written behind yet.
    ///
    /// # Errors
    /// A damaged or unreadable file.
    pub fn get_behind(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        let db = &*self.0.db;
        Ok(db.raw().get_pinned_cf_opt(db.handle(family), key, &self.0.reads)?.map(Slice::pinned))
    }

    /// Freezes the present state for reading. The orphan filter keeps what the snapshot may look
    /// for.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot::take(&self.0.db, &self.0.rows, &self.0.readers)
    }

    /// Freezes the present state for a read within `budget` that touches only what is in memory.
    pub fn budgeted_read(&self, budget: ReadBudget) -> BudgetedRead<'_> {
        BudgetedRead::take(self.snapshot(), budget)
    }

    /// An empty batch whose reads see its own writes.
    pub fn batch(&self) -> Batch<'_> {
        Batch::new(&self.0.db, &self.0.reads, &self.0.rows, &self.0.readers)
    }

    /// An empty batch without an index.
    pub fn log_batch(&self) -> LogBatch {
        LogBatch::new(Arc::clone(&self.0.db))
    }

    /// Writes a batch: all of it or nothing, as one record of the write-ahead log.
    ///
    /// # Errors
    /// The batch may or may not have been written. [`EngineError::action`] says whether to go on.
    pub fn write(&self, batch: Batch<'_>, durability: Durability) -> Result<()> {
        self.write_all(vec![batch], durability)
    }

    /// Writes batches of which none depends on another: all of them or nothing.
    fn write_all(&self, batches: Vec<Batch<'_>>, durability: Durability) -> Result<()> {
        let (mut records, mut changed) = (WriteBatch::default(), Direct::default());
        batches.iter().for_each(|batch| batch.add_records(&mut records, &mut changed));
        let pending = batches.into_iter().map(Batch::into_pending).collect();
        self.write_past(records, &changed, pending, durability)
    }

    /// Whether a write would not have to wait, as things are.
    pub fn has_room(&self) -> bool {
        self.health() == Health::Good && self.0.rows.has_room()
    }

    /// Waits while too much waits for RocksDB. For who is about to fill a batch: its rows take
    /// memory at once.
    ///
    /// # Errors
    /// The disk is full, or RocksDB has failed.
    pub fn wait_for_room(&self) -> Result<()> {
        let rows = &self.0.rows;
        rows.wait_for_room(|| self.health() != Health::Good);
        if rows.has_room() { Ok(()) } else { self.resume() }
    }

    /// Makes the changes of several batches: all of them or nothing. Every read that opens from now
    /// on sees them; RocksDB gets them later ([`crate::rows`]), so a crash may lose them: somebody
    /// else must have them. None of the batches may depend on what another one holds: each was
    /// filled without seeing it.
    ///
    /// Waits while too much waits for RocksDB.
    ///
    /// # Errors
    /// Nothing was changed: the disk is full, or RocksDB has failed. Where a batch deletes a range,
    /// all of them are written at once, and [`EngineError::action`] says whether to go on.
    pub fn write_behind(&self, batches: Vec<Batch<'_>>) -> Result<()> {
        if !batches.iter().all(Batch::can_wait) {
            return self.write_all(batches, Durability::Buffered);
        }
        self.wait_for_room()?;
        let rows = &self.0.rows;
        let mut pending: Vec<_> = batches.into_iter().map(Batch::into_pending).collect();
        rows.commit(&mut pending);
        Ok(())
    }

    /// Writes a batch of the log writer, or of whoever changes a Region: all of it or nothing, as
    /// one record of the write-ahead log.
    ///
    /// # Errors
    /// The batch may or may not have been written. [`EngineError::action`] says whether to go on.
    pub fn write_log(&self, batch: LogBatch, durability: Durability) -> Result<()> {
        self.write_past(batch.raw, &batch.changed, Vec::new(), durability)
    }

    /// A write that goes past the row table.
    fn write_past(
        &self,
        records: WriteBatch,
        changed: &Direct,
        mut batches: Vec<Pending>,
        durability: Durability,
    ) -> Result<()> {
        let write = || self.writing(Some(records), durability);
        if changed.is_empty() && batches.is_empty() {
            return write();
        }
        let Inner { rows, readers, waiting, .. } = &**self.0;
        let _waits = waiting.enter();
        let drain = |behind: &Behind<'_>| self.write_rows(behind);
        rows.write_through(readers, changed, &mut batches, drain, write).inspect_err(|_| {
            batches.iter_mut().for_each(|pending| rows.abandon(pending));
        })
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The sync failed. Nobody knows what the disk holds then: stop the process.
    pub fn sync(&self) -> Result<()> {
        self.writing(None, Durability::Synced)
    }

    /// Keeps the orphan filter from dropping anything while the guard lives: for the time in which
    /// a range's metadata and rows do not match.
    pub fn hold_orphans(&self) -> OrphanGuard<'_> {
        self.0.orphans.hold()
    }

    /// The directory of the store.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// The options the store was opened with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Whether writes work, and if not, why.
    pub fn health(&self) -> Health {
        self.0.health.current()
    }

    /// Runs a write, if there is one, and the sync after it, and notes failures for
    /// [`Engine::health`].
    ///
    /// The sync comes second so that the other writer goes on during it: see [`crate::families`].
    fn writing(&self, batch: Option<WriteBatch>, durability: Durability) -> Result<()> {
        let Some(notes) = &self.0.notes else {
            return Err(EngineError::Invalid {
                detail: "the store is open for reading only".into(),
            });
        };
        if self.0.health.is_full() {
            self.resume()?;
        }
        let db = self.0.db.raw();
        let written = match batch {
            Some(batch) => notes.write(batch, |batch| db.write_opt(batch, &self.0.writes)),
            None => Ok(()),
        };
        let written = written.and_then(|()| match durability {
            Durability::Buffered => Ok(()),
            Durability::Synced => notes.sync(|| db.flush_wal(true), |write| self.log_of(write)),
        });
        let written = written.map_err(EngineError::from_rocksdb);
        if let Err(error) = &written {
            self.note_failure(error);
        }
        written
    }

    /// Notes for [`Engine::health`] that a write failed.
    pub(crate) fn note_failure(&self, error: &EngineError) {
        // A busy engine or a wrong argument says nothing about the store.
        if let EngineError::NoSpace { .. }
        | EngineError::Io { .. }
        | EngineError::Corruption { .. } = error
        {
            self.0.health.fail(error);
        }
    }

    /// The number of the log that holds a write.
    fn log_of(&self, write: u64) -> u64 {
        let current = || self.0.db.raw().get_current_wal_file().ok().map(|log| log.log_number());
        self.0.log_finder.log_of(write, self.0.health.logs_begun(), current)
    }
}

impl Read for Engine {
    #[inline]
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Slice<'_>>> {
        Engine::get(self, family, key)
    }

    fn cursor(&self, family: Family, range: KeyRange, direction: Direction) -> Result<Cursor<'_>> {
        let db = &*self.0.db;
        let options = cursor::read_options(family, &range, direction);
        let iterator = || db.raw().raw_iterator_cf_opt(db.handle(family), options);
        let (raw, open) = self.0.rows.open(&self.0.readers, iterator);
        let rows = self.0.rows.walk(family, &range, direction, Sight::AsOf(open.at));
        Ok(Cursor::new(raw, rows, range, direction).keeping(open))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({}, {:?})", self.0.dir.display(), self.0.mode)
    }
}

/// What is made before RocksDB opens and kept after.
struct Parts {
    options: Options,
    shared: Shared,
    readers: Arc<Readers>,
    orphans: Arc<OrphanControl>,
    health: Arc<HealthState>,
    rocksdb_options: rocksdb::Options,
}

impl Parts {
    fn new(options: &Options) -> Parts {
        let shared = Shared::new(options);
        let readers = Arc::new(Readers::new());
        let health = Arc::new(HealthState::default());
        let mut rocksdb_options = families::database(options, &shared);
        rocksdb_options.add_event_listener(Listener(Arc::clone(&health)));
        let orphans = OrphanControl::new(Arc::clone(&readers));
        Parts { options: options.clone(), shared, readers, orphans, health, rocksdb_options }
    }

    /// For a tool: small caches, nothing created, and no log file in a directory that is not the
    /// tool's.
    fn for_tool() -> Parts {
        let options =
            Options { block_cache_bytes: 32 << 20, statistics: false, ..Options::default() };
        let mut parts = Parts::new(&options);
        parts.rocksdb_options.create_if_missing(false);
        parts.rocksdb_options.create_missing_column_families(false);
        parts.rocksdb_options.set_callback_logger(rocksdb::LogLevel::Warn, |level, message| {
            tracing::debug!(?level, message, "RocksDB");
        });
        parts
    }

    fn open(
        self,
        dir: &Path,
        mode: Mode,
        lock: Option<DirLock>,
        open: impl FnOnce(&Parts) -> std::result::Result<DB, rocksdb::Error>,
    ) -> Result<Engine> {
        let db = open(&self).map_err(|error| explain_open(dir, error))?;
        let db = Db::resolve(db)?;
        if mode == Mode::Owner {
            self.orphans.arm(&db);
        }
        // Only the owner knows of every write, so only it may keep what it has read.
        let most = if mode == Mode::Owner { self.options.row_bytes } else { 0 };
        let rows = RoomBounds { first: self.options.first_row_bytes, most };
        let bounds = Bounds { dirty: self.options.dirty_bytes, rows };
        let inner = Arc::new(Inner {
            db,
            reads: ReadOptions::default(),
            writes: WriteOptions::default(),
            notes: lock.as_ref().map(|lock| SyncedNotes::new(lock.tag)),
            log_finder: LogFinder::new(dir.to_path_buf()),
            mode,
            readers: self.readers,
            rows: RowTable::new(bounds),
            waiting: Waiting::default(),
            orphans: self.orphans,
            health: self.health,
            shared: self.shared,
            rocksdb_options: self.rocksdb_options,
            options: self.options,
            dir: dir.to_path_buf(),
            _lock: lock,
        });
        // The thread has a handle of its own, without a thread.
        let own = Engine(Arc::new(Handle { _thread: None, inner: Arc::clone(&inner) }));
        let thread = (mode == Mode::Owner).then(|| WriteBehind::start(own)).transpose()?;
        let engine = Engine(Arc::new(Handle { _thread: thread, inner }));
        if mode == Mode::Owner {
            files::finish(&engine)?;
        }
        if let Some(record) = engine.get(Family::Default, IDENTITY)? {
            marker::decode_identity(dir, &record)?;
        }
        Ok(engine)
    }
}

/// RocksDB's own lock is the second line: it also refuses a process that does not know our marker
/// file.
fn explain_open(dir: &Path, error: rocksdb::Error) -> EngineError {
    let message: &str = error.as_ref();
    if message.contains("lock hold by current process") || message.contains("While lock file") {
        return EngineError::Locked { dir: dir.to_path_buf() };
    }
    EngineError::from_rocksdb(error)
}
