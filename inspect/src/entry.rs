//! One entry of a Raft log, decoded down to the commands inside.

use bytes::Bytes;
use neokv_encoding::key::decode_raft_log;
use neokv_encoding::proto::RedisWriteRequest;
use neokv_encoding::raft::{Entry, Payload};
use prost::Message as _;

/// The positions of a log. Each one implies those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Entries up to here were removed.
    pub purged: Option<u64>,
    /// Entries up to here took effect.
    pub applied: Option<u64>,
    /// Entries up to here are on a majority.
    pub committed: Option<u64>,
}

/// How far an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryState {
    /// On this disk; another leader may still replace it.
    Appended,
    /// On a majority.
    Committed,
    /// Its effects are stored.
    Applied,
    /// No longer needed; a range of the log that was removed may still hold it.
    Purged,
}

impl EntryState {
    /// Name as tools print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            EntryState::Appended => "appended",
            EntryState::Committed => "committed",
            EntryState::Applied => "applied",
            EntryState::Purged => "purged",
        }
    }
}

impl Positions {
    /// How far the entry with this index is.
    #[must_use]
    pub fn state_of(&self, index: u64) -> EntryState {
        let reaches = |position: Option<u64>| position.is_some_and(|position| index <= position);
        if reaches(self.purged) {
            EntryState::Purged
        } else if reaches(self.applied) {
            EntryState::Applied
        } else if reaches(self.committed) {
            EntryState::Committed
        } else {
            EntryState::Appended
        }
    }
}

/// A log entry. What cannot be read is `None`, and [`LogEntry::problems`] says why.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// Position, as the key says.
    pub index: u64,
    /// Term of the leader that wrote it.
    pub term: Option<u64>,
    /// How far it is.
    pub state: EntryState,
    /// Length of the record in bytes.
    pub bytes: usize,
    /// What it does.
    pub payload: Option<Payload>,
    /// The commands of a payload that is a command.
    pub request: Option<RedisWriteRequest>,
    /// What is wrong with it, one sentence each.
    pub problems: Vec<String>,
}

impl LogEntry {
    /// Decodes a record of family `raft_log` as far as it goes.
    #[must_use]
    pub fn decode(key: &[u8], value: &[u8], positions: &Positions) -> LogEntry {
        let (index, mut problems) = match decode_raft_log(key) {
            Ok((_, index)) => (index, Vec::new()),
            Err(error) => (0, vec![format!("its key: {error}")]),
        };
        let term = Entry::decode_log_id(value).ok().map(|log_id| log_id.term);
        let entry = Entry::decode(&Bytes::copy_from_slice(value));
        let payload = match entry {
            Ok(entry) => {
                if entry.log_id.index != index {
                    problems.push(format!("it says that it is entry {}", entry.log_id.index));
                }
                Some(entry.payload)
            }
            Err(error) => {
                problems.push(error.to_string());
                None
            }
        };
        let request = payload.as_ref().and_then(|payload| request(payload, &mut problems));
        let state = positions.state_of(index);
        LogEntry { index, term, state, bytes: value.len(), payload, request, problems }
    }
}

/// The commands of a payload that is a command.
fn request(payload: &Payload, problems: &mut Vec<String>) -> Option<RedisWriteRequest> {
    let Payload::Command { command, .. } = payload else { return None };
    let request = match RedisWriteRequest::decode(command.clone()) {
        Ok(request) => request,
        Err(error) => {
            problems.push(format!("its command is not a RedisWriteRequest: {error}"));
            return None;
        }
    };
    let unknown = request.commands.iter().enumerate().filter(|(_, one)| one.kind.is_none());
    problems.extend(
        unknown.map(|(place, _)| {
            format!("command {place} is of a kind that this release does not know")
        }),
    );
    Some(request)
}

#[cfg(test)]
mod tests {
    use neokv_encoding::key::raft_log;
    use neokv_encoding::proto::WriteCommand;
    use neokv_encoding::raft::LogId;
    use neokv_encoding::region::Epoch;

    use super::*;

    fn decoded(payload: Payload) -> LogEntry {
        let entry = Entry { log_id: LogId { term: 2, index: 7 }, payload };
        LogEntry::decode(&raft_log(1, 7), &entry.encode(), &Positions::default())
    }

    fn command(command: &[u8]) -> Payload {
        let command = Bytes::copy_from_slice(command);
        Payload::Command { epoch: Epoch::default(), command }
    }

    #[test]
    fn each_position_implies_the_ones_before_it() {
        let positions = Positions { purged: Some(2), applied: Some(4), committed: Some(6) };
        let states: Vec<EntryState> = (2..8).map(|index| positions.state_of(index)).collect();
        use EntryState::{Appended, Applied, Committed, Purged};
        assert_eq!(states, [Purged, Applied, Applied, Committed, Committed, Appended]);
        assert_eq!(Positions::default().state_of(0), Appended);
    }

    #[test]
    fn a_command_of_another_state_machine_is_kept_and_named() {
        let entry = decoded(command(b"\xff"));
        assert!(entry.payload.is_some());
        assert_eq!(entry.request, None);
        assert!(entry.problems.concat().starts_with("its command is not a RedisWriteRequest"));
    }

    #[test]
    fn each_command_of_an_unknown_kind_is_named() {
        let commands = vec![WriteCommand::default(), WriteCommand::default()];
        let request = RedisWriteRequest { commands, ..RedisWriteRequest::default() };
        let entry = decoded(command(&request.encode_to_vec()));
        assert_eq!(entry.request, Some(request));
        assert_eq!(entry.problems.len(), 2);
    }

    #[test]
    fn a_record_cut_short_keeps_its_term() {
        let log_id = LogId { term: 2, index: 7 };
        let mut record = Entry { log_id, payload: command(b"") }.encode();
        record.truncate(20);
        let entry = LogEntry::decode(&raft_log(1, 7), &record, &Positions::default());
        assert_eq!((entry.term, entry.payload, entry.bytes), (Some(2), None, 20));
        assert_eq!(entry.problems.len(), 1);
    }
}
