//! Measurements with a single number as their result: the DEL of a large key, the restart after a
//! kill, memory, and bytes written to the disk.

use std::io;
use std::time::{Duration, Instant};

use super::median;
use super::process_figures::{resident_bytes, written_bytes};
use crate::process::Server;

/// Keys that the restart and the memory figure are measured with.
const KEYS: u32 = 1_000_000;
/// Bytes of each value.
const VALUE: usize = 64;
/// Fields of the hash that is deleted.
const FIELDS: u32 = 1_000_000;

/// The median time that `DEL` of a hash with a million fields takes its caller.
pub fn delete_large_hash(server: &Server, rounds: usize) -> io::Result<Duration> {
    let mut connection = server.connect()?;
    let mut times = Vec::new();
    for _ in 0..rounds {
        for start in (0..FIELDS).step_by(10_000) {
            let mut command = vec![String::from("HSET"), String::from("large")];
            command.extend(
                (start..start + 10_000)
                    .flat_map(|field| [format!("field:{field}"), field.to_string()]),
            );
            connection.call(&command)?;
        }
        let began = Instant::now();
        connection.call(&["DEL", "large"])?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(Duration::from_secs_f64(median(times)))
}

/// What a load of a million keys leaves behind.
pub struct Footprint {
    /// Resident memory of the server, bytes.
    pub resident: u64,
    /// Bytes that the process handed to the disk.
    pub written: u64,
    /// Bytes of keys and values that the client sent.
    pub user: u64,
    /// From the start of the process after SIGKILL to its first right answer.
    pub restart: Duration,
}

/// Loads a million keys of 64 bytes, measures the memory of the server, kills it, and measures the
/// time until it answers again.
pub fn footprint(server: &mut Server) -> io::Result<Footprint> {
    let before = written_bytes(server)?;
    let mut connection = server.connect()?;
    let value = "v".repeat(VALUE);
    let mut user = 0;
    for start in (0..KEYS).step_by(500) {
        for key in start..start + 500 {
            let key = format!("footprint:{key:09}");
            user += (key.len() + value.len()) as u64;
            connection.queue(&["SET", &key, &value]);
        }
        connection.flush()?;
        for _ in 0..500 {
            connection.receive()?;
        }
    }
    let written = written_bytes(server)?.saturating_sub(before);
    let resident = resident_bytes(server)?;
    server.kill()?;
    let began = Instant::now();
    server.restart()?;
    let last = format!("footprint:{:09}", KEYS - 1);
    server.connect()?.call(&["GET", &last])?;
    Ok(Footprint { resident, written, user, restart: began.elapsed() })
}
