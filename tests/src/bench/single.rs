//! Measurements with a single number as their result: the DEL of a large key, the restart after a
//! kill, memory, and bytes written to the disk.
//!
//! Each round has a server of its own, so that no round finds what another has left.

use std::io;
use std::time::{Duration, Instant};

use super::figures::Figure;
use super::median;
use super::procfs::{resident_bytes, written_at_rest, written_bytes};
use super::workloads::scaled;
use crate::process::Server;

/// Keys that the restart, memory and bytes written are measured with.
const KEYS: u32 = 1_000_000;
/// Bytes of each value.
const VALUE: usize = 64;
/// Fields of the hash that is deleted.
const FIELDS: u32 = 1_000_000;
/// Fields of one HSET.
const FIELDS_TOGETHER: u32 = 10_000;
/// Commands of one pipeline of the load.
const TOGETHER: u32 = 500;

/// How often and how large the measurements are.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Rounds of which the median is taken.
    pub rounds: usize,
    /// One for the sizes that the targets are for.
    pub scale: f64,
}

/// All of them, NeoKV started with these further arguments.
pub fn figures(neokv: &[&str], size: Size) -> io::Result<Vec<Figure>> {
    let (mut delete, mut restart, mut resident, mut written) = (vec![], vec![], vec![], vec![]);
    let (keys, fields) = (scaled(KEYS, size.scale), scaled(FIELDS, size.scale));
    for _ in 0..size.rounds {
        delete.push(delete_large_hash(&Server::neokv(neokv)?, fields)?.as_secs_f64());
        let footprint = footprint(&Server::neokv(neokv)?, keys)?;
        resident.push(footprint.resident as f64);
        written.push(footprint.amplification());
        restart.push(restart_after_kill(&mut Server::neokv(neokv)?, keys)?.as_secs_f64());
    }
    let figure = |what: String, value, target, unit| Figure { what, value, target, unit };
    let of_keys = |what: &str| format!("{what} {keys} keys of {VALUE} bytes");
    Ok(vec![
        figure(format!("DEL of a hash of {fields} fields"), median(delete) * 1e3, 1.0, "ms"),
        figure(of_keys("start to serving, after SIGKILL with"), median(restart), 2.0, "s"),
        figure(of_keys("resident memory after"), median(resident) / 1048576.0, 220.0, "MiB"),
        figure(of_keys("written per byte of user data,"), median(written), 3.0, "bytes"),
    ])
}

/// The time that `DEL` of a hash with so many fields takes its caller.
fn delete_large_hash(server: &Server, fields: u32) -> io::Result<Duration> {
    let mut connection = server.connect()?;
    for start in (0..fields).step_by(FIELDS_TOGETHER as usize) {
        let mut command = vec![String::from("HSET"), String::from("large")];
        let end = fields.min(start + FIELDS_TOGETHER);
        command
            .extend((start..end).flat_map(|field| [format!("field:{field}"), field.to_string()]));
        connection.call(&command)?;
    }
    let began = Instant::now();
    connection.call(&["DEL", "large"])?;
    Ok(began.elapsed())
}

/// What a load leaves behind.
struct Footprint {
    /// Resident memory of the server, bytes.
    resident: u64,
    /// Bytes that the process handed to the disk.
    written: u64,
    /// Bytes of keys and values that the client sent.
    user: u64,
}

impl Footprint {
    /// Bytes written for each byte of the user's.
    fn amplification(&self) -> f64 {
        self.written as f64 / self.user.max(1) as f64
    }
}

/// Loads keys and looks at the memory at once, and at the bytes written once the server has come to
/// rest: what it writes later has been caused by the load too.
fn footprint(server: &Server, keys: u32) -> io::Result<Footprint> {
    let before = written_bytes(server)?;
    let user = load(server, keys)?;
    let resident = resident_bytes(server)?;
    let written = written_at_rest(server)?.saturating_sub(before);
    Ok(Footprint { resident, written, user })
}

/// Loads keys, kills the server at once, and returns the time from its start to its first right
/// answer.
fn restart_after_kill(server: &mut Server, keys: u32) -> io::Result<Duration> {
    load(server, keys)?;
    server.kill()?;
    let began = Instant::now();
    server.restart()?;
    let reply = server.connect()?.call(&["GET", &key(keys.saturating_sub(1))])?;
    let elapsed = began.elapsed();
    match reply.as_text() {
        Some(value) if value.len() == VALUE => Ok(elapsed),
        _ => Err(io::Error::other(format!("the last key is gone after the restart: {reply:?}"))),
    }
}

/// Sets keys to values by one client in pipelines; returns the bytes of all of them.
fn load(server: &Server, keys: u32) -> io::Result<u64> {
    let mut connection = server.connect()?;
    let value = "v".repeat(VALUE);
    let mut user = 0;
    for start in (0..keys).step_by(TOGETHER as usize) {
        let numbers = start..keys.min(start + TOGETHER);
        for number in numbers.clone() {
            let key = key(number);
            user += (key.len() + value.len()) as u64;
            connection.queue(&["SET", &key, &value]);
        }
        connection.flush()?;
        for _ in numbers {
            let reply = connection.receive()?;
            if reply.is_error() {
                return Err(io::Error::other(format!("a SET was refused: {reply:?}")));
            }
        }
    }
    Ok(user)
}

fn key(number: u32) -> String {
    format!("footprint:{number:09}")
}

#[cfg(test)]
mod tests {
    use super::Footprint;

    #[test]
    fn bytes_written_are_divided_by_those_of_the_user() {
        let footprint = |written, user| Footprint { resident: 0, written, user };
        assert_eq!(footprint(300, 100).amplification(), 3.0);
        assert_eq!(footprint(0, 0).amplification(), 0.0);
    }
}
