//! The types that Raft works on, and the bridge to the bytes that are stored.
//!
//! Nothing of openraft leaves this crate, and nothing of openraft is ever serialized: its derived
//! formats promise no stability. Votes, log ids, entries and memberships go to disk and to peers as
//! the versioned records of [`neokv_encoding::raft`], and this module converts between the two.
//!
//! ```text
//!   here (openraft)                              stored (neokv_encoding::raft)
//!   NodeId  u64  = peer id, never reused         Peer.id
//!   Node    StoreNode = store id                 Peer.store; its address is looked up
//!   LogId   (term, index)                        LogId, 16 bytes
//!   Vote    (term, peer, committed)              Vote
//!   D       Data: opaque payload or admin        Payload::Command, Payload::Admin
//!   R       Answer: opaque box                   never stored
//! ```
//!
//! The leader id is the standard one (`leader_id_std`): at most one leader per term, so a log id is
//! a term and an index.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use neokv_encoding::DecodeError;
use neokv_encoding::proto::AdminCommand;
use neokv_encoding::raft as stored;
use neokv_encoding::region::{Applied, Descriptor, Epoch};
use neokv_encoding::snapshot::Manifest;
use openraft::entry::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::ClientWriteResult;
use openraft::type_config::alias;
use parking_lot::Mutex;

/// What Raft orders: an opaque payload of the state machine, or a command to the Region itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    /// Commands of the state machine.
    Command {
        /// Shape of the Region that they were proposed for.
        epoch: Epoch,
        /// The state machine's bytes.
        command: Bytes,
    },
    /// A change of the Region (split, merge, ...).
    Admin {
        /// Shape of the Region that it was proposed for.
        epoch: Epoch,
        /// The change.
        command: Box<AdminCommand>,
    },
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { command, .. } => write!(f, "command of {} bytes", command.len()),
            Self::Admin { .. } => f.write_str("admin command"),
        }
    }
}

/// The answer to one entry, of a type that only its proposer knows: the outcomes of the state
/// machine's commands, what became of an admin command, or nothing.
#[derive(Default)]
pub(crate) struct Answer(Mutex<Option<Box<dyn Any + Send>>>);

impl Answer {
    /// Boxes an answer.
    pub(crate) fn of<T: Send + 'static>(answer: T) -> Answer {
        Answer(Mutex::new(Some(Box::new(answer))))
    }

    /// Takes it out again; `None` if there is none or it is of another type.
    pub(crate) fn take<T: 'static>(self) -> Option<T> {
        self.0.into_inner()?.downcast::<T>().ok().map(|answer| *answer)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

/// Where a peer lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct StoreNode {
    /// The store.
    pub(crate) store: u64,
}

/// Who is told what becomes of a write with the result `T`.
pub(crate) trait Completion<T>: Send {
    /// The entry is committed; it will be applied.
    fn committed(&mut self);
    /// The entry is applied, or it was refused.
    fn completed(self: Box<Self>, result: T);
}

/// How replies get back to the proposer without a channel in between.
pub(crate) struct Responder<T>(Box<dyn Completion<T>>);

impl<T> Responder<T> {
    /// A responder that tells `completion`.
    pub(crate) fn new(completion: impl Completion<T> + 'static) -> Self {
        Responder(Box::new(completion))
    }
}

impl<T: Send + 'static> openraft::raft::responder::Responder<TypeConfig, T> for Responder<T> {
    fn on_commit(&mut self, _: LogId) {
        self.0.committed();
    }

    fn on_complete(self, result: T) {
        self.0.completed(result);
    }
}

/// The type configuration of every group in this crate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = Data;
    type R = Answer;
    type NodeId = u64;
    type Node = StoreNode;
    type Term = u64;
    type LeaderId = LeaderId<u64, u64>;
    type Vote = openraft::Vote<Self::LeaderId>;
    type Payload = EntryPayload<Data, u64, StoreNode>;
    type Entry =
        openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft::TokioRuntime;
    type Responder<T>
        = Responder<T>
    where
        T: Send + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: Send + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type Entry = alias::EntryOf<TypeConfig>;
/// The term of a log id.
pub(crate) type CommittedLeaderId = alias::CommittedLeaderIdOf<TypeConfig>;
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type Membership = openraft::Membership<u64, StoreNode>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type WriteResult = ClientWriteResult<TypeConfig>;

/// A log id from its parts.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(alias::CommittedLeaderIdOf::<TypeConfig>::new(term), index)
}

/// Where a number comes from on which this program counts on: an index, a term, a part of an epoch.
///
/// A sum that overflows is a panic, so numbers that are too large for a next one are refused where
/// they come in. What a peer may send is half of what may be on disk, so that nothing that was
/// taken from a peer and counted on can be refused at the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This store's own records.
    Disk,
    /// A peer, or who asks for a new Region.
    Peer,
}

impl Origin {
    fn largest(self) -> u64 {
        match self {
            Self::Disk => u64::MAX >> 1,
            Self::Peer => u64::MAX >> 2,
        }
    }

