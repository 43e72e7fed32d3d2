//! Clients that are broken, hostile or merely slow: each costs bounded memory, and nobody else
//! notices.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use neokv_resp::client::{Value, encode_command};
use neokv_tests::client::Connection;
use neokv_tests::process::Server;

use crate::support::{array, ask, check, info, neokv, noise, peak, resident, until};

const MB: u64 = 1 << 20;

fn socket(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// What a server answers to these bytes until it closes, or until the answer to a last PING if it
/// does not.
fn answer(server: &Server, bytes: &[u8]) -> String {
    let mut stream = socket(server);
    // The server may close before it has read everything.
    let _closed_early = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut reply = Vec::new();
    let _reset = stream.read_to_end(&mut reply);
    reply.escape_ascii().to_string()
}

/// Broken input, whose error Redis words.
const BROKEN: &[&[u8]] = &[
    b"*1\r\nx\r\n",
    b"*1\r\n+OK\r\n",
    b"*x\r\n",
    b"*1x\r\n",
    b"*99999999999999999999\r\n",
    b"*2147483648\r\n",
    b"*1\r\n$x\r\n",
    b"*1\r\n$-1\r\n",
    b"*1\r\n$536870913\r\n",
    b"*1\r\n$99999999999999999999\r\n",
    b"*1\r\n$4x\r\nPING\r\n",
    b"*2\r\n$3\r\nGET\r\n:1\r\n",
    b"*1\r\n\r\n",
    b"set a \"b\r\n",
    b"set a 'b\r\n",
    b"set a \"b\"c\r\n",
    b"SET a 1\r\n*1\r\nx\r\nSET a 2\r\n",
    b"GET a\r\n*-5\r\nPING\r\n*0\r\nPING\r\n",
    b"\r\n\r\n\r\nPING\r\n",
    b"   PING   \r\n",
    b"PING\n",
    b"NOSUCH a b c\r\n",
    b"GET\r\n",
    b"GET a b\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n",
    b"*1\r\n$4\r\nPIN",
    b"\x00\x01\x02\x03\r\n",
    b"\xff\xfe\xfd\r\n",
    b"$4\r\nPING\r\n",
    b":1\r\n",
    b"+PING\r\n",
];

#[test]
fn broken_input_is_answered_as_redis_answers_it() {
    let (neokv, redis) = (neokv(&[]), Server::redis(&[]).unwrap());
    for bytes in BROKEN {
        assert_eq!(answer(&neokv, bytes), answer(&redis, bytes), "{}", bytes.escape_ascii());
    }
    let endless: Vec<(&str, Vec<u8>)> = vec![
        ("a line without end", vec![b'a'; 70_000]),
        ("an array header without end", [b"*".to_vec(), vec![b'1'; 70_000]].concat()),
        ("a bulk header without end", [b"*1\r\n$".to_vec(), vec![b'1'; 70_000]].concat()),
    ];
    for (what, bytes) in endless {
        assert_eq!(answer(&neokv, &bytes), answer(&redis, &bytes), "{what}");
    }
    check(&mut neokv.connect().unwrap(), &[("GET a", "\"1\""), ("DBSIZE", "1")]);
}

#[test]
fn http_is_not_taken_for_commands() {
    let server = neokv(&[]);
    let reply =
        answer(&server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nSET a 1\r\n");
    let mut c = server.connect().unwrap();
    check(&mut c, &[("EXISTS a", "0")]);
    assert!(!reply.contains("+OK"), "{reply}");
}

#[test]
fn random_bytes_neither_stop_the_server_nor_cost_it_memory() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[("SET kept 1", "OK")]);
    let before = resident(&server);
    let mut random = fastrand::Rng::with_seed(99);
    for seed in 0..200 {
        let mut bytes = noise(seed, random.usize(1..3000));
        // Half of them begin like commands, so that the parser reads further.
        for _ in 0..random.usize(0..30) {
            let at = random.usize(0..bytes.len());
            let piece: &[u8] = random
                .choice(&[
                    &b"*3\r\n"[..],
                    b"$5\r\n",
                    b"\r\n",
                    b"*",
                    b"$",
                    b"\"",
                    b"$-1\r\n",
                    b"*1\r\n$4\r\nPING\r\n",
                ])
                .unwrap();
            bytes.splice(at..at, piece.iter().copied());
        }
        answer(&server, &bytes);
    }
    assert!(resident(&server) < before + 64 * MB, "{} -> {}", before, resident(&server));
    check(&mut c, &[("GET kept", "\"1\""), ("DBSIZE", "1")]);
    until("the end of all other connections", || info(&mut c, "clients", "connected_clients") == 1);
}

