//! Kills and damage: what was acknowledged is there afterwards, or the server says what is wrong.

use std::time::Duration;

use neokv_tests::ledger::{Plan, run};
use neokv_tests::process::Server;

use crate::support::{neokv, number};

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_by_halves() {
    let mut server = Server::neokv(&[]).unwrap();
    let plan = Plan { kills: 6, clients: 6, seed: 2_026, longest: Duration::from_millis(700) };
    let summary = run(&mut server, plan).unwrap();
    assert!(summary.acknowledged > 0, "the load never got an answer: {summary:?}");
}

/// Commands that write much are spread over several log entries. A kill anywhere leaves the first
/// ones of the pipeline, each done once, and at least those that were answered.
#[test]
fn a_kill_within_a_pipeline_of_large_effects_leaves_its_beginning() {
    const STRINGS: i64 = 16;
    const LENGTH: i64 = 4 << 20;
    let mut server = neokv(&[]);
    let mut c = server.connect().unwrap();
    for n in 0..STRINGS {
        assert_eq!(number(&mut c, &format!("SETRANGE k{n} {} x", LENGTH - 1)), LENGTH);
    }
    for answers in [1, 9, 24] {
        let before = number(&mut c, "INCRBY n 0");
        let lengths = |c: &mut _| {
            (0..STRINGS).map(|n| number(c, &format!("STRLEN k{n}"))).collect::<Vec<_>>()
        };
        let were = lengths(&mut c);
        for n in 0..STRINGS {
            c.queue(&["APPEND", &format!("k{n}"), "y"]);
            c.queue(&["INCR", "n"]);
        }
        c.flush().unwrap();
        (0..answers).for_each(|_| drop(c.receive().unwrap()));
        server.kill().unwrap();
        server.restart().unwrap();
        c = server.connect().unwrap();
        let counted = number(&mut c, "INCRBY n 0") - before;
        let grown: Vec<i64> = lengths(&mut c).iter().zip(&were).map(|(is, was)| is - was).collect();
        let appended: i64 = grown.iter().sum();
        assert!(
            appended - counted == 0 || appended - counted == 1,
            "{appended} appends, {counted} increments"
        );
        assert!(
            appended + counted >= answers,
            "{answers} were answered, {appended} + {counted} are there"
        );
        let first: Vec<i64> = (0..STRINGS).map(|n| i64::from(n < appended)).collect();
        assert_eq!(grown, first, "the first ones, once each");
    }
}
