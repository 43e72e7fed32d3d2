//! `make bench`: prints the benchmark table. `bench [--rounds N] [--scale X] [--only TEST] [--
//! NEOKV ARGUMENTS]`. TEST is that of a row, `single` or `regions`.

use std::io;
use std::process::ExitCode;

use neokv_tests::bench::regions::{pipelines, thousand_idle};
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
    let is_wanted = |name| options.only.as_ref().is_none_or(|only| only == name);
    if is_wanted("single") {
        single_figures(&neokv, options.rounds)?;
    }
    if is_wanted("regions") {
        region_figures(options.rounds)?;
    }
    Ok(())
}

fn region_figures(rounds: usize) -> io::Result<()> {
    let times = pipelines(rounds)?;
    let ms = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let ratio = |one: std::time::Duration, many: std::time::Duration| ms(many) / ms(one).max(1e-9);
    let (one, many) = times.unsynced;
    println!(
        "\na pipeline of 100 random SETs: {:.2} ms over 1 region, {:.2} ms over 64: {:.2} times \
         (without fsync {:.2} and {:.2} ms: {:.2} times)",
        ms(times.one),
        ms(times.many),
        ratio(times.one, times.many),
        ms(one),
        ms(many),
        ratio(one, many)
    );
    let idle = thousand_idle()?;
    println!(
        "1,000 idle regions: start {:.2} s (target: under 5 s), {:.2} % of a core (target: under \
         3 %), {:.3} MiB each (target: under 0.3)",
        idle.start.as_secs_f64(),
        idle.load * 100.0,
        idle.bytes_each as f64 / f64::from(1 << 20)
    );
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
