//! What the server counts, without slowing down what it counts.
//!
//! A counter that every connection changes is a cache line that travels between the processors. So
//! a connection counts in its own [`Meter`], and adds to the shared [`Stats`] once per batch, or
//! when another command's turn comes:
//!
//! ```text
//! connection: GET GET GET SET      Meter { get: 3 calls, 5 µs } ──add──► Stats.commands[get]
//!                                  Meter { set: 1 call, 90 µs } ──add──► Stats.commands[set]
//! ```
//!
//! [`Stats`] holds one row of atomics per command of the table, allocated at the start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::command::{Command, table};

/// At most so many different error codes are told apart; a client can invent none, but bugs could.
const ERROR_CODES: usize = 128;

/// The counters of a server. They only grow, until [`Stats::reset`].
pub struct Stats {
    /// Connections accepted.
    pub connections: AtomicU64,
    /// Connections refused because of the limit.
    pub rejected_connections: AtomicU64,
    /// Bytes received from clients.
    pub input_bytes: AtomicU64,
    /// Bytes sent to clients.
    pub output_bytes: AtomicU64,
    /// Keys removed because their time was over.
    pub expired_keys: AtomicU64,
    /// Connections closed because their client did not read.
    pub output_limit_closed: AtomicU64,
    commands: Vec<CommandStats>,
    errors: Mutex<BTreeMap<String, u64>>,
}

/// The counters of one command.
#[derive(Debug, Default)]
pub struct CommandStats {
    calls: AtomicU64,
    nanos: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
}

/// The counters of one command, read at one moment.
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

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            connections: AtomicU64::new(0),
            rejected_connections: AtomicU64::new(0),
            input_bytes: AtomicU64::new(0),
            output_bytes: AtomicU64::new(0),
            expired_keys: AtomicU64::new(0),
            output_limit_closed: AtomicU64::new(0),
            commands: table::all().map(|_| CommandStats::default()).collect(),
            errors: Mutex::new(BTreeMap::new()),
        }
    }
}

impl Stats {
    /// The counters of every command that was called or refused at all, in the order of the table.
    #[must_use]
    pub fn commands(&self) -> Vec<CommandCount> {
        let rows = table::all().zip(&self.commands).map(|(command, row)| row.read(command));
        rows.filter(|count| count.calls != 0 || count.rejected != 0).collect()
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
            *count = count.saturating_add(1);
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
    fn read(&self, command: &Command) -> CommandCount {
        CommandCount {
            name: command.name,
            calls: self.calls.load(Ordering::Relaxed),
            microseconds: self.nanos.load(Ordering::Relaxed) / 1000,
            rejected: self.rejected.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}

/// What one connection has counted and not yet added to the [`Stats`].
#[derive(Debug, Default)]
pub struct Meter {
    position: usize,
    calls: u64,
    nanos: u64,
    failed: u64,
    input: u64,
    output: u64,
}

impl Meter {
    /// Counts `calls` calls of the command at `position` of the table, which took `time` together.
    pub fn count(&mut self, stats: &Stats, position: usize, calls: u64, time: Duration) {
        self.turn_to(stats, position);
        self.calls = self.calls.saturating_add(calls);
        self.nanos = self.nanos.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts a call that ran and answered the error `text`.
    pub fn count_failure(&mut self, stats: &Stats, position: usize, text: &str) {
        self.turn_to(stats, position);
        self.failed = self.failed.saturating_add(1);
        stats.count_error(text);
    }

    /// Counts bytes received.
    pub fn received(&mut self, bytes: usize) {
        self.input = self.input.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Counts bytes sent.
    pub fn sent(&mut self, bytes: usize) {
        self.output = self.output.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// Adds everything to the shared counters.
    pub fn flush(&mut self, stats: &Stats) {
        self.flush_command(stats);
        for (mine, shared) in
            [(&mut self.input, &stats.input_bytes), (&mut self.output, &stats.output_bytes)]
        {
            if *mine != 0 {
                shared.fetch_add(std::mem::take(mine), Ordering::Relaxed);
            }
        }
    }

    fn turn_to(&mut self, stats: &Stats, position: usize) {
        if self.position != position {
            self.flush_command(stats);
            self.position = position;
        }
    }

    fn flush_command(&mut self, stats: &Stats) {
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

    fn position(name: &str) -> usize {
        table::all().position(|command| command.name == name).unwrap()
    }

    #[test]
    fn a_meter_adds_up_what_it_counted() {
        let stats = Stats::default();
        let mut meter = Meter::default();
        let (ping, echo) = (position("ping"), position("echo"));
        meter.count(&stats, ping, 2, Duration::from_micros(5));
        meter.count(&stats, echo, 1, Duration::from_micros(7));
        meter.count(&stats, ping, 1, Duration::from_micros(1));
        meter.count_failure(&stats, ping, "WRONGTYPE Operation against …");
        meter.received(10);
        meter.sent(20);
        meter.flush(&stats);
        meter.flush(&stats);
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
        let stats = Stats::default();
        for number in 0..1000 {
            stats.count_error(&format!("E{number} x"));
        }
        assert_eq!(stats.errors().len(), ERROR_CODES);
    }
}
