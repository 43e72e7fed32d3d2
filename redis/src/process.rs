//! What a server process needs besides its work: logs, signals, and a way to die.
//!
//! * Logs go to stderr, because stdout belongs to the `NEOKV_READY` line that scripts wait for.
//! * The first SIGTERM or SIGINT asks for a clean stop; the second ends the process at once, for
//!   the operator who cannot wait. Nothing acknowledged is lost either way: an OK never depends on
//!   a clean stop.
//! * After a failed write or fsync of the log the state on disk is unknown, so [`die`] says so and
//!   aborts. The next start recovers from what is really there.
//! * [`usage`] reports what the process takes from the machine, [`memory_limit`] what it may take.

pub mod memory_limit;
pub mod usage;

use std::io::IsTerminal;

use neokv_raftstore::FatalError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};

/// Exit code of a clean stop.
pub const EXIT_OK: u8 = 0;
/// Exit code when the server had to stop, because a Region did.
pub const EXIT_STOPPED: u8 = 1;
/// Exit code for wrong flags, variables or files.
pub const EXIT_USAGE: u8 = 2;
/// Exit code when the data directory or an address cannot be opened.
pub const EXIT_CANNOT_OPEN: u8 = 3;

/// Sends log lines to stderr in the configured format. The Raft library's own messages only show
/// from `debug` on.
pub fn init_logging(config: &Config) {
    let level = config.log_level;
    let libraries = if matches!(level, "debug" | "trace") { level } else { "warn" };
    let filter = EnvFilter::new(format!(
        "{level},openraft={libraries},hyper={libraries},hyper_util={libraries}"
    ));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second initialisation in one process (tests, embedding) keeps the first one's subscriber.
    let _already_set = match config.log_format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// SIGTERM and SIGINT.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes the signals over from the default of dying. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the operating system says when a handler cannot be installed.
    pub fn install() -> std::io::Result<StopSignals> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next of them and names it.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// Ends the process now, as `kill -9` would: the operator does not want to wait for the clean stop.
///
/// `std::process::exit` would run the destructors of RocksDB's globals while its threads still use
/// them, and such a process ends with SIGABRT every now and then.
pub fn end_at_once() {
    eprintln!("a second signal: ending at once; nothing acknowledged is lost");
    if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .is_err()
    {
        std::process::abort();
    }
}

/// Ends the process after a failure that leaves the state on disk unknown.
pub fn die(error: &FatalError) {
    let (what, cause) = (error.what, &error.cause);
    tracing::error!(what, %cause, "fatal: the log could not be written or synced");
    eprintln!(
        "fatal: {}\n  why: {}\n  \
         state: what the last writes left on disk is unknown, so this process must not go on\n  \
         try: check the disk and its file system, then start again; recovery keeps every \
         acknowledged write it finds",
        error.what, error.cause
    );
    std::process::abort();
}
