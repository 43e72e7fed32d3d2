//! The modules of this crate use each other in one direction, in the order of its documentation.

use std::path::Path;

use crate::modules::check;

#[test]
fn each_module_uses_those_before_it_only() {
    const ORDER: &[&str] = &["environment", "error", "bytes_input", "output", "args", "command"];
    check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), ORDER);
}
