//! What the server counts, without slowing down what it counts.
//!
//! A counter that every connection changes is a cache line that travels between the processors. So
//! a connection counts in its own [`ConnectionStats`], and adds to the shared [`ServerStats`] once
//! per batch, or when another command's turn comes:
//!
//! ```text
//! GET GET GET SET    ConnectionStats { get: 3 calls, 5 µs } ──add──► ServerStats.commands[get]
//!                    ConnectionStats { set: 1 call, 90 µs } ──add──► ServerStats.commands[set]
//! ```
//!
//! [`ServerStats`] holds one row of atomics per command of the table, allocated at the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// At most so many different error codes are told apart; a client can invent none, but bugs could.
const ERROR_CODES: usize = 128;

/// The counters of a server. They only grow, until [`ServerStats::reset`].
pub struct ServerStats {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused because of the limit.
    pub rejected_connections: AtomicU64,
    /// Bytes received from clients.
    pub input_bytes: AtomicU64,
    /// Bytes sent to clients.
    pub output_bytes: AtomicU64,
    /// Expired keys that were removed.
    pub expired_keys: AtomicU64,
    /// Connections closed because their client did not read.
    pub output_limit_closed: AtomicU64,
    commands: Vec<CommandStats>,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// The counters of one command.
#[derive(Debug)]
pub struct CommandStats {
    name: &'static str,
    calls: AtomicU64,
    nanos: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

/// The counters of one command, read at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandCount {
    /// Its name in lower case.
    pub name: &'static str,
    /// Calls that ran.
    pub calls: u64,
    /// Microseconds from dispatch to reply, all calls together.
    pub microseconds: u64,
    /// Calls refused before they ran: arity, authentication, routing, a full disk.
    pub rejected: u64,
    /// Calls that ran and answered an error.
    pub failed: u64,
}

impl ServerStats {
    /// Counters for the commands with these names, all zero. A command is counted by its position
    /// among them.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> ServerStats {
        ServerStats {
            connections: AtomicU64::new(0),
            rejected_connections: AtomicU64::new(0),
            input_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            expired_keys: AtomicU64::new(0),
            output_limit_closed: AtomicU64::new(0),
            commands: names.into_iter().map(CommandStats::new).collect(),
            errors: Mutex::new(BTreeMap::new()),
        }
    }

    /// The counters of every command that was called or refused at all, in the order of the table.
    #[must_use]
    pub fn commands(&self) -> Vec<CommandCount> {
        let counts = self.commands.iter().map(CommandStats::read);
        counts.filter(|count| count.calls != 0 || count.rejected != 0).collect()
    }

