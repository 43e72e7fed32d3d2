//! One way to write bytes on a command line, the same everywhere.
//!
//! | written | bytes |
//! | --- | --- |
//! | `hex:2f96 0000` | hexadecimal; blanks are skipped |
//! | `esc:a\x00b\n` | text with escapes, as every answer prints it |
//! | `utf8:C:\temp` | the text itself, backslashes too |
//! | `user:{42}` | without a prefix: as `esc:` |
//! | `-` | standard input as it is; `hex:-`, `esc:-` and `utf8:-` read standard input in that form |
//!
//! A bare text that looks like hexadecimal is taken as text, with a hint.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;

use bytes::Bytes;
use neokv_resp::inline::hex_byte;

use crate::environment::Environment;
use crate::error::CliError;

/// Bytes as they were written on the command line, not read yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BytesArg(OsString);

impl From<OsString> for BytesArg {
    fn from(text: OsString) -> BytesArg {
        BytesArg(text)
    }
}

/// Why a text means no bytes.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BytesError {
    /// Not hexadecimal.
    #[error("hex: {0}")]
    Hex(hex::FromHexError),
    /// An escape that does not exist, or is cut off.
    #[error(
        "unknown escape \\{escape} at position {at}; \
         use \\xHH, \\n, \\r, \\t, \\0, \\\\, \\\" or \\'"
    )]
    Escape {
        /// Position of the backslash.
        at: usize,
        /// What follows it.
        escape: String,
    },
}

impl BytesArg {
    /// The bytes. A note goes to stderr if they look as if another form was meant.
    ///
    /// # Errors
    /// Wrong hexadecimal, unknown escapes, or an unreadable standard input.
    pub fn read(
        &self,
        argument: &'static str,
        environment: &mut Environment<'_>,
    ) -> Result<Bytes, CliError> {
        let (form, text) = split(&self.0);
        let input = if text == b"-" { Some(read_all(environment.stdin)?) } else { None };
        let text = input.as_deref().unwrap_or(text);
        let bytes = match form {
            Form::Hex => read_hex(text),
            Form::Utf8 => Ok(text.to_vec()),
            // Standard input without a prefix may be any file: its backslashes are bytes.
            Form::Bare if input.is_some() => Ok(text.to_vec()),
            Form::Escaped | Form::Bare => unescape(text),
        };
        if form == Form::Bare && looks_like_hex(text) {
            let shown = String::from_utf8_lossy(text.get(..24).unwrap_or(text)).into_owned();
            environment.note(&format!(
                "{argument} is taken as text; if it is hexadecimal, write hex:{}",
                shown.trim_end()
            ));
        }
        let failed = |error: BytesError| CliError::Bytes { argument, why: error.to_string() };
        bytes.map(Bytes::from).map_err(failed)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Hex,
    Escaped,
    Utf8,
    Bare,
}

fn split(text: &OsStr) -> (Form, &[u8]) {
    let text = text.as_bytes();
    let forms: [(&[u8], Form); 3] =
        [(b"hex:", Form::Hex), (b"esc:", Form::Escaped), (b"utf8:", Form::Utf8)];
    forms
        .into_iter()
        .find_map(|(prefix, form)| text.strip_prefix(prefix).map(|rest| (form, rest)))
        .unwrap_or((Form::Bare, text))
}

fn read_all(stdin: &mut dyn Read) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    stdin.read_to_end(&mut bytes).map_err(CliError::Input)?;
    Ok(bytes)
}

fn read_hex(text: &[u8]) -> Result<Vec<u8>, BytesError> {
    let digits: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    hex::decode(digits.strip_prefix(b"0x").unwrap_or(&digits)).map_err(BytesError::Hex)
}

/// The inverse of [`escape`], and of Rust's `escape_ascii`.
///
/// # Errors
/// A backslash that does not begin an escape.
pub fn unescape(text: &[u8]) -> Result<Vec<u8>, BytesError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let (byte, after) = match (first, after) {
            (b'\\', [b'x', high, low, after @ ..]) if let Some(byte) = hex_byte(*high, *low) => {
                (byte, after)
            }
            (b'\\', [letter, after @ ..]) if simple(*letter).is_some() => {
                (simple(*letter).unwrap_or_default(), after)
            }
            (b'\\', after) => {
                let escape = String::from_utf8_lossy(after.get(..3).unwrap_or(after)).into_owned();
                return Err(BytesError::Escape { at: text.len() - rest.len(), escape });
            }
            (byte, after) => (*byte, after),
        };
        bytes.push(byte);
        rest = after;
    }
    Ok(bytes)
}

fn simple(letter: u8) -> Option<u8> {
    match letter {
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'0' => Some(0),
        b'\\' | b'"' | b'\'' => Some(letter),
        _ => None,
    }
}

/// Bytes as text that [`unescape`] reads back: printable ASCII as it is, everything else escaped.
#[must_use]
pub fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Digits and letters of hexadecimal only, some of each: a number or a word is not hexadecimal.
fn looks_like_hex(text: &[u8]) -> bool {
    let text = text.trim_ascii_end();
    let digits = text.strip_prefix(b"0x").unwrap_or(text);
    let all = digits.iter().all(u8::is_ascii_hexdigit) && digits.len().is_multiple_of(2);
    let mixed = digits.iter().any(u8::is_ascii_digit) && digits.iter().any(u8::is_ascii_alphabetic);
    all && (digits.len() < text.len() || (mixed && digits.len() >= 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(escape(&all).as_bytes()), Ok(all));
    }

    #[test]
    fn escapes_that_do_not_exist_are_named() {
        let error = unescape(br"ab\q").unwrap_err();
        assert_eq!(error, BytesError::Escape { at: 2, escape: "q".into() });
        assert_eq!(
            unescape(br"\x4").unwrap_err(),
            BytesError::Escape { at: 0, escape: "x4".into() }
        );
        assert_eq!(
            unescape(br"a\").unwrap_err(),
            BytesError::Escape { at: 1, escape: String::new() }
        );
    }

    #[test]
    fn numbers_and_words_do_not_look_like_hex() {
        for (text, looks) in [
            ("2f96000000", true),
            ("0x2f", true),
            ("12345678", false),
            ("deadbeef", false),
            ("2f9", false),
            ("", false),
        ] {
            assert_eq!(looks_like_hex(text.as_bytes()), looks, "{text}");
        }
    }
}
