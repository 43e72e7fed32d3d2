//! Everything that is stored for one user key, in every family.
//!
//! | family | rows of a key | role |
//! | --- | --- | --- |
//! | `metadata` | one | what the key is |
//! | `subkey` | of the version in the metadata | live: fields, members, elements, chunks |
//! | | of any other version | orphans: invisible, dropped by compaction |
//! | | with the tag of the older format | live, or shadowed if there is a metadata record |
//! | `zset_score` | as in `subkey` | members by score |
//! | `expire` | the one that the metadata names; others | live; stale |
//!
//! The parts must agree: as many live rows as the metadata says, no chunk of a string behind its
//! end, a row in `expire` for a key that expires. A disagreement is a problem of the answer.
//!
//! The work is bounded by the limit, not by the size of the key: of each version at most that many
//! rows are read, and the walk jumps over the rest.

use bytes::Bytes;
use neokv_encoding::chunk;
use neokv_encoding::explain::{self, Explained};
use neokv_encoding::family::Family;
use neokv_encoding::key::{
    ExpireKey, ScoreRef, SubkeyFamilyRef, SubkeyRef, UserKey, prefix_end, slot_prefix,
};
use neokv_encoding::metadata::{DataType, Metadata};
use neokv_encoding::v1;
use neokv_engine::{Direction, KeyRange};

use crate::error::InspectError;
use crate::source::Source;

/// Most rows of a slot's expiries that are searched for stale ones.
const SEARCHED: usize = 100_000;

/// Everything stored for one user key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDump {
    /// The key, its namespace and slot.
    pub user: UserKey,
    /// Id of the Region that holds the slot, if one of this store does.
    pub region: Option<u64>,
    /// Type as TYPE answers it; `None` without a live record.
    pub kind: Option<DataType>,
    /// Whether clients see the key.
    pub state: KeyState,
    /// When it expires; `None` for never.
    pub expire_ms: Option<u64>,
    /// Number of elements that the metadata record says, of a string in chunks its length; `None`
    /// for other strings.
    pub size: Option<u64>,
    /// Version that live parts carry; `None` for strings that stand in their record.
    pub version: Option<u64>,
    /// The rows, by family and role.
    pub groups: Vec<Group>,
    /// What is damaged, and what does not agree, one sentence each.
    pub problems: Vec<String>,
}

/// Whether clients see a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// They see it.
    Live,
    /// Its time has come; the cleaner has not removed it yet.
    Expired,
    /// It does not exist. Remains of earlier incarnations may be stored.
    Absent,
    /// Its record cannot be read.
    Damaged,
}

impl KeyState {
    /// Name as tools print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            KeyState::Live => "live",
            KeyState::Expired => "expired",
            KeyState::Absent => "absent",
            KeyState::Damaged => "damaged",
        }
    }

    /// The state of a key with this expiry (0 is never) at a time.
    #[must_use]
    pub fn at(now_ms: u64, expire_ms: u64) -> KeyState {
        let has_expired = expire_ms != 0 && expire_ms <= now_ms;
        if has_expired { KeyState::Expired } else { KeyState::Live }
    }
}

/// Rows of one family in one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The family.
    pub family: Family,
    /// What the rows are to the key.
    pub role: Role,
    /// The rows, in the order of the store.
    pub rows: Vec<StoredRow>,
    /// Whether rows were left out because of the limit.
    pub more: bool,
}

/// What rows are to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Part of the key as clients see it.
    Live,
    /// Part of an older incarnation of the key.
    Orphan,
    /// An older record behind a newer one.
    Shadowed,
    /// An expiry that the key no longer has.
    Stale,
    /// A key that no decoder reads.
    Damaged,
}

impl Role {
    /// Name as tools print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Role::Live => "live",
            Role::Orphan => "orphan",
            Role::Shadowed => "shadowed",
            Role::Stale => "stale",
            Role::Damaged => "damaged",
        }
    }
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Family that it is in.
    pub family: Family,
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Type of what the value is known to be part of.
    pub part_of: Option<DataType>,
}

impl StoredRow {
    /// What each byte of the key is.
    #[must_use]
    pub fn explained_key(&self) -> Explained {
        explain::key(self.family, &self.key)
    }

    /// What each byte of the value is.
    #[must_use]
    pub fn explained_value(&self) -> Explained {
        match self.part_of {
            Some(kind) if self.family == Family::Subkey => explain::part(kind, &self.value),
            _ => explain::value(self.family, &self.key, &self.value),
        }
    }

    /// What is wrong with the record, one sentence each.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let of = |explained: &Explained| -> Vec<String> {
            let spans = explained
                .problems()
                .filter_map(|span| span.problem.as_ref().map(|text| (span.field, text)));
            spans.map(|(field, text)| format!("{}, {field}: {text}", explained.what)).collect()
        };
        let mut problems = of(&self.explained_key());
        problems.extend(of(&self.explained_value()));
        problems
    }
}

