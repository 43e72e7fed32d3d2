//! Reading the keyspace: the state of one Region's keys at one instant.
//!
//! A [`View`] is what every read command gets, and what a write command reads through before it
//! changes anything. It decides in one place what a client may see:
//!
//! * a record that has expired does not exist, whether or not the cleaner has removed it;
//! * a record of another type than the command's is a WRONGTYPE error, never an absent key;
//! * a key without a record may still be a string in the older format.
//!
//! A `View` is small and copied freely. What it reads from is the caller's choice: the engine
//! itself for a single look-up, a snapshot for commands that read more than one row, the entry's
//! batch inside apply.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, UserKey};
use neokv_encoding::metadata::{self, DataType, Metadata};
use neokv_encoding::slot::SlotRange;
use neokv_encoding::slot_stats::SlotStats;
use neokv_encoding::{DecodeError, v1};
use neokv_engine::{Direction, KeyRange, Read, Slice};
use neokv_raftstore::SplitMix64;

use super::{Collection, CursorTable, ReplyLimit, ScoreSpan, Scores, Subkeys};
use crate::error::CommandError;

/// Whether this process has come across a string of the older format.
///
/// A read without a snapshot looks in two places, one after the other, and a write may move the
/// string from the second to the first in between. The write has seen the string before, so it has
/// set this flag before the string disappears; and the read that finds nothing in either place then
/// looks again. Where there are no such strings, nothing is paid.
static V1_SEEN: AtomicBool = AtomicBool::new(false);

/// The numbers of keys of the slots add up to more than there can be.
const TOO_MANY_KEYS: DecodeError =
    DecodeError::Invalid { what: "slot stats", why: "no Region has so many keys" };

/// What a [`View`] is made from.
#[derive(Clone, Copy)]
pub struct ViewSource<'a> {
    /// Where rows come from.
    pub read: &'a dyn Read,
    /// The instant by which keys have expired or not: milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// The namespace of all keys.
    pub namespace: u32,
    /// The slots of the Region that the keys belong to.
    pub slots: SlotRange,
    /// The first slot of the next Region that this node serves, if there is one: where SCAN goes
    /// on.
    pub next_slot: Option<u16>,
    /// Where random choices start from.
    pub seed: u64,
    /// The positions of cursors handed out earlier; `None` where no cursor can occur (apply).
    pub cursors: Option<&'a CursorTable>,
    /// Bytes that the command may gather before it answers: see [`View::reply_limit`].
    pub max_reply_bytes: u64,
}

/// The keyspace at one instant, for reading.
#[derive(Clone, Copy)]
pub struct View<'a> {
    source: ViewSource<'a>,
}

/// What stands under a key in the store, whether or not a client may see it: all that a write must
/// know about the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stored {
    /// There is a metadata record.
    pub record: bool,
    /// There is no metadata record, but a string in the older format.
    pub v1: bool,
    /// The expiry of the metadata record, which has an `expire` row exactly if this is not 0.
    pub expire_ms: u64,
    /// A client can see the key.
    pub live: bool,
}

/// The row that holds a key's header.
pub(super) enum HeaderRow<'a> {
    Record(Slice<'a>),
    V1(Slice<'a>),
}

impl HeaderRow<'_> {
    /// Type and expiry.
    pub fn header(&self) -> Result<(DataType, u64), DecodeError> {
        match self {
            HeaderRow::Record(bytes) => metadata::decode_header(bytes),
            HeaderRow::V1(bytes) => Ok((DataType::String, v1::decode_value(bytes)?.0)),
        }
    }

    /// Everything that stands in the row; copies a string's value.
    pub fn metadata(&self) -> Result<Metadata, DecodeError> {
        match self {
            HeaderRow::Record(bytes) => Metadata::decode(bytes),
            HeaderRow::V1(bytes) => {
                let (expire_ms, value) = v1::decode_value(bytes)?;
                Ok(Metadata::String { expire_ms, value: Bytes::copy_from_slice(value) })
            }
        }
    }

    /// What a write must know.
    pub fn stored(&self, expire_ms: u64, live: bool) -> Stored {
        match self {
            HeaderRow::Record(_) => Stored { record: true, v1: false, expire_ms, live },
            HeaderRow::V1(_) => Stored { record: false, v1: true, expire_ms: 0, live },
        }
    }
}

