//! The modules of a crate use each other in one direction.

use std::path::{Path, PathBuf};

/// Holds the top-level modules below `src` to an order: each may use only those before it.
pub fn check(src: &Path, order: &[&str]) {
    let position = |name: &str| order.iter().position(|module| *module == name);
    let (mut wrong, mut checked) = (Vec::new(), 0);
    for file in files(src) {
        let inside = file.strip_prefix(src).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let own = position(module);
        assert!(own.is_some(), "module {module} is missing in the order");
        for name in used(&std::fs::read_to_string(&file).unwrap()) {
            let used = position(&name);
            assert!(used.is_some(), "{}: no module {name}", inside.display());
            checked += 1;
            if used > own {
                wrong.push(format!("{}: {module} uses {name}", inside.display()));
            }
        }
    }
    assert!(checked >= order.len(), "only {checked} uses were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The modules that a file names behind `crate::`, comments aside.
fn used(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.collect::<Vec<_>>().join(" ");
    let name = |path: &str| -> String {
        path.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            // `crate::{a::X, b}` names several.
            Some(list) => names.extend(list.split('}').next().unwrap().split(',').map(name)),
            None => names.push(name(rest)),
        }
    }
    // The root's own exports are not modules.
    names.retain(|name| name.starts_with(|c: char| c.is_lowercase()));
    names
}

#[test]
fn uses_are_found_in_every_form() {
    let text =
        "// crate::comment\nuse crate::a::X;\nuse crate::{b::Y, c};\nfn f() { crate::d::g() }";
    assert_eq!(used(text), ["a", "b", "c", "d"]);
}
