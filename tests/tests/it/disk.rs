//! Disks that are full, damaged, or fail to sync: an error that says so, no wrong answer, and
//! nothing acknowledged is lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use neokv_resp::client::Value;
use neokv_tests::client::Connection;
use neokv_tests::process::{Server, neokv_binary};
use rustix::process::Signal;

use crate::small_disk::small_disk;
use crate::support::{ask, check, files, neokv, noise, number, until};

/// Small files and a short log, so that a small disk holds much of what a big one would.
const SMALL: [&str; 8] = [
    "--write-buffer",
    "4mb",
    "--wal-limit",
    "4mb",
    "--raft-log-bytes",
    "1mb",
    "--raft-log-entries",
    "100",
];

/// A server whose data are on a disk of so many megabytes, and a file that takes sixty of them:
/// without it there is room again. `None` in the outer run of a test ([`small_disk`]).
fn on_small_disk(test: &str, megabytes: u32, reserve: &str) -> Option<(PathBuf, PathBuf, Server)> {
    let disk = small_disk(&format!("disk::{test}"), megabytes)?;
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![1; 60 << 20]).unwrap();
    let options = [&SMALL[..], &["--disk-reserve", reserve]].concat();
    let server = Server::neokv_in(&disk.join("data"), &options).unwrap();
    Some((disk, filler, server))
}

fn set(c: &mut Connection, n: u64) -> Value {
    let value = noise(n, 20_000);
    c.call(&[b"SET", format!("key:{n}").as_bytes(), &value]).unwrap()
}

/// Writes until the server refuses; returns how many it took and why it took no more.
fn fill(c: &mut Connection) -> (u64, String) {
    for n in 0..100_000 {
        match set(c, n) {
            Value::Error(text) => return (n, text),
            other => assert_eq!(other, Value::Simple("OK".into())),
        }
    }
    panic!("the disk was never full");
}

/// Everything that was acknowledged is there, byte for byte.
fn assert_there(c: &mut Connection, keys: impl Iterator<Item = u64>) {
    for n in keys {
        let value = c.call(&["GET", &format!("key:{n}")]).unwrap();
        assert!(value == Value::Bulk(noise(n, 20_000).into()), "key:{n} is lost or wrong");
    }
}

#[test]
fn below_the_reserve_writes_are_refused_and_all_else_goes_on() {
    let test = "below_the_reserve_writes_are_refused_and_all_else_goes_on";
    let Some((_disk, filler, mut server)) = on_small_disk(test, 160, "30mb") else { return };
    let mut c = server.connect().unwrap();
    check(&mut c, &[("SET counter 5", "OK"), ("RPUSH list a b c", "3")]);
    let (acknowledged, error) = fill(&mut c);
    assert!(acknowledged > 200, "{acknowledged}");
    assert!(error.starts_with("OOM command not allowed: the disk has "), "{error}");
    // Everything that could grow is refused, on every connection; what only reads or frees is
    // served.
    let mut other = server.connect().unwrap();
    for line in [
        "SET a 1",
        "APPEND counter 1",
        "HSET h f v",
        "LPUSH list x",
        "SADD s m",
        "ZADD z 1 m",
        "MSET a 1 b 2",
    ] {
        assert!(ask(&mut other, line).starts_with("-OOM "), "{line}");
    }
    check(
        &mut other,
        &[
            ("GET counter", "\"5\""),
            ("LRANGE list 0 -1", "[\"a\" \"b\" \"c\"]"),
            ("EXISTS a h s z b", "0"),
            ("DEL key:0", "1"),
            ("LPOP list", "\"a\""),
            ("EXPIRE counter 1000", "1"),
            ("GET counter", "\"5\""),
        ],
    );
    assert_there(&mut c, 1..acknowledged);
    std::fs::remove_file(&filler).unwrap();
    until("a write", || !set(&mut c, acknowledged).is_error());
    server.kill().unwrap();
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    assert_there(&mut c, 1..=acknowledged);
    check(&mut c, &[("EXISTS key:0", "0"), ("LRANGE list 0 -1", "[\"b\" \"c\"]")]);
    assert!((1..=1000).contains(&number(&mut c, "TTL counter")));
    assert_eq!(number(&mut c, "DBSIZE"), i64::try_from(acknowledged).unwrap() + 2);
}

