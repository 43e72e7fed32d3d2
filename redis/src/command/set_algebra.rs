//! Intersection, union and difference of sets, returned, counted or stored.
//!
//! Members are sorted by their bytes in every set, so results come out in order, by cursors that
//! move along the sources. No source is loaded; what is in memory is the reply, or one page where
//! the result is counted or stored:
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
//! while it is written, and nothing of what stood there before shows through.
//!
//! As in Redis, every source must be a set, also one that can no longer matter because another is
//! empty.

use std::collections::{BTreeSet, HashSet};

use bytes::Bytes;
use neokv_encoding::metadata::DataType;
use neokv_engine::Direction;
use neokv_resp::Reply;

use super::{Args, Command, CommandError, Flag, Group, Handler, KeySpec, Outcome, args};
use crate::keyspace::{Collection, Subkeys, Tally, Tx, View};

/// A command that combines sets.
const fn command(
    name: &'static str,
    arity: i32,
    flags: &'static [Flag],
    complexity: &'static str,
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command {
        name,
        arity,
        flags,
        keys: KeySpec::ALL,
        group: Group::Set,
        since: "1.0.0",
        complexity,
        summary,
        handler,
    }
}

/// Reads whole sets.
const READ: &[Flag] = &[Flag::ReadOnly, Flag::Walk];
/// Reads whole sets and stores the result.
const STORE: &[Flag] = &[Flag::Write, Flag::DenyOom];
/// What an intersection costs.
const INTER_COST: &str = "O(N * M) for M sets, the smallest with N members";
/// What a union and a difference cost.
const SUM_COST: &str = "O(N) for N members in all sets together";

/// The commands that combine sets.
pub const COMMANDS: &[Command] = &[
    command(
        "sinter",
        -2,
        READ,
        INTER_COST,
        "Returns the members that all sets have",
        Handler::Read(sinter),
    ),
    command(
        "sunion",
        -2,
        READ,
        SUM_COST,
        "Returns the members that any of the sets has",
        Handler::Read(sunion),
    ),
    command(
        "sdiff",
        -2,
        READ,
        SUM_COST,
        "Returns the members of the first set that no other has",
        Handler::Read(sdiff),
    ),
    Command {
        keys: KeySpec::Count { at: 1 },
        since: "7.0.0",
        ..command(
            "sintercard",
            -3,
            &[Flag::ReadOnly, Flag::MovableKeys, Flag::Walk],
            INTER_COST,
            "Counts the members that all sets have",
            Handler::Read(sintercard),
        )
    },
    command(
        "sinterstore",
        -3,
        STORE,
        INTER_COST,
        "Stores the members that all sets have",
        Handler::Write(sinterstore),
    ),
    command(
        "sunionstore",
        -3,
        STORE,
        SUM_COST,
        "Stores the members that any of the sets has",
        Handler::Write(sunionstore),
    ),
    command(
        "sdiffstore",
        -3,
        STORE,
        SUM_COST,
        "Stores the members of the first set that no other has",
        Handler::Write(sdiffstore),
    ),
];

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
const PATIENCE: usize = 8;

fn sinter(view: &View<'_>, args: &Args) -> Outcome {
    answer(view, Plan::inter(view, args::rest(args, 1))?)
}

fn sunion(view: &View<'_>, args: &Args) -> Outcome {
    answer(view, Plan::union(view, args::rest(args, 1))?)
}

fn sdiff(view: &View<'_>, args: &Args) -> Outcome {
    answer(view, Plan::diff(view, args::rest(args, 1))?)
}

/// The whole result as a reply.
fn answer(view: &View<'_>, plan: Plan) -> Outcome {
    let Page { members, more } =
        plan.page(view, &[], Room { members: usize::MAX, tally: view.tally() })?;
    if more {
        Err(CommandError::TooMuch)
    } else {
        Ok(Reply::Set(members.into_iter().map(Reply::Bulk).collect()))
    }
}

fn sinterstore(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let plan = Plan::inter(&tx.view(), args::rest(args, 2))?;
    store(tx, args::get(args, 1)?, &plan)
}

fn sunionstore(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let plan = Plan::union(&tx.view(), args::rest(args, 2))?;
    store(tx, args::get(args, 1)?, &plan)
}

fn sdiffstore(tx: &mut Tx<'_>, args: &Args) -> Outcome {
    let plan = Plan::diff(&tx.view(), args::rest(args, 2))?;
    store(tx, args::get(args, 1)?, &plan)
}

