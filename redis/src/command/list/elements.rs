//! The rows of a list: which position an index is, reading runs of elements, and moving them.

use std::ops::Range;

use bytes::Bytes;
use neokv_encoding::DecodeError;
use neokv_encoding::key::list_subkey;
use neokv_engine::Direction;

use super::End;
use crate::error::CommandError;
use crate::keyspace::range::from_either_end;
use crate::keyspace::{Collection, Subkeys, Tx, View};

/// How many elements are read before they are written elsewhere, when a run of them moves.
const MOVED_AT_ONCE: u64 = 256;
/// After so many bytes of them, fewer are.
const MOVED_BYTES: usize = 1 << 20;

/// How many elements are read ahead of an end that elements are removed from.
const AHEAD: u64 = 64;
/// Fewer, if they have so many bytes.
const AHEAD_BYTES: usize = 64 << 10;
/// Beside an element whose row has more bytes nothing is read ahead.
const AHEAD_ROW: usize = 1 << 10;

/// The position of the element that `index` names, -1 being the last one.
pub fn position(list: &Collection, index: i64) -> Option<u64> {
    let offset = from_either_end(index, list.size()).filter(|offset| *offset < list.size())?;
    list.meta.head.checked_add(offset)
}

/// The position next to `position` in the direction of `end`. Lists start in the middle of all
/// positions, so they only run out after 2^63 pushes to one end.
pub fn next_toward(end: End, position: u64) -> Result<u64, CommandError> {
    let next = match end {
        End::Left => position.checked_sub(1),
        End::Right => position.checked_add(1),
    };
    next.ok_or_else(|| {
        CommandError::custom(
            "ERR the list has no positions left at this end, copy it to another key",
        )
    })
}

/// The element at a position inside the list.
pub fn get(view: View<'_>, list: &Collection, position: u64) -> Result<Bytes, CommandError> {
    view.subkey(list, &list_subkey(position))?.ok_or_else(hole)
}

/// The element at one end of a list, from which it is about to be removed. Unless memory has it,
/// those next to it are read too: whoever works off a long list comes for them next.
pub fn get_end(view: View<'_>, list: &Collection, position: u64) -> Result<Bytes, CommandError> {
    let (mut found, subkey) = (None, list_subkey(position));
    let mut copy = |element: &[u8]| found = Some(Bytes::copy_from_slice(element));
    if view.subkeys_cached(list, std::iter::once(subkey), &mut copy)?
        && let Some(element) = found
    {
        return Ok(element);
    }
    let element = get(view, list, position)?;
    if list.prefix_len() + element.len() <= AHEAD_ROW {
        // What the command does must not depend on what is in memory: what fails here fails again
        // for whoever asks for that element.
        let _ = read_ahead(view, list, position);
    }
    Ok(element)
}

/// Brings the elements next to the one at an end into memory.
fn read_ahead(view: View<'_>, list: &Collection, position: u64) -> Result<(), CommandError> {
    let (head, tail) = (list.meta.head, list.meta.tail);
    let next = match position == head {
        true => position + 1..tail.min(position.saturating_add(AHEAD)),
        false => head.max(position.saturating_sub(AHEAD))..position,
    };
    if next.is_empty() {
        return Ok(());
    }
    let mut cursor = ElementCursor::new(view, list, next, End::Left)?;
    let mut bytes = 0;
    while bytes < AHEAD_BYTES
        && let Some((position, element)) = cursor.next()?
    {
        bytes += element.len();
        view.keep_subkey(list, &list_subkey(position), element);
    }
    Ok(())
}

/// Writes the element at a position.
pub fn put(
    tx: &mut Tx<'_>,
    list: &Collection,
    position: u64,
    element: &[u8],
) -> Result<(), CommandError> {
    tx.put_subkey(list, &list_subkey(position), element)
}

/// Deletes the rows at these positions.
pub fn delete(
    tx: &mut Tx<'_>,
    list: &Collection,
    mut positions: Range<u64>,
) -> Result<(), CommandError> {
    positions.try_for_each(|position| tx.delete_subkey(list, &list_subkey(position)))
}

/// Makes a list consist of the elements at the positions `kept`. The caller saves it.
pub fn keep(tx: &mut Tx<'_>, list: &mut Collection, kept: Range<u64>) -> Result<(), CommandError> {
    let (head, tail) = (list.meta.head, list.meta.tail);
    // A list that becomes empty is deleted, and its rows with it.
    if !kept.is_empty() && !rewrite(tx, list, kept.clone(), &[])? {
        delete(tx, list, head..kept.start)?;
        delete(tx, list, kept.end..tail)?;
    }
    place(list, kept.start, kept.end);
    Ok(())
}

