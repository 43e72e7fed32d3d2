//! Counts the system calls of a server while a load runs.
//!
//! The kernel keeps no such counter for a process, so somebody must watch each call, and that costs
//! time. The load therefore runs once more, shorter, for the count alone; measured rounds are not
//! watched. `perf` is preferred: it slows a server by some percent. Under `strace` a server is
//! several times slower and so gathers more commands for each call than it would alone: its counts
//! are a lower bound.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::process::Server;

/// The event that `perf` counts: the entry into any system call.
const EVENT: &str = "raw_syscalls:sys_enter";

/// What to do where neither program can count.
pub const HOW_TO_COUNT: &str = "system calls are not counted: install perf (Debian: linux-perf) or \
                                strace, and run as root (or allow perf with \
                                kernel.perf_event_paranoid=-1, strace with \
                                kernel.yama.ptrace_scope=0)";

/// A program that counts the system calls of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// `perf stat`.
    Perf,
    /// `strace -c`.
    Strace,
}

impl Counter {
    /// The first program that is there and may watch this server.
    pub fn find(server: &Server) -> Option<Counter> {
        [Counter::Perf, Counter::Strace]
            .into_iter()
            .find(|counter| counter.count(server, &Command::new("true")).is_ok())
    }

    /// The system calls that the server makes while `load` runs.
    pub fn count(self, server: &Server, load: &Command) -> io::Result<u64> {
        let pid = server.pid().ok_or_else(|| io::Error::other("the server does not run"))?;
        let report = NamedTempFile::new()?;
        let path = report.path().to_string_lossy().into_owned();
        let pid = pid.to_string();
        let parse = match self {
            Counter::Perf => {
                // `perf` starts the load itself and counts from its start to its end.
                let mut perf = Command::new("perf");
                perf.args(["stat", "-x", ",", "-o", &path, "-e", EVENT, "-p", &pid, "--"]);
                run(perf.arg(load.get_program()).args(load.get_args()))?;
                calls_of_perf
            }
            Counter::Strace => {
                let strace = Strace::attach(&pid, &path)?;
                run(Command::new(load.get_program()).args(load.get_args()))?;
                strace.detach()?;
                calls_of_strace
            }
        };
        let text = std::fs::read_to_string(&path)?;
        parse(&text).ok_or_else(|| io::Error::other(format!("{self:?} said: {text}")))
    }
}

/// A running `strace`; dropped, it lets the server go.
struct Strace {
    child: Child,
    /// Held open: `strace` tells here of every thread that the server starts.
    _messages: BufReader<ChildStderr>,
}

impl Strace {
    /// Returns once the server is being watched.
    fn attach(pid: &str, report: &str) -> io::Result<Strace> {
        let mut child = Command::new("strace")
            .args(["-f", "-c", "-o", report, "-p", pid])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no standard error"))?;
        let mut messages = BufReader::new(stderr);
        let mut first = String::new();
        messages.read_line(&mut first)?;
        let strace = Strace { child, _messages: messages };
        if first.contains("attached") { Ok(strace) } else { Err(io::Error::other(first)) }
    }

    /// Ends the count, whose report is complete then.
    fn detach(mut self) -> io::Result<()> {
        self.interrupt()
    }

    fn interrupt(&mut self) -> io::Result<()> {
        // A process that has been waited for is gone, and its id may be another's.
        if self.child.try_wait()?.is_none() {
            let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
            kill_process(pid.ok_or_else(|| io::Error::other("no process id"))?, Signal::INT)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It has ended already, or nothing can be done about it.
        let _ = self.interrupt();
    }
}

/// Runs a program to its end.
fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?} failed: {errors}")))
}

/// The count in what `perf stat -x ,` reports.
fn calls_of_perf(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.split(',').any(|cell| cell == EVENT))?;
    match line.split(',').next()? {
        // None of the server's threads has run.
        "<not counted>" => Some(0),
        count => count.parse().ok(),
    }
}

/// The total in what `strace -c` reports.
fn calls_of_strace(report: &str) -> Option<u64> {
    // Cells may be empty, so a column is where its dashes are: calls are the fourth one.
    let Some(dashes) = report.lines().find(|line| line.starts_with("---")) else {
        // A process that has made no calls has no table.
        return report.trim().is_empty().then_some(0);
    };
    let widths = dashes.split(' ').map(|dashes| dashes.len() + 1);
    let start: usize = widths.clone().take(3).sum();
    let end = start + widths.clone().nth(3)?;
    let total = report.lines().rfind(|line| line.ends_with(" total"))?;
    total.get(start..end)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{Counter, calls_of_perf, calls_of_strace};
    use crate::process::Server;

    const STRACE: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 71.31    0.062737          12      5001           write
  0.64    0.000563          10        53         2 accept4
------ ----------- ----------- --------- --------- ----------------
100.00    0.087976           8     10690         2 total
";

    #[test]
    fn perf_counts_one_event() {
        let report = |count| {
            format!(
                "# started on Mon Nov 30 10:46:00 2026\n\n\
                 {count},,raw_syscalls:sys_enter,410091858,100.00,,\n"
            )
        };
        assert_eq!(calls_of_perf(&report("110746")), Some(110_746));
        assert_eq!(calls_of_perf(&report("<not counted>")), Some(0));
        assert_eq!(calls_of_perf(&report("<not supported>")), None);
        assert_eq!(calls_of_perf("# started on Mon Nov 30 10:46:00 2026\n"), None);
    }

    #[test]
    fn strace_counts_calls_and_not_errors() {
        assert_eq!(calls_of_strace(STRACE), Some(10_690));
        // Older versions leave the average of the total empty, and where no call has failed
        // nothing stands under "errors".
        let older = STRACE.replace("0.087976           8     10690         2 total", {
            "0.087976                 10690           total"
        });
        assert_eq!(calls_of_strace(&older), Some(10_690));
        assert_eq!(calls_of_strace(""), Some(0));
        assert_eq!(calls_of_strace("strace: attach: Operation not permitted\n"), None);
    }

    #[test]
    fn both_programs_count_at_least_the_commands_of_one_client() {
        let server = Server::redis(&[]).unwrap();
        let mut load = Command::new("redis-benchmark");
        load.args(["-p", &server.port().to_string(), "-c", "1", "-n", "500", "-q", "ping"]);
        for counter in [Counter::Perf, Counter::Strace] {
            // Not every machine has both, or lets them look at another process.
            if counter.count(&server, &Command::new("true")).is_ok() {
                let calls = counter.count(&server, &load).unwrap();
                // Redis reads and writes once for each command of a client that waits.
                assert!((1_000..5_000).contains(&calls), "{counter:?}: {calls}");
            }
        }
        // Both have let it go.
        assert!(!server.connect().unwrap().words("PING").unwrap().is_error());
    }
}
