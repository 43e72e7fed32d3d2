//! A command on a key of another type is refused and changes nothing.

use std::collections::BTreeSet;

use neokv_resp::client::Value;

use crate::support::{Both, TYPES, WRONGTYPE, array, fingerprint, one_of_each, text};

/// Commands by the type that they need, with `K` for the key that has another.
const COMMANDS: &[(&str, &[&str])] = &[
    (
        "string",
        &[
            "GET K",
            "STRLEN K",
            "GETRANGE K 0 -1",
            "SUBSTR K 0 -1",
            "APPEND K x",
            "SETRANGE K 0 x",
            "INCR K",
            "DECR K",
            "INCRBY K 1",
            "DECRBY K 1",
            "INCRBYFLOAT K 1",
            "GETSET K x",
            "GETDEL K",
            "GETEX K",
            "GETEX K PERSIST",
            "GETEX K EX 100",
            "SET K x GET",
            "SET K x NX GET",
        ],
    ),
    (
        "hash",
        &[
            "HSET K f v",
            "HSETNX K f v",
            "HMSET K f v",
            "HGET K f",
            "HMGET K f",
            "HGETALL K",
            "HKEYS K",
            "HVALS K",
            "HLEN K",
            "HSTRLEN K f",
            "HEXISTS K f",
            "HDEL K f",
            "HINCRBY K f 1",
            "HINCRBYFLOAT K f 1",
            "HRANDFIELD K",
            "HRANDFIELD K 2 WITHVALUES",
            "HSCAN K 0",
        ],
    ),
    (
        "list",
        &[
            "LPUSH K x",
            "RPUSH K x",
            "LPUSHX K x",
            "RPUSHX K x",
            "LPOP K",
            "LPOP K 2",
            "RPOP K",
            "LLEN K",
            "LINDEX K 0",
            "LRANGE K 0 -1",
            "LPOS K a",
            "LSET K 0 x",
            "LINSERT K BEFORE a x",
            "LREM K 0 a",
            "LTRIM K 0 0",
            "LMOVE K other LEFT LEFT",
            "LMOVE good-list K LEFT LEFT",
            "RPOPLPUSH K other",
            "RPOPLPUSH good-list K",
            "LMPOP 1 K LEFT",
            "LMPOP 2 missing K RIGHT COUNT 2",
        ],
    ),
    (
        "set",
        &[
            "SADD K x",
            "SREM K a",
            "SMEMBERS K",
            "SISMEMBER K a",
            "SMISMEMBER K a",
            "SCARD K",
            "SRANDMEMBER K",
            "SRANDMEMBER K 2",
            "SPOP K",
            "SPOP K 2",
            "SSCAN K 0",
            "SINTER K",
            "SINTER good-set K",
            "SUNION K",
            "SUNION good-set K",
            "SDIFF K",
            "SDIFF good-set K",
            "SINTERCARD 1 K",
            "SINTERCARD 2 good-set K LIMIT 1",
            "SMOVE K other x",
            "SMOVE good-set K a",
            "SINTERSTORE other K",
            "SUNIONSTORE other good-set K",
            "SDIFFSTORE other good-set K",
        ],
    ),
    (
        "zset",
        &[
            "ZADD K 1 x",
            "ZADD K INCR 1 x",
            "ZADD K XX 1 x",
            "ZREM K a",
            "ZSCORE K a",
            "ZMSCORE K a",
            "ZRANK K a",
            "ZREVRANK K a",
            "ZCARD K",
            "ZCOUNT K 0 1",
            "ZRANGE K 0 -1",
            "ZRANGE K 0 1 BYSCORE",
            "ZRANGE K - + BYLEX",
            "ZRANGEBYSCORE K 0 1",
            "ZREVRANGE K 0 -1",
            "ZREVRANGEBYSCORE K 1 0",
            "ZINCRBY K 1 a",
            "ZRANGEBYLEX K - +",
            "ZREVRANGEBYLEX K + -",
            "ZLEXCOUNT K - +",
            "ZPOPMIN K",
            "ZPOPMAX K 2",
            "ZSCAN K 0",
            "ZREMRANGEBYRANK K 0 -1",
            "ZREMRANGEBYSCORE K 0 1",
            "ZREMRANGEBYLEX K - +",
        ],
    ),
];

