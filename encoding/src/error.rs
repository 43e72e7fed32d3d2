//! Why bytes were refused.
//!
//! A decoder takes bytes from a disk or a peer, so every byte may be wrong. It answers with one of
//! four reasons, each with enough numbers to find the spot; [`crate::explain`] shows the same
//! reasons next to the bytes they belong to.

/// Why bytes are not what they should be. None of these is worth a retry: the same bytes are
/// refused again.
///
/// The server treats a refusal of its own stored bytes as damage (stop, name the record); a tool
/// prints it and goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a field: a torn write, or bytes of another format.
    #[error("truncated: {what} needs {need} byte(s), {have} left")]
    Truncated {
        /// Field that was being read.
        what: &'static str,
        /// Bytes that the field needs.
        need: usize,
        /// Bytes that are left.
        have: usize,
    },
    /// A tag, kind or version byte that this format does not know: perhaps written by a newer
    /// release.
    #[error("unknown {what}: {value}; if a newer release wrote it, read it with that release")]
    Unknown {
        /// Field that holds the tag.
        what: &'static str,
        /// The tag as found.
        value: u64,
    },
    /// A value that no encoder writes.
    #[error("invalid {what}: {why}")]
    Invalid {
        /// Field that holds the value.
        what: &'static str,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// Everything was read, and bytes are left over.
    #[error("{bytes} byte(s) too many after {what}")]
    Trailing {
        /// Format that ended.
        what: &'static str,
        /// Number of bytes left over.
        bytes: usize,
    },
}
