//! Keys of any type: existence, type, deletion, and one at random.
//!
//! DEL and UNLINK are the same here: both drop the key's record, in constant time whatever the key
//! holds, and compaction collects the rest.

use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, slot_bounds};
use neokv_encoding::metadata::decode_header;
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Direction, KeyRange};
use neokv_raftstore::SplitMix64;
use neokv_resp::Reply;

use super::declare::commands;
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::{Tx, View};

/// Live keys among which RANDOMKEY chooses.
const RANDOM_CHOICES: u64 = 64;
/// Records that RANDOMKEY examines, at most.
const RANDOM_EXAMINED: u64 = 1024;

/// The commands of this file.
pub const COMMANDS: &[Command] = commands! { Generic;
    "del", -2, Write(del), [Write], "1.0.0",
        "O(N) where N is the number of keys that will be removed, whatever they hold.",
        "Delete a key",
        keys: &[all(&[Rm, Delete])],
        arguments: &[KEYS],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"];
    "unlink", -2, Write(del), [Write Fast], "4.0.0",
        "O(1) for each key removed regardless of its size.",
        "Delete a key asynchronously in another thread. Otherwise it is just as DEL, but non \
         blocking.",
        keys: &[all(&[Rm, Delete])],
        arguments: &[KEYS],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"];
    "exists", -2, Read(exists, Budgeted), [ReadOnly Fast], "1.0.0",
        "O(N) where N is the number of keys to check.",
        "Determine if a key exists",
        keys: &[all(&[Ro])],
        arguments: &[KEYS],
        history: &[("3.0.3", "Accepts multiple `key` arguments.")],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"];
    "touch", -2, Read(exists, Budgeted), [ReadOnly Fast], "3.2.1",
        "O(N) where N is the number of keys that will be touched.",
        "Alters the last access time of a key(s). Returns the number of existing keys specified.",
        keys: &[all(&[Ro])],
        arguments: &[KEYS],
        tips: &["request_policy:multi_shard", "response_policy:agg_sum"];
    "type", 2, Read(kind, Latest), [ReadOnly Fast], "1.0.0", "O(1)",
        "Determine the type stored at key",
        keys: &[one(&[Ro])],
        arguments: &[KEY];
    "randomkey", 1, Read(randomkey, Budgeted), [ReadOnly], "1.0.0", "O(1)",
        "Return a random key from the keyspace",
        scope: Some(EveryRegion(any_key)),
        tips: &["request_policy:all_shards", "nondeterministic_output"];
};

fn del(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let mut deleted = 0;
    for key in args::rest(args, 1) {
        deleted += u64::from(tx.delete(key)?);
    }
    Ok(Reply::count(deleted))
}

fn exists(view: &View<'_>, args: &Args) -> CommandResult {
    let mut found = 0;
    for key in args::rest(args, 1) {
        found += u64::from(view.exists(key)?);
    }
    Ok(Reply::count(found))
}

fn kind(view: &View<'_>, args: &Args) -> CommandResult {
    let header = view.header(args::get(args, 1)?)?;
    Ok(Reply::Simple(header.map_or("none", |(kind, _)| kind.name()).into()))
}

/// Walks from a random slot on, around the end, and chooses among the first live keys. Uniform as
/// long as there are no more than [`RANDOM_CHOICES`] keys; beyond that every key has a chance, but
/// not an equal one.
fn randomkey(view: &View<'_>, _: &Args) -> CommandResult {
    let mut random = view.random();
    let slots = view.slots();
    let pivot = random.below(u64::from(slots.len()));
    let pivot = slots.start + u16::try_from(pivot).unwrap_or(0);
    let mut sample = Sample { chosen: None, seen: 0, examined: 0 };
    for part in [SlotRange { start: pivot, ..slots }, SlotRange { end: pivot, ..slots }] {
        let (start, end) = slot_bounds(part);
        let mut rows =
            view.read().cursor(Family::Metadata, KeyRange::new(start, end), Direction::Forward)?;
        while sample.wants_more() {
            let Some((row, record)) = rows.next()? else { break };
            sample.examined += 1;
            if view.is_expired(decode_header(record)?.1) {
                continue;
            }
            sample.seen += 1;
            // The n-th key replaces the earlier choice with probability 1/n, which makes all of
            // them equally likely.
            if random.below(sample.seen) == 0 {
                sample.chosen = Some(row.to_vec());
            }
        }
    }
    chosen_key(sample.chosen, view.namespace())
}

/// Reservoir sampling: a choice among keys of which the number is not known beforehand.
struct Sample {
    chosen: Option<Vec<u8>>,
    /// Live keys.
    seen: u64,
    /// Records, expired ones included.
    examined: u64,
}

impl Sample {
    fn wants_more(&self) -> bool {
        self.seen < RANDOM_CHOICES && self.examined < RANDOM_EXAMINED
    }
}

/// RANDOMKEY of several Regions: the key of one of those that have any.
fn any_key(replies: Vec<Reply>, random: u64) -> Reply {
    let mut keys: Vec<Reply> = replies.into_iter().filter(|reply| *reply != Reply::Nil).collect();
    let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
    let chosen = SplitMix64::new(random).below(count);
    match usize::try_from(chosen) {
        Ok(chosen) if chosen < keys.len() => keys.swap_remove(chosen),
        _ => Reply::Nil,
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
