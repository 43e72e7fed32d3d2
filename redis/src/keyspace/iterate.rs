//! Walking over the rows of one collection, forwards or backwards, from any point.
//!
//! ```text
//! Subkeys   family subkey      prefix · subkey          → value     fields, members, elements
//! Scores    family zset_score  prefix · score · member  → (empty)   members in order of score
//! ```
//!
//! Both read rows as they are asked for, never ahead, and see the state of the [`super::View`] that
//! made them.

use bytes::Bytes;
use neokv_encoding::DecodeError;
use neokv_encoding::double;
use neokv_encoding::family::Family;
use neokv_encoding::key::prefix_end;
use neokv_engine::{Cursor, Direction, KeyRange, Read};

use super::Collection;
use crate::error::CommandError;

/// A row of the score index ends inside its score.
const NO_SCORE: DecodeError =
    DecodeError::Invalid { what: "score index", why: "a row begins with eight bytes of score" };

/// A subkey and its value.
pub type RowRef<'r> = (&'r [u8], &'r [u8]);

/// The subkeys of a collection in byte order, with their values.
pub struct Subkeys<'a> {
    cursor: Cursor<'a>,
    prefix: Vec<u8>,
}

impl<'a> Subkeys<'a> {
    /// Walks over the subkeys from `start` (included; forwards) or below `end` (excluded;
    /// backwards). `None` is the respective end of the collection.
    pub(super) fn new(
        read: &'a dyn Read,
        collection: &Collection,
        start: Option<&[u8]>,
        end: Option<&[u8]>,
        direction: Direction,
    ) -> Result<Subkeys<'a>, CommandError> {
        let prefix = collection.prefix.clone();
        let start = start.map_or_else(|| prefix.clone(), |start| collection.row(start));
        let end = end.map_or_else(|| prefix_end(&prefix), |end| collection.row(end));
        let cursor = read.cursor(Family::Subkey, KeyRange::new(start, end), direction)?;
        Ok(Subkeys { cursor, prefix })
    }

    /// The next subkey and its value, borrowed until the following call.
    pub fn next_ref(&mut self) -> Result<Option<RowRef<'_>>, CommandError> {
        let skip = self.prefix.len();
        Ok(self.cursor.next()?.map(|(key, value)| (key.get(skip..).unwrap_or_default(), value)))
    }

    /// The next subkey and its value.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that can fail is not an Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, CommandError> {
        let row = self.next_ref()?;
        Ok(row
            .map(|(subkey, value)| (Bytes::copy_from_slice(subkey), Bytes::copy_from_slice(value))))
    }

    /// Moves to `subkey`: the following `next` returns it, or the nearest one after it (backwards:
    /// before it).
    pub fn seek(&mut self, subkey: &[u8]) -> Result<(), CommandError> {
        let mut target = Vec::with_capacity(self.prefix.len() + subkey.len());
        target.extend_from_slice(&self.prefix);
        target.extend_from_slice(subkey);
        Ok(self.cursor.seek(&target)?)
    }
}

/// A stretch of the score index, as raw bytes below the collection's prefix: `encoded score ·
/// member`.
///
/// The bounds are byte strings, so one type serves ranges by score, by member (all members having
/// one score) and from a known element on. Members sort by their bytes within one score.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScoreSpan {
    /// The first position, included; empty: from the lowest score.
    pub start: Vec<u8>,
    /// The position after the last, excluded; `None`: through the highest score.
    pub end: Option<Vec<u8>>,
}

impl ScoreSpan {
    /// The whole index.
    pub fn all() -> ScoreSpan {
        ScoreSpan::default()
    }

    /// The position of a member, or, with an empty member, the position just before every member of
    /// that score.
    pub fn position(score: f64, member: &[u8]) -> Vec<u8> {
        let mut position = Vec::with_capacity(member.len() + 8);
        position.extend_from_slice(&double::encode_key(score));
        position.extend_from_slice(member);
        position
    }

    /// The position just after every member of that score; `None` if no score is higher.
    pub fn after(score: f64) -> Option<Vec<u8>> {
        double::key_after(score).map(|after| after.to_vec())
    }
}

/// The members of a sorted set by score, then by their bytes.
pub struct Scores<'a> {
    cursor: Cursor<'a>,
    prefix: Vec<u8>,
}

impl<'a> Scores<'a> {
    /// Walks over a stretch of the score index.
    pub(super) fn new(
        read: &'a dyn Read,
        collection: &Collection,
        span: &ScoreSpan,
        direction: Direction,
    ) -> Result<Scores<'a>, CommandError> {
        let prefix = collection.prefix.clone();
        let end = span.end.as_ref().map_or_else(|| prefix_end(&prefix), |end| collection.row(end));
        let range = KeyRange::new(collection.row(&span.start), end);
        Ok(Scores { cursor: read.cursor(Family::ZsetScore, range, direction)?, prefix })
    }

    /// The next score and member, borrowed until the following call.
    pub fn next_ref(&mut self) -> Result<Option<(f64, &[u8])>, CommandError> {
        let Some((key, _)) = self.cursor.next()? else { return Ok(None) };
        // A row that is too short must not look like the end of the index.
        let position = key.get(self.prefix.len()..).and_then(|row| row.split_first_chunk::<8>());
        let (score, member) = position.ok_or(NO_SCORE)?;
        Ok(Some((double::decode_key(*score), member)))
    }

    /// The next score and member.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator that can fail is not an Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<(f64, Bytes)>, CommandError> {
        Ok(self.next_ref()?.map(|(score, member)| (score, Bytes::copy_from_slice(member))))
    }

    /// Moves to a position of the index (see [`ScoreSpan::position`]).
    pub fn seek(&mut self, position: &[u8]) -> Result<(), CommandError> {
        let mut target = Vec::with_capacity(self.prefix.len() + position.len());
        target.extend_from_slice(&self.prefix);
        target.extend_from_slice(position);
        Ok(self.cursor.seek(&target)?)
    }
}
