//! What the SCAN family and KEYS answer, also while the keyspace changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use neokv_encoding::slot::{SlotRange, slot_of};
use neokv_raftstore::SplitMix64;
use neokv_resp::Reply;

use crate::keyspace::CursorTable;
use crate::keyspace::cursor_table::slot_cursor;
use crate::testing::{Bench, words};

/// One call: the next cursor and the strings of the page.
fn page(bench: &mut Bench, line: &str) -> (String, Vec<String>) {
    let reply = bench.call(words(line));
    let Reply::Array(parts) = &reply else { panic!("{reply:?}") };
    let [Reply::Bulk(cursor), Reply::Array(items)] = parts.as_slice() else { panic!("{parts:?}") };
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let items = items
        .iter()
        .map(|item| if let Reply::Bulk(bytes) = item { text(bytes) } else { panic!("{item:?}") });
    (text(cursor), items.collect())
}

/// A whole iteration; `between` runs after every page.
fn iterate(
    bench: &mut Bench,
    command: &str,
    options: &str,
    mut between: impl FnMut(&mut Bench, u32),
) -> Vec<String> {
    let mut cursor = "0".to_owned();
    let mut found = Vec::new();
    for round in 0..10_000 {
        let (next, items) = page(bench, &format!("{command} {cursor}{options}"));
        found.extend(items);
        if next == "0" {
            return found;
        }
        cursor = next;
        between(bench, round);
    }
    panic!("the iteration does not end");
}

fn fill(bench: &mut Bench, keys: u32) -> BTreeSet<String> {
    fill_with(bench, "key:", keys)
}

/// Sets keys whose names begin with `prefix`, and returns the names.
fn fill_with(bench: &mut Bench, prefix: &str, keys: u32) -> BTreeSet<String> {
    let names: BTreeSet<String> = (0..keys).map(|n| format!("{prefix}{n}")).collect();
    for name in &names {
        bench.run(&format!("SET {name} v"));
    }
    names
}

/// A restart, or a call that goes to another node: no position is remembered.
fn forget(bench: &mut Bench) {
    bench.cursors = CursorTable::new();
}