/// Replaces whatever is under `target` by the result; an empty result deletes the key.
fn store(tx: &mut Tx<'_>, target: &Bytes, plan: &Plan) -> Outcome {
    let mut set = tx.open_fresh(target, DataType::Set)?;
    let mut start = Vec::new();
    loop {
        let Page { members, more } = plan.page(&tx.view(), &start, Room::page(PAGE))?;
        for member in &members {
            tx.put_subkey(&set, member, b"")?;
            set.meta.size = set.meta.size.saturating_add(1);
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

fn sintercard(view: &View<'_>, args: &Args) -> Outcome {
    let (keys, limit) = parse_sintercard(args)?;
    let plan = Plan::inter(view, keys)?;
    let mut start = Vec::new();
    let mut counted = 0u64;
    while counted < limit {
        let wanted = usize::try_from(limit.saturating_sub(counted)).unwrap_or(PAGE).min(PAGE);
        let Page { members, more } = plan.page(view, &start, Room::page(wanted))?;
        counted = counted.saturating_add(u64::try_from(members.len()).unwrap_or(u64::MAX));
        match members.last() {
            Some(last) if more => start = just_after(last),
            _ => break,
        }
    }
    Ok(Reply::count(counted))
}

/// The keys of SINTERCARD, and the count at which it may stop.
fn parse_sintercard(args: &Args) -> Result<(&Args, u64), CommandError> {
    let count = args::canonical_integer(args::get(args, 1)?)
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
        limit = args::positive_count(value).map_err(|_| CommandError::NegativeLimit)?;
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
        // A set less itself is empty, but the types of the others count nevertheless.
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

    /// The members of the result from `start` on, in order, as many as there is room for.
    fn page(&self, view: &View<'_>, start: &[u8], room: Room) -> Result<Page, CommandError> {
        match self {
            Plan::Empty => Ok(Page { members: Vec::new(), more: false }),
            Plan::Union(sets) => union_page(view, sets, start, room),
            Plan::Filter { walked, others, wanted } => {
                filter_page(view, (walked, others), *wanted, start, room)
            }
        }
    }
}

/// A stretch of the result.
struct Page {
    members: Vec<Bytes>,
    /// Whether there may be members behind them.
    more: bool,
}

/// What a page may hold: so many members, and so many bytes of them, but one member in any case.
struct Room {
    members: usize,
    tally: Tally,
}

impl Room {
    /// Room for a page of at most so many members.
    fn page(members: usize) -> Room {
        Room { members, tally: Tally::new(PAGE_BYTES) }
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
    mut room: Room,
) -> Result<Page, CommandError> {
    let (mut page, mut full) = (BTreeSet::new(), false);
    for set in sets {
        let mut members = view.subkeys_from(set, start, Direction::Forward)?;
        while let Some((member, _)) = members.next()? {
            full |= page.len() >= room.members;
            if full && page.last().is_none_or(|last| member >= *last) {
                break;
            }
            let len = member.len();
            let mut over = page.insert(member) && room.tally.add(len).is_err();
            while page.len() > room.members || (over && page.len() > 1) {
                room.tally.remove(page.pop_last().map_or(0, |last| last.len()));
                (full, over) = (true, room.tally.is_over());
            }
        }
    }
    Ok(Page { members: page.into_iter().collect(), more: full })
}

/// The members of `walked`, from `start` on, which all (`wanted`) or none (not `wanted`) of
/// `others` have.
fn filter_page(
    view: &View<'_>,
    (walked, others): (&Collection, &[Collection]),
    wanted: bool,
    start: &[u8],
    mut room: Room,
) -> Result<Page, CommandError> {
    let cursors = others.len() <= MAX_CURSORS;
    let probes = others.iter().map(|set| {
        let comparable = set.size() <= walked.size().saturating_mul(COMPARABLE);
        if cursors && comparable {
            Stride::new(view, set, start).map(|stride| Probe::Stride(Box::new(stride)))
        } else {
            Ok(Probe::Get(*view, set))
        }
    });
    let mut probes = probes.collect::<Result<Vec<_>, _>>()?;
    let mut page = Vec::new();
    let mut members = view.subkeys_from(walked, start, Direction::Forward)?;
    while page.len() < room.members && !room.tally.is_over() {
        let Some((member, _)) = members.next()? else {
            return Ok(Page { members: page, more: false });
        };
        if all_answer(&mut probes, &member, wanted)? {
            // The member that is too much still belongs to the page.
            let _ = room.tally.add(member.len());
            page.push(member);
        }
    }
    Ok(Page { members: page, more: true })
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
    Stride(Box<Stride<'a>>),
}

impl Probe<'_> {
    /// Whether the set has `member`.
    fn has(&mut self, member: &Bytes) -> Result<bool, CommandError> {
        match self {
            Probe::Get(view, set) => view.has_subkey(set, member),
            Probe::Stride(stride) => stride.has(member),
        }
    }
}

/// A cursor that moves along with ascending questions.
struct Stride<'a> {
    cursor: Subkeys<'a>,
    /// The member that the cursor stands on; `None` behind the last one.
    current: Option<Bytes>,
}

impl<'a> Stride<'a> {
    /// Stands on the first member from `start` on.
    fn new(view: &View<'a>, set: &Collection, start: &[u8]) -> Result<Stride<'a>, CommandError> {
        let mut stride =
            Stride { cursor: view.subkeys_from(set, start, Direction::Forward)?, current: None };
        stride.advance()?;
        Ok(stride)
    }

    /// Moves to the next member.
    fn advance(&mut self) -> Result<(), CommandError> {
        self.current = self.cursor.next()?.map(|(member, _)| member);
        Ok(())
    }

    /// Moves to the first member not below `member`, and tells whether it is that.
    fn has(&mut self, member: &Bytes) -> Result<bool, CommandError> {
        for _ in 0..PATIENCE {
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
