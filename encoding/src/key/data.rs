//! Data keys: the layouts of the module header, in code.

use bytes::Bytes;

use crate::{
    double,
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence, show},
    slot::{self, SLOTS},
    v1,
};

pub(crate) const SLOT: &Field =
    &Field::new("slot", "first, so that a Region is one range of keys in every family")
        .show(show::slot)
        .evidence(evidence::slot);
const NAMESPACE: &Field =
    &Field::new("namespace", "keys of one tenant of a slot side by side").evidence(evidence::small);
const USER_KEY: &Field =
    &Field::new("user key", "last, so that keys of a slot sort by name and need no length");
const KEY_LENGTH: &Field =
    &Field::new("key length", "user keys are any bytes, so only a length can end one");
const LENGTHY_KEY: &Field = &Field::new("user key", "all parts of one key stay side by side");
const VERSION: &Field = &Field::new("version", "parts of another version of the key are invisible")
    .show(show::hlc)
    .evidence(evidence::hlc);
const SUBKEY: &Field = &Field::new(
    "subkey",
    "hash field, set or zset member; 8 bytes: position in a list, number of a string's chunk",
);
const SCORE: &Field =
    &Field::new("score", "bits flipped so that byte order is number order").show(double::show);
const MEMBER: &Field = &Field::new("member", "after the score: equal scores sort by member");
const EXPIRE_MS: &Field =
    &Field::new("expire_ms", "before the key, so that what expires next comes first")
        .show(show::time)
        .evidence(evidence::time);

/// Slot, namespace and user key: what every data key starts with. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    /// Hash slot of the key.
    pub slot: u16,
    /// Namespace, 0 by default.
    pub namespace: u32,
    /// The key as the client named it.
    pub key: Bytes,
}

impl UserKey {
    /// A user's key, with its slot computed.
    pub fn new(namespace: u32, key: Bytes) -> UserKey {
        UserKey { slot: slot::slot_of(&key), namespace, key }
    }

    /// Key of the record in family `metadata`.
    pub fn metadata(&self) -> Vec<u8> {
        metadata_key(self.slot, self.namespace, &self.key)
    }

    /// Key of a phase-1 string in family `subkey`.
    pub fn v1_string(&self) -> Vec<u8> {
        let mut out = self.length_prefixed(1);
        out.push(v1::STRING);
        out
    }

    /// What all parts of one version start with, in families `subkey` and `zset_score`.
    pub fn subkey_prefix(&self, version: u64) -> Vec<u8> {
        self.versioned(version, 0)
    }

    /// Key of a field, member or element in family `subkey`.
    pub fn subkey(&self, version: u64, subkey: &[u8]) -> Vec<u8> {
        let mut out = self.versioned(version, subkey.len());
        out.extend_from_slice(subkey);
        out
    }

    /// Key of a member in family `zset_score`.
    ///
    /// # Panics
    /// If the score is NaN.
    pub fn score(&self, version: u64, score: f64, member: &[u8]) -> Vec<u8> {
        let mut out = self.versioned(version, 8 + member.len());
        out.extend_from_slice(&double::encode_key(score));
        out.extend_from_slice(member);
        out
    }

    /// Key in family `expire`.
    pub fn expire(&self, expire_ms: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(14 + self.key.len());
        out.extend_from_slice(&self.slot.to_be_bytes());
        out.extend_from_slice(&expire_ms.to_be_bytes());
        out.extend_from_slice(&self.namespace.to_be_bytes());
        out.extend_from_slice(&self.key);
        out
    }

    /// Reads a key of family `metadata`.
    ///
    /// # Errors
    /// Bytes that are too short or hold a slot that does not exist.
    pub fn decode_metadata(bytes: &[u8]) -> std::result::Result<UserKey, DecodeError> {
        layout::decode(bytes, "metadata key", read_metadata)
    }

    fn length_prefixed(&self, more: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(10 + self.key.len() + more);
        out.extend_from_slice(&self.slot.to_be_bytes());
        out.extend_from_slice(&self.namespace.to_be_bytes());
        out.extend_from_slice(&key_length(&self.key).to_be_bytes());
        out.extend_from_slice(&self.key);
        out
    }

    fn versioned(&self, version: u64, more: usize) -> Vec<u8> {
        let mut out = self.length_prefixed(8 + more);
        out.extend_from_slice(&version.to_be_bytes());
        out
    }
}

