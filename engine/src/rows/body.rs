//! The bytes of a row: its key and its value, in as little memory as they need.
//!
//! ```text
//! short   one allocation:   key … │ value … │ length of the key, 1 byte
//! long    one allocation, which readers share:   key … │ value …
//! ```
//!
//! Most rows are short, and there are millions of them, so nothing else is kept beside their bytes.
//! A reader copies what it finds. A long row is not copied: its readers hold it.

use std::ops::Deref;
use std::sync::Arc;

use smallvec::SmallVec;

/// The longest short row, in bytes of key and value.
const SHORT: usize = 1 << 10;

/// What an allocator adds to the bytes of an allocation, about.
const ALLOCATION: usize = 8;

/// See the module.
#[derive(Debug)]
pub(crate) enum Body {
    Short(Box<[u8]>),
    Long(Box<Long>),
}

/// The bytes of a long row.
#[derive(Clone, Debug)]
pub(crate) struct Long {
    bytes: Arc<[u8]>,
    /// Where the value begins.
    start: usize,
}

impl Body {
    pub(crate) fn new(key: &[u8], value: &[u8]) -> Body {
        let len = key.len() + value.len();
        let mut bytes = Vec::with_capacity(len + 1);
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        match u8::try_from(key.len()) {
            Ok(key_len) if len <= SHORT => {
                bytes.push(key_len);
                Body::Short(bytes.into_boxed_slice())
            }
            // Its key is too long for that byte, or all of it is long.
            _ => Body::Long(Box::new(Long { bytes: Arc::from(bytes), start: key.len() })),
        }
    }

    /// Key and value.
    #[inline]
    fn parts(&self) -> (&[u8], &[u8]) {
        let (bytes, start) = match self {
            Body::Short(bytes) => match bytes.split_last() {
                Some((start, bytes)) => (bytes, usize::from(*start)),
                None => unreachable!("the length of the key stands behind the bytes"),
            },
            Body::Long(long) => (&*long.bytes, long.start),
        };
        bytes.split_at_checked(start).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.parts().0
    }

    #[inline]
    pub(crate) fn value(&self) -> &[u8] {
        self.parts().1
    }

    /// Bytes of key and value.
    pub(crate) fn len(&self) -> usize {
        match self {
            Body::Short(bytes) => bytes.len() - 1,
            Body::Long(long) => long.bytes.len(),
        }
    }

    /// Bytes of memory that it takes, about.
    pub(crate) fn weight(&self) -> usize {
        let beside = match self {
            Body::Short(_) => 1,
            Body::Long(_) => size_of::<Long>() + ALLOCATION + 2 * size_of::<usize>(),
        };
        self.len() + beside + ALLOCATION
    }

    /// Key and value, for who goes on without the table's lock.
    #[inline]
    pub(crate) fn read(&self) -> Value {
        match self {
            Body::Short(_) => {
                let (key, value) = self.parts();
                let mut bytes = SmallVec::from_slice(key);
                bytes.extend_from_slice(value);
                Value { bytes: Bytes::Copied(bytes), start: key.len() }
            }
            Body::Long(long) => {
                Value { bytes: Bytes::Shared(Arc::clone(&long.bytes)), start: long.start }
            }
        }
    }

    /// Reads the first and the last byte.
    #[inline]
    pub(crate) fn touch(&self) -> u64 {
        let bytes = match self {
            Body::Short(bytes) => bytes,
            Body::Long(long) => &*long.bytes,
        };
        let byte = |byte: Option<&u8>| byte.copied().map_or(0, u64::from);
        byte(bytes.first()) + byte(bytes.last())
    }
}

/// A value that was found, with the key of its row.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    bytes: Bytes,
    /// Where the value begins.
    start: usize,
}

#[derive(Clone, Debug)]
enum Bytes {
    Copied(SmallVec<[u8; 128]>),
    Shared(Arc<[u8]>),
}

impl Value {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Copied(bytes) => bytes,
            Bytes::Shared(bytes) => bytes,
        }
    }

    /// The key of the row.
    pub(crate) fn key(&self) -> &[u8] {
        self.bytes().get(..self.start).unwrap_or_default()
    }
}

impl Deref for Value {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes().get(self.start..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The longest key of a short row.
    const SHORT_KEY: usize = 255;

    #[test]
    fn key_and_value_come_back_at_every_length() {
        for key in [0, 1, SHORT_KEY - 1, SHORT_KEY, SHORT_KEY + 1, SHORT + 1] {
            for value in [0, 1, SHORT - SHORT_KEY, SHORT, 3 * SHORT] {
                let (key, value) = (vec![b'k'; key], vec![b'v'; value]);
                let body = Body::new(&key, &value);
                let is_short = key.len() <= SHORT_KEY && key.len() + value.len() <= SHORT;
                assert_eq!(matches!(body, Body::Short(_)), is_short);
                assert_eq!((body.key(), body.value()), (&key[..], &value[..]));
                assert_eq!(body.len(), key.len() + value.len());
                let read = body.read();
                assert_eq!((read.key(), &*read), (&key[..], &value[..]));
            }
        }
    }

    #[test]
    fn a_long_row_is_not_copied_for_its_readers() {
        let body = Body::new(b"key", &[b'v'; SHORT]);
        assert!(std::ptr::eq(&raw const *body.read(), &raw const *body.value()));
    }

    #[test]
    fn a_short_row_takes_a_byte_beside_its_own() {
        assert_eq!(size_of::<Body>(), 2 * size_of::<usize>());
        assert!(matches!(Body::new(b"key", b"value"), Body::Short(bytes) if bytes.len() == 9));
    }
}
