//! Walking over all keys: SCAN and KEYS.
//!
//! Keys are visited slot by slot, within a slot by name. A cursor of SCAN carries the slot in its
//! upper bits, so every call goes to the Region of that slot, and one that is no longer remembered
//! concerns no other slot (see [`crate::keyspace::cursor_table`]). Behind the last key of a Region
//! the cursor names the first slot of the next one that this node serves. HSCAN, SSCAN and ZSCAN
//! are with their types; what all have in common is in [`page`].

pub mod page;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, slot_bounds};
use neokv_encoding::metadata::{DataType, decode_header};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, KeyRange};
use neokv_resp::Reply;

use self::page::{ScanOptions, page_reply, parse_cursor};
use super::declare::commands;
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::View;
use crate::keyspace::cursor_table::{CursorMeaning, Owner, slot_cursor, slot_of_cursor};
use crate::keyspace::glob::Pattern;

/// The commands of this file.
pub const COMMANDS: &[Command] = commands! { Generic;
    "scan", -2, Read(scan, Blocking), [ReadOnly], "2.8.0",
        "O(1) for every call. O(N) for a complete iteration, including enough command calls \
         for the cursor to return back to 0. N is the number of elements inside the \
         collection.",
        "Incrementally iterate the keys space",
        scope: Some(FromSlot(cursor_slot)),
        arguments: &[
            integer("cursor"), pattern("pattern").after("MATCH").optional(),
            integer("count").after("COUNT").optional(),
            string("type").after("TYPE").optional().since("6.0.0")
        ],
        history: &[("6.0.0", "Added the `TYPE` subcommand.")],
        tips: &["nondeterministic_output", "request_policy:special"];
    "keys", 2, Read(keys, Blocking), [ReadOnly], "1.0.0",
        "O(N) with N being the number of keys in the database, under the assumption that the \
         key names in the database and the given pattern have limited length.",
        "Find all keys matching the given pattern",
        scope: Some(EveryRegion(join_arrays)),
        arguments: &[pattern("pattern")],
        tips: &["request_policy:all_shards", "nondeterministic_output_order"],
        categories: &["@dangerous"];
};

/// The slot that SCAN goes on with.
fn cursor_slot(args: &Args) -> Option<u16> {
    Some(slot_of_cursor(parse_cursor(args.get(1)?).ok()?))
}

fn scan(view: &View<'_>, args: &Args) -> CommandResult {
    let cursor = parse_cursor(args::get(args, 1)?)?;
    let scan = KeyScan::new(*view, ScanOptions::parse(args, 2, true)?);
    let (slots, slot) = (view.slots(), slot_of_cursor(cursor));
    // The slot of the cursor may have left the Region since the cursor was made: then the scan goes
    // on at the Region's first slot, or has come to its end.
    if !slots.contains(slot) {
        return scan.by_name(scan.slot_start(slots.start.max(slot)));
    }
    let table = view.cursors();
    match table.map_or(CursorMeaning::Beginning, |table| table.meaning(scan.owner, cursor)) {
        CursorMeaning::Beginning => scan.by_name(scan.slot_start(slot)),
        CursorMeaning::At(row) => scan.by_name(row.into()),
        CursorMeaning::Forgotten(hash) => match scan.find_hash(slot, hash)? {
            Some(row) => scan.by_name(row),
            None => scan.by_hash(slot, 0),
        },
        CursorMeaning::HashOrder(hash) => scan.by_hash(slot, hash),
    }
}

/// One call of SCAN.
struct KeyScan<'a> {
    view: View<'a>,
    owner: Owner<'static>,
    options: ScanOptions,
    /// TYPE: `Some(None)` is a type that no key has.
    wanted: Option<Option<DataType>>,
}

