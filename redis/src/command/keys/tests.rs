//! What the commands for keys of any type answer.

use std::collections::BTreeMap;

use crate::testing::Bench;

#[test]
fn existence_type_and_deletion() {
    let mut bench = Bench::new();
    for line in ["SET s v", "HSET h f v", "RPUSH l a", "SADD t a", "ZADD z 1 a"] {
        bench.run(line);
    }
    bench.check(&[
        ("TYPE s", "string"),
        ("TYPE h", "hash"),
        ("TYPE l", "list"),
        ("TYPE t", "set"),
        ("TYPE z", "zset"),
        ("TYPE none", "none"),
        ("EXISTS s h s none", "3"),
        ("TOUCH s none", "1"),
        ("DBSIZE", "5"),
        ("DEL s s none", "1"),
        ("UNLINK h l h", "2"),
        ("DEL none", "0"),
        ("DBSIZE", "2"),
        ("DEL", "ERR wrong number of arguments for 'del' command"),
    ]);
}

#[test]
fn what_is_over_does_not_exist_and_can_be_replaced_by_any_type() {
    let mut bench = Bench::new();
    for key in ["a", "b", "c", "d", "e"] {
        bench.run(&format!("SET {key} v PX 10"));
    }
    bench.advance(10);
    bench.check(&[
        ("EXISTS a b c d e", "0"),
        ("TYPE a", "none"),
        ("DEL a", "0"),
        ("SADD b x", "1"),
        ("SMEMBERS b", r#"<"x">"#),
        ("TTL b", "-1"),
        ("SETNX c w", "1"),
        ("TTL c", "-1"),
        ("EXPIRE d 5", "0"),
        ("RPUSH e 1", "1"),
        ("KEYS *", r#"["b", "c", "e"]"#),
    ]);
}

#[test]
fn a_random_key_is_any_key() {
    let mut bench = Bench::new();
    assert_eq!(bench.run("RANDOMKEY"), "nil");
    for n in 0..20 {
        bench.run(&format!("SET k{n} v"));
    }
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..2000 {
        *seen.entry(bench.run("RANDOMKEY")).or_default() += 1;
    }
    assert_eq!(seen.len(), 20);
    assert!(seen.values().all(|count| (40..250).contains(count)), "{seen:?}");
    bench.run("FLUSHALL");
    bench.run("SET expired v PX 1");
    bench.advance(1);
    assert_eq!(bench.run("RANDOMKEY"), "nil");
}
