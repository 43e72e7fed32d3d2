//! Keys of any type: existence, type, deletion, and one at random.
//!
//! DEL and UNLINK are the same here: both drop the key's record, in constant time whatever the key
//! holds, and compaction collects the rest.

use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, slot_bounds};
use neokv_encoding::metadata::decode_header;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, KeyRange};
use neokv_resp::Reply;

use super::{Args, Command, CommandError, Flag, Group, Handler, KeySpec, Outcome, args};
use crate::keyspace::{Tx, View};

/// Live keys among which RANDOMKEY chooses.
const RANDOM_CHOICES: u64 = 64;
/// Records that RANDOMKEY looks at, at most.
const RANDOM_LOOKS: u64 = 1024;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "del",
        arity: -2,
        flags: &[Flag::Write],
        keys: KeySpec::ALL,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys that will be removed, whatever they hold.",
        summary: "Delete a key",
        handler: Handler::Write(del),
    },
    Command {
        name: "unlink",
        arity: -2,
        flags: &[Flag::Write, Flag::Fast],
        keys: KeySpec::ALL,
        group: Group::Generic,
        since: "4.0.0",
        complexity: "O(1) for each key removed regardless of its size.",
        summary: "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non blocking.",
        handler: Handler::Write(del),
    },
    Command {
        name: "exists",
        arity: -2,
        flags: &[Flag::ReadOnly, Flag::Fast],
        keys: KeySpec::ALL,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to check.",
        summary: "Determine if a key exists",
        handler: Handler::Read(exists),
    },
    Command {
        name: "touch",
        arity: -2,
        flags: &[Flag::ReadOnly, Flag::Fast],
        keys: KeySpec::ALL,
        group: Group::Generic,
        since: "3.2.1",
        complexity: "O(N) where N is the number of keys that will be touched.",
        summary: "Alters the last access time of a key(s). Returns the number of existing keys specified.",
        handler: Handler::Read(exists),
    },
    Command {
        name: "type",
        arity: 2,
        flags: &[Flag::ReadOnly, Flag::Fast, Flag::Point],
        keys: KeySpec::ONE,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Determine the type stored at key",
        handler: Handler::Read(kind),
    },
    Command {
        name: "randomkey",
        arity: 1,
        flags: &[Flag::ReadOnly],
        keys: KeySpec::None,
        group: Group::Generic,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Return a random key from the keyspace",
        handler: Handler::Read(randomkey),
    },
];

fn del(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let mut deleted = 0;
    for key in args::rest(args, 1) {
        deleted += u64::from(tx.delete(key)?);
    }
    Ok(Reply::count(deleted))
}

fn exists(view: &View<'_>, args: &Args) -> Outcome {
    let mut found = 0;
    for key in args::rest(args, 1) {
        found += u64::from(view.exists(key)?);
    }
    Ok(Reply::count(found))
}

fn kind(view: &View<'_>, args: &Args) -> Outcome {
    let header = view.header(args::get(args, 1)?)?;
    Ok(Reply::Simple(header.map_or("none", |(kind, _)| kind.name()).into()))
}

/// Walks from a random slot on, around the end, and chooses among the first live keys. Uniform as
/// long as there are no more than [`RANDOM_CHOICES`] keys; beyond that every key has a chance, but
/// not an equal one.
fn randomkey(view: &View<'_>, _: &Args) -> Outcome {
    let mut random = view.random();
    let slots = view.slots();
    let pivot = random.below(u64::from(slots.len()));
    let pivot = slots.start.saturating_add(u16::try_from(pivot).unwrap_or(0));
    let mut draw = Draw { chosen: None, seen: 0, looks: 0 };
    for part in [SlotRange { start: pivot, ..slots }, SlotRange { end: pivot, ..slots }] {
        let (start, end) = slot_bounds(part);
        let mut rows =
            view.read().cursor(Family::Metadata, KeyRange::new(start, end), Direction::Forward)?;
        while draw.goes_on() {
            let Some((row, record)) = rows.next()? else { break };
            draw.looks += 1;
            if view.is_expired(decode_header(record)?.1) {
                continue;
            }
            draw.seen += 1;
            // The n-th key replaces the earlier choice with probability 1/n, which makes all of
            // them equally likely.
            if random.below(draw.seen) == 0 {
                draw.chosen = Some(row.to_vec());
            }
        }
    }
    chosen_key(draw.chosen, view.namespace())
}

/// A choice among keys of which the number is not known beforehand.
struct Draw {
    chosen: Option<Vec<u8>>,
    seen: u64,
    looks: u64,
}

impl Draw {
    fn goes_on(&self) -> bool {
        self.seen < RANDOM_CHOICES && self.looks < RANDOM_LOOKS
    }
}

fn chosen_key(row: Option<Vec<u8>>, namespace: u32) -> Result<Reply, CommandError> {
    let Some(row) = row else { return Ok(Reply::Nil) };
    let user = UserKey::decode_metadata(&row)?;
    debug_assert_eq!(user.namespace, namespace, "there is one namespace");
    Ok(Reply::Bulk(user.key))
}

#[cfg(test)]
mod tests;
