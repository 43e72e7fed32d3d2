//! The crates depend on each other in one direction, and each library stays in the crate that it
//! belongs to.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// Which crates of the workspace each crate may depend on, tests and examples aside.
const ARROWS: &[(&str, &[&str])] = &[
    ("base2histogram", &[]),
    ("neokv-encoding", &[]),
    ("neokv-resp", &[]),
    ("neokv-engine", &["neokv-encoding"]),
    ("neokv-raftstore", &["neokv-encoding", "neokv-engine"]),
    ("neokv-redis", &["neokv-encoding", "neokv-engine", "neokv-raftstore", "neokv-resp"]),
    ("neokv-inspect", &["neokv-encoding", "neokv-engine"]),
    ("neokv-meta", &["neokv-encoding"]),
    ("neoctl", &["neokv-encoding", "neokv-inspect", "neokv-redis", "neokv-resp"]),
    ("neokv-tests", &["neokv-encoding", "neokv-resp"]),
];

/// Libraries that only these crates may name.
const HOMES: &[(&str, &[&str])] = &[
    ("rust-rocksdb", &["neokv-engine"]),
    ("openraft", &["neokv-raftstore"]),
    ("tokio", &["neokv-raftstore", "neokv-redis"]),
    ("clap", &["neokv-redis", "neoctl"]),
];

/// The dependencies of every workspace crate that are not for tests or build scripts.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let normal =
                package["dependencies"].as_array().unwrap().iter().filter(|d| d["kind"].is_null());
            let names =
                normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect();
            (package["name"].as_str().unwrap().to_owned(), names)
        })
        .collect()
}

#[test]
fn crates_depend_in_one_direction() {
    let dependencies = dependencies();
    let declared: Vec<&str> = ARROWS.iter().map(|(name, _)| *name).collect();
    assert_eq!(
        dependencies.len(),
        declared.len(),
        "a crate is missing in ARROWS: {:?}",
        dependencies.keys()
    );
    for (name, allowed) in ARROWS {
        for dependency in dependencies[*name].iter().filter(|d| declared.contains(&d.as_str())) {
            assert!(
                allowed.contains(&dependency.as_str()),
                "{name} must not depend on {dependency}"
            );
        }
    }
}

#[test]
fn libraries_are_used_only_where_they_belong() {
    for (name, names) in dependencies() {
        for (library, homes) in HOMES {
            let guest = names.iter().any(|dependency| dependency == library)
                && !homes.contains(&name.as_str());
            assert!(!guest, "{name} must not use {library}: it belongs to {homes:?}");
        }
    }
}