#[test]
fn what_is_only_announced_costs_nothing() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[("PING", "PONG")]);
    let before = resident(&server);
    let mut sent = info(&mut c, "stats", "total_net_input_bytes");
    let mut waiting = Vec::new();
    for n in 0..200 {
        let mut stream = socket(&server);
        let bytes: &[u8] = match n % 4 {
            0 => b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nbegin",
            1 => b"*1000000\r\n$4\r\nMSET\r\n$1\r\na\r\n",
            2 => b"*1000000\r\n",
            _ => b"*2\r\n$536870912\r\n",
        };
        stream.write_all(bytes).unwrap();
        sent += bytes.len() as u64;
        waiting.push(stream);
    }
    until("all their bytes", || info(&mut c, "stats", "total_net_input_bytes") >= sent);
    let after = resident(&server);
    assert!(
        after < before + 48 * MB,
        "200 announcements cost {} bytes",
        after.saturating_sub(before)
    );
    check(&mut c, &[("SET other 1", "OK"), ("DBSIZE", "1")]);
    drop(waiting);
    until("the end of 200 connections", || info(&mut c, "clients", "connected_clients") == 1);
    check(&mut c, &[("EXISTS k a", "0")]);
}

#[test]
fn clients_that_do_not_read_cost_bounded_memory_and_others_are_served() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    let value = String::from_utf8(vec![b'v'; 1 << 20]).unwrap();
    check(&mut c, &[(&format!("SET big {value}"), "OK")]);
    let fields: String = (0..20_000).map(|n| format!(" field:{n} value:{n}")).collect();
    check(&mut c, &[(&format!("HSET hash{fields}"), "20000")]);
    let before = resident(&server);
    let mut requests = BytesMut::new();
    for _ in 0..100 {
        encode_command(&["GET", "big"], &mut requests);
        encode_command(&["HGETALL", "hash"], &mut requests);
    }
    // 30 clients that ask for 150 MB each.
    let silent: Vec<TcpStream> = (0..30)
        .map(|_| {
            let mut stream = socket(&server);
            stream.write_all(&requests).unwrap();
            stream
        })
        .collect();
    let calls =
        |c: &mut neokv_tests::client::Connection| info(c, "stats", "total_commands_processed");
    let mut last = 0;
    // As long as their requests are being run there is more to come.
    until("a standstill of those who do not read", || {
        for n in 0..200 {
            check(&mut c, &[(&format!("SET busy {n}"), "OK"), ("GET busy", &format!("\"{n}\""))]);
        }
        let now = calls(&mut c);
        let own = now - last <= 401 + 3;
        last = now;
        own
    });
    let after = resident(&server);
    assert!(
        after < before + 200 * MB,
        "30 silent clients cost {} bytes",
        after.saturating_sub(before)
    );
    drop(silent);
    until("the end of 30 connections", || info(&mut c, "clients", "connected_clients") == 1);
    check(&mut c, &[("GET busy", "\"199\"")]);
}

#[test]
fn a_client_beyond_its_output_limit_is_closed_and_others_are_not() {
    let server = neokv(&["--client-output-buffer-limit", "1mb"]);
    let mut c = server.connect().unwrap();
    let mut stream = socket(&server);
    stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut request = BytesMut::new();
    encode_command(&["ECHO", &"v".repeat(64 << 10)], &mut request);
    // It sends until the server closes the connection, and never reads.
    let refused = (0..20_000).any(|_| stream.write_all(&request).is_err());
    assert!(refused, "a gigabyte was accepted");
    until("the end of it", || info(&mut c, "clients", "connected_clients") == 1);
    check(&mut c, &[("PING", "PONG")]);
}

#[test]
fn a_row_that_an_entry_rewrites_again_and_again_costs_bounded_memory() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[(&format!("SET k {}", "v".repeat(8 << 20)), "OK")]);
    let appends = "APPEND k x\r\n".repeat(100);
    let peak =
        peak(&server, || assert!(answer(&server, appends.as_bytes()).ends_with(r":8388708\r\n")));
    // A copy of the row for each command would be 800 MB.
    assert!(peak < 500 * MB, "{} MB for appends to one string", peak / MB);
}

