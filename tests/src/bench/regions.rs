//! What many Regions cost: a pipeline that goes to all of them, and a server in which a thousand
//! are idle.

use std::io;
use std::time::{Duration, Instant};

use super::median;
use super::procfs::{processor_time, resident_bytes};
use crate::process::Server;

/// Commands in one pipeline.
const PIPELINE: u64 = 100;
/// Pipelines in one round.
const PIPELINES: usize = 300;
/// Keys that the pipelines choose from.
const KEYS: u64 = 1_000_000;
/// How long the idle server is watched.
const WATCH: Duration = Duration::from_secs(5);

/// Times of one pipeline of random SETs.
pub struct PipelineTimes {
    /// Over one Region.
    pub one: Duration,
    /// Over 64 Regions.
    pub many: Duration,
    /// Over 64 Regions where the disk is not waited for, and the same over one: what is left is the
    /// server's own work.
    pub unsynced: (Duration, Duration),
}

/// Times a pipeline of 100 random SETs over one Region and over 64, in turn.
pub fn pipelines(rounds: usize) -> io::Result<PipelineTimes> {
    let (one, many) = compare(rounds, &[])?;
    let unsynced = compare(rounds, &["--sync", "no"])?;
    Ok(PipelineTimes { one, many, unsynced })
}

/// The median pipeline of two servers with one Region and 64, and these further options.
fn compare(rounds: usize, options: &[&str]) -> io::Result<(Duration, Duration)> {
    let one = Server::neokv(options)?;
    let many = Server::neokv(&[options, &["--initial-regions", "64"]].concat())?;
    let (mut one_times, mut many_times) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        one_times.extend(round_of_pipelines(&one, round)?);
        many_times.extend(round_of_pipelines(&many, round)?);
    }
    let middle = |times| Duration::from_secs_f64(median(times));
    Ok((middle(one_times), middle(many_times)))
}

/// The seconds that each pipeline of a round took.
fn round_of_pipelines(server: &Server, round: usize) -> io::Result<Vec<f64>> {
    let mut connection = server.connect()?;
    let value = "v".repeat(64);
    let mut random = fastrand::Rng::with_seed(round as u64);
    let mut times = Vec::with_capacity(PIPELINES);
    for _ in 0..PIPELINES {
        for _ in 0..PIPELINE {
            let key = format!("key:{}", random.u64(..KEYS));
            connection.queue(&["SET", &key, &value]);
        }
        let began = Instant::now();
        connection.flush()?;
        for _ in 0..PIPELINE {
            connection.receive()?;
        }
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// What a thousand Regions of one replica cost while nobody uses them.
pub struct IdleRegions {
    /// From the start of the process to its readiness, with the Regions on disk.
    pub start: Duration,
    /// Processor time per second.
    pub load: f64,
    /// Memory that each Region adds, bytes.
    pub bytes_each: u64,
}

/// Starts a server with a thousand Regions and watches it being idle.
pub fn thousand_idle() -> io::Result<IdleRegions> {
    let empty = resident_bytes(&Server::neokv(&[])?)?;
    let mut server = Server::neokv(&["--initial-regions", "1000"])?;
    let began = Instant::now();
    server.restart()?;
    let start = began.elapsed();
    // The first seconds still hold what the start has left to do.
    std::thread::sleep(WATCH / 2);
    let before = processor_time(&server)?;
    std::thread::sleep(WATCH);
    let load = (processor_time(&server)? - before).as_secs_f64() / WATCH.as_secs_f64();
    let bytes_each = resident_bytes(&server)?.saturating_sub(empty) / 1000;
    Ok(IdleRegions { start, load, bytes_each })
}
