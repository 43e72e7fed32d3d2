//! `encode`: keys and values from their meaning, the inverse of `explain`.

use bytes::Bytes;
use neokv_encoding::double;
use neokv_encoding::family::Family;
use neokv_encoding::key;
use neokv_encoding::metadata::{Collection, DataType, LIST_MIDDLE, encode_string};
use neokv_encoding::slot::slot_of;
use neokv_encoding::v1;
use serde::Serialize;

use crate::args::{
    CollectionArgs, CollectionValue, DataKey, Encode, EncodedValue, StringValue, SystemKey,
};
use crate::bytes_input::escape;
use crate::environment::Environment;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::table::Page;

/// Encoded bytes, in every form that something can be pasted into.
#[derive(Debug, Serialize)]
pub struct Encoded {
    what: &'static str,
    family: Option<&'static str>,
    length: usize,
    hex: String,
    escaped: String,
    /// A byte string of Rust.
    rust: String,
    /// Arguments of `neoctl` that explain the bytes.
    explain: String,
}

/// What was encoded: bytes, their family, and whether they are a value of it.
struct Made {
    what: &'static str,
    family: Option<Family>,
    is_value: bool,
    bytes: Vec<u8>,
}

/// Encodes what the arguments say.
///
/// # Errors
/// Bytes that are not written as they should be, or a list that would end after the last position.
pub fn encode(args: &Encode, environment: &mut Environment<'_>) -> Result<Encoded, CliError> {
    let made = match args {
        Encode::DataKey(key) => data_key(key, environment)?,
        Encode::SystemKey(key) => system_key(key),
        Encode::Value(args) => value(args, environment)?,
    };
    Ok(made.finish())
}

/// Keys of users' data.
fn data_key(args: &DataKey, environment: &mut Environment<'_>) -> Result<Made, CliError> {
    Ok(match args {
        DataKey::MetadataKey(user) => {
            Made::key("metadata key", Family::Metadata, user.read(environment)?.metadata())
        }
        DataKey::Subkey { user, version, subkey } => {
            let (user, subkey) = (user.read(environment)?, subkey.read("SUBKEY", environment)?);
            Made::key("subkey key", Family::Subkey, user.subkey(*version, &subkey))
        }
        DataKey::Element { user, version, position } => {
            let user = user.read(environment)?;
            Made::key(
                "subkey key",
                Family::Subkey,
                user.subkey(*version, &key::list_subkey(*position)),
            )
        }
        DataKey::ScoreKey { user, version, score, member } => {
            let (user, member) = (user.read(environment)?, member.read("MEMBER", environment)?);
            Made::key("zset_score key", Family::ZsetScore, user.score(*version, *score, &member))
        }
        DataKey::ExpireKey { user, expire_ms } => {
            Made::key("expire key", Family::Expire, user.read(environment)?.expire(*expire_ms))
        }
        DataKey::SlotStatsKey { slot, namespace } => {
            let key = key::slot_stats(*slot, *namespace);
            Made::key("slot_stats key", Family::SlotStats, key)
        }
        DataKey::V1Key(user) => {
            let key = user.read(environment)?.v1_string();
            Made::key("subkey key of a phase-1 string", Family::Subkey, key)
        }
    })
}

/// Keys of bookkeeping.
fn system_key(args: &SystemKey) -> Made {
    match args {
        SystemKey::RaftLogKey { region, index } => {
            Made::key("raft_log key", Family::RaftLog, key::raft_log(*region, *index))
        }
        SystemKey::RaftStateKey { region, record } => {
            Made::key("raft_state key", Family::RaftState, key::raft_state(*region, *record))
        }
        SystemKey::RegionKey { region, record } => {
            Made::key("region key", Family::Region, key::region(*region, *record))
        }
        SystemKey::IngestKey { region } => {
            Made::key("default key", Family::Default, key::ingest(*region))
        }
        SystemKey::BehindKey => Made::key("default key", Family::Default, key::BEHIND),
        SystemKey::IdentityKey => Made::key("default key", Family::Default, key::IDENTITY),
    }
}

