//! Many strings as one value.

use bytes::{BufMut, BytesMut};

use super::put_bulk;

/// Bytes reserved for each expected string.
const RESERVED_BYTES: usize = 64;

/// For so many expected strings memory is reserved.
const RESERVED_STRINGS: usize = 1024;

/// Strings one behind the other, encoded as they are added.
///
/// A string is spelled the same in both versions of the protocol; only the header before all of
/// them differs. So a reply of a thousand strings need not hold a thousand values until it is
/// written: it holds their bytes.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bulks {
    encoded: BytesMut,
    count: usize,
}

impl Bulks {
    /// None yet.
    #[must_use]
    pub fn new() -> Bulks {
        Bulks::default()
    }

    /// None yet, with memory reserved for so many of an ordinary size. The number may come from a
    /// header that is wrong, so what is reserved is limited; it grows with what is added.
    #[must_use]
    pub fn expecting(count: u64) -> Bulks {
        let strings = usize::try_from(count).unwrap_or(usize::MAX).min(RESERVED_STRINGS);
        Bulks { encoded: BytesMut::with_capacity(strings * RESERVED_BYTES), count: 0 }
    }

    /// Adds a string.
    pub fn push(&mut self, value: &[u8]) {
        put_bulk(value, &mut self.encoded);
        self.count += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Bytes that they take, in memory and in the reply.
    #[must_use]
    pub fn size(&self) -> usize {
        self.encoded.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.encoded;
        std::iter::from_fn(move || {
            let end = rest.iter().position(|byte| *byte == b'\r')?;
            let length = std::str::from_utf8(rest.get(1..end)?).ok()?.parse::<usize>().ok()?;
            let value = rest.get(end.checked_add(2)?..)?.get(..length)?;
            rest = rest.get(end.checked_add(length)?.checked_add(4)?..)?;
            Some(value)
        })
    }

    /// Appends all strings to `out`, without a header.
    pub(super) fn write(&self, out: &mut BytesMut) {
        out.put_slice(&self.encoded);
    }
}

impl std::fmt::Debug for Bulks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|value| value.escape_ascii().to_string())).finish()
    }
}

impl<'a> Extend<&'a [u8]> for Bulks {
    fn extend<I: IntoIterator<Item = &'a [u8]>>(&mut self, values: I) {
        for value in values {
            self.push(value);
        }
    }
}
