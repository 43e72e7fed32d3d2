//! The shape of the sources: rules for readers' sake that no tool enforces by itself.
//!
//! rustfmt leaves comments, long strings and the insides of macros alone, and clippy knows neither
//! the length of files nor the words that this project avoids. The rules are checked line by line,
//! on code that rustfmt has formatted.

use std::path::{Path, PathBuf};

/// Most characters of a line of Rust or of prose.
const COLUMNS: usize = 100;
/// Most lines of a function, from its `fn` to its closing brace.
const FUNCTION_LINES: usize = 70;
/// Most lines of a file, its tests aside.
const FILE_LINES: usize = 500;
/// Most lines of a file of tests: many short functions in a row need less care than one long story.
const TEST_FILE_LINES: usize = 600;

/// Names that say nothing to somebody who knows the field. (`InFlight` is a term of the field and
/// allowed, a bare `Flight` is not.)
const NAMES: &[&str] = &[
    "tower", "pilot", "flight", "landed", "glance", "beyond", "judge", "truth", "cable", "world",
    "labour", "breath",
];

/// Notes that something is left to do: do it, or file it where it is not forgotten.
const NOTES: &[&str] = &["TODO", "FIXME", "XXX"];

/// What files the rules are about, by the ends of their names.
const ENDINGS: &[&str] = &["rs", "md", "toml", "proto", "py", "mjs"];

/// A file of the project: its path below the root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_prose(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// Whether the whole file consists of tests.
    fn is_test(&self) -> bool {
        self.path.contains("tests/") || self.path.ends_with("/tests.rs")
    }

    /// What breaks the rules, one line for each.
    fn faults(&self) -> Vec<String> {
        let mut faults = self.faults_of_text();
        if self.is_rust() {
            faults.extend(self.faults_of_lines());
            faults.extend(self.long_functions());
            faults.extend(self.long_file());
        }
        if self.is_prose() {
            faults.extend(self.wide_prose());
        }
        faults
    }

    /// Rules for every file.
    fn faults_of_text(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            faults.push(format!("{}: no line feed at the end", self.path));
        }
        for (number, line) in self.numbered() {
            if line.trim_end() != line {
                faults.push(format!("{}:{number}: blanks at the end", self.path));
            }
            let unquoted = without_strings(line);
            if let Some(note) = words(&unquoted).find(|word| NOTES.contains(word)) {
                faults.push(format!("{}:{number}: {note} is left", self.path));
            }
        }
        faults
    }

    /// Rules for every line of Rust.
    fn faults_of_lines(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, line) in self.numbered() {
            let columns = line.chars().count();
            // The row of a table in a comment cannot be wrapped.
            if columns > COLUMNS && !is_table_row(line) {
                faults.push(format!("{}:{number}: {columns} columns", self.path));
            }
            if line.contains('\t') {
                faults.push(format!("{}:{number}: a tab", self.path));
            }
            let code = without_strings(line);
            let code = code.split("//").next().unwrap_or_default();
            for name in words(code).filter(|word| is_avoided(word)) {
                faults.push(format!("{}:{number}: {name} is no word of the field", self.path));
            }
        }
        faults
    }

    /// Lines of prose that are too long. Tables and what stands between fences keep their lines.
    fn wide_prose(&self) -> Vec<String> {
        let mut is_fenced = false;
        let prose = self.numbered().filter(|(_, line)| {
            let text = line.trim_start();
            is_fenced ^= text.starts_with("```");
            !is_fenced && !text.starts_with('|')
        });
        let wide = prose.map(|(number, line)| (number, line.chars().count()));
        let wide = wide.filter(|(_, columns)| *columns > COLUMNS);
        wide.map(|(number, columns)| format!("{}:{number}: {columns} columns", self.path)).collect()
    }

    fn long_functions(&self) -> Vec<String> {
        let lines: Vec<&str> = self.text.lines().collect();
        let starts = (0..lines.len()).filter(|at| is_function(lines[*at]));
        let long = starts.map(|at| (at, function_lines(&lines[at..])));
        let long = long.filter(|(_, length)| *length > FUNCTION_LINES);
        long.map(|(at, length)| format!("{}:{}: {length} lines in a function", self.path, at + 1))
            .collect()
    }

    fn long_file(&self) -> Option<String> {
        let most = if self.is_test() { TEST_FILE_LINES } else { FILE_LINES };
        let code = self.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().count();
        (lines > most).then(|| format!("{}: {lines} lines, {most} are allowed", self.path))
    }

    fn numbered(&self) -> impl Iterator<Item = (usize, &str)> {
        // `split` and not `lines`, which would take a carriage return for a part of the line's end.
        self.text.split('\n').enumerate().map(|(at, line)| (at + 1, line))
    }
}

/// A line without what stands in quotes.
fn without_strings(line: &str) -> String {
    let line = line.replace("\\\\", "").replace("\\\"", "").replace("'\"'", "");
    line.split('"').step_by(2).collect::<Vec<_>>().join("\"\"")
}

/// The names and words of a line.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn is_avoided(word: &str) -> bool {
    NAMES.contains(&word.to_lowercase().as_str())
}

fn is_table_row(line: &str) -> bool {
    let comment = line.trim_start().trim_start_matches(['/', '!']).trim_start();
    line.trim_start().starts_with("//") && comment.starts_with('|')
}