/// Write commands that work on a key of any type.
const ANY_TYPE: &[&str] = &[
    "del",
    "unlink",
    "expire",
    "expireat",
    "pexpire",
    "pexpireat",
    "persist",
    "flushdb",
    "flushall",
    "set",
    "setnx",
    "setex",
    "psetex",
    "mset",
    "msetnx",
];

fn names(lines: &[&str]) -> Vec<String> {
    lines
        .iter()
        .map(|line| line.split(' ').next().unwrap_or_default().to_ascii_lowercase())
        .collect()
}

#[test]
fn every_command_refuses_every_other_type_and_leaves_it_alone() {
    let mut both = Both::start();
    one_of_each(&mut both.neokv);
    one_of_each(&mut both.redis);
    for line in ["RPUSH good-list a", "SADD good-set a"] {
        both.ask(line);
    }
    let kept: Vec<String> = TYPES.iter().map(|key| fingerprint(&mut both.neokv, key)).collect();
    for (kind, lines) in COMMANDS {
        for (key, before) in TYPES.iter().zip(&kept).filter(|(key, _)| *key != kind) {
            for line in *lines {
                let line = line
                    .split(' ')
                    .map(|word| if word == "K" { *key } else { word })
                    .collect::<Vec<_>>()
                    .join(" ");
                both.check(&[(&line, WRONGTYPE)]);
                assert_eq!(fingerprint(&mut both.neokv, key), *before, "{line}");
            }
        }
    }
    // Nothing came into being or went away beside the keys, either: not what LMOVE took, not where
    // it should have gone.
    both.check(&[
        ("DBSIZE", "7"),
        ("EXISTS other", "0"),
        ("LRANGE good-list 0 -1", "[\"a\"]"),
        ("SMEMBERS good-set", "[\"a\"]"),
    ]);
}

#[test]
fn every_write_command_of_the_server_is_in_the_table_of_types() {
    let both = &mut Both::start();
    let mut known: BTreeSet<String> = COMMANDS.iter().flat_map(|(_, lines)| names(lines)).collect();
    known.extend(ANY_TYPE.iter().map(ToString::to_string));
    let mut writes = 0;
    for command in array(&mut both.neokv, "COMMAND") {
        let Value::Array(fields) = command else { panic!("{command:?}") };
        let (Value::Array(flags) | Value::Set(flags)) = &fields[2] else {
            panic!("{:?}", fields[2])
        };
        if flags.iter().any(|flag| text(flag) == "write") {
            writes += 1;
            assert!(known.contains(text(&fields[0])), "{} is not tested", text(&fields[0]));
        }
    }
    assert!(writes >= 50, "only {writes} write commands");
}

#[test]
fn commands_that_replace_do_replace_every_type() {
    let mut both = Both::start();
    for key in TYPES {
        one_of_each(&mut both.neokv);
        one_of_each(&mut both.redis);
        both.check(&[
            (&format!("SETNX {key} x"), "0"),
            (&format!("SET {key} x NX"), "nil"),
            (&format!("MSETNX {key} x free x"), "0"),
            (
                &format!("MGET {key} free"),
                if key == "string" { "[\"text\" nil]" } else { "[nil nil]" },
            ),
            (&format!("SET {key} x XX"), "OK"),
            (&format!("GET {key}"), "\"x\""),
            (&format!("APPEND {key} y"), "2"),
            (&format!("DEL {key}"), "1"),
            (&format!("EXISTS {key}"), "0"),
        ]);
        // The name is written again with another type: nothing of the old value is left.
        one_of_each(&mut both.neokv);
        one_of_each(&mut both.redis);
        both.check(&[
            (&format!("MSET {key} x"), "OK"),
            (&format!("DEL {key}"), "1"),
            (&format!("HSET {key} new 1"), "1"),
            (&format!("HGETALL {key}"), "[\"new\" \"1\"]"),
            (&format!("SUNIONSTORE {key} set none"), if key == "set" { WRONGTYPE } else { "3" }),
            (&format!("SINTERSTORE {key} none"), "0"),
            (&format!("TYPE {key}"), "none"),
            (&format!("ZADD {key} 5 m"), "1"),
            (&format!("ZRANGE {key} 0 -1 WITHSCORES"), "[\"m\" \"5\"]"),
            (&format!("DEL {key}"), "1"),
            (&format!("RPUSH {key} e"), "1"),
            (&format!("LRANGE {key} 0 -1"), "[\"e\"]"),
            ("FLUSHALL", "OK"),
        ]);
    }
}
