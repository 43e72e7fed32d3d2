//! Long doubles: the arithmetic of INCRBYFLOAT and HINCRBYFLOAT.
//!
//! On x86 Redis computes these in the processor's 80-bit format (64 bits of mantissa, 15 of
//! exponent) and prints the sum as C's `%.17Lf` without trailing zeros. Doubles would give other
//! digits: `0.1 + 0.2` is `0.3` here and `0.30000000000000004` there. Replicas on other processors
//! must agree too, so the format is computed in software.
//!
//! ```text
//! value = mantissa · 2^exponent        %.17Lf  =  round_half_even(value · 10^17) / 10^17, exactly
//! ```

use std::fmt;

use num_bigint::BigUint;
use rustc_apfloat::Float;
use rustc_apfloat::ieee::X87DoubleExtended;

use crate::number;

/// The longest text that is taken for a number: more cannot be one that a server has written.
const MAX_TEXT: usize = 5 * 1024 - 1;
/// Digits after the decimal point.
const FRACTION_DIGITS: usize = 17;
/// Ten to the power of [`FRACTION_DIGITS`].
const FRACTION: u64 = 100_000_000_000_000_000;

/// An 80-bit extended float that is not NaN.
#[derive(Clone, Copy, Debug)]
pub struct LongDouble(X87DoubleExtended);

impl LongDouble {
    /// Zero, the value of an absent key or field.
    pub const ZERO: LongDouble = LongDouble(X87DoubleExtended::ZERO);

    /// The number that `bytes` spells, by the rules of C's `strtold` as Redis applies them: no
    /// spaces, no NaN, nothing that over- or underflows; infinities are numbers.
    pub fn parse(bytes: &[u8]) -> Option<LongDouble> {
        if bytes.len() > MAX_TEXT {
            return None;
        }
        let (negative, body) = number::split_sign(bytes)?;
        let magnitude = if number::is_infinity(body) {
            X87DoubleExtended::INFINITY
        } else {
            number::finite(body)?
        };
        Some(LongDouble(if negative { -magnitude } else { magnitude }))
    }

    /// The sum; `None` if it is infinite or not a number.
    #[must_use]
    pub fn plus(self, other: LongDouble) -> Option<LongDouble> {
        let sum = (self.0 + other.0).value;
        sum.is_finite().then_some(LongDouble(sum))
    }

    /// Whether the number is finite.
    pub fn is_finite(self) -> bool {
        self.0.is_finite()
    }
}

impl fmt::Display for LongDouble {
    /// As C's `%.17Lf`, without trailing zeros, and zero without a sign.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_infinite() {
            return f.write_str(if self.0.is_negative() { "-inf" } else { "inf" });
        }
        let bits = self.0.to_bits();
        let mantissa = bits & u128::from(u64::MAX);
        let biased = i64::try_from((bits >> 64) & 0x7fff).unwrap_or(0).max(1);
        let scaled = scale(mantissa, biased - (16383 + 63)).to_string();
        let padded = format!("{scaled:0>width$}", width = FRACTION_DIGITS + 1);
        let (whole, fraction) = padded.split_at(padded.len() - FRACTION_DIGITS);
        let fraction = fraction.trim_end_matches('0');
        let sign = if self.0.is_negative() && scaled != "0" { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{sign}{whole}{point}{fraction}")
    }
}

/// `mantissa · 2^exponent · 10^17`, rounded to the nearest integer, ties to even.
fn scale(mantissa: u128, exponent: i64) -> BigUint {
    // At most 64 + 57 bits.
    let product = mantissa * u128::from(FRACTION);
    if let Ok(up) = u64::try_from(exponent) {
        return BigUint::from(product) << up;
    }
    let Ok(down) = u32::try_from(exponent.unsigned_abs()) else { return BigUint::ZERO };
    if down >= 127 {
        return BigUint::ZERO;
    }
    let (quotient, lost) = (product >> down, product & ((1u128 << down) - 1));
    let half = 1u128 << (down - 1);
    let up = lost > half || (lost == half && quotient & 1 == 1);
    BigUint::from(quotient + u128::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        LongDouble::parse(a.as_bytes())
            .unwrap()
            .plus(LongDouble::parse(b.as_bytes()).unwrap())
            .unwrap()
            .to_string()
    }

    #[test]
    fn sums_have_the_digits_of_the_80_bit_format() {
        assert_eq!(sum("0.1", "0.2"), "0.3");
        assert_eq!(sum("10.5", "0.1"), "10.6");
        assert_eq!(sum("3.0e3", "200"), "3200");
        assert_eq!(sum("1", "-1"), "0");
        assert_eq!(sum("-0", "-0"), "0");
        assert_eq!(sum("-1e-20", "0"), "0");
        assert_eq!(sum("0x1p4", "1"), "17");
        assert_eq!(sum("9223372036854775807", "1"), "9223372036854775808");
        assert_eq!(sum("1e25", "1"), "10000000000000000000000000");
    }

    #[test]
    fn texts_that_are_no_numbers_are_refused() {
        for bad in [
            "", " 1", "1 ", "nan", "1e5000", "1e-6000", "1x", "--1", "+-1", "1e", ".", "0x",
            "1..2", "1e+", "e5",
        ] {
            assert!(LongDouble::parse(bad.as_bytes()).is_none(), "{bad:?}");
        }
        assert!(LongDouble::parse("1".repeat(MAX_TEXT + 1).as_bytes()).is_none());
        assert!(!LongDouble::parse(b"-Infinity").unwrap().is_finite());
        assert!(
            LongDouble::parse(b"1e4932")
                .unwrap()
                .plus(LongDouble::parse(b"1e4932").unwrap())
                .is_none()
        );
    }
}