/// Without a reserve the disk fills to the last byte, and the log itself finds no room.
#[test]
fn on_a_disk_that_is_really_full_nothing_acknowledged_is_lost() {
    let test = "on_a_disk_that_is_really_full_nothing_acknowledged_is_lost";
    let Some((_disk, filler, mut server)) = on_small_disk(test, 128, "0") else { return };
    let mut c = server.connect().unwrap();
    let (acknowledged, error) = fill(&mut c);
    assert!(acknowledged > 100, "{acknowledged}");
    assert!(error.contains("space"), "{error}");
    let mut other = server.connect().unwrap();
    for _ in 0..5 {
        let refused = set(&mut other, 1_000_000);
        assert!(refused.is_error(), "{refused:?}");
    }
    assert_there(&mut other, 0..acknowledged);
    std::fs::remove_file(&filler).unwrap();
    until("a write", || !set(&mut c, acknowledged + 1).is_error());
    check(&mut c, &[("INCR n", "1"), ("INCR n", "2")]);
    server.kill().unwrap();
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    assert_there(&mut c, (0..acknowledged).chain([acknowledged + 1]));
    check(&mut c, &[("GET n", "\"2\""), ("INCR n", "3")]);
}

/// The errors of a full disk tell a client whether to send again, and an operator what to do before
/// the next start.
#[test]
fn the_errors_of_a_full_disk_say_what_to_do() {
    let test = "the_errors_of_a_full_disk_say_what_to_do";
    let Some((disk, filler, mut server)) = on_small_disk(test, 128, "0") else { return };
    let rest = disk.join("rest");
    let mut c = server.connect().unwrap();
    let (acknowledged, error) = fill(&mut c);
    assert!(error.contains("outcome unknown: the disk is full"), "{error}");
    assert_eq!(error.matches(" may ").count(), 1, "{error}");
    assert!(error.contains("look before you send it again"), "{error}");
    server.kill().unwrap();
    // Recovery writes what it has read from the log, for which there is no room now.
    let _full = std::fs::write(&rest, vec![1; 128 << 20]);
    let (code, said) = refused(server.data());
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("try: free some space on that disk, then start neokv again"), "{said}");
    assert!(!said.contains("by themselves"), "a process that ends resumes nothing: {said}");
    std::fs::remove_file(&rest).unwrap();
    std::fs::remove_file(&filler).unwrap();
    server.restart().unwrap();
    assert_there(&mut server.connect().unwrap(), 0..acknowledged);
}

/// The newest log with something in it.
fn newest_log(dir: &Path) -> PathBuf {
    files(dir, "log").into_iter().rfind(|log| log.metadata().unwrap().len() > 0).unwrap()
}

/// A killed server with 300 acknowledged writes, and its log.
fn killed() -> (Server, PathBuf) {
    let mut server = Server::neokv(&[]).unwrap();
    let mut c = server.connect().unwrap();
    for n in 0..300 {
        check(
            &mut c,
            &[(&format!("SET key:{n} value:{n}"), "OK"), ("INCR counter", &(n + 1).to_string())],
        );
    }
    server.kill().unwrap();
    let log = newest_log(server.data());
    (server, log)
}

fn assert_all_300(server: &Server) {
    let mut c = server.connect().unwrap();
    check(&mut c, &[("GET counter", "\"300\""), ("DBSIZE", "301")]);
    for n in 0..300 {
        check(&mut c, &[(&format!("GET key:{n}"), &format!("\"value:{n}\""))]);
    }
}

