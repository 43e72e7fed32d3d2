//! Connections: order, limits, authentication, hostile and slow clients, over real sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use bytes::BytesMut;
use neokv_resp::client::{Decoder, Value, encode_command};

use crate::harness::{Client, DEADLINE, Server, text};

fn start(args: &[&str]) -> (tempfile::TempDir, Server) {
    let dir = tempfile::tempdir().expect("a directory");
    let server = Server::start(dir.path(), args);
    (dir, server)
}

/// A bare socket: what is sent and read is bytes.
fn socket(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", server.port)).expect("connect");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Everything until the server closes the connection.
fn read_to_end(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("until the end");
    String::from_utf8(bytes).expect("UTF-8")
}

/// Reads exactly what is expected, and shows both if it differs.
fn expect(stream: &mut TcpStream, expected: &str) {
    let mut bytes = vec![0; expected.len()];
    stream.read_exact(&mut bytes).expect("a reply");
    assert_eq!(bytes.escape_ascii().to_string(), expected.as_bytes().escape_ascii().to_string());
}

/// Commands as arrays, one after the other; words are separated by blanks.
fn commands(lines: &[&str]) -> BytesMut {
    let mut out = BytesMut::new();
    for line in lines {
        encode_command(&line.split(' ').collect::<Vec<_>>(), &mut out);
    }
    out
}

/// Writes, reads, refusals and session commands in one pipeline, with their replies.
const MIXED: [(&str, &str); 16] = [
    ("SET a 1", "+OK\r\n"),
    ("INCR a", ":2\r\n"),
    ("GET a", "$1\r\n2\r\n"),
    ("LPUSH a x", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"),
    ("INCR a", ":3\r\n"),
    ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
    ("INCR a", ":4\r\n"),
    ("PING", "+PONG\r\n"),
    ("NOSUCH x", "-ERR unknown command 'NOSUCH', with args beginning with: 'x' \r\n"),
    ("RPUSH l 1 2 3", ":3\r\n"),
    ("LRANGE l 0 -1", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n"),
    ("RPOP l", "$1\r\n3\r\n"),
    ("DEL a l", ":2\r\n"),
    ("EXISTS a l", ":0\r\n"),
    ("GET a", "$-1\r\n"),
    ("ECHO end", "$3\r\nend\r\n"),
];

fn mixed() -> (BytesMut, String) {
    let lines: Vec<&str> = MIXED.iter().map(|(line, _)| *line).collect();
    (commands(&lines), MIXED.iter().map(|(_, reply)| *reply).collect())
}

#[test]
fn a_mixed_pipeline_answers_in_order() {
    let (_dir, server) = start(&[]);
    let (bytes, replies) = mixed();
    let mut stream = socket(&server);
    stream.write_all(&bytes).expect("send");
    expect(&mut stream, &replies);
    // The same bytes one by one.
    for byte in &bytes[..] {
        stream.write_all(&[*byte]).expect("send");
    }
    expect(&mut stream, &replies);
}

/// Short ranges are read on the connection's thread, long ones on the blocking pool. Their replies
/// keep the order of the commands, and each read sees the writes before it.
#[test]
fn short_and_long_ranges_answer_in_order() {
    let (_dir, server) = start(&[]);
    let mut stream = socket(&server);
    let elements: Vec<String> = (0..5000).map(|n| format!("element-{n}")).collect();
    let array = |elements: &[String]| {
        let strings: String = elements.iter().map(|e| format!("${}\r\n{e}\r\n", e.len())).collect();
        format!("*{}\r\n{strings}", elements.len())
    };
    let push = format!("RPUSH long {}", elements.join(" "));
    let mut lines = vec![push.as_str()];
    let mut replies = ":5000\r\n".to_owned();
    for _ in 0..30 {
        lines.extend([
            "LRANGE long 0 2",
            "LRANGE long 0 -1",
            "LRANGE long -600 -1",
            "RPUSH short x",
            "LRANGE short 0 0",
        ]);
        lines.extend(["SADD set m", "SMEMBERS set", "DEL short"]);
        replies += &array(&elements[..3]);
        replies += &array(&elements);
        replies += &array(&elements[4400..]);
        replies += ":1\r\n*1\r\n$1\r\nx\r\n";
        replies += if replies.contains("*1\r\n$1\r\nm") { ":0\r\n" } else { ":1\r\n" };
        replies += "*1\r\n$1\r\nm\r\n:1\r\n";
    }
    let bytes = commands(&lines);
    let mut sender = stream.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || sender.write_all(&bytes).expect("send"));
    expect(&mut stream, &replies);
    sending.join().expect("sent");
}

#[test]
fn commands_before_the_end_of_a_stream_are_answered() {
    let (_dir, server) = start(&[]);
    let (bytes, replies) = mixed();
    let mut stream = socket(&server);
    stream.write_all(&bytes).expect("send");
    stream.shutdown(Shutdown::Write).expect("shutdown");
    assert_eq!(read_to_end(&mut stream), replies);
}

#[test]
fn quit_and_protocol_errors_close_after_the_replies_so_far() {
    let (_dir, server) = start(&[]);
    for (sent, expected) in [
        ("SET a 1\r\nQUIT\r\nSET a 2\r\n", "+OK\r\n+OK\r\n"),
        ("SET a 1\r\n*1\r\nx\r\n", "+OK\r\n-ERR Protocol error: expected '$', got 'x'\r\n"),
        ("GET a\r\n*x\r\n", "$1\r\n1\r\n-ERR Protocol error: invalid multibulk length\r\n"),
        ("set a \"b\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
    ] {
        let mut stream = socket(&server);
        stream.write_all(sent.as_bytes()).expect("send");
        assert_eq!(read_to_end(&mut stream), expected, "{sent:?}");
    }
    let mut client = server.connect();
    assert_eq!(client.call("GET a"), Value::Bulk("1".into()), "nothing after QUIT is run");
}

#[test]
fn resp3_is_spoken_after_hello() {
    let (_dir, server) = start(&[]);
    let mut client = server.connect();
    let Value::Map(fields) = client.call("HELLO 3 SETNAME worker") else {
        panic!("expected a map")
    };
    let field = |name: &str| {
        fields.iter().find(|(field, _)| field.as_text() == Some(name)).map(|(_, value)| value)
    };
    assert_eq!(field("proto"), Some(&Value::Integer(3)));
    assert_eq!(field("server"), Some(&Value::Bulk("redis".into())));
    assert_eq!(client.call("GET nothing"), Value::Null);
    assert_eq!(client.call("SADD s 1"), Value::Integer(1));
    assert_eq!(client.call("SMEMBERS s"), Value::Set(vec![Value::Bulk("1".into())]));
    assert_eq!(client.call("ZADD z 1.5 m"), Value::Integer(1));
    assert_eq!(client.call("ZSCORE z m"), Value::Double("1.5".into()));
    assert_eq!(client.call("CLIENT GETNAME"), Value::Bulk("worker".into()));
    assert_eq!(client.call("RESET"), Value::Simple("RESET".into()));
    assert_eq!(client.call("GET nothing"), Value::Nil);
    assert_eq!(client.call("CLIENT GETNAME"), Value::Nil);
}

/// Replies of `redis-server` 7.0.15 to commands about the connection, byte for byte. `{}` is the
/// client's id.
const CONNECTION: &[(&str, &str)] = &[
    ("PING", "+PONG"),
    ("PING a", "$1 a"),
    ("PING a b", "-ERR wrong number of arguments for 'ping' command"),
    ("ECHO", "-ERR wrong number of arguments for 'echo' command"),
    ("SELECT 0", "+OK"),
    ("SELECT 16", "-ERR DB index is out of range"),
    ("SELECT -1", "-ERR DB index is out of range"),
    ("SELECT x", "-ERR value is not an integer or out of range"),
    (
        "SELECT 99999999999999",
        "-ERR value is out of range, value must between -2147483648 and 2147483647",
    ),
    ("TIME x", "-ERR wrong number of arguments for 'time' command"),
    ("RESET x", "-ERR wrong number of arguments for 'reset' command"),
    ("HELLO 4", "-NOPROTO unsupported protocol version"),
    ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
    ("HELLO 3 AUTH", "-ERR Syntax error in HELLO option 'AUTH'"),
    ("HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'"),
    ("HELLO 3 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'"),
    (
        "HELLO 3 SETNAME \u{7f}",
        "-ERR Client names cannot contain spaces, newlines or special characters.",
    ),
    ("HELLO 2 AUTH foo x", "-WRONGPASS invalid username-password pair or user is disabled."),
    (
        "HELLO 2 AUTH default x",
        "*14 $6 server $5 redis $7 version $6 7.0.15 $5 proto :2 $2 id :{} $4 mode $10 standalone \
         $4 role $6 master $7 modules *0",
    ),
    ("AUTH default x", "+OK"),
    ("AUTH foo x", "-WRONGPASS invalid username-password pair or user is disabled."),
    ("AUTH a b c", "-ERR syntax error"),
    ("AUTH", "-ERR wrong number of arguments for 'auth' command"),
    ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
    ("CLIENT FOO", "-ERR unknown subcommand 'FOO'. Try CLIENT HELP."),
    ("CLIENT ID", ":{}"),
    ("CLIENT ID x", "-ERR wrong number of arguments for 'client|id' command"),
    ("CLIENT GETNAME", "$-1"),
    ("CLIENT SETNAME foo", "+OK"),
    ("CLIENT GETNAME", "$3 foo"),
    (
        "CLIENT SETNAME a\nb",
        "-ERR Client names cannot contain spaces, newlines or special characters.",
    ),
    ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command"),
    ("CLIENT SETNAME ", "+OK"),
    ("CLIENT GETNAME", "$-1"),
    ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'"),
    ("CLIENT LIST TYPE pubsub", "$0 "),
    ("CLIENT LIST ID 98765", "$0 "),
    ("CLIENT LIST ID x", "-ERR Invalid client ID"),
    ("CLIENT LIST ID", "-ERR syntax error"),
    ("CLIENT LIST FOO", "-ERR syntax error"),
    ("CLIENT NO-EVICT on", "+OK"),
    ("CLIENT NO-EVICT x", "-ERR syntax error"),
    ("CLIENT TRACKING off", "+OK"),
    ("CLIENT TRACKING x", "-ERR syntax error"),
    ("CLIENT TRACKINGINFO", "*6 $5 flags *1 $3 off $8 redirect :-1 $8 prefixes *0"),
    ("CLIENT GETREDIR", ":-1"),
    ("CLIENT UNBLOCK 5", ":0"),
    ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range"),
    ("CLIENT UNBLOCK 5 foo", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"),
    ("CLIENT REPLY foo", "-ERR syntax error"),
    ("CLIENT REPLY on", "+OK"),
    ("CLIENT KILL 1.2.3.4:5", "-ERR No such client"),
    ("CLIENT KILL ID 98765", ":0"),
    ("CLIENT KILL ID x", "-ERR client-id should be greater than 0"),
    ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
    ("CLIENT KILL FOO x", "-ERR syntax error"),
    ("CLIENT KILL TYPE x", "-ERR Unknown client type 'x'"),
    ("CLIENT KILL TYPE pubsub", ":0"),
    ("CLIENT KILL USER foo", "-ERR No such user 'foo'"),
    ("CLIENT KILL USER default SKIPME foo", "-ERR syntax error"),
    ("CLIENT KILL SKIPME", "-ERR No such client"),
    ("CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command"),
    ("CLIENT KILL ADDR 1.2.3.4:5 LADDR 1.2.3.4:5", ":0"),
    ("CLIENT SETINFO lib-name x", "+OK"),
    ("RESET", "+RESET"),
    ("QUIT x", "+OK"),
];

#[test]
fn connection_commands_answer_as_redis_does() {
    let (_dir, server) = start(&[]);
    let mut stream = socket(&server);
    for (command, reply) in CONNECTION {
        stream.write_all(&commands(&[command])).expect("send");
        // In the table, a blank stands for a line end inside a reply of several lines.
        let one_line = matches!(reply.as_bytes().first(), Some(b'+' | b'-' | b':'));
        let lines = if one_line { (*reply).to_owned() } else { reply.replace(' ', "\r\n") };
        expect(&mut stream, &format!("{}\r\n", lines.replace("{}", "1")));
    }
    assert_eq!(read_to_end(&mut stream), "");
}

#[test]
fn nothing_is_done_without_the_password() {
    let (_dir, server) = start(&["--requirepass", "secret"]);
    let mut client = server.connect();
    let refused = Value::Error("NOAUTH Authentication required.".into());
    assert_eq!(client.call("SET a 1"), refused);
    assert_eq!(client.call("PING"), refused);
    assert!(text(&client.call("HELLO 3")).starts_with("NOAUTH HELLO must be called"));
    let wrong =
        Value::Error("WRONGPASS invalid username-password pair or user is disabled.".into());
    assert_eq!(client.call("AUTH wrong"), wrong);
    assert_eq!(client.call("AUTH other secret"), wrong);
    // In one pipeline, the commands behind AUTH are allowed.
    client.send(&["GET a", "AUTH secret", "SET a 1", "GET a"]);
    let replies: Vec<_> = (0..4).filter_map(|_| client.reply()).collect();
    let ok = Value::Simple("OK".into());
    assert_eq!(replies, [refused.clone(), ok.clone(), ok, Value::Bulk("1".into())]);
    client.call("RESET");
    assert_eq!(client.call("GET a"), refused, "RESET logs out");
    assert!(matches!(client.call("HELLO 3 AUTH default secret"), Value::Map(_)));
    assert_eq!(client.call("GET a"), Value::Bulk("1".into()));
}

#[test]
fn an_unauthenticated_client_cannot_make_the_server_buffer_much() {
    let (_dir, server) = start(&["--requirepass", "secret"]);
    for (sent, error) in [
        ("*11\r\n", "unauthenticated multibulk length"),
        ("*2\r\n$4\r\nECHO\r\n$16385\r\n", "unauthenticated bulk length"),
    ] {
        let mut stream = socket(&server);
        stream.write_all(sent.as_bytes()).expect("send");
        assert_eq!(read_to_end(&mut stream), format!("-ERR Protocol error: {error}\r\n"));
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    let (_dir, server) = start(&["--maxclients", "2"]);
    let mut first = server.connect();
    let mut second = server.connect();
    assert_eq!(first.call("PING"), Value::Simple("PONG".into()));
    assert_eq!(second.call("PING"), Value::Simple("PONG".into()));
    assert_eq!(read_to_end(&mut socket(&server)), "-ERR max number of clients reached\r\n");
    assert_eq!(second.call("QUIT"), Value::Simple("OK".into()));
    assert_eq!(second.reply(), None);
    // The place is free when the server has noticed the end; then its list is shorter.
    while text(&first.call("CLIENT LIST")).lines().count() > 1 {}
    assert_eq!(server.connect().call("PING"), Value::Simple("PONG".into()));
}

#[test]
fn idle_connections_are_closed_where_that_is_wanted() {
    let (_dir, server) = start(&["--timeout", "1"]);
    let mut idle = server.connect();
    assert_eq!(idle.call("PING"), Value::Simple("PONG".into()));
    assert_eq!(idle.reply(), None);
}

#[test]
fn a_killed_connection_ends_and_others_go_on() {
    let (_dir, server) = start(&[]);
    let mut one = server.connect();
    let mut other = server.connect();
    let Value::Integer(id) = one.call("CLIENT ID") else { panic!("expected an id") };
    assert_eq!(other.call("CLIENT KILL ID 999"), Value::Integer(0));
    assert_eq!(other.call(&format!("CLIENT KILL ID {id}")), Value::Integer(1));
    assert_eq!(one.reply(), None);
    assert_eq!(other.call("PING"), Value::Simple("PONG".into()));
    let list = other.call("CLIENT LIST");
    assert!(text(&list).contains(" cmd=client|list "), "{list:?}");
    other.send(&["CLIENT KILL TYPE normal SKIPME no", "PING"]);
    assert_eq!((other.reply(), other.reply()), (Some(Value::Integer(1)), None));
}

#[test]
fn a_killed_connection_runs_no_further_command() {
    let (_dir, server) = start(&[]);
    let (mut one, mut other) = (server.connect(), server.connect());
    let Value::Integer(id) = one.call("CLIENT ID") else { panic!("expected an id") };
    let counted = |client: &mut Client| match client.call("INCRBY n 0") {
        Value::Integer(n) => n,
        unexpected => panic!("{unexpected:?}"),
    };
    // The read makes each write an entry of its own, so the pipeline takes a while.
    one.send(&["INCR n", "GET n"].repeat(20_000));
    while counted(&mut other) == 0 {}
    let kill = format!("CLIENT KILL ID {id}");
    assert_eq!(other.call(&kill), Value::Integer(1));
    let at_kill = counted(&mut other);
    assert_eq!(other.call(&kill), Value::Integer(0), "once is enough");
    assert!(!text(&other.call("CLIENT LIST")).contains(&format!("id={id} ")));
    while one.reply().is_some() {}
    let in_the_end = counted(&mut other);
    assert!(
        in_the_end <= at_kill + 1,
        "{in_the_end} after {at_kill}: only what was in the log already"
    );
    assert!(in_the_end < 20_000, "all of it had been run: nothing is shown");
}

#[test]
fn an_unauthenticated_client_that_reads_nothing_is_closed() {
    let (_dir, server) = start(&["--requirepass", "secret"]);
    let mut stream = socket(&server);
    let pings = b"PING\r\n".repeat(100_000);
    // 34 bytes of refusal for every 6: the sockets are full before all is sent.
    let ended = (0..200).any(|_| stream.write_all(&pings).is_err());
    assert!(ended, "the server took 120 MB from a stranger");
}

#[test]
fn replies_can_be_switched_off() {
    let (_dir, server) = start(&[]);
    let mut client = server.connect();
    client.send(&["CLIENT REPLY OFF", "SET a 1", "INCR a", "GET a", "NOSUCH", "CLIENT REPLY ON"]);
    assert_eq!(client.reply(), Some(Value::Simple("OK".into())));
    client.send(&["CLIENT REPLY SKIP", "INCR a", "INCR a", "CLIENT REPLY SKIP", "GET a", "PING"]);
    assert_eq!(client.reply(), Some(Value::Integer(4)));
    assert_eq!(client.reply(), Some(Value::Simple("PONG".into())));
    client.send(&["CLIENT REPLY SKIP", "RESET", "PING"]);
    assert_eq!(
        client.reply(),
        Some(Value::Simple("PONG".into())),
        "RESET does not undo the SKIP before it"
    );
    for silence in ["OFF", "SKIP"] {
        let mut stream = socket(&server);
        stream
            .write_all(format!("PING\r\nCLIENT REPLY {silence}\r\n*1\r\nx\r\n").as_bytes())
            .expect("send");
        assert_eq!(read_to_end(&mut stream), "+PONG\r\n", "{silence}");
    }
}

#[test]
fn cluster_mode_wants_keys_of_one_slot() {
    let (_dir, server) = start(&["--cluster-mode"]);
    let mut client = server.connect();
    let crossslot = Value::Error("CROSSSLOT Keys in request don't hash to the same slot".into());
    client.send(&[
        "SET {a}1 x",
        "MSET {a}1 y b z",
        "MGET {a}1 {a}2",
        "MGET {a}1 b",
        "DEL {a}1 {a}2 {a}3",
    ]);
    assert_eq!(client.reply(), Some(Value::Simple("OK".into())));
    assert_eq!(client.reply(), Some(crossslot.clone()));
    assert_eq!(client.reply(), Some(Value::Array(vec![Value::Bulk("x".into()), Value::Nil])));
    assert_eq!(client.reply(), Some(crossslot));
    assert_eq!(client.reply(), Some(Value::Integer(1)));
}

#[test]
fn big_arguments_arrive_whole() {
    let (_dir, server) = start(&[]);
    let value: String = (0..3_000_000u32)
        .map(|number| char::from(b'a' + u8::try_from(number % 23).unwrap()))
        .collect();
    let mut stream = socket(&server);
    let mut bytes = BytesMut::new();
    encode_command(&["SET", "big", &value], &mut bytes);
    encode_command(&["GET", "big"], &mut bytes);
    for piece in bytes.chunks(7_919) {
        stream.write_all(piece).expect("send");
    }
    expect(&mut stream, &format!("+OK\r\n$3000000\r\n{value}\r\n"));
}

/// Many client libraries send a whole pipeline before they read the first reply. More replies than
/// the kernel's buffers hold must not stop the server from reading on.
#[test]
fn a_client_may_send_everything_before_it_reads() {
    let (_dir, server) = start(&[]);
    let value = "v".repeat(64 << 10);
    server.connect().call(&format!("SET k {value}"));
    let mut stream = socket(&server);
    let padding = "p".repeat(16 << 10);
    const ROUNDS: usize = 800;
    let mut batch = BytesMut::new();
    encode_command(&["GET", "k"], &mut batch);
    encode_command(&["ECHO", &padding], &mut batch);
    for _ in 0..ROUNDS {
        stream.write_all(&batch).expect("send");
    }
    let (mut decoder, mut input) = (Decoder::default(), BytesMut::new());
    let mut replies = 0;
    let mut chunk = vec![0; 256 << 10];
    while replies < 2 * ROUNDS {
        let read = stream.read(&mut chunk).expect("read");
        assert_ne!(read, 0, "closed after {replies} replies");
        input.extend_from_slice(&chunk[..read]);
        while let Some(reply) = decoder.next(&mut input).expect("valid RESP") {
            let expected = if replies % 2 == 0 { &value } else { &padding };
            assert!(reply.as_text() == Some(expected), "reply {replies}");
            replies += 1;
        }
    }
}

/// The buffered bytes of every connection but the caller's.
fn buffered(watcher: &mut crate::harness::Client) -> Vec<usize> {
    let list = watcher.call("CLIENT LIST");
    let others = text(&list).lines().filter(|line| !line.contains(" cmd=client|list "));
    let total =
        |line: &str| line.split(' ').find_map(|field| field.strip_prefix("tot-mem=")?.parse().ok());
    others.map(|line| total(line).expect("a number")).collect()
}

#[test]
fn a_client_that_never_reads_costs_little() {
    let (_dir, server) = start(&[]);
    let mut watcher = server.connect();
    watcher.call(&format!("SET k {}", "v".repeat(1 << 20)));
    let mut stream = socket(&server);
    // 200 MB of replies: no kernel buffers that much for one socket.
    stream.write_all(&commands(&["GET k"; 200])).expect("send");
    let held = loop {
        match buffered(&mut watcher)[..] {
            [bytes] if bytes > 100_000 => break bytes,
            _ => {}
        }
    };
    assert!(held < 2 << 20, "{held} bytes");
    assert_eq!(watcher.call("PING"), Value::Simple("PONG".into()));
}

#[test]
fn a_client_that_sends_without_reading_is_closed_at_the_limit() {
    let (_dir, server) = start(&["--client-output-buffer-limit", "1mb"]);
    let mut watcher = server.connect();
    let mut stream = socket(&server);
    let request = commands(&[&format!("ECHO {}", "v".repeat(64 << 10))]);
    // Far more than the kernel's buffers hold. The server closes before all is sent; the sender may
    // or may not notice.
    for _ in 0..2000 {
        if stream.write_all(&request).is_err() {
            break;
        }
    }
    while !buffered(&mut watcher).is_empty() {}
    assert!(text(&watcher.call("INFO clients")).contains("connected_clients:1\r\n"));
}

/// A slow reader gets all replies, although together they are far larger than the limit.
#[test]
fn a_slow_reader_is_waited_for() {
    let (_dir, server) = start(&["--client-output-buffer-limit", "4mb"]);
    let value = "v".repeat(1 << 20);
    server.connect().call(&format!("SET k {value}"));
    let mut stream = socket(&server);
    const ROUNDS: usize = 40;
    stream.write_all(&commands(&["GET k"; ROUNDS])).expect("send");
    let reply = format!("$1048576\r\n{value}\r\n");
    for _ in 0..ROUNDS {
        expect(&mut stream, &reply);
    }
}

#[test]
fn calls_are_counted() {
    let (_dir, server) = start(&[]);
    let mut client = server.connect();
    client.send(&["SET a x", "GET a", "GET a", "INCR a", "GET", "SET b 1"]);
    for _ in 0..6 {
        client.reply();
    }
    let stats = client.call("INFO commandstats");
    let line = |name: &str| {
        let found = text(&stats)
            .lines()
            .find(|line| line.starts_with(&format!("cmdstat_{name}:")))
            .map(str::to_owned);
        found.unwrap_or_else(|| panic!("no {name} in {stats:?}"))
    };
    assert!(
        line("get").contains("calls=2,") && line("get").contains("rejected_calls=1,"),
        "{}",
        line("get")
    );
    assert!(line("set").contains("calls=2,"), "{}", line("set"));
    assert!(
        line("incr").contains("calls=1,") && line("incr").contains("failed_calls=1"),
        "{}",
        line("incr")
    );
}
