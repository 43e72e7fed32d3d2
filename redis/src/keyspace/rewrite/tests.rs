//! Which commands write the survivors again, what they leave behind, and when they do not.

use std::collections::BTreeMap;

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::metadata::Metadata;
use neokv_encoding::region::Applied;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Durability, KeyRange};

use super::*;
use crate::keyspace::TxSource;
use crate::testing::{Bench, START_MS, show, words};

/// How many elements there are before most are deleted.
const ALL: usize = 4000;

fn name(number: usize) -> String {
    format!("m{number:05}")
}

/// Names from one number to before another, with blanks in between.
fn names(numbers: std::ops::Range<usize>) -> String {
    numbers.map(name).collect::<Vec<_>>().join(" ")
}

/// Stores a key `k` of this type with [`ALL`] elements.
fn fill(bench: &mut Bench, kind: &str) {
    let each = |text: fn(usize) -> String| (0..ALL).map(text).collect::<Vec<_>>().join(" ");
    let line = match kind {
        "hash" => format!("HSET k {}", each(|n| format!("{} v{n}", name(n)))),
        "set" => format!("SADD k {}", each(name)),
        "zset" => format!("ZADD k {}", each(|n| format!("{n} {}", name(n)))),
        // In another order by score than by name.
        "mixed" => format!("ZADD k {}", each(|n| format!("{} {}", n * 7 % ALL, name(n)))),
        "flat" => format!("ZADD k {}", each(|n| format!("7 {}", name(n)))),
        _ => format!("RPUSH k {}", each(|n| if n % 10 == 0 { name(n) } else { "x".to_owned() })),
    };
    assert_eq!(bench.run(&line), ALL.to_string());
}

/// The header of `k`.
fn header(bench: &Bench) -> metadata::Collection {
    match bench.view().lookup(&Bytes::from_static(b"k")).unwrap() {
        Some(Metadata::Collection(header)) => header,
        other => panic!("{other:?}"),
    }
}

/// Rows of `k` with this version: what follows the version, and the value.
fn rows(bench: &Bench, family: Family, version: u64) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let prefix = bench.view().user_key(&Bytes::from_static(b"k")).subkey_prefix(version);
    let rows = bench.rows(family).into_iter();
    rows.filter_map(|(row, value)| Some((row.strip_prefix(&prefix[..])?.to_vec(), value))).collect()
}

/// All of `k`, as reads show it.
fn content(bench: &mut Bench, kind: &str) -> String {
    bench.run(match kind {
        "hash" => "HGETALL k",
        "set" => "SMEMBERS k",
        "list" => "LRANGE k 0 -1",
        _ => "ZRANGE k 0 -1 WITHSCORES",
    })
}

/// Type, command, and how many elements it leaves.
fn rewriting() -> Vec<(&'static str, String, u64)> {
    vec![
        ("hash", format!("HDEL k {} {} none", names(100..ALL), names(100..200)), 100),
        ("set", format!("SREM k {} none", names(0..3900)), 100),
        ("set", "SPOP k 3900".to_owned(), 100),
        ("set", format!("SREM k {}", names(0..1500)), 2500),
        ("zset", format!("ZREM k {} none", names(10..3990)), 20),
        ("zset", "ZREMRANGEBYRANK k 0 -101".to_owned(), 100),
        ("zset", "ZREMRANGEBYRANK k 100 -1".to_owned(), 100),
        ("zset", "ZREMRANGEBYRANK k 30 -71".to_owned(), 100),
        ("zset", "ZREMRANGEBYSCORE k (9 3989".to_owned(), 20),
        ("zset", format!("ZREMRANGEBYLEX k ({} [{}", name(9), name(3989)), 20),
        ("mixed", format!("ZREMRANGEBYLEX k ({} [{}", name(9), name(3989)), 20),
        ("flat", format!("ZREMRANGEBYLEX k ({} [{}", name(9), name(3989)), 20),
        ("zset", "ZPOPMIN k 3950".to_owned(), 50),
        ("zset", "ZPOPMAX k 3950".to_owned(), 50),
        ("list", "LTRIM k 1000 1099".to_owned(), 100),
        ("list", "LTRIM k -100 -1".to_owned(), 100),
        ("list", "LPOP k 3900".to_owned(), 100),
        ("list", "RPOP k 3900".to_owned(), 100),
        ("list", "LREM k 0 x".to_owned(), 400),
        ("list", "LREM k -3000 x".to_owned(), 1000),
    ]
}

