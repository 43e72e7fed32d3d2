//! A data set larger than memory: random SET and GET of four times as many bytes as the process may
//! use.
//!
//! The server gets a budget by its own options. Its files are kept out of the kernel's page cache
//! ([`page_cache`]), or its process is put into a control group that limits both:
//!
//! ```sh
//! mkdir /sys/fs/cgroup/neokv && echo 256M > /sys/fs/cgroup/neokv/memory.max
//! make bench ARGS='--larger-than-memory --cgroup /sys/fs/cgroup/neokv'
//! ```
//!
//! Three numbers are held to a target: the longest time in which no client got an answer, the most
//! memory that was ever resident, and, where another build of the server is given, the rate beside
//! the other's. Both run at the same time with the same data, and take turns.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use neokv_resp::client::Value;

use super::clients::{Crowd, Seen};
use super::figures::Figure;
use super::median;
use super::page_cache;
use super::procfs::{peak_bytes, written_at_rest};
use super::table::verdict;
use super::workloads::scaled;
use crate::client::Connection;
use crate::process::Server;

/// The data are so many times as large as the budget.
const TIMES: u64 = 4;
/// Bytes of each value.
const VALUE: usize = 512;
/// Bytes of each key.
const KEY: usize = 16;
/// Clients that fill the servers, and their pipeline.
const FILLERS: (u32, u32) = (8, 128);
/// Clients of the rows.
const CLIENTS: u32 = 50;
/// The longest pause that is allowed.
const PAUSE: Duration = Duration::from_millis(200);
/// Values are parts of so many random bytes, so that they do not compress.
const NOISE: usize = 1 << 20;

/// What is measured: the pipeline, and the commands of a round.
const ROWS: [Row; 4] = [
    Row { is_write: true, pipeline: 1, requests: 20_000 },
    Row { is_write: true, pipeline: 16, requests: 100_000 },
    Row { is_write: false, pipeline: 1, requests: 50_000 },
    Row { is_write: false, pipeline: 16, requests: 200_000 },
];

#[derive(Clone, Copy)]
struct Row {
    is_write: bool,
    pipeline: u32,
    requests: u32,
}

/// How the data set is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// Further arguments of the server.
    pub neokv: &'a [&'a str],
    /// Another build of the server to compare with.
    pub against: Option<&'a Path>,
    /// MiB that a server may use.
    pub budget: u32,
    /// A control group for the server, whose limit is the budget too.
    pub cgroup: Option<&'a Path>,
    /// Rounds of which the median is taken.
    pub rounds: usize,
    /// One for data of four times the budget.
    pub scale: f64,
}

/// A server with its data, and what each row has shown.
struct Candidate {
    server: Server,
    seen: Vec<Vec<Seen>>,
}

/// Measures, and gives the lines of the report as they come.
pub fn measure(plan: Plan<'_>, mut tell: impl FnMut(String)) -> io::Result<()> {
    let keys = keys(plan);
    let bytes = u64::from(keys) * (KEY + VALUE) as u64;
    tell(format!(
        "larger than memory: {keys} keys of {VALUE} bytes ({} MiB) in a budget of {} MiB, {}",
        bytes >> 20,
        plan.budget,
        if plan.cgroup.is_some() { "in a control group" } else { "out of the page cache" }
    ));
    let noise = noise();
    let mut candidates = vec![candidate(plan, None, keys, &noise)?];
    if let Some(other) = plan.against {
        candidates.push(candidate(plan, Some(other), keys, &noise)?);
    }
    for round in 0..plan.rounds {
        for at in 0..ROWS.len() {
            // They take turns within each row: what else the machine does is then the same for
            // both. Whoever begins may have the other one's leftovers beside it.
            for turn in 0..candidates.len() {
                let turn = (turn + round) % candidates.len();
                if let Some(candidate) = candidates.get_mut(turn) {
                    candidate.measure(plan, at, round as u64, keys, &noise)?;
                }
            }
        }
    }
    tell(header(plan.against.is_some()));
    for (at, row) in ROWS.iter().enumerate() {
        let seen = candidates.iter().filter_map(|candidate| candidate.seen.get(at));
        tell(row.line(&seen.map(Vec::as_slice).collect::<Vec<_>>()));
    }
    let names = ["resident memory, largest seen", "resident memory of the other build"];
    for (candidate, name) in candidates.iter().zip(names) {
        let value = peak_bytes(&candidate.server)? as f64 / f64::from(1 << 20);
        let target = f64::from(plan.budget);
        tell(Figure { what: name.into(), value, target, unit: "MiB" }.line());
    }
    Ok(())
}