/// Collects everything that is stored for a key, at most `limit` rows of each group.
///
/// # Errors
/// The metadata record cannot be read. Damage elsewhere is a problem of the answer.
pub fn dump(source: &Source, user: UserKey, limit: usize) -> Result<KeyDump, InspectError> {
    let dump = KeyDump {
        region: source.region_of(user.slot).map(|region| region.id),
        user,
        kind: None,
        state: KeyState::Absent,
        expire_ms: None,
        size: None,
        version: None,
        groups: Vec::new(),
        problems: Vec::new(),
    };
    let mut collector = Collector { source, limit, metadata: None, dump };
    collector.metadata()?;
    for family in [Family::Subkey, Family::ZsetScore] {
        let walked = collector.parts(family);
        collector.tolerate(walked);
    }
    let walked = collector.expiries();
    collector.tolerate(walked);
    Ok(collector.finish())
}

struct Collector<'a> {
    source: &'a Source,
    limit: usize,
    metadata: Option<Metadata>,
    dump: KeyDump,
}

/// Rows of one family, by role, in the order in which they were found.
struct Sorted {
    family: Family,
    limit: usize,
    groups: Vec<Group>,
}

impl Sorted {
    fn push(&mut self, role: Role, row: StoredRow) {
        let place = self.groups.iter().position(|group| group.role == role).unwrap_or_else(|| {
            let (family, rows) = (self.family, Vec::new());
            self.groups.push(Group { family, role, rows, more: false });
            self.groups.len() - 1
        });
        if let Some(group) = self.groups.get_mut(place) {
            if group.rows.len() < self.limit {
                group.rows.push(row);
            } else {
                group.more = true;
            }
        }
    }

    fn is_full(&self, role: Role) -> bool {
        self.groups.iter().any(|group| group.role == role && group.more)
    }

    fn live(&self) -> Option<&Group> {
        self.groups.iter().find(|group| group.role == Role::Live)
    }
}

/// What a row of `subkey` or `zset_score` belongs to.
enum Owner {
    Version(u64),
    V1String,
    Unreadable,
}

fn owner(family: Family, key: &[u8]) -> Owner {
    if family == Family::ZsetScore {
        return ScoreRef::decode(key)
            .map_or(Owner::Unreadable, |score| Owner::Version(score.version));
    }
    match SubkeyFamilyRef::decode(key) {
        Ok(SubkeyFamilyRef::Part(part)) => Owner::Version(part.version),
        Ok(SubkeyFamilyRef::V1String { .. }) => Owner::V1String,
        Err(_) => Owner::Unreadable,
    }
}

fn row(family: Family, key: &[u8], value: &[u8], part_of: Option<DataType>) -> StoredRow {
    let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
    StoredRow { family, key, value, part_of }
}

