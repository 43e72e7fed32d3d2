//! What the set commands answer, and that the header always agrees with the rows.

use std::collections::BTreeSet;

use neokv_encoding::metadata::DataType;

use crate::testing::Bench;
use neokv_raftstore::SplitMix64;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// The members, after checking that the header counts them and that no empty set exists.
fn members(bench: &Bench, key: &str) -> BTreeSet<String> {
    let rows = bench.collection(key, DataType::Set).map(|(_, rows)| rows).unwrap_or_default();
    assert!(rows.values().all(|value| value.is_empty()));
    rows.into_keys().collect()
}

#[test]
fn adding_and_removing() {
    Bench::new().check(&[
        ("SADD s b a b", "2"),
        ("SADD s a c c", "1"),
        ("SADD s a", "0"),
        ("SMEMBERS s", r#"<"a", "b", "c">"#),
        ("SMEMBERS none", "<>"),
        ("SCARD s", "3"),
        ("SCARD none", "0"),
        ("SISMEMBER s a", "1"),
        ("SISMEMBER s z", "0"),
        ("SISMEMBER none a", "0"),
        ("SMISMEMBER s a z a", "[1, 0, 1]"),
        ("SMISMEMBER none a z", "[0, 0]"),
        ("SREM s a a z", "1"),
        ("SREM none a", "0"),
        (r#"SADD s "" "\x00\r\n\xff""#, "2"),
        ("SMEMBERS s", r#"<"", "\x00\r\n\xff", "b", "c">"#),
        (r#"SISMEMBER s """#, "1"),
        (r#"SREM s b c "" "\x00\r\n\xff""#, "4"),
        ("EXISTS s", "0"),
        ("DBSIZE", "0"),
        ("SADD s d", "1"),
        ("SMEMBERS s", r#"<"d">"#),
    ]);
}

#[test]
fn other_types_are_refused_after_the_arguments() {
    let mut bench = Bench::new();
    bench.check(&[("SET str x", "OK"), ("SADD s a", "1")]);
    for line in [
        "SADD str a",
        "SREM str a",
        "SISMEMBER str a",
        "SMISMEMBER str a",
        "SCARD str",
        "SMEMBERS str",
        "SPOP str",
        "SPOP str 0",
        "SPOP str 5",
        "SRANDMEMBER str",
        "SRANDMEMBER str 0",
        "SRANDMEMBER str -3",
        "SSCAN str 0",
        "SMOVE str s a",
        "SMOVE s str a",
        "SMOVE s str none",
        "SMOVE str none a",
    ] {
        bench.check(&[(line, WRONG_TYPE)]);
    }
    bench.check(&[
        ("SPOP str -1", "ERR value is out of range, must be positive"),
        ("SPOP str x", "ERR value is out of range, must be positive"),
        ("SPOP str 1 2", "ERR syntax error"),
        ("SRANDMEMBER str 1 2", "ERR syntax error"),
        ("SRANDMEMBER str x", "ERR value is not an integer or out of range"),
        // A source that does not exist has nothing to move: the target is not looked at.
        ("SMOVE none str a", "0"),
        ("SMEMBERS s", r#"<"a">"#),
    ]);
}

#[test]
fn moving() {
    let mut bench = Bench::new();
    bench.check(&[
        ("SADD a x y", "2"),
        ("SMOVE a b x", "1"),
        ("SMOVE a b x", "0"),
        ("SMOVE a a y", "1"),
        ("SMOVE a a none", "0"),
        ("SADD b y", "1"),
        ("SMOVE a b y", "1"),
        ("EXISTS a", "0"),
        ("SMEMBERS b", r#"<"x", "y">"#),
        ("SMOVE none b x", "0"),
        ("SMOVE b none z", "0"),
        ("EXISTS none", "0"),
        ("DBSIZE", "1"),
    ]);
}

#[test]
fn popping() {
    let mut bench = Bench::new();
    bench.check(&[
        ("SPOP none", "nil"),
        ("SPOP none 0", "<>"),
        ("SPOP none 3", "<>"),
        ("SADD s a b c", "3"),
        ("SPOP s 0", "<>"),
        ("SPOP s 3", r#"<"a", "b", "c">"#),
        ("EXISTS s", "0"),
        ("SADD s a b c", "3"),
        ("SPOP s 9223372036854775807", r#"<"a", "b", "c">"#),
        ("SPOP s 9223372036854775808", "ERR value is out of range, must be positive"),
        ("SADD s a", "1"),
        ("SPOP s", r#""a""#),
        ("EXISTS s", "0"),
        ("DBSIZE", "0"),
    ]);
}

#[test]
fn every_member_is_popped_once() {
    let mut bench = Bench::new();
    let names: Vec<String> = (0..2000).map(|number| format!("m{number}")).collect();
    bench.run(&format!("SADD s {}", names.join(" ")));
    let mut popped = BTreeSet::new();
    while popped.len() < 600 {
        let member = bench.run("SPOP s");
        assert!(popped.insert(member.trim_matches('"').to_string()), "{member} came twice");
    }
    // Few of many (walks), many of many (one pass), and all that is left.
    for count in [5, 300, 5000] {
        let reply = bench.run(&format!("SPOP s {count}"));
        let left = names.len() - popped.len();
        let members = reply.trim_start_matches('<').trim_end_matches('>').split(", ");
        let fresh: BTreeSet<String> =
            members.map(|member| member.trim_matches('"').to_string()).collect();
        assert_eq!(fresh.len(), left.min(count));
        assert!(fresh.is_disjoint(&popped));
        popped.extend(fresh);
        assert_eq!(members_left(&bench), names.len() - popped.len());
    }
    assert_eq!(popped, names.into_iter().collect());
}

/// The number of members of `s`.
fn members_left(bench: &Bench) -> usize {
    members(bench, "s").len()
}

#[test]
fn random_members() {
    let mut bench = Bench::new();
    bench.check(&[
        ("SRANDMEMBER none", "nil"),
        ("SRANDMEMBER none 3", "[]"),
        ("SRANDMEMBER none -3", "[]"),
        ("SADD s a", "1"),
        ("SRANDMEMBER s", r#""a""#),
        ("SRANDMEMBER s 1", r#"["a"]"#),
        ("SRANDMEMBER s 0", "[]"),
        ("SRANDMEMBER s -3", r#"["a", "a", "a"]"#),
        ("SADD s b c", "2"),
        ("SRANDMEMBER s 3", r#"["a", "b", "c"]"#),
        ("SRANDMEMBER s 9223372036854775807", r#"["a", "b", "c"]"#),
        ("SRANDMEMBER s -9223372036854775807", "ERR value is out of range"),
        (
            "SRANDMEMBER s -9223372036854775808",
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        ),
        ("SCARD s", "3"),
    ]);
}

#[test]
fn scanning() {
    let mut bench = Bench::new();
    bench.check(&[
        ("SSCAN none 0", r#"["0", []]"#),
        ("SADD s b a ab", "3"),
        ("SSCAN s 0", r#"["0", ["a", "ab", "b"]]"#),
        ("SSCAN s 0 MATCH a*", r#"["0", ["a", "ab"]]"#),
        ("SSCAN s 0 COUNT -1", "ERR syntax error"),
        ("SSCAN s 0 COUNT x", "ERR value is not an integer or out of range"),
        ("SSCAN s 1a", "ERR invalid cursor"),
    ]);
}

/// Random commands against a model of two sets.
#[test]
fn behaves_like_a_set() {
    let mut bench = Bench::new();
    let mut random = SplitMix64::new(9);
    let mut model = [BTreeSet::new(), BTreeSet::new()];
    for _ in 0..3000 {
        let at = usize::try_from(random.below(2)).unwrap();
        let names: Vec<String> =
            (0..=random.below(3)).map(|_| format!("m{}", random.below(12))).collect();
        let list = names.join(" ");
        let before = model[at].len();
        let (line, expected) = match random.below(3) {
            0 => {
                model[at].extend(names);
                (format!("SADD s{at} {list}"), model[at].len() - before)
            }
            1 => {
                names.iter().for_each(|name| _ = model[at].remove(name));
                (format!("SREM s{at} {list}"), before - model[at].len())
            }
            _ => {
                let moved = model[at].remove(&names[0]);
                if moved {
                    model[1 - at].insert(names[0].clone());
                }
                (format!("SMOVE s{at} s{} {}", 1 - at, names[0]), usize::from(moved))
            }
        };
        assert_eq!(bench.run(&line), expected.to_string(), "{line}");
        assert_eq!(members(&bench, "s0"), model[0]);
        assert_eq!(members(&bench, "s1"), model[1]);
    }
}

/// The header's size is read from the disk, so it may be any number.
#[test]
fn a_damaged_size_is_a_fault_and_no_panic() {
    let mut bench = Bench::new();
    bench.run("SADD s a b c");
    bench.run("SADD t a b c");
    bench.miscount("s", u64::MAX);
    bench.miscount("t", u64::MAX - 1);
    let fault = bench.try_write("SADD s d").unwrap_err().to_string();
    assert!(fault.contains("its size is not the number of its rows"), "{fault}");
    assert_eq!(bench.run("SINTER s t"), r#"<"a", "b", "c">"#);
    // A search for more members than there are ends.
    for count in [3, 1 << 50, i64::MAX] {
        let reply = bench.run(&format!("SRANDMEMBER s {count}"));
        assert!(reply.len() <= r#"["a", "b", "c"]"#.len(), "{count}: {reply}");
    }
}