impl<'a> View<'a> {
    /// A view over `source`.
    pub fn new(source: ViewSource<'a>) -> View<'a> {
        View { source }
    }

    /// The instant by which keys have expired or not: milliseconds since the Unix epoch.
    pub fn now_ms(&self) -> u64 {
        self.source.now_ms
    }

    /// The namespace of all keys.
    pub fn namespace(&self) -> u32 {
        self.source.namespace
    }

    /// The slots that this view covers.
    pub fn slots(&self) -> SlotRange {
        self.source.slots
    }

    /// The first slot of the next Region that this node serves, if there is one.
    pub fn next_slot(&self) -> Option<u16> {
        self.source.next_slot
    }

    /// A fresh random number generator. Two calls on one view return equal generators.
    pub fn random(&self) -> SplitMix64 {
        SplitMix64::new(self.source.seed)
    }

    /// The positions of cursors handed out earlier.
    pub fn cursors(&self) -> Option<&'a CursorTable> {
        self.source.cursors
    }

    /// Fails if a reply of so many bytes is too much.
    pub fn check_reply(&self, bytes: usize) -> Result<(), CommandError> {
        let fits = u64::try_from(bytes).is_ok_and(|bytes| bytes <= self.source.max_reply_bytes);
        if fits { Ok(()) } else { Err(CommandError::LimitExceeded) }
    }

    /// Counts what the command gathers, beginning with nothing.
    pub fn reply_limit(&self) -> ReplyLimit {
        ReplyLimit::new(self.source.max_reply_bytes)
    }

