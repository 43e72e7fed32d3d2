//! Clients of our own, where `redis-benchmark` does not do: their values do not compress, they look
//! at the replies, and they know when none of them was answered.

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use neokv_resp::client::Value;

use crate::client::Connection;
use crate::process::Server;

/// A load of many clients.
#[derive(Clone, Copy)]
pub struct Crowd<'a> {
    /// Connections.
    pub clients: u32,
    /// How many commands a client sends at once.
    pub pipeline: u32,
    /// Commands of all clients together.
    pub requests: u32,
    /// Seed of their choices.
    pub seed: u64,
    /// Queues the command of this number, of all clients' together.
    pub command: &'a (dyn Fn(u32, &mut fastrand::Rng, &mut Connection) + Sync),
    /// Whether a reply is a right one.
    pub is_right: fn(&Value) -> bool,
}

/// What the clients have seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Commands a second.
    pub rate: f64,
    /// The longest time in which no client got a reply, although all waited for one.
    pub longest_pause: Duration,
}

impl Crowd<'_> {
    /// Runs the load. A reply that is not right is an error.
    pub fn run(&self, server: &Server) -> io::Result<Seen> {
        let mut connections = Vec::new();
        for _ in 0..self.clients {
            connections.push(server.connect()?);
        }
        let (next, pulse) = (AtomicU32::new(0), Pulse::new());
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..)
                .zip(connections)
                .map(|(client, connection)| {
                    let random = fastrand::Rng::with_seed(self.seed ^ (client << 32));
                    scope.spawn(|| self.client(connection, random, &next, &pulse))
                })
                .collect();
            for client in clients {
                client.join().map_err(|_| io::Error::other("a client panicked"))??;
            }
            Ok::<(), io::Error>(())
        })?;
        let seconds = pulse.began.elapsed().as_secs_f64();
        Ok(Seen { rate: f64::from(self.requests) / seconds, longest_pause: pulse.longest() })
    }

    /// One client: pipelines until all commands have been sent.
    fn client(
        &self,
        mut connection: Connection,
        mut random: fastrand::Rng,
        next: &AtomicU32,
        pulse: &Pulse,
    ) -> io::Result<()> {
        loop {
            let first = next.fetch_add(self.pipeline, Ordering::Relaxed);
            let numbers = first..self.requests.min(first.saturating_add(self.pipeline));
            if numbers.is_empty() {
                return Ok(());
            }
            for number in numbers.clone() {
                (self.command)(number, &mut random, &mut connection);
            }
            connection.flush()?;
            for _ in numbers {
                let reply = connection.receive()?;
                pulse.beat();
                if !(self.is_right)(&reply) {
                    return Err(io::Error::other(format!("a wrong reply: {reply:?}")));
                }
            }
        }
    }
}

/// The times of all replies: the longest interval between two of them, whoever got them.
struct Pulse {
    began: Instant,
    /// Nanoseconds from the beginning to the last reply.
    last: AtomicU64,
    /// Nanoseconds of the longest interval.
    longest: AtomicU64,
}

impl Pulse {
    fn new() -> Pulse {
        Pulse { began: Instant::now(), last: AtomicU64::new(0), longest: AtomicU64::new(0) }
    }

    /// A reply has come.
    fn beat(&self) {
        self.beat_at(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }

    fn beat_at(&self, now: u64) {
        // A client that comes late with its earlier time closes no interval.
        let interval = now.saturating_sub(self.last.fetch_max(now, Ordering::Relaxed));
        self.longest.fetch_max(interval, Ordering::Relaxed);
    }

    fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use neokv_resp::client::Value;

    use super::{Crowd, Pulse};
    use crate::process::Server;

    #[test]
    fn a_pause_is_one_of_all_clients() {
        let pulse = Pulse::new();
        for now in [10, 40, 35, 45, 100, 101, 130] {
            pulse.beat_at(now);
        }
        assert_eq!(pulse.longest(), Duration::from_nanos(55));
    }

    #[test]
    fn every_command_is_sent_once_and_its_reply_looked_at() {
        let server = Server::redis(&[]).unwrap();
        let crowd = Crowd {
            clients: 3,
            pipeline: 7,
            requests: 100,
            seed: 1,
            command: &|number, _, connection| {
                connection.queue(&["APPEND", &number.to_string(), "x"])
            },
            is_right: |reply| *reply == Value::Integer(1),
        };
        assert!(crowd.run(&server).unwrap().rate > 0.0);
        assert_eq!(server.connect().unwrap().words("DBSIZE").unwrap(), Value::Integer(100));
        // The same once more appends to what is there.
        assert!(crowd.run(&server).is_err());
    }
}
