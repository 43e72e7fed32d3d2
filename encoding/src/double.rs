//! Scores: 64-bit floating point numbers as bytes, in two forms.
//!
//! **In keys** a score must sort: RocksDB compares keys byte by byte, and `ZRANGEBYSCORE` is then a
//! scan. The bits of an IEEE 754 double already sort as unsigned numbers if the sign is clear, and
//! in reverse if it is set. So [`encode`] flips the sign bit of positive numbers and all bits of
//! negative ones:
//!
//! ```text
//! -inf  000fffffffffffff
//! -1.0  400fffffffffffff
//!  0.0  8000000000000000
//!  1.0  bff0000000000000
//!  inf  fff0000000000000
//! ```
//!
//! Both zeros become the same bytes: they are equal scores, so their members must sort by name
//! alone, side by side.
//!
//! **In values** ([`encode_value`]) the bits stay as they are, big-endian, so that `-0` is still
//! `-0` for `ZSCORE`.
//!
//! NaN cannot be ordered. Commands refuse it before it gets here, [`encode`] asserts that, and
//! decoders of stored bytes refuse it.

use crate::error::DecodeError;
use crate::layout::{self, Field};

const SIGN: u64 = 1 << 63;

pub(crate) const SCORE_VALUE: &Field =
    &Field::new("score", "the double's own bits, so that -0 stays -0")
        .show(|bits| f64::from_bits(bits).to_string());

/// A score as it is stored in a key.
pub(crate) fn show(bits: u64) -> String {
    decode(bits).to_string()
}

/// Bits that sort as unsigned numbers the way scores sort as numbers. Both zeros give the same
/// bits.
///
/// # Panics
/// On NaN, which callers must have refused.
pub fn encode(score: f64) -> u64 {
    assert!(!score.is_nan(), "a score is never NaN");
    // Adding +0 turns -0 into +0 and changes nothing else.
    let bits = (score + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The inverse of [`encode`]. Bits that `encode` never gives may come out as NaN or -0; see
/// [`is_canonical`].
pub fn decode(bits: u64) -> f64 {
    f64::from_bits(if bits & SIGN != 0 { bits & !SIGN } else { !bits })
}

/// A score as it stands in a key: the bits of [`encode`], big-endian.
///
/// # Panics
/// As [`encode`].
pub fn encode_key(score: f64) -> [u8; 8] {
    encode(score).to_be_bytes()
}

/// The inverse of [`encode_key`].
pub fn decode_key(bytes: [u8; 8]) -> f64 {
    decode(u64::from_be_bytes(bytes))
}

/// The bytes that sort right behind those of a score in a key, whatever follows it there. `None`
/// if nothing does.
///
/// # Panics
/// As [`encode`].
pub fn key_after(score: f64) -> Option<[u8; 8]> {
    encode(score).checked_add(1).map(u64::to_be_bytes)
}

/// Whether [`encode`] can give these bits: no NaN, no -0.
pub fn is_canonical(bits: u64) -> bool {
    let score = decode(bits);
    !score.is_nan() && encode(score) == bits
}

/// A score as the value of a member in family `subkey`: IEEE 754 bits, big-endian.
pub fn encode_value(score: f64) -> [u8; 8] {
    score.to_bits().to_be_bytes()
}

/// The inverse of [`encode_value`].
///
/// # Errors
/// Other than eight bytes, or NaN.
pub fn decode_value(bytes: &[u8]) -> Result<f64, DecodeError> {
    layout::decode(bytes, "score", read_value)
}

pub(crate) fn read_value<T: layout::Trace>(r: &mut layout::Reader<'_, T>) -> layout::Result<f64> {
    let score = f64::from_bits(r.u64(SCORE_VALUE)?);
    if score.is_nan() {
        return Err(DecodeError::Invalid { what: "score", why: "NaN cannot be ordered" });
    }
    Ok(score)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits() {
        for (score, bits) in [
            (f64::NEG_INFINITY, 0x000f_ffff_ffff_ffff),
            (f64::MIN, 0x0010_0000_0000_0000),
            (-1.0, 0x400f_ffff_ffff_ffff),
            (-f64::from_bits(1), 0x7fff_ffff_ffff_fffe),
            (-0.0, 0x8000_0000_0000_0000),
            (0.0, 0x8000_0000_0000_0000),
            (f64::from_bits(1), 0x8000_0000_0000_0001),
            (1.0, 0xbff0_0000_0000_0000),
            (f64::MAX, 0xffef_ffff_ffff_ffff),
            (f64::INFINITY, 0xfff0_0000_0000_0000),
        ] {
            assert_eq!(encode(score), bits, "{score}");
            assert_eq!(decode(bits), score);
            assert!(is_canonical(bits));
        }
        assert!(encode_value(-0.0) != encode_value(0.0));
        assert_eq!(encode_key(1.0), [0xbf, 0xf0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(decode_key(encode_key(-1.5)), -1.5);
        assert_eq!(key_after(0.0), Some(encode_key(f64::from_bits(1))));
    }

    #[test]
    fn refused() {
        for bits in
            [0, u64::MAX, 0x000f_ffff_ffff_fffe, 0x7fff_ffff_ffff_ffff, 0xfff0_0000_0000_0001]
        {
            assert!(!is_canonical(bits), "{bits:x}");
        }
        let nan = DecodeError::Invalid { what: "score", why: "NaN cannot be ordered" };
        assert_eq!(decode_value(&f64::NAN.to_be_bytes()), Err(nan));
        assert_eq!(
            decode_value(&[0; 7]),
            Err(DecodeError::Truncated { what: "score", need: 8, have: 7 })
        );
        assert_eq!(decode_value(&[0; 9]), Err(DecodeError::Trailing { what: "score", bytes: 1 }));
    }

    #[test]
    #[should_panic(expected = "never NaN")]
    fn nan_is_a_bug_of_the_caller() {
        encode(f64::NAN);
    }

    fn score() -> impl Strategy<Value = f64> {
        let special =
            prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY]);
        prop_oneof![any::<f64>(), special].prop_filter("NaN", |score| !score.is_nan())
    }

    proptest! {
        #[test]
        fn order_and_round_trip(a in score(), b in score()) {
            prop_assert_eq!(encode(a).cmp(&encode(b)), a.partial_cmp(&b).unwrap());
            prop_assert_eq!(decode(encode(a)), a);
            prop_assert_eq!(decode_value(&encode_value(a)).unwrap().to_bits(), a.to_bits());
        }
    }
}
