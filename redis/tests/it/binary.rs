//! The `neokv` binary: how it starts, what it refuses, how it stops.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use neokv_resp::client::Value;

use crate::harness::{Client, DEADLINE, Server, neokv, run, text, wait};

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn simple(text: &str) -> Value {
    Value::Simple(text.into())
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.to_owned().into())
}

#[test]
fn serves_stops_on_sigterm_and_finds_everything_again() {
    let dir = directory();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.connect();
    assert_eq!(client.call("SET greeting hello"), simple("OK"));
    assert_eq!(client.call("GET greeting"), bulk("hello"));
    assert_eq!(client.call("RPUSH list a b c"), Value::Integer(3));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    let server = Server::start(dir.path(), &[]);
    let mut client = server.connect();
    assert_eq!(client.call("GET greeting"), bulk("hello"));
    assert_eq!(
        client.call("LRANGE list 0 -1"),
        Value::Array(vec![bulk("a"), bulk("b"), bulk("c")])
    );
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_kill_loses_nothing_that_was_acknowledged() {
    let dir = directory();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.connect();
    for _ in 0..100 {
        client.call("INCR counter");
    }
    server.signal("KILL");
    assert_eq!(server.wait().code(), None, "ended by a signal");
    let server = Server::start(dir.path(), &[]);
    assert_eq!(server.connect().call("GET counter"), bulk("100"));
}

/// Recovery may take minutes, and the operator may want to stop it.
#[test]
fn sigterm_ends_a_server_that_is_still_opening() {
    let dir = directory();
    let server = Server::start(dir.path(), &[]);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    // Recovery waits for ever for a log file that is a pipe without a writer.
    let fifo = dir.path().join("999999.log");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo").success());
    let path = dir.path().to_str().expect("UTF-8");
    let mut child = neokv(&["--port", "0", "--dir", path]).spawn().expect("spawn neokv");
    // The pipe can be opened for writing once recovery has opened it for reading.
    const NONBLOCK: i32 = 0o4000;
    let give_up = Instant::now() + DEADLINE;
    let _end = loop {
        match OpenOptions::new().write(true).custom_flags(NONBLOCK).open(&fifo) {
            Ok(end) => break end,
            Err(_) => assert!(Instant::now() < give_up, "recovery does not read the log"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let kill = Command::new("kill").args(["-s", "TERM", &child.id().to_string()]).status();
    assert!(kill.expect("kill").success());
    assert_eq!(wait(&mut child).signal(), Some(15));
}

#[test]
fn a_server_cuts_its_keyspace_into_regions_once() {
    let dir = directory();
    let server = Server::start(dir.path(), &["--initial-regions", "64"]);
    let mut client = server.connect();
    let regions = |client: &mut Client| match client.call("CLUSTER SLOTS") {
        Value::Array(ranges) => ranges.len(),
        other => panic!("expected an array, got {other:?}"),
    };
    assert!(text(&client.call("INFO raft")).contains("raft_regions:64"));
    assert_eq!(regions(&mut client), 1, "one node has all slots");
    assert_eq!(client.call("SET a 1"), simple("OK"));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let server = Server::start(dir.path(), &["--initial-regions", "5"]);
    let mut client = server.connect();
    assert!(text(&client.call("INFO raft")).contains("raft_regions:64"));
    assert_eq!(client.call("GET a"), bulk("1"));
}

#[test]
fn a_directory_in_use_is_refused_with_advice() {
    let dir = directory();
    let path = dir.path().to_str().expect("UTF-8");
    let _first = Server::start(dir.path(), &[]);
    let (code, stdout, stderr) = run(&["--port", "0", "--dir", path, "--log-level", "error"], &[]);
    assert_eq!(code, Some(3), "{stderr}");
    assert_eq!(stdout, "");
    assert!(stderr.contains("in use by another process"), "{stderr}");
    assert!(stderr.contains(path), "{stderr}");
    assert!(stderr.contains("try: "), "{stderr}");
}

#[test]
fn a_directory_of_another_format_is_refused_with_advice() {
    let dir = directory();
    let server = Server::start(dir.path(), &[]);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let marker = dir.path().join("NEOKV");
    let text = std::fs::read_to_string(&marker).expect("the marker");
    let ours = format!("format {}", neokv_encoding::FORMAT_VERSION);
    assert!(text.contains(&ours), "{text}");
    std::fs::write(&marker, text.replace(&ours, "format 7")).expect("write");
    let path = dir.path().to_str().expect("UTF-8");
    let (code, stdout, stderr) = run(&["--port", "0", "--dir", path, "--log-level", "error"], &[]);
    assert_eq!((code, stdout.as_str()), (Some(3), ""), "{stderr}");
    assert!(stderr.contains(&format!("data of format 7, this release reads {ours}")), "{stderr}");
    assert!(stderr.contains("try: start the release that wrote it"), "{stderr}");
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let dir = directory();
    std::fs::write(dir.path().join("diary.txt"), "dear diary").expect("write");
    let path = dir.path().to_str().expect("UTF-8");
    let (code, _, stderr) = run(&["--port", "0", "--dir", path, "--log-level", "error"], &[]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("diary.txt") && stderr.contains("try: "), "{stderr}");
    let names: Vec<_> = std::fs::read_dir(dir.path())
        .expect("read")
        .map(|entry| entry.expect("entry").file_name())
        .collect();
    assert_eq!(names, ["diary.txt"]);
}

#[test]
fn expired_keys_are_removed_and_counted() {
    let dir = directory();
    let server = Server::start(dir.path(), &["--expire-interval", "10ms"]);
    let mut client = server.connect();
    assert_eq!(client.call("SET a 1 PX 1"), simple("OK"));
    let deadline = std::time::Instant::now() + crate::harness::DEADLINE;
    while client.call("DBSIZE") != Value::Integer(0) {
        assert!(std::time::Instant::now() < deadline, "the cleaner never came");
    }
    // The key is gone a moment before the cleaner hears of it and counts it.
    while !text(&client.call("INFO stats")).contains("\r\nexpired_keys:1\r\n") {
        assert!(std::time::Instant::now() < deadline, "the cleaner never counted it");
    }
    assert_eq!(client.call("CONFIG RESETSTAT"), simple("OK"));
    assert!(text(&client.call("INFO stats")).contains("\r\nexpired_keys:0\r\n"));
}

#[test]
fn the_node_tells_about_itself_in_terms_of_redis() {
    let dir = directory();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.connect();
    let slots = client.call("CLUSTER SLOTS");
    let Value::Array(ranges) = slots else { panic!("expected an array, got {slots:?}") };
    let [Value::Array(range)] = &ranges[..] else { panic!("expected one range, got {ranges:?}") };
    assert_eq!(range[..2], [Value::Integer(0), Value::Integer(16383)]);
    let Value::Array(place) = &range[2] else { panic!("expected a place, got {range:?}") };
    assert_eq!(place[..2], [bulk("127.0.0.1"), Value::Integer(i64::from(server.port))]);
    assert_eq!(place[2], client.call("CLUSTER MYID"));
    assert!(text(&client.call("CLUSTER INFO")).starts_with("cluster_state:ok\r\n"));
    for key in ["{x}1", "{x}2", "{x}3", "y"] {
        client.call(&format!("SET {key} 1"));
    }
    let Value::Integer(slot) = client.call("CLUSTER KEYSLOT x") else { panic!("expected a slot") };
    assert_eq!(client.call(&format!("CLUSTER COUNTKEYSINSLOT {slot}")), Value::Integer(3));
    assert_eq!(
        client.call(&format!("CLUSTER GETKEYSINSLOT {slot} 2")),
        Value::Array(vec![bulk("{x}1"), bulk("{x}2")])
    );
    assert!(text(&client.call("INFO keyspace")).ends_with("db0:keys=4,expires=0,avg_ttl=0\r\n"));
    assert_eq!(text(&client.call("CONFIG SET port 1")).split(' ').next(), Some("ERR"));
}

#[test]
fn a_port_in_use_is_refused_with_advice() {
    let (first_dir, second_dir) = (directory(), directory());
    let first = Server::start(first_dir.path(), &[]);
    let port = first.port.to_string();
    let path = second_dir.path().to_str().expect("UTF-8");
    let (code, _, stderr) = run(&["--port", &port, "--dir", path, "--log-level", "error"], &[]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains(&format!("127.0.0.1:{port}")), "{stderr}");
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_with_advice() {
    let dir = directory();
    let file = dir.path().join("file");
    std::fs::write(&file, "not a directory").expect("write");
    let inside = file.join("data");
    let (code, _, stderr) = run(
        &["--port", "0", "--dir", inside.to_str().expect("UTF-8"), "--log-level", "error"],
        &[],
    );
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("try: "), "{stderr}");
}

#[test]
fn wrong_usage_leaves_with_code_2() {
    for (args, environment) in [
        (&["--prot", "1"][..], &[][..]),
        (&["--port", "70000"], &[]),
        (&["--config", "/nonexistent.toml"], &[]),
        (&[], &[("NEOKV_SYNC", "sometimes")]),
        (&["surprise"], &[]),
    ] {
        let (code, stdout, stderr) = run(args, environment);
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stdout.is_empty() && !stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_go_to_stdout() {
    let (code, stdout, stderr) = run(&["--help"], &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("Examples:") && stdout.contains("NEOKV_PORT"), "{stdout}");
    let (code, stdout, _) = run(&["--version"], &[]);
    assert_eq!((code, stdout), (Some(0), format!("neokv {}\n", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn printed_configuration_starts_a_server() {
    let dir = directory();
    let (code, printed, _) = run(&["--print-config", "--maxclients", "77"], &[("NEOKV_PORT", "0")]);
    assert_eq!(code, Some(0));
    let file = dir.path().join("neokv.toml");
    std::fs::write(&file, printed).expect("write");
    let server =
        Server::start(&dir.path().join("data"), &["--config", file.to_str().expect("UTF-8")]);
    let reply = server.connect().call("CONFIG GET maxclients");
    assert_eq!(reply, Value::Array(vec![bulk("maxclients"), bulk("77")]));
}

#[test]
fn a_password_is_asked_for() {
    let dir = directory();
    let server = Server::start(dir.path(), &["--requirepass", "open sesame"]);
    let mut client = server.connect();
    assert!(text(&client.call("GET a")).starts_with("NOAUTH "));
    assert!(text(&client.call("AUTH wrong")).starts_with("WRONGPASS "));
    assert!(text(&client.call("GET a")).starts_with("NOAUTH "));
    client.send_words(&["AUTH", "open sesame"]);
    assert_eq!(client.reply(), Some(simple("OK")));
    assert_eq!(client.call("GET a"), Value::Nil);
}

#[test]
fn logs_can_be_json() {
    let dir = directory();
    let server = Server::start(dir.path(), &["--log-format", "json"]);
    let line = server.wait_for_log("ready");
    assert!(line.starts_with('{') && line.contains("\"level\":\"INFO\""), "{line}");
}

#[test]
fn pipelined_commands_answer_in_order() {
    let dir = directory();
    let server = Server::start(dir.path(), &["--sync", "no"]);
    let mut client = server.connect();
    client.send(&["INCR a", "GET a", "INCR a", "GET a", "PING", "LPUSH a x", "INCR a"]);
    let replies: Vec<Value> = (0..7).map(|_| client.reply().expect("a reply")).collect();
    assert_eq!(
        replies[..5],
        [Value::Integer(1), bulk("1"), Value::Integer(2), bulk("2"), simple("PONG")]
    );
    assert!(text(&replies[5]).starts_with("WRONGTYPE "));
    assert_eq!(replies[6], Value::Integer(3));
}

#[test]
fn cluster_mode_refuses_keys_of_different_slots() {
    let dir = directory();
    let server = Server::start(dir.path(), &["--cluster-mode"]);
    let mut client = server.connect();
    assert!(text(&client.call("MSET a 1 b 2")).starts_with("CROSSSLOT "));
    assert_eq!(client.call("MSET {x}a 1 {x}b 2"), simple("OK"));
    assert!(text(&client.call("INFO cluster")).contains("cluster_enabled:1"));
}

#[test]
fn a_full_disk_refuses_growth_but_reads_and_deletes() {
    let dir = directory();
    let server = Server::start(dir.path(), &[]);
    let mut client = server.connect();
    assert_eq!(client.call("SET a 1"), simple("OK"));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));

    // No disk has this much free space, so every write that needs space is refused.
    let server = Server::start(dir.path(), &["--disk-reserve", "1024gb"]);
    let mut client = server.connect();
    assert!(text(&client.call("SET a 2")).starts_with("OOM "), "growth is refused");
    assert_eq!(client.call("GET a"), bulk("1"));
    assert!(text(&client.call("INFO neokv")).contains("disk_writes_refused:1"));
    assert_eq!(client.call("DEL a"), Value::Integer(1));
}

#[test]
fn metrics_are_served_where_they_are_asked_for() {
    let dir = directory();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let server = Server::start(dir.path(), &["--metrics-bind", &address]);
    assert_eq!(server.connect().call("SET a 1"), simple("OK"));
    let page = http_get(&address, "/metrics");
    for name in ["neokv_uptime_seconds", "neokv_disk_free_bytes", "neokv_raft_applied_index"] {
        assert!(
            page.contains(&format!("# HELP {name} ")) && page.contains(&format!("\n{name} ")),
            "{name}\n{page}"
        );
    }
}

/// A port that the kernel has just found to be free.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.local_addr().expect("an address").port()
}

fn http_get(address: &str, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(address).expect("connect");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: neokv\r\nConnection: close\r\n\r\n")
        .expect("send");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    page
}
