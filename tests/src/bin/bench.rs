//! `make bench`: prints the benchmark table. `bench [--rounds N] [--scale X] [--only TEST] [--
//! NEOKV ARGUMENTS]`. TEST is that of a row, `single`, `restart` or `regions`.
//!
//! `bench --larger-than-memory` measures a data set of four times the memory that the server may
//! use instead, and takes about four minutes, or eight beside another build.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use neokv_tests::bench::larger;
use neokv_tests::bench::regions::{pipelines, thousand_idle};
use neokv_tests::bench::restart::longest_start;
use neokv_tests::bench::single::{Size, figures};
use neokv_tests::bench::syscalls::HOW_TO_COUNT;
use neokv_tests::bench::table;
use neokv_tests::bench::throughput::Servers;
use neokv_tests::bench::workloads::{WORKLOADS, Workload};

const USAGE: &str = "\
usage: bench [--rounds N] [--scale X] [--only TEST] [-- NEOKV ARGUMENTS]
       bench --larger-than-memory [--memory MIB] [--against NEOKV] [--cgroup FOLDER]
             [--rounds N] [--scale X] [-- NEOKV ARGUMENTS]";

struct Options {
    rounds: usize,
    scale: f64,
    only: Option<String>,
    larger: Option<Larger>,
    neokv: Vec<String>,
}

/// How the data set larger than memory is measured.
struct Larger {
    memory: u32,
    against: Option<PathBuf>,
    cgroup: Option<PathBuf>,
}

fn options() -> Option<Options> {
    let mut options =
        Options { rounds: 5, scale: 1.0, only: None, larger: None, neokv: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--rounds" => options.rounds = args.next()?.parse().ok()?,
            "--scale" => options.scale = args.next()?.parse().ok()?,
            "--only" => options.only = Some(args.next()?),
            "--larger-than-memory" => {
                options.larger = Some(Larger { memory: 256, against: None, cgroup: None });
            }
            "--memory" => options.larger.as_mut()?.memory = args.next()?.parse().ok()?,
            "--against" => options.larger.as_mut()?.against = Some(args.next()?.into()),
            "--cgroup" => options.larger.as_mut()?.cgroup = Some(args.next()?.into()),
            "--" => options.neokv = args.by_ref().collect(),
            _ => return None,
        }
    }
    let is_known = options.only.as_ref().is_none_or(|only| tests().contains(&only.as_str()));
    is_known.then_some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        eprintln!("TEST: {}", tests().join(", "));
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

/// What `--only` takes.
fn tests() -> Vec<&'static str> {
    let mut tests: Vec<_> = WORKLOADS.iter().map(|row| row.name).collect();
    tests.dedup();
    tests.extend(["single", "restart", "regions"]);
    tests
}

fn run(options: &Options) -> io::Result<()> {
    let neokv: Vec<&str> = options.neokv.iter().map(String::as_str).collect();
    if let Some(larger) = &options.larger {
        return larger_than_memory(&neokv, larger, options);
    }
    let is_wanted = |name| options.only.as_ref().is_none_or(|only| only == name);
    let rows: Vec<_> = WORKLOADS.iter().filter(|row| is_wanted(row.name)).collect();
    if !rows.is_empty() {
        throughput(&neokv, &rows, options)?;
    }
    if is_wanted("single") {
        println!();
        let size = Size { rounds: options.rounds, scale: options.scale };
        for figure in figures(&neokv, size)? {
            println!("{}", figure.line());
        }
    }
    if is_wanted("restart") {
        println!("{}", longest_start(&neokv, options.scale)?);
    }
    if is_wanted("regions") {
        region_figures(options.rounds)?;
    }
    Ok(())
}

fn larger_than_memory(neokv: &[&str], larger: &Larger, options: &Options) -> io::Result<()> {
    let plan = larger::Plan {
        neokv,
        against: larger.against.as_deref(),
        budget: larger.memory,
        cgroup: larger.cgroup.as_deref(),
        rounds: options.rounds,
        scale: options.scale,
    };
    larger::measure(plan, |line| println!("{line}"))
}

fn throughput(neokv: &[&str], rows: &[&Workload], options: &Options) -> io::Result<()> {
    let servers = Servers::start(neokv)?;
    if !servers.counts_system_calls() {
        println!("{HOW_TO_COUNT}\n");
    }
    println!("medians of {} rounds\n{}", options.rounds, table::header());
    for row in rows {
        println!("{}", table::row(&servers.measure(row, options.rounds, options.scale)?));
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
