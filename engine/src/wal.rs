//! The format of RocksDB's write-ahead log, as far as recovery must understand it.
//!
//! A log file is a row of blocks of 32 KiB. A batch is one logical record; where it does not fit
//! into the rest of a block it continues in the next as a fragment. No fragment crosses a block,
//! and fewer than seven bytes at a block's end are filled with zeros.
//!
//! ```text
//! fragment:  checksum u32 LE · length u16 LE · type u8 · [log number u32 LE] · payload
//!            ╰ masked CRC-32C of everything       ╯       ╰ types 5 to 8, 11, 131:
//!              after length                                 files that are overwritten
//! type:      1 full · 2 first · 3 middle · 4 last        (5 to 8: the same, with a log number)
//!            9, 10, 11, 130, 131: notes of RocksDB about the file, a record each
//!            0 with length 0: space that was set aside and not written yet
//! batch:     sequence u64 LE · count u32 LE · writes ... · 3 · 41 · note
//!            from the first fragment to the last
//! ```
//!
//! The note stands at the end of every batch of the engine: [`neokv_encoding::synced`]. RocksDB
//! keeps it in the log and nowhere else.
//!
//! In a file that is overwritten, the bytes behind the newest record are old records. Their log
//! number shows that.

use neokv_encoding::synced::{NOTE_LENGTH, SyncedNote, Tag};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 32 * 1024;

/// Bytes of a fragment header without log number.
pub(crate) const HEADER: usize = 7;

/// Bytes of a fragment header with log number.
const RECYCLABLE_HEADER: usize = 11;

/// Bytes at the start of a batch that give its sequence numbers.
pub(crate) const BATCH_HEADER: usize = 12;

/// Type of a record of a batch that is for the log only.
const LOG_DATA: u8 = 3;

/// Bytes that a note takes at the end of a batch: type, length in one byte, and the note.
pub(crate) const NOTE_RECORD: usize = 2 + NOTE_LENGTH;

/// Bytes at the end of a note's record that name the last synced write and its log.
const SYNCED_FIELDS: usize = 16;

/// Bytes at the end of a note's record that name the log of the last synced write.
const LOG_FIELD: usize = 8;

/// Added by RocksDB to a rotated CRC, so that a CRC over bytes that hold CRCs stays a good one.
const MASK_DELTA: u32 = 0xa282_ead8;

/// The part of a batch that a fragment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Full,
    First,
    Middle,
    Last,
    /// A note of RocksDB about the file.
    Note,
}

/// What stands at a position of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment<'a> {
    /// A fragment whose checksum fits.
    Good {
        part: Part,
        payload: &'a [u8],
        /// Bytes with header.
        length: usize,
    },
    /// A good fragment from an earlier use of the file.
    Stale,
    /// Space that was never written.
    Blank,
    /// Nothing that makes sense.
    Bad(&'static str),
}

/// Reads the fragment at the start of `bytes`, which end where the block ends. `number` is the
/// log's file number.
pub(crate) fn fragment(bytes: &[u8], number: u64) -> Fragment<'_> {
    let Some((&[c0, c1, c2, c3, l0, l1, kind], _)) = bytes.split_first_chunk::<HEADER>() else {
        return Fragment::Bad("it ends inside a header");
    };
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    if kind == 0 && length == 0 {
        return Fragment::Blank;
    }
    let Some((part, header)) = part(kind) else { return Fragment::Bad("a record of unknown type") };
    let end = header + length;
    let (Some(covered), Some(payload)) = (bytes.get(HEADER - 1..end), bytes.get(header..end))
    else {
        return Fragment::Bad("it ends inside a record");
    };
    if crc32c::crc32c(covered) != unmask(u32::from_le_bytes([c0, c1, c2, c3])) {
        return Fragment::Bad("a record whose checksum does not fit");
    }
    if header == RECYCLABLE_HEADER && !names_log(bytes, number) {
        return Fragment::Stale;
    }
    Fragment::Good { part, payload, length: end }
}

