//! Whether a command may run: the checks between its bytes and its handler, in Redis's order.
//!
//! ```text
//! known? ── arity? ── authenticated? ── space on the disk? ──► Call
//!   │         │            │                  │
//!   └─────────┴────────────┴──────────────────┴─► a refusal, which is the reply
//! ```
//!
//! Where the command's keys are comes after this, in [`routing`](super::routing).

use std::sync::LazyLock;

use bytes::{BufMut, Bytes, BytesMut};

use super::{Context, Session};
use crate::command::{Args, Command, Flag, table};

/// How much of an unknown command is repeated to its sender, in bytes.
const PREVIEW: usize = 128;

/// A command that may run.
#[derive(Clone, Copy)]
pub struct Call {
    /// Its declaration.
    pub command: &'static Command,
    /// Its position in the table, under which it is counted.
    pub position: usize,
    /// What its flags say, read once at the start of the process.
    pub traits: Traits,
}

/// The flags of a command that decide how it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    no_auth: bool,
    needs_space: bool,
    /// Looks up one record: reads the engine's latest state without a snapshot.
    pub point: bool,
    /// Runs on the blocking pool.
    pub heavy: bool,
    /// Runs there only if a glance at the store is not enough.
    pub walk: bool,
}

/// The traits of all commands, in the order of the table.
static TRAITS: LazyLock<Vec<Traits>> = LazyLock::new(|| {
    let traits = |command: &'static Command| Traits {
        no_auth: command.has(Flag::NoAuth),
        needs_space: command.is_write() && command.has(Flag::DenyOom),
        point: command.has(Flag::Point),
        heavy: command.has(Flag::Heavy),
        walk: command.has(Flag::Walk),
    };
    table::all().map(traits).collect()
});

/// Why a command may not run. [`Refusal::write`] is the reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such command.
    Unknown,
    /// Any other reason, with its code.
    Error {
        /// Where the refused command is counted.
        position: usize,
        /// The text of the reply.
        text: String,
    },
}

/// Finds the command that `args` calls and checks whether it may run.
///
/// # Errors
/// The reply that refuses it.
pub fn resolve(context: &Context, session: &Session, args: &Args) -> Result<Call, Refusal> {
    let found = args.first().and_then(|name| table::find(name));
    let (position, command) = found.ok_or(Refusal::Unknown)?;
    let traits = TRAITS.get(position).copied().unwrap_or_default();
    let refuse = |text: String| Refusal::Error { position, text };
    command.check_arity(args).map_err(|error| refuse(error.to_string()))?;
    if !session.authenticated && !traits.no_auth {
        return Err(refuse("NOAUTH Authentication required.".to_owned()));
    }
    if traits.needs_space {
        context.disk.check().map_err(|error| refuse(error.to_string()))?;
    }
    Ok(Call { command, position, traits })
}

/// Whether these are words of an HTTP request. A web page can make a browser send one to any port
/// that the browser reaches, with commands in its body: the connection must end before the body is
/// read.
#[must_use]
pub fn is_http(args: &Args) -> bool {
    args.first().is_some_and(|name| {
        [&b"post"[..], b"host:"].iter().any(|word| name.eq_ignore_ascii_case(word))
    })
}

impl Refusal {
    /// Appends the error reply. `args` may hold any bytes, so this does not go through text.
    pub fn write(&self, args: &Args, out: &mut BytesMut) {
        match self {
            Refusal::Error { text, .. } => {
                neokv_resp::Reply::error(text.clone()).write(Default::default(), out)
            }
            Refusal::Unknown => write_unknown(args, out),
        }
    }

    /// The text by which the error is counted; its first word is the code.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Refusal::Error { text, .. } => text,
            Refusal::Unknown => "ERR unknown command",
        }
    }
}

/// `unknown command 'x', with args beginning with: 'a' 'b' `, as much as fits the preview. As in
/// Redis, an argument ends at its first zero byte here, and line ends become blanks.
fn write_unknown(args: &Args, out: &mut BytesMut) {
    let until_zero = |text: &Bytes| text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let shown = |text: &Bytes, most: usize| text.slice(..until_zero(text).min(most));
    let mut line = BytesMut::new();
    line.put_slice(b"-ERR unknown command '");
    line.put_slice(&args.first().map(|name| shown(name, PREVIEW)).unwrap_or_default());
    line.put_slice(b"', with args beginning with: ");
    let mut used = 0usize;
    for arg in args.iter().skip(1) {
        let Some(room) = PREVIEW.checked_sub(used).filter(|room| *room > 0) else { break };
        let part = shown(arg, room);
        line.put_u8(b'\'');
        line.put_slice(&part);
        line.put_slice(b"' ");
        used = used.saturating_add(part.len()).saturating_add(3);
    }
    out.extend(line.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
    out.put_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(args: &[&[u8]]) -> String {
        let args: Vec<Bytes> = args.iter().map(|arg| Bytes::copy_from_slice(arg)).collect();
        let mut out = BytesMut::new();
        Refusal::Unknown.write(&args, &mut out);
        out.escape_ascii().to_string()
    }

    /// The texts of `redis-server` 7.0.15.
    #[test]
    fn unknown_commands_are_named_with_a_preview() {
        let prefix = r"-ERR unknown command \'foo\', with args beginning with: ";
        assert_eq!(unknown(&[b"foo"]), format!(r"{prefix}\r\n"));
        assert_eq!(
            unknown(&[b"foo", b"a", b"b", b"c\0d", b"x\r\ny"]),
            format!(r"{prefix}\'a\' \'b\' \'c\' \'x  y\' \r\n")
        );
        let long = "o".repeat(150);
        assert_eq!(
            unknown(&[long.as_bytes(), long.as_bytes(), b"b"]),
            format!(
                r"-ERR unknown command \'{0}\', with args beginning with: \'{0}\' \r\n",
                "o".repeat(128)
            )
        );
        assert_eq!(
            unknown(&[b"foo", "a".repeat(120).as_bytes(), b"bcdefghij", b"k"]),
            format!(r"{prefix}\'{}\' \'bcdef\' \r\n", "a".repeat(120))
        );
    }
}
