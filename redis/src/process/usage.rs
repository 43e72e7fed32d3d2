//! What this process takes from the machine: memory, processor time.
//!
//! Two witnesses are asked. The allocator knows what the program holds (`allocated`) and what that
//! costs in pages (`resident`); the kernel knows what is really mapped (`rss`). The difference
//! between them is stacks, code and pages that the allocator has not given back yet. A value that
//! cannot be read is 0, never a guess.

use std::sync::atomic::{AtomicU64, Ordering};

use tikv_jemalloc_ctl::{Access, AsName, epoch, stats};

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held by the program, RocksDB's caches and memtables included.
    pub allocated: u64,
    /// In pages that hold at least one allocation.
    pub active: u64,
    /// Mapped by the allocator and backed by the kernel.
    pub resident: u64,
    /// The kernel's count of the whole process.
    pub rss: u64,
    /// The largest `allocated` that was ever looked at.
    pub peak: u64,
    /// The largest `rss`, by the kernel's count.
    pub rss_peak: u64,
}

/// The largest `allocated` seen so far.
static PEAK: AtomicU64 = AtomicU64::new(0);

impl Memory {
    /// Asks allocator and kernel.
    #[must_use]
    pub fn now() -> Memory {
        // The allocator's numbers stand still until its epoch is advanced.
        let fresh = epoch::advance().is_ok();
        let read =
            |number: tikv_jemalloc_ctl::Result<usize>| number.map_or(0, |bytes| bytes as u64);
        let allocated = if fresh { read(stats::allocated::read()) } else { 0 };
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Memory {
            allocated,
            active: read(stats::active::read()),
            resident: read(stats::resident::read()),
            rss: kilobytes(&status, "VmRSS:"),
            peak: PEAK.fetch_max(allocated, Ordering::Relaxed).max(allocated),
            rss_peak: kilobytes(&status, "VmHWM:"),
        }
    }

    /// Memory of the whole machine in bytes.
    #[must_use]
    pub fn of_machine() -> u64 {
        kilobytes(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:")
    }
}

/// Pages that nothing uses any more go back to the kernel within a second, not within ten: what is
/// written behind takes and frees many at a time. A thread of the allocator's own sees to it.
/// Otherwise only a thread that allocates gives pages back, and one that sleeps after a compaction
/// keeps those of the compaction. To be called before other threads start.
pub fn return_memory_soon() {
    /// Milliseconds.
    const SOON: isize = 1000;
    // The first arena is there already; the others take the default over.
    for option in ["arenas.dirty_decay_ms\0", "arena.0.dirty_decay_ms\0"] {
        if let Err(error) = option.name().write(SOON) {
            tracing::debug!(option, %error, "the allocator keeps free pages for longer");
        }
    }
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::debug!(%error, "only threads that allocate give free pages back");
    }
}

/// The bytes in a line such as `VmRSS:   12345 kB`.
fn kilobytes(text: &str, field: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let number = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|word| word.parse::<u64>().ok());
    number.and_then(|kilobytes| kilobytes.checked_mul(1024)).unwrap_or(0)
}

/// Processor time since the start, in seconds, to a hundredth.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In the program.
    pub user: f64,
    /// In the kernel on its behalf.
    pub system: f64,
}

impl Cpu {
    /// Asks the kernel.
    #[must_use]
    pub fn now() -> Cpu {
        Cpu::parse(&std::fs::read_to_string("/proc/self/stat").unwrap_or_default())
            .unwrap_or_default()
    }

    /// Fields 14 and 15 of `/proc/PID/stat`, which count hundredths of seconds. The second field is
    /// the program's name in parentheses and may hold anything, so counting starts behind its end.
    fn parse(stat: &str) -> Option<Cpu> {
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ').skip(11);
        let mut seconds = || Some(f64::from(fields.next()?.parse::<u32>().ok()?) / 100.0);
        Some(Cpu { user: seconds()?, system: seconds()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "1 (a b) c) S 1 1 1 0 -1 4194560 1 2 3 4 250 75 0 0 20 0 1 0 100 0 0";
        assert_eq!(Cpu::parse(stat), Some(Cpu { user: 2.5, system: 0.75 }));
        assert_eq!(Cpu::parse("nonsense"), None);
    }

    #[test]
    fn memory_lines_are_kilobytes() {
        assert_eq!(kilobytes("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), 12 * 1024);
        assert_eq!(kilobytes("", "VmRSS:"), 0);
    }

    #[test]
    fn this_process_uses_memory() {
        let memory = Memory::now();
        assert!(memory.rss > 0 && memory.rss_peak >= memory.rss / 2);
        assert!(Memory::of_machine() > memory.rss);
    }
}
