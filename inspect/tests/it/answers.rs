//! Each question, asked of a store that is known down to the row.

use bytes::Bytes;
use neokv_encoding::chunk;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RaftStateKind, RegionKind};
use neokv_encoding::metadata::{Collection, DataType};
use neokv_encoding::proto::write_command::Kind;
use neokv_encoding::raft::{LogId, Payload};
use neokv_encoding::region::ReplicaState;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Durability, Engine};
use neokv_inspect::entry::EntryState;
use neokv_inspect::key::Key;
use neokv_inspect::key_dump::{self, KeyDump, KeyState, Role};
use neokv_inspect::key_list::{self, KeyQuery};
use neokv_inspect::raft::{self, LogQuery};
use neokv_inspect::{InspectError, Source, region, store};
use tempfile::TempDir;

use crate::stores::{self, NOW_MS, user};

/// A closed store, opened for looking at it.
fn open(make: impl Fn(&std::path::Path) -> Engine) -> (TempDir, Source) {
    let dir = tempfile::tempdir().unwrap();
    stores::close(make(dir.path()), dir.path());
    let source = Source::open(dir.path(), NOW_MS).unwrap();
    (dir, source)
}

#[test]
fn a_store_says_whose_it_is_and_how_much_it_holds() {
    let (_dir, source) = open(stores::small);
    let summary = store::summary(&source);
    let identity = summary.identity.unwrap();
    assert_eq!((identity.cluster_id, identity.store_id), (0xc0ffee, 1));
    assert_eq!((summary.regions, summary.keys), (1, Some(7)));
    let rows = |family| summary.families.iter().find(|one| one.family == family).unwrap().rows;
    assert_eq!((rows(Family::Metadata), rows(Family::RaftLog)), (7, 7));
    assert_eq!(summary.problems, [""; 0]);
}

#[test]
fn regions_count_the_keys_of_their_slots() {
    let (_dir, source) = open(stores::several);
    let regions = region::list(&source);
    let keys: Vec<(u64, Option<u64>)> =
        regions.iter().map(|region| (region.records.id, region.keys)).collect();
    let low = ["greeting", "soon", "over", "user:{42}", "todo", "colours", "board"]
        .iter()
        .filter(|name| user(name).slot < 8192)
        .count();
    let low = u64::try_from(low).unwrap();
    let last = (1 << 60) + 1;
    assert_eq!(keys, [(1, Some(low)), (4, Some(0)), (5, None), (6, None), (last, Some(7 - low))]);
    // A tombstone and a replica that knows nothing yet are no damage.
    assert!(regions.iter().all(|region| region.problems.is_empty()));
    assert!(regions[2].records.is_tombstone());
    assert_eq!(regions[3].records.replica().unwrap().state, ReplicaState::Joining);
    assert_eq!(source.region_of(8192).unwrap().id, 4);
}

#[test]
fn a_region_is_named_unless_there_is_one() {
    let (_dir, source) = open(stores::small);
    assert_eq!(source.region(None).unwrap().id, 1);
    let (_dir, source) = open(stores::several);
    let error = source.region(None).unwrap_err();
    assert!(matches!(error, InspectError::SeveralRegions { count: 4, first: 1, .. }), "{error:?}");
    assert!(source.region(Some(5)).unwrap().is_tombstone());
    let error = source.region(Some(3)).unwrap_err();
    let InspectError::NoRegion { nearest, .. } = error else { panic!("{error:?}") };
    assert_eq!(nearest, [4, 1, 5, 6, (1 << 60) + 1]);
}

#[test]
fn a_tombstone_does_not_hide_the_only_region() {
    let (_dir, source) = open(|dir| {
        let engine = stores::small(dir);
        let mut batch = engine.batch();
        stores::replica(&mut batch, 5, 7, ReplicaState::Tombstone);
        engine.write(batch, Durability::Synced).unwrap();
        engine
    });
    assert_eq!(source.region(None).unwrap().id, 1);
}