#[test]
fn a_quiet_keyspace_is_returned_exactly_once() {
    let mut bench = Bench::new();
    assert_eq!(bench.run("SCAN 0"), r#"["0", []]"#);
    let expected = fill(&mut bench, 500);
    for options in ["", " COUNT 1", " COUNT 7", " COUNT 100000", " MATCH key:*", " TYPE string"] {
        let found = iterate(&mut bench, "SCAN", options, |_, _| {});
        assert_eq!(found.len(), 500, "{options}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{options}");
    }
    assert_eq!(page(&mut bench, "SCAN 0 COUNT 25").1.len(), 25);
}

#[test]
fn filters_leave_out_what_does_not_fit() {
    let mut bench = Bench::new();
    fill(&mut bench, 300);
    bench.run("SADD aset x");
    bench.run("HSET ahash f v");
    bench.run("SET expired v PX 1");
    bench.advance(1);
    let mut all = |options| iterate(&mut bench, "SCAN", options, |_, _| {});
    assert_eq!(all(" TYPE set"), ["aset"]);
    assert_eq!(all(" TYPE HASH COUNT 3"), ["ahash"]);
    assert!(all(" TYPE stream").is_empty());
    assert_eq!(all(" MATCH key:1?").len(), 10);
    assert_eq!(all(" MATCH expired"), Vec::<String>::new());
    assert_eq!(all("").len(), 302);
}

#[test]
fn a_page_of_a_filtered_scan_is_bounded() {
    let mut bench = Bench::new();
    fill(&mut bench, 500);
    let mut pages = 0;
    let found = iterate(&mut bench, "SCAN", " MATCH nothing COUNT 10", |_, _| pages += 1);
    assert!(found.is_empty());
    assert_eq!(pages, 500 / 80, "eight times COUNT per page");
}

#[test]
fn keys_that_stay_are_returned_while_others_come_and_go() {
    let mut bench = Bench::new();
    let stay = fill(&mut bench, 300);
    for n in 0..300 {
        bench.run(&format!("SET gone:{n} v"));
    }
    let mut random = SplitMix64::new(5);
    let found = iterate(&mut bench, "SCAN", " COUNT 5", |bench, round| {
        for _ in 0..5 {
            bench.run(&format!("DEL gone:{}", random.below(300)));
        }
        bench.run(&format!("SET new:{round} v"));
    });
    let found: BTreeSet<String> = found.into_iter().collect();
    assert!(stay.is_subset(&found), "missing: {:?}", stay.difference(&found).collect::<Vec<_>>());
}

#[test]
fn a_scan_ends_and_finds_every_key_though_each_position_is_forgotten() {
    let mut bench = Bench::new();
    let expected = fill(&mut bench, 300);
    let found = iterate(&mut bench, "SCAN", " COUNT 9", |bench, _| forget(bench));
    assert_eq!(found.len(), 300, "each key once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// One slot with many times more keys than COUNT: starting the slot over would return its first
/// page for ever.
#[test]
fn a_crowded_slot_is_walked_to_its_end_though_each_position_is_forgotten() {
    let mut bench = Bench::new();
    let mut expected = fill_with(&mut bench, "{tag}:", 400);
    expected.extend(fill(&mut bench, 50));
    let found = iterate(&mut bench, "SCAN", " COUNT 3", |bench, _| forget(bench));
    assert_eq!(found.len(), 450, "each key once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// Where the key at a forgotten position was deleted as well, the walk goes on in the order of
/// hashes, whose cursors need no memory.
#[test]
fn a_position_that_is_forgotten_and_deleted_ends_no_walk() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..3000).map(|n| format!("{{tag}}:{n:04}")).collect();
    for name in &names {
        bench.run(&format!("SET {name} v"));
    }
    bench.run(&format!("SADD s {}", names.join(" ")));
    // The first page ends before this name, in the order of bytes.
    let position = &names[40];
    let mut expected: BTreeSet<String> = names.iter().cloned().collect();
    expected.remove(position);
    for (command, delete) in [("SCAN", "DEL"), ("SSCAN s", "SREM s")] {
        let mut pages = 0;
        let mut found = iterate(&mut bench, command, " COUNT 40", |bench, _| {
            if pages == 0 {
                assert_eq!(bench.run(&format!("{delete} {position}")), "1");
            }
            forget(bench);
            pages += 1;
        });
        found.retain(|name| name != "s");
        assert!(pages >= 3, "{command}: {pages} pages are too few to be bounded");
        assert!(found.len() <= 3000 + 40, "{command}: only the first page comes twice");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{command}");
    }
}

#[test]
fn behind_the_last_key_of_a_region_the_next_one_is_scanned() {
    let mut bench = Bench::new();
    let expected = fill(&mut bench, 300);
    let (low, high): (BTreeSet<String>, BTreeSet<String>) =
        expected.into_iter().partition(|key| slot_of(key.as_bytes()) < 8000);
    // What the router does: a cursor goes to the Region of its slot.
    let region = |bench: &mut Bench, start, end, next| {
        Arc::make_mut(&mut bench.descriptor).slots = SlotRange { start, end };
        bench.next_slot = next;
    };
    region(&mut bench, 0, 8000, Some(8000));
    let (cursor, found) = page(&mut bench, "SCAN 0 COUNT 1000");
    assert_eq!(cursor, slot_cursor(8000).to_string());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), low);
    region(&mut bench, 8000, 16384, None);
    let (end, found) = page(&mut bench, &format!("SCAN {cursor} COUNT 1000"));
    assert_eq!(end, "0");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), high);
    // A cursor from before the Region was split off is not answered with keys before its slots.
    assert_eq!(page(&mut bench, "SCAN 0 COUNT 1000").1.len(), high.len());
    region(&mut bench, 0, 16384, None);
}

#[test]
fn a_collection_is_walked_to_its_end_though_each_position_is_forgotten() {
    let mut bench = Bench::new();
    let members: Vec<String> = (0..500).map(|n| format!("m{n}")).collect();
    bench.run(&format!("SADD s {}", members.join(" ")));
    for member in &members {
        bench.run(&format!("HSET h {member} v"));
        bench.run(&format!("ZADD z 1 {member}"));
    }
    let expected: BTreeSet<String> = members.into_iter().collect();
    for (command, each) in [("SSCAN s", 1), ("HSCAN h", 2), ("ZSCAN z", 2)] {
        let found = iterate(&mut bench, command, " COUNT 20", |bench, _| forget(bench));
        assert_eq!(found.len(), 500 * each, "{command}: each element once");
        let found: BTreeSet<String> = found.into_iter().step_by(each).collect();
        assert_eq!(found, expected, "{command}");
    }
}

#[test]
fn collections_are_walked_like_the_keyspace() {
    let mut bench = Bench::new();
    let members: Vec<String> = (0..500).map(|n| format!("m{n}")).collect();
    bench.run(&format!("SADD s {}", members.join(" ")));
    let pairs: Vec<String> = members.iter().map(|member| format!("{member} v")).collect();
    bench.run(&format!("HSET h {}", pairs.join(" ")));
    let expected: BTreeSet<String> = members.iter().cloned().collect();
    let found = iterate(&mut bench, "SSCAN s", " COUNT 20", |_, _| {});
    assert_eq!(found.len(), 500);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    let found = iterate(&mut bench, "HSCAN h", "", |_, _| {});
    assert_eq!(found.len(), 1000);
    // The place a cursor stands at may disappear.
    let found = iterate(&mut bench, "SSCAN s", " COUNT 50", |bench, round| {
        bench.run(&format!("SREM s m{} m{}", round, round + 100));
        bench.run(&format!("SADD s n{round}"));
    });
    assert!(found.len() >= 480);
}

