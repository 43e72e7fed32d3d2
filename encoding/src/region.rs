//! Values of family `region`: which replica a store has, what the Region is, and how far this store
//! has applied its log.
//!
//! ```text
//! replica     version 1 · peer 8 · state 1 · epoch (version 8 · conf_ver 8)
//! descriptor  version 1 · id 8 · slots (start 2 · end 2) · epoch (version 8 · conf_ver 8)
//!             · state 1 · peers (count 4, each: id 8 · store 8 · role 1)
//! applied     version 1 · log id (0, or 1 · term 8 · index 8) · membership · clock 8
//! ```
//!
//! A Region is a contiguous range of slots, replicated by one Raft group. Its [`Epoch`] says which
//! shape of it a request refers to. Requests carry the epoch they were routed with, and any
//! difference is answered with the current descriptor.
//!
//! [`Replica`] belongs to this store alone: it names the peer that lives here, or the last one that
//! did. The other records belong to the Region: they are equal on all replicas at the same log
//! index. A snapshot replaces them and never touches the replica record.
//!
//! [`Applied`] is written in the same batch as the effects of the entry it names: a crash finds
//! both or neither.

pub use crate::epoch::Epoch;
use crate::{
    epoch,
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence, show},
    raft::{self, LogId, Membership, Peer, PeerRole},
    slot::SlotRange,
};

const ID: &Field = &Field::new("id", "repeats the key's Region").evidence(evidence::small);
const SLOTS: &Field = &Field::new("slots", "the Region's part of every data family");
const START: &Field = &Field::new("start", "first slot");
const END: &Field = &Field::new("end", "one past the last slot, at most 16384");
const STATE: &Field =
    &Field::new("state", "0 normal, 1 merging").show(show_state).evidence(evidence::tag);
const PEERS: &Field = &Field::new("peers", "the replicas");
const PEER: &Field = &Field::new("peer", "one replica");
const COUNT: &Field = &Field::new("count", "number of items that follow").evidence(evidence::small);
const PEER_ID: &Field =
    &Field::new("id", "never used again after removal").evidence(evidence::small);
const STORE: &Field =
    &Field::new("store", "store that holds the replica").evidence(evidence::small);
const ROLE: &Field =
    &Field::new("role", "0 voter, 1 learner").show(show_role).evidence(evidence::tag);
const MEMBERSHIP: &Field =
    &Field::new("membership", "as of the applied entry; a snapshot carries it");
const CLOCK: &Field = &Field::new("clock", "the next unused stamp: no later entry may be older")
    .show(show::hlc)
    .evidence(evidence::hlc);
const REPLICA_STATE: &Field = &Field::new("state", "0 joining, 1 member, 2 tombstone")
    .show(show_replica)
    .evidence(evidence::tag);

/// Where a replica is in its life on this store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplicaState {
    /// It was created here; no applied entry lists it as a peer yet.
    Joining = 0,
    /// It is a peer of the Region.
    Member = 1,
    /// It was removed; the record is kept so that late messages do not create it again.
    Tombstone = 2,
}

impl ReplicaState {
    /// Name as tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            ReplicaState::Joining => "joining",
            ReplicaState::Member => "member",
            ReplicaState::Tombstone => "tombstone",
        }
    }

    fn from_code(code: u8) -> Option<ReplicaState> {
        [ReplicaState::Joining, ReplicaState::Member, ReplicaState::Tombstone]
            .into_iter()
            .find(|state| *state as u8 == code)
    }
}

/// The replica of a Region that a store has, or had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its peer id. Ids are never used again, and a later peer of a Region has a greater one.
    pub peer: u64,
    /// Where it is in its life.
    pub state: ReplicaState,
    /// Shape of the Region when the record was written.
    pub epoch: Epoch,
}

impl Replica {
    /// The record under `region` replica.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = raft::versioned(26);
        out.extend_from_slice(&self.peer.to_be_bytes());
        out.push(self.state as u8);
        self.epoch.write(&mut out);
        out
    }

    /// The inverse of [`Replica::encode`].
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Replica, DecodeError> {
        layout::decode(bytes, "replica", read_replica)
    }
}

/// Where a Region is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RegionState {
    /// Serves.
    Normal = 0,
    /// Frozen as the source of a merge.
    Merging = 1,
}

