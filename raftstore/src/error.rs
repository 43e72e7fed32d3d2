//! Errors, sorted by what the caller should do.
//!
//! A front end asks two questions about a failed write: *did it happen?* and *where to next?* The
//! first decides whether a retry is harmless, so it is part of the type: everything except
//! [`ProposeError::Unknown`] certainly had no effect. A write that was meant for slots which the
//! Region does not have is not an error: its command comes back, to be routed again
//! ([`Done::Misrouted`](crate::Done)).

use std::sync::Arc;

use neokv_encoding::DecodeError;
use neokv_encoding::family::Family;
use neokv_encoding::region::Descriptor;
use neokv_engine::EngineError;

/// What the caller of a failed operation should do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Nothing happened; the same request may succeed a little later.
    Retry,
    /// Nothing happened; another store may be able to serve it.
    Elsewhere,
    /// Nothing happened; the request itself is at fault.
    FixInput,
    /// The request may or may not have taken effect. Only a caller who knows it to be idempotent
    /// may retry.
    Ask,
    /// This Region or store will not serve again without an operator.
    Stop,
}

/// Where a Region is led instead.
fn led_by(leader: Option<u64>) -> String {
    leader.map_or("leader unknown".into(), |store| format!("store {store} leads it"))
}

/// Where rows were found: the families, and the keys that the first rows have.
fn first_rows(found: &[(Family, Vec<u8>)]) -> String {
    /// So many are enough to look further with the tools.
    const SHOWN: usize = 4;
    let row = |(family, key): &(Family, Vec<u8>)| format!("{family} from key {}", hex(key));
    let rows: Vec<String> = found.iter().take(SHOWN).map(row).collect();
    let more = if found.len() > SHOWN { ", and more" } else { "" };
    format!("family {}{more}", rows.join(", "))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Why [`propose`](crate::Region::propose) did not answer with replies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// Another replica leads this Region.
    #[error("region {region} is not led here: {}", led_by(*leader))]
    NotLeader {
        /// The Region.
        region: u64,
        /// The store whose replica leads, if known.
        leader: Option<u64>,
    },
    /// This replica leads but has not applied an entry of its own term yet, or has lost contact
    /// with its majority.
    #[error("region {region} is not ready to serve: {why}")]
    NotReady {
        /// The Region.
        region: u64,
        /// What it waits for.
        why: &'static str,
    },
    /// Too many writes wait for an entry, in the Region or in all Regions of the store.
    #[error("region {region} has too many writes waiting ({waiting} bytes on this store)")]
    Busy {
        /// The Region.
        region: u64,
        /// Bytes that wait on this store.
        waiting: usize,
    },
    /// The disk is full. Reads go on; writes resume by themselves when space returns.
    #[error(
        "no space left on the disk of this store; free some space, and writes resume by themselves"
    )]
    NoSpace,
    /// One command is larger than an entry may be.
    #[error("command of {bytes} bytes exceeds the limit of {limit} bytes")]
    TooBig {
        /// Its weight.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The write was handed to the log but its outcome is not known. It may have taken effect, or
    /// may still do so.
    #[error("outcome unknown: {why}")]
    Unknown {
        /// What happened.
        why: Arc<str>,
    },
    /// The Region has stopped.
    #[error("region {region} has stopped: {why}")]
    Stopped {
        /// The Region.
        region: u64,
        /// Why it stopped.
        why: Arc<str>,
    },
}

impl ProposeError {
    /// The error of work of which a part was done before this one came: the outcome of the whole is
    /// not known. `done` says which part that is.
    #[must_use]
    pub fn after(self, done: &str) -> ProposeError {
        let why = match self {
            Self::Unknown { why } => format!("{done}, then: {why}"),
            other => format!("{done}, then: {other}"),
        };
        Self::Unknown { why: Arc::from(why) }
    }

    /// What to do about it.
    pub fn action(&self) -> Action {
        match self {
            Self::NotLeader { .. } => Action::Elsewhere,
            Self::NotReady { .. } | Self::Busy { .. } | Self::NoSpace => Action::Retry,
            Self::TooBig { .. } => Action::FixInput,
            Self::Unknown { .. } => Action::Ask,
            Self::Stopped { .. } => Action::Stop,
        }
    }
}

/// Why a linearizable read is not possible here and now. Never harmful to retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The Region has more than one voter: ask the majority with
    /// [`read_index`](crate::Region::read_index).
    #[error("region {region} needs its majority to confirm the leader")]
    NeedsQuorum {
        /// The Region.
        region: u64,
    },
    /// The Region has another shape than the caller saw: its slots are elsewhere now, or it is
    /// frozen by a merge. Route again, by the descriptor. So is told who holds a replica that has
    /// left this store: its slots lead elsewhere, whatever its last descriptor says.
    #[error(
        "region {}: the epoch is now {}; re-read the descriptor",
        descriptor.id,
        descriptor.epoch
    )]
    StaleEpoch {
        /// The Region as it is.
        descriptor: Arc<Descriptor>,
    },
    /// Another replica leads this Region.
    #[error("region {region} is not led here: {}", led_by(*leader))]
    NotLeader {
        /// The Region.
        region: u64,
        /// The store whose replica leads, if known.
        leader: Option<u64>,
    },
    /// The leader has not applied an entry of its own term yet, or its majority did not answer in
    /// time.
    #[error("region {region} is not ready to serve: {why}")]
    NotReady {
        /// The Region.
        region: u64,
        /// What it waits for.
        why: &'static str,
    },
    /// The Region has stopped.
    #[error("region {region} has stopped: {why}")]
    Stopped {
        /// The Region.
        region: u64,
        /// Why it stopped.
        why: Arc<str>,
    },
}

