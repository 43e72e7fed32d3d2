//! Bytes of the write-ahead log for tests of this crate, inside it and outside: a fragment as
//! RocksDB writes it, and what a power loss leaves of a file.

/// Bytes of a file that reach the disk together.
const PAGE: usize = 4096;

/// Numbers that repeat with their seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

/// One fragment of the log as RocksDB writes it. A number of the log stands only in files that are
/// overwritten.
pub(crate) fn encode(kind: u8, number: Option<u32>, payload: &[u8]) -> Vec<u8> {
    let mut covered = vec![kind];
    covered.extend(number.into_iter().flat_map(u32::to_le_bytes));
    covered.extend_from_slice(payload);
    let masked = crc32c::crc32c(&covered).rotate_right(15).wrapping_add(0xa282_ead8);
    let length = u16::try_from(payload.len()).unwrap();
    [&masked.to_le_bytes()[..], &length.to_le_bytes(), &covered].concat()
}

/// Loses any pages of a file behind its durable length, and any part of its end.
pub(crate) fn lose_pages(bytes: &mut Vec<u8>, durable: usize, random: &mut Random) {
    let length = bytes.len();
    let odds = 1 + random.below(4);
    let mut at = durable;
    while at < length {
        // The page in which the durable bytes end keeps those.
        let end = ((at / PAGE + 1) * PAGE).min(length);
        if random.below(4) < odds {
            bytes[at..end].fill(0);
        }
        at = end;
    }
    if random.below(3) == 0 {
        bytes.truncate(durable + random.below(length - durable + 1));
    }
}
