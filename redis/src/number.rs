//! Reading numbers in arguments and stored values, by exactly the rules of Redis 7.0.
//!
//! The rules are stricter, and in places looser, than those of Rust's parsers:
//!
//! | number | accepted | refused |
//! | --- | --- | --- |
//! | integer | `0`, `-7`, the whole 64-bit range | `+7`, `007`, `-0`, ` 7`, `7 `, `7.0`, empty |
//! | float | as C's `strtod`: `1.`, `.5`, `+3`, `1e3`, `0x1p-3`, `-Infinity` | `nan`, spaces |
//!
//! A float that is too large or too small for its format is refused too, except by
//! [`strtod_loose`].

use neokv_resp::parse_integer;
use rustc_apfloat::ieee::Double;
use rustc_apfloat::{Float, Round};

use crate::error::CommandError;

/// A 64-bit integer in canonical form, or [`CommandError::NotInteger`].
pub fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    parse_integer(arg).ok_or(CommandError::NotInteger)
}

/// An integer between `least` and `most`, both included, or [`CommandError::OutsideRange`].
pub fn integer_between(arg: &[u8], least: i64, most: i64) -> Result<i64, CommandError> {
    let value = integer(arg)?;
    if value < least || value > most {
        Err(CommandError::OutsideRange(least, most))
    } else {
        Ok(value)
    }
}

/// A count that must not be negative, as SPOP, LPOP and ZPOPMIN take it: every failure is
/// [`CommandError::NotPositive`].
pub fn positive_count(arg: &[u8]) -> Result<u64, CommandError> {
    let value = parse_integer(arg).ok_or(CommandError::NotPositive)?;
    u64::try_from(value).map_err(|_| CommandError::NotPositive)
}

/// A float by the rules of C's `strtod` as Redis applies them, or [`CommandError::NotFloat`]. Never
/// NaN.
pub fn float(arg: &[u8]) -> Result<f64, CommandError> {
    strtod(arg).ok_or(CommandError::NotFloat)
}

/// The float that `bytes` spells, if all of them belong to it and it neither over- nor underflows.
pub fn strtod(bytes: &[u8]) -> Option<f64> {
    let (negative, body) = split_sign(bytes)?;
    let magnitude = if is_infinity(body) {
        f64::INFINITY
    } else if is_hexadecimal(body) {
        let value: Double = finite(body)?;
        f64::from_bits(u64::try_from(value.to_bits()).ok()?)
    } else {
        decimal(body)?
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// The float that `bytes` spells to C's `strtod` alone: leading white space passes, what is too
/// large is infinite, one that is too small is zero. Still `None` for NaN, and if not all bytes
/// belong to the number. The empty string is zero, as the commands that read so (bounds of score
/// ranges) take it.
pub fn strtod_loose(bytes: &[u8]) -> Option<f64> {
    let trimmed =
        bytes.iter().position(|byte| !matches!(byte, b' ' | 9..=13)).and_then(|at| bytes.get(at..));
    let Some(body) = trimmed else { return bytes.is_empty().then_some(0.0) };
    strtod(body).or_else(|| {
        // Too large or too small: Rust's parser rounds such numbers as C does.
        let (negative, magnitude) = split_sign(body)?;
        let value: f64 = starts_decimal(magnitude)
            .then(|| std::str::from_utf8(magnitude).ok()?.parse().ok())
            .flatten()?;
        Some(if negative { -value } else { value })
    })
}

/// Whether the number is negative, and what stands behind its sign.
pub fn split_sign(bytes: &[u8]) -> Option<(bool, &[u8])> {
    Some(match bytes.split_first()? {
        (b'-', body) => (true, body),
        (b'+', body) => (false, body),
        _ => (false, bytes),
    })
}

/// Whether the text behind a sign spells infinity.
pub fn is_infinity(body: &[u8]) -> bool {
    body.eq_ignore_ascii_case(b"inf") || body.eq_ignore_ascii_case(b"infinity")
}

fn is_hexadecimal(body: &[u8]) -> bool {
    body.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"0x"))
}

