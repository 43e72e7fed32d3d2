//! Strings: whole in their record, or in chunks.
//!
//! ```text
//! up to 16 KiB   metadata  slot ns "s"            → string, expiry, value
//! longer         metadata  slot ns "s"            → string in chunks, expiry, version, length
//!                subkey    slot ns len "s" v · n  → bytes n × 8192 to (n + 1) × 8192
//! ```
//!
//! [`neokv_encoding::chunk`] says which bytes stand where. What follows for commands:
//!
//! * What asks for existence, type, expiry or length reads the record, which is short either way.
//!   EXPIRE, PERSIST and GETEX rewrite the record alone.
//! * GETRANGE reads the chunks of its range, GET and its relatives read them all. A reader that may
//!   not read so much is told before the first one ([`View::expect_rows`]), and what would be too
//!   long a reply is refused before memory is taken for it.
//! * SETRANGE and APPEND read and write the chunks that they touch, so what they write is in
//!   proportion to what they carry: two chunks more, at most. A string that grows over the
//!   threshold is written into chunks by the command that makes it grow.
//! * SETRANGE behind the end writes nothing in between: what no chunk holds is zeros.
//! * A new value gets the version of its command, so the chunks of the old one are orphans at once.
//!   Only a command that stores a key twice (`MSET k … k …`) would give both the same version; it
//!   removes its own chunks of that key before it writes others.

use std::ops::Range;

use bytes::Bytes;
use neokv_encoding::chunk::{self, CHUNK_BYTES, LONGEST_WHOLE};
use neokv_encoding::family::Family;
use neokv_encoding::key::UserKey;
use neokv_encoding::metadata::{DataType, Metadata, MetadataRef, encode_string};
use neokv_encoding::{DecodeError, v1};
use neokv_engine::Direction;

use super::view::{HeaderRow, Stored};
use super::{Collection, Tx, View};
use crate::error::CommandError;

/// What a chunk counts as, in rows of a reader's budget: a budget has a row for every 256 bytes,
/// and a chunk has a key besides its 8192.
const CHUNK_ROWS: u64 = 36;

/// The value of a string, or where it is.
#[derive(Clone, Debug)]
pub enum StringValue {
    /// It stands in the record, or in a row of the older format.
    Whole(Bytes),
    /// It stands in chunks.
    Chunked(Collection),
}

impl StringValue {
    /// Length in bytes.
    pub fn length(&self) -> u64 {
        match self {
            StringValue::Whole(value) => length(value),
            StringValue::Chunked(c) => c.meta.size,
        }
    }
}

/// A key that is open as a string: its value, and what must be known to write it back without
/// reading again.
#[derive(Debug)]
pub struct StringEntry {
    user: UserKey,
    stored: Stored,
    /// The value and its expiry, if the key exists.
    pub current: Option<(StringValue, u64)>,
}

impl StringEntry {
    /// Length of the value; 0 if the key does not exist.
    pub fn length(&self) -> u64 {
        self.current.as_ref().map_or(0, |(value, _)| value.length())
    }

    /// The expiry, which a command that does not mention expiry leaves in place.
    pub fn expire_ms(&self) -> u64 {
        self.current.as_ref().map_or(0, |(_, expire_ms)| *expire_ms)
    }
}

impl HeaderRow<'_> {
    /// The value of a string, or where it is. `None`: it is no string.
    fn string_value(
        &self,
        user: &UserKey,
        stored: Stored,
    ) -> Result<Option<StringValue>, DecodeError> {
        Ok(match self.metadata()? {
            Metadata::String { value, .. } => Some(StringValue::Whole(value)),
            Metadata::Collection(meta) if meta.kind == DataType::String => {
                let c = Collection::new(user.clone(), meta, stored, true);
                Some(StringValue::Chunked(c))
            }
            Metadata::Collection(_) => None,
        })
    }

    /// The length of a string, without copying its value. `None`: it is no string.
    fn string_length(&self) -> Result<Option<u64>, DecodeError> {
        Ok(match self {
            HeaderRow::Record(bytes) => match MetadataRef::decode(bytes)? {
                MetadataRef::String(string) => Some(length(string.value)),
                MetadataRef::Collection(meta) => {
                    (meta.kind == DataType::String).then_some(meta.size)
                }
            },
            HeaderRow::V1(bytes) => Some(length(v1::decode_value(bytes)?.1)),
        })
    }
}

