//! What goes in is read strictly, what comes out is exact: numbers, limits, errors, bytes.

use std::collections::BTreeSet;

use neokv_resp::client::Value;

use crate::support::{Both, array, ask, check, info, neokv, one_of_each, send, show};

/// What is no integer to Redis.
const NO_INTEGERS: &[&str] = &[
    "\"\"",
    "\" 1\"",
    "\"1 \"",
    "+1",
    "01",
    "-0",
    "1.0",
    "1e2",
    "0x1",
    "1x",
    "x1",
    "9223372036854775808",
    "-9223372036854775809",
    "\"1\\x00\"",
    "--1",
];

/// Commands with an integer in the place of N.
const WITH_INTEGER: &[&str] = &[
    "INCRBY n N",
    "DECRBY n N",
    "HINCRBY h n N",
    "LRANGE list N 1",
    "LRANGE list 0 N",
    "LINDEX list N",
    "LSET list N x",
    "LTRIM list N 1",
    "LREM list N a",
    "LPOP list N",
    "LPOS list a RANK N",
    "LPOS list a COUNT N",
    "LMPOP N list LEFT",
    "LMPOP 1 list LEFT COUNT N",
    "SPOP set N",
    "SRANDMEMBER set N",
    "SINTERCARD N set",
    "SINTERCARD 1 set LIMIT N",
    "HRANDFIELD hash N",
    "ZRANGE zset N 1",
    "ZREVRANGE zset 0 N",
    "ZPOPMIN zset N",
    "ZRANGEBYSCORE zset 0 9 LIMIT N 1",
    "ZRANGEBYSCORE zset 0 9 LIMIT 0 N",
    "GETRANGE string N 1",
    "SETRANGE string N x",
    "EXPIRE string N",
    "EXPIREAT string N",
    "SET string x EX N",
    "GETEX string PX N",
    "HSCAN hash 0 COUNT N",
];

#[test]
fn numbers_with_anything_before_or_behind_them_are_refused() {
    let mut both = Both::start();
    one_of_each(&mut both.neokv);
    one_of_each(&mut both.redis);
    both.check(&[("SET n 5", "OK"), ("HSET h n 5", "1")]);
    for number in NO_INTEGERS {
        for line in WITH_INTEGER {
            let line = line.replace(" N", &format!(" {number}"));
            let reply = both.ask(&line);
            assert!(reply.starts_with('-'), "{line}: {reply}");
        }
        both.check(&[(&format!("SET bad {number}"), "OK")]);
        let reply = both.ask("INCR bad");
        assert!(
            reply.starts_with("-ERR value is not an integer or out of range"),
            "{number}: {reply}"
        );
    }
    both.check(&[
        ("GET n", "\"5\""),
        ("HGET h n", "\"5\""),
        ("LLEN list", "3"),
        ("SCARD set", "3"),
        ("GET string", "\"text\""),
    ]);
}

#[test]
fn floats_with_anything_before_or_behind_them_are_refused() {
    let mut both = Both::start();
    both.check(&[("SET n 5", "OK"), ("HSET h n 5", "1"), ("ZADD z 5 m", "1")]);
    for number in [
        "\"\"",
        "\" 1.5\"",
        "\"1.5 \"",
        "1.5x",
        "x",
        "1,5",
        "1.5.5",
        "nan",
        "NaN",
        "--1",
        "\"1\\x002\"",
        "1e",
        "0x",
    ] {
        for line in [
            "INCRBYFLOAT n N",
            "HINCRBYFLOAT h n N",
            "ZADD z N m",
            "ZADD z INCR N m",
            "ZINCRBY z N m",
            "ZCOUNT z N +inf",
            "ZRANGEBYSCORE z N 9",
        ] {
            let reply = both.ask(&line.replace(" N", &format!(" {number}")));
            // For the ends of ranges Redis reads with `strtod`, which skips blanks: there, being as
            // Redis is all.
            let range = line.starts_with("ZCOUNT") || line.starts_with("ZRANGE");
            assert!(reply.starts_with("-ERR") || range, "{line} with {number}: {reply}");
        }
    }
    both.check(&[("GET n", "\"5\""), ("HGET h n", "\"5\""), ("ZSCORE z m", "\"5\"")]);
}

