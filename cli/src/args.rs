//! The command line.
//!
//! This module declares arguments and help texts; [`crate::bytes_input`] reads the bytes in them.
//! Help begins with examples, because most readers look for one line to copy.

mod encode;

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use neokv_encoding::family::Family;
use neokv_encoding::key::{RaftStateKind, RegionKind, UserKey};
use neokv_encoding::slot::SLOTS;

pub use self::encode::{
    CollectionArgs, CollectionValue, DataKey, Encode, EncodedValue, StringValue, SystemKey,
};
use crate::bytes_input::BytesArg;
use crate::environment::Environment;
use crate::error::CliError;
use crate::output;

/// Examples before usage.
const TEMPLATE: &str = "{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

const EXAMPLES: &str = "\
Examples:
  neoctl keys list                        the keys, with type, size and expiry
  neoctl dump-key greeting                everything stored for one key
  neoctl --dir /var/lib/neokv raft log    the last entries of the Raft log
  neoctl region show 1                    what a Region is, and how far it is
  neoctl --replay keys list               the keys after the next start
  neoctl explain hex:2f9600000000666f6f   what each byte is, and why
  neoctl encode metadata-key foo          the inverse
  neoctl slot user:{42}                   the hash slot of a key";

const AFTER: &str = "\
Bytes are written hex:2f96…, esc:a\\x00b, utf8:text, or bare, which is as esc:. A
lone - reads standard input. Answers go to stdout, notes and errors to stderr.
The directory is only read, whether a server runs on it or not.

Exit codes: 0 answered, 1 not found, 2 wrong usage, 3 cannot open the store,
5 damaged or not understood (what could be read is printed).";

/// Decodes and explains every byte that NeoKV stores
#[derive(Clone, Debug, Parser)]
#[command(
    name = "neoctl",
    version,
    before_help = EXAMPLES,
    after_help = AFTER,
    help_template = TEMPLATE,
    term_width = 80,
    arg_required_else_help = true,
    propagate_version = true
)]
pub struct Args {
    /// Data directory of the store
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        display_order = output::GLOBAL,
        env = "NEOKV_DIR",
        hide_env_values = true,
        default_value = "./neokv-data"
    )]
    pub dir: PathBuf,
    /// Apply the log first, in a copy: the state that the next start would reach
    #[arg(long, global = true, display_order = output::GLOBAL)]
    pub replay: bool,
    /// How the answer is printed
    #[command(flatten)]
    pub output: output::Options,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Explain bytes: what each of them is, what it says, and why it is there
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  neoctl explain hex:2f9600000000666f6f                    guesses, best first
  neoctl explain hex:2f9600000000666f6f --family metadata  as a key of a family
  neoctl explain hex:810000000000000000 --family metadata --value
  neoctl explain - --all < record.bin                      every reading in full")]
    Explain(Explain),
    /// List every plausible reading of bytes, best first, without the bytes
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  neoctl decode hex:2f9600000000666f6f
  neoctl decode -o json - < record.bin")]
    Decode(Decode),
    /// Encode a key or a value: the inverse of explain
    #[command(subcommand, help_template = TEMPLATE, before_help = "\
Examples:
  neoctl encode metadata-key user:{42}
  neoctl encode subkey user:{42} 7 name
  neoctl encode score-key board 7 -- -1.5 ada
  neoctl encode raft-log-key 1 42
  neoctl encode hash --version 7 --size 2")]
    Encode(Encode),
    /// Show everything that is stored for one user key, in every family
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  neoctl dump-key greeting
  neoctl dump-key user:{42} --limit 5 --annotate all
  neoctl dump-key hex:00ff -o json")]
    DumpKey(DumpKey),
    /// List the user keys of the store
    #[command(subcommand, help_template = TEMPLATE, before_help = "\
Examples:
  neoctl keys list
  neoctl keys list --prefix user: --limit 0
  neoctl keys list --slot 8000")]
    Keys(Keys),
    /// Look into the Raft log
    #[command(subcommand, help_template = TEMPLATE, before_help = "\
Examples:
  neoctl raft log                 the last entries
  neoctl raft log --from 1        from the first one on
  neoctl raft state               votes and log positions")]
    Raft(Raft),
    /// Look at Regions
    #[command(subcommand, help_template = TEMPLATE, before_help = "\
Examples:
  neoctl region list
  neoctl region show 1")]
    Region(Region),
    /// Tell whose directory this is, and what is in it
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  neoctl store
  neoctl --dir /var/lib/neokv store -o json")]
    Store,
    /// Compute the hash slot of keys
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  neoctl slot greeting
  neoctl slot user:{42}:name user:{42}:cart")]
    Slot(Slot),
}

/// Arguments of `explain`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Explain {
    /// The bytes: hex:…, esc:…, utf8:…, bare text, or - for stdin
    #[arg(value_name = "BYTES", value_parser = bytes())]
    pub bytes: BytesArg,
    /// Family that the bytes are from; without it, every plausible reading is tried
    #[arg(long, value_parser = family())]
    pub family: Option<Family>,
    /// The bytes are a value of the family, not a key
    #[arg(long, requires = "family")]
    pub value: bool,
    /// Key that the value is stored under, where the key says what the value is
    #[arg(long, requires = "value", value_name = "BYTES", value_parser = bytes())]
    pub key: Option<BytesArg>,
    /// Show every reading in full, not only the best
    #[arg(long, conflicts_with = "family")]
    pub all: bool,
}

