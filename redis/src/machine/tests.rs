//! What must hold for every log entry, whatever commands are in it.

use std::collections::BTreeMap;

use neokv_encoding::proto;
use neokv_encoding::v1;
use neokv_engine::Durability;

use super::*;
use crate::testing::{Bench, REGION, START_MS};

fn client(line: &str) -> Command {
    let args: Vec<Bytes> = line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    Command::Client { command: table::lookup(&args[0]).unwrap(), args }
}

fn all_rows(bench: &Bench) -> BTreeMap<&'static str, BTreeMap<Vec<u8>, Vec<u8>>> {
    Family::ALL.into_iter().map(|family| (family.name(), bench.rows(family))).collect()
}

fn entry(hlc: u64, lines: &[&[&str]]) -> Bytes {
    let args = |line: &[&str]| line.iter().map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
    let kind = |line: &&[&str]| Some(Kind::Client(proto::ClientCommand { args: args(line) }));
    let commands = lines.iter().map(|line| proto::WriteCommand { kind: kind(line) }).collect();
    Bytes::from(RedisWriteRequest { hlc, seed: 9, namespace: NAMESPACE, commands }.encode_to_vec())
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
            0 => format!("SADD s{key} {} {} {}", random.below(50), random.below(50), random.below(50)),
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
        let payload = RedisMachine.encode(stamp, &[client(&line), client("INCR n")]);
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
        &[&["set", "a", "1"], &["lpush", "a", "x"], &["mset", "b", "2", "c"], &["incr", "a"], &["set", "d", "4"]],
    ));
    let texts: Vec<String> = replies.unwrap().iter().map(crate::testing::show).collect();
    let wrong_type = "WRONGTYPE Operation against a key holding the wrong kind of value";
    assert_eq!(texts, ["OK", wrong_type, "ERR wrong number of arguments for 'mset' command", "2", "OK"]);
    bench.check(&[("MGET a b d", r#"["2", nil, "4"]"#), ("DBSIZE", "2")]);
}

#[test]
fn entries_that_nobody_can_have_meant_stop_the_region() {
    let mut bench = Bench::new();
    let cases: [&[&[&str]]; 5] =
        [&[&["nosuchcommand", "k"]], &[&["get", "k"]], &[&["set", "k"]], &[&[]], &[&["set", "k", "v"], &["flushall"]]];
    for case in cases {
        let outcome = bench.apply_entry(&entry(1 << 16, case));
        assert!(matches!(outcome, Err(ApplyError::Undecodable(_))), "{case:?}: {outcome:?}");
    }
    let garbage = bench.apply_entry(&Bytes::from_static(b"\xff\xff\xff"));
    assert!(matches!(garbage, Err(ApplyError::Undecodable(_))), "{garbage:?}");
    let unknown = RedisWriteRequest { commands: vec![proto::WriteCommand { kind: None }], ..Default::default() };
    let outcome = bench.apply_entry(&Bytes::from(unknown.encode_to_vec()));
    assert!(matches!(outcome, Err(ApplyError::Undecodable(_))), "{outcome:?}");
    assert!(bench.rows(Family::Metadata).is_empty());
}

#[test]
fn the_clock_never_goes_back_and_versions_are_never_reused() {
    let mut bench = Bench::new();
    let version = |bench: &Bench, key: &'static [u8]| {
        let set = bench.view().collection(&Bytes::from_static(key), neokv_encoding::metadata::DataType::Set);
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
    // This machine's clock says that the key has been over for decades; the entry's does not.
    let replies = bench.apply_entry(&entry(hlc::from_ms(1499), &[&["append", "k", "w"]])).unwrap();
    assert_eq!(replies, [Reply::Integer(2)]);
    let replies = bench.apply_entry(&entry(hlc::from_ms(1500), &[&["append", "k", "x"]])).unwrap();
    assert_eq!(replies, [Reply::Integer(1)]);
    bench.check(&[("TTL k", "-1"), ("DBSIZE", "1")]);
}

#[test]
fn a_purge_removes_what_is_over_and_nothing_else() {
    let mut bench = Bench::new();
    let at = START_MS + 1000;
    for line in ["SET over v PX 1000", "HSET changed f v", "PEXPIRE changed 1000", "SET later v PX 5000"] {
        bench.run(line);
    }
    let expired = |key: &'static str, expire_ms| ExpiredKey {
        slot: neokv_encoding::slot::slot_of(key.as_bytes()),
        namespace: NAMESPACE,
        key: Bytes::from_static(key.as_bytes()),
        expire_ms,
    };
    let keys =
        || vec![expired("over", at), expired("changed", at), expired("later", START_MS + 5000), expired("no", at)];
    // Too early: nothing is over yet.
    assert_eq!(bench.apply(vec![Command::Purge(keys())]).unwrap(), [Reply::Integer(0)]);
    bench.check_invariants();
    bench.run("PERSIST changed");
    bench.advance(1000);
    assert_eq!(bench.apply(vec![Command::Purge(keys())]).unwrap(), [Reply::Integer(1)]);
    bench.check(&[("KEYS *", r#"["later", "changed"]"#), ("DBSIZE", "2"), ("HGET changed f", r#""v""#)]);
    // A key that came back in between has another expiry, or none.
    bench.run("SET over again");
    assert_eq!(bench.apply(vec![Command::Purge(keys())]).unwrap(), [Reply::Integer(0)]);
    bench.check(&[("GET over", r#""again""#)]);
    // A slot that is not the key's names nothing.
    let wrong = ExpiredKey { slot: 1, ..expired("later", START_MS + 5000) };
    bench.advance(5000);
    assert_eq!(bench.apply(vec![Command::Purge(vec![wrong])]).unwrap(), [Reply::Integer(0)]);
}

#[test]
fn a_purge_removes_stale_rows_of_the_index() {
    let mut bench = Bench::new();
    bench.run("SET k v PX 5000");
    let user = bench.view().user_key(&Bytes::from_static(b"k"));
    let mut batch = bench.engine.batch();
    batch.put(Family::Expire, user.expire(77), b"");
    bench.engine.write(batch, Durability::Buffered).unwrap();
    let stale = ExpiredKey { slot: user.slot, namespace: NAMESPACE, key: user.key.clone(), expire_ms: 77 };
    assert_eq!(bench.apply(vec![Command::Purge(vec![stale])]).unwrap(), [Reply::Integer(0)]);
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
    for key in ["get", "set", "del", "append", "expire", "persist", "open", "over"] {
        put(&bench, key, START_MS + 1000, "5");
    }
    put(&bench, "over", START_MS, "gone");
    put(&bench, "kept", 0, "kept");
    bench.check(&[
        ("GET get", r#""5""#),
        ("TYPE get", "string"),
        ("PTTL get", "1000"),
        ("EXISTS get over kept", "2"),
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
        ("SADD over x", "1"),
        ("TYPE over", "set"),
        ("TTL kept", "-1"),
        ("DBSIZE", "5"),
    ]);
    let left = bench.rows(Family::Subkey).into_iter().filter(|(row, _)| row.ends_with(b"S")).count();
    assert_eq!(left, 3, "get, open and kept were only read");
    assert_eq!(bench.rows(Family::Region).len(), 1);
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
    assert!(RedisMachine.alone(&flush) && !RedisMachine.alone(&client("SET k v")));
    let bench = Bench::new();
    let mut cx = ApplyContext::new(bench.engine.batch(), &bench.descriptor, 0);
    RedisMachine.apply(&mut cx, &entry(1, &[&["set", "k", "v"]])).unwrap();
    RedisMachine.apply(&mut cx, &entry(2, &[&["flushall"]])).unwrap();
    bench.engine.write(cx.batch, Durability::Buffered).unwrap();
    assert!(bench.rows(Family::Metadata).is_empty(), "what the same batch wrote before is gone, too");
}

#[test]
fn a_set_of_an_existing_key_writes_one_row() {
    let mut bench = Bench::new();
    bench.run("SET k v");
    let mut cx = ApplyContext::new(bench.engine.batch(), &bench.descriptor, bench.clock);
    RedisMachine.apply(&mut cx, &entry(1, &[&["set", "k", "w"]])).unwrap();
    assert_eq!(cx.batch.len(), 1);
    drop(cx);
    assert_eq!(bench.descriptor.id, REGION);
}

#[test]
fn deleting_a_big_collection_writes_as_much_as_deleting_a_small_one() {
    let mut bench = Bench::new();
    let fields: Vec<String> = (0..3000).map(|n| format!("f{n} v")).collect();
    bench.run(&format!("HSET big {}", fields.join(" ")));
    bench.run("HSET small f v");
    for key in ["big", "small"] {
        let mut cx = ApplyContext::new(bench.engine.batch(), &bench.descriptor, bench.clock);
        RedisMachine.apply(&mut cx, &entry(1, &[&["del", key]])).unwrap();
        // The record and the number of keys.
        assert_eq!(cx.batch.len(), 2, "{key}");
    }
    bench.check(&[("DEL big", "1"), ("HLEN big", "0"), ("HSET big f1 new", "1"), ("HGETALL big", r#"{"f1": "new"}"#)]);
}
