//! The server as its operator sees it: passwords, INFO, metrics, two on one directory, stopping
//! under load.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use neokv_resp::client::{Value, encode_command};
use neokv_tests::process::{Server, free_port, neokv_binary};
use rustix::process::Signal;

use crate::support::{Both, ask, check, info, neokv, send, text, until};

#[test]
fn without_the_password_nothing_is_served() {
    let (server, redis) =
        (neokv(&["--requirepass", "sesame"]), Server::redis(&["--requirepass", "sesame"]).unwrap());
    let (mut mine, mut theirs) = (server.connect().unwrap(), redis.connect().unwrap());
    for line in [
        "PING",
        "GET a",
        "SET a 1",
        "FLUSHALL",
        "INFO",
        "SCAN 0",
        "CONFIG GET *",
        "COMMAND",
        "CLIENT LIST",
        "DBSIZE",
        "NOSUCH",
        "GET",
        "AUTH",
        "AUTH wrong",
        "AUTH default wrong",
        "AUTH other sesame",
        "AUTH a b c",
        "AUTH \"\"",
        "AUTH sesam",
        "AUTH sesame2",
        "HELLO 3 AUTH default wrong",
        "HELLO 3",
        "ECHO x",
        "RESET",
        "SELECT 0",
    ] {
        let (mine, theirs) = (ask(&mut mine, line), ask(&mut theirs, line));
        assert_eq!(mine, theirs, "{line}");
        assert!(mine.starts_with('-') || line == "RESET", "{line}: {mine}");
    }
    for line in [
        "AUTH sesame",
        "SET a 1",
        "GET a",
        "AUTH wrong",
        "GET a",
        "AUTH default sesame",
        "DBSIZE",
        "RESET",
        "GET a",
    ] {
        assert_eq!(ask(&mut mine, line), ask(&mut theirs, line), "{line}");
    }
    check(&mut server.connect().unwrap(), &[("GET a", "-NOAUTH Authentication required.")]);
    let open = neokv(&[]);
    assert!(
        ask(&mut open.connect().unwrap(), "AUTH x")
            .starts_with("-ERR AUTH <password> called without any password configured")
    );
}

#[test]
fn the_password_is_told_to_nobody() {
    let server = neokv(&["--requirepass", "sesame-open"]);
    let mut c = server.connect().unwrap();
    check(
        &mut c,
        &[
            ("AUTH sesame-open", "OK"),
            ("AUTH sesame-wrong", "-WRONGPASS invalid username-password pair or user is disabled."),
        ],
    );
    for line in ["INFO everything", "CLIENT LIST", "COMMAND DOCS auth"] {
        assert!(!ask(&mut c, line).contains("sesame"), "{line}");
    }
    assert!(!server.log().contains("sesame"), "{}", server.log());
}

#[test]
fn info_tells_what_happened() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(
        &mut c,
        &[
            ("SET a 1", "OK"),
            ("GET a", "\"1\""),
            ("GET a", "\"1\""),
            ("LPUSH a x", crate::support::WRONGTYPE),
            ("SET b 1 EX 100", "OK"),
        ],
    );
    let all = send(&mut c, "INFO everything");
    let all = text(&all);
    for section in [
        "Server",
        "Clients",
        "Memory",
        "Persistence",
        "Stats",
        "Replication",
        "CPU",
        "Commandstats",
        "Errorstats",
        "Cluster",
        "Keyspace",
    ] {
        assert!(all.contains(&format!("# {section}\r\n")), "no {section}");
    }
    let line = |start: &str| {
        all.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start}"))
    };
    assert!(line("cmdstat_get:").starts_with("cmdstat_get:calls=2,"), "{}", line("cmdstat_get:"));
    assert!(line("cmdstat_lpush:").contains("failed_calls=1"), "{}", line("cmdstat_lpush:"));
    assert_eq!(line("errorstat_WRONGTYPE:"), "errorstat_WRONGTYPE:count=1");
    assert_eq!(line("db0:"), "db0:keys=2,expires=1,avg_ttl=0");
    assert_eq!(line("role:"), "role:master");
    assert_eq!(line("process_id:"), format!("process_id:{}", server.pid().unwrap()));
    assert_eq!(line("tcp_port:"), format!("tcp_port:{}", server.port()));
    let applied = info(&mut c, "raft", "raft_applied_index");
    check(&mut c, &[("SET c 1", "OK")]);
    assert!(info(&mut c, "raft", "raft_applied_index") > applied, "a write goes through the log");
}

