//! Keys of the store by meaning: `{hex, escaped, decoded}` in JSON, and the command line that makes
//! them again.

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{ExpireKey, ScoreKey, SubkeyKey, UserKey};
use neokv_encoding::slot::slot_of;
use neokv_inspect::key::Key;
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use super::command_line::argument;
use super::json::{Number, Timestamp, UserBytes};
use crate::bytes_input::escape;

/// A key as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Family that it is in.
    pub family: Family,
    /// The bytes.
    pub bytes: Bytes,
}

impl Serialize for StoredKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("StoredKey", 4)?;
        fields.serialize_field("hex", &hex::encode(&self.bytes))?;
        fields.serialize_field("escaped", &escape(&self.bytes))?;
        fields.serialize_field("decoded", &Decoded::of(self.family, &self.bytes))?;
        fields.end()
    }
}

/// What a key says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the fields are those of the keys in neokv_encoding, which documents them"
)]
pub enum Decoded {
    Identity,
    Behind,
    Ingest {
        region: Number,
    },
    RaftLog {
        region: Number,
        index: Number,
    },
    RaftState {
        region: Number,
        record: &'static str,
    },
    Region {
        region: Number,
        record: &'static str,
    },
    Metadata {
        slot: u16,
        namespace: u32,
        user_key: UserBytes,
    },
    Subkey {
        slot: u16,
        namespace: u32,
        user_key: UserBytes,
        version: Number,
        subkey: UserBytes,
    },
    V1String {
        slot: u16,
        namespace: u32,
        user_key: UserBytes,
    },
    ZsetScore {
        slot: u16,
        namespace: u32,
        user_key: UserBytes,
        version: Number,
        score: String,
        member: UserBytes,
    },
    Expire {
        slot: u16,
        expire: Timestamp,
        namespace: u32,
        user_key: UserBytes,
    },
    SlotStats {
        slot: u16,
        namespace: u32,
    },
}

impl Decoded {
    /// Decodes a key of a family; `None` if it is none.
    #[must_use]
    pub fn of(family: Family, bytes: &[u8]) -> Option<Decoded> {
        Key::decode(family, bytes).ok().map(Decoded::from)
    }

    /// The arguments of `neoctl` that make this key again; `None` for a key with a slot that is not
    /// its own.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        let user = |slot: &u16, namespace: &u32, key: &UserBytes| {
            let space =
                if *namespace == 0 { String::new() } else { format!("--namespace {namespace} ") };
            (*slot == slot_of(&key.0)).then(|| format!("{space}{}", argument(&key.0)))
        };
        Some(match self {
            Decoded::Identity => "encode identity-key".to_string(),
            Decoded::Behind => "encode behind-key".to_string(),
            Decoded::Ingest { region } => format!("encode ingest-key {region}"),
            Decoded::RaftLog { region, index } => format!("encode raft-log-key {region} {index}"),
            Decoded::RaftState { region, record } => {
                format!("encode raft-state-key {region} {record}")
            }
            Decoded::Region { region, record } => format!("encode region-key {region} {record}"),
            Decoded::Metadata { slot, namespace, user_key } => {
                format!("encode metadata-key {}", user(slot, namespace, user_key)?)
            }
            Decoded::Subkey { slot, namespace, user_key, version, subkey } => {
                format!(
                    "encode subkey {} {version} {}",
                    user(slot, namespace, user_key)?,
                    argument(&subkey.0)
                )
            }
            Decoded::V1String { slot, namespace, user_key } => {
                format!("encode v1-key {}", user(slot, namespace, user_key)?)
            }
            Decoded::ZsetScore { slot, namespace, user_key, version, score, member } => {
                let user = user(slot, namespace, user_key)?;
                format!("encode score-key {user} {version} -- {score} {}", argument(&member.0))
            }
            Decoded::Expire { slot, expire, namespace, user_key } => {
                format!("encode expire-key {} {}", user(slot, namespace, user_key)?, expire.0)
            }
            Decoded::SlotStats { slot, namespace: 0 } => format!("encode slot-stats-key {slot}"),
            Decoded::SlotStats { slot, namespace } => {
                format!("encode slot-stats-key --namespace {namespace} {slot}")
            }
        })
    }
}

impl From<Key> for Decoded {
    fn from(key: Key) -> Decoded {
        match key {
            Key::Identity => Decoded::Identity,
            Key::Behind => Decoded::Behind,
            Key::Ingest { region } => Decoded::Ingest { region: Number(region) },
            Key::RaftLog { region, index } => {
                Decoded::RaftLog { region: Number(region), index: Number(index) }
            }
            Key::RaftState { region, record } => {
                Decoded::RaftState { region: Number(region), record: record.name() }
            }
            Key::Region { region, record } => {
                Decoded::Region { region: Number(region), record: record.name() }
            }
            Key::Metadata(UserKey { slot, namespace, key }) => {
                Decoded::Metadata { slot, namespace, user_key: UserBytes(key) }
            }
            Key::V1String(UserKey { slot, namespace, key }) => {
                Decoded::V1String { slot, namespace, user_key: UserBytes(key) }
            }
            Key::Subkey(SubkeyKey { user, version, subkey }) => Decoded::Subkey {
                slot: user.slot,
                namespace: user.namespace,
                user_key: UserBytes(user.key),
                version: Number(version),
                subkey: UserBytes(subkey),
            },
            Key::ZsetScore(ScoreKey { user, version, score, member }) => Decoded::ZsetScore {
                slot: user.slot,
                namespace: user.namespace,
                user_key: UserBytes(user.key),
                version: Number(version),
                score: neokv_resp::format_double(score),
                member: UserBytes(member),
            },
            Key::Expire(ExpireKey { slot, expire_ms, namespace, key }) => Decoded::Expire {
                slot,
                expire: Timestamp(expire_ms),
                namespace,
                user_key: UserBytes(key),
            },
            Key::SlotStats { slot, namespace } => Decoded::SlotStats { slot, namespace },
        }
    }
}
