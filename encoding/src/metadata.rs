//! Values of family `metadata`: what a user key is, when it expires, and where its parts are.
//!
//! ```text
//! string           flags 1 · expire_ms 8 · value …
//! string in chunks flags 1 · expire_ms 8 · version 8 · length 8
//! hash, set, zset  flags 1 · expire_ms 8 · version 8 · size 8
//! list             flags 1 · expire_ms 8 · version 8 · size 8 · head 8 · tail 8
//! ```
//!
//! `flags` is 0x80 (times and sizes are 64 bits wide) plus the type, plus 0x40 for a string in
//! chunks ([`crate::chunk`]). `expire_ms` is 0 for a key that never expires. `version` is new
//! whenever the key is created, and when most of it is deleted at once: its parts in `subkey` and
//! `zset_score` carry it, so dropping this one record drops a million of them at once. `size` makes
//! HLEN, LLEN, SCARD and ZCARD one look-up, and `length` STRLEN.
//!
//! A list's elements sit at absolute positions `head..tail`, which start at [`LIST_MIDDLE`] and
//! grow both ways: a push touches one element, and positions never shift.
//!
//! Types: [`Metadata`] owns; [`MetadataRef`] borrows, so that GET reads a string's value straight
//! out of RocksDB's block.

use bytes::Bytes;

use crate::{
    chunk,
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence, show},
};

/// Position between the two halves of a list: where head and tail start.
pub const LIST_MIDDLE: u64 = u64::MAX / 2;

/// Set in `flags` of every record: the format with 64-bit times and sizes.
const WIDE: u8 = 0x80;

/// Set in `flags` of a string in chunks.
const CHUNKED: u8 = 0x40;

const FLAGS: &Field = &Field::new("flags", "0x80 (64-bit format) plus the type, 0x40 for chunks")
    .show(show_flags)
    .evidence(evidence::tag);
const EXPIRE_MS: &Field =
    &Field::new("expire_ms", "0 = never; reads and apply treat an expired key as absent")
        .show(show::expiry)
        .evidence(evidence::expiry);
const VALUE: &Field = &Field::new("value", "a string needs no second look-up");
const VERSION: &Field =
    &Field::new("version", "only parts that carry it are visible: DEL of any size is one record")
        .show(show::hlc)
        .evidence(evidence::hlc);
const SIZE: &Field = &Field::new("size", "number of elements; a key with none does not exist")
    .evidence(evidence::small);
const LENGTH: &Field =
    &Field::new("length", "bytes of the whole string, which stand in chunks; STRLEN reads none")
        .evidence(evidence::small);
const HEAD: &Field = &Field::new("head", "position of the first element")
    .show(show_position)
    .evidence(position_evidence);
const TAIL: &Field = &Field::new("tail", "one past the position of the last element")
    .show(show_position)
    .evidence(position_evidence);

/// A list position, relative to the middle.
pub(crate) fn show_position(position: u64) -> String {
    if position >= LIST_MIDDLE {
        format!("{position} (middle + {})", position - LIST_MIDDLE)
    } else {
        format!("{position} (middle - {})", LIST_MIDDLE - position)
    }
}

/// How much a number speaks for being a list position: one near the middle does.
pub(crate) fn position_evidence(position: u64) -> i32 {
    if position.abs_diff(LIST_MIDDLE) < 1 << 40 { 20 } else { -8 }
}

/// What a user key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// A string.
    String = 1,
    /// Fields with values.
    Hash = 2,
    /// Elements in order.
    List = 3,
    /// Members.
    Set = 4,
    /// Members with scores.
    Zset = 5,
}

impl DataType {
    /// Every type.
    pub const ALL: [DataType; 5] =
        [DataType::String, DataType::Hash, DataType::List, DataType::Set, DataType::Zset];

