//! The modules of every crate use each other in one direction: following the paths that name other
//! modules never leads back to where it began.
//!
//! A circle of modules is one module in several files: none of them can be understood, tested or
//! moved without the others. Only top-level modules count; the modules inside one may use each
//! other as they need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which modules each module names.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Modules that stand outside the order: they put the others together, or test them.
const OUTSIDE: &[&str] = &["lib", "main", "bin", "testing"];

/// The source directories of the workspace's crates, by the name of their directory.
fn crates() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members = manifest.split("members = [").nth(1).unwrap().split(']').next().unwrap();
    let names = members.split('"').skip(1).step_by(2);
    let crates: Vec<_> = names.map(|name| (name.to_owned(), root.join(name).join("src"))).collect();
    assert!(crates.len() >= 7, "{crates:?}");
    crates
}

/// Rust files below a directory, those of tests aside.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file without its comments and its tests at the end.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first names behind each `prefix::`, which may be followed by a list in braces.
fn named(code: &str, prefix: &str) -> BTreeSet<String> {
    let paths = code.match_indices(prefix).filter(|(at, _)| {
        // `my_crate::` ends like `crate::`, and is none.
        !code[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':')
    });
    let mut names = BTreeSet::new();
    for (at, _) in paths {
        let rest = &code[at + prefix.len()..];
        let items = match rest.strip_prefix('{') {
            Some(list) => items(list),
            None => vec![rest],
        };
        names.extend(items.into_iter().map(|item| first_name(item).to_owned()));
    }
    names
}

/// The items of a list in braces, whose opening brace is gone.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut items) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[from..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn first_name(path: &str) -> &str {
    let path = path.trim_start();
    let end = path.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}

/// What the modules below `src` use, and how many uses there are.
fn uses(src: &Path) -> Uses {
    let mut files = Vec::new();
    sources(src, &mut files);
    let mut uses = Uses::new();
    for file in files {
        let inside = file.strip_prefix(src).unwrap();
        let parts: Vec<&str> = inside.iter().map(|part| part.to_str().unwrap()).collect();
        let module = parts[0].trim_end_matches(".rs").to_owned();
        if OUTSIDE.contains(&module.as_str()) {
            continue;
        }
        let code = code(&std::fs::read_to_string(&file).unwrap());
        let mut names = named(&code, "crate::");
        // In the root of a module, `super` is the crate.
        if parts.len() == 1 || parts[1..] == ["mod.rs"] {
            names.extend(named(&code, "super::"));
        }
        names.remove(&module);
        uses.entry(module).or_default().extend(names);
    }
    let modules: BTreeSet<String> = uses.keys().cloned().collect();
    for names in uses.values_mut() {
        names.retain(|name| modules.contains(name));
    }
    uses
}

/// A way from a module back to itself, if there is one.
fn circle(uses: &Uses) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    uses.keys().find_map(|module| walk(uses, module, &mut Vec::new(), &mut done))
}

fn walk(
    uses: &Uses,
    module: &str,
    way: &mut Vec<String>,
    done: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(at) = way.iter().position(|earlier| earlier == module) {
        return Some(way[at..].iter().cloned().chain([module.to_owned()]).collect());
    }
    // Whatever leads on from here was followed already.
    if !done.insert(module.to_owned()) {
        return None;
    }
    way.push(module.to_owned());
    let found = uses[module].iter().find_map(|next| walk(uses, next, way, done));
    way.pop();
    found
}

#[test]
fn the_modules_of_no_crate_go_in_circles() {
    let mut circles = Vec::new();
    let mut seen = 0;
    for (name, src) in crates() {
        let uses = uses(&src);
        seen += uses.values().map(BTreeSet::len).sum::<usize>();
        circles.extend(circle(&uses).map(|circle| format!("{name}: {}", circle.join(" → "))));
    }
    assert!(seen > 200, "only {seen} uses were found");
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found() {
    let text = "use crate::{a, b::{self, c}, d};\nlet x = crate::e::f();\n//! crate::none\n\
                other_crate::g; super::h::i;\n#[cfg(test)]\nmod tests { crate::t; }";
    let names = named(&code(text), "crate::");
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "d", "e"]);
    let uses = |pairs: &[(&str, &[&str])]| -> Uses {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs.iter().map(|(name, names)| ((*name).to_owned(), owned(names))).collect()
    };
    assert_eq!(circle(&uses(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = circle(&uses(&[("a", &["b"]), ("b", &["c"]), ("c", &["d"]), ("d", &["b"])]));
    assert_eq!(found.unwrap().join(" "), "b c d b");
}
