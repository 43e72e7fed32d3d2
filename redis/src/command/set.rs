//! Sets: different members under one key.
//!
//! A set is a header in family `metadata` and one row with an empty value per member in family
//! `subkey`:
//!
//! ```text
//! SADD team ada bob    metadata  "team"              → set, version 9, size 2
//!                      subkey    "team" 9 "ada"      → (empty)
//!                      subkey    "team" 9 "bob"      → (empty)
//! ```
//!
//! Membership is one look-up, whatever the size, and members come out sorted by their bytes (Redis
//! promises no order). The header counts the members; every command that adds or removes some looks
//! each of them up, in the entry's own writes too, so that a member named twice in one command
//! counts once. A set without members does not exist.
//!
//! SPOP and SRANDMEMBER choose through [`sample`] without reading the whole set. SPOP runs in
//! apply, so its generator is seeded by the log entry: every replica removes the same members.
//! SSCAN pages through [`page`]. What combines several sets is in
//! [`set_algebra`](super::set_algebra).

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_engine::Direction;
use neokv_resp::{Bulks, Reply, Shape};

use super::declare::commands;
use super::hash::remove_subkeys;
use super::scan::page;
use super::{Args, Command, CommandResult};
use crate::error::CommandError;
use crate::keyspace::{Collection, Tx, View, sample};
use crate::number;

/// The commands on one set, and SMOVE.
pub const COMMANDS: &[Command] = commands! { Set;
    "sadd", -3, Write(sadd), [Write DenyOom Fast], "1.0.0",
        "O(1) for each element added, so O(N) to add N elements when the command is called \
         with multiple arguments.",
        "Add one or more members to a set",
        keys: &[one(&[Rw, Insert])],
        arguments: &[KEY, string("member").multiple()],
        history: &[("2.4.0", "Accepts multiple `member` arguments.")];
    "srem", -3, Write(srem), [Write Fast], "1.0.0",
        "O(N) where N is the number of members to be removed.",
        "Remove one or more members from a set",
        keys: &[one(&[Rw, Delete])],
        arguments: &[KEY, string("member").multiple()],
        history: &[("2.4.0", "Accepts multiple `member` arguments.")];
    "spop", -2, Write(spop), [Write Fast], "1.0.0",
        "O(log N) per member returned, for a set of N members.",
        "Remove and return one or multiple random members from a set",
        keys: &[one(&[Rw, Access, Delete])],
        answers: Stored,
        arguments: &[KEY, integer("count").optional().since("3.2.0")],
        history: &[("3.2.0", "Added the `count` argument.")],
        tips: &["nondeterministic_output"];
    "smove", 4, Write(smove), [Write Fast], "1.0.0", "O(1)",
        "Move a member from one set to another",
        keys: &[one(&[Rw, Access, Delete]), at(2, &[Rw, Insert])],
        arguments: &[key("source", 0), key("destination", 1), string("member")];
    "sismember", 3, Read(sismember, Snapshot), [ReadOnly Fast], "1.0.0", "O(1)",
        "Determine if a given value is a member of a set",
        keys: &[one(&[Ro])],
        arguments: &[KEY, string("member")];
    "smismember", -3, Read(smismember, Budgeted), [ReadOnly Fast], "6.2.0",
        "O(N) where N is the number of elements being checked for membership",
        "Returns the membership associated with the given elements for a set",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, string("member").multiple()];
    "scard", 2, Read(scard, Latest), [ReadOnly Fast], "1.0.0", "O(1)",
        "Get the number of members in a set",
        keys: &[one(&[Ro])],
        arguments: &[KEY];
    "smembers", 2, Read(smembers, Budgeted), [ReadOnly], "1.0.0",
        "O(N) where N is the set cardinality.",
        "Get all the members in a set",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY],
        tips: &["nondeterministic_output_order"];
    "srandmember", -2, Read(srandmember, Blocking), [ReadOnly], "1.0.0",
        "O(log N) per member returned, for a set of N members.",
        "Get one or multiple random members from a set",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, integer("count").optional().since("2.6.0")],
        history: &[("2.6.0", "Added the optional `count` argument.")],
        tips: &["nondeterministic_output"];
    "sscan", -3, Read(sscan, Blocking), [ReadOnly], "2.8.0",
        page::SCAN_COST,
        "Incrementally iterate Set elements",
        keys: &[one(&[Ro, Access])],
        arguments: page::SCAN_ARGUMENTS,
        tips: &["nondeterministic_output"];
};

fn sadd(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let [_, key, members @ ..] = args else { return Err(CommandError::WrongArity("sadd")) };
    let mut set = tx.open(key, DataType::Set)?;
    let mut added = 0u64;
    for member in members {
        added += u64::from(add(tx, &mut set, member)?);
    }
    if added > 0 {
        tx.save(set)?;
    }
    Ok(Reply::count(added))
}

/// Adds one member; returns whether it is new. The caller saves the set.
fn add(tx: &mut Tx<'_>, set: &mut Collection, member: &[u8]) -> Result<bool, CommandError> {
    let is_new = set.is_empty() || !tx.view().has_subkey(set, member)?;
    if is_new {
        tx.put_subkey(set, member, b"")?;
        set.grow()?;
    }
    Ok(is_new)
}

fn srem(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let [_, key, members @ ..] = args else { return Err(CommandError::WrongArity("srem")) };
    let Some(mut set) = tx.existing(key, DataType::Set)? else { return Ok(Reply::Integer(0)) };
    let removed = remove_subkeys(tx, &mut set, members)?;
    if removed > 0 {
        tx.save(set)?;
    }
    Ok(Reply::count(removed))
}

