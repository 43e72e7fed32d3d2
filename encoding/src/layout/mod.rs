//! How a format is written down once and used twice.
//!
//! Each format has one `read` function over a [`Reader`]. The server runs it with the trace
//! [`Off`], which compiles to plain slicing. [`crate::explain`] runs the *same* function with a
//! trace that notes the range, name and meaning of every field on the way. So an explanation cannot
//! drift from what the server does: there is no second description of the bytes.
//!
//! ```text
//! fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<ExpireKey> {
//!     // Off: reads two bytes. On: notes the span 0..2 "slot" and its reason as well.
//!     let slot = r.u16(SLOT)?;
//!     let expire_ms = r.u64(EXPIRE_MS)?;
//!     ...
//! }
//! ```
//!
//! A [`Field`] tells a person about one field. Its `evidence` says how many bits a value adds for
//! this format (a version byte of 1 adds 6, a plausible date 20); [`crate::explain::guess`] adds
//! them up. What formats share of this is in [`evidence`] and [`show`].

pub(crate) mod evidence;
pub(crate) mod show;

use crate::error::DecodeError;

/// Where terms, indexes, epochs and clocks end. None gets near it by counting, so a greater one is
/// damage, and whoever adds to one that was read does not run over.
pub(crate) const COUNTER_LIMIT: u64 = 1 << 63;

/// Result of reading a field or a format.
pub(crate) type Result<T> = std::result::Result<T, DecodeError>;

/// What is known about one field of a format.
#[derive(Debug)]
pub(crate) struct Field {
    /// Name as errors and explanations print it.
    pub name: &'static str,
    /// Why the field is there, or why it is encoded this way.
    pub why: &'static str,
    /// Prints a number of this field.
    pub show: fn(u64) -> String,
    /// Evidence in bits that this number adds for the format.
    pub evidence: fn(u64) -> i32,
    /// Prost message that the bytes of this field hold, by its name in `proto/neokv.proto`.
    pub message: Option<&'static str>,
}

impl Field {
    /// A field that prints as a decimal number or as escaped bytes, and adds no evidence.
    pub const fn new(name: &'static str, why: &'static str) -> Field {
        Field { name, why, show: decimal, evidence: nothing, message: None }
    }

    /// Prints numbers with `show` instead.
    pub const fn show(self, show: fn(u64) -> String) -> Field {
        Field { show, ..self }
    }

    /// Takes the evidence of numbers from `evidence` instead.
    pub const fn evidence(self, evidence: fn(u64) -> i32) -> Field {
        Field { evidence, ..self }
    }

    /// Says which message the bytes hold.
    pub const fn message(self, name: &'static str) -> Field {
        Field { message: Some(name), ..self }
    }
}

fn decimal(value: u64) -> String {
    value.to_string()
}

fn nothing(_: u64) -> i32 {
    0
}

/// A field's content, as handed to the trace.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content<'a> {
    /// An unsigned number of one to eight bytes.
    Number(u64),
    /// Raw bytes.
    Bytes(&'a [u8]),
}

