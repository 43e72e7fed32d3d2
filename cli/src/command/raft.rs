//! `raft log` and `raft state`: what a Region's replicas agree on, and how far.
//!
//! An entry is in one of these states, each implying the ones before it:
//!
//! ```text
//!            purged      applied         committed         appended
//!  ──────────────────┼───────────────┼─────────────────┼──────────────┤ last
//!  gone, in general    its effects     a majority has    on this disk,
//!                      are stored      it                may still be replaced
//! ```
//!
//! The committed position is stored lazily, with the next append: what is applied was committed,
//! whatever the record says.

pub mod entry;

use neokv_encoding::DecodeError;
use neokv_encoding::explain;
use neokv_encoding::family::Family;
use neokv_encoding::key::{RaftStateKind, prefix_end, raft_log, raft_state};
use neokv_encoding::raft::{LogId, Vote};
use neokv_engine::{Direction, KeyRange};
use serde::Serialize;

use self::entry::{EntryView, Progress};
use crate::args;
use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::Number;
use crate::output::table::{Overflow, Page, Row, Table};
use crate::source::Source;
use crate::source::regions::{LogIdView, RegionRecords};

/// Commands of one entry that the table shows.
const SHOWN_COMMANDS: usize = 5;

/// Votes and log positions of one Region.
#[derive(Debug, Serialize)]
pub struct GroupState {
    region: Number,
    vote: Option<VoteView>,
    purged: Option<LogIdView>,
    /// As stored; what is applied is committed too.
    committed: Option<LogIdView>,
    applied: Option<LogIdView>,
    /// First and last entry in the store.
    first: Option<Number>,
    last: Option<Number>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// What a peer has promised.
#[derive(Debug, Serialize)]
struct VoteView {
    term: Number,
    voted_for: Option<Number>,
    /// Whether a majority granted it: that peer leads the term.
    granted: bool,
}

/// All groups of a store.
#[derive(Debug, Serialize)]
pub struct States {
    regions: Vec<GroupState>,
}

impl GroupState {
    fn read(region: &RegionRecords, source: &Source) -> Result<GroupState, CliError> {
        let mut problems = Vec::new();
        let record = |kind: RaftStateKind| -> Result<_, CliError> {
            source.get(Family::RaftState, &raft_state(region.id, kind))
        };
        let (vote, committed, purged) = (
            record(RaftStateKind::Vote)?,
            record(RaftStateKind::Committed)?,
            record(RaftStateKind::Purged)?,
        );
        let mut keep = |kind: RaftStateKind, error: DecodeError| {
            problems.push(format!("Region {}, {}: {error}", region.id, kind.name()));
        };
        let vote = vote.and_then(|bytes| {
            Vote::decode(&bytes).map_err(|error| keep(RaftStateKind::Vote, error)).ok()
        });
        let committed = committed.and_then(|bytes| {
            LogId::decode(&bytes).map_err(|error| keep(RaftStateKind::Committed, error)).ok()
        });
        let purged = purged.and_then(|bytes| {
            LogId::decode(&bytes).map_err(|error| keep(RaftStateKind::Purged, error)).ok()
        });
        Ok(GroupState {
            region: Number(region.id),
            vote: vote.map(|Vote { term, node, committed }| VoteView {
                term: Number(term),
                voted_for: node.map(Number),
                granted: committed,
            }),
            purged: purged.map(LogIdView::from),
            committed: committed.map(LogIdView::from),
            applied: region.applied_id(),
            first: edge(region.id, Direction::Forward, source)?,
            last: edge(region.id, Direction::Reverse, source)?,
            problems,
        })
    }

