//! Kills and damage: what was acknowledged is there afterwards, or the server says what is wrong.

use std::time::Duration;

use neokv_tests::ledger::{Plan, run};
use neokv_tests::process::Server;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_by_halves() {
    let mut server = Server::neokv(&[]).unwrap();
    let plan = Plan { kills: 6, clients: 6, seed: 2_026, longest: Duration::from_millis(700) };
    let summary = run(&mut server, plan).unwrap();
    assert!(summary.acknowledged > 0, "the load never got an answer: {summary:?}");
}
