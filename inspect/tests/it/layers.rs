//! The modules of this crate use each other in one direction.

use std::path::Path;

use crate::modules::check;

#[test]
fn each_module_uses_those_before_it_only() {
    const ORDER: &[&str] = &[
        "error",
        "server",
        "records",
        "source",
        "slot_stats",
        "region",
        "store",
        "key",
        "entry",
        "raft",
        "key_dump",
        "key_list",
    ];
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), ORDER);
}
