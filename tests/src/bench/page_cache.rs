//! Keeps a server's files out of the memory that the kernel caches them in.
//!
//! A machine with much memory would keep the whole of a data set in its page cache, however little
//! the server's process may use. So the kernel is told again and again to drop these files. What
//! the process does not keep itself, it then reads from the disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{Advice, fadvise};

/// How often the files are dropped.
const EVERY: Duration = Duration::from_millis(200);

/// Drops the data files below a folder until it is told to stop.
pub fn keep_out(folder: &Path, stop: &AtomicBool) -> io::Result<()> {
    while !stop.load(Ordering::Relaxed) {
        drop_files(folder)?;
        std::thread::park_timeout(EVERY);
    }
    Ok(())
}

/// Drops what is cached of each data file. Pages that are not on the disk yet stay.
fn drop_files(folder: &Path) -> io::Result<usize> {
    let mut dropped = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "sst") {
            continue;
        }
        match File::open(&path) {
            Ok(file) => fadvise(&file, 0, None, Advice::DontNeed)?,
            // The server removes files that it has merged.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        }
        dropped += 1;
    }
    Ok(dropped)
}

#[cfg(test)]
mod tests {
    use super::drop_files;

    #[test]
    fn data_files_are_dropped_and_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["000001.sst", "000002.sst", "000003.log"] {
            std::fs::write(folder.path().join(name), name).unwrap();
        }
        assert_eq!(drop_files(folder.path()).unwrap(), 2);
        let read = std::fs::read_to_string(folder.path().join("000001.sst")).unwrap();
        assert_eq!(read, "000001.sst");
        assert!(drop_files(&folder.path().join("none")).is_err());
    }
}