#[test]
fn small_collections_come_as_one_page() {
    let mut bench = Bench::new();
    let members: Vec<String> = (0..128).map(|n| format!("m{n}")).collect();
    bench.run(&format!("SADD s {}", members.join(" ")));
    let (cursor, items) = page(&mut bench, "SSCAN s 0 COUNT 1");
    assert_eq!((cursor.as_str(), items.len()), ("0", 128));
    bench.run("SADD s one-more");
    let (cursor, items) = page(&mut bench, "SSCAN s 0 COUNT 1");
    assert_ne!(cursor, "0");
    assert_eq!(items.len(), 1);
}

#[test]
fn what_is_refused() {
    Bench::new().check(&[
        ("SCAN x", "ERR invalid cursor"),
        ("SCAN x bogus", "ERR invalid cursor"),
        ("SCAN 0 COUNT 0", "ERR syntax error"),
        ("SCAN 0 COUNT x", "ERR value is not an integer or out of range"),
        ("SCAN 0 MATCH", "ERR syntax error"),
        ("SCAN 0 BOGUS 1", "ERR syntax error"),
        ("SADD s a", "1"),
        ("SSCAN s 0 TYPE set", "ERR syntax error"),
        ("HSCAN s 0 BOGUS", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("HSCAN s x", "ERR invalid cursor"),
        ("SSCAN none 0 BOGUS", r#"["0", []]"#),
    ]);
}

#[test]
fn keys_by_pattern() {
    let mut bench = Bench::new();
    for line in ["SET one 1", "SADD two 2", r#"SET "" empty"#, "SET expired v PX 1"] {
        bench.run(line);
    }
    bench.advance(1);
    bench.check(&[
        ("KEYS *", r#"["", "two", "one"]"#),
        ("KEYS t*", r#"["two"]"#),
        ("KEYS [^t]*", r#"["one"]"#),
        ("KEYS none", "[]"),
    ]);
}

/// A collection of which most is deleted at once gets a new version. Walks go on.
#[test]
fn elements_that_stay_are_returned_though_most_are_deleted_at_once() {
    let name = |number: u32| format!("m{:08}", number.wrapping_mul(2_654_435_761) % 100_000_000);
    for (fill, remove, scan) in
        [("SADD", "SREM", "SSCAN k"), ("HSET", "HDEL", "HSCAN k"), ("ZADD", "ZREM", "ZSCAN k")]
    {
        for forgets in [false, true] {
            let mut bench = Bench::new();
            let each = |number| match fill {
                "SADD" => name(number),
                "HSET" => format!("{} v", name(number)),
                _ => format!("1 {}", name(number)),
            };
            let all: Vec<String> = (0..4000).map(each).collect();
            assert_eq!(bench.run(&format!("{fill} k {}", all.join(" "))), "4000");
            let stay: BTreeSet<String> = (0..500).map(name).collect();
            let gone: Vec<String> = (500..4000).map(name).collect();
            let found = iterate(&mut bench, scan, " COUNT 300", |bench, round| {
                if forgets {
                    forget(bench);
                }
                if round == 3 {
                    assert_eq!(bench.run(&format!("{remove} k {}", gone.join(" "))), "3500");
                }
            });
            let found: BTreeSet<String> = found.into_iter().collect();
            assert!(stay.is_subset(&found), "{scan}, forgets: {forgets}");
        }
    }
}

/// Also a walk in the order of hashes, which names no element.
#[test]
fn a_walk_in_the_order_of_hashes_goes_on_when_most_is_deleted_at_once() {
    let mut bench = Bench::new();
    let name = |number: u32| format!("m{number:08}");
    let all: Vec<String> = (0..6000).map(name).collect();
    bench.run(&format!("SADD k {}", all.join(" ")));
    // The element that the first page names as the next one is deleted: from then on the walk goes
    // by hashes, in pages of 1024.
    let stay: BTreeSet<String> = (2000..3000).map(name).collect();
    let gone: Vec<String> = (3000..6000).map(name).collect();
    let found = iterate(&mut bench, "SSCAN k", " COUNT 10", |bench, round| {
        forget(bench);
        match round {
            0 => drop(bench.run(&format!("SREM k {}", all[..100].join(" ")))),
            2 => {
                drop(bench.run(&format!("SREM k {} {}", all[100..2000].join(" "), gone.join(" "))))
            }
            _ => {}
        }
    });
    let found: BTreeSet<String> = found.into_iter().collect();
    assert!(stay.is_subset(&found), "{} of 1000 are missing", stay.difference(&found).count());
}
