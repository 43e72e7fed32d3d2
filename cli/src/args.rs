//! The command line.
//!
//! Names and words only: what bytes mean is [`crate::bytes_input`]'s business. Help begins with
//! examples, because most readers look for one line to copy.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use neokv_encoding::family::Family;
use neokv_encoding::key::{RaftStateKind, RegionKind};

use crate::bytes_input::BytesArg;

/// Examples before usage.
const TEMPLATE: &str = "{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

const EXAMPLES: &str = "\
Examples:
  neoctl dump-key greeting                everything stored for one key
  neoctl --dir /var/lib/neokv raft log    the last entries of the Raft log
  neoctl region show 1                    what a Region is, and how far it is
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
        env = "NEOKV_DIR",
        hide_env_values = true,
        default_value = "./neokv-data"
    )]
    pub dir: PathBuf,
    /// Form of the answer
    #[arg(short, long, global = true, value_name = "FORM", value_enum, default_value_t = Form::Table)]
    pub output: Form,
    /// Colour; auto asks the terminal and NO_COLOR
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// Columns that tables keep to [default: the terminal's; no limit when piped]
    #[arg(long, global = true, value_name = "N")]
    pub width: Option<usize>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Table,
    /// For scripts: one object, with the name and version of its schema
    Json,
}

/// When to print colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
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

/// What `encode` can make.
#[derive(Clone, Debug, Subcommand)]
pub enum Encode {
    /// Key of a user key's record in family metadata
    MetadataKey(User),
    /// Key of a hash field, a set or zset member (family subkey)
    Subkey {
        /// Whose part it is
        #[command(flatten)]
        user: User,
        /// Version of the collection
        #[arg(value_parser = number)]
        version: u64,
        /// Field or member
        #[arg(value_name = "SUBKEY", value_parser = bytes())]
        subkey: BytesArg,
    },
    /// Key of a list element (family subkey)
    Element {
        /// Whose part it is
        #[command(flatten)]
        user: User,
        /// Version of the list
        #[arg(value_parser = number)]
        version: u64,
        /// Absolute position, between head and tail of the list
        #[arg(value_parser = number)]
        position: u64,
    },
    /// Key of a zset member by score (family zset_score)
    ScoreKey {
        /// Whose part it is
        #[command(flatten)]
        user: User,
        /// Version of the zset
        #[arg(value_parser = number)]
        version: u64,
        /// Score; inf and -inf are scores too
        #[arg(value_parser = score, allow_negative_numbers = true)]
        score: f64,
        /// Member
        #[arg(value_name = "MEMBER", value_parser = bytes())]
        member: BytesArg,
    },
    /// Key of a user key's expiry in family expire
    ExpireKey {
        /// Whose expiry it is
        #[command(flatten)]
        user: User,
        /// Milliseconds since 1970
        #[arg(value_parser = number)]
        expire_ms: u64,
    },
    /// Key of a phase-1 string, the older format (family subkey)
    V1Key(User),
    /// Value of a phase-1 string
    V1String(StringValue),
    /// Key of a log entry (family raft_log)
    RaftLogKey {
        /// Region id
        #[arg(value_parser = number)]
        region: u64,
        /// Index of the entry
        #[arg(value_parser = number)]
        index: u64,
    },
    /// Key of a Region's Raft state (family raft_state)
    RaftStateKey {
        /// Region id
        #[arg(value_parser = number)]
        region: u64,
        /// Which record
        #[arg(value_parser = raft_state_kind())]
        record: RaftStateKind,
    },
    /// Key of a Region's record (family region)
    RegionKey {
        /// Region id
        #[arg(value_parser = number)]
        region: u64,
        /// Which record
        #[arg(value_parser = region_kind())]
        record: RegionKind,
    },
    /// Key of the store's identity (family default)
    IdentityKey,
    /// Metadata value of a string
    String(StringValue),
    /// Metadata value of a hash
    Hash(CollectionValue),
    /// Metadata value of a list
    List {
        /// Expiry and version
        #[command(flatten)]
        life: Life,
        /// Position of the first element [default: the middle]
        #[arg(long, value_parser = number)]
        head: Option<u64>,
        /// Number of elements
        #[arg(long, value_parser = number, default_value = "0")]
        size: u64,
    },
    /// Metadata value of a set
    Set(CollectionValue),
    /// Metadata value of a zset
    Zset(CollectionValue),
    /// Value of a zset member: its score
    Score {
        /// Score; inf and -inf are scores too
        #[arg(value_parser = score, allow_negative_numbers = true)]
        score: f64,
    },
    /// The slot of a key, as every data key begins
    Slot {
        /// The user key
        #[arg(value_name = "KEY", value_parser = bytes())]
        key: BytesArg,
    },
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

/// A string with its expiry.
#[derive(Clone, Debug, ClapArgs)]
pub struct StringValue {
    /// The string
    #[arg(value_name = "VALUE", value_parser = bytes())]
    pub value: BytesArg,
    /// When it expires, in milliseconds since 1970; 0 never
    #[arg(long, value_parser = number, default_value = "0")]
    pub expire_ms: u64,
}

/// What all collections have.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct Life {
    /// Version that the parts carry
    #[arg(long = "version", id = "collection_version", value_name = "N", value_parser = number)]
    pub version: u64,
    /// When it expires, in milliseconds since 1970; 0 never
    #[arg(long, value_parser = number, default_value = "0")]
    pub expire_ms: u64,
}

/// A hash, set or zset.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct CollectionValue {
    /// Expiry and version
    #[command(flatten)]
    pub life: Life,
    /// Number of elements
    #[arg(long, value_parser = number, default_value = "0")]
    pub size: u64,
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
    /// Where the first commands of an entry did much, those behind them were left out of it. They
    /// stand again in a later entry.
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
        Ok(score) if score.is_nan() => Err("NaN has no place in an order".into()),
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
