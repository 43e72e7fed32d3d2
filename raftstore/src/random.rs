//! A small deterministic random number generator.
//!
//! SplitMix64: Guy L. Steele Jr., Doug Lea, Christine H. Flood, "Fast splittable pseudorandom
//! number generators", OOPSLA 2014; constants as in Sebastiano Vigna's reference code,
//! <https://prng.di.unimi.it/splitmix64.c>.
//!
//! Writes that choose (SPOP) take their seed from the log entry, so that every replica chooses the
//! same. It is not for secrets: one number reveals all that follow.

/// A SplitMix64 generator.
#[derive(Clone, Debug)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// A generator whose numbers follow from `seed` alone.
    pub fn new(seed: u64) -> SplitMix64 {
        SplitMix64 { state: seed }
    }

    /// A generator with an unpredictable seed, from the keys that the system gives every hash map.
    pub fn from_entropy() -> SplitMix64 {
        use std::hash::{BuildHasher, RandomState};
        SplitMix64 { state: RandomState::new().hash_one(std::process::id()) }
    }

    /// The next number, uniform over all 64-bit values.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, uniform; 0 if `bound` is 0.
    ///
    /// Multiplies into 128 bits and rejects the short first stretch, so that no number is likelier
    /// than another (Daniel Lemire, "Fast random integer generation in an interval", 2019).
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let unfair = bound.wrapping_neg() % bound;
        loop {
            let wide = u128::from(self.next_u64()) * u128::from(bound);
            let (high, low) = halves(wide);
            if low >= unfair {
                return high;
            }
        }
    }
}

/// The upper and the lower half of a 128-bit number.
fn halves(wide: u128) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, rest @ ..] = wide.to_be_bytes();
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_reference() {
        // The first outputs of Vigna's splitmix64.c for the state 1234567.
        let mut random = SplitMix64::new(1_234_567);
        let first: Vec<u64> = (0..5).map(|_| random.next_u64()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821
            ]
        );
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut random = SplitMix64::new(7);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.below(1), 0);
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            seen[usize::try_from(random.below(7)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
        assert!((0..100).all(|_| random.below(u64::MAX) < u64::MAX));
    }
}
