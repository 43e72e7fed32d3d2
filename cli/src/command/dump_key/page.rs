//! Prints the rows of a key: each group with what it is, its first row byte by byte, and all of
//! them as a list.

use neokv_encoding::double;
use neokv_encoding::family::Family;
use neokv_encoding::key::{ExpireKey, ScoreKey, SubkeyFamilyRef, UserKey};
use neokv_encoding::metadata::{DataType, LIST_MIDDLE};

use super::{Group, KeyDump, Role, StoredRow};
use crate::args::Annotate;
use crate::output::json::Moment;
use crate::output::table::{Overflow, Page, Row, Table};

pub(super) fn write(dump: &KeyDump, page: &mut Page) {
    page.heading(&summary(dump));
    page.dim(&place(dump));
    if dump.groups.is_empty() {
        page.blank();
        page.text("Nothing is stored for this key.");
    }
    for group in &dump.groups {
        page.blank();
        write_group(group, dump, page);
    }
    if !dump.problems.is_empty() {
        page.blank();
    }
    for problem in &dump.problems {
        page.problem(problem);
    }
}

/// `"cart": hash with 2 fields, never expires`.
fn summary(dump: &KeyDump) -> String {
    let key = &dump.key;
    let Some(kind) = dump.kind else {
        return match dump.state {
            "damaged" => format!("{key}: a damaged record"),
            _ if dump.groups.is_empty() => format!("{key}: absent"),
            _ => format!("{key}: absent, with remains of earlier lives"),
        };
    };
    let size = dump
        .size
        .map(|size| format!(" with {size} {}", if size.0 == 1 { "element" } else { "elements" }));
    let life = match (dump.state, dump.expire) {
        ("expired", Some(at)) => format!("expired {at}, waiting for the cleaner"),
        (_, Some(at)) => format!("expires {at}"),
        (_, None) => "never expires".into(),
    };
    format!("{key}: {kind}{}, {life}", size.unwrap_or_default())
}

fn place(dump: &KeyDump) -> String {
    let hashed =
        if dump.hashed == dump.key { String::new() } else { format!(" (of {})", dump.hashed) };
    let region = match dump.region {
        Some(region) => format!("Region {region}"),
        None => "no Region of this store".into(),
    };
    format!("slot {}{hashed} · namespace {} · {region}", dump.slot, dump.namespace)
}

fn write_group(group: &Group, dump: &KeyDump, page: &mut Page) {
    let (count, more) = (group.rows.len(), if group.more { " of more" } else { "" });
    let rows =
        if count == 1 && !group.more { "1 row".to_string() } else { format!("{count}{more} rows") };
    page.heading(&format!("── {} · {rows} · {}", group.family, meaning(group, dump)));
    let annotated = match dump.annotate {
        Annotate::First => 1,
        Annotate::All => usize::MAX,
        Annotate::None => 0,
    };
    for row in group.rows.iter().take(annotated) {
        page.blank();
        page.explained(&row.explained_key(), &row.key.bytes);
        if !row.value.is_empty() {
            page.blank();
            page.explained(&row.explained_value(), &row.value);
        }
    }
    if annotated == 0 || (count > 1 && annotated < count) || group.more {
        page.blank();
        page.table(&list(group, dump));
    }
    if group.more {
        page.dim("more rows are stored: --limit N, --limit 0 for all");
    }
}

fn meaning(group: &Group, dump: &KeyDump) -> &'static str {
    match (group.role, Family::from_name(group.family)) {
        (Role::Orphan, _) => "orphans of other versions: invisible, dropped by compaction",
        (Role::Shadowed, _) => "the older format, hidden by the metadata record",
        (Role::Stale, _) => "an expiry that the key does not have any more: the cleaner drops it",
        (Role::Damaged, _) => "keys that cannot be read",
        (Role::Live, Some(Family::Metadata)) => "what the key is",
        (Role::Live, Some(Family::Expire)) => "where the cleaner finds it",
        (Role::Live, Some(Family::ZsetScore)) => "members by score: ZRANGE reads them in order",
        (Role::Live, _) => match dump.kind {
            Some("hash") => "fields and values",
            Some("list") => "elements by position",
            Some("set") => "members",
            Some("zset") => "scores by member: ZSCORE is one look-up",
            _ => "a string of the older format; the next write moves it to metadata",
        },
    }
}

/// All rows of a group, a line each.
fn list(group: &Group, dump: &KeyDump) -> Table {
    let kind = dump
        .kind
        .and_then(|name| DataType::from_name(name.as_bytes()))
        .filter(|_| group.role == Role::Live);
    let titles = match (Family::from_name(group.family), kind) {
        _ if matches!(group.role, Role::Shadowed | Role::Damaged) => vec!["key", "value"],
        (Some(Family::Metadata), _) => vec!["key", "value"],
        (Some(Family::Expire), _) => vec!["expires", "key"],
        (Some(Family::ZsetScore), Some(_)) => vec![">score", "member"],
        (Some(Family::ZsetScore), None) => vec![">version", ">score", "member"],
        (_, Some(DataType::Hash)) => vec!["field", "value"],
        (_, Some(DataType::List)) => vec!["position", "element"],
        (_, Some(DataType::Set)) => vec!["member"],
        (_, Some(DataType::Zset)) => vec!["member", "score"],
        (_, Some(DataType::String)) => vec!["key", "value"],
        (_, None) => vec![">version", "subkey", "value"],
    };
    let rows = group.rows.iter().map(|row| Row::new(cells(row, titles.len()))).collect();
    Table { titles, rows, overflow: Overflow::Cut }
}

fn cells(row: &StoredRow, columns: usize) -> Vec<String> {
    let key = &row.key.bytes;
    let mut cells = match row.key.family {
        Family::Expire => ExpireKey::decode(key)
            .ok()
            .map(|e| vec![Moment(e.expire_ms).to_string(), quoted(&e.key)]),
        Family::ZsetScore => ScoreKey::decode(key).ok().map(|s| {
            vec![s.version.to_string(), neokv_resp::format_double(s.score), quoted(&s.member)]
        }),
        Family::Subkey => match SubkeyFamilyRef::decode(key) {
            Ok(SubkeyFamilyRef::Part(part)) => {
                Some(vec![part.version.to_string(), subkey(row, part.subkey), part_value(row)])
            }
            Ok(SubkeyFamilyRef::V1String { key, .. }) => Some(vec![quoted(key), in_words(row)]),
            Err(_) => None,
        },
        Family::Metadata => {
            UserKey::decode_metadata(key).ok().map(|user| vec![quoted(&user.key), in_words(row)])
        }
        _ => None,
    }
    .unwrap_or_else(|| vec![quoted(key), quoted(&row.value)]);
    // Live rows share their version: the column is left out, and so is the value of a set's member.
    if row.part_of.is_some()
        && matches!(row.key.family, Family::Subkey | Family::ZsetScore)
        && cells.len() == 3
    {
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

fn subkey(row: &StoredRow, subkey: &[u8]) -> String {
    match (row.part_of, <[u8; 8]>::try_from(subkey)) {
        (Some(DataType::List), Ok(bytes)) => {
            let position = u64::from_be_bytes(bytes);
            let sign = if position < LIST_MIDDLE { '-' } else { '+' };
            format!("middle {sign} {}", position.abs_diff(LIST_MIDDLE))
        }
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
