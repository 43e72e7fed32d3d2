//! What must hold for every log entry, whatever commands are in it.

mod fetch;

use std::collections::BTreeMap;
use std::sync::Arc;

use neokv_encoding::proto;
use neokv_encoding::v1;
use neokv_engine::Durability;

use super::*;
use crate::keyspace::NAMESPACE;
use crate::testing::{Bench, START_MS};

fn client(line: &str) -> LogCommand {
    let args: Vec<Bytes> =
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    LogCommand::Client { namespace: NAMESPACE, command: table::lookup(&args[0]).unwrap(), args }
}

fn purge(keys: Vec<ExpiredKey>) -> LogCommand {
    LogCommand::Purge { namespace: NAMESPACE, keys }
}

fn all_rows(bench: &Bench) -> BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>> {
    Family::ALL.into_iter().map(|family| (family.name(), bench.rows(family))).collect()
}

fn entry(hlc: u64, lines: &[&[&str]]) -> Bytes {
    let args =
        |line: &[&str]| line.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let kind = |line: &&[&str]| Some(Kind::Client(proto::ClientCommand { args: args(line) }));
    let commands = lines
        .iter()
        .map(|line| proto::WriteCommand { namespace: NAMESPACE, kind: kind(line) })
        .collect();
    let request = RedisWriteRequest { hlc, seed: 9, commands, ..Default::default() };
    Bytes::from(request.encode_to_vec())
}

#[test]
fn the_same_log_gives_the_same_bytes_whatever_the_clock_of_the_machine() {
    let (mut one, mut two) = (Bench::new(), Bench::new());
    two.now_ms += 86_400_000;
    two.seed = 777;
    let names = ["a", "b", "c"];
    let mut random = SplitMix64::new(42);
    for step in 0..2000u64 {
        let key = names[usize::try_from(random.below(3)).unwrap()];
        let line = match random.below(14) {
            0 => format!(
                "SADD s{key} {} {} {}",
                random.below(50),
                random.below(50),
                random.below(50)
            ),
            1 => format!("SPOP s{key} {}", random.below(4)),
            2 => format!("SET {key} {step} PX {}", 1 + random.below(2000)),
            3 => format!("HSET h{key} {} {step}", random.below(20)),
            4 => format!("PEXPIRE h{key} {}", random.below(3000)),
            5 => format!("ZADD z{key} {} m{}", random.below(9), random.below(9)),
            6 => format!("ZPOPMIN z{key} 2"),
            7 => format!("RPUSH l{key} {step} {step}"),
            8 => format!("LPOP l{key}"),
            9 => format!("INCRBYFLOAT {key} 0.1"),
            10 => format!("DEL {key} s{key}"),
            11 => format!("GETEX {key} PERSIST"),
            12 => format!("HINCRBY h{key} n 3"),
            _ => format!("LPUSH {key} wrong"),
        };
        let stamp = Stamp { hlc: hlc::from_ms(START_MS + step * 10), seed: random.next_u64() };
        let payload = RedisMachine::default().encode(stamp, &[client(&line), client("INCR n")]);
        let replies = one.apply_entry(&payload).unwrap();
        assert_eq!(replies, two.apply_entry(&payload).unwrap(), "{line}");
    }
    assert_eq!(one.clock, two.clock);
    assert!(one.rows(Family::Metadata).len() > 5, "the log left something behind");
    assert_eq!(all_rows(&one), all_rows(&two));
    one.now_ms = START_MS + 20_000;
}

