//! `make crash`: kills the server under load again and again. `crash [--kills N] [--clients N]
//! [--seed S]`

use std::process::ExitCode;
use std::time::Duration;

use neokv_tests::ledger::{Plan, run};
use neokv_tests::process::Server;

fn main() -> ExitCode {
    let mut plan = Plan { kills: 100, clients: 8, seed: 1, longest: Duration::from_millis(800) };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let number: Option<u32> = args.next().and_then(|number| number.parse().ok());
        match (arg.as_str(), number) {
            ("--kills", Some(number)) => plan.kills = number,
            ("--clients", Some(number)) => plan.clients = number,
            ("--seed", Some(number)) => plan.seed = number.into(),
            _ => {
                eprintln!("usage: crash [--kills N] [--clients N] [--seed S]");
                return ExitCode::from(2);
            }
        }
    }
    match Server::neokv(&[]).and_then(|mut server| run(&mut server, plan)) {
        Ok(summary) => {
            println!(
                "{} kills, nothing lost, nothing twice, nothing by halves: {summary:?}",
                plan.kills
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("seed {}: {error}", plan.seed);
            ExitCode::FAILURE
        }
    }
}