    fn progress(&self) -> Progress {
        let index = |log_id: Option<LogIdView>| log_id.map(|log_id| log_id.index.0);
        Progress {
            purged: index(self.purged),
            applied: index(self.applied),
            committed: index(self.committed).max(index(self.applied)),
        }
    }
}

/// All indexes of a Region's log, from one to another, both included.
fn span(region: u64, from: u64, to: u64) -> KeyRange {
    let end = match to.checked_add(1) {
        Some(end) => raft_log(region, end).to_vec(),
        None => prefix_end(&region.to_be_bytes()),
    };
    KeyRange::new(raft_log(region, from), end)
}

/// The first or last index of a Region's log.
fn edge(region: u64, direction: Direction, source: &Source) -> Result<Option<Number>, CliError> {
    let mut cursor = source.cursor(Family::RaftLog, span(region, 0, u64::MAX), direction)?;
    let found = cursor.next().map_err(|error| source.failed(Family::RaftLog, error))?;
    Ok(found.and_then(|(key, _)| entry::index_of(key)).map(Number))
}

/// Reads votes and log positions.
///
/// # Errors
/// There is no such Region, or a file is damaged.
pub fn state(region: Option<u64>, source: &Source) -> Result<States, CliError> {
    let one = |region: &RegionRecords| GroupState::read(region, source);
    let regions = match region {
        Some(_) => vec![one(source.region(region)?)?],
        None => source.regions.iter().map(one).collect::<Result<_, _>>()?,
    };
    Ok(States { regions })
}

impl Answer for States {
    const SCHEMA: &'static str = "raft-state";

    fn page(&self, page: &mut Page) {
        if self.regions.is_empty() {
            page.text(
                "The store has no Region: the first one is made at the first start of a server.",
            );
        }
        for (number, group) in self.regions.iter().enumerate() {
            if number > 0 {
                page.blank();
            }
            let dash = || "-".to_string();
            let log_id =
                |log_id: Option<LogIdView>| log_id.map_or_else(dash, |log_id| log_id.to_string());
            let index = |index: Option<Number>| index.map_or_else(dash, |index| index.to_string());
            let vote = group.vote.as_ref().map_or_else(dash, |vote| {
                match (vote.voted_for, vote.granted) {
                    (Some(peer), true) => format!("term {}, peer {peer} leads", vote.term),
                    (Some(peer), false) => format!("term {}, for peer {peer}", vote.term),
                    (None, _) => format!("term {}, for nobody", vote.term),
                }
            });
            page.heading(&format!("Region {}", group.region));
            page.facts(&[
                ("vote", vote, "the promise of this peer; on disk before it answers"),
                (
                    "purged",
                    log_id(group.purged),
                    "entries up to here are gone: their effects are in the store",
                ),
                ("first", index(group.first), "first entry in the log"),
                ("applied", log_id(group.applied), "effects up to here are in the store"),
                (
                    "committed",
                    log_id(group.committed),
                    "a majority has it; stored lazily, so it may lag behind applied",
                ),
                ("last", index(group.last), "last entry in the log"),
            ]);
            for problem in &group.problems {
                page.problem(problem);
            }
        }
    }

    fn is_negative(&self) -> bool {
        self.regions.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        self.regions.iter().flat_map(|group| group.problems.clone()).collect()
    }
}

/// A part of a Region's log.
#[derive(Debug, Serialize)]
pub struct Log {
    state: GroupState,
    entries: Vec<EntryView>,
    /// Whether entries before or after these were left out because of the limit.
    more: bool,
    #[serde(skip)]
    problems: Vec<String>,
}

/// Reads entries.
///
/// # Errors
/// There is no such Region, or its state cannot be read. A damaged part of the log is a problem of
/// the answer.
pub fn log(args: &args::RaftLog, source: &Source) -> Result<Log, CliError> {
    let region = source.region(args.region)?;
    let state = GroupState::read(region, source)?;
    let progress = state.progress();
    let limit = if args.limit == 0 { usize::MAX } else { args.limit };
    let direction = if args.from.is_some() { Direction::Forward } else { Direction::Reverse };
    let range = span(region.id, args.from.unwrap_or(0), args.to.unwrap_or(u64::MAX));
    let mut log = Log { state, entries: Vec::new(), more: false, problems: Vec::new() };
    let mut cursor = source.cursor(Family::RaftLog, range, direction)?;
    loop {
        match cursor.next() {
            Ok(None) => break,
            Ok(Some(_)) if log.entries.len() == limit => {
                log.more = true;
                break;
            }
            Ok(Some((key, value))) => log.entries.push(EntryView::read(key, value, &progress)),
            Err(error) => {
                log.problems.push(source.failed(Family::RaftLog, error).told());
                break;
            }
        }
    }
    if direction == Direction::Reverse {
        log.entries.reverse();
    }
    log.find_gaps();
    Ok(log)
}

impl Log {
    /// Indexes follow each other without gap, and the first one follows the purged one.
    fn find_gaps(&mut self) {
        for pair in self.entries.windows(2) {
            if let [before, after] = pair
                && let (Some(expected), found) = (before.index.0.checked_add(1), after.index.0)
                && expected != found
            {
                self.problems.push(format!("no entry between {} and {found}", before.index));
            }
        }
        let purged = self.state.purged.map(|purged| purged.index.0);
        if let (Some(purged), Some(first)) = (purged, self.state.first)
            && first.0 > purged.saturating_add(1)
        {
            self.problems
                .push(format!("the log is purged up to {purged}, but its first entry is {first}"));
        }
    }

