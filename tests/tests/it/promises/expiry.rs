//! Time: expired keys of every type go, from replies at once and from the disk soon; everything
//! else stays.

use neokv_encoding::family::Family;
use neokv_engine::{Direction, Engine, KeyRange, Read};
use neokv_tests::client::Connection;
use neokv_tests::process::Server;

use crate::support::{
    Both, TYPES, ask, check, fingerprint, info, neokv, number, one_of_each, until,
};

/// Options for a cleaner that runs with hardly a pause.
const EAGER: [&str; 2] = ["--expire-interval", "10ms"];

/// Lets the cleaner do `rounds` rounds: in each it removes a key made for it.
fn cleaner_rounds(connection: &mut Connection, rounds: usize) {
    for _ in 0..rounds {
        let before = info(connection, "stats", "expired_keys");
        check(connection, &[("SET sentinel x PX 1", "OK")]);
        until("a round of the cleaner", || info(connection, "stats", "expired_keys") > before);
    }
}

/// How many rows a family of a stopped server holds.
fn rows(server: &Server, family: Family) -> usize {
    let engine = Engine::open_read_only(server.data()).unwrap();
    let mut cursor = engine.cursor(family, KeyRange::all(), Direction::Forward).unwrap();
    let mut rows = 0;
    while cursor.next().unwrap().is_some() {
        rows += 1;
    }
    rows
}

/// Values whose first bytes could be taken for an instant in the past, if something took them for
/// one.
#[test]
fn live_data_survive_the_cleaner_whatever_their_bytes() {
    let mut server = neokv(&EAGER);
    let mut c = server.connect().unwrap();
    let values = [
        r#""\xff\xff\xff\xff\xff\xff\xff\xff""#,
        r#""\x80\x00\x00\x00\x00\x00\x00\x01 tail""#,
        r#""\x00\x00\x00\x00\x00\x00\x00\x01""#,
        r#""\x00\x00\x01\x7f\x00\x00\x00\x00 a date""#,
        r#""\x00\x00\x00\x00\x00\x00\x00\x00""#,
        r#""\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac""#,
        "01234567",
        r#""""#,
    ];
    for (n, value) in values.iter().enumerate() {
        check(
            &mut c,
            &[
                (&format!("SET string:{n} {value}"), "OK"),
                (&format!("SET later:{n} {value} PX 100000000"), "OK"),
                (&format!("HSET hash {value} {value}"), "1"),
                (&format!("SADD set {value}"), "1"),
                (&format!("RPUSH list {value}"), &(n + 1).to_string()),
                (&format!("ZADD zset {n}.5 {value}"), "1"),
            ],
        );
    }
    for (n, score) in
        ["0", "-0", "1", "-1", "1e308", "-1e308", "inf", "-inf", "1700000000000", "5e-324"]
            .iter()
            .enumerate()
    {
        check(&mut c, &[(&format!("ZADD scores {score} member{n}"), "1")]);
    }
    for key in ["hash", "set", "list", "zset", "scores"] {
        check(
            &mut c,
            &[(&format!("PEXPIRE {key} 200000000"), "1"), (&format!("PERSIST {key}"), "1")],
        );
    }
    let keys: Vec<String> = (0..values.len())
        .flat_map(|n| [format!("string:{n}"), format!("later:{n}")])
        .chain(["hash", "set", "list", "zset", "scores"].map(String::from))
        .collect();
    let story = |c: &mut Connection| keys.iter().map(|key| fingerprint(c, key)).collect::<Vec<_>>();
    let before = story(&mut c);
    cleaner_rounds(&mut c, 5);
    assert_eq!(story(&mut c), before);
    check(
        &mut c,
        &[
            ("DBSIZE", &keys.len().to_string()),
            ("ZCOUNT scores -inf +inf", "10"),
            ("HLEN hash", "8"),
        ],
    );
    assert!(server.terminate().unwrap().success());
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    cleaner_rounds(&mut c, 2);
    assert_eq!(story(&mut c), before);
    check(&mut c, &[("DBSIZE", &keys.len().to_string())]);
}

