//! `neoctl`: decodes and explains every byte that NeoKV stores, and looks into the directory of a
//! store.
//!
//! ```text
//!  arguments ──► args ──► command/* ──► one typed answer ──► output::table   what a person reads
//!                            │                          └──► output::json    what a script reads
//!                            ▼
//!                  bytes_input   neokv_inspect (the store's directory, read-only)
//! ```
//!
//! Two kinds of commands. `explain`, `decode`, `encode` and `slot` work on bytes alone. `dump-key`,
//! `keys`, `raft`, `region` and `store` read a data directory: of a stopped server, of a killed
//! one, or beside a running one. [`neokv_inspect`] reads it and returns plain values; this crate
//! has the arguments and the printers. With `--replay` the answer is about a copy of the directory
//! to which the server's own code has applied the log.
//!
//! # The modules
//!
//! Each module uses only those above it; a test of the workspace holds that.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`environment`] | streams, terminal, time, environment variables |
//! | [`error`] | why there is no answer, and exit codes |
//! | [`bytes_input`] | how bytes are written on a command line |
//! | [`replay`] | the state with the log applied |
//! | [`output`] | answers and their printers |
//! | [`args`] | the command line |
//! | [`command`] | the commands: each makes one typed answer |
//!
//! # The contract
//!
//! * stdout has the answer and nothing else; notes and errors go to stderr.
//! * Every command makes one typed answer ([`output::Answer`]); each printer prints all of them.
//!   Piping changes no format: it only drops colour and the limits of the terminal.
//! * An answer from a store begins with where it comes from and in which state that was. Nothing is
//!   guessed silently.
//! * What cannot be decoded is marked, and the rest is shown all the same.
//! * Nothing is ever written to a store. `--replay` writes to a copy that is removed at the end.
//! * The exit code is one of [`Exit`]; a reader that stops reading (`| head`) is not a failure.
//!
//! [`run`] is the whole program without the process around it: tests call it with buffers for
//! streams and a fixed time.
//!
//! # What it is not
//!
//! It connects to no server and repairs nothing. It knows no internals of the Raft layer, so that
//! it works on the directory of a dead node.

pub mod args;
pub mod bytes_input;
pub mod command;
pub mod environment;
pub mod error;
pub mod output;
pub mod replay;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

pub use environment::Environment;
pub use error::{CliError, Exit};
use output::paint::Paints;

/// The program: arguments, streams and time of this process.
#[must_use]
pub fn main() -> ExitCode {
    let exit = environment::with_process(|environment| run(std::env::args_os(), environment));
    ExitCode::from(exit.code())
}

/// Runs one command. `arguments` begin with the program's name.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &mut Environment<'_>,
) -> Exit {
    let args = match args::Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => return usage(&error, environment),
    };
    match command::run(&args, environment) {
        Ok(exit) => exit,
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(error) => {
            let paint = Paints::choose(args.output.color, environment).stderr;
            let report = output::report(&error, paint);
            // If stderr is closed as well, the exit code is what is left to say it.
            let _closed = environment.stderr.write_all(report.as_bytes());
            error.exit()
        }
    }
}

/// Help and version are answers; everything else that clap says is a mistake in the arguments.
fn usage(error: &clap::Error, environment: &mut Environment<'_>) -> Exit {
    let text = error.render().to_string();
    if error.use_stderr() {
        let _closed = environment.stderr.write_all(text.as_bytes());
        Exit::Usage
    } else {
        let _closed = environment.stdout.write_all(text.as_bytes());
        Exit::Ok
    }
}
