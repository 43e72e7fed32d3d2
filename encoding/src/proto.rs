//! The messages inside log entries, generated from `proto/neokv.proto`.
//!
//! A log entry's frame has a fixed layout ([`crate::raft::Entry`]); what it *does* is a protobuf
//! message, because that part grows with every release, and protobuf lets an old field stay and a
//! new one be added without a new format. The fields and the reasons for them are documented in the
//! `.proto` file, and from there in the types below.
//!
//! [`RedisWriteRequest`] is opaque to the Raft layer; only the Redis layer encodes and decodes it.
//! All `bytes` fields are [`bytes::Bytes`], which share the buffer of a request decoded from
//! `Bytes`: no argument is copied.
//!
//! ```
//! use neokv_encoding::proto::write_command::Kind;
//! use neokv_encoding::proto::{ClientCommand, RedisWriteRequest, WriteCommand};
//! use prost::Message;
//!
//! let set = ClientCommand { args: vec!["set".into(), "k".into(), "v".into()] };
//! let commands = vec![WriteCommand { namespace: 0, kind: Some(Kind::Client(set)) }];
//! let request = RedisWriteRequest { hlc: 7 << 16, seed: 1, commands, ..Default::default() };
//! let bytes = bytes::Bytes::from(request.encode_to_vec());
//! assert_eq!(RedisWriteRequest::decode(bytes).unwrap(), request);
//! ```
#![expect(missing_docs, reason = "prost puts no comment on the enums it makes of a oneof")]

include!(concat!(env!("OUT_DIR"), "/neokv.rs"));