#[test]
fn damaged_records_are_named_one_by_one() {
    let (_dir, source) = open(|dir| {
        let engine = stores::damaged(dir);
        let mut batch = engine.batch();
        batch.put(Family::Region, key::region(1, RegionKind::Applied), b"\x01");
        batch.put(Family::Region, b"odd", b"");
        engine.write(batch, Durability::Synced).unwrap();
        engine
    });
    assert_eq!(source.problems.len(), 1, "{:?}", source.problems);
    assert!(source.problems[0].starts_with("family region, key \"odd\":"));
    let region = region::show(&source, 1).unwrap();
    assert!(region.records.descriptor().is_some());
    assert_eq!((region.records.applied_id(), region.keys), (None, None));
    assert_eq!(region.problems.len(), 2, "{:?}", region.problems);
    assert!(region.problems[0].starts_with("Region 1, applied:"));
    assert!(region.problems[1].starts_with("slot stats, slot 12714, namespace 0:"));
}

fn log(source: &Source, from: Option<u64>, to: Option<u64>, limit: usize) -> raft::Log {
    raft::log(source, &LogQuery { region: None, from, to, limit }).unwrap()
}

fn indexes(log: &raft::Log) -> Vec<u64> {
    log.entries.iter().map(|entry| entry.index).collect()
}

#[test]
fn a_part_of_the_log_is_read_from_either_end() {
    let (_dir, source) = open(stores::small);
    let parts = [
        (None, None, 9, vec![1, 2, 3, 4, 5, 6, 7], false),
        (None, None, 2, vec![6, 7], true),
        (None, Some(5), 2, vec![4, 5], true),
        (Some(2), None, 2, vec![2, 3], true),
        (Some(6), None, 2, vec![6, 7], false),
        (Some(3), Some(3), 9, vec![3], false),
        (Some(8), Some(u64::MAX), 9, vec![], false),
        (None, None, 0, vec![], true),
    ];
    for (from, to, limit, expected, more) in parts {
        let log = log(&source, from, to, limit);
        assert_eq!((indexes(&log), log.more), (expected, more), "{from:?} {to:?} {limit}");
        assert_eq!(log.problems, [""; 0]);
    }
}

#[test]
fn entries_are_decoded_down_to_their_commands() {
    let (_dir, source) = open(stores::small);
    let log = log(&source, None, None, 9);
    assert_eq!(log.state.applied, Some(LogId { term: 2, index: 5 }));
    assert_eq!((log.state.first, log.state.last), (Some(1), Some(7)));
    let entry = &log.entries[4];
    assert_eq!((entry.term, entry.state), (Some(2), EntryState::Applied));
    let commands = &entry.request.as_ref().unwrap().commands;
    let Some(Kind::Client(first)) = &commands[0].kind else { panic!("{commands:?}") };
    assert_eq!(first.args[..2], ["hset", "user:{42}"]);
    assert_eq!(commands[2].namespace, 3);
    assert!(matches!(log.entries[6].payload, Some(Payload::Admin { .. })));
    assert_eq!(log.entries[6].state, EntryState::Appended);
}

#[test]
fn gaps_and_misplaced_entries_are_named() {
    let (_dir, source) = open(stores::damaged);
    let log = log(&source, None, None, 9);
    assert_eq!(indexes(&log), [1, 2, 4, 5, 6, 7]);
    assert_eq!(log.problems, ["no entry between 2 and 4"]);
    assert_eq!(log.entries[2].problems, ["it says that it is entry 9"]);
    assert_eq!(log.entries[3].payload, None);
    assert_eq!((log.state.vote, log.state.problems.len()), (None, 1));
}

#[test]
fn a_log_that_begins_too_late_is_a_problem() {
    let (_dir, source) = open(|dir| {
        let engine = stores::small(dir);
        let mut batch = engine.batch();
        for index in 1..=3 {
            batch.delete(Family::RaftLog, key::raft_log(1, index));
        }
        let purged = LogId { term: 1, index: 2 }.encode();
        batch.put(Family::RaftState, key::raft_state(1, RaftStateKind::Purged), purged);
        engine.write(batch, Durability::Synced).unwrap();
        engine
    });
    let log = log(&source, None, None, 9);
    assert_eq!(log.problems, ["the log is purged up to 2, but its first entry is 4"]);
}

