//! The compaction filter that drops what a deleted collection left behind.
//!
//! DEL of a hash with a million fields, or of a string in chunks, removes one metadata record. Its
//! rows carry the *version* of that incarnation of the key. No metadata names the version any
//! longer, so no read finds them: they are orphans. Compactions reach every row sooner or later,
//! and this filter tells them which to drop.
//!
//! # Never too early
//!
//! A compaction filter ignores RocksDB's snapshots: a row that it drops is gone for all of them. So
//! a row is dropped only when no reader, open now or later, can look for it. Each compaction takes
//! a view of the store when it meets its first orphan, and drops a row of version V only if all of
//! these hold:
//!
//! 1. **V is deleted in the view**: the view's metadata does not carry V. A version never comes
//!    back, so V is deleted for everyone who looks at a state as new as the view, or newer.
//! 2. **V was given out before the view**: V is below the clock that the view shows for the Region
//!    of the row's slot. A row written after the view was taken is not in the view either, and is
//!    not deleted.
//! 3. **No reader looks at an older state**: every reader that was open when the view was taken has
//!    left ([`crate::readers`]).
//! 4. **No snapshot is being installed**: during an install the metadata and the rows of a range do
//!    not match ([`crate::Engine::hold_orphans`]).
//! 5. The newest metadata does not carry V. This follows from 1; it is checked all the same,
//!    because a mistake would lose data.
//!
//! ```text
//! time ──▶   A opens     HSET k (V=7)     B opens           DEL k     view     B leaves
//!                                         sees row (k,7)                       the row may go
//! ```
//!
//! Rows that fit no format are kept: a tool can still show them. So are phase-1 strings: their key
//! carries no version.
//!
//! # Cost
//!
//! The rows of a collection lie side by side, so one verdict serves them all; a live collection
//! costs one metadata look-up per compaction. A view costs one RocksDB snapshot for the length of
//! the compaction.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use neokv_encoding::family::Family;
use neokv_encoding::key::{RegionKind, decode_region, region};
use neokv_encoding::metadata::MetadataRef;
use neokv_encoding::region::{Applied, Descriptor};
use neokv_encoding::slot::SlotRange;
use rocksdb::compaction_filter::CompactionFilter;
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{ColumnFamilyDescriptor, CompactionDecision, ReadOptions};
use self_cell::self_cell;

use crate::db::Db;
use crate::error::{EngineError, Result};
use crate::families::{self, Shared};
use crate::readers::Readers;

/// All families with their options; those of collections get the orphan filter.
pub(crate) fn descriptors(
    shared: &Shared,
    orphans: &Arc<OrphanControl>,
) -> Vec<ColumnFamilyDescriptor> {
    Family::ALL
        .into_iter()
        .map(|family| {
            let mut options = families::family(family, shared);
            if families::has_prefix_filter(family) {
                options
                    .set_compaction_filter_factory(OrphanFactory::new(family, Arc::clone(orphans)));
            }
            ColumnFamilyDescriptor::new(family.name(), options)
        })
        .collect()
}

/// What the filters of one store share.
pub(crate) struct OrphanControl {
    /// Set once the store is open; filters of compactions that start earlier keep everything.
    db: OnceLock<Weak<Db>>,
    readers: Arc<Readers>,
    /// Installs in progress.
    holds: AtomicUsize,
    /// Installs ever begun: tells a view that one began and ended while it was being taken.
    begun: AtomicU64,
    dropped_rows: AtomicU64,
    dropped_bytes: AtomicU64,
    /// Orphans kept because a reader or an install might still need them.
    deferred_rows: AtomicU64,
}

/// What the filter did since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrphanStats {
    /// Rows dropped.
    pub dropped_rows: u64,
    /// Bytes of their keys and values, before compression.
    pub dropped_bytes: u64,
    /// Orphans left for a later compaction because a reader was open or a snapshot was being
    /// installed.
    pub deferred_rows: u64,
}

impl OrphanControl {
    pub(crate) fn new(readers: Arc<Readers>) -> Arc<OrphanControl> {
        Arc::new(OrphanControl {
            db: OnceLock::new(),
            readers,
            holds: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            dropped_rows: AtomicU64::new(0),
            dropped_bytes: AtomicU64::new(0),
            deferred_rows: AtomicU64::new(0),
        })
    }

