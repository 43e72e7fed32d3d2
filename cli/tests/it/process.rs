//! The program as a process: streams, colour, another process that holds the directory.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use neokv_encoding::family::Family;
use neokv_encoding::metadata::encode_string;
use neokv_engine::Durability;

use crate::golden::neoctl_with;
use crate::stores;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neoctl"));
    command.env_remove("NEOKV_DIR").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    command
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::small(dir.path());
    let mut batch = engine.batch();
    // Far more than a pipe holds.
    batch.put(
        Family::Metadata,
        stores::user("big").metadata(),
        encode_string(0, &vec![b'x'; 4 << 20]),
    );
    engine.write(batch, Durability::Synced).unwrap();
    stores::close(engine, dir.path());
    let mut child = program()
        .args(["-o", "json", "dump-key", "big"])
        .env("NEOKV_DIR", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "{\n");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_directory_that_another_process_holds_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let engine = stores::small(dir.path());
    let output = program().arg("--dir").arg(dir.path()).args(["region", "list"]).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains(&format!("server running, pid {}", std::process::id())), "{stdout}");
    assert!(stdout.contains("0-16383"), "{stdout}");
    stores::close(engine, dir.path());
}

#[test]
fn bytes_come_through_a_pipe() {
    let mut child = program()
        .args(["explain", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\x2f\x96\0\0\0\0foo").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("metadata key, 9 bytes"));
}

#[test]
fn colour_follows_the_flag_then_the_environment_then_the_screen() {
    let painted = |words: &[&str], env: &[(&'static str, &'static str)], columns| {
        let words = ["neoctl", "slot", "a"].iter().chain(words).map(OsString::from).collect();
        let env: HashMap<&str, &str> = env.iter().copied().collect();
        neoctl_with(words, b"", &env, columns).1.contains('\x1b')
    };
    let screen = Some(80);
    assert!(painted(&[], &[], screen));
    assert!(!painted(&[], &[], None));
    assert!(!painted(&[], &[("NO_COLOR", "1")], screen));
    assert!(painted(&[], &[("NO_COLOR", "")], screen), "an empty NO_COLOR counts as unset");
    assert!(!painted(&[], &[("TERM", "dumb")], screen));
    assert!(painted(&[], &[("CLICOLOR_FORCE", "1")], None));
    assert!(!painted(&[], &[("CLICOLOR_FORCE", "0")], None));
    assert!(painted(&["--color=always"], &[("NO_COLOR", "1")], None));
    assert!(!painted(&["--color=never"], &[("CLICOLOR_FORCE", "1")], screen));
}

#[test]
fn colour_does_not_move_a_single_letter() {
    let dir = tempfile::tempdir().unwrap();
    stores::close(stores::small(dir.path()), dir.path());
    for words in
        [&["dump-key", "user:{42}"][..], &["raft", "log"], &["store"], &["region", "show", "1"]]
    {
        let dir = format!("--dir={}", dir.path().display());
        let arguments = |color: &str| {
            let first = ["neoctl", &dir, "--width=80", color];
            first.iter().chain(words).map(OsString::from).collect::<Vec<_>>()
        };
        let plain = neoctl_with(arguments("--color=never"), b"", &HashMap::new(), None).1;
        let painted = neoctl_with(arguments("--color=always"), b"", &HashMap::new(), None).1;
        assert_ne!(painted, plain);
        assert_eq!(without_codes(&painted), plain);
        let widest = plain.lines().skip(1).map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{words:?}: {widest:?}\n{plain}");
    }
}

fn without_codes(text: &str) -> String {
    let mut out = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter == '\x1b' {
            letters.by_ref().find(|letter| *letter == 'm');
        } else {
            out.push(letter);
        }
    }
    out
}