/// Rust's parser also takes words ("nan") and a second sign, which are errors here.
fn starts_decimal(body: &[u8]) -> bool {
    body.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// A decimal double without sign: `12`, `1.`, `.5`, `1e-3`.
fn decimal(body: &[u8]) -> Option<f64> {
    if !starts_decimal(body) {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let value: f64 = text.parse().ok()?;
    let mantissa = text.split(['e', 'E']).next()?;
    let underflow = value == 0.0 && mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    (value.is_finite() && !underflow).then_some(value)
}

/// A finite number without sign, decimal or hexadecimal (`0x1.8p3`), in any binary format; rounded
/// once, to the nearest even.
pub fn finite<F: Float>(body: &[u8]) -> Option<F> {
    let text = std::str::from_utf8(body).ok()?;
    let hexadecimal = is_hexadecimal(body);
    let digits = if hexadecimal { text.get(2..)? } else { text };
    let marker: &[char] = if hexadecimal { &['p', 'P'] } else { &['e', 'E'] };
    let (mantissa, exponent) = match digits.split_once(marker) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let zero = check_mantissa(mantissa, hexadecimal)?;
    let exponent = exponent.map_or(Some(0), decimal_exponent)?;
    let normal = if hexadecimal {
        format!("0x{mantissa}p{exponent}")
    } else {
        format!("{mantissa}e{exponent}")
    };
    let value = F::from_str_r(&normal, Round::NearestTiesToEven).ok()?.value;
    (value.is_finite() && (zero || !value.is_zero())).then_some(value)
}

/// Checks the digits before an exponent; tells whether they are all zero.
fn check_mantissa(mantissa: &str, hexadecimal: bool) -> Option<bool> {
    let (mut digits, mut points, mut zero) = (0usize, 0usize, true);
    for byte in mantissa.bytes() {
        match byte {
            b'.' => points += 1,
            _ if byte.is_ascii_digit() || (hexadecimal && byte.is_ascii_hexdigit()) => {
                digits += 1;
                zero &= byte == b'0';
            }
            _ => return None,
        }
    }
    (digits > 0 && points <= 1).then_some(zero)
}

/// An exponent, cut to a range far outside that of every format.
fn decimal_exponent(text: &str) -> Option<i64> {
    const MOST: i64 = 1_000_000;
    let (negative, digits) = split_sign(text.as_bytes())?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |sum, byte| (sum * 10 + i64::from(byte - b'0')).min(MOST));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn integers_are_canonical() {
        for (text, value) in [
            ("0", 0),
            ("-7", -7),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(integer(text.as_bytes()).ok(), Some(value));
        }
        let bad = [
            "",
            "-",
            "+7",
            "007",
            "-0",
            "-01",
            " 7",
            "7 ",
            "7.0",
            "x",
            "1x",
            "9223372036854775808",
        ];
        for text in bad.into_iter().chain([
            "-9223372036854775809",
            "99999999999999999999",
            "0x10",
            "\u{661}",
        ]) {
            assert!(matches!(integer(text.as_bytes()), Err(CommandError::NotInteger)), "{text:?}");
        }
    }

    #[test]
    fn counts_have_their_own_errors() {
        assert_eq!(positive_count(b"0").ok(), Some(0));
        assert!(matches!(positive_count(b"-1"), Err(CommandError::NotPositive)));
        assert!(matches!(positive_count(b"x"), Err(CommandError::NotPositive)));
        let outside = integer_between(b"5", -4, 4).unwrap_err().to_string();
        assert_eq!(outside, "ERR value is out of range, value must between -4 and 4");
    }

    #[test]
    fn floats_are_read_as_strtod_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("+3", 3.0),
            ("-1e3", -1000.0),
            ("1E+2", 100.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0x10", 16.0),
            ("0X1.8P1", 3.0),
            ("0x.8", 0.5),
            ("-0x1p-1074", -f64::from_bits(1)),
            ("0x1.fffffffffffff8p0", 2.0),
            ("0x1.fffffffffffff7p0", 2.0 - f64::EPSILON),
            ("0x1.00000000000008p0", 1.0),
            ("0x1.000000000000080000000001p0", 1.0 + f64::EPSILON),
            ("0x0p99999999999", 0.0),
            ("4.9e-324", f64::from_bits(1)),
            ("0e999", 0.0),
            ("00012", 12.0),
        ] {
            assert_eq!(float(text.as_bytes()).ok(), Some(value), "{text:?}");
        }
        assert!(float(b"-0").unwrap().is_sign_negative());
        for bad in [
            "",
            "+",
            "-",
            ".",
            "e1",
            "1e",
            "1e+",
            " 1",
            "1 ",
            "nan",
            "-nan",
            "1x",
            "0x",
            "0x.",
            "0x1p",
            "--1",
            "+-1",
            "1_0",
            "1e400",
            "-1e400",
            "1e-400",
            "0x1p1024",
            "0x1p-1076",
            "infinit",
            "1d",
        ] {
            assert!(float(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bounds_are_read_loosely() {
        assert_eq!(strtod_loose(b" 1"), Some(1.0));
        assert_eq!(strtod_loose(b"1e400"), Some(f64::INFINITY));
        assert_eq!(strtod_loose(b"-1e-400"), Some(-0.0));
        assert_eq!(strtod_loose(b""), Some(0.0));
        assert_eq!(strtod_loose(b" "), None);
        assert_eq!(strtod_loose(b"nan"), None);
        assert_eq!(strtod_loose(b"1x"), None);
    }

    proptest! {
        #[test]
        fn every_integer_is_read_back(value: i64) {
            prop_assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn whatever_is_read_as_integer_is_written_the_same(text in "[-+ 0-9]{0,21}") {
            if let Some(value) = parse_integer(text.as_bytes()) {
                prop_assert_eq!(value.to_string(), text);
            }
        }

        #[test]
        fn every_double_is_read_back_from_hexadecimal(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let (sign, mantissa) = (if bits >> 63 == 1 { "-" } else { "" }, bits & ((1 << 52) - 1));
            let biased = i64::try_from((bits >> 52) & 0x7ff).unwrap();
            let (lead, exponent) = if biased == 0 { (0, -1022) } else { (1, biased - 1023) };
            let text = format!("{sign}0x{lead}.{mantissa:013x}p{exponent}");
            prop_assert_eq!(strtod(text.as_bytes()).map(f64::to_bits), Some(bits), "{}", text);
        }

        #[test]
        fn no_bytes_make_the_parsers_panic(bytes: Vec<u8>) {
            let _ = (strtod(&bytes), strtod_loose(&bytes), parse_integer(&bytes));
        }
    }
}
