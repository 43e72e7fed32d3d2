//! `keys list`: the user keys of a store.

use bytes::Bytes;
use neokv_encoding::slot::SlotRange;
use neokv_inspect::Source;
use neokv_inspect::key_list::{self, KeyList, KeyQuery, ListedKey};
use serde::{Serialize, Serializer};

use super::{limit, or_dash};
use crate::args::KeysList;
use crate::environment::Environment;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::{Number, Timestamp, UserBytes};
use crate::output::table::{Overflow, Page, Row, Table};

/// What the arguments ask for.
///
/// # Errors
/// Bytes that are not written as they should be.
pub fn query(args: &KeysList, environment: &mut Environment<'_>) -> Result<KeyQuery, CliError> {
    let prefix = args.prefix.as_ref().map(|prefix| prefix.read("--prefix", environment));
    let slots = match args.slot {
        Some(start) => SlotRange { start, end: start + 1 },
        None => SlotRange::ALL,
    };
    Ok(KeyQuery {
        slots,
        namespace: args.namespace,
        prefix: prefix.transpose()?.unwrap_or_default(),
        limit: limit(args.limit),
    })
}

/// Some keys of a store.
#[derive(Debug)]
pub struct Keys(KeyList);

/// Lists keys.
///
/// # Errors
/// The keys cannot be read.
pub fn list(query: &KeyQuery, source: &Source) -> Result<Keys, CliError> {
    Ok(Keys(key_list::list(source, query)?))
}

/// One key in JSON.
#[derive(Serialize)]
struct KeyView {
    key: UserBytes,
    namespace: u32,
    slot: u16,
    /// Type as TYPE answers it; null if the record cannot be read.
    #[serde(rename = "type")]
    kind: Option<&'static str>,
    /// live, expired or damaged.
    state: &'static str,
    /// Number of elements, or bytes of a string.
    size: Option<Number>,
    /// When it expires; null for never.
    expire: Option<Timestamp>,
}

impl From<&ListedKey> for KeyView {
    fn from(listed: &ListedKey) -> KeyView {
        KeyView {
            key: UserBytes(listed.user.key.clone()),
            namespace: listed.user.namespace,
            slot: listed.user.slot,
            kind: listed.kind.map(|kind| kind.name()),
            state: listed.state.name(),
            size: listed.size.map(Number),
            expire: listed.expire_ms.map(Timestamp),
        }
    }
}

/// `{keys: […], more}`.
impl Serialize for Keys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View {
            keys: Vec<KeyView>,
            more: bool,
        }
        let keys = self.0.keys.iter().map(KeyView::from).collect();
        View { keys, more: self.0.more }.serialize(serializer)
    }
}

impl Answer for Keys {
    const SCHEMA: &'static str = "keys-list";

    fn page(&self, page: &mut Page) {
        if self.0.keys.is_empty() {
            page.text("no such keys");
        } else {
            let rows = self.0.keys.iter().map(|listed| Row::new(cells(listed))).collect();
            let titles = vec![">slot", ">namespace", "type", ">size", "state", "expires", "key"];
            page.table(&Table { titles, rows, overflow: Overflow::Cut });
        }
        if self.0.more {
            page.dim("more keys are in the store: --limit N, --limit 0 for all");
        }
        for problem in &self.0.problems {
            page.problem(problem);
        }
    }

    fn is_negative(&self) -> bool {
        self.0.keys.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        self.0.problems.clone()
    }
}

fn cells(listed: &ListedKey) -> Vec<String> {
    let ListedKey { user, kind, state, expire_ms, size } = listed;
    vec![
        user.slot.to_string(),
        user.namespace.to_string(),
        or_dash(kind.map(|kind| kind.name())),
        or_dash(*size),
        state.name().to_string(),
        or_dash(expire_ms.map(Timestamp)),
        UserBytes(Bytes::clone(&user.key)).to_string(),
    ]
}