/// How many keys are so many times as large as the budget.
fn keys(plan: Plan<'_>) -> u32 {
    let bytes = (u64::from(plan.budget) << 20) * TIMES;
    let keys = u32::try_from(bytes / (KEY + VALUE) as u64).unwrap_or(u32::MAX);
    scaled(keys, plan.scale).max(CLIENTS)
}

/// The options that keep a server within a budget, and leave it room for what they do not count.
fn budget_options(budget: u32) -> Vec<String> {
    let parts = [
        ("--block-cache", budget / 8),
        ("--write-buffer", (budget / 16).max(16)),
        ("--row-table", budget / 4),
        ("--write-behind", budget / 8),
    ];
    parts.into_iter().flat_map(|(name, part)| [name.into(), format!("{part}mb")]).collect()
}

/// The same for another build, which may be one without a row table.
fn older_budget_options(budget: u32) -> Vec<String> {
    let parts = [("--block-cache", budget / 4), ("--write-buffer", (budget / 8).max(16))];
    parts.into_iter().flat_map(|(name, part)| [name.into(), format!("{part}mb")]).collect()
}

/// Starts a server and gives it the data.
fn candidate(
    plan: Plan<'_>,
    binary: Option<&Path>,
    keys: u32,
    noise: &[u8],
) -> io::Result<Candidate> {
    let options = match binary {
        Some(_) => older_budget_options(plan.budget),
        None => budget_options(plan.budget),
    };
    let options = options.iter().map(String::as_str);
    let server = match binary {
        Some(binary) => Server::neokv_at(binary, &options.collect::<Vec<_>>())?,
        None => Server::neokv(&options.chain(plan.neokv.iter().copied()).collect::<Vec<_>>())?,
    };
    if let Some(cgroup) = plan.cgroup {
        enter(&server, cgroup)?;
    }
    let (clients, pipeline) = FILLERS;
    let fill = Crowd {
        clients,
        pipeline,
        requests: keys,
        seed: 0,
        command: &|number, random, connection| set(number, random, connection, noise),
        is_right: is_ok,
    };
    let candidate = Candidate { server, seen: ROWS.map(|_| Vec::new()).to_vec() };
    candidate.beside_page_cache(plan, || fill.run(&candidate.server))?;
    written_at_rest(&candidate.server)?;
    Ok(candidate)
}

/// Puts the process of a server into a control group.
fn enter(server: &Server, cgroup: &Path) -> io::Result<()> {
    let pid = server.pid().ok_or_else(|| io::Error::other("the server does not run"))?;
    let path = cgroup.join("cgroup.procs");
    std::fs::write(&path, pid.to_string())
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

impl Candidate {
    /// One row of one round.
    fn measure(
        &mut self,
        plan: Plan<'_>,
        at: usize,
        round: u64,
        keys: u32,
        noise: &[u8],
    ) -> io::Result<()> {
        let Some(row) = ROWS.get(at) else { return Ok(()) };
        let write = |_, random: &mut fastrand::Rng, connection: &mut Connection| {
            set(random.u32(..keys), random, connection, noise);
        };
        let read = |_, random: &mut fastrand::Rng, connection: &mut Connection| {
            connection.queue(&["GET", &key(random.u32(..keys))]);
        };
        let crowd = Crowd {
            clients: CLIENTS,
            pipeline: row.pipeline,
            requests: scaled(row.requests, plan.scale).max(CLIENTS * row.pipeline),
            seed: 1 + round,
            command: if row.is_write { &write } else { &read },
            is_right: if row.is_write { is_ok } else { is_value },
        };
        let seen = self.beside_page_cache(plan, || crowd.run(&self.server))?;
        if let Some(rounds) = self.seen.get_mut(at) {
            rounds.push(seen);
        }
        Ok(())
    }

    /// Runs a load while the server's files are kept out of the page cache.
    fn beside_page_cache(
        &self,
        plan: Plan<'_>,
        load: impl FnOnce() -> io::Result<Seen>,
    ) -> io::Result<Seen> {
        if plan.cgroup.is_some() {
            return load();
        }
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let dropping = scope.spawn(|| page_cache::keep_out(self.server.data(), &stop));
            let seen = load();
            stop.store(true, Ordering::Relaxed);
            dropping.thread().unpark();
            dropping.join().map_err(|_| io::Error::other("a thread panicked"))??;
            seen
        })
    }
}

