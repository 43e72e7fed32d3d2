//! Where an answer comes from, and in which state that was: what every answer from a store begins
//! with.

use neokv_encoding::identity::Identity;
use neokv_inspect::Source;
use neokv_inspect::progress::Progress;
use neokv_inspect::records::RegionRecords;
use serde::Serialize;

use super::json::{LogIdView, Number, Timestamp};
use super::table::Page;

/// Regions that the header names: with two of them it fits in a line of 120 columns.
const NAMED: usize = 2;

/// Where an answer comes from.
#[derive(Clone, Debug, Serialize)]
pub struct Header {
    /// The data directory, as it was given.
    dir: String,
    server: ServerView,
    /// Whose directory it is; null before the store joined a cluster.
    store: Option<StoreView>,
    /// How far each Region is applied.
    regions: Vec<AppliedView>,
    /// Entries of the log that were applied to a copy of the directory, which the answer is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<Number>,
    /// When it was read.
    read_at: Timestamp,
    /// The server in words.
    #[serde(skip)]
    server_text: String,
    /// What is wrong with the source as a whole.
    #[serde(skip)]
    pub(super) problems: Vec<String>,
}

/// Whether a server runs on the directory.
#[derive(Clone, Copy, Debug, Serialize)]
struct ServerView {
    running: bool,
    pid: Option<u32>,
}

/// A store's identity.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StoreView {
    /// Id of the store in its cluster.
    pub store_id: Number,
    /// Id of the cluster.
    pub cluster_id: Number,
    /// Number of the on-disk format.
    pub format_version: u32,
}

/// How far a Region is applied.
#[derive(Clone, Copy, Debug, Serialize)]
struct AppliedView {
    region: Number,
    /// Last applied entry: the last one whose effects are in the rows.
    applied: Option<LogIdView>,
    /// Last entry that is known to be on a majority, as stored: lazily.
    committed: Option<Number>,
    /// Last entry in the log.
    last: Option<Number>,
    /// Entries in the log whose effects are not in the rows.
    lag: Number,
    /// A Region that is gone takes no space in the few lines of a header.
    #[serde(skip)]
    is_tombstone: bool,
}

impl Header {
    /// Of an open store. `replayed`: so many entries were applied to a copy of it.
    #[must_use]
    pub fn new(source: &Source, replayed: Option<u64>) -> Header {
        let applied = |region: &RegionRecords| {
            let progress = source.progress.get(&region.id).copied().unwrap_or_default();
            let Progress { committed, last, .. } = progress;
            AppliedView {
                region: Number(region.id),
                applied: region.applied_id().map(LogIdView::from),
                committed: committed.map(Number),
                last: last.map(Number),
                lag: Number(progress.lag()),
                is_tombstone: region.is_tombstone(),
            }
        };
        Header {
            dir: source.dir.display().to_string(),
            server: ServerView { running: source.server.running, pid: source.server.pid },
            store: source.identity.map(StoreView::from),
            regions: source.regions.iter().map(applied).collect(),
            replayed: replayed.map(Number),
            read_at: Timestamp(source.read_at_ms),
            server_text: source.server.to_string(),
            problems: source.problems.clone(),
        }
    }
}

impl From<Identity> for StoreView {
    fn from(identity: Identity) -> StoreView {
        StoreView {
            store_id: Number(identity.store_id),
            cluster_id: Number(identity.cluster_id),
            format_version: identity.format_version,
        }
    }
}

impl Header {
    /// What becomes of so many entries beyond what is applied.
    fn lag(&self, entries: u64) -> Option<String> {
        let entries = match entries {
            0 => return None,
            1 => "1 entry of the log is".to_string(),
            more => format!("{more} entries of the log are"),
        };
        Some(if self.server.running {
            format!("{entries} not in the rows shown: the server has the effects in memory.")
        } else {
            format!(
                "{entries} not in the rows shown: the next start of the server applies what is \
                 committed."
            )
        })
    }

    /// The lines that answers begin with.
    pub(super) fn page(&self, page: &mut Page) {
        // Paths have any length and are there to be copied: they are not wrapped.
        page.verbatim(&page.paint().dim(&format!("{} ({})", self.dir, self.server_text)));
        let store = self
            .store
            .map_or_else(|| "no identity yet".into(), |store| format!("store {}", store.store_id));
        let mut parts = vec![store];
        let living: Vec<&AppliedView> =
            self.regions.iter().filter(|one| !one.is_tombstone).collect();
        let named = living.iter().take(NAMED).map(|one| {
            let applied = match one.applied {
                Some(applied) => format!("Region {} applied {applied}", one.region),
                None => format!("Region {} applied nothing", one.region),
            };
            match one.last.filter(|_| one.lag.0 > 0) {
                Some(last) => format!("{applied}, log to {last}"),
                None => applied,
            }
        });
        parts.extend(named);
        match living.len() - living.len().min(NAMED) {
            0 => {}
            1 => parts.push("1 more Region".into()),
            more => parts.push(format!("{more} more Regions")),
        }
        parts.push(format!("read {}", self.read_at.second()));
        page.parts(&parts);
        if let Some(entries) = self.replayed {
            page.text(&match entries.0 {
                0 => "Replayed in a copy: no entry was applied.".to_string(),
                1 => "Replayed in a copy: 1 entry that the rows lacked is applied.".to_string(),
                more => {
                    format!("Replayed in a copy: {more} entries that the rows lacked are applied.")
                }
            });
        }
        let lag = self.regions.iter().map(|one| one.lag.0).sum();
        if let Some(lag) = self.lag(lag) {
            page.text(&lag);
        }
        for problem in &self.problems {
            page.problem(problem);
        }
        page.blank();
    }
}
