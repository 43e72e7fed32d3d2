//! Reading arguments: numbers, keywords and expiry options, by exactly Redis 7.0's rules.
//!
//! The rules are stricter, and in places looser, than those of Rust's parsers:
//!
//! | argument | accepted | refused |
//! | --- | --- | --- |
//! | integer | `0`, `-7`, the whole 64-bit range | `+7`, `007`, `-0`, ` 7`, `7 `, `7.0`, empty |
//! | float | as C's `strtod`: `1.`, `.5`, `+3`, `1e3`, `0x1p-3`, `-Infinity` | `nan`, spaces, over- and underflow |
//! | keyword | any mixture of upper and lower case | |

use bytes::Bytes;

use super::{Args, CommandError};

/// Whether `arg` is the option `keyword`, in any case. `keyword` is ASCII.
pub fn is(arg: &[u8], keyword: &str) -> bool {
    arg.eq_ignore_ascii_case(keyword.as_bytes())
}

/// The argument at `at`, or a syntax error if the command ends before it.
pub fn get(args: &Args, at: usize) -> Result<&Bytes, CommandError> {
    args.get(at).ok_or(CommandError::Syntax)
}

/// The arguments from `at` on; empty if there are none.
pub fn rest(args: &Args, at: usize) -> &Args {
    args.get(at..).unwrap_or_default()
}

/// The arguments from `at` on, two by two. A last one without a partner is left out: check the
/// number first.
pub fn pairs(args: &Args, at: usize) -> impl Iterator<Item = (&Bytes, &Bytes)> {
    rest(args, at).chunks_exact(2).filter_map(|pair| Some((pair.first()?, pair.get(1)?)))
}

/// A 64-bit integer in canonical form, or [`CommandError::NotInteger`].
pub fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    canonical_integer(arg).ok_or(CommandError::NotInteger)
}

/// The integer that `bytes` spells in canonical form: no sign but `-`, no leading zero, no space.
pub fn canonical_integer(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, bytes),
    };
    let first = *digits.first()?;
    if first == b'0' {
        return (bytes.len() == 1).then_some(0);
    }
    // The longest 64-bit integer has 19 digits: more cannot fit, and the limit bounds the loop on
    // hostile input.
    if digits.len() > 19 {
        return None;
    }
    let mut value: i64 = 0;
    for &byte in digits {
        let digit = i64::from(byte.checked_sub(b'0').filter(|digit| *digit <= 9)?);
        value = value.checked_mul(10)?;
        value = if negative { value.checked_sub(digit)? } else { value.checked_add(digit)? };
    }
    Some(value)
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
    let value = canonical_integer(arg).ok_or(CommandError::NotPositive)?;
    u64::try_from(value).map_err(|_| CommandError::NotPositive)
}

/// A float by the rules of C's `strtod` as Redis applies them, or [`CommandError::NotFloat`]. Never
/// NaN.
pub fn float(arg: &[u8]) -> Result<f64, CommandError> {
    strtod(arg).ok_or(CommandError::NotFloat)
}

/// The float that `bytes` spells, if all of them belong to it and it neither over- nor underflows.
pub fn strtod(bytes: &[u8]) -> Option<f64> {
    let (negative, body) = match bytes.split_first()? {
        (b'-', body) => (true, body),
        (b'+', body) => (false, body),
        _ => (false, bytes),
    };
    let magnitude = if is(body, "inf") || is(body, "infinity") {
        f64::INFINITY
    } else if body.get(..2).is_some_and(|prefix| is(prefix, "0x")) {
        hexadecimal(body.get(2..)?)?
    } else {
        decimal(body)?
    };
    Some(if negative { -magnitude } else { magnitude })
}

/// The float that `bytes` spells to C's `strtod` alone: leading white space passes, what is too
/// large is infinite, what is too small is zero. Still `None` for NaN, and if not all bytes belong
/// to the number. The empty string is zero, as the commands that read so (bounds of score ranges)
/// take it.
pub fn strtod_loose(bytes: &[u8]) -> Option<f64> {
    let trimmed =
        bytes.iter().position(|byte| !matches!(byte, b' ' | 9..=13)).and_then(|at| bytes.get(at..));
    let Some(body) = trimmed else { return bytes.is_empty().then_some(0.0) };
    strtod(body).or_else(|| {
        let (negative, magnitude) = match body.split_first()? {
            (b'-', magnitude) => (true, magnitude),
            (b'+', magnitude) => (false, magnitude),
            _ => (false, body),
        };
        let value: f64 = magnitude
            .first()
            .filter(|byte| byte.is_ascii_digit() || **byte == b'.')
            .and_then(|_| std::str::from_utf8(magnitude).ok()?.parse().ok())?;
        Some(if negative { -value } else { value })
    })
}