#[test]
fn small_commands_with_large_effects_cost_bounded_memory() {
    const STRINGS: u64 = 48;
    const MEMBERS: u64 = 64;
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    // Not one member of 8 MB: RocksDB holds the first and the last key of each file in memory,
    // several times, so keys of that size would hide what the commands cost.
    for member in 0..MEMBERS {
        check(&mut c, &[(&format!("SADD s {member:02}{}", "m".repeat(128 << 10)), "1")]);
    }
    for n in 0..STRINGS {
        check(&mut c, &[(&format!("SETRANGE k{n} {} x", 8 * MB - 1), &(8 * MB).to_string())]);
    }
    let rewrites: String =
        (0..STRINGS).map(|n| format!("SUNIONSTORE s{n} s\r\nINCR n\r\n")).collect();
    let expected: String = (1..=STRINGS).map(|n| format!(r":{MEMBERS}\r\n:{n}\r\n")).collect();
    let written = peak(&server, || assert_eq!(answer(&server, rewrites.as_bytes()), expected));
    // All of them in one write would be 1200 MB.
    assert!(written < 500 * MB, "{} MB to write {STRINGS} sets again", written / MB);
    check(&mut c, &[("DEL n", "1")]);
    let reads: String = (0..STRINGS).map(|n| format!("GETEX k{n} PERSIST\r\nINCR n\r\n")).collect();
    let answered = peak(&server, || {
        let mut stream = socket(&server);
        stream.write_all(reads.as_bytes()).unwrap();
        for n in 1..=STRINGS {
            let mut reply = vec![0; format!("${0}\r\n\r\n:{n}\r\n", 8 * MB).len() + 8 * (1 << 20)];
            stream.read_exact(&mut reply).unwrap();
            assert!(reply.ends_with(format!("x\r\n:{n}\r\n").as_bytes()), "reply {n}");
        }
    });
    assert!(answered < 500 * MB, "{} MB to return {STRINGS} strings", answered / MB);
}

/// Waits until nothing is written in the background. RocksDB holds several copies of keys of
/// megabytes while it merges files, and that is not what the commands after it cost.
fn at_rest(c: &mut Connection) {
    const WORK: [(&str, &str); 3] = [
        ("persistence", "write_behind_dirty"),
        ("rocksdb", "rocksdb_running_flushes"),
        ("rocksdb", "rocksdb_running_compactions"),
    ];
    // What is about to start does not show: several looks in a row must find nothing.
    let mut looks = 0;
    until("a server at rest", || {
        let rests = WORK.iter().all(|(section, field)| info(c, section, field) == 0);
        looks = if rests { looks + 1 } else { 0 };
        looks == 20
    });
}

#[test]
fn an_answer_larger_than_the_output_limit_is_an_error_and_costs_no_more_than_the_limit() {
    const TOO_MUCH: &str =
        "-ERR the command would change or return too much at once, give it less to do";
    // A small cache: what it takes in meanwhile counts as well.
    let server = neokv(&["--client-output-buffer-limit", "32mb", "--block-cache", "16mb"]);
    let mut c = server.connect().unwrap();
    let long = "v".repeat(8 << 20);
    check(&mut c, &[(&format!("SET k {long}"), "OK")]);
    for n in 0..6 {
        check(&mut c, &[(&format!("RPUSH l {n}{long}"), &(n + 1).to_string())]);
        check(
            &mut c,
            &[(&format!("HSET h f{n} {n}{long}"), "1"), (&format!("SADD s {n}{long}"), "1")],
        );
        check(
            &mut c,
            &[(&format!("ZADD z {n} {n}{long}"), "1"), (&format!("SET {n}{long} v"), "OK")],
        );
    }
    let keys = " k".repeat(500);
    let fields = " f1".repeat(500);
    let lines = [
        &format!("MGET{keys}"),
        &format!("HMGET h{fields}"),
        "LRANGE l 0 -1",
        "HGETALL h",
        "HVALS h",
        "SMEMBERS s",
    ];
    let more = [
        "SUNION s s",
        "SINTER s s",
        "SDIFF s",
        "ZRANGE z 0 -1",
        "SRANDMEMBER s 6",
        "HRANDFIELD h 6 WITHVALUES",
        "KEYS *",
    ];
    at_rest(&mut c);
    let before = resident(&server);
    let peak = peak(&server, || {
        lines.iter().chain(&more).for_each(|line| check(&mut c, &[(line, TOO_MUCH)]))
    });
    // MGET alone would be 4000 MB.
    assert!(peak < before + 400 * MB, "{} MB before, {} MB", before / MB, peak / MB);
    // What fits is answered, and a page of a scan ends early.
    check(&mut c, &[("LLEN l", "6"), ("ZCARD z", "6"), ("SINTERCARD 2 s s", "6")]);
    for (scan, fewest) in
        [("HSCAN h {} COUNT 100", 6), ("SSCAN s {} COUNT 100", 6), ("SCAN {} COUNT 100", 11)]
    {
        let (mut cursor, mut pages, mut seen) = ("0".to_owned(), 0, 0);
        loop {
            let page = array(&mut c, &scan.replace("{}", &cursor));
            let [Value::Bulk(next), Value::Array(items)] = &page[..] else {
                panic!("{scan}: a cursor and a page")
            };
            (cursor, pages, seen) =
                (String::from_utf8(next.to_vec()).unwrap(), pages + 1, seen + items.len());
            if cursor == "0" {
                break;
            }
        }
        assert!(pages > 1 && seen >= fewest, "{scan}: {pages} pages, {seen} elements");
    }
}