#[test]
fn the_survivors_stand_under_the_version_of_the_command_and_nothing_is_deleted() {
    for (kind, line, left) in rewriting() {
        let mut bench = Bench::new();
        fill(&mut bench, kind);
        assert_eq!(bench.run("PEXPIRE k 100000"), "1");
        let (before, all) = (header(&bench), content(&mut bench, kind));
        bench.run(&line);
        let after = header(&bench);
        assert_eq!(after.version, bench.clock - 1, "{kind}: the version of {line:.40}");
        assert_eq!((after.size, after.expire_ms), (left, before.expire_ms), "{line:.40}");
        // Not one of the old rows has been touched.
        assert_eq!(rows(&bench, Family::Subkey, before.version).len(), ALL);
        let new = rows(&bench, Family::Subkey, after.version);
        assert_eq!(new.len() as u64, left);
        let (old_scores, new_scores) = (
            rows(&bench, Family::ZsetScore, before.version),
            rows(&bench, Family::ZsetScore, after.version),
        );
        if after.kind == DataType::Zset {
            // Both families have the same members with the same scores.
            assert_eq!(old_scores.len(), ALL);
            let scores: BTreeMap<Vec<u8>, f64> = new_scores
                .keys()
                .map(|row| (row[8..].to_vec(), double::decode_key(row[..8].try_into().unwrap())))
                .collect();
            let values = |(member, value): (Vec<u8>, Vec<u8>)| {
                (member, double::decode_value(&value).unwrap())
            };
            assert_eq!(scores, new.into_iter().map(values).collect());
        } else {
            assert!(old_scores.is_empty() && new_scores.is_empty());
        }
        // What is left is a part of what there was.
        let now = content(&mut bench, kind);
        let (all, now) = (all.split(", ").collect::<Vec<_>>(), now.split(", ").collect::<Vec<_>>());
        let inner = |item: &str| item.trim_matches(['[', ']', '{', '}', '<', '>']).to_owned();
        let mut rest = all.iter().map(|item| inner(item));
        assert_eq!(now.len() as u64, left, "{line:.40}");
        assert!(now.iter().all(|item| rest.any(|other| other == inner(item))), "{line:.40}");
    }
}

/// The content is that of a key that loses its elements in portions that are deleted one by one.
#[test]
fn replies_and_contents_are_those_of_many_small_commands() {
    for (kind, remove) in [("hash", "HDEL"), ("set", "SREM"), ("zset", "ZREM")] {
        let (mut one, mut other) = (Bench::new(), Bench::new());
        fill(&mut one, kind);
        fill(&mut other, kind);
        let line = format!("{remove} k {}", names(50..ALL));
        assert_eq!(one.run(&line), (ALL - 50).to_string());
        for start in (50..ALL).step_by(50) {
            assert_eq!(other.run(&format!("{remove} k {}", names(start..start + 50))), "50");
        }
        assert_eq!(content(&mut one, kind), content(&mut other, kind));
        assert_ne!(header(&one).version, header(&other).version);
    }
    for (line, first, last) in
        [("LTRIM k 1234 1240", 1234, 1240), ("LPOP k 3990", 3990, ALL - 1), ("RPOP k 3990", 0, 9)]
    {
        let mut bench = Bench::new();
        fill(&mut bench, "list");
        let expected = bench.run(&format!("LRANGE k {first} {last}"));
        bench.run(line);
        assert_eq!(content(&mut bench, "list"), expected, "{line}");
        // The positions are usable at both ends.
        bench.check(&[("RPUSH k z", &(last - first + 2).to_string()), ("LINDEX k -1", "\"z\"")]);
        bench.check(&[("LPUSH k a", &(last - first + 3).to_string()), ("LINDEX k 0", "\"a\"")]);
    }
}

#[test]
fn few_deleted_rows_are_deleted_one_by_one() {
    for (kind, line, left) in [
        ("hash", format!("HDEL k {}", names(0..1023)), 2977),
        ("set", format!("SREM k {}", names(0..1023)), 2977),
        ("set", format!("SREM k {}", names(0..1333)), 2667),
        ("set", format!("SREM k {} {}", names(0..1000), names(0..1000)), 3000),
        ("zset", format!("ZREM k {}", names(0..1333)), 2667),
        ("zset", "ZREMRANGEBYRANK k 0 1332".to_owned(), 2667),
        ("zset", "ZPOPMIN k 1333".to_owned(), 2667),
        ("list", "LTRIM k 0 2000".to_owned(), 2001),
        ("list", "LPOP k 1999".to_owned(), 2001),
        ("list", "LREM k 1999 x".to_owned(), 2001),
    ] {
        let mut bench = Bench::new();
        fill(&mut bench, kind);
        let before = header(&bench);
        bench.run(&line);
        assert_eq!(header(&bench).version, before.version, "{line:.40}");
        assert_eq!(header(&bench).size, left, "{line:.40}");
        assert_eq!(rows(&bench, Family::Subkey, before.version).len() as u64, left, "{line:.40}");
    }
}

#[test]
fn what_would_be_much_to_write_is_left_where_it_is() {
    let mut bench = Bench::new();
    fill(&mut bench, "hash");
    let long = "v".repeat(64 << 10);
    for number in 0..20 {
        bench.run(&format!("HSET k long{number} {long}"));
    }
    let before = header(&bench);
    // 20 values of 64 KiB weigh more than twice some 4000 deletes.
    assert_eq!(bench.run(&format!("HDEL k {}", names(0..ALL))), ALL.to_string());
    let after = header(&bench);
    assert_eq!((after.version, after.size), (before.version, 20));
    assert_eq!(rows(&bench, Family::Subkey, before.version).len(), 20);
}

