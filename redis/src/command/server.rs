//! The keyspace as a whole: its size, and emptying it.
//!
//! FLUSHDB and FLUSHALL are one range delete per data family, whatever the number of keys, and one
//! log entry of their own in each Region: reads through the batch that deletes a range still see
//! what was in it. There is one database, so both are the same, and ASYNC and SYNC make no
//! difference: either way the space is reclaimed by compaction.

use neokv_resp::Reply;

use super::declare::argument::words::{one_of, token};
use super::declare::{Argument, Change, commands};
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::{Tx, View};

/// The option of FLUSHDB and FLUSHALL.
const FLUSH_MODE: Argument =
    one_of("async", &[token("ASYNC").since("4.0.0"), token("SYNC").since("6.2.0")]).optional();
const FLUSH_MODES_ADDED: &[Change] = &[
    ("4.0.0", "Added the `ASYNC` flushing mode modifier."),
    ("6.2.0", "Added the `SYNC` flushing mode modifier."),
];

/// The commands of this file.
pub const COMMANDS: &[Command] = commands! { Server;
    "dbsize", 1, Read(dbsize, Budgeted), [ReadOnly Fast], "1.0.0", "O(1)",
        "Return the number of keys in the selected database",
        scope: Some(EveryRegion(sum)),
        tips: &["request_policy:all_shards", "response_policy:agg_sum"],
        categories: &["@keyspace"];
    "flushdb", -1, WriteAlone(flush), [Write], "1.0.0", "O(1)",
        "Remove all keys from the current database",
        scope: Some(EveryRegion(all_ok)),
        arguments: &[FLUSH_MODE],
        history: FLUSH_MODES_ADDED,
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        categories: &["@dangerous", "@keyspace"];
    "flushall", -1, WriteAlone(flush), [Write], "1.0.0", "O(1)",
        "Remove all keys from all databases",
        scope: Some(EveryRegion(all_ok)),
        arguments: &[FLUSH_MODE],
        history: FLUSH_MODES_ADDED,
        tips: &["request_policy:all_shards", "response_policy:all_succeeded"],
        categories: &["@dangerous", "@keyspace"];
};

fn dbsize(view: &View<'_>, _: &Args) -> CommandResult {
    Ok(Reply::count(view.key_count()?))
}

/// DBSIZE of several Regions. Each number is at most the largest integer, and so is their sum.
fn sum(replies: Vec<Reply>, _: u64) -> Reply {
    let number = |reply| if let Reply::Integer(number) = reply { number } else { 0 };
    Reply::Integer(replies.into_iter().map(number).fold(0, i64::saturating_add))
}

/// FLUSHALL of several Regions, none of which has failed.
fn all_ok(_: Vec<Reply>, _: u64) -> Reply {
    Reply::Ok
}

fn flush(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    match args::rest(args, 1) {
        [] => {}
        [mode] if args::is(mode, "SYNC") || args::is(mode, "ASYNC") => {}
        _ => return Err(CommandError::Syntax),
    }
    tx.clear();
    Ok(Reply::Ok)
}
