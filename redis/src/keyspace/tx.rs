//! Changing the keyspace: one command's reads and writes over the batch of the log entry that it is
//! part of.
//!
//! Invariants that [`Tx`] keeps for every metadata record of the Region, whatever a handler does:
//!
//! * a record with an expiry has exactly one row in family `expire`, with that very instant; one
//!   without has none;
//! * the number of keys of each slot is exactly the number of its records;
//! * a string of the older format is gone once its key has been written;
//! * a command that writes too much fails when it does, and whatever it wrote is undone;
//! * a collection or a string in chunks that replaces something else gets the version of this
//!   command, which none ever had, so no row of its predecessor belongs to it, and deleting costs
//!   one row whatever the size. (A command may store a string twice: see [`super::string_value`].)
//!   So does one of which most is deleted at once ([`super::rewrite`]).
//!
//! Every method reads the record as it stands in the batch, so a command that names a key twice
//! (`DEL k k`, `MSET k 1 k 2`) sees its own first change.

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::UserKey;
use neokv_encoding::metadata::{self, DataType, Metadata, encode_string};
use neokv_encoding::slot::SlotRange;
use neokv_encoding::slot_stats::SlotStats;
use neokv_encoding::{double, key};
use neokv_raftstore::SplitMix64;

use super::view::Stored;
use super::write_batch::WriteBatch;
use super::{Collection, View, ViewSource};
use crate::error::CommandError;

/// What a [`Tx`] is made from.
pub struct TxSource<'a> {
    /// The batch of the entry.
    pub batch: &'a mut dyn WriteBatch,
    /// The instant by which keys have expired or not, the same for all commands of the entry:
    /// milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The version of collections that this command creates.
    pub version: u64,
    /// Where random choices start from.
    pub seed: u64,
    /// The namespace of all keys.
    pub namespace: u32,
    /// The slots of the Region that the keys belong to.
    pub slots: SlotRange,
    /// Bytes that the command may write. It may gather half as many for its reply. A command that
    /// exceeds either fails.
    pub max_bytes: u64,
}

/// One command's transaction over the batch of its entry.
pub struct Tx<'a> {
    source: TxSource<'a>,
    random: SplitMix64,
    /// Whether anything has been written, and therefore a savepoint set.
    dirty: bool,
    /// Whether a string has been stored in chunks.
    pub(super) has_chunks: bool,
    /// What the batch's meter may show.
    full_at: u64,
    /// For building row keys without an allocation each.
    scratch: Vec<u8>,
}

impl<'a> Tx<'a> {
    /// A transaction that has written nothing.
    pub fn new(source: TxSource<'a>) -> Tx<'a> {
        let random = SplitMix64::new(source.seed);
        // The bound may be any number: it comes from the log entry.
        let full_at = source.batch.metered().saturating_add(source.max_bytes);
        Tx { source, random, dirty: false, has_chunks: false, full_at, scratch: Vec::new() }
    }

    /// The keyspace as this command has left it so far.
    pub fn view(&self) -> View<'_> {
        View::new(ViewSource {
            read: self.source.batch.as_read(),
            now_ms: self.source.now_ms,
            namespace: self.source.namespace,
            slots: self.source.slots,
            seed: self.source.seed,
            next_slot: None,
            cursors: None,
            max_reply_bytes: self.source.max_bytes / 2,
        })
    }

    /// The instant by which keys have expired or not: milliseconds since the Unix epoch, the same
    /// on every replica.
    pub fn now_ms(&self) -> u64 {
        self.source.now_ms
    }

    /// Random numbers that are the same on every replica.
    pub fn random(&mut self) -> &mut SplitMix64 {
        &mut self.random
    }

    /// Undoes the command's writes. Without it, they stay.
    pub fn rollback(self) -> Result<(), CommandError> {
        if self.dirty { self.source.batch.rollback() } else { Ok(()) }
    }

    /// Deletes `key`, of any type and size, in constant time. True if a client could see it.
    pub fn delete(&mut self, key: &Bytes) -> Result<bool, CommandError> {
        let user = self.view().user_key(key);
        let stored = self.stored(&user)?.0;
        self.drop_record(&user, stored)?;
        Ok(stored.live)
    }

    /// Gives the live record of `key` another expiry; 0: it never expires. False if there is no
    /// such key.
    pub fn set_expiry(&mut self, key: &Bytes, expire_ms: u64) -> Result<bool, CommandError> {
        let view = self.view();
        let user = view.user_key(key);
        let Some(row) = view.row(&user)? else { return Ok(false) };
        let (_, old) = row.header()?;
        if view.is_expired(old) {
            return Ok(false);
        }
        let stored = row.stored(old, true);
        let record = match row.metadata()? {
            Metadata::String { value, .. } => encode_string(expire_ms, &value),
            Metadata::Collection(meta) => {
                Metadata::Collection(metadata::Collection { expire_ms, ..meta }).encode()
            }
        };
        drop(row);
        self.put_record(&user, stored, expire_ms, record)?;
        Ok(true)
    }