/// A decimal float without sign: `12`, `1.`, `.5`, `1e-3`.
fn decimal(body: &[u8]) -> Option<f64> {
    // Rust's parser also takes words ("nan") and a second sign, which have been dealt with or are
    // errors here.
    if !body.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    let value: f64 = text.parse().ok()?;
    let mantissa = text.split(['e', 'E']).next()?;
    let underflow = value == 0.0 && mantissa.bytes().any(|byte| (b'1'..=b'9').contains(&byte));
    (value.is_finite() && !underflow).then_some(value)
}

/// A hexadecimal float after its `0x`: `1f`, `1.8p3`, `.8`. Exact up to 64 bits of mantissa, the
/// rest only rounds.
fn hexadecimal(body: &[u8]) -> Option<f64> {
    let split = body.iter().position(|byte| matches!(byte, b'p' | b'P')).unwrap_or(body.len());
    let mut exponent: i64 = match body.get(split..)?.split_first() {
        None => 0,
        Some((_, power)) => binary_exponent(power)?,
    };
    let (mut mantissa, mut sticky, mut digits, mut fraction) = (0u64, false, 0usize, false);
    for &byte in body.get(..split)? {
        if byte == b'.' && !fraction {
            fraction = true;
            continue;
        }
        let digit = u64::from(char::from(byte).to_digit(16)?);
        digits = digits.checked_add(1)?;
        if mantissa >> 60 == 0 {
            mantissa = (mantissa << 4) | digit;
            exponent = exponent.checked_sub(if fraction { 4 } else { 0 })?;
        } else {
            sticky |= digit != 0;
            exponent = exponent.checked_add(if fraction { 0 } else { 4 })?;
        }
    }
    if digits == 0 {
        return None;
    }
    scale(mantissa, sticky, exponent)
}

/// The decimal exponent after `p`; saturates far outside the range of doubles.
fn binary_exponent(power: &[u8]) -> Option<i64> {
    let (negative, digits) = match power.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, power),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0i64, |sum, byte| {
        sum.saturating_mul(10)
            .saturating_add(i64::from(byte.saturating_sub(b'0')))
            .min(1_000_000_000_000)
    });
    Some(if negative { value.saturating_neg() } else { value })
}

/// `mantissa · 2^exponent`, rounded once to the nearest even double; `None` on overflow and on
/// underflow to zero. `sticky` says that non-zero bits below the mantissa were dropped.
fn scale(mantissa: u64, sticky: bool, exponent: i64) -> Option<f64> {
    if mantissa == 0 {
        return Some(0.0);
    }
    // The unbiased exponent of the leading bit decides how many bits of mantissa a double of that
    // size keeps.
    let bits = 64 - i64::from(mantissa.leading_zeros());
    let top = exponent.checked_add(bits)?.checked_sub(1)?;
    if top > 1023 {
        return None;
    }
    let keep = if top >= -1022 { 53 } else { top.checked_add(1075)? };
    if keep < 0 {
        return None;
    }
    let drop = (bits - keep).max(0);
    let rounded = round_to_even(mantissa, sticky, u32::try_from(drop).ok()?);
    let lowest = exponent.checked_add(drop)?;
    // Both factors are exact, and so is the product: the mantissa has been rounded to what the
    // result can hold. `lowest` is never below -1074, because `keep` shrinks with it.
    #[expect(clippy::cast_precision_loss, reason = "at most 53 significant bits are left")]
    let value = rounded as f64 * power_of_two(lowest);
    (value.is_finite() && value != 0.0).then_some(value)
}

/// `value >> drop`, rounded to nearest, ties to even.
fn round_to_even(value: u64, sticky: bool, drop: u32) -> u64 {
    if drop == 0 {
        return value;
    }
    let kept = value.checked_shr(drop).unwrap_or(0);
    let half = 1u64.checked_shl(drop - 1).unwrap_or(0);
    let lost = if drop >= 64 { value } else { value & ((1u64 << drop) - 1) };
    let up = lost > half || (lost == half && (sticky || kept & 1 == 1));
    kept + u64::from(up)
}

