//! Kills and damage: what was acknowledged is there afterwards, or the server says what is wrong.

use std::time::Duration;

use neokv_tests::ledger::{Plan, run};

use crate::support::{neokv, number};

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_by_halves() {
    let longest = Duration::from_millis(700);
    let plan = Plan { kills: 10, clients: 6, seed: 2_026, longest, arguments: Vec::new() };
    let summary = run(&plan, |_| {}).unwrap();
    assert!(summary.acknowledged > 0, "the load never got an answer: {summary}");
    assert!(summary.kills() >= 10 && summary.under_load > 0, "{summary}");
}

/// Commands that write much are spread over several log entries. A kill anywhere leaves the first
/// ones of the pipeline, each done once, and at least those that were answered.
#[test]
fn a_kill_within_a_pipeline_of_large_effects_leaves_its_beginning() {
    const SETS: i64 = 16;
    const BYTES: usize = 4 << 20;
    let mut server = neokv(&[]);
    let mut c = server.connect().unwrap();
    assert_eq!(number(&mut c, &format!("SADD large {}", "m".repeat(BYTES))), 1);
    for answers in [1, 9, 24] {
        let before = number(&mut c, "INCRBY n 0");
        for n in 0..SETS {
            c.queue(&["SUNIONSTORE", &format!("after-{answers}-{n}"), "large"]);
            c.queue(&["INCR", "n"]);
        }
        c.flush().unwrap();
        (0..answers).for_each(|_| drop(c.receive().unwrap()));
        server.kill().unwrap();
        server.restart().unwrap();
        c = server.connect().unwrap();
        let counted = number(&mut c, "INCRBY n 0") - before;
        let is_there = |n| number(&mut c, &format!("EXISTS after-{answers}-{n}"));
        let sets: Vec<i64> = (0..SETS).map(is_there).collect();
        let stored: i64 = sets.iter().sum();
        assert!(
            stored - counted == 0 || stored - counted == 1,
            "{stored} sets, {counted} increments"
        );
        assert!(
            stored + counted >= answers,
            "{answers} were answered, {stored} + {counted} are there"
        );
        let first: Vec<i64> = (0..SETS).map(|n| i64::from(n < stored)).collect();
        assert_eq!(sets, first, "the first ones");
    }
}
