//! Walking over all keys: SCAN and KEYS.
//!
//! Keys are visited slot by slot, within a slot by name. A cursor of SCAN carries the slot in its
//! upper bits, so that one that is no longer remembered goes back to the start of that slot and not
//! further (see [`crate::keyspace::cursor_table`]). When a Region ends before the last slot, the
//! cursor names the first slot of the next. HSCAN, SSCAN and ZSCAN are with their types; what all
//! have in common is in [`crate::keyspace::page`].

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, slot_bounds};
use neokv_encoding::metadata::{DataType, decode_header};
use neokv_encoding::slot::{SLOTS, SlotRange};
use neokv_engine::{Direction, KeyRange};
use neokv_resp::Reply;

use super::{Args, Command, Flag, Group, Handler, KeySpec, Outcome, args};
use crate::keyspace::View;
use crate::keyspace::cursor_table::{Owner, slot_cursor, slot_of_cursor};
use crate::keyspace::glob::Pattern;
use crate::keyspace::page::{ScanOptions, page_reply, parse_cursor};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "scan",
        arity: -2,
        flags: &[Flag::ReadOnly, Flag::Heavy],
        keys: KeySpec::None,
        group: Group::Generic,
        since: "2.8.0",
        complexity: "O(1) for every call. O(N) for a complete iteration.",
        summary: "Incrementally iterate the keys space",
        handler: Handler::Read(scan),
    },
    Command {
        name: "keys",
        arity: 2,
        flags: &[Flag::ReadOnly, Flag::Heavy, Flag::Dangerous],
        keys: KeySpec::None,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) with N being the number of keys in the database.",
        summary: "Find all keys matching the given pattern",
        handler: Handler::Read(keys),
    },
];

fn scan(view: &View<'_>, args: &Args) -> Outcome {
    let cursor = parse_cursor(args::get(args, 1)?)?;
    let options = ScanOptions::parse(args, 2, true)?;
    let wanted = options.kind.as_ref().map(|name| DataType::from_name(name));
    let owner = Owner::Keys { namespace: view.namespace() };
    let mut budget = options.budget(view);
    let mut items = Vec::new();
    let mut rows = view.read().cursor(
        Family::Metadata,
        scan_range(view, owner, cursor),
        Direction::Forward,
    )?;
    while let Some((row, record)) = rows.next()? {
        let user = UserKey::decode_metadata(row)?;
        if budget.is_spent() {
            let place = Bytes::copy_from_slice(row);
            let next = view.cursors().map_or(0, |table| table.remember(owner, user.slot, place));
            return Ok(page_reply(next, items));
        }
        let (kind, expire_ms) = decode_header(record)?;
        let fits = wanted.is_none_or(|wanted| wanted == Some(kind)) && options.matches(&user.key);
        let taken = fits && user.namespace == view.namespace() && !view.is_expired(expire_ms);
        budget.examined(taken.then_some(user.key.len()));
        if taken {
            items.push(Reply::Bulk(user.key));
        }
    }
    let end = view.slots().end;
    Ok(page_reply(if end < SLOTS { slot_cursor(end) } else { 0 }, items))
}

/// The rows that are left to a scan.
fn scan_range(view: &View<'_>, owner: Owner<'_>, cursor: u64) -> KeyRange {
    let slots = view.slots();
    let remembered = if cursor == 0 {
        None
    } else {
        view.cursors().and_then(|table| table.recall(owner, cursor))
    };
    let first = if cursor == 0 { slots.start } else { slot_of_cursor(cursor).max(slots.start) };
    let (start, end) = slot_bounds(SlotRange { start: first, end: slots.end.max(first) });
    // A Region that has moved on since the cursor was made must not be scanned before its first
    // slot.
    KeyRange::new(remembered.map_or(start.clone(), |place| place.to_vec().max(start)), end)
}

fn keys(view: &View<'_>, args: &Args) -> Outcome {
    let pattern = args::get(args, 1)?;
    let pattern = (pattern.as_ref() != b"*").then(|| Pattern::new(pattern.clone()));
    let (start, end) = slot_bounds(view.slots());
    let mut rows =
        view.read().cursor(Family::Metadata, KeyRange::new(start, end), Direction::Forward)?;
    let (mut found, mut tally) = (Vec::new(), view.tally());
    while let Some((row, record)) = rows.next()? {
        let user = UserKey::decode_metadata(row)?;
        let matches = pattern.as_ref().is_none_or(|pattern| pattern.matches(&user.key));
        if matches
            && user.namespace == view.namespace()
            && !view.is_expired(decode_header(record)?.1)
        {
            tally.add(user.key.len())?;
            found.push(Reply::Bulk(user.key));
        }
    }
    Ok(Reply::Array(found))
}

#[cfg(test)]
mod tests;
