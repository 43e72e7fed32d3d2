//! FLUSHDB and FLUSHALL: everything of every type is gone, from every way to look, and never comes
//! back.

use crate::support::{TYPES, array, ask, check, fingerprint, info, neokv, one_of_each, send};

#[test]
fn a_flush_empties_every_type_for_ever() {
    let mut server = neokv(&["--expire-interval", "10ms"]);
    let mut c = server.connect().unwrap();
    for flush in ["FLUSHDB", "FLUSHALL", "FLUSHDB ASYNC", "FLUSHALL SYNC"] {
        one_of_each(&mut c);
        for n in 0..200 {
            send(&mut c, &format!("SET key:{n} v EX {}", 1000 + n));
        }
        check(
            &mut c,
            &[
                ("EXPIRE hash 1000", "1"),
                (flush, "OK"),
                ("DBSIZE", "0"),
                ("SCAN 0 COUNT 1000", "[\"0\" []]"),
            ],
        );
        check(
            &mut c,
            &[
                ("KEYS *", "[]"),
                ("RANDOMKEY", "nil"),
                ("GET string", "nil"),
                ("HGETALL hash", "[]"),
            ],
        );
        assert_eq!(ask(&mut c, "INFO keyspace"), "\"# Keyspace\\r\\n\"");
        // The keys begin anew: nothing of before shows in them.
        check(
            &mut c,
            &[
                ("HSET hash new 1", "1"),
                ("RPUSH list new", "1"),
                ("SADD set new", "1"),
                ("ZADD zset 1 new", "1"),
            ],
        );
        for key in TYPES.iter().skip(1) {
            assert!(
                fingerprint(&mut c, key).matches("new").count() == 1,
                "{}",
                fingerprint(&mut c, key)
            );
            check(&mut c, &[(&format!("TTL {key}"), "-1")]);
        }
        check(
            &mut c,
            &[
                ("HLEN hash", "1"),
                ("LLEN list", "1"),
                ("SCARD set", "1"),
                ("ZCARD zset", "1"),
                ("DBSIZE", "4"),
            ],
        );
        check(&mut c, &[("FLUSHDB", "OK")]);
    }
    one_of_each(&mut c);
    check(&mut c, &[("FLUSHALL", "OK"), ("SET after 1", "OK")]);
    server.kill().unwrap();
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    check(&mut c, &[("DBSIZE", "1"), ("KEYS *", "[\"after\"]"), ("TYPE hash", "none")]);
}

#[test]
fn a_flush_costs_the_log_the_same_for_any_number_of_keys() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    for n in 0..20_000 {
        c.queue(&["SET", &format!("key:{n}"), "value"]);
    }
    c.flush().unwrap();
    (0..20_000).for_each(|_| assert!(!c.receive().unwrap().is_error()));
    check(&mut c, &[("DBSIZE", "20000")]);
    let before = info(&mut c, "persistence", "wal_bytes_written");
    check(&mut c, &[("FLUSHALL", "OK"), ("DBSIZE", "0")]);
    let written = info(&mut c, "persistence", "wal_bytes_written") - before;
    assert!(written < 4096, "{written} bytes");
}

#[test]
fn a_flush_has_its_place_in_a_pipeline() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    for line in [
        "SET a 1",
        "HSET h f v",
        "FLUSHDB",
        "INCR a",
        "HLEN h",
        "FLUSHALL",
        "EXISTS a h",
        "SET b 1",
        "DBSIZE",
    ] {
        c.queue(&line.split(' ').collect::<Vec<_>>());
    }
    c.flush().unwrap();
    let replies: Vec<String> =
        (0..9).map(|_| crate::support::show(&c.receive().unwrap())).collect();
    assert_eq!(replies, ["OK", "1", "OK", "1", "0", "OK", "0", "OK", "1"]);
    assert_eq!(array(&mut c, "KEYS *").len(), 1);
}