#[test]
fn expired_keys_of_every_type_leave_the_disk_too() {
    let mut server = neokv(&EAGER);
    let mut c = server.connect().unwrap();
    one_of_each(&mut c);
    check(
        &mut c,
        &[("SET stays 1", "OK"), ("HSET stays:too f v", "1"), ("EXPIRE stays:too 100000", "1")],
    );
    for key in TYPES {
        check(&mut c, &[(&format!("PEXPIRE {key} 1"), "1")]);
    }
    // One thousand and more, so that a round of the cleaner is not enough.
    for n in 0..1500 {
        c.queue(&["SET", &format!("mass:{n}"), "v", "PX", "1"]);
    }
    c.flush().unwrap();
    (0..1500).for_each(|_| assert!(!c.receive().unwrap().is_error()));
    until("the removal of 1505 keys", || number(&mut c, "DBSIZE") == 2);
    assert_eq!(info(&mut c, "stats", "expired_keys"), 1505);
    assert!(
        ask(&mut c, "INFO keyspace").contains("keys=2,expires=1"),
        "{}",
        ask(&mut c, "INFO keyspace")
    );
    assert!(server.terminate().unwrap().success());
    assert_eq!((rows(&server, Family::Metadata), rows(&server, Family::Expire)), (2, 1));
}

#[test]
fn a_key_that_was_written_again_is_not_taken_for_the_expired_one() {
    let server = neokv(&EAGER);
    let mut c = server.connect().unwrap();
    const KEYS: usize = 1000;
    for n in 0..KEYS {
        let key = format!("k{n}");
        c.queue(&["SET", &key, "dies", "PX", "1"]);
        match n % 4 {
            0 => c.queue(&["SET", &key, "lives"]),
            1 => c.queue(&["SET", &key, "lives", "PX", "100000000"]),
            2 => c.queue(&["GETSET", &key, "lives"]),
            _ => c.queue(&["MSET", &key, "lives"]),
        }
    }
    c.flush().unwrap();
    (0..2 * KEYS).for_each(|_| assert!(!c.receive().unwrap().is_error()));
    cleaner_rounds(&mut c, 5);
    check(&mut c, &[("DBSIZE", &KEYS.to_string())]);
    for n in 0..KEYS {
        check(&mut c, &[(&format!("GET k{n}"), "\"lives\"")]);
    }
}

#[test]
fn what_a_key_held_before_it_expired_never_comes_back() {
    let mut both = Both::start();
    for (key, again) in [
        ("hash", "HSET hash new 1"),
        ("list", "RPUSH list new"),
        ("set", "SADD set new"),
        ("zset", "ZADD zset 9 new"),
        ("string", "APPEND string new"),
    ] {
        one_of_each(&mut both.neokv);
        one_of_each(&mut both.redis);
        both.check(&[(&format!("PEXPIRE {key} 1"), "1")]);
        for connection in [&mut both.neokv, &mut both.redis] {
            until("the end of a key", || ask(connection, &format!("EXISTS {key}")) == "0");
        }
        both.ask(again);
        let (mine, theirs) = (fingerprint(&mut both.neokv, key), fingerprint(&mut both.redis, key));
        assert!(mine == theirs && mine.contains("new"), "{mine} {theirs}");
        both.check(&[(&format!("PTTL {key}"), "-1"), ("FLUSHALL", "OK")]);
    }
}

