//! One log entry, decoded down to the commands inside.

use bytes::Bytes;
use neokv_encoding::hlc;
use neokv_encoding::key::decode_raft_log;
use neokv_encoding::proto::{
    AdminCommand, RedisWriteRequest, WriteCommand, admin_command, write_command,
};
use neokv_encoding::raft::{Entry, Membership, Payload};
use prost::Message as _;
use serde::Serialize;

use crate::output::command_line::typed;
use crate::output::json::{Moment, Number, UserBytes};

/// Keys of a purge that its line names.
const NAMED_KEYS: usize = 4;

/// How far a log is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Entries up to here were removed.
    pub purged: Option<u64>,
    /// Entries up to here took effect.
    pub applied: Option<u64>,
    /// Entries up to here are on a majority.
    pub committed: Option<u64>,
}

impl Progress {
    fn state(&self, index: u64) -> &'static str {
        let reaches = |position: Option<u64>| position.is_some_and(|position| index <= position);
        if reaches(self.purged) {
            "purged"
        } else if reaches(self.applied) {
            "applied"
        } else if reaches(self.committed) {
            "committed"
        } else {
            "appended"
        }
    }
}

/// A log entry.
#[derive(Debug, Serialize)]
pub struct EntryView {
    /// Position, as the key says.
    pub index: Number,
    /// Term of the leader that wrote it.
    pub term: Option<Number>,
    /// purged, applied, committed or appended.
    pub state: &'static str,
    /// blank, command, membership, admin; damaged if unknown.
    pub kind: &'static str,
    /// Stamp of the hybrid logical clock.
    pub hlc: Option<Number>,
    /// Its time.
    pub time: Option<Moment>,
    /// Length of the record.
    pub bytes: usize,
    /// Commands, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CommandView>,
    /// What an entry without commands does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One command of an entry.
#[derive(Debug, Serialize)]
pub struct CommandView {
    /// As a person would type it.
    pub text: String,
    /// Version that a collection made by it gets.
    pub version: Number,
    /// Its words; empty for a purge.
    pub args: Vec<UserBytes>,
}

/// The index that a key of the log says.
#[must_use]
pub fn index_of(key: &[u8]) -> Option<u64> {
    decode_raft_log(key).ok().map(|(_, index)| index)
}

impl EntryView {
    /// Decodes a record of the log as far as it goes.
    #[must_use]
    pub fn read(key: &[u8], value: &[u8], progress: &Progress) -> EntryView {
        let index = index_of(key).unwrap_or_default();
        let mut view = EntryView {
            index: Number(index),
            term: Entry::decode_log_id(value).ok().map(|log_id| Number(log_id.term)),
            state: progress.state(index),
            kind: "damaged",
            hlc: None,
            time: None,
            bytes: value.len(),
            commands: Vec::new(),
            effect: None,
            problem: None,
        };
        match Entry::decode(&Bytes::copy_from_slice(value)) {
            Ok(entry) => view.fill(&entry),
            Err(error) => view.problem = Some(error.to_string()),
        }
        view
    }

    fn fill(&mut self, entry: &Entry) {
        self.kind = entry.payload.name();
        if entry.log_id.index != self.index.0 {
            self.problem = Some(format!("it says that it is entry {}", entry.log_id.index));
        }
        match &entry.payload {
            Payload::Blank => self.effect = Some("(a new leader's first entry)".into()),
            Payload::Membership(membership) => self.effect = Some(membership_line(membership)),
            Payload::Admin(command) => self.effect = Some(admin_line(command)),
            Payload::Command(message) => match RedisWriteRequest::decode(message.clone()) {
                Ok(request) => self.request(&request),
                Err(error) => {
                    self.problem = Some(format!("its command is no RedisWriteRequest: {error}"))
                }
            },
        }
    }

    fn request(&mut self, request: &RedisWriteRequest) {
        self.hlc = Some(Number(request.hlc));
        self.time = Some(Moment(hlc::ms(request.hlc)));
        for (place, command) in (0_u64..).zip(&request.commands) {
            let version = Number(request.hlc.saturating_add(place));
            match command_view(command, version) {
                Some(command) => self.commands.push(command),
                None => {
                    self.problem =
                        Some(format!("command {place} is of no kind that this release knows"))
                }
            }
        }
        if request.commands.is_empty() {
            self.effect = Some("no commands".into());
        }
    }

    /// What the entry does, a line per command.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        if self.commands.is_empty() {
            return vec![self.effect.clone().unwrap_or_default()];
        }
        self.commands.iter().map(|command| command.text.clone()).collect()
    }
}

fn command_view(command: &WriteCommand, version: Number) -> Option<CommandView> {
    Some(match command.kind.as_ref()? {
        write_command::Kind::Client(client) => {
            let mut words = client.args.clone();
            if let Some(name) = words.first_mut() {
                *name = Bytes::from(name.to_ascii_uppercase());
            }
            CommandView {
                text: typed(&words),
                version,
                args: client.args.iter().cloned().map(UserBytes).collect(),
            }
        }
        write_command::Kind::Purge(purge) => {
            let keys: Vec<Bytes> =
                purge.keys.iter().take(NAMED_KEYS).map(|key| key.key.clone()).collect();
            let more = purge.keys.len().saturating_sub(keys.len());
            let more = if more == 0 { String::new() } else { format!(" … {more} more") };
            CommandView {
                text: format!("(remove expired) {}{more}", typed(&keys)),
                version,
                args: Vec::new(),
            }
        }
    })
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
