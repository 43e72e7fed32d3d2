//! Finds the rows of a key.
//!
//! The work is bounded by the limit, not by the size of the key: of each version at most that many
//! rows are read, and the walk jumps over the rest.

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{ExpireKey, ScoreRef, SubkeyFamilyRef, UserKey, prefix_end};
use neokv_encoding::metadata::{DataType, Metadata};
use neokv_encoding::region::Descriptor;
use neokv_encoding::slot::hash_tag;
use neokv_engine::{Direction, KeyRange};

use super::{Group, KeyDump, Role, StoredRow};
use crate::args;
use crate::error::CliError;
use crate::output::json::{Moment, Number, UserBytes};
use crate::output::stored_key::StoredKey;
use crate::source::Source;

/// Most rows of a slot's expiries that are searched for stale ones.
const SEARCHED: usize = 100_000;

/// Collects everything that is stored for a key.
///
/// # Errors
/// The metadata record cannot be read. Damage elsewhere is a problem of the answer.
pub fn dump_key(args: &args::DumpKey, key: Bytes, source: &Source) -> Result<KeyDump, CliError> {
    let user = UserKey::new(args.user.namespace, key.clone());
    let slot_is_in = |descriptor: &Descriptor| descriptor.slots.contains(user.slot);
    let region = source
        .regions
        .iter()
        .find(|region| matches!(&region.descriptor, Some(Ok(d)) if slot_is_in(d)));
    let dump = KeyDump {
        hashed: UserBytes(Bytes::copy_from_slice(hash_tag(&key))),
        key: UserBytes(key),
        namespace: user.namespace,
        slot: user.slot,
        region: region.map(|region| Number(region.id)),
        kind: None,
        state: "absent",
        expire: None,
        size: None,
        version: None,
        groups: Vec::new(),
        annotate: args.annotate,
        problems: Vec::new(),
    };
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let mut collector = Collector { user, source, limit, kind: None, metadata: None, dump };
    collector.metadata()?;
    for family in [Family::Subkey, Family::ZsetScore] {
        let told = collector.parts(family);
        collector.tolerate(told);
    }
    let told = collector.expiries();
    collector.tolerate(told);
    Ok(collector.finish())
}

struct Collector<'a> {
    user: UserKey,
    source: &'a Source,
    limit: usize,
    kind: Option<DataType>,
    metadata: Option<Metadata>,
    dump: KeyDump,
}

/// Rows of one family, by role, in the order in which they are shown.
struct Sorted {
    family: Family,
    limit: usize,
    groups: Vec<Group>,
}

