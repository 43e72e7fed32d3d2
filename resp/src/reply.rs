//! Replies to bytes.
//!
//! A command handler says what it means with a [`Reply`]; the connection's [`Protocol`] decides how
//! that is spelled. The table in the [crate documentation](crate) lists the differences.
//!
//! Two of them are not obvious:
//!
//! * [`Reply::Pairs`] is for members with scores and fields with values *in order* (`ZRANGE ..
//!   WITHSCORES`, `HRANDFIELD .. WITHVALUES`, `ZPOPMIN key count`). RESP2 has them flat, RESP3 as
//!   an array of two-element arrays, and neither is a map: order matters and keys may repeat.
//! * [`Reply::Error`] holds the whole line with its code (`ERR syntax error`). Line ends in it,
//!   which may come from a client's own arguments, are written as blanks: otherwise a client could
//!   forge replies.

mod bulks;

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::double::format_double;
use crate::number::{HEADER_MAX, put_header, put_length};

pub use bulks::Bulks;

/// The version of the protocol that a connection speaks. Every connection starts with RESP2; `HELLO
/// 3` switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Strings, integers, arrays and errors only.
    #[default]
    Resp2,
    /// Adds maps, sets, doubles, booleans, null, verbatim strings, big numbers and push messages.
    Resp3,
}

impl Protocol {
    /// The number in `HELLO` and in `CLIENT LIST`: 2 or 3.
    #[must_use]
    pub fn version(self) -> u8 {
        match self {
            Protocol::Resp2 => 2,
            Protocol::Resp3 => 3,
        }
    }
}

