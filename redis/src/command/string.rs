//! Strings: GET, SET and everything that reads or writes one as bytes. Arithmetic is in
//! [`super::numeric`].
//!
//! A string of up to 16 KiB is stored in its metadata record, so a command costs one look-up and at
//! most one write per key. A longer one is stored in chunks (see
//! [`StringValue`](crate::keyspace::StringValue)): what concerns a part of it costs as much as that
//! part.
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

use super::args::ExpiryUnit;
use super::declare::commands;
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::{Tx, View};
use crate::number;

/// The longest string. Part of the state machine: every replica must refuse at the same length.
pub const MAX_STRING: u64 = 512 * 1024 * 1024;

/// The commands of this file.
pub const COMMANDS: &[Command] = commands! { String;
    "get", 2, Read(get, Latest), [ReadOnly Fast], "1.0.0", "O(1)",
        "Get the value of a key",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY];
    "set", -3, Write(set), [Write DenyOom], "1.0.0", "O(1)",
        "Set the string value of a key",
        keys: &[
            one(&[Rw, Access, Update, Variable]).note("RW and ACCESS due to the optional `GET` \
             argument")
        ],
        answers: StoredWith("get"),
        arguments: &[
            KEY, string("value"),
            one_of("condition", &[token("NX"), token("XX")]).optional().since("2.6.12"),
            token("GET").optional().since("6.2.0"),
            one_of("expiration", &[
                integer("seconds").after("EX").since("2.6.12"),
                integer("milliseconds").after("PX").since("2.6.12"),
                unix_time("unix-time-seconds").after("EXAT").since("6.2.0"),
                unix_time("unix-time-milliseconds").after("PXAT").since("6.2.0"),
                token("KEEPTTL").since("6.0.0")
            ]).optional()
        ],
        history: &[
            ("2.6.12", "Added the `EX`, `PX`, `NX` and `XX` options."),
            ("6.0.0", "Added the `KEEPTTL` option."),
            ("6.2.0", "Added the `GET`, `EXAT` and `PXAT` option."),
            ("7.0.0", "Allowed the `NX` and `GET` options to be used together."),
        ];
    "setnx", 3, Write(setnx), [Write DenyOom Fast], "1.0.0", "O(1)",
        "Set the value of a key, only if the key does not exist",
        keys: &[one(&[Ow, Insert])],
        arguments: &[KEY, string("value")];
    "setex", 4, Write(setex), [Write DenyOom], "2.0.0", "O(1)",
        "Set the value and expiration of a key",
        keys: &[one(&[Ow, Update])],
        arguments: &[KEY, integer("seconds"), string("value")];
    "psetex", 4, Write(psetex), [Write DenyOom], "2.6.0", "O(1)",
        "Set the value and expiration in milliseconds of a key",
        keys: &[one(&[Ow, Update])],
        arguments: &[KEY, integer("milliseconds"), string("value")];
    "getset", 3, Write(getset), [Write DenyOom Fast], "1.0.0", "O(1)",
        "Set the string value of a key and return its old value",
        keys: &[one(&[Rw, Access, Update])],
        answers: Stored,
        arguments: &[KEY, string("value")],
        deprecated: Some(("6.2.0", "`SET` with the `!GET` argument"));
    "getdel", 2, Write(getdel), [Write Fast], "6.2.0", "O(1)",
        "Get the value of a key and delete the key",
        keys: &[one(&[Rw, Access, Delete])],
        answers: Stored,
        arguments: &[KEY];
    "getex", -2, Write(getex), [Write Fast], "6.2.0", "O(1)",
        "Get the value of a key and optionally set its expiration",
        keys: &[one(&[Rw, Access, Update]).note("RW and UPDATE because it changes the TTL")],
        answers: Stored,
        arguments: &[
            KEY,
            one_of("expiration", &[
                integer("seconds").after("EX"), integer("milliseconds").after("PX"),
                unix_time("unix-time-seconds").after("EXAT"),
                unix_time("unix-time-milliseconds").after("PXAT"), token("PERSIST")
            ]).optional()
        ];
    "mget", -2, Read(mget, Budgeted), [ReadOnly Fast], "1.0.0",
        "O(N) where N is the number of keys to retrieve.",
        "Get the values of all the given keys",
        keys: &[all(&[Ro, Access])],
        arguments: &[KEYS],
        tips: &["request_policy:multi_shard"];
    "mset", -3, Write(mset), [Write DenyOom], "1.0.1", "O(N) where N is the number of keys to set.",
        "Set multiple keys to multiple values",
        keys: &[pairs(&[Ow, Update])],
        arguments: &[block("key_value", &[KEY, string("value")]).multiple()],
        tips: &["request_policy:multi_shard", "response_policy:all_succeeded"];
    "msetnx", -3, Write(msetnx), [Write DenyOom], "1.0.1",
        "O(N) where N is the number of keys to set.",
        "Set multiple keys to multiple values, only if none of the keys exist",
        keys: &[pairs(&[Ow, Insert])],
        arguments: &[block("key_value", &[KEY, string("value")]).multiple()],
        tips: &["request_policy:multi_shard", "response_policy:agg_min"];
    "strlen", 2, Read(strlen, Latest), [ReadOnly Fast], "2.2.0", "O(1)",
        "Get the length of the value stored in a key",
        keys: &[one(&[Ro])],
        arguments: &[KEY];
    "append", 3, Write(append), [Write DenyOom Fast], "2.0.0",
        "O(N) where N is the length of the appended value.",
        "Append a value to a key",
        keys: &[one(&[Rw, Insert])],
        arguments: &[KEY, string("value")];
    "getrange", 4, Read(getrange, Latest), [ReadOnly], "2.4.0",
        "O(N) where N is the length of the returned string.",
        "Get a substring of the string stored at a key",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, integer("start"), integer("end")];
    "substr", 4, Read(getrange, Latest), [ReadOnly], "1.0.0",
        "O(N) where N is the length of the returned string.",
        "Get a substring of the string stored at a key",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, integer("start"), integer("end")],
        deprecated: Some(("2.0.0", "`GETRANGE`"));
    "setrange", 4, Write(setrange), [Write DenyOom], "2.2.0",
        "O(N) where N is the length of the value argument.",
        "Overwrite part of a string at key starting at the specified offset",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY, integer("offset"), string("value")];
};