impl ReadError {
    /// What to do about it.
    pub fn action(&self) -> Action {
        match self {
            Self::NeedsQuorum { .. } | Self::NotReady { .. } => Action::Retry,
            Self::NotLeader { .. } | Self::StaleEpoch { .. } => Action::Elsewhere,
            Self::Stopped { .. } => Action::Stop,
        }
    }
}

/// Why a store could not be opened, or an administrative operation could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A stored record cannot be read: damage, or a newer version of the program wrote it.
    #[error("record {what} of region {region} cannot be read: {source}")]
    Record {
        /// The Region.
        region: u64,
        /// Which record.
        what: &'static str,
        /// Why.
        source: DecodeError,
    },
    /// A record that must be there is missing.
    #[error("region {region} has no {what} record")]
    Missing {
        /// The Region.
        region: u64,
        /// Which record.
        what: &'static str,
    },
    /// The store holds rows that none of its Regions owns, and no interrupted removal or install
    /// explains. The records of their Region were lost, or files of two stores were mixed. Nothing
    /// was changed.
    #[error(
        "the store holds rows that none of its regions owns ({}), and no interrupted removal \
         explains them; nothing was changed: restore the whole data directory from one backup, or \
         move it away and start with an empty one",
        first_rows(found)
    )]
    UnknownRows {
        /// Family and first key of each range with such rows.
        found: Vec<(Family, Vec<u8>)>,
    },
    /// An entry of a Raft log is not where it must be.
    #[error("the log of region {region} is damaged at index {index}: {why}")]
    DamagedLog {
        /// The Region.
        region: u64,
        /// Index of the entry.
        index: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The replica cannot be created here.
    #[error("region {region} cannot be created on store {store}: {why}")]
    Create {
        /// The Region.
        region: u64,
        /// This store.
        store: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The Region has another shape than the operation was made for.
    #[error(
        "region {}: the epoch is now {}; re-read the descriptor",
        descriptor.id,
        descriptor.epoch
    )]
    StaleEpoch {
        /// The Region as it is.
        descriptor: Arc<Descriptor>,
    },
    /// Only the leader can do this.
    #[error("region {region} is not led here: {}", led_by(*leader))]
    NotLeader {
        /// The Region.
        region: u64,
        /// The store whose replica leads, if known.
        leader: Option<u64>,
    },
    /// The leader is not ready for it. Nothing happened.
    #[error("region {region} is not ready: {why}")]
    NotReady {
        /// The Region.
        region: u64,
        /// What it waits for.
        why: &'static str,
    },
    /// The operation does not fit the Region. Nothing happened.
    #[error("region {region}: {why}")]
    Refused {
        /// The Region.
        region: u64,
        /// What does not fit.
        why: String,
    },
    /// The operation was handed to the log but its outcome is not known.
    #[error("region {region}: outcome unknown: {why}; look at the region before trying again")]
    Unknown {
        /// The Region.
        region: u64,
        /// What happened.
        why: String,
    },
    /// A Raft group could not be started or operated.
    #[error("region {region}: {why}")]
    Group {
        /// The Region.
        region: u64,
        /// What the group said.
        why: String,
    },
    /// The region is not on this store.
    #[error("region {region} is not on this store")]
    UnknownRegion {
        /// The Region.
        region: u64,
    },
    /// A thread, directory or file of the operating system.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        source: std::io::Error,
    },
    /// A snapshot is damaged or does not fit.
    #[error("snapshot of region {region}: {why}")]
    Snapshot {
        /// The Region.
        region: u64,
        /// What is wrong with it.
        why: String,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn action(&self) -> Action {
        match self {
            Self::Engine(EngineError::NoSpace { .. }) | Self::NotReady { .. } => Action::Retry,
            Self::Engine(_)
            | Self::Record { .. }
            | Self::Missing { .. }
            | Self::UnknownRows { .. }
            | Self::DamagedLog { .. } => Action::Stop,
            Self::Create { .. } => Action::FixInput,
            Self::StaleEpoch { .. } | Self::NotLeader { .. } => Action::Elsewhere,
            Self::Refused { .. } => Action::FixInput,
            Self::Unknown { .. } => Action::Ask,
            Self::Group { .. } | Self::Io { .. } => Action::Stop,
            Self::UnknownRegion { .. } => Action::Elsewhere,
            Self::Snapshot { .. } => Action::Retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_behind_a_part_that_was_done_says_once_that_the_outcome_is_unknown() {
        let lost = ProposeError::Unknown { why: Arc::from("the leader was lost") };
        let text = lost.after("the first commands took effect").to_string();
        let expected = "outcome unknown: the first commands took effect, then: the leader was lost";
        assert_eq!(text, expected);
        let full = ProposeError::NoSpace.after("the first commands took effect");
        assert_eq!(full.action(), Action::Ask, "a part of it happened");
        let text = full.to_string();
        assert!(
            text.starts_with("outcome unknown: the first commands took effect, then: no space")
        );
    }
}
