//! What the arithmetic commands answer.

use crate::testing::Bench;

const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
const NOT_FLOAT: &str = "ERR value is not a valid float";
const OVERFLOW: &str = "ERR increment or decrement would overflow";

#[test]
fn integers() {
    Bench::new().check(&[
        ("INCR n", "1"),
        ("DECR n", "0"),
        ("INCRBY n -5", "-5"),
        ("DECRBY n -7", "2"),
        ("INCRBY n 9223372036854775805", "9223372036854775807"),
        ("INCR n", OVERFLOW),
        ("GET n", r#""9223372036854775807""#),
        ("SET m -9223372036854775808", "OK"),
        ("DECR m", OVERFLOW),
        ("DECRBY m 1", OVERFLOW),
        ("DECRBY m -9223372036854775808", "ERR decrement would overflow"),
        ("DECRBY new 9223372036854775807", "-9223372036854775807"),
        ("INCRBY n 9223372036854775808", NOT_INTEGER),
        ("INCRBY n 1x", NOT_INTEGER),
        ("INCRBY n 1.0", NOT_INTEGER),
        ("SET n 010", "OK"),
        ("INCR n", NOT_INTEGER),
        ("SET n ' 1'", "OK"),
        ("INCR n", NOT_INTEGER),
        (r#"SET n """#, "OK"),
        ("INCR n", NOT_INTEGER),
        ("SADD s 1", "1"),
        ("INCR s", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("INCRBY s x", NOT_INTEGER),
    ]);
}

#[test]
fn floats() {
    Bench::new().check(&[
        ("INCRBYFLOAT f 0.1", r#""0.1""#),
        ("INCRBYFLOAT f 0.2", r#""0.3""#),
        ("INCRBYFLOAT f -0.3", r#""0""#),
        ("INCRBYFLOAT f 5.0e3", r#""5000""#),
        ("INCRBYFLOAT f 0x10", r#""5016""#),
        ("SET f 3", "OK"),
        ("INCRBYFLOAT f nan", NOT_FLOAT),
        ("INCRBYFLOAT f ' 1'", NOT_FLOAT),
        ("INCRBYFLOAT f inf", "ERR increment would produce NaN or Infinity"),
        ("INCRBYFLOAT f 1e5000", NOT_FLOAT),
        ("SET f x", "OK"),
        ("INCRBYFLOAT f 1", NOT_FLOAT),
        ("LPUSH l a", "1"),
        ("INCRBYFLOAT l x", "WRONGTYPE Operation against a key holding the wrong kind of value"),
    ]);
}

#[test]
fn numbers_beyond_doubles_print_all_their_digits() {
    let mut bench = Bench::new();
    let sum = bench.run("INCRBYFLOAT f 1e400");
    // As printed by Redis 7.0.15 on x86-64: the 80-bit number that is nearest to 1e400.
    assert_eq!(sum.len(), 403);
    assert_eq!(&sum[..42], "\"10000000000000000000281880683947586514586");
    assert_eq!(&sum[362..], "2664138176309734806343732497430221946880\"");
}
