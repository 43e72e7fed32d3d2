//! What is fetched before the commands of an entry are carried out.

use super::{Bench, entry};

#[test]
fn what_the_keys_of_an_entry_lead_to_is_fetched_at_once() {
    let mut bench = Bench::new();
    let before = bench.engine.stats().rows;
    bench
        .apply_entry(&entry(1 << 16, &[&["set", "a", "1"], &["mset", "b", "2", "c", "3"]]))
        .unwrap();
    let rows = bench.engine.stats().rows;
    // Of each key, the string in the older format: nobody fetches that. Its record and the count
    // of its slot are in memory when the command looks for them.
    assert_eq!(rows.misses - before.misses, 3);
}
