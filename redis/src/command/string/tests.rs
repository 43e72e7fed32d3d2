//! What the string commands answer.

use crate::testing::Bench;

const SYNTAX: &str = "ERR syntax error";
const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn set_and_get() {
    Bench::new().check(&[
        ("GET k", "nil"),
        ("SET k v", "OK"),
        ("GET k", r#""v""#),
        (r#"SET "\x00\xff" "\r\n""#, "OK"),
        (r#"GET "\x00\xff""#, r#""\r\n""#),
        ("SET k v2 NX", "nil"),
        ("SET k v2 XX", "OK"),
        ("SET none v XX", "nil"),
        ("SET k v3 GET", r#""v2""#),
        ("SET none v XX GET", "nil"),
        ("SET k v4 NX GET", r#""v3""#),
        ("GET k", r#""v3""#),
        ("SET new v NX GET", "nil"),
        ("GET new", r#""v""#),
        ("SET k v EX 10 EX 20", "OK"),
        ("TTL k", "20"),
        ("SET k v keepttl", "OK"),
        ("TTL k", "20"),
        ("SET k v", "OK"),
        ("TTL k", "-1"),
        ("SET k v PXAT 1700000005000", "OK"),
        ("PTTL k", "5000"),
        ("SET k v EXAT 1700000005", "OK"),
        ("PTTL k", "5000"),
        ("SET k v PXAT 1", "OK"),
        ("EXISTS k", "0"),
        ("DBSIZE", "2"),
        ("LPUSH l a", "1"),
        ("SET l v GET", WRONG_TYPE),
        ("SET l v NX", "nil"),
        ("SET l v", "OK"),
        ("TYPE l", "string"),
    ]);
}

#[test]
fn set_refuses_what_is_not_in_its_grammar() {
    let mut bench = Bench::new();
    bench.run("LPUSH l a");
    bench.check(&[
        ("SET k v NX XX", SYNTAX),
        ("SET k v EX 1 PX 1", SYNTAX),
        ("SET k v EX 1 KEEPTTL", SYNTAX),
        ("SET k v KEEPTTL EX 1", SYNTAX),
        ("SET k v EX", SYNTAX),
        ("SET k v PERSIST", SYNTAX),
        ("SET k v bogus", SYNTAX),
        ("SET k v EX 0", "ERR invalid expire time in 'set' command"),
        ("SET k v PX -1", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SET k v PX 9223372036854775807", "ERR invalid expire time in 'set' command"),
        ("SET k v EX 1.5", "ERR value is not an integer or out of range"),
        ("SET l v EX 0 GET", "ERR invalid expire time in 'set' command"),
        ("SETEX k 0 v", "ERR invalid expire time in 'setex' command"),
        ("PSETEX k -1 v", "ERR invalid expire time in 'psetex' command"),
        ("SET k", "ERR wrong number of arguments for 'set' command"),
        ("EXISTS k", "0"),
    ]);
}

#[test]
fn the_relatives_of_set() {
    Bench::new().check(&[
        ("SETNX k a", "1"),
        ("SETNX k b", "0"),
        ("SETEX k 10 c", "OK"),
        ("TTL k", "10"),
        ("PSETEX k 1500 d", "OK"),
        ("PTTL k", "1500"),
        ("GETSET k e", r#""d""#),
        ("TTL k", "-1"),
        ("GETSET new x", "nil"),
        ("GETDEL new", r#""x""#),
        ("GETDEL new", "nil"),
        ("MSET a 1 b 2 a 3", "OK"),
        ("MGET a b none", r#"["3", "2", nil]"#),
        ("MSETNX c 1 b 9", "0"),
        ("EXISTS c", "0"),
        ("MSETNX c 1 c 2 d 3", "1"),
        ("GET c", r#""2""#),
        ("DBSIZE", "5"),
        ("MSET a", "ERR wrong number of arguments for 'mset' command"),
        ("MSET a 1 b", "ERR wrong number of arguments for 'mset' command"),
        ("MSETNX a 1 b", "ERR wrong number of arguments for 'msetnx' command"),
        ("SADD s x", "1"),
        ("MGET a s", r#"["3", nil]"#),
        ("GETSET s x", WRONG_TYPE),
        ("GETDEL s", WRONG_TYPE),
        ("SETNX s x", "0"),
    ]);
}

#[test]
fn getex() {
    let mut bench = Bench::new();
    bench.check(&[
        ("GETEX none EX 0", "nil"),
        ("SET k v", "OK"),
        ("GETEX k", r#""v""#),
        ("GETEX k EX 10", r#""v""#),
        ("TTL k", "10"),
        ("GETEX k", r#""v""#),
        ("TTL k", "10"),
        ("GETEX k PERSIST", r#""v""#),
        ("TTL k", "-1"),
        ("GETEX k PX 1", r#""v""#),
        ("PTTL k", "1"),
        ("GETEX k EX 0", "ERR invalid expire time in 'getex' command"),
        ("GETEX k KEEPTTL", SYNTAX),
        ("GETEX k NX", SYNTAX),
        ("GETEX k PERSIST EX 1", SYNTAX),
        ("GETEX k EX 1 PERSIST", SYNTAX),
        ("GETEX k EXAT 1", r#""v""#),
        ("EXISTS k", "0"),
        ("LPUSH l a", "1"),
        ("GETEX l EX 0", WRONG_TYPE),
    ]);
    bench.run("SET k v PX 10");
    bench.advance(9);
    assert_eq!(bench.run("GETEX k PX 5"), r#""v""#);
    bench.advance(4);
    assert_eq!(bench.run("GET k"), r#""v""#);
    bench.advance(1);
    bench.check(&[
        ("GET k", "nil"),
        ("GETEX k PERSIST", "nil"),
        ("SET k w KEEPTTL", "OK"),
        ("TTL k", "-1"),
    ]);
}

#[test]
fn parts_of_strings() {
    Bench::new().check(&[
        ("APPEND k Hello", "5"),
        ("APPEND k , ", "6"),
        ("STRLEN k", "6"),
        ("STRLEN none", "0"),
        ("GETRANGE k 0 -1", r#""Hello,""#),
        ("GETRANGE k -3 -2", r#""lo""#),
        ("GETRANGE k 0 -100", r#""H""#),
        ("GETRANGE k -1 -5", r#""""#),
        ("GETRANGE k 3 1", r#""""#),
        ("GETRANGE k 4 999", r#""o,""#),
        ("GETRANGE k 9223372036854775807 -9223372036854775808", r#""""#),
        ("SUBSTR k 1 2", r#""el""#),
        ("GETRANGE none 0 1", r#""""#),
        ("GETRANGE k a 1", "ERR value is not an integer or out of range"),
        ("SETRANGE k 4 y!", "6"),
        ("GET k", r#""Helly!""#),
        ("SETRANGE k 8 z", "9"),
        ("GET k", r#""Helly!\x00\x00z""#),
        (r#"SETRANGE k 99 """#, "9"),
        (r#"SETRANGE none 5 """#, "0"),
        (r#"SETRANGE none 536870912 """#, "0"),
        ("EXISTS none", "0"),
        (r#"APPEND none """#, "0"),
        ("EXISTS none", "1"),
        ("SETRANGE k -1 x", "ERR offset is out of range"),
        ("SETRANGE k 536870912 x", "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        (
            "SETRANGE k 9223372036854775807 x",
            "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        ),
        ("LPUSH l a", "1"),
        ("APPEND l x", WRONG_TYPE),
        ("SETRANGE l 0 x", WRONG_TYPE),
        ("GETRANGE l 0 1", WRONG_TYPE),
        ("STRLEN l", WRONG_TYPE),
        ("GET l", WRONG_TYPE),
    ]);
}

#[test]
fn changing_a_string_keeps_its_expiry() {
    Bench::new().check(&[
        ("SET k 10 EX 50", "OK"),
        ("APPEND k 0", "3"),
        ("INCR k", "101"),
        ("INCRBYFLOAT k 0.5", r#""101.5""#),
        ("SETRANGE k 0 2", "5"),
        ("TTL k", "50"),
    ]);
}
