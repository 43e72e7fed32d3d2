//! The modules of this crate use each other in one direction. Each uses only the modules above it
//! in the list below, which is the list of the crate's documentation.

use std::path::{Path, PathBuf};

const ORDER: &[&str] = &[
    "error",
    "number",
    "stable_hash",
    "clock",
    "password",
    "config",
    "process",
    "identity",
    "keyspace",
    "clients",
    "session",
    "stats",
    "facts",
    "disk",
    "topology",
    "host",
    "command",
    "machine",
    "server",
    "cleaner",
    "metrics",
    "node",
];

/// The Rust files below a directory, except files of tests.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("a readable directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_some_and(|stem| stem != "tests")
        {
            found.push(path);
        }
    }
}

/// The modules that a file names, in its code before its tests.
fn used(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(|line| line.split("crate::").skip(1)).flat_map(|rest| {
        // `crate::a::b` names one module, `crate::{a, b::c}` several.
        let list = rest.strip_prefix('{').map_or(rest, |list| list.split('}').next().unwrap_or(""));
        let several = rest.starts_with('{');
        let parts = list.split(", ").take(if several { usize::MAX } else { 1 });
        parts.map(|part| {
            let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            part.get(..end.unwrap_or(part.len())).unwrap_or_default()
        })
    })
}

#[test]
fn modules_use_those_above_them_only() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let position = |name: &str| ORDER.iter().position(|module| *module == name);
    let mut files = Vec::new();
    sources(&root, &mut files);
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for file in files {
        let inside = file.strip_prefix(&root).expect("below src");
        let first = inside.iter().next().and_then(|part| part.to_str()).expect("a name");
        let module = first.trim_end_matches(".rs");
        if matches!(module, "lib" | "testing" | "bin") {
            continue;
        }
        let own = position(module);
        assert!(own.is_some(), "module {module} is missing in ORDER");
        let text = std::fs::read_to_string(&file).expect("UTF-8");
        for name in used(&text).filter(|name| position(name).is_some()) {
            checked += 1;
            if position(name) > own {
                wrong.push(format!("{}: {module} uses {name}", inside.display()));
            }
        }
    }
    assert!(checked > 100, "only {checked} uses were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
