//! Strings: GET, SET and everything that reads or writes one as bytes. Arithmetic is in
//! [`super::numeric`].
//!
//! A string lives in its metadata record, so every command here costs one look-up and at most one
//! write per key.
//!
//! Corners of Redis 7.0 that are easy to get wrong:
//!
//! * `SET k v NX GET` answers the old value, whether or not it sets.
//! * The expiry of SET is checked before the type of the old value (GET), that of GETEX after it.
//! * `GETRANGE k 0 -100` is the first byte, not nothing: both ends are moved to the start before
//!   they are compared.
//! * APPEND of nothing creates the key, SETRANGE of nothing does not.
//! * A SET or GETEX to an instant that has passed leaves no key.

use bytes::Bytes;
use neokv_resp::Reply;

use super::args::{self, Expiry};
use super::{Args, Command, CommandError, Flag, Group, Handler, KeySpec, Outcome};
use crate::keyspace::{Tx, View};

/// The longest string. Part of the state machine: every replica must refuse at the same length.
pub const MAX_STRING: u64 = 512 * 1024 * 1024;

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        arity: 2,
        flags: &[Flag::ReadOnly, Flag::Fast, Flag::Point],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Get the value of a key",
        handler: Handler::Read(get),
    },
    Command {
        name: "set",
        arity: -3,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Set the string value of a key",
        handler: Handler::Write(set),
    },
    Command {
        name: "setnx",
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Set the value of a key, only if the key does not exist",
        handler: Handler::Write(setnx),
    },
    Command {
        name: "setex",
        arity: 4,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Set the value and expiration of a key",
        handler: Handler::Write(setex),
    },
    Command {
        name: "psetex",
        arity: 4,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "2.6.0",
        complexity: "O(1)",
        summary: "Set the value and expiration in milliseconds of a key",
        handler: Handler::Write(psetex),
    },
    Command {
        name: "getset",
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Set the string value of a key and return its old value",
        handler: Handler::Write(getset),
    },
    Command {
        name: "getdel",
        arity: 2,
        flags: &[Flag::Write, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Get the value of a key and delete the key",
        handler: Handler::Write(getdel),
    },
    Command {
        name: "getex",
        arity: -2,
        flags: &[Flag::Write, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "6.2.0",
        complexity: "O(1)",
        summary: "Get the value of a key and optionally set its expiration",
        handler: Handler::Write(getex),
    },
    Command {
        name: "mget",
        arity: -2,
        flags: &[Flag::ReadOnly, Flag::Fast],
        keys: KeySpec::ALL,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N) where N is the number of keys to retrieve.",
        summary: "Get the values of all the given keys",
        handler: Handler::Read(mget),
    },
    Command {
        name: "mset",
        arity: -3,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: KeySpec::PAIRS,
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Set multiple keys to multiple values",
        handler: Handler::Write(mset),
    },
    Command {
        name: "msetnx",
        arity: -3,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: KeySpec::PAIRS,
        group: Group::String,
        since: "1.0.1",
        complexity: "O(N) where N is the number of keys to set.",
        summary: "Set multiple keys to multiple values, only if none of the keys exist",
        handler: Handler::Write(msetnx),
    },
    Command {
        name: "strlen",
        arity: 2,
        flags: &[Flag::ReadOnly, Flag::Fast, Flag::Point],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "2.2.0",
        complexity: "O(1)",
        summary: "Get the length of the value stored in a key",
        handler: Handler::Read(strlen),
    },
    Command {
        name: "append",
        arity: 3,
        flags: &[Flag::Write, Flag::DenyOom, Flag::Fast],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "2.0.0",
        complexity: "O(N) where N is the length of the resulting value.",
        summary: "Append a value to a key",
        handler: Handler::Write(append),
    },
    Command {
        name: "getrange",
        arity: 4,
        flags: &[Flag::ReadOnly, Flag::Point],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "2.4.0",
        complexity: "O(N) where N is the length of the stored string.",
        summary: "Get a substring of the string stored at a key",
        handler: Handler::Read(getrange),
    },
    Command {
        name: "substr",
        arity: 4,
        flags: &[Flag::ReadOnly, Flag::Point],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "1.0.0",
        complexity: "O(N) where N is the length of the stored string.",
        summary: "Get a substring of the string stored at a key",
        handler: Handler::Read(getrange),
    },
    Command {
        name: "setrange",
        arity: 4,
        flags: &[Flag::Write, Flag::DenyOom],
        keys: KeySpec::ONE,
        group: Group::String,
        since: "2.2.0",
        complexity: "O(N) where N is the length of the resulting value.",
        summary: "Overwrite part of a string at key starting at the specified offset",
        handler: Handler::Write(setrange),
    },
];

