//! `raft log` and `raft state`: what a Region's replicas agree on, and how far.
//!
//! [`neokv_inspect::raft`] tells what the positions of a log mean.

mod entry;

use neokv_encoding::explain;
use neokv_encoding::raft::{LogId, Vote};
use neokv_inspect::Source;
use neokv_inspect::entry::LogEntry;
use neokv_inspect::raft::{self, GroupState, LogQuery};
use serde::{Serialize, Serializer};

use self::entry::{EntryView, lines};
use super::{NO_REGION, lag, limit, or_dash};
use crate::args;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::{LogIdView, Number};
use crate::output::table::{Overflow, Page, Row, Table};

/// Commands of one entry that the table shows.
const SHOWN_COMMANDS: usize = 5;
/// Columns of the table before what an entry does.
const HEAD: usize = 5;

/// Votes and log positions of one Region in JSON.
#[derive(Serialize)]
struct GroupView<'a> {
    region: Number,
    vote: Option<VoteView>,
    purged: Option<LogIdView>,
    /// As stored. Applied entries are committed too.
    committed: Option<LogIdView>,
    applied: Option<LogIdView>,
    /// First and last entry in the store.
    first: Option<Number>,
    last: Option<Number>,
    /// Entries whose effects are not in the rows.
    lag: Number,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    problems: &'a [String],
}

/// What a peer has promised.
#[derive(Serialize)]
struct VoteView {
    term: Number,
    voted_for: Option<Number>,
    /// Whether a majority granted it: that peer leads the term.
    granted: bool,
}

impl<'a> From<&'a GroupState> for GroupView<'a> {
    fn from(group: &'a GroupState) -> GroupView<'a> {
        let vote = |Vote { term, node, committed }| VoteView {
            term: Number(term),
            voted_for: node.map(Number),
            granted: committed,
        };
        let log_id = |log_id: Option<LogId>| log_id.map(LogIdView::from);
        GroupView {
            region: Number(group.region),
            vote: group.vote.map(vote),
            purged: log_id(group.purged),
            committed: log_id(group.committed),
            applied: log_id(group.applied),
            first: group.first.map(Number),
            last: group.last.map(Number),
            lag: Number(group.progress().lag()),
            problems: &group.problems,
        }
    }
}

/// The groups of a store.
#[derive(Debug)]
pub struct States {
    groups: Vec<GroupState>,
}

/// `{regions: […]}`.
impl Serialize for States {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            regions: Vec<GroupView<'a>>,
        }
        View { regions: self.groups.iter().map(GroupView::from).collect() }.serialize(serializer)
    }
}

/// Reads votes and log positions.
///
/// # Errors
/// There is no such Region, or a file is damaged.
pub fn state(region: Option<u64>, source: &Source) -> Result<States, CliError> {
    Ok(States { groups: raft::states(source, region)? })
}

impl Answer for States {
    const SCHEMA: &'static str = "raft-state";

    fn page(&self, page: &mut Page) {
        if self.groups.is_empty() {
            page.text(NO_REGION);
        }
        for (number, group) in self.groups.iter().enumerate() {
            if number > 0 {
                page.blank();
            }
            group_page(group, page);
        }
    }

    fn is_negative(&self) -> bool {
        self.groups.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        self.groups.iter().flat_map(|group| group.problems.clone()).collect()
    }
}

fn group_page(group: &GroupState, page: &mut Page) {
    page.heading(&format!("Region {}", group.region));
    page.facts(&[
        (
            "vote",
            or_dash(group.vote.map(vote)),
            "the promise of this peer; on disk before it answers",
        ),
        (
            "purged",
            or_dash(group.purged),
            "entries up to here are gone: their effects are in the store",
        ),
        ("first", or_dash(group.first), "first entry in the log"),
        ("applied", or_dash(group.applied), "effects up to here are in the rows of the store"),
        (
            "committed",
            or_dash(group.committed),
            "a majority has it; stored lazily, so it may lag behind applied",
        ),
        ("last", or_dash(group.last), "last entry in the log"),
        ("lag", lag(&group.progress()), "effects that are not in the rows of the store yet"),
    ]);
    for problem in &group.problems {
        page.problem(problem);
    }
}

fn vote(Vote { term, node, committed }: Vote) -> String {
    match (node, committed) {
        (Some(peer), true) => format!("term {term}, peer {peer} leads"),
        (Some(peer), false) => format!("term {term}, for peer {peer}"),
        (None, _) => format!("term {term}, for nobody"),
    }
}

