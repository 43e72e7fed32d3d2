//! The differential test, with as many commands as a suite has time for; `make oracle` sends
//! millions.

use neokv_resp::client::Value;
use neokv_tests::oracle::compare::sorted;
use neokv_tests::oracle::{Protocol, Run};
use neokv_tests::process::Server;

fn agree(seed: u64, protocol: Protocol, commands: u64) {
    compare(seed, protocol, commands, |run| run);
}

fn compare(seed: u64, protocol: Protocol, commands: u64, how: fn(Run) -> Run) {
    let neokv = Server::neokv(&["--sync", "no"]).unwrap();
    let redis = Server::redis(&[]).unwrap();
    let mut run = how(Run::new(&neokv, &redis, seed, protocol).unwrap());
    if let Err(difference) = run.commands(commands) {
        panic!("{difference}");
    }
}

#[test]
fn replies_agree_in_resp2() {
    agree(20_261, Protocol::Resp2, 30_000);
}

#[test]
fn replies_agree_in_resp3() {
    agree(20_262, Protocol::Resp3, 30_000);
}

#[test]
fn replies_agree_behind_replies_that_wait() {
    compare(20_263, Protocol::Resp2, 1_500, Run::crowded);
    compare(20_264, Protocol::Resp3, 500, Run::crowded);
}

/// Collections of 3000 elements, of which one command deletes most: how to fill one, what deletes,
/// and how to read the rest. Each number stands for an element.
const DELETIONS: &[(&str, &[&str], &str)] = &[
    ("HSET k m# v#", &["HDEL k 100-2999 5-9 none", "HSET k m5 w"], "HGETALL k"),
    ("SADD k m#", &["SREM k 0-1999 none", "SREM k 2000-2998"], "SMEMBERS k"),
    ("ZADD k # m#", &["ZREM k 30-2900", "ZADD k 1 m31"], "ZRANGE k 0 -1 WITHSCORES"),
    ("ZADD k # m#", &["ZREMRANGEBYRANK k 50 -20", "ZREMRANGEBYRANK k 0 0"], "ZRANGE k 0 -1"),
    ("ZADD k # m#", &["ZREMRANGEBYSCORE k (10 2950", "ZPOPMAX k 3"], "ZREVRANGE k 0 -1"),
    ("ZADD k 1 m#", &["ZREMRANGEBYLEX k [m1 [m29", "ZADD k 1 m15"], "ZRANGEBYLEX k - +"),
    ("ZADD k # m#", &["ZPOPMIN k 2900", "ZINCRBY k 9 m2950"], "ZRANGE k 0 -1 WITHSCORES"),
    ("ZADD k # m#", &["ZPOPMAX k 2000", "ZPOPMAX k 900"], "ZRANGEBYSCORE k -inf +inf"),
    ("RPUSH k m#", &["LTRIM k 1500 1600", "LPUSH k a", "RPUSH k z"], "LRANGE k 0 -1"),
    ("RPUSH k m#", &["LPOP k 2900", "LINSERT k BEFORE m2950 x", "LPUSH k a"], "LRANGE k 0 -1"),
    ("RPUSH k m#", &["RPOP k 2900", "LSET k 7 x", "RPUSH k z"], "LRANGE k 0 -1"),
    ("RPUSH k x x m#", &["LREM k 0 x", "LREM k -1 m7", "LPUSH k a"], "LRANGE k 0 -1"),
];

/// A word of a line for each number of `0-2999`, or the word itself.
fn expand(word: &str) -> Vec<String> {
    let range = word
        .split_once('-')
        .and_then(|(first, last)| Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?));
    range.map_or_else(|| vec![word.to_owned()], |range| range.map(|n| format!("m{n}")).collect())
}

#[test]
fn replies_agree_when_most_of_a_collection_is_deleted_at_once() {
    let (neokv, redis) = (Server::neokv(&["--sync", "no"]).unwrap(), Server::redis(&[]).unwrap());
    let (mut ours, mut theirs) = (neokv.connect().unwrap(), redis.connect().unwrap());
    let mut agree = |words: &[String]| {
        let (ours, theirs): (Value, Value) =
            (ours.call(words).unwrap(), theirs.call(words).unwrap());
        let (ours, theirs) = match words[0].as_str() {
            "HGETALL" | "SMEMBERS" => (sorted(&ours), sorted(&theirs)),
            _ => (ours, theirs),
        };
        assert_eq!(
            format!("{ours:?}"),
            format!("{theirs:?}"),
            "{:?}",
            &words[..words.len().min(5)]
        );
    };
    for (fill, deletions, read) in DELETIONS {
        let words: Vec<&str> = fill.split(' ').collect();
        let mut line: Vec<String> = words[..2].iter().map(ToString::to_string).collect();
        for number in 0..3000 {
            line.extend(words[2..].iter().map(|word| word.replace('#', &number.to_string())));
        }
        agree(&["DEL".to_owned(), "k".to_owned()]);
        agree(&line);
        agree(&["PEXPIREAT".to_owned(), "k".to_owned(), "99999999999999".to_owned()]);
        for deletion in *deletions {
            agree(&deletion.split(' ').flat_map(expand).collect::<Vec<_>>());
            agree(&read.split(' ').map(str::to_owned).collect::<Vec<_>>());
            agree(&["PEXPIRETIME".to_owned(), "k".to_owned()]);
        }
    }
}
