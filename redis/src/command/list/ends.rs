//! List commands that work at the ends: LPUSH, RPUSH, LPUSHX, RPUSHX, LPOP, RPOP, LMOVE, RPOPLPUSH,
//! LMPOP.

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_resp::Reply;
use neokv_resp::parse_integer;

use super::End;
use super::elements;
use crate::command::{Args, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::{Collection, Tx};
use crate::number;

/// `LPUSH key element [element ...]`
pub fn lpush(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let key = args::get(args, 1)?;
    let list = tx.open(key, DataType::List)?;
    push_all(tx, list, End::Left, args)
}

/// `RPUSH key element [element ...]`
pub fn rpush(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let key = args::get(args, 1)?;
    let list = tx.open(key, DataType::List)?;
    push_all(tx, list, End::Right, args)
}

/// `LPUSHX key element [element ...]`
pub fn lpushx(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    push_existing(tx, End::Left, args)
}

/// `RPUSHX key element [element ...]`
pub fn rpushx(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    push_existing(tx, End::Right, args)
}

fn push_existing(tx: &mut Tx<'_>, end: End, args: &Args) -> CommandResult {
    match tx.existing(args::get(args, 1)?, DataType::List)? {
        Some(list) => push_all(tx, list, end, args),
        None => Ok(Reply::Integer(0)),
    }
}

fn push_all(tx: &mut Tx<'_>, mut list: Collection, end: End, args: &Args) -> CommandResult {
    for element in args::rest(args, 2) {
        push(tx, &mut list, end, element)?;
    }
    let size = list.size();
    tx.save(list)?;
    Ok(Reply::count(size))
}

/// `LPOP key [count]`
pub fn lpop(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    pop_command(tx, End::Left, "lpop", args)
}

/// `RPOP key [count]`
pub fn rpop(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    pop_command(tx, End::Right, "rpop", args)
}

fn pop_command(tx: &mut Tx<'_>, end: End, name: &'static str, args: &Args) -> CommandResult {
    let count = match args {
        [_, _] => None,
        [_, _, count] => Some(number::positive_count(count)?),
        _ => return Err(CommandError::WrongArity(name)),
    };
    let list = tx.existing(args::get(args, 1)?, DataType::List)?;
    match (list, count) {
        (None, None) => Ok(Reply::Nil),
        (None, Some(_)) => Ok(Reply::NilArray),
        (Some(list), None) => {
            Ok(pop(tx, list, end, 1)?.into_iter().next().map_or(Reply::Nil, Reply::Bulk))
        }
        (Some(list), Some(count)) => Ok(array(pop(tx, list, end, count)?)),
    }
}

/// `LMPOP numkeys key [key ...] LEFT|RIGHT [COUNT count]`
pub fn lmpop(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let keys =
        parse_integer(args::get(args, 1)?).filter(|keys| *keys > 0).ok_or(CommandError::NoKeys)?;
    // More keys than a slice can have means that the command ends before LEFT or RIGHT.
    let end_at = usize::try_from(keys)
        .ok()
        .and_then(|keys| keys.checked_add(2))
        .ok_or(CommandError::Syntax)?;
    let end = End::parse(args::get(args, end_at)?)?;
    let count = match args::rest(args, end_at + 1) {
        [] => 1,
        [option, count, rest @ ..] if args::is(option, "COUNT") => {
            let count = parse_integer(count).and_then(|count| u64::try_from(count).ok());
            let count = count.filter(|count| *count > 0).ok_or(CommandError::CountNotPositive)?;
            if rest.is_empty() { count } else { return Err(CommandError::Syntax) }
        }
        _ => return Err(CommandError::Syntax),
    };
    for key in args.get(2..end_at).unwrap_or_default() {
        if let Some(list) = tx.existing(key, DataType::List)? {
            let popped = pop(tx, list, end, count)?;
            return Ok(Reply::Array(vec![Reply::Bulk(key.clone()), array(popped)]));
        }
    }
    Ok(Reply::NilArray)
}

/// `LMOVE source destination LEFT|RIGHT LEFT|RIGHT`
pub fn lmove(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let (from, to) = (End::parse(args::get(args, 3)?)?, End::parse(args::get(args, 4)?)?);
    move_element(tx, args, from, to)
}

/// `RPOPLPUSH source destination`
pub fn rpoplpush(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    move_element(tx, args, End::Right, End::Left)
}

fn move_element(tx: &mut Tx<'_>, args: &Args, from: End, to: End) -> CommandResult {
    let (source, destination) = (args::get(args, 1)?, args::get(args, 2)?);
    let Some(mut list) = tx.existing(source, DataType::List)? else { return Ok(Reply::Nil) };
    if source == destination {
        // Popping first could empty the list, which would delete the key and its expiry.
        return rotate(tx, list, from, to);
    }
    let mut target = tx.open(destination, DataType::List)?;
    let element = pop_one(tx, &mut list, from)?;
    tx.save(list)?;
    push(tx, &mut target, to, &element)?;
    tx.save(target)?;
    Ok(Reply::Bulk(element))
}

/// Moves an element within a list: nothing changes unless it goes to the other end.
fn rotate(tx: &mut Tx<'_>, mut list: Collection, from: End, to: End) -> CommandResult {
    if from == to || list.size() == 1 {
        return Ok(Reply::Bulk(elements::get(tx.view(), &list, outermost(&list, from)?)?));
    }
    let element = pop_one(tx, &mut list, from)?;
    push(tx, &mut list, to, &element)?;
    tx.save(list)?;
    Ok(Reply::Bulk(element))
}

/// The position of the element at one end of a list that has any.
fn outermost(list: &Collection, end: End) -> Result<u64, CommandError> {
    match end {
        End::Left => Ok(list.meta.head),
        End::Right => elements::next_toward(End::Left, list.meta.tail),
    }
}

/// Adds one element. The caller saves the list.
fn push(
    tx: &mut Tx<'_>,
    list: &mut Collection,
    end: End,
    element: &[u8],
) -> Result<(), CommandError> {
    let (head, tail) = (list.meta.head, list.meta.tail);
    match end {
        End::Left => {
            let head = elements::next_toward(End::Left, head)?;
            elements::put(tx, list, head, element)?;
            elements::place(list, head, tail);
        }
        End::Right => {
            elements::put(tx, list, tail, element)?;
            elements::place(list, head, elements::next_toward(End::Right, tail)?);
        }
    }
    Ok(())
}

/// Removes one element of a list that has any. The caller saves the list.
fn pop_one(tx: &mut Tx<'_>, list: &mut Collection, end: End) -> Result<Bytes, CommandError> {
    let position = outermost(list, end)?;
    let element = elements::get_end(tx.view(), list, position)?;
    elements::delete(tx, list, position..position + 1)?;
    let (head, tail) = (list.meta.head, list.meta.tail);
    match end {
        End::Left => elements::place(list, position + 1, tail),
        End::Right => elements::place(list, head, position),
    }
    Ok(element)
}

/// Removes up to `count` elements and saves the list; they come out in the order in which they were
/// popped.
fn pop(
    tx: &mut Tx<'_>,
    mut list: Collection,
    end: End,
    count: u64,
) -> Result<Vec<Bytes>, CommandError> {
    let count = count.min(list.size());
    if count == 0 {
        return Ok(Vec::new());
    }
    if count == 1 {
        let element = pop_one(tx, &mut list, end)?;
        tx.save(list)?;
        return Ok(vec![element]);
    }
    let (head, tail) = (list.meta.head, list.meta.tail);
    let (taken, kept) = match end {
        End::Left => (head..head + count, head + count..tail),
        End::Right => (tail - count..tail, head..tail - count),
    };
    let popped = elements::read(tx.view(), &list, taken, end)?;
    elements::keep(tx, &mut list, kept)?;
    tx.save(list)?;
    Ok(popped)
}

fn array(elements: Vec<Bytes>) -> Reply {
    Reply::Array(elements.into_iter().map(Reply::Bulk).collect())
}
