//! Lists: LPUSH, LPOP, LRANGE, LINSERT, LMOVE and their relatives.
//!
//! An element is a row whose subkey is an absolute position. The header knows the span of positions
//! that are taken, and a new list starts in the middle of the `u64` space, so both ends can grow
//! (positions shortened here):
//!
//! ```text
//! RPUSH l a b c    header [500, 503)     500 → a   501 → b   502 → c
//! LPUSH l z        header [499, 503)     499 → z   500 → a   501 → b   502 → c
//! RPOP l           header [499, 502)     499 → z   500 → a   501 → b
//! LREM l 0 a       header [500, 502)                500 → z   501 → b
//! ```
//!
//! So an index is a position at once ([`elements::position`]), and LINDEX, LSET and both kinds of
//! push and pop cost the same on any list. Only a change in the middle, LINSERT or LREM, moves
//! elements, and it moves those of the shorter side.
//!
//! The span has no holes: `tail - head` is the size, and every position in between has a row.
//! [`elements::Walk`] checks it on every row that it reads, because a hole would shift all indexes
//! behind it.
//!
//! | file | commands |
//! | --- | --- |
//! | `ends` | those that work at the ends: pushes, pops, LMOVE, LMPOP |
//! | `read` | those that only look |
//! | `edit` | those that change what is inside: LSET, LINSERT, LREM, LTRIM |
//! | `elements` | rows and positions, for the other three |

mod edit;
mod elements;
mod ends;
mod read;
#[cfg(test)]
mod tests;

use super::{Command, CommandError, Flag, Group, Handler, KeySpec, args};

/// One end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The head, index 0.
    Left,
    /// The tail, index -1.
    Right,
}

impl End {
    /// Reads LEFT or RIGHT.
    fn parse(arg: &[u8]) -> Result<End, CommandError> {
        if args::is(arg, "LEFT") {
            Ok(End::Left)
        } else if args::is(arg, "RIGHT") {
            Ok(End::Right)
        } else {
            Err(CommandError::Syntax)
        }
    }
}

/// A command on one list.
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
        group: Group::List,
        since,
        complexity,
        summary,
        handler,
    }
}

/// Adds elements at an end.
const PUSH: &[Flag] = &[Flag::Write, Flag::DenyOom, Flag::Fast];
/// Removes elements from an end.
const POP: &[Flag] = &[Flag::Write, Flag::Fast];
/// Moves or replaces one element.
const REPLACE: &[Flag] = &[Flag::Write, Flag::DenyOom];
/// Reads many elements.
const MANY: &[Flag] = &[Flag::ReadOnly, Flag::Walk];

/// The list commands.
pub const COMMANDS: &[Command] = &[
    command(
        "lpush",
        -3,
        PUSH,
        "1.0.0",
        "O(N) for N elements",
        "Adds elements at the head of a list, which it creates if need be",
        Handler::Write(ends::lpush),
    ),
    command(
        "rpush",
        -3,
        PUSH,
        "1.0.0",
        "O(N) for N elements",
        "Adds elements at the tail of a list, which it creates if need be",
        Handler::Write(ends::rpush),
    ),
    command(
        "lpushx",
        -3,
        PUSH,
        "2.2.0",
        "O(N) for N elements",
        "Adds elements at the head of a list if it exists",
        Handler::Write(ends::lpushx),
    ),
    command(
        "rpushx",
        -3,
        PUSH,
        "2.2.0",
        "O(N) for N elements",
        "Adds elements at the tail of a list if it exists",
        Handler::Write(ends::rpushx),
    ),
    command(
        "lpop",
        -2,
        POP,
        "1.0.0",
        "O(N) for N returned elements",
        "Removes and returns elements at the head of a list",
        Handler::Write(ends::lpop),
    ),
    command(
        "rpop",
        -2,
        POP,
        "1.0.0",
        "O(N) for N returned elements",
        "Removes and returns elements at the tail of a list",
        Handler::Write(ends::rpop),
    ),
    Command {
        keys: KeySpec::TWO,
        ..command(
            "lmove",
            5,
            REPLACE,
            "6.2.0",
            "O(1)",
            "Moves an element from an end of one list to an end of another or the same",
            Handler::Write(ends::lmove),
        )
    },
    Command {
        keys: KeySpec::TWO,
        ..command(
            "rpoplpush",
            3,
            REPLACE,
            "1.2.0",
            "O(1)",
            "Moves the last element of one list to the head of another or the same",
            Handler::Write(ends::rpoplpush),
        )
    },
    Command {
        keys: KeySpec::Count { at: 1 },
        ..command(
            "lmpop",
            -4,
            &[Flag::Write, Flag::MovableKeys],
            "7.0.0",
            "O(K + N) for K keys and N returned elements",
            "Removes and returns elements of the first list that has any",
            Handler::Write(ends::lmpop),
        )
    },
    command(
        "llen",
        2,
        &[Flag::ReadOnly, Flag::Fast, Flag::Point],
        "1.0.0",
        "O(1)",
        "Returns the number of elements of a list",
        Handler::Read(read::llen),
    ),
    command(
        "lindex",
        3,
        &[Flag::ReadOnly],
        "1.0.0",
        "O(1)",
        "Returns the element at an index of a list",
        Handler::Read(read::lindex),
    ),
    command(
        "lrange",
        4,
        MANY,
        "1.0.0",
        "O(N) for N returned elements",
        "Returns the elements between two indexes of a list",
        Handler::Read(read::lrange),
    ),
    command(
        "lpos",
        -3,
        MANY,
        "6.0.6",
        "O(N) for N compared elements",
        "Returns the indexes at which an element stands in a list",
        Handler::Read(read::lpos),
    ),
    command(
        "lset",
        4,
        REPLACE,
        "1.0.0",
        "O(1)",
        "Replaces the element at an index of a list",
        Handler::Write(edit::lset),
    ),
    command(
        "linsert",
        5,
        REPLACE,
        "2.2.0",
        "O(N + M) for N elements up to the pivot and M on its shorter side",
        "Adds an element before or after another one in a list",
        Handler::Write(edit::linsert),
    ),
    command(
        "lrem",
        4,
        &[Flag::Write],
        "1.0.0",
        "O(N) for all N elements",
        "Removes the elements of a list that equal a value",
        Handler::Write(edit::lrem),
    ),
    command(
        "ltrim",
        4,
        &[Flag::Write],
        "1.0.0",
        "O(N) for N removed elements",
        "Removes all elements of a list but those between two indexes",
        Handler::Write(edit::ltrim),
    ),
];
