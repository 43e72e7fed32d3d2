//! The user keys of a store, in the order of the store: by slot, namespace and name.
//!
//! A key is what family `metadata` has a record of. Strings of the older format, which have none,
//! are not listed; [`crate::key_dump`] finds them by name. A search for a prefix or a namespace
//! reads every key of its slots until the limit is reached.

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, slot_bounds};
use neokv_encoding::metadata::{DataType, Metadata};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, KeyRange};

use crate::error::InspectError;
use crate::key_dump::KeyState;
use crate::source::Source;

/// Which keys to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuery {
    /// Only keys of these slots.
    pub slots: SlotRange,
    /// Only keys of this namespace; `None` for every one.
    pub namespace: Option<u32>,
    /// Only keys that begin with these bytes.
    pub prefix: Bytes,
    /// Most keys to list.
    pub limit: usize,
}

/// Some keys of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyList {
    /// The keys, in the order of the store.
    pub keys: Vec<ListedKey>,
    /// Whether keys were left out because of the limit.
    pub more: bool,
    /// What cannot be read, one sentence each.
    pub problems: Vec<String>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    /// The key, its namespace and slot.
    pub user: UserKey,
    /// Its type; `None` if its record cannot be read.
    pub kind: Option<DataType>,
    /// Whether clients see it.
    pub state: KeyState,
    /// When it expires; `None` for never.
    pub expire_ms: Option<u64>,
    /// Number of elements, or bytes of a string; `None` if its record cannot be read.
    pub size: Option<u64>,
}

/// Lists keys.
///
/// # Errors
/// The family cannot be read at all. Damage behind the first key is a problem of the answer.
pub fn list(source: &Source, query: &KeyQuery) -> Result<KeyList, InspectError> {
    let (start, end) = slot_bounds(query.slots);
    let range = KeyRange::new(start, end);
    let mut cursor = source.cursor(Family::Metadata, range, Direction::Forward)?;
    let mut list = KeyList { keys: Vec::new(), more: false, problems: Vec::new() };
    loop {
        let (key, value) = match cursor.next() {
            Ok(Some(row)) => row,
            Ok(None) => break,
            Err(error) => {
                list.problems.push(source.failed(Family::Metadata, error).in_one_line());
                break;
            }
        };
        let user = match UserKey::decode_metadata(key) {
            Ok(user) => user,
            Err(error) => {
                let key = key.escape_ascii();
                list.problems.push(format!("family metadata, key \"{key}\": {error}"));
                continue;
            }
        };
        let is_wanted = query.namespace.is_none_or(|namespace| namespace == user.namespace)
            && user.key.starts_with(&query.prefix);
        if !is_wanted {
            continue;
        }
        if list.keys.len() == query.limit {
            list.more = true;
            break;
        }
        list.push(user, value, source.read_at_ms);
    }
    Ok(list)
}

impl KeyList {
    fn push(&mut self, user: UserKey, value: &[u8], now_ms: u64) {
        let mut listed =
            ListedKey { user, kind: None, state: KeyState::Damaged, expire_ms: None, size: None };
        match Metadata::decode(value) {
            Ok(metadata) => {
                let expire_ms = metadata.expire_ms();
                listed.kind = Some(metadata.kind());
                listed.state = KeyState::at(now_ms, expire_ms);
                listed.expire_ms = (expire_ms != 0).then_some(expire_ms);
                listed.size = size(&metadata);
            }
            Err(error) => {
                let key = listed.user.key.escape_ascii();
                self.problems.push(format!("key \"{key}\", metadata: {error}"));
            }
        }
        self.keys.push(listed);
    }
}

fn size(metadata: &Metadata) -> Option<u64> {
    match metadata {
        Metadata::String { value, .. } => u64::try_from(value.len()).ok(),
        Metadata::Collection(collection) => Some(collection.size),
    }
}
