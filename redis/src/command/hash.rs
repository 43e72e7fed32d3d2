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
//! in one command counts once. A hash without fields is no key.
//!
//! HRANDFIELD chooses through [`walk`], HSCAN pages through [`page`].

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_engine::Direction;
use neokv_resp::{Bulks, Reply, Shape};

use super::{Args, Command, CommandError, Flag, Group, Handler, KeySpec, Outcome, args};
use crate::keyspace::float::LongDouble;
use crate::keyspace::{Collection, Tx, View, page, walk};

/// A command on one hash.
const fn command(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: KeySpec::ONE,
        group: Group::Hash,
        since,
        complexity,
        summary,
        handler,
    }
}

/// Adds fields or changes them.
const GROW: &[Flag] = &[Flag::Write, Flag::DenyOom, Flag::Fast];
/// Reads the header and nothing else.
const HEADER: &[Flag] = &[Flag::ReadOnly, Flag::Fast, Flag::Point];
/// Reads the header and the fields that the command names.
const FIELDS: &[Flag] = &[Flag::ReadOnly, Flag::Fast];
/// Reads many fields.
const MANY: &[Flag] = &[Flag::ReadOnly, Flag::Walk];
/// Works on many fields in ways that the rows read do not tell: draws them again and again, or
/// matches patterns.
const LABOUR: &[Flag] = &[Flag::ReadOnly, Flag::Heavy];

/// The hash commands.
pub const COMMANDS: &[Command] = &[
    command(
        "hset",
        -4,
        GROW,
        "2.0.0",
        "O(1) per field",
        "Sets fields of a hash and counts those that are new",
        Handler::Write(hset),
    ),
    command(
        "hmset",
        -4,
        GROW,
        "2.0.0",
        "O(1) per field",
        "Sets fields of a hash",
        Handler::Write(hmset),
    ),
    command(
        "hsetnx",
        4,
        GROW,
        "2.0.0",
        "O(1)",
        "Sets a field of a hash if the field does not exist",
        Handler::Write(hsetnx),
    ),
    command(
        "hincrby",
        4,
        GROW,
        "2.0.0",
        "O(1)",
        "Adds an integer to a field of a hash",
        Handler::Write(hincrby),
    ),
    command(
        "hincrbyfloat",
        4,
        GROW,
        "2.6.0",
        "O(1)",
        "Adds a floating-point number to a field of a hash",
        Handler::Write(hincrbyfloat),
    ),
    command(
        "hdel",
        -3,
        &[Flag::Write, Flag::Fast],
        "2.0.0",
        "O(1) per field",
        "Removes fields from a hash and counts them",
        Handler::Write(hdel),
    ),
    command(
        "hget",
        3,
        FIELDS,
        "2.0.0",
        "O(1)",
        "Returns the value of a field of a hash",
        Handler::Read(hget),
    ),
    command(
        "hmget",
        -3,
        FIELDS,
        "2.0.0",
        "O(1) per field",
        "Returns the values of fields of a hash",
        Handler::Read(hmget),
    ),
    command(
        "hexists",
        3,
        FIELDS,
        "2.0.0",
        "O(1)",
        "Tells whether a field of a hash exists",
        Handler::Read(hexists),
    ),
    command(
        "hstrlen",
        3,
        FIELDS,
        "3.2.0",
        "O(1)",
        "Returns the length of the value of a field of a hash",
        Handler::Read(hstrlen),
    ),
    command(
        "hlen",
        2,
        HEADER,
        "2.0.0",
        "O(1)",
        "Returns the number of fields of a hash",
        Handler::Read(hlen),
    ),
    command(
        "hgetall",
        2,
        MANY,
        "2.0.0",
        "O(N) for N fields",
        "Returns all fields of a hash and their values",
        Handler::Read(hgetall),
    ),
    command(
        "hkeys",
        2,
        MANY,
        "2.0.0",
        "O(N) for N fields",
        "Returns all fields of a hash",
        Handler::Read(hkeys),
    ),
    command(
        "hvals",
        2,
        MANY,
        "2.0.0",
        "O(N) for N fields",
        "Returns all values of a hash",
        Handler::Read(hvals),
    ),
    command(
        "hrandfield",
        -2,
        LABOUR,
        "6.2.0",
        "O(log N) per field returned, for N fields",
        "Returns random fields of a hash",
        Handler::Read(hrandfield),
    ),
    command(
        "hscan",
        -3,
        LABOUR,
        "2.8.0",
        "O(1) per call, O(N) for all N fields",
        "Iterates over the fields of a hash",
        Handler::Read(hscan),
    ),
];

fn hset(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    set_fields(tx, args, "hset").map(Reply::count)
}

fn hmset(tx: &mut Tx<'_>, args: &Args) -> Outcome {
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
        created = created.saturating_add(u64::from(set_field(tx, &mut hash, field, value)?));
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
    hash.meta.size = hash.meta.size.saturating_add(u64::from(is_new));
    Ok(is_new)
}

fn hsetnx(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let [_, key, field, value] = args else { return Err(CommandError::WrongArity("hsetnx")) };
    let mut hash = tx.open(key, DataType::Hash)?;
    if tx.view().has_subkey(&hash, field)? {
        return Ok(Reply::Integer(0));
    }
    set_field(tx, &mut hash, field, value)?;
    tx.save(hash)?;
    Ok(Reply::Integer(1))
}