/// The key, which every command here has as its first argument.
fn key(args: &Args) -> Result<&Bytes, CommandError> {
    args::get(args, 1)
}

fn bulk_or_nil(value: Option<Bytes>) -> Reply {
    value.map_or(Reply::Nil, Reply::Bulk)
}

fn get(view: &View<'_>, args: &Args) -> Outcome {
    Ok(bulk_or_nil(view.string(key(args)?)?.map(|(value, _)| value)))
}

fn strlen(view: &View<'_>, args: &Args) -> Outcome {
    let length = view.string(key(args)?)?.map_or(0, |(value, _)| length(&value));
    Ok(Reply::count(length))
}

fn mget(view: &View<'_>, args: &Args) -> Outcome {
    let keys = args::rest(args, 1);
    let (mut values, mut tally) = (Vec::with_capacity(keys.len()), view.tally());
    for key in keys {
        let value = match view.string(key) {
            Ok(found) => found.map(|(value, _)| value),
            Err(CommandError::WrongType) => None,
            Err(error) => return Err(error),
        };
        tally.add(value.as_ref().map_or(0, Bytes::len))?;
        values.push(bulk_or_nil(value));
    }
    Ok(Reply::Array(values))
}

fn getrange(view: &View<'_>, args: &Args) -> Outcome {
    let start = args::integer(args::get(args, 2)?)?;
    let end = args::integer(args::get(args, 3)?)?;
    let Some((value, _)) = view.string(key(args)?)? else { return Ok(Reply::Bulk(Bytes::new())) };
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    if (start < 0 && end < 0 && start > end) || length == 0 {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let from_end = |index: i64| if index < 0 { length.saturating_add(index).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end).min(length.saturating_sub(1)));
    if start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let (start, end) = (usize::try_from(start).unwrap_or(0), usize::try_from(end).unwrap_or(0));
    Ok(Reply::Bulk(value.slice(start..=end)))
}

/// The options that SET and GETEX share.
#[derive(Default)]
struct Options<'a> {
    only_absent: bool,
    only_present: bool,
    get: bool,
    keep: bool,
    persist: bool,
    expiry: Option<(Expiry, &'a Bytes)>,
}