    /// Where rows come from.
    pub(crate) fn read(&self) -> &'a dyn Read {
        self.source.read
    }

    /// Whether a record with this expiry is invisible. 0 never expires.
    pub fn is_expired(&self, expire_ms: u64) -> bool {
        expire_ms != 0 && expire_ms <= self.source.now_ms
    }

    /// `key` with its slot and namespace.
    pub fn user_key(&self, key: &Bytes) -> UserKey {
        UserKey::new(self.source.namespace, key.clone())
    }

    /// The live record of `key`, of any type.
    pub fn lookup(&self, key: &Bytes) -> Result<Option<Metadata>, CommandError> {
        match self.live_row(&self.user_key(key))? {
            Some((row, ..)) => Ok(Some(row.metadata()?)),
            None => Ok(None),
        }
    }

    /// Type and expiry of the live record of `key`, without copying its value.
    pub fn header(&self, key: &Bytes) -> Result<Option<(DataType, u64)>, CommandError> {
        Ok(self.live_row(&self.user_key(key))?.map(|(_, kind, expire_ms)| (kind, expire_ms)))
    }

    /// Whether `key` exists.
    pub fn exists(&self, key: &Bytes) -> Result<bool, CommandError> {
        Ok(self.header(key)?.is_some())
    }

    /// The collection under `key`; WRONGTYPE if there is something else than `kind`.
    pub fn collection(
        &self,
        key: &Bytes,
        kind: DataType,
    ) -> Result<Option<Collection>, CommandError> {
        let user = self.user_key(key);
        let Some((row, found, expire_ms)) = self.live_row(&user)? else { return Ok(None) };
        if found != kind {
            return Err(CommandError::WrongType);
        }
        match row.metadata()? {
            Metadata::Collection(meta) => {
                Ok(Some(Collection::new(user, meta, row.stored(expire_ms, true), true)))
            }
            Metadata::String { .. } => Err(CommandError::WrongType),
        }
    }

    /// The value of a subkey.
    pub fn subkey(&self, c: &Collection, subkey: &[u8]) -> Result<Option<Bytes>, CommandError> {
        Ok(self
            .source
            .read
            .get(Family::Subkey, &c.row(subkey))?
            .map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Whether a subkey exists.
    pub fn has_subkey(&self, c: &Collection, subkey: &[u8]) -> Result<bool, CommandError> {
        Ok(self.source.read.get(Family::Subkey, &c.row(subkey))?.is_some())
    }

    /// All subkeys with their values.
    pub fn subkeys(
        &self,
        c: &Collection,
        direction: Direction,
    ) -> Result<Subkeys<'a>, CommandError> {
        Subkeys::new(self.source.read, c, None, None, direction)
    }

    /// The subkeys from `start` on: forwards `start` and what is above it, backwards `start` and
    /// what is below it.
    pub fn subkeys_from(
        &self,
        c: &Collection,
        start: &[u8],
        direction: Direction,
    ) -> Result<Subkeys<'a>, CommandError> {
        match direction {
            Direction::Forward => Subkeys::new(self.source.read, c, Some(start), None, direction),
            Direction::Reverse => {
                // The smallest byte string above `start`, as an excluded end.
                let mut end = start.to_vec();
                end.push(0);
                Subkeys::new(self.source.read, c, None, Some(&end), direction)
            }
        }
    }

    /// The subkeys from `start` (included) to `end` (excluded).
    pub fn subkeys_between(
        &self,
        c: &Collection,
        start: &[u8],
        end: &[u8],
        direction: Direction,
    ) -> Result<Subkeys<'a>, CommandError> {
        Subkeys::new(self.source.read, c, Some(start), Some(end), direction)
    }

    /// Shows the values of subkeys, in their order, if memory has all of them: see
    /// [`Read::get_cached`]. Not asked where the rows' keys together are long: each has the user's
    /// key in it, which may be long itself.
    pub fn subkeys_cached<const LEN: usize>(
        &self,
        c: &Collection,
        subkeys: impl Iterator<Item = [u8; LEN]>,
        show: &mut dyn FnMut(&[u8]),
    ) -> Result<bool, CommandError> {
        const MOST_BYTES: usize = 256 << 10;
        let row = c.prefix.len() + LEN;
        let mut keys = Vec::new();
        for subkey in subkeys {
            if keys.len() + row > MOST_BYTES {
                return Ok(false);
            }
            keys.extend_from_slice(&c.prefix);
            keys.extend_from_slice(&subkey);
        }
        Ok(self.source.read.get_cached(Family::Subkey, &keys, row, show)?)
    }

    /// Keeps a subkey's value in memory that a walk has found: see [`Read::keep`].
    pub fn keep_subkey(&self, c: &Collection, subkey: &[u8], value: &[u8]) {
        self.source.read.keep(Family::Subkey, &c.row(subkey), value);
    }

    /// A stretch of a sorted set's score index.
    pub fn scores(
        &self,
        c: &Collection,
        span: &ScoreSpan,
        direction: Direction,
    ) -> Result<Scores<'a>, CommandError> {
        Scores::new(self.source.read, c, span, direction)
    }

    /// Tells how many rows are going to be read: see [`Read::expect_rows`].
    pub fn expect_rows(&self, rows: u64) -> Result<(), CommandError> {
        Ok(self.source.read.expect_rows(rows)?)
    }

    /// The number of keys of a slot, including those that have expired but are not yet removed.
    pub fn slot_keys(&self, slot: u16) -> Result<u64, CommandError> {
        let row = key::slot_stats(slot, self.source.namespace);
        match self.source.read.get(Family::SlotStats, &row)? {
            Some(bytes) => Ok(SlotStats::decode(&bytes)?.keys),
            None => Ok(0),
        }
    }

    /// The number of keys of the Region, including those that have expired but are not yet
    /// removed. Reads a row for each slot that has keys.
    pub fn key_count(&self) -> Result<u64, CommandError> {
        let (start, end) = key::slot_bounds(self.source.slots);
        let range = KeyRange::new(start, end);
        let mut rows = self.source.read.cursor(Family::SlotStats, range, Direction::Forward)?;
        let mut keys = 0;
        while let Some((row, value)) = rows.next()? {
            let (_, namespace) = key::decode_slot_stats(row)?;
            if namespace == self.source.namespace {
                keys = SlotStats::decode(value)?.keys.checked_add(keys).ok_or(TOO_MANY_KEYS)?;
            }
        }
        Ok(keys)
    }

    /// The row of a key's header, in the current or the older format, expired or not.
    pub(super) fn row(&self, user: &UserKey) -> Result<Option<HeaderRow<'a>>, CommandError> {
        let record = user.metadata();
        if let Some(bytes) = self.source.read.get(Family::Metadata, &record)? {
            return Ok(Some(HeaderRow::Record(bytes)));
        }
        if let Some(bytes) = self.source.read.get(Family::Subkey, &user.v1_string())? {
            V1_SEEN.store(true, Ordering::SeqCst);
            return Ok(Some(HeaderRow::V1(bytes)));
        }
        if V1_SEEN.load(Ordering::SeqCst) {
            return Ok(self.source.read.get(Family::Metadata, &record)?.map(HeaderRow::Record));
        }
        Ok(None)
    }

    /// The row of a key's header if a client may see it, with type and expiry.
    pub(super) fn live_row(
        &self,
        user: &UserKey,
    ) -> Result<Option<(HeaderRow<'a>, DataType, u64)>, CommandError> {
        let Some(row) = self.row(user)? else { return Ok(None) };
        let (kind, expire_ms) = row.header()?;
        Ok((!self.is_expired(expire_ms)).then_some((row, kind, expire_ms)))
    }
}