fn metadata_key(slot: u16, namespace: u32, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 + key.len());
    out.extend_from_slice(&slot.to_be_bytes());
    out.extend_from_slice(&namespace.to_be_bytes());
    out.extend_from_slice(key);
    out
}

#[expect(
    clippy::expect_used,
    reason = "no request is longer than 512 MiB, so no key of four gigabytes gets here"
)]
fn key_length(key: &[u8]) -> u32 {
    u32::try_from(key.len()).expect("a user key is shorter than 4 GiB")
}

/// A key of family `subkey`, borrowed: what a scan or a compaction looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubkeyRef<'a> {
    /// Hash slot of the user key.
    pub slot: u16,
    /// Namespace.
    pub namespace: u32,
    /// The user key.
    pub key: &'a [u8],
    /// Version of the collection or string that this part belongs to.
    pub version: u64,
    /// Field, member, position of the element, or number of the chunk.
    pub subkey: &'a [u8],
}

/// A key of family `zset_score`, borrowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRef<'a> {
    /// Hash slot of the user key.
    pub slot: u16,
    /// Namespace.
    pub namespace: u32,
    /// The user key.
    pub key: &'a [u8],
    /// Version of the sorted set that this member belongs to.
    pub version: u64,
    /// The score; -0 has become 0 here.
    pub score: f64,
    /// The member.
    pub member: &'a [u8],
}

/// A key of family `subkey` of either generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubkeyFamilyRef<'a> {
    /// A part of a collection.
    Part(SubkeyRef<'a>),
    /// A phase-1 string.
    V1String {
        /// Hash slot of the user key.
        slot: u16,
        /// Namespace.
        namespace: u32,
        /// The user key.
        key: &'a [u8],
    },
}

impl<'a> SubkeyFamilyRef<'a> {
    /// Reads a key of family `subkey`, a collection's part or a phase-1 string.
    ///
    /// # Errors
    /// Bytes that are too short or hold a slot that does not exist.
    pub fn decode(bytes: &'a [u8]) -> std::result::Result<Self, DecodeError> {
        layout::decode(bytes, "subkey key", read_subkey_family)
    }
}

impl<'a> SubkeyRef<'a> {
    /// Reads a key of family `subkey` that belongs to a collection.
    ///
    /// # Errors
    /// Bytes that are too short, hold a slot that does not exist, or are a phase-1 string.
    pub fn decode(bytes: &'a [u8]) -> std::result::Result<Self, DecodeError> {
        match SubkeyFamilyRef::decode(bytes)? {
            SubkeyFamilyRef::Part(part) => Ok(part),
            SubkeyFamilyRef::V1String { .. } => Err(DecodeError::Invalid {
                what: "subkey key",
                why: "it is a phase-1 string, not part of a collection",
            }),
        }
    }

    /// Key of the record in family `metadata` that this part hangs on.
    pub fn metadata(&self) -> Vec<u8> {
        metadata_key(self.slot, self.namespace, self.key)
    }
}

impl<'a> ScoreRef<'a> {
    /// Reads a key of family `zset_score`.
    ///
    /// # Errors
    /// Bytes that are too short, hold a slot that does not exist, or a score that no encoder
    /// writes.
    pub fn decode(bytes: &'a [u8]) -> std::result::Result<Self, DecodeError> {
        layout::decode(bytes, "score key", read_score)
    }

    /// Key of the record in family `metadata` that this member hangs on.
    pub fn metadata(&self) -> Vec<u8> {
        metadata_key(self.slot, self.namespace, self.key)
    }
}

/// A key of family `subkey`, owned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubkeyKey {
    /// Whose part it is.
    pub user: UserKey,
    /// Version of the collection or string that this part belongs to.
    pub version: u64,
    /// Field, member, position of the element, or number of the chunk.
    pub subkey: Bytes,
}

impl SubkeyKey {
    /// Reads a key of family `subkey` that belongs to a collection.
    ///
    /// # Errors
    /// As [`SubkeyRef::decode`].
    pub fn decode(bytes: &[u8]) -> std::result::Result<SubkeyKey, DecodeError> {
        let SubkeyRef { slot, namespace, key, version, subkey } = SubkeyRef::decode(bytes)?;
        let user = UserKey { slot, namespace, key: Bytes::copy_from_slice(key) };
        Ok(SubkeyKey { user, version, subkey: Bytes::copy_from_slice(subkey) })
    }
}

