//! Why a command is refused, with the exact words that Redis 7.0 uses.
//!
//! [`CommandError`]'s `Display` is the error reply, with its code and without the leading `-`.
//! Clients match on these texts, so they are part of the protocol. A text that several commands
//! share is a variant here; one that belongs to a single option of a single command is a
//! [`CommandError::Custom`] where it arises.
//!
//! Two variants are not refusals but faults of the store: [`CommandError::Engine`] and
//! [`CommandError::Damaged`]. A read answers them; apply must stop on them, because an entry whose
//! effect is unknown must not count as applied ([`CommandError::is_fault`]).

use std::borrow::Cow;

use neokv_encoding::DecodeError;
use neokv_engine::EngineError;
use neokv_resp::Reply;
use thiserror::Error;

/// Why a command was refused. `Display` is the text of the reply.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CommandError {
    /// An option or its place is not part of the command's grammar.
    #[error("ERR syntax error")]
    Syntax,
    /// The wrong number of words for the command of this name.
    #[error("ERR wrong number of arguments for '{0}' command")]
    WrongArity(&'static str),
    /// The key holds a value of another type.
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    /// An argument, or a stored string, is not a 64-bit integer.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// An argument, or a stored string, is not a number.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// A count is negative.
    #[error("ERR value is out of range, must be positive")]
    NotPositive,
    /// A number does not fit the range of the option.
    #[error("ERR value is out of range")]
    OutOfRange,
    /// An integer does not lie between these bounds, both included.
    #[error("ERR value is out of range, value must between {0} and {1}")]
    OutsideRange(i64, i64),
    /// INCR and its relatives left the 64-bit range.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// DECRBY by the smallest integer.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// INCRBYFLOAT and HINCRBYFLOAT have no finite result.
    #[error("ERR increment would produce NaN or Infinity")]
    NotFinite,
    /// An increment that is itself NaN or infinite (HINCRBYFLOAT).
    #[error("ERR value is NaN or Infinity")]
    IncrementNotFinite,
    /// A hash field that should hold an integer does not.
    #[error("ERR hash value is not an integer")]
    HashNotInteger,
    /// A hash field that should hold a number does not.
    #[error("ERR hash value is not a float")]
    HashNotFloat,
    /// The expiry given to this command is zero, negative or too far away.
    #[error("ERR invalid expire time in '{0}' command")]
    InvalidExpire(&'static str),
    /// The string would become longer than the protocol can carry.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    /// SETRANGE before the start of a string.
    #[error("ERR offset is out of range")]
    OffsetOutOfRange,
    /// LSET outside a list.
    #[error("ERR index out of range")]
    IndexOutOfRange,
    /// The command needs an existing key.
    #[error("ERR no such key")]
    NoSuchKey,
    /// A cursor of the SCAN family is not a number.
    #[error("ERR invalid cursor")]
    InvalidCursor,
    /// A count of keys is zero or negative.
    #[error("ERR numkeys should be greater than 0")]
    NoKeys,
    /// A count of keys exceeds the arguments.
    #[error("ERR Number of keys can't be greater than number of args")]
    TooManyKeys,
    /// LIMIT is negative.
    #[error("ERR LIMIT can't be negative")]
    NegativeLimit,
    /// COUNT is negative.
    #[error("ERR COUNT can't be negative")]
    NegativeCount,
    /// COUNT is not positive.
    #[error("ERR count should be greater than 0")]
    CountNotPositive,
    /// A bound of a score range is not a number.
    #[error("ERR min or max is not a float")]
    NotScoreBound,
    /// A bound of a lexicographical range has no `[`, `(`, `-` or `+`.
    #[error("ERR min or max not valid string range item")]
    NotLexBound,
    /// The sum of two scores is not a number.
    #[error("ERR resulting score is not a number (NaN)")]
    ScoreNotANumber,
    /// Two options exclude each other (ZADD).
    #[error("ERR XX and NX options at the same time are not compatible")]
    NxWithXx,
    /// A write would change or gather more than its log entry allows, or a read would return more
    /// than the connection may have waiting.
    #[error("ERR the command would change or return too much at once, give it less to do")]
    LimitExceeded,
    /// Any other text, with its code.
    #[error("{0}")]
    Custom(Cow<'static, str>),
    /// The engine could not read or write: a fault, not a refusal.
    #[error("ERR storage engine: {0}")]
    Engine(#[from] EngineError),
    /// A stored record could not be decoded: a fault, not a refusal.
    #[error(
        "ERR a stored record is damaged: {0}. Check the disk, and restore this store from a \
         replica or a backup"
    )]
    Damaged(#[from] DecodeError),
}

/// An argument as an error text shows it: as in Redis, it ends at its first zero byte and after 128
/// bytes, and line ends become blanks, because they would end the reply.
pub fn shown(argument: &[u8]) -> String {
    let printable = argument.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(printable.get(..128).unwrap_or(printable)).replace(['\r', '\n'], " ")
}

impl CommandError {
    /// An error whose text is fixed but not shared: `text` starts with the code, e.g. `ERR …`.
    pub fn custom(text: impl Into<Cow<'static, str>>) -> CommandError {
        CommandError::Custom(text.into())
    }

    /// `ERR unknown subcommand`, as Redis answers for container commands. `sub` is cut at 128
    /// bytes.
    pub fn unknown_subcommand(command: &str, sub: &[u8]) -> CommandError {
        let shown = shown(sub);
        CommandError::Custom(
            format!("ERR unknown subcommand '{shown}'. Try {} HELP.", command.to_uppercase())
                .into(),
        )
    }

    /// Whether the store itself failed, so that the command's effect is unknown: apply stops
    /// instead of replying.
    pub fn is_fault(&self) -> bool {
        matches!(self, CommandError::Engine(_) | CommandError::Damaged(_))
    }

    /// The reply that tells the client.
    pub fn reply(&self) -> Reply {
        let text: Cow<'static, str> = match self {
            CommandError::WrongType => {
                "WRONGTYPE Operation against a key holding the wrong kind of value".into()
            }
            CommandError::Custom(text) => text.clone(),
            other => other.to_string().replace(['\r', '\n'], " ").into(),
        };
        Reply::Error(text)
    }
}
