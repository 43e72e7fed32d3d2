//! The tables of `docs/formats.md` come from the layouts: each format's sample bytes are explained,
//! and the fields that the decoder has read are the table's rows. With `UPDATE_GOLDENFILES=1` the
//! test writes the page instead of comparing it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use neokv_encoding::{
    double,
    explain::{self, Explained, Span},
    family::Family,
    identity::Identity,
    key::{self, RaftStateKind, RegionKind, UserKey},
    marker,
    metadata::{Collection, DataType, Metadata},
    raft::{Entry, LogId, Membership, Payload, Peer, PeerRole, Vote},
    region::{Applied, Descriptor, Epoch, RegionState, Replica, ReplicaState},
    slot::SlotRange,
    slot_stats::SlotStats,
    snapshot::{File, Manifest},
    synced::SyncedNote,
    v1,
};

/// Where a table begins and ends in the page.
const BEGIN: &str = "<!-- table: ";
const END: &str = "<!-- end -->";

const LOG_ID: LogId = LogId { term: 3, index: 42 };
const EPOCH: Epoch = Epoch { version: 2, conf_ver: 5 };

/// The records of one family: sample keys, and the samples of what may stand under them. Samples of
/// one format differ in the length of whatever may have any length.
struct Records {
    family: Family,
    keys: Vec<Vec<u8>>,
    values: Vec<Vec<u8>>,
}

fn users() -> [UserKey; 2] {
    [UserKey::new(0, Bytes::from_static(b"foo")), UserKey::new(7, Bytes::from_static(b"longer"))]
}

