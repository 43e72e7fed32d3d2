//! Prints the rows of a key: each group with what it is, its first row byte by byte, and all of
//! them as a list.

use neokv_encoding::double;
use neokv_encoding::family::Family;
use neokv_encoding::key::{SubkeyKey, list_position};
use neokv_encoding::metadata::{DataType, LIST_MIDDLE};
use neokv_encoding::slot::hash_tag;
use neokv_inspect::key::Key;
use neokv_inspect::key_dump::{Group, KeyDump, KeyState, Role, StoredRow};

use crate::args::Annotate;
use crate::output::json::Timestamp;
use crate::output::table::{self, Overflow, Page, Table};

pub(super) fn write(dump: &KeyDump, annotate: Annotate, page: &mut Page) {
    page.heading(&summary(dump));
    page.dim(&place(dump));
    if dump.groups.is_empty() {
        page.blank();
        page.text("Nothing is stored for this key.");
    }
    for group in &dump.groups {
        page.blank();
        write_group(group, dump, annotate, page);
    }
    if !dump.problems.is_empty() {
        page.blank();
    }
    for problem in &dump.problems {
        page.problem(problem);
    }
}

/// `"cart": hash with 2 elements, never expires`.
fn summary(dump: &KeyDump) -> String {
    let key = quoted(&dump.user.key);
    let Some(kind) = dump.kind else {
        return match dump.state {
            KeyState::Damaged => format!("{key}: a damaged record"),
            _ if dump.groups.is_empty() => format!("{key}: absent"),
            _ => format!("{key}: absent, with rows of earlier versions"),
        };
    };
    let size = match dump.size {
        None => String::new(),
        Some(size) if kind == DataType::String => format!(" of {size} bytes in chunks"),
        Some(1) => " with 1 element".into(),
        Some(size) => format!(" with {size} elements"),
    };
    let expiry = match (dump.state, dump.expire_ms.map(Timestamp)) {
        (KeyState::Expired, Some(at)) => format!("expired {at}, waiting for the cleaner"),
        (_, Some(at)) => format!("expires {at}"),
        (_, None) => "never expires".into(),
    };
    format!("{key}: {}{size}, {expiry}", kind.name())
}

fn place(dump: &KeyDump) -> String {
    let (user, hashed) = (&dump.user, hash_tag(&dump.user.key));
    let hashed =
        if hashed == user.key { String::new() } else { format!(" (of {})", quoted(hashed)) };
    let region = match dump.region {
        Some(region) => format!("Region {region}"),
        None => "no Region of this store".into(),
    };
    format!("slot {}{hashed} · namespace {} · {region}", user.slot, user.namespace)
}

fn write_group(group: &Group, dump: &KeyDump, annotate: Annotate, page: &mut Page) {
    let rows = match (group.rows.len(), group.more) {
        (1, false) => "1 row".to_string(),
        (count, false) => format!("{count} rows"),
        (count, true) => format!("{count} of more rows"),
    };
    page.heading(&format!("── {} · {rows} · {}", group.family, meaning(group, dump)));
    let annotated = match annotate {
        Annotate::First => 1,
        Annotate::All => usize::MAX,
        Annotate::None => 0,
    };
    for row in group.rows.iter().take(annotated) {
        page.blank();
        page.explained(&row.explained_key(), &row.key);
        if !row.value.is_empty() {
            page.blank();
            page.explained(&row.explained_value(), &row.value);
        }
    }
    if annotated < group.rows.len() || group.more {
        page.blank();
        page.table(&list(group, dump));
    }
    if group.more {
        page.dim("more rows are stored: --limit N, --limit 0 for all");
    }
}

fn meaning(group: &Group, dump: &KeyDump) -> &'static str {
    match (group.role, group.family) {
        (Role::Orphan, _) => "orphans of other versions: invisible, dropped by compaction",
        (Role::Shadowed, _) => "the older format, hidden by the metadata record",
        (Role::Stale, _) => "an expiry that the key no longer has: the cleaner drops it",
        (Role::Damaged, _) => "keys that cannot be read",
        (Role::Live, Family::Metadata) => "what the key is",
        (Role::Live, Family::Expire) => "where the cleaner finds it",
        (Role::Live, Family::ZsetScore) => "members by score: ZRANGE reads them in order",
        (Role::Live, _) => match dump.kind {
            Some(DataType::Hash) => "fields and values",
            Some(DataType::List) => "elements by position",
            Some(DataType::Set) => "members",
            Some(DataType::Zset) => "scores by member: ZSCORE is one look-up",
            Some(DataType::String) if dump.version.is_some() => {
                "chunks by number: what none of them holds is zeros"
            }
            Some(DataType::String) | None => {
                "a string of the older format; the next write moves it to metadata"
            }
        },
    }
}

