//! What the tests share: replies as short text, the same questions to NeoKV and to Redis, numbers
//! from INFO and `/proc`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use neokv_resp::client::Value;
use neokv_resp::inline::split_args;
use neokv_tests::client::Connection;
use neokv_tests::process::Server;

/// The reply to a command on a key of another type.
pub const WRONGTYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

/// How long something that must happen may take, on a machine that is busy with other work.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server for tests that do not care about fsync.
pub fn neokv(extra: &[&str]) -> Server {
    Server::neokv(&[&["--sync", "no"], extra].concat()).unwrap()
}

/// A reply as text: `OK`, `-ERR ...`, `5`, `"a\n"`, `nil`, `[1 "a" nil]`.
pub fn show(value: &Value) -> String {
    let all = |values: &[Value]| values.iter().map(show).collect::<Vec<_>>().join(" ");
    match value {
        Value::Simple(text) => text.clone(),
        Value::Error(text) => format!("-{text}"),
        Value::Integer(number) => number.to_string(),
        Value::Bulk(bytes) => format!("\"{}\"", bytes.escape_ascii()),
        Value::Nil => "nil".into(),
        Value::NilArray => "nil array".into(),
        Value::Array(values) => format!("[{}]", all(values)),
        other => format!("{other:?}"),
    }
}

/// Sends a line, quoted as at the prompt of `redis-cli`.
pub fn send(connection: &mut Connection, line: &str) -> Value {
    connection
        .call(&split_args(line.as_bytes()).unwrap())
        .unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Sends a line and shows the reply.
pub fn ask(connection: &mut Connection, line: &str) -> String {
    show(&send(connection, line))
}

/// Sends a line whose reply is an integer.
pub fn number(connection: &mut Connection, line: &str) -> i64 {
    match send(connection, line) {
        Value::Integer(number) => number,
        other => panic!("{line}: {other:?}"),
    }
}

/// Sends a line whose reply is an array.
pub fn array(connection: &mut Connection, line: &str) -> Vec<Value> {
    match send(connection, line) {
        Value::Array(values) => values,
        other => panic!("{line}: {other:?}"),
    }
}

/// The text of a string in a reply.
pub fn text(value: &Value) -> &str {
    value.as_text().unwrap_or_else(|| panic!("expected text, got {value:?}"))
}

/// Asks and compares, line by line.
pub fn check(connection: &mut Connection, lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        assert_eq!(ask(connection, line), *expected, "{line}");
    }
}

/// NeoKV and Redis side by side: an expectation that Redis does not share is an error of the test.
pub struct Both {
    pub neokv: Connection,
    pub redis: Connection,
    _servers: [Server; 2],
}

impl Both {
    pub fn start() -> Both {
        let (server, oracle) = (neokv(&[]), Server::redis(&[]).unwrap());
        Both {
            neokv: server.connect().unwrap(),
            redis: oracle.connect().unwrap(),
            _servers: [server, oracle],
        }
    }

    /// Asks both and compares with what is expected.
    pub fn check(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            assert_eq!(ask(&mut self.redis, line), *expected, "redis-server: {line}");
            assert_eq!(ask(&mut self.neokv, line), *expected, "neokv: {line}");
        }
    }

    /// Asks both, and returns what both have answered.
    pub fn ask(&mut self, line: &str) -> String {
        let (redis, neokv) = (ask(&mut self.redis, line), ask(&mut self.neokv, line));
        assert_eq!(neokv, redis, "{line}");
        neokv
    }
}

/// A number from INFO.
pub fn info(connection: &mut Connection, section: &str, field: &str) -> u64 {
    let report = send(connection, &format!("INFO {section}"));
    let prefix = format!("{field}:");
    let line = text(&report).lines().find_map(|line| line.strip_prefix(&prefix));
    let value = line.unwrap_or_else(|| panic!("no {field} in {report:?}"));
    value.parse().unwrap_or_else(|_| panic!("{field} is `{value}`"))
}

/// Polls until something has happened.
pub fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what} never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Resident memory of a server, in bytes.
pub fn resident(server: &Server) -> u64 {
    memory(server, "VmRSS:")
}

/// The most memory that was resident while `during` ran, in bytes.
pub fn peak(server: &Server, during: impl FnOnce()) -> u64 {
    // 5: the kernel forgets the peak until now.
    std::fs::write(format!("/proc/{}/clear_refs", server.pid().unwrap()), "5").unwrap();
    during();
    memory(server, "VmHWM:")
}

fn memory(server: &Server, name: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The files of a data directory with this extension, oldest number first.
pub fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect();
    paths.sort();
    paths
}

/// Bytes that hardly compress, different for every `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| random.u8(..)).collect()
}

/// Everything about one key, whatever its type, in an order that depends on nothing else.
pub fn fingerprint(connection: &mut Connection, key: &str) -> String {
    let kind = ask(connection, &format!("TYPE {key}"));
    let line = match kind.as_str() {
        "string" => format!("GET {key}"),
        "hash" => format!("HGETALL {key}"),
        "list" => format!("LRANGE {key} 0 -1"),
        "set" => format!("SMEMBERS {key}"),
        "zset" => format!("ZRANGE {key} 0 -1 WITHSCORES"),
        _ => return kind,
    };
    let mut content: Vec<String> = match send(connection, &line) {
        Value::Array(values) => values.iter().map(show).collect(),
        other => vec![show(&other)],
    };
    if kind == "set" {
        content.sort();
    }
    format!("{kind} {content:?}")
}

/// Makes one key of every type: `string`, `hash`, `list`, `set`, `zset`.
pub fn one_of_each(connection: &mut Connection) {
    for line in [
        "SET string text",
        "HSET hash f1 v1 f2 v2",
        "RPUSH list a b c",
        "SADD set a b c",
        "ZADD zset 1 a 2 b 3 c",
    ] {
        let reply = send(connection, line);
        assert!(!reply.is_error(), "{line}: {reply:?}");
    }
}

/// The types, which are also the names of the keys that [`one_of_each`] makes.
pub const TYPES: [&str; 5] = ["string", "hash", "list", "set", "zset"];