#[test]
fn sums_that_overflow_are_errors_and_change_nothing() {
    let mut both = Both::start();
    let (max, min) = ("9223372036854775807", "-9223372036854775808");
    let overflow = "-ERR increment or decrement would overflow";
    both.check(&[
        (&format!("SET n {max}"), "OK"),
        ("INCR n", overflow),
        ("INCRBY n 1", overflow),
        (&format!("DECRBY n {min}"), "-ERR decrement would overflow"),
        ("GET n", &format!("\"{max}\"")),
        (&format!("SET n {min}"), "OK"),
        ("DECR n", overflow),
        (&format!("INCRBY n {min}"), overflow),
        ("GET n", &format!("\"{min}\"")),
        (&format!("HSET h a {max} b {min} c text"), "3"),
        ("HINCRBY h a 1", overflow),
        ("HINCRBY h b -1", overflow),
        ("HINCRBY h c 1", "-ERR hash value is not an integer"),
        ("HINCRBYFLOAT h c 1", "-ERR hash value is not a float"),
        ("HGETALL h", &format!("[\"a\" \"{max}\" \"b\" \"{min}\" \"c\" \"text\"]")),
        ("ZADD z inf m", "1"),
        ("ZINCRBY z -inf m", "-ERR resulting score is not a number (NaN)"),
        ("ZADD z INCR -inf m", "-ERR resulting score is not a number (NaN)"),
        ("ZSCORE z m", "\"inf\""),
        ("SET f 1e4932", "OK"),
        ("INCRBYFLOAT f 1e4932", "-ERR increment would produce NaN or Infinity"),
        ("SETRANGE s 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SETRANGE s -1 x", "-ERR offset is out of range"),
        ("EXISTS s", "0"),
    ]);
}

#[test]
fn floats_are_printed_as_redis_prints_them() {
    let mut both = Both::start();
    both.check(&[
        ("SET f 10.50", "OK"),
        ("INCRBYFLOAT f 0.1", "\"10.6\""),
        ("INCRBYFLOAT f -5", "\"5.6\""),
        ("SET f 5.0e3", "OK"),
        ("INCRBYFLOAT f 2.0e2", "\"5200\""),
        ("HSET h f 0.1", "1"),
        ("HINCRBYFLOAT h f 0.2", "\"0.3\""),
        ("ZADD z 1.5 a 3 b -0 c 1e20 d 17179869184 e inf f", "6"),
        ("ZSCORE z a", "\"1.5\""),
        ("ZSCORE z b", "\"3\""),
        ("ZSCORE z d", "\"1e+20\""),
        ("ZSCORE z e", "\"17179869184\""),
        ("ZSCORE z f", "\"inf\""),
    ]);
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..500 {
        let number = (random.f64() - 0.5) * 10f64.powi(random.i32(-20..25));
        both.ask(&format!("ZADD z {number:e} m"));
        both.ask("ZSCORE z m");
        both.ask(&format!("ZINCRBY z {:e} m", number / 3.0));
        both.ask(&format!("SET f {number:.17}"));
        both.ask(&format!("INCRBYFLOAT f {}", random.i32(-1000..1000)));
    }
}

#[test]
fn a_limit_of_zero_means_zero_where_redis_says_so() {
    let mut both = Both::start();
    one_of_each(&mut both.neokv);
    one_of_each(&mut both.redis);
    both.check(&[
        ("ZRANGEBYSCORE zset -inf +inf LIMIT 0 0", "[]"),
        ("ZRANGEBYSCORE zset -inf +inf LIMIT 1 1", "[\"b\"]"),
        ("ZRANGEBYSCORE zset -inf +inf LIMIT 1 -1", "[\"b\" \"c\"]"),
        ("ZRANGEBYSCORE zset -inf +inf LIMIT -1 1", "[]"),
        ("ZREVRANGEBYSCORE zset +inf -inf LIMIT 0 0", "[]"),
        ("ZRANGEBYLEX zset - + LIMIT 0 0", "[]"),
        ("ZREVRANGEBYLEX zset + - LIMIT 0 0", "[]"),
        ("ZRANGE zset -inf +inf BYSCORE LIMIT 0 0", "[]"),
        ("ZRANGE zset - + BYLEX LIMIT 0 0", "[]"),
        (
            "ZRANGE zset 0 -1 LIMIT 0 0",
            "-ERR syntax error, LIMIT is only supported in combination with either BYSCORE or \
             BYLEX",
        ),
        ("LPOP list 0", "[]"),
        ("LPOP nope 0", "nil array"),
        ("SPOP set 0", "[]"),
        ("ZPOPMIN zset 0", "[]"),
        ("SRANDMEMBER set 0", "[]"),
        ("HRANDFIELD hash 0", "[]"),
        ("LPOS list a COUNT 0", "[0]"),
        ("SINTERCARD 1 set LIMIT 0", "3"),
        ("SINTERCARD 1 set LIMIT 2", "2"),
        ("SINTERCARD 2 set nope", "0"),
        ("SINTERCARD 0 set", "-ERR numkeys should be greater than 0"),
        ("SINTERCARD 3 set", "-ERR Number of keys can't be greater than number of args"),
        ("SINTERCARD 1 set LIMIT -1", "-ERR LIMIT can't be negative"),
        ("LMPOP 1 list LEFT COUNT 0", "-ERR count should be greater than 0"),
        ("LMPOP 2 nope list RIGHT COUNT 2", "[\"list\" [\"c\" \"b\"]]"),
        ("LMPOP 2 nope nope2 LEFT", "nil array"),
        ("LREM nope 0 x", "0"),
        ("LREM list -1 a", "1"),
        ("EXISTS list", "0"),
    ]);
}