fn part(kind: u8) -> Option<(Part, usize)> {
    Some(match kind {
        1 => (Part::Full, HEADER),
        2 => (Part::First, HEADER),
        3 => (Part::Middle, HEADER),
        4 => (Part::Last, HEADER),
        5 => (Part::Full, RECYCLABLE_HEADER),
        6 => (Part::First, RECYCLABLE_HEADER),
        7 => (Part::Middle, RECYCLABLE_HEADER),
        8 => (Part::Last, RECYCLABLE_HEADER),
        9 | 10 | 130 => (Part::Note, HEADER),
        11 | 131 => (Part::Note, RECYCLABLE_HEADER),
        _ => return None,
    })
}

/// The header keeps the low half of the log's number.
fn names_log(bytes: &[u8], number: u64) -> bool {
    let low = number & u64::from(u32::MAX);
    bytes
        .get(HEADER..RECYCLABLE_HEADER)
        .and_then(|field| field.try_into().ok())
        .is_some_and(|field| u64::from(u32::from_le_bytes(field)) == low)
}

fn unmask(masked: u32) -> u32 {
    masked.wrapping_sub(MASK_DELTA).rotate_left(15)
}

/// The sequence numbers of a batch, from its first bytes: RocksDB gives each write of it one. The
/// first, and the one after the last.
pub(crate) fn sequences(batch: &[u8]) -> Option<(u64, u64)> {
    let (sequence, rest) = batch.split_first_chunk::<8>()?;
    let (count, _) = rest.split_first_chunk::<4>()?;
    let first = u64::from_le_bytes(*sequence);
    Some((first, first.checked_add(u64::from(u32::from_le_bytes(*count)))?))
}

/// The sequence number with which a log begins, from its first bytes; `None` if nothing was written
/// to it. For the log of an open store, whose bytes were written by this process.
pub(crate) fn begins(log: &[u8]) -> Option<u64> {
    let mut rest = log;
    loop {
        let (&[_, _, _, _, l0, l1, kind], _) = rest.split_first_chunk::<HEADER>()?;
        let (part, header) = part(kind)?;
        if part != Part::Note {
            return sequences(rest.get(header..)?).map(|(first, _)| first);
        }
        rest = rest.get(header + usize::from(u16::from_le_bytes([l0, l1]))..)?;
    }
}

/// The note at the end of a batch, from its last bytes, if it is one with this tag.
pub(crate) fn note(batch: &[u8], tag: &Tag) -> Option<SyncedNote> {
    let (_, record) = batch.split_at_checked(batch.len().checked_sub(NOTE_RECORD)?)?;
    let (&[kind, length], note) = record.split_first_chunk::<2>()?;
    let is_note = kind == LOG_DATA && usize::from(length) == note.len();
    let note = is_note.then(|| SyncedNote::decode(note).ok()).flatten()?;
    (note.tag == *tag).then_some(note)
}

/// The last write that a note calls synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyncedWrite {
    /// Its sequence number.
    pub(crate) write: u64,
    /// The number of the log that holds it, as in [`SyncedNote::log`]; `None` if that part of the
    /// note is lost.
    pub(crate) log: Option<u64>,
}

impl From<SyncedNote> for SyncedWrite {
    fn from(note: SyncedNote) -> SyncedWrite {
        SyncedWrite { write: note.synced, log: Some(note.log) }
    }
}

/// What a note says whose first part is the end of this fragment. The tag must be part of it: the
/// fragment may be bytes of a client.
pub(crate) fn note_begin(fragment: &[u8], tag: &Tag) -> Option<SyncedWrite> {
    let opening = opening(tag);
    // Where the note is cut is unknown, and it is of use only if the synced write stands before.
    (NOTE_RECORD - LOG_FIELD..NOTE_RECORD).find_map(|length| {
        let (_, note) = fragment.split_at_checked(fragment.len().checked_sub(length)?)?;
        let fields = note.get(NOTE_RECORD - SYNCED_FIELDS..).filter(|_| note.starts_with(&opening));
        let (write, _) = fields?.split_first_chunk::<8>()?;
        Some(SyncedWrite { write: u64::from_be_bytes(*write), log: None })
    })
}

