//! ExpiryUnit: EXPIRE, TTL, PERSIST and their relatives.
//!
//! All four EXPIREs are one: an instant is `argument · unit + base`, where the unit is a second or
//! a millisecond and the base is now or 1970. An instant that has passed deletes the key at once; a
//! negative one counts as passed. Options are checked before the number, the number before the key.

use neokv_resp::Reply;

use super::args::ExpiryUnit;
use super::declare::argument::words::{one_of, token};
use super::declare::{Argument, Change, commands};
use super::{Args, Command, CommandResult, args};
use crate::error::{CommandError, shown};
use crate::keyspace::{Tx, View};
use crate::number;

/// The option of the EXPIRE family.
const CONDITION: Argument =
    one_of("condition", &[token("NX"), token("XX"), token("GT"), token("LT")])
        .optional()
        .since("7.0.0");
const CONDITION_ADDED: &[Change] = &[("7.0.0", "Added options: `NX`, `XX`, `GT` and `LT`.")];
const MINUS_TWO_ADDED: &[Change] = &[("2.8.0", "Added the -2 reply.")];

/// The commands of this file.
pub const COMMANDS: &[Command] = commands! { Generic;
    "expire", -3, Write(expire), [Write Fast], "1.0.0", "O(1)",
        "Set a key's time to live in seconds",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY, integer("seconds"), CONDITION],
        history: CONDITION_ADDED;
    "pexpire", -3, Write(pexpire), [Write Fast], "2.6.0", "O(1)",
        "Set a key's time to live in milliseconds",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY, integer("milliseconds"), CONDITION],
        history: CONDITION_ADDED;
    "expireat", -3, Write(expireat), [Write Fast], "1.2.0", "O(1)",
        "Set the expiration for a key as a UNIX timestamp",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY, unix_time("unix-time-seconds"), CONDITION],
        history: CONDITION_ADDED;
    "pexpireat", -3, Write(pexpireat), [Write Fast], "2.6.0", "O(1)",
        "Set the expiration for a key as a UNIX timestamp specified in milliseconds",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY, unix_time("unix-time-milliseconds"), CONDITION],
        history: CONDITION_ADDED;
    "ttl", 2, Read(ttl, Latest), [ReadOnly Fast], "1.0.0", "O(1)",
        "Get the time to live for a key in seconds",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY],
        history: MINUS_TWO_ADDED,
        tips: &["nondeterministic_output"];
    "pttl", 2, Read(pttl, Latest), [ReadOnly Fast], "2.6.0", "O(1)",
        "Get the time to live for a key in milliseconds",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY],
        history: MINUS_TWO_ADDED,
        tips: &["nondeterministic_output"];
    "expiretime", 2, Read(expiretime, Latest), [ReadOnly Fast], "7.0.0", "O(1)",
        "Get the expiration Unix timestamp for a key",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY];
    "pexpiretime", 2, Read(pexpiretime, Latest), [ReadOnly Fast], "7.0.0", "O(1)",
        "Get the expiration Unix timestamp for a key in milliseconds",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY];
    "persist", 2, Write(persist), [Write Fast], "2.2.0", "O(1)",
        "Remove the expiration from a key",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY];
};

fn expire(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    set_expiry(tx, args, ExpiryUnit::Seconds, "expire")
}

fn pexpire(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    set_expiry(tx, args, ExpiryUnit::Milliseconds, "pexpire")
}

fn expireat(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    set_expiry(tx, args, ExpiryUnit::AtSeconds, "expireat")
}

fn pexpireat(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    set_expiry(tx, args, ExpiryUnit::AtMilliseconds, "pexpireat")
}

/// The conditions under which an EXPIRE takes effect.
#[derive(Clone, Copy, Default)]
struct Conditions {
    only_without: bool,
    only_with: bool,
    only_later: bool,
    only_earlier: bool,
}