#[test]
fn info_follows_rows_from_memory_to_rocksdb() {
    const KEYS: u64 = 20_000;
    let server = neokv(&["--write-behind", "1mb"]);
    let mut c = server.connect().unwrap();
    assert_eq!(info(&mut c, "persistence", "write_behind_dirty_limit"), 1 << 20);
    for key in 0..KEYS {
        c.queue(&["SET", &format!("key:{key}"), &"v".repeat(100)]);
    }
    c.flush().unwrap();
    (0..KEYS).for_each(|_| drop(c.receive().unwrap()));
    let hits = info(&mut c, "stats", "row_table_hits");
    ask(&mut c, &format!("GET key:{}", KEYS - 1));
    assert!(info(&mut c, "stats", "row_table_hits") > hits);
    let misses = info(&mut c, "stats", "row_table_misses");
    check(&mut c, &[("EXISTS nothing", "0")]);
    assert!(info(&mut c, "stats", "row_table_misses") > misses);
    until("all rows to be in RocksDB", || info(&mut c, "persistence", "write_behind_dirty") == 0);
    let mut persistence = |field| info(&mut c, "persistence", field);
    assert_eq!(persistence("write_behind_dirty_age_ms"), 0);
    assert!(persistence("write_behind_runs") > 1 && persistence("write_behind_failures") == 0);
    assert!(persistence("write_behind_rows") >= KEYS);
    assert!(persistence("write_behind_bytes") >= KEYS * 100);
    assert!(persistence("write_behind_usec") >= persistence("write_behind_last_usec"));
    assert!(info(&mut c, "memory", "row_table_rows") > 0);
    assert!(info(&mut c, "memory", "row_table") <= info(&mut c, "memory", "row_table_limit"));
}

/// The page that answers a request.
fn http(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

#[test]
fn metrics_agree_with_info() {
    let port = free_port().unwrap();
    let server = neokv(&["--metrics-bind", &format!("127.0.0.1:{port}")]);
    let mut c = server.connect().unwrap();
    (0..50).for_each(|n| check(&mut c, &[(&format!("SET key:{n} v"), "OK")]));
    let page = || http(port, "/metrics");
    let applied = info(&mut c, "raft", "raft_applied_index");
    let value = |page: &str, name: &str| -> Option<f64> {
        page.lines().find_map(|line| {
            line.strip_prefix(&format!("{name} ")).and_then(|value| value.parse().ok())
        })
    };
    until("the metrics of 50 writes", || {
        value(&page(), "neokv_raft_applied_index") >= Some(applied as f64)
    });
    let page = page();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for line in page.lines().filter(|line| line.starts_with("neokv_")) {
        let (name, number) = line.rsplit_once(' ').unwrap();
        assert!(number.parse::<f64>().is_ok(), "{line}");
        let family = name.split('{').next().unwrap();
        let base = ["_sum", "_count", "_bucket"]
            .iter()
            .find_map(|end| family.strip_suffix(end))
            .unwrap_or(family);
        let declared = |name: &str| page.contains(&format!("# TYPE {name} "));
        assert!(declared(family) || declared(base), "{family} has no type");
    }
    // The port for metrics survives what is no request, and clients notice nothing.
    for junk in ["\r\n\r\n", "NONSENSE\r\n\r\n", "GET /metrics HTTP/1.1\r\n"] {
        TcpStream::connect(("127.0.0.1", port)).unwrap().write_all(junk.as_bytes()).unwrap();
    }
    assert!(http(port, "/metrics").contains("neokv_raft_applied_index"));
    check(&mut c, &[("DBSIZE", "50")]);
}

#[test]
fn a_second_server_on_the_same_directory_is_refused_and_disturbs_nothing() {
    let mut server = Server::neokv(&[]).unwrap();
    let mut c = server.connect().unwrap();
    check(&mut c, &[("SET a 1", "OK")]);
    for _ in 0..3 {
        let output = Command::new(neokv_binary().unwrap())
            .args(["--port", "0", "--dir"])
            .arg(server.data())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(
            said.contains("in use by another process")
                && said.contains(server.data().to_str().unwrap()),
            "{said}"
        );
        assert!(output.stdout.is_empty());
        check(
            &mut c,
            &[(
                "INCR a",
                &(ask(&mut server.connect().unwrap(), "GET a")
                    .trim_matches('"')
                    .parse::<i64>()
                    .unwrap()
                    + 1)
                .to_string(),
            )],
        );
    }
    server.kill().unwrap();
    server.restart().unwrap();
    check(&mut server.connect().unwrap(), &[("GET a", "\"4\"")]);
}

/// What a client of [`stop_under_load`] knows: its key was incremented at least and at most so
/// often.
struct Counted {
    key: String,
    acknowledged: i64,
    sent: i64,
}

/// Several clients increment, pipelined, until the server is gone. It is asked to stop in the
/// middle of that.
fn stop_under_load(server: &mut Server, signal: Signal) -> Vec<Counted> {
    let stopping = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|n| {
                let (mut connection, stopping) = (server.connect().unwrap(), &stopping);
                let mut count =
                    Counted { key: format!("{}:{n}", signal.as_raw()), acknowledged: 0, sent: 0 };
                scope.spawn(move || {
                    loop {
                        for _ in 0..20 {
                            connection.queue(&["INCR", &count.key]);
                        }
                        count.sent += 20;
                        if connection.flush().is_err() {
                            return count;
                        }
                        for _ in 0..20 {
                            match connection.receive() {
                                Ok(Value::Integer(number)) => {
                                    count.acknowledged += 1;
                                    assert_eq!(number, count.acknowledged);
                                }
                                // Refused because the server stops, or cut off.
                                Ok(other) => assert!(
                                    stopping.load(Ordering::SeqCst) && other.is_error(),
                                    "{other:?}"
                                ),
                                Err(_) => return count,
                            }
                        }
                    }
                })
            })
            .collect();
        let mut watcher = server.connect().unwrap();
        until("some load", || info(&mut watcher, "stats", "total_commands_processed") > 3000);
        stopping.store(true, Ordering::SeqCst);
        server.signal(signal).unwrap();
        let counts = clients.into_iter().map(|client| client.join().unwrap()).collect();
        until("the end of the process", || server.exited().unwrap().is_some());
        let status = server.exited().unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{}", server.log());
        counts
    })
}

