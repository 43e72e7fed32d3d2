//! The client's side of the protocol: commands to bytes, bytes to replies. For tools, tests and
//! benchmarks.
//!
//! [`Value`] keeps every distinction that is on the wire: the three spellings of nothing, a
//! double's digits, a set apart from an array. That makes it fit for comparing two servers reply by
//! reply, where "equal after conversion" would hide differences.
//!
//! ```
//! use bytes::BytesMut;
//! use neokv_resp::client::{Value, decode, encode_command};
//!
//! let mut out = BytesMut::new();
//! encode_command(&["LPOP", "mylist", "2"], &mut out);
//! assert_eq!(&out[..], b"*3\r\n$4\r\nLPOP\r\n$6\r\nmylist\r\n$1\r\n2\r\n");
//!
//! let mut input = BytesMut::from("*2\r\n$1\r\na\r\n$-1\r\n");
//! let reply = decode(&mut input).unwrap().unwrap();
//! assert_eq!(reply, Value::Array(vec![Value::Bulk("a".into()), Value::Nil]));
//! ```
//!
//! [`decode`] is for buffers that mostly hold whole replies; it looks at an incomplete reply again
//! from its start. [`Decoder`] keeps what it has read and is linear in any case. Neither recurses:
//! a reply nested deeper than [`MAX_DEPTH`] is refused, and an announced length allocates nothing.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::ProtocolError;
use crate::number::{parse_integer, put_length};
use crate::reply::put_bulk;

/// How deep a reply may nest. Redis's deepest (`COMMAND DOCS`) stays under ten.
pub const MAX_DEPTH: usize = 64;

/// Longest line of a reply (status, error, number) that is accepted, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// One reply, exactly as it was on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `+` a status.
    Simple(String),
    /// `-` an error with its code.
    Error(String),
    /// `:` an integer.
    Integer(i64),
    /// `$` a binary string.
    Bulk(Bytes),
    /// `$-1`, nothing in RESP2.
    Nil,
    /// `*-1`, nothing in RESP2 where an array could be.
    NilArray,
    /// `_`, nothing in RESP3.
    Null,
    /// `*` values in order.
    Array(Vec<Value>),
    /// `%` keys with values, in the order of the wire.
    Map(Vec<(Value, Value)>),
    /// `~` a set, in the order of the wire.
    Set(Vec<Value>),
    /// `,` a double, as its digits.
    Double(String),
    /// `#` true or false.
    Boolean(bool),
    /// `=` text with its format (`txt`).
    Verbatim(String, Bytes),
    /// `(` an integer in decimal digits.
    BigNumber(String),
    /// `>` a message that answers no command.
    Push(Vec<Value>),
}

impl Value {
    /// The text of a status, an error or a string that is UTF-8.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Simple(text) | Value::Error(text) => Some(text),
            Value::Bulk(bytes) | Value::Verbatim(_, bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Whether this is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Value::Error(_))
    }
}

/// Appends a command as an array of binary strings, its one form that can carry any bytes.
pub fn encode_command(args: &[impl AsRef<[u8]>], out: &mut BytesMut) {
    put_length(b'*', args.len(), out);
    for arg in args {
        put_bulk(arg.as_ref(), out);
    }
}

/// Takes the first reply off `input`, or leaves it as it is if the reply is incomplete.
///
/// # Errors
///
/// A [`ProtocolError`] if the bytes are not a reply; the connection is then of no further use.
pub fn decode(input: &mut BytesMut) -> Result<Option<Value>, ProtocolError> {
    let Some(length) = length_of_first(input)? else { return Ok(None) };
    let mut reply = input.split_to(length);
    Decoder::default().next(&mut reply)
}

