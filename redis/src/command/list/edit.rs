//! List commands that change what is inside: LSET, LINSERT, LREM, LTRIM.

use std::ops::Range;

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_resp::Reply;

use super::End;
use super::elements::{self, ElementCursor};
use crate::command::{Args, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::range::IndexRange;
use crate::keyspace::{Collection, Tx, View};
use crate::number;

/// `LSET key index element`
pub fn lset(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let list = tx.existing(args::get(args, 1)?, DataType::List)?.ok_or(CommandError::NoSuchKey)?;
    let index = number::integer(args::get(args, 2)?)?;
    let position = elements::position(&list, index).ok_or(CommandError::IndexOutOfRange)?;
    elements::put(tx, &list, position, args::get(args, 3)?)?;
    Ok(Reply::Ok)
}

/// `LINSERT key BEFORE|AFTER pivot element`
pub fn linsert(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let place = args::get(args, 2)?;
    let after = args::is(place, "AFTER");
    if !after && !args::is(place, "BEFORE") {
        return Err(CommandError::Syntax);
    }
    let Some(mut list) = tx.existing(args::get(args, 1)?, DataType::List)? else {
        return Ok(Reply::Integer(0));
    };
    let pivot = find(tx.view(), &list, args::get(args, 3)?, End::Left, 1)?;
    let Some(&pivot) = pivot.first() else { return Ok(Reply::Integer(-1)) };
    let position = open_gap(tx, &mut list, pivot + u64::from(after))?;
    elements::put(tx, &list, position, args::get(args, 4)?)?;
    let size = list.size();
    tx.save(list)?;
    Ok(Reply::count(size))
}

/// Makes room for one element in front of position `at`, which may be the tail, by moving the
/// shorter side of the list away from it. Returns the free position.
fn open_gap(tx: &mut Tx<'_>, list: &mut Collection, at: u64) -> Result<u64, CommandError> {
    let (head, tail) = (list.meta.head, list.meta.tail);
    if at - head < tail - at {
        let new_head = elements::next_toward(End::Left, head)?;
        let gap = elements::pack(tx, list, head..at, &[], End::Left, new_head)?;
        elements::place(list, new_head, tail);
        Ok(gap)
    } else {
        let new_tail = elements::next_toward(End::Right, tail)?;
        let moved = elements::pack(tx, list, at..tail, &[], End::Right, new_tail)?;
        elements::place(list, head, new_tail);
        elements::next_toward(End::Left, moved)
    }
}

/// `LREM key count element`
pub fn lrem(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let count = number::integer(args::get(args, 2)?)?;
    let Some(mut list) = tx.existing(args::get(args, 1)?, DataType::List)? else {
        return Ok(Reply::Integer(0));
    };
    let from = if count < 0 { End::Right } else { End::Left };
    let most = if count == 0 { u64::MAX } else { count.unsigned_abs() };
    let mut gone = find(tx.view(), &list, args::get(args, 3)?, from, most)?;
    gone.sort_unstable();
    close_gaps(tx, &mut list, &gone)?;
    if !gone.is_empty() {
        tx.save(list)?;
    }
    Ok(Reply::count(gone.len().try_into().unwrap_or(u64::MAX)))
}

/// The positions of up to `most` elements that equal `element`, in the order in which they are met.
fn find(
    view: View<'_>,
    list: &Collection,
    element: &Bytes,
    from: End,
    most: u64,
) -> Result<Vec<u64>, CommandError> {
    let mut cursor = ElementCursor::new(view, list, list.meta.head..list.meta.tail, from)?;
    let (mut found, mut left) = (Vec::new(), most);
    while left > 0
        && let Some((position, stored)) = cursor.next()?
    {
        if stored == element {
            found.push(position);
            left -= 1;
        }
    }
    Ok(found)
}

/// Takes the elements at the positions `gone` (in ascending order) out of the list. The longest run
/// of others stays where it is, and the rest moves up to it from both sides: for one element that
/// is moving the shorter side.
///
/// ```text
/// positions   10 11 12 13 14 15 16 17 18        gone 11, 17: the run 12..17 stays
///             a  x  b  c  d  e  f  x  g
///                a  b  c  d  e  f  g
/// ```
fn close_gaps(tx: &mut Tx<'_>, list: &mut Collection, gone: &[u64]) -> Result<(), CommandError> {
    let (head, tail) = (list.meta.head, list.meta.tail);
    let stays = longest_run(head, tail, gone);
    if stays.is_empty() {
        // Nothing is left. The list is deleted, and its rows with it.
        elements::place(list, head, head);
        return Ok(());
    }
    if elements::rewrite(tx, list, head..tail, gone)? {
        let tail = head + list.size();
        elements::place(list, head, tail);
        return Ok(());
    }
    let (before, after) = gone.split_at(gone.partition_point(|position| *position < stays.start));
    let new_head = elements::pack(tx, list, head..stays.start, before, End::Right, stays.start)?;
    let new_tail = elements::pack(tx, list, stays.end..tail, after, End::Left, stays.end)?;
    elements::delete(tx, list, head..new_head)?;
    elements::delete(tx, list, new_tail..tail)?;
    elements::place(list, new_head, new_tail);
    Ok(())
}

/// The longest run of positions in `head..tail` without any of `gone`; the first one of several.
/// Empty if all are gone.
fn longest_run(head: u64, tail: u64, gone: &[u64]) -> Range<u64> {
    let mut longest = head..head;
    let mut start = head;
    for end in gone.iter().copied().chain([tail]) {
        if end - start > longest.end - longest.start {
            longest = start..end;
        }
        // Behind the tail, which comes last, there may be no position.
        start = if end < tail { end + 1 } else { end };
    }
    longest
}

/// `LTRIM key start stop`
pub fn ltrim(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let range = IndexRange::parse(args::get(args, 2)?, args::get(args, 3)?)?;
    let Some(mut list) = tx.existing(args::get(args, 1)?, DataType::List)? else {
        return Ok(Reply::Ok);
    };
    let kept = range.resolve(list.size());
    if kept == (0..list.size()) {
        return Ok(Reply::Ok);
    }
    let head = list.meta.head;
    elements::keep(tx, &mut list, head + kept.start..head + kept.end)?;
    tx.save(list)?;
    Ok(Reply::Ok)
}
