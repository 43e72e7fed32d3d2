//! The SCAN family: whatever was there from beginning to end is returned, cursors are numbers, and
//! every walk ends.

use std::collections::BTreeSet;

use neokv_resp::client::Value;
use neokv_tests::client::Connection;

use crate::support::{Both, check, neokv, send, show, text};

/// Elements that are there all the time, and the most steps that a walk may take.
const STABLE: usize = 1200;

/// One step of a walk: the next cursor and what was returned.
fn step(c: &mut Connection, command: &str, cursor: &str, options: &str) -> (String, Vec<Value>) {
    let reply = send(c, &format!("{} {options}", command.replace("CURSOR", cursor)));
    let Value::Array(parts) = reply else { panic!("{reply:?}") };
    let [cursor, Value::Array(elements)] = &parts[..] else { panic!("{parts:?}") };
    let cursor = text(cursor).to_owned();
    assert!(cursor.parse::<u64>().is_ok(), "a cursor is a number: {cursor}");
    (cursor, elements.clone())
}

/// Walks while `change` runs between the steps; returns all elements that were seen.
fn walk(
    c: &mut Connection,
    command: &str,
    options: &str,
    pairs: bool,
    mut change: impl FnMut(&mut Connection, usize),
) -> BTreeSet<String> {
    let (mut seen, mut cursor, mut steps) = (BTreeSet::new(), String::from("0"), 0);
    loop {
        let (next, elements) = step(c, command, &cursor, options);
        assert!(elements.len() <= 2 * 200, "{} elements in one step", elements.len());
        seen.extend(
            elements.iter().step_by(if pairs { 2 } else { 1 }).map(|value| text(value).to_owned()),
        );
        steps += 1;
        assert!(steps < 10 * STABLE, "{command} does not end");
        if next == "0" {
            return seen;
        }
        cursor = next;
        change(c, steps);
    }
}

fn fill(c: &mut Connection, add: impl Fn(usize) -> Vec<String>) {
    for n in 0..STABLE {
        c.queue(&add(n));
    }
    c.flush().unwrap();
    (0..STABLE).for_each(|_| assert!(!c.receive().unwrap().is_error()));
}

fn assert_all_stable(seen: &BTreeSet<String>, what: &str) {
    for n in 0..STABLE {
        assert!(seen.contains(&format!("stable:{n}")), "{what} missed stable:{n}");
    }
}

#[test]
fn every_stable_element_is_seen_while_others_come_and_go() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    let words = |line: String| line.split(' ').map(String::from).collect::<Vec<_>>();
    for (command, add, remove, pairs) in [
        ("SCAN CURSOR", "SET ELEMENT v", "DEL ELEMENT", false),
        ("HSCAN hash CURSOR", "HSET hash ELEMENT v", "HDEL hash ELEMENT", true),
        ("SSCAN set CURSOR", "SADD set ELEMENT", "SREM set ELEMENT", false),
        ("ZSCAN zset CURSOR", "ZADD zset 1 ELEMENT", "ZREM zset ELEMENT", true),
    ] {
        fill(&mut c, |n| words(add.replace("ELEMENT", &format!("stable:{n}"))));
        fill(&mut c, |n| words(add.replace("ELEMENT", &format!("moving:{n}"))));
        for count in [1, 10, 100] {
            let seen = walk(&mut c, command, &format!("COUNT {count}"), pairs, |c, steps| {
                // Some elements are removed, some added, some added again, also next to the cursor.
                for (line, n) in [
                    (remove, steps * 7),
                    (add, steps * 13),
                    (remove, steps * 13 + 1),
                    (add, steps + 5000),
                ] {
                    let name = format!("moving:{}", n % (2 * STABLE));
                    assert!(!send(c, &line.replace("ELEMENT", &name)).is_error());
                }
            });
            assert_all_stable(&seen, command);
        }
        check(&mut c, &[("FLUSHALL", "OK")]);
    }
}

#[test]
fn a_walk_ends_though_the_collection_grows_all_the_time() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    let mut born = 0;
    fill(&mut c, |n| vec!["HSET".into(), "hash".into(), format!("stable:{n}"), "v".into()]);
    let seen = walk(&mut c, "HSCAN hash CURSOR", "COUNT 50", true, |c, _| {
        for _ in 0..10 {
            born += 1;
            send(c, &format!("HSET hash born:{born} v"));
        }
    });
    assert_all_stable(&seen, "HSCAN");
}

