//! `make oracle`: the differential test for as many commands as wanted. `oracle [--commands N]
//! [--seed S] [--keep-going]`
//!
//! Every tenth seed is a short one whose pipelines have replies that the sockets do not take at
//! once.

use std::process::ExitCode;

use neokv_tests::oracle::{Protocol, Run};
use neokv_tests::process::Server;

/// Commands of one seed.
const ROUND: u64 = 20_000;
/// Commands of one seed with large replies.
const CROWDED: u64 = 5_000;

fn main() -> ExitCode {
    let (mut commands, mut seed, mut keep_going) = (2_000_000, 1, false);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let number = match arg.as_str() {
            "--keep-going" => {
                keep_going = true;
                continue;
            }
            _ => args.next().and_then(|number| number.parse().ok()),
        };
        match (arg.as_str(), number) {
            ("--commands", Some(number)) => commands = number,
            ("--seed", Some(number)) => seed = number,
            _ => {
                eprintln!("usage: oracle [--commands N] [--seed S] [--keep-going]");
                return ExitCode::from(2);
            }
        }
    }
    match run(commands, seed, keep_going) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("oracle: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(
    commands: u64,
    first_seed: u64,
    keep_going: bool,
) -> Result<bool, Box<dyn std::error::Error>> {
    let neokv = Server::neokv(&["--sync", "no"])?;
    let redis = Server::redis(&[])?;
    let mut clean = true;
    for round in 0..commands.div_ceil(ROUND) {
        let seed = first_seed + round;
        let protocol = if seed.is_multiple_of(2) { Protocol::Resp3 } else { Protocol::Resp2 };
        let run = Run::new(&neokv, &redis, seed, protocol)?;
        let (mut run, count) =
            if seed.is_multiple_of(10) { (run.crowded(), CROWDED) } else { (run, ROUND) };
        match run.commands(count) {
            Ok(()) => eprintln!("seed {seed}: {count} commands agree ({protocol:?})"),
            Err(difference) => {
                println!("{difference}");
                clean = false;
                if !keep_going {
                    break;
                }
            }
        }
    }
    Ok(clean)
}
