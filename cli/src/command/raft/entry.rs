//! One log entry in JSON and in words.

use bytes::Bytes;
use neokv_encoding::hlc;
use neokv_encoding::proto::{AdminCommand, WriteCommand, admin_command, write_command};
use neokv_encoding::raft::{Membership, Payload};
use neokv_encoding::region::Epoch;
use neokv_inspect::entry::LogEntry;
use serde::Serialize;

use crate::output::command_line::typed;
use crate::output::json::{EpochView, Number, Timestamp, UserBytes};

/// Keys of a purge that its line names.
const NAMED_KEYS: usize = 4;

/// A log entry in JSON.
#[derive(Serialize)]
pub(super) struct EntryView<'a> {
    /// Position, as the key says.
    index: Number,
    /// Term of the leader that wrote it.
    term: Option<Number>,
    /// purged, applied, committed or appended.
    state: &'static str,
    /// blank, command, membership, admin; damaged if unknown.
    kind: &'static str,
    /// Shape of the Region that it was proposed for; null for what is proposed for any.
    epoch: Option<EpochView>,
    /// Stamp of the hybrid logical clock.
    hlc: Option<Number>,
    /// Its time.
    time: Option<Timestamp>,
    /// Length of the record.
    bytes: usize,
    /// Commands, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commands: Vec<CommandView>,
    /// What an entry without commands does.
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    problems: &'a [String],
}

/// One command of an entry.
#[derive(Serialize)]
struct CommandView {
    /// As a person would type it.
    text: String,
    namespace: u32,
    /// Version that a collection made by it gets; null if the entry's stamp is too large for one.
    version: Option<Number>,
    /// Its words; empty for a purge.
    args: Vec<UserBytes>,
}

impl<'a> From<&'a LogEntry> for EntryView<'a> {
    fn from(entry: &'a LogEntry) -> EntryView<'a> {
        let stamp = entry.request.as_ref().map(|request| request.hlc);
        let version = |place| stamp.and_then(|stamp| stamp.checked_add(place)).map(Number);
        let commands = (0_u64..).zip(commands(entry));
        let views = commands.map(|(place, command)| command_view(command, version(place)));
        EntryView {
            index: Number(entry.index),
            term: entry.term.map(Number),
            state: entry.state.name(),
            kind: kind(entry),
            epoch: epoch(entry).map(EpochView::from),
            hlc: stamp.map(Number),
            time: time(entry),
            bytes: entry.bytes,
            commands: views.collect(),
            effect: effect(entry),
            problems: &entry.problems,
        }
    }
}

/// blank, command, membership, admin; damaged if unknown.
pub(super) fn kind(entry: &LogEntry) -> &'static str {
    entry.payload.as_ref().map_or("damaged", Payload::name)
}

/// Shape of the Region that an entry was proposed for.
pub(super) fn epoch(entry: &LogEntry) -> Option<Epoch> {
    match entry.payload.as_ref()? {
        Payload::Command { epoch, .. } | Payload::Admin { epoch, .. } => Some(*epoch),
        Payload::Blank | Payload::Membership(_) => None,
    }
}

/// Time of an entry's stamp.
pub(super) fn time(entry: &LogEntry) -> Option<Timestamp> {
    entry.request.as_ref().map(|request| Timestamp(hlc::ms(request.hlc)))
}

/// What the entry does, a line per command.
pub(super) fn lines(entry: &LogEntry) -> Vec<String> {
    let lines: Vec<String> = commands(entry).iter().map(line).collect();
    if lines.is_empty() { vec![effect(entry).unwrap_or_default()] } else { lines }
}

fn commands(entry: &LogEntry) -> &[WriteCommand] {
    entry.request.as_ref().map_or(&[], |request| &request.commands)
}

/// What an entry without commands does.
fn effect(entry: &LogEntry) -> Option<String> {
    match entry.payload.as_ref()? {
        Payload::Blank => Some("(a new leader's first entry)".into()),
        Payload::Membership(membership) => Some(membership_line(membership)),
        Payload::Admin { command, .. } => Some(admin_line(command)),
        Payload::Command { .. } => {
            let has_none = entry.request.as_ref().is_some_and(|one| one.commands.is_empty());
            has_none.then(|| "no commands".into())
        }
    }
}

/// A command as a person would type it.
fn line(command: &WriteCommand) -> String {
    let text = match &command.kind {
        Some(write_command::Kind::Client(client)) => {
            let mut words = client.args.clone();
            if let Some(name) = words.first_mut() {
                *name = Bytes::from(name.to_ascii_uppercase());
            }
            typed(&words)
        }
        Some(write_command::Kind::Purge(purge)) => {
            let keys: Vec<Bytes> =
                purge.keys.iter().take(NAMED_KEYS).map(|key| key.key.clone()).collect();
            let more = match purge.keys.len() - keys.len() {
                0 => String::new(),
                more => format!(" … {more} more"),
            };
            format!("(remove expired) {}{more}", typed(&keys))
        }
        None => "(a command that this release does not know)".into(),
    };
    match command.namespace {
        0 => text,
        namespace => format!("(namespace {namespace}) {text}"),
    }
}

fn command_view(command: &WriteCommand, version: Option<Number>) -> CommandView {
    let args = match &command.kind {
        Some(write_command::Kind::Client(client)) => client.args.as_slice(),
        _ => &[],
    };
    CommandView {
        text: line(command),
        namespace: command.namespace,
        version,
        args: args.iter().cloned().map(UserBytes).collect(),
    }
}

/// `voters 1 2 3, learners 4`, or `voters 1 2 3 and 1 2 4` during joint consensus; with the store
/// of each peer.
fn membership_line(membership: &Membership) -> String {
    let peer = |peer: &u64| match membership.nodes.get(peer) {
        Some(store) => format!("{peer}@{store}"),
        None => peer.to_string(),
    };
    let set = |peers: Vec<&u64>| peers.into_iter().map(peer).collect::<Vec<_>>().join(" ");
    let voters: Vec<String> =
        membership.configs.iter().map(|config| set(config.iter().collect())).collect();
    let is_voter = |peer: &u64| membership.configs.iter().any(|config| config.contains(peer));
    let learners = set(membership.nodes.keys().filter(|peer| !is_voter(peer)).collect());
    let line = format!("voters {}", voters.join(" and "));
    if learners.is_empty() { line } else { format!("{line}, learners {learners}") }
}

fn admin_line(command: &AdminCommand) -> String {
    use admin_command::Kind;
    match &command.kind {
        Some(Kind::Split(split)) => {
            format!("split at slot {}, child Region {}", split.slot, split.child)
        }
        Some(Kind::PrepareMerge(merge)) => {
            format!("prepare merge {} into Region {}", merge.merge, merge.target)
        }
        Some(Kind::CommitMerge(merge)) => {
            format!("commit merge {} of Region {}", merge.merge, merge.source)
        }
        Some(Kind::AbortMerge(merge)) => format!("abort merge {}", merge.merge),
        Some(Kind::RollbackMerge(merge)) => format!("roll back merge {}", merge.merge),
        Some(Kind::ForgetTombstones(_)) => "forget tombstones".into(),
        None => "a command that this release does not know".into(),
    }
}