impl Conditions {
    fn parse(options: &Args) -> Result<Conditions, CommandError> {
        let mut parsed = Conditions::default();
        for option in options {
            let condition = match option {
                _ if args::is(option, "NX") => &mut parsed.only_without,
                _ if args::is(option, "XX") => &mut parsed.only_with,
                _ if args::is(option, "GT") => &mut parsed.only_later,
                _ if args::is(option, "LT") => &mut parsed.only_earlier,
                _ => {
                    let shown = shown(option);
                    return Err(CommandError::custom(format!("ERR Unsupported option {shown}")));
                }
            };
            *condition = true;
        }
        if parsed.only_without && (parsed.only_with || parsed.only_later || parsed.only_earlier) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(CommandError::custom(text));
        }
        if parsed.only_later && parsed.only_earlier {
            return Err(CommandError::custom(
                "ERR GT and LT options at the same time are not compatible",
            ));
        }
        Ok(parsed)
    }

    /// Whether a key with expiry `old` may get the instant `new`. A key without expiry never
    /// expires.
    fn allow(self, old: Option<i64>, new: i64) -> bool {
        match old {
            Some(old) => {
                let in_order = (!self.only_later || new > old) && (!self.only_earlier || new < old);
                !self.only_without && in_order
            }
            None => !self.only_with && !self.only_later,
        }
    }
}

fn set_expiry(
    tx: &mut Tx<'_>,
    args: &Args,
    expiry: ExpiryUnit,
    command: &'static str,
) -> CommandResult {
    let key = args::get(args, 1)?;
    let conditions = Conditions::parse(args::rest(args, 3))?;
    let at = instant(number::integer(args::get(args, 2)?)?, expiry, tx.now_ms());
    let at = at.ok_or(CommandError::InvalidExpire(command))?;
    let Some((_, old)) = tx.view().header(key)? else { return Ok(Reply::Integer(0)) };
    let old = (old != 0).then(|| i64::try_from(old).unwrap_or(i64::MAX));
    if !conditions.allow(old, at) {
        return Ok(Reply::Integer(0));
    }
    match u64::try_from(at) {
        Ok(at) if at > tx.now_ms() => tx.set_expiry(key, at)?,
        _ => tx.delete(key)?,
    };
    Ok(Reply::Integer(1))
}

/// The instant in milliseconds since 1970, unless it is too far away for 64 bits.
fn instant(argument: i64, expiry: ExpiryUnit, now_ms: u64) -> Option<i64> {
    let at = if expiry.in_seconds() { argument.checked_mul(1000)? } else { argument };
    if expiry.is_relative() { at.checked_add(i64::try_from(now_ms).ok()?) } else { Some(at) }
}

fn persist(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let key = args::get(args, 1)?;
    match tx.view().header(key)? {
        Some((_, expire_ms)) if expire_ms != 0 => {
            Ok(Reply::Integer(i64::from(tx.set_expiry(key, 0)?)))
        }
        _ => Ok(Reply::Integer(0)),
    }
}

fn ttl(view: &View<'_>, args: &Args) -> CommandResult {
    time(view, args, |expire_ms, now_ms| rounded_seconds(expire_ms - now_ms))
}

fn pttl(view: &View<'_>, args: &Args) -> CommandResult {
    time(view, args, |expire_ms, now_ms| expire_ms - now_ms)
}

fn expiretime(view: &View<'_>, args: &Args) -> CommandResult {
    time(view, args, |expire_ms, _| rounded_seconds(expire_ms))
}

fn pexpiretime(view: &View<'_>, args: &Args) -> CommandResult {
    time(view, args, |expire_ms, _| expire_ms)
}

/// What `shown` makes of the key's expiry and now, which is before it; -1 without expiry, -2
/// without key.
fn time(view: &View<'_>, args: &Args, shown: impl Fn(u64, u64) -> u64) -> CommandResult {
    Ok(match view.header(args::get(args, 1)?)? {
        None => Reply::Integer(-2),
        Some((_, 0)) => Reply::Integer(-1),
        Some((_, expire_ms)) => Reply::count(shown(expire_ms, view.now_ms())),
    })
}

/// Seconds, rounded to the nearest.
fn rounded_seconds(ms: u64) -> u64 {
    ms / 1000 + u64::from(ms % 1000 >= 500)
}

#[cfg(test)]
mod tests;