/// The key, which every command here has as its first argument.
fn key(args: &Args) -> Result<&Bytes, CommandError> {
    args::get(args, 1)
}

fn bulk_or_nil(value: Option<Bytes>) -> Reply {
    value.map_or(Reply::Nil, Reply::Bulk)
}

fn get(view: &View<'_>, args: &Args) -> CommandResult {
    Ok(bulk_or_nil(view.string(key(args)?)?.map(|(value, _)| value)))
}

fn strlen(view: &View<'_>, args: &Args) -> CommandResult {
    Ok(Reply::count(view.string_length(key(args)?)?.unwrap_or(0)))
}

fn mget(view: &View<'_>, args: &Args) -> CommandResult {
    let keys = args::rest(args, 1);
    let (mut values, mut limit) = (Vec::with_capacity(keys.len()), view.reply_limit());
    for key in keys {
        let value = match view.string(key) {
            Ok(found) => found.map(|(value, _)| value),
            Err(CommandError::WrongType) => None,
            Err(error) => return Err(error),
        };
        limit.add(value.as_ref().map_or(0, Bytes::len))?;
        values.push(bulk_or_nil(value));
    }
    Ok(Reply::Array(values))
}

fn getrange(view: &View<'_>, args: &Args) -> CommandResult {
    let start = number::integer(args::get(args, 2)?)?;
    let end = number::integer(args::get(args, 3)?)?;
    let Some((value, _)) = view.open_string(key(args)?)? else {
        return Ok(Reply::Bulk(Bytes::new()));
    };
    let length = i64::try_from(value.length()).unwrap_or(i64::MAX);
    if (start < 0 && end < 0 && start > end) || length == 0 {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let from_end = |index: i64| if index < 0 { (length + index).max(0) } else { index };
    let (start, end) = (from_end(start), from_end(end).min(length - 1));
    if start > end {
        return Ok(Reply::Bulk(Bytes::new()));
    }
    let (start, end) = (u64::try_from(start).unwrap_or(0), u64::try_from(end).unwrap_or(0));
    Ok(Reply::Bulk(view.string_bytes(&value, start..end + 1)?))
}

/// The options that SET and GETEX share.
#[derive(Default)]
struct SetOptions<'a> {
    only_absent: bool,
    only_present: bool,
    get: bool,
    keep: bool,
    persist: bool,
    expiry: Option<(ExpiryUnit, &'a Bytes)>,
}

impl<'a> SetOptions<'a> {
    /// Reads `options`; those of SET if `set`, of GETEX otherwise.
    fn parse(options: &'a Args, set: bool) -> Result<SetOptions<'a>, CommandError> {
        let mut parsed = SetOptions::default();
        let mut at = 0usize;
        while let Some(option) = options.get(at) {
            at += 1;
            if let Some(expiry) = ExpiryUnit::keyword(option) {
                let other = parsed.expiry.is_some_and(|(earlier, _)| earlier != expiry);
                let value = options.get(at).filter(|_| !other && !parsed.keep && !parsed.persist);
                parsed.expiry = Some((expiry, value.ok_or(CommandError::Syntax)?));
                at += 1;
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

fn set(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let (key, value) = (key(args)?, args::get(args, 2)?);
    if args.len() == 3 {
        tx.set_string(key, value, 0)?;
        return Ok(Reply::Ok);
    }
    let options = SetOptions::parse(args::rest(args, 3), true)?;
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

/// Stores a string, unless it expires at once.
fn store(tx: &mut Tx<'_>, key: &Bytes, value: &[u8], expire_ms: u64) -> Result<(), CommandError> {
    if tx.view().is_expired(expire_ms) {
        tx.delete(key)?;
        return Ok(());
    }
    tx.set_string(key, value, expire_ms)
}

fn setnx(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let key = key(args)?;
    if tx.view().exists(key)? {
        return Ok(Reply::Integer(0));
    }
    tx.set_string(key, args::get(args, 2)?, 0)?;
    Ok(Reply::Integer(1))
}

fn setex(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    set_with_expiry(tx, args, ExpiryUnit::Seconds, "setex")
}

fn psetex(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    set_with_expiry(tx, args, ExpiryUnit::Milliseconds, "psetex")
}

fn set_with_expiry(
    tx: &mut Tx<'_>,
    args: &Args,
    expiry: ExpiryUnit,
    command: &'static str,
) -> CommandResult {
    let expire_ms = expiry.instant(args::get(args, 2)?, tx.now_ms(), command)?;
    tx.set_string(key(args)?, args::get(args, 3)?, expire_ms)?;
    Ok(Reply::Ok)
}

fn getset(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let entry = tx.string_entry(key(args)?)?;
    let old = tx.entry_bytes(&entry)?;
    tx.put_string(&entry, args::get(args, 2)?, 0)?;
    Ok(bulk_or_nil(old))
}

fn getdel(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let entry = tx.string_entry(key(args)?)?;
    let old = tx.entry_bytes(&entry)?;
    if old.is_some() {
        tx.delete_string(&entry)?;
    }
    Ok(bulk_or_nil(old))
}

fn getex(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let options = SetOptions::parse(args::rest(args, 2), false)?;
    let entry = tx.string_entry(key(args)?)?;
    let Some(value) = tx.entry_bytes(&entry)? else { return Ok(Reply::Nil) };
    match options.instant(tx.now_ms(), "getex")? {
        Some(expire_ms) if tx.view().is_expired(expire_ms) => tx.delete_string(&entry)?,
        Some(expire_ms) => tx.put_expiry(&entry, expire_ms)?,
        None if options.persist && entry.expire_ms() != 0 => tx.put_expiry(&entry, 0)?,
        None => {}
    }
    Ok(Reply::Bulk(value))
}

fn mset(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    check_pairs(args, "mset")?;
    for (key, value) in args::pairs(args, 1) {
        tx.set_string(key, value, 0)?;
    }
    Ok(Reply::Ok)
}

fn msetnx(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
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

fn append(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let entry = tx.string_entry(key(args)?)?;
    let (end, tail) = (entry.length(), args::get(args, 2)?);
    check_length(end, length(tail))?;
    Ok(Reply::count(tx.write_into_string(entry, end, tail)?))
}

fn setrange(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let offset = number::integer(args::get(args, 2)?)?;
    let offset = u64::try_from(offset).map_err(|_| CommandError::OffsetOutOfRange)?;
    let entry = tx.string_entry(key(args)?)?;
    let patch = args::get(args, 3)?;
    if patch.is_empty() {
        return Ok(Reply::count(entry.length()));
    }
    check_length(offset, length(patch))?;
    Ok(Reply::count(tx.write_into_string(entry, offset, patch)?))
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
