//! What the hash commands answer, and that the header always agrees with the rows.

use std::collections::BTreeMap;

use bytes::Bytes;
use neokv_encoding::metadata::DataType;

use crate::testing::Bench;
use neokv_raftstore::SplitMix64;

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

/// The fields with their values, after checking that the header counts them and that no empty hash
/// exists.
fn fields(bench: &Bench, key: &str) -> BTreeMap<String, String> {
    let rows = bench.collection(key, DataType::Hash).map(|(_, rows)| rows).unwrap_or_default();
    let text = |value: Bytes| String::from_utf8(value.to_vec()).unwrap();
    rows.into_iter().map(|(field, value)| (field, text(value))).collect()
}

#[test]
fn setting_and_reading() {
    Bench::new().check(&[
        ("HSET h b 2 a 1", "2"),
        ("HSET h a 3 c 4", "1"),
        ("HGET h a", r#""3""#),
        ("HGET h none", "nil"),
        ("HGET none a", "nil"),
        ("HMSET h d 5 a 6", "OK"),
        ("HMGET h a none d a", r#"["6", nil, "5", "6"]"#),
        ("HMGET none a b", "[nil, nil]"),
        ("HSETNX h a 9", "0"),
        ("HSETNX h e 9", "1"),
        ("HGETALL h", r#"{"a": "6", "b": "2", "c": "4", "d": "5", "e": "9"}"#),
        ("HGETALL none", "{}"),
        ("HKEYS h", r#"["a", "b", "c", "d", "e"]"#),
        ("HKEYS none", "[]"),
        ("HVALS h", r#"["6", "2", "4", "5", "9"]"#),
        ("HVALS none", "[]"),
        ("HLEN h", "5"),
        ("HLEN none", "0"),
        ("HEXISTS h a", "1"),
        ("HEXISTS h none", "0"),
        ("HEXISTS none a", "0"),
        (r#"HSET h "" "\x00\r\n\xff" "\xff\x00" """#, "2"),
        (r#"HGET h """#, r#""\x00\r\n\xff""#),
        (r#"HSTRLEN h """#, "4"),
        (r#"HSTRLEN h "\xff\x00""#, "0"),
        ("HSTRLEN h none", "0"),
        ("HSTRLEN none a", "0"),
        (r#"HKEYS h"#, r#"["", "a", "b", "c", "d", "e", "\xff\x00"]"#),
    ]);
}

#[test]
fn a_field_named_twice_counts_once() {
    let mut bench = Bench::new();
    bench.check(&[("HSET h f a f b", "1"), ("HLEN h", "1"), ("HGET h f", r#""b""#)]);
    bench.check(&[("HSET h f 1 g 2 g 3 f 4 h 5", "2"), ("HLEN h", "3"), ("HGET h f", r#""4""#)]);
    bench.check(&[("HDEL h f f none f", "1"), ("HLEN h", "2")]);
    assert_eq!(fields(&bench, "h").len(), 2);
}

#[test]
fn removing_the_last_field_removes_the_key() {
    let mut bench = Bench::new();
    bench.check(&[
        ("HSET h a 1 b 2", "2"),
        ("HDEL h none", "0"),
        ("HDEL h a b b c", "2"),
        ("EXISTS h", "0"),
        ("DBSIZE", "0"),
        ("HDEL h a", "0"),
        ("HGETALL h", "{}"),
        // Nothing of the old hash shows through in the new one.
        ("HSET h c 3", "1"),
        ("HGETALL h", r#"{"c": "3"}"#),
        ("DBSIZE", "1"),
    ]);
}

#[test]
fn adding_integers() {
    Bench::new().check(&[
        ("HINCRBY h n 5", "5"),
        ("HINCRBY h n -7", "-2"),
        ("HGET h n", r#""-2""#),
        ("HINCRBY h n 9223372036854775807", "9223372036854775805"),
        ("HINCRBY h n 3", "ERR increment or decrement would overflow"),
        ("HGET h n", r#""9223372036854775805""#),
        ("HINCRBY h m -9223372036854775808", "-9223372036854775808"),
        ("HINCRBY h m -1", "ERR increment or decrement would overflow"),
        ("HINCRBY h n 9223372036854775808", "ERR value is not an integer or out of range"),
        ("HINCRBY h n 1.0", "ERR value is not an integer or out of range"),
        ("HSET h text abc padded 007 empty \"\"", "3"),
        ("HINCRBY h text 1", "ERR hash value is not an integer"),
        ("HINCRBY h padded 1", "ERR hash value is not an integer"),
        ("HINCRBY h empty 1", "ERR hash value is not an integer"),
        ("HLEN h", "5"),
        ("HINCRBY none n x", "ERR value is not an integer or out of range"),
        ("EXISTS none", "0"),
    ]);
}

#[test]
fn adding_floats() {
    Bench::new().check(&[
        ("HINCRBYFLOAT h f 10.50", r#""10.5""#),
        ("HINCRBYFLOAT h f 0.1", r#""10.6""#),
        ("HINCRBYFLOAT h f -10.6", r#""0""#),
        ("HINCRBYFLOAT h new 0x10", r#""16""#),
        ("HSET h big 9223372036854775807 text abc", "2"),
        ("HINCRBYFLOAT h big 1", r#""9223372036854775808""#),
        ("HINCRBYFLOAT h text 1", "ERR hash value is not a float"),
        ("HINCRBYFLOAT h f nan", "ERR value is not a valid float"),
        ("HINCRBYFLOAT h f abc", "ERR value is not a valid float"),
        ("HINCRBYFLOAT h f \"1 \"", "ERR value is not a valid float"),
        ("HINCRBYFLOAT h f -inf", "ERR value is NaN or Infinity"),
        ("HINCRBYFLOAT none f inf", "ERR value is NaN or Infinity"),
        ("EXISTS none", "0"),
        ("HSET h huge 1e4932", "1"),
        ("HINCRBYFLOAT h huge 1e4932", "ERR increment would produce NaN or Infinity"),
        ("HLEN h", "5"),
    ]);
}

#[test]
fn other_types_are_refused_after_the_arguments() {
    let mut bench = Bench::new();
    bench.check(&[("SET s x", "OK")]);
    for line in [
        "HSET s f v",
        "HMSET s f v",
        "HSETNX s f v",
        "HINCRBY s f 1",
        "HINCRBYFLOAT s f 1",
        "HDEL s f",
        "HGET s f",
        "HMGET s f",
        "HEXISTS s f",
        "HSTRLEN s f",
        "HLEN s",
        "HGETALL s",
        "HKEYS s",
        "HVALS s",
        "HRANDFIELD s",
        "HRANDFIELD s 0",
        "HRANDFIELD s -1 WITHVALUES",
        "HSCAN s 0",
        "HSCAN s 0 COUNT x",
    ] {
        bench.check(&[(line, WRONG_TYPE)]);
    }
    bench.check(&[
        ("HSET s f", "ERR wrong number of arguments for 'hset' command"),
        ("HSET s f v g", "ERR wrong number of arguments for 'hset' command"),
        ("HMSET s f v g", "ERR wrong number of arguments for 'hmset' command"),
        ("HINCRBY s f x", "ERR value is not an integer or out of range"),
        ("HINCRBYFLOAT s f x", "ERR value is not a valid float"),
        ("HSCAN s x", "ERR invalid cursor"),
        ("EXISTS s", "1"),
    ]);
}

#[test]
fn random_fields() {
    let mut bench = Bench::new();
    bench.check(&[
        ("HRANDFIELD none", "nil"),
        ("HRANDFIELD none 3", "[]"),
        ("HRANDFIELD none -3 WITHVALUES", "{}"),
        ("HSET h a 1", "1"),
        ("HRANDFIELD h", r#""a""#),
        ("HRANDFIELD h 1", r#"["a"]"#),
        ("HRANDFIELD h 1 withvalues", r#"{"a": "1"}"#),
        ("HRANDFIELD h -2", r#"["a", "a"]"#),
        ("HRANDFIELD h -2 WITHVALUES", r#"{"a": "1", "a": "1"}"#),
        ("HRANDFIELD h 0", "[]"),
        ("HRANDFIELD h 0 WITHVALUES", "{}"),
        ("HSET h b 2 c 3", "2"),
        ("HRANDFIELD h 3 WITHVALUES", r#"{"a": "1", "b": "2", "c": "3"}"#),
        ("HRANDFIELD h 9223372036854775807", r#"["a", "b", "c"]"#),
        ("HRANDFIELD h 4611686018427387903 WITHVALUES", r#"{"a": "1", "b": "2", "c": "3"}"#),
        ("HRANDFIELD h 4611686018427387904 WITHVALUES", "ERR value is out of range"),
        ("HRANDFIELD h -4611686018427387904 WITHVALUES", "ERR value is out of range"),
        ("HRANDFIELD h -1048577", "ERR value is out of range"),
        (
            "HRANDFIELD h -9223372036854775808",
            "ERR value is out of range, value must between -9223372036854775807 and \
             9223372036854775807",
        ),
        ("HRANDFIELD h x y", "ERR value is not an integer or out of range"),
        ("HRANDFIELD h 1 y", "ERR syntax error"),
        ("HRANDFIELD h 1 WITHVALUES z", "ERR syntax error"),
        ("HRANDFIELD h 4611686018427387904 y", "ERR syntax error"),
    ]);
}

#[test]
fn scanning() {
    let mut bench = Bench::new();
    bench.check(&[
        ("HSCAN none 0", r#"["0", []]"#),
        ("HSCAN none 0 COUNT x", r#"["0", []]"#),
        ("HSET h a 1 b 2 ab 3", "3"),
        ("HSCAN h 0", r#"["0", ["a", "1", "ab", "3", "b", "2"]]"#),
        ("HSCAN h 0 MATCH a* COUNT 1", r#"["0", ["a", "1", "ab", "3"]]"#),
        ("HSCAN h 0 COUNT 0", "ERR syntax error"),
        ("HSCAN h 0 MATCH", "ERR syntax error"),
        ("HSCAN h 0 TYPE string", "ERR syntax error"),
        ("HSCAN h x", "ERR invalid cursor"),
    ]);
}

/// Random commands against a map from field to value.
#[test]
fn behaves_like_a_map() {
    let mut bench = Bench::new();
    let mut random = SplitMix64::new(3);
    let mut model = BTreeMap::new();
    for turn in 0..3000u64 {
        let mut names = Vec::new();
        for _ in 0..=random.below(3) {
            names.push(format!("f{}", random.below(12)));
        }
        let before = model.len();
        if random.below(2) == 0 {
            let pairs: Vec<String> = names.iter().map(|name| format!("{name} {turn}")).collect();
            model.extend(names.iter().map(|name| (name.clone(), turn.to_string())));
            assert_eq!(
                bench.run(&format!("HSET h {}", pairs.join(" "))),
                (model.len() - before).to_string()
            );
        } else {
            names.iter().for_each(|name| _ = model.remove(name));
            assert_eq!(
                bench.run(&format!("HDEL h {}", names.join(" "))),
                (before - model.len()).to_string()
            );
        }
        assert_eq!(fields(&bench, "h"), model);
    }
}
