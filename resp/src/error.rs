//! What can be wrong with a stream of RESP bytes.
//!
//! After any of these the framing is lost: nobody can tell where the next command or reply starts.
//! The one remaining thing to do is to report the error and close the connection; there is no
//! retry.

/// A violation of the protocol. The text is what Redis 7.0 prints after `-ERR `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number after `*` is not an integer, or more arguments than
    /// [`ParserLimits::max_args`](crate::ParserLimits::max_args).
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The number after `$` is not an integer, negative, or more than
    /// [`ParserLimits::max_bulk`](crate::ParserLimits::max_bulk).
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// More than ten arguments from a peer that has not authenticated yet.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// An argument over 16 KiB from a peer that has not authenticated yet.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// An argument of an array command does not start with `$`.
    #[error("Protocol error: expected '$', got '{}'", char::from(*.0))]
    ExpectedBulk(u8),
    /// An inline command without an end of line within
    /// [`ParserLimits::max_inline`](crate::ParserLimits::max_inline).
    #[error("Protocol error: too big inline request")]
    TooBigInline,
    /// A `*` header without an end of line within
    /// [`ParserLimits::max_inline`](crate::ParserLimits::max_inline).
    #[error("Protocol error: too big mbulk count string")]
    TooBigMultibulkCount,
    /// A `$` header without an end of line within
    /// [`ParserLimits::max_inline`](crate::ParserLimits::max_inline).
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// The arguments of one command together exceed
    /// [`ParserLimits::max_command`](crate::ParserLimits::max_command).
    #[error("Protocol error: too big request")]
    TooBigCommand,
    /// An inline command with an open quote, or text directly behind a closing one.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A reply that starts with a byte that is not a RESP type. Only [`client`](crate::client)
    /// reports it.
    #[error("Protocol error: unknown reply type '{}'", char::from(*.0).escape_default())]
    UnknownType(u8),
    /// A reply whose number, length, double or boolean is malformed. Only [`client`](crate::client)
    /// reports it.
    #[error("Protocol error: malformed {0} in a reply")]
    MalformedReply(&'static str),
    /// A reply nested deeper than [`client::MAX_DEPTH`](crate::client::MAX_DEPTH).
    #[error("Protocol error: reply nested too deeply")]
    TooDeep,
}
