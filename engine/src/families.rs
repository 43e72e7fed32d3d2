//! The nine column families and how RocksDB stores each: the one place where RocksDB is tuned.
//!
//! | family | shape of the data | so |
//! | --- | --- | --- |
//! | `metadata` | one record per user key, looked up by nearly every command, often absent | whole-key bloom in memory and on disk, hash index inside small blocks |
//! | `subkey`, `zset_score` | rows of one collection side by side; read singly and as ranges | bloom of whole keys and of collections, orphan filter |
//! | `expire` | ordered by time, read from the front | no bloom |
//! | `raft_log` | a queue per Region: appended, read once, deleted from the front | no bloom, large memtable: most entries die there and never reach a file |
//! | `default`, `raft_state`, `region`, `slot_stats` | a few small records | small memtables |
//!
//! # Who writes, and what follows
//!
//! One thread writes all the time: the log writer, whose batches must reach the disk. Applied rows
//! come now and then from the row table, as files that hold nobody up, or as a small batch. All
//! batches go through one write-ahead log, in order.
//!
//! * **A sync is a second step, not part of the write.** A write with RocksDB's `sync` flag holds
//!   the write queue during the fsync, and others would wait behind it. The engine writes without
//!   the flag and then syncs the log, which RocksDB does outside the queue: the next entries go on
//!   meanwhile ([`crate::Engine::write`]).
//! * **`enable_pipelined_write` is off.** It overlaps the memtable work of one write group with the
//!   log write of the next. With one writer there is rarely a next group, and each write would pay
//!   for a second queue.
//! * **`two_write_queues` is off.** It gives writes that skip the memtable a queue of their own;
//!   ours never skip it.
//! * **`unordered_write` is off, forever.** With it a snapshot may miss a write that a later one
//!   shows.
//! * **Log files are not recycled.** Overwriting an old file spares an fsync the change of the file
//!   size: on ext4 that was a tenth of its time. Without it nothing follows a torn tail, no old
//!   records of a reused file, and recovery can be strict ([`crate::recovery`]).
//! * **`avoid_unnecessary_blocking_io` is on.** Closing a cursor may be the last use of an obsolete
//!   file; a background thread deletes it then, not the thread that answers a client.
//!
//! # Compression
//!
//! The two youngest levels are rewritten soon and stay uncompressed, the middle ones take LZ4, and
//! the last level, where nine tenths of the data rest, takes zstd. In `metadata` it takes LZ4 too:
//! there nearly every read decompresses a block for one record. Blocks in the cache are
//! uncompressed in any case.
//!
//! # The prefix filter
//!
//! In `subkey` and `zset_score` the filter also knows the part of a key that all rows of one
//! collection share:
//!
//! ```text
//! slot u16 · namespace u32 · key length u32 · user key · version u64 │ field, position, or score
//! ╰───────────────────────── prefix of the collection ──────────────╯ and member
//! ```
//!
//! so a walk over a small hash skips every file that does not hold it. Only walks that stay in one
//! collection may ask it (`in_one_collection`); all others use total order.

use neokv_encoding::family::Family;
use neokv_encoding::key::{ScoreRef, SubkeyFamilyRef, prefix_end};
use rocksdb::{
    BlockBasedOptions, BlockBasedPinningTier, Cache, DBCompactionPri, DBCompressionType,
    DBRecoveryMode, DataBlockIndexType, EnvOptions, LogLevel, SliceTransform, WriteBufferManager,
};

use crate::options::{DamagedLog, Options};
use crate::range::KeyRange;

/// The directory, inside that of the store, of files on their way into RocksDB.
pub(crate) const BEHIND_DIR: &str = "behind";

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// Bits of bloom filter per key: one false positive in a hundred.
const BLOOM_BITS: f64 = 10.0;

/// What the families share.
pub(crate) struct Shared {
    pub(crate) cache: Cache,
    pub(crate) memtables: WriteBufferManager,
    /// Bytes that all memtables may take together.
    memtable_bytes: usize,
}

impl Shared {
    pub(crate) fn new(options: &Options) -> Shared {
        let cache = Cache::new_lru_cache(options.block_cache_bytes.max(MIB));
        // Writers are never stopped for the memtable budget: RocksDB flushes the largest memtable
        // instead.
        let memtable_bytes = options.memtable_bytes.max(MIB);
        let memtables = WriteBufferManager::new_write_buffer_manager(memtable_bytes, false);
        Shared { cache, memtables, memtable_bytes }
    }
}