fn smove(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let [_, source, target, member] = args else { return Err(CommandError::WrongArity("smove")) };
    // Redis looks at the target's type only if the source exists.
    let Some(mut from) = tx.existing(source, DataType::Set)? else { return Ok(Reply::Integer(0)) };
    let mut to = tx.open(target, DataType::Set)?;
    let is_member = tx.view().has_subkey(&from, member)?;
    if source == target || !is_member {
        return Ok(Reply::Integer(i64::from(is_member)));
    }
    remove_subkeys(tx, &mut from, std::slice::from_ref(member))?;
    tx.save(from)?;
    if add(tx, &mut to, member)? {
        tx.save(to)?;
    }
    Ok(Reply::Integer(1))
}

fn spop(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    match args {
        [_, key] => pop_one(tx, key),
        [_, key, count] => pop_many(tx, key, number::positive_count(count)?),
        _ => Err(CommandError::Syntax),
    }
}

/// SPOP without a count.
fn pop_one(tx: &mut Tx<'_>, key: &Bytes) -> CommandResult {
    let Some(mut set) = tx.existing(key, DataType::Set)? else { return Ok(Reply::Nil) };
    let mut random = tx.random().clone();
    let Some((member, _)) = sample::one(&tx.view(), &set, &mut random)? else {
        return Ok(Reply::Nil);
    };
    remove_subkeys(tx, &mut set, std::slice::from_ref(&member))?;
    tx.save(set)?;
    Ok(Reply::Bulk(member))
}

/// SPOP with a count. Popping everything deletes the key and leaves its rows to compaction.
fn pop_many(tx: &mut Tx<'_>, key: &Bytes, count: u64) -> CommandResult {
    let Some(mut set) = tx.existing(key, DataType::Set)? else { return Ok(Reply::Set(Vec::new())) };
    let popped: Vec<Bytes> = if count >= set.size() {
        let members = members(&tx.view(), &set)?;
        tx.delete(key)?;
        members
    } else {
        let mut random = tx.random().clone();
        let chosen = sample::distinct(&tx.view(), &set, count, &mut random)?;
        let chosen: Vec<Bytes> = chosen.into_iter().map(|(member, _)| member).collect();
        if tx.remove_most(&mut set, &chosen)?.is_none() {
            // They have just been read, so nobody needs to look for them.
            for member in &chosen {
                tx.delete_subkey(&set, member)?;
                set.shrink()?;
            }
        }
        tx.save(set)?;
        chosen
    };
    Ok(Reply::Set(popped.into_iter().map(Reply::Bulk).collect()))
}

/// The set `key`, if it exists.
fn existing(view: &View<'_>, key: &Bytes) -> Result<Option<Collection>, CommandError> {
    view.collection(key, DataType::Set)
}

/// All members of a set, in order.
fn members(view: &View<'_>, set: &Collection) -> Result<Vec<Bytes>, CommandError> {
    let mut rows = view.subkeys(set, Direction::Forward)?;
    let (mut members, mut limit) = (Vec::new(), view.reply_limit());
    while let Some((member, _)) = rows.next()? {
        limit.add(member.len())?;
        members.push(member);
    }
    Ok(members)
}

fn sismember(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key, member] = args else { return Err(CommandError::WrongArity("sismember")) };
    let Some(set) = existing(view, key)? else { return Ok(Reply::Integer(0)) };
    Ok(Reply::Integer(i64::from(view.has_subkey(&set, member)?)))
}

fn smismember(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key, members @ ..] = args else { return Err(CommandError::WrongArity("smismember")) };
    let set = existing(view, key)?;
    let is_member = |member: &Bytes| match &set {
        Some(set) => Ok(Reply::Integer(i64::from(view.has_subkey(set, member)?))),
        None => Ok(Reply::Integer(0)),
    };
    members.iter().map(is_member).collect::<Result<_, CommandError>>().map(Reply::Array)
}

fn scard(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key] = args else { return Err(CommandError::WrongArity("scard")) };
    Ok(Reply::count(existing(view, key)?.map_or(0, |set| set.size())))
}

fn smembers(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key] = args else { return Err(CommandError::WrongArity("smembers")) };
    let mut members = Bulks::new();
    if let Some(set) = existing(view, key)? {
        view.expect_rows(set.size())?;
        members = Bulks::expecting(set.size());
        let mut rows = view.subkeys(&set, Direction::Forward)?;
        while let Some((member, _)) = rows.next_ref()? {
            members.push(member);
            view.check_reply(members.size())?;
        }
    }
    Ok(Reply::Bulks(Shape::Set, members))
}

fn srandmember(view: &View<'_>, args: &Args) -> CommandResult {
    let (key, count) = match args {
        [_, key] => (key, None),
        [_, key, count] => (key, Some(number::integer_between(count, -i64::MAX, i64::MAX)?)),
        _ => return Err(CommandError::Syntax),
    };
    let set = existing(view, key)?;
    let mut random = view.random();
    let Some(count) = count else {
        let member = set.map_or(Ok(None), |set| sample::one(view, &set, &mut random))?;
        return Ok(member.map_or(Reply::Nil, |(member, _)| Reply::Bulk(member)));
    };
    let members =
        set.map_or_else(|| Ok(Vec::new()), |set| sample::draw(view, &set, count, &mut random))?;
    Ok(Reply::Array(members.into_iter().map(|(member, _)| Reply::Bulk(member)).collect()))
}

fn sscan(view: &View<'_>, args: &Args) -> CommandResult {
    page::scan_collection(view, args, DataType::Set, |items, member, _| {
        items.push(Reply::bulk(Bytes::copy_from_slice(member)));
        Ok(())
    })
}

#[cfg(test)]
mod tests;