    /// Lets filters begin. Weak, because RocksDB owns the filters and the handle owns RocksDB.
    pub(crate) fn arm(&self, db: &Arc<Db>) {
        let _ = self.db.set(Arc::downgrade(db));
    }

    pub(crate) fn hold(&self) -> OrphanGuard<'_> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.holds.fetch_add(1, Ordering::SeqCst);
        OrphanGuard(self)
    }

    pub(crate) fn stats(&self) -> OrphanStats {
        OrphanStats {
            dropped_rows: self.dropped_rows.load(Ordering::Relaxed),
            dropped_bytes: self.dropped_bytes.load(Ordering::Relaxed),
            deferred_rows: self.deferred_rows.load(Ordering::Relaxed),
        }
    }

    fn is_held(&self) -> bool {
        self.holds.load(Ordering::SeqCst) > 0
    }

    /// Takes a view, unless an install runs or ran meanwhile, or the store is closing.
    fn view(&self) -> Option<View> {
        let db = self.db.get()?.upgrade()?;
        let begun = self.begun.load(Ordering::SeqCst);
        if self.is_held() {
            return None;
        }
        let view = View::take(db, &self.readers).ok()?;
        (begun == self.begun.load(Ordering::SeqCst) && !self.is_held()).then_some(view)
    }
}

/// Suspends the orphan filter while it lives. From [`crate::Engine::hold_orphans`].
#[must_use = "the filter runs again as soon as the guard is dropped"]
pub struct OrphanGuard<'a>(&'a OrphanControl);

impl Drop for OrphanGuard<'_> {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A RocksDB snapshot with read options bound to it, both borrowing from the handle beside them.
struct Frozen<'a> {
    options: ReadOptions,
    _snapshot: rocksdb::Snapshot<'a>,
}

self_cell!(
    struct FrozenDb {
        owner: Arc<Db>,
        #[covariant]
        dependent: Frozen,
    }
);

/// The store at one moment: metadata, and the clock of every Region.
struct View {
    frozen: FrozenDb,
    /// Drawn after the snapshot was taken: see [`crate::readers`].
    mark: u64,
    clocks: Vec<(SlotRange, u64)>,
}

impl View {
    fn take(db: Arc<Db>, readers: &Readers) -> Result<View> {
        let frozen = FrozenDb::new(db, |db| {
            let snapshot = db.raw().snapshot();
            let mut options = ReadOptions::default();
            options.set_snapshot(&snapshot);
            options.fill_cache(false);
            Frozen { options, _snapshot: snapshot }
        });
        let mark = readers.mark();
        let mut view = View { frozen, mark, clocks: Vec::new() };
        view.clocks = view.read_clocks()?;
        Ok(view)
    }

    /// Slots and clock of each Region that the view shows.
    fn read_clocks(&self) -> Result<Vec<(SlotRange, u64)>> {
        let db = self.frozen.borrow_owner();
        let handle = db.handle(Family::Region);
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.frozen.borrow_dependent()._snapshot);
        let mut rows = db.raw().raw_iterator_cf_opt(handle, options);
        let mut clocks = Vec::new();
        rows.seek_to_first();
        while let Some((key, value)) = rows.item() {
            let (id, kind) =
                decode_region(key).map_err(|e| EngineError::from_decode("Region key", e))?;
            if kind == RegionKind::Descriptor {
                let descriptor = Descriptor::decode(value)
                    .map_err(|e| EngineError::from_decode("Region descriptor", e))?;
                clocks.extend(self.clock(id, &descriptor)?);
            }
            rows.next();
        }
        rows.status()?;
        Ok(clocks)
    }

    /// Slots and clock of one Region.
    fn clock(&self, id: u64, descriptor: &Descriptor) -> Result<Option<(SlotRange, u64)>> {
        let Some(bytes) = self.get(Family::Region, &region(id, RegionKind::Applied))? else {
            return Ok(None);
        };
        let applied =
            Applied::decode(&bytes).map_err(|e| EngineError::from_decode("applied state", e))?;
        Ok(Some((descriptor.slots, applied.clock)))
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<rocksdb::DBPinnableSlice<'_>>> {
        let db = self.frozen.borrow_owner();
        Ok(db.raw().get_pinned_cf_opt(
            db.handle(family),
            key,
            &self.frozen.borrow_dependent().options,
        )?)
    }

    /// Whether the version was given out before the view was taken. Slots of no Region: unknown, so
    /// no.
    fn born_before(&self, slot: u16, version: u64) -> bool {
        self.clocks.iter().any(|(slots, clock)| slots.contains(slot) && version < *clock)
    }

    /// Conditions 1, 2 and 5 of the module header.
    fn is_dead(&self, row: &families::CollectionRow<'_>) -> Result<bool> {
        if !self.born_before(row.slot, row.version) {
            return Ok(false);
        }
        if carries(self.get(Family::Metadata, &row.metadata_key)?.as_deref(), row.version) {
            return Ok(false);
        }
        let db = self.frozen.borrow_owner();
        let newest = db.raw().get_pinned_cf(db.handle(Family::Metadata), &row.metadata_key)?;
        Ok(!carries(newest.as_deref(), row.version))
    }
}

