//! The order of the modules: each uses only those above it in the table of the crate's header, so
//! that it can be read, and tested, without those below.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The place of each module in the table. Modules of one row have one place.
fn places(header: &str) -> BTreeMap<String, usize> {
    let rows = header.lines().filter_map(|line| line.strip_prefix("//! | `"));
    rows.enumerate()
        .flat_map(|(place, row)| {
            let names = row.split('|').next().unwrap().trim().replace('`', "");
            names.split(", ").map(|name| (name.to_owned(), place)).collect::<Vec<_>>()
        })
        .collect()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    found.collect()
}

/// The modules of the crate that a source names, tests and comments aside.
fn used(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let paths = lines.flat_map(|line| line.split("crate::").skip(1).collect::<Vec<_>>());
    let is_end = |c: char| !(c.is_alphanumeric() || c == '_');
    paths.filter_map(|path| path.split(is_end).next().map(str::to_owned)).collect()
}

#[test]
fn modules_use_only_those_above_them() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let places = places(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    let mut checked = 0;
    for path in sources(&src) {
        let inside = path.strip_prefix(&src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let is_test = inside.ends_with("tests.rs")
            || inside.ends_with("suite.rs")
            || inside.iter().any(|part| part == "tests");
        if is_test || module == "lib" || module == "testing" {
            continue;
        }
        let own = places.get(module).unwrap_or_else(|| panic!("{module} is not in the table"));
        for name in used(&std::fs::read_to_string(&path).unwrap()) {
            // A type that the crate exports is of a module that is named elsewhere.
            let Some(place) = places.get(&name) else { continue };
            assert!(place <= own, "{}: {module} uses {name}, which is below it", inside.display());
            checked += 1;
        }
    }
    assert!(checked > 100, "{checked} uses were found");
}