#[test]
fn a_stop_under_load_exits_with_0_and_loses_nothing() {
    let mut server = Server::neokv(&[]).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let counts = stop_under_load(&mut server, signal);
        assert!(!server.log().contains("panicked"), "{}", server.log());
        server.restart().unwrap();
        let mut c = server.connect().unwrap();
        for Counted { key, acknowledged, sent } in counts {
            let found =
                ask(&mut c, &format!("GET {key}")).trim_matches('"').parse::<i64>().unwrap();
            assert!(
                (acknowledged..=sent).contains(&found),
                "{key}: {acknowledged} acknowledged, {sent} sent, {found} found"
            );
            assert!(acknowledged > 0);
        }
    }
}

#[test]
fn a_port_that_is_taken_is_an_orderly_refusal() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let output = Command::new(neokv_binary().unwrap())
            .args(["--port", &port, "--dir"])
            .arg(dir.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&port), "{said}");
        assert!(output.stdout.is_empty(), "it must not say that it is ready");
    }
}

/// A client whose replies nobody reads: a stop waits for it for a while.
fn silent_client(server: &Server) -> TcpStream {
    let mut c = server.connect().unwrap();
    check(&mut c, &[(&format!("SET big {}", "v".repeat(1 << 20)), "OK")]);
    let mut silent = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut requests = BytesMut::new();
    for _ in 0..100 {
        encode_command(&["GET", "big"], &mut requests);
    }
    silent.write_all(&requests).unwrap();
    until("replies that wait", || info(&mut c, "stats", "total_net_output_bytes") > 1 << 20);
    silent
}