    /// A number that can be counted on.
    pub(crate) fn number(self, what: &'static str, number: u64) -> Result<u64, DecodeError> {
        if number <= self.largest() {
            Ok(number)
        } else {
            Err(DecodeError::Invalid { what, why: "it is so large that none can follow it" })
        }
    }

    /// A log id whose term and index can be counted on.
    pub(crate) fn log_id(self, id: stored::LogId) -> Result<stored::LogId, DecodeError> {
        self.number("term", id.term)?;
        self.number("index", id.index)?;
        Ok(id)
    }

    /// A value of a Region's clock that can be counted on: each command owns one. The greatest that
    /// a time is made from leaves room for more commands than there will ever be.
    pub(crate) fn clock(self, clock: u64) -> Result<u64, DecodeError> {
        let largest = match self {
            Self::Disk => u64::MAX - (u64::MAX >> 2),
            Self::Peer => u64::MAX >> 1,
        };
        let why = "it is so far ahead that no time can follow it";
        if clock <= largest { Ok(clock) } else { Err(DecodeError::Invalid { what: "clock", why }) }
    }

    /// A vote whose term can be counted on.
    pub(crate) fn vote(self, vote: stored::Vote) -> Result<stored::Vote, DecodeError> {
        self.number("term", vote.term).map(|_| vote)
    }

    /// A descriptor whose epoch can be counted on.
    pub(crate) fn descriptor(self, descriptor: Descriptor) -> Result<Descriptor, DecodeError> {
        self.number("version of the epoch", descriptor.epoch.version)?;
        self.number("conf_ver of the epoch", descriptor.epoch.conf_ver)?;
        Ok(descriptor)
    }

    /// An applied record whose log ids and clock can be counted on.
    pub(crate) fn applied(self, applied: Applied) -> Result<Applied, DecodeError> {
        let ids = [applied.log_id, applied.membership.log_id];
        ids.into_iter().flatten().try_for_each(|id| self.log_id(id).map(drop))?;
        self.clock(applied.clock)?;
        Ok(applied)
    }

    /// The manifest of a snapshot with such records.
    pub(crate) fn manifest(self, manifest: Manifest) -> Result<Manifest, DecodeError> {
        let Manifest { descriptor, applied, files } = manifest;
        let (descriptor, applied) = (self.descriptor(descriptor)?, self.applied(applied)?);
        Ok(Manifest { descriptor, applied, files })
    }
}

/// A stored log id, as Raft sees it.
pub(crate) fn log_id_in(id: stored::LogId) -> LogId {
    log_id(id.term, id.index)
}

/// A log id, as it is stored.
pub(crate) fn log_id_out(id: &LogId) -> stored::LogId {
    stored::LogId { term: id.leader_id.term, index: id.index }
}

/// A stored vote. A vote without a candidate cannot be stored by this program; it is read as a vote
/// for peer 0.
pub(crate) fn vote_in(vote: stored::Vote) -> Vote {
    let leader_id = LeaderId { term: vote.term, voted_for: vote.node.unwrap_or(0) };
    Vote { leader_id, committed: vote.committed }
}

/// A vote, as it is stored.
pub(crate) fn vote_out(vote: &Vote) -> stored::Vote {
    stored::Vote {
        term: vote.leader_id.term,
        node: Some(vote.leader_id.voted_for),
        committed: vote.committed,
    }
}

/// A stored membership.
pub(crate) fn membership_in(membership: &stored::Membership) -> StoredMembership {
    StoredMembership::new(membership.log_id.map(log_id_in), config_in(membership))
}

/// The voters and nodes of a stored membership. Voters without a node get store 0 and
/// configurations without voters do not count, so that nothing read from disk or a peer can make
/// the conversion fail.
pub(crate) fn config_in(membership: &stored::Membership) -> Membership {
    let mut nodes: BTreeMap<u64, StoreNode> =
        membership.nodes.iter().map(|(peer, store)| (*peer, StoreNode { store: *store })).collect();
    for peer in membership.configs.iter().flatten() {
        nodes.entry(*peer).or_default();
    }
    let configs = membership.configs.iter().filter(|voters| !voters.is_empty()).cloned().collect();
    Membership::new(configs, nodes).unwrap_or_default()
}

/// A membership that is in the log at `log_id`, as it is stored.
pub(crate) fn config_out(log_id: Option<&LogId>, membership: &Membership) -> stored::Membership {
    stored::Membership {
        log_id: log_id.map(log_id_out),
        configs: membership.get_joint_config().clone(),
        nodes: membership.nodes().map(|(peer, node)| (*peer, node.store)).collect(),
    }
}

/// Whether `peer` alone decides: the one voter of the one configuration.
pub(crate) fn is_sole_voter(configs: &[BTreeSet<u64>], peer: u64) -> bool {
    !configs.is_empty() && configs.iter().all(|voters| voters.len() == 1 && voters.contains(&peer))
}