#[test]
fn options_narrow_what_is_returned_and_not_the_walk() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    fill(&mut c, |n| vec!["SET".into(), format!("stable:{n}"), "v".into()]);
    check(&mut c, &[("HSET other f v", "1"), ("SADD another m", "1")]);
    assert_eq!(
        walk(&mut c, "SCAN CURSOR", "TYPE hash COUNT 100", false, |_, _| {}),
        BTreeSet::from(["other".into()])
    );
    assert_eq!(walk(&mut c, "SCAN CURSOR", "MATCH *other COUNT 100", false, |_, _| {}).len(), 2);
    assert_eq!(
        walk(&mut c, "SCAN CURSOR", "MATCH stable:77 COUNT 100", false, |_, _| {}),
        BTreeSet::from(["stable:77".into()])
    );
    assert_eq!(walk(&mut c, "SCAN CURSOR", "", false, |_, _| {}).len(), STABLE + 2);
    // What is no cursor is refused, what no walk has handed out is no reason to fail.
    check(
        &mut c,
        &[
            ("SCAN x", "-ERR invalid cursor"),
            ("HSCAN other -", "-ERR invalid cursor"),
            ("SCAN 0 COUNT 0", "-ERR syntax error"),
        ],
    );
    for cursor in ["1", "123456789", "18446744073709551615"] {
        let reply = send(&mut c, &format!("SCAN {cursor}"));
        assert!(matches!(&reply, Value::Array(parts) if parts.len() == 2), "{}", show(&reply));
    }
}

#[test]
fn many_walks_at_once_do_not_disturb_each_other() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    fill(&mut c, |n| vec!["SADD".into(), "set".into(), format!("stable:{n}")]);
    let mut walks: Vec<(String, BTreeSet<String>, bool)> =
        (0..40).map(|_| ("0".into(), BTreeSet::new(), false)).collect();
    while walks.iter().any(|(_, _, done)| !done) {
        for (cursor, seen, done) in walks.iter_mut().filter(|(_, _, done)| !done) {
            let (next, elements) = step(&mut c, "SSCAN set CURSOR", cursor, "COUNT 60");
            seen.extend(elements.iter().map(|value| text(value).to_owned()));
            *done = next == "0";
            *cursor = next;
        }
    }
    walks.iter().for_each(|(_, seen, _)| assert_all_stable(seen, "SSCAN"));
}

/// A small sorted set comes ordered by score, and its scores are printed as Redis's compact
/// encoding keeps them: programs rely on both.
#[test]
fn a_small_sorted_set_is_scanned_as_redis_scans_it() {
    let mut both = Both::start();
    for (score, member) in [
        ("5", "e"),
        ("-1", "z"),
        ("2.5", "b"),
        ("2.5", "a"),
        ("1e17", "large"),
        ("-1e17", "low"),
        ("123456789012345678", "digits"),
        ("4611686018427387904", "last"),
        ("4.7e18", "scientific"),
        ("1e19", "more"),
        ("0.1", "tenth"),
        ("1e-7", "tiny"),
        ("inf", "top"),
        ("-inf", "bottom"),
        ("-0", "zero"),
    ] {
        both.ask(&format!("ZADD z {score} {member}"));
        both.ask("ZSCAN z 0");
    }
    for line in [
        "ZSCAN z 0 MATCH *l* COUNT 2",
        "ZSCAN z 0 COUNT 1",
        "ZSCAN z 7",
        "ZRANGE z 0 -1 WITHSCORES",
        "ZREM z top bottom",
        "ZSCAN z 0",
    ] {
        both.ask(line);
    }
    for n in 0..115 {
        both.ask(&format!("ZADD z {} member:{n}", 1000 - n));
    }
    both.ask("ZCARD z");
    both.ask("ZSCAN z 0");
    // A long member ends the compact encoding, and its way to print scores.
    let long = "m".repeat(65);
    both.check(&[(&format!("ZADD one 1e17 {long}"), "1")]);
    both.ask("ZSCAN one 0");
}
