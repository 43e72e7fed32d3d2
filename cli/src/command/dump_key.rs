//! `dump-key`: everything that is stored for one user key, in every family.
//!
//! | family | rows of a key | role |
//! | --- | --- | --- |
//! | `metadata` | one | what the key is |
//! | `subkey` | of the version in the metadata | live: fields, members, elements |
//! | | of any other version | orphans: invisible, dropped by compaction |
//! | | with the tag of the older format | live, or shadowed if there is a metadata record |
//! | `zset_score` | as in `subkey` | members by score |
//! | `expire` | the one that the metadata names; others | live; stale |
//!
//! The parts must agree with each other: as many live rows as the metadata says, a row in `expire`
//! for a key that expires. What does not agree is a problem of the answer.
//!
//! [`collect`] reads, [`page`] prints.

mod collect;
mod page;

use bytes::Bytes;
use neokv_encoding::explain::{self, Explained};
use neokv_encoding::family::Family;
use neokv_encoding::metadata::DataType;
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

pub use self::collect::dump_key;
use crate::args::Annotate;
use crate::bytes_input::escape;
use crate::output::Answer;
use crate::output::json::{Field, Moment, Number, UserBytes};
use crate::output::stored_key::StoredKey;
use crate::output::table::Page;

/// Everything stored for one user key.
#[derive(Debug, Serialize)]
pub struct KeyDump {
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
    expire: Option<Moment>,
    /// Number of elements that the metadata record says; null for strings.
    size: Option<Number>,
    /// Version that live parts carry; null for strings.
    version: Option<Number>,
    groups: Vec<Group>,
    #[serde(skip)]
    annotate: Annotate,
    #[serde(skip)]
    problems: Vec<String>,
}

/// Rows of one family in one role.
#[derive(Debug, Serialize)]
struct Group {
    family: &'static str,
    role: Role,
    rows: Vec<StoredRow>,
    /// Whether rows were left out because of the limit.
    more: bool,
}

/// What rows are to the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    /// Part of the key as clients see it.
    Live,
    /// Part of an older life of the key.
    Orphan,
    /// An older record behind a newer one.
    Shadowed,
    /// An expiry that the key does not have any more.
    Stale,
    /// A key that no decoder reads.
    Damaged,
}

/// One record.
#[derive(Debug)]
struct StoredRow {
    key: StoredKey,
    value: Bytes,
    /// What the value is known to be part of.
    part_of: Option<DataType>,
}

impl StoredRow {
    fn explained_key(&self) -> Explained {
        explain::key(self.key.family, &self.key.bytes)
    }

    fn explained_value(&self) -> Explained {
        match self.part_of {
            Some(kind) if self.key.family == Family::Subkey => explain::part(kind, &self.value),
            _ => explain::value(self.key.family, &self.key.bytes, &self.value),
        }
    }

    /// What is wrong with the record.
    fn problems(&self) -> Vec<String> {
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

/// `{key: {hex, escaped, decoded}, value: {hex, escaped, decoded}}`; decoded values are fields.
impl Serialize for StoredRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Value {
            hex: String,
            escaped: String,
            decoded: Field,
        }
        let decoded = Field::from(&self.explained_value().root);
        let value = Value { hex: hex::encode(&self.value), escaped: escape(&self.value), decoded };
        let mut fields = serializer.serialize_struct("StoredRow", 2)?;
        fields.serialize_field("key", &self.key)?;
        fields.serialize_field("value", &value)?;
        fields.end()
    }
}

impl Answer for KeyDump {
    const SCHEMA: &'static str = "dump-key";

    fn page(&self, page: &mut Page) {
        page::write(self, page);
    }

    fn is_negative(&self) -> bool {
        self.groups.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        self.problems.clone()
    }
}
