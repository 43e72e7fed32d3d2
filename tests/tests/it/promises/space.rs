//! Big keys: cheap to remove, cheap to read a little of, and their space comes back.

use std::path::Path;

use neokv_encoding::family::Family;
use neokv_engine::{Engine, KeyRange, Options};
use neokv_tests::client::Connection;
use neokv_tests::process::Server;

use crate::support::{array, ask, check, files, info, neokv, noise, number, send, until};

/// Elements of a big key.
const BIG: usize = 200_000;
/// Elements that one command of a test adds.
const STEP: usize = 1000;

/// A member or an element, long enough that all of them fill many blocks.
fn member(n: usize) -> String {
    format!("member:{n:07}:{}", "x".repeat(50))
}

/// Fills a key of each collection type with [`BIG`] elements.
fn fill(c: &mut Connection, kinds: &[&str]) {
    for kind in kinds {
        let mut waiting = 0;
        for start in (0..BIG).step_by(STEP) {
            let mut command: Vec<String> = match *kind {
                "hash" => vec!["HSET".into()],
                "set" => vec!["SADD".into()],
                "zset" => vec!["ZADD".into()],
                _ => vec!["RPUSH".into()],
            };
            command.push((*kind).into());
            for n in start..start + STEP {
                match *kind {
                    "hash" => command.extend([format!("field:{n:07}"), format!("value:{n}")]),
                    "zset" => command.extend([n.to_string(), member(n)]),
                    _ => command.push(member(n)),
                }
            }
            c.queue(&command);
            waiting += 1;
        }
        c.flush().unwrap();
        (0..waiting).for_each(|_| assert!(!c.receive().unwrap().is_error()));
    }
}

/// Bytes that a command writes to the log and everything behind it.
fn written(c: &mut Connection, line: &str, reply: &str) -> u64 {
    let before = info(c, "persistence", "wal_bytes_written");
    check(c, &[(line, reply)]);
    info(c, "persistence", "wal_bytes_written") - before
}

#[test]
fn removing_a_big_key_writes_a_few_bytes() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    fill(&mut c, &["hash", "set", "zset", "list"]);
    for (key, line, reply) in [
        ("hash", "DEL hash", "1"),
        ("set", "SET set small", "OK"),
        ("zset", "PEXPIREAT zset 1", "1"),
        ("list", "UNLINK list", "1"),
    ] {
        let bytes = written(&mut c, line, reply);
        assert!(bytes < 2048, "{line}: {bytes} bytes");
        let left = if key == "set" { "string" } else { "none" };
        assert_eq!(ask(&mut c, &format!("TYPE {key}")), left);
    }
    check(&mut c, &[("DBSIZE", "1"), ("HLEN hash", "0"), ("LLEN list", "0")]);
    // The test can fail: one field of ten kilobytes is counted with at least as many bytes.
    let field = "x".repeat(10_000);
    assert!(written(&mut c, &format!("HSET hash f {field}"), "1") > 10_000);
}

#[test]
fn an_expiry_on_a_big_key_writes_a_few_bytes_and_so_does_its_end() {
    let server = neokv(&["--expire-interval", "10ms"]);
    let mut c = server.connect().unwrap();
    fill(&mut c, &["hash"]);
    let before = info(&mut c, "persistence", "wal_bytes_written");
    check(&mut c, &[("EXPIRE hash 1000", "1"), ("PERSIST hash", "1"), ("PEXPIRE hash 1", "1")]);
    until("the removal of the key", || number(&mut c, "DBSIZE") == 0);
    let bytes = info(&mut c, "persistence", "wal_bytes_written") - before;
    assert!(bytes < 4096, "{bytes} bytes");
}

/// Blocks of files that a command looks at, cached or not.
fn blocks(c: &mut Connection, line: &str) -> u64 {
    let touched = |c: &mut Connection| {
        info(c, "rocksdb", "rocksdb_block_cache_hits")
            + info(c, "rocksdb", "rocksdb_block_cache_misses")
    };
    let before = touched(c);
    let reply = send(c, line);
    assert!(!reply.is_error(), "{line}: {reply:?}");
    touched(c) - before
}