/// Arguments of `decode`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Decode {
    /// The bytes: hex:…, esc:…, utf8:…, bare text, or - for stdin
    #[arg(value_name = "BYTES", value_parser = bytes())]
    pub bytes: BytesArg,
}

/// A user key.
#[derive(Clone, Debug, ClapArgs)]
pub struct User {
    /// The user key
    #[arg(value_name = "KEY", value_parser = bytes())]
    pub key: BytesArg,
    /// Its namespace
    #[arg(long, default_value_t = 0)]
    pub namespace: u32,
}

impl User {
    /// The key with its slot.
    ///
    /// # Errors
    /// Bytes that are not written as they should be.
    pub fn read(&self, environment: &mut Environment<'_>) -> Result<UserKey, CliError> {
        Ok(UserKey::new(self.namespace, self.key.read("KEY", environment)?))
    }
}

/// Arguments of `dump-key`.
#[derive(Clone, Debug, ClapArgs)]
pub struct DumpKey {
    /// The key
    #[command(flatten)]
    pub user: User,
    /// Most rows of each group to show; 0 shows all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// Rows to show byte by byte: the first of each group, all, or none
    #[arg(long, value_enum, default_value_t = Annotate::First)]
    pub annotate: Annotate,
}

/// Which rows are shown byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Annotate {
    /// The first of each group
    First,
    /// All
    All,
    /// None
    None,
}

/// Commands about the log.
#[derive(Clone, Debug, Subcommand)]
pub enum Raft {
    /// List entries of the log: what every replica applies, in order
    ///
    /// Commands that did not fit into the bounds of their entry were left out of it. They appear
    /// again in a later entry.
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  neoctl raft log                          the last entries
  neoctl raft log --from 100 --to 120
  neoctl raft log --region 7 --limit 0     all that the store has")]
    Log(RaftLog),
    /// Show votes and log positions
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  neoctl raft state
  neoctl raft state --region 1")]
    State {
        /// Only this Region
        #[arg(long, value_parser = number)]
        region: Option<u64>,
    },
}

/// Arguments of `raft log`.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct RaftLog {
    /// The Region; needed if the store has several
    #[arg(long, value_parser = number)]
    pub region: Option<u64>,
    /// First index [default: so that the last entries are shown]
    #[arg(long, value_parser = number)]
    pub from: Option<u64>,
    /// Last index, included
    #[arg(long, value_parser = number)]
    pub to: Option<u64>,
    /// Most entries to show; 0 shows all
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: usize,
}

/// Commands about Regions.
#[derive(Clone, Debug, Subcommand)]
pub enum Region {
    /// List the Regions of the store
    List,
    /// Show one Region
    Show {
        /// Region id
        #[arg(value_name = "ID", value_parser = number)]
        id: u64,
    },
}

/// Commands about user keys.
#[derive(Clone, Debug, Subcommand)]
pub enum Keys {
    /// List keys by slot, namespace and name, with type, size and expiry
    #[command(help_template = TEMPLATE, before_help = "\
Examples:
  neoctl keys list
  neoctl keys list --prefix user: --limit 0
  neoctl keys list --slot 8000")]
    List(KeysList),
}

/// Arguments of `keys list`.
#[derive(Clone, Debug, ClapArgs)]
pub struct KeysList {
    /// Only keys of this slot
    #[arg(long, value_parser = slot())]
    pub slot: Option<u16>,
    /// Only keys of this namespace
    #[arg(long)]
    pub namespace: Option<u32>,
    /// Only keys that begin with these bytes
    #[arg(long, value_name = "BYTES", value_parser = bytes())]
    pub prefix: Option<BytesArg>,
    /// Most keys to list; 0 lists all
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: usize,
}

/// Arguments of `slot`.
#[derive(Clone, Debug, ClapArgs)]
pub struct Slot {
    /// The keys
    #[arg(value_name = "KEY", required = true, value_parser = bytes())]
    pub keys: Vec<BytesArg>,
}

fn bytes() -> impl TypedValueParser<Value = BytesArg> {
    OsStringValueParser::new().map(BytesArg::from)
}

/// A slot that exists.
fn slot() -> impl TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(..i64::from(SLOTS))
}

fn family() -> impl TypedValueParser<Value = Family> {
    PossibleValuesParser::new(Family::ALL.map(Family::name))
        .try_map(|name| Family::from_name(&name).ok_or("no such family"))
}

fn raft_state_kind() -> impl TypedValueParser<Value = RaftStateKind> {
    PossibleValuesParser::new(RaftStateKind::ALL.map(RaftStateKind::name)).try_map(|name| {
        RaftStateKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or("no such record")
    })
}

fn region_kind() -> impl TypedValueParser<Value = RegionKind> {
    PossibleValuesParser::new(RegionKind::ALL.map(RegionKind::name)).try_map(|name| {
        RegionKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or("no such record")
    })
}

/// A number, decimal or 0x….
fn number(text: &str) -> Result<u64, std::num::ParseIntError> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    }
}

/// A score: any number but NaN.
fn score(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(score) if score.is_nan() => Err("NaN cannot be ordered".into()),
        Ok(score) => Ok(score),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        super::Args::command().debug_assert();
    }
}
