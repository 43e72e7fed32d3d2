//! Bytes to commands.
//!
//! A command is an array of bulk strings, or a line of words (see [`inline`](crate::inline)); its
//! first byte tells which. The parser consumes what it understands from the front of the caller's
//! buffer and remembers where it is, so that a command may arrive in pieces of any size:
//!
//! ```text
//!   buffer   *2␍␊ $3␍␊ GET␍␊ $5␍␊ he
//!            └──── consumed ────┘ └ left
//!   state    one argument read, one of 5 bytes awaited: the next call compares one length
//! ```
//!
//! Arguments are cut out of the buffer without copying ([`BytesMut::split_to`]). They share its
//! allocation until all of them are dropped, so what is kept for long (a client's name) should be
//! copied.
//!
//! # Cost
//!
//! * Time is linear in the bytes received. A header that has not ended is searched only from where
//!   the last search stopped; a bulk that has not arrived costs one comparison per call.
//! * Memory follows the bytes received: an announced length reserves nothing. The list of arguments
//!   grows as they arrive. A zero-byte argument takes 6 bytes on the wire and 32 in the list, the
//!   worst ratio there is.
//!
//! # Fidelity
//!
//! As Redis does, the two bytes behind a header's CR and behind a bulk are skipped unseen, an empty
//! or negative array is neither a command nor an error, and a line that is too long is an error
//! even if its end arrived with it (Redis depends on the chunking there, this parser does not).

use bytes::{Buf, Bytes, BytesMut};

use crate::ProtocolError;
use crate::inline::split_args;
use crate::number::parse_integer;

/// Bounds on one command. Exceeding any of them is a [`ProtocolError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParserLimits {
    /// Largest argument, in bytes. Redis: `proto-max-bulk-len`.
    pub max_bulk: usize,
    /// Most arguments of one command, its name included.
    pub max_args: usize,
    /// Longest inline command and longest header line, in bytes without the end of line.
    pub max_inline: usize,
    /// Most bytes of all arguments of one command together.
    pub max_command: usize,
}

impl Default for ParserLimits {
    fn default() -> ParserLimits {
        ParserLimits {
            max_bulk: 512 << 20,
            max_args: 1 << 20,
            max_inline: 64 << 10,
            max_command: 1 << 30,
        }
    }
}

/// Most arguments from an unauthenticated peer: enough for `HELLO 3 AUTH user password SETNAME
/// name`.
const UNAUTHENTICATED_ARGS: i64 = 10;
/// Largest argument from an unauthenticated peer, in bytes.
const UNAUTHENTICATED_BULK: i64 = 16 << 10;
/// For so many arguments memory is reserved when a header announces them.
const RESERVED_ARGS: usize = 16;

/// Where in a command the parser stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between commands.
    Idle,
    /// Inside an array, before the header of an argument; so many arguments are missing.
    Header { missing: usize },
    /// Inside an array, behind the header of an argument of `length` bytes; it counts as missing.
    Bulk { missing: usize, length: usize },
}

/// An incremental parser for the commands of one connection.
///
/// Invariants: `scanned` bytes at the front of the buffer hold no line end; `args` is empty in
/// `Idle` state; `missing` is at least one in the other states.
#[derive(Debug)]
pub struct Parser {
    limits: ParserLimits,
    unauthenticated: bool,
    state: State,
    scanned: usize,
    size: usize,
    args: Vec<Bytes>,
}

impl Parser {
    /// A parser at the start of a stream.
    #[must_use]
    pub fn new(limits: ParserLimits) -> Parser {
        Parser {
            limits,
            unauthenticated: false,
            state: State::Idle,
            scanned: 0,
            size: 0,
            args: Vec::new(),
        }
    }

    /// Whether the peer still has to authenticate. Until then it may send ten arguments of 16 KiB
    /// at most, so that nobody without the password can make the server buffer a gigabyte.
    pub fn set_unauthenticated(&mut self, unauthenticated: bool) {
        self.unauthenticated = unauthenticated;
    }

    /// How many bytes, beyond those in `input`, the argument being read still needs at least. A
    /// hint for the size of the next read; zero if unknown. It is the peer's claim: never reserve
    /// it blindly.
    #[must_use]
    pub fn wanted(&self, input: &BytesMut) -> usize {
        match self.state {
            // Nothing is missing if more than the argument has arrived.
            State::Bulk { length, .. } => (length + 2).saturating_sub(input.len()),
            State::Idle | State::Header { .. } => 0,
        }
    }

