//! Sorted sets: ZADD, ZRANGE, ZRANK, ZPOPMIN and their relatives.
//!
//! A member is stored twice, under its name and under its score, in two families:
//!
//! ```text
//! ZADD z 2 a 1 b     subkey      "a" → 2    "b" → 1            what is the score of a?
//!                    zset_score  1·"b"      2·"a"              who comes first?
//! ZINCRBY z -1.5 a   subkey      "a" → 0.5  "b" → 1
//!                    zset_score  0.5·"a"    1·"b"
//! ```
//!
//! **Invariant**: both families hold the same members with the same scores, and the header's `size`
//! is their number. [`rows::set`] and [`rows::remove`] are the only code that writes either family,
//! always both. A collection that becomes empty is deleted as a whole instead, by its header.
//!
//! There is no order statistic: the store cannot jump to the 4711th row. So what Redis finds in
//! O(log N) by rank costs rows here, never more than from the nearer end: ZRANGE by index starts
//! there, and ZRANK walks outward from the member until it meets either end. Ranges by score and by
//! name, and pops, seek directly and read only what they return or count.
//!
//! **Zero has one form.** ZADD stores -0 as 0, as Redis does in its compact encoding; the reply to
//! the increment itself still says -0.
//!
//! | file | commands |
//! | --- | --- |
//! | `add` | ZADD, ZINCRBY |
//! | `remove` | ZREM, ZPOPMIN, ZPOPMAX, ZREMRANGEBY… |
//! | `read` | those that ask about single members or numbers: ZSCORE, ZRANK, ZCOUNT, ZSCAN, … |
//! | `range` | ZRANGE and its six relatives |
//! | `rows` | reading, writing and selecting rows, for the other four |

mod add;
mod range;
mod read;
mod remove;
mod rows;
#[cfg(test)]
mod tests;

use super::{Command, Flag, Group, Handler, KeySpec};

/// A command on one sorted set.
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
        group: Group::SortedSet,
        since,
        complexity,
        summary,
        handler,
    }
}

/// Adds members or changes their scores.
const GROW: &[Flag] = &[Flag::Write, Flag::DenyOom, Flag::Fast];
/// Removes members.
const SHRINK: &[Flag] = &[Flag::Write, Flag::Fast];
/// Reads the header and nothing else.
const HEADER: &[Flag] = &[Flag::ReadOnly, Flag::Fast, Flag::Point];
/// Reads the header and the members that the command names.
const MEMBERS: &[Flag] = &[Flag::ReadOnly, Flag::Fast];
/// Counts rows: fast in Redis, proportional to what is counted here.
const COUNT: &[Flag] = &[Flag::ReadOnly, Flag::Fast, Flag::Walk];
/// Reads many members.
const MANY: &[Flag] = &[Flag::ReadOnly, Flag::Walk];
/// Matches patterns, which may take longer than the rows read tell.
const LABOUR: &[Flag] = &[Flag::ReadOnly, Flag::Heavy];