impl Sorted {
    fn push(&mut self, role: Role, row: StoredRow) {
        let place = self.groups.iter().position(|group| group.role == role).unwrap_or_else(|| {
            self.groups.push(Group {
                family: self.family.name(),
                role,
                rows: Vec::new(),
                more: false,
            });
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
}

/// Whose a row of `subkey` or `zset_score` is.
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

impl Collector<'_> {
    /// A file that cannot be read is a problem; the other families are shown all the same.
    fn tolerate(&mut self, told: Result<(), CliError>) {
        if let Err(error) = told {
            self.dump.problems.push(error.told());
        }
    }

    fn metadata(&mut self) -> Result<(), CliError> {
        let key = self.user.metadata();
        let Some(value) = self.source.get(Family::Metadata, &key)? else { return Ok(()) };
        match Metadata::decode(&value) {
            Ok(metadata) => {
                self.kind = Some(metadata.kind());
                self.dump.kind = Some(metadata.kind().name());
                if let Metadata::Collection(collection) = &metadata {
                    self.dump.size = Some(Number(collection.size));
                    self.dump.version = Some(Number(collection.version));
                }
                self.lives(metadata.expire_ms());
                self.metadata = Some(metadata);
            }
            Err(_) => self.dump.state = "damaged",
        }
        let row = self.row(Family::Metadata, &key, &value, None);
        let groups = vec![Group {
            family: Family::Metadata.name(),
            role: Role::Live,
            rows: vec![row],
            more: false,
        }];
        self.dump.groups.extend(groups);
        Ok(())
    }

    fn lives(&mut self, expire_ms: u64) {
        let expired = expire_ms != 0 && expire_ms <= self.source.header.read_at.0;
        self.dump.state = if expired { "expired" } else { "live" };
        self.dump.expire = (expire_ms != 0).then_some(Moment(expire_ms));
    }

    fn row(
        &self,
        family: Family,
        key: &[u8],
        value: &[u8],
        part_of: Option<DataType>,
    ) -> StoredRow {
        let key = StoredKey { family, bytes: Bytes::copy_from_slice(key) };
        StoredRow { key, value: Bytes::copy_from_slice(value), part_of }
    }

    /// Rows of all versions in `subkey` or `zset_score`, the live ones first.
    fn parts(&mut self, family: Family) -> Result<(), CliError> {
        let live = match &self.metadata {
            Some(Metadata::Collection(collection)) => Some(collection.version),
            _ => None,
        };
        let mut prefix = self.user.v1_string();
        prefix.pop();
        let mut sorted = Sorted { family, limit: self.limit, groups: Vec::new() };
        let walked = self.walk(&prefix, live, &mut sorted);
        sorted.groups.sort_by_key(|group| group.role != Role::Live);
        if let Some(version) = live {
            self.count(family, version, &sorted);
        }
        self.dump.groups.append(&mut sorted.groups);
        walked
    }

    fn walk(
        &mut self,
        prefix: &[u8],
        live: Option<u64>,
        sorted: &mut Sorted,
    ) -> Result<(), CliError> {
        let (family, source) = (sorted.family, self.source);
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
            let part_of = if role == Role::Live { self.kind } else { None };
            sorted.push(role, self.row(family, key, value, part_of));
            if let Some(version) = version.filter(|_| sorted.is_full(role)) {
                let next = prefix_end(&self.user.subkey_prefix(version));
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
        match neokv_encoding::v1::decode_value(value) {
            Ok((expire_ms, _)) => {
                self.dump.kind = Some(DataType::String.name());
                self.lives(expire_ms);
            }
            Err(_) => self.dump.state = "damaged",
        }
        Role::Live
    }

    /// The metadata record says how many live rows there are.
    fn count(&mut self, family: Family, version: u64, sorted: &Sorted) {
        let live = sorted.groups.iter().find(|group| group.role == Role::Live);
        let found = live.map_or(0, |group| group.rows.len());
        let expected = match (family, self.kind) {
            (Family::ZsetScore, Some(DataType::Zset)) | (Family::Subkey, Some(_)) => {
                self.dump.size.map_or(0, |n| n.0)
            }
            _ => 0,
        };
        if live.is_none_or(|group| !group.more) && u64::try_from(found) != Ok(expected) {
            self.dump.problems.push(format!(
                "family {family} has {found} rows of version {version}, the metadata record says {expected}"
            ));
        }
    }

    /// The expiry that the metadata record names, and others of the same key in its slot.
    fn expiries(&mut self) -> Result<(), CliError> {
        let named =
            self.metadata.as_ref().map(Metadata::expire_ms).filter(|expire_ms| *expire_ms != 0);
        let mut sorted = Sorted { family: Family::Expire, limit: self.limit, groups: Vec::new() };
        let source = self.source;
        let failed = |error| source.failed(Family::Expire, error);
        let range = KeyRange::prefix(&self.user.slot.to_be_bytes());
        let mut cursor = source.cursor(Family::Expire, range, Direction::Forward)?;
        let mut searched = 0;
        while let Some((key, value)) = cursor.next().map_err(failed)? {
            searched += 1;
            if searched > SEARCHED {
                self.dump.problems.push(format!(
                    "only {SEARCHED} expiries of the slot were searched for stale ones"
                ));
                break;
            }
            let Ok(expire) = ExpireKey::decode(key) else { continue };
            if expire.namespace == self.user.namespace && expire.key == self.user.key {
                let role = if Some(expire.expire_ms) == named { Role::Live } else { Role::Stale };
                sorted.push(role, self.row(Family::Expire, key, value, None));
            }
        }
        let found = sorted.groups.iter().any(|group| group.role == Role::Live);
        if named.is_some() && !found && searched <= SEARCHED {
            let text = "family expire has no row for the expiry of the metadata record: the cleaner will not find it";
            self.dump.problems.push(text.into());
        }
        self.dump.groups.append(&mut sorted.groups);
        Ok(())
    }

    fn finish(mut self) -> KeyDump {
        let rows = self.dump.groups.iter().flat_map(|group| &group.rows);
        let damaged: Vec<String> = rows.flat_map(StoredRow::problems).collect();
        self.dump.problems.extend(damaged);
        self.dump
    }
}
