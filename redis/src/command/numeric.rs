//! Strings as numbers: INCR and its relatives.
//!
//! Integers are 64-bit and stored in canonical decimal form; what is not in that form (`010`, ` 1`,
//! an empty string) is not an integer. INCRBYFLOAT computes in long doubles, see
//! [`crate::keyspace::float`]. The expiry of the key stays.

use neokv_resp::Reply;

use super::declare::commands;
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::float::LongDouble;
use crate::keyspace::{StringValue, Tx};
use crate::number;

/// The commands of this file.
pub const COMMANDS: &[Command] = commands! { String;
    "incr", 2, Write(incr), [Write DenyOom Fast], "1.0.0", "O(1)",
        "Increment the integer value of a key by one",
        keys: &[one(&[Rw, Access, Update])],
        arguments: &[KEY];
    "decr", 2, Write(decr), [Write DenyOom Fast], "1.0.0", "O(1)",
        "Decrement the integer value of a key by one",
        keys: &[one(&[Rw, Access, Update])],
        arguments: &[KEY];
    "incrby", 3, Write(incrby), [Write DenyOom Fast], "1.0.0", "O(1)",
        "Increment the integer value of a key by the given amount",
        keys: &[one(&[Rw, Access, Update])],
        arguments: &[KEY, integer("increment")];
    "decrby", 3, Write(decrby), [Write DenyOom Fast], "1.0.0", "O(1)",
        "Decrement the integer value of a key by the given number",
        keys: &[one(&[Rw, Access, Update])],
        arguments: &[KEY, integer("decrement")];
    "incrbyfloat", 3, Write(incrbyfloat), [Write DenyOom Fast], "2.6.0", "O(1)",
        "Increment the float value of a key by the given amount",
        keys: &[one(&[Rw, Access, Update])],
        arguments: &[KEY, double("increment")];
};

fn incr(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    change(tx, args, 1)
}

fn decr(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    change(tx, args, -1)
}

fn incrby(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let by = number::integer(args::get(args, 2)?)?;
    change(tx, args, by)
}

fn decrby(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let by = number::integer(args::get(args, 2)?)?;
    change(tx, args, by.checked_neg().ok_or(CommandError::DecrementOverflow)?)
}

fn change(tx: &mut Tx<'_>, args: &Args, by: i64) -> CommandResult {
    let entry = tx.string_entry(args::get(args, 1)?)?;
    let old = match &entry.current {
        Some((StringValue::Whole(value), _)) => number::integer(value)?,
        // It is longer than any number.
        Some((StringValue::Chunked(_), _)) => return Err(CommandError::NotInteger),
        None => 0,
    };
    let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
    tx.put_string(&entry, new.to_string().as_bytes(), entry.expire_ms())?;
    Ok(Reply::Integer(new))
}

fn incrbyfloat(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let entry = tx.string_entry(args::get(args, 1)?)?;
    let old = match &entry.current {
        Some((StringValue::Whole(value), _)) => {
            LongDouble::parse(value).ok_or(CommandError::NotFloat)?
        }
        Some((StringValue::Chunked(_), _)) => return Err(CommandError::NotFloat),
        None => LongDouble::ZERO,
    };
    let by = LongDouble::parse(args::get(args, 2)?).ok_or(CommandError::NotFloat)?;
    let new = old.plus(by).ok_or(CommandError::NotFinite)?.to_string();
    tx.put_string(&entry, new.as_bytes(), entry.expire_ms())?;
    Ok(Reply::bulk(new))
}

#[cfg(test)]
mod tests;
