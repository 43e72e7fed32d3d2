//! `encode`: keys and values from their meaning, the inverse of `explain`.

use bytes::Bytes;
use neokv_encoding::double;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, UserKey};
use neokv_encoding::metadata::{Collection, DataType, LIST_MIDDLE, encode_string};
use neokv_encoding::slot::slot_of;
use neokv_encoding::v1;
use serde::Serialize;

use crate::args::{self, CollectionValue, Encode, Life, StringValue};
use crate::bytes_input::escape;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::table::Page;
use crate::world::World;

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
    value: bool,
    bytes: Vec<u8>,
}

/// Encodes what the arguments say.
///
/// # Errors
/// Bytes that are not written as they should be, or a list that would end after the last position.
pub fn encode(args: &Encode, world: &mut World<'_>) -> Result<Encoded, CliError> {
    let made = match args {
        Encode::RaftLogKey { region, index } => {
            Made::key("raft_log key", Family::RaftLog, key::raft_log(*region, *index))
        }
        Encode::RaftStateKey { region, record } => {
            Made::key("raft_state key", Family::RaftState, key::raft_state(*region, *record))
        }
        Encode::RegionKey { region, record } => {
            Made::key("region key", Family::Region, key::region(*region, *record))
        }
        Encode::IdentityKey => Made::key("default key", Family::Default, key::IDENTITY),
        Encode::Score { score } => Made {
            what: "score of a zset member",
            family: None,
            value: true,
            bytes: double::encode_value(*score).to_vec(),
        },
        Encode::Slot { key } => {
            let slot = slot_of(&key.read("KEY", world)?);
            Made { what: "slot", family: None, value: false, bytes: slot.to_be_bytes().to_vec() }
        }
        Encode::String(_)
        | Encode::V1String(_)
        | Encode::Hash(_)
        | Encode::List { .. }
        | Encode::Set(_)
        | Encode::Zset(_) => value(args, world)?,
        _ => data_key(args, world)?,
    };
    Ok(made.finish())
}

/// Keys of users' data.
fn data_key(args: &Encode, world: &mut World<'_>) -> Result<Made, CliError> {
    Ok(match args {
        Encode::Subkey { user, version, subkey } => {
            let (user, subkey) = (user_key(user, world)?, subkey.read("SUBKEY", world)?);
            Made::key("subkey key", Family::Subkey, user.subkey(*version, &subkey))
        }
        Encode::Element { user, version, position } => {
            let user = user_key(user, world)?;
            Made::key("subkey key", Family::Subkey, user.subkey(*version, &position.to_be_bytes()))
        }
        Encode::ScoreKey { user, version, score, member } => {
            let (user, member) = (user_key(user, world)?, member.read("MEMBER", world)?);
            Made::key("zset_score key", Family::ZsetScore, user.score(*version, *score, &member))
        }
        Encode::ExpireKey { user, expire_ms } => {
            Made::key("expire key", Family::Expire, user_key(user, world)?.expire(*expire_ms))
        }
        Encode::V1Key(user) => Made::key(
            "subkey key of a phase-1 string",
            Family::Subkey,
            user_key(user, world)?.v1_string(),
        ),
        Encode::MetadataKey(user) => {
            Made::key("metadata key", Family::Metadata, user_key(user, world)?.metadata())
        }
        other => return Err(not_a_key(other)),
    })
}

/// The two functions above and below share all kinds between them; this says which one a new kind
/// was forgotten in.
fn not_a_key(kind: &Encode) -> CliError {
    CliError::Usage {
        what: "cannot encode this".into(),
        why: format!("nobody wrote how: {kind:?}"),
        hint: "another kind of neoctl encode --help".into(),
    }
}

/// Values.
fn value(args: &Encode, world: &mut World<'_>) -> Result<Made, CliError> {
    let collection = |kind, args: &CollectionValue| {
        Collection { size: args.size, ..alive(kind, args.life) }.encode()
    };
    Ok(match args {
        Encode::String(StringValue { value, expire_ms }) => Made::metadata(
            "metadata value of a string",
            encode_string(*expire_ms, &value.read("VALUE", world)?),
        ),
        Encode::Hash(args) => {
            Made::metadata("metadata value of a hash", collection(DataType::Hash, args))
        }
        Encode::Set(args) => {
            Made::metadata("metadata value of a set", collection(DataType::Set, args))
        }
        Encode::Zset(args) => {
            Made::metadata("metadata value of a zset", collection(DataType::Zset, args))
        }
        Encode::List { life, head, size } => {
            let head = head.unwrap_or(LIST_MIDDLE);
            let tail = head.checked_add(*size).ok_or_else(|| CliError::Usage {
                what: "such a list is too long".into(),
                why: format!("{size} elements from position {head} end after the last position"),
                hint: format!("--head {LIST_MIDDLE}, where lists begin"),
            })?;
            let list = Collection { size: *size, head, tail, ..alive(DataType::List, *life) };
            Made::metadata("metadata value of a list", list.encode())
        }
        Encode::V1String(StringValue { value, expire_ms }) => {
            let bytes = v1::encode_value(*expire_ms, &value.read("VALUE", world)?);
            Made { what: "subkey value of a phase-1 string", family: None, value: true, bytes }
        }
        other => return Err(not_a_key(other)),
    })
}

fn alive(kind: DataType, life: Life) -> Collection {
    Collection { expire_ms: life.expire_ms, ..Collection::new(kind, life.version) }
}

fn user_key(user: &args::User, world: &mut World<'_>) -> Result<UserKey, CliError> {
    Ok(UserKey::new(user.namespace, user.key.read("KEY", world)?))
}

impl Made {
    fn key(what: &'static str, family: Family, bytes: impl Into<Vec<u8>>) -> Made {
        Made { what, family: Some(family), value: false, bytes: bytes.into() }
    }

    fn metadata(what: &'static str, bytes: Vec<u8>) -> Made {
        Made { what, family: Some(Family::Metadata), value: true, bytes }
    }

    fn finish(self) -> Encoded {
        let bytes = Bytes::from(self.bytes);
        let hex = hex::encode(&bytes);
        let family = self.family.map(|family| format!(" --family {family}")).unwrap_or_default();
        let value = if self.value && self.family.is_some() { " --value" } else { "" };
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