    fn summary(&self) -> String {
        let mut parts = vec![format!("Region {}", self.state.region)];
        let positions = self.state.progress();
        let name = |name: &str, index: Option<u64>| index.map(|index| format!("{name} {index}"));
        parts.extend(name("purged", positions.purged));
        parts.extend(name("first", self.state.first.map(|first| first.0)));
        parts.extend(name("applied", positions.applied));
        parts.extend(name("committed", positions.committed));
        parts.extend(name("last", self.state.last.map(|last| last.0)));
        parts.join(" · ")
    }
}

impl Answer for Log {
    const SCHEMA: &'static str = "raft-log";

    fn page(&self, page: &mut Page) {
        page.heading(&self.summary());
        if self.entries.is_empty() {
            page.text("no entries in this part of the log");
        } else {
            let rows = rows(&self.entries);
            let titles = vec![">index", ">term", "state", "kind", "time (UTC)", "what it does"];
            page.table(&Table { titles, rows, overflow: Overflow::Cut });
        }
        if self.more {
            page.dim("more entries are in the log: --from, --to, --limit 0");
        }
        for problem in &self.problems {
            page.problem(problem);
        }
    }

    fn is_negative(&self) -> bool {
        self.entries.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        let entries = self.entries.iter();
        let of_entry = |entry: &EntryView| {
            let problem = entry.problem.as_ref()?;
            Some(format!("entry {}: {problem}", entry.index))
        };
        entries
            .filter_map(of_entry)
            .chain(self.problems.clone())
            .chain(self.state.problems.clone())
            .collect()
    }
}

/// One row per command, and a line for each new day.
fn rows(entries: &[EntryView]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut day = String::new();
    for entry in entries {
        let date = entry.time.and_then(|time| explain::utc(time.0)).unwrap_or_default();
        let (new_day, time) = date.split_once('T').unwrap_or_default();
        if !new_day.is_empty() && new_day != day {
            rows.push(Row::divider(format!("── {new_day} ──")));
            day = new_day.to_string();
        }
        let dash = || "-".to_string();
        let mut head = vec![
            entry.index.to_string(),
            entry.term.map_or_else(dash, |term| term.to_string()),
            entry.state.to_string(),
            entry.kind.to_string(),
            time.trim_end_matches('Z').to_string(),
        ];
        let lines = entry.lines();
        for line in lines.iter().take(SHOWN_COMMANDS) {
            let mut cells = std::mem::replace(&mut head, vec![String::new(); 5]);
            cells.push(line.clone());
            rows.push(Row::new(cells));
        }
        if let more @ 1.. = lines.len().saturating_sub(SHOWN_COMMANDS) {
            let mut cells = std::mem::take(&mut head);
            cells.push(format!("… {more} more commands"));
            rows.push(Row::new(cells));
        }
        rows.extend(
            entry
                .problem
                .iter()
                .map(|problem| Row::problem(format!("entry {}: {problem}", entry.index))),
        );
    }
    rows
}
