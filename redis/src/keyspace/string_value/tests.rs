//! Strings in chunks: their bytes, what commands make of them, and what commands touch.

use std::collections::BTreeMap;

use neokv_encoding::key::SubkeyRef;
use neokv_engine::{Read, ReadBudget};
use neokv_raftstore::SplitMix64;
use neokv_resp::Reply;

use super::*;
use crate::command::declare::Handler;
use crate::command::table;
use crate::keyspace::Latest;
use crate::testing::{Bench, show};

const CHUNK: usize = 8192;

/// Runs a command whose words are any bytes.
fn call(bench: &mut Bench, words: &[&[u8]]) -> Reply {
    bench.call(words.iter().map(|word| Bytes::copy_from_slice(word)).collect())
}

/// Stores bytes that differ from chunk to chunk, and returns them.
fn set_long(bench: &mut Bench, key: &str, len: usize) -> Vec<u8> {
    let value: Vec<u8> =
        (0..len).map(|at| u8::try_from((at / 3 + at / CHUNK) % 251).unwrap()).collect();
    assert_eq!(call(bench, &[b"SET", key.as_bytes(), &value]), Reply::Ok);
    value
}

fn get(bench: &mut Bench, key: &str) -> Vec<u8> {
    match call(bench, &[b"GET", key.as_bytes()]) {
        Reply::Bulk(value) => value.to_vec(),
        other => panic!("{}", show(&other)),
    }
}