    /// Name as the command TYPE prints it.
    pub const fn name(self) -> &'static str {
        match self {
            DataType::String => "string",
            DataType::Hash => "hash",
            DataType::List => "list",
            DataType::Set => "set",
            DataType::Zset => "zset",
        }
    }

    /// The type with this name, in any case.
    pub fn from_name(name: &[u8]) -> Option<DataType> {
        DataType::ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }

    const fn flags(self) -> u8 {
        WIDE | self as u8
    }

    #[inline]
    fn from_flags(flags: u8) -> Option<DataType> {
        DataType::ALL.into_iter().find(|kind| kind.flags() == flags)
    }
}

/// How a key is stored.
#[derive(Clone, Copy)]
struct Form {
    kind: DataType,
    /// The bytes of a string are elsewhere.
    chunked: bool,
}

impl Form {
    #[inline]
    fn from_flags(flags: u8) -> Option<Form> {
        if flags == DataType::String.flags() | CHUNKED {
            return Some(Form { kind: DataType::String, chunked: true });
        }
        Some(Form { kind: DataType::from_flags(flags)?, chunked: false })
    }
}

fn show_flags(flags: u64) -> String {
    match u8::try_from(flags).ok().and_then(Form::from_flags) {
        Some(Form { chunked: true, .. }) => "string in chunks".to_string(),
        Some(Form { kind, .. }) => kind.name().to_string(),
        None => format!("{flags:#04x}"),
    }
}

/// Everything about a collection, or about a string in chunks, except its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The type. [`DataType::String`]: a string in chunks.
    pub kind: DataType,
    /// When it expires, in milliseconds since 1970; 0 for never.
    pub expire_ms: u64,
    /// The version that its parts carry.
    pub version: u64,
    /// Number of elements; of a string its length in bytes.
    pub size: u64,
    /// Lists only: position of the first element. Stored for lists only, 0 otherwise.
    pub head: u64,
    /// Lists only: one past the position of the last element. Stored for lists only, 0 otherwise.
    pub tail: u64,
}

impl Collection {
    /// An empty collection; a list starts in the middle.
    pub fn new(kind: DataType, version: u64) -> Collection {
        let middle = if kind == DataType::List { LIST_MIDDLE } else { 0 };
        Collection { kind, expire_ms: 0, version, size: 0, head: middle, tail: middle }
    }

    /// The record of family `metadata`.
    ///
    /// # Panics
    /// In debug builds, if it is a string that is not long enough for chunks.
    pub fn encode(&self) -> Vec<u8> {
        let chunked = self.kind == DataType::String;
        debug_assert!(!chunked || self.size > chunk::LONGEST_WHOLE, "it stands in its record");
        let mut out = Vec::with_capacity(41);
        out.push(self.kind.flags() | if chunked { CHUNKED } else { 0 });
        out.extend_from_slice(&self.expire_ms.to_be_bytes());
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        if self.kind == DataType::List {
            out.extend_from_slice(&self.head.to_be_bytes());
            out.extend_from_slice(&self.tail.to_be_bytes());
        }
        out
    }
}

/// A string's expiry and value, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StringRef<'a> {
    /// When it expires, in milliseconds since 1970; 0 for never.
    pub expire_ms: u64,
    /// The value.
    pub value: &'a [u8],
}

/// A record of family `metadata`, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataRef<'a> {
    /// A string that stands in its record.
    String(StringRef<'a>),
    /// A hash, list, set or sorted set, or a string in chunks.
    Collection(Collection),
}

impl<'a> MetadataRef<'a> {
    /// Reads a record without copying a string's value.
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    #[inline]
    pub fn decode(bytes: &'a [u8]) -> std::result::Result<MetadataRef<'a>, DecodeError> {
        layout::decode(bytes, "metadata", read)
    }

    /// The type.
    pub fn kind(&self) -> DataType {
        match self {
            MetadataRef::String(_) => DataType::String,
            MetadataRef::Collection(collection) => collection.kind,
        }
    }

    /// When the key expires, in milliseconds since 1970; 0 for never.
    pub fn expire_ms(&self) -> u64 {
        match self {
            MetadataRef::String(string) => string.expire_ms,
            MetadataRef::Collection(collection) => collection.expire_ms,
        }
    }

    /// The same, with a string's value copied.
    pub fn to_owned(&self) -> Metadata {
        match self {
            MetadataRef::String(StringRef { expire_ms, value }) => {
                Metadata::String { expire_ms: *expire_ms, value: Bytes::copy_from_slice(value) }
            }
            MetadataRef::Collection(collection) => Metadata::Collection(*collection),
        }
    }
}

/// A record of family `metadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// A string that stands in its record.
    String {
        /// When it expires, in milliseconds since 1970; 0 for never.
        expire_ms: u64,
        /// The value.
        value: Bytes,
    },
    /// A hash, list, set or sorted set, or a string in chunks.
    Collection(Collection),
}