/// `2^exponent` for -1074 ..= 1023, which doubles hold exactly.
fn power_of_two(exponent: i64) -> f64 {
    let exponent = exponent.clamp(-1074, 1023);
    let bits = if exponent >= -1022 {
        (exponent + 1023).unsigned_abs() << 52
    } else {
        1u64 << (exponent + 1074)
    };
    f64::from_bits(bits)
}

/// In which unit, and from where, an expiry is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// Seconds from now (EX, EXPIRE).
    Seconds,
    /// Milliseconds from now (PX, PEXPIRE).
    Milliseconds,
    /// Seconds since the Unix epoch (EXAT, EXPIREAT).
    AtSeconds,
    /// Milliseconds since the Unix epoch (PXAT, PEXPIREAT).
    AtMilliseconds,
}

impl Expiry {
    /// The option of SET and GETEX that `arg` is, if it is one.
    pub fn keyword(arg: &[u8]) -> Option<Expiry> {
        match arg.len() {
            2 if is(arg, "EX") => Some(Expiry::Seconds),
            2 if is(arg, "PX") => Some(Expiry::Milliseconds),
            4 if is(arg, "EXAT") => Some(Expiry::AtSeconds),
            4 if is(arg, "PXAT") => Some(Expiry::AtMilliseconds),
            _ => None,
        }
    }

    /// Whether the expiry counts from now.
    pub fn is_relative(self) -> bool {
        matches!(self, Expiry::Seconds | Expiry::Milliseconds)
    }

    /// Whether the unit is a second.
    pub fn in_seconds(self) -> bool {
        matches!(self, Expiry::Seconds | Expiry::AtSeconds)
    }

    /// The instant that `arg` names, in milliseconds since the Unix epoch, for the options of SET,
    /// GETEX, SETEX and PSETEX: zero, negative and unrepresentable times are
    /// [`CommandError::InvalidExpire`] of `command`.
    pub fn instant(
        self,
        arg: &[u8],
        now_ms: u64,
        command: &'static str,
    ) -> Result<u64, CommandError> {
        let invalid = || CommandError::InvalidExpire(command);
        let mut at = integer(arg)?;
        if at <= 0 {
            return Err(invalid());
        }
        if self.in_seconds() {
            at = at.checked_mul(1000).ok_or_else(invalid)?;
        }
        if self.is_relative() {
            at = i64::try_from(now_ms)
                .ok()
                .and_then(|now| at.checked_add(now))
                .ok_or_else(invalid)?;
        }
        u64::try_from(at).map_err(|_| invalid())
    }
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

    #[test]
    fn expiries() {
        let now = 1000;
        let at = |expiry: Expiry, text: &str| expiry.instant(text.as_bytes(), now, "set");
        assert_eq!(at(Expiry::Seconds, "2").ok(), Some(3000));
        assert_eq!(at(Expiry::Milliseconds, "2").ok(), Some(1002));
        assert_eq!(at(Expiry::AtSeconds, "2").ok(), Some(2000));
        assert_eq!(at(Expiry::AtMilliseconds, "2").ok(), Some(2));
        for text in ["0", "-1", "9223372036854775807"] {
            assert!(matches!(at(Expiry::Seconds, text), Err(CommandError::InvalidExpire("set"))));
        }
        assert!(matches!(at(Expiry::Seconds, "x"), Err(CommandError::NotInteger)));
        assert_eq!(Expiry::keyword(b"pXaT"), Some(Expiry::AtMilliseconds));
        assert_eq!(Expiry::keyword(b"PXA"), None);
    }

    proptest! {
        #[test]
        fn every_integer_is_read_back(value: i64) {
            prop_assert_eq!(canonical_integer(value.to_string().as_bytes()), Some(value));
        }

        #[test]
        fn whatever_is_read_as_integer_is_written_the_same(text in "[-+ 0-9]{0,21}") {
            if let Some(value) = canonical_integer(text.as_bytes()) {
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
            let _ = (strtod(&bytes), strtod_loose(&bytes), canonical_integer(&bytes));
        }
    }
}
