//! Intersection, union and difference of sets, returned, counted or stored.
//!
//! Members are sorted by their bytes in every set, so results come out in order, by cursors that
//! move along the sources. No source is loaded. Memory holds only the reply, or one page where the
//! result is counted or stored:
//!
//! ```text
//! SINTER a b c    walk over the smallest set; keep what every other set has
//! SDIFF  a b c    walk over the first set; drop what any other set has
//! SUNION a b c    per page: the 4096 smallest members above the last page, from each set in turn
//! ```
//!
//! The question "does that set have this member?" comes with ascending members. A set of a size
//! comparable to the walked one answers it from a cursor that moves along (a few steps, then a
//! seek); a much bigger one by a point look-up, which the bloom filter mostly settles. So an
//! intersection costs as many questions as the smallest set has members, however big the others
//! are.
//!
//! The STORE commands run in apply: all sources are read at that one instant of the log, also when
//! the target is one of them. The result gets a version of its own, so the sources stay readable
//! while it is written, and nothing of what was stored there before belongs to it.
//!
//! As in Redis, every source must be a set, also one that can no longer matter because another is
//! empty.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_engine::Direction;
use neokv_resp::Reply;
use neokv_resp::parse_integer;

use super::declare::commands;
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::{Collection, ReplyLimit, Subkeys, Tx, View};
use crate::number;

/// The commands that combine sets.
pub const COMMANDS: &[Command] = commands! { Set;
    "sinter", -2, Read(sinter, Budgeted), [ReadOnly], "1.0.0",
        "O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
         of sets.",
        "Intersect multiple sets",
        keys: &[all(&[Ro, Access])],
        arguments: &[KEYS],
        tips: &["nondeterministic_output_order"];
    "sunion", -2, Read(sunion, Budgeted), [ReadOnly], "1.0.0",
        "O(N) where N is the total number of elements in all given sets.",
        "Add multiple sets",
        keys: &[all(&[Ro, Access])],
        arguments: &[KEYS],
        tips: &["nondeterministic_output_order"];
    "sdiff", -2, Read(sdiff, Budgeted), [ReadOnly], "1.0.0",
        "O(N) where N is the total number of elements in all given sets.",
        "Subtract multiple sets",
        keys: &[all(&[Ro, Access])],
        arguments: &[KEYS],
        tips: &["nondeterministic_output_order"];
    "sintercard", -3, Read(sintercard, Budgeted), [ReadOnly], "7.0.0",
        "O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
         of sets.",
        "Intersect multiple sets and return the cardinality of the result",
        keys: &[counted(&[Ro, Access])],
        arguments: &[
            integer("numkeys"), key("key", 0).multiple(), integer("limit").after("LIMIT").optional()
        ];
    "sinterstore", -3, Write(sinterstore), [Write DenyOom], "1.0.0",
        "O(N*M) worst case where N is the cardinality of the smallest set and M is the number \
         of sets.",
        "Intersect multiple sets and store the resulting set in a key",
        keys: &[one(&[Rw, Update]), from(2, &[Ro, Access])],
        arguments: &[key("destination", 0), key("key", 1).multiple()];
    "sunionstore", -3, Write(sunionstore), [Write DenyOom], "1.0.0",
        "O(N) where N is the total number of elements in all given sets.",
        "Add multiple sets and store the resulting set in a key",
        keys: &[one(&[Ow, Update]), from(2, &[Ro, Access])],
        arguments: &[key("destination", 0), key("key", 1).multiple()];
    "sdiffstore", -3, Write(sdiffstore), [Write DenyOom], "1.0.0",
        "O(N) where N is the total number of elements in all given sets.",
        "Subtract multiple sets and store the resulting set in a key",
        keys: &[one(&[Ow, Update]), from(2, &[Ro, Access])],
        arguments: &[key("destination", 0), key("key", 1).multiple()];
};

/// Members per page where the whole result need not be in memory at once.
const PAGE: usize = 4096;
/// And bytes of them.
const PAGE_BYTES: u64 = 16 << 20;
/// With more sets than this to ask, they are asked by point look-ups: a cursor holds blocks in
/// memory.
const MAX_CURSORS: usize = 16;
/// A set up to this many times as big as the walked one is asked by a cursor.
const COMPARABLE: u64 = 16;
/// How many rows a cursor steps over before it seeks.
const MAX_STEPS: usize = 8;

