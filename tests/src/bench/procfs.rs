//! What the kernel tells about a server's process.
//!
//! The functions on text understand the files of `/proc`; the functions on a [`Server`] read them.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use crate::process::Server;

/// A server has written behind what it will once it has written nothing for this long.
const QUIET: Duration = Duration::from_secs(1);
/// A server that writes without an end is not waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The unit of processor time in `/proc`: Linux shows hundredths of a second to programs, whatever
/// its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// How often each thread has left its processor, by the thread's id.
pub type Switches = BTreeMap<u32, u64>;

/// Memory that is mapped and backed, bytes.
pub fn resident_bytes(server: &Server) -> io::Result<u64> {
    understood(server, "status", |text| number_behind(text, "VmRSS:")).map(|kilo| kilo * 1024)
}

/// The most memory that was ever resident since the start, bytes.
pub fn peak_bytes(server: &Server) -> io::Result<u64> {
    understood(server, "status", |text| number_behind(text, "VmHWM:")).map(|kilo| kilo * 1024)
}

/// Bytes that the process handed to the disk.
pub fn written_bytes(server: &Server) -> io::Result<u64> {
    understood(server, "io", |text| number_behind(text, "write_bytes:"))
}

/// Bytes that the process handed to the disk, once it writes no more.
pub fn written_at_rest(server: &Server) -> io::Result<u64> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = written_bytes(server)?;
    loop {
        std::thread::sleep(QUIET);
        let now = written_bytes(server)?;
        if now == last || Instant::now() > deadline {
            return Ok(now);
        }
        last = now;
    }
}

/// Processor time in the program and in the kernel since the start.
pub fn processor_time(server: &Server) -> io::Result<Duration> {
    understood(server, "stat", processor_time_in)
}

/// The context switches of every thread that runs now.
pub fn switches(server: &Server) -> io::Result<Switches> {
    let mut found = Switches::new();
    for entry in std::fs::read_dir(format!("/proc/{}/task", pid(server)?))? {
        let name = entry?.file_name();
        let thread = name.to_str().and_then(|name| name.parse().ok());
        let thread = thread.ok_or_else(|| io::Error::other(format!("no thread: {name:?}")))?;
        match understood(server, &format!("task/{thread}/status"), switches_in) {
            Ok(count) => drop(found.insert(thread, count)),
            // A thread may end between the two looks. (ESRCH: while its file was open.)
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// How many switches lie between two looks. A thread that is new counts with all of its own, one
/// that has ended counts nothing: what it did after the first look is not known.
pub fn switches_between(before: &Switches, after: &Switches) -> u64 {
    let of_thread = |(thread, count): (&u32, &u64)| {
        let earlier = before.get(thread).copied().unwrap_or(0);
        // A smaller count than before is a new thread that has got the id of one that has ended.
        count.checked_sub(earlier).unwrap_or(*count)
    };
    after.iter().map(of_thread).sum()
}

/// The times of the program and of the kernel in `/proc/PID/stat`.
fn processor_time_in(stat: &str) -> Option<Duration> {
    // The second field is the name in parentheses and may hold anything, blanks and parentheses
    // too. Behind it the two times are the 12th and 13th field.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut times = rest.split(' ').skip(11).map(|word| word.parse::<u32>().ok());
    let ticks = times.next()??.checked_add(times.next()??)?;
    Some(TICK * ticks)
}

/// The switches in `/proc/PID/task/TID/status`: those that the thread made itself by waiting, and
/// those that were made because its time was up.
fn switches_in(status: &str) -> Option<u64> {
    let voluntary = number_behind(status, "voluntary_ctxt_switches:")?;
    Some(voluntary + number_behind(status, "nonvoluntary_ctxt_switches:")?)
}

/// The number in the line that begins with `name`.
fn number_behind(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// What `parse` finds in a file of the server's `/proc` folder.
fn understood<T>(
    server: &Server,
    file: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> io::Result<T> {
    let path = format!("/proc/{}/{file}", pid(server)?);
    let text = std::fs::read_to_string(&path)?;
    parse(&text).ok_or_else(|| io::Error::other(format!("{path} is not understood: {text}")))
}

fn pid(server: &Server) -> io::Result<u32> {
    server.pid().ok_or_else(|| io::Error::other("the server does not run"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Switches, number_behind, processor_time_in, switches_between, switches_in};

    /// Lines of a `redis-server` that has served 50,000 commands.
    const STAT: &str = "5258 (redis-server) S 5253 5253 4184 0 -1 4194560 1099 0 0 0 4 38 7 9 20 0 \
                        5 0 2984934 64905216 3138 18446744073709551615 94485204684800";
    const STATUS: &str = "Name:\tredis-server\nState:\tS (sleeping)\nVmHWM:\t   13000 kB\n\
                          VmRSS:\t   12688 kB\nThreads:\t5\nvoluntary_ctxt_switches:\t5833\n\
                          nonvoluntary_ctxt_switches:\t69\n";

    #[test]
    fn processor_time_is_that_of_the_program_and_of_the_kernel() {
        // Neither the page faults before the two times nor the times of children behind them count.
        assert_eq!(processor_time_in(STAT), Some(Duration::from_millis(420)));
        let odd_name = STAT.replace("redis-server", "a) S 1 (b");
        assert_eq!(processor_time_in(&odd_name), Some(Duration::from_millis(420)));
        assert_eq!(processor_time_in("5258 (redis-server) S 5253"), None);
        assert_eq!(processor_time_in(""), None);
    }

    #[test]
    fn both_kinds_of_switches_are_counted() {
        assert_eq!(switches_in(STATUS), Some(5902));
        assert_eq!(switches_in("voluntary_ctxt_switches:\t5833\n"), None);
    }

    #[test]
    fn a_number_is_that_of_the_named_line() {
        assert_eq!(number_behind(STATUS, "VmRSS:"), Some(12688));
        assert_eq!(
            number_behind("write_bytes: 7\ncancelled_write_bytes: 9\n", "write_bytes:"),
            Some(7)
        );
        assert_eq!(number_behind(STATUS, "VmSwap:"), None);
        assert_eq!(number_behind("VmRSS:\t many kB\n", "VmRSS:"), None);
    }

    #[test]
    fn switches_between_two_looks_count_threads_that_come_and_go() {
        let before = Switches::from([(1, 100), (2, 50), (3, 70)]);
        // Thread 2 has ended, thread 3 too and a new one has its id, thread 4 is new.
        let after = Switches::from([(1, 130), (3, 5), (4, 8)]);
        assert_eq!(switches_between(&before, &after), 30 + 5 + 8);
        assert_eq!(switches_between(&after, &after), 0);
    }
}