impl Collector<'_> {
    /// A file that cannot be read is a problem; the other families are shown all the same.
    fn tolerate(&mut self, walked: Result<(), InspectError>) {
        if let Err(error) = walked {
            self.dump.problems.push(error.in_one_line());
        }
    }

    /// The metadata record says what the key is, and which version of the parts is live.
    fn metadata(&mut self) -> Result<(), InspectError> {
        let key = self.dump.user.metadata();
        let Some(value) = self.source.get(Family::Metadata, &key)? else { return Ok(()) };
        match Metadata::decode(&value) {
            Ok(metadata) => {
                self.dump.kind = Some(metadata.kind());
                if let Metadata::Collection(collection) = &metadata {
                    self.dump.size = Some(collection.size);
                    self.dump.version = Some(collection.version);
                }
                self.expires(metadata.expire_ms());
                self.metadata = Some(metadata);
            }
            Err(_) => self.dump.state = KeyState::Damaged,
        }
        let rows = vec![row(Family::Metadata, &key, &value, None)];
        let group = Group { family: Family::Metadata, role: Role::Live, rows, more: false };
        self.dump.groups.push(group);
        Ok(())
    }

    fn expires(&mut self, expire_ms: u64) {
        self.dump.state = KeyState::at(self.source.read_at_ms, expire_ms);
        self.dump.expire_ms = (expire_ms != 0).then_some(expire_ms);
    }

    /// Rows of all versions in `subkey` or `zset_score`, the live ones first.
    fn parts(&mut self, family: Family) -> Result<(), InspectError> {
        // What the parts of all versions start with: the key of the older format without its tag.
        let mut prefix = self.dump.user.v1_string();
        prefix.pop();
        let mut sorted = Sorted { family, limit: self.limit, groups: Vec::new() };
        let walked = self.walk(&prefix, &mut sorted);
        sorted.groups.sort_by_key(|group| group.role != Role::Live);
        if let Some(version) = self.dump.version {
            self.count(version, &sorted);
        }
        self.dump.groups.append(&mut sorted.groups);
        walked
    }

    fn walk(&mut self, prefix: &[u8], sorted: &mut Sorted) -> Result<(), InspectError> {
        let (family, source, live) = (sorted.family, self.source, self.dump.version);
        let failed = |error| source.failed(family, error);
        let mut cursor = source.cursor(family, KeyRange::prefix(prefix), Direction::Forward)?;
        while let Some((key, value)) = cursor.next().map_err(failed)? {
            let (role, version) = match owner(family, key) {
                Owner::Version(version) if Some(version) == live => (Role::Live, Some(version)),
                Owner::Version(version) => (Role::Orphan, Some(version)),
                Owner::V1String if self.metadata.is_some() => (Role::Shadowed, None),
                Owner::V1String => (self.v1(value), None),
                Owner::Unreadable => (Role::Damaged, None),
            };
            let part_of = if role == Role::Live { self.dump.kind } else { None };
            sorted.push(role, row(family, key, value, part_of));
            // Enough rows of this version: go on behind it.
            if let Some(version) = version.filter(|_| sorted.is_full(role)) {
                let next = prefix_end(&self.dump.user.subkey_prefix(version));
                if next.is_empty() {
                    break;
                }
                cursor.seek(&next).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// A string of the older format, without a newer record: it is the key.
    fn v1(&mut self, value: &[u8]) -> Role {
        match v1::decode_value(value) {
            Ok((expire_ms, _)) => {
                self.dump.kind = Some(DataType::String);
                self.expires(expire_ms);
            }
            Err(_) => self.dump.state = KeyState::Damaged,
        }
        Role::Live
    }

    /// The metadata record says how many live rows there are, or how long a string is.
    fn count(&mut self, version: u64, sorted: &Sorted) {
        let (family, live) = (sorted.family, sorted.live());
        if (family, self.dump.kind) == (Family::Subkey, Some(DataType::String)) {
            return self.check_chunks(live);
        }
        let found = live.map_or(0, |group| group.rows.len());
        let expected = match (family, self.dump.kind) {
            (Family::ZsetScore, Some(DataType::Zset)) | (Family::Subkey, Some(_)) => {
                self.dump.size.unwrap_or(0)
            }
            _ => 0,
        };
        let all_were_read = live.is_none_or(|group| !group.more);
        if all_were_read && u64::try_from(found) != Ok(expected) {
            self.dump.problems.push(format!(
                "family {family} has {found} rows of version {version}, the metadata record says \
                 {expected}"
            ));
        }
    }

    /// A chunk may be missing, or shorter than it could be: the rest of it is zeros. But none holds
    /// bytes behind the end of its string.
    fn check_chunks(&mut self, live: Option<&Group>) {
        let length = self.dump.size.unwrap_or(0);
        for row in live.map_or(&[][..], |group| &group.rows) {
            let Ok(part) = SubkeyRef::decode(&row.key) else { continue };
            let problem = match chunk::decode(part.subkey, &row.value) {
                Ok(number) if chunk::end(number, &row.value).is_some_and(|end| end <= length) => {
                    continue;
                }
                Ok(number) => format!(
                    "chunk {number} ends behind the {length} bytes that the metadata record says"
                ),
                Err(error) => format!("a row of the string is no chunk: {error}"),
            };
            self.dump.problems.push(problem);
        }
    }

    /// The expiry that the metadata record names, and others of the same key in its slot.
    fn expiries(&mut self) -> Result<(), InspectError> {
        let named =
            self.metadata.as_ref().map(Metadata::expire_ms).filter(|expire_ms| *expire_ms != 0);
        let mut sorted = Sorted { family: Family::Expire, limit: self.limit, groups: Vec::new() };
        let walked = self.walk_expiries(named, &mut sorted);
        let is_missing = named.is_some() && sorted.live().is_none();
        self.dump.groups.append(&mut sorted.groups);
        let searched_all = walked?;
        if !searched_all {
            self.dump
                .problems
                .push(format!("only {SEARCHED} expiries of the slot were searched for stale ones"));
        } else if is_missing {
            let text = "family expire has no row for the expiry of the metadata record: the \
                        cleaner will not find it";
            self.dump.problems.push(text.into());
        }
        Ok(())
    }

    /// Searches the slot's expiries for those of the key. Returns whether it saw all of them.
    fn walk_expiries(&self, named: Option<u64>, sorted: &mut Sorted) -> Result<bool, InspectError> {
        let (source, user) = (self.source, &self.dump.user);
        let failed = |error| source.failed(Family::Expire, error);
        let range = KeyRange::prefix(&slot_prefix(user.slot));
        let mut cursor = source.cursor(Family::Expire, range, Direction::Forward)?;
        let mut searched = 0;
        while let Some((key, value)) = cursor.next().map_err(failed)? {
            if searched == SEARCHED {
                return Ok(false);
            }
            searched += 1;
            let Ok(expire) = ExpireKey::decode(key) else { continue };
            if expire.namespace == user.namespace && expire.key == user.key {
                let role = if Some(expire.expire_ms) == named { Role::Live } else { Role::Stale };
                sorted.push(role, row(Family::Expire, key, value, None));
            }
        }
        Ok(true)
    }

    fn finish(mut self) -> KeyDump {
        let rows = self.dump.groups.iter().flat_map(|group| &group.rows);
        let damaged: Vec<String> = rows.flat_map(StoredRow::problems).collect();
        self.dump.problems.extend(damaged);
        self.dump
    }
}
