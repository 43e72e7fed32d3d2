//! What the sorted set commands answer, and what they leave in the two families.

use std::collections::BTreeMap;

use bytes::Bytes;
use neokv_encoding::double;
use neokv_encoding::family::Family;
use neokv_engine::Direction;
use neokv_raftstore::SplitMix64;

use super::rows;
use crate::keyspace::ScoreSpan;
use crate::testing::Bench;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// The members with their scores, after checking that both families and the header agree.
fn members(bench: &Bench, key: &str) -> BTreeMap<String, f64> {
    let Some((zset, rows)) = bench.collection(key, rows::TYPE) else { return BTreeMap::new() };
    let score = |value: Bytes| double::decode_value(&value).unwrap();
    let by_name: BTreeMap<String, f64> =
        rows.into_iter().map(|(member, value)| (member, score(value))).collect();
    let view = bench.view();
    let mut by_score = BTreeMap::new();
    let mut scores = view.scores(&zset, &ScoreSpan::all(), Direction::Forward).unwrap();
    while let Some((score, member)) = scores.next().unwrap() {
        let twice = by_score.insert(String::from_utf8(member.to_vec()).unwrap(), score);
        assert_eq!(twice, None, "{member:?} stands under two scores");
    }
    assert_eq!(by_name, by_score, "the families of {key} disagree");
    by_name
}