/// Keys of both users.
fn of_users(key: impl Fn(&UserKey, &[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    users().iter().zip([&b"field"[..], b"a"]).map(|(user, part)| key(user, part)).collect()
}

fn descriptors() -> [Descriptor; 2] {
    let peer = |id| Peer { id, store: 1, role: PeerRole::Voter };
    [vec![peer(11)], vec![peer(11), peer(12)]].map(|peers| Descriptor {
        id: 1,
        slots: SlotRange::ALL,
        epoch: EPOCH,
        peers,
        state: RegionState::Normal,
    })
}

fn applied() -> [Applied; 2] {
    let membership = Membership {
        log_id: Some(LOG_ID),
        configs: vec![[11, 12].into(), [11].into()],
        nodes: [(11, 1), (12, 2)].into(),
    };
    let full = Applied { log_id: Some(LOG_ID), membership, clock: 1 };
    let one = Membership { configs: vec![[11].into()], ..full.membership.clone() };
    [full.clone(), Applied { membership: one, ..full }]
}

fn entries() -> Vec<Vec<u8>> {
    let command =
        |command: &'static [u8]| Payload::Command { epoch: EPOCH, command: command.into() };
    let payloads =
        [Payload::Blank, command(b""), Payload::Membership(applied()[0].membership.clone())];
    payloads.map(|payload| Entry { log_id: LOG_ID, payload }.encode()).into()
}

fn metadata() -> Vec<Vec<u8>> {
    let string = |value: &'static [u8]| Metadata::String { expire_ms: 0, value: value.into() };
    let collection = |kind| Metadata::Collection(Collection::new(kind, 7));
    let long = Collection { size: 20_005, ..Collection::new(DataType::String, 7) };
    let records = [
        string(b"value"),
        string(b""),
        Metadata::Collection(long),
        collection(DataType::Hash),
        collection(DataType::List),
    ];
    records.map(|record| record.encode()).into()
}

fn records(family: Family) -> Records {
    let replica = Replica { peer: 11, state: ReplicaState::Member, epoch: EPOCH };
    let vote = Vote { term: 3, node: Some(11), committed: true };
    let (keys, values) = match family {
        Family::Default => {
            let identity = Identity { format_version: 2, cluster_id: 7, store_id: 3 };
            (vec![key::IDENTITY.to_vec(), key::ingest(7)], vec![identity.encode(), vec![]])
        }
        Family::RaftLog => (vec![key::raft_log(1, 42).into()], entries()),
        Family::RaftState => {
            let keys = RaftStateKind::ALL.map(|kind| key::raft_state(1, kind).into());
            (keys.into(), vec![vote.encode(), LOG_ID.encode(), LOG_ID.encode()])
        }
        Family::Region => {
            let keys = RegionKind::ALL.map(|kind| key::region(1, kind).into());
            let values = vec![replica.encode(), descriptors()[0].encode(), applied()[0].encode()];
            (keys.into(), values)
        }
        Family::Metadata => (of_users(|user, _| user.metadata()), metadata()),
        Family::Subkey => (of_users(|user, part| user.subkey(7, part)), vec![b"value".to_vec()]),
        Family::ZsetScore => (of_users(|user, part| user.score(7, 1.5, part)), vec![vec![]]),
        Family::Expire => (of_users(|user, _| user.expire(1_700_000_000_000)), vec![vec![]]),
        Family::SlotStats => {
            (vec![key::slot_stats(8000, 0).into()], vec![SlotStats { keys: 5 }.encode()])
        }
    };
    Records { family, keys, values }
}

/// Every format, by the name of its table, with its samples explained.
fn formats() -> Vec<(String, Vec<Explained>)> {
    let mut formats = Vec::new();
    for family in Family::ALL {
        let Records { keys, values, .. } = records(family);
        let explained = keys.iter().map(|key| explain::key(family, key));
        formats.push((format!("{family} key"), explained.collect::<Vec<_>>()));
        for (at, value) in values.iter().enumerate() {
            let key = keys.get(at).or(keys.first()).unwrap();
            let explained = explain::value(family, key, value);
            formats.push((explained.what.clone(), vec![explained]));
        }
    }
    let all = |explain: fn(&[u8]) -> Explained, samples: Vec<Vec<u8>>| -> Vec<Explained> {
        samples.iter().map(|sample| explain(sample)).collect()
    };
    let value_of = |key: Vec<u8>, samples: Vec<Vec<u8>>| -> Vec<Explained> {
        let explain = |sample: &Vec<u8>| explain::value(Family::Subkey, &key, sample);
        samples.iter().map(explain).collect()
    };
    let region =
        |kind, sample: &[u8]| explain::value(Family::Region, &key::region(1, kind), sample);
    formats.push((
        "descriptor".into(),
        descriptors().map(|one| region(RegionKind::Descriptor, &one.encode())).into(),
    ));
    formats.push((
        "applied".into(),
        applied().map(|one| region(RegionKind::Applied, &one.encode())).into(),
    ));
    let old_keys = of_users(|user, _| user.v1_string());
    let explained = old_keys.iter().map(|key| explain::key(Family::Subkey, key));
    formats.push(("phase-1 string key".into(), explained.collect()));
    let old = vec![v1::encode_value(0, b"value"), v1::encode_value(5, b"")];
    formats.push(("phase-1 string".into(), value_of(old_keys[0].clone(), old)));
    let score = explain::part(DataType::Zset, &double::encode_value(1.5));
    formats.push(("score".into(), vec![score]));
    let manifests = descriptors().into_iter().zip(applied()).enumerate();
    let manifests = manifests.map(|(more, (descriptor, applied))| {
        let names = [Family::Metadata, Family::SlotStats, Family::Subkey];
        let file = |family| File { family, rows: 3, size: 1234, checksum: 7 };
        let files = names.into_iter().take(2 + more).map(file).collect();
        Manifest { descriptor, applied, files }.encode()
    });
    formats.push(("manifest".into(), all(explain::manifest, manifests.collect())));
    let note = SyncedNote { tag: [7; 16], before: 2, synced: 1, log: 4 };
    formats.push(("synced note".into(), all(explain::synced_note, vec![note.encode().into()])));
    formats.push(("marker".into(), all(explain::marker, vec![marker::encode([7; 16]).into()])));
    formats
}

/// One line of a table.
struct Row {
    depth: usize,
    field: &'static str,
    /// `None` for a group, or where samples differ or have none.
    bytes: Option<usize>,
    is_group: bool,
    /// Some sample has more than one, or none.
    is_list: bool,
    is_optional: bool,
    why: &'static str,
}

/// The fields of some spans of one kind, those of the same name taken together.
fn rows(parents: &[&Span], depth: usize, out: &mut Vec<Row>) {
    let mut seen = BTreeSet::new();
    for child in parents.iter().flat_map(|parent| &parent.children) {
        if !seen.insert(child.field) {
            continue;
        }
        let of = |parent: &&Span| parent.children.iter().filter(|c| c.field == child.field).count();
        let same: Vec<&Span> = parents
            .iter()
            .flat_map(|parent| parent.children.iter().filter(|c| c.field == child.field))
            .collect();
        let length = child.range.len();
        let is_group = same.iter().any(|span| !span.children.is_empty());
        let is_fixed =
            !is_group && length > 0 && same.iter().all(|span| span.range.len() == length);
        out.push(Row {
            depth,
            field: child.field,
            bytes: is_fixed.then_some(length),
            is_group,
            is_list: parents.iter().any(|parent| of(parent) > 1),
            is_optional: parents.iter().any(|parent| of(parent) == 0),
            why: child.why,
        });
        rows(&same, depth + 1, out);
    }
}

/// Samples of the same format, wherever they came from, in the order of the first of each.
fn merged() -> Vec<(String, Vec<Explained>)> {
    let mut merged: Vec<(String, Vec<Explained>)> = Vec::new();
    for (name, samples) in formats() {
        let clean = samples.iter().all(Explained::is_clean);
        assert!(clean, "{name}: {:?}", samples.iter().find(|sample| !sample.is_clean()));
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => known.extend(samples),
            None => merged.push((name, samples)),
        }
    }
    merged
}

fn table(samples: &[Explained]) -> String {
    let mut lines = Vec::new();
    rows(&samples.iter().map(|sample| &sample.root).collect::<Vec<_>>(), 0, &mut lines);
    let mut out = String::from("| field | bytes | |\n| --- | --- | --- |\n");
    for row in lines {
        let indent = "· ".repeat(row.depth);
        let bytes = match row.bytes {
            Some(bytes) => bytes.to_string(),
            None if row.is_group => String::new(),
            None => "any".to_owned(),
        };
        let times = match (row.is_list, row.is_optional) {
            (true, _) => ", repeated",
            (false, true) => ", not in all",
            (false, false) => "",
        };
        writeln!(out, "| {indent}{}{times} | {bytes} | {} |", row.field, row.why).unwrap();
    }
    out
}

/// The overview: what each family's keys consist of, and what stands under them.
fn families() -> String {
    let mut out = String::from("| family | key | value |\n| --- | --- | --- |\n");
    for family in Family::ALL {
        let Records { family, keys, values } = records(family);
        let explained: Vec<Explained> = keys.iter().map(|key| explain::key(family, key)).collect();
        let mut lines = Vec::new();
        rows(&explained.iter().map(|key| &key.root).collect::<Vec<_>>(), 0, &mut lines);
        let fields = lines.iter().map(|row| {
            let bytes = row.bytes.map(|bytes| format!(" {bytes}")).unwrap_or_default();
            let times = if row.is_optional { " (not in all)" } else { "" };
            format!("{}{bytes}{times}", row.field)
        });
        let mut formats: Vec<String> = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let key = keys.get(at).or(keys.first()).unwrap();
            let what = explain::value(family, key, value).what;
            if !formats.contains(&what) {
                formats.push(what);
            }
        }
        let fields = fields.collect::<Vec<_>>().join(" · ");
        writeln!(out, "| `{family}` | {fields} | {} |", formats.join("; ")).unwrap();
    }
    out
}

