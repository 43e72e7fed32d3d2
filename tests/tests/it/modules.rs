//! The modules of every crate use each other in one direction.
//!
//! A circle of modules is one module in several files: none of them can be understood, tested or
//! moved without the others. So each crate has an order of its modules: a table in the header of
//! its `lib.rs`, under a sentence with the words "only those above it". A module may use those that
//! are named before it there, and a module that is not named is a fault. Only top-level modules
//! count; the modules inside one may use each other as they need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What stands in the sentence before the table of modules.
const ORDERED: &str = "only those above it";

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
    // Nothing stands behind the last comma of a list.
    names.remove("");
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

/// The modules of the names that the root of a crate exports.
fn exports(root: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for (at, _) in root.match_indices("pub use ").chain(root.match_indices("pub(crate) use ")) {
        let statement = root[at..].split(';').next().unwrap();
        let path = statement.split("use ").nth(1).unwrap();
        let Some((module, names)) = path.split_once("::") else { continue };
        let names = names.strip_prefix('{').map_or_else(|| vec![names], items);
        for name in names {
            // Of `Short as Long` the crate sees the last name.
            let name = name.rsplit(" as ").next().unwrap();
            exports.insert(first_name(name).to_owned(), module.to_owned());
        }
    }
    exports
}

/// What the modules below `src` use.
fn uses(src: &Path) -> Uses {
    let exports = exports(&code(&std::fs::read_to_string(src.join("lib.rs")).unwrap()));
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
        let module_of = |name: String| exports.get(&name).cloned().unwrap_or(name);
        let mut names: BTreeSet<String> = names.into_iter().map(module_of).collect();
        names.remove(&module);
        uses.entry(module).or_default().extend(names);
    }
    let modules: BTreeSet<String> = uses.keys().cloned().collect();
    for names in uses.values_mut() {
        names.retain(|name| modules.contains(name));
    }
    uses
}

/// The modules in the table of a crate's header, in its order.
fn order(root: &str) -> Vec<String> {
    let lines = root.lines().skip_while(|line| !line.contains(ORDERED));
    let table = lines.skip_while(|line| !line.starts_with("//! |"));
    let rows = table.take_while(|line| line.starts_with("//! |"));
    // The first two rows are the headings and the line below them.
    let cells = rows.skip(2).filter_map(|row| row.split('|').nth(1));
    let names = cells.flat_map(|cell| cell.split(','));
    names.map(|name| name.replace("mod@", "").replace(['[', ']', '`', ' '], "")).collect()
}

/// What is wrong with an order: modules that are missing in it or do not exist, and uses that it
/// does not allow.
fn faults(order: &[String], uses: &Uses) -> Vec<String> {
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut faults = Vec::new();
    for name in order.iter().filter(|name| !uses.contains_key(*name)) {
        faults.push(format!("there is no module {name}"));
    }
    for (module, names) in uses {
        if place(module).is_none() {
            faults.push(format!("{module} is not in the table of modules"));
        }
        for name in names.iter().filter(|name| place(name) > place(module)) {
            faults.push(format!("{module} uses {name}, which is below it"));
        }
    }
    faults
}

#[test]
fn the_modules_of_every_crate_use_only_those_above_them() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for (name, src) in crates() {
        // A crate of one file has no order.
        if std::fs::read_dir(&src).unwrap().count() == 1 {
            continue;
        }
        let uses = uses(&src);
        seen += uses.values().map(BTreeSet::len).sum::<usize>();
        let order = order(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
        assert!(!order.is_empty(), "{name}/src/lib.rs has no table after \"{ORDERED}\"");
        wrong.extend(faults(&order, &uses).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    assert!(seen > 300, "only {seen} uses were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_found_in_every_form() {
    let text = "use crate::{a, b::{self, c}, d};\nlet x = crate::e::f();\n//! crate::none\n\
                use crate::{\n    g::{h, i},\n    j,\n};\n\
                other_crate::k; super::l::m;\n#[cfg(test)]\nmod tests { crate::t; }";
    let names = named(&code(text), "crate::");
    assert_eq!(
        names.iter().map(String::as_str).collect::<Vec<_>>(),
        ["a", "b", "d", "e", "g", "j"]
    );
    let exported = exports("pub use a::X;\npub use b::{Y, c::Z as W};\npub(crate) use d::V;");
    let exported: Vec<_> = exported.iter().map(|(name, of)| format!("{name} {of}")).collect();
    assert_eq!(exported, ["V d", "W b", "X a", "Y b"]);
}

#[test]
fn what_breaks_the_order_is_found() {
    let text = "//! Each uses only those above it:\n//!\n//! | module | what |\n//! | --- | --- |\n\
                //! | [`a`], `b` | one |\n//! | [`mod@c`] | two |\n//!\n//! | `d` | another |\n";
    let order = order(text);
    assert_eq!(order, ["a", "b", "c"]);
    let uses = |pairs: &[(&str, &[&str])]| -> Uses {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        pairs.iter().map(|(name, names)| ((*name).to_owned(), owned(names))).collect()
    };
    let good = uses(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])]);
    assert_eq!(faults(&order, &good), [""; 0]);
    let bad = uses(&[("a", &["b"]), ("b", &[]), ("d", &[])]);
    let found =
        ["there is no module c", "a uses b, which is below it", "d is not in the table of modules"];
    assert_eq!(faults(&order, &bad), found);
}
