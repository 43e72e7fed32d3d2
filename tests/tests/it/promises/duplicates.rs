//! Repetitions inside one command: each counts as if the ones before it had happened, and sizes
//! stay right.

use crate::support::{Both, array, ask, number};

#[test]
fn repeated_keys_count_once() {
    let mut both = Both::start();
    both.check(&[
        ("SET k v", "OK"),
        ("DEL k k", "1"),
        ("DBSIZE", "0"),
        ("SET k v", "OK"),
        ("UNLINK k k k", "1"),
        ("DBSIZE", "0"),
        ("MSET k 1 k 2 j 3 k 4", "OK"),
        ("DBSIZE", "2"),
        ("MGET k k j", "[\"4\" \"4\" \"3\"]"),
        ("EXISTS k k nope k", "3"),
        ("TOUCH k k nope", "2"),
        ("MSETNX n 1 n 2", "1"),
        ("GET n", "\"2\""),
        ("DBSIZE", "3"),
        ("HSET h f v", "1"),
        ("DEL k h k j h n", "4"),
        ("DBSIZE", "0"),
    ]);
}

#[test]
fn repeated_fields_members_and_elements_count_right() {
    let mut both = Both::start();
    both.check(&[
        ("HSET h f a f b", "1"),
        ("HLEN h", "1"),
        ("HGET h f", "\"b\""),
        ("HMSET h f c g d g e", "OK"),
        ("HGETALL h", "[\"f\" \"c\" \"g\" \"e\"]"),
        ("HMGET h f f nope", "[\"c\" \"c\" nil]"),
        ("HDEL h f f nope f", "1"),
        ("HLEN h", "1"),
        ("HDEL h g g", "1"),
        ("EXISTS h", "0"),
        ("DBSIZE", "0"),
        ("SADD s m m n m", "2"),
        ("SCARD s", "2"),
        ("SMISMEMBER s m m x", "[1 1 0]"),
        ("SREM s m m x m", "1"),
        ("SCARD s", "1"),
        ("SREM s n n", "1"),
        ("DBSIZE", "0"),
        ("RPUSH l a a a", "3"),
        ("LREM l 0 a", "3"),
        ("DBSIZE", "0"),
    ]);
}

#[test]
fn repeated_sorted_set_members_leave_one_score() {
    let mut both = Both::start();
    both.check(&[
        ("ZADD z 1 m 2 m 3 m", "1"),
        ("ZCARD z", "1"),
        ("ZRANGE z 0 -1 WITHSCORES", "[\"m\" \"3\"]"),
        ("ZCOUNT z -inf +inf", "1"),
        ("ZRANGEBYSCORE z 1 2", "[]"),
        ("ZADD z CH 4 m 4 m 5 m 3 m", "3"),
        ("ZADD z NX 9 m 8 n 7 n", "1"),
        ("ZRANGE z 0 -1 WITHSCORES", "[\"m\" \"3\" \"n\" \"8\"]"),
        ("ZADD z XX GT CH 10 m 9 m 11 m 1 o", "2"),
        ("ZADD z LT CH 1 m 2 m 0 m", "2"),
        ("ZRANGE z 0 -1 WITHSCORES", "[\"m\" \"0\" \"n\" \"8\"]"),
        ("ZMSCORE z m m x", "[\"0\" \"0\" nil]"),
        ("ZADD z -0 m 0 m", "0"),
        ("ZCOUNT z 0 0", "1"),
        ("ZREM z m m x m", "1"),
        ("ZCARD z", "1"),
        ("ZRANGE z -inf +inf BYSCORE", "[\"n\"]"),
        ("ZREM z n n", "1"),
        ("EXISTS z", "0"),
        ("ZADD z 1 a", "1"),
        ("ZRANGE z 0 -1 WITHSCORES", "[\"a\" \"1\"]"),
    ]);
}

#[test]
fn commands_on_one_key_twice_work_on_it_once() {
    let mut both = Both::start();
    both.check(&[
        ("SADD s a b c", "3"),
        ("SMOVE s s a", "1"),
        ("SCARD s", "3"),
        ("SINTERCARD 3 s s s", "3"),
        ("SUNIONSTORE s s s", "3"),
        ("SCARD s", "3"),
        ("SDIFFSTORE s s s", "0"),
        ("EXISTS s", "0"),
        ("RPUSH l 1 2 3", "3"),
        ("LMOVE l l LEFT RIGHT", "\"1\""),
        ("RPOPLPUSH l l", "\"1\""),
        ("LRANGE l 0 -1", "[\"1\" \"2\" \"3\"]"),
        ("LMPOP 2 l l LEFT COUNT 9", "[\"l\" [\"1\" \"2\" \"3\"]]"),
        ("DBSIZE", "0"),
        ("RPUSH l x", "1"),
        ("LMOVE l l LEFT LEFT", "\"x\""),
        ("LLEN l", "1"),
        ("DBSIZE", "1"),
    ]);
}

/// Many changes of few members, with repetitions: the index by score, the scores and the size must
/// agree.
#[test]
fn the_score_index_follows_a_thousand_changes() {
    let mut both = Both::start();
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..1000 {
        let mut pairs = String::new();
        for _ in 0..random.usize(1..8) {
            pairs.push_str(&format!(" {} m{}", random.i32(-3..4), random.u8(0..6)));
        }
        let line = match random.u8(0..8) {
            0 => format!("ZREM z m{0} m{1} m{0}", random.u8(0..6), random.u8(0..6)),
            1 => format!("ZINCRBY z {} m{}", random.i32(-2..3), random.u8(0..6)),
            2 => format!("ZADD z GT CH{pairs}"),
            3 => format!("ZADD z NX{pairs}"),
            4 => format!("ZPOPMIN z {}", random.u8(0..3)),
            _ => format!("ZADD z CH{pairs}"),
        };
        both.ask(&line);
        let by_rank = both.ask("ZRANGE z 0 -1 WITHSCORES");
        assert_eq!(ask(&mut both.neokv, "ZRANGEBYSCORE z -inf +inf WITHSCORES"), by_rank, "{line}");
        let rows = array(&mut both.neokv, "ZRANGE z 0 -1").len();
        assert_eq!(number(&mut both.neokv, "ZCARD z"), i64::try_from(rows).unwrap(), "{line}");
        assert_eq!(
            number(&mut both.neokv, "ZCOUNT z -inf +inf"),
            i64::try_from(rows).unwrap(),
            "{line}"
        );
    }
}
