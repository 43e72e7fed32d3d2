//! The bodies of messages, byte by byte. All integers big-endian; the first byte is the format's
//! version, 1.
//!
//! ```text
//!   vote            term u64 · peer u64 · committed u8
//!   log id          term u64 · index u64
//!   optional X      0, or 1 · X
//!   bytes           length u32 · bytes
//!   append          vote · optional previous log id · optional committed log id
//!                   · count u32 · count × bytes (entry)
//!   append answer   0 success | 1 partial · optional log id | 2 conflict | 3 higher vote · vote
//!   vote request    vote · optional last log id · transfer u8
//!   vote answer     vote · granted u8 · optional last log id
//!                   · optional conf_ver u64 (see VoteAnswer)
//!   transfer        vote · to u64 · optional last log id
//!   transfer answer 0
//!                   | 1 · expected vote · actual vote
//!                   | 2 · optional expected log id · optional actual log id
//! ```
//!
//! Entries travel exactly as they are stored. Decoders trust nothing: every length is checked
//! against what is there, and a list grows only as its items are read.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use neokv_encoding::raft as stored;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use super::{MessageKind, TransportError};
use crate::types::{LogId, Origin, TypeConfig, Vote, entry_in, entry_out, log_id};

const VERSION: u8 = 1;

/// Builds a body.
pub(crate) struct Writer(BytesMut);

impl Writer {
    /// An empty body of this version.
    pub(crate) fn new() -> Writer {
        let mut bytes = BytesMut::with_capacity(128);
        bytes.put_u8(VERSION);
        Writer(bytes)
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.put_u8(value);
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.put_u32(value);
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.put_u64(value);
        self
    }

    /// Bytes with their length.
    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.count(value.len());
        self.0.put_slice(value);
        self
    }

    /// A length or a number of items.
    ///
    /// # Panics
    ///
    /// Above 2³². Nothing so large is ever put into one message, and a wrong number would make the
    /// other end read something else.
    fn count(&mut self, number: usize) -> &mut Self {
        let Ok(number) = u32::try_from(number) else {
            panic!("a message cannot hold {number} bytes or items")
        };
        self.u32(number)
    }

    pub(crate) fn vote(&mut self, vote: &Vote) -> &mut Self {
        self.u64(vote.leader_id.term).u64(vote.leader_id.voted_for).u8(u8::from(vote.committed))
    }

    pub(crate) fn log_id(&mut self, id: Option<&LogId>) -> &mut Self {
        match id {
            None => self.u8(0),
            Some(id) => self.u8(1).u64(id.leader_id.term).u64(id.index),
        }
    }

    pub(crate) fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.0).freeze()
    }
}

/// Takes a body apart.
pub(crate) struct Reader(Bytes);

type Result<T> = std::result::Result<T, TransportError>;

impl Reader {
    /// A body of a known version.
    pub(crate) fn new(bytes: Bytes) -> Result<Reader> {
        let mut reader = Reader(bytes);
        match reader.u8()? {
            VERSION => Ok(reader),
            other => Err(garbled(format!("version {other}, this program knows {VERSION}"))),
        }
    }

    fn need(&self, bytes: usize) -> Result<()> {
        let have = self.0.len();
        if have < bytes {
            Err(garbled(format!("{bytes} bytes needed, {have} there")))
        } else {
            Ok(())
        }
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.need(1)?;
        Ok(self.0.get_u8())
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.need(4)?;
        Ok(self.0.get_u32())
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.need(8)?;
        Ok(self.0.get_u64())
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(garbled(format!("flag {other}"))),
        }
    }

    pub(crate) fn bytes(&mut self) -> Result<Bytes> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        self.need(length)?;
        Ok(self.0.split_to(length))
    }

    pub(crate) fn vote(&mut self) -> Result<Vote> {
        let leader_id = LeaderId { term: self.count_of("term")?, voted_for: self.u64()? };
        Ok(Vote { leader_id, committed: self.flag()? })
    }

    pub(crate) fn log_id(&mut self) -> Result<Option<LogId>> {
        if !self.flag()? {
            return Ok(None);
        }
        Ok(Some(log_id(self.count_of("term")?, self.count_of("index")?)))
    }

    /// A number on which Raft counts on.
    fn count_of(&mut self, what: &'static str) -> Result<u64> {
        let number = self.u64()?;
        Origin::Peer.number(what, number).map_err(|error| garbled(error.to_string()))
    }

    /// Nothing may be left.
    pub(crate) fn finish(self) -> Result<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(garbled(format!("{} bytes too many", self.0.len())))
        }
    }
}

