//! What the set algebra answers, on small sets by hand and on bigger ones against a model.

use std::collections::BTreeSet;

use neokv_raftstore::SplitMix64;

use super::*;
use crate::testing::Bench;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn small_sets() {
    Bench::new().check(&[
        ("SADD a 1 2 3 4", "4"),
        ("SADD b 3 4 5", "3"),
        ("SADD c 4 6", "2"),
        ("SINTER a", r#"<"1", "2", "3", "4">"#),
        ("SINTER a b", r#"<"3", "4">"#),
        ("SINTER a b c", r#"<"4">"#),
        ("SINTER a a", r#"<"1", "2", "3", "4">"#),
        ("SINTER a none", "<>"),
        ("SINTER none", "<>"),
        ("SUNION a b c a", r#"<"1", "2", "3", "4", "5", "6">"#),
        ("SUNION none c", r#"<"4", "6">"#),
        ("SUNION none", "<>"),
        ("SDIFF a b", r#"<"1", "2">"#),
        ("SDIFF a none c c", r#"<"1", "2", "3">"#),
        ("SDIFF a b a", "<>"),
        ("SDIFF none a", "<>"),
        ("SINTERCARD 2 a b", "2"),
        ("SINTERCARD 2 a b LIMIT 1", "1"),
        ("SINTERCARD 2 a b limit 0", "2"),
        ("SINTERCARD 2 a b LIMIT 9", "2"),
        ("SINTERCARD 1 a LIMIT 1 LIMIT 3", "3"),
        ("SINTERCARD 2 a none", "0"),
    ]);
}

#[test]
fn storing() {
    Bench::new().check(&[
        ("SADD a 1 2 3", "3"),
        ("SADD b 3 4", "2"),
        ("SET d string", "OK"),
        ("SUNIONSTORE d a b", "4"),
        ("SMEMBERS d", r#"<"1", "2", "3", "4">"#),
        ("SINTERSTORE d a b", "1"),
        ("SMEMBERS d", r#"<"3">"#),
        ("SDIFFSTORE a a b", "2"),
        ("SMEMBERS a", r#"<"1", "2">"#),
        ("SUNIONSTORE a a", "2"),
        ("SUNIONSTORE a b a", "4"),
        ("SMEMBERS a", r#"<"1", "2", "3", "4">"#),
        ("SADD a 5", "1"),
        ("SREM a 1", "1"),
        ("SMEMBERS a", r#"<"2", "3", "4", "5">"#),
        ("DBSIZE", "3"),
        ("SINTERSTORE d a none", "0"),
        ("EXISTS d", "0"),
        ("SINTERSTORE d a none", "0"),
        ("SDIFFSTORE b b a", "0"),
        ("EXISTS b", "0"),
        ("SUNIONSTORE fresh none", "0"),
        ("DBSIZE", "1"),
    ]);
}

#[test]
fn refusals() {
    let mut bench = Bench::new();
    bench.check(&[("SET str x", "OK"), ("SADD a 1", "1")]);
    for line in [
        "SINTER str",
        "SINTER a str",
        "SINTER none str",
        "SUNION a str",
        "SDIFF none str",
        "SDIFF a a str",
        "SINTERCARD 2 none str",
        "SINTERSTORE d none str",
        "SUNIONSTORE a a str",
        "SDIFFSTORE d str a",
    ] {
        bench.check(&[(line, WRONG_TYPE)]);
    }
    bench.check(&[
        ("SMEMBERS a", r#"<"1">"#),
        ("SINTERCARD 0 a", "ERR numkeys should be greater than 0"),
        ("SINTERCARD -1 a", "ERR numkeys should be greater than 0"),
        ("SINTERCARD x a", "ERR numkeys should be greater than 0"),
        ("SINTERCARD 2 a", "ERR Number of keys can't be greater than number of args"),
        (
            "SINTERCARD 9223372036854775807 a",
            "ERR Number of keys can't be greater than number of args",
        ),
        ("SINTERCARD 1 a LIMIT", "ERR syntax error"),
        ("SINTERCARD 1 a b", "ERR syntax error"),
        ("SINTERCARD 1 a COUNT 1", "ERR syntax error"),
        ("SINTERCARD 1 a LIMIT -1", "ERR LIMIT can't be negative"),
        ("SINTERCARD 1 str LIMIT x", "ERR LIMIT can't be negative"),
        // The target of a STORE command may be of any type.
        ("SUNIONSTORE str a", "1"),
        ("SMEMBERS str", r#"<"1">"#),
    ]);
}

/// Fills `key` with `size` members out of `0..range`.
fn fill(
    bench: &mut Bench,
    random: &mut SplitMix64,
    key: &str,
    size: u64,
    range: u64,
) -> BTreeSet<String> {
    let members: BTreeSet<String> =
        (0..size).map(|_| format!("m{}", random.below(range))).collect();
    bench.run(&format!("SADD {key} {}", members.iter().cloned().collect::<Vec<_>>().join(" ")));
    members
}

/// A reply with these members.
fn shown(members: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = members.iter().map(|member| format!("\"{member}\"")).collect();
    format!("<{}>", quoted.join(", "))
}

/// Sizes so that sets are asked by cursors and by look-ups, cursors step and seek, and results span
/// pages.
#[test]
fn agrees_with_a_model() {
    let mut random = SplitMix64::new(11);
    for sizes in
        [[6000, 6000, 6000], [10, 3000, 100], [300, 4000, 60], [5000, 5, 0], [1, 2000, 2000]]
    {
        let mut bench = Bench::new();
        let sets: Vec<BTreeSet<String>> = sizes
            .iter()
            .zip(["a", "b", "c"])
            .map(|(size, key)| fill(&mut bench, &mut random, key, *size, 7000))
            .collect();
        let [a, b, c] = &sets[..] else { unreachable!() };
        let inter: BTreeSet<String> =
            a.iter().filter(|m| b.contains(*m) && c.contains(*m)).cloned().collect();
        let diff: BTreeSet<String> =
            a.iter().filter(|m| !b.contains(*m) && !c.contains(*m)).cloned().collect();
        let union: BTreeSet<String> = sets.iter().flatten().cloned().collect();
        for (name, expected) in [("SINTER", &inter), ("SDIFF", &diff), ("SUNION", &union)] {
            assert_eq!(bench.run(&format!("{name} a b c")), shown(expected), "{name} {sizes:?}");
            assert_eq!(
                bench.run(&format!("{name}STORE d a b c")),
                expected.len().to_string(),
                "{name} {sizes:?}"
            );
            assert_eq!(bench.run("SMEMBERS d"), shown(expected), "{name} {sizes:?}");
            assert_eq!(bench.run("SCARD d"), expected.len().to_string());
        }
        assert_eq!(bench.run("SINTERCARD 3 a b c"), inter.len().to_string());
        let limit = inter.len() / 2;
        if limit > 0 {
            assert_eq!(bench.run(&format!("SINTERCARD 3 a b c LIMIT {limit}")), limit.to_string());
        }
    }
}

#[test]
fn many_sources() {
    let mut bench = Bench::new();
    let keys: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    for (number, key) in keys.iter().enumerate() {
        bench.run(&format!("SADD {key} common own{number}"));
    }
    let all = keys.join(" ");
    assert_eq!(bench.run(&format!("SINTER {all}")), r#"<"common">"#);
    assert_eq!(bench.run(&format!("SDIFF {all}")), r#"<"own0">"#);
    assert_eq!(bench.run(&format!("SUNIONSTORE d {all}")), "41");
    assert_eq!(bench.run(&format!("SINTERCARD 40 {all}")), "1");
}

#[test]
fn pages_of_any_size_put_together_are_the_whole() {
    let mut bench = Bench::new();
    let mut random = SplitMix64::new(21);
    for key in ["a", "b", "c"] {
        for _ in 0..120 {
            let member = random.below(200);
            let padding = "-".repeat(usize::try_from(random.below(90)).unwrap());
            bench.run(&format!("SADD {key} {member} {member}{padding}"));
        }
    }
    let keys = ["a", "b", "c"].map(Bytes::from);
    let view = bench.view();
    let limit = |members, bytes| PageLimit { members, bytes };
    for plan in [Plan::union(&view, &keys), Plan::inter(&view, &keys), Plan::diff(&view, &keys)] {
        let plan = plan.unwrap();
        let whole = plan.page(&view, &[], limit(usize::MAX, view.reply_limit())).unwrap();
        assert!(!whole.more && whole.members.len() > 5);
        for _ in 0..40 {
            let (members, bytes) =
                (1 + usize::try_from(random.below(50)).unwrap(), random.below(4000));
            let (mut start, mut all) = (Vec::new(), Vec::new());
            loop {
                let limit = limit(members, ReplyLimit::new(bytes));
                let page = plan.page(&view, &start, limit).unwrap();
                assert!(page.members.len() <= members);
                all.extend(page.members);
                if !page.more {
                    break;
                }
                start = all.last().map(|last| just_after(last)).unwrap();
            }
            assert_eq!(all, whole.members, "{members} members, {bytes} bytes");
        }
    }
}