#[test]
fn adding() {
    Bench::new().check(&[
        ("ZADD z 1 a 2 b", "2"),
        ("ZADD z 1 a 3 b 4 c", "1"),
        ("ZADD z CH 1 a 4 b 5 d", "2"),
        ("ZRANGE z 0 -1 WITHSCORES", r#"{"a": 1, "b": 4, "c": 4, "d": 5}"#),
        ("ZADD z NX 9 a 9 e", "1"),
        ("ZADD z XX CH 7 a 9 f", "1"),
        ("ZADD z GT CH 1 a 8 b 1 g", "2"),
        ("ZADD z LT CH 9 a 6 b", "1"),
        ("ZRANGE z 0 -1 WITHSCORES", r#"{"g": 1, "c": 4, "d": 5, "b": 6, "a": 7, "e": 9}"#),
        ("ZADD none XX 1 a", "0"),
        ("EXISTS none", "0"),
        ("ZADD z INCR 1.5 a", "8.5"),
        ("ZADD z INCR NX 1 a", "nil"),
        ("ZADD z INCR XX 1 new", "nil"),
        ("ZADD z GT INCR -1 a", "nil"),
        ("ZADD z LT INCR -1 a", "7.5"),
        ("ZINCRBY z 0.1 new", "0.10000000000000001"),
        ("ZINCRBY z -0 zero", "-0"),
        ("ZSCORE z zero", "0"),
        ("ZINCRBY z inf a", "inf"),
        ("ZINCRBY z -inf a", "ERR resulting score is not a number (NaN)"),
        ("ZSCORE z a", "inf"),
    ]);
}

#[test]
fn adding_is_refused_in_the_right_order() {
    Bench::new().check(&[
        ("SET s x", "OK"),
        ("ZADD s 1 a", WRONG_TYPE),
        ("ZADD s x a", "ERR value is not a valid float"),
        ("ZADD s nan a", "ERR value is not a valid float"),
        ("ZADD s 1e999 a", "ERR value is not a valid float"),
        ("ZADD s 1 a 2", "ERR syntax error"),
        ("ZADD s NX XX", "ERR syntax error"),
        (
            "ZADD s NX XX GT INCR x a y b",
            "ERR XX and NX options at the same time are not compatible",
        ),
        (
            "ZADD s NX GT INCR x a y b",
            "ERR GT, LT, and/or NX options at the same time are not compatible",
        ),
        ("ZADD s LT GT x a", "ERR GT, LT, and/or NX options at the same time are not compatible"),
        ("ZADD s INCR x a y b", "ERR INCR option supports a single increment-element pair"),
        ("ZINCRBY s nx a", "ERR syntax error"),
        ("ZADD z 1 a x b", "ERR value is not a valid float"),
        ("EXISTS z", "0"),
    ]);
}

/// The members of one command are applied in order, each over the one before.
#[test]
fn a_member_named_twice() {
    let mut bench = Bench::new();
    bench.check(&[
        ("ZADD z 1 a 2 a 3 a", "1"),
        ("ZADD z CH 4 a 5 a 5 a", "2"),
        ("ZADD z NX 1 b 2 b", "1"),
    ]);
    assert_eq!(
        members(&bench, "z"),
        BTreeMap::from([("a".to_owned(), 5.0), ("b".to_owned(), 1.0)])
    );
    bench.check(&[("ZREM z a a none", "1"), ("ZREM z b b", "1"), ("EXISTS z", "0")]);
}

#[test]
fn removing() {
    let mut bench = Bench::new();
    bench.check(&[
        ("ZADD z 1 a 2 b 3 c 4 d 5 e 6 f", "6"),
        ("ZPOPMIN z", r#"["a", 1]"#),
        ("ZPOPMAX z 2", r#"{"f": 6, "e": 5}"#),
        ("ZPOPMIN z 0", "[]"),
        ("ZPOPMIN z -1", "ERR value is out of range, must be positive"),
        ("ZPOPMIN z x", "ERR value is out of range, must be positive"),
        ("ZPOPMIN z 1 2", "ERR syntax error"),
        ("ZPOPMIN none", "[]"),
        ("ZPOPMAX none 1", "[]"),
        ("ZREMRANGEBYSCORE z (2 3", "1"),
    ]);
    assert_eq!(
        members(&bench, "z"),
        BTreeMap::from([("b".to_owned(), 2.0), ("d".to_owned(), 4.0)])
    );
    bench.check(&[
        ("ZREMRANGEBYRANK z 1 0", "0"),
        ("ZREMRANGEBYRANK z 1 5", "1"),
        ("ZREMRANGEBYLEX z (b +", "0"),
        ("ZREMRANGEBYLEX z [b [b", "1"),
        ("EXISTS z", "0"),
        ("ZREMRANGEBYRANK none 0 x", "ERR value is not an integer or out of range"),
        ("ZREMRANGEBYSCORE none 0 x", "ERR min or max is not a float"),
        ("ZREMRANGEBYLEX none 0 x", "ERR min or max not valid string range item"),
        ("ZREMRANGEBYLEX none - +", "0"),
        ("ZREM none a", "0"),
        // Nothing of what has been removed comes back with a new sorted set of the same name.
        ("ZADD z 9 z", "1"),
        ("ZRANGE z 0 -1 WITHSCORES", r#"{"z": 9}"#),
    ]);
}

#[test]
fn asking_about_members() {
    Bench::new().check(&[
        ("ZADD z 1 a 2 b 2 c 3.5 d", "4"),
        ("ZCARD z", "4"),
        ("ZSCORE z d", "3.5"),
        ("ZSCORE z none", "nil"),
        ("ZMSCORE z a none c", "[1, nil, 2]"),
        ("ZMSCORE none a b", "[nil, nil]"),
        ("ZRANK z a", "0"),
        ("ZRANK z c", "2"),
        ("ZRANK z d", "3"),
        ("ZREVRANK z a", "3"),
        ("ZREVRANK z c", "1"),
        ("ZREVRANK z d", "0"),
        ("ZRANK z none", "nil"),
        ("ZREVRANK none a", "nil"),
        ("ZCOUNT z 2 3.5", "3"),
        ("ZCOUNT z (2 (3.5", "0"),
        ("ZCOUNT z -inf +inf", "4"),
        ("ZCOUNT z (-inf (+inf", "4"),
        ("ZCOUNT z 5 1", "0"),
        (r#"ZCOUNT z "" 1e999"#, "4"),
        ("ZCOUNT none x 1", "ERR min or max is not a float"),
        ("ZLEXCOUNT none a +", "ERR min or max not valid string range item"),
        ("ZLEXCOUNT none - +", "0"),
        ("ZSCAN z 0 MATCH [bd]", r#"["0", ["b", "2", "d", "3.5"]]"#),
        ("ZSCAN z x", "ERR invalid cursor"),
        ("ZSCAN none 0 BOGUS", r#"["0", []]"#),
    ]);
}

#[test]
fn ranges() {
    Bench::new().check(&[
        ("ZADD z 1 a 2 b 3 c 4 d", "4"),
        ("ZRANGE z 1 2", r#"["b", "c"]"#),
        ("ZRANGE z -1 9 WITHSCORES", r#"{"d": 4}"#),
        ("ZRANGE z 0 1 REV", r#"["d", "c"]"#),
        ("ZREVRANGE z 2 -1 WITHSCORES", r#"{"b": 2, "a": 1}"#),
        ("ZRANGE z 3 1", "[]"),
        ("ZRANGEBYSCORE z (1 3", r#"["b", "c"]"#),
        ("ZRANGEBYSCORE z -inf +inf LIMIT 1 2", r#"["b", "c"]"#),
        ("ZRANGEBYSCORE z -inf +inf LIMIT 1 -1", r#"["b", "c", "d"]"#),
        ("ZRANGEBYSCORE z -inf +inf LIMIT 0 0", "[]"),
        ("ZRANGEBYSCORE z -inf +inf LIMIT -1 2", "[]"),
        ("ZREVRANGEBYSCORE z 3 (1 WITHSCORES", r#"{"c": 3, "b": 2}"#),
        ("ZRANGE z 3 (1 BYSCORE REV LIMIT 1 1", r#"["b"]"#),
        ("ZRANGE z 1 3 BYSCORE REV", "[]"),
        ("ZRANGE z 0 -1 LIMIT 5 -1", r#"["a", "b", "c", "d"]"#),
        (
            "ZRANGE z 0 -1 LIMIT 0 1",
            "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ),
        (
            "ZRANGE none - + BYLEX WITHSCORES",
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        (
            "ZRANGEBYLEX none - + WITHSCORES",
            "ERR syntax error, WITHSCORES not supported in combination with BYLEX",
        ),
        ("ZRANGEBYSCORE z 1 2 REV", "ERR syntax error"),
        ("ZREVRANGE z 1 2 REV", "ERR syntax error"),
        ("ZRANGE z 1 2 BYLEX BYSCORE", "ERR syntax error"),
        ("ZRANGE z 1 2 LIMIT 1", "ERR syntax error"),
        ("ZRANGE none 1 x", "ERR value is not an integer or out of range"),
        ("ZRANGE none 1 x BYSCORE", "ERR min or max is not a float"),
        ("ZRANGE none 1 [x BYLEX", "ERR min or max not valid string range item"),
        ("ZRANGE none 0 -1", "[]"),
    ]);
}

#[test]
fn ranges_by_name() {
    Bench::new().check(&[
        ("ZADD z 7 a 7 b 7 c 7 cc 7 d", "5"),
        ("ZRANGEBYLEX z - +", r#"["a", "b", "c", "cc", "d"]"#),
        ("ZRANGEBYLEX z [b (cc", r#"["b", "c"]"#),
        ("ZRANGEBYLEX z (c + LIMIT 1 5", r#"["d"]"#),
        ("ZREVRANGEBYLEX z (cc [b", r#"["c", "b"]"#),
        ("ZREVRANGEBYLEX z + - LIMIT 0 2", r#"["d", "cc"]"#),
        ("ZRANGE z + [c BYLEX REV", r#"["d", "cc", "c"]"#),
        ("ZRANGEBYLEX z + -", "[]"),
        ("ZRANGEBYLEX z - -", "[]"),
        ("ZLEXCOUNT z [b +", "4"),
        ("ZREMRANGEBYLEX z (a (d", "3"),
        ("ZRANGE z 0 -1", r#"["a", "d"]"#),
        // With different scores: what Redis finds walking over a compact sorted set in the order of
        // scores.
        ("ZADD m 1 d 2 a 3 c", "3"),
        ("ZRANGEBYLEX m [b +", r#"["d", "a", "c"]"#),
        ("ZRANGEBYLEX m - [c", "[]"),
        ("ZRANGEBYLEX m [a (d", "[]"),
        ("ZREVRANGEBYLEX m [d [b", r#"["c"]"#),
        ("ZADD o 1 b 2 a 3 d 4 c", "4"),
        ("ZREVRANGEBYLEX o [c [b", r#"["c", "d"]"#),
        ("ZREVRANGEBYLEX o [c [b LIMIT 2 -1", "[]"),
        ("ZREVRANGEBYLEX o [c [b LIMIT 3 -1", r#"["b"]"#),
        ("ZLEXCOUNT m - +", "3"),
    ]);
}

/// Beyond the size that Redis keeps compact, members of different scores come by name.
#[test]
fn ranges_by_name_over_many_scores() {
    let mut bench = Bench::new();
    let pairs: Vec<String> =
        (0..200).map(|number| format!("{} m{number:03}", number * 7 % 200)).collect();
    bench.run(&format!("ZADD z {}", pairs.join(" ")));
    bench.check(&[
        ("ZRANGEBYLEX z [m010 (m013", r#"["m010", "m011", "m012"]"#),
        ("ZREVRANGEBYLEX z (m013 [m010", r#"["m012", "m011", "m010"]"#),
        ("ZREVRANGEBYLEX z + [m198", r#"["m199", "m198"]"#),
        ("ZLEXCOUNT z (m190 +", "9"),
        ("ZREMRANGEBYLEX z (m001 +", "198"),
        ("ZRANGE z 0 -1 WITHSCORES", r#"{"m000": 0, "m001": 7}"#),
    ]);
}

#[test]
fn other_types_are_refused() {
    let mut bench = Bench::new();
    bench.check(&[("RPUSH l a", "1")]);
    for line in [
        "ZADD l 1 a",
        "ZADD l XX 1 a",
        "ZINCRBY l 1 a",
        "ZREM l a",
        "ZPOPMIN l",
        "ZPOPMAX l 0",
        "ZREMRANGEBYRANK l 0 0",
        "ZREMRANGEBYSCORE l 0 0",
        "ZREMRANGEBYLEX l - +",
        "ZCARD l",
        "ZSCORE l a",
        "ZMSCORE l a",
        "ZRANK l a",
        "ZREVRANK l a",
        "ZCOUNT l 0 0",
        "ZLEXCOUNT l - +",
        "ZSCAN l 0",
        "ZRANGE l 0 0",
        "ZREVRANGE l 0 0",
        "ZRANGEBYSCORE l 0 0",
        "ZREVRANGEBYSCORE l 0 0",
        "ZRANGEBYLEX l - +",
        "ZREVRANGEBYLEX l + -",
    ] {
        bench.check(&[(line, WRONG_TYPE)]);
    }
    bench.check(&[("LRANGE l 0 -1", r#"["a"]"#)]);
}

/// Random commands against a map: same members and scores in both families, ranks and ranges in the
/// order of scores.
#[test]
fn sorted_sets_agree_with_a_model() {
    let mut bench = Bench::new();
    for seed in 0..20 {
        let mut random = SplitMix64::new(seed);
        let key = format!("z{seed}");
        let mut model: BTreeMap<String, f64> = BTreeMap::new();
        for step in 0..150 {
            let line = random_change(&mut random, &key, &mut model);
            bench.run(&line);
            assert_eq!(members(&bench, &key), model, "seed {seed}, step {step}: {line}");
            check_ranks(&mut bench, &key, &model, &mut random);
        }
    }
}

/// The members of the model in the order of their scores.
fn in_order(model: &BTreeMap<String, f64>) -> Vec<(String, f64)> {
    let mut order: Vec<(String, f64)> =
        model.iter().map(|(member, score)| (member.clone(), *score)).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    order
}

/// A random command, and its effect on the model.
fn random_change(random: &mut SplitMix64, key: &str, model: &mut BTreeMap<String, f64>) -> String {
    let member = format!("m{}", random.below(12));
    let score = f64::from(u32::try_from(random.below(9)).unwrap()) - 4.0;
    match random.below(7) {
        0 | 1 => {
            let other = format!("m{}", random.below(12));
            model.insert(member.clone(), score);
            model.insert(other.clone(), score + 0.5);
            format!("ZADD {key} {score} {member} {} {other}", score + 0.5)
        }
        2 => {
            let current = model.entry(member.clone()).or_default();
            *current += score;
            format!("ZINCRBY {key} {score} {member}")
        }
        3 => {
            model.remove(&member);
            format!("ZREM {key} {member} {member}")
        }
        4 => {
            if let Some((least, _)) = in_order(model).into_iter().next() {
                model.remove(&least);
            }
            format!("ZPOPMIN {key}")
        }
        5 => {
            for (most, _) in in_order(model).into_iter().rev().take(2) {
                model.remove(&most);
            }
            format!("ZPOPMAX {key} 2")
        }
        _ => {
            model.retain(|_, stored| !(*stored > score && *stored <= score + 1.0));
            format!("ZREMRANGEBYSCORE {key} ({score} {}", score + 1.0)
        }
    }
}

/// Checks the ranks of all members, and one range by rank in each direction.
fn check_ranks(
    bench: &mut Bench,
    key: &str,
    model: &BTreeMap<String, f64>,
    random: &mut SplitMix64,
) {
    let order = in_order(model);
    for (rank, (member, _)) in order.iter().enumerate() {
        assert_eq!(bench.run(&format!("ZRANK {key} {member}")), rank.to_string());
        assert_eq!(
            bench.run(&format!("ZREVRANK {key} {member}")),
            (order.len() - 1 - rank).to_string()
        );
    }
    let (start, stop) =
        (usize::try_from(random.below(13)).unwrap(), usize::try_from(random.below(13)).unwrap());
    let inside = |rank: usize| start <= rank && rank <= stop;
    let quote = |picked: Vec<&String>| {
        format!(
            "[{}]",
            picked.into_iter().map(|member| format!("{member:?}")).collect::<Vec<_>>().join(", ")
        )
    };
    let forward = order
        .iter()
        .enumerate()
        .filter(|(rank, _)| inside(*rank))
        .map(|(_, (member, _))| member)
        .collect();
    assert_eq!(bench.run(&format!("ZRANGE {key} {start} {stop}")), quote(forward));
    let backward = order
        .iter()
        .rev()
        .enumerate()
        .filter(|(rank, _)| inside(*rank))
        .map(|(_, (member, _))| member)
        .collect();
    assert_eq!(bench.run(&format!("ZREVRANGE {key} {start} {stop}")), quote(backward));
}

/// The header's size is read from the disk, so it may be any number.
#[test]
fn a_damaged_size_is_a_fault_and_no_panic() {
    let mut bench = Bench::new();
    bench.run("ZADD z 1 a 2 b 3 c 4 d 5 e");
    // The rank of a member nearer to the upper end is counted from there.
    for (size, command) in [(1, "ZRANK z d"), (0, "ZRANK z e"), (1, "ZREVRANK z b")] {
        bench.miscount("z", size);
        let reply = bench.run(command);
        assert!(reply.starts_with("ERR a stored record is damaged: "), "{command}: {reply}");
    }
    for (size, command) in [
        (2, "ZREMRANGEBYSCORE z 1 3"),
        (1, "ZPOPMIN z 3"),
        (1, "ZREM z a b"),
        (u64::MAX, "ZADD z 6 f"),
    ] {
        bench.miscount("z", size);
        let fault = bench.try_write(command).unwrap_err().to_string();
        assert!(fault.contains("its size is not the number of its rows"), "{command}: {fault}");
    }
}

#[test]
fn a_damaged_row_of_the_index_is_not_its_end() {
    let mut bench = Bench::new();
    bench.run("ZADD z 1 a 2 b");
    let zset = bench.view().collection(&Bytes::from_static(b"z"), rows::TYPE).unwrap().unwrap();
    bench.put(Family::ZsetScore, &[zset.prefix(), &[0xbf][..]].concat(), Vec::new());
    let reply = bench.run("ZRANGE z 0 -1");
    assert!(reply.starts_with("ERR a stored record is damaged: "), "{reply}");
}