/// A store with one string in chunks of a length that its rows may contradict.
fn with_long_string(length: u64, rows: &[(&[u8], &[u8])]) -> KeyDump {
    let (_dir, source) = open(|dir| {
        let engine = stores::small(dir);
        let mut batch = engine.batch();
        let long = Collection { size: length, ..Collection::new(DataType::String, 7) };
        batch.put(Family::Metadata, user("long").metadata(), long.encode());
        for (subkey, value) in rows {
            batch.put(Family::Subkey, user("long").subkey(7, subkey), *value);
        }
        engine.write(batch, Durability::Synced).unwrap();
        engine
    });
    dump(&source, "long", 9)
}

#[test]
fn the_chunks_of_a_string_lie_within_its_length() {
    let (first, third) = (chunk::subkey(0), chunk::subkey(2));
    let whole = with_long_string(16_385, &[(&first, b"short"), (&third, b"x")]);
    assert_eq!((whole.kind, whole.size), (Some(DataType::String), Some(16_385)));
    assert_eq!(whole.problems, [""; 0]);
    let live = &whole.groups[1];
    assert_eq!((live.role, live.rows.len()), (Role::Live, 2));
    assert_eq!(live.rows[0].explained_value().root.children[0].field, "chunk");
    let damaged = with_long_string(16_385, &[(&third, b"xy"), (b"field", b"v")]);
    assert_eq!(damaged.problems.len(), 2, "{:?}", damaged.problems);
    assert!(damaged.problems[0].starts_with("chunk 2 ends behind the 16385 bytes"));
    assert!(damaged.problems[1].starts_with("a row of the string is no chunk"));
}

fn dump(source: &Source, name: &str, limit: usize) -> KeyDump {
    key_dump::dump(source, user(name), limit).unwrap()
}

fn shape(dump: &KeyDump) -> Vec<(Family, Role, usize, bool)> {
    let groups = dump.groups.iter();
    groups.map(|group| (group.family, group.role, group.rows.len(), group.more)).collect()
}

#[test]
fn a_dump_tells_live_parts_from_remains() {
    let (_dir, source) = open(stores::small);
    let hash = dump(&source, "user:{42}", 9);
    assert_eq!((hash.kind, hash.size), (Some(DataType::Hash), Some(2)));
    assert_eq!(hash.problems, [""; 0]);
    let groups = [
        (Family::Metadata, Role::Live, 1, false),
        (Family::Subkey, Role::Live, 2, false),
        (Family::Subkey, Role::Orphan, 1, false),
        (Family::Subkey, Role::Shadowed, 1, false),
        (Family::Expire, Role::Stale, 1, false),
    ];
    assert_eq!(shape(&hash), groups);
    assert_eq!(hash.groups[1].rows[0].part_of, Some(DataType::Hash));
    for (name, state) in [
        ("greeting", KeyState::Live),
        ("old", KeyState::Live),
        ("over", KeyState::Expired),
        ("gone", KeyState::Absent),
        ("nothing", KeyState::Absent),
    ] {
        assert_eq!(dump(&source, name, 9).state, state, "{name}");
    }
    assert_eq!(dump(&source, "gone", 9).groups.len(), 1);
    assert_eq!(dump(&source, "nothing", 9).groups.len(), 0);
}

#[test]
fn a_limit_holds_for_each_group() {
    let (_dir, source) = open(stores::small);
    let zset = dump(&source, "board", 2);
    let groups = [
        (Family::Metadata, Role::Live, 1, false),
        (Family::Subkey, Role::Live, 2, true),
        (Family::ZsetScore, Role::Live, 2, true),
    ];
    assert_eq!(shape(&zset), groups);
    // What the limit left out is not missed.
    assert_eq!(zset.problems, [""; 0]);
}

