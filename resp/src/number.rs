//! Decimal integers, in and out, by the rules of the protocol.
//!
//! Redis reads an integer in exactly one spelling: no sign but `-`, no leading zeros, no blanks.
//! This matters beyond parsing: `SET k 007` followed by `INCR k` is an error, because `007` is not
//! how anyone would print a number.

use bytes::{BufMut, BytesMut};

/// Reads a decimal `i64` in its one canonical spelling: `0`, `17`, `-17`; not `+17`, `017`, `-0`, `
/// 17` or the empty string.
///
/// ```
/// # use neokv_resp::parse_integer;
/// assert_eq!(parse_integer(b"-9223372036854775808"), Some(i64::MIN));
/// assert_eq!(parse_integer(b"9223372036854775808"), None);
/// assert_eq!(parse_integer(b"007"), None);
/// ```
#[must_use]
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude = 0u64;
    for byte in digits {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    match negative {
        true => 0i64.checked_sub_unsigned(magnitude),
        false => i64::try_from(magnitude).ok(),
    }
}

/// Longest header line: type byte, sign, 20 digits, CR LF.
pub(crate) const HEADER_MAX: usize = 24;

/// Writes a line such as `:17\r\n` or `$5\r\n`: a type byte and an integer.
pub(crate) fn put_header(kind: u8, number: i64, out: &mut BytesMut) {
    // Filled from the right, so that a header costs one append and no division is done twice.
    let mut line = [0u8; HEADER_MAX];
    let mut places = line.iter_mut().rev();
    let mut used = 0;
    let mut put = |byte: u8| {
        if let Some(place) = places.next() {
            *place = byte;
            used += 1;
        }
    };
    put(b'\n');
    put(b'\r');
    let mut rest = number.unsigned_abs();
    loop {
        // A remainder of ten always fits, whatever the lint can see.
        put(b'0'.wrapping_add(u8::try_from(rest % 10).unwrap_or_default()));
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        put(b'-');
    }
    put(kind);
    out.put_slice(line.get(HEADER_MAX - used..).unwrap_or_default());
}

/// Writes the header of something with a length.
pub(crate) fn put_length(kind: u8, length: usize, out: &mut BytesMut) {
    // No allocation exceeds isize::MAX bytes, so the conversion never saturates.
    put_header(kind, i64::try_from(length).unwrap_or(i64::MAX), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_spelling_is_an_integer() {
        for (text, value) in [
            ("0", Some(0)),
            ("7", Some(7)),
            ("-7", Some(-7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("-9223372036854775809", None),
            ("99999999999999999999999", None),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("0x1", None),
        ] {
            assert_eq!(parse_integer(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn headers_have_exact_bytes() {
        for number in [0, 1, -1, 9, 10, 123_456, i64::MAX, i64::MIN] {
            let mut out = BytesMut::new();
            put_header(b':', number, &mut out);
            assert_eq!(out, format!(":{number}\r\n").as_bytes());
        }
    }
}