/// The length of the first reply in `input`, `None` if it is incomplete.
fn length_of_first(input: &[u8]) -> Result<Option<usize>, ProtocolError> {
    let mut at = 0usize;
    let mut missing = 1u64;
    while missing > 0 {
        let Some(rest) = input.get(at..) else { return Ok(None) };
        let Some((line, used)) = first_line(rest)? else { return Ok(None) };
        at += used;
        missing -= 1;
        let too_long = || ProtocolError::MalformedReply("length");
        match Header::parse(line)? {
            Header::Value(_) => {}
            Header::Text(_, length) => {
                let with_end = length.checked_add(2).ok_or_else(too_long)?;
                at = at.checked_add(with_end).ok_or_else(too_long)?;
            }
            Header::Items(_, count) => {
                missing = missing.checked_add(count).ok_or_else(too_long)?;
            }
        }
    }
    Ok((at <= input.len()).then_some(at))
}

/// The first line without its end, and the bytes it takes with it.
fn first_line(input: &[u8]) -> Result<Option<(&[u8], usize)>, ProtocolError> {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > MAX_LINE => Err(ProtocolError::MalformedReply("line")),
        Some(end) => match input.get(..end) {
            Some([line @ .., b'\r']) => Ok(Some((line, end + 1))),
            _ => Err(ProtocolError::MalformedReply("line end")),
        },
        None if input.len() > MAX_LINE => Err(ProtocolError::MalformedReply("line")),
        None => Ok(None),
    }
}

/// What the first line of a reply says.
enum Header {
    /// The line is the whole reply.
    Value(Value),
    /// So many bytes and a line end follow: `$` or `=`.
    Text(u8, usize),
    /// So many replies follow; twice the number in the header for a map.
    Items(u8, u64),
}

impl Header {
    fn parse(line: &[u8]) -> Result<Header, ProtocolError> {
        let (kind, text) = line.split_first().ok_or(ProtocolError::MalformedReply("type"))?;
        let owned = || String::from_utf8_lossy(text).into_owned();
        Ok(match kind {
            b'+' => Header::Value(Value::Simple(owned())),
            b'-' => Header::Value(Value::Error(owned())),
            b':' => Header::Value(Value::Integer(
                parse_integer(text).ok_or(ProtocolError::MalformedReply("integer"))?,
            )),
            b',' => {
                let digits = owned();
                digits.parse::<f64>().map_err(|_| ProtocolError::MalformedReply("double"))?;
                Header::Value(Value::Double(digits))
            }
            b'(' => Header::Value(Value::BigNumber(owned())),
            b'_' if text.is_empty() => Header::Value(Value::Null),
            b'#' if text == b"t" => Header::Value(Value::Boolean(true)),
            b'#' if text == b"f" => Header::Value(Value::Boolean(false)),
            b'_' | b'#' => return Err(ProtocolError::MalformedReply("constant")),
            b'$' if text == b"-1" => Header::Value(Value::Nil),
            b'*' if text == b"-1" => Header::Value(Value::NilArray),
            b'$' | b'=' => Header::Text(
                *kind,
                usize::try_from(length(text)?)
                    .map_err(|_| ProtocolError::MalformedReply("length"))?,
            ),
            b'%' => Header::Items(*kind, length(text)? * 2),
            b'*' | b'~' | b'>' => Header::Items(*kind, length(text)?),
            other => return Err(ProtocolError::UnknownType(*other)),
        })
    }
}

/// A length that is not negative; at most `i64::MAX`.
fn length(text: &[u8]) -> Result<u64, ProtocolError> {
    parse_integer(text)
        .and_then(|number| u64::try_from(number).ok())
        .ok_or(ProtocolError::MalformedReply("length"))
}

/// A decoder of one stream of replies that never reads a byte twice.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Aggregates that are being filled, the outermost first.
    open: Vec<Open>,
    /// The text whose bytes are awaited: its type and length.
    text: Option<(u8, usize)>,
}

/// An aggregate with `missing` items to come, at least one.
#[derive(Debug)]
struct Open {
    kind: u8,
    missing: u64,
    items: Vec<Value>,
}

