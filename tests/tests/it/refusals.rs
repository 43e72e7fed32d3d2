//! What this server refuses must not take effect by halves: a client that pipelines a transaction,
//! or selects another database, has sent what follows before it reads the refusal.

use neokv_resp::client::Value;
use neokv_tests::client::Connection;

use crate::support::{ask, check, neokv, show};

/// Sends all lines at once, and returns the replies.
fn pipeline(connection: &mut Connection, lines: &[&str]) -> Vec<String> {
    for line in lines {
        connection.queue(&line.split(' ').collect::<Vec<_>>());
    }
    connection.flush().unwrap();
    lines.iter().map(|_| show(&connection.receive().unwrap())).collect()
}

fn assert_all_refused(lines: &[&str], replies: &[String]) {
    for (line, reply) in lines.iter().zip(replies) {
        assert!(reply.starts_with("-ERR ") || reply.starts_with("-EXECABORT "), "{line}: {reply}");
    }
}

#[test]
fn nothing_of_a_refused_transaction_takes_effect() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[("SET n 0", "OK"), ("SET other 0", "OK")]);
    let lines = [
        "MULTI",
        "INCR n",
        "GET n",
        "PING",
        "NOSUCH",
        "GET",
        "FLUSHALL",
        "SELECT 0",
        "MULTI",
        "WATCH n",
        "CLIENT SETNAME inside",
        "EXEC",
    ];
    let replies = pipeline(&mut c, &lines);
    assert_all_refused(&lines, &replies);
    assert!(replies[0].contains("transactions are not supported"), "{}", replies[0]);
    assert!(replies[0].contains("DISCARD"), "it says what to do: {}", replies[0]);
    assert_eq!(
        replies.last().unwrap(),
        "-EXECABORT Transaction discarded because of previous errors."
    );
    // After EXEC the connection is as it was before MULTI.
    check(
        &mut c,
        &[("GET n", "\"0\""), ("INCR n", "1"), ("DBSIZE", "2"), ("CLIENT GETNAME", "nil")],
    );
    let lines = ["multi", "INCR n", "DISCARD", "INCR other"];
    let replies = pipeline(&mut c, &lines);
    assert_all_refused(&lines[..3], &replies[..3]);
    assert_eq!(replies[3], "1");
    check(&mut c, &[("GET n", "\"1\"")]);
}

/// The commands may arrive long after the refusal was read: only the client ends the transaction.
#[test]
fn a_refused_transaction_ends_with_exec_discard_reset_or_the_connection() {
    let server = neokv(&[]);
    for end in ["EXEC", "DISCARD", "RESET"] {
        let mut c = server.connect().unwrap();
        assert!(ask(&mut c, "MULTI").starts_with("-ERR "));
        for _ in 0..3 {
            assert!(ask(&mut c, "SET a 1").starts_with("-ERR "));
        }
        let reply = ask(&mut c, end);
        assert_eq!(reply == "RESET", end == "RESET", "{reply}");
        check(&mut c, &[("SET a 1", "OK"), ("DEL a", "1")]);
    }
    let mut c = server.connect().unwrap();
    let replies = pipeline(&mut c, &["MULTI", "SET a 1", "QUIT"]);
    assert_eq!(replies[2], "OK", "{replies:?}");
    assert!(c.receive().is_err(), "QUIT ends the connection");
    check(&mut server.connect().unwrap(), &[("EXISTS a", "0")]);
}

#[test]
fn what_stands_alone_is_answered_as_redis_does() {
    let mut both = crate::support::Both::start();
    for line in [
        "EXEC",
        "DISCARD",
        "EXEC x",
        "DISCARD x",
        "MULTI x",
        // The wrong number of words began no transaction.
        "SET a 1",
        "GET a",
        "UNWATCH x",
        "WATCH",
    ] {
        both.ask(line);
    }
}

#[test]
fn without_the_password_nothing_begins() {
    let server = neokv(&["--requirepass", "sesame"]);
    let mut c = server.connect().unwrap();
    for line in ["MULTI", "EXEC", "DISCARD", "WATCH a", "SELECT 5"] {
        check(&mut c, &[(line, "-NOAUTH Authentication required.")]);
    }
    check(&mut c, &[("AUTH sesame", "OK"), ("SET a 1", "OK")]);
}

#[test]
fn watched_keys_are_refused_without_a_trap() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    assert!(ask(&mut c, "WATCH a b").contains("transactions are not supported"));
    check(&mut c, &[("SET a 1", "OK"), ("UNWATCH", "OK")]);
}

/// A client that believes to be in database 5 would read and write what belongs to another.
#[test]
fn a_refused_database_keeps_commands_away_from_the_keys() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[("SET a 1", "OK"), ("SELECT 5", "-ERR DB index is out of range")]);
    let lines = ["SET a 2", "GET a", "MGET a b", "DEL a", "FLUSHALL", "DBSIZE", "SCAN 0", "KEYS *"];
    let replies = pipeline(&mut c, &lines);
    assert_all_refused(&lines, &replies);
    for reply in &replies {
        assert!(reply.contains("SELECT 0"), "it says what to do: {reply}");
    }
    // What is not about keys goes on.
    check(&mut c, &[("PING", "PONG"), ("ECHO x", "\"x\""), ("CONFIG GET port2", "[]")]);
    check(&mut c, &[("SELECT 0", "OK"), ("GET a", "\"1\""), ("DBSIZE", "1")]);
    for (wrong, right) in [("SELECT -1", "SELECT 0"), ("SELECT x", "RESET")] {
        let replies = pipeline(&mut c, &[wrong, "INCR a", right, "GET a"]);
        assert!(replies[1].starts_with("-ERR "), "{replies:?}");
        assert_eq!(replies[3], "\"1\"", "{wrong}");
    }
    check(&mut server.connect().unwrap(), &[("GET a", "\"1\"")]);
}

#[test]
fn refusals_are_silent_where_replies_are_off() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    for line in ["CLIENT REPLY OFF", "MULTI", "SET a 1", "EXEC", "CLIENT REPLY ON"] {
        c.queue(&line.split(' ').collect::<Vec<_>>());
    }
    c.flush().unwrap();
    assert_eq!(c.receive().unwrap(), Value::Simple("OK".into()));
    check(&mut c, &[("EXISTS a", "0")]);
}
