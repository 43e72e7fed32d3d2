//! `neoctl`: see the library's documentation, or `neoctl --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    neoctl::main()
}
