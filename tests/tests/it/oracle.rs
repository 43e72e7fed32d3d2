//! The differential test, with as many commands as a suite has time for; `make oracle` sends
//! millions.

use neokv_tests::oracle::{Protocol, Run};
use neokv_tests::process::Server;

fn agree(seed: u64, protocol: Protocol, commands: u64) {
    compare(seed, protocol, commands, |run| run);
}

fn compare(seed: u64, protocol: Protocol, commands: u64, how: fn(Run) -> Run) {
    let neokv = Server::neokv(&["--sync", "no"]).unwrap();
    let redis = Server::redis(&[]).unwrap();
    let mut run = how(Run::new(&neokv, &redis, seed, protocol).unwrap());
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

#[test]
fn replies_agree_behind_replies_that_wait() {
    compare(20_263, Protocol::Resp2, 1_500, Run::crowded);
    compare(20_264, Protocol::Resp3, 500, Run::crowded);
}