/// Whether a metadata record keeps rows of `version` alive: one of a collection or of a string in
/// chunks may. So may a record that cannot be read.
fn carries(record: Option<&[u8]>, version: u64) -> bool {
    match record.map(MetadataRef::decode) {
        None | Some(Ok(MetadataRef::String(_))) => false,
        Some(Ok(MetadataRef::Collection(collection))) => collection.version == version,
        Some(Err(_)) => true,
    }
}

/// What was found out about the collection that the last row belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// Dead in the view; may go once the readers from before the view have left.
    Dead,
}

/// Makes one filter per compaction.
pub(crate) struct OrphanFactory {
    family: Family,
    control: Arc<OrphanControl>,
    name: CString,
}

impl OrphanFactory {
    pub(crate) fn new(family: Family, control: Arc<OrphanControl>) -> OrphanFactory {
        OrphanFactory { family, control, name: c"neokv.orphans".into() }
    }
}

impl CompactionFilterFactory for OrphanFactory {
    type Filter = OrphanFilter;

    fn create(&mut self, _context: CompactionFilterContext) -> OrphanFilter {
        OrphanFilter {
            family: self.family,
            control: Arc::clone(&self.control),
            name: self.name.clone(),
            view: None,
            collection: Vec::new(),
            verdict: Verdict::Keep,
        }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}

/// The filter of one compaction. Lives on the compaction's thread; gone before the compaction ends.
pub(crate) struct OrphanFilter {
    family: Family,
    control: Arc<OrphanControl>,
    name: CString,
    view: Option<View>,
    /// Prefix of the collection that `verdict` is about; empty at first.
    collection: Vec<u8>,
    verdict: Verdict,
}

impl OrphanFilter {
    fn verdict_on(&mut self, key: &[u8]) -> Verdict {
        if !self.collection.is_empty() && key.starts_with(&self.collection) {
            return self.verdict;
        }
        let Some(row) = families::row(self.family, key) else { return Verdict::Keep };
        if self.view.is_none() {
            self.view = self.control.view();
        }
        // A look-up that fails keeps the row: the compaction goes on, and whoever reads the damaged
        // block is told.
        let dead = self.view.as_ref().is_some_and(|view| view.is_dead(&row).unwrap_or(false));
        self.collection.clear();
        self.collection.extend_from_slice(row.collection);
        self.verdict = if dead { Verdict::Dead } else { Verdict::Keep };
        self.verdict
    }

    /// Conditions 3 and 4 of the module header.
    fn may_drop_now(&self) -> bool {
        self.view.as_ref().is_some_and(|view| self.control.readers.left_before(view.mark))
            && !self.control.is_held()
    }
}

impl CompactionFilter for OrphanFilter {
    fn filter(&mut self, _level: u32, key: &[u8], value: &[u8]) -> CompactionDecision {
        if self.verdict_on(key) == Verdict::Keep {
            return CompactionDecision::Keep;
        }
        if !self.may_drop_now() {
            self.control.deferred_rows.fetch_add(1, Ordering::Relaxed);
            return CompactionDecision::Keep;
        }
        let bytes = (key.len() + value.len()) as u64;
        self.control.dropped_rows.fetch_add(1, Ordering::Relaxed);
        self.control.dropped_bytes.fetch_add(bytes, Ordering::Relaxed);
        CompactionDecision::Remove
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}
