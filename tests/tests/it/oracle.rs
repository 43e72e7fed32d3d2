//! The differential test, in the measure that a suite can afford; `make oracle` goes on for millions.

use neokv_tests::oracle::{Protocol, Run};
use neokv_tests::process::Server;

fn agree(seed: u64, protocol: Protocol, commands: u64) {
    let neokv = Server::neokv(&["--sync", "no"]).unwrap();
    let redis = Server::redis(&[]).unwrap();
    let mut run = Run::new(&neokv, &redis, seed, protocol).unwrap();
    if let Err(difference) = run.commands(commands) {
        panic!("{difference}");
    }
}

#[test]
fn replies_agree_in_resp2() {
    agree(20_261, Protocol::Resp2, 30_000);
}

#[test]
fn replies_agree_in_resp3() {
    agree(20_262, Protocol::Resp3, 30_000);
}