impl Metadata {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Metadata::String { expire_ms, value } => encode_string(*expire_ms, value),
            Metadata::Collection(collection) => collection.encode(),
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Metadata, DecodeError> {
        Ok(MetadataRef::decode(bytes)?.to_owned())
    }

    /// The type.
    pub fn kind(&self) -> DataType {
        match self {
            Metadata::String { .. } => DataType::String,
            Metadata::Collection(collection) => collection.kind,
        }
    }

    /// When the key expires, in milliseconds since 1970; 0 for never.
    pub fn expire_ms(&self) -> u64 {
        match self {
            Metadata::String { expire_ms, .. } => *expire_ms,
            Metadata::Collection(collection) => collection.expire_ms,
        }
    }
}

/// The record of a string that stands in it.
pub fn encode_string(expire_ms: u64, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + value.len());
    out.push(DataType::String.flags());
    out.extend_from_slice(&expire_ms.to_be_bytes());
    out.extend_from_slice(value);
    out
}

/// Type and expiry of a record: enough for TYPE, TTL, EXISTS and the cleaner. What follows is not
/// looked at.
///
/// # Errors
/// A record shorter than nine bytes, or of an unknown type.
pub fn decode_header(bytes: &[u8]) -> std::result::Result<(DataType, u64), DecodeError> {
    let (form, expire_ms) = read_header(&mut Reader::new(bytes, layout::Off))?;
    Ok((form.kind, expire_ms))
}

#[inline]
fn read_header<T: Trace>(r: &mut Reader<'_, T>) -> Result<(Form, u64)> {
    Ok((r.tag(FLAGS, Form::from_flags)?, r.u64(EXPIRE_MS)?))
}

#[inline]
pub(crate) fn read<'a, T: Trace>(r: &mut Reader<'a, T>) -> Result<MetadataRef<'a>> {
    let (Form { kind, chunked }, expire_ms) = read_header(r)?;
    if chunked {
        let (version, size) = (r.u64(VERSION)?, r.counter(LENGTH)?);
        if size <= chunk::LONGEST_WHOLE {
            return Err(DecodeError::Invalid { what: "length", why: "a short string is whole" });
        }
        let string = Collection { kind, expire_ms, version, size, head: 0, tail: 0 };
        return Ok(MetadataRef::Collection(string));
    }
    if kind == DataType::String {
        return Ok(MetadataRef::String(StringRef { expire_ms, value: r.rest(VALUE) }));
    }
    let mut collection = Collection {
        kind,
        expire_ms,
        version: r.u64(VERSION)?,
        size: r.u64(SIZE)?,
        head: 0,
        tail: 0,
    };
    if kind == DataType::List {
        collection.head = r.u64(HEAD)?;
        collection.tail = r.u64(TAIL)?;
        // Every position between head and tail holds an element; if not, LRANGE would count what is
        // not there.
        if collection.tail.checked_sub(collection.head) != Some(collection.size) {
            return Err(DecodeError::Invalid { what: "list", why: "tail - head is the size" });
        }
    }
    Ok(MetadataRef::Collection(collection))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_shown_from_the_middle() {
        assert_eq!(show_position(LIST_MIDDLE - 3), "9223372036854775804 (middle - 3)");
        assert_eq!(show_position(LIST_MIDDLE), "9223372036854775807 (middle + 0)");
    }
}
