//! Where a new replica goes.
//!
//! A store is refused if it has a replica of the Region already, is not up, or is low on space.
//! Among the others the best one is chosen, and the first of these that makes a difference decides:
//!
//! 1. it shares the fewest labels with the other replicas;
//! 2. it has the fewest Regions;
//! 3. it has the fewest bytes;
//! 4. it has the lowest id.
//!
//! # How apart replicas are
//!
//! With the label keys `zone, rack`, two replicas in one zone are worse than any number of replicas
//! in one rack would be, and racks matter within a zone only. [`Overlap`] counts for each key how
//! many pairs agree on it and on all weightier ones:
//!
//! ```text
//!   store 1  zone=a rack=1      1 and 2 agree on the zone        overlap (1, 0)
//!   store 2  zone=a rack=2      1 and 3 agree on nothing
//!   store 3  zone=b rack=1
//! ```
//!
//! Overlaps compare from the left; less is better. Two stores without a label agree on it: nobody
//! can say that they stand apart.

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::cluster::{Cluster, Counted, Region, State};

/// For each label key, how many pairs of replicas agree on it and on all before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Overlap(Vec<usize>);

/// A store for a new replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its id.
    pub store: u64,
    /// Why it and no other, as it stands behind `store 5, `.
    pub reason: String,
}

/// No store can take a new replica: why, for each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoStore(pub BTreeMap<u64, String>);

impl fmt::Display for NoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no store can take a replica")?;
        for (at, why) in self.0.values().enumerate() {
            write!(f, "{}{why}", if at == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

/// The overlap of replicas on these stores.
pub fn overlap(cluster: &Cluster, stores: &[u64]) -> Overlap {
    let mut sum = vec![0; cluster.settings.labels.len()];
    for (at, one) in stores.iter().enumerate() {
        for other in stores.iter().skip(at + 1) {
            add_agreement(cluster, *one, *other, &mut sum);
        }
    }
    Overlap(sum)
}

/// The part of the overlap that a replica on `store` has with the `others`.
pub fn overlap_with(cluster: &Cluster, store: u64, others: &[u64]) -> Overlap {
    let mut sum = vec![0; cluster.settings.labels.len()];
    for other in others {
        add_agreement(cluster, store, *other, &mut sum);
    }
    Overlap(sum)
}

/// The weightiest label in which one overlap is less than another: its place in the settings, and
/// its key.
pub fn gain<'a>(
    cluster: &'a Cluster,
    better: &Overlap,
    worse: &Overlap,
) -> Option<(usize, &'a str)> {
    let at = better.0.iter().zip(&worse.0).position(|(less, more)| less < more)?;
    cluster.settings.labels.get(at).map(|key| (at, key.as_str()))
}

fn add_agreement(cluster: &Cluster, one: u64, other: u64, sum: &mut [usize]) {
    for (key, count) in cluster.settings.labels.iter().zip(sum) {
        if label(cluster, one, key) != label(cluster, other, key) {
            return;
        }
        *count += 1;
    }
}

fn label<'a>(cluster: &'a Cluster, store: u64, key: &str) -> Option<&'a str> {
    cluster.stores.get(&store)?.labels.get(key).map(String::as_str)
}

/// Why a store cannot take a new replica of a Region, if so.
pub fn why_not(cluster: &Cluster, region: &Region, id: u64, now: Duration) -> Option<String> {
    if region.on(id).is_some() {
        return Some(format!("store {id} has one"));
    }
    if cluster.state(id, now) != State::Up {
        return Some(cluster.describe(id, now));
    }
    let store = cluster.stores.get(&id)?;
    let full = cluster.settings.full_percent;
    // In 128 bits the products cannot overflow.
    let needed = (u128::from(store.used) + u128::from(region.bytes)) * 100;
    let is_low = needed > u128::from(store.capacity) * u128::from(full);
    is_low.then(|| format!("store {id} would be more than {full} % full"))
}

/// The store for a new replica of a Region, where `leaving` is the store whose replica it replaces.
///
/// # Errors
/// No store can take one.
pub fn place(
    cluster: &Counted<'_>,
    region: &Region,
    leaving: Option<u64>,
    now: Duration,
) -> Result<Choice, NoStore> {
    let others: Vec<u64> = region.stores().filter(|store| Some(*store) != leaving).collect();
    let mut refused = BTreeMap::new();
    let mut fit = Vec::new();
    for (&id, store) in &cluster.stores {
        match why_not(cluster, region, id, now) {
            Some(why) => {
                refused.insert(id, why);
            }
            None => {
                let overlap = overlap_with(cluster, id, &others);
                fit.push(Candidate {
                    overlap,
                    regions: cluster.regions_on(id),
                    used: store.used,
                    id,
                });
            }
        }
    }
    fit.sort();
    let Some((best, rest)) = fit.split_first() else { return Err(NoStore(refused)) };
    Ok(Choice { store: best.id, reason: best.reason(cluster, rest.first(), &fit) })
}

/// A store that fits. The least one is the best: the fields are in the order in which they count.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    overlap: Overlap,
    regions: usize,
    used: u64,
    id: u64,
}

impl Candidate {
    /// What makes it better than the second best, or than those that labels excluded.
    fn reason(&self, cluster: &Cluster, second: Option<&Candidate>, fit: &[Candidate]) -> String {
        let Some(second) = second else { return "the only store that can take it".to_owned() };
        if self.overlap < second.overlap {
            return self.standing(cluster, &second.overlap, fit);
        }
        let by_labels = fit.iter().find(|other| other.overlap > self.overlap);
        let standing = by_labels.map(|other| self.standing(cluster, &other.overlap, fit));
        let load = if self.regions < second.regions {
            format!("with the fewest Regions ({})", self.regions)
        } else if self.used < second.used {
            "with the fewest bytes".to_owned()
        } else {
            "the first of equal ones".to_owned()
        };
        standing.map_or(load.clone(), |standing| format!("{standing}, {load}"))
    }

    /// Where it stands, in terms of the first label on which it is better than `worse`.
    fn standing(&self, cluster: &Cluster, worse: &Overlap, fit: &[Candidate]) -> String {
        let Some((at, key)) = gain(cluster, &self.overlap, worse) else {
            return "as far apart as any".to_owned();
        };
        let Some(value) = label(cluster, self.id, key) else {
            return format!("which has no {key}");
        };
        let alike = |id: u64| id != self.id && label(cluster, id, key) == Some(value);
        let others = cluster.stores.keys().any(|id| alike(*id));
        let rivals = fit.iter().any(|other| alike(other.id));
        match self.overlap.0.get(at) {
            _ if !others => format!("the only store of {key} {value}"),
            _ if !rivals => format!("the only store of {key} {value} that can take it"),
            Some(0) => format!("apart from the others in {key} {value}"),
            _ => format!("in {key} {value} with the fewest others"),
        }
    }
}