#[test]
fn a_client_that_does_not_read_cannot_keep_the_server_from_stopping() {
    let mut server = neokv(&[]);
    let _silent = silent_client(&server);
    assert_eq!(server.terminate().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_does_not_wait_and_loses_nothing() {
    let mut server = neokv(&[]);
    let _silent = silent_client(&server);
    check(&mut server.connect().unwrap(), &[("SET last 1", "OK")]);
    server.signal(Signal::TERM).unwrap();
    until("the clean stop to begin", || server.log().contains("a second signal ends at once"));
    server.signal(Signal::INT).unwrap();
    until("the end of the process", || server.exited().unwrap().is_some());
    let status = server.exited().unwrap().unwrap();
    assert_eq!(status.signal(), Some(Signal::KILL.as_raw()), "{status}");
    server.restart().unwrap();
    check(&mut server.connect().unwrap(), &[("GET last", "\"1\""), ("STRLEN big", "1048576")]);
}

/// What programs set when they start: it changes nothing here, so it is accepted and kept.
#[test]
fn config_set_accepts_what_changes_nothing() {
    let mut both = Both::start();
    for line in [
        "CONFIG SET notify-keyspace-events \"\"",
        "CONFIG SET save \"\"",
        "CONFIG SET maxmemory 0",
        "CONFIG SET maxmemory-policy noeviction",
        "CONFIG SET maxmemory-policy NoEviction",
        "CONFIG SET maxclients 10000",
        "CONFIG SET timeout 0",
        "CONFIG SET hash-max-listpack-entries 1000",
        "CONFIG GET hash-max-ziplist-entries",
        "CONFIG SET hash-max-ziplist-value 128 list-max-listpack-size -1",
        "CONFIG GET hash-max-listpack-value",
        "CONFIG GET list-max-listpack-size",
        "CONFIG SET set-max-intset-entries 1 zset-max-listpack-entries 0 zset-max-listpack-value 9",
        "CONFIG GET zset-max-listpack-entries",
        "CONFIG SET activerehashing NO",
        "CONFIG GET activerehashing",
        "CONFIG SET hz 50",
        "CONFIG GET HZ",
        "CONFIG RESETSTAT",
        "CONFIG GET hz",
        // And errors in Redis's words.
        "CONFIG SET hash-max-listpack-entries x",
        "CONFIG SET list-max-listpack-size 99999999999",
        "CONFIG SET active-expire-effort 11",
        "CONFIG SET activerehashing maybe",
        "CONFIG SET nosuch 1",
        "CONFIG SET hz 20 nosuch 1",
        "CONFIG SET hz 20 hz 30",
        "CONFIG SET hz 20 hz",
        "CONFIG GET hz",
    ] {
        both.ask(line);
    }
}

/// What would promise something is refused with a sentence that helps, and nothing of the same
/// command is set.
#[test]
fn config_set_refuses_what_would_be_a_promise() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    for (line, help) in [
        ("CONFIG SET notify-keyspace-events KEA", "keyspace notifications are not supported"),
        ("CONFIG SET maxmemory 100mb", "--block-cache"),
        ("CONFIG SET maxmemory-policy allkeys-lru", "no key is evicted"),
        ("CONFIG SET appendonly no", "every write is in a log before its OK"),
        ("CONFIG SET save \"60 1\"", "snapshots"),
        ("CONFIG SET appendfsync always", "--sync"),
        ("CONFIG SET maxclients 5", "--maxclients"),
        ("CONFIG SET hz 77 maxclients 5", "--maxclients"),
    ] {
        let reply = ask(&mut c, line);
        let name = line.split(' ').rev().nth(1).unwrap();
        let name = if line.contains("save") { "save" } else { name };
        let expected = format!("-ERR CONFIG SET failed (possibly related to argument '{name}') - ");
        assert!(reply.starts_with(&expected) && reply.contains(help), "{line}: {reply}");
    }
    check(&mut c, &[("CONFIG GET hz", "[\"hz\" \"10\"]")]);
    let port = server.port();
    check(
        &mut c,
        &[
            (&format!("CONFIG SET port {port}"), "OK"),
            ("CONFIG SET appendonly yes", "OK"),
            ("CONFIG SET databases 1", "OK"),
            ("CONFIG SET appendfsync no", "OK"),
        ],
    );
}

#[test]
fn client_info_is_a_whole_line() {
    let mut both = Both::start();
    for connection in [&mut both.neokv, &mut both.redis] {
        let info = send(connection, "CLIENT INFO");
        assert!(text(&info).ends_with('\n') && text(&info).lines().count() == 1, "{info:?}");
        send(connection, "HELLO 3");
        let info = send(connection, "CLIENT INFO");
        assert!(text(&info).ends_with('\n') && text(&info).lines().count() == 1, "{info:?}");
    }
}