/// A key of family `zset_score`, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreKey {
    /// Whose member it is.
    pub user: UserKey,
    /// Version of the sorted set that this member belongs to.
    pub version: u64,
    /// The score; -0 has become 0 here.
    pub score: f64,
    /// The member.
    pub member: Bytes,
}

impl ScoreKey {
    /// Reads a key of family `zset_score`.
    ///
    /// # Errors
    /// As [`ScoreRef::decode`].
    pub fn decode(bytes: &[u8]) -> std::result::Result<ScoreKey, DecodeError> {
        let ScoreRef { slot, namespace, key, version, score, member } = ScoreRef::decode(bytes)?;
        let user = UserKey { slot, namespace, key: Bytes::copy_from_slice(key) };
        Ok(ScoreKey { user, version, score, member: Bytes::copy_from_slice(member) })
    }
}

/// A key of family `expire`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpireKey {
    /// Hash slot of the user key.
    pub slot: u16,
    /// When the key expires, in milliseconds since 1970.
    pub expire_ms: u64,
    /// Namespace.
    pub namespace: u32,
    /// The user key.
    pub key: Bytes,
}

impl ExpireKey {
    /// Reads a key of family `expire`.
    ///
    /// # Errors
    /// Bytes that are too short or hold a slot that does not exist.
    pub fn decode(bytes: &[u8]) -> std::result::Result<ExpireKey, DecodeError> {
        layout::decode(bytes, "expire key", read_expire)
    }
}

pub(crate) fn read_slot<T: Trace>(r: &mut Reader<'_, T>, field: &'static Field) -> Result<u16> {
    let slot = r.u16(field)?;
    if slot < SLOTS {
        Ok(slot)
    } else {
        Err(DecodeError::Invalid { what: "slot", why: "slots are 0 to 16383" })
    }
}

pub(crate) fn read_metadata<T: Trace>(r: &mut Reader<'_, T>) -> Result<UserKey> {
    let slot = read_slot(r, SLOT)?;
    let namespace = r.u32(NAMESPACE)?;
    Ok(UserKey { slot, namespace, key: Bytes::copy_from_slice(r.rest(USER_KEY)) })
}

pub(crate) fn read_slot_stats<T: Trace>(r: &mut Reader<'_, T>) -> Result<(u16, u32)> {
    Ok((read_slot(r, SLOT)?, r.u32(NAMESPACE)?))
}

pub(crate) fn read_expire<T: Trace>(r: &mut Reader<'_, T>) -> Result<ExpireKey> {
    let slot = read_slot(r, SLOT)?;
    let expire_ms = r.u64(EXPIRE_MS)?;
    let namespace = r.u32(NAMESPACE)?;
    Ok(ExpireKey { slot, expire_ms, namespace, key: Bytes::copy_from_slice(r.rest(USER_KEY)) })
}

fn read_user<'a, T: Trace>(r: &mut Reader<'a, T>) -> Result<(u16, u32, &'a [u8])> {
    let slot = read_slot(r, SLOT)?;
    let namespace = r.u32(NAMESPACE)?;
    // A length that does not even fit in memory's address range is longer than what is left, too.
    let length = usize::try_from(r.u32(KEY_LENGTH)?).unwrap_or(usize::MAX);
    Ok((slot, namespace, r.bytes(LENGTHY_KEY, length)?))
}

pub(crate) fn read_subkey_family<'a, T: Trace>(
    r: &mut Reader<'a, T>,
) -> Result<SubkeyFamilyRef<'a>> {
    let (slot, namespace, key) = read_user(r)?;
    // A version is eight bytes, so a single byte after the user key can only be the tag of the
    // older format.
    if r.left() == 1 {
        v1::read_tag(r)?;
        return Ok(SubkeyFamilyRef::V1String { slot, namespace, key });
    }
    let version = r.u64(VERSION)?;
    Ok(SubkeyFamilyRef::Part(SubkeyRef { slot, namespace, key, version, subkey: r.rest(SUBKEY) }))
}

pub(crate) fn read_score<'a, T: Trace>(r: &mut Reader<'a, T>) -> Result<ScoreRef<'a>> {
    let (slot, namespace, key) = read_user(r)?;
    let version = r.u64(VERSION)?;
    let bits = r.u64(SCORE)?;
    if !double::is_canonical(bits) {
        return Err(DecodeError::Invalid {
            what: "score",
            why: "neither NaN nor -0 is ever written in a key",
        });
    }
    Ok(ScoreRef {
        slot,
        namespace,
        key,
        version,
        score: double::decode(bits),
        member: r.rest(MEMBER),
    })
}
