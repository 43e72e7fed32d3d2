//! Inline commands: one line of words, with quotes, as a person types it.
//!
//! The rules are those of Redis's configuration file and of `redis-cli`:
//!
//! * words are separated by blanks; a word may be empty only if quoted: `SET k ""`
//! * inside double quotes `\n \r \t \b \a` and `\xHH` mean a byte, and a backslash makes any other
//!   character itself
//! * inside single quotes only `\'` is special
//! * a closing quote must be followed by a blank or the end of the line: `"a"b` is refused
//! * a quote may open in the middle of a word: `a"b c"` is the one word `ab c`
//! * a zero byte ends the line
//!
//! ```
//! use neokv_resp::inline::split_args;
//! let words = split_args(br#"SET "a b" '\x' "\x41\n""#).unwrap();
//! assert_eq!(words, [&b"SET"[..], b"a b", br"\x", b"A\n"]);
//! assert!(split_args(b"SET \"a").is_err());
//! ```

use crate::ProtocolError;

/// Splits a line into words. An empty or blank line has none.
///
/// # Errors
///
/// [`ProtocolError::UnbalancedQuotes`] if a quote stays open or a closing quote touches the next
/// word.
pub fn split_args(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
    let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut rest = line;
    let mut words = Vec::new();
    loop {
        rest = skip_blanks(rest);
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, after) = read_word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// C's `isspace` in the C locale, which also counts the vertical tab.
fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| is_blank(**byte)).count();
    text.get(blanks..).unwrap_or_default()
}

/// Reads one word that starts at the beginning of `rest`; returns what follows it.
fn read_word(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), ProtocolError> {
    let mut word = Vec::new();
    loop {
        rest = match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok((word, rest)),
            [b'"', quoted @ ..] => return finish(word, quoted, read_double),
            [b'\'', quoted @ ..] => return finish(word, quoted, read_single),
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        }
    }
}

/// Reads up to the closing quote and checks that the word ends there.
fn finish(
    mut word: Vec<u8>,
    quoted: &[u8],
    read: fn(&mut Vec<u8>, &[u8]) -> Option<usize>,
) -> Result<(Vec<u8>, &[u8]), ProtocolError> {
    let used = read(&mut word, quoted).ok_or(ProtocolError::UnbalancedQuotes)?;
    let after = quoted.get(used..).unwrap_or_default();
    match after.first() {
        Some(byte) if !is_blank(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok((word, after)),
    }
}

/// Appends the inside of a double-quoted text; returns the bytes used with the closing quote,
/// `None` if there is none.
fn read_double(word: &mut Vec<u8>, quoted: &[u8]) -> Option<usize> {
    let mut rest = quoted;
    loop {
        rest = match rest {
            [] => return None,
            [b'"', after @ ..] => return Some(quoted.len() - after.len()),
            [b'\\', b'x', high, low, after @ ..] if let Some(byte) = hex_byte(*high, *low) => {
                word.push(byte);
                after
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        }
    }
}

/// Appends the inside of a single-quoted text; returns the bytes used with the closing quote,
/// `None` if there is none.
fn read_single(word: &mut Vec<u8>, quoted: &[u8]) -> Option<usize> {
    let mut rest = quoted;
    loop {
        rest = match rest {
            [] => return None,
            [b'\'', after @ ..] => return Some(quoted.len() - after.len()),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                after
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        }
    }
}

/// The byte that two hexadecimal digits of an escape stand for; `None` if they are no digits.
pub fn hex_byte(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t \x0b ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set a  b ", &[b"set", b"a", b"b"]),
            (b"set k \"\"", &[b"set", b"k", b""]),
            (b"set k ''", &[b"set", b"k", b""]),
            (br#""a\"b""#, &[b"a\"b"]),
            (br"'a\'b'", &[b"a'b"]),
            (br"'a\nb'", &[br"a\nb"]),
            (br#""\n\r\t\b\a\\\q""#, &[b"\n\r\t\x08\x07\\q"]),
            (br#""\x00\xfF\xg1""#, &[b"\x00\xffxg1"]),
            (br#"pre"b c""#, &[b"preb c"]),
            (b"a\0b c", &[b"a"]),
            (b"\xff\xfe \x01", &[b"\xff\xfe", b"\x01"]),
        ];
        for (line, words) in table {
            assert_eq!(&split_args(line).unwrap(), words, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [
            &b"\""[..],
            b"'",
            b"\"a",
            b"'a",
            b"\"a\"b",
            b"'a'b",
            b"\"a\\\"",
            b"'a\\'",
            b"a \"b\0\"",
            b"a\"b c\"'d'",
        ] {
            assert_eq!(
                split_args(line),
                Err(ProtocolError::UnbalancedQuotes),
                "{}",
                line.escape_ascii()
            );
        }
    }
}
