//! Runs the workloads by `redis-benchmark`: NeoKV and its peer in turn, round by round.

use std::io;
use std::process::Command;

use super::median;
use super::syscalls::Counter;
use super::usage::{PerCommand, Usage};
use super::workloads::{Commands, Load, Peer, Workload, scaled};
use crate::process::Server;

/// Fewer commands than this say nothing, whatever the scale.
const FEWEST: u32 = 1_000;
/// The part of a round's commands for which system calls are counted.
const COUNTED: f64 = 0.2;

/// What serving a workload costs a server: the medians of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Costs {
    /// Commands a second.
    pub rate: f64,
    /// Processor time of the server for each command, microseconds.
    pub processor_us: f64,
    /// Context switches of the server for each command.
    pub switches: f64,
    /// System calls of the server for each command, where something counts them.
    pub system_calls: Option<f64>,
}

/// The result of a workload.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// What was measured.
    pub workload: Workload,
    /// What it cost NeoKV.
    pub neokv: Costs,
    /// What it cost the Redis that it is compared with.
    pub peer: Costs,
}

impl Row {
    /// NeoKV's throughput as a share of its peer's.
    pub fn ratio(&self) -> f64 {
        if self.peer.rate > 0.0 { self.neokv.rate / self.peer.rate } else { 0.0 }
    }
}

/// One measured run of a load.
#[derive(Clone, Copy)]
struct Round {
    rate: f64,
    each: PerCommand,
}

/// The servers of a run, all up at once so that rounds can take turns.
pub struct Servers {
    neokv: Server,
    durable: Server,
    memory: Server,
    counter: Option<Counter>,
}

impl Servers {
    /// Starts the three servers, NeoKV with these further arguments.
    pub fn start(neokv: &[&str]) -> io::Result<Servers> {
        let neokv = Server::neokv(neokv)?;
        Ok(Servers {
            counter: Counter::find(&neokv),
            neokv,
            durable: Server::redis(&["--appendonly", "yes", "--appendfsync", "always"])?,
            memory: Server::redis(&["--appendonly", "no"])?,
        })
    }

    /// Whether system calls can be counted here.
    pub fn counts_system_calls(&self) -> bool {
        self.counter.is_some()
    }

    /// Runs one workload for some rounds, the servers in turn.
    pub fn measure(&self, workload: &Workload, rounds: usize, scale: f64) -> io::Result<Row> {
        let peer = match workload.peer {
            Peer::Durable => &self.durable,
            Peer::Memory => &self.memory,
        };
        if let Some(fill) = &workload.fill {
            for server in [peer, &self.neokv] {
                rate_of(generator(server, fill, requests(fill, scale)))?;
            }
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            theirs.push(round(peer, &workload.load, scale)?);
            ours.push(round(&self.neokv, &workload.load, scale)?);
        }
        let calls = |server| self.system_calls(server, &workload.load, scale * COUNTED);
        Ok(Row {
            workload: *workload,
            peer: costs(&theirs, calls(peer)?),
            neokv: costs(&ours, calls(&self.neokv)?),
        })
    }

    /// The system calls of a server for each command of a load, in a round for this alone.
    fn system_calls(&self, server: &Server, load: &Load, scale: f64) -> io::Result<Option<f64>> {
        let Some(counter) = self.counter else { return Ok(None) };
        let commands = requests(load, scale);
        let calls = counter.count(server, &generator(server, load, commands))?;
        Ok(Some(calls as f64 / f64::from(commands)))
    }
}

/// Runs a load once and looks at the server before and after.
fn round(server: &Server, load: &Load, scale: f64) -> io::Result<Round> {
    let commands = requests(load, scale);
    let before = Usage::of(server)?;
    let rate = rate_of(generator(server, load, commands))?;
    let each = before.per_command(&Usage::of(server)?, commands);
    Ok(Round { rate, each })
}

/// The medians of the rounds.
fn costs(rounds: &[Round], system_calls: Option<f64>) -> Costs {
    let middle = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    Costs {
        rate: middle(|round| round.rate),
        processor_us: middle(|round| round.each.processor_us),
        switches: middle(|round| round.each.switches),
        system_calls,
    }
}

fn requests(load: &Load, scale: f64) -> u32 {
    scaled(load.requests, scale).max(FEWEST)
}

/// The load generator, ready to be run.
fn generator(server: &Server, load: &Load, requests: u32) -> Command {
    let mut command = Command::new("redis-benchmark");
    let numbers = [
        ("-p", u32::from(server.port())),
        ("-n", requests),
        ("-P", load.pipeline),
        ("-c", load.clients),
    ];
    for (option, number) in numbers {
        command.args([option, &number.to_string()]);
    }
    command.args(["-d", "64", "-r", "1000000", "--csv"]);
    match load.commands {
        Commands::Test(test) => command.args(["-t", test]),
        Commands::Words(words) => command.args(words),
    };
    command
}

/// Runs the load generator: commands a second.
fn rate_of(mut generator: Command) -> io::Result<f64> {
    let output = generator.output().map_err(|error| {
        io::Error::new(error.kind(), format!("redis-benchmark (Debian: redis-tools): {error}"))
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    rate_in(&text).ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("{generator:?} said: {text}{errors}"))
    })
}

/// The rate in what `redis-benchmark --csv` prints: a line that names the columns, and one that has
/// the commands a second in its second cell.
fn rate_in(csv: &str) -> Option<f64> {
    let line = csv.lines().rfind(|line| line.starts_with('"') && !line.starts_with("\"test\""))?;
    // The first cell is the name of the test and may hold commas.
    let cell = line.split("\",\"").nth(1)?;
    cell.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Costs, PerCommand, Round, Row, costs, rate_in};
    use crate::bench::workloads::WORKLOADS;

    fn round_of(rate: f64, processor_us: f64, switches: f64) -> Round {
        Round { rate, each: PerCommand { processor_us, switches } }
    }

    #[test]
    fn each_figure_of_the_rounds_has_a_median_of_its_own() {
        let rounds = [round_of(1.0, 30.0, 0.2), round_of(2.0, 10.0, 0.3), round_of(9.0, 20.0, 0.1)];
        let expected =
            Costs { rate: 2.0, processor_us: 20.0, switches: 0.2, system_calls: Some(4.0) };
        assert_eq!(costs(&rounds, Some(4.0)), expected);
        assert_eq!(costs(&rounds, None).system_calls, None);
    }

    #[test]
    fn the_ratio_is_that_of_the_rates() {
        let of = |rate| costs(&[round_of(rate, 1.0, 1.0)], None);
        let row = |neokv, peer| Row { workload: WORKLOADS[0], neokv: of(neokv), peer: of(peer) };
        assert_eq!(row(50.0, 200.0).ratio(), 0.25);
        assert_eq!(row(50.0, 0.0).ratio(), 0.0);
    }

    #[test]
    fn the_rate_is_the_second_cell_of_the_last_line() {
        let header = "\"test\",\"rps\",\"avg_latency_ms\"\n";
        assert_eq!(rate_in(&format!("{header}\"SET\",\"21276.60\",\"2.076\"\n")), Some(21276.6));
        let comma = "\"lrange a,b 0 99\",\"12500.00\",\"1.398\"\n";
        assert_eq!(rate_in(&format!("{header}{comma}")), Some(12500.0));
        assert_eq!(rate_in(header), None);
        assert_eq!(rate_in("Could not connect to Redis\n"), None);
    }
}