fn hincrby(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let [_, key, field, increment] = args else { return Err(CommandError::WrongArity("hincrby")) };
    let increment = args::integer(increment)?;
    let mut hash = tx.open(key, DataType::Hash)?;
    let old = match tx.view().subkey(&hash, field)? {
        Some(value) => args::canonical_integer(&value).ok_or(CommandError::HashNotInteger)?,
        None => 0,
    };
    let new = old.checked_add(increment).ok_or(CommandError::Overflow)?;
    set_field(tx, &mut hash, field, new.to_string().as_bytes())?;
    tx.save(hash)?;
    Ok(Reply::Integer(new))
}

fn hincrbyfloat(tx: &mut Tx<'_>, args: &Args) -> Outcome {
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

fn hdel(tx: &mut Tx<'_>, args: &Args) -> Outcome {
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
    let mut removed = 0u64;
    for subkey in subkeys {
        if from.is_empty() {
            break;
        }
        if tx.view().has_subkey(from, subkey)? {
            tx.delete_subkey(from, subkey)?;
            from.meta.size = from.meta.size.saturating_sub(1);
            removed = removed.saturating_add(1);
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

fn hget(view: &View<'_>, args: &Args) -> Outcome {
    let [_, key, field] = args else { return Err(CommandError::WrongArity("hget")) };
    Ok(value_of(view, key, field)?.map_or(Reply::Nil, Reply::Bulk))
}

fn hmget(view: &View<'_>, args: &Args) -> Outcome {
    let [_, key, fields @ ..] = args else { return Err(CommandError::WrongArity("hmget")) };
    let Some(hash) = existing(view, key)? else {
        return Ok(Reply::Array(fields.iter().map(|_| Reply::Nil).collect()));
    };
    let mut tally = view.tally();
    let value = |field: &Bytes| {
        let value = view.subkey(&hash, field)?;
        tally.add(value.as_ref().map_or(0, Bytes::len))?;
        Ok(value.map_or(Reply::Nil, Reply::Bulk))
    };
    fields.iter().map(value).collect::<Result<_, CommandError>>().map(Reply::Array)
}

fn hexists(view: &View<'_>, args: &Args) -> Outcome {
    let [_, key, field] = args else { return Err(CommandError::WrongArity("hexists")) };
    let Some(hash) = existing(view, key)? else { return Ok(Reply::Integer(0)) };
    Ok(Reply::Integer(i64::from(view.has_subkey(&hash, field)?)))
}

fn hstrlen(view: &View<'_>, args: &Args) -> Outcome {
    let [_, key, field] = args else { return Err(CommandError::WrongArity("hstrlen")) };
    let len = value_of(view, key, field)?.map_or(0, |value| value.len());
    Ok(Reply::Integer(i64::try_from(len).unwrap_or(i64::MAX)))
}

fn hlen(view: &View<'_>, args: &Args) -> Outcome {
    let [_, key] = args else { return Err(CommandError::WrongArity("hlen")) };
    Ok(Reply::count(existing(view, key)?.map_or(0, |hash| hash.size())))
}

fn hgetall(view: &View<'_>, args: &Args) -> Outcome {
    all(view, args, Shape::Map, |strings, field, value| strings.extend([field, value]))
}

fn hkeys(view: &View<'_>, args: &Args) -> Outcome {
    all(view, args, Shape::Array, |strings, field, _| strings.push(field))
}

fn hvals(view: &View<'_>, args: &Args) -> Outcome {
    all(view, args, Shape::Array, |strings, _, value| strings.push(value))
}

/// What `add` takes of every field and value of the hash in the first argument.
fn all(
    view: &View<'_>,
    args: &Args,
    shape: Shape,
    add: impl Fn(&mut Bulks, &[u8], &[u8]),
) -> Outcome {
    let mut strings = Bulks::new();
    if let Some(hash) = existing(view, args::get(args, 1)?)? {
        view.expect_rows(hash.size())?;
        strings = Bulks::expecting(hash.size());
        let mut fields = view.subkeys(&hash, Direction::Forward)?;
        while let Some((field, value)) = fields.next_ref()? {
            add(&mut strings, field, value);
            view.check_answer(strings.size())?;
        }
    }
    Ok(Reply::Bulks(shape, strings))
}

fn hrandfield(view: &View<'_>, args: &Args) -> Outcome {
    let [_, key, options @ ..] = args else { return Err(CommandError::WrongArity("hrandfield")) };
    let Some(options) = RandomFields::parse(options)? else {
        let Some(hash) = existing(view, key)? else { return Ok(Reply::Nil) };
        let field = walk::one(view, &hash, &mut view.random())?;
        return Ok(field.map_or(Reply::Nil, |(field, _)| Reply::Bulk(field)));
    };
    let fields = match existing(view, key)? {
        Some(hash) => walk::sample(view, &hash, options.count, &mut view.random())?,
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
        let count = args::integer_between(count, -i64::MAX, i64::MAX)?;
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

fn hscan(view: &View<'_>, args: &Args) -> Outcome {
    page::scan_collection(view, args, DataType::Hash, |items, field, value| {
        items.push(Reply::bulk(Bytes::copy_from_slice(field)));
        items.push(Reply::bulk(Bytes::copy_from_slice(value)));
        Ok(())
    })
}

#[cfg(test)]
mod tests;
