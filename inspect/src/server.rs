//! Whether a server runs on a directory.
//!
//! Whoever writes to a store holds a lock (`flock`) on the file `NEOKV` in it; the system drops it
//! when the process ends, however it ends. A shared lock is asked for and given back at once: if it
//! is refused, a server runs. A server that starts in just this instant is the only one that could
//! notice. The system's list of locks then tells who it is.

use std::fmt;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The server of a directory, if one runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Whether a process holds the directory for writing.
    pub running: bool,
    /// Its process id, where the system tells.
    pub pid: Option<u32>,
}

impl Server {
    /// Looks for the server of `dir`. A directory without a store has none.
    #[must_use]
    pub fn on(dir: &Path) -> Server {
        let stopped = Server { running: false, pid: None };
        let Ok(marker) = File::open(dir.join(neokv_encoding::marker::FILE_NAME)) else {
            return stopped;
        };
        if !is_locked(&marker) {
            return stopped;
        }
        let inode = marker.metadata().map(|marker| marker.ino());
        let locks = std::fs::read_to_string("/proc/locks");
        let pid = locks.ok().zip(inode.ok()).and_then(|(locks, inode)| holder(&locks, inode));
        Server { running: true, pid }
    }
}

/// The process that has an exclusive `flock` on the file with this number, in the system's list of
/// locks:
///
/// ```text
/// 12: FLOCK  ADVISORY  WRITE 4711 fe:01:263142 0 EOF
/// ```
fn holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, _, mode, pid, file) =
            (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
        let number: u64 = file.rsplit(':').next()?.parse().ok()?;
        if kind == "FLOCK" && mode == "WRITE" && inode == number { pid.parse().ok() } else { None }
    })
}

/// Whether another open file holds the lock. The shared lock that finds out lives for the time of
/// one system call.
fn is_locked(marker: &File) -> bool {
    match marker.try_lock_shared() {
        Ok(()) => {
            // Closing the file gives the lock back as well.
            let _ = marker.unlock();
            false
        }
        Err(std::fs::TryLockError::WouldBlock) => true,
        Err(std::fs::TryLockError::Error(_)) => false,
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server { running: false, .. } => f.write_str("no server on it"),
            Server { pid: Some(pid), .. } => write!(f, "server running, pid {pid}"),
            Server { pid: None, .. } => f.write_str("server running"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_the_one_with_the_write_lock_on_the_file() {
        let locks = "1: POSIX  ADVISORY  WRITE 11 fe:01:42 0 EOF\n\
                     2: FLOCK  ADVISORY  READ 12 fe:01:42 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 fe:01:42 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 14 fe:01:43 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 15 fe:01:42 0 EOF\n";
        assert_eq!(holder(locks, 42), Some(15));
        assert_eq!(holder(locks, 43), Some(14));
        assert_eq!(holder(locks, 44), None);
        assert_eq!(holder("nonsense", 44), None);
    }
}
