//! What a walk remembers, and that it needs no memory to be fair.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::super::tests::{filled, set};
use super::*;

/// Members without any regularity, with 64 bytes in common that tell nothing.
fn scattered(count: u64) -> impl Iterator<Item = String> {
    let mut random = SplitMix64::new(77);
    let prefix = "p".repeat(64);
    (0..count).map(move |_| format!("{prefix}{:016x}", random.next_u64()))
}

#[test]
fn a_walker_without_memory_is_as_fair_as_one_with() {
    let bench = filled(scattered(3000));
    let set = set(&bench);
    for forgets in [false, true] {
        let (mut walker, mut random) =
            (Walker::new(&bench.view(), &set).unwrap(), SplitMix64::new(12));
        if forgets {
            walker.remembered_bytes = MAX_NODE_BYTES;
        }
        let mut counts: BTreeMap<Bytes, u32> = BTreeMap::new();
        for _ in 0..30_000 {
            *counts.entry(walker.walk(&mut random).unwrap().unwrap().0).or_insert(0) += 1;
            assert!(walker.nodes.len() <= MAX_NODES && walker.path.is_empty());
        }
        assert_eq!(walker.nodes.len() == 1, forgets, "{} nodes", walker.nodes.len());
        let seen = counts.values().map(|count| (f64::from(*count) - 10.0).powi(2) / 10.0);
        let statistic: f64 = seen.sum::<f64>() + 10.0 * (3000.0 - counts.len() as f64);
        assert!(statistic < 3250.0, "{statistic} with 2999 degrees of freedom");
    }
}

/// Where every cell was read, the sizes are the numbers of elements.
#[test]
fn sizes_are_exact_once_everything_was_visited() {
    let bench = filled((1..=3000).map(|number| format!("user:{number}")));
    let set = set(&bench);
    let (mut walker, mut random) = (Walker::new(&bench.view(), &set).unwrap(), SplitMix64::new(13));
    for _ in 0..5000 {
        walker.walk(&mut random).unwrap();
    }
    let sizes: Vec<f64> = walker.nodes[0].cells.iter().map(|cell| cell.size).collect();
    // 1 has 10 to 19, 100 to 199 and 1000 to 1999 behind it; 3 has 3000.
    assert_eq!(sizes, [1111.0, 1111.0, 112.0, 111.0, 111.0, 111.0, 111.0, 111.0, 111.0]);
}
