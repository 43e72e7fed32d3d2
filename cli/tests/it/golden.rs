//! Golden scripts: what every command prints, in both forms, with its exit code. See
//! `tests/scripts`.
//!
//! | command | does |
//! | --- | --- |
//! | `store NAME` | makes a store (small, damaged, half, several, empty, none) for the commands that follow; `open=yes` keeps it open |
//! | `> neoctl ARGS…` | runs the program at a width of 80, words quoted as in a shell; the word after `<<<` is its input |
//!
//! Output is stdout, then stderr with `2>` before each line, then the exit code if it is not 0.
//! `$DIR` stands for the directory of the store, `$PID` for this process.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use goldenscript::{Command, Context, Runner};
use neoctl::{Environment, run};
use neokv_engine::{Engine, Options};
use tempfile::TempDir;
use test_each_file::test_each_path;

use crate::stores::{self, NOW_MS};

test_each_path! { in "cli/tests/scripts" => script }

fn script(path: &Path) {
    goldenscript::run(&mut Program::default(), path).unwrap();
}

#[derive(Default)]
struct Program {
    dir: Option<TempDir>,
    open: Option<Engine>,
}

impl Runner for Program {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        if command.name.starts_with("neoctl") {
            return self.neoctl(&command.name);
        }
        let mut args = command.consume_args();
        match command.name.as_str() {
            "store" => {
                let keep = args.take_key("open").is_some();
                let kind = args.next_pos().ok_or("which store?")?.to_string();
                args.reject_next()?;
                self.make(&kind, keep)
            }
            name => Err(format!("no command {name}").into()),
        }
    }
}

impl Program {
    fn make(&mut self, kind: &str, keep: bool) -> Result<String, Box<dyn Error>> {
        self.open = None;
        let dir = tempfile::tempdir()?;
        let engine = match kind {
            "small" => Some(stores::small(dir.path())),
            "damaged" => Some(stores::damaged(dir.path())),
            "half" => Some(stores::half_written(dir.path())),
            "several" => Some(stores::several(dir.path())),
            "empty" => Some(Engine::open(dir.path(), &Options::default())?),
            "none" => None,
            other => return Err(format!("no store {other}").into()),
        };
        match engine {
            Some(engine) if !keep => stores::close(engine, dir.path()),
            engine => self.open = engine,
        }
        self.dir = Some(dir);
        Ok(String::new())
    }

    fn neoctl(&self, line: &str) -> Result<String, Box<dyn Error>> {
        let mut words = neokv_resp::inline::split_args(line.as_bytes())?;
        let stdin = match words.iter().position(|word| word == b"<<<") {
            Some(at) => words.split_off(at).pop().unwrap_or_default(),
            None => Vec::new(),
        };
        let mut arguments: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
        if !line.contains("--width") {
            arguments.insert(1, "--width=80".into());
        }
        let dir = self.dir.as_ref().map(|dir| dir.path().display().to_string());
        if let Some(dir) = &dir {
            arguments.insert(1, format!("--dir={dir}").into());
        }
        let (exit, stdout, stderr) = neoctl_with(arguments, &stdin, &HashMap::new(), None);
        let mut out = stdout;
        for line in stderr.lines() {
            let _ = writeln!(out, "{}", format!("2> {line}").trim_end());
        }
        if exit != 0 {
            let _ = writeln!(out, "exit {exit}");
        }
        let out = out.replace(&format!("pid {}", std::process::id()), "pid $PID");
        Ok(match dir {
            Some(dir) => out.replace(&dir, "$DIR"),
            None => out,
        })
    }
}

/// Runs the program inside this process.
pub fn neoctl_with(
    arguments: Vec<OsString>,
    mut stdin: &[u8],
    env: &HashMap<&str, &str>,
    columns: Option<usize>,
) -> (u8, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let exit = run(
        arguments,
        &mut Environment {
            stdin: &mut stdin,
            stdout: &mut stdout,
            stderr: &mut stderr,
            columns,
            stderr_is_terminal: columns.is_some(),
            now_ms: NOW_MS,
            variable: &|name| env.get(name).map(OsString::from),
        },
    );
    (exit.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}
