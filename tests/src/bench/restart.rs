//! The longest time from the start of a killed server to its first answer.
//!
//! What a start has to do depends on the moment of the kill: on how much had not been written to
//! data files, and on how long the log was. Both grow until a bound of the settings is reached and
//! then shrink. So the server is killed many times under full load, each time with a longer log
//! than the time before, until the log does not grow any more: some kill comes just before the
//! bound.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::workloads::scaled;
use crate::client::Connection;
use crate::process::Server;

/// Kills.
const KILLS: u32 = 12;
/// At each kill the log is to be so many bytes longer than at the one before. The last is longer
/// than the 128 MiB at which the server begins to flush by default.
const STEP: u32 = 12 << 20;
/// Connections, and the commands that each sends at once.
const CLIENTS: (u32, u32) = (50, 16);
/// Keys of each type.
const KEYS: u64 = 1_000_000;
/// How often the length of the log is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// One start after a kill.
#[derive(Clone, Copy, Debug)]
struct Start {
    /// Until the first right answer.
    took: Duration,
    /// Bytes of the write-ahead log that it found.
    log: u64,
}

/// Kills the server again and again and says how long its starts took, in one line.
pub fn longest_start(neokv: &[&str], scale: f64) -> io::Result<String> {
    let mut server = Server::neokv(neokv)?;
    let (mut starts, mut old) = (Vec::new(), BTreeSet::new());
    for kill in 1..=KILLS {
        let length = u64::from(scaled(STEP, scale)) * u64::from(kill);
        let log = load_and_kill(&mut server, &old, length, kill)?;
        old = logs(server.data())?.into_keys().collect();
        let began = Instant::now();
        server.restart()?;
        let reply = server.connect()?.words("GET string:0")?;
        let took = began.elapsed();
        if reply.is_error() {
            return Err(io::Error::other(format!("after a restart: {reply:?}")));
        }
        starts.push(Start { took, log });
    }
    Ok(line(&starts))
}

fn line(starts: &[Start]) -> String {
    let longest = starts.iter().max_by_key(|start| start.took);
    let shortest = starts.iter().map(|start| start.took).min().unwrap_or_default();
    let (took, log) = longest.map_or((Duration::ZERO, 0), |start| (start.took, start.log));
    format!(
        "{:<62} {:>9.3} s          (with {:.0} MiB of log; the shortest {:.3} s)",
        format!("start to serving, the longest after {} SIGKILLs under load", starts.len()),
        took.as_secs_f64(),
        log as f64 / f64::from(1 << 20),
        shortest.as_secs_f64()
    )
}

/// Lets the clients write until the log is so long, or has been cut before it was, and kills the
/// server under them. Returns how long the log was then.
///
/// `old` are the files of an earlier process, which are removed at some time.
fn load_and_kill(
    server: &mut Server,
    old: &BTreeSet<PathBuf>,
    length: u64,
    round: u32,
) -> io::Result<u64> {
    let killed = AtomicBool::new(false);
    let mut connections = Vec::new();
    for _ in 0..CLIENTS.0 {
        connections.push(server.connect()?);
    }
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..)
            .zip(connections)
            .map(|(client, connection)| {
                let random = fastrand::Rng::with_seed(u64::from(round) << 32 | client);
                let killed = &killed;
                scope.spawn(move || write(connection, random, killed))
            })
            .collect();
        let mut longest = 0;
        let log = loop {
            let logs = logs(server.data())?.into_iter();
            let log = logs.filter(|(path, _)| !old.contains(path)).map(|(_, bytes)| bytes).sum();
            longest = longest.max(log);
            // A client ends before the kill only if it was refused, which the join tells.
            if log >= length || log < longest || clients.iter().any(|it| it.is_finished()) {
                break log;
            }
            std::thread::sleep(LOOK);
        };
        killed.store(true, Ordering::SeqCst);
        server.kill()?;
        for client in clients {
            client.join().map_err(|_| io::Error::other("a client panicked"))??;
        }
        Ok(log)
    })
}

/// Writes until the connection breaks.
fn write(
    mut connection: Connection,
    mut random: fastrand::Rng,
    killed: &AtomicBool,
) -> io::Result<()> {
    loop {
        for _ in 0..CLIENTS.1 {
            connection.queue(&command(&mut random));
        }
        let mut answer = connection.flush();
        for _ in 0..CLIENTS.1 {
            answer = answer.and_then(|()| {
                let reply = connection.receive()?;
                if reply.is_error() { Err(io::Error::other(format!("{reply:?}"))) } else { Ok(()) }
            });
        }
        match answer {
            Ok(()) => {}
            Err(_) if killed.load(Ordering::SeqCst) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// A random write of a usual kind.
fn command(random: &mut fastrand::Rng) -> Vec<String> {
    let (key, number) = (random.u64(..KEYS), random.u32(..));
    let few = key % 1000;
    let line = match random.u8(..4) {
        0 => format!("SET string:{key} {}", "v".repeat(64)),
        1 => format!("INCR counter:{key}"),
        2 => format!("HSET hash:{few} {number} {number}"),
        _ => format!("ZADD zset:{few} {number} {number}"),
    };
    line.split(' ').map(str::to_owned).collect()
}

/// The files of the write-ahead log, and their lengths.
fn logs(data: &Path) -> io::Result<BTreeMap<PathBuf, u64>> {
    let mut logs = BTreeMap::new();
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        if entry.path().extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        match entry.metadata() {
            Ok(metadata) => drop(logs.insert(entry.path(), metadata.len())),
            // It has just been removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_start_is_told_with_its_log() {
        let start =
            |millis, mib: u64| Start { took: Duration::from_millis(millis), log: mib << 20 };
        let line = line(&[start(20, 100), start(1_500, 64), start(10, 7)]);
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>().join(" "),
            "start to serving, the longest after 3 SIGKILLs under load 1.500 s (with 64 MiB of \
             log; the shortest 0.010 s)"
        );
    }

    #[test]
    fn the_write_ahead_log_is_what_ends_in_log() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in [("000001.log", 5), ("000002.log", 7), ("LOG", 100), ("1.sst", 100)] {
            std::fs::write(folder.path().join(name), vec![0; bytes]).unwrap();
        }
        let logs: Vec<u64> = logs(folder.path()).unwrap().into_values().collect();
        assert_eq!(logs, [5, 7]);
    }
}
