//! `dump-key`: everything that is stored for one user key, in every family.
//!
//! [`neokv_inspect::key_dump`] tells which rows a key can have, and what they are to it. Here is
//! how they are printed: as JSON below, as a page in [`page`].

mod page;

use bytes::Bytes;
use neokv_encoding::key::UserKey;
use neokv_encoding::slot::hash_tag;
use neokv_inspect::Source;
use neokv_inspect::key_dump::{self, Group, KeyDump, StoredRow};
use serde::{Serialize, Serializer};

use super::limit;
use crate::args::{self, Annotate};
use crate::bytes_input::escape;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::{Field, Number, Timestamp, UserBytes};
use crate::output::stored_key::StoredKey;
use crate::output::table::Page;

/// Everything stored for one user key.
#[derive(Debug)]
pub struct Dump {
    dump: KeyDump,
    annotate: Annotate,
}

/// Collects everything that is stored for a key.
///
/// # Errors
/// The metadata record cannot be read. Damage elsewhere is a problem of the answer.
pub fn dump_key(args: &args::DumpKey, user: UserKey, source: &Source) -> Result<Dump, CliError> {
    let dump = key_dump::dump(source, user, limit(args.limit))?;
    Ok(Dump { dump, annotate: args.annotate })
}

/// A key in JSON.
#[derive(Serialize)]
struct DumpView<'a> {
    key: UserBytes,
    namespace: u32,
    slot: u16,
    /// The part of the key that is hashed.
    hashed: UserBytes,
    /// Id of the Region that holds the slot, if one of this store does.
    region: Option<Number>,
    /// Type as TYPE answers it; null without a live record.
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    /// live, expired, absent or damaged.
    state: &'static str,
    /// When it expires; null for never.
    expire: Option<Timestamp>,
    /// Number of elements that the metadata record says; null for strings.
    size: Option<Number>,
    /// Version that live parts carry; null for strings.
    version: Option<Number>,
    groups: Vec<GroupView<'a>>,
}

/// Rows of one family in one role.
#[derive(Serialize)]
struct GroupView<'a> {
    family: &'static str,
    role: &'static str,
    rows: Vec<RowView<'a>>,
    /// Whether rows were left out because of the limit.
    more: bool,
}

/// One record; serialised as it is printed, so that only one is decoded at a time.
struct RowView<'a>(&'a StoredRow);

/// `{key: {hex, escaped, decoded}, value: {hex, escaped, decoded}}`; decoded values are fields.
impl Serialize for RowView<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record {
            key: StoredKey,
            value: Value,
        }
        #[derive(Serialize)]
        struct Value {
            hex: String,
            escaped: String,
            decoded: Field,
        }
        let StoredRow { family, key, value, .. } = self.0;
        let decoded = Field::from(&self.0.explained_value().root);
        let value = Value { hex: hex::encode(value), escaped: escape(value), decoded };
        Record { key: StoredKey { family: *family, bytes: key.clone() }, value }
            .serialize(serializer)
    }
}

impl<'a> From<&'a Group> for GroupView<'a> {
    fn from(group: &'a Group) -> GroupView<'a> {
        GroupView {
            family: group.family.name(),
            role: group.role.name(),
            rows: group.rows.iter().map(RowView).collect(),
            more: group.more,
        }
    }
}

impl Serialize for Dump {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let KeyDump { user, region, kind, state, expire_ms, size, version, groups, .. } =
            &self.dump;
        DumpView {
            key: UserBytes(user.key.clone()),
            namespace: user.namespace,
            slot: user.slot,
            hashed: UserBytes(Bytes::copy_from_slice(hash_tag(&user.key))),
            region: region.map(Number),
            kind: kind.map(|kind| kind.name()),
            state: state.name(),
            expire: expire_ms.map(Timestamp),
            size: size.map(Number),
            version: version.map(Number),
            groups: groups.iter().map(GroupView::from).collect(),
        }
        .serialize(serializer)
    }
}

impl Answer for Dump {
    const SCHEMA: &'static str = "dump-key";

    fn page(&self, page: &mut Page) {
        page::write(&self.dump, self.annotate, page);
    }

    fn is_negative(&self) -> bool {
        self.dump.groups.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        self.dump.problems.clone()
    }
}