#[test]
fn a_command_that_deletes_everything_deletes_the_header_alone() {
    for (kind, line) in [
        ("hash", format!("HDEL k {}", names(0..ALL))),
        ("set", format!("SREM k {}", names(0..ALL))),
        ("zset", format!("ZREM k {}", names(0..ALL))),
        ("zset", "ZREMRANGEBYRANK k 0 -1".to_owned()),
        ("zset", "ZREMRANGEBYSCORE k -inf +inf".to_owned()),
        ("list", "LTRIM k 1 0".to_owned()),
    ] {
        let mut bench = Bench::new();
        fill(&mut bench, kind);
        let before = header(&bench);
        bench.run(&line);
        assert_eq!(bench.run("EXISTS k"), "0", "{line:.40}");
        assert_eq!(rows(&bench, Family::Subkey, before.version).len(), ALL, "{line:.40}");
    }
}

/// Runs a transaction that may write so many bytes, and writes its batch.
fn transact<T>(bench: &mut Bench, max_bytes: u64, work: impl FnOnce(&mut Tx<'_>) -> T) -> T {
    let mut batch = bench.engine.batch();
    batch.start_meter();
    bench.clock += 1;
    let mut tx = Tx::new(TxSource {
        batch: &mut batch,
        now_ms: START_MS,
        version: bench.clock,
        seed: 1,
        namespace: 0,
        slots: SlotRange::ALL,
        max_bytes,
    });
    let done = work(&mut tx);
    drop(tx);
    bench.engine.write(batch, Durability::Buffered).unwrap();
    done
}

/// A command that may write no more than its deletes can do so, though to write the others again
/// would be too much.
#[test]
fn no_command_fails_that_could_have_deleted_its_rows() {
    let mut bench = Bench::new();
    fill(&mut bench, "hash");
    let gone: Vec<Bytes> = words(&names(0..2000));
    let row = header(&bench);
    let prefix = bench.view().user_key(&Bytes::from_static(b"k")).subkey_prefix(row.version).len();
    let deletes = 2000 * (prefix as u64 + 128 + 6);
    let remove = |tx: &mut Tx<'_>| {
        let mut hash = tx.existing(&Bytes::from_static(b"k"), DataType::Hash).unwrap().unwrap();
        let removed = tx.remove_most(&mut hash, &gone).unwrap();
        if removed.is_none() {
            for field in &gone {
                tx.delete_subkey(&hash, field).unwrap();
                hash.shrink().unwrap();
            }
        }
        tx.save(hash).unwrap();
        removed
    };
    assert_eq!(transact(&mut bench, deletes + 512, remove), None);
    assert_eq!(header(&bench).size, 2000);
    bench.run("DEL k");
    fill(&mut bench, "hash");
    assert_eq!(transact(&mut bench, u64::MAX, remove), Some(2000));
    assert_eq!(header(&bench).size, 2000);
}

#[test]
fn a_collection_that_the_command_has_just_created_keeps_its_version() {
    let mut bench = Bench::new();
    transact(&mut bench, u64::MAX, |tx| {
        let key = Bytes::from_static(b"k");
        let mut set = tx.open_fresh(&key, DataType::Set).unwrap();
        for number in 0..ALL {
            tx.put_subkey(&set, name(number).as_bytes(), b"").unwrap();
            set.grow().unwrap();
        }
        tx.save(set).unwrap();
        let mut set = tx.existing(&key, DataType::Set).unwrap().unwrap();
        assert!(tx.survivors(&set, 3900).is_none());
        assert_eq!(tx.remove_most(&mut set, &words(&names(0..3900))).unwrap(), None);
    });
}

#[test]
fn compaction_drops_the_old_rows() {
    let mut bench = Bench::new();
    fill(&mut bench, "zset");
    let before = header(&bench);
    bench.run("ZREMRANGEBYRANK k 0 -101");
    bench.put(
        Family::Region,
        &key::region(bench.descriptor.id, RegionKind::Descriptor),
        bench.descriptor.encode(),
    );
    let applied = Applied { clock: bench.clock, ..Applied::default() };
    bench.put(
        Family::Region,
        &key::region(bench.descriptor.id, RegionKind::Applied),
        applied.encode(),
    );
    bench.engine.flush().unwrap();
    for family in [Family::Subkey, Family::ZsetScore] {
        bench.engine.compact(family, &KeyRange::all()).unwrap();
        assert!(rows(&bench, family, before.version).is_empty(), "{family:?}");
        assert_eq!(rows(&bench, family, header(&bench).version).len(), 100, "{family:?}");
    }
    assert_eq!(bench.run("ZCARD k"), "100");
    let last = show(&bench.call(words("ZRANGE k -1 -1")));
    assert_eq!(last, format!("[\"{}\"]", name(ALL - 1)));
}
