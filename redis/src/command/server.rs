//! The keyspace as a whole: its size, and emptying it.
//!
//! FLUSHDB and FLUSHALL are one range delete per data family, whatever the number of keys, and one
//! log entry of their own: reads through the batch that deletes a range still see what was in it.
//! There is one database, so both are the same, and ASYNC and SYNC make no difference: either way
//! the space is reclaimed by compaction.

use neokv_resp::Reply;

use super::{Args, Command, CommandError, Flag, Group, Handler, KeySpec, Outcome, args};
use crate::keyspace::{Tx, View};

/// The commands of this file.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "dbsize",
        arity: 1,
        flags: &[Flag::ReadOnly, Flag::Fast, Flag::Point],
        keys: KeySpec::None,
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Return the number of keys in the selected database",
        handler: Handler::Read(dbsize),
    },
    Command {
        name: "flushdb",
        arity: -1,
        flags: &[Flag::Write, Flag::Alone, Flag::Dangerous],
        keys: KeySpec::None,
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Remove all keys from the current database",
        handler: Handler::Write(flush),
    },
    Command {
        name: "flushall",
        arity: -1,
        flags: &[Flag::Write, Flag::Alone, Flag::Dangerous],
        keys: KeySpec::None,
        group: Group::Server,
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Remove all keys from all databases",
        handler: Handler::Write(flush),
    },
];

fn dbsize(view: &View<'_>, _: &Args) -> Outcome {
    Ok(Reply::count(view.key_count()?))
}

fn flush(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    match args::rest(args, 1) {
        [] => {}
        [mode] if args::is(mode, "SYNC") || args::is(mode, "ASYNC") => {}
        _ => return Err(CommandError::Syntax),
    }
    tx.clear();
    Ok(Reply::Ok)
}
