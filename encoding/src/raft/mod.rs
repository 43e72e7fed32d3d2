//! Values of families `raft_log` and `raft_state`: what a Raft group must not forget.
//!
//! ```text
//! log id      version 1 · term 8 · index 8
//! vote        version 1 · term 8 · committed 1 · node (0, or 1 · peer 8)
//! membership  version 1 · log id (0, or 1 · term 8 · index 8) · configs · nodes
//!             configs  count 4, each: count 4 · peers 8 each, ascending
//!             nodes    count 4, each: peer 8 · store 8, ascending by peer
//! entry       version 1 · kind 1 · term 8 · index 8 · payload …           see entry.rs
//! ```
//!
//! The formats are our own and not the consensus library's serialisation, which may change with any
//! of its releases while disks keep their bytes. Every value begins with a version byte; sets are
//! stored ascending, so equal values have equal bytes.
//!
//! Types: [`LogId`], [`Vote`], [`Membership`], [`Entry`] with its [`Payload`], and [`Peer`], a
//! replica as descriptors list it.

mod entry;
mod membership;

use std::fmt;

pub(crate) use entry::read as read_entry;
pub use entry::{Entry, Payload};
pub use membership::Membership;
pub(crate) use membership::read as read_membership;

use crate::{
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence, show},
};

/// Version byte of all values in this module.
const VERSION: u8 = 1;

const VERSION_FIELD: &Field =
    &Field::new("version", "formats change under live data: a reader must know which one this is")
        .evidence(evidence::tag);
const PRESENT: &Field = &Field::new("present", "0 = none follows, 1 = one follows")
    .show(show::boolean)
    .evidence(evidence::tag);
const LOG_ID: &Field =
    &Field::new("log id", "term and index name an entry: no two leaders share a term");
const TERM: &Field = &Field::new("term", "grows with every election").evidence(evidence::small);
const INDEX: &Field = &Field::new("index", "position in the log").evidence(evidence::small);
const COMMITTED: &Field =
    &Field::new("committed", "1 = a majority granted it: that peer leads the term")
        .show(show::boolean)
        .evidence(evidence::tag);
const NODE: &Field = &Field::new("voted for", "a peer votes once in a term, also across restarts");
const NODE_ID: &Field =
    &Field::new("peer", "peer ids are never used again").evidence(evidence::small);

/// Names a log entry. Orders by term, then index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogId {
    /// Term of the leader that wrote the entry.
    pub term: u64,
    /// Position in the log.
    pub index: u64,
}

/// `term-index`.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.index)
    }
}

impl LogId {
    /// The record under `raft_state` committed and purged.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(17);
        out.push(VERSION);
        self.write(&mut out);
        out
    }

    /// The inverse of [`LogId::encode`].
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<LogId, DecodeError> {
        layout::decode(bytes, "log id", read_log_id_record)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.term.to_be_bytes());
        out.extend_from_slice(&self.index.to_be_bytes());
    }
}

/// What a peer has promised: the highest term it has seen, and whom it gave its vote in that term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Vote {
    /// The term.
    pub term: u64,
    /// Peer that it voted for, if it voted.
    pub node: Option<u64>,
    /// Whether a majority granted it, as far as this peer knows.
    pub committed: bool,
}

impl Vote {
    /// The record under `raft_state` vote.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(19);
        out.push(VERSION);
        out.extend_from_slice(&self.term.to_be_bytes());
        out.push(u8::from(self.committed));
        match self.node {
            None => out.push(0),
            Some(node) => {
                out.push(1);
                out.extend_from_slice(&node.to_be_bytes());
            }
        }
        out
    }

    /// The inverse of [`Vote::encode`].
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Vote, DecodeError> {
        layout::decode(bytes, "vote", read_vote)
    }
}

/// Whether a replica votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerRole {
    /// Counts for majorities.
    Voter = 0,
    /// Receives the log only.
    Learner = 1,
}

impl PeerRole {
    /// Name as tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            PeerRole::Voter => "voter",
            PeerRole::Learner => "learner",
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<PeerRole> {
        [PeerRole::Voter, PeerRole::Learner].into_iter().find(|role| *role as u8 == code)
    }
}

/// A replica of a Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Peer id: never used again after the peer is removed.
    pub id: u64,
    /// Store that holds it.
    pub store: u64,
    /// Whether it votes.
    pub role: PeerRole,
}

pub(crate) fn read_version<T: Trace>(r: &mut Reader<'_, T>) -> Result<()> {
    r.tag(VERSION_FIELD, |version| (version == VERSION).then_some(()))
}

/// Writes the version byte that [`read_version`] expects.
pub(crate) fn versioned(capacity: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity);
    out.push(VERSION);
    out
}

pub(crate) fn read_option<'a, T: Trace, X>(
    r: &mut Reader<'a, T>,
    read: impl FnOnce(&mut Reader<'a, T>) -> Result<X>,
) -> Result<Option<X>> {
    if r.tag(PRESENT, boolean)? { read(r).map(Some) } else { Ok(None) }
}

pub(crate) fn write_log_id_option(log_id: Option<LogId>, out: &mut Vec<u8>) {
    match log_id {
        None => out.push(0),
        Some(log_id) => {
            out.push(1);
            log_id.write(out);
        }
    }
}

pub(crate) fn read_log_id_option<T: Trace>(r: &mut Reader<'_, T>) -> Result<Option<LogId>> {
    r.group(LOG_ID, |r| read_option(r, read_log_id))
}

pub(crate) fn read_log_id<T: Trace>(r: &mut Reader<'_, T>) -> Result<LogId> {
    Ok(LogId { term: r.counter(TERM)?, index: r.counter(INDEX)? })
}

pub(crate) fn read_log_id_record<T: Trace>(r: &mut Reader<'_, T>) -> Result<LogId> {
    read_version(r)?;
    read_log_id(r)
}

pub(crate) fn read_vote<T: Trace>(r: &mut Reader<'_, T>) -> Result<Vote> {
    read_version(r)?;
    let term = r.counter(TERM)?;
    let committed = r.tag(COMMITTED, boolean)?;
    let node = r.group(NODE, |r| read_option(r, |r| r.u64(NODE_ID)))?;
    Ok(Vote { term, node, committed })
}

fn boolean(code: u8) -> Option<bool> {
    match code {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[expect(
    clippy::expect_used,
    reason = "a Region has a handful of peers, and ids of four billion would not fit in memory"
)]
pub(crate) fn count(len: usize) -> u32 {
    u32::try_from(len).expect("fewer than four billion items")
}
