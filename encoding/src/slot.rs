//! Hash slots: which of the 16384 parts of the key space a key belongs to.
//!
//! `slot = CRC16(tag) mod 16384`, where `tag` is the part between the first `{` and the next `}` if
//! there is one and it is not empty, and the whole key otherwise. So `user:{42}:name` and
//! `user:{42}:cart` share a slot and may be used together in one command. The CRC is CRC-16/XMODEM
//! (polynomial 0x1021, start 0), the one of Redis Cluster; clients compute it too, which is why it
//! can never change.
//!
//! Types: [`SlotRange`], the half-open range that a Region owns.

use std::fmt;

use crc16::{State, XMODEM};

/// Number of slots; slots are `0..SLOTS`.
pub const SLOTS: u16 = 16384;

/// The part of a key that is hashed.
///
/// ```
/// use neokv_encoding::slot::hash_tag;
/// assert_eq!(hash_tag(b"user:{42}:name"), b"42");
/// assert_eq!(hash_tag(b"no{}tag"), b"no{}tag");
/// ```
pub fn hash_tag(key: &[u8]) -> &[u8] {
    let tag = key.iter().position(|&byte| byte == b'{').and_then(|open| {
        let after = key.get(open + 1..)?;
        let close = after.iter().position(|&byte| byte == b'}')?;
        after.get(..close)
    });
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// The slot of a key.
pub fn slot_of(key: &[u8]) -> u16 {
    State::<XMODEM>::calculate(hash_tag(key)) % SLOTS
}

/// Slots `start` (included) to `end` (excluded, at most [`SLOTS`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotRange {
    /// First slot.
    pub start: u16,
    /// One past the last slot.
    pub end: u16,
}

impl SlotRange {
    /// Every slot.
    pub const ALL: SlotRange = SlotRange { start: 0, end: SLOTS };

    /// The range, or `None` if it ends before it starts or after the last slot.
    pub fn new(start: u16, end: u16) -> Option<SlotRange> {
        (start <= end && end <= SLOTS).then_some(SlotRange { start, end })
    }

    /// Whether `slot` is inside.
    pub fn contains(&self, slot: u16) -> bool {
        self.start <= slot && slot < self.end
    }

    /// Number of slots.
    pub fn len(&self) -> u16 {
        self.end.saturating_sub(self.start)
    }

    /// Whether no slot is inside.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both ranges share a slot.
    pub fn overlaps(&self, other: &SlotRange) -> bool {
        self.start.max(other.start) < self.end.min(other.end)
    }
}

/// First and last slot as `CLUSTER SLOTS` and people write them: `0-16383`; `none` if empty.
impl fmt::Display for SlotRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len() {
            0 => write!(f, "none"),
            1 => write!(f, "{}", self.start),
            _ => write!(f, "{}-{}", self.start, self.end - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_xmodem() {
        assert_eq!(State::<XMODEM>::calculate(b"123456789"), 0x31C3);
        assert_eq!(slot_of(b"123456789"), 0x31C3 % SLOTS);
    }

    #[test]
    fn known_slots() {
        // As `CLUSTER KEYSLOT` of Redis answers them.
        for (key, slot) in
            [("foo", 12182), ("bar", 5061), ("", 0), ("somekey", 11058), ("foo{hash_tag}", 2515)]
        {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }

    #[test]
    fn tags() {
        for (key, tag) in [
            ("{user1000}.following", "user1000"),
            ("foo{}{bar}", "foo{}{bar}"),
            ("foo{{bar}}zap", "{bar"),
            ("foo{bar}{zap}", "bar"),
            ("open{only", "open{only"),
            ("close}only", "close}only"),
            ("}{a}", "a"),
            ("{", "{"),
            ("", ""),
        ] {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }

    #[test]
    fn ranges() {
        let low = SlotRange { start: 0, end: 10 };
        let high = SlotRange { start: 10, end: SLOTS };
        assert!(low.contains(0) && low.contains(9) && !low.contains(10));
        assert!(!low.overlaps(&high) && !high.overlaps(&low));
        assert!(low.overlaps(&SlotRange::ALL) && SlotRange::ALL.overlaps(&low));
        let empty = SlotRange { start: 5, end: 5 };
        assert!(empty.is_empty() && !empty.overlaps(&low) && !empty.contains(5));
        assert_eq!(
            [SlotRange::ALL, low, empty, SlotRange { start: 7, end: 8 }]
                .map(|range| range.to_string()),
            ["0-16383", "0-9", "none", "7"]
        );
        assert_eq!((SlotRange::ALL.len(), low.len()), (16384, 10));
        assert_eq!(SlotRange::new(0, SLOTS), Some(SlotRange::ALL));
        assert_eq!((SlotRange::new(2, 1), SlotRange::new(0, SLOTS + 1)), (None, None));
    }
}
