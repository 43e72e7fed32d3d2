//! Long strings: which bytes stand in which row.
//!
//! A string of up to [`LONGEST_WHOLE`] bytes stands in its metadata record. A longer one has only
//! type, expiry, version and length there; its bytes stand in *chunks*, rows of family `subkey`
//! under that version, by number:
//!
//! ```text
//! SETRANGE s 20000 hello    metadata  slot ns "s"            → string in chunks, version 7, 20005
//!                           subkey    slot ns len "s" 7 · 2  → 3616 zeros, hello
//! ```
//!
//! * Chunk n holds the bytes from n × [`CHUNK_BYTES`] on, at most as many.
//! * **What no row holds is zeros**: a chunk that was never written, and the end of one whose row
//!   is shorter. So SETRANGE far behind the end writes the chunks of its own bytes and no others.
//! * The length alone decides where a string stands, and strings only grow, but for SET, which
//!   writes a new one. So a string moves into chunks once, when it grows over the threshold.
//! * A new string in chunks gets a new version, so SET, DEL and expiry leave old chunks behind as
//!   orphans, whatever their number: rows of a version that no metadata record names.
//! * A chunk is about a block of a RocksDB file. Smaller ones would cost a key for fewer bytes (a
//!   row takes some 150 bytes of memory besides its value); with larger ones APPEND and SETRANGE of
//!   a byte write more. At the threshold a string is two chunks: below it, one look-up that returns
//!   all is cheaper than three.

use std::ops::Range;

use crate::error::DecodeError;

/// The longest string that stands in its metadata record.
pub const LONGEST_WHOLE: u64 = 16 << 10;

/// Bytes of a chunk. The last one, and one that ends in zeros, may be shorter.
pub const CHUNK_BYTES: u64 = 8 << 10;

/// A part of a string that lies in one chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number of the chunk.
    pub number: u64,
    /// Where the part begins in the chunk.
    pub start: usize,
    /// Bytes of the part, at least one.
    pub len: usize,
}

/// The parts of a range of a string, chunk by chunk.
pub fn pieces(range: Range<u64>) -> impl Iterator<Item = Piece> {
    let mut at = range.start;
    std::iter::from_fn(move || {
        if at >= range.end {
            return None;
        }
        let (number, start) = (at / CHUNK_BYTES, at % CHUNK_BYTES);
        let len = (CHUNK_BYTES - start).min(range.end - at);
        at += len;
        // Both are at most a chunk.
        let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
        Some(Piece { number, start: size(start), len: size(len) })
    })
}

/// The number of the chunk that holds this byte.
pub fn number_of(offset: u64) -> u64 {
    offset / CHUNK_BYTES
}

/// Where the bytes of a chunk end in the string; `None` if no string is so long.
pub fn end(number: u64, value: &[u8]) -> Option<u64> {
    number.checked_mul(CHUNK_BYTES)?.checked_add(u64::try_from(value.len()).ok()?)
}

/// The subkey of a chunk: its number.
pub fn subkey(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

/// The number of a chunk, from the row that holds it.
///
/// # Errors
/// A subkey that is no number, or a value longer than a chunk.
pub fn decode(subkey: &[u8], value: &[u8]) -> Result<u64, DecodeError> {
    if !u64::try_from(value.len()).is_ok_and(|len| len <= CHUNK_BYTES) {
        return Err(DecodeError::Invalid { what: "chunk", why: "none is longer than 8192 bytes" });
    }
    let number = subkey.try_into().map_err(|_| DecodeError::Invalid {
        what: "chunk",
        why: "its subkey is its number, eight bytes",
    })?;
    Ok(u64::from_be_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_a_range() {
        let of = |range| {
            pieces(range).map(|piece| (piece.number, piece.start, piece.len)).collect::<Vec<_>>()
        };
        assert_eq!(of(0..0), []);
        assert_eq!(of(0..1), [(0, 0, 1)]);
        assert_eq!(of(0..8192), [(0, 0, 8192)]);
        assert_eq!(of(8191..8193), [(0, 8191, 1), (1, 0, 1)]);
        assert_eq!(of(8192..24_577), [(1, 0, 8192), (2, 0, 8192), (3, 0, 1)]);
        assert_eq!(of((1 << 63) - 1..1 << 63), [(number_of(i64::MAX as u64), 8191, 1)]);
    }

    #[test]
    fn rows_that_are_no_chunks() {
        assert_eq!(decode(&subkey(258), &[0; 8192]), Ok(258));
        assert_eq!(end(258, &[0; 10]), Some(258 * 8192 + 10));
        assert_eq!(end(1 << 52, b""), None);
        assert!(decode(&subkey(258), &[0; 8193]).is_err());
        assert!(decode(b"field", b"").is_err());
    }
}
