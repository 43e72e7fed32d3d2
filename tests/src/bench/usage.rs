//! What serving some commands costs a server: processor time and context switches.

use std::io;
use std::time::Duration;

use super::procfs::{Switches, processor_time, switches, switches_between};
use crate::process::Server;

/// A server's counters at one instant.
pub struct Usage {
    processor: Duration,
    switches: Switches,
}

/// What a command costs on the average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PerCommand {
    /// Processor time of the server, in the program and in the kernel, microseconds.
    pub processor_us: f64,
    /// Context switches of all threads of the server.
    pub switches: f64,
}

impl Usage {
    /// The counters now.
    pub fn of(server: &Server) -> io::Result<Usage> {
        Ok(Usage { processor: processor_time(server)?, switches: switches(server)? })
    }

    /// What each of the `commands` has cost that were served from here to `after`.
    pub fn per_command(&self, after: &Usage, commands: u32) -> PerCommand {
        let commands = f64::from(commands.max(1));
        let processor = after.processor.saturating_sub(self.processor);
        PerCommand {
            processor_us: processor.as_secs_f64() * 1e6 / commands,
            switches: switches_between(&self.switches, &after.switches) as f64 / commands,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PerCommand, Switches, Usage};

    #[test]
    fn what_an_interval_cost_is_shared_by_its_commands() {
        let usage = |milliseconds, switches| Usage {
            processor: Duration::from_millis(milliseconds),
            switches: Switches::from(switches),
        };
        let (before, after) = (usage(420, [(1, 100), (2, 0)]), usage(2_420, [(1, 400), (2, 200)]));
        let each = PerCommand { processor_us: 40.0, switches: 0.01 };
        assert_eq!(before.per_command(&after, 50_000), each);
        let nothing = PerCommand { processor_us: 0.0, switches: 0.0 };
        assert_eq!(before.per_command(&before, 0), nothing);
    }
}