    /// Removes the record of `key` if its expiry is exactly `expire_ms` and that instant has come.
    /// Otherwise removes only the `expire` row of that instant, unless the record still has it.
    /// True if a record was removed.
    pub fn purge(&mut self, key: &Bytes, expire_ms: u64) -> Result<bool, CommandError> {
        let user = self.view().user_key(key);
        if expire_ms == 0 {
            return Ok(false);
        }
        let stored = self.stored(&user)?.0;
        let same = stored.record && stored.expire_ms == expire_ms;
        if same && !stored.live {
            self.drop_record(&user, stored)?;
            return Ok(true);
        }
        if !same {
            self.delete_row(Family::Expire, &user.expire(expire_ms));
        }
        Ok(false)
    }

    /// Removes every key of the Region. Must be the only command of its entry: later reads through
    /// the batch would still see the old rows.
    pub fn clear(&mut self) {
        let (start, end) = key::slot_bounds(self.source.slots);
        for family in Family::DATA {
            self.mark();
            self.source.batch.delete_range(family, &start, &end);
        }
    }

    /// The collection under `key`, or a fresh one of which nothing is written yet; WRONGTYPE if
    /// there is something else.
    pub fn open(&mut self, key: &Bytes, kind: DataType) -> Result<Collection, CommandError> {
        let (found, user, stored) = self.find(key, kind)?;
        Ok(match found {
            Some(meta) => Collection::new(user, meta, stored, true),
            None => self.fresh(user, stored, kind),
        })
    }

    /// A fresh collection that replaces whatever is under `key` when it is saved.
    pub fn open_fresh(&mut self, key: &Bytes, kind: DataType) -> Result<Collection, CommandError> {
        let user = self.view().user_key(key);
        let stored = self.stored(&user)?.0;
        Ok(self.fresh(user, stored, kind))
    }

    /// The collection under `key`, if there is one; WRONGTYPE if there is something else.
    pub fn existing(
        &mut self,
        key: &Bytes,
        kind: DataType,
    ) -> Result<Option<Collection>, CommandError> {
        self.view().collection(key, kind)
    }

    /// Stores a subkey. The handler counts: only it changes `size`.
    pub fn put_subkey(
        &mut self,
        c: &Collection,
        subkey: &[u8],
        value: &[u8],
    ) -> Result<(), CommandError> {
        self.put_part(c, subkey, value.to_vec())
    }

    /// Stores a row of family `subkey`.
    pub(super) fn put_part(
        &mut self,
        c: &Collection,
        subkey: &[u8],
        value: Vec<u8>,
    ) -> Result<(), CommandError> {
        self.build_row(c, None, subkey);
        self.mark();
        self.source.batch.put(Family::Subkey, &self.scratch, value);
        self.check()
    }

    /// Removes a subkey.
    pub fn delete_subkey(&mut self, c: &Collection, subkey: &[u8]) -> Result<(), CommandError> {
        self.build_row(c, None, subkey);
        self.mark();
        self.source.batch.delete(Family::Subkey, &self.scratch);
        self.check()
    }

    /// Stores a row of the score index.
    pub fn put_score(
        &mut self,
        c: &Collection,
        score: f64,
        member: &[u8],
    ) -> Result<(), CommandError> {
        self.build_row(c, Some(score), member);
        self.mark();
        self.source.batch.put(Family::ZsetScore, &self.scratch, Vec::new());
        self.check()
    }

    /// Removes a row of the score index.
    pub fn delete_score(
        &mut self,
        c: &Collection,
        score: f64,
        member: &[u8],
    ) -> Result<(), CommandError> {
        self.build_row(c, Some(score), member);
        self.mark();
        self.source.batch.delete(Family::ZsetScore, &self.scratch);
        self.check()
    }

    /// Writes the header of a collection; without elements, deletes the key.
    pub fn save(&mut self, c: Collection) -> Result<(), CommandError> {
        if c.is_empty() {
            self.drop_record(&c.key, c.stored)?;
        } else if c.saved.as_ref() != Some(&c.meta) {
            let expire_ms = c.meta.expire_ms;
            self.put_record(&c.key, c.stored, expire_ms, Metadata::Collection(c.meta).encode())?;
        }
        Ok(())
    }

