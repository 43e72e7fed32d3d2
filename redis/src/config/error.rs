//! What can be wrong with a configuration, in terms that help the user fix it.
//!
//! Every message has the same shape: what is wrong, where it was found, what is allowed, what to
//! try. `neokv` prints it on stderr and leaves with code 2 (usage).

use super::source::Source;
use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The command line does not parse, or it asks for help or the version: clap's own message.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// An option's text is not allowed.
    #[error(
        "error: '{given}' is not allowed for {option}\n  where: {source_place}\n  \
         allowed: {allowed}\n  try: neokv --help"
    )]
    Value {
        /// The option's name.
        option: &'static str,
        /// The text that was found; never a secret.
        given: String,
        /// The place it came from.
        source_place: Source,
        /// What would have been fine.
        allowed: String,
    },
    /// The file has a key that is not an option.
    #[error(
        "error: unknown key '{key}'\n  where: configuration file {}\n  \
         allowed: the keys that neokv --print-config lists\n  try: {hint}",
        path.display()
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The dotted path of the key.
        key: String,
        /// The nearest existing key, as a sentence.
        hint: String,
    },
    /// The file cannot be read or is not TOML.
    #[error(
        "error: the configuration file cannot be used\n  where: {}\n  why: {why}\n  \
         try: neokv --print-config > neokv.toml makes a file with every option",
        path.display()
    )]
    File {
        /// The file.
        path: PathBuf,
        /// The reason, from the operating system or the TOML parser.
        why: String,
    },
    /// A row of the option table pairs a kind with a field of another type. A test rules this out.
    #[error("error: the option table is inconsistent; this is a bug in neokv")]
    Table,
}
