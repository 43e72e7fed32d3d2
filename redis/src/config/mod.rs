//! Configuration: every option is declared once, in the table of [`options`].
//!
//! ```text
//!                 ┌─ flags ──────── --port 7000            command_line
//! OPTIONS table ──┼─ environment ── NEOKV_PORT=7000        load
//!   (options)     ├─ file ───────── [network] port = 7000  load
//!                 └─ default ────── 16379                  options
//!                          │
//!              Settings: Config (typed) + list with sources
//!                          │
//!        node, server ─────┼───── CONFIG GET ───── --print-config (print)
//! ```
//!
//! * [`load`](load()) merges the layers, first found wins, and refuses what is not allowed with a
//!   [`ConfigError`] that names the place and the range. Unknown flags and unknown file keys are
//!   refused with a suggestion; an unknown `NEOKV_` variable is only noted, because other programs
//!   may own it.
//! * [`Config`] is what the rest of the program reads: plain typed fields.
//! * [`print()`] writes the effective settings as a file that [`load`](load()) reads back.
//!
//! There is no way to change an option while the server runs: CONFIG SET accepts its present value
//! only. A restart is quick, and a value that differs from the file would not survive it anyway.
//! What Redis has and this server has not is in [`parameters`](PARAMETERS).

mod buffer_limit;
mod command_line;
mod error;
mod load;
mod options;
mod parameters;
mod print;
mod source;
#[cfg(test)]
mod tests;
mod value;

pub use buffer_limit::{buffer_limit_text, is_buffer_limit};
pub use command_line::command;
pub use error::ConfigError;
pub use load::{Request, Setting, Settings, defaults, load};
pub use options::{Config, ConfigOption, DamagedLog, LogFormat, OPTIONS, OptionGroup, Sync};
pub use parameters::{PARAMETERS, Parameter, ParameterStore, ParameterValues};
pub use print::print;
pub use source::Source;
pub use value::{Choice, OptionKind, OptionValue, Unit, format_bytes};