/// Values.
fn value(args: &EncodedValue, environment: &mut Environment<'_>) -> Result<Made, CliError> {
    Ok(match args {
        EncodedValue::String(StringValue { value, expire_ms }) => {
            let value = encode_string(*expire_ms, &value.read("VALUE", environment)?);
            Made::metadata("metadata value of a string", value)
        }
        EncodedValue::Hash(args) => {
            Made::metadata("metadata value of a hash", collection(DataType::Hash, args))
        }
        EncodedValue::Set(args) => {
            Made::metadata("metadata value of a set", collection(DataType::Set, args))
        }
        EncodedValue::Zset(args) => {
            Made::metadata("metadata value of a zset", collection(DataType::Zset, args))
        }
        EncodedValue::List { common, head, size } => {
            let head = head.unwrap_or(LIST_MIDDLE);
            let tail = head.checked_add(*size).ok_or_else(|| CliError::Usage {
                what: "such a list is too long".into(),
                why: format!("{size} elements from position {head} end after the last position"),
                hint: format!("--head {LIST_MIDDLE}, where lists begin"),
            })?;
            let list = Collection { size: *size, head, tail, ..empty(DataType::List, *common) };
            Made::metadata("metadata value of a list", list.encode())
        }
        EncodedValue::Score { score } => {
            Made::part("score of a zset member", double::encode_value(*score))
        }
        EncodedValue::V1String(StringValue { value, expire_ms }) => {
            let value = v1::encode_value(*expire_ms, &value.read("VALUE", environment)?);
            Made::part("subkey value of a phase-1 string", value)
        }
        EncodedValue::Slot { key } => {
            Made::part("slot", slot_of(&key.read("KEY", environment)?).to_be_bytes())
        }
    })
}

fn collection(kind: DataType, args: &CollectionValue) -> Vec<u8> {
    Collection { size: args.size, ..empty(kind, args.common) }.encode()
}

/// A collection without elements.
fn empty(kind: DataType, args: CollectionArgs) -> Collection {
    Collection { expire_ms: args.expire_ms, ..Collection::new(kind, args.version) }
}

impl Made {
    fn key(what: &'static str, family: Family, bytes: impl Into<Vec<u8>>) -> Made {
        Made { what, family: Some(family), is_value: false, bytes: bytes.into() }
    }

    fn metadata(what: &'static str, bytes: Vec<u8>) -> Made {
        Made { what, family: Some(Family::Metadata), is_value: true, bytes }
    }

    /// Bytes that mean something only inside a record, or below a key.
    fn part(what: &'static str, bytes: impl Into<Vec<u8>>) -> Made {
        Made { what, family: None, is_value: true, bytes: bytes.into() }
    }

    fn finish(self) -> Encoded {
        let bytes = Bytes::from(self.bytes);
        let hex = hex::encode(&bytes);
        let family = self.family.map(|family| format!(" --family {family}")).unwrap_or_default();
        let value = if self.is_value && self.family.is_some() { " --value" } else { "" };
        Encoded {
            what: self.what,
            family: self.family.map(Family::name),
            length: bytes.len(),
            escaped: escape(&bytes),
            rust: format!("b\"{}\"", bytes.escape_ascii()),
            explain: format!("explain hex:{hex}{family}{value}"),
            hex,
        }
    }
}

impl Answer for Encoded {
    const SCHEMA: &'static str = "encode";

    fn page(&self, page: &mut Page) {
        page.heading(&format!("{}, {} bytes", self.what, self.length));
        for (form, text) in [("hex", &self.hex), ("escaped", &self.escaped), ("Rust", &self.rust)] {
            page.verbatim(&format!("  {form:<7}  {text}"));
        }
        page.blank();
        page.verbatim(&format!("inverse: neoctl {}", self.explain));
    }
}