#[test]
fn what_arrives_while_the_last_reply_waits_is_run_too() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[("SETRANGE big 16777215 x", "16777216")]);
    for large in ["GETEX big PERSIST", "GET big"] {
        let mut stream = socket(&server);
        stream.write_all(format!("{large}\r\n").as_bytes()).unwrap();
        until("a reply that waits", || {
            ask(&mut c, "CLIENT LIST")
                .split("\\n")
                .any(|line| line.contains("omem=") && !line.contains("omem=0 "))
        });
        stream.write_all(b"PING\r\n").unwrap();
        let mut reply = vec![0; "$16777216\r\n\r\n+PONG\r\n".len() + (16 << 20)];
        stream.read_exact(&mut reply).unwrap();
        assert!(reply.ends_with(b"x\r\n+PONG\r\n"), "{large}");
    }
}

/// A write whose reply the client does not take at once holds the connection up in the middle of
/// the next command.
#[test]
fn what_follows_a_large_reply_to_a_write_is_run_as_it_was_sent() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(
        &mut c,
        &[("SETRANGE big 8388607 x", "8388608"), ("MSET a 1 b 2", "OK"), ("SADD s m", "1")],
    );
    let lines =
        [("EXISTS big", ":1"), ("MGET a b", r"*2\r\n$1\r\n1\r\n$1\r\n2"), ("GET a", r"$1\r\n1")];
    let more = [
        ("SMEMBERS s", r"*1\r\n$1\r\nm"),
        ("ECHO hello", r"$5\r\nhello"),
        ("SET a 1", "+OK"),
        ("NOSUCH x", "-ERR"),
    ];
    let wrong = [("GET", "-ERR wrong number of arguments for \\'get\\' command")];
    for (line, expected) in lines.iter().chain(&more).chain(&wrong) {
        let mut stream = socket(&server);
        stream.write_all(format!("GETEX big PERSIST\r\n{line}\r\n").as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        let behind = reply.get("$8388608\r\n".len() + (8 << 20) + 2..).unwrap_or_default();
        assert!(
            behind.escape_ascii().to_string().starts_with(expected),
            "{line}: {}",
            behind.escape_ascii()
        );
    }
}

#[test]
fn half_open_connections_and_resets_leave_nothing_behind() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    for n in 0..100 {
        let mut stream = socket(&server);
        match n % 4 {
            // Sends nothing.
            0 => {}
            // Closes in order, in the middle of a command.
            1 => {
                stream.write_all(b"*3\r\n$3\r\nSET\r\n$4\r\nhalf\r\n$5\r\nab").unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
            }
            // Leaves replies unread: closing answers with a reset.
            2 => stream.write_all(b"PING\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1").unwrap(),
            // Stops reading, goes on writing.
            _ => {
                stream.shutdown(Shutdown::Read).unwrap();
                stream.write_all(b"PING\r\n").unwrap();
            }
        }
    }
    until("the beginning of all", || info(&mut c, "stats", "total_connections_received") >= 101);
    until("the end of all", || info(&mut c, "clients", "connected_clients") == 1);
    check(&mut c, &[("EXISTS half", "0"), ("DBSIZE", "0")]);
}

