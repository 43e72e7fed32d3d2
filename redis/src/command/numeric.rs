//! Strings as numbers: INCR and its relatives.
//!
//! Integers are 64-bit and stored in canonical decimal form; what is not in that form (`010`, ` 1`,
//! an empty string) is no integer. INCRBYFLOAT computes in long doubles, see
//! [`crate::keyspace::float`]. The expiry of the key stays.

use neokv_resp::Reply;

use super::{Args, Command, CommandError, Flag, Group, Handler, KeySpec, Outcome, args};
use crate::keyspace::Tx;
use crate::keyspace::float::LongDouble;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "incr",
        arity: 2,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Increment the integer value of a key by one",
        handler: Handler::Write(incr),
    },
    Command {
        name: "decr",
        arity: 2,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Decrement the integer value of a key by one",
        handler: Handler::Write(decr),
    },
    Command {
        name: "incrby",
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Increment the integer value of a key by the given amount",
        handler: Handler::Write(incrby),
    },
    Command {
        name: "decrby",
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Decrement the integer value of a key by the given number",
        handler: Handler::Write(decrby),
    },
    Command {
        name: "incrbyfloat",
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Increment the float value of a key by the given amount",
        handler: Handler::Write(incrbyfloat),
    },
];

fn incr(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    change(tx, args, 1)
}

fn decr(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    change(tx, args, -1)
}

fn incrby(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let by = args::integer(args::get(args, 2)?)?;
    change(tx, args, by)
}

fn decrby(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let by = args::integer(args::get(args, 2)?)?;
    change(tx, args, by.checked_neg().ok_or(CommandError::DecrementOverflow)?)
}

fn change(tx: &mut Tx<'_>, args: &Args, by: i64) -> Outcome {
    let entry = tx.string_entry(args::get(args, 1)?)?;
    let old = match &entry.current {
        Some((value, _)) => args::integer(value)?,
        None => 0,
    };
    let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
    tx.put_string(&entry, new.to_string().as_bytes(), entry.expire_ms())?;
    Ok(Reply::Integer(new))
}

fn incrbyfloat(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let entry = tx.string_entry(args::get(args, 1)?)?;
    let old = match &entry.current {
        Some((value, _)) => LongDouble::parse(value).ok_or(CommandError::NotFloat)?,
        None => LongDouble::ZERO,
    };
    let by = LongDouble::parse(args::get(args, 2)?).ok_or(CommandError::NotFloat)?;
    let new = old.plus(by).ok_or(CommandError::NotFinite)?.to_string();
    tx.put_string(&entry, new.as_bytes(), entry.expire_ms())?;
    Ok(Reply::bulk(new))
}

#[cfg(test)]
mod tests;
