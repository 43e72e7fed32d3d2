//! What the SCAN family and KEYS answer, also while the keyspace changes.

use std::collections::BTreeSet;

use bytes::Bytes;
use neokv_resp::Reply;

use crate::keyspace::{CursorTable, SplitMix64};
use crate::testing::Bench;

/// One call: the next cursor and the strings of the page.
fn page(bench: &mut Bench, line: &str) -> (String, Vec<String>) {
    let args = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let reply = bench.call(args);
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
    for n in 0..keys {
        bench.run(&format!("SET key:{n} v"));
    }
    (0..keys).map(|n| format!("key:{n}")).collect()
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
    bench.run("SET over v PX 1");
    bench.advance(1);
    let mut all = |options| iterate(&mut bench, "SCAN", options, |_, _| {});
    assert_eq!(all(" TYPE set"), ["aset"]);
    assert_eq!(all(" TYPE HASH COUNT 3"), ["ahash"]);
    assert!(all(" TYPE stream").is_empty());
    assert_eq!(all(" MATCH key:1?").len(), 10);
    assert_eq!(all(" MATCH over"), Vec::<String>::new());
    assert_eq!(all("").len(), 302);
}

#[test]
fn a_page_of_a_filtered_scan_is_bounded() {
    let mut bench = Bench::new();
    fill(&mut bench, 500);
    let mut pages = 0;
    let found = iterate(&mut bench, "SCAN", " MATCH nothing COUNT 10", |_, _| pages += 1);
    assert!(found.is_empty());
    assert_eq!(pages, 500 / 80, "ten of them, eight times over, per page");
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
fn a_forgotten_cursor_costs_repetitions_and_no_key() {
    let mut bench = Bench::new();
    let expected = fill(&mut bench, 300);
    let found =
        iterate(&mut bench, "SCAN", " COUNT 9", |bench, _| bench.cursors = CursorTable::new());
    assert!(found.len() >= 300);
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
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
    // Forgetting starts over; without a filter the first page alone would go on for ever, so only
    // look once.
    let (cursor, first) = page(&mut bench, "SSCAN s 0");
    bench.cursors = CursorTable::new();
    assert_eq!(page(&mut bench, &format!("SSCAN s {cursor}")).1, first);
    // A cursor of another key is as good as a forgotten one.
    assert_eq!(page(&mut bench, &format!("HSCAN h {cursor}")).1.len(), 20);
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
    for line in ["SET one 1", "SADD two 2", r#"SET "" empty"#, "SET over v PX 1"] {
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