/// What a body says, for people; `None` where the kind alone says it.
pub(crate) fn describe(kind: MessageKind, body: &Bytes) -> Option<String> {
    let id = |id: Option<LogId>| {
        id.map_or("nothing".to_owned(), |id| format!("{}-{}", id.leader_id.term, id.index))
    };
    match kind {
        MessageKind::Append => {
            let request = append_in(body.clone()).ok()?;
            let term = request.vote.leader_id.term;
            let entries: Vec<String> =
                request.entries.iter().map(|entry| id(Some(entry.log_id))).collect();
            let entries = if entries.is_empty() { "no entries".into() } else { entries.join(" ") };
            let (after, commit) = (id(request.prev_log_id), id(request.leader_commit));
            Some(format!("term {term}, after {after}: {entries}; committed {commit}"))
        }
        MessageKind::Vote | MessageKind::PreVote => {
            let request = vote_in(body.clone()).ok()?;
            let (term, last) = (request.vote.leader_id.term, id(request.last_log_id));
            Some(format!("term {term}, last entry {last}"))
        }
        // Laid out in `snapshot::send`.
        MessageKind::SnapshotChunk => {
            let mut from = Reader::new(body.clone()).ok()?;
            let (_session, file) = (from.u64().ok()?, from.u32().ok()?);
            Some(format!("of file {file}"))
        }
        MessageKind::TransferLeader | MessageKind::SnapshotOffer | MessageKind::SnapshotEnd => None,
    }
}

fn garbled(why: String) -> TransportError {
    TransportError::Garbled(why)
}

pub(crate) fn append_out(request: &AppendEntriesRequest<TypeConfig>) -> Bytes {
    let mut out = Writer::new();
    out.vote(&request.vote)
        .log_id(request.prev_log_id.as_ref())
        .log_id(request.leader_commit.as_ref());
    out.count(request.entries.len());
    for entry in &request.entries {
        out.bytes(&entry_out(entry).encode());
    }
    out.finish()
}

pub(crate) fn append_in(body: Bytes) -> Result<AppendEntriesRequest<TypeConfig>> {
    let mut from = Reader::new(body)?;
    let vote = from.vote()?;
    let prev_log_id = from.log_id()?;
    let leader_commit = from.log_id()?;
    let mut entries = Vec::new();
    for _ in 0..from.u32()? {
        let entry = stored::Entry::decode(&from.bytes()?);
        let entry = entry.and_then(|entry| Origin::Peer.log_id(entry.log_id).map(|_| entry));
        entries.push(entry_in(entry.map_err(|error| garbled(error.to_string()))?));
    }
    from.finish()?;
    Ok(AppendEntriesRequest { vote, prev_log_id, entries, leader_commit })
}

/// Whether a body is an append without entries. Looks at its head only.
pub(crate) fn is_heartbeat(body: &Bytes) -> bool {
    let entries = || {
        let mut from = Reader::new(body.clone())?;
        from.vote()?;
        from.log_id()?;
        from.log_id()?;
        from.u32()
    };
    entries() == Ok(0)
}

pub(crate) fn append_answer_out(answer: &AppendEntriesResponse<TypeConfig>) -> Bytes {
    let mut out = Writer::new();
    match answer {
        AppendEntriesResponse::Success => out.u8(0),
        AppendEntriesResponse::PartialSuccess(id) => out.u8(1).log_id(id.as_ref()),
        AppendEntriesResponse::Conflict => out.u8(2),
        AppendEntriesResponse::HigherVote(vote) => out.u8(3).vote(vote),
    };
    out.finish()
}