/// What a note says whose last part is the end of this fragment. The caller knows that RocksDB has
/// written the fragment, and that it is the last of a batch: as much of the tag as is here must
/// fit, and that may be nothing.
pub(crate) fn note_end(fragment: &[u8], tag: &Tag) -> Option<SyncedWrite> {
    let length = fragment.len().min(NOTE_RECORD);
    let (_, note) = fragment.split_at_checked(fragment.len() - length)?;
    let opening = opening(tag);
    let is_note = note.starts_with(opening.get(NOTE_RECORD - length..).unwrap_or_default());
    let (_, fields) = note.split_at_checked(length.checked_sub(SYNCED_FIELDS)?)?;
    let (write, log) = fields.split_first_chunk::<8>().filter(|_| is_note)?;
    let log = u64::from_be_bytes(log.try_into().ok()?);
    Some(SyncedWrite { write: u64::from_be_bytes(*write), log: Some(log) })
}

/// The bytes with which every note's record of a directory begins.
fn opening(tag: &Tag) -> Vec<u8> {
    let note = SyncedNote { tag: *tag, before: 0, synced: 0, log: 0 }.encode();
    let length = u8::try_from(NOTE_LENGTH).unwrap_or(u8::MAX);
    let numbers = SYNCED_FIELDS + 8;
    [LOG_DATA, length].into_iter().chain(note.into_iter().take(NOTE_LENGTH - numbers)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_bytes::encode;

    #[test]
    fn reads_what_rocksdb_writes() {
        // The first record of a log that RocksDB wrote: a batch with sequence 1, count 1, put "k" =
        // "v" in the default family.
        let payload =
            hex("0100000000000000" /* sequence */, "01000000" /* count */, "01016b0176");
        let bytes = encode(1, None, &payload);
        assert_eq!(
            fragment(&bytes, 4),
            Fragment::Good { part: Part::Full, payload: &payload, length: bytes.len() }
        );
        assert_eq!(sequences(&payload), Some((1, 2)));
    }

    fn hex(a: &str, b: &str, c: &str) -> Vec<u8> {
        let text = [a, b, c].concat();
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    #[test]
    fn a_note_is_the_end_of_a_batch_and_has_the_tag() {
        let note = SyncedNote { tag: [7; 16], before: 20, synced: 10, log: 4 };
        let batch = [&b"whatever"[..], &[3, 41], &note.encode()].concat();
        assert_eq!(super::note(&batch, &[7; 16]), Some(note));
        assert_eq!(super::note(&batch[8..], &[7; 16]), Some(note), "its record alone is enough");
        assert_eq!(super::note(&batch, &[8; 16]), None, "another directory's");
        assert_eq!(super::note(&batch[..batch.len() - 1], &[7; 16]), None);
        assert_eq!(super::note(&[&batch[..], &[0]].concat(), &[7; 16]), None);
        assert_eq!(super::note(&batch[9..], &[7; 16]), None);
    }

    #[test]
    fn a_part_of_a_note_says_what_it_holds() {
        let note = SyncedNote { tag: [7; 16], before: 20, synced: 10, log: 4 };
        let batch = [&b"whatever"[..], &[3, 41], &note.encode()].concat();
        for at in 0..=batch.len() {
            let (begin, end) = batch.split_at(at);
            let left = batch.len() - at;
            // The first part needs all but the log, and is no part if nothing is lost.
            let expected = (1..=8).contains(&left).then_some(SyncedWrite { write: 10, log: None });
            assert_eq!(note_begin(begin, &[7; 16]), expected, "cut at {at}");
            assert_eq!(note_begin(begin, &[8; 16]), None, "another directory's, cut at {at}");
            // The last part needs the last two numbers.
            let expected = (left >= 16).then_some(SyncedWrite { write: 10, log: Some(4) });
            assert_eq!(note_end(end, &[7; 16]), expected, "cut at {at}");
            // Another directory's note is refused if any of its tag is there.
            assert_eq!(note_end(end, &[8; 16]).is_some(), (16..=24).contains(&left), "cut at {at}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = encode(5, Some(9), b"payload of some length");
        for at in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(matches!(fragment(&bytes, 9), Fragment::Bad(_)), "bit {at}");
        }
        assert!(matches!(
            fragment(&good, 9),
            Fragment::Good { part: Part::Full, payload: b"payload of some length", .. }
        ));
        assert_eq!(fragment(&good, 10), Fragment::Stale, "the file's earlier life");
        assert_eq!(fragment(&[0; 20], 9), Fragment::Blank);
        assert!(matches!(fragment(&good[..good.len() - 1], 9), Fragment::Bad(_)));
        assert!(matches!(fragment(&[], 9), Fragment::Bad(_)));
    }
}
