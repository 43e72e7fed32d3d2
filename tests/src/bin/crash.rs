//! `make crash`: kills the server under load again and again. `crash [--kills N] [--clients N]
//! [--seed S] [-- NEOKV ARGUMENTS]`
//!
//! It can be interrupted at any time, and leaves nothing behind.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use neokv_tests::ledger::{Plan, run};

/// How often it tells how far it is.
const EVERY: Duration = Duration::from_secs(10);

fn plan() -> Option<Plan> {
    let longest = Duration::from_millis(800);
    let mut plan = Plan { kills: 500, clients: 8, seed: 1, longest, arguments: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kills" => plan.kills = args.next()?.parse().ok()?,
            "--clients" => plan.clients = args.next()?.parse().ok()?,
            "--seed" => plan.seed = args.next()?.parse().ok()?,
            "--" => plan.arguments = args.by_ref().collect(),
            _ => return None,
        }
    }
    Some(plan)
}

fn main() -> ExitCode {
    let Some(plan) = plan() else {
        eprintln!("usage: crash [--kills N] [--clients N] [--seed S] [-- NEOKV ARGUMENTS]");
        return ExitCode::from(2);
    };
    eprintln!("{} kills, seed {}", plan.kills, plan.seed);
    let mut told = Instant::now();
    let result = run(&plan, |summary| {
        if told.elapsed() >= EVERY {
            told = Instant::now();
            eprintln!("{} of {} kills so far", summary.kills(), plan.kills);
        }
    });
    match result {
        Ok(summary) => {
            println!("nothing lost, nothing twice, nothing by halves: {summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("seed {}: {error}", plan.seed);
            ExitCode::FAILURE
        }
    }
}