impl RegionState {
    /// Name as tools print it.
    pub const fn name(self) -> &'static str {
        match self {
            RegionState::Normal => "normal",
            RegionState::Merging => "merging",
        }
    }

    fn from_code(code: u8) -> Option<RegionState> {
        [RegionState::Normal, RegionState::Merging].into_iter().find(|state| *state as u8 == code)
    }
}

fn show_state(code: u64) -> String {
    let state = u8::try_from(code).ok().and_then(RegionState::from_code);
    state.map_or_else(|| code.to_string(), |state| state.name().to_string())
}

fn show_replica(code: u64) -> String {
    let state = u8::try_from(code).ok().and_then(ReplicaState::from_code);
    state.map_or_else(|| code.to_string(), |state| state.name().to_string())
}

fn show_role(code: u64) -> String {
    let role = u8::try_from(code).ok().and_then(PeerRole::from_code);
    role.map_or_else(|| code.to_string(), |role| role.name().to_string())
}

/// What a Region is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Region id.
    pub id: u64,
    /// Its slots.
    pub slots: SlotRange,
    /// Its shape.
    pub epoch: Epoch,
    /// Its replicas.
    pub peers: Vec<Peer>,
    /// Where it is in its life.
    pub state: RegionState,
}

impl Descriptor {
    /// The record under `region` descriptor.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = raft::versioned(34 + 17 * self.peers.len());
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&self.slots.start.to_be_bytes());
        out.extend_from_slice(&self.slots.end.to_be_bytes());
        self.epoch.write(&mut out);
        out.push(self.state as u8);
        out.extend_from_slice(&raft::count(self.peers.len()).to_be_bytes());
        for peer in &self.peers {
            out.extend_from_slice(&peer.id.to_be_bytes());
            out.extend_from_slice(&peer.store.to_be_bytes());
            out.push(peer.role as u8);
        }
        out
    }

    /// The inverse of [`Descriptor::encode`].
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Descriptor, DecodeError> {
        layout::decode(bytes, "descriptor", read_descriptor)
    }
}

/// How far a store has applied a Region's log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Applied {
    /// Last applied entry.
    pub log_id: Option<LogId>,
    /// Membership as of that entry.
    pub membership: Membership,
    /// Hybrid logical clock: the next unused value.
    pub clock: u64,
}

impl Applied {
    /// The record under `region` applied.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = raft::versioned(96);
        raft::write_log_id_option(self.log_id, &mut out);
        self.membership.write(&mut out);
        out.extend_from_slice(&self.clock.to_be_bytes());
        out
    }

    /// The inverse of [`Applied::encode`].
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Applied, DecodeError> {
        layout::decode(bytes, "applied", read_applied)
    }
}

pub(crate) fn read_replica<T: Trace>(r: &mut Reader<'_, T>) -> Result<Replica> {
    raft::read_version(r)?;
    let peer = r.u64(PEER_ID)?;
    let state = r.tag(REPLICA_STATE, ReplicaState::from_code)?;
    Ok(Replica { peer, state, epoch: epoch::read(r)? })
}

pub(crate) fn read_descriptor<T: Trace>(r: &mut Reader<'_, T>) -> Result<Descriptor> {
    raft::read_version(r)?;
    let id = r.u64(ID)?;
    let slots = r.group(SLOTS, |r| {
        let (start, end) = (r.u16(START)?, r.u16(END)?);
        let why = "start is at most end, and end at most 16384";
        SlotRange::new(start, end).ok_or(DecodeError::Invalid { what: "slots", why })
    })?;
    let epoch = epoch::read(r)?;
    let state = r.tag(STATE, RegionState::from_code)?;
    let peers = r.group(PEERS, |r| {
        let mut peers = Vec::new();
        for _ in 0..r.u32(COUNT)? {
            peers.push(r.group(PEER, |r| {
                Ok(Peer {
                    id: r.u64(PEER_ID)?,
                    store: r.u64(STORE)?,
                    role: r.tag(ROLE, PeerRole::from_code)?,
                })
            })?);
        }
        Ok(peers)
    })?;
    Ok(Descriptor { id, slots, epoch, peers, state })
}

pub(crate) fn read_applied<T: Trace>(r: &mut Reader<'_, T>) -> Result<Applied> {
    raft::read_version(r)?;
    let log_id = raft::read_log_id_option(r)?;
    let membership = r.group(MEMBERSHIP, raft::read_membership)?;
    Ok(Applied { log_id, membership, clock: r.counter(CLOCK)? })
}