/// Options of the database as a whole.
pub(crate) fn database(options: &Options, shared: &Shared) -> rocksdb::Options {
    let mut db = rocksdb::Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_paranoid_checks(true);
    db.set_write_buffer_manager(&shared.memtables);
    write_ahead_log(&mut db, options);
    background_work(&mut db, options);
    db.set_max_open_files(-1);
    db.set_avoid_unnecessary_blocking_io(true);
    db.set_skip_stats_update_on_db_open(true);
    db.set_keep_log_file_num(4);
    db.set_max_log_file_size(16 * MIB);
    db.set_log_level(LogLevel::Info);
    db.set_stats_dump_period_sec(0);
    if options.statistics {
        db.enable_statistics();
        db.set_statistics_level(rocksdb::statistics::StatsLevel::ExceptHistogramOrTimers);
    }
    db
}

fn write_ahead_log(db: &mut rocksdb::Options, options: &Options) {
    // The engine has told a torn tail from damage before RocksDB opens, and has cut off what stands
    // behind a hole; RocksDB only has to stop at the tail.
    db.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    // RocksDB notes how long a closed log was when it was synced. A damaged log that was accepted
    // is shorter.
    db.set_track_and_verify_wals_in_manifest(options.damaged_log == DamagedLog::Refuse);
    db.set_max_total_wal_size(options.max_wal_bytes);
    db.set_recycle_log_file_num(0);
    db.set_enable_pipelined_write(false);
    db.set_unordered_write(false);
    db.set_atomic_flush(false);
    db.set_manual_wal_flush(false);
}

/// How a file reaches the disk that RocksDB does not write in the background itself: in steps, and
/// each waits for the one before. So a sync of the log waits for two steps, not for a whole file.
pub(crate) fn file_steps() -> EnvOptions {
    let mut steps = EnvOptions::default();
    steps.set_bytes_per_sync(u64_of(MIB));
    steps.set_strict_bytes_per_sync(true);
    steps
}

fn background_work(db: &mut rocksdb::Options, options: &Options) {
    db.set_max_background_jobs(i32::from(options.background_jobs.max(1)));
    db.set_max_subcompactions(1);
    // Written pages go to the disk in small steps instead of in one burst that an fsync of the log
    // would wait behind.
    db.set_bytes_per_sync(u64_of(MIB));
    db.set_compaction_readahead_size(2 * MIB);
    if let Some(rate) = options.background_bytes_per_second {
        // Refilled ten times a second; a compaction gets every tenth turn even when flushes could
        // use them all.
        db.set_ratelimiter(i64::try_from(rate.get()).unwrap_or(i64::MAX), 100_000, 10);
    }
}

/// Options of one family. The orphan filter is added by [`crate::orphans`].
pub(crate) fn family(family: Family, shared: &Shared) -> rocksdb::Options {
    let mut cf = rocksdb::Options::default();
    let mut table = table(shared);
    levels(&mut cf);
    match family {
        Family::Metadata => metadata(&mut cf, &mut table),
        Family::Subkey => collections(
            &mut cf,
            &mut table,
            "neokv.subkey.collection",
            subkey_prefix,
            in_subkey_domain,
        ),
        Family::ZsetScore => {
            collections(&mut cf, &mut table, "neokv.zset.collection", score_prefix, in_score_domain)
        }
        Family::Expire => table.set_block_size(8 * KIB),
        Family::RaftLog => raft_log(&mut cf, &mut table),
        Family::Default | Family::RaftState | Family::Region | Family::SlotStats => {}
    }
    memtable(&mut cf, family, shared.memtable_bytes);
    cf.set_block_based_table_factory(&table);
    cf
}

/// How large a family's memtable becomes, and in which steps it takes memory, where all of them
/// together have `bytes`.
///
/// A memtable takes a block of memory for its first row, and one with a bloom filter the filter,
/// which is a tenth of its size, before that. If these alone were more than `bytes`, every write
/// would flush a memtable with next to nothing in it. So both shrink with `bytes`: together they
/// are less than a half.
fn memtable(cf: &mut rocksdb::Options, family: Family, bytes: usize) {
    let size = memtable_bytes(family, bytes);
    cf.set_write_buffer_size(size);
    cf.set_arena_block_size((size / 8).min(bytes / 32).min(MIB));
}

/// Bytes at which a family's memtable is flushed, where all of them together have `bytes`.
pub(crate) fn memtable_bytes(family: Family, bytes: usize) -> usize {
    let (size, most) = match family {
        // Most entries die there and never reach a file.
        Family::RaftLog => (64 * MIB, bytes),
        Family::Metadata | Family::Subkey | Family::ZsetScore => (8 * MIB, bytes / 4),
        Family::Expire => (16 * MIB, bytes / 4),
        Family::Default | Family::RaftState | Family::Region | Family::SlotStats => {
            (4 * MIB, bytes / 4)
        }
    };
    size.min(most)
}

