//! Protobuf messages inside log entries, field by field.
//!
//! ```text
//! 0a 03 73 65 74      tag 0a = field 1, wire type 2 (length-delimited) · length 3 · "set"
//! ```
//!
//! The names, types and comments come from `proto/neokv.proto`, through a table that the build
//! makes beside prost's types. The server decodes with prost. If prost refuses bytes in which this
//! module finds nothing wrong, the refusal becomes the problem of the message's span.

use std::ops::Range;

use prost::Message as _;

use super::Span;
use crate::layout::show;
use crate::proto::{AdminCommand, RedisWriteRequest};

/// A message of the `.proto` file.
struct Message {
    name: &'static str,
    why: &'static str,
    fields: &'static [Member],
}

/// A field of a message.
struct Member {
    number: u32,
    name: &'static str,
    kind: FieldKind,
    list: bool,
    why: &'static str,
}

/// Types that our messages use.
#[derive(Clone, Copy, PartialEq)]
enum FieldKind {
    Bool,
    Uint32,
    Uint64,
    Fixed64,
    Bytes,
    Message(&'static str),
}

static MESSAGES: &[Message] = include!(concat!(env!("OUT_DIR"), "/messages.rs"));

const TAG: (&str, &str) = ("tag", "field number and wire type; unknown numbers are skipped");

const RUN: &str = "as many bytes as the tag says";
const FIXED: &str = "always 8 bytes, the lowest first: protobuf's order";
const VARINT: &str = "seven bits a byte, the lowest first: small numbers are short";

/// Evidence in bits: a known field adds so much, an unknown one takes so much away.
const KNOWN: i32 = 5;
const UNKNOWN: i32 = 16;

/// Puts the fields of the message `name` under `span`, whose range `bytes` are. Returns the
/// evidence.
pub(super) fn explain(name: &'static str, bytes: &[u8], span: &mut Span) -> i32 {
    let Some(message) = find(name) else { return 0 };
    let mut walker = Walker { evidence: 0 };
    let base = span.range.start;
    span.children = walker.message(message, bytes, base);
    span.value = format!("{name}, {} bytes", bytes.len());
    // What the server would say to these bytes.
    let refusal = match name {
        "RedisWriteRequest" => {
            RedisWriteRequest::decode(bytes).err().map(|error| error.to_string())
        }
        "AdminCommand" => match AdminCommand::decode(bytes) {
            Ok(AdminCommand { kind: Some(_) }) => None,
            Ok(AdminCommand { kind: None }) => {
                Some("it names no command of this release".to_string())
            }
            Err(error) => Some(error.to_string()),
        },
        _ => None,
    };
    // A field with a problem tells more than the refusal that follows from it.
    let unnoticed = span.problems().next().is_none();
    if let Some(refusal) = refusal.filter(|_| unnoticed) {
        span.add_problem(format!("the server refuses this {name}: {refusal}"));
    }
    walker.evidence
}

fn find(name: &str) -> Option<&'static Message> {
    MESSAGES.iter().find(|message| message.name == name)
}

/// Why a message is there, from its comment in the `.proto` file.
pub(super) fn why(name: &str) -> &'static str {
    find(name).map_or("", |message| message.why)
}

/// A field's content on the wire.
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// One field: its number and content, the length of its head (tag, and length if there is one) and
/// of all of it.
struct Raw<'a> {
    number: u64,
    wire: Wire<'a>,
    head: usize,
    len: usize,
}

struct Walker {
    evidence: i32,
}

impl Walker {
    /// The spans of all fields of `bytes`, which start at offset `base`.
    fn message(&mut self, message: &Message, bytes: &[u8], base: usize) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = base + bytes.len() - rest.len();
            // Behind a field that makes no sense, nobody knows where the next one begins: all that
            // is left becomes one span.
            let read =
                Raw::read(rest).and_then(|raw| Ok((self.field(message, &raw, at)?, raw.len)));
            let (span, len) = read.unwrap_or_else(|problem| {
                let mut span = Span::leaf(
                    at..at + rest.len(),
                    "not understood",
                    show::bytes(rest),
                    "no field of this message",
                );
                span.problem = Some(problem);
                (span, rest.len())
            });
            spans.push(span);
            rest = rest.get(len..).unwrap_or_default();
        }
        spans
    }

    fn field(&mut self, message: &Message, raw: &Raw<'_>, at: usize) -> Result<Span, String> {
        let range = at..at + raw.len;
        let content = at + raw.head..range.end;
        let Some(member) =
            message.fields.iter().find(|member| u64::from(member.number) == raw.number)
        else {
            self.evidence -= UNKNOWN;
            let mut span = Span::leaf(
                range,
                "unknown field",
                raw.show(),
                "perhaps of a newer release; this one skips it",
            );
            span.problem = Some(format!("{} has no field {}", message.name, raw.number));
            return Ok(span);
        };
        self.evidence += KNOWN;
        let (value, children) = self.content(member, &raw.wire, content)?;
        let mut span = Span::leaf(range, member.name, value, member.why);
        span.children.push(Span::leaf(at..at + raw.head, TAG.0, raw.show(), TAG.1));
        span.children.extend(children);
        Ok(span)
    }

    /// What a field's content says, and the spans below it.
    fn content(
        &mut self,
        member: &Member,
        wire: &Wire<'_>,
        range: Range<usize>,
    ) -> Result<(String, Vec<Span>), String> {
        let one = |value: String, why| {
            Ok((value.clone(), vec![Span::leaf(range.clone(), "value", value, why)]))
        };
        match (member.kind, wire) {
            // A message inside a message: its fields stand below, and its own value sums them up.
            (FieldKind::Message(name), Wire::Bytes(bytes)) => {
                let message = find(name).ok_or_else(|| format!("no message {name}"))?;
                let children = self.message(message, bytes, range.start);
                Ok((summary(name, &children), children))
            }
            (FieldKind::Bytes, Wire::Bytes(bytes)) => one(show::bytes(bytes), RUN),
            (FieldKind::Fixed64, Wire::Fixed64(value)) => one(number(member, *value), FIXED),
            (FieldKind::Bool | FieldKind::Uint32 | FieldKind::Uint64, Wire::Varint(value)) => {
                one(number(member, *value), VARINT)
            }
            // The numbers of a repeated field may stand in one run of bytes, without a tag each.
            (FieldKind::Bool | FieldKind::Uint32 | FieldKind::Uint64, Wire::Bytes(bytes))
                if member.list =>
            {
                let spans = packed(member, bytes, range.start)?;
                Ok((format!("{} numbers", spans.len()), spans))
            }
            _ => Err(format!("field {} ({}) has another wire type", member.number, member.name)),
        }
    }
}

