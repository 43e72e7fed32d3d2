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
//! is their number. [`rows::set`], [`rows::remove`] and [`crate::keyspace::Tx::rewrite`] are the
//! only code that writes either family, always both. A collection that becomes empty is deleted as
//! a whole instead, by its header.
//!
//! There is no order statistic: the n-th row is found only by reading those before it. So what
//! Redis finds in O(log N) by rank costs rows here, never more than from the nearer end: ZRANGE by
//! index starts there, and ZRANK walks outward from the member until it meets either end. Ranges by
//! score and by name, and pops, seek directly and read only what they return or count.
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
//! | `survivors` | what is left when most members are removed at once |

mod add;
mod range;
mod read;
mod remove;
mod rows;
mod survivors;
#[cfg(test)]
mod tests;

use super::Command;
use super::declare::argument::words::{block, integer};
use super::declare::{Argument, commands};
use super::scan::page;

/// LIMIT of the range commands.
const LIMIT: Argument =
    block("offset_count", &[integer("offset"), integer("count")]).after("LIMIT").optional();

const RANGE_COST: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M \
                          the number of elements being returned. If M is constant (e.g. always \
                          asking for the first 10 elements with LIMIT), you can consider it \
                          O(log(N)).";
const POP_COST: &str = "O(log(N)*M) with N being the number of elements in the sorted set, and M \
                        being the number of elements popped.";
const REMOVAL_COST: &str = "O(log(N)+M) with N being the number of elements in the sorted set and \
                            M the number of elements removed by the operation.";
const COUNT_COST: &str = "O(log(N)+M) with N being the number of elements in the sorted set and M \
                          the number of elements counted.";
const RANK_COST: &str =
    "O(D) where D is the distance of the member from the nearer end of the sorted set.";