/// A stored entry.
pub(crate) fn entry_in(entry: stored::Entry) -> Entry {
    let payload = match entry.payload {
        stored::Payload::Blank => EntryPayload::Blank,
        stored::Payload::Command { epoch, command } => {
            EntryPayload::Normal(Data::Command { epoch, command })
        }
        stored::Payload::Admin { epoch, command } => {
            EntryPayload::Normal(Data::Admin { epoch, command: Box::new(command) })
        }
        stored::Payload::Membership(membership) => EntryPayload::Membership(config_in(&membership)),
    };
    Entry { log_id: log_id_in(entry.log_id), payload }
}

/// An entry, as it is stored. The payload's bytes are shared, not copied.
pub(crate) fn entry_out(entry: &Entry) -> stored::Entry {
    let payload = match &entry.payload {
        EntryPayload::Blank => stored::Payload::Blank,
        EntryPayload::Normal(Data::Command { epoch, command }) => {
            stored::Payload::Command { epoch: *epoch, command: command.clone() }
        }
        EntryPayload::Normal(Data::Admin { epoch, command }) => {
            stored::Payload::Admin { epoch: *epoch, command: (**command).clone() }
        }
        EntryPayload::Membership(membership) => {
            stored::Payload::Membership(config_out(Some(&entry.log_id), membership))
        }
    };
    stored::Entry { log_id: log_id_out(&entry.log_id), payload }
}

/// What an entry costs in memory and, nearly, on disk.
pub(crate) fn entry_weight(entry: &Entry) -> usize {
    const OVERHEAD: usize = 64;
    match &entry.payload {
        EntryPayload::Normal(Data::Command { command, .. }) => command.len() + OVERHEAD,
        _ => OVERHEAD * 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_bridge() {
        let membership = Membership::new(
            vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])],
            BTreeMap::from([
                (1, StoreNode { store: 11 }),
                (2, StoreNode { store: 12 }),
                (3, StoreNode { store: 13 }),
            ]),
        )
        .unwrap();
        let payloads = [
            EntryPayload::Blank,
            EntryPayload::Normal(Data::Command {
                epoch: Epoch { version: 3, conf_ver: 2 },
                command: Bytes::from_static(b"payload"),
            }),
            EntryPayload::Membership(membership),
        ];
        for payload in payloads {
            let entry = Entry { log_id: log_id(7, 42), payload };
            assert_eq!(entry_in(entry_out(&entry)), entry);
        }
    }

    #[test]
    fn votes_survive_the_bridge() {
        for committed in [false, true] {
            let vote = Vote { leader_id: LeaderId { term: 3, voted_for: 9 }, committed };
            assert_eq!(vote_in(vote_out(&vote)), vote);
        }
    }

    #[test]
    fn a_voter_without_a_node_is_unreachable_and_not_a_panic() {
        let stored = stored::Membership {
            log_id: None,
            configs: vec![BTreeSet::from([5])],
            nodes: BTreeMap::new(),
        };
        assert_eq!(config_in(&stored).get_node(&5), Some(&StoreNode { store: 0 }));
    }

    #[test]
    fn what_a_peer_sent_can_be_counted_on_and_still_be_read_from_disk() {
        let largest = |origin: Origin| {
            let fits = |number: &u64| origin.number("index", *number).is_ok();
            [u64::MAX, u64::MAX - 1, u64::MAX >> 1, u64::MAX >> 2].into_iter().find(fits).unwrap()
        };
        assert_eq!(largest(Origin::Disk), u64::MAX >> 1);
        assert_eq!(largest(Origin::Peer), u64::MAX >> 2);
        let id = |term, index| Origin::Disk.log_id(stored::LogId { term, index });
        assert!(id(1, u64::MAX).is_err() && id(u64::MAX, 1).is_err() && id(1, 1).is_ok());
        let clock = |origin: Origin, clock| origin.clock(clock).is_ok();
        let last = neokv_encoding::hlc::from_ms(u64::MAX);
        assert!(clock(Origin::Peer, last + (1 << 60)) && clock(Origin::Disk, u64::MAX >> 1));
        assert!(!clock(Origin::Peer, u64::MAX - (u64::MAX >> 2)) && !clock(Origin::Disk, u64::MAX));
        let epoch = |version, conf_ver| {
            let epoch = Epoch { version, conf_ver };
            Origin::Peer.descriptor(Descriptor { epoch, ..crate::records::unknown(1) })
        };
        assert!(epoch(u64::MAX, 1).is_err() && epoch(1, u64::MAX).is_err() && epoch(1, 1).is_ok());
    }

    #[test]
    fn sole_voter() {
        assert!(is_sole_voter(&[BTreeSet::from([1])], 1));
        assert!(!is_sole_voter(&[BTreeSet::from([2])], 1));
        assert!(!is_sole_voter(&[BTreeSet::from([1]), BTreeSet::from([1, 2])], 1));
        assert!(!is_sole_voter(&[], 1));
    }

    #[test]
    fn replies_of_another_type_are_none() {
        assert_eq!(Answer::of(vec![1u8, 2]).take::<Vec<u8>>(), Some(vec![1, 2]));
        assert_eq!(Answer::of(vec![1u8, 2]).take::<Vec<u16>>(), None);
        assert_eq!(Answer::default().take::<u8>(), None);
    }
}