impl View<'_> {
    /// The string under `key` with its expiry, all of it; WRONGTYPE if there is something else.
    pub fn string(&self, key: &Bytes) -> Result<Option<(Bytes, u64)>, CommandError> {
        let Some((value, expire_ms)) = self.open_string(key)? else { return Ok(None) };
        Ok(Some((self.string_bytes(&value, 0..value.length())?, expire_ms)))
    }

    /// The string under `key` with its expiry, without its chunks; WRONGTYPE if there is something
    /// else.
    pub fn open_string(&self, key: &Bytes) -> Result<Option<(StringValue, u64)>, CommandError> {
        let user = self.user_key(key);
        let Some((row, _, expire_ms)) = self.live_row(&user)? else { return Ok(None) };
        let value = row.string_value(&user, row.stored(expire_ms, true))?;
        Ok(Some((value.ok_or(CommandError::WrongType)?, expire_ms)))
    }

    /// The length of the string under `key`; WRONGTYPE if there is something else.
    pub fn string_length(&self, key: &Bytes) -> Result<Option<u64>, CommandError> {
        match self.live_row(&self.user_key(key))? {
            Some((row, ..)) => Ok(Some(row.string_length()?.ok_or(CommandError::WrongType)?)),
            None => Ok(None),
        }
    }

    /// A part of a string, which must lie within it.
    ///
    /// # Errors
    /// [`CommandError::LimitExceeded`] if it is too much for a reply.
    pub fn string_bytes(
        &self,
        value: &StringValue,
        range: Range<u64>,
    ) -> Result<Bytes, CommandError> {
        debug_assert!(range.start <= range.end && range.end <= value.length(), "{range:?}");
        match value {
            StringValue::Whole(value) => Ok(value.slice(size(range.start)..size(range.end))),
            StringValue::Chunked(c) => self.chunked_bytes(c, range),
        }
    }

    fn chunked_bytes(&self, c: &Collection, range: Range<u64>) -> Result<Bytes, CommandError> {
        let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else {
            return Ok(Bytes::new());
        };
        let (first, last) = (chunk::number_of(range.start), chunk::number_of(last));
        // Refused here, it costs nothing.
        self.expect_rows((last - first + 1).saturating_mul(CHUNK_ROWS))?;
        self.check_reply(size(range.end - range.start))?;
        let mut bytes = vec![0; size(range.end - range.start)];
        if first == last {
            if let Some(row) = self.read().get(Family::Subkey, &c.row(&chunk::subkey(first)))? {
                chunk::decode(&chunk::subkey(first), &row)?;
                copy_chunk(first, &row, &mut bytes, range.start);
            }
            return Ok(bytes.into());
        }
        let (start, end) = (chunk::subkey(first), chunk::subkey(last + 1));
        let mut rows = self.subkeys_between(c, &start, &end, Direction::Forward)?;
        while let Some((subkey, row)) = rows.next_ref()? {
            copy_chunk(chunk::decode(subkey, row)?, row, &mut bytes, range.start);
        }
        Ok(bytes.into())
    }
}

/// Copies what a chunk has of the bytes of a string that begin at `start`. The chunk is one of
/// theirs.
fn copy_chunk(number: u64, row: &[u8], bytes: &mut [u8], start: u64) {
    let begin = number * CHUNK_BYTES;
    // The first chunk begins before the range, every other within it.
    let (skip, at) = (size(start.saturating_sub(begin)), size(begin.saturating_sub(start)));
    let row = row.get(skip..).unwrap_or_default();
    let place = bytes.get_mut(at..).unwrap_or_default();
    let len = row.len().min(place.len());
    if let (Some(place), Some(row)) = (place.get_mut(..len), row.get(..len)) {
        place.copy_from_slice(row);
    }
}

