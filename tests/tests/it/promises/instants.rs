//! One command is one instant, and one acknowledged write is one write.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use neokv_resp::client::Value;
use neokv_tests::client::Connection;
use neokv_tests::process::Server;

use crate::support::{array, ask, check, neokv, send, text};

/// Ends the writers also when the reader panics; otherwise their threads would be waited for in
/// vain.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs `write` again and again on connections of its own, while `read` looks.
fn while_writing(
    server: &Server,
    writers: usize,
    write: impl Fn(&mut Connection, usize) + Sync,
    read: impl FnOnce(&mut Connection),
) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&done);
        for writer in 0..writers {
            let (done, write) = (&done, &write);
            let mut connection = server.connect().unwrap();
            scope.spawn(move || {
                let mut turn = 0;
                while !done.load(Ordering::SeqCst) {
                    write(&mut connection, writer + turn * writers);
                    turn += 1;
                }
            });
        }
        read(&mut server.connect().unwrap());
    });
}

#[test]
fn mget_never_sees_half_an_mset() {
    let server = neokv(&[]);
    let keys: Vec<String> = (0..12).map(|n| format!("key:{n}")).collect();
    let mget = format!("MGET {}", keys.join(" "));
    let mset = |c: &mut Connection, turn: usize| {
        let pairs: Vec<String> = keys.iter().map(|key| format!("{key} {turn}")).collect();
        check(c, &[(&format!("MSET {}", pairs.join(" ")), "OK")]);
    };
    mset(&mut server.connect().unwrap(), 0);
    while_writing(&server, 2, mset, |c| {
        let mut seen = BTreeSet::new();
        for _ in 0..3000 {
            let values = array(c, &mget);
            assert!(values.windows(2).all(|pair| pair[0] == pair[1]), "{values:?}");
            seen.insert(text(&values[0]).to_owned());
        }
        assert!(seen.len() > 10, "the writers hardly wrote: {seen:?}");
    });
}

/// One member moves to and fro between two sets: at every instant it is in exactly one of them.
#[test]
fn set_algebra_reads_and_stores_at_one_instant() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[("SADD a ball a1 a2", "3"), ("SADD b b1", "1")]);
    let toss = |c: &mut Connection, turn: usize| {
        let (from, to) = if turn.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        check(c, &[(&format!("SMOVE {from} {to} ball"), "1")]);
    };
    while_writing(&server, 1, toss, |c| {
        for _ in 0..800 {
            check(
                c,
                &[
                    ("SUNIONSTORE union a b", "4"),
                    ("SINTERSTORE inter a b", "0"),
                    ("SCARD union", "4"),
                    ("SINTERCARD 2 a b", "0"),
                    ("SINTER a b", "[]"),
                ],
            );
            assert_eq!(array(c, "SUNION a b").len(), 4);
            let left = array(c, "SDIFF a b").len();
            assert!(left == 2 || left == 3, "{left} members");
        }
    });
}

/// LMOVE from one end of a list to the other: at every instant the list is whole, and turned by
/// some elements. A move in two steps would show three elements, or five.
#[test]
fn a_move_is_never_seen_half() {
    let server = neokv(&[]);
    let mut c = server.connect().unwrap();
    check(&mut c, &[("RPUSH a 1 2 3 4", "4")]);
    let turns = ["1 2 3 4", "2 3 4 1", "3 4 1 2", "4 1 2 3"];
    let rotate = |c: &mut Connection, _: usize| {
        send(c, "LMOVE a a LEFT RIGHT");
    };
    while_writing(&server, 1, rotate, |c| {
        let mut seen = BTreeSet::new();
        for _ in 0..2000 {
            let elements = array(c, "LRANGE a 0 -1");
            let elements: Vec<&str> = elements.iter().map(text).collect();
            let elements = elements.join(" ");
            assert!(turns.contains(&elements.as_str()), "{elements}");
            seen.insert(elements);
        }
        assert!(seen.len() > 1, "the writer hardly wrote: {seen:?}");
    });
}

/// Commands that show a repetition: applied twice, each leaves another state than applied once.
const ONCE: [(&str, &str); 7] = [
    ("INCR counter", "GET counter"),
    ("APPEND text x", "STRLEN text"),
    ("RPUSH list x", "LLEN list"),
    ("HINCRBY hash field 1", "HGET hash field"),
    ("ZINCRBY zset 1 member", "ZSCORE zset member"),
    ("INCRBYFLOAT float 1", "GET float"),
    ("LMPOP 1 stack LEFT COUNT 1", "LLEN stack"),
];

#[test]
fn an_acknowledged_write_happens_exactly_once_over_kills() {
    let mut server = Server::neokv(&[]).unwrap();
    let mut c = server.connect().unwrap();
    let stack = vec!["x"; 5000].join(" ");
    check(&mut c, &[(&format!("RPUSH stack {stack}"), "5000")]);
    let mut acknowledged = 0;
    for round in 0..4 {
        let mut c = server.connect().unwrap();
        for _ in 0..30 {
            for (line, _) in ONCE {
                c.queue(&line.split(' ').collect::<Vec<_>>());
            }
        }
        c.flush().unwrap();
        for _ in 0..30 * ONCE.len() {
            assert!(!c.receive().unwrap().is_error());
        }
        acknowledged += 30;
        // Everything is acknowledged: now the kill may take nothing and repeat nothing.
        server.kill().unwrap();
        server.restart().unwrap();
        let mut c = server.connect().unwrap();
        for (line, look) in ONCE {
            let expected =
                if line.starts_with("LMPOP") { 5000 - acknowledged } else { acknowledged };
            let found = ask(&mut c, look).trim_matches('"').parse::<i64>().unwrap();
            assert_eq!(found, expected, "{line} in round {round}");
        }
    }
}

/// What a random choice took is gone for good: the same members are missing before and after a
/// restart.
#[test]
fn random_choices_are_the_same_after_a_restart() {
    let mut server = Server::neokv(&["--sync", "no"]).unwrap();
    let mut c = server.connect().unwrap();
    let members: Vec<String> = (0..500).map(|n| format!("m{n}")).collect();
    send(&mut c, &format!("SADD set {}", members.join(" ")));
    let mut gone = BTreeSet::new();
    for _ in 0..40 {
        for value in array(&mut c, "SPOP set 5") {
            assert!(gone.insert(text(&value).to_owned()), "{value:?} was popped twice");
        }
    }
    assert_eq!(gone.len(), 200);
    let mut left: Vec<Value> = array(&mut c, "SMEMBERS set");
    server.kill().unwrap();
    server.restart().unwrap();
    let mut again = array(&mut server.connect().unwrap(), "SMEMBERS set");
    left.sort_by_key(|value| text(value).to_owned());
    again.sort_by_key(|value| text(value).to_owned());
    assert_eq!(again, left);
    assert!(left.iter().all(|value| !gone.contains(text(value))));
}