#[test]
fn parts_that_disagree_are_a_problem() {
    let (_dir, source) = open(stores::damaged);
    let hash = dump(&source, "user:{42}", 9);
    assert_eq!(hash.problems.len(), 2, "{:?}", hash.problems);
    assert!(hash.problems[0].ends_with("the metadata record says 5"));
    assert!(hash.problems[1].starts_with("family expire has no row"));
    assert_eq!(dump(&source, "greeting", 9).state, KeyState::Damaged);
}

#[test]
fn keys_are_listed_in_the_order_of_the_store() {
    let (_dir, source) = open(stores::small);
    let all = KeyQuery {
        slots: SlotRange::ALL,
        namespace: None,
        prefix: Bytes::new(),
        limit: usize::MAX,
    };
    let list = |query: KeyQuery| {
        let list = key_list::list(&source, &query).unwrap();
        assert_eq!(list.problems, [""; 0]);
        let names = list.keys.iter().map(|listed| listed.user.key.clone());
        (names.collect::<Vec<_>>(), list.more)
    };
    let (names, more) = list(all.clone());
    let mut sorted = names.clone();
    sorted.sort_by_key(|name| user(std::str::from_utf8(name).unwrap()).slot);
    assert_eq!((names.len(), more), (7, false));
    assert_eq!(names, sorted);
    assert_eq!(list(KeyQuery { limit: 2, ..all.clone() }), (names[..2].to_vec(), true));
    assert_eq!(list(KeyQuery { limit: 7, ..all.clone() }), (names, false));
    let one = |name: &'static str| (vec![Bytes::from_static(name.as_bytes())], false);
    assert_eq!(list(KeyQuery { prefix: "so".into(), ..all.clone() }), one("soon"));
    let slot = user("todo").slot;
    let slots = SlotRange { start: slot, end: slot + 1 };
    assert_eq!(list(KeyQuery { slots, ..all.clone() }), one("todo"));
    assert_eq!(list(KeyQuery { namespace: Some(1), ..all }), (vec![], false));
}

#[test]
fn a_listed_key_says_what_it_is() {
    let (_dir, source) = open(stores::damaged);
    let query = KeyQuery {
        slots: SlotRange::ALL,
        namespace: Some(0),
        prefix: Bytes::new(),
        limit: usize::MAX,
    };
    let list = key_list::list(&source, &query).unwrap();
    let find = |name: &str| {
        let listed = list.keys.iter().find(|listed| listed.user.key == name).unwrap();
        (listed.kind, listed.state, listed.size, listed.expire_ms)
    };
    assert_eq!(find("todo"), (Some(DataType::List), KeyState::Live, Some(3), None));
    let over = (Some(DataType::String), KeyState::Expired, Some(1), Some(NOW_MS - 1));
    assert_eq!(find("over"), over);
    assert_eq!(find("greeting"), (None, KeyState::Damaged, None, None));
    assert_eq!(list.problems.len(), 1, "{:?}", list.problems);
}

#[test]
fn keys_of_every_family_are_decoded() {
    let user = user("a");
    let keys = [
        (Family::Default, key::IDENTITY.to_vec()),
        (Family::RaftLog, key::raft_log(1, 2).to_vec()),
        (Family::RaftState, key::raft_state(1, RaftStateKind::Vote).to_vec()),
        (Family::Region, key::region(1, RegionKind::Replica).to_vec()),
        (Family::Metadata, user.metadata()),
        (Family::Subkey, user.subkey(7, b"field")),
        (Family::Subkey, user.v1_string()),
        (Family::ZsetScore, user.score(7, 1.5, b"member")),
        (Family::Expire, user.expire(NOW_MS)),
        (Family::SlotStats, key::slot_stats(user.slot, 3).to_vec()),
    ];
    for (family, bytes) in keys {
        let decoded = Key::decode(family, &bytes).unwrap();
        let short = Key::decode(family, &bytes[..bytes.len() - 1]);
        // User keys, subkeys and members reach to the end of their key.
        let is_open = matches!(
            decoded,
            Key::Metadata(_) | Key::Subkey(_) | Key::ZsetScore(_) | Key::Expire(_)
        );
        assert_eq!(short.is_ok(), is_open, "{family}: {short:?}");
    }
}
