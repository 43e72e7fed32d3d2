//! Doubles as Redis 7.0 prints them: C's `printf("%.17g")`.
//!
//! Seventeen significant digits are enough to read back any `f64` unchanged, and more than most
//! people expect:
//!
//! ```
//! use neokv_resp::format_double;
//! assert_eq!(format_double(3.0), "3");
//! assert_eq!(format_double(0.1), "0.10000000000000001");
//! assert_eq!(format_double(1e17), "1e+17");
//! assert_eq!(format_double(f64::NEG_INFINITY), "-inf");
//! ```
//!
//! `%g` chooses between two notations by the decimal exponent `e`: plain if `-4 <= e < 17`,
//! scientific otherwise, both without trailing zeros. Rust has no `%g`, but its `{:.16e}` rounds to
//! the same seventeen digits (exactly, ties to even, as the C library does); only the point has to
//! be moved.

/// Significant digits of `%.17g`.
const DIGITS: i32 = 17;

/// Integers below this are printed by `%.17g` as integers and are exact in an `f64`.
const EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// Formats a double as `printf("%.17g")` does; infinities are `inf` and `-inf`, every NaN is `nan`.
#[must_use]
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if value.abs() < EXACT_INTEGER
        && value.fract() == 0.0
        && (value != 0.0 || value.is_sign_positive())
    {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an integral value below 2^53 is exact in an i64"
        )]
        return (value as i64).to_string();
    }
    let scientific = format!("{value:.16e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_end_matches('0');
    if (-4..DIGITS).contains(&exponent) {
        plain(sign, digits, exponent)
    } else {
        powered(sign, digits, exponent)
    }
}

/// `0.00012`, `12.5`, `1200`: the point moved by `exponent` places.
fn plain(sign: &str, digits: &str, exponent: i32) -> String {
    let Ok(exponent) = usize::try_from(exponent) else {
        let zeros = usize::try_from(exponent.unsigned_abs()).unwrap_or_default() - 1;
        return format!("{sign}0.{}{digits}", "0".repeat(zeros));
    };
    let integer_places = exponent + 1;
    match digits.split_at_checked(integer_places) {
        Some((integer, "")) => format!("{sign}{integer}"),
        Some((integer, fraction)) => format!("{sign}{integer}.{fraction}"),
        None if digits.is_empty() => format!("{sign}0"),
        None => format!("{sign}{digits}{}", "0".repeat(integer_places - digits.len())),
    }
}

/// `1e+17`, `1.5e-07`: at least two digits of exponent, always with a sign.
fn powered(sign: &str, digits: &str, exponent: i32) -> String {
    let (first, fraction) = digits.split_at_checked(1).unwrap_or(("0", ""));
    let point = if fraction.is_empty() { "" } else { "." };
    let exponent_sign = if exponent < 0 { '-' } else { '+' };
    format!("{sign}{first}{point}{fraction}e{exponent_sign}{:02}", exponent.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every right-hand side was printed by `printf '%.17g'` of the C library.
    #[test]
    fn agrees_with_printf() {
        let table = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.0, "-1"),
            (10.0, "10"),
            (1.5, "1.5"),
            (3.25, "3.25"),
            (100.125, "100.125"),
            (0.1, "0.10000000000000001"),
            (-0.1, "-0.10000000000000001"),
            (1e-4, "0.0001"),
            (1e-5, "1.0000000000000001e-05"),
            (0.00012, "0.00012"),
            (1e16, "10000000000000000"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e17, "1e+17"),
            (1e20, "1e+20"),
            (1e100, "1e+100"),
            (1.5e300, "1.5000000000000001e+300"),
            (9007199254740991.0, "9007199254740991"),
            (9007199254740992.0, "9007199254740992"),
            (9007199254740994.0, "9007199254740994"),
            (99999999999999984.0, "99999999999999984"),
            (3.4028234663852886e38, "3.4028234663852886e+38"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (5e-324, "4.9406564584124654e-324"),
            (2.0f64.powi(-25), "2.9802322387695312e-08"),
            (2.7, "2.7000000000000002"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ];
        for (value, text) in table {
            assert_eq!(format_double(value), text, "{value:e}");
        }
    }

    proptest! {
        #[test]
        fn reads_back_unchanged(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(format_double(value).parse::<f64>().unwrap().to_bits(), bits);
        }
    }
}
