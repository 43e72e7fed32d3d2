//! Bookkeeping keys: log entries, Raft state, Region records, the store's identity, and marks of
//! work that has begun and not ended.

use crate::{
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence},
};

/// Key of the store's identity in family `default`.
pub const IDENTITY: &[u8] = b"identity";

/// Key in family `default` of the mark that files with written rows are being taken in.
pub const BEHIND: &[u8] = b"behind";

/// What the keys of unfinished ingests in family `default` start with.
pub const INGEST_PREFIX: &[u8] = b"ingest/";

const REGION: &Field = &Field::new("region", "first, so that one Region's records are one range")
    .evidence(evidence::small);
const INDEX: &Field =
    &Field::new("index", "big-endian, so that key order is log order").evidence(evidence::small);
const STATE_KIND: &Field =
    &Field::new("kind", "1 vote, 2 committed, 3 purged").show(show_state).evidence(evidence::tag);
const REGION_KIND: &Field = &Field::new("kind", "1 replica, 2 descriptor, 3 applied")
    .show(show_region)
    .evidence(evidence::tag);
const DEFAULT_NAME: &Field = &Field::new("name", "which of the store's own records this is");
const INGEST_REGION: &Field =
    &Field::new("region", "its data is being replaced and must not be served")
        .evidence(evidence::small);

/// Which record of family `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultKey {
    /// The store's [`Identity`](crate::identity::Identity).
    Identity,
    /// The mark that files with written rows belong together and are being taken in. Its value is
    /// empty.
    Behind,
    /// The mark of an ingest that has begun and not ended. Its value is empty.
    Ingest {
        /// Region whose data is being replaced.
        region: u64,
    },
}

/// Which record of a Region's Raft state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RaftStateKind {
    /// A [`Vote`](crate::raft::Vote).
    Vote = 1,
    /// The last known committed [`LogId`](crate::raft::LogId).
    Committed = 2,
    /// The [`LogId`](crate::raft::LogId) up to which the log was purged.
    Purged = 3,
}

impl RaftStateKind {
    /// Every kind.
    pub const ALL: [RaftStateKind; 3] =
        [RaftStateKind::Vote, RaftStateKind::Committed, RaftStateKind::Purged];

    /// Name as tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            RaftStateKind::Vote => "vote",
            RaftStateKind::Committed => "committed",
            RaftStateKind::Purged => "purged",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// Which record of a Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionKind {
    /// A [`Replica`](crate::region::Replica).
    Replica = 1,
    /// A [`Descriptor`](crate::region::Descriptor).
    Descriptor = 2,
    /// An [`Applied`](crate::region::Applied).
    Applied = 3,
}

impl RegionKind {
    /// Every kind.
    pub const ALL: [RegionKind; 3] =
        [RegionKind::Replica, RegionKind::Descriptor, RegionKind::Applied];

    /// Name as tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            RegionKind::Replica => "replica",
            RegionKind::Descriptor => "descriptor",
            RegionKind::Applied => "applied",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

fn show_state(code: u64) -> String {
    let kind = u8::try_from(code).ok().and_then(RaftStateKind::from_code);
    kind.map_or_else(|| code.to_string(), |kind| kind.name().to_string())
}

fn show_region(code: u64) -> String {
    let kind = u8::try_from(code).ok().and_then(RegionKind::from_code);
    kind.map_or_else(|| code.to_string(), |kind| kind.name().to_string())
}

/// Key in family `default` of the mark that the data of `region` is being replaced.
pub fn ingest(region: u64) -> Vec<u8> {
    [INGEST_PREFIX, &region.to_be_bytes()].concat()
}

/// Which record a key of family `default` names.
///
/// # Errors
/// No record of that family has this key.
pub fn decode_default(bytes: &[u8]) -> std::result::Result<DefaultKey, DecodeError> {
    layout::decode(bytes, "default key", read_default)
}

/// What the keys of one Region start with in families `raft_log`, `raft_state` and `region`.
pub fn region_prefix(region: u64) -> [u8; 8] {
    region.to_be_bytes()
}

/// Key of a log entry in family `raft_log`.
pub fn raft_log(region: u64, index: u64) -> [u8; 16] {
    ((u128::from(region) << 64) | u128::from(index)).to_be_bytes()
}

/// Key in family `raft_state`.
pub fn raft_state(region: u64, kind: RaftStateKind) -> [u8; 9] {
    with_kind(region, kind as u8)
}

/// Key in family `region`.
pub fn region(region: u64, kind: RegionKind) -> [u8; 9] {
    with_kind(region, kind as u8)
}

fn with_kind(region: u64, kind: u8) -> [u8; 9] {
    let [a, b, c, d, e, f, g, h] = region_prefix(region);
    [a, b, c, d, e, f, g, h, kind]
}

/// Region and index of a log entry's key.
///
/// # Errors
/// Other than 16 bytes.
pub fn decode_raft_log(bytes: &[u8]) -> std::result::Result<(u64, u64), DecodeError> {
    layout::decode(bytes, "raft_log key", read_raft_log)
}

/// Region and kind of a key of family `raft_state`.
///
/// # Errors
/// Other than nine bytes, or an unknown kind.
pub fn decode_raft_state(bytes: &[u8]) -> std::result::Result<(u64, RaftStateKind), DecodeError> {
    layout::decode(bytes, "raft_state key", read_raft_state)
}

/// Region and kind of a key of family `region`.
///
/// # Errors
/// Other than nine bytes, or an unknown kind.
pub fn decode_region(bytes: &[u8]) -> std::result::Result<(u64, RegionKind), DecodeError> {
    layout::decode(bytes, "region key", read_region)
}

pub(crate) fn read_raft_log<T: Trace>(r: &mut Reader<'_, T>) -> Result<(u64, u64)> {
    Ok((r.u64(REGION)?, r.u64(INDEX)?))
}

pub(crate) fn read_raft_state<T: Trace>(r: &mut Reader<'_, T>) -> Result<(u64, RaftStateKind)> {
    Ok((r.u64(REGION)?, r.tag(STATE_KIND, RaftStateKind::from_code)?))
}

pub(crate) fn read_region<T: Trace>(r: &mut Reader<'_, T>) -> Result<(u64, RegionKind)> {
    Ok((r.u64(REGION)?, r.tag(REGION_KIND, RegionKind::from_code)?))
}

pub(crate) fn read_default<T: Trace>(r: &mut Reader<'_, T>) -> Result<DefaultKey> {
    if r.peek().starts_with(INGEST_PREFIX) {
        r.bytes(DEFAULT_NAME, INGEST_PREFIX.len())?;
        return Ok(DefaultKey::Ingest { region: r.u64(INGEST_REGION)? });
    }
    match r.rest(DEFAULT_NAME) {
        IDENTITY => Ok(DefaultKey::Identity),
        BEHIND => Ok(DefaultKey::Behind),
        _ => Err(DecodeError::Invalid {
            what: "name",
            why: "family default has \"identity\", \"behind\", and \"ingest/\" with a region",
        }),
    }
}
