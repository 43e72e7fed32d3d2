//! `region list` and `region show`: what the Regions of a store are, and how far they are.

use neokv_encoding::hlc;
use neokv_encoding::raft::Peer;
use neokv_encoding::region::Descriptor;
use serde::Serialize;

use crate::error::CliError;
use crate::output::Answer;
use crate::output::json::{Moment, Number};
use crate::output::table::{Overflow, Page, Row, Table};
use crate::source::Source;
use crate::source::regions::{LogIdView, RegionRecords};

/// A Region, as its records say. What cannot be read is null.
#[derive(Debug, Serialize)]
pub struct RegionView {
    id: Number,
    slots: Option<Slots>,
    epoch: Option<Epoch>,
    state: Option<&'static str>,
    peers: Vec<PeerView>,
    applied: Option<LogIdView>,
    /// The next unused stamp of the hybrid logical clock.
    clock: Option<Number>,
    clock_time: Option<Moment>,
    keys: Option<Number>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// A range of slots.
#[derive(Debug, Serialize)]
struct Slots {
    /// First slot.
    start: u16,
    /// One past the last slot.
    end: u16,
    #[serde(skip)]
    text: String,
}

/// Which shape of a Region.
#[derive(Debug, Serialize)]
struct Epoch {
    version: Number,
    conf_ver: Number,
}

/// A replica.
#[derive(Debug, Serialize)]
struct PeerView {
    id: Number,
    store: Number,
    role: &'static str,
}

impl From<&RegionRecords> for RegionView {
    fn from(records: &RegionRecords) -> RegionView {
        let descriptor: Option<&Descriptor> =
            records.descriptor.as_ref().and_then(|record| record.as_ref().ok());
        let applied = records.applied.as_ref().and_then(|record| record.as_ref().ok());
        let stats = records.stats.as_ref().and_then(|record| record.as_ref().ok());
        let peer = |peer: &Peer| PeerView {
            id: Number(peer.id),
            store: Number(peer.store),
            role: peer.role.name(),
        };
        RegionView {
            id: Number(records.id),
            slots: descriptor.map(|Descriptor { slots, .. }| Slots {
                start: slots.start,
                end: slots.end,
                text: slots.to_string(),
            }),
            epoch: descriptor.map(|Descriptor { epoch, .. }| Epoch {
                version: Number(epoch.version),
                conf_ver: Number(epoch.conf_ver),
            }),
            state: descriptor.map(|descriptor| descriptor.state.name()),
            peers: descriptor
                .map(|descriptor| descriptor.peers.iter().map(peer).collect())
                .unwrap_or_default(),
            applied: records.applied_id(),
            clock: applied.map(|applied| Number(applied.clock)),
            clock_time: applied.map(|applied| Moment(hlc::ms(applied.clock))),
            keys: stats.map(|stats| Number(stats.keys)),
            problems: records.problems(),
        }
    }
}

/// A dash for what is not there.
fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_string(), |value| value.to_string())
}

impl RegionView {
    fn slots(&self) -> String {
        or_dash(self.slots.as_ref().map(|slots| &slots.text))
    }

    fn epoch(&self) -> String {
        or_dash(self.epoch.as_ref().map(|epoch| format!("{}.{}", epoch.version, epoch.conf_ver)))
    }

    /// `1@1 2@2 3@3(learner)`.
    fn peers(&self) -> String {
        let one = |peer: &PeerView| match peer.role {
            "voter" => format!("{}@{}", peer.id, peer.store),
            role => format!("{}@{}({role})", peer.id, peer.store),
        };
        self.peers.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// All Regions of a store.
#[derive(Debug, Serialize)]
pub struct Regions {
    regions: Vec<RegionView>,
}

/// Lists the Regions.
#[must_use]
pub fn list(source: &Source) -> Regions {
    Regions { regions: source.regions.iter().map(RegionView::from).collect() }
}

impl Answer for Regions {
    const SCHEMA: &'static str = "region-list";

    fn page(&self, page: &mut Page) {
        if self.regions.is_empty() {
            page.text(
                "The store has no Region: the first one is made at the first start of a server.",
            );
            return;
        }
        let mut rows = Vec::new();
        for region in &self.regions {
            let cells =
                [region.id.to_string(), region.slots(), region.epoch(), or_dash(region.state)];
            let more = [or_dash(region.applied), or_dash(region.keys), region.peers()];
            rows.push(Row::new(cells.into_iter().chain(more).collect()));
            rows.extend(region.problems.iter().map(|problem| Row::problem(problem.clone())));
        }
        let titles = vec![">Region", "slots", "epoch", "state", "applied", ">keys", "peers"];
        page.table(&Table { titles, rows, overflow: Overflow::Wrap });
        page.blank();
        page.dim("epoch: version.conf_ver · applied: term-index · peers: peer@store");
    }

    fn is_negative(&self) -> bool {
        self.regions.is_empty()
    }

    fn problems(&self) -> Vec<String> {
        self.regions.iter().flat_map(|region| region.problems.clone()).collect()
    }
}

/// One Region.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub struct OneRegion(RegionView);

/// Shows one Region.
///
/// # Errors
/// There is none with this id.
pub fn show(id: u64, source: &Source) -> Result<OneRegion, CliError> {
    source.region(Some(id)).map(|region| OneRegion(RegionView::from(region)))
}

impl Answer for OneRegion {
    const SCHEMA: &'static str = "region-show";

    fn page(&self, page: &mut Page) {
        let region = &self.0;
        let count = region.slots.as_ref().map_or(0, |slots| slots.end.saturating_sub(slots.start));
        let clock = match (region.clock, region.clock_time) {
            (Some(clock), Some(time)) if time.0 != 0 => {
                format!("{time} + {}", hlc::counter(clock.0))
            }
            (clock, _) => or_dash(clock),
        };
        page.heading(&format!("Region {}", region.id));
        page.facts(&[
            (
                "slots",
                format!("{} ({count})", region.slots()),
                "one contiguous range of keys in every data family",
            ),
            (
                "epoch",
                region.epoch(),
                "version grows with split and merge, conf_ver with the peers",
            ),
            (
                "state",
                or_dash(region.state),
                "a merging Region is frozen, a tombstone is gone from this store",
            ),
            ("peers", region.peers(), "peer@store; peer ids are never used again"),
            (
                "applied",
                or_dash(region.applied),
                "term-index of the last entry whose effects are in the store",
            ),
            ("clock", clock, "the next unused stamp: no later entry may be older"),
            ("keys", or_dash(region.keys), "user keys; expired ones until they are removed"),
        ]);
        for problem in &region.problems {
            page.problem(problem);
        }
    }

    fn problems(&self) -> Vec<String> {
        self.0.problems.clone()
    }
}
