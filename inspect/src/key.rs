//! A key of any family, decoded.
//!
//! ```
//! use neokv_encoding::{family::Family, key::UserKey};
//! use neokv_inspect::key::Key;
//!
//! let user = UserKey::new(0, "greeting".into());
//! assert_eq!(Key::decode(Family::Metadata, &user.metadata()), Ok(Key::Metadata(user)));
//! ```

use bytes::Bytes;
use neokv_encoding::DecodeError;
use neokv_encoding::family::Family;
use neokv_encoding::key::{
    self, DefaultKey, ExpireKey, RaftStateKind, RegionKind, ScoreKey, SubkeyFamilyRef, SubkeyKey,
    UserKey,
};

/// What a key says.
#[derive(Clone, Debug, PartialEq)]
pub enum Key {
    /// The store's identity (family `default`).
    Identity,
    /// The mark that files with written rows are being taken in (family `default`).
    Behind,
    /// The mark that the data of a Region is being replaced (family `default`).
    Ingest {
        /// Region id.
        region: u64,
    },
    /// A log entry (family `raft_log`).
    RaftLog {
        /// Region id.
        region: u64,
        /// Position in the log.
        index: u64,
    },
    /// A record of a Region's Raft state (family `raft_state`).
    RaftState {
        /// Region id.
        region: u64,
        /// Which record.
        record: RaftStateKind,
    },
    /// A record of a Region (family `region`).
    Region {
        /// Region id.
        region: u64,
        /// Which record.
        record: RegionKind,
    },
    /// A user key's record (family `metadata`).
    Metadata(UserKey),
    /// A field, member or element (family `subkey`).
    Subkey(SubkeyKey),
    /// A string of the older format (family `subkey`).
    V1String(UserKey),
    /// A member by score (family `zset_score`).
    ZsetScore(ScoreKey),
    /// An expiry (family `expire`).
    Expire(ExpireKey),
    /// Numbers about one slot and namespace (family `slot_stats`).
    SlotStats {
        /// The slot.
        slot: u16,
        /// The namespace.
        namespace: u32,
    },
}

impl Key {
    /// Decodes a key of a family.
    ///
    /// # Errors
    /// The bytes are not a key of this family.
    pub fn decode(family: Family, bytes: &[u8]) -> Result<Key, DecodeError> {
        Ok(match family {
            Family::Default => match key::decode_default(bytes)? {
                DefaultKey::Identity => Key::Identity,
                DefaultKey::Behind => Key::Behind,
                DefaultKey::Ingest { region } => Key::Ingest { region },
            },
            Family::RaftLog => {
                let (region, index) = key::decode_raft_log(bytes)?;
                Key::RaftLog { region, index }
            }
            Family::RaftState => {
                let (region, record) = key::decode_raft_state(bytes)?;
                Key::RaftState { region, record }
            }
            Family::Region => {
                let (region, record) = key::decode_region(bytes)?;
                Key::Region { region, record }
            }
            Family::Metadata => Key::Metadata(UserKey::decode_metadata(bytes)?),
            Family::Subkey => match SubkeyFamilyRef::decode(bytes)? {
                SubkeyFamilyRef::V1String { slot, namespace, key } => {
                    Key::V1String(UserKey { slot, namespace, key: Bytes::copy_from_slice(key) })
                }
                SubkeyFamilyRef::Part(_) => Key::Subkey(SubkeyKey::decode(bytes)?),
            },
            Family::ZsetScore => Key::ZsetScore(ScoreKey::decode(bytes)?),
            Family::Expire => Key::Expire(ExpireKey::decode(bytes)?),
            Family::SlotStats => {
                let (slot, namespace) = key::decode_slot_stats(bytes)?;
                Key::SlotStats { slot, namespace }
            }
        })
    }
}