/// Is told by a [`Reader`] what it reads. Positions are byte offsets from the reader's start.
pub(crate) trait Trace {
    /// A field was read; it ends at `end` and is `len` bytes long.
    fn leaf(&mut self, field: &'static Field, end: usize, len: usize, content: Content<'_>);
    /// A field of `need` bytes was wanted and only `left` are there, to the end of the bytes at
    /// `end`; nothing more is read.
    fn missing(&mut self, field: &'static Field, end: usize, need: usize, left: &[u8]);
    /// A group of fields begins.
    fn open(&mut self, field: &'static Field, at: usize);
    /// The group that was opened last ends.
    fn close(&mut self, at: usize);
}

/// The trace of the server: it does nothing, and compiles to nothing.
pub(crate) struct Off;

impl Trace for Off {
    fn leaf(&mut self, _: &'static Field, _: usize, _: usize, _: Content<'_>) {}
    fn missing(&mut self, _: &'static Field, _: usize, _: usize, _: &[u8]) {}
    fn open(&mut self, _: &'static Field, _: usize) {}
    fn close(&mut self, _: usize) {}
}

/// Reads fields from the front of borrowed bytes. Invariant: `rest` is a suffix of the `total`
/// bytes it started with.
pub(crate) struct Reader<'a, T> {
    rest: &'a [u8],
    total: usize,
    trace: T,
}

/// Reads one whole format with the server's trace: `read`, and then nothing may be left.
pub(crate) fn decode<'a, X>(
    bytes: &'a [u8],
    what: &'static str,
    read: impl FnOnce(&mut Reader<'a, Off>) -> Result<X>,
) -> Result<X> {
    let mut reader = Reader::new(bytes, Off);
    let value = read(&mut reader)?;
    reader.finish(what)?;
    Ok(value)
}

macro_rules! number {
    ($name:ident, $type:ty, $bytes:literal) => {
        /// Reads a big-endian number.
        #[inline]
        pub fn $name(&mut self, field: &'static Field) -> Result<$type> {
            let Some((head, tail)) = self.rest.split_first_chunk::<$bytes>() else {
                return Err(self.truncated(field, $bytes));
            };
            let value = <$type>::from_be_bytes(*head);
            self.rest = tail;
            self.trace.leaf(
                field,
                self.total - tail.len(),
                $bytes,
                Content::Number(u64::from(value)),
            );
            Ok(value)
        }
    };
}

impl<'a, T: Trace> Reader<'a, T> {
    /// Starts at the front of `bytes`.
    pub fn new(bytes: &'a [u8], trace: T) -> Self {
        Reader { rest: bytes, total: bytes.len(), trace }
    }

    number!(u8, u8, 1);
    number!(u16, u16, 2);
    number!(u32, u32, 4);
    number!(u64, u64, 8);

    /// Reads a number that grows by small steps, so that what follows it can be computed: it is
    /// below [`COUNTER_LIMIT`].
    #[inline]
    pub fn counter(&mut self, field: &'static Field) -> Result<u64> {
        let value = self.u64(field)?;
        if value < COUNTER_LIMIT {
            return Ok(value);
        }
        Err(DecodeError::Invalid { what: field.name, why: "no counter grows to 2^63" })
    }

    /// Reads `len` raw bytes.
    #[inline]
    pub fn bytes(&mut self, field: &'static Field, len: usize) -> Result<&'a [u8]> {
        let Some((head, tail)) = self.rest.split_at_checked(len) else {
            return Err(self.truncated(field, len));
        };
        self.rest = tail;
        self.trace.leaf(field, self.total - tail.len(), len, Content::Bytes(head));
        Ok(head)
    }

    /// Reads everything that is left as raw bytes.
    #[inline]
    pub fn rest(&mut self, field: &'static Field) -> &'a [u8] {
        let head = std::mem::take(&mut self.rest);
        self.trace.leaf(field, self.total, head.len(), Content::Bytes(head));
        head
    }

    /// Reads a tag byte that `known` translates.
    #[inline]
    pub fn tag<X>(
        &mut self,
        field: &'static Field,
        known: impl FnOnce(u8) -> Option<X>,
    ) -> Result<X> {
        let value = self.u8(field)?;
        known(value).ok_or(DecodeError::Unknown { what: field.name, value: u64::from(value) })
    }

    /// Reads fields that belong together.
    pub fn group<X>(
        &mut self,
        field: &'static Field,
        read: impl FnOnce(&mut Self) -> Result<X>,
    ) -> Result<X> {
        self.trace.open(field, self.position());
        let result = read(self);
        self.trace.close(self.position());
        result
    }

    /// The bytes not yet read, which stay unread.
    #[inline]
    pub fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// Number of bytes not yet read.
    #[inline]
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// The format ends here: refuses bytes left over.
    #[inline]
    pub fn finish(&self, what: &'static str) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing { what, bytes: self.rest.len() })
        }
    }

    /// Gives the trace and the bytes that were not read.
    pub fn into_parts(self) -> (T, &'a [u8]) {
        (self.trace, self.rest)
    }

    fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    #[cold]
    fn truncated(&mut self, field: &'static Field, need: usize) -> DecodeError {
        let left = std::mem::take(&mut self.rest);
        self.trace.missing(field, self.total, need, left);
        DecodeError::Truncated { what: field.name, need, have: left.len() }
    }
}