impl Decoder {
    /// The next complete reply, or `None` if more bytes are needed. Consumes what it has decoded.
    ///
    /// # Errors
    ///
    /// A [`ProtocolError`] if the bytes are not a reply; the decoder must not be used further.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Value>, ProtocolError> {
        loop {
            let Some(value) = self.part(input)? else { return Ok(None) };
            if let Some(complete) = value.and_then(|value| self.close(value)) {
                return Ok(Some(complete));
            }
        }
    }

    /// Reads one line or one text. Outer `None`: more bytes are needed. Inner `None`: it opened
    /// something.
    #[expect(
        clippy::option_option,
        reason = "the two levels answer two questions, in this file only"
    )]
    fn part(&mut self, input: &mut BytesMut) -> Result<Option<Option<Value>>, ProtocolError> {
        if let Some((kind, length)) = self.text {
            // A length is at most i64::MAX, so the sum fits.
            if input.len() < length + 2 {
                return Ok(None);
            }
            let text = input.split_to(length).freeze();
            if !input.starts_with(b"\r\n") {
                return Err(ProtocolError::MalformedReply("line end"));
            }
            input.advance(2);
            self.text = None;
            return Ok(Some(Some(text_value(kind, text)?)));
        }
        let Some((line, used)) = first_line(input)? else { return Ok(None) };
        let header = Header::parse(line)?;
        input.advance(used);
        match header {
            Header::Value(value) => Ok(Some(Some(value))),
            Header::Text(kind, length) => {
                self.text = Some((kind, length));
                Ok(Some(None))
            }
            Header::Items(kind, 0) => Ok(Some(Some(aggregate(kind, Vec::new())))),
            Header::Items(_, _) if self.open.len() >= MAX_DEPTH => Err(ProtocolError::TooDeep),
            Header::Items(kind, missing) => {
                self.open.push(Open { kind, missing, items: Vec::new() });
                Ok(Some(None))
            }
        }
    }

    /// Puts a value where it belongs; returns the outermost reply if that completed it.
    fn close(&mut self, mut value: Value) -> Option<Value> {
        while let Some(mut open) = self.open.pop() {
            open.items.push(value);
            open.missing -= 1;
            if open.missing > 0 {
                self.open.push(open);
                return None;
            }
            value = aggregate(open.kind, open.items);
        }
        Some(value)
    }
}

fn text_value(kind: u8, text: Bytes) -> Result<Value, ProtocolError> {
    if kind == b'$' {
        return Ok(Value::Bulk(text));
    }
    match text.split_at_checked(4) {
        Some(([format @ .., b':'], _)) => {
            Ok(Value::Verbatim(String::from_utf8_lossy(format).into_owned(), text.slice(4..)))
        }
        _ => Err(ProtocolError::MalformedReply("verbatim string")),
    }
}

fn aggregate(kind: u8, items: Vec<Value>) -> Value {
    match kind {
        b'~' => Value::Set(items),
        b'>' => Value::Push(items),
        b'%' => {
            let mut pairs = Vec::with_capacity(items.len() / 2);
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Value::Map(pairs)
        }
        _ => Value::Array(items),
    }
}

/// Appends a reply again, byte for byte as it was read.
pub fn encode_value(value: &Value, out: &mut BytesMut) {
    let mut line = |kind: u8, text: &str| {
        out.put_u8(kind);
        out.put_slice(text.as_bytes());
        out.put_slice(b"\r\n");
    };
    match value {
        Value::Simple(text) => line(b'+', text),
        Value::Error(text) => line(b'-', text),
        Value::Integer(number) => line(b':', &number.to_string()),
        Value::Double(digits) => line(b',', digits),
        Value::BigNumber(digits) => line(b'(', digits),
        Value::Boolean(value) => line(b'#', if *value { "t" } else { "f" }),
        Value::Null => line(b'_', ""),
        Value::Nil => line(b'$', "-1"),
        Value::NilArray => line(b'*', "-1"),
        Value::Bulk(bytes) => put_bulk(bytes, out),
        Value::Verbatim(format, text) => {
            put_length(b'=', format.len() + 1 + text.len(), out);
            out.put_slice(format.as_bytes());
            out.put_u8(b':');
            out.put_slice(text);
            out.put_slice(b"\r\n");
        }
        Value::Array(items) => put_values(b'*', items, out),
        Value::Set(items) => put_values(b'~', items, out),
        Value::Push(items) => put_values(b'>', items, out),
        Value::Map(pairs) => {
            put_length(b'%', pairs.len(), out);
            for (key, value) in pairs {
                encode_value(key, out);
                encode_value(value, out);
            }
        }
    }
}