pub(crate) fn append_answer_in(body: Bytes) -> Result<AppendEntriesResponse<TypeConfig>> {
    let mut from = Reader::new(body)?;
    let answer = match from.u8()? {
        0 => AppendEntriesResponse::Success,
        1 => AppendEntriesResponse::PartialSuccess(from.log_id()?),
        2 => AppendEntriesResponse::Conflict,
        3 => AppendEntriesResponse::HigherVote(from.vote()?),
        other => return Err(garbled(format!("answer {other} to an append"))),
    };
    from.finish()?;
    Ok(answer)
}

pub(crate) fn vote_out(request: &VoteRequest<TypeConfig>) -> Bytes {
    let mut out = Writer::new();
    out.vote(&request.vote)
        .log_id(request.last_log_id.as_ref())
        .u8(u8::from(request.leadership_transfer));
    out.finish()
}

pub(crate) fn vote_in(body: Bytes) -> Result<VoteRequest<TypeConfig>> {
    let mut from = Reader::new(body)?;
    let mut request = VoteRequest::new(from.vote()?, from.log_id()?);
    request.leadership_transfer = from.flag()?;
    from.finish()?;
    Ok(request)
}

/// What a peer that asks for a vote is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VoteAnswer {
    /// Raft's answer.
    pub(crate) vote: VoteResponse<TypeConfig>,
    /// The conf_ver of a configuration, applied at the other end, that does not list the asker.
    pub(crate) unlisted: Option<u64>,
}

pub(crate) fn vote_answer_out(answer: &VoteAnswer) -> Bytes {
    let VoteAnswer { vote, unlisted } = answer;
    let mut out = Writer::new();
    out.vote(&vote.vote).u8(u8::from(vote.vote_granted)).log_id(vote.last_log_id.as_ref());
    match unlisted {
        None => out.u8(0),
        Some(conf_ver) => out.u8(1).u64(*conf_ver),
    };
    out.finish()
}

pub(crate) fn vote_answer_in(body: Bytes) -> Result<VoteAnswer> {
    let mut from = Reader::new(body)?;
    let (vote, granted) = (from.vote()?, from.flag()?);
    let vote = VoteResponse::new(vote, from.log_id()?, granted);
    let unlisted = if from.flag()? { Some(from.u64()?) } else { None };
    from.finish()?;
    Ok(VoteAnswer { vote, unlisted })
}

pub(crate) fn transfer_out(request: &TransferLeaderRequest<TypeConfig>) -> Bytes {
    let mut out = Writer::new();
    out.vote(request.from_leader()).u64(*request.to_node_id()).log_id(request.last_log_id());
    out.finish()
}

pub(crate) fn transfer_in(body: Bytes) -> Result<TransferLeaderRequest<TypeConfig>> {
    let mut from = Reader::new(body)?;
    let (vote, to) = (from.vote()?, from.u64()?);
    let request = TransferLeaderRequest::new(vote, to, from.log_id()?);
    from.finish()?;
    Ok(request)
}

pub(crate) fn transfer_answer_out(answer: &TransferLeaderResponse<TypeConfig>) -> Bytes {
    let mut out = Writer::new();
    match answer {
        Ok(()) => out.u8(0),
        Err(TransferLeaderError::VoteChanged { expected, actual }) => {
            out.u8(1).vote(expected).vote(actual)
        }
        Err(TransferLeaderError::LogNotFlushed { expected, actual }) => {
            out.u8(2).log_id(expected.as_ref()).log_id(actual.as_ref())
        }
    };
    out.finish()
}