    /// The header of the live collection of type `kind` under `key`, and what stands there.
    fn find(
        &self,
        key: &Bytes,
        kind: DataType,
    ) -> Result<(Option<metadata::Collection>, UserKey, Stored), CommandError> {
        let view = self.view();
        let user = view.user_key(key);
        let Some(row) = view.row(&user)? else { return Ok((None, user, Stored::default())) };
        let (found, expire_ms) = row.header()?;
        let live = !view.is_expired(expire_ms);
        let stored = row.stored(expire_ms, live);
        if !live {
            return Ok((None, user, stored));
        }
        if found != kind {
            return Err(CommandError::WrongType);
        }
        match row.metadata()? {
            Metadata::Collection(meta) => Ok((Some(meta), user, stored)),
            Metadata::String { .. } => Err(CommandError::WrongType),
        }
    }

    /// A collection without elements, of this command's version.
    pub(super) fn fresh(&self, user: UserKey, stored: Stored, kind: DataType) -> Collection {
        Collection::new(user, metadata::Collection::new(kind, self.source.version), stored, false)
    }

    /// What stands under a key, and its type.
    pub(super) fn stored(
        &self,
        user: &UserKey,
    ) -> Result<(Stored, Option<DataType>), CommandError> {
        let view = self.view();
        let Some(row) = view.row(user)? else { return Ok((Stored::default(), None)) };
        let (kind, expire_ms) = row.header()?;
        Ok((row.stored(expire_ms, !view.is_expired(expire_ms)), Some(kind)))
    }

    /// Writes a metadata record over what stands there, with everything that follows from it.
    pub(super) fn put_record(
        &mut self,
        user: &UserKey,
        stored: Stored,
        expire_ms: u64,
        record: Vec<u8>,
    ) -> Result<(), CommandError> {
        if stored.v1 {
            self.delete_row(Family::Subkey, &user.v1_string());
        }
        if !stored.record {
            self.count_key(user, 1)?;
        }
        if stored.expire_ms != expire_ms {
            if stored.expire_ms != 0 {
                self.delete_row(Family::Expire, &user.expire(stored.expire_ms));
            }
            if expire_ms != 0 {
                self.mark();
                self.source.batch.put(Family::Expire, &user.expire(expire_ms), Vec::new());
            }
        }
        self.mark();
        self.source.batch.put(Family::Metadata, &user.metadata(), record);
        self.check()
    }

    /// Removes the record of a key, with everything that follows from it.
    pub(super) fn drop_record(
        &mut self,
        user: &UserKey,
        stored: Stored,
    ) -> Result<(), CommandError> {
        if stored.v1 {
            self.delete_row(Family::Subkey, &user.v1_string());
        }
        if stored.record {
            self.count_key(user, -1)?;
            self.delete_row(Family::Metadata, &user.metadata());
        }
        if stored.expire_ms != 0 {
            self.delete_row(Family::Expire, &user.expire(stored.expire_ms));
        }
        Ok(())
    }

    /// Changes the number of keys of the key's slot. The row is one like any other: a command that
    /// is undone takes its change back with it.
    fn count_key(&mut self, user: &UserKey, change: i64) -> Result<(), CommandError> {
        let row = key::slot_stats(user.slot, user.namespace);
        let before = self.view().slot_keys(user.slot)?;
        // A damaged number of keys is no reason to stop a Region.
        match before.saturating_add_signed(change) {
            0 => self.delete_row(Family::SlotStats, &row),
            keys => {
                self.mark();
                self.source.batch.put(Family::SlotStats, &row, SlotStats { keys }.encode());
            }
        }
        Ok(())
    }

    pub(super) fn delete_row(&mut self, family: Family, row: &[u8]) {
        self.mark();
        self.source.batch.delete(family, row);
    }

    /// The version of what this command creates.
    pub(super) fn version(&self) -> u64 {
        self.source.version
    }

    /// Bytes that the command may still write.
    pub(super) fn left(&self) -> u64 {
        self.full_at.saturating_sub(self.source.batch.metered())
    }

    /// Fails once the command has written too much.
    fn check(&self) -> Result<(), CommandError> {
        if self.source.batch.metered() > self.full_at {
            Err(CommandError::LimitExceeded)
        } else {
            Ok(())
        }
    }

    /// Sets the savepoint before the first write. Commands that only find out that they must fail
    /// write nothing and need none.
    fn mark(&mut self) {
        if !self.dirty {
            self.dirty = true;
            self.source.batch.savepoint();
        }
    }

    /// Builds the key of a row of `c` in the scratch space.
    fn build_row(&mut self, c: &Collection, score: Option<f64>, subkey: &[u8]) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&c.prefix);
        if let Some(score) = score {
            self.scratch.extend_from_slice(&double::encode_key(score));
        }
        self.scratch.extend_from_slice(subkey);
    }
}

#[cfg(test)]
mod tests;
