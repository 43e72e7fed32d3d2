//! Messages and answers as they travel, and the first words on a stream.

use bytes::Bytes;

use super::proto::{Answer, Call, Failure, Hello, Kind, Reason, answer};
use super::settings::GrpcSettings;
use crate::transport::{Message, MessageKind, TransportError};

/// Version of what stores say to each other.
pub(super) const VERSION: u32 = 1;

/// What a call weighs beside its body.
const AROUND: usize = 64;

/// Bytes of a call, as queues and frames count them.
pub(super) fn weight(body: &Bytes) -> usize {
    body.len().saturating_add(AROUND)
}

/// A message as it travels.
pub(super) fn call(number: u64, message: Message) -> Call {
    let Message { region, from, to, kind, body } = message;
    let kind = match kind {
        MessageKind::Append => Kind::Append,
        MessageKind::Vote => Kind::Vote,
        MessageKind::PreVote => Kind::PreVote,
        MessageKind::TransferLeader => Kind::TransferLeader,
        MessageKind::SnapshotOffer => Kind::SnapshotOffer,
        MessageKind::SnapshotChunk => Kind::SnapshotChunk,
        MessageKind::SnapshotEnd => Kind::SnapshotEnd,
    };
    Call { number, region, from_peer: from, to_peer: to, kind: kind.into(), body }
}

/// The message in a call. An error if this program does not know its kind.
pub(super) fn message(call: Call) -> Result<Message, TransportError> {
    let kind = match Kind::try_from(call.kind) {
        Ok(Kind::Append) => MessageKind::Append,
        Ok(Kind::Vote) => MessageKind::Vote,
        Ok(Kind::PreVote) => MessageKind::PreVote,
        Ok(Kind::TransferLeader) => MessageKind::TransferLeader,
        Ok(Kind::SnapshotOffer) => MessageKind::SnapshotOffer,
        Ok(Kind::SnapshotChunk) => MessageKind::SnapshotChunk,
        Ok(Kind::SnapshotEnd) => MessageKind::SnapshotEnd,
        Ok(Kind::Unknown) | Err(_) => {
            return Err(TransportError::Garbled(format!("kind {} is not known", call.kind)));
        }
    };
    let Call { region, from_peer: from, to_peer: to, body, .. } = call;
    Ok(Message { region, from, to, kind, body })
}

/// The outcome of a call as it travels.
pub(super) fn answer(number: u64, outcome: Result<Bytes, TransportError>) -> Answer {
    let failure = |reason: Reason, store, why| {
        answer::Outcome::Failure(Failure { reason: reason.into(), store, why })
    };
    let outcome = match outcome {
        Ok(body) => answer::Outcome::Body(body),
        Err(TransportError::Unreachable { store, why }) => failure(Reason::Unreachable, store, why),
        Err(TransportError::Refused { store, why }) => failure(Reason::Refused, store, why),
        Err(TransportError::Garbled(why)) => failure(Reason::Garbled, 0, why),
    };
    Answer { number, outcome: Some(outcome) }
}

/// The outcome in an answer.
pub(super) fn outcome(answer: Answer) -> Result<Bytes, TransportError> {
    let failure = match answer.outcome {
        Some(answer::Outcome::Body(body)) => return Ok(body),
        Some(answer::Outcome::Failure(failure)) => failure,
        None => return Err(TransportError::Garbled("an answer without an outcome".to_owned())),
    };
    let Failure { reason, store, why } = failure;
    Err(match Reason::try_from(reason) {
        Ok(Reason::Unreachable) => TransportError::Unreachable { store, why },
        Ok(Reason::Refused) => TransportError::Refused { store, why },
        Ok(Reason::Garbled) => TransportError::Garbled(why),
        Ok(Reason::Unspecified) | Err(_) => {
            TransportError::Garbled(format!("failure {reason} is not known: {why}"))
        }
    })
}

/// Bytes of an answer, as frames count them.
pub(super) fn answer_weight(answer: &Answer) -> usize {
    let bytes = match &answer.outcome {
        Some(answer::Outcome::Body(body)) => body.len(),
        Some(answer::Outcome::Failure(failure)) => failure.why.len(),
        None => 0,
    };
    bytes.saturating_add(AROUND)
}

