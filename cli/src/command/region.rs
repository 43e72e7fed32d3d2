//! `region list` and `region show`: what the Regions of a store are, and how far they are.

use neokv_encoding::hlc;
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Replica};
use neokv_inspect::Source;
use neokv_inspect::region::{self, Region};
use serde::{Serialize, Serializer};

use super::{NO_REGION, lag, or_dash};
use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::{EpochView, LogIdView, Number, Timestamp};
use crate::output::table::{Overflow, Page, Row, Table};

/// A Region in JSON. What cannot be read is null.
#[derive(Debug, Serialize)]
struct RegionView {
    id: Number,
    slots: Option<SlotsView>,
    epoch: Option<EpochView>,
    state: Option<&'static str>,
    replica: Option<ReplicaView>,
    peers: Vec<PeerView>,
    applied: Option<LogIdView>,
    /// Last entry that is known to be on a majority, as stored: lazily.
    committed: Option<Number>,
    /// Last entry in the log.
    last: Option<Number>,
    /// Entries whose effects are not in the rows.
    lag: Option<Number>,
    /// The next unused stamp of the hybrid logical clock.
    clock: Option<Number>,
    clock_time: Option<Timestamp>,
    keys: Option<Number>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// A range of slots.
#[derive(Debug, Serialize)]
struct SlotsView {
    /// First slot.
    start: u16,
    /// One past the last slot.
    end: u16,
}

/// The peer that lives on this store, or the last one that did.
#[derive(Debug, Serialize)]
struct ReplicaView {
    peer: Number,
    state: &'static str,
}

/// A peer of the Region.
#[derive(Debug, Serialize)]
struct PeerView {
    id: Number,
    store: Number,
    role: &'static str,
}

impl From<&Region> for RegionView {
    fn from(region: &Region) -> RegionView {
        let records = &region.records;
        let (descriptor, applied) = (records.descriptor(), records.applied());
        let progress = region.progress;
        let peer = |peer: &Peer| PeerView {
            id: Number(peer.id),
            store: Number(peer.store),
            role: peer.role.name(),
        };
        let replica = |replica: &Replica| ReplicaView {
            peer: Number(replica.peer),
            state: replica.state.name(),
        };
        RegionView {
            id: Number(records.id),
            slots: descriptor
                .map(|Descriptor { slots, .. }| SlotsView { start: slots.start, end: slots.end }),
            epoch: descriptor.map(|descriptor| descriptor.epoch.into()),
            state: descriptor.map(|descriptor| descriptor.state.name()),
            replica: records.replica().map(replica),
            peers: descriptor.iter().flat_map(|found| &found.peers).map(peer).collect(),
            applied: records.applied_id().map(LogIdView::from),
            committed: progress.and_then(|progress| progress.committed).map(Number),
            last: progress.and_then(|progress| progress.last).map(Number),
            lag: progress.map(|progress| Number(progress.lag())),
            clock: applied.map(|applied| Number(applied.clock)),
            clock_time: applied.map(|applied| Timestamp(hlc::ms(applied.clock))),
            keys: region.keys.map(Number),
            problems: region.problems.clone(),
        }
    }
}

/// The cells of a Region that the list and the page share; a dash for what cannot be read.
struct Words {
    slots: String,
    epoch: String,
    state: String,
    replica: String,
    applied: String,
    lag: String,
    keys: String,
    peers: String,
}

impl From<&Region> for Words {
    fn from(region: &Region) -> Words {
        let (records, descriptor) = (&region.records, region.records.descriptor());
        let replica = |replica: &Replica| format!("{} {}", replica.peer, replica.state.name());
        Words {
            slots: or_dash(descriptor.map(|descriptor| descriptor.slots)),
            epoch: or_dash(descriptor.map(|descriptor| descriptor.epoch)),
            state: or_dash(descriptor.map(|descriptor| descriptor.state.name())),
            replica: or_dash(records.replica().map(replica)),
            applied: or_dash(records.applied_id()),
            lag: or_dash(region.progress.map(|progress| progress.lag())),
            keys: or_dash(region.keys),
            peers: peers(descriptor),
        }
    }
}

/// `1@1 2@2 3@3(learner)`.
fn peers(descriptor: Option<&Descriptor>) -> String {
    let one = |Peer { id, store, role }: &Peer| match role {
        PeerRole::Voter => format!("{id}@{store}"),
        PeerRole::Learner => format!("{id}@{store}(learner)"),
    };
    let peers = descriptor.iter().flat_map(|found| &found.peers);
    peers.map(one).collect::<Vec<_>>().join(" ")
}

/// All Regions of a store.
#[derive(Debug)]
pub struct Regions {
    regions: Vec<Region>,
}

/// `{regions: […]}`.
impl Serialize for Regions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct View {
            regions: Vec<RegionView>,
        }
        View { regions: self.regions.iter().map(RegionView::from).collect() }.serialize(serializer)
    }
}