/// A part of a Region's log.
#[derive(Debug)]
pub struct Log(raft::Log);

/// `{state, entries: […], more}`.
impl Serialize for Log {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View<'a> {
            state: GroupView<'a>,
            entries: Vec<EntryView<'a>>,
            /// Whether entries before or after these were left out because of the limit.
            more: bool,
        }
        let entries = self.0.entries.iter().map(EntryView::from).collect();
        View { state: (&self.0.state).into(), entries, more: self.0.more }.serialize(serializer)
    }
}

/// Reads entries.
///
/// # Errors
/// There is no such Region, or its state cannot be read.
pub fn log(args: &args::RaftLog, source: &Source) -> Result<Log, CliError> {
    let args::RaftLog { region, from, to, limit: most } = *args;
    Ok(Log(raft::log(source, &LogQuery { region, from, to, limit: limit(most) })?))
}

impl Answer for Log {
    const SCHEMA: &'static str = "raft-log";

    fn page(&self, page: &mut Page) {
        page.heading(&summary(&self.0.state));
        if self.0.entries.is_empty() {
            page.text("no entries in this part of the log");
        } else {
            let rows = rows(&self.0.entries);
            let titles = vec![">index", ">term", "state", "kind", "time (UTC)", "what it does"];
            page.table(&Table { titles, rows, overflow: Overflow::Cut });
        }
        if self.0.more {
            page.dim("more entries are in the log: --from, --to, --limit 0");
        }
        for problem in &self.0.problems {
            page.problem(problem);
        }
    }

    fn is_negative(&self) -> bool {
        self.0.entries.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = self.0.entries.iter().flat_map(entry_problems).collect();
        problems.extend(self.0.problems.clone());
        problems.extend(self.0.state.problems.clone());
        problems
    }
}

fn entry_problems(entry: &LogEntry) -> impl Iterator<Item = String> {
    entry.problems.iter().map(|problem| format!("entry {}: {problem}", entry.index))
}

/// `Region 1 · purged 0 · first 1 · applied 5 · committed 5 · last 6`.
fn summary(state: &GroupState) -> String {
    let positions = state.positions();
    let mut parts = vec![format!("Region {}", state.region)];
    let name = |name: &str, index: Option<u64>| index.map(|index| format!("{name} {index}"));
    parts.extend(name("purged", positions.purged));
    parts.extend(name("first", state.first));
    parts.extend(name("applied", positions.applied));
    parts.extend(name("committed", positions.committed));
    parts.extend(name("last", state.last));
    parts.join(" · ")
}

/// One row per command, and a line across where the day or the epoch changes.
fn rows(entries: &[LogEntry]) -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut last_day, mut last_epoch) = (String::new(), None);
    for entry in entries {
        let date = entry::time(entry).and_then(|time| explain::utc(time.0)).unwrap_or_default();
        let (day, time) = date.split_once('T').unwrap_or_default();
        let mut changed = Vec::new();
        if !day.is_empty() && day != last_day {
            changed.push(day.to_string());
            last_day = day.to_string();
        }
        let epoch = entry::epoch(entry);
        if let Some(epoch) = epoch.filter(|_| epoch != last_epoch) {
            changed.push(format!("epoch {epoch}"));
            last_epoch = Some(epoch);
        }
        if !changed.is_empty() {
            rows.push(Row::divider(format!("── {} ──", changed.join(" · "))));
        }
        rows.extend(entry_rows(entry, time.trim_end_matches('Z')));
        rows.extend(entry_problems(entry).map(Row::problem));
    }
    rows
}

/// A row per command of an entry; the first has the entry's own columns.
fn entry_rows(entry: &LogEntry, time: &str) -> Vec<Row> {
    let mut texts = lines(entry);
    if texts.len() > SHOWN_COMMANDS {
        let more = texts.len() - SHOWN_COMMANDS;
        texts.truncate(SHOWN_COMMANDS);
        texts.push(format!("… {more} more commands"));
    }
    let mut head = vec![
        entry.index.to_string(),
        or_dash(entry.term),
        entry.state.name().to_string(),
        entry::kind(entry).to_string(),
        time.to_string(),
    ];
    let row = |text| {
        let mut cells = std::mem::replace(&mut head, vec![String::new(); HEAD]);
        cells.push(text);
        Row::new(cells)
    };
    texts.into_iter().map(row).collect()
}