pub(crate) fn transfer_answer_in(body: Bytes) -> Result<TransferLeaderResponse<TypeConfig>> {
    let mut from = Reader::new(body)?;
    let answer = match from.u8()? {
        0 => Ok(()),
        1 => Err(TransferLeaderError::VoteChanged { expected: from.vote()?, actual: from.vote()? }),
        2 => Err(TransferLeaderError::LogNotFlushed {
            expected: from.log_id()?,
            actual: from.log_id()?,
        }),
        other => return Err(garbled(format!("answer {other} to a transfer"))),
    };
    from.finish()?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use neokv_encoding::region::Epoch;
    use openraft::EntryPayload;
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Data, Entry};

    fn vote(term: u64) -> Vote {
        Vote { leader_id: LeaderId { term, voted_for: 2 }, committed: true }
    }

    fn append() -> AppendEntriesRequest<TypeConfig> {
        let command = Bytes::from_static(b"xy");
        let payload = EntryPayload::Normal(Data::Command { epoch: Epoch::default(), command });
        AppendEntriesRequest {
            vote: vote(3),
            prev_log_id: Some(log_id(1, 5)),
            entries: vec![
                Entry { log_id: log_id(3, 6), payload },
                Entry { log_id: log_id(3, 7), payload: EntryPayload::Blank },
            ],
            leader_commit: None,
        }
    }

    #[test]
    fn an_append_in_bytes() {
        let body = append_out(&append());
        let head = [
            &[1][..],
            &[0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2, 1],
            &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5],
            &[0],
            &[0, 0, 0, 2],
        ]
        .concat();
        assert_eq!(body.get(..head.len()), Some(&head[..]));
        let back = append_in(body).unwrap();
        assert_eq!(
            (back.vote, back.prev_log_id, back.leader_commit),
            (vote(3), Some(log_id(1, 5)), None)
        );
        assert_eq!(back.entries, append().entries);
    }

    #[test]
    fn answers_survive() {
        for answer in [
            AppendEntriesResponse::Success,
            AppendEntriesResponse::PartialSuccess(Some(log_id(2, 9))),
            AppendEntriesResponse::Conflict,
            AppendEntriesResponse::HigherVote(vote(8)),
        ] {
            assert_eq!(append_answer_in(append_answer_out(&answer)).unwrap(), answer);
        }
        let answer = VoteResponse::new(vote(1), Some(log_id(1, 2)), true);
        for unlisted in [None, Some(7)] {
            let answer = VoteAnswer { vote: answer.clone(), unlisted };
            assert_eq!(vote_answer_in(vote_answer_out(&answer)).unwrap(), answer);
        }
        let mut request = VoteRequest::new(vote(4), None);
        request.leadership_transfer = true;
        assert_eq!(vote_in(vote_out(&request)).unwrap(), request);
        let request = TransferLeaderRequest::new(vote(5), 7, Some(log_id(5, 50)));
        assert_eq!(transfer_in(transfer_out(&request)).unwrap(), request);
        for answer in [
            Ok(()),
            Err(TransferLeaderError::VoteChanged { expected: vote(1), actual: vote(2) }),
            Err(TransferLeaderError::LogNotFlushed { expected: None, actual: Some(log_id(1, 1)) }),
        ] {
            assert_eq!(transfer_answer_in(transfer_answer_out(&answer)).unwrap(), answer);
        }
    }

    #[test]
    fn truncated_and_foreign_bodies_are_refused() {
        let body = append_out(&append());
        for length in 0..body.len() {
            assert!(append_in(body.slice(..length)).is_err(), "{length} bytes");
        }
        let mut longer = body.to_vec();
        longer.push(0);
        assert!(append_in(longer.into()).is_err());
        assert!(append_answer_in(Bytes::from_static(&[2, 0])).is_err(), "version 2");
    }

    #[test]
    fn terms_and_indexes_that_none_can_follow_are_refused() {
        let refused = |change: fn(&mut AppendEntriesRequest<TypeConfig>)| {
            let mut request = append();
            change(&mut request);
            append_in(append_out(&request)).is_err()
        };
        assert!(!refused(|_| {}));
        assert!(refused(|request| request.vote = vote(u64::MAX)));
        assert!(refused(|request| request.prev_log_id = Some(log_id(1, u64::MAX))));
        assert!(refused(|request| request.leader_commit = Some(log_id(u64::MAX, 1))));
        assert!(refused(|request| request.entries[1].log_id = log_id(3, u64::MAX)));
        let answer = AppendEntriesResponse::PartialSuccess(Some(log_id(1, u64::MAX)));
        assert!(append_answer_in(append_answer_out(&answer)).is_err());
    }

    proptest! {
        #[test]
        fn decoders_survive_anything(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let body = Bytes::from(bytes);
            let _ = append_in(body.clone());
            let _ = append_answer_in(body.clone());
            let _ = vote_in(body.clone());
            let _ = vote_answer_in(body.clone());
            let _ = transfer_in(body.clone());
            let _ = transfer_answer_in(body);
        }
    }
}
