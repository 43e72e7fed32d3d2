//! The file `NEOKV`, which marks a directory as a store.
//!
//! ```text
//! neokv store, format 2
//! log tag 5f0c6b...                 32 digits
//! ```
//!
//! It is read before RocksDB is asked, so that no other release's RocksDB touches the directory. It
//! is text: a person who finds the directory can read it. The first line is the same in every
//! format, what follows belongs to the format that it names.

use crate::{
    FORMAT_VERSION,
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace},
    synced::{TAG_LENGTH, Tag},
};

/// Name of the file.
pub const FILE_NAME: &str = "NEOKV";

/// Most bytes of a marker that have to be read: more than any release has written.
pub const LIMIT: u64 = 128;

const NAME_TEXT: &str = "neokv store, format ";
const TAG_TEXT: &str = "\nlog tag ";
/// A tag as text: two digits for each byte.
const TAG_DIGITS: usize = 2 * TAG_LENGTH;

const NAME: &Field = &Field::new("name", "what this directory is, for people too");
const FORMAT: &Field =
    &Field::new("format", "decimal; first in every format, so that a release can name it");
const TAG_NAME: &Field = &Field::new("tag name", "begins the second line");
const TAG: &Field =
    &Field::new("tag", "hexadecimal; the notes in the write-ahead log carry the same tag");
const END: &Field = &Field::new("line feed", "without it the file was not written whole");
const OTHER: &Field = &Field::new("rest", "belongs to a format that this release does not know");

/// What a marker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// The directory is a store of the format [`FORMAT_VERSION`].
    Current {
        /// Marks the notes in its write-ahead log ([`crate::synced`]).
        tag: Tag,
    },
    /// The directory is a store of another format.
    Other {
        /// Which one.
        format_version: u32,
    },
}

impl Marker {
    /// The inverse of [`encode`].
    ///
    /// # Errors
    /// Bytes that no release writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Marker, DecodeError> {
        layout::decode(bytes, "marker", read)
    }
}

/// The marker of a directory whose log has this tag.
pub fn encode(tag: Tag) -> String {
    format!("{NAME_TEXT}{FORMAT_VERSION}{TAG_TEXT}{:032x}\n", u128::from_be_bytes(tag))
}

pub(crate) fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<Marker> {
    read_text(r, NAME, NAME_TEXT)?;
    let digits = r.peek().iter().take_while(|byte| byte.is_ascii_digit()).count();
    let format_version = parse_format(r.bytes(FORMAT, digits)?)?;
    if format_version != FORMAT_VERSION {
        r.rest(OTHER);
        return Ok(Marker::Other { format_version });
    }
    read_text(r, TAG_NAME, TAG_TEXT)?;
    let tag = parse_tag(r.bytes(TAG, TAG_DIGITS)?)?;
    read_text(r, END, "\n")?;
    Ok(Marker::Current { tag })
}

/// Reads a text that stands in every marker.
fn read_text<T: Trace>(
    r: &mut Reader<'_, T>,
    field: &'static Field,
    text: &'static str,
) -> Result<()> {
    if r.bytes(field, text.len())? == text.as_bytes() {
        return Ok(());
    }
    Err(DecodeError::Invalid { what: field.name, why: "this text is the same in every marker" })
}

fn parse_format(digits: &[u8]) -> Result<u32> {
    let text = std::str::from_utf8(digits).ok();
    let number = text.and_then(|text| text.parse().ok().filter(|n: &u32| n.to_string() == text));
    let why = "a decimal number below 2^32 without leading zeros";
    number.ok_or(DecodeError::Invalid { what: FORMAT.name, why })
}

fn parse_tag(digits: &[u8]) -> Result<Tag> {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(is_digit));
    let tag = text.and_then(|text| u128::from_str_radix(text, 16).ok());
    let why = "32 hexadecimal digits, small letters";
    tag.map(u128::to_be_bytes).ok_or(DecodeError::Invalid { what: TAG.name, why })
}
