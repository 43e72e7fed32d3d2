//! Hashes: fields with values under one key.
//!
//! A hash is a header in family `metadata` and one row per field in family `subkey`:
//!
//! ```text
//! HSET cart apple 2 pear 1    metadata  "cart"                  → hash, version 7, size 2
//!                             subkey    "cart" 7 "apple"        → "2"
//!                             subkey    "cart" 7 "pear"         → "1"
//! ```
//!
//! So one field costs one look-up, whatever the size of the hash, and fields come out sorted by
//! their bytes (Redis promises no order). The header counts the fields; every command that adds or
//! removes some looks each of them up, in the entry's own writes too, so that a field named twice
//! in one command counts once. A hash without fields does not exist.
//!
//! HRANDFIELD chooses through [`sample`], HSCAN pages through [`page`].

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_engine::Direction;
use neokv_resp::parse_integer;
use neokv_resp::{Bulks, Reply, Shape};

use super::declare::commands;
use super::scan::page;
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::float::LongDouble;
use crate::keyspace::{Collection, Tx, View, sample};
use crate::number;

/// The hash commands.
pub const COMMANDS: &[Command] = commands! { Hash;
    "hset", -4, Write(hset), [Write DenyOom Fast], "2.0.0",
        "O(1) for each field/value pair added, so O(N) to add N field/value pairs when the \
         command is called with multiple field/value pairs.",
        "Set the string value of a hash field",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY, block("field_value", &[string("field"), string("value")]).multiple()],
        history: &[("4.0.0", "Accepts multiple `field` and `value` arguments.")];
    "hmset", -4, Write(hmset), [Write DenyOom Fast], "2.0.0",
        "O(N) where N is the number of fields being set.",
        "Set multiple hash fields to multiple values",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY, block("field_value", &[string("field"), string("value")]).multiple()],
        deprecated: Some(("4.0.0", "`HSET` with multiple field-value pairs"));
    "hsetnx", 4, Write(hsetnx), [Write DenyOom Fast], "2.0.0", "O(1)",
        "Set the value of a hash field, only if the field does not exist",
        keys: &[one(&[Rw, Insert])],
        arguments: &[KEY, string("field"), string("value")];
    "hincrby", 4, Write(hincrby), [Write DenyOom Fast], "2.0.0", "O(1)",
        "Increment the integer value of a hash field by the given number",
        keys: &[one(&[Rw, Access, Update])],
        arguments: &[KEY, string("field"), integer("increment")];
    "hincrbyfloat", 4, Write(hincrbyfloat), [Write DenyOom Fast], "2.6.0", "O(1)",
        "Increment the float value of a hash field by the given amount",
        keys: &[one(&[Rw, Access, Update])],
        arguments: &[KEY, string("field"), double("increment")];
    "hdel", -3, Write(hdel), [Write Fast], "2.0.0",
        "O(N) where N is the number of fields to be removed.",
        "Delete one or more hash fields",
        keys: &[one(&[Rw, Delete])],
        arguments: &[KEY, string("field").multiple()],
        history: &[("2.4.0", "Accepts multiple `field` arguments.")];
    "hget", 3, Read(hget, Snapshot), [ReadOnly Fast], "2.0.0", "O(1)",
        "Get the value of a hash field",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, string("field")];
    "hmget", -3, Read(hmget, Budgeted), [ReadOnly Fast], "2.0.0",
        "O(N) where N is the number of fields being requested.",
        "Get the values of all the given hash fields",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, string("field").multiple()];
    "hexists", 3, Read(hexists, Snapshot), [ReadOnly Fast], "2.0.0", "O(1)",
        "Determine if a hash field exists",
        keys: &[one(&[Ro])],
        arguments: &[KEY, string("field")];
    "hstrlen", 3, Read(hstrlen, Snapshot), [ReadOnly Fast], "3.2.0", "O(1)",
        "Get the length of the value of a hash field",
        keys: &[one(&[Ro])],
        arguments: &[KEY, string("field")];
    "hlen", 2, Read(hlen, Latest), [ReadOnly Fast], "2.0.0", "O(1)",
        "Get the number of fields in a hash",
        keys: &[one(&[Ro])],
        arguments: &[KEY];
    "hgetall", 2, Read(hgetall, Budgeted), [ReadOnly], "2.0.0",
        "O(N) where N is the size of the hash.",
        "Get all the fields and values in a hash",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY],
        tips: &["nondeterministic_output_order"];
    "hkeys", 2, Read(hkeys, Budgeted), [ReadOnly], "2.0.0", "O(N) where N is the size of the hash.",
        "Get all the fields in a hash",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY],
        tips: &["nondeterministic_output_order"];
    "hvals", 2, Read(hvals, Budgeted), [ReadOnly], "2.0.0", "O(N) where N is the size of the hash.",
        "Get all the values in a hash",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY],
        tips: &["nondeterministic_output_order"];
    "hrandfield", -2, Read(hrandfield, Blocking), [ReadOnly], "6.2.0",
        "O(log N) per field returned, for a hash of N fields.",
        "Get one or multiple random fields from a hash",
        keys: &[one(&[Ro, Access])],
        arguments: &[
            KEY, block("options", &[integer("count"), token("WITHVALUES").optional()]).optional()
        ],
        tips: &["nondeterministic_output"];
    "hscan", -3, Read(hscan, Blocking), [ReadOnly], "2.8.0",
        page::SCAN_COST,
        "Incrementally iterate hash fields and associated values",
        keys: &[one(&[Ro, Access])],
        arguments: page::SCAN_ARGUMENTS,
        tips: &["nondeterministic_output"];
};

