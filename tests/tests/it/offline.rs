//! What `neoctl` says of the directory of a server that was killed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use neokv_tests::process::{Server, built_binary};
use serde_json::Value;

use crate::support::{ask, files, neokv, number, one_of_each};

/// How long the server may take until it brings files into RocksDB.
const DEADLINE: Duration = Duration::from_secs(60);

/// Exit code and answer of `neoctl`.
fn neoctl(server: &Server, words: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(built_binary("neoctl").unwrap())
        .arg("--dir")
        .arg(server.data())
        .args(["-o", "json"])
        .args(words)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let answer = serde_json::from_slice(&output.stdout);
    (output.status.code(), answer.unwrap_or_else(|error| panic!("{words:?}: {error}: {stderr}")))
}

/// Entries that are not in the rows.
fn lag(answer: &Value) -> u64 {
    answer["source"]["regions"][0]["lag"].as_u64().unwrap()
}

/// Everything that is stored for each key, with the log replayed or without.
fn dumps(server: &Server, options: &[&str]) -> BTreeMap<String, Value> {
    let (exit, list) = neoctl(server, &[options, &["keys", "list", "--limit", "0"]].concat());
    assert!(exit == Some(0) || list["answer"]["keys"] == Value::Array(Vec::new()), "{list}");
    let keys = list["answer"]["keys"].as_array().unwrap().iter();
    let keys = keys.map(|key| format!("hex:{}", key["key"]["hex"].as_str().unwrap()));
    let dump = |key: String| {
        let (exit, dump) = neoctl(server, &[options, &["dump-key", "--limit", "0", &key]].concat());
        assert_eq!(exit, Some(0), "{dump}");
        (key, dump["answer"].clone())
    };
    keys.map(dump).collect()
}

/// Every file with its length and time of change.
fn listing(dir: &Path) -> BTreeMap<OsString, (u64, SystemTime)> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let known = entries.map(|entry| {
        let found = entry.metadata().unwrap();
        (entry.file_name(), (found.len(), found.modified().unwrap()))
    });
    known.collect()
}

#[test]
fn entries_that_are_not_in_the_rows_are_told_and_can_be_replayed() {
    let mut server = neokv(&[]);
    // The server writes rows behind every few seconds: a kill may come just after it.
    loop {
        let mut c = server.connect().unwrap();
        one_of_each(&mut c);
        number(&mut c, "INCR rounds");
        server.kill().unwrap();
        if lag(&neoctl(&server, &["store"]).1) > 0 {
            break;
        }
        server.restart().unwrap();
    }
    let before = listing(server.data());
    let (exit, rows) = neoctl(&server, &["region", "list"]);
    let region = &rows["answer"]["regions"][0];
    let (applied, last) = (region["applied"]["index"].as_u64(), region["last"].as_u64());
    assert_eq!((exit, applied.unwrap() + lag(&rows)), (Some(0), last.unwrap()));
    let (_, replayed) = neoctl(&server, &["--replay", "region", "list"]);
    assert_eq!(replayed["source"]["replayed"].as_u64().unwrap(), lag(&rows));
    assert_eq!(replayed["answer"]["regions"][0]["applied"]["index"].as_u64(), last);
    let replayed = dumps(&server, &["--replay"]);
    assert_eq!(listing(server.data()), before, "nothing in the directory was changed");
    assert_ne!(dumps(&server, &[]), replayed);
    // The next start reaches the very same rows, with the versions in them.
    server.restart().unwrap();
    server.terminate().unwrap();
    let (_, rows) = neoctl(&server, &["store"]);
    assert_eq!(lag(&rows), 0);
    assert!(replayed.len() > 5, "{replayed:?}");
    assert_eq!(dumps(&server, &[]), replayed);
}

/// The number of files with rows on their way into RocksDB.
fn on_their_way(server: &Server) -> usize {
    let dir = server.data().join("behind");
    if dir.is_dir() { files(&dir, "sst").len() } else { 0 }
}

/// Kills the server in the moment in which RocksDB has taken in one of several files.
fn kill_between_two_files(server: &mut Server) {
    let mut c = server.connect().unwrap();
    let load = thread::spawn(move || {
        for round in 0_u64.. {
            for key in 0..500 {
                let key = format!("key-{}", (round * 500 + key) % 20_000);
                c.queue(&["SET", &key, &"v".repeat(100), "EX", "100000"]);
            }
            // Until the server is gone.
            if c.flush().is_err() || (0..500).any(|_| c.receive().is_err()) {
                return;
            }
        }
    });
    let (mut most, mut left) = (0, 0);
    let deadline = Instant::now() + DEADLINE;
    // Without a pause: the moment is over in a few milliseconds.
    while left >= most {
        assert!(Instant::now() < deadline, "no file was ever taken in");
        left = on_their_way(server);
        most = most.max(left);
    }
    server.kill().unwrap();
    load.join().unwrap();
}

#[test]
fn half_of_a_write_is_told_with_the_next_step() {
    let mut server = neokv(&["--write-behind", "1mb"]);
    // The moment is short: some kills come too late.
    loop {
        kill_between_two_files(&mut server);
        let (exit, store) = neoctl(&server, &["store"]);
        if exit == Some(5) {
            let problem = store["problems"][0].as_str().unwrap();
            assert!(problem.contains("may be half of a write: the next start"), "{problem}");
            break;
        }
        assert_eq!(exit, Some(0), "{store}");
        server.restart().unwrap();
    }
    for words in [&["region", "list"][..], &["raft", "state"], &["keys", "list"]] {
        assert_eq!(neoctl(&server, words).0, Some(5), "{words:?}");
    }
    let (exit, replayed) = neoctl(&server, &["--replay", "store"]);
    assert_eq!((exit, lag(&replayed)), (Some(0), 0), "{replayed}");
    server.restart().unwrap();
    let mut c = server.connect().unwrap();
    assert_eq!(replayed["answer"]["keys"].as_i64().unwrap(), number(&mut c, "DBSIZE"));
    assert_eq!(ask(&mut c, "STRLEN key-1"), "100");
}
