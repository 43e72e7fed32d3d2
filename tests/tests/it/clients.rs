//! Stock clients, unmodified: what people have in their programs today has to work.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use neokv_tests::process::Server;

fn server() -> Server {
    Server::neokv(&["--sync", "no"]).unwrap()
}

/// Where `make setup` has installed the clients of other languages.
fn installed(path: &str) -> PathBuf {
    let cache = std::env::var_os("NEOKV_CLIENTS").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/neokv/clients")
    });
    let path = cache.join(path);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

fn assert_success(output: &Output) -> String {
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}

fn redis_cli(server: &Server, args: &[&str], input: &[u8]) -> String {
    let mut child = Command::new("redis-cli")
        .args(["-p", &server.port().to_string()])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("redis-cli: run `make setup`");
    child.stdin.take().unwrap().write_all(input).unwrap();
    assert_success(&child.wait_with_output().unwrap())
}

#[test]
fn redis_cli_at_the_prompt_and_in_pipes() {
    let server = server();
    assert_eq!(redis_cli(&server, &["SET", "greeting", "hello"], b""), "OK\n");
    assert_eq!(redis_cli(&server, &["GET", "greeting"], b""), "hello\n");
    assert_eq!(redis_cli(&server, &["-3", "HGETALL", "missing"], b""), "\n");
    assert_eq!(
        redis_cli(&server, &[], b"INCR n\nINCR n\nLPUSH n x\nPING\n"),
        "1\n2\nWRONGTYPE Operation against a key holding the wrong kind of value\n\nPONG\n"
    );
    assert!(redis_cli(&server, &["--scan", "--pattern", "gr*"], b"").contains("greeting"));
    assert!(redis_cli(&server, &["INFO", "server"], b"").contains("redis_version:7."));
}

#[test]
fn redis_cli_mass_insertion() {
    let server = server();
    let mut input = bytes::BytesMut::new();
    for number in 0..20_000 {
        neokv_resp::client::encode_command(
            &["SET", &format!("key:{number}"), &number.to_string()],
            &mut input,
        );
    }
    let report = redis_cli(&server, &["--pipe"], &input);
    assert!(report.contains("errors: 0, replies: 20000"), "{report}");
    assert_eq!(redis_cli(&server, &["DBSIZE"], b""), "20000\n");
    assert_eq!(redis_cli(&server, &["GET", "key:19999"], b""), "19999\n");
}

#[test]
fn redis_py() {
    let server = server();
    let output = Command::new(installed("python/bin/python"))
        .arg(source("redis_py.py"))
        .arg(server.port().to_string())
        .output()
        .unwrap();
    assert_eq!(assert_success(&output), "ok\n");
}

#[test]
fn ioredis_and_node_redis() {
    let server = server();
    // Node resolves modules from the folder of the script, so the script runs from where the
    // modules are.
    let script = installed("node/node_modules").with_file_name("node.mjs");
    std::fs::copy(source("node.mjs"), &script).unwrap();
    let output = Command::new("node").arg(&script).arg(server.port().to_string()).output().unwrap();
    assert_eq!(assert_success(&output), "ok\n");
}

#[test]
fn redis_rs() -> redis::RedisResult<()> {
    use redis::Commands;

    let server = server();
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/", server.port()))?;
    let mut connection = client.get_connection()?;
    let () = connection.set("greeting", "hello")?;
    assert_eq!(connection.get::<_, String>("greeting")?, "hello");
    assert_eq!(connection.get::<_, Option<String>>("missing")?, None);
    let (a, b): (i64, i64) = redis::pipe().incr("n", 1).incr("n", 2).query(&mut connection)?;
    assert_eq!((a, b), (1, 3));
    let () = connection.zadd_multiple("board", &[(1.5, "bob"), (3.0, "ada")])?;
    assert_eq!(
        connection.zrange_withscores::<_, Vec<(String, f64)>>("board", 0, -1)?[1],
        ("ada".into(), 3.0)
    );
    let keys: std::collections::BTreeSet<String> =
        connection.scan()?.collect::<redis::RedisResult<_>>()?;
    assert_eq!(keys.len(), 3);
    let error = connection.lpush::<_, _, i64>("greeting", "x").unwrap_err();
    assert_eq!(error.code(), Some("WRONGTYPE"));
    Ok(())
}