/// Errors that only apply can find, between writes that travel with them.
#[test]
fn an_error_found_in_apply_is_an_error_and_the_writes_around_it_happen() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    one_of_each(&mut c);
    let lines = [
        ("INCR n", "1"),
        ("INCR string", "-ERR value is not an integer or out of range"),
        ("INCR n", "2"),
        ("LSET list 99 x", "-ERR index out of range"),
        ("LSET nope 0 x", "-ERR no such key"),
        ("INCR n", "3"),
        ("HINCRBY hash f1 1", "-ERR hash value is not an integer"),
        ("ZADD zset 7 d x e", "-ERR value is not a valid float"),
        ("ZADD zset NX XX 1 d", "-ERR XX and NX options at the same time are not compatible"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("LPUSH string x", crate::support::WRONGTYPE),
        ("SUNIONSTORE new set string", crate::support::WRONGTYPE),
        ("SETRANGE string -1 x", "-ERR offset is out of range"),
        ("INCR n", "4"),
        ("GET n", "\"4\""),
    ];
    for (line, _) in lines {
        c.queue(&line.split(' ').collect::<Vec<_>>());
    }
    c.flush().unwrap();
    for (line, expected) in lines {
        assert_eq!(show(&c.receive().unwrap()), expected, "{line}");
    }
    check(
        &mut c,
        &[("EXISTS new a b d", "0"), ("ZCARD zset", "3"), ("LLEN list", "3"), ("DBSIZE", "6")],
    );
    assert_eq!(info(&mut c, "stats", "total_error_replies"), 10);
}

/// Members that a protocol of lines would lose, split, or take for something else.
const AWKWARD: [&str; 9] = [
    r#""a\nb""#,
    r#""""#,
    r#""\x00""#,
    r#""\r\n""#,
    r#""-ERR no""#,
    r#""$-1""#,
    r#""\xff\xfe\x00""#,
    r#""*0\r\n""#,
    r#""\n""#,
];

#[test]
fn replies_carry_any_bytes() {
    let mut both = Both::start();
    let all = AWKWARD.join(" ");
    let expected: BTreeSet<String> =
        AWKWARD.iter().map(|word| ask(&mut both.redis, &format!("ECHO {word}"))).collect();
    let n = AWKWARD.len();
    let set_of = |values: Vec<Value>| values.iter().map(show).collect::<BTreeSet<_>>();
    let c = &mut both.neokv;
    for take in [
        format!("SPOP k {n}"),
        "SMEMBERS k".into(),
        format!("SRANDMEMBER k {n}"),
        "SUNION k nope".into(),
    ] {
        send(c, "DEL k");
        assert_eq!(ask(c, &format!("SADD k {all}")), n.to_string());
        assert_eq!(set_of(array(c, &take)), expected, "{take}");
    }
    send(c, "DEL k");
    send(c, &format!("SADD k {all}"));
    let singly: BTreeSet<String> = (0..n).map(|_| ask(c, "SPOP k")).collect();
    assert_eq!(singly, expected);
    check(c, &[("EXISTS k", "0"), ("SPOP k", "nil")]);

    let in_order = format!("[{}]", AWKWARD.map(|word| ask(c, &format!("ECHO {word}"))).join(" "));
    for take in [format!("LPOP l {n}"), "LRANGE l 0 -1".into(), format!("LMPOP 1 l LEFT COUNT {n}")]
    {
        both.ask("DEL l");
        both.ask(&format!("RPUSH l {all}"));
        let reply = both.ask(&take);
        assert!(reply.contains(&in_order), "{take}: {reply}");
    }
    both.ask("DEL l");
    both.ask(&format!("RPUSH l {all}"));
    AWKWARD.iter().for_each(|word| {
        assert_eq!(both.ask("LPOP l"), ask(&mut both.redis, &format!("ECHO {word}")))
    });

    let scored: String =
        AWKWARD.iter().enumerate().map(|(score, word)| format!(" {score} {word}")).collect();
    for take in
        [format!("ZPOPMIN z {n}"), format!("ZPOPMAX z {n}"), "ZRANGE z 0 -1 WITHSCORES".into()]
    {
        both.ask("DEL z");
        both.ask(&format!("ZADD z{scored}"));
        both.ask(&take);
    }
    let fields: String = AWKWARD.iter().map(|word| format!(" {word} {word}")).collect();
    both.ask(&format!("HSET h{fields}"));
    for word in AWKWARD {
        both.ask(&format!("HGET h {word}"));
        both.ask(&format!("SET {word} {word}"));
        both.ask(&format!("MGET {word} nope {word}"));
        both.ask(&format!("HINCRBY h {word} 1"));
    }
    assert_eq!(array(&mut both.neokv, "HGETALL h").len(), 2 * n);
    both.ask("DBSIZE");
}
