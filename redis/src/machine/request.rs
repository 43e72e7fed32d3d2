//! Commands on their way into the log.
//!
//! The bytes are those of the protobuf message `RedisWriteRequest`. They are written here by hand,
//! straight from the client's arguments: building the message first would cost several allocations
//! per command on the busiest path there is. Decoding uses the generated code, and a test holds the
//! two against each other.

use bytes::{BufMut, Bytes, BytesMut};
use neokv_encoding::proto;
use neokv_raftstore::{ApplyError, Stamp};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::command;

/// One write, as the server hands it to the Region.
pub enum Command {
    /// A client's command.
    Client {
        /// What it is; its handler must be a write.
        command: &'static command::Command,
        /// Its words, as the client sent them. Their number fits the arity.
        args: Vec<Bytes>,
    },
    /// The cleaner's: remove these keys, if they are still over.
    Purge(Vec<ExpiredKey>),
}

/// A key that the cleaner found to be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredKey {
    /// Its slot.
    pub slot: u16,
    /// Its namespace.
    pub namespace: u32,
    /// The key.
    pub key: Bytes,
    /// The expiry that it had: milliseconds since the Unix epoch.
    pub expire_ms: u64,
}

// Field numbers of neokv.proto.
const REQUEST_HLC: u32 = 1;
const REQUEST_SEED: u32 = 2;
const REQUEST_NAMESPACE: u32 = 3;
const REQUEST_COMMANDS: u32 = 4;
const REQUEST_ENOUGH_BYTES: u32 = 5;
const REQUEST_COMMAND_BYTES: u32 = 6;
const COMMAND_CLIENT: u32 = 1;
const COMMAND_PURGE: u32 = 2;
const CLIENT_ARGS: u32 = 1;
const PURGE_KEYS: u32 = 1;
const KEY_SLOT: u32 = 1;
const KEY_NAMESPACE: u32 = 2;
const KEY_KEY: u32 = 3;
const KEY_EXPIRE_MS: u32 = 4;

/// Room for all fields but the commands.
const HEAD_BYTES: usize = 48;

impl Command {
    /// Roughly the bytes that the command takes in the log and in memory.
    pub fn weight(&self) -> usize {
        match self {
            Command::Client { args, .. } => {
                args.iter().fold(16, |sum, arg| sum.saturating_add(arg.len() + 16))
            }
            Command::Purge(keys) => {
                keys.iter().fold(16, |sum, key| sum.saturating_add(key.key.len() + 32))
            }
        }
    }

    /// Length of the `ClientCommand` or `PurgeExpired` message.
    fn body_len(&self) -> usize {
        match self {
            Command::Client { command, args } => {
                let words = args.iter().skip(1).map(|arg| field_len(CLIENT_ARGS, arg.len()));
                words.fold(field_len(CLIENT_ARGS, command.name.len()), usize::saturating_add)
            }
            Command::Purge(keys) => keys
                .iter()
                .map(|key| field_len(PURGE_KEYS, key.len()))
                .fold(0, usize::saturating_add),
        }
    }

    fn field(&self) -> u32 {
        match self {
            Command::Client { .. } => COMMAND_CLIENT,
            Command::Purge(_) => COMMAND_PURGE,
        }
    }

    fn put_body(&self, out: &mut BytesMut) {
        match self {
            Command::Client { command, args } => {
                put_bytes(CLIENT_ARGS, command.name.as_bytes(), out);
                for arg in args.iter().skip(1) {
                    put_bytes(CLIENT_ARGS, arg, out);
                }
            }
            Command::Purge(keys) => {
                for key in keys {
                    put_length(PURGE_KEYS, key.len(), out);
                    key.put(out);
                }
            }
        }
    }
}

/// A slot as the message has it.
pub(super) fn slot(number: u32) -> Result<u16, ApplyError> {
    u16::try_from(number)
        .map_err(|_| ApplyError::Undecodable(format!("slot {number} does not exist")))
}

impl ExpiredKey {
    /// The key that a message names.
    pub(super) fn of(key: proto::ExpiredKey) -> Result<ExpiredKey, ApplyError> {
        let proto::ExpiredKey { slot: number, namespace, key, expire_ms } = key;
        Ok(ExpiredKey { slot: slot(number)?, namespace, key, expire_ms })
    }

    /// Length of the `ExpiredKey` message.
    fn len(&self) -> usize {
        let key = if self.key.is_empty() { 0 } else { field_len(KEY_KEY, self.key.len()) };
        let numbers = [
            (KEY_SLOT, u64::from(self.slot)),
            (KEY_NAMESPACE, u64::from(self.namespace)),
            (KEY_EXPIRE_MS, self.expire_ms),
        ];
        numbers.iter().filter(|(_, value)| *value != 0).fold(key, |sum, (tag, value)| {
            sum.saturating_add(key_len(*tag)).saturating_add(encoded_len_varint(*value))
        })
    }

