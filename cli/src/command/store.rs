//! `store`: whose directory this is, and what is in it.

use neokv_encoding::family::Family;
use serde::Serialize;

use crate::output::Answer;
use crate::output::json::Number;
use crate::output::table::{Overflow, Page, Row, Table};
use crate::source::{Source, Store};

/// A summary of a store.
#[derive(Debug, Serialize)]
pub struct Summary {
    identity: Option<Store>,
    /// Number of Regions with a record here.
    regions: usize,
    /// User keys of all Regions, as apply counts them; null if one of the counts cannot be read.
    keys: Option<Number>,
    families: Vec<FamilyView>,
    #[serde(skip)]
    problems: Vec<String>,
}

/// One column family.
#[derive(Debug, Serialize)]
struct FamilyView {
    family: &'static str,
    /// Estimated by RocksDB.
    rows: Number,
    file_bytes: Number,
}

/// Summarises an open store.
#[must_use]
pub fn store(source: &Source) -> Summary {
    let keys = source.regions.iter().filter_map(|region| region.stats.as_ref()).try_fold(
        0_u64,
        |sum, stats| {
            let keys = stats.as_ref().ok()?.keys;
            Some(sum.saturating_add(keys))
        },
    );
    let families = Family::ALL.into_iter().map(|family| {
        let stats = source.engine().family_stats(family);
        FamilyView {
            family: family.name(),
            rows: Number(stats.keys),
            file_bytes: Number(stats.live_file_bytes),
        }
    });
    Summary {
        identity: source.header.store,
        regions: source.regions.len(),
        keys: keys.map(Number),
        families: families.collect(),
        problems: source.regions.iter().flat_map(|region| region.problems()).collect(),
    }
}

fn holds(family: &str) -> &'static str {
    match Family::from_name(family) {
        Some(Family::Default) => "the store's identity",
        Some(Family::RaftLog) => "log entries of all Regions",
        Some(Family::RaftState) => "votes and log positions",
        Some(Family::Region) => "descriptors, applied states, key counts",
        Some(Family::Metadata) => "one record per user key",
        Some(Family::Subkey) => "fields, members, elements",
        Some(Family::ZsetScore) => "members by score",
        Some(Family::Expire) => "keys by expiry",
        None => "",
    }
}

impl Answer for Summary {
    const SCHEMA: &'static str = "store";

    fn page(&self, page: &mut Page) {
        match self.identity {
            Some(store) => {
                page.heading(&format!(
                    "store {} of cluster {:x}",
                    store.store_id, store.cluster_id.0
                ));
                let keys = self.keys.map_or_else(|| "-".to_string(), |keys| keys.to_string());
                page.facts(&[
                    (
                        "store id",
                        store.store_id.to_string(),
                        "a copied directory must not join as a second self",
                    ),
                    (
                        "cluster id",
                        format!("{:#x}", store.cluster_id.0),
                        "a store never changes its cluster",
                    ),
                    ("format", store.format_version.to_string(), "of everything in the directory"),
                    ("Regions", self.regions.to_string(), "see neoctl region list"),
                    ("keys", keys, "user keys of all Regions; expired ones until they are removed"),
                ]);
            }
            None => page.text("The store has no identity yet: it has not joined a cluster."),
        }
        page.blank();
        let row = |family: &FamilyView| {
            let cells =
                [family.family.into(), family.rows.to_string(), family.file_bytes.to_string()];
            Row::new(cells.into_iter().chain([holds(family.family).to_string()]).collect())
        };
        let rows = self.families.iter().map(row).collect();
        let titles = vec!["family", ">rows (estimate)", ">bytes in files", "holds"];
        page.table(&Table { titles, rows, overflow: Overflow::Wrap });
        for problem in &self.problems {
            page.problem(problem);
        }
    }

    fn problems(&self) -> Vec<String> {
        self.problems.clone()
    }
}
