//! Whether a command may run: the checks between its bytes and its handler, in Redis's order.
//!
//! ```text
//! known? ─ arity? ─ authenticated? ─ no refused transaction, a database? ─ space? ──► Call
//!   │        │            │                       │                          │
//!   └────────┴────────────┴───────────────────────┴──────────────────────────┴─────► Refusal
//! ```
//!
//! A command that may run is then routed to the Region of its keys: [`routing`](super::routing).

use bytes::{BufMut, Bytes, BytesMut};

use super::Context;
use crate::command::declare::{Flag, NotFound};
use crate::command::{Args, Command, Handler, table};
use crate::error::CommandError;
use crate::session::Session;
use crate::session::transaction::TransactionCommand;

/// The reply to a client that has not authenticated.
const NOAUTH: &str = "NOAUTH Authentication required.";

/// How much of an unknown command is repeated to its sender, in bytes.
const PREVIEW: usize = 128;

/// A command that may run.
#[derive(Clone, Copy)]
pub struct Call {
    /// Its declaration.
    pub command: &'static Command,
    /// Its position in the table, under which it is counted.
    pub position: usize,
}

/// Why a command may not run. [`Refusal::write`] is the reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such command.
    Unknown,
    /// Any other reason, with its code.
    Error {
        /// Where the refused command is counted, if it is in the table.
        position: Option<usize>,
        /// The text of the reply.
        text: String,
    },
}

/// The reply to a command about keys while no database is selected.
const NO_DATABASE: &str = "ERR not done: the database of the last SELECT does not exist; \
                           SELECT 0 selects the one that does";

/// Finds the command that `args` calls and checks whether it may run.
///
/// # Errors
/// The reply that refuses it.
pub fn resolve(context: &Context, session: &mut Session, args: &Args) -> Result<Call, Refusal> {
    let (position, command) = match table::find(args) {
        Ok(found) => found,
        Err(NotFound::Command) => return Err(unlisted(session, args)),
        Err(NotFound::Subcommand { position, container }) => {
            let word = args.get(1).map(|word| &word[..]).unwrap_or_default();
            let text = CommandError::unknown_subcommand(container, word).to_string();
            return Err(Refusal::Error { position: Some(position), text });
        }
    };
    let refuse = |text: String| Refusal::Error { position: Some(position), text };
    // A wrong number of arguments is refused before a missing password, as in Redis.
    command.check_arity(args).map_err(|error| refuse(error.to_string()))?;
    if !session.authenticated && !command.has(Flag::NoAuth) {
        return Err(refuse(NOAUTH.to_owned()));
    }
    // After a refused MULTI, everything up to EXEC or DISCARD is refused too.
    if let Some(text) = session.transaction.refuses(command.name) {
        return Err(refuse(text.to_owned()));
    }
    if session.no_database && !matches!(command.handler, Handler::Session(_)) {
        return Err(refuse(NO_DATABASE.to_owned()));
    }
    // A command that may need more space is refused on a disk that is nearly full.
    if command.has(Flag::DenyOom) {
        context.disk.check().map_err(|error| refuse(error.to_string()))?;
    }
    Ok(Call { command, position })
}

/// The refusal of a command that is not in the table.
fn unlisted(session: &mut Session, args: &Args) -> Refusal {
    let Some(command) = args.first().and_then(|name| TransactionCommand::of(name)) else {
        return Refusal::Unknown;
    };
    let text = if session.authenticated {
        session.transaction.advance(command, args)
    } else {
        NOAUTH.into()
    };
    Refusal::Error { position: None, text: text.into_owned() }
}

/// Whether these are words of an HTTP request. A web page can make a browser send one to any port
/// that the browser reaches, with commands in its body. So the connection ends before the body is
/// run.
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
        used += part.len() + 3;
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