#[test]
fn a_failing_command_leaves_nothing_and_its_neighbours_stay() {
    let mut bench = Bench::new();
    let replies = bench.apply_entry(&entry(
        1 << 16,
        &[
            &["set", "a", "1"],
            &["lpush", "a", "x"],
            &["mset", "b", "2", "c"],
            &["incr", "a"],
            &["set", "d", "4"],
        ],
    ));
    let texts: Vec<String> = replies.unwrap().iter().map(crate::testing::show).collect();
    let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!(
        texts,
        ["OK", wrong_type, "ERR wrong number of arguments for 'mset' command", "2", "OK"]
    );
    bench.check(&[("MGET a b d", r#"["2", nil, "4"]"#), ("DBSIZE", "2")]);
}

#[test]
fn entries_that_nobody_can_have_meant_stop_the_region() {
    let mut bench = Bench::new();
    let cases: [&[&[&str]]; 5] = [
        &[&["nosuchcommand", "k"]],
        &[&["get", "k"]],
        &[&["set", "k"]],
        &[&[]],
        &[&["set", "k", "v"], &["flushall"]],
    ];
    for case in cases {
        let outcome = bench.apply_entry(&entry(1 << 16, case));
        assert!(matches!(outcome, Err(ApplyError::Undecodable(_))), "{case:?}: {outcome:?}");
    }
    let garbage = bench.apply_entry(&Bytes::from_static(b"\xff\xff\xff"));
    assert!(matches!(garbage, Err(ApplyError::Undecodable(_))), "{garbage:?}");
    let unknown =
        RedisWriteRequest { commands: vec![proto::WriteCommand::default()], ..Default::default() };
    let outcome = bench.apply_entry(&Bytes::from(unknown.encode_to_vec()));
    assert!(matches!(outcome, Err(ApplyError::Undecodable(_))), "{outcome:?}");
    assert!(bench.rows(Family::Metadata).is_empty());
}

#[test]
fn the_clock_never_goes_back_and_versions_are_never_reused() {
    let mut bench = Bench::new();
    let version = |bench: &Bench, key: &'static [u8]| {
        let set = bench
            .view()
            .collection(&Bytes::from_static(key), neokv_encoding::metadata::DataType::Set);
        set.unwrap().unwrap().meta.version
    };
    bench.apply_entry(&entry(5 << 16, &[&["sadd", "a", "1"], &["sadd", "b", "1"]])).unwrap();
    assert_eq!((version(&bench, b"a"), version(&bench, b"b")), (5 << 16, (5 << 16) + 1));
    assert_eq!(bench.clock, (5 << 16) + 2);
    // A new leader whose clock is behind.
    bench.apply_entry(&entry(3 << 16, &[&["del", "a"], &["sadd", "a", "2"]])).unwrap();
    assert_eq!(version(&bench, b"a"), (5 << 16) + 3);
    assert_eq!(bench.clock, (5 << 16) + 4);
    bench.check(&[("SMEMBERS a", r#"<"2">"#)]);
}

#[test]
fn expiry_follows_the_clock_of_the_entry() {
    let mut bench = Bench::new();
    bench.apply_entry(&entry(hlc::from_ms(1000), &[&["set", "k", "v", "px", "500"]])).unwrap();
    // This machine's clock says that the key expired decades ago; the entry's does not.
    let replies = bench.apply_entry(&entry(hlc::from_ms(1499), &[&["append", "k", "w"]])).unwrap();
    assert_eq!(replies, [Reply::Integer(2)]);
    let replies = bench.apply_entry(&entry(hlc::from_ms(1500), &[&["append", "k", "x"]])).unwrap();
    assert_eq!(replies, [Reply::Integer(1)]);
    bench.check(&[("TTL k", "-1"), ("DBSIZE", "1")]);
}

#[test]
fn a_purge_removes_what_has_expired_and_nothing_else() {
    let mut bench = Bench::new();
    let at = START_MS + 1000;
    for line in
        ["SET expired v PX 1000", "HSET changed f v", "PEXPIRE changed 1000", "SET later v PX 5000"]
    {
        bench.run(line);
    }
    let expired = |key: &'static str, expire_ms| ExpiredKey {
        key: Bytes::from_static(key.as_bytes()),
        expire_ms,
    };
    let keys = || {
        vec![
            expired("expired", at),
            expired("changed", at),
            expired("later", START_MS + 5000),
            expired("no", at),
        ]
    };
    // Too early: nothing has expired yet.
    assert_eq!(bench.apply(vec![purge(keys())]).unwrap(), [Reply::Integer(0)]);
    bench.check_invariants();
    bench.run("PERSIST changed");
    bench.advance(1000);
    assert_eq!(bench.apply(vec![purge(keys())]).unwrap(), [Reply::Integer(1)]);
    bench.check(&[
        ("KEYS *", r#"["later", "changed"]"#),
        ("DBSIZE", "2"),
        ("HGET changed f", r#""v""#),
    ]);
    // A key that came back in between has another expiry, or none.
    bench.run("SET expired again");
    assert_eq!(bench.apply(vec![purge(keys())]).unwrap(), [Reply::Integer(0)]);
    bench.check(&[("GET expired", r#""again""#)]);
}

#[test]
fn a_purge_removes_stale_rows_of_the_index() {
    let mut bench = Bench::new();
    bench.run("SET k v PX 5000");
    let user = bench.view().user_key(&Bytes::from_static(b"k"));
    let mut batch = bench.engine.batch();
    batch.put(Family::Expire, user.expire(77), b"");
    bench.engine.write(batch, Durability::Buffered).unwrap();
    let stale = ExpiredKey { key: user.key.clone(), expire_ms: 77 };
    assert_eq!(bench.apply(vec![purge(vec![stale])]).unwrap(), [Reply::Integer(0)]);
    bench.check(&[("PTTL k", "5000")]);
}

#[test]
fn strings_of_the_older_format_are_read_and_move_when_written() {
    let mut bench = Bench::new();
    let put = |bench: &Bench, key: &'static str, expire_ms, value: &str| {
        let user = bench.view().user_key(&Bytes::from_static(key.as_bytes()));
        let mut batch = bench.engine.batch();
        batch.put(Family::Subkey, user.v1_string(), v1::encode_value(expire_ms, value.as_bytes()));
        bench.engine.write(batch, Durability::Buffered).unwrap();
    };
    for key in ["get", "set", "del", "append", "expire", "persist", "open", "expired"] {
        put(&bench, key, START_MS + 1000, "5");
    }
    put(&bench, "expired", START_MS, "gone");
    put(&bench, "kept", 0, "kept");
    bench.check(&[
        ("GET get", r#""5""#),
        ("TYPE get", "string"),
        ("PTTL get", "1000"),
        ("EXISTS get expired kept", "2"),
        ("DBSIZE", "0"),
        ("SET set new", "OK"),
        ("DEL del", "1"),
        ("GET del", "nil"),
        ("INCR append", "6"),
        ("PTTL append", "1000"),
        ("PEXPIRE expire 7", "1"),
        ("PERSIST persist", "1"),
        ("GET persist", r#""5""#),
        ("SADD open x", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SADD expired x", "1"),
        ("TYPE expired", "set"),
        ("TTL kept", "-1"),
        ("DBSIZE", "5"),
    ]);
    let left =
        bench.rows(Family::Subkey).into_iter().filter(|(row, _)| row.ends_with(b"S")).count();
    assert_eq!(left, 3, "get, open and kept were only read");
}

#[test]
fn flushing_removes_every_data_row_and_counts_from_zero() {
    let mut bench = Bench::new();
    for n in 0..50 {
        bench.run(&format!("SET s{n} v EX 100"));
        bench.run(&format!("HSET h{n} f v"));
        bench.run(&format!("ZADD z{n} 1 m"));
    }
    bench.check(&[("DBSIZE", "150"), ("FLUSHALL", "OK"), ("DBSIZE", "0"), ("KEYS *", "[]")]);
    for family in Family::DATA {
        assert!(bench.rows(family).is_empty(), "{family} is not empty");
    }
    bench.check(&[("HSET h1 f w", "1"), ("HGETALL h1", r#"{"f": "w"}"#), ("DBSIZE", "1")]);
}

#[test]
fn flushing_is_alone_in_its_entry_and_seals_the_batch() {
    let flush = client("FLUSHDB");
    assert!(
        RedisMachine::default().alone(&flush) && !RedisMachine::default().alone(&client("SET k v"))
    );
    let bench = Bench::new();
    let mut cx = bench.context();
    RedisMachine::default().apply(&mut cx, &entry(1, &[&["set", "k", "v"]])).unwrap();
    RedisMachine::default().apply(&mut cx, &entry(2, &[&["flushall"]])).unwrap();
    bench.engine.write(cx.batch, Durability::Buffered).unwrap();
    assert!(
        bench.rows(Family::Metadata).is_empty(),
        "what the same batch wrote before is gone, too"
    );
}

#[test]
fn a_set_of_an_existing_key_writes_one_row() {
    let mut bench = Bench::new();
    bench.run("SET k v");
    let mut cx = bench.context();
    RedisMachine::default().apply(&mut cx, &entry(1, &[&["set", "k", "w"]])).unwrap();
    assert_eq!(cx.batch.len(), 1);
}

#[test]
fn deleting_a_big_collection_writes_as_much_as_deleting_a_small_one() {
    let mut bench = Bench::new();
    let fields: Vec<String> = (0..3000).map(|n| format!("f{n} v")).collect();
    bench.run(&format!("HSET big {}", fields.join(" ")));
    bench.run("HSET small f v");
    for key in ["big", "small"] {
        let mut cx = bench.context();
        RedisMachine::default().apply(&mut cx, &entry(1, &[&["del", key]])).unwrap();
        // The record and the number of keys.
        assert_eq!(cx.batch.len(), 2, "{key}");
    }
    bench.check(&[
        ("DEL big", "1"),
        ("HLEN big", "0"),
        ("HSET big f1 new", "1"),
        ("HGETALL big", r#"{"f1": "new"}"#),
    ]);
}

/// An entry with these bounds.
fn bounded(hlc: u64, enough_bytes: u64, command_bytes: u64, lines: &[String]) -> Bytes {
    let words = |line: &String| {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    };
    let kind = |line: &String| Some(Kind::Client(proto::ClientCommand { args: words(line) }));
    let commands = lines
        .iter()
        .map(|line| proto::WriteCommand { namespace: NAMESPACE, kind: kind(line) })
        .collect();
    let request = RedisWriteRequest { hlc, seed: hlc, commands, enough_bytes, command_bytes };
    Bytes::from(request.encode_to_vec())
}

#[test]
fn an_entry_ends_behind_the_command_that_makes_it_enough() {
    let mut bench = Bench::new();
    let long = "x".repeat(600);
    let lines = [format!("set a {long}"), "incr b".into(), "set c 3".into(), "set d 4".into()];
    let payload = bounded(7 << 16, 600, 0, &lines);
    assert_eq!(bench.apply_entry(&payload).unwrap(), [Reply::Ok]);
    assert_eq!(
        bench.clock,
        (7 << 16) + 4,
        "every command owns a value of the clock, also one that was left out"
    );
    bench.check(&[("EXISTS a b c d", "1"), ("DBSIZE", "1")]);
    let commands = RedisMachine::default().decode(&payload).unwrap();
    let again = RedisMachine::default().encode(Stamp { hlc: 9 << 16, seed: 0 }, &commands[1..]);
    assert_eq!(bench.apply_entry(&again).unwrap(), [Reply::Integer(1), Reply::Ok, Reply::Ok]);
    bench.check(&[("MGET b c d", r#"["1", "3", "4"]"#), ("DBSIZE", "4")]);
    // Answers count like writes.
    let replies = bench
        .apply_entry(&bounded(10 << 16, 600, 0, &["getdel a".into(), "incr b".into()]))
        .unwrap();
    assert_eq!(replies, [Reply::bulk(long)]);
    // A string that is written again and again is counted once.
    let lines: Vec<String> =
        (0..9).map(|n| format!("append s {}", n.to_string().repeat(60))).collect();
    assert_eq!(bench.apply_entry(&bounded(11 << 16, 1500, 0, &lines)).unwrap().len(), 9);
    // Without a bound, as in entries of earlier releases, all is done.
    let replies = bench
        .apply_entry(&entry(12 << 16, &[&["append", "s", &"y".repeat(5000)], &["incr", "b"]]))
        .unwrap();
    assert_eq!(replies.len(), 2);
}

#[test]
fn what_is_left_out_does_not_depend_on_the_entries_beside() {
    let (mut singly, mut grouped) = (Bench::new(), Bench::new());
    let mut random = SplitMix64::new(5);
    let mut left_out = 0;
    for round in 0..150u64 {
        let mut entries = Vec::new();
        for place in 0..1 + random.below(5) {
            let lines: Vec<String> =
                (0..1 + random.below(6)).map(|_| any_line(&mut random)).collect();
            let hlc = hlc::from_ms(START_MS + round * 10 + place);
            left_out += lines.len();
            entries.push(bounded(hlc, 200 + random.below(1500), 100 + random.below(3000), &lines));
        }
        let together = grouped.apply_group(&entries).unwrap();
        for (payload, expected) in entries.iter().zip(&together) {
            assert_eq!(&singly.apply_entry(payload).unwrap(), expected);
            left_out -= expected.len();
        }
        assert_eq!(singly.clock, grouped.clock);
    }
    assert!(left_out > 50, "only {left_out} commands were left out");
    assert_eq!(all_rows(&singly), all_rows(&grouped));
    singly.check_invariants();
}

/// A command with small, large or no effects.
fn any_line(random: &mut SplitMix64) -> String {
    let key = ["a", "b", "c"][usize::try_from(random.below(3)).unwrap()];
    match random.below(14) {
        12 => format!("setrange {key} {} tail", 16_000 + random.below(20_000)),
        13 => format!("getex {key} px {}", 1000 + random.below(9000)),
        0 => format!("append {key} {}", "x".repeat(usize::try_from(random.below(200)).unwrap())),
        1 => format!("setrange {key} {} tail", random.below(900)),
        2 => format!("pexpire {key} {}", 1000 + random.below(9000)),
        3 => format!("getdel {key}"),
        4 => format!("sadd s{key} {} {}", random.below(40), random.below(40)),
        5 => format!("sunionstore s{key} sa sb sc"),
        6 => format!("spop s{key} {}", random.below(5)),
        7 => format!("rpush l{key} {} {}", "e".repeat(40), random.below(9)),
        8 => format!("lpop l{key} {}", random.below(6)),
        9 => format!("zadd z{key} {} m{}", random.below(9), random.below(30)),
        10 => format!("zpopmin z{key} {}", random.below(8)),
        _ => format!("lpush {key} wrong"),
    }
}

#[test]
fn a_command_that_would_do_too_much_fails_and_changes_nothing() {
    let mut bench = Bench::new();
    let many = |word: &str| (0..40).map(|n| format!("{word}{n}")).collect::<Vec<_>>().join(" ");
    let scores = (0..40).map(|n| format!("{n} m{n}")).collect::<Vec<_>>().join(" ");
    for line in [
        format!("SADD s {}", many("m")),
        format!("RPUSH l {}", many("e")),
        format!("ZADD z {scores}"),
    ] {
        bench.run(&line);
    }
    bench.run(&format!("SET k {}", "x".repeat(3000)));
    let before = all_rows(&bench);
    let too_much = CommandError::LimitExceeded.reply();
    for line in [
        "expire k 100",
        "append k y",
        "getex k ex 100",
        "setrange new 3000 y",
        "sunionstore new s",
        "spop s 39",
        "spop s 40",
        "lpop l 39",
        "lpop l 40",
        "ltrim l 39 39",
        "linsert l before e20 new",
        "lmpop 1 l left count 40",
        "zpopmin z 39",
        "zpopmax z 40",
        "zremrangebyrank z 0 38",
    ] {
        let hlc = bench.clock + 1;
        let replies =
            bench.apply_entry(&bounded(hlc, 0, 2000, &[line.to_owned(), "incr n".into()])).unwrap();
        assert_eq!(replies[0], too_much, "{line}");
        bench.run("DEL n");
        assert_eq!(all_rows(&bench)["metadata"], before["metadata"], "{line}");
        assert_eq!(all_rows(&bench)["subkey"], before["subkey"], "{line}");
    }
    let replies = bench.apply_entry(&bounded(
        bench.clock + 1,
        1000,
        2000,
        &["expire k 1".into(), "incr n".into()],
    ));
    assert_eq!(replies.unwrap(), [too_much], "undone work is work: the entry ends");
    // With room they are done.
    let replies = bench.apply_entry(&bounded(
        bench.clock + 1,
        0,
        20_000,
        &["spop s 39".into(), "lpop l 40".into()],
    ));
    assert!(replies.unwrap().iter().all(|reply| !reply.is_error()));
}

/// Where an entry ends depends on these numbers: if one changes, replicas of two releases part.
#[test]
fn what_a_command_counts_is_frozen() {
    let mut bench = Bench::new();
    let cases: &[(&str, u64, u64)] = &[
        ("set k value", 292, 64),
        ("set k v ex 100", 288, 64),
        ("append k w", 146, 64),
        ("getex k persist", 289, 66),
        ("incr n", 288, 64),
        ("expire n 100", 288, 64),
        ("mset a 1 b 2", 576, 64),
        ("getdel a", 269, 65),
        ("del b none", 269, 64),
        ("hset h f v g w", 601, 64),
        ("hincrby h f2 1", 310, 64),
        ("hdel h f none", 308, 64),
        ("rpush l a b c d", 943, 64),
        ("lpop l", 331, 65),
        ("lpop l 2", 486, 194),
        ("linsert l before d x", 332, 64),
        ("lrem l 0 x", 331, 64),
        ("lmove l l2 left right", 901, 65),
        ("sadd s a b c d", 895, 64),
        ("srem s a none", 308, 64),
        ("spop s 2", 456, 194),
        ("sunionstore s2 s", 453, 64),
        ("zadd z 1 a 2 b", 927, 64),
        ("zadd z 3 a", 468, 64),
        ("zpopmin z", 464, 193),
        ("zremrangebyrank z 0 -1", 269, 64),
        ("lpush k wrong", 0, 64),
        ("setrange c 20000 x", 4075, 64),
        ("append c y", 3933, 64),
        ("expire c 100", 303, 64),
        ("set c d", 288, 64),
    ];
    let mut counted = Vec::new();
    for (line, ..) in cases {
        bench.clock = {
            let mut cx = bench.context();
            RedisMachine::default()
                .apply(&mut cx, &bounded(hlc::from_ms(START_MS), 0, 0, &[(*line).to_owned()]))
                .unwrap();
            counted.push((*line, cx.batch.metered() as u64, cx.answered));
            bench.engine.write_behind(vec![cx.batch]).unwrap();
            cx.clock
        };
    }
    assert_eq!(counted, cases);
}

/// A bench whose Region has only these slots, and an entry that was proposed before it was so.
fn after_a_split(start: u16, end: u16) -> Bench {
    let mut bench = Bench::new();
    let descriptor = Arc::make_mut(&mut bench.descriptor);
    descriptor.slots = SlotRange { start, end };
    descriptor.epoch.version += 1;
    bench
}

#[test]
fn a_command_whose_keys_are_elsewhere_by_now_has_no_effect_and_says_so() {
    let (here, there) = ("key:0", "key:1");
    let bench = after_a_split(0, slot_of(there.as_bytes()));
    assert!(slot_of(here.as_bytes()) < slot_of(there.as_bytes()));
    let lines: [&[&str]; 5] = [
        &["set", here, "v"],
        &["set", there, "v"],
        &["mset", here, "w", there, "w"],
        &["getdel", there],
        &["incr", "key:0{key:0}"],
    ];
    let mut cx = bench.context();
    let payload = entry(7 << 16, &lines);
    let outcomes = RedisMachine::default().apply(&mut cx, &payload).unwrap();
    let is_misrouted: Vec<bool> =
        outcomes.iter().map(|outcome| *outcome == Outcome::Misrouted).collect();
    assert_eq!(is_misrouted, [false, true, true, true, false]);
    assert_eq!(cx.clock, (7 << 16) + 5, "a version is never used by two, also not elsewhere");
    bench.engine.write(cx.batch, Durability::Buffered).unwrap();
    assert_eq!(bench.rows(Family::Metadata).len(), 2);
    assert_eq!(bench.view().string(&Bytes::from(here)).unwrap().unwrap().0, "v");
}

#[test]
fn a_command_for_the_whole_region_needs_the_region_that_was_meant() {
    let bench = after_a_split(0, 8192);
    let flush = entry(1, &[&["flushall"]]);
    let mut cx = bench.context();
    // A context of its own proposes by the present epoch.
    let outcomes = RedisMachine::default().apply(&mut cx, &flush).unwrap();
    assert_eq!(outcomes, [Outcome::Reply(Reply::Ok)]);
    let mut cx = bench.context();
    cx.proposed.version -= 1;
    let outcomes = RedisMachine::default().apply(&mut cx, &flush).unwrap();
    assert_eq!(outcomes, [Outcome::Misrouted]);
    assert!(cx.batch.is_empty());
    // One about keys goes by its keys.
    let outcomes =
        RedisMachine::default().apply(&mut cx, &entry(2, &[&["set", "key:0", "v"]])).unwrap();
    assert_eq!(outcomes, [Outcome::Reply(Reply::Ok)]);
}

#[test]
fn a_purge_leaves_the_keys_of_other_regions() {
    let mut bench = Bench::new();
    let expire_ms = START_MS + 1;
    bench.run("SET key:0 v PX 1");
    bench.run("SET key:1 v PX 1");
    bench.advance(1);
    let keys = ["key:0", "key:1"].map(|key| ExpiredKey { key: Bytes::from(key), expire_ms });
    let whole = Arc::clone(&bench.descriptor);
    let slots = SlotRange { start: 0, end: slot_of(b"key:1") };
    Arc::make_mut(&mut bench.descriptor).slots = slots;
    assert_eq!(bench.apply(vec![purge(keys.to_vec())]).unwrap(), [Reply::Integer(1)]);
    bench.descriptor = whole;
    bench.check(&[("DBSIZE", "1")]);
}

#[test]
fn every_slot_counts_its_own_keys() {
    let mut bench = Bench::new();
    for key in ["{a}1", "{a}2", "{b}1"] {
        bench.run(&format!("SET {key} v"));
    }
    let (a, b) = (slot_of(b"a"), slot_of(b"b"));
    let keys = |bench: &Bench, slot| bench.view().slot_keys(slot).unwrap();
    assert_eq!((keys(&bench, a), keys(&bench, b)), (2, 1));
    // An undone command takes its counts back.
    let long = "x".repeat(3000);
    let line = format!("mset {{a}}3 1 {{b}}2 {long}");
    let payload = bounded(bench.clock + 1, 0, 2000, &[line]);
    assert_eq!(bench.apply_entry(&payload).unwrap(), [CommandError::LimitExceeded.reply()]);
    assert_eq!((keys(&bench, a), keys(&bench, b)), (2, 1));
    bench.run("DEL {a}1 {b}1");
    assert_eq!((keys(&bench, a), keys(&bench, b)), (1, 0));
    assert_eq!(bench.rows(Family::SlotStats).len(), 1, "a slot without keys has no row");
}