/// Queues the SET of a key to a value that does not compress.
fn set(number: u32, random: &mut fastrand::Rng, connection: &mut Connection, noise: &[u8]) {
    let from = random.usize(..noise.len() - VALUE);
    let value = noise.get(from..from + VALUE).unwrap_or_default();
    connection.queue(&[b"SET", key(number).as_bytes(), value]);
}

fn key(number: u32) -> String {
    const DIGITS: usize = KEY - "larger:".len();
    format!("larger:{number:0>DIGITS$}")
}

fn noise() -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(0);
    (0..NOISE).map(|_| random.u8(..)).collect()
}

fn is_ok(reply: &Value) -> bool {
    reply.as_text() == Some("OK")
}

fn is_value(reply: &Value) -> bool {
    matches!(reply, Value::Bulk(bytes) if bytes.len() == VALUE)
}

/// The titles above the lines of the rows.
fn header(is_compared: bool) -> String {
    let own = format!("test  pipe  commands/s  {:>28}", "longest pause of all clients");
    if is_compared { format!("{own}  {:>9}  ratio", "the other") } else { own }
}

impl Row {
    /// The row as a line, of what the server has shown and, if there is one, the other build.
    fn line(&self, seen: &[&[Seen]]) -> String {
        let rate = |seen: &[Seen]| median(seen.iter().map(|round| round.rate).collect());
        let [own, rest @ ..] = seen else { return String::new() };
        let pause = own.iter().map(|round| round.longest_pause).max().unwrap_or_default();
        let pause = format!("{:.1} ms {}", pause.as_secs_f64() * 1e3, verdict(pause <= PAUSE));
        let (test, pipeline, own) =
            (if self.is_write { "set" } else { "get" }, self.pipeline, rate(own));
        let line = format!("{test:<4}  {pipeline:>4}  {own:>10.0}  {pause:>28}");
        let Some(other) = rest.first().map(|seen| rate(seen)) else { return line };
        let ratio = if other > 0.0 { own / other } else { 0.0 };
        format!("{line}  {other:>9.0}  {ratio:.2} {}", verdict(ratio >= 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan<'_> =
        Plan { neokv: &[], against: None, budget: 256, cgroup: None, rounds: 1, scale: 1.0 };

    #[test]
    fn the_data_are_four_times_the_budget() {
        assert_eq!(key(7).len(), KEY);
        let bytes = u64::from(keys(PLAN)) * (KEY + VALUE) as u64;
        assert!((1023..=1024).contains(&(bytes >> 20)), "{bytes}");
        assert_eq!(
            budget_options(256).join(" "),
            "--block-cache 32mb --write-buffer 16mb --row-table 64mb --write-behind 32mb"
        );
        assert_eq!(older_budget_options(256).join(" "), "--block-cache 64mb --write-buffer 32mb");
    }

    #[test]
    fn a_line_has_the_longest_pause_and_the_ratio_of_the_medians() {
        let seen = |rate, pause| Seen { rate, longest_pause: Duration::from_millis(pause) };
        let own = [seen(100.0, 5), seen(300.0, 201), seen(200.0, 7)];
        let other = [seen(100.0, 900), seen(400.0, 1), seen(500.0, 1)];
        let words = |line: String| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let row = ROWS[1];
        assert_eq!(words(row.line(&[&own])), "set 16 200 201.0 ms MISSED");
        assert_eq!(words(row.line(&[&own, &other])), "set 16 200 201.0 ms MISSED 400 0.50 MISSED");
        assert_eq!(
            words(ROWS[2].line(&[&own[..1], &own[..1]])),
            "get 1 100 5.0 ms reached 100 1.00 reached"
        );
    }

    #[test]
    fn a_server_is_put_into_the_control_group() {
        let (server, folder) = (Server::redis(&[]).unwrap(), tempfile::tempdir().unwrap());
        enter(&server, folder.path()).unwrap();
        let written = std::fs::read_to_string(folder.path().join("cgroup.procs")).unwrap();
        assert_eq!(written, server.pid().unwrap().to_string());
        assert!(enter(&server, &folder.path().join("none")).is_err());
    }
}