/// Lists the Regions.
#[must_use]
pub fn list(source: &Source) -> Regions {
    Regions { regions: region::list(source) }
}

impl Answer for Regions {
    const SCHEMA: &'static str = "region-list";

    fn page(&self, page: &mut Page) {
        if self.regions.is_empty() {
            page.text(NO_REGION);
            return;
        }
        let mut rows = Vec::new();
        for region in &self.regions {
            let Words { slots, epoch, state, replica, applied, lag, keys, peers } = region.into();
            let id = region.records.id.to_string();
            let cells = vec![id, slots, epoch, state, replica, applied, lag, keys, peers];
            rows.push(Row::new(cells));
            rows.extend(region.problems.iter().map(|problem| Row::problem(problem.clone())));
        }
        let titles = vec![
            ">Region", "slots", "epoch", "state", "replica", "applied", ">lag", ">keys", "peers",
        ];
        page.table(&Table { titles, rows, overflow: Overflow::Wrap });
        page.blank();
        page.dim(
            "epoch: version-conf_ver · replica: the peer on this store · applied: term-index · \
             lag: entries of the log that are not in the rows · peers: peer@store",
        );
    }

    fn is_negative(&self) -> bool {
        self.regions.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        self.regions.iter().flat_map(|region| region.problems.clone()).collect()
    }
}

/// One Region.
#[derive(Debug)]
pub struct OneRegion(Region);

/// As an element of `region list`.
impl Serialize for OneRegion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RegionView::from(&self.0).serialize(serializer)
    }
}

/// Shows one Region.
///
/// # Errors
/// There is no Region with this id.
pub fn show(id: u64, source: &Source) -> Result<OneRegion, CliError> {
    Ok(OneRegion(region::show(source, id)?))
}

impl Answer for OneRegion {
    const SCHEMA: &'static str = "region-show";

    fn page(&self, page: &mut Page) {
        let records = &self.0.records;
        let Words { slots, epoch, state, replica, applied, keys, peers, .. } = (&self.0).into();
        let slots = match records.descriptor() {
            Some(descriptor) => format!("{slots} ({})", descriptor.slots.len()),
            None => slots,
        };
        page.heading(&format!("Region {}", records.id));
        page.facts(&[
            ("slots", slots, "one contiguous range of keys in every data family"),
            ("epoch", epoch, "version grows with split and merge, conf_ver with the peers"),
            ("state", state, "a merging Region is frozen"),
            (
                "replica",
                replica,
                "the peer on this store; a tombstone outlives messages from the past",
            ),
            ("peers", peers, "peer@store; peer ids are never used again"),
            ("applied", applied, "term-index of the last entry whose effects are in the rows"),
            ("log", log(&self.0), "the last entry in it"),
            (
                "lag",
                or_dash(self.0.progress.as_ref().map(lag)),
                "effects that are not in the rows yet",
            ),
            ("clock", clock(&self.0), "the next unused stamp: no later entry may be older"),
            ("keys", keys, "user keys; expired ones until they are removed"),
        ]);
        for problem in &self.0.problems {
            page.problem(problem);
        }
    }

    fn problems(&self) -> Vec<String> {
        self.0.problems.clone()
    }
}

/// `to 7`, or a dash for a log without entries.
fn log(region: &Region) -> String {
    let last = region.progress.and_then(|progress| progress.last);
    or_dash(last.map(|last| format!("to {last}")))
}

/// `2023-11-14T22:13:19.000Z + 2`, or the bare number of a clock that has not started.
fn clock(region: &Region) -> String {
    match region.records.applied().map(|applied| applied.clock) {
        Some(clock) if hlc::ms(clock) != 0 => {
            format!("{} + {}", Timestamp(hlc::ms(clock)), hlc::counter(clock))
        }
        clock => or_dash(clock),
    }
}
