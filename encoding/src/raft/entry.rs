//! One entry of the Raft log.
//!
//! ```text
//! version 1 · kind 1 · term 8 · index 8 · payload …
//!             1 blank        nothing: a new leader's first entry
//!             2 command      epoch 16 · an encoded RedisWriteRequest; opaque to the Raft layer
//!             3 membership   as in membership.rs, without version byte
//!             4 admin        epoch 16 · an encoded AdminCommand: split, merge
//! ```
//!
//! The epoch is that of the Region when the entry was proposed. The Region may have another shape
//! when the entry is applied: a split may stand before it in the log. Apply compares, and what was
//! meant for slots that the Region no longer has takes no effect.
//!
//! Term and index are in the entry although the key knows the index: an entry in the wrong place
//! must be noticed.
//!
//! Commands are the hot path. [`Entry::encode`] copies a command's bytes once, into the record;
//! [`Entry::decode`] copies nothing: the payload shares the buffer that was read.

use bytes::Bytes;
use prost::Message;

use super::{INDEX, LogId, Membership, TERM, membership, read_version, versioned};
use crate::{
    epoch::{self, Epoch},
    error::DecodeError,
    layout::{Field, Off, Reader, Result, Trace, evidence},
    proto::AdminCommand,
};

const KIND: &Field = &Field::new("kind", "1 blank, 2 command, 3 membership, 4 admin")
    .show(show_kind)
    .evidence(evidence::tag);
const MEMBERSHIP: &Field = &Field::new("membership", "takes effect as soon as it is in the log");
const COMMAND: &Field =
    &Field::new("command", "the Raft layer carries these bytes without looking inside")
        .message("RedisWriteRequest");
const ADMIN: &Field = &Field::new("admin", "changes the Region itself").message("AdminCommand");

/// Bytes before the payload.
const HEADER: usize = 18;

/// What an entry does.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// Nothing: a new leader writes one to learn what is committed.
    Blank,
    /// Commands of the state machine.
    Command {
        /// Shape of the Region that they were proposed for.
        epoch: Epoch,
        /// Opaque here: an encoded [`RedisWriteRequest`](crate::proto::RedisWriteRequest).
        command: Bytes,
    },
    /// The peers from here on.
    Membership(Membership),
    /// A change of the Region itself.
    Admin {
        /// Shape of the Region that it was proposed for.
        epoch: Epoch,
        /// The change.
        command: AdminCommand,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PayloadKind {
    Blank = 1,
    Command = 2,
    Membership = 3,
    Admin = 4,
}

impl PayloadKind {
    const ALL: [PayloadKind; 4] =
        [PayloadKind::Blank, PayloadKind::Command, PayloadKind::Membership, PayloadKind::Admin];

    fn from_code(code: u8) -> Option<PayloadKind> {
        PayloadKind::ALL.into_iter().find(|kind| *kind as u8 == code)
    }

    fn name(self) -> &'static str {
        match self {
            PayloadKind::Blank => "blank",
            PayloadKind::Command => "command",
            PayloadKind::Membership => "membership",
            PayloadKind::Admin => "admin",
        }
    }
}

impl Payload {
    /// Name of the payload's kind, as tools print it.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }

    fn kind(&self) -> PayloadKind {
        match self {
            Payload::Blank => PayloadKind::Blank,
            Payload::Command { .. } => PayloadKind::Command,
            Payload::Membership(_) => PayloadKind::Membership,
            Payload::Admin { .. } => PayloadKind::Admin,
        }
    }
}

fn show_kind(code: u64) -> String {
    let kind = u8::try_from(code).ok().and_then(PayloadKind::from_code);
    kind.map_or_else(|| code.to_string(), |kind| kind.name().to_string())
}

/// One entry of the Raft log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its name.
    pub log_id: LogId,
    /// What it does.
    pub payload: Payload,
}

impl Entry {
    /// The record of family `raft_log`.
    pub fn encode(&self) -> Vec<u8> {
        let capacity = match &self.payload {
            Payload::Command { command, .. } => Epoch::BYTES + command.len(),
            Payload::Admin { command, .. } => Epoch::BYTES + command.encoded_len(),
            Payload::Blank | Payload::Membership(_) => 64,
        };
        let mut out = versioned(HEADER + capacity);
        out.push(self.payload.kind() as u8);
        self.log_id.write(&mut out);
        match &self.payload {
            Payload::Blank => {}
            Payload::Command { epoch, command } => {
                epoch.write(&mut out);
                out.extend_from_slice(command);
            }
            Payload::Membership(membership) => membership.write(&mut out),
            Payload::Admin { epoch, command } => {
                epoch.write(&mut out);
                out.extend_from_slice(&command.encode_to_vec());
            }
        }
        out
    }

    /// Reads a record; a command shares its bytes.
    ///
    /// # Errors
    /// Bytes that no encoder writes, or an admin command that is not a valid message.
    pub fn decode(bytes: &Bytes) -> std::result::Result<Entry, DecodeError> {
        let mut reader = Reader::new(bytes, Off);
        let (log_id, body) = read(&mut reader)?;
        reader.finish("entry")?;
        let payload = match body {
            Body::Blank => Payload::Blank,
            Body::Command(epoch, command) => {
                Payload::Command { epoch, command: bytes.slice_ref(command) }
            }
            Body::Membership(membership) => Payload::Membership(membership),
            Body::Admin(epoch, admin) => {
                Payload::Admin { epoch, command: decode_admin(bytes.slice_ref(admin))? }
            }
        };
        Ok(Entry { log_id, payload })
    }

    /// Reads only the name of an entry, whatever it does.
    ///
    /// # Errors
    /// Bytes too short for an entry, or of another version.
    pub fn decode_log_id(bytes: &[u8]) -> std::result::Result<LogId, DecodeError> {
        read_header(&mut Reader::new(bytes, Off)).map(|(_, log_id)| log_id)
    }
}

fn decode_admin(bytes: Bytes) -> Result<AdminCommand> {
    let admin = AdminCommand::decode(bytes)
        .map_err(|_| DecodeError::Invalid { what: "admin", why: "not an AdminCommand message" })?;
    // A kind from a newer release decodes to none. Skipping it would let replicas differ.
    if admin.kind.is_none() {
        return Err(DecodeError::Invalid {
            what: "admin",
            why: "the message names no command of this release",
        });
    }
    Ok(admin)
}

/// An entry's payload as it lies in the record.
pub(crate) enum Body<'a> {
    Blank,
    Command(Epoch, &'a [u8]),
    Membership(Membership),
    Admin(Epoch, &'a [u8]),
}

fn read_header<T: Trace>(r: &mut Reader<'_, T>) -> Result<(PayloadKind, LogId)> {
    read_version(r)?;
    let kind = r.tag(KIND, PayloadKind::from_code)?;
    Ok((kind, LogId { term: r.counter(TERM)?, index: r.counter(INDEX)? }))
}

pub(crate) fn read<'a, T: Trace>(r: &mut Reader<'a, T>) -> Result<(LogId, Body<'a>)> {
    let (kind, log_id) = read_header(r)?;
    let body = match kind {
        PayloadKind::Blank => Body::Blank,
        PayloadKind::Command => Body::Command(epoch::read(r)?, r.rest(COMMAND)),
        PayloadKind::Membership => Body::Membership(r.group(MEMBERSHIP, membership::read)?),
        PayloadKind::Admin => Body::Admin(epoch::read(r)?, r.rest(ADMIN)),
    };
    Ok((log_id, body))
}
