//! How much memory this process may use.
//!
//! The least of what limits it:
//!
//! | limit | where it is found |
//! | --- | --- |
//! | the machine | `MemTotal` of `/proc/meminfo` |
//! | its control group and all above, version 2 | `memory.max` from `/sys/fs/cgroup` + path down to the root |
//! | the same, version 1 | `memory.limit_in_bytes` below `/sys/fs/cgroup/memory` |
//! | its address space | `RLIMIT_AS` |
//!
//! A limit that cannot be read does not count.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::usage::Memory;

/// Where control groups are mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// Bytes of memory that this process may use; [`u64::MAX`] if nothing limits it.
#[must_use]
pub fn memory_limit() -> u64 {
    let machine = Some(Memory::of_machine()).filter(|bytes| *bytes > 0);
    let address_space = getrlimit(Resource::As).current;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = of_groups(&groups, Path::new(CGROUPS));
    [machine, address_space, group].into_iter().flatten().min().unwrap_or(u64::MAX)
}

/// The least limit of the control groups that `/proc/self/cgroup` lists, in the hierarchy at
/// `root`.
fn of_groups(listed: &str, root: &Path) -> Option<u64> {
    let lines = listed.lines().filter_map(|line| {
        // number:controllers:path; version 2 has no controllers.
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        match controllers {
            "" => Some((root.to_path_buf(), "memory.max", path)),
            some if some.split(',').any(|name| name == "memory") => {
                Some((root.join("memory"), "memory.limit_in_bytes", path))
            }
            _ => None,
        }
    });
    lines.filter_map(|(root, file, path)| of_group(&root, file, path)).min()
}

/// The least limit of one group and those above it.
fn of_group(root: &Path, file: &str, path: &str) -> Option<u64> {
    let mut dir: PathBuf = root.join(path.trim_start_matches('/'));
    let mut least = None;
    loop {
        let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
        // `max` is no number and no limit.
        let limit = text.trim().parse::<u64>().ok();
        least = [least, limit].into_iter().flatten().min();
        if dir == root || !dir.pop() {
            return least;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_limit_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let leaf = root.path().join("a/b");
        std::fs::create_dir_all(&leaf).unwrap();
        let limit = || of_groups("0::/a/b\n", root.path());
        assert_eq!(limit(), None);
        std::fs::write(leaf.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit(), None);
        std::fs::write(root.path().join("a/memory.max"), "4096\n").unwrap();
        assert_eq!(limit(), Some(4096));
        std::fs::write(leaf.join("memory.max"), "1024\n").unwrap();
        assert_eq!(limit(), Some(1024));
        // A path that is not mounted here ends at the root all the same.
        assert_eq!(of_groups("0::/elsewhere/../x\n", root.path()), None);
    }

    #[test]
    fn the_older_version_is_read_too() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("memory/docker");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("memory.limit_in_bytes"), "9999\n").unwrap();
        let listed = "5:cpu,cpuacct:/docker\n4:memory:/docker\n";
        assert_eq!(of_groups(listed, root.path()), Some(9999));
    }

    #[test]
    fn this_process_may_use_what_the_machine_has_at_most() {
        assert!(memory_limit() <= Memory::of_machine());
    }
}