/// All rows of a group, a line each.
fn list(group: &Group, dump: &KeyDump) -> Table {
    let kind = dump.kind.filter(|_| group.role == Role::Live);
    let titles = match (group.family, kind) {
        _ if matches!(group.role, Role::Shadowed | Role::Damaged) => vec!["key", "value"],
        (Family::Expire, _) => vec!["expires", "key"],
        (Family::ZsetScore, Some(_)) => vec![">score", "member"],
        (Family::ZsetScore, None) => vec![">version", ">score", "member"],
        (Family::Subkey, Some(DataType::Hash)) => vec!["field", "value"],
        (Family::Subkey, Some(DataType::List)) => vec!["position", "element"],
        (Family::Subkey, Some(DataType::Set)) => vec!["member"],
        (Family::Subkey, Some(DataType::Zset)) => vec!["member", "score"],
        (Family::Subkey, Some(DataType::String)) if dump.version.is_some() => {
            vec![">chunk", "bytes"]
        }
        (Family::Subkey, None) => vec![">version", "subkey", "value"],
        _ => vec!["key", "value"],
    };
    let row = |row| table::Row::new(cells(row, titles.len()));
    let rows = group.rows.iter().map(row).collect();
    Table { titles, rows, overflow: Overflow::Cut }
}

fn cells(row: &StoredRow, columns: usize) -> Vec<String> {
    let mut cells = match Key::decode(row.family, &row.key) {
        Ok(Key::Expire(expire)) => {
            vec![Timestamp(expire.expire_ms).to_string(), quoted(&expire.key)]
        }
        Ok(Key::ZsetScore(score)) => {
            let member = quoted(&score.member);
            vec![score.version.to_string(), neokv_resp::format_double(score.score), member]
        }
        Ok(Key::Subkey(SubkeyKey { version, subkey, .. })) => {
            vec![version.to_string(), subkey_text(row, &subkey), part_value(row)]
        }
        Ok(Key::V1String(user) | Key::Metadata(user)) => vec![quoted(&user.key), in_words(row)],
        _ => vec![quoted(&row.key), quoted(&row.value)],
    };
    // Live rows share their version: the column is left out, and so is the value of a set's member.
    if row.part_of.is_some() && cells.len() == 3 {
        cells.remove(0);
    }
    cells.resize(columns, String::new());
    cells
}

/// The fields of a value side by side.
fn in_words(row: &StoredRow) -> String {
    let explained = row.explained_value();
    let words: Vec<String> =
        explained.leaves().map(|leaf| format!("{} {}", leaf.field, leaf.value)).collect();
    words.join(" · ")
}

fn subkey_text(row: &StoredRow, subkey: &[u8]) -> String {
    match (row.part_of, list_position(subkey)) {
        (Some(DataType::List), Some(position)) => {
            let sign = if position < LIST_MIDDLE { '-' } else { '+' };
            format!("middle {sign} {}", position.abs_diff(LIST_MIDDLE))
        }
        (Some(DataType::String), _) => match subkey.try_into() {
            Ok(number) => u64::from_be_bytes(number).to_string(),
            Err(_) => quoted(subkey),
        },
        _ => quoted(subkey),
    }
}

fn part_value(row: &StoredRow) -> String {
    match (row.part_of, double::decode_value(&row.value)) {
        (Some(DataType::Zset), Ok(score)) => neokv_resp::format_double(score),
        _ => quoted(&row.value),
    }
}

/// Bytes in quotes; long ones are cut before they fill the memory.
fn quoted(bytes: &[u8]) -> String {
    const LONGEST: usize = 512;
    match bytes.get(..LONGEST) {
        Some(head) if bytes.len() > LONGEST => {
            format!("\"{}\"… ({} bytes)", head.escape_ascii(), bytes.len())
        }
        _ => format!("\"{}\"", bytes.escape_ascii()),
    }
}
