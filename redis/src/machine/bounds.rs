//! How much memory the commands of one log entry may take.
//!
//! A command of a few bytes can ask for much: `SUNIONSTORE key set` writes a whole set again, and
//! `GETDEL key` returns a whole string. Applying it takes about three times what it writes: the row
//! in the batch, its record for RocksDB, and the memtable. An entry that does not fit into memory
//! kills the process on every replica, and kills it again at the restart. So the leader writes into
//! the entry how much its commands may write. It derives that from the memory that its process may
//! really use:
//!
//! ```text
//! least of: memory of the machine · limits of the control groups · address space limit
//!   less caches, memtables and queues, shared by the apply threads             = free
//!   command_bytes = free / 6, at least 16 MiB and at most 1 GiB        takes half of free, about
//!   entry_bytes   = 32 MiB, at most command_bytes
//! ```
//!
//! All replicas of a Region take part in its entries, so they should have about the same memory.

use std::num::NonZeroU64;

/// What one entry may do. [`u64::MAX`] means no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Once the commands of an entry have written and answered so many bytes, those behind them
    /// are left out.
    pub entry_bytes: u64,
    /// Bytes that one command may write; it may gather half as many for its answer.
    pub command_bytes: u64,
}

/// Many times what the largest ordinary entry writes, which is a megabyte of small commands.
const ENTRY_BYTES: u64 = 32 << 20;

/// Room for replacing a string of 512 MB, or for storing a set of some million members.
const MOST_COMMAND_BYTES: u64 = 1 << 30;

/// Below this, ordinary commands would be refused.
const LEAST_COMMAND_BYTES: u64 = 16 << 20;

/// One command may use half of what is free, and takes three times what it writes.
const SHARE: u64 = 6;

impl Default for Bounds {
    /// The bounds of a process with plenty of memory.
    fn default() -> Bounds {
        Bounds { entry_bytes: ENTRY_BYTES, command_bytes: MOST_COMMAND_BYTES }
    }
}

impl Bounds {
    /// The bounds of a process with `limit` bytes of memory, of which `reserved` have another use,
    /// and which applies so many entries `at_once`.
    #[must_use]
    pub fn for_memory(limit: u64, reserved: u64, at_once: NonZeroU64) -> Bounds {
        // A process whose caches do not fit has nothing to spare.
        let free = limit.saturating_sub(reserved) / at_once;
        let command_bytes = (free / SHARE).clamp(LEAST_COMMAND_BYTES, MOST_COMMAND_BYTES);
        Bounds { entry_bytes: ENTRY_BYTES.min(command_bytes), command_bytes }
    }

    /// The bounds that an entry states, where 0 is none.
    pub(super) fn of_entry(entry_bytes: u64, command_bytes: u64) -> Bounds {
        let bound = |bytes| if bytes == 0 { u64::MAX } else { bytes };
        Bounds { entry_bytes: bound(entry_bytes), command_bytes: bound(command_bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn a_command_fits_into_the_memory_that_is_there() {
        let one = NonZeroU64::MIN;
        let bytes = |limit, reserved| Bounds::for_memory(limit, reserved, one).command_bytes;
        assert_eq!(bytes(64 * GIB, GIB), GIB);
        assert_eq!(bytes(2 * GIB, 512 * MIB), 256 * MIB);
        assert_eq!(bytes(GIB, 2 * GIB), 16 * MIB);
        for limit in (128..4096).map(|mib| mib * MIB) {
            assert!(bytes(limit, 0) * 3 <= limit / 2, "three times, in half of {limit}");
        }
        assert_eq!(Bounds::for_memory(GIB, 2 * GIB, one).entry_bytes, 16 * MIB);
        assert_eq!(Bounds::for_memory(u64::MAX, 0, one), Bounds::default());
        let two = NonZeroU64::new(2).unwrap();
        assert_eq!(Bounds::for_memory(2 * GIB, 512 * MIB, two).command_bytes, 128 * MIB);
    }
}
