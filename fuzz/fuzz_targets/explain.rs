//! Any bytes explained as anything: no panic, and the leaves of every explanation are the bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use neokv_encoding::{
    explain::{self, Explained, render},
    family::Family,
    metadata::DataType,
};

fn check(explained: &Explained, bytes: &[u8]) {
    let mut at = 0;
    for leaf in explained.leaves() {
        assert_eq!(leaf.range.start, at);
        at = leaf.range.end;
    }
    assert_eq!(at, bytes.len());
    assert!(!render::text(explained, bytes).is_empty());
}

fuzz_target!(|bytes: &[u8]| {
    for reading in explain::guess(bytes) {
        check(&reading, bytes);
    }
    for family in Family::ALL {
        check(&explain::key(family, bytes), bytes);
        // Some of the bytes are the key, the rest is its value.
        let (key, value) = bytes.split_at(bytes.len().min(9));
        check(&explain::value(family, key, value), value);
    }
    for kind in DataType::ALL {
        check(&explain::part(kind, bytes), bytes);
    }
    check(&explain::entry(bytes), bytes);
    check(&explain::write_request(bytes), bytes);
});