/// Starts the program on a directory; returns its exit code and what it said. A server that serves
/// is a failure.
fn refused(dir: &Path) -> (Option<i32>, String) {
    let mut child = Command::new(neokv_binary().unwrap())
        .args(["--port", "0", "--dir"])
        .arg(dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
    if !ready.is_empty() {
        child.kill().unwrap();
        child.wait().unwrap();
        panic!("it serves: {ready}");
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    (child.wait().unwrap().code(), said)
}

/// How the properties of an SST file name its column family: they stand at the file's end in plain
/// bytes, the value right behind the last word of `rocksdb.column.family.name` (what a key shares
/// with the one before it, `rocksdb.column.family.id`, is left out).
fn of_family(family: &str) -> String {
    format!("name{family}")
}

/// What the properties of an SST file say whose rows were written behind as a file. It names no
/// family.
const WRITTEN_BEHIND: &str = "external_sst_file.global_seqno";

/// The largest SST file with a property.
fn largest_file(dir: &Path, property: &str) -> (PathBuf, Vec<u8>) {
    let has_property =
        |bytes: &[u8]| bytes.windows(property.len()).any(|window| window == property.as_bytes());
    let files = files(dir, "sst").into_iter().map(|file| (std::fs::read(&file).unwrap(), file));
    let (bytes, file) = files
        .filter(|(bytes, _)| has_property(bytes))
        .max_by_key(|(bytes, _)| bytes.len())
        .unwrap();
    (file, bytes)
}

/// Flips a bit in the middle of the largest file with a property, which is in the block of some
/// record. Returns the file's name.
fn damage(dir: &Path, property: &str) -> String {
    let (file, mut bytes) = largest_file(dir, property);
    assert!(
        bytes.len() > 4_000_000,
        "the values are in {} bytes of {}",
        bytes.len(),
        file.display()
    );
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, &bytes).unwrap();
    file.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn garbage_behind_the_end_of_the_log_is_a_torn_write_and_nothing_is_lost() {
    let (mut server, _) = killed();
    for tail in [
        vec![0; 3],
        vec![0; 70_000],
        noise(1, 5),
        noise(2, 5_000),
        noise(3, 100_000),
        vec![0xff; 64],
    ] {
        let mut log =
            std::fs::File::options().append(true).open(newest_log(server.data())).unwrap();
        log.write_all(&tail).unwrap();
        drop(log);
        server.restart().unwrap();
        assert_all_300(&server);
        server.kill().unwrap();
    }
    // Writes continue behind such an end.
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    check(&mut c, &[("SET after 1", "OK"), ("DEL after", "1")]);
    server.kill().unwrap();
    server.restart().unwrap();
    assert_all_300(&server);
}

#[test]
fn a_flipped_bit_in_the_middle_of_the_log_is_refused_by_name() {
    let (mut server, log) = killed();
    let whole = std::fs::read(&log).unwrap();
    for percent in [10, 35, 50, 90] {
        let mut bytes = whole.clone();
        bytes[whole.len() * percent / 100] ^= 0x04;
        std::fs::write(&log, &bytes).unwrap();
        let (code, said) = refused(server.data());
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(log.file_name().unwrap().to_str().unwrap()), "{said}");
        assert!(said.contains("--damaged-log accept"), "{said}");
        assert_eq!(std::fs::read(&log).unwrap(), bytes, "a refused log is left as it is");
    }
    std::fs::write(&log, &whole).unwrap();
    server.restart().unwrap();
    assert_all_300(&server);
}

#[test]
fn an_operator_can_go_on_with_what_stands_before_the_damage() {
    let (server, log) = killed();
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x04;
    std::fs::write(&log, &bytes).unwrap();
    assert_eq!(refused(server.data()).0, Some(3));
    let server = Server::neokv_in(server.data(), &["--damaged-log", "accept"]).unwrap();
    let mut c = server.connect().unwrap();
    let counter = ask(&mut c, "GET counter").trim_matches('"').parse::<u64>().unwrap();
    assert!((50..300).contains(&counter), "{counter} of 300");
    for n in 0..counter {
        check(&mut c, &[(&format!("GET key:{n}"), &format!("\"value:{n}\""))]);
    }
    check(&mut c, &[("INCR counter", &(counter + 1).to_string())]);
}

const KEYS: u64 = 5_000;

fn value(n: u64) -> Vec<u8> {
    noise(n, 1_000)
}

/// A server with [`KEYS`] values, stopped in order.
fn stopped_with_values() -> Server {
    let mut server = neokv(&[]);
    let mut c = server.connect().unwrap();
    for n in 0..KEYS {
        let reply = c.call(&[b"SET", format!("key:{n}").as_bytes(), &value(n)]).unwrap();
        assert_eq!(reply, Value::Simple("OK".into()));
    }
    assert!(server.terminate().unwrap().success());
    server
}

/// A start reads the records of each Region. One that fails ends in order each time: whatever it
/// has begun must have ended before the process leaves.
#[test]
fn a_damaged_record_of_a_region_is_refused_by_name() {
    let server = stopped_with_values();
    let (file, mut bytes) = largest_file(server.data(), &of_family("region"));
    // In the first block, which holds the records.
    bytes[10] ^= 0x10;
    std::fs::write(&file, &bytes).unwrap();
    let name = file.file_name().unwrap().to_str().unwrap();
    for _ in 0..10 {
        let (code, said) = refused(server.data());
        assert_eq!(code, Some(3), "{said}");
        assert!(said.contains(name), "{said}");
    }
}

/// Entries that were applied are there for followers. Nothing acknowledged depends on them, so a
/// start does not read them, and damage in them does not keep the data from being served.
#[test]
fn a_damaged_block_of_the_applied_log_costs_nothing_acknowledged() {
    let mut server = stopped_with_values();
    damage(server.data(), &of_family("raft_log"));
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    for n in 0..KEYS {
        let reply = c.call(&["GET", &format!("key:{n}")]).unwrap();
        assert_eq!(reply, Value::Bulk(value(n).into()), "key:{n}");
    }
    check(&mut c, &[("SET new 1", "OK"), ("GET new", "\"1\"")]);
}

#[test]
fn a_damaged_block_is_an_error_that_names_its_file_and_no_wrong_answer() {
    let mut server = stopped_with_values();
    let name = &damage(server.data(), WRITTEN_BEHIND);
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    let mut damaged = Vec::new();
    for n in 0..KEYS {
        match c.call(&["GET", &format!("key:{n}")]).unwrap() {
            Value::Bulk(found) => assert!(found == value(n), "key:{n} is wrong"),
            Value::Error(text) => {
                assert!(text.contains(name), "{text}");
                damaged.push(n);
            }
            other => panic!("key:{n} is {other:?}"),
        }
    }
    assert!((1..100).contains(&damaged.len()), "{} damaged", damaged.len());
    let healthy = (0..KEYS).find(|n| !damaged.contains(n)).unwrap();
    // Commands over many keys fail as a whole instead of leaving out what they cannot read.
    let mget = ask(&mut c, &format!("MGET key:{healthy} key:{}", damaged[0]));
    assert!(mget.starts_with('-') && mget.contains(name), "{mget}");
    // What has nothing to do with the block is served, writes too.
    check(
        &mut c,
        &[(&format!("STRLEN key:{healthy}"), "1000"), ("SET new 1", "OK"), ("GET new", "\"1\"")],
    );
    // A write that must read the block cannot be applied. Skipping it would make this replica
    // differ from its log, so the Region stops; whatever is answered from then on is right or names
    // the file.
    for line in [format!("APPEND key:{} x", damaged[0]), "SET new 2".into(), "INCR n".into()] {
        let reply = ask(&mut c, &line);
        assert!(reply.starts_with('-') && reply.contains(name), "{line}: {reply}");
    }
    let length = ask(&mut c, &format!("STRLEN key:{healthy}"));
    assert!(length == "1000" || (length.starts_with('-') && length.contains(name)), "{length}");
    check(&mut c, &[("PING", "PONG")]);
    assert!(server.log().contains(name), "the log names the file");
}

/// A library that is loaded before the C library: while the file named by `NEOKV_TEST_BROKEN_DISK`
/// exists, every sync of every file fails as it does on a disk that has lost what it was given.
const BROKEN_DISK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_or_fail(const char *name, int fd) {
    const char *broken = getenv("NEOKV_TEST_BROKEN_DISK");
    if (broken && access(broken, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(fd);
}

int fsync(int fd) { return sync_or_fail("fsync", fd); }
int fdatasync(int fd) { return sync_or_fail("fdatasync", fd); }
"#;

fn broken_disk_library(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("broken_disk.c"), folder.join("broken_disk.so"));
    std::fs::write(&source, BROKEN_DISK).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .arg("-ldl")
        .status();
    assert!(compiled.unwrap().success());
    library
}

/// After a failed sync the kernel may have dropped what it could not write, and the next sync would
/// succeed without it. So the process ends at once: it acknowledges nothing more, and its next
/// start finds what really is on the disk.
#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_the_process_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (library, broken) = (broken_disk_library(folder.path()), folder.path().join("broken"));
    let environment =
        [("LD_PRELOAD", library.as_os_str()), ("NEOKV_TEST_BROKEN_DISK", broken.as_os_str())];
    let mut server = Server::neokv_under(&environment, &[]).unwrap();
    let mut c = server.connect().unwrap();
    for n in 1..=50 {
        check(&mut c, &[("INCR n", &n.to_string())]);
    }
    std::fs::write(&broken, "").unwrap();
    match c.call(&["INCR", "n"]) {
        Err(_) => {}
        Ok(reply) => assert!(reply.is_error(), "{reply:?}"),
    }
    until("the end of the process", || server.exited().unwrap().is_some());
    let status = server.exited().unwrap().unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    assert!(server.log().contains("fatal"), "{}", server.log());
    std::fs::remove_file(&broken).unwrap();
    server.clear_environment();
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    // The last one was refused without knowledge: it may be there.
    let found = ask(&mut c, "GET n");
    assert!(found == "\"50\"" || found == "\"51\"", "{found}");
    let next = if found == "\"50\"" { "51" } else { "52" };
    check(&mut c, &[("INCR n", next)]);
}