/// The numbers of a repeated field that stand in one run of bytes.
fn packed(member: &Member, bytes: &[u8], base: usize) -> Result<Vec<Span>, String> {
    let mut spans = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let at = base + bytes.len() - rest.len();
        let (value, tail) = varint(rest)?;
        let end = at + rest.len() - tail.len();
        spans.push(Span::leaf(at..end, "item", number(member, value), VARINT));
        rest = tail;
    }
    Ok(spans)
}

/// The value of a message's span: a command's first arguments in one line, the name of any other
/// message. Their fields follow in any case.
fn summary(name: &str, children: &[Span]) -> String {
    if name != "ClientCommand" {
        return name.to_string();
    }
    let mut line = String::new();
    for argument in children.iter().take(8) {
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(&argument.value);
    }
    if children.len() > 8 { format!("{line} … ({} arguments)", children.len()) } else { line }
}

fn number(member: &Member, value: u64) -> String {
    match (member.name, member.kind) {
        (_, FieldKind::Bool) => show::boolean(u64::from(value != 0)),
        ("hlc" | "source_clock", _) => show::hlc(value),
        ("expire_ms", _) => show::time(value),
        ("slot", _) => show::slot(value & u64::from(u32::MAX)),
        (_, FieldKind::Uint32) => (value & u64::from(u32::MAX)).to_string(),
        _ => value.to_string(),
    }
}

impl<'a> Raw<'a> {
    fn read(bytes: &'a [u8]) -> Result<Raw<'a>, String> {
        let (key, rest) = varint(bytes)?;
        let number = key >> 3;
        if number == 0 || key > u64::from(u32::MAX) {
            return Err(format!("{number} is no field number"));
        }
        let mut content = rest;
        let (wire, tail) = match key & 7 {
            0 => varint(rest).map(|(value, tail)| (Wire::Varint(value), tail))?,
            1 => {
                let (head, tail) = rest.split_first_chunk().ok_or_else(|| short(8, rest.len()))?;
                #[expect(clippy::little_endian_bytes, reason = "protobuf's order, not ours")]
                let value = u64::from_le_bytes(*head);
                (Wire::Fixed64(value), tail)
            }
            2 => {
                let (len, after) = varint(rest)?;
                content = after;
                let len = usize::try_from(len).unwrap_or(usize::MAX);
                let (head, tail) =
                    after.split_at_checked(len).ok_or_else(|| short(len, after.len()))?;
                (Wire::Bytes(head), tail)
            }
            5 => {
                let (_, tail) =
                    rest.split_first_chunk::<4>().ok_or_else(|| short(4, rest.len()))?;
                (Wire::Fixed32, tail)
            }
            other => return Err(format!("wire type {other} is not used")),
        };
        Ok(Raw { number, wire, head: bytes.len() - content.len(), len: bytes.len() - tail.len() })
    }

    fn show(&self) -> String {
        let content = match self.wire {
            Wire::Varint(_) => "varint".to_string(),
            Wire::Fixed64(_) => "8 bytes".to_string(),
            Wire::Fixed32 => "4 bytes".to_string(),
            Wire::Bytes(bytes) => format!("{} bytes", bytes.len()),
        };
        format!("field {}, {content}", self.number)
    }
}

fn short(need: usize, have: usize) -> String {
    format!("truncated: {need} byte(s) are needed, {have} left")
}

/// A number in groups of seven bits, the lowest first, the top bit of a byte saying that another
/// follows.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), String> {
    let mut value = 0_u64;
    let mut rest = bytes;
    for shift in (0..64).step_by(7) {
        let Some((byte, tail)) = rest.split_first() else {
            return Err("truncated inside a varint".to_string());
        };
        // The tenth byte has room for one bit only.
        if shift == 63 && *byte > 1 {
            break;
        }
        rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok((value, rest));
        }
    }
    Err("a varint longer than 64 bits".to_string())
}