/// The sorted set commands.
pub const COMMANDS: &[Command] = &[
    command(
        "zadd",
        -4,
        GROW,
        "1.2.0",
        "O(N log S) for N members and a size of S",
        "Adds members or changes their scores",
        Handler::Write(add::zadd),
    ),
    command(
        "zincrby",
        4,
        GROW,
        "1.2.0",
        "O(log S) for a size of S",
        "Adds to the score of a member",
        Handler::Write(add::zincrby),
    ),
    command(
        "zrem",
        -3,
        SHRINK,
        "1.2.0",
        "O(N log S) for N members and a size of S",
        "Removes members",
        Handler::Write(remove::zrem),
    ),
    command(
        "zpopmin",
        -2,
        SHRINK,
        "5.0.0",
        "O(log S + N) for N removed members",
        "Removes and returns the members with the lowest scores",
        Handler::Write(remove::zpopmin),
    ),
    command(
        "zpopmax",
        -2,
        SHRINK,
        "5.0.0",
        "O(log S + N) for N removed members",
        "Removes and returns the members with the highest scores",
        Handler::Write(remove::zpopmax),
    ),
    command(
        "zremrangebyrank",
        4,
        &[Flag::Write],
        "2.0.0",
        "O(D + N) for N removed members at a distance of D from the nearer end",
        "Removes the members between two ranks",
        Handler::Write(remove::zremrangebyrank),
    ),
    command(
        "zremrangebyscore",
        4,
        &[Flag::Write],
        "1.2.0",
        "O(log S + N) for N removed members",
        "Removes the members between two scores",
        Handler::Write(remove::zremrangebyscore),
    ),
    command(
        "zremrangebylex",
        4,
        &[Flag::Write],
        "2.8.9",
        "O(log S + N) for N removed members",
        "Removes the members between two names, all scores being equal",
        Handler::Write(remove::zremrangebylex),
    ),
    command(
        "zcard",
        2,
        HEADER,
        "1.2.0",
        "O(1)",
        "Returns the number of members",
        Handler::Read(read::zcard),
    ),
    command(
        "zscore",
        3,
        MEMBERS,
        "1.2.0",
        "O(log S) for a size of S",
        "Returns the score of a member",
        Handler::Read(read::zscore),
    ),
    command(
        "zmscore",
        -3,
        MEMBERS,
        "6.2.0",
        "O(N log S) for N members and a size of S",
        "Returns the scores of members",
        Handler::Read(read::zmscore),
    ),
    command(
        "zrank",
        3,
        COUNT,
        "2.0.0",
        "O(D) for a distance of D from the nearer end",
        "Returns the rank of a member by ascending score",
        Handler::Read(read::zrank),
    ),
    command(
        "zrevrank",
        3,
        COUNT,
        "2.0.0",
        "O(D) for a distance of D from the nearer end",
        "Returns the rank of a member by descending score",
        Handler::Read(read::zrevrank),
    ),
    command(
        "zcount",
        4,
        COUNT,
        "2.0.0",
        "O(log S + N) for N counted members",
        "Counts the members between two scores",
        Handler::Read(read::zcount),
    ),
    command(
        "zlexcount",
        4,
        COUNT,
        "2.8.9",
        "O(log S + N) for N counted members",
        "Counts the members between two names, all scores being equal",
        Handler::Read(read::zlexcount),
    ),
    command(
        "zscan",
        -3,
        LABOUR,
        "2.8.0",
        "O(1) per call, O(N) for all N members",
        "Iterates over members and scores",
        Handler::Read(read::zscan),
    ),
    command(
        "zrange",
        -4,
        MANY,
        "1.2.0",
        "O(D + N) for N returned members at a distance of D from the nearer end",
        "Returns the members in a range of ranks, scores or names",
        Handler::Read(range::zrange),
    ),
    command(
        "zrevrange",
        -4,
        MANY,
        "1.2.0",
        "O(D + N) for N returned members at a distance of D from the nearer end",
        "Returns the members between two ranks by descending score",
        Handler::Read(range::zrevrange),
    ),
    command(
        "zrangebyscore",
        -4,
        MANY,
        "1.0.5",
        "O(log S + N) for N returned or skipped members",
        "Returns the members between two scores",
        Handler::Read(range::zrangebyscore),
    ),
    command(
        "zrevrangebyscore",
        -4,
        MANY,
        "2.2.0",
        "O(log S + N) for N returned or skipped members",
        "Returns the members between two scores in descending order",
        Handler::Read(range::zrevrangebyscore),
    ),
    command(
        "zrangebylex",
        -4,
        MANY,
        "2.8.9",
        "O(log S + N) for N returned or skipped members",
        "Returns the members between two names, all scores being equal",
        Handler::Read(range::zrangebylex),
    ),
    command(
        "zrevrangebylex",
        -4,
        MANY,
        "2.8.9",
        "O(log S + N) for N returned or skipped members",
        "Returns the members between two names in descending order, all scores being equal",
        Handler::Read(range::zrevrangebylex),
    ),
];