#[test]
fn expire_ttl_and_persist_work_on_every_type() {
    let mut both = Both::start();
    one_of_each(&mut both.neokv);
    one_of_each(&mut both.redis);
    for key in TYPES {
        let before = fingerprint(&mut both.neokv, key);
        let far = 33_000_000_000_i64;
        both.check(&[
            (&format!("TTL {key}"), "-1"),
            (&format!("PERSIST {key}"), "0"),
            (&format!("EXPIRE {key} 1000"), "1"),
            (&format!("TTL {key}"), "1000"),
            (&format!("EXPIRE {key} 2000 NX"), "0"),
            (&format!("EXPIRE {key} 2000 XX GT"), "1"),
            (&format!("EXPIRE {key} 1500 GT"), "0"),
            (&format!("EXPIRE {key} 1500 LT"), "1"),
            (&format!("PERSIST {key}"), "1"),
            (&format!("PTTL {key}"), "-1"),
            (&format!("EXPIRE {key} 100 GT"), "0"),
            (&format!("PEXPIRE {key} 1000000 LT"), "1"),
            (&format!("EXPIREAT {key} {far}"), "1"),
            (&format!("EXPIRETIME {key}"), &far.to_string()),
            (&format!("PEXPIRETIME {key}"), &format!("{far}000")),
            (&format!("PEXPIREAT {key} {far}123"), "1"),
            (&format!("PEXPIRETIME {key}"), &format!("{far}123")),
            (&format!("PERSIST {key}"), "1"),
        ]);
        assert_eq!(fingerprint(&mut both.neokv, key), before);
    }
    both.check(&[
        ("TTL nope", "-2"),
        ("PTTL nope", "-2"),
        ("EXPIRE nope 1", "0"),
        ("PERSIST nope", "0"),
        ("EXPIRE hash 100", "1"),
        ("HSET hash f3 v", "1"),
        ("TTL hash", "100"),
        ("EXPIRE string 100", "1"),
        ("APPEND string x", "5"),
        ("TTL string", "100"),
        ("SET string x KEEPTTL", "OK"),
        ("TTL string", "100"),
        ("SET string x", "OK"),
        ("TTL string", "-1"),
    ]);
}

#[test]
fn an_instant_in_the_past_deletes_every_type() {
    let mut both = Both::start();
    for line in [
        "EXPIREAT K 0",
        "EXPIREAT K 1",
        "EXPIREAT K -5",
        "PEXPIREAT K 0",
        "PEXPIREAT K -1",
        "EXPIRE K 0",
        "EXPIRE K -1",
        "PEXPIRE K -100",
    ] {
        one_of_each(&mut both.neokv);
        one_of_each(&mut both.redis);
        for key in TYPES {
            both.check(&[
                (&line.replace('K', key), "1"),
                (&format!("EXISTS {key}"), "0"),
                (&format!("TYPE {key}"), "none"),
                (&format!("TTL {key}"), "-2"),
            ]);
        }
        both.check(&[("DBSIZE", "0"), ("SCAN 0", "[\"0\" []]")]);
    }
    both.check(&[
        ("SET k v EXAT 1", "OK"),
        ("GET k", "nil"),
        ("SET k v", "OK"),
        ("GETEX k PXAT 1", "\"v\""),
        ("EXISTS k", "0"),
    ]);
}

#[test]
fn instants_that_do_not_fit_are_errors_and_change_nothing() {
    let mut both = Both::start();
    one_of_each(&mut both.neokv);
    one_of_each(&mut both.redis);
    let max = "9223372036854775807";
    for key in TYPES {
        for (command, amount) in [
            ("expire", max),
            ("expire", "9223372036854775"),
            ("expire", "-9223372036854775808"),
            ("pexpire", max),
            ("expireat", max),
            ("expireat", "9223372036854776"),
        ] {
            both.check(&[
                (
                    &format!("{command} {key} {amount}"),
                    &format!("-ERR invalid expire time in '{command}' command"),
                ),
                (&format!("TTL {key}"), "-1"),
            ]);
        }
        both.check(&[
            (
                &format!("EXPIRE {key} 9223372036854775808"),
                "-ERR value is not an integer or out of range",
            ),
            (&format!("EXPIRE {key} 1x"), "-ERR value is not an integer or out of range"),
            (&format!("EXPIRE {key} 1.5"), "-ERR value is not an integer or out of range"),
        ]);
    }
    both.check(&[
        ("SET string x EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SETEX string 9223372036854775807 x", "-ERR invalid expire time in 'setex' command"),
        ("SETEX string 0 x", "-ERR invalid expire time in 'setex' command"),
        ("PSETEX string -1 x", "-ERR invalid expire time in 'psetex' command"),
        ("GETEX string EX 9223372036854775807", "-ERR invalid expire time in 'getex' command"),
        ("GET string", "\"text\""),
        ("DBSIZE", "5"),
    ]);
}