/// What a client says first.
pub(super) fn hello(settings: &GrpcSettings, store: u64) -> Hello {
    let GrpcSettings { cluster, store: own, .. } = settings;
    Hello { version: VERSION, cluster: *cluster, from_store: *own, to_store: store }
}

/// Whether a server takes a client that says this; if not, why.
pub(super) fn check(settings: &GrpcSettings, hello: &Hello) -> Result<(), String> {
    let GrpcSettings { cluster, store, .. } = settings;
    let Hello { version, cluster: theirs, from_store, to_store } = hello;
    if *version != VERSION {
        return Err(format!(
            "store {store} speaks version {VERSION} between stores and store {from_store} speaks \
             version {version}; run the same release on both"
        ));
    }
    if theirs != cluster {
        return Err(format!(
            "this is a store of cluster {cluster:x} and store {from_store} is one of cluster \
             {theirs:x}; check the addresses of its stores"
        ));
    }
    if to_store != store {
        return Err(format!(
            "this is store {store} and not store {to_store}; check the address of store {to_store}"
        ));
    }
    if from_store == store {
        return Err(format!(
            "this is store {store} and so is the caller; give each store an id of its own"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_the_way() {
        for kind in [
            MessageKind::Append,
            MessageKind::Vote,
            MessageKind::PreVote,
            MessageKind::TransferLeader,
            MessageKind::SnapshotOffer,
            MessageKind::SnapshotChunk,
            MessageKind::SnapshotEnd,
        ] {
            let sent =
                Message { region: 1, from: 2, to: 3, kind, body: Bytes::from_static(b"body") };
            let call = call(9, sent.clone());
            assert_eq!(call.number, 9);
            let back = message(call).unwrap();
            assert_eq!((back.region, back.from, back.to, back.kind), (1, 2, 3, kind));
            assert_eq!(back.body, sent.body);
        }
        for kind in [0, 8, -1] {
            let error = message(Call { kind, ..Call::default() }).unwrap_err();
            assert_eq!(error, TransportError::Garbled(format!("kind {kind} is not known")));
        }
    }

    #[test]
    fn every_outcome_survives_the_way() {
        for sent in [
            Ok(Bytes::from_static(b"answer")),
            Ok(Bytes::new()),
            Err(TransportError::Unreachable { store: 3, why: "it is down".to_owned() }),
            Err(TransportError::Refused { store: 2, why: "its disk is full".to_owned() }),
            Err(TransportError::Garbled("version 9".to_owned())),
        ] {
            assert_eq!(outcome(answer(1, sent.clone())), sent);
        }
        assert!(matches!(outcome(Answer::default()), Err(TransportError::Garbled(_))));
        let failure = Failure { reason: 77, store: 1, why: "new".to_owned() };
        let unknown = Answer { number: 1, outcome: Some(answer::Outcome::Failure(failure)) };
        let why = "failure 77 is not known: new".to_owned();
        assert_eq!(outcome(unknown), Err(TransportError::Garbled(why)));
    }

    #[test]
    fn who_is_refused_is_told_why() {
        let server = GrpcSettings::new(0xA1, 2);
        let good = hello(&GrpcSettings::new(0xA1, 1), 2);
        assert_eq!(check(&server, &good), Ok(()));
        for (hello, why) in [
            (
                Hello { version: 9, cluster: 5, ..good },
                "store 2 speaks version 1 between stores and store 1 speaks version 9; run the \
                 same release on both",
            ),
            (
                Hello { cluster: 0xB2, ..good },
                "this is a store of cluster a1 and store 1 is one of cluster b2; check the \
                 addresses of its stores",
            ),
            (
                Hello { to_store: 3, ..good },
                "this is store 2 and not store 3; check the address of store 3",
            ),
            (
                Hello { from_store: 2, ..good },
                "this is store 2 and so is the caller; give each store an id of its own",
            ),
        ] {
            assert_eq!(check(&server, &hello), Err(why.to_owned()));
        }
    }
}
