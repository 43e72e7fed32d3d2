//! `store`: whose directory this is, and what is in it.

use neokv_encoding::family::Family;
use neokv_inspect::Source;
use neokv_inspect::store::{FamilySize, summary};
use serde::Serialize;

use super::or_dash;
use crate::output::Answer;
use crate::output::header::StoreView;
use crate::output::json::Number;
use crate::output::table::{Overflow, Page, Row, Table};

/// A summary of a store.
#[derive(Debug, Serialize)]
pub struct Summary {
    identity: Option<StoreView>,
    /// Number of Regions with a record here.
    regions: usize,
    /// User keys of all Regions; null if one of the counts cannot be read.
    keys: Option<Number>,
    families: Vec<FamilyView>,
    #[serde(skip)]
    problems: Vec<String>,
}

/// One column family.
#[derive(Debug, Serialize)]
struct FamilyView {
    #[serde(rename = "family")]
    name: &'static str,
    /// Estimated by RocksDB.
    rows: Number,
    file_bytes: Number,
    #[serde(skip)]
    holds: &'static str,
}

impl From<&FamilySize> for FamilyView {
    fn from(size: &FamilySize) -> FamilyView {
        FamilyView {
            name: size.family.name(),
            rows: Number(size.rows),
            file_bytes: Number(size.file_bytes),
            holds: holds(size.family),
        }
    }
}

/// Summarises an open store.
#[must_use]
pub fn store(source: &Source) -> Summary {
    let summary = summary(source);
    Summary {
        identity: summary.identity.map(StoreView::from),
        regions: summary.regions,
        keys: summary.keys.map(Number),
        families: summary.families.iter().map(FamilyView::from).collect(),
        problems: summary.problems,
    }
}

fn holds(family: Family) -> &'static str {
    match family {
        Family::Default => "the store's identity",
        Family::RaftLog => "log entries of all Regions",
        Family::RaftState => "votes and log positions",
        Family::Region => "replicas, descriptors, applied states",
        Family::Metadata => "one record per user key",
        Family::Subkey => "fields, members, elements",
        Family::ZsetScore => "members by score",
        Family::Expire => "keys by expiry",
        Family::SlotStats => "key counts by slot",
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
                page.facts(&[
                    (
                        "store id",
                        store.store_id.to_string(),
                        "a copied directory must not join the cluster again",
                    ),
                    (
                        "cluster id",
                        format!("{:#x}", store.cluster_id.0),
                        "a store never changes its cluster",
                    ),
                    ("format", store.format_version.to_string(), "of everything in the directory"),
                    ("Regions", self.regions.to_string(), "see neoctl region list"),
                    (
                        "keys",
                        or_dash(self.keys),
                        "user keys of all Regions; expired ones until they are removed",
                    ),
                ]);
            }
            None => page.text("The store has no identity yet: it has not joined a cluster."),
        }
        page.blank();
        let row = |family: &FamilyView| {
            let (rows, file_bytes) = (family.rows.to_string(), family.file_bytes.to_string());
            Row::new(vec![family.name.into(), rows, file_bytes, family.holds.into()])
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