fn hset(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    set_fields(tx, args, "hset").map(Reply::count)
}

fn hmset(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    set_fields(tx, args, "hmset").map(|_| Reply::Ok)
}

/// Sets the fields of HSET and HMSET; returns how many of them are new.
fn set_fields(tx: &mut Tx<'_>, args: &Args, name: &'static str) -> Result<u64, CommandError> {
    let [_, key, fields @ ..] = args else { return Err(CommandError::WrongArity(name)) };
    if !fields.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity(name));
    }
    let mut hash = tx.open(key, DataType::Hash)?;
    let mut created = 0u64;
    for (field, value) in args::pairs(fields, 0) {
        created += u64::from(set_field(tx, &mut hash, field, value)?);
    }
    tx.save(hash)?;
    Ok(created)
}

/// Sets one field; returns whether it is new. The caller saves the hash.
fn set_field(
    tx: &mut Tx<'_>,
    hash: &mut Collection,
    field: &[u8],
    value: &[u8],
) -> Result<bool, CommandError> {
    let is_new = hash.is_empty() || !tx.view().has_subkey(hash, field)?;
    tx.put_subkey(hash, field, value)?;
    if is_new {
        hash.grow()?;
    }
    Ok(is_new)
}

fn hsetnx(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let [_, key, field, value] = args else { return Err(CommandError::WrongArity("hsetnx")) };
    let mut hash = tx.open(key, DataType::Hash)?;
    if tx.view().has_subkey(&hash, field)? {
        return Ok(Reply::Integer(0));
    }
    set_field(tx, &mut hash, field, value)?;
    tx.save(hash)?;
    Ok(Reply::Integer(1))
}

fn hincrby(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let [_, key, field, increment] = args else { return Err(CommandError::WrongArity("hincrby")) };
    let increment = number::integer(increment)?;
    let mut hash = tx.open(key, DataType::Hash)?;
    let old = match tx.view().subkey(&hash, field)? {
        Some(value) => parse_integer(&value).ok_or(CommandError::HashNotInteger)?,
        None => 0,
    };
    let new = old.checked_add(increment).ok_or(CommandError::Overflow)?;
    set_field(tx, &mut hash, field, new.to_string().as_bytes())?;
    tx.save(hash)?;
    Ok(Reply::Integer(new))
}

fn hincrbyfloat(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let [_, key, field, increment] = args else {
        return Err(CommandError::WrongArity("hincrbyfloat"));
    };
    let increment = LongDouble::parse(increment).ok_or(CommandError::NotFloat)?;
    if !increment.is_finite() {
        return Err(CommandError::IncrementNotFinite);
    }
    let mut hash = tx.open(key, DataType::Hash)?;
    let old = match tx.view().subkey(&hash, field)? {
        Some(value) => LongDouble::parse(&value).ok_or(CommandError::HashNotFloat)?,
        None => LongDouble::ZERO,
    };
    let new = old.plus(increment).ok_or(CommandError::NotFinite)?.to_string();
    set_field(tx, &mut hash, field, new.as_bytes())?;
    tx.save(hash)?;
    Ok(Reply::bulk(new))
}

fn hdel(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let [_, key, fields @ ..] = args else { return Err(CommandError::WrongArity("hdel")) };
    let Some(mut hash) = tx.existing(key, DataType::Hash)? else { return Ok(Reply::Integer(0)) };
    let removed = remove_subkeys(tx, &mut hash, fields)?;
    if removed > 0 {
        tx.save(hash)?;
    }
    Ok(Reply::count(removed))
}

/// Removes those subkeys that exist and returns how many did; a repeated one counts once. The
/// caller saves the collection.
pub fn remove_subkeys(
    tx: &mut Tx<'_>,
    from: &mut Collection,
    subkeys: &[Bytes],
) -> Result<u64, CommandError> {
    if let Some(removed) = tx.remove_most(from, subkeys)? {
        return Ok(removed);
    }
    let mut removed = 0u64;
    for subkey in subkeys {
        if from.is_empty() {
            break;
        }
        if tx.view().has_subkey(from, subkey)? {
            tx.delete_subkey(from, subkey)?;
            from.shrink()?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The hash `key`, if it exists.
fn existing(view: &View<'_>, key: &Bytes) -> Result<Option<Collection>, CommandError> {
    view.collection(key, DataType::Hash)
}

/// The value of a field, if the hash and the field exist.
fn value_of(view: &View<'_>, key: &Bytes, field: &[u8]) -> Result<Option<Bytes>, CommandError> {
    match existing(view, key)? {
        Some(hash) => view.subkey(&hash, field),
        None => Ok(None),
    }
}

fn hget(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key, field] = args else { return Err(CommandError::WrongArity("hget")) };
    Ok(value_of(view, key, field)?.map_or(Reply::Nil, Reply::Bulk))
}

fn hmget(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key, fields @ ..] = args else { return Err(CommandError::WrongArity("hmget")) };
    let Some(hash) = existing(view, key)? else {
        return Ok(Reply::Array(fields.iter().map(|_| Reply::Nil).collect()));
    };
    let mut limit = view.reply_limit();
    let value = |field: &Bytes| {
        let value = view.subkey(&hash, field)?;
        limit.add(value.as_ref().map_or(0, Bytes::len))?;
        Ok(value.map_or(Reply::Nil, Reply::Bulk))
    };
    fields.iter().map(value).collect::<Result<_, CommandError>>().map(Reply::Array)
}

fn hexists(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key, field] = args else { return Err(CommandError::WrongArity("hexists")) };
    let Some(hash) = existing(view, key)? else { return Ok(Reply::Integer(0)) };
    Ok(Reply::Integer(i64::from(view.has_subkey(&hash, field)?)))
}