fn sinter(view: &View<'_>, args: &Args) -> CommandResult {
    answer(view, Plan::inter(view, args::rest(args, 1))?)
}

fn sunion(view: &View<'_>, args: &Args) -> CommandResult {
    answer(view, Plan::union(view, args::rest(args, 1))?)
}

fn sdiff(view: &View<'_>, args: &Args) -> CommandResult {
    answer(view, Plan::diff(view, args::rest(args, 1))?)
}

/// The whole result as a reply.
fn answer(view: &View<'_>, plan: Plan) -> CommandResult {
    let MemberPage { members, more } =
        plan.page(view, &[], PageLimit { members: usize::MAX, bytes: view.reply_limit() })?;
    if more {
        Err(CommandError::LimitExceeded)
    } else {
        Ok(Reply::Set(members.into_iter().map(Reply::Bulk).collect()))
    }
}

fn sinterstore(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let plan = Plan::inter(&tx.view(), args::rest(args, 2))?;
    store(tx, args::get(args, 1)?, &plan)
}

fn sunionstore(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let plan = Plan::union(&tx.view(), args::rest(args, 2))?;
    store(tx, args::get(args, 1)?, &plan)
}

fn sdiffstore(tx: &mut Tx<'_>, args: &Args) -> CommandResult {
    let plan = Plan::diff(&tx.view(), args::rest(args, 2))?;
    store(tx, args::get(args, 1)?, &plan)
}

/// Replaces whatever is under `target` by the result; an empty result deletes the key.
fn store(tx: &mut Tx<'_>, target: &Bytes, plan: &Plan) -> CommandResult {
    let mut set = tx.open_fresh(target, DataType::Set)?;
    let mut start = Vec::new();
    loop {
        let MemberPage { members, more } = plan.page(&tx.view(), &start, PageLimit::of(PAGE))?;
        for member in &members {
            tx.put_subkey(&set, member, b"")?;
            set.grow()?;
        }
        match members.last() {
            Some(last) if more => start = just_after(last),
            _ => break,
        }
    }
    let stored = set.size();
    tx.save(set)?;
    Ok(Reply::count(stored))
}

fn sintercard(view: &View<'_>, args: &Args) -> CommandResult {
    let (keys, limit) = parse_sintercard(args)?;
    let plan = Plan::inter(view, keys)?;
    let mut start = Vec::new();
    let mut counted = 0u64;
    while counted < limit {
        let wanted = usize::try_from(limit - counted).unwrap_or(PAGE).min(PAGE);
        let MemberPage { members, more } = plan.page(view, &start, PageLimit::of(wanted))?;
        counted += u64::try_from(members.len()).unwrap_or(u64::MAX);
        match members.last() {
            Some(last) if more => start = just_after(last),
            _ => break,
        }
    }
    Ok(Reply::count(counted))
}

/// The keys of SINTERCARD, and the count at which it may stop.
fn parse_sintercard(args: &Args) -> Result<(&Args, u64), CommandError> {
    let count = parse_integer(args::get(args, 1)?)
        .filter(|count| *count > 0)
        .ok_or(CommandError::NoKeys)?;
    let words = args::rest(args, 2);
    let keys = usize::try_from(count).ok().and_then(|count| words.split_at_checked(count));
    let (keys, mut options) = keys.ok_or(CommandError::TooManyKeys)?;
    let mut limit = 0;
    while let Some((option, rest)) = options.split_first() {
        let Some((value, rest)) = rest.split_first().filter(|_| args::is(option, "LIMIT")) else {
            return Err(CommandError::Syntax);
        };
        limit = number::positive_count(value).map_err(|_| CommandError::NegativeLimit)?;
        options = rest;
    }
    // No limit and a limit of zero are the same.
    Ok((keys, if limit == 0 { u64::MAX } else { limit }))
}

