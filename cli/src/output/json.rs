//! Values that JSON has no exact form for: large numbers, bytes, spans.

use std::fmt;

use bytes::Bytes;
use neokv_encoding::explain::{self, Span};
use neokv_encoding::raft::LogId;
use neokv_encoding::region::Epoch;
use serde::Serialize;
use serde::ser::{SerializeStruct as _, Serializer};

use crate::bytes_input::escape;

/// Numbers up to here are exact in every JSON reader, also in those that read them as floating
/// point.
const EXACT: u64 = 1 << 53;

/// A 64-bit number: a JSON number if every reader can hold it, a string of digits otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub u64);

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 <= EXACT {
            serializer.serialize_u64(self.0)
        } else {
            serializer.collect_str(&self.0)
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Length of a date up to its seconds.
const SECONDS: usize = "2023-11-14T22:13:20".len();

/// A timestamp: milliseconds since 1970, and the date where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timestamp(pub u64);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Timestamp", 2)?;
        fields.serialize_field("ms", &Number(self.0))?;
        fields.serialize_field("utc", &explain::utc(self.0))?;
        fields.end()
    }
}

impl Timestamp {
    /// The date down to its second, for where a shorter text counts more than the milliseconds.
    pub fn second(self) -> impl fmt::Display {
        let date =
            explain::utc(self.0).and_then(|date| Some(date.get(..SECONDS)?.to_owned() + "Z"));
        date.unwrap_or_else(|| self.to_string())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match explain::utc(self.0) {
            Some(date) => f.write_str(&date),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// Bytes of a user: `{hex, escaped, decoded}`, where decoded is the text, or null if it is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserBytes(pub Bytes);

impl Serialize for UserBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("UserBytes", 3)?;
        fields.serialize_field("hex", &hex::encode(&self.0))?;
        fields.serialize_field("escaped", &escape(&self.0))?;
        fields.serialize_field("decoded", &std::str::from_utf8(&self.0).ok())?;
        fields.end()
    }
}

/// In quotes, escaped.
impl fmt::Display for UserBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

/// Term and index of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LogIdView {
    /// Term of the leader that wrote it.
    pub term: Number,
    /// Position in the log.
    pub index: Number,
}

impl From<LogId> for LogIdView {
    fn from(LogId { term, index }: LogId) -> LogIdView {
        LogIdView { term: Number(term), index: Number(index) }
    }
}

/// `term-index`.
impl fmt::Display for LogIdView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.term, self.index)
    }
}

/// Which shape of a Region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct EpochView {
    version: Number,
    conf_ver: Number,
}

impl From<Epoch> for EpochView {
    fn from(Epoch { version, conf_ver }: Epoch) -> EpochView {
        EpochView { version: Number(version), conf_ver: Number(conf_ver) }
    }
}

/// A span and all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    field: &'static str,
    /// First byte, and first byte after.
    range: [usize; 2],
    value: String,
    why: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    children: Vec<Field>,
}

impl From<&Span> for Field {
    fn from(span: &Span) -> Field {
        Field {
            field: span.field,
            range: [span.range.start, span.range.end],
            value: span.value.clone(),
            why: span.why,
            problem: span.problem.clone(),
            children: span.children.iter().map(Field::from).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_a_double_cannot_hold_are_strings() {
        let json = |number| serde_json::to_string(&Number(number)).unwrap();
        assert_eq!(json(1 << 53), "9007199254740992");
        assert_eq!(json((1 << 53) + 1), "\"9007199254740993\"");
        assert_eq!(json(u64::MAX), "\"18446744073709551615\"");
    }
}