    /// Calls of all commands that ran.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.commands.iter().map(|row| row.calls.load(Ordering::Relaxed)).sum()
    }

    /// Error replies by code (`ERR`, `WRONGTYPE`, …), ordered by it.
    #[must_use]
    pub fn errors(&self) -> Vec<(String, u64)> {
        self.errors.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// All error replies.
    #[must_use]
    pub fn error_replies(&self) -> u64 {
        self.errors.lock().values().sum()
    }

    /// Back to zero: CONFIG RESETSTAT. What happens meanwhile is counted before or after, or lost.
    pub fn reset(&self) {
        let plain = [
            &self.connections,
            &self.rejected_connections,
            &self.input_bytes,
            &self.output_bytes,
            &self.expired_keys,
            &self.output_limit_closed,
        ];
        let commands = self
            .commands
            .iter()
            .flat_map(|row| [&row.calls, &row.nanos, &row.rejected, &row.failed]);
        for counter in plain.into_iter().chain(commands) {
            counter.store(0, Ordering::Relaxed);
        }
        self.errors.lock().clear();
    }

    /// Counts an error reply. Takes a lock: errors are not what a busy connection mostly gets.
    pub fn count_error(&self, text: &str) {
        let code = text.split(' ').next().unwrap_or_default();
        let mut errors = self.errors.lock();
        if let Some(count) = errors.get_mut(code) {
            *count += 1;
        } else if errors.len() < ERROR_CODES {
            errors.insert(code.to_owned(), 1);
        }
    }

    /// Counts a call that was refused before it ran.
    pub fn count_rejected(&self, position: usize) {
        if let Some(row) = self.commands.get(position) {
            row.rejected.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl CommandStats {
    fn new(name: &'static str) -> CommandStats {
        CommandStats {
            name,
            calls: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    fn read(&self) -> CommandCount {
        CommandCount {
            name: self.name,
            calls: self.calls.load(Ordering::Relaxed),
            microseconds: self.nanos.load(Ordering::Relaxed) / 1000,
            rejected: self.rejected.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// What one connection has counted and not yet added to the [`ServerStats`].
#[derive(Debug, Default)]
pub struct ConnectionStats {
    position: usize,
    calls: u64,
    nanos: u64,
    failed: u64,
    input: u64,
    output: u64,
}

impl ConnectionStats {
    /// Counts `calls` calls of the command at `position` of the table, which took `time` together.
    pub fn count(&mut self, stats: &ServerStats, position: usize, calls: u64, time: Duration) {
        self.turn_to(stats, position);
        self.calls += calls;
        // 2^63 nanoseconds are 292 years.
        self.nanos += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
    }

    /// Counts a call that ran and answered the error `text`.
    pub fn count_failure(&mut self, stats: &ServerStats, position: usize, text: &str) {
        self.turn_to(stats, position);
        self.failed += 1;
        stats.count_error(text);
    }

    /// Counts bytes received.
    pub fn received(&mut self, bytes: usize) {
        self.input += bytes as u64;
    }

    /// Counts bytes sent.
    pub fn sent(&mut self, bytes: usize) {
        self.output += bytes as u64;
    }

    /// Adds everything to the shared counters.
    pub fn flush(&mut self, stats: &ServerStats) {
        self.flush_command(stats);
        for (mine, shared) in
            [(&mut self.input, &stats.input_bytes), (&mut self.output, &stats.output_bytes)]
        {
            if *mine != 0 {
                shared.fetch_add(std::mem::take(mine), Ordering::Relaxed);
            }
        }
    }

    /// Counts the command at `position` from now on.
    fn turn_to(&mut self, stats: &ServerStats, position: usize) {
        if self.position != position {
            self.flush_command(stats);
            self.position = position;
        }
    }

    fn flush_command(&mut self, stats: &ServerStats) {
        let Some(row) = stats.commands.get(self.position) else { return };
        for (mine, shared) in [
            (&mut self.calls, &row.calls),
            (&mut self.nanos, &row.nanos),
            (&mut self.failed, &row.failed),
        ] {
            if *mine != 0 {
                shared.fetch_add(std::mem::take(mine), Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_adds_up_what_it_counted() {
        let stats = ServerStats::new(["get", "ping", "echo"]);
        let mut connection = ConnectionStats::default();
        let (ping, echo) = (1, 2);
        connection.count(&stats, ping, 2, Duration::from_micros(5));
        connection.count(&stats, echo, 1, Duration::from_micros(7));
        connection.count(&stats, ping, 1, Duration::from_micros(1));
        connection.count_failure(&stats, ping, "WRONGTYPE Operation against …");
        connection.received(10);
        connection.sent(20);
        connection.flush(&stats);
        connection.flush(&stats);
        stats.count_rejected(echo);
        let count = |name, calls, microseconds, rejected, failed| CommandCount {
            name,
            calls,
            microseconds,
            rejected,
            failed,
        };
        let mut commands = stats.commands();
        commands.sort_by_key(|count| count.name);
        assert_eq!(commands, [count("echo", 1, 7, 1, 0), count("ping", 3, 6, 0, 1)]);
        assert_eq!(stats.calls(), 4);
        assert_eq!(stats.errors(), [("WRONGTYPE".to_owned(), 1)]);
        assert_eq!(stats.input_bytes.load(Ordering::Relaxed), 10);
        assert_eq!(stats.output_bytes.load(Ordering::Relaxed), 20);
        stats.reset();
        assert_eq!((stats.calls(), stats.commands().len(), stats.error_replies()), (0, 0, 0));
    }

    #[test]
    fn error_codes_are_bounded() {
        let stats = ServerStats::new([]);
        for number in 0..1000 {
            stats.count_error(&format!("E{number} x"));
        }
        assert_eq!(stats.errors().len(), ERROR_CODES);
    }
}