#[test]
fn a_little_of_a_big_key_costs_a_little() {
    let mut server = neokv(&[]);
    fill(&mut server.connect().unwrap(), &["hash", "set", "zset", "list"]);
    // A stop writes everything to files, where reads can be counted.
    assert!(server.terminate().unwrap().success());
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    // For comparison: a read of all of a key.
    for line in ["HGETALL hash", "SMEMBERS set", "ZRANGE zset 0 -1", "LRANGE list 0 -1"] {
        let all = blocks(&mut c, line);
        assert!(all > 600, "{line}: {all} blocks");
    }
    // A random choice walks until it meets an element whose chance is fair, so its cost varies: the
    // least of five tells.
    for (line, most) in [
        ("SPOP set", 150),
        ("SPOP set 2", 400),
        ("SRANDMEMBER set", 150),
        ("SRANDMEMBER set -2", 400),
        ("HRANDFIELD hash", 150),
        ("HRANDFIELD hash 2 WITHVALUES", 400),
    ] {
        let some = (0..5).map(|_| blocks(&mut c, line)).min().unwrap();
        assert!(some <= most, "{line}: {some} blocks");
    }
    for line in [
        "SISMEMBER set ONE",
        "SCARD set",
        "SSCAN set 0 COUNT 10",
        "SMOVE set elsewhere OTHER",
        "HGET hash field:0100000",
        "HDEL hash field:0100001",
        "HSCAN hash 0 COUNT 10",
        "HLEN hash",
        "LPOP list",
        "RPOP list 5",
        "LINDEX list 100000",
        "LINDEX list -5",
        "LRANGE list 100000 100009",
        "LSET list 100000 x",
        "LPUSH list x",
        "LMOVE list elsewhere:too LEFT RIGHT",
        "ZPOPMIN zset",
        "ZPOPMAX zset 5",
        "ZRANGE zset 0 9",
        "ZREVRANGE zset 0 9",
        "ZRANGEBYSCORE zset 100000 100009",
        "ZRANGEBYSCORE zset -inf +inf LIMIT 0 5",
        "ZREVRANGEBYSCORE zset 100009 100000",
        "ZSCORE zset ONE",
        "ZINCRBY zset 1 ONE",
        "ZREM zset OTHER",
        "ZSCAN zset 0 COUNT 10",
        "TYPE hash",
        "EXPIRE hash 1000",
        "DEL hash",
        "UNLINK list",
    ] {
        let line = line.replace("ONE", &member(100_000)).replace("OTHER", &member(100_001));
        let some = blocks(&mut c, &line);
        assert!(some <= 150, "{line}: {some} blocks");
    }
}

/// Bytes of all data files.
fn data_bytes(dir: &Path) -> u64 {
    files(dir, "sst").iter().map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
}

/// Adds fields of noise to a hash: what compression cannot make small.
fn add_noise(c: &mut Connection, key: &str, fields: usize, seed: u64) {
    for n in 0..fields {
        let (field, value) = (format!("field:{n}"), noise(seed + n as u64, 10_000));
        c.queue(&[b"HSET", key.as_bytes(), field.as_bytes(), &value]);
    }
    c.flush().unwrap();
    (0..fields).for_each(|_| assert!(!c.receive().unwrap().is_error()));
}

#[test]
fn the_space_of_a_deleted_key_comes_back_with_compaction() {
    let mut server = neokv(&["--raft-log-bytes", "1mb", "--raft-log-entries", "100"]);
    let mut c = server.connect().unwrap();
    add_noise(&mut c, "doomed", 2000, 1);
    add_noise(&mut c, "kept", 100, 10_000);
    check(&mut c, &[("DEL doomed", "1"), ("ZADD zset 1 a 2 b", "2"), ("SET overwritten x", "OK")]);
    let kept = array(&mut c, "HVALS kept");
    // The log holds the values too, until it is purged: by itself, soon after it has grown beyond
    // its limit.
    until("the purge of the log", || info(&mut c, "raft", "raft_log_bytes") < 2 << 20);
    assert!(server.terminate().unwrap().success());
    let engine = Engine::open(server.data(), &Options::default()).unwrap();
    for family in Family::ALL {
        engine.compact(family, &KeyRange::all()).unwrap();
    }
    for family in engine.stats().families {
        eprintln!("{family:?}");
    }
    drop(engine);
    let left = data_bytes(server.data());
    assert!(
        (1_000_000..8_000_000).contains(&left),
        "{left} bytes are left of 20 deleted and 1 kept megabytes"
    );
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    assert_eq!(array(&mut c, "HVALS kept"), kept);
    check(
        &mut c,
        &[("EXISTS doomed", "0"), ("ZRANGE zset 0 -1", "[\"a\" \"b\"]"), ("DBSIZE", "3")],
    );
}

/// The same key written and deleted again and again: without help from outside the disk must not
/// grow with the rounds.
#[test]
fn rewriting_a_key_again_and_again_does_not_fill_the_disk() {
    let small = [
        "--write-buffer",
        "4mb",
        "--wal-limit",
        "4mb",
        "--raft-log-bytes",
        "1mb",
        "--raft-log-entries",
        "200",
    ];
    let server: Server = neokv(&small);
    let mut c = server.connect().unwrap();
    for round in 0..20 {
        add_noise(&mut c, "churn", 500, round * 1000);
        add_noise(&mut c, "other", 20, round * 1000);
        check(&mut c, &[("DEL churn", "1")]);
    }
    // 100 MB were written and 0.2 MB live. What is left is what compactions have not yet reached.
    let mut nudge = 0;
    until("compaction of what was deleted", || {
        nudge += 1;
        add_noise(&mut c, "nudge", 20, nudge * 50);
        data_bytes(server.data()) < 40_000_000
    });
    assert!(info(&mut c, "rocksdb", "rocksdb_orphans_dropped") > 1000);
    check(&mut c, &[("HLEN other", "20"), ("EXISTS churn", "0")]);
}