/// What a command answers, independent of the protocol version.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `+OK`
    Ok,
    /// A status line, such as `PONG` or a type's name. Must not contain line ends.
    Simple(Cow<'static, str>),
    /// An error with its code, without the leading `-`.
    Error(Cow<'static, str>),
    /// A signed integer.
    Integer(i64),
    /// A binary string.
    Bulk(Bytes),
    /// No value, where one string could be.
    Nil,
    /// No value, where an array could be.
    NilArray,
    /// Values in order.
    Array(Vec<Reply>),
    /// Any number of strings, as [`Reply::Array`], [`Reply::Set`] or [`Reply::Map`] would show
    /// them.
    Bulks(Shape, Bulks),
    /// Keys with values; each key once.
    Map(Vec<(Reply, Reply)>),
    /// Values without order; each once.
    Set(Vec<Reply>),
    /// A floating point number, with 17 significant digits.
    Double(f64),
    /// True or false; 1 or 0 in RESP2.
    Boolean(bool),
    /// Text for people, with its format in three characters (`txt`, `mkd`).
    Verbatim(&'static str, Bytes),
    /// An integer beyond 64 bits, in decimal digits.
    BigNumber(String),
    /// Two-element groups in order: flat in RESP2, nested in RESP3.
    Pairs(Vec<(Reply, Reply)>),
    /// A message that answers no command; an array in RESP2.
    Push(Vec<Reply>),
}

/// What a number of strings is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Strings in order.
    Array,
    /// Strings without order; each once.
    Set,
    /// Keys with values, alternating; each key once.
    Map,
}

impl Reply {
    /// A binary string.
    pub fn bulk(value: impl Into<Bytes>) -> Reply {
        Reply::Bulk(value.into())
    }

    /// A status line. It must not contain line ends.
    pub fn simple(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply::Simple(text.into())
    }

    /// An error line with its code: `Reply::error("ERR syntax error")`.
    pub fn error(text: impl Into<Cow<'static, str>>) -> Reply {
        Reply::Error(text.into())
    }

    /// A count or a length; no collection has more than `i64::MAX` parts.
    #[must_use]
    pub fn count(number: u64) -> Reply {
        Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// Whether this is an error, by which a caller may count failures.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_))
    }

    /// Appends the reply to `out` in the given version of the protocol.
    pub fn write(&self, protocol: Protocol, out: &mut BytesMut) {
        let resp3 = protocol == Protocol::Resp3;
        match self {
            Reply::Ok => out.put_slice(b"+OK\r\n"),
            Reply::Simple(text) => put_line(b'+', text, out),
            Reply::Error(text) => put_line(b'-', text, out),
            Reply::Integer(number) => put_header(b':', *number, out),
            Reply::Bulk(value) => put_bulk(value, out),
            Reply::Nil if !resp3 => out.put_slice(b"$-1\r\n"),
            Reply::NilArray if !resp3 => out.put_slice(b"*-1\r\n"),
            Reply::Nil | Reply::NilArray => out.put_slice(b"_\r\n"),
            Reply::Array(items) => put_items(b'*', items, protocol, out),
            Reply::Bulks(shape, strings) => put_bulks(*shape, strings, protocol, out),
            Reply::Set(items) => put_items(if resp3 { b'~' } else { b'*' }, items, protocol, out),
            Reply::Push(items) => put_items(if resp3 { b'>' } else { b'*' }, items, protocol, out),
            Reply::Map(pairs) if resp3 => {
                put_length(b'%', pairs.len(), out);
                put_flat(pairs, protocol, out);
            }
            Reply::Pairs(pairs) if resp3 => {
                put_length(b'*', pairs.len(), out);
                for pair in pairs {
                    out.put_slice(b"*2\r\n");
                    put_flat(std::slice::from_ref(pair), protocol, out);
                }
            }
            Reply::Map(pairs) | Reply::Pairs(pairs) => {
                put_length(b'*', pairs.len() * 2, out);
                put_flat(pairs, protocol, out);
            }
            Reply::Double(value) => put_double(*value, protocol, out),
            Reply::Boolean(value) if resp3 => {
                out.put_slice(if *value { b"#t\r\n" } else { b"#f\r\n" })
            }
            Reply::Boolean(value) => put_header(b':', i64::from(*value), out),
            Reply::Verbatim(format, text) => put_verbatim(format, text, protocol, out),
            Reply::BigNumber(digits) if resp3 => put_line(b'(', digits, out),
            Reply::BigNumber(digits) => put_bulk(digits.as_bytes(), out),
        }
    }
}

/// Appends `$length`, the bytes and a line end. What [`Reply::Bulk`] writes, for callers that hold
/// only a slice.
pub(crate) fn put_bulk(value: &[u8], out: &mut BytesMut) {
    out.reserve(value.len() + HEADER_MAX + 2);
    put_length(b'$', value.len(), out);
    out.put_slice(value);
    out.put_slice(b"\r\n");
}

/// Appends a line, with the line ends inside it turned into blanks.
fn put_line(kind: u8, text: &str, out: &mut BytesMut) {
    out.put_u8(kind);
    if text.bytes().any(|byte| byte == b'\r' || byte == b'\n') {
        out.put_slice(text.trim_end_matches(['\r', '\n']).replace(['\r', '\n'], " ").as_bytes());
    } else {
        out.put_slice(text.as_bytes());
    }
    out.put_slice(b"\r\n");
}

fn put_items(kind: u8, items: &[Reply], protocol: Protocol, out: &mut BytesMut) {
    put_length(kind, items.len(), out);
    for item in items {
        item.write(protocol, out);
    }
}

fn put_bulks(shape: Shape, strings: &Bulks, protocol: Protocol, out: &mut BytesMut) {
    let (kind, length) = match (shape, protocol) {
        (Shape::Array, _) | (Shape::Set | Shape::Map, Protocol::Resp2) => (b'*', strings.len()),
        (Shape::Set, Protocol::Resp3) => (b'~', strings.len()),
        (Shape::Map, Protocol::Resp3) => (b'%', strings.len() / 2),
    };
    put_length(kind, length, out);
    strings.write(out);
}

fn put_flat(pairs: &[(Reply, Reply)], protocol: Protocol, out: &mut BytesMut) {
    for (first, second) in pairs {
        first.write(protocol, out);
        second.write(protocol, out);
    }
}

fn put_double(value: f64, protocol: Protocol, out: &mut BytesMut) {
    let text = format_double(value);
    match protocol {
        Protocol::Resp2 => put_bulk(text.as_bytes(), out),
        Protocol::Resp3 => put_line(b',', &text, out),
    }
}

fn put_verbatim(format: &str, text: &[u8], protocol: Protocol, out: &mut BytesMut) {
    if protocol == Protocol::Resp2 {
        return put_bulk(text, out);
    }
    put_length(b'=', text.len() + 4, out);
    out.put_slice(format.as_bytes());
    out.put_u8(b':');
    out.put_slice(text);
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests;