/// The smallest byte string above `member`.
fn just_after(member: &[u8]) -> Vec<u8> {
    let mut start = member.to_vec();
    start.push(0);
    start
}

/// How a result is computed. The sources are resolved, so it does not matter what happens to their
/// keys afterwards.
enum Plan {
    /// The result has no members.
    Empty,
    /// The members of all sets.
    Union(Vec<Collection>),
    /// The members of `walked` which all of `others` have (`wanted`), or none of them (not
    /// `wanted`).
    Filter { walked: Collection, others: Vec<Collection>, wanted: bool },
}

impl Plan {
    /// The members that all sets have.
    fn inter(view: &View<'_>, keys: &Args) -> Result<Plan, CommandError> {
        let sources = resolve(view, keys)?;
        let Some(mut sets) = sources.into_iter().collect::<Option<Vec<_>>>() else {
            return Ok(Plan::Empty);
        };
        // The smallest set is walked; the next smallest is asked first, as it is the likeliest to
        // say no.
        sets.sort_by_key(Collection::size);
        let mut sets = sets.into_iter();
        Ok(sets.next().map_or(Plan::Empty, |walked| Plan::Filter {
            walked,
            others: sets.collect(),
            wanted: true,
        }))
    }

    /// The members that any of the sets has.
    fn union(view: &View<'_>, keys: &Args) -> Result<Plan, CommandError> {
        Ok(Plan::Union(resolve(view, keys)?.into_iter().flatten().collect()))
    }

    /// The members of the first set that no other has.
    fn diff(view: &View<'_>, keys: &Args) -> Result<Plan, CommandError> {
        // A set minus itself is empty, but the types of the others count nevertheless.
        let itself = keys.split_first().is_some_and(|(first, others)| others.contains(first));
        let mut sources = resolve(view, keys)?.into_iter();
        let Some(walked) = sources.next().flatten().filter(|_| !itself) else {
            return Ok(Plan::Empty);
        };
        // The biggest set is asked first, as it is the likeliest to have a member and spare the
        // others the question.
        let mut others: Vec<Collection> = sources.flatten().collect();
        others.sort_by_key(|set| std::cmp::Reverse(set.size()));
        Ok(Plan::Filter { walked, others, wanted: false })
    }

    /// The members of the result from `start` on, in order, as many as `limit` allows.
    fn page(
        &self,
        view: &View<'_>,
        start: &[u8],
        limit: PageLimit,
    ) -> Result<MemberPage, CommandError> {
        match self {
            Plan::Empty => Ok(MemberPage { members: Vec::new(), more: false }),
            Plan::Union(sets) => union_page(view, sets, start, limit),
            Plan::Filter { walked, others, wanted } => {
                filter_page(view, (walked, others), *wanted, start, limit)
            }
        }
    }
}

/// A stretch of the result.
struct MemberPage {
    members: Vec<Bytes>,
    /// Whether there may be members behind them.
    more: bool,
}

/// What a page may hold: so many members, and so many bytes of them, but one member in any case.
struct PageLimit {
    members: usize,
    bytes: ReplyLimit,
}

impl PageLimit {
    /// At most so many members.
    fn of(members: usize) -> PageLimit {
        PageLimit { members, bytes: ReplyLimit::new(PAGE_BYTES) }
    }
}

/// The sets under the different ones of `keys`, in their order; `None` for a key that does not
/// exist.
fn resolve(view: &View<'_>, keys: &Args) -> Result<Vec<Option<Collection>>, CommandError> {
    let mut seen = HashSet::new();
    let different = keys.iter().filter(|key| seen.insert(*key));
    different.map(|key| view.collection(key, DataType::Set)).collect()
}