/// The sorted set commands.
pub const COMMANDS: &[Command] = commands! { SortedSet;
    "zadd", -4, Write(add::zadd), [Write DenyOom Fast], "1.2.0",
        "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
        "Add one or more members to a sorted set, or update its score if it already exists",
        keys: &[one(&[Rw, Update])],
        arguments: &[
            KEY, one_of("condition", &[token("NX"), token("XX")]).optional().since("3.0.2"),
            one_of("comparison", &[token("GT"), token("LT")]).optional().since("6.2.0"),
            named_token("change", "CH").optional().since("3.0.2"),
            named_token("increment", "INCR").optional().since("3.0.2"),
            block("score_member", &[double("score"), string("member")]).multiple()
        ],
        history: &[
            ("2.4.0", "Accepts multiple elements."),
            ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."),
            ("6.2.0", "Added the `GT` and `LT` options."),
        ];
    "zincrby", 4, Write(add::zincrby), [Write DenyOom Fast], "1.2.0",
        "O(log(N)) where N is the number of elements in the sorted set.",
        "Increment the score of a member in a sorted set",
        keys: &[one(&[Rw, Access, Update])],
        arguments: &[KEY, integer("increment"), string("member")];
    "zrem", -3, Write(remove::zrem), [Write Fast], "1.2.0",
        "O(M*log(N)) with N being the number of elements in the sorted set and M the number of \
         elements to be removed.",
        "Remove one or more members from a sorted set",
        keys: &[one(&[Rw, Delete])],
        arguments: &[KEY, string("member").multiple()],
        history: &[("2.4.0", "Accepts multiple elements.")];
    "zpopmin", -2, Write(remove::zpopmin), [Write Fast], "5.0.0",
        POP_COST,
        "Remove and return members with the lowest scores in a sorted set",
        keys: &[one(&[Rw, Access, Delete])],
        answers: Stored,
        arguments: &[KEY, integer("count").optional()];
    "zpopmax", -2, Write(remove::zpopmax), [Write Fast], "5.0.0",
        POP_COST,
        "Remove and return members with the highest scores in a sorted set",
        keys: &[one(&[Rw, Access, Delete])],
        answers: Stored,
        arguments: &[KEY, integer("count").optional()];
    "zremrangebyrank", 4, Write(remove::zremrangebyrank), [Write], "2.0.0",
        "O(D+M) with D being the distance of the range from the nearer end of the sorted set \
         and M the number of elements removed.",
        "Remove all members in a sorted set within the given indexes",
        keys: &[one(&[Rw, Delete])],
        arguments: &[KEY, integer("start"), integer("stop")];
    "zremrangebyscore", 4, Write(remove::zremrangebyscore), [Write], "1.2.0",
        REMOVAL_COST,
        "Remove all members in a sorted set within the given scores",
        keys: &[one(&[Rw, Delete])],
        arguments: &[KEY, double("min"), double("max")];
    "zremrangebylex", 4, Write(remove::zremrangebylex), [Write], "2.8.9",
        REMOVAL_COST,
        "Remove all members in a sorted set between the given lexicographical range",
        keys: &[one(&[Rw, Delete])],
        arguments: &[KEY, string("min"), string("max")];
    "zcard", 2, Read(read::zcard, Latest), [ReadOnly Fast], "1.2.0", "O(1)",
        "Get the number of members in a sorted set",
        keys: &[one(&[Ro])],
        arguments: &[KEY];
    "zscore", 3, Read(read::zscore, Snapshot), [ReadOnly Fast], "1.2.0", "O(1)",
        "Get the score associated with the given member in a sorted set",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, string("member")];
    "zmscore", -3, Read(read::zmscore, Budgeted), [ReadOnly Fast], "6.2.0",
        "O(N) where N is the number of members being requested.",
        "Get the score associated with the given members in a sorted set",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, string("member").multiple()];
    "zrank", 3, Read(read::zrank, Budgeted), [ReadOnly Fast], "2.0.0",
        RANK_COST,
        "Determine the index of a member in a sorted set",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, string("member")];
    "zrevrank", 3, Read(read::zrevrank, Budgeted), [ReadOnly Fast], "2.0.0",
        RANK_COST,
        "Determine the index of a member in a sorted set, with scores ordered from high to low",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, string("member")];
    "zcount", 4, Read(read::zcount, Budgeted), [ReadOnly Fast], "2.0.0",
        COUNT_COST,
        "Count the members in a sorted set with scores within the given values",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, double("min"), double("max")];
    "zlexcount", 4, Read(read::zlexcount, Budgeted), [ReadOnly Fast], "2.8.9",
        COUNT_COST,
        "Count the number of members in a sorted set between a given lexicographical range",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, string("min"), string("max")];
    "zscan", -3, Read(read::zscan, Blocking), [ReadOnly], "2.8.0",
        page::SCAN_COST,
        "Incrementally iterate sorted sets elements and associated scores",
        keys: &[one(&[Ro, Access])],
        arguments: page::SCAN_ARGUMENTS,
        tips: &["nondeterministic_output"];
    "zrange", -4, Read(range::zrange, Budgeted), [ReadOnly], "1.2.0",
        "O(D+M) with D being the distance of the range from the nearer end of the sorted set \
         and M the number of elements returned. O(log(N)+M) with BYSCORE or BYLEX, N being the \
         size.",
        "Return a range of members in a sorted set",
        keys: &[one(&[Ro, Access])],
        arguments: &[
            KEY, string("start"), string("stop"),
            one_of("sortby", &[token("BYSCORE"), token("BYLEX")]).optional().since("6.2.0"),
            token("REV").optional().since("6.2.0"),
            block("offset_count", &[
                integer("offset"), integer("count")
            ]).after("LIMIT").optional().since("6.2.0"), token("WITHSCORES").optional()
        ],
        history: &[("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")];
    "zrevrange", -4, Read(range::zrevrange, Budgeted), [ReadOnly], "1.2.0",
        "O(D+M) with D being the distance of the range from the nearer end of the sorted set \
         and M the number of elements returned.",
        "Return a range of members in a sorted set, by index, with scores ordered from high to low",
        keys: &[one(&[Ro, Access])],
        arguments: &[KEY, integer("start"), integer("stop"), token("WITHSCORES").optional()],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` argument"));
    "zrangebyscore", -4, Read(range::zrangebyscore, Budgeted), [ReadOnly], "1.0.5",
        RANGE_COST,
        "Return a range of members in a sorted set, by score",
        keys: &[one(&[Ro, Access])],
        arguments: &[
            KEY, double("min"), double("max"), token("WITHSCORES").optional().since("2.0.0"),
            LIMIT
        ],
        history: &[("2.0.0", "Added the `WITHSCORES` modifier.")],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `BYSCORE` argument"));
    "zrevrangebyscore", -4, Read(range::zrevrangebyscore, Budgeted), [ReadOnly], "2.2.0",
        RANGE_COST,
        "Return a range of members in a sorted set, by score, with scores ordered from high to low",
        keys: &[one(&[Ro, Access])],
        arguments: &[
            KEY, double("max"), double("min"), token("WITHSCORES").optional(),
            LIMIT
        ],
        history: &[("2.1.6", "`min` and `max` can be exclusive.")],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments"));
    "zrangebylex", -4, Read(range::zrangebylex, Budgeted), [ReadOnly], "2.8.9",
        RANGE_COST,
        "Return a range of members in a sorted set, by lexicographical range",
        keys: &[one(&[Ro, Access])],
        arguments: &[
            KEY, string("min"), string("max"),
            LIMIT
        ],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `BYLEX` argument"));
    "zrevrangebylex", -4, Read(range::zrevrangebylex, Budgeted), [ReadOnly], "2.8.9",
        RANGE_COST,
        "Return a range of members in a sorted set, by lexicographical range, ordered from \
         higher to lower strings.",
        keys: &[one(&[Ro, Access])],
        arguments: &[
            KEY, string("max"), string("min"),
            LIMIT
        ],
        deprecated: Some(("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments"));
};