    /// The next complete command, or `None` if more bytes are needed. Never returns an empty
    /// command.
    ///
    /// # Errors
    ///
    /// A [`ProtocolError`] means that the framing is lost: report it, then close the connection.
    /// The parser must not be used further.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let mut args = Vec::new();
        Ok(self.parse(input, &mut args)?.then_some(args))
    }

    /// As [`next`](Parser::next), but puts the arguments into a list of the caller, which is
    /// cleared first and may be used again and again. Returns whether there was a complete command.
    ///
    /// # Errors
    ///
    /// As for [`next`](Parser::next).
    pub fn parse(
        &mut self,
        input: &mut BytesMut,
        args: &mut Vec<Bytes>,
    ) -> Result<bool, ProtocolError> {
        args.clear();
        if self.state == State::Idle && !self.begin(input, args)? {
            return Ok(false);
        }
        if self.state == State::Idle {
            return Ok(true); // an inline command
        }
        if self.args.is_empty() {
            std::mem::swap(&mut self.args, args); // whichever list has capacity
        }
        while let Some(missing) = self.argument(input)? {
            if missing == 0 {
                self.state = State::Idle;
                self.size = 0;
                std::mem::swap(&mut self.args, args);
                self.args.clear();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the first line of a command: an inline command as a whole, or the header of an array.
    /// Returns false if it has not fully arrived.
    fn begin(
        &mut self,
        input: &mut BytesMut,
        args: &mut Vec<Bytes>,
    ) -> Result<bool, ProtocolError> {
        while let Some(first) = input.first() {
            if *first != b'*' {
                let Some(line) = self.inline_line(input)? else { return Ok(false) };
                args.extend(split_args(&line)?.into_iter().map(Bytes::from));
                if args.is_empty() {
                    continue; // a blank line
                }
                return Ok(true);
            }
            let Some(end) = self.header_end(input, ProtocolError::TooBigMultibulkCount)? else {
                return Ok(false);
            };
            let count = input
                .get(1..end)
                .and_then(parse_integer)
                .ok_or(ProtocolError::InvalidMultibulkLength)?;
            if self.unauthenticated && count > UNAUTHENTICATED_ARGS {
                return Err(ProtocolError::UnauthenticatedMultibulkLength);
            }
            input.advance(end + 2);
            let Some(missing) = usize::try_from(count).ok().filter(|count| *count > 0) else {
                continue;
            };
            if missing > self.limits.max_args {
                return Err(ProtocolError::InvalidMultibulkLength);
            }
            args.reserve(missing.min(RESERVED_ARGS));
            self.state = State::Header { missing };
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads one argument of an array. Returns how many are then missing, or `None` if it has not
    /// fully arrived.
    fn argument(&mut self, input: &mut BytesMut) -> Result<Option<usize>, ProtocolError> {
        if let State::Header { missing } = self.state {
            let Some(end) = self.header_end(input, ProtocolError::TooBigBulkCount)? else {
                return Ok(None);
            };
            let length = self.bulk_length(input.get(..end).unwrap_or_default())?;
            input.advance(end + 2);
            self.state = State::Bulk { missing, length };
        }
        let State::Bulk { missing, length } = self.state else { return Ok(None) };
        if input.len() < length + 2 {
            return Ok(None);
        }
        self.args.push(input.split_to(length).freeze());
        input.advance(2);
        self.state = State::Header { missing: missing - 1 };
        Ok(Some(missing - 1))
    }

    /// Reads `$length` without its line end and checks it against the limits.
    fn bulk_length(&mut self, header: &[u8]) -> Result<usize, ProtocolError> {
        let number = match header {
            [b'$', number @ ..] => parse_integer(number).ok_or(ProtocolError::InvalidBulkLength)?,
            // The line is empty when its CR comes first.
            other => {
                return Err(ProtocolError::ExpectedBulk(other.first().copied().unwrap_or(b'\r')));
            }
        };
        let length = usize::try_from(number).map_err(|_| ProtocolError::InvalidBulkLength)?;
        if length > self.limits.max_bulk {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if self.unauthenticated && number > UNAUTHENTICATED_BULK {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        self.size += length;
        if self.size > self.limits.max_command {
            return Err(ProtocolError::TooBigCommand);
        }
        Ok(length)
    }

    /// The position of the CR that ends the header at the front of `input`, once the byte behind it
    /// is there too.
    fn header_end(
        &mut self,
        input: &BytesMut,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        match self.find(input, b'\r') {
            Some(end) if end > self.limits.max_inline => Err(too_long),
            Some(end) if end + 1 < input.len() => {
                self.scanned = 0;
                Ok(Some(end))
            }
            Some(_) => Ok(None),
            None if input.len() > self.limits.max_inline => Err(too_long),
            None => Ok(None),
        }
    }

    /// Cuts the line at the front of `input` off, without its end (LF, or CR LF).
    fn inline_line(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, ProtocolError> {
        let Some(end) = self.find(input, b'\n') else {
            let too_long = input.len() > self.limits.max_inline;
            return if too_long { Err(ProtocolError::TooBigInline) } else { Ok(None) };
        };
        if end > self.limits.max_inline {
            return Err(ProtocolError::TooBigInline);
        }
        self.scanned = 0;
        let mut line = input.split_to(end);
        input.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(end - 1);
        }
        Ok(Some(line))
    }

    /// Searches `wanted` behind what earlier calls have already searched.
    fn find(&mut self, input: &BytesMut, wanted: u8) -> Option<usize> {
        let unseen = input.get(self.scanned..).unwrap_or_default();
        match unseen.iter().position(|byte| *byte == wanted) {
            Some(offset) => {
                self.scanned += offset;
                Some(self.scanned)
            }
            None => {
                self.scanned = input.len();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
