//! How commands are encoded into a log entry.
//!
//! The bytes are those of the protobuf message `RedisWriteRequest`. They are written here by hand,
//! straight from the client's arguments: building the message first would cost several allocations
//! per command on the busiest path of the server. Decoding uses the generated code, and a test
//! compares the two.

use bytes::{BufMut, Bytes, BytesMut};
use neokv_encoding::proto;
use neokv_raftstore::Stamp;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use super::Bounds;
use crate::command::Command;

/// One write, as the server or the cleaner hands it to the Region.
pub enum LogCommand {
    /// A client's command.
    Client {
        /// The namespace of its keys.
        namespace: u32,
        /// What it is; its handler must be a write.
        command: &'static Command,
        /// Its words, as the client sent them. Their number fits the arity.
        args: Vec<Bytes>,
    },
    /// A command of the cleaner: it removes these keys if they are still expired.
    Purge {
        /// The namespace of the keys.
        namespace: u32,
        /// The keys. All are of one Region.
        keys: Vec<ExpiredKey>,
    },
}

/// A key that the cleaner found to be expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredKey {
    /// The key.
    pub key: Bytes,
    /// The expiry that it had: milliseconds since the Unix epoch.
    pub expire_ms: u64,
}

// Field numbers of neokv.proto.
const REQUEST_HLC: u32 = 1;
const REQUEST_SEED: u32 = 2;
const REQUEST_COMMANDS: u32 = 3;
const REQUEST_ENOUGH_BYTES: u32 = 4;
const REQUEST_COMMAND_BYTES: u32 = 5;
const COMMAND_NAMESPACE: u32 = 1;
const COMMAND_CLIENT: u32 = 2;
const COMMAND_PURGE: u32 = 3;
const CLIENT_ARGS: u32 = 1;
const PURGE_KEYS: u32 = 1;
const KEY_KEY: u32 = 1;
const KEY_EXPIRE_MS: u32 = 2;

/// Room for all fields but the commands.
const HEAD_BYTES: usize = 48;

impl LogCommand {
    /// Roughly the bytes that the command takes in the log and in memory.
    pub fn weight(&self) -> usize {
        match self {
            LogCommand::Client { args, .. } => {
                args.iter().fold(16, |sum, arg| sum + arg.len() + 16)
            }
            LogCommand::Purge { keys, .. } => {
                keys.iter().fold(16, |sum, key| sum + key.key.len() + 32)
            }
        }
    }

    /// Length of the `ClientCommand` or `PurgeExpired` message.
    fn body_len(&self) -> usize {
        match self {
            LogCommand::Client { command, args, .. } => {
                let words = args.iter().skip(1).map(|arg| field_len(CLIENT_ARGS, arg.len()));
                words.sum::<usize>() + field_len(CLIENT_ARGS, command.name.len())
            }
            LogCommand::Purge { keys, .. } => {
                keys.iter().map(|key| field_len(PURGE_KEYS, key.len())).sum()
            }
        }
    }

    fn namespace(&self) -> u32 {
        match self {
            LogCommand::Client { namespace, .. } | LogCommand::Purge { namespace, .. } => {
                *namespace
            }
        }
    }

    fn field(&self) -> u32 {
        match self {
            LogCommand::Client { .. } => COMMAND_CLIENT,
            LogCommand::Purge { .. } => COMMAND_PURGE,
        }
    }

    fn put_body(&self, out: &mut BytesMut) {
        match self {
            LogCommand::Client { command, args, .. } => {
                put_bytes(CLIENT_ARGS, command.name.as_bytes(), out);
                for arg in args.iter().skip(1) {
                    put_bytes(CLIENT_ARGS, arg, out);
                }
            }
            LogCommand::Purge { keys, .. } => {
                for key in keys {
                    put_length(PURGE_KEYS, key.len(), out);
                    key.put(out);
                }
            }
        }
    }
}

impl From<proto::ExpiredKey> for ExpiredKey {
    fn from(key: proto::ExpiredKey) -> ExpiredKey {
        ExpiredKey { key: key.key, expire_ms: key.expire_ms }
    }
}

impl ExpiredKey {
    /// Length of the `ExpiredKey` message.
    fn len(&self) -> usize {
        let key = if self.key.is_empty() { 0 } else { field_len(KEY_KEY, self.key.len()) };
        key + number_len(KEY_EXPIRE_MS, self.expire_ms)
    }

