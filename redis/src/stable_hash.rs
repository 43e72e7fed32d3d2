//! A hash that is the same in every process and every release, which the standard library's are
//! not: cursors of SCAN carry it from one node to another.

/// FNV-1a, whose constants are at <http://www.isthe.com/chongo/tech/comp/fnv/>, followed by the
/// last step of [`SplitMix64`](neokv_raftstore::SplitMix64), which makes every bit of the result
/// depend on every byte. It does not resist somebody who looks for collisions.
pub fn stable_hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let fnv = bytes.into_iter().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed apart from this code, in Python. Other values here would end the walks of clients
    /// that are under way during an upgrade.
    #[test]
    fn values_never_change() {
        let hash = |text: &str| stable_hash(text.bytes());
        assert_eq!(hash(""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(hash("a"), 0x02c0_bdbf_4814_20f8);
        assert_eq!(hash("foobar"), 0x404d_a9e3_b740_78c2);
    }
}