fn hstrlen(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key, field] = args else { return Err(CommandError::WrongArity("hstrlen")) };
    let len = value_of(view, key, field)?.map_or(0, |value| value.len());
    Ok(Reply::Integer(i64::try_from(len).unwrap_or(i64::MAX)))
}

fn hlen(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key] = args else { return Err(CommandError::WrongArity("hlen")) };
    Ok(Reply::count(existing(view, key)?.map_or(0, |hash| hash.size())))
}

fn hgetall(view: &View<'_>, args: &Args) -> CommandResult {
    all(view, args, Shape::Map, |strings, field, value| strings.extend([field, value]))
}

fn hkeys(view: &View<'_>, args: &Args) -> CommandResult {
    all(view, args, Shape::Array, |strings, field, _| strings.push(field))
}

fn hvals(view: &View<'_>, args: &Args) -> CommandResult {
    all(view, args, Shape::Array, |strings, _, value| strings.push(value))
}

/// What `add` takes of every field and value of the hash in the first argument.
fn all(
    view: &View<'_>,
    args: &Args,
    shape: Shape,
    add: impl Fn(&mut Bulks, &[u8], &[u8]),
) -> CommandResult {
    let mut strings = Bulks::new();
    if let Some(hash) = existing(view, args::get(args, 1)?)? {
        view.expect_rows(hash.size())?;
        strings = Bulks::expecting(hash.size());
        let mut fields = view.subkeys(&hash, Direction::Forward)?;
        while let Some((field, value)) = fields.next_ref()? {
            add(&mut strings, field, value);
            view.check_reply(strings.size())?;
        }
    }
    Ok(Reply::Bulks(shape, strings))
}

fn hrandfield(view: &View<'_>, args: &Args) -> CommandResult {
    let [_, key, options @ ..] = args else { return Err(CommandError::WrongArity("hrandfield")) };
    let Some(options) = RandomFields::parse(options)? else {
        let Some(hash) = existing(view, key)? else { return Ok(Reply::Nil) };
        let field = sample::one(view, &hash, &mut view.random())?;
        return Ok(field.map_or(Reply::Nil, |(field, _)| Reply::Bulk(field)));
    };
    let fields = match existing(view, key)? {
        Some(hash) => sample::draw(view, &hash, options.count, &mut view.random())?,
        None => Vec::new(),
    };
    let fields = fields.into_iter();
    Ok(match options.with_values {
        true => Reply::Pairs(
            fields.map(|(field, value)| (Reply::Bulk(field), Reply::Bulk(value))).collect(),
        ),
        false => Reply::Array(fields.map(|(field, _)| Reply::Bulk(field)).collect()),
    })
}

/// The options of HRANDFIELD.
struct RandomFields {
    /// How many fields; a negative number allows repetition.
    count: i64,
    /// Whether to return the values too.
    with_values: bool,
}

impl RandomFields {
    /// Reads what follows the key; `None` if nothing does.
    fn parse(options: &Args) -> Result<Option<RandomFields>, CommandError> {
        let Some((count, rest)) = options.split_first() else { return Ok(None) };
        let count = number::integer_between(count, -i64::MAX, i64::MAX)?;
        match rest {
            [] => Ok(Some(RandomFields { count, with_values: false })),
            [option] if args::is(option, "WITHVALUES") => {
                // The reply has two elements per field, and their number must fit an integer.
                let doubled = count.unsigned_abs() <= i64::MAX.unsigned_abs() / 2;
                if doubled {
                    Ok(Some(RandomFields { count, with_values: true }))
                } else {
                    Err(CommandError::OutOfRange)
                }
            }
            _ => Err(CommandError::Syntax),
        }
    }
}

fn hscan(view: &View<'_>, args: &Args) -> CommandResult {
    page::scan_collection(view, args, DataType::Hash, |items, field, value| {
        items.push(Reply::bulk(Bytes::copy_from_slice(field)));
        items.push(Reply::bulk(Bytes::copy_from_slice(value)));
        Ok(())
    })
}

#[cfg(test)]
mod tests;