fn put_values(kind: u8, items: &[Value], out: &mut BytesMut) {
    put_length(kind, items.len(), out);
    for item in items {
        encode_value(item, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> Result<Option<Value>, ProtocolError> {
        decode(&mut BytesMut::from(bytes))
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        let bulk = |text: &'static str| Value::Bulk(text.into());
        let table: &[(&[u8], Value)] = &[
            (b"+OK\r\n", Value::Simple("OK".into())),
            (b"-ERR no\r\n", Value::Error("ERR no".into())),
            (b":-5\r\n", Value::Integer(-5)),
            (b"$2\r\n\r\n\r\n", bulk("\r\n")),
            (b"$0\r\n\r\n", bulk("")),
            (b"$-1\r\n", Value::Nil),
            (b"*-1\r\n", Value::NilArray),
            (b"_\r\n", Value::Null),
            (b"*0\r\n", Value::Array(vec![])),
            (
                b"*2\r\n*1\r\n:1\r\n~0\r\n",
                Value::Array(vec![Value::Array(vec![Value::Integer(1)]), Value::Set(vec![])]),
            ),
            (b"%1\r\n+k\r\n$1\r\nv\r\n", Value::Map(vec![(Value::Simple("k".into()), bulk("v"))])),
            (b"~1\r\n#t\r\n", Value::Set(vec![Value::Boolean(true)])),
            (b">1\r\n#f\r\n", Value::Push(vec![Value::Boolean(false)])),
            (b",0.10000000000000001\r\n", Value::Double("0.10000000000000001".into())),
            (b",-inf\r\n", Value::Double("-inf".into())),
            (b"(123456789012345678901\r\n", Value::BigNumber("123456789012345678901".into())),
            (b"=6\r\ntxt:hi\r\n", Value::Verbatim("txt".into(), "hi".into())),
        ];
        for (bytes, value) in table {
            assert_eq!(one(bytes).unwrap().as_ref(), Some(value), "{}", bytes.escape_ascii());
            let mut out = BytesMut::new();
            encode_value(value, &mut out);
            assert_eq!(out, bytes);
            for cut in 0..bytes.len() {
                let mut part = BytesMut::from(&bytes[..cut]);
                assert_eq!(decode(&mut part), Ok(None), "{}", bytes[..cut].escape_ascii());
                assert_eq!(part, bytes[..cut], "an incomplete reply stays in the buffer");
            }
        }
    }

    #[test]
    fn malformed_replies_are_refused() {
        for bytes in [
            &b"?\r\n"[..],
            b"\r\n",
            b":\r\n",
            b":x\r\n",
            b"$-2\r\n",
            b"*-2\r\n",
            b"$x\r\n",
            b",x\r\n",
            b"#x\r\n",
            b"_x\r\n",
            b"$1\r\nabc",
            b"=3\r\nabc\r\n",
            b"=5\r\ntxt-a\r\n",
            b"+OK\n",
        ] {
            assert!(one(bytes).is_err(), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn depth_is_limited_and_lengths_are_not_believed() {
        let nested = |depth: usize| {
            BytesMut::from(&[b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat()[..])
        };
        assert!(decode(&mut nested(MAX_DEPTH)).unwrap().is_some());
        assert_eq!(decode(&mut nested(MAX_DEPTH + 1)), Err(ProtocolError::TooDeep));
        assert_eq!(
            Decoder::default().next(&mut BytesMut::from("*1\r\n".repeat(1 << 16).as_str())),
            Err(ProtocolError::TooDeep)
        );
        assert_eq!(one(b"*9223372036854775807\r\n"), Ok(None));
        assert_eq!(one(b"$9223372036854775807\r\n"), Ok(None));
        assert_eq!(one(b"%9223372036854775807\r\n:1\r\n"), Ok(None));
    }
}