impl<'a> KeyScan<'a> {
    fn new(view: View<'a>, options: ScanOptions) -> KeyScan<'a> {
        let wanted = options.kind.as_ref().map(|name| DataType::from_name(name));
        let owner = Owner::Keys { namespace: view.namespace() };
        KeyScan { view, owner, options, wanted }
    }

    /// The first row that a slot may have.
    fn slot_start(&self, slot: u16) -> Vec<u8> {
        slot_bounds(SlotRange { start: slot, end: self.view.slots().end.max(slot) }).0
    }

    /// The keys from the row `start` to the end of the Region, by slot and name.
    fn by_name(&self, start: Vec<u8>) -> CommandResult {
        let mut budget = self.options.budget(&self.view);
        let mut items = Vec::new();
        let (_, end) = slot_bounds(self.view.slots());
        let range = KeyRange::new(start.min(end.clone()), end);
        let mut rows = self.view.read().cursor(Family::Metadata, range, Direction::Forward)?;
        while let Some((row, record)) = rows.next()? {
            let user = UserKey::decode_metadata(row)?;
            if budget.is_spent() {
                let position = Bytes::copy_from_slice(row);
                let table = self.view.cursors();
                let next = table.map_or(0, |table| table.remember(self.owner, user.slot, position));
                return Ok(page_reply(next, items));
            }
            let taken = self.takes(&user, record)?;
            budget.examined(taken.then_some(user.key.len()));
            if taken {
                items.push(Reply::Bulk(user.key));
            }
        }
        Ok(page_reply(self.after(None), items))
    }

    /// The cursor behind the last key of a slot; of the Region, if no slot is given.
    fn after(&self, slot: Option<u16>) -> u64 {
        let following = slot.map(|slot| slot + 1).filter(|next| *next < self.view.slots().end);
        following.or(self.view.next_slot()).map_or(0, slot_cursor)
    }

    /// Whether a key belongs to the reply.
    fn takes(&self, user: &UserKey, record: &[u8]) -> Result<bool, CommandError> {
        let (kind, expire_ms) = decode_header(record)?;
        let fits = self.wanted.is_none_or(|wanted| wanted == Some(kind))
            && self.options.matches(&user.key);
        Ok(fits && user.namespace == self.view.namespace() && !self.view.is_expired(expire_ms))
    }

    /// Calls `visit` with the rows of one slot until it returns false.
    fn each_row(
        &self,
        slot: u16,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, CommandError>,
    ) -> Result<(), CommandError> {
        // A slot behind the Region has no rows here.
        let end = self.view.slots().end.min(slot + 1).max(slot);
        let (start, end) = slot_bounds(SlotRange { start: slot, end });
        let range = KeyRange::new(start, end);
        let mut rows = self.view.read().cursor(Family::Metadata, range, Direction::Forward)?;
        while let Some((row, record)) = rows.next()? {
            if !visit(row, record)? {
                break;
            }
        }
        Ok(())
    }

    /// The first row of a slot with this hash.
    fn find_hash(&self, slot: u16, hash: u64) -> Result<Option<Vec<u8>>, CommandError> {
        let mut found = None;
        self.each_row(slot, |row, _| {
            if self.owner.hash(row) == hash {
                found = Some(row.to_vec());
            }
            Ok(found.is_none())
        })?;
        Ok(found)
    }

    /// The keys of a slot with the smallest hashes from `from` on.
    fn by_hash(&self, slot: u16, from: u64) -> CommandResult {
        let mut page = self.options.hash_page(&self.view, from);
        self.each_row(slot, |row, record| {
            let hash = self.owner.hash(row);
            if page.wants(hash) {
                let user = UserKey::decode_metadata(row)?;
                if self.takes(&user, record)? {
                    let bytes = user.key.len();
                    page.add(hash, vec![Reply::Bulk(user.key)], bytes);
                }
            }
            Ok(true)
        })?;
        let (items, next) = page.finish();
        let next = match next {
            Some(hash) => self.owner.hash_cursor(slot, hash),
            None => self.after(Some(slot)),
        };
        Ok(page_reply(next, items))
    }
}

/// KEYS of several Regions: the keys of all.
fn join_arrays(replies: Vec<Reply>, _: u64) -> Reply {
    let items = |reply| match reply {
        Reply::Array(items) => items,
        _ => Vec::new(),
    };
    Reply::Array(replies.into_iter().flat_map(items).collect())
}

fn keys(view: &View<'_>, args: &Args) -> CommandResult {
    let pattern = args::get(args, 1)?;
    let pattern = (pattern.as_ref() != b"*").then(|| Pattern::new(pattern.clone()));
    let (start, end) = slot_bounds(view.slots());
    let mut rows =
        view.read().cursor(Family::Metadata, KeyRange::new(start, end), Direction::Forward)?;
    let (mut found, mut limit) = (Vec::new(), view.reply_limit());
    while let Some((row, record)) = rows.next()? {
        let user = UserKey::decode_metadata(row)?;
        let matches = pattern.as_ref().is_none_or(|pattern| pattern.matches(&user.key));
        if matches
            && user.namespace == view.namespace()
            && !view.is_expired(decode_header(record)?.1)
        {
            limit.add(user.key.len())?;
            found.push(Reply::Bulk(user.key));
        }
    }
    Ok(Reply::Array(found))
}

#[cfg(test)]
mod tests;