/// What all families agree on about files.
fn table(shared: &Shared) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&shared.cache);
    table.set_block_size(8 * KIB);
    // Indexes and filters count against the cache, so memory stays bounded, and are pinned, so a
    // look-up does not search it.
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_unpartitioned_pinning_tier(BlockBasedPinningTier::All);
    table.set_optimize_filters_for_memory(true);
    table
}

fn levels(cf: &mut rocksdb::Options) {
    cf.set_max_write_buffer_number(4);
    cf.set_level_compaction_dynamic_level_bytes(true);
    cf.set_max_bytes_for_level_base(u64_of(256 * MIB));
    cf.set_target_file_size_base(u64_of(32 * MIB));
    cf.set_level_zero_file_num_compaction_trigger(4);
    cf.set_level_zero_slowdown_writes_trigger(20);
    cf.set_level_zero_stop_writes_trigger(36);
    cf.set_compaction_pri(DBCompactionPri::MinOverlappingRatio);
    cf.set_compression_per_level(&[
        DBCompressionType::None,
        DBCompressionType::None,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
        DBCompressionType::Lz4,
    ]);
    cf.set_bottommost_compression_type(DBCompressionType::Zstd);
}

fn metadata(cf: &mut rocksdb::Options, table: &mut BlockBasedOptions) {
    written_behind(cf);
    // Nearly every read is of one record, for which a whole block is decompressed.
    cf.set_bottommost_compression_type(DBCompressionType::Lz4);
    cf.set_memtable_whole_key_filtering(true);
    cf.set_memtable_prefix_bloom_ratio(0.1);
    table.set_bloom_filter(BLOOM_BITS, false);
    table.set_block_size(4 * KIB);
    table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
    table.set_data_block_hash_ratio(0.75);
}

fn collections(
    cf: &mut rocksdb::Options,
    table: &mut BlockBasedOptions,
    name: &str,
    prefix: fn(&[u8]) -> &[u8],
    in_domain: fn(&[u8]) -> bool,
) {
    written_behind(cf);
    cf.set_prefix_extractor(SliceTransform::create(name, prefix, Some(in_domain)));
    cf.set_memtable_whole_key_filtering(true);
    cf.set_memtable_prefix_bloom_ratio(0.1);
    table.set_bloom_filter(BLOOM_BITS, false);
    table.set_whole_key_filtering(true);
}

/// A family whose rows come as files of some megabytes ([`crate::engine`]). Twice as many of them
/// as RocksDB would have are merged at once, so that the next level is rewritten half as often.
fn written_behind(cf: &mut rocksdb::Options) {
    cf.set_level_zero_file_num_compaction_trigger(8);
}

fn raft_log(cf: &mut rocksdb::Options, table: &mut BlockBasedOptions) {
    cf.set_max_write_buffer_number(3);
    // Entries are gone before zstd would pay; the oldest files hold the purged ones, so they are
    // merged away first.
    cf.set_bottommost_compression_type(DBCompressionType::Lz4);
    cf.set_compaction_pri(DBCompactionPri::OldestSmallestSeqFirst);
    table.set_block_size(32 * KIB);
}

/// For a file of rows that were just written, which will be merged with others soon.
pub(crate) fn for_new_rows(options: &mut rocksdb::Options) {
    options.set_compression_per_level(&[]);
    options.set_compression_type(DBCompressionType::None);
    options.set_bottommost_compression_type(DBCompressionType::None);
}

/// Whether the family's filter knows collections.
pub(crate) fn has_prefix_filter(family: Family) -> bool {
    matches!(family, Family::Subkey | Family::ZsetScore)
}

/// Whether every key of `range` belongs to one collection, so that the prefix filter may be asked.
///
/// The prefix is the same computation in both families with one, so this needs no family.
pub(crate) fn in_one_collection(range: &KeyRange) -> bool {
    let Some(length) = collection_length(&range.start) else { return false };
    let Some(prefix) = range.start.get(..length) else { return false };
    !range.end.is_empty() && (range.end.starts_with(prefix) || range.end == prefix_end(prefix))
}

/// Bytes that a key shares with all rows of its collection, if the key reaches that far and is not
/// a phase-1 string.
fn collection_length(key: &[u8]) -> Option<usize> {
    const BEFORE_KEY: usize = 2 + 4 + 4;
    let length: [u8; 4] = key.get(6..BEFORE_KEY)?.try_into().ok()?;
    let user_key = usize::try_from(u32::from_be_bytes(length)).ok()?;
    let prefix = BEFORE_KEY.checked_add(user_key)?.checked_add(8)?;
    (key.len() >= prefix).then_some(prefix)
}

