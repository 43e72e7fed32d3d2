//! Bookkeeping keys: log entries, Raft state, Region records, the store's identity.

use crate::{
    error::DecodeError,
    explain::evidence,
    layout::{self, Field, Reader, Result, Trace},
};

/// Key of the store's identity in family `default`.
pub const IDENTITY: &[u8] = b"identity";

const REGION: &Field = &Field::new("region", "first, so that one Region's records are one range")
    .evidence(evidence::small);
const INDEX: &Field =
    &Field::new("index", "big-endian, so that key order is log order").evidence(evidence::small);
const STATE_KIND: &Field =
    &Field::new("kind", "1 vote, 2 committed, 3 purged").show(show_state).evidence(evidence::tag);
const REGION_KIND: &Field = &Field::new("kind", "1 descriptor, 2 applied, 3 stats")
    .show(show_region)
    .evidence(evidence::tag);
const IDENTITY_KEY: &Field = &Field::new("name", "the only record of this family");

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
    /// A [`Descriptor`](crate::region::Descriptor).
    Descriptor = 1,
    /// An [`Applied`](crate::region::Applied).
    Applied = 2,
    /// [`Stats`](crate::region::Stats).
    Stats = 3,
}

impl RegionKind {
    /// Every kind.
    pub const ALL: [RegionKind; 3] =
        [RegionKind::Descriptor, RegionKind::Applied, RegionKind::Stats];

    /// Name as tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            RegionKind::Descriptor => "descriptor",
            RegionKind::Applied => "applied",
            RegionKind::Stats => "stats",
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
    let [a, b, c, d, e, f, g, h] = region.to_be_bytes();
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

pub(crate) fn read_identity<T: Trace>(r: &mut Reader<'_, T>) -> Result<()> {
    if r.rest(IDENTITY_KEY) == IDENTITY {
        Ok(())
    } else {
        Err(DecodeError::Invalid {
            what: "name",
            why: "the only record of family default is \"identity\"",
        })
    }
}
