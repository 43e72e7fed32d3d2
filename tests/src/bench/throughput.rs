//! Throughput by `redis-benchmark`: 50 clients, 64-byte values, a key space of a million, pipelines
//! of 1 and 16.

use std::io;
use std::process::Command;

use super::median;
use crate::process::Server;

/// Which Redis a workload is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// `--appendonly yes --appendfsync always`: every OK is on the disk.
    Durable,
    /// In memory alone.
    Memory,
}

/// One row of the table.
pub struct Workload {
    /// The test's name as `redis-benchmark -t` knows it.
    pub test: &'static str,
    /// How many commands a client sends at once.
    pub pipeline: u32,
    /// Commands a round, chosen so that a round takes a few seconds.
    pub requests: u32,
    /// The Redis to compare with.
    pub peer: Peer,
    /// The ratio that NeoKV is meant to reach.
    pub target: f64,
}

const fn workload(
    test: &'static str,
    pipeline: u32,
    requests: u32,
    peer: Peer,
    target: f64,
) -> Workload {
    Workload { test, pipeline, requests, peer, target }
}

/// The rows, in the order in which they run: what a row reads, an earlier row has written.
pub const WORKLOADS: &[Workload] = &[
    workload("set", 1, 150_000, Peer::Durable, 1.0),
    workload("set", 16, 600_000, Peer::Durable, 1.0),
    workload("get", 1, 200_000, Peer::Memory, 0.7),
    workload("get", 16, 1_000_000, Peer::Memory, 0.4),
    workload("incr", 1, 100_000, Peer::Durable, 0.8),
    workload("incr", 16, 500_000, Peer::Durable, 0.8),
    workload("hset", 1, 100_000, Peer::Durable, 0.8),
    workload("hset", 16, 500_000, Peer::Durable, 0.8),
    workload("lpush", 1, 100_000, Peer::Durable, 0.8),
    workload("lpush", 16, 500_000, Peer::Durable, 0.8),
    workload("rpop", 1, 100_000, Peer::Durable, 0.8),
    workload("rpop", 16, 500_000, Peer::Durable, 0.8),
    workload("sadd", 1, 100_000, Peer::Durable, 0.8),
    workload("sadd", 16, 500_000, Peer::Durable, 0.8),
    workload("zadd", 1, 100_000, Peer::Durable, 0.8),
    workload("zadd", 16, 500_000, Peer::Durable, 0.8),
    workload("lrange_100", 1, 60_000, Peer::Memory, 0.5),
    workload("mset", 1, 40_000, Peer::Durable, 0.5),
    workload("mset", 16, 80_000, Peer::Durable, 0.5),
];

/// What GET finds: about two thirds of the key space.
const FILL: Workload = workload("set", 32, 1_000_000, Peer::Memory, 0.0);

/// The result of a workload.
pub struct Row {
    /// Commands a second of NeoKV, the median of the rounds.
    pub neokv: f64,
    /// Commands a second of the peer, the median of the rounds.
    pub peer: f64,
}

impl Row {
    /// NeoKV's throughput as a share of its peer's.
    pub fn ratio(&self) -> f64 {
        if self.peer > 0.0 { self.neokv / self.peer } else { 0.0 }
    }
}

/// The servers of a run, all up at once so that rounds can take turns.
pub struct Servers {
    /// The one under test.
    pub neokv: Server,
    durable: Server,
    memory: Server,
}

impl Servers {
    /// Starts the three servers, NeoKV with these further arguments.
    pub fn start(neokv: &[&str]) -> io::Result<Servers> {
        Ok(Servers {
            neokv: Server::neokv(neokv)?,
            durable: Server::redis(&["--appendonly", "yes", "--appendfsync", "always"])?,
            memory: Server::redis(&["--appendonly", "no"])?,
        })
    }

    /// Runs one workload for some rounds, the servers in turn.
    pub fn measure(&self, workload: &Workload, rounds: usize, scale: f64) -> io::Result<Row> {
        let peer = match workload.peer {
            Peer::Durable => &self.durable,
            Peer::Memory => &self.memory,
        };
        if workload.test == "get" {
            // The peer of GET is not that of SET: without this it would have nothing to find.
            for port in [peer.port(), self.neokv.port()] {
                redis_benchmark(port, &FILL, scale)?;
            }
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            theirs.push(redis_benchmark(peer.port(), workload, scale)?);
            ours.push(redis_benchmark(self.neokv.port(), workload, scale)?);
        }
        Ok(Row { neokv: median(ours), peer: median(theirs) })
    }
}

/// One run of the load generator: commands a second.
fn redis_benchmark(port: u16, workload: &Workload, scale: f64) -> io::Result<f64> {
    let requests = (f64::from(workload.requests) * scale).max(1_000.0).round().to_string();
    let output = Command::new("redis-benchmark")
        .args([
            "-p",
            &port.to_string(),
            "-t",
            workload.test,
            "-n",
            &requests,
            "-P",
            &workload.pipeline.to_string(),
        ])
        .args(["-c", "50", "-d", "64", "-r", "1000000", "--csv"])
        .output()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("redis-benchmark (Debian: redis-tools): {error}"))
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    // The header line names the columns; the last line is the test asked for (LRANGE prepares its
    // list in a line before).
    let rate = text.lines().rfind(|line| line.starts_with('"') && !line.starts_with("\"test\""));
    let rate = rate
        .and_then(|line| line.split(',').nth(1))
        .and_then(|cell| cell.trim_matches('"').parse().ok());
    rate.ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        io::Error::other(format!("redis-benchmark {} said: {text}{errors}", workload.test))
    })
}