/// Writes the elements at the positions `kept` again under a new version, except for those at the
/// positions `gone` (in ascending order), so that they stand side by side, the first one at the
/// first of the positions. False: that is not the best way, and nothing is done. The caller says
/// where the list then lies.
pub fn rewrite(
    tx: &mut Tx<'_>,
    list: &mut Collection,
    kept: Range<u64>,
    gone: &[u64],
) -> Result<bool, CommandError> {
    let left = (kept.end - kept.start).checked_sub(u64::try_from(gone.len()).unwrap_or(u64::MAX));
    let removed = left.and_then(|left| list.size().checked_sub(left)).unwrap_or(0);
    let Some(mut survivors) = tx.survivors(list, removed) else { return Ok(false) };
    let mut to = kept.start;
    let mut gone = gone.iter().peekable();
    let mut cursor = ElementCursor::new(tx.view(), list, kept, End::Left)?;
    while let Some((position, element)) = cursor.next()? {
        if gone.next_if_eq(&&position).is_some() {
            continue;
        }
        if !survivors.add(&list_subkey(to), element) {
            return Ok(false);
        }
        to += 1;
    }
    drop(cursor);
    tx.rewrite(list, survivors)?;
    Ok(true)
}

/// Notes where the list now lies. The caller takes care of its rows.
pub fn place(list: &mut Collection, head: u64, tail: u64) {
    list.meta.head = head;
    list.meta.tail = tail;
    list.meta.size = tail - head;
}

fn hole() -> CommandError {
    CommandError::Damaged(DecodeError::Invalid {
        what: "list",
        why: "an element between head and tail is missing",
    })
}

/// Elements of a run of positions, one by one, from one of its ends to the other. Seeks once and
/// reads no other row.
pub struct ElementCursor<'a> {
    rows: Subkeys<'a>,
    left: Range<u64>,
    from: End,
}

impl<'a> ElementCursor<'a> {
    /// Walks `positions`, which must lie inside the list, starting at their end `from`.
    pub fn new(
        view: View<'a>,
        list: &Collection,
        positions: Range<u64>,
        from: End,
    ) -> Result<ElementCursor<'a>, CommandError> {
        let direction = match from {
            End::Left => Direction::Forward,
            End::Right => Direction::Reverse,
        };
        let (start, end) = (list_subkey(positions.start), list_subkey(positions.end));
        let rows = view.subkeys_between(list, &start, &end, direction)?;
        Ok(ElementCursor { rows, left: positions, from })
    }

    /// The next position and its element, borrowed until the following call.
    pub fn next(&mut self) -> Result<Option<(u64, &[u8])>, CommandError> {
        let expected = match self.from {
            End::Left => self.left.next(),
            End::Right => self.left.next_back(),
        };
        let Some(position) = expected else { return Ok(None) };
        match self.rows.next_ref()? {
            Some((subkey, element)) if subkey == list_subkey(position) => {
                Ok(Some((position, element)))
            }
            _ => Err(hole()),
        }
    }
}

/// All elements of a run of positions, in order, beginning at its end `from`.
pub fn read(
    view: View<'_>,
    list: &Collection,
    positions: Range<u64>,
    from: End,
) -> Result<Vec<Bytes>, CommandError> {
    let (mut elements, mut limit) = (Vec::new(), view.reply_limit());
    if !positions.is_empty() {
        let mut cursor = ElementCursor::new(view, list, positions, from)?;
        while let Some((_, element)) = cursor.next()? {
            limit.add(element.len())?;
            elements.push(Bytes::copy_from_slice(element));
        }
    }
    Ok(elements)
}

/// Moves the elements of `from`, leaving out those at the positions `gone` (in ascending order), so
/// that they stand side by side again: the first one at `to` if they move to the left, the last one
/// right before `to` if they move to the right. Returns where the free space beyond the moved run
/// begins.
///
/// ```text
/// pack(from 3..7, gone [5], Left, to 2)     . . _ d e x g . .   →   . . d e g | . .    returns 5
/// pack(from 3..7, gone [5], Right, to 8)    . . . d e x g _ .   →   . . . . . | d e g  returns 5
/// ```
pub fn pack(
    tx: &mut Tx<'_>,
    list: &Collection,
    from: Range<u64>,
    gone: &[u64],
    toward: End,
    to: u64,
) -> Result<u64, CommandError> {
    let (mut left, mut to) = (from, to);
    while !left.is_empty() {
        // What is written now has been read before, here or in an earlier round: elements move
        // toward the side that they are read from.
        let (mut moved, mut bytes) = (Vec::new(), 0usize);
        let mut cursor = ElementCursor::new(tx.view(), list, next_run(&left, toward), toward)?;
        while bytes < MOVED_BYTES
            && let Some((position, element)) = cursor.next()?
        {
            match toward {
                End::Left => left.start = position + 1,
                End::Right => left.end = position,
            }
            if gone.binary_search(&position).is_err() {
                bytes += element.len();
                moved.push(Bytes::copy_from_slice(element));
            }
        }
        drop(cursor);
        for element in moved {
            match toward {
                End::Left => {
                    put(tx, list, to, &element)?;
                    to = next_toward(End::Right, to)?;
                }
                End::Right => {
                    to = next_toward(End::Left, to)?;
                    put(tx, list, to, &element)?;
                }
            }
        }
    }
    Ok(to)
}

/// The positions that are moved next: those at the end `from` of what is left.
fn next_run(left: &Range<u64>, from: End) -> Range<u64> {
    let length = (left.end - left.start).min(MOVED_AT_ONCE);
    match from {
        End::Left => left.start..left.start + length,
        End::Right => left.end - length..left.end,
    }
}