/// The rows that differ, as keys.
fn changed(
    before: &BTreeMap<Vec<u8>, Vec<u8>>,
    after: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Vec<Vec<u8>> {
    let keys = before.keys().chain(after.keys().filter(|key| !before.contains_key(*key)));
    keys.filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

/// Rows of families `metadata` and `subkey` that the command changes: the numbers of its chunks.
fn touched(bench: &mut Bench, line: &str) -> (usize, Vec<u64>) {
    let (records, chunks) = (bench.rows(Family::Metadata), bench.rows(Family::Subkey));
    let reply = bench.run(line);
    assert!(!reply.starts_with("ERR"), "{line}: {reply}");
    let number = |row: &Vec<u8>| {
        u64::from_be_bytes(SubkeyRef::decode(row).unwrap().subkey.try_into().unwrap())
    };
    (
        changed(&records, &bench.rows(Family::Metadata)).len(),
        changed(&chunks, &bench.rows(Family::Subkey)).iter().map(number).collect(),
    )
}

/// Every string stands where its length says, and no chunk of it is longer than what it has there.
fn check_chunks(bench: &Bench) {
    let chunks = bench.rows(Family::Subkey);
    for (row, record) in bench.rows(Family::Metadata) {
        let user = UserKey::decode_metadata(&row).unwrap();
        match Metadata::decode(&record).unwrap() {
            Metadata::String { value, .. } => assert!(value.len() <= 16_384),
            Metadata::Collection(meta) => {
                assert!(meta.size > 16_384);
                let prefix = user.subkey_prefix(meta.version);
                for (key, value) in chunks.iter().filter(|(key, _)| key.starts_with(&prefix)) {
                    let number = chunk::decode(&key[prefix.len()..], value).unwrap();
                    let end = number * CHUNK_BYTES + length(value);
                    assert!(end <= meta.size, "chunk {number} ends behind the string");
                }
            }
        }
    }
}

#[test]
fn the_rows_of_a_string_in_chunks() {
    let mut bench = Bench::new();
    bench.check(&[("SETRANGE s 20000 hello", "20005"), ("PEXPIREAT s 1700000300000", "1")]);
    let user = UserKey::new(0, "s".into());
    let version = bench.clock - 2;
    let mut record = vec![0xc1];
    record.extend(1_700_000_300_000u64.to_be_bytes());
    record.extend(version.to_be_bytes());
    record.extend(20_005u64.to_be_bytes());
    assert_eq!(bench.rows(Family::Metadata), [(user.metadata(), record)].into());
    let mut chunk = vec![0; 20_000 - 2 * CHUNK];
    chunk.extend(b"hello");
    let key = user.subkey(version, &[0, 0, 0, 0, 0, 0, 0, 2]);
    assert_eq!(bench.rows(Family::Subkey), [(key, chunk)].into());
    // At the threshold a string is whole, one byte longer it is not.
    bench.run("DEL s");
    let value = set_long(&mut bench, "t", 16_384);
    assert_eq!(bench.rows(Family::Subkey).len(), 1, "the orphan");
    bench.run("APPEND t x");
    let user = UserKey::new(0, "t".into());
    let version = bench.clock - 1;
    let rows = bench.rows(Family::Subkey);
    let row = |number: u64| &rows[&user.subkey(version, &number.to_be_bytes())][..];
    assert_eq!([row(0), row(1), row(2)], [&value[..CHUNK], &value[CHUNK..], &b"x"[..]]);
}

/// A place at a border of chunks or near it.
fn pick(random: &mut SplitMix64) -> usize {
    let borders = [0, 8191, 8192, 8193, 16_383, 16_384, 16_385, 24_575, 24_576, 40_960, 70_000];
    let border = borders[usize::try_from(random.below(11)).unwrap()];
    (border + usize::try_from(random.below(5)).unwrap()).saturating_sub(2)
}

/// Few bytes mostly, and sometimes as many as fill chunks.
fn any_bytes(random: &mut SplitMix64) -> Vec<u8> {
    let len = match random.below(4) {
        0 => pick(random) / 2,
        1 => pick(random),
        _ => usize::try_from(random.below(20)).unwrap(),
    };
    (0..len).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
}

/// Any sequence of commands leaves what it would leave in a plain array of bytes.
#[test]
fn strings_are_what_a_plain_array_is() {
    let mut random = SplitMix64::new(21);
    let mut bench = Bench::new();
    let mut model: Option<Vec<u8>> = None;
    for step in 0..2000u64 {
        let bytes = any_bytes(&mut random);
        let old = model.clone().unwrap_or_default();
        match random.below(24) {
            0..=8 => {
                let at = pick(&mut random);
                let mut new = old;
                if !bytes.is_empty() {
                    overwrite(&mut new, at, &bytes);
                    model = Some(new.clone());
                }
                let reply =
                    call(&mut bench, &[b"SETRANGE", b"k", at.to_string().as_bytes(), &bytes]);
                assert_eq!(reply, Reply::count(length(&new)), "step {step}");
            }
            9..=14 => {
                let mut new = old;
                new.extend(&bytes);
                let reply = call(&mut bench, &[b"APPEND", b"k", &bytes]);
                assert_eq!(reply, Reply::count(length(&new)), "step {step}");
                model = Some(new);
            }
            15..=19 => {
                let (start, end) = (pick(&mut random), pick(&mut random));
                let (from, to) = (start.min(old.len()), (end + 1).min(old.len()));
                let expected = old.get(from..to).unwrap_or_default().to_vec();
                let range = [start.to_string(), end.to_string()];
                let reply = call(
                    &mut bench,
                    &[b"GETRANGE", b"k", range[0].as_bytes(), range[1].as_bytes()],
                );
                assert!(reply == Reply::Bulk(expected.into()), "step {step}: {start} {end}");
            }
            20 => {
                let reply = call(&mut bench, &[b"GETSET", b"k", &bytes]);
                assert!(reply == model.map_or(Reply::Nil, |old| Reply::Bulk(old.into())));
                model = Some(bytes);
            }
            21 => drop(call(&mut bench, &[b"GETEX", b"k", b"EX", b"1000"])),
            22 if random.below(4) == 0 => {
                let reply = call(&mut bench, &[b"GETDEL", b"k"]);
                assert!(reply == model.take().map_or(Reply::Nil, |old| Reply::Bulk(old.into())));
            }
            _ => {
                let reply = call(&mut bench, &[b"GET", b"k"]);
                assert!(reply == model.clone().map_or(Reply::Nil, |old| Reply::Bulk(old.into())));
            }
        }
        let length = Reply::count(model.as_ref().map_or(0, |value| length(value)));
        assert_eq!(call(&mut bench, &[b"STRLEN", b"k"]), length, "step {step}");
        // Long strings alone would let the short ones starve.
        if model.as_ref().is_some_and(|value| value.len() > 150_000) {
            bench.run("DEL k");
            model = None;
        }
        if step % 100 == 0 {
            check_chunks(&bench);
        }
    }
}

#[test]
fn a_command_touches_its_own_chunks_only() {
    let mut bench = Bench::new();
    let mut value = set_long(&mut bench, "k", 20 * CHUNK - 1);
    assert_eq!(touched(&mut bench, "SETRANGE k 50000 x"), (0, vec![6]));
    assert_eq!(touched(&mut bench, "SETRANGE k 16383 xy"), (0, vec![1, 2]));
    assert_eq!(touched(&mut bench, "APPEND k xy"), (1, vec![19, 20]));
    assert_eq!(touched(&mut bench, "SETRANGE k 536870911 x"), (1, vec![65_535]));
    assert_eq!(bench.run("STRLEN k"), "536870912");
    for line in ["EXPIRE k 100", "PERSIST k", "PEXPIRE k 5"] {
        assert_eq!(touched(&mut bench, line), (1, vec![]), "{line}");
    }
    value[50_000] = b'x';
    value[16_383..16_385].copy_from_slice(b"xy");
    value.extend(b"xy\0\0");
    let reply = call(&mut bench, &[b"GETRANGE", b"k", b"0", b"163842"]);
    assert!(reply == Reply::Bulk(value.into()));
    // It expires as any other, and another string under its name has none of its bytes.
    bench.advance(5);
    bench.check(&[("EXISTS k", "0"), ("STRLEN k", "0"), ("SETRANGE k 20000 x", "20001")]);
    assert_eq!(get(&mut bench, "k")[..20_000], vec![0; 20_000]);
    for line in ["DEL k", "SET k short"] {
        set_long(&mut bench, "k", 10 * CHUNK);
        assert_eq!(touched(&mut bench, line), (1, vec![]), "{line}");
    }
}

#[test]
fn a_reader_is_told_before_it_reads_much() {
    let mut bench = Bench::new();
    set_long(&mut bench, "k", 1 << 20);
    // Whether look-ups suffice, and what a budget makes of it.
    let run = |line: &str, read: &dyn Read| {
        let args = crate::testing::words(line);
        let Ok((_, command)) = table::find(&args) else { panic!("{line}") };
        let Handler::Read(handler, _) = command.handler else { panic!("{line} is no read") };
        drop(handler(&bench.view_over(read), &args));
    };
    for (line, look_ups, budget) in [
        ("STRLEN k", true, true),
        ("TYPE k", true, true),
        ("PTTL k", true, true),
        ("EXISTS k k", true, true),
        ("GETRANGE k 8190 8191", false, true),
        ("GETRANGE k 8191 8192", false, true),
        ("GETRANGE k -1 -1", false, true),
        ("GETRANGE k 5 4", true, true),
        ("GET k", false, false),
        ("MGET none k", false, false),
        ("GETRANGE k 0 -2", false, false),
    ] {
        let latest = Latest::new(&bench.engine);
        run(line, &latest);
        assert_eq!(!latest.has_refused(), look_ups, "{line} by look-ups");
        let read = bench.engine.budgeted_read(ReadBudget { rows: 1024, bytes: 256 << 10 });
        run(line, &read);
        assert_eq!(!read.is_spent(), budget, "{line} within a budget");
        assert!(budget || read.rows_read() <= 40, "{line}: {} rows first", read.rows_read());
    }
}

/// All three values of a command have one version.
#[test]
fn a_key_that_a_command_stores_twice_keeps_the_last_value_alone() {
    let mut bench = Bench::new();
    let (long, longer) = ("l".repeat(20_000), "m".repeat(60_000));
    for middle in ["short", longer.as_str()] {
        bench.run(&format!("MSET k {longer} other {longer} k {middle} k {long}"));
        bench.run("SETRANGE k 59999 x");
        let mut expected = long.clone().into_bytes();
        expected.resize(59_999, 0);
        expected.push(b'x');
        assert!(get(&mut bench, "k") == expected);
        assert!(get(&mut bench, "other") == longer.as_bytes());
        check_chunks(&bench);
    }
}

#[test]
fn a_long_string_is_no_number() {
    let mut bench = Bench::new();
    bench.run(&format!("SET k {}1", "0".repeat(20_000)));
    bench.check(&[
        ("INCR k", "ERR value is not an integer or out of range"),
        ("INCRBYFLOAT k 1", "ERR value is not a valid float"),
        ("LPUSH k a", "WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SETRANGE k 536870912 x", "ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SCAN 0 TYPE string", r#"["0", ["k"]]"#),
    ]);
}

#[test]
fn a_long_string_of_the_older_format_moves_into_chunks() {
    let mut bench = Bench::new();
    let user = UserKey::new(0, "k".into());
    let mut value = vec![b'v'; 20_000];
    bench.put(Family::Subkey, &user.v1_string(), v1::encode_value(0, &value));
    bench.check(&[("STRLEN k", "20000"), ("GETRANGE k -2 -1", r#""vv""#), ("APPEND k x", "20001")]);
    value.push(b'x');
    assert!(get(&mut bench, "k") == value);
    assert!(!bench.rows(Family::Subkey).contains_key(&user.v1_string()));
    check_chunks(&bench);
}

#[test]
fn damaged_chunks_are_reported() {
    let mut bench = Bench::new();
    set_long(&mut bench, "k", 30_000);
    let user = UserKey::new(0, "k".into());
    let row = user.subkey(bench.clock - 1, &chunk::subkey(1));
    bench.put(Family::Subkey, &row, vec![0; CHUNK + 1]);
    for line in ["GET k", "GETRANGE k 9000 9000", "GETRANGE k 9000 20000"] {
        let reply = bench.run(line);
        assert!(reply.contains("no chunk is longer than") || reply.contains("damaged"), "{reply}");
    }
    assert_eq!(bench.run("GETRANGE k 0 0"), r#""\x00""#);
    assert!(bench.try_write("SETRANGE k 9000 x").is_err(), "the Region stops");
}
