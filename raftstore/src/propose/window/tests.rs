//! Golden scripts of the window: `tests/scripts/window`.
//!
//! | command | does |
//! | --- | --- |
//! | `window SIZE EAGER` | begins with a window of so many entries, where so many bytes are large |
//! | `propose BYTES` | an entry leaves, if the window lets it |
//! | `commit`, `finish` | the oldest entry is committed, or over |
//!
//! Every command prints what is in flight, and the smallest entry that may leave now.

use std::error::Error;
use std::path::Path;

use goldenscript::{Command, Context, Runner};
use test_each_file::test_each_path;

use super::*;

test_each_path! { in "raftstore/tests/scripts/window" => run }

fn run(path: &Path) {
    goldenscript::run(&mut Story::default(), path).unwrap();
}

struct Story(Window);

impl Default for Story {
    fn default() -> Self {
        Story(Window::new(4, 1000))
    }
}

impl Runner for Story {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut number = || args.next_pos().ok_or("a number is missing").map(str::parse::<usize>);
        let window = &self.0;
        match command.name.as_str() {
            "window" => self.0 = Window::new(number()??, number()??),
            "propose" => {
                let bytes = number()??;
                if !window.is_open(bytes) {
                    return Ok(format!("an entry of {bytes} bytes must wait\n"));
                }
                window.proposed(bytes);
            }
            "commit" => window.settled(),
            "finish" => window.finished(),
            other => return Err(format!("no command {other}").into()),
        }
        args.reject_next()?;
        Ok(self.show())
    }
}

impl Story {
    fn show(&self) -> String {
        let Window { in_flight, unsettled, .. } = &self.0;
        let (all, log) = (in_flight.load(Ordering::Relaxed), unsettled.load(Ordering::Relaxed));
        let smallest = (0..=10_000).find(|bytes| self.0.is_open(*bytes));
        let next = match smallest {
            Some(bytes) => format!("next from {bytes} bytes on"),
            None => "no entry may leave".to_owned(),
        };
        format!("{all} in flight, {log} of them in the log; {next}\n")
    }
}
