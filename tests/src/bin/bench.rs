//! `make bench`: prints the benchmark table. `bench [--rounds N] [--scale X] [--only TEST] [--
//! NEOKV ARGUMENTS]`

use std::io;
use std::process::ExitCode;

use neokv_tests::bench::single::{delete_large_hash, footprint};
use neokv_tests::bench::throughput::{Peer, Servers, WORKLOADS};

struct Options {
    rounds: usize,
    scale: f64,
    only: Option<String>,
    neokv: Vec<String>,
}

fn options() -> Option<Options> {
    let mut options = Options { rounds: 3, scale: 1.0, only: None, neokv: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => options.rounds = args.next()?.parse().ok()?,
            "--scale" => options.scale = args.next()?.parse().ok()?,
            "--only" => options.only = Some(args.next()?),
            "--" => options.neokv = args.by_ref().collect(),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: bench [--rounds N] [--scale X] [--only TEST] [-- NEOKV ARGUMENTS]");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<()> {
    let neokv: Vec<&str> = options.neokv.iter().map(String::as_str).collect();
    let servers = Servers::start(&neokv)?;
    println!(
        "{:<12} {:>4} {:>12} {:>12}  {:<22} {:>6} {:>7}",
        "test", "pipe", "NeoKV /s", "Redis /s", "peer", "ratio", "target"
    );
    for workload in
        WORKLOADS.iter().filter(|w| options.only.as_ref().is_none_or(|only| only == w.test))
    {
        let row = servers.measure(workload, options.rounds, options.scale)?;
        let peer = match workload.peer {
            Peer::Durable => "appendfsync always",
            Peer::Memory => "in memory",
        };
        let verdict = if row.ratio() >= workload.target { "reached" } else { "MISSED" };
        println!(
            "{:<12} {:>4} {:>12.0} {:>12.0}  {peer:<22} {:>6.2} {:>7.2} {verdict}",
            workload.test,
            workload.pipeline,
            row.neokv,
            row.peer,
            row.ratio(),
            workload.target
        );
    }
    drop(servers);
    if options.only.is_none() {
        single_figures(&neokv, options.rounds)?;
    }
    Ok(())
}

fn single_figures(neokv: &[&str], rounds: usize) -> io::Result<()> {
    let mut server = neokv_tests::process::Server::neokv(neokv)?;
    let delete = delete_large_hash(&server, rounds)?;
    println!(
        "\nDEL of a hash of 1,000,000 fields, median: {:.3} ms (target: under 2 ms)",
        delete.as_secs_f64() * 1e3
    );
    let figures = footprint(&mut server)?;
    println!(
        "restart after SIGKILL with 1,000,000 keys: {:.2} s (target: under 2 s)",
        figures.restart.as_secs_f64()
    );
    println!("resident memory after 1,000,000 keys of 64 bytes: {} MiB", figures.resident >> 20);
    println!(
        "bytes written per byte of user data: {:.2}",
        figures.written as f64 / figures.user.max(1) as f64
    );
    Ok(())
}