impl<'a> Options<'a> {
    /// Reads `options`; those of SET if `set`, of GETEX otherwise.
    fn parse(options: &'a Args, set: bool) -> Result<Options<'a>, CommandError> {
        let mut parsed = Options::default();
        let mut at = 0usize;
        while let Some(option) = options.get(at) {
            at = at.saturating_add(1);
            if let Some(expiry) = Expiry::keyword(option) {
                let other = parsed.expiry.is_some_and(|(earlier, _)| earlier != expiry);
                let value = options.get(at).filter(|_| !other && !parsed.keep && !parsed.persist);
                parsed.expiry = Some((expiry, value.ok_or(CommandError::Syntax)?));
                at = at.saturating_add(1);
            } else if set && args::is(option, "NX") && !parsed.only_present {
                parsed.only_absent = true;
            } else if set && args::is(option, "XX") && !parsed.only_absent {
                parsed.only_present = true;
            } else if set && args::is(option, "GET") {
                parsed.get = true;
            } else if set && args::is(option, "KEEPTTL") && parsed.expiry.is_none() {
                parsed.keep = true;
            } else if !set && args::is(option, "PERSIST") && parsed.expiry.is_none() {
                parsed.persist = true;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(parsed)
    }

    /// The instant of the expiry, if one is given.
    fn instant(&self, now_ms: u64, command: &'static str) -> Result<Option<u64>, CommandError> {
        self.expiry.map(|(expiry, value)| expiry.instant(value, now_ms, command)).transpose()
    }
}

fn set(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let (key, value) = (key(args)?, args::get(args, 2)?);
    if args.len() == 3 {
        tx.set_string(key, value, 0)?;
        return Ok(Reply::Ok);
    }
    let options = Options::parse(args::rest(args, 3), true)?;
    let expire_ms = options.instant(tx.now_ms(), "set")?;
    if !(options.get || options.keep || options.only_absent || options.only_present) {
        store(tx, key, value, expire_ms.unwrap_or(0))?;
        return Ok(Reply::Ok);
    }
    let old = if options.get { tx.view().string(key)?.map(|(value, _)| value) } else { None };
    let header = tx.view().header(key)?;
    let refused = if header.is_some() { options.only_absent } else { options.only_present };
    if !refused {
        let kept = header.filter(|_| options.keep).map_or(0, |(_, expire_ms)| expire_ms);
        store(tx, key, value, expire_ms.unwrap_or(kept))?;
    }
    Ok(match (options.get, refused) {
        (true, _) => bulk_or_nil(old),
        (false, true) => Reply::Nil,
        (false, false) => Reply::Ok,
    })
}

/// Stores a string, unless its time is over before it begins.
fn store(tx: &mut Tx<'_>, key: &Bytes, value: &[u8], expire_ms: u64) -> Result<(), CommandError> {
    if tx.view().is_expired(expire_ms) {
        tx.delete(key)?;
        return Ok(());
    }
    tx.set_string(key, value, expire_ms)
}

fn setnx(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let key = key(args)?;
    if tx.view().exists(key)? {
        return Ok(Reply::Integer(0));
    }
    tx.set_string(key, args::get(args, 2)?, 0)?;
    Ok(Reply::Integer(1))
}

fn setex(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    set_with_expiry(tx, args, Expiry::Seconds, "setex")
}

fn psetex(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    set_with_expiry(tx, args, Expiry::Milliseconds, "psetex")
}

fn set_with_expiry(tx: &mut Tx<'_>, args: &Args, expiry: Expiry, command: &'static str) -> Outcome {
    let expire_ms = expiry.instant(args::get(args, 2)?, tx.now_ms(), command)?;
    tx.set_string(key(args)?, args::get(args, 3)?, expire_ms)?;
    Ok(Reply::Ok)
}

fn getset(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let entry = tx.string_entry(key(args)?)?;
    tx.put_string(&entry, args::get(args, 2)?, 0)?;
    Ok(bulk_or_nil(entry.current.map(|(value, _)| value)))
}

fn getdel(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let entry = tx.string_entry(key(args)?)?;
    if entry.current.is_some() {
        tx.delete_string(&entry);
    }
    Ok(bulk_or_nil(entry.current.map(|(value, _)| value)))
}

fn getex(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let options = Options::parse(args::rest(args, 2), false)?;
    let entry = tx.string_entry(key(args)?)?;
    let Some((value, old_expire_ms)) = entry.current.clone() else { return Ok(Reply::Nil) };
    match options.instant(tx.now_ms(), "getex")? {
        Some(expire_ms) if tx.view().is_expired(expire_ms) => tx.delete_string(&entry),
        Some(expire_ms) => tx.put_string(&entry, &value, expire_ms)?,
        None if options.persist && old_expire_ms != 0 => tx.put_string(&entry, &value, 0)?,
        None => {}
    }
    Ok(Reply::Bulk(value))
}

fn mset(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    check_pairs(args, "mset")?;
    for (key, value) in args::pairs(args, 1) {
        tx.set_string(key, value, 0)?;
    }
    Ok(Reply::Ok)
}

fn msetnx(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    check_pairs(args, "msetnx")?;
    for (key, _) in args::pairs(args, 1) {
        if tx.view().exists(key)? {
            return Ok(Reply::Integer(0));
        }
    }
    for (key, value) in args::pairs(args, 1) {
        tx.set_string(key, value, 0)?;
    }
    Ok(Reply::Integer(1))
}

/// Every key has a value.
fn check_pairs(args: &Args, command: &'static str) -> Result<(), CommandError> {
    if args.len() % 2 == 1 { Ok(()) } else { Err(CommandError::WrongArity(command)) }
}

fn append(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let entry = tx.string_entry(key(args)?)?;
    let tail = args::get(args, 2)?;
    check_length(length(entry.value()), length(tail))?;
    let mut value = Vec::with_capacity(entry.value().len().saturating_add(tail.len()));
    value.extend_from_slice(entry.value());
    value.extend_from_slice(tail);
    tx.put_string(&entry, &value, entry.expire_ms())?;
    Ok(Reply::count(length(&value)))
}

fn setrange(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let offset = args::integer(args::get(args, 2)?)?;
    let offset = u64::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    let entry = tx.string_entry(key(args)?)?;
    let patch = args::get(args, 3)?;
    if patch.is_empty() {
        return Ok(Reply::count(length(entry.value())));
    }
    check_length(offset, length(patch))?;
    let start = usize::try_from(offset).map_err(|_| CommandError::StringTooLong)?;
    let end = start.saturating_add(patch.len());
    let mut value = Vec::with_capacity(entry.value().len().max(end));
    value.extend_from_slice(entry.value());
    if value.len() < end {
        value.resize(end, 0);
    }
    if let Some(place) = value.get_mut(start..end) {
        place.copy_from_slice(patch);
    }
    tx.put_string(&entry, &value, entry.expire_ms())?;
    Ok(Reply::count(length(&value)))
}

/// Refuses a string that would be longer than [`MAX_STRING`].
fn check_length(start: u64, more: u64) -> Result<(), CommandError> {
    match start.checked_add(more) {
        Some(total) if total <= MAX_STRING => Ok(()),
        _ => Err(CommandError::StringTooLong),
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