    fn put(&self, out: &mut BytesMut) {
        if !self.key.is_empty() {
            put_bytes(KEY_KEY, &self.key, out);
        }
        put_number(KEY_EXPIRE_MS, self.expire_ms, out);
    }
}

/// What an entry says besides its commands.
pub(super) struct Head {
    pub(super) stamp: Stamp,
    pub(super) bounds: Bounds,
}

/// The bytes of a `RedisWriteRequest`.
pub(super) fn encode(head: &Head, commands: &[LogCommand]) -> Bytes {
    let Head { stamp, bounds } = head;
    let lengths: Vec<Lengths> = commands.iter().map(Lengths::of).collect();
    let total: usize = lengths.iter().map(|of| field_len(REQUEST_COMMANDS, of.command)).sum();
    let mut out = BytesMut::with_capacity(total + HEAD_BYTES);
    put_fixed(REQUEST_HLC, stamp.hlc, &mut out);
    put_fixed(REQUEST_SEED, stamp.seed, &mut out);
    for (command, of) in commands.iter().zip(lengths) {
        put_length(REQUEST_COMMANDS, of.command, &mut out);
        put_number(COMMAND_NAMESPACE, u64::from(command.namespace()), &mut out);
        put_length(command.field(), of.body, &mut out);
        command.put_body(&mut out);
    }
    put_number(REQUEST_ENOUGH_BYTES, bounds.entry_bytes, &mut out);
    put_number(REQUEST_COMMAND_BYTES, bounds.command_bytes, &mut out);
    out.freeze()
}

/// Lengths of the messages that one command becomes.
struct Lengths {
    /// Of the `ClientCommand` or `PurgeExpired`.
    body: usize,
    /// Of the `WriteCommand` around it.
    command: usize,
}

impl Lengths {
    fn of(command: &LogCommand) -> Lengths {
        let body = command.body_len();
        let namespace = number_len(COMMAND_NAMESPACE, u64::from(command.namespace()));
        Lengths { body, command: namespace + field_len(command.field(), body) }
    }
}

/// Length of a length-delimited field.
fn field_len(tag: u32, len: usize) -> usize {
    key_len(tag) + encoded_len_varint(wide(len)) + len
}

/// Length of a number's field; zero is left out.
fn number_len(tag: u32, value: u64) -> usize {
    if value == 0 { 0 } else { key_len(tag) + encoded_len_varint(value) }
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
        let key = ExpiredKey { key: Bytes::from_static(b"k"), expire_ms: u64::MAX };
        let zero = ExpiredKey { key: Bytes::new(), expire_ms: 0 };
        let commands = [
            LogCommand::Client { namespace: 0, command: set, args: words },
            LogCommand::Purge { namespace: 300, keys: vec![key, zero] },
            LogCommand::Purge { namespace: 0, keys: Vec::new() },
        ];
        let client =
            proto::ClientCommand { args: vec![Bytes::from_static(b"set"), Bytes::new(), long] };
        let keys = vec![
            proto::ExpiredKey { key: Bytes::from_static(b"k"), expire_ms: u64::MAX },
            proto::ExpiredKey::default(),
        ];
        let messages = [
            (0, Kind::Client(client)),
            (300, Kind::Purge(proto::PurgeExpired { keys })),
            (0, Kind::Purge(proto::PurgeExpired::default())),
        ]
        .map(|(namespace, kind)| proto::WriteCommand { namespace, kind: Some(kind) });
        let full = Head {
            stamp: Stamp { hlc: 77, seed: u64::MAX },
            bounds: Bounds { entry_bytes: 3, command_bytes: u64::MAX },
        };
        let empty = Head {
            stamp: Stamp { hlc: 0, seed: 0 },
            bounds: Bounds { entry_bytes: 0, command_bytes: 0 },
        };
        for head in [full, empty] {
            let message = RedisWriteRequest {
                hlc: head.stamp.hlc,
                seed: head.stamp.seed,
                commands: messages.to_vec(),
                enough_bytes: head.bounds.entry_bytes,
                command_bytes: head.bounds.command_bytes,
            };
            assert_eq!(encode(&head, &commands), message.encode_to_vec());
        }
    }
}
