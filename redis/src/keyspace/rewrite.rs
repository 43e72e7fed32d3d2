//! What is left of a collection of which a command deletes most: written again under a new version.
//!
//! A deleted row leaves a tombstone, which stays until compaction reaches it. Whoever walks over
//! the collection before that passes over every one of them:
//!
//! ```text
//! ZREMRANGEBYRANK z 0 199499     of 200,000: two deletes for each, and 500 members are left
//! ZRANGE z 0 10                  passes over 199,500 tombstones to read eleven rows
//! ```
//!
//! So a command that deletes many rows deletes none of them. It writes the few others again, under
//! its own version, and the header names that version from then on:
//!
//! ```text
//!              z 8 (200,000 rows)                     header: version 8, size 200000
//! 500 puts     z 8 (orphans)      z 93 (500 rows)     header: version 93, size 500
//! ```
//!
//! The old rows are orphans at once, like those of a deleted collection: no read meets them, and
//! the compaction filter drops them. A command that leaves nothing deletes the header alone.
//!
//! **When.** At least [`LEAST`] rows are deleted, and at most twice as many are left; of a list, at
//! most as many, because no walk over a list comes by a position outside of it. What is written
//! weighs at most twice what the deletes would have (for a list, as much), as the entry's meter
//! counts it, and fits into what the command may still write. So the costs stay in proportion to
//! what is deleted, and no command fails that could have deleted its rows. A few long values may be
//! too much; then, as in all other cases, the rows are deleted one by one.
//!
//! **What remains.** A command that deletes fewer rows leaves tombstones, and so do a thousand
//! commands that delete one row each: a queue of ZADD and ZPOPMIN walks over those in front of its
//! first member until they are compacted away. Passing over one costs about as much as reading a
//! row.
//!
//! The version is that of the command, as for a new collection: no row of this key ever had it.
//! Should the collection have it already, because this very command has created it, its rows are
//! deleted one by one. Cursors of HSCAN, SSCAN and ZSCAN go on across a rewriting: they name the
//! subkey where they go on, and none of the survivors has changed its own.

use bytes::Bytes;
use neokv_encoding::double;
use neokv_encoding::metadata::{self, DataType};
use neokv_engine::Direction;

use super::{Collection, Tx};
use crate::error::CommandError;

/// With fewer deleted rows, it is not worth the while.
const LEAST: u64 = 1024;
/// What a row counts as in the entry's meter, besides key and value.
const ROW: u64 = 128;
/// Bytes of a score in the key of a row.
const SCORE: u64 = 8;

/// The elements that a command leaves, gathered to be written again. From [`Tx::survivors`].
pub struct Survivors {
    rows: Vec<(Bytes, Vec<u8>)>,
    /// What a row of no length counts as, in all of its families.
    row: u64,
    /// How often a subkey is stored.
    copies: u64,
    /// What may still be added.
    bytes: u64,
}

impl Survivors {
    /// Adds an element, which must be gathered in the order of the subkeys or of the scores.
    /// Returns whether it was not too much.
    #[must_use]
    pub fn add(&mut self, subkey: &[u8], value: &[u8]) -> bool {
        // No memory holds so much that the sum would overflow.
        let bytes = self.row + self.copies * length(subkey) + length(value);
        let fits = bytes <= self.bytes;
        if fits {
            self.bytes -= bytes;
            self.rows.push((Bytes::copy_from_slice(subkey), value.to_vec()));
        }
        fits
    }

    /// Number of elements.
    pub fn count(&self) -> u64 {
        u64::try_from(self.rows.len()).unwrap_or(u64::MAX)
    }
}

/// Length in bytes.
fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX / 4)
}

impl Tx<'_> {
    /// Where a command that deletes `removed` elements of a collection gathers the others; `None`
    /// if it had better delete them one by one.
    pub fn survivors(&self, c: &Collection, removed: u64) -> Option<Survivors> {
        let factor = if c.meta.kind == DataType::List { 1 } else { 2 };
        let most = removed.checked_mul(factor)?;
        let kept = c.size().saturating_sub(removed);
        if removed < LEAST || kept > most || c.meta.version == self.version() {
            return None;
        }
        let (copies, row) = match c.meta.kind {
            DataType::Zset => (2, 2 * (length(c.prefix()) + ROW) + SCORE),
            _ => (1, length(c.prefix()) + ROW),
        };
        // The header is written too.
        let left = self.left().saturating_sub(2 * row);
        let bytes = row.checked_mul(most)?.min(left);
        Some(Survivors { rows: Vec::new(), row, copies, bytes })
    }

    /// Makes a collection consist of these elements alone. The caller saves it, of a list after it
    /// has said where they are.
    pub fn rewrite(
        &mut self,
        c: &mut Collection,
        survivors: Survivors,
    ) -> Result<(), CommandError> {
        let size = survivors.count();
        let meta = metadata::Collection { version: self.version(), size, ..c.meta };
        *c = Collection::new(c.key.clone(), meta, c.stored, false);
        for (subkey, value) in survivors.rows {
            if c.meta.kind == DataType::Zset {
                self.put_score(c, double::decode_value(&value)?, &subkey)?;
            }
            self.put_part(c, &subkey, value)?;
        }
        Ok(())
    }

    /// Removes these subkeys, as far as they exist, if it is best done by writing the others again.
    /// Returns how many existed; a repeated one counts once. `None`: nothing is done. The caller
    /// saves the collection.
    ///
    /// Passes over the collection once, in place of a look-up for each subkey.
    pub fn remove_most(
        &mut self,
        c: &mut Collection,
        subkeys: &[Bytes],
    ) -> Result<Option<u64>, CommandError> {
        let named = u64::try_from(subkeys.len()).unwrap_or(u64::MAX);
        let Some(mut survivors) = self.survivors(c, named) else { return Ok(None) };
        let mut gone: Vec<&Bytes> = subkeys.iter().collect();
        gone.sort_unstable();
        let (mut gone, mut removed) = (gone.into_iter().peekable(), 0u64);
        let mut rows = self.view().subkeys(c, Direction::Forward)?;
        while let Some((subkey, value)) = rows.next_ref()? {
            while gone.next_if(|gone| gone[..] < *subkey).is_some() {}
            if gone.peek().is_some_and(|gone| gone[..] == *subkey) {
                removed += 1;
            } else if !survivors.add(subkey, value) {
                return Ok(None);
            }
        }
        drop(rows);
        // Many of those that were named may not exist.
        if self.survivors(c, removed).is_none() {
            return Ok(None);
        }
        self.rewrite(c, survivors)?;
        Ok(Some(removed))
    }
}

#[cfg(test)]
mod tests;
