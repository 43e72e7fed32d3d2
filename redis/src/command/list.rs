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
//! [`elements::ElementCursor`] checks it on every row that it reads, because a hole would shift all
//! indexes behind it.
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

use super::declare::argument::words::token;
use super::declare::{Argument, commands};
use super::{Command, args};
use crate::error::CommandError;

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

/// LEFT or RIGHT.
const SIDES: &[Argument] = &[token("LEFT"), token("RIGHT")];

/// What a push costs.
const EACH_ELEMENT: &str = "O(1) for each element added, so O(N) to add N elements when the \
                            command is called with multiple arguments.";

/// The list commands.
pub const COMMANDS: &[Command] = commands! { List;
    "lpush", -3, Write(ends::lpush), [Write DenyOom Fast], "1.0.0",
        EACH_ELEMENT,
        "Prepend one or multiple elements to a list",
        keys: &[one(&[Rw, Insert])],
        arguments: &[KEY, string("element").multiple()],
        history: &[("2.4.0", "Accepts multiple `element` arguments.")];
    "rpush", -3, Write(ends::rpush), [Write DenyOom Fast], "1.0.0",
        EACH_ELEMENT,
        "Append one or multiple elements to a list",
        keys: &[one(&[Rw, Insert])],
        arguments: &[KEY, string("element").multiple()],
        history: &[("2.4.0", "Accepts multiple `element` arguments.")];
    "lpushx", -3, Write(ends::lpushx), [Write DenyOom Fast], "2.2.0",
        EACH_ELEMENT,
        "Prepend an element to a list, only if the list exists",
        keys: &[one(&[Rw, Insert])],
        arguments: &[KEY, string("element").multiple()],
        history: &[("4.0.0", "Accepts multiple `element` arguments.")];
    "rpushx", -3, Write(ends::rpushx), [Write DenyOom Fast], "2.2.0",
        EACH_ELEMENT,
        "Append an element to a list, only if the list exists",
        keys: &[one(&[Rw, Insert])],
        arguments: &[KEY, string("element").multiple()],
        history: &[("4.0.0", "Accepts multiple `element` arguments.")];
    "lpop", -2, Write(ends::lpop), [Write Fast], "1.0.0",
        "O(N) where N is the number of elements returned",
        "Remove and get the first elements in a list",
        keys: &[one(&[Rw, Access, Delete])],
        answers: Stored,
        arguments: &[KEY, integer("count").optional().since("6.2.0")],
        history: &[("6.2.0", "Added the `count` argument.")];
    "rpop", -2, Write(ends::rpop), [Write Fast], "1.0.0",
        "O(N) where N is the number of elements returned",
        "Remove and get the last elements in a list",
        keys: &[one(&[Rw, Access, Delete])],
        answers: Stored,
        arguments: &[KEY, integer("count").optional().since("6.2.0")],
        history: &[("6.2.0", "Added the `count` argument.")];
    "lmove", 5, Write(ends::lmove), [Write DenyOom], "6.2.0", "O(1)",
        "Pop an element from a list, push it to another list and return it",
        keys: &[one(&[Rw, Access, Delete]), at(2, &[Rw, Insert])],
        answers: Stored,
        arguments: &[
            key("source", 0), key("destination", 1),
            one_of("wherefrom", SIDES),
            one_of("whereto", SIDES)
        ];
    "rpoplpush", 3, Write(ends::rpoplpush), [Write DenyOom], "1.2.0", "O(1)",
        "Remove the last element in a list, prepend it to another list and return it",
        keys: &[one(&[Rw, Access, Delete]), at(2, &[Rw, Insert])],
        answers: Stored,
        arguments: &[key("source", 0), key("destination", 1)],
        deprecated: Some(("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments"));
    "lmpop", -4, Write(ends::lmpop), [Write], "7.0.0",
        "O(N+M) where N is the number of provided keys and M is the number of elements returned.",
        "Pop elements from a list",
        keys: &[counted(&[Rw, Access, Delete])],
        answers: Stored,
        arguments: &[
            integer("numkeys"), key("key", 0).multiple(),
            one_of("where", SIDES),
            integer("count").after("COUNT").optional()
        ];
    "llen", 2, Read(read::llen, Latest), [ReadOnly Fast], "1.0.0", "O(1)",
        "Get the length of a list",
        keys: &[one(&[Ro])],
        arguments: &[KEY];
    "lindex", 3, Read(read::lindex, Snapshot), [ReadOnly], "1.0.0", "O(1)",
        "Get an element from a list by its index",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, integer("index")];
    "lrange", 4, Read(read::lrange, Budgeted), [ReadOnly], "1.0.0",
        "O(N) where N is the number of elements in the specified range.",
        "Get a range of elements from a list",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, integer("start"), integer("stop")];
    "lpos", -3, Read(read::lpos, Budgeted), [ReadOnly], "6.0.6",
        "O(N) where N is the number of elements in the list, for the average case. When \
         searching for elements near the head or the tail of the list, or when the MAXLEN \
         option is provided, the command may run in constant time.",
        "Return the index of matching elements on a list",
        keys: &[one(&[Ro, Access])],
        arguments: &[
            KEY, string("element"), integer("rank").after("RANK").optional(),
            integer("num-matches").after("COUNT").optional(),
            integer("len").after("MAXLEN").optional()
        ];
    "lset", 4, Write(edit::lset), [Write DenyOom], "1.0.0", "O(1)",
        "Set the value of an element in a list by its index",
        keys: &[one(&[Rw, Update])],
        arguments: &[KEY, integer("index"), string("element")];
    "linsert", 5, Write(edit::linsert), [Write DenyOom], "2.2.0",
        "O(N+M) where N is the number of elements before the pivot and M the number of \
         elements on its shorter side.",
        "Insert an element before or after another element in a list",
        keys: &[one(&[Rw, Insert])],
        arguments: &[
            KEY, one_of("where", &[token("BEFORE"), token("AFTER")]), string("pivot"),
            string("element")
        ];
    "lrem", 4, Write(edit::lrem), [Write], "1.0.0",
        "O(N+M) where N is the length of the list and M is the number of elements removed.",
        "Remove elements from a list",
        keys: &[one(&[Rw, Delete])],
        arguments: &[KEY, integer("count"), string("element")];
    "ltrim", 4, Write(edit::ltrim), [Write], "1.0.0",
        "O(N) where N is the number of elements to be removed by the operation.",
        "Trim a list to the specified range",
        keys: &[one(&[Rw, Delete])],
        arguments: &[KEY, integer("start"), integer("stop")];
};