fn subkey_prefix(key: &[u8]) -> &[u8] {
    collection_of(key)
}

/// Whether a row belongs to no collection: a string of the older format.
pub(crate) fn in_no_collection(key: &[u8]) -> bool {
    collection_length(key).is_none()
}

/// What all rows of the collection begin with that a row belongs to; for a row that belongs to none
/// its whole key.
pub(crate) fn collection_of(key: &[u8]) -> &[u8] {
    collection_length(key).and_then(|length| key.get(..length)).unwrap_or(key)
}

fn score_prefix(key: &[u8]) -> &[u8] {
    subkey_prefix(key)
}

fn in_subkey_domain(key: &[u8]) -> bool {
    collection_length(key).is_some()
}

fn in_score_domain(key: &[u8]) -> bool {
    in_subkey_domain(key)
}

/// User key, version and slot of a row in a family of collections; `None` for rows that belong to
/// no collection (phase-1 strings) and for bytes that are not such a row.
pub(crate) struct CollectionRow<'a> {
    /// What all rows of the collection begin with.
    pub(crate) collection: &'a [u8],
    pub(crate) slot: u16,
    pub(crate) version: u64,
    pub(crate) metadata_key: Vec<u8>,
}

/// Reads the key of a row of `family`.
pub(crate) fn row(family: Family, key: &[u8]) -> Option<CollectionRow<'_>> {
    let collection = collection_length(key).and_then(|length| key.get(..length))?;
    match family {
        Family::Subkey => match SubkeyFamilyRef::decode(key).ok()? {
            SubkeyFamilyRef::Part(part) => Some(CollectionRow {
                collection,
                slot: part.slot,
                version: part.version,
                metadata_key: part.metadata(),
            }),
            SubkeyFamilyRef::V1String { .. } => None,
        },
        Family::ZsetScore => {
            let score = ScoreRef::decode(key).ok()?;
            Some(CollectionRow {
                collection,
                slot: score.slot,
                version: score.version,
                metadata_key: score.metadata(),
            })
        }
        _ => None,
    }
}

fn u64_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use neokv_encoding::key::UserKey;

    use super::*;

    fn user() -> UserKey {
        UserKey::new(7, Bytes::from_static(b"user"))
    }

    #[test]
    fn the_prefix_ends_after_the_version() {
        let prefix = user().subkey_prefix(9);
        assert_eq!(subkey_prefix(&user().subkey(9, b"field")), prefix);
        assert_eq!(score_prefix(&user().score(9, 1.5, b"member")), prefix);
        assert_eq!(subkey_prefix(&prefix), prefix);
        assert!(in_subkey_domain(&prefix));
        for key in [user().v1_string(), prefix[..prefix.len() - 1].to_vec(), vec![], vec![0xff; 12]]
        {
            assert!(!in_subkey_domain(&key), "{key:?}");
            assert_eq!(subkey_prefix(&key), key);
        }
    }

    #[test]
    fn only_walks_inside_one_collection_ask_the_filter() {
        let prefix = user().subkey_prefix(9);
        assert!(in_one_collection(&KeyRange::prefix(&prefix)));
        assert!(in_one_collection(&KeyRange::prefix(&user().subkey(9, b"f"))));
        assert!(in_one_collection(&KeyRange::new(user().subkey(9, b"a"), user().subkey(9, b"b"))));
        assert!(!in_one_collection(&KeyRange::new(prefix.clone(), user().subkey_prefix(11))));
        assert!(!in_one_collection(&KeyRange::new(prefix.clone(), vec![])));
        assert!(!in_one_collection(&KeyRange::prefix(&prefix[..prefix.len() - 1])));
        assert!(!in_one_collection(&KeyRange::all()));
    }

    #[test]
    fn rows_name_their_metadata() {
        let row_of = |family, key: &[u8]| {
            row(family, key).map(|row| (row.version, row.slot, row.metadata_key))
        };
        let expected = Some((9, user().slot, user().metadata()));
        assert_eq!(row_of(Family::Subkey, &user().subkey(9, b"f")), expected);
        assert_eq!(row_of(Family::ZsetScore, &user().score(9, -1.0, b"m")), expected);
        assert_eq!(row_of(Family::Subkey, &user().v1_string()), None);
        assert_eq!(row_of(Family::Subkey, b"short"), None);
        assert_eq!(row_of(Family::Metadata, &user().metadata()), None);
    }
}