    fn put(&self, out: &mut BytesMut) {
        put_number(KEY_SLOT, u64::from(self.slot), out);
        put_number(KEY_NAMESPACE, u64::from(self.namespace), out);
        if !self.key.is_empty() {
            put_bytes(KEY_KEY, &self.key, out);
        }
        put_number(KEY_EXPIRE_MS, self.expire_ms, out);
    }
}

/// What an entry says besides its commands.
pub(super) struct Head {
    pub(super) stamp: Stamp,
    pub(super) namespace: u32,
    /// `enough_bytes` of the message.
    pub(super) enough: u64,
    /// `command_bytes` of the message.
    pub(super) most: u64,
}

/// The bytes of a `RedisWriteRequest`.
pub(super) fn encode(head: &Head, commands: &[Command]) -> Bytes {
    let Head { stamp, namespace, enough, most } = *head;
    let bodies: Vec<usize> = commands.iter().map(Command::body_len).collect();
    let commands_len = commands
        .iter()
        .zip(&bodies)
        .map(|(command, body)| field_len(REQUEST_COMMANDS, field_len(command.field(), *body)));
    let mut out = BytesMut::with_capacity(commands_len.fold(HEAD_BYTES, usize::saturating_add));
    put_fixed(REQUEST_HLC, stamp.hlc, &mut out);
    put_fixed(REQUEST_SEED, stamp.seed, &mut out);
    put_number(REQUEST_NAMESPACE, u64::from(namespace), &mut out);
    for (command, body) in commands.iter().zip(bodies) {
        put_length(REQUEST_COMMANDS, field_len(command.field(), body), &mut out);
        put_length(command.field(), body, &mut out);
        command.put_body(&mut out);
    }
    put_number(REQUEST_ENOUGH_BYTES, enough, &mut out);
    put_number(REQUEST_COMMAND_BYTES, most, &mut out);
    out.freeze()
}

/// Length of a length-delimited field.
fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag).saturating_add(encoded_len_varint(wide(len))).saturating_add(len)
}

fn put_length(tag: u32, len: usize, out: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(wide(len), out);
}

fn put_bytes(tag: u32, bytes: &[u8], out: &mut BytesMut) {
    put_length(tag, bytes.len(), out);
    out.put_slice(bytes);
}

/// A number; zero is left out, as protobuf has it.
fn put_number(tag: u32, value: u64, out: &mut BytesMut) {
    if value != 0 {
        encode_key(tag, WireType::Varint, out);
        encode_varint(value, out);
    }
}

/// A fixed-width number; zero is left out, as protobuf has it.
fn put_fixed(tag: u32, value: u64, out: &mut BytesMut) {
    if value != 0 {
        encode_key(tag, WireType::SixtyFourBit, out);
        out.put_u64_le(value);
    }
}

fn wide(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use neokv_encoding::proto::RedisWriteRequest;
    use neokv_encoding::proto::write_command::Kind;
    use prost::Message;

    use super::*;
    use crate::command::table;

    #[test]
    fn the_bytes_are_those_of_the_message() {
        let set = table::lookup(b"SET").unwrap();
        let long = Bytes::from(vec![b'x'; 70_000]);
        let words = vec![Bytes::from_static(b"SeT"), Bytes::new(), long.clone()];
        let key = ExpiredKey {
            slot: 16383,
            namespace: 300,
            key: Bytes::from_static(b"k"),
            expire_ms: u64::MAX,
        };
        let zero = ExpiredKey { slot: 0, namespace: 0, key: Bytes::new(), expire_ms: 0 };
        let commands = [
            Command::Client { command: set, args: words },
            Command::Purge(vec![key, zero]),
            Command::Purge(Vec::new()),
        ];
        let client =
            proto::ClientCommand { args: vec![Bytes::from_static(b"set"), Bytes::new(), long] };
        let keys = vec![
            proto::ExpiredKey {
                slot: 16383,
                namespace: 300,
                key: Bytes::from_static(b"k"),
                expire_ms: u64::MAX,
            },
            proto::ExpiredKey::default(),
        ];
        let kinds = [
            Kind::Client(client),
            Kind::Purge(proto::PurgeExpired { keys }),
            Kind::Purge(proto::PurgeExpired::default()),
        ];
        let full = Head {
            stamp: Stamp { hlc: 77, seed: u64::MAX },
            namespace: 5,
            enough: 3,
            most: u64::MAX,
        };
        let empty = Head { stamp: Stamp { hlc: 0, seed: 0 }, namespace: 0, enough: 0, most: 0 };
        for head in [full, empty] {
            let message = RedisWriteRequest {
                hlc: head.stamp.hlc,
                seed: head.stamp.seed,
                namespace: head.namespace,
                enough_bytes: head.enough,
                command_bytes: head.most,
                commands: kinds
                    .iter()
                    .map(|kind| proto::WriteCommand { kind: Some(kind.clone()) })
                    .collect(),
            };
            assert_eq!(encode(&head, &commands), message.encode_to_vec());
        }
    }
}