/// The smallest members of `sets` from `start` on.
///
/// One set after the other adds its members to the page until it reaches the largest one of a full
/// page; a member too many pushes out the largest. However many sets there are, one cursor is open
/// at a time and one page is in memory.
fn union_page(
    view: &View<'_>,
    sets: &[Collection],
    start: &[u8],
    mut limit: PageLimit,
) -> Result<MemberPage, CommandError> {
    let (mut page, mut full) = (BTreeSet::new(), false);
    for set in sets {
        let mut members = view.subkeys_from(set, start, Direction::Forward)?;
        while let Some((member, _)) = members.next()? {
            full |= page.len() >= limit.members;
            if full && page.last().is_none_or(|last| member >= *last) {
                break;
            }
            let len = member.len();
            let mut exceeded = page.insert(member) && limit.bytes.add(len).is_err();
            while page.len() > limit.members || (exceeded && page.len() > 1) {
                limit.bytes.remove(page.pop_last().map_or(0, |last| last.len()));
                (full, exceeded) = (true, limit.bytes.is_exceeded());
            }
        }
    }
    Ok(MemberPage { members: page.into_iter().collect(), more: full })
}

/// The members of `walked`, from `start` on, which all (`wanted`) or none (not `wanted`) of
/// `others` have.
fn filter_page(
    view: &View<'_>,
    (walked, others): (&Collection, &[Collection]),
    wanted: bool,
    start: &[u8],
    mut limit: PageLimit,
) -> Result<MemberPage, CommandError> {
    let cursors = others.len() <= MAX_CURSORS;
    let probes = others.iter().map(|set| {
        let comparable = set.size().div_ceil(COMPARABLE) <= walked.size();
        if cursors && comparable {
            AscendingCursor::new(view, set, start).map(|cursor| Probe::Cursor(Box::new(cursor)))
        } else {
            Ok(Probe::Get(*view, set))
        }
    });
    let mut probes = probes.collect::<Result<Vec<_>, _>>()?;
    let mut page = Vec::new();
    let mut members = view.subkeys_from(walked, start, Direction::Forward)?;
    while page.len() < limit.members && !limit.bytes.is_exceeded() {
        let Some((member, _)) = members.next()? else {
            return Ok(MemberPage { members: page, more: false });
        };
        if all_answer(&mut probes, &member, wanted)? {
            // The member that is too much still belongs to the page.
            let _ = limit.bytes.add(member.len());
            page.push(member);
        }
    }
    Ok(MemberPage { members: page, more: true })
}

/// Whether every probe, asked for `member`, answers `wanted`. Stops at the first that does not.
fn all_answer(
    probes: &mut [Probe<'_>],
    member: &Bytes,
    wanted: bool,
) -> Result<bool, CommandError> {
    for probe in probes {
        if probe.has(member)? != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Answers whether a set has a member; members are asked for in ascending order.
enum Probe<'a> {
    /// By a look-up for each member.
    Get(View<'a>, &'a Collection),
    /// By a cursor that moves along.
    Cursor(Box<AscendingCursor<'a>>),
}

impl Probe<'_> {
    /// Whether the set has `member`.
    fn has(&mut self, member: &Bytes) -> Result<bool, CommandError> {
        match self {
            Probe::Get(view, set) => view.has_subkey(set, member),
            Probe::Cursor(cursor) => cursor.has(member),
        }
    }
}

/// A cursor that moves along with ascending questions.
struct AscendingCursor<'a> {
    cursor: Subkeys<'a>,
    /// The member that the cursor stands on; `None` behind the last one.
    current: Option<Bytes>,
}

impl<'a> AscendingCursor<'a> {
    /// Stands on the first member from `start` on.
    fn new(
        view: &View<'a>,
        set: &Collection,
        start: &[u8],
    ) -> Result<AscendingCursor<'a>, CommandError> {
        let mut cursor = AscendingCursor {
            cursor: view.subkeys_from(set, start, Direction::Forward)?,
            current: None,
        };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Moves to the next member.
    fn advance(&mut self) -> Result<(), CommandError> {
        self.current = self.cursor.next()?.map(|(member, _)| member);
        Ok(())
    }

    /// Moves to the first member not below `member`, and tells whether it is that.
    fn has(&mut self, member: &Bytes) -> Result<bool, CommandError> {
        for _ in 0..MAX_STEPS {
            match &self.current {
                Some(current) if current < member => self.advance()?,
                current => return Ok(current.as_ref() == Some(member)),
            }
        }
        self.cursor.seek(member)?;
        self.advance()?;
        Ok(self.current.as_ref() == Some(member))
    }
}

#[cfg(test)]
mod tests;
