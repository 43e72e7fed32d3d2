//! `neokv`: the standalone server. One process, one embedded store, no other moving part.
//!
//! ```text
//! flags, environment, file ─► config ─► logs ─► Node::open ─► Node::serve ─► NEOKV_READY port=N
//!                                │                   │                            │
//!                             exit 2              exit 3         SIGTERM, SIGINT: stop, exit 0
//!                                                                a Region stops: stop, exit 1
//! ```
//!
//! The line `NEOKV_READY port=N` is the only thing printed to stdout, so that a script can wait for
//! it; everything else goes to stderr.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use neokv_redis::config::{self, ConfigError, Request, Settings};
use neokv_redis::node::{Deployment, Node, NodeError};
use neokv_redis::process::{
    self, EXIT_CANNOT_OPEN, EXIT_OK, EXIT_STOPPED, EXIT_USAGE, StopSignals,
};

/// One allocator for the whole process, RocksDB included, so that INFO counts all of its memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long the end waits for tasks of the node.
const END: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match config::load(std::env::args_os(), std::env::vars_os()) {
        Ok(Request::Serve(settings)) => run(settings),
        Ok(Request::PrintConfig(settings)) => {
            // A reader that stops reading (`| head`) is not a failure.
            let _closed = std::io::stdout().write_all(config::print(&settings).as_bytes());
            ExitCode::from(EXIT_OK)
        }
        Err(ConfigError::Usage(error)) => {
            // clap knows which stream: help and version go to stdout with code 0, mistakes to
            // stderr with code 2.
            let _closed = error.print();
            ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { EXIT_OK })
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

fn run(settings: Settings) -> ExitCode {
    process::init_logging(&settings.config);
    process::usage::return_memory_soon();
    for note in &settings.notes {
        tracing::warn!("{note}");
    }
    match serve(settings) {
        Ok(()) => ExitCode::from(EXIT_OK),
        Err(error) => {
            eprintln!("{}", error.report());
            ExitCode::from(if error.is_stop() { EXIT_STOPPED } else { EXIT_CANNOT_OPEN })
        }
    }
}

fn serve(settings: Settings) -> Result<(), NodeError> {
    // It accepts connections and does what the node does now and then; connections have threads of
    // their own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("node")
        .enable_all()
        .build()
        .map_err(|source| NodeError::Runtime { what: "the runtime of the node", source })?;
    let outcome = runtime.block_on(serve_until_stopped(settings));
    // Tasks of the node may still hold the engine; see `process::end_at_once` for why that matters.
    runtime.shutdown_timeout(END);
    outcome
}

/// Serves until a signal asks for a clean stop, or a Region cannot go on.
async fn serve_until_stopped(settings: Settings) -> Result<(), NodeError> {
    let deployment = Deployment::standalone(settings.config.initial_regions);
    // Signals keep their default until the store is open: recovery may take long, and a process
    // that is killed meanwhile loses nothing.
    let mut node = Node::open(settings, deployment).await?;
    let mut signals = StopSignals::install()
        .map_err(|source| NodeError::Runtime { what: "signal handlers", source })?;
    match node.serve().await {
        Ok(port) => announce(port),
        Err(error) => {
            node.stop().await;
            return Err(error);
        }
    }
    let outcome = tokio::select! {
        signal = signals.next() => {
            tracing::info!(
                signal,
                "stopping: no new connections, finishing what is under way; a second signal ends \
                 at once"
            );
            Ok(())
        }
        failure = node.failed() => {
            tracing::error!(%failure, "stopping: the server cannot go on without this region");
            Err(failure)
        }
    };
    tokio::spawn(async move {
        signals.next().await;
        process::end_at_once();
    });
    node.stop().await;
    outcome
}

/// Tells whoever started this process that clients may connect.
fn announce(port: u16) {
    let mut stdout = std::io::stdout().lock();
    // Nobody may be reading: the server serves all the same.
    let _nobody = writeln!(stdout, "NEOKV_READY port={port}").and_then(|()| stdout.flush());
}
