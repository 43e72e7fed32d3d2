//! Which messages travel together.
//!
//! | lane | messages | why |
//! | --- | --- | --- |
//! | control | votes, transfers, appends without entries | small, and late is lost: an election |
//! | log | appends with entries | what writes wait for |
//! | snapshot | offers, chunks, ends | much, and nobody waits for it |

use std::fmt;

use crate::transport::{Message, MessageKind, wire};

/// A lane: it has a connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// What keeps a leader its leader, or finds another.
    Control,
    /// Entries.
    Log,
    /// Pieces of snapshots.
    Snapshot,
}

impl Lane {
    /// The lane of a message.
    pub(super) fn of(message: &Message) -> Lane {
        match message.kind {
            MessageKind::Vote | MessageKind::PreVote | MessageKind::TransferLeader => Lane::Control,
            MessageKind::Append if wire::is_heartbeat(&message.body) => Lane::Control,
            MessageKind::Append => Lane::Log,
            MessageKind::SnapshotOffer | MessageKind::SnapshotChunk | MessageKind::SnapshotEnd => {
                Lane::Snapshot
            }
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lane::Control => "control",
            Lane::Log => "log",
            Lane::Snapshot => "snapshot",
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use openraft::EntryPayload;
    use openraft::impls::leader_id_std::LeaderId;
    use openraft::raft::AppendEntriesRequest;

    use super::*;
    use crate::types::{Entry, TypeConfig, Vote, log_id};

    fn append(entries: Vec<Entry>) -> Bytes {
        let vote = Vote { leader_id: LeaderId { term: 3, voted_for: 2 }, committed: true };
        let prev_log_id = Some(log_id(2, 5));
        let request: AppendEntriesRequest<TypeConfig> =
            AppendEntriesRequest { vote, prev_log_id, entries, leader_commit: None };
        wire::append_out(&request)
    }

    #[test]
    fn kind_and_body_decide_the_lane() {
        let entry = Entry { log_id: log_id(3, 6), payload: EntryPayload::Blank };
        let none = Bytes::new();
        let garbled = Bytes::from_static(&[1, 2, 3]);
        for (kind, body, lane) in [
            (MessageKind::Append, append(Vec::new()), Lane::Control),
            (MessageKind::Append, append(vec![entry]), Lane::Log),
            (MessageKind::Append, garbled, Lane::Log),
            (MessageKind::Append, none.clone(), Lane::Log),
            (MessageKind::Vote, none.clone(), Lane::Control),
            (MessageKind::PreVote, none.clone(), Lane::Control),
            (MessageKind::TransferLeader, none.clone(), Lane::Control),
            (MessageKind::SnapshotOffer, none.clone(), Lane::Snapshot),
            (MessageKind::SnapshotChunk, none.clone(), Lane::Snapshot),
            (MessageKind::SnapshotEnd, none, Lane::Snapshot),
        ] {
            let message = Message { region: 1, from: 2, to: 3, kind, body };
            assert_eq!(Lane::of(&message), lane, "{message}");
        }
    }
}