/// The page with every table generated again.
fn page(committed: &str) -> String {
    let tables = merged();
    let mut missing: BTreeSet<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
    missing.insert("families");
    let mut out = String::new();
    let mut rest = committed;
    while let Some((before, marked)) = rest.split_once(BEGIN) {
        let (name, old) = marked.split_once(" -->\n").expect("the end of a mark");
        let (_, after) = old.split_once(END).expect("the end of a table");
        let table = if name == "families" {
            families()
        } else {
            let found = tables.iter().find(|(known, _)| known == name);
            table(&found.unwrap_or_else(|| panic!("no format is named {name}")).1)
        };
        write!(out, "{before}{BEGIN}{name} -->\n{table}{END}").unwrap();
        missing.remove(name);
        rest = after;
    }
    out.push_str(rest);
    let say_nothing = ["empty value", "subkey value"];
    missing.retain(|name| !say_nothing.contains(name));
    assert!(missing.is_empty(), "the page has no table of {missing:?}");
    out
}

#[test]
fn the_page_of_formats_says_what_the_layouts_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/formats.md");
    let committed = std::fs::read_to_string(&path).unwrap();
    let page = page(&committed);
    if std::env::var_os("UPDATE_GOLDENFILES").is_some() {
        std::fs::write(&path, page).unwrap();
    } else {
        assert!(page == committed, "docs/formats.md is not up to date: its first lines say how");
    }
}