#[test]
fn a_pipeline_cut_anywhere_is_applied_up_to_a_whole_command() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    let mut pipeline = BytesMut::new();
    for n in 0..40 {
        let n = n.to_string();
        encode_command(&["MSET", "{p}a", &n, "{p}b", &n, "{p}c", &n], &mut pipeline);
        encode_command(&["RPUSH", "{p}list", &n], &mut pipeline);
    }
    for cut in (1..pipeline.len()).step_by(211) {
        let mut stream = socket(&server);
        // Once it has been answered it is counted among the clients, until its end.
        stream.write_all(b"PING\r\n").unwrap();
        stream.read_exact(&mut [0; 7]).unwrap();
        stream.write_all(&pipeline[..cut]).unwrap();
        drop(stream);
        until("the end of it", || info(&mut c, "clients", "connected_clients") == 1);
        let values = crate::support::array(&mut c, "MGET {p}a {p}b {p}c");
        assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "cut at {cut}: {values:?}");
        let list = crate::support::array(&mut c, "LRANGE {p}list 0 -1");
        let expected: Vec<String> = (0..list.len()).map(|n| n.to_string()).collect();
        assert!(
            list.iter().map(crate::support::text).eq(expected.iter().map(String::as_str)),
            "cut at {cut}: {list:?}"
        );
        let last = values[0].as_text().map_or(0, |text| text.parse::<usize>().unwrap() + 1);
        assert!(
            last == list.len() || last == list.len() + 1,
            "cut at {cut}: MSET {last}, list {}",
            list.len()
        );
        check(&mut c, &[("FLUSHALL", "OK")]);
    }
}

#[test]
fn one_client_too_many_is_told_so_and_a_place_becomes_free() {
    let server = neokv(&["--maxclients", "20"]);
    let mut c = server.connect().unwrap();
    let mut others: Vec<_> = (0..19).map(|_| server.connect().unwrap()).collect();
    others.iter_mut().for_each(|other| check(other, &[("PING", "PONG")]));
    for _ in 0..5 {
        let mut reply = String::new();
        socket(&server).read_to_string(&mut reply).unwrap();
        assert_eq!(reply, "-ERR max number of clients reached\r\n");
    }
    assert_eq!(info(&mut c, "stats", "rejected_connections"), 5);
    others.pop();
    until("a free place", || info(&mut c, "clients", "connected_clients") == 19);
    check(&mut server.connect().unwrap(), &[("PING", "PONG")]);
}

#[test]
fn idle_clients_are_closed_and_busy_ones_are_not() {
    let server = neokv(&["--timeout", "1"]);
    let mut idle = socket(&server);
    let mut midway = socket(&server);
    midway.write_all(b"*2\r\n$3\r\nGET\r\n$100\r\nabc").unwrap();
    let mut busy = server.connect().unwrap();
    until("the end of those that are idle", || {
        info(&mut busy, "clients", "connected_clients") == 1
    });
    for stream in [&mut idle, &mut midway] {
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "closed");
    }
    check(&mut busy, &[("PING", "PONG")]);
}

/// One command may look up a million keys. Two clients that do nothing else occupy no thread that
/// serves others.
#[test]
fn commands_over_many_keys_do_not_hold_up_other_clients() {
    let server = neokv(&["--threads", "2"]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[("HSET hash f v", "1"), ("SADD set m", "1"), ("ZADD zset 1 m", "1")]);
    let names: Vec<String> = (0..400_000).map(|n| format!("name:{n}")).collect();
    for start in [
        &["MGET"][..],
        &["EXISTS"],
        &["TOUCH"],
        &["HMGET", "hash"],
        &["SMISMEMBER", "set"],
        &["ZMSCORE", "zset"],
    ] {
        let command = [start, &names.iter().map(String::as_str).collect::<Vec<_>>()].concat();
        let stop = AtomicBool::new(false);
        let (mut longest_ping, mut fastest_command) = (Duration::ZERO, Duration::MAX);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..2)
                .map(|_| {
                    let (mut connection, command) = (server.connect().unwrap(), &command);
                    scope.spawn(move || {
                        let fastest = (0..4).map(|_| {
                            let begin = Instant::now();
                            assert!(!connection.call(command).unwrap().is_error());
                            begin.elapsed()
                        });
                        fastest.min().unwrap()
                    })
                })
                .collect();
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let begin = Instant::now();
                    check(&mut c, &[("PING", "PONG")]);
                    longest_ping = longest_ping.max(begin.elapsed());
                }
            });
            for client in clients {
                fastest_command = fastest_command.min(client.join().unwrap());
            }
            stop.store(true, Ordering::SeqCst);
        });
        assert!(
            longest_ping < fastest_command / 2,
            "{start:?}: a PING took {longest_ping:?}, a command {fastest_command:?}"
        );
    }
}
