//! What the commands for expiry answer.

use crate::testing::Bench;

#[test]
fn setting_and_asking() {
    let mut bench = Bench::new();
    bench.check(&[
        ("TTL k", "-2"),
        ("PTTL k", "-2"),
        ("EXPIRETIME k", "-2"),
        ("PEXPIRETIME k", "-2"),
        ("SET k v", "OK"),
        ("TTL k", "-1"),
        ("EXPIRETIME k", "-1"),
        ("EXPIRE none 10", "0"),
        ("EXPIRE k 10", "1"),
        ("TTL k", "10"),
        ("PTTL k", "10000"),
        ("EXPIRETIME k", "1700000010"),
        ("PEXPIRETIME k", "1700000010000"),
        ("PEXPIRE k 1499", "1"),
        ("TTL k", "1"),
        ("PEXPIRE k 1500", "1"),
        ("TTL k", "2"),
        ("EXPIREAT k 1700000100", "1"),
        ("TTL k", "100"),
        ("PEXPIREAT k 1700000100400", "1"),
        ("PTTL k", "100400"),
        ("EXPIRETIME k", "1700000100"),
        ("PERSIST k", "1"),
        ("PERSIST k", "0"),
        ("PERSIST none", "0"),
        ("TTL k", "-1"),
    ]);
    for line in ["SADD s a", "RPUSH l a", "HSET h f v", "ZADD z 1 a"] {
        bench.run(line);
    }
    for key in ["s", "l", "h", "z"] {
        assert_eq!(bench.run(&format!("PEXPIRE {key} 100")), "1");
        assert_eq!(bench.run(&format!("PTTL {key}")), "100");
    }
    bench.run("SADD s b");
    assert_eq!(bench.run("PTTL s"), "100");
    bench.advance(99);
    assert_eq!(bench.run("EXISTS s l h z"), "4");
    bench.advance(1);
    assert_eq!(bench.run("EXISTS s l h z"), "0");
    bench.check(&[("SADD s c", "1"), ("SMEMBERS s", r#"<"c">"#), ("TTL s", "-1")]);
}

#[test]
fn an_instant_that_has_passed_deletes() {
    Bench::new().check(&[
        ("SET k v", "OK"),
        ("EXPIRE k 0", "1"),
        ("EXISTS k", "0"),
        ("SET k v", "OK"),
        ("EXPIRE k -1", "1"),
        ("SET k v", "OK"),
        ("EXPIREAT k 1", "1"),
        ("SET k v", "OK"),
        ("PEXPIREAT k 1700000000000", "1"),
        ("SET k v", "OK"),
        ("PEXPIREAT k -9223372036854775808", "1"),
        ("DBSIZE", "0"),
        ("SET k v", "OK"),
        ("PEXPIREAT k 1700000000001", "1"),
        ("EXISTS k", "1"),
    ]);
}

#[test]
fn conditions() {
    Bench::new().check(&[
        ("SET k v", "OK"),
        ("EXPIRE k 100 XX", "0"),
        ("EXPIRE k 100 GT", "0"),
        ("EXPIRE k 100 XX LT", "0"),
        ("EXPIRE k 100 LT", "1"),
        ("EXPIRE k 200 NX", "0"),
        ("EXPIRE k 100 GT", "0"),
        ("EXPIRE k 100 LT", "0"),
        ("EXPIRE k 200 gt", "1"),
        ("EXPIRE k 300 LT", "0"),
        ("EXPIRE k 150 XX LT", "1"),
        ("TTL k", "150"),
        ("EXPIRE k -1 GT", "0"),
        ("EXPIRE k -1 LT", "1"),
        ("EXISTS k", "0"),
        ("EXPIRE none 1 NX", "0"),
    ]);
}

#[test]
fn what_is_refused() {
    let invalid = |command: &str| format!("ERR invalid expire time in '{command}' command");
    Bench::new().check(&[
        ("SET k v", "OK"),
        ("EXPIRE k 9223372036854775807", &invalid("expire")),
        ("EXPIRE k 9223372036854775", &invalid("expire")),
        ("EXPIRE k -9223372036854775808", &invalid("expire")),
        ("PEXPIRE k 9223372036854775807", &invalid("pexpire")),
        ("EXPIREAT k 9223372036854775807", &invalid("expireat")),
        ("EXPIRE none 9223372036854775807", &invalid("expire")),
        ("EXPIRE k x", "ERR value is not an integer or out of range"),
        ("EXPIRE k x bogus", "ERR Unsupported option bogus"),
        (
            "EXPIRE none 1 NX XX",
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        (
            "EXPIRE none 1 GT NX",
            "ERR NX and XX, GT or LT options at the same time are not compatible",
        ),
        ("EXPIRE none 1 GT LT", "ERR GT and LT options at the same time are not compatible"),
        ("EXPIRE k", "ERR wrong number of arguments for 'expire' command"),
        ("TTL k", "-1"),
        ("PEXPIREAT k 9223372036854775807", "1"),
        ("PEXPIRETIME k", "9223372036854775807"),
    ]);
}