impl Tx<'_> {
    /// Stores a string under `key`, whatever was there. `expire_ms` 0: never expires.
    pub fn set_string(
        &mut self,
        key: &Bytes,
        value: &[u8],
        expire_ms: u64,
    ) -> Result<(), CommandError> {
        let user = self.view().user_key(key);
        let stored = self.stored(&user)?.0;
        self.put_value(&user, stored, value, expire_ms)
    }

    /// Opens `key` as a string; WRONGTYPE if there is something else.
    pub fn string_entry(&mut self, key: &Bytes) -> Result<StringEntry, CommandError> {
        let view = self.view();
        let user = view.user_key(key);
        let Some(row) = view.row(&user)? else {
            return Ok(StringEntry { user, stored: Stored::default(), current: None });
        };
        let (_, expire_ms) = row.header()?;
        let live = !view.is_expired(expire_ms);
        let stored = row.stored(expire_ms, live);
        let current = if live {
            let value = row.string_value(&user, stored)?;
            Some((value.ok_or(CommandError::WrongType)?, expire_ms))
        } else {
            None
        };
        drop(row);
        Ok(StringEntry { user, stored, current })
    }

    /// All of the value of a string opened by [`Tx::string_entry`].
    ///
    /// # Errors
    /// [`CommandError::LimitExceeded`] if it is too much for a reply.
    pub fn entry_bytes(&self, entry: &StringEntry) -> Result<Option<Bytes>, CommandError> {
        let value = entry.current.as_ref().map(|(value, _)| value);
        value.map(|value| self.view().string_bytes(value, 0..value.length())).transpose()
    }

    /// Replaces a string opened by [`Tx::string_entry`], without having written that key in
    /// between.
    pub fn put_string(
        &mut self,
        entry: &StringEntry,
        value: &[u8],
        expire_ms: u64,
    ) -> Result<(), CommandError> {
        self.put_value(&entry.user, entry.stored, value, expire_ms)
    }

    /// Gives a string opened by [`Tx::string_entry`] another expiry, without having written that
    /// key in between. Nothing happens if the key does not exist.
    pub fn put_expiry(&mut self, entry: &StringEntry, expire_ms: u64) -> Result<(), CommandError> {
        match &entry.current {
            Some((StringValue::Whole(value), _)) => {
                let record = encode_string(expire_ms, value);
                self.put_record(&entry.user, entry.stored, expire_ms, record)
            }
            Some((StringValue::Chunked(c), _)) => {
                let mut c = c.clone();
                c.meta.expire_ms = expire_ms;
                self.save(c)
            }
            None => Ok(()),
        }
    }

    /// Writes `bytes` into a string opened by [`Tx::string_entry`], without having written that key
    /// in between, at offset `at`; zeros fill what is between the end and `at`. The new string is
    /// not longer than a string may be. Returns its length.
    pub fn write_into_string(
        &mut self,
        entry: StringEntry,
        at: u64,
        bytes: &[u8],
    ) -> Result<u64, CommandError> {
        let expire_ms = entry.expire_ms();
        let new_length = entry.length().max(at + length(bytes));
        let StringEntry { user, stored, current } = entry;
        let mut c = match current {
            Some((StringValue::Chunked(c), _)) => c,
            current => {
                let old = match current {
                    Some((StringValue::Whole(value), _)) => value,
                    _ => Bytes::new(),
                };
                if new_length <= LONGEST_WHOLE {
                    let mut value = Vec::with_capacity(size(new_length));
                    value.extend_from_slice(&old);
                    overwrite(&mut value, size(at), bytes);
                    let record = encode_string(expire_ms, &value);
                    self.put_record(&user, stored, expire_ms, record)?;
                    return Ok(new_length);
                }
                // It grows over the threshold.
                let mut c = self.fresh_string(user, stored)?;
                c.meta.expire_ms = expire_ms;
                self.write_chunks(&mut c, 0, &old)?;
                c
            }
        };
        self.write_chunks(&mut c, at, bytes)?;
        self.save(c)?;
        Ok(new_length)
    }

    /// Deletes a string opened by [`Tx::string_entry`], without having written that key in between.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn delete_string(&mut self, entry: &StringEntry) -> Result<(), CommandError> {
        self.drop_record(&entry.user, entry.stored)
    }

    /// Stores a new value over what stands under a key.
    fn put_value(
        &mut self,
        user: &UserKey,
        stored: Stored,
        value: &[u8],
        expire_ms: u64,
    ) -> Result<(), CommandError> {
        if length(value) <= LONGEST_WHOLE {
            return self.put_record(user, stored, expire_ms, encode_string(expire_ms, value));
        }
        let mut c = self.fresh_string(user.clone(), stored)?;
        c.meta.expire_ms = expire_ms;
        self.write_chunks(&mut c, 0, value)?;
        self.save(c)
    }

    /// A string of this command's version, of which no chunk is stored.
    fn fresh_string(&mut self, user: UserKey, stored: Stored) -> Result<Collection, CommandError> {
        let c = self.fresh(user, stored, DataType::String);
        if std::mem::replace(&mut self.has_chunks, true) {
            // This command may have stored the key before, with the same version.
            let (mut chunks, view) = (Vec::new(), self.view());
            let mut rows = view.subkeys(&c, Direction::Forward)?;
            while let Some((subkey, _)) = rows.next_ref()? {
                chunks.push(c.row(subkey));
            }
            drop(rows);
            chunks.iter().for_each(|row| self.delete_row(Family::Subkey, row));
        }
        Ok(c)
    }

    /// Writes bytes into the chunks that they touch, and counts them.
    fn write_chunks(
        &mut self,
        c: &mut Collection,
        at: u64,
        bytes: &[u8],
    ) -> Result<(), CommandError> {
        let (old_length, end) = (c.meta.size, at + length(bytes));
        let mut rest = bytes;
        for piece in chunk::pieces(at..end) {
            let Some((part, behind)) = rest.split_at_checked(piece.len) else { break };
            rest = behind;
            // What the string has in this chunk.
            let has = old_length.saturating_sub(piece.number * CHUNK_BYTES).min(CHUNK_BYTES);
            let is_covered = piece.start == 0 && has <= length(part);
            let subkey = chunk::subkey(piece.number);
            let mut value = if has == 0 || is_covered {
                Vec::with_capacity(piece.start + part.len())
            } else {
                self.chunk(c, &subkey)?
            };
            overwrite(&mut value, piece.start, part);
            self.put_part(c, &subkey, value)?;
        }
        c.meta.size = old_length.max(end);
        Ok(())
    }

    /// What is stored of a chunk.
    fn chunk(&self, c: &Collection, subkey: &[u8]) -> Result<Vec<u8>, CommandError> {
        let view = self.view();
        let Some(row) = view.read().get(Family::Subkey, &c.row(subkey))? else {
            return Ok(Vec::new());
        };
        chunk::decode(subkey, &row)?;
        Ok(row.to_vec())
    }
}

/// Puts `bytes` at a place of `value`, which grows with zeros if it is too short.
fn overwrite(value: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if value.len() < end {
        value.resize(end, 0);
    }
    if let Some(place) = value.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// A length in memory. What does not fit into an address is refused as too long a reply.
fn size(length: u64) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