/// Whether a function begins on this line.
fn is_function(line: &str) -> bool {
    let code = line.trim_start();
    let Some((before, _)) = code.split_once("fn ") else { return false };
    let visible = before.split(['(', ')']).step_by(2).flat_map(str::split_whitespace);
    let mut qualifiers = visible.filter(|word| *word != "pub");
    qualifiers.all(|word| matches!(word, "const" | "async" | "unsafe" | "default"))
}

/// How many lines the function has that begins on the first of these lines.
fn function_lines(lines: &[&str]) -> usize {
    let indent = lines[0].len() - lines[0].trim_start().len();
    // rustfmt puts what ends a function under its beginning.
    let ends = |(at, line): (usize, &&str)| {
        let code = line.get(indent..).filter(|_| line.len() - line.trim_start().len() == indent)?;
        let end = code == "}" || code.ends_with(';') || (at == 0 && code.ends_with('}'));
        end.then_some(at + 1)
    };
    lines.iter().enumerate().find_map(ends).unwrap_or(lines.len())
}

/// Reads every file of the project that the rules are about.
fn read(root: &Path, dir: &Path, found: &mut Vec<Source>) {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_str().unwrap();
        // What is built, and what other programs keep here.
        if name.starts_with('.') || matches!(name, "target" | "node_modules") {
            continue;
        }
        if path.is_dir() {
            read(root, &path, found);
        } else if path.extension().is_some_and(|end| ENDINGS.iter().any(|known| end == *known)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.push(Source { path, text });
        }
    }
}

#[test]
fn the_sources_keep_their_shape() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut sources = Vec::new();
    read(root, root, &mut sources);
    assert!(sources.len() > 400, "only {} files were found", sources.len());
    let faults: Vec<String> = sources.iter().flat_map(Source::faults).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// The code relies on it: a sum that wraps would be a wrong position and not an error. So it holds
/// for our own crates in every profile that somebody may build the server with.
#[test]
fn every_profile_checks_overflows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for profile in ["[profile.dev]", "[profile.release]"] {
        let settings = manifest.split_once(profile).map(|(_, rest)| rest.split("\n[").next());
        let settings = settings.flatten().unwrap_or_default();
        assert!(settings.contains("\noverflow-checks = true\n"), "{profile}: {settings}");
    }
}

fn faults(path: &str, text: &str) -> String {
    let source = Source { path: path.to_owned(), text: text.to_owned() };
    source.faults().join("\n")
}

#[test]
fn faults_are_found() {
    assert_eq!(faults("a.rs", "fn f() {}\n"), "");
    assert_eq!(faults("a.md", "one\ntwo"), "a.md: no line feed at the end");
    assert_eq!(faults("a.md", "one \ntwo\n"), "a.md:1: blanks at the end");
    assert_eq!(faults("a.rs", "one\r\n"), "a.rs:1: blanks at the end");
    assert_eq!(faults("a.rs", "a;\n\tb;\n"), "a.rs:2: a tab");
    assert_eq!(faults("a.rs", &format!("// {}\n", "é".repeat(97))), "");
    assert_eq!(faults("a.rs", &format!("// {}\n", "é".repeat(98))), "a.rs:1: 101 columns");
    assert_eq!(faults("a.rs", &format!("//! | {} |\n", "é".repeat(98))), "");
    assert_eq!(faults("a.rs", "// \"TODO\" is quoted\n// TODO: all\n"), "a.rs:2: TODO is left");
    let wide = "word ".repeat(20) + "a";
    assert_eq!(faults("a.md", &format!("one\n{wide}\n")), "a.md:2: 101 columns");
    assert_eq!(faults("a.md", &format!("| {wide} |\n```\n{wide}\n```\n")), "");
    assert_eq!(faults("a.md", &format!("```\n```\n{wide}\n")), "a.md:3: 101 columns");
    let named = "// Beyond words\nlet x = \"Beyond\";\nlet landed = InFlight;\n";
    assert_eq!(faults("a.rs", named), "a.rs:3: landed is no word of the field");
}

#[test]
fn long_functions_and_files_are_found() {
    let body = |lines| "        x();\n".repeat(lines);
    let short = format!("impl A {{\n    fn f() {{\n{}    }}\n}}\n", body(68));
    assert_eq!(faults("a.rs", &short), "");
    let long = "    pub(crate) async fn g(\n        a: u8,\n    ) -> u8 {\n";
    let long = format!("impl A {{\n{long}{}    }}\n}}\n", body(67));
    assert_eq!(faults("a.rs", &long), "a.rs:2: 71 lines in a function");
    let declared =
        format!("trait A {{\n    fn f();\n    fn g() {{}}\n}}\nfn h() {{\n{}}}\n", body(69));
    assert_eq!(faults("a.rs", &declared), "a.rs:5: 71 lines in a function");

    let lines = "x;\n".repeat(FILE_LINES);
    let tests = "#[cfg(test)]\nmod tests {\n}\n";
    assert_eq!(faults("a.rs", &format!("{lines}{tests}")), "");
    assert_eq!(faults("a.rs", &format!("{lines}x;\n{tests}")), "a.rs: 501 lines, 500 are allowed");
    assert_eq!(faults("tests/a.rs", &format!("{lines}x;\n")), "");
}
