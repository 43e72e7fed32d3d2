//! Every example in help and in the README is a command that works.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use clap::CommandFactory as _;

use crate::golden::neoctl_with;
use crate::stores;

/// The examples of a command and of all below it: the lines of help that begin like one.
fn examples(command: &clap::Command, found: &mut Vec<String>) {
    let help = command.get_before_help().map(ToString::to_string).unwrap_or_default();
    found.extend(help.lines().filter_map(example));
    for below in command.get_subcommands() {
        examples(below, found);
    }
}

/// `  neoctl raft log    the last entries` without the remark.
fn example(line: &str) -> Option<String> {
    let line = line.trim_start();
    let text = line.starts_with("neoctl ").then_some(line)?;
    Some(text.split("  ").next().unwrap_or(text).split(" #").next()?.trim().to_string())
}

/// Runs an example on the small store.
fn run(example: &str, dir: &Path) -> (u8, String, String) {
    // Input redirected by a shell is the key of a record here.
    let (line, stdin) = match example.split_once(" < ") {
        Some((line, _file)) => (line, &b"\x2f\x96\0\0\0\0foo"[..]),
        None => (example, &b""[..]),
    };
    let line = line.replace("/var/lib/neokv", &dir.display().to_string());
    let words = neokv_resp::inline::split_args(line.as_bytes()).unwrap();
    let mut arguments: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
    if !line.contains("--dir") {
        arguments.insert(1, format!("--dir={}", dir.display()).into());
    }
    neoctl_with(arguments, stdin, &HashMap::new(), None)
}

#[test]
fn every_example_in_help_works() {
    let dir = tempfile::tempdir().unwrap();
    stores::close(stores::small(dir.path()), dir.path());
    let mut found = Vec::new();
    examples(&neoctl::args::Args::command(), &mut found);
    assert!(found.len() > 30, "only {} examples were found", found.len());
    for example in found {
        let (exit, _, stderr) = run(&example, dir.path());
        // The small store lacks some of the keys, Regions and entries: that is an answer.
        assert!(exit <= 1, "{example}: exit {exit}\n{stderr}");
    }
}

#[test]
fn the_readme_is_right() {
    let dir = tempfile::tempdir().unwrap();
    stores::close(stores::small(dir.path()), dir.path());
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let found: Vec<String> = readme.lines().filter_map(example).collect();
    assert!(found.len() >= 4, "{found:?}");
    for example in &found {
        let (exit, _, stderr) = run(example, dir.path());
        assert_eq!(exit, 0, "{example}: {stderr}");
    }
    // What the README shows below the commands is what the last of them prints.
    let shown = readme.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let (_, printed, _) = run(found.last().unwrap(), dir.path());
    assert!(printed.contains(shown), "{printed}");
}
