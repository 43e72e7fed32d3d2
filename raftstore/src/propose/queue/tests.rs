//! Golden scripts of the queue: `tests/scripts/queue`.
//!
//! | command | does |
//! | --- | --- |
//! | `submit CALLER WEIGHT…` | a caller's commands wait; `alone30` must be alone in its entry |
//! | `put_back CALLER WEIGHT…` | commands that an entry left out come back |
//! | `cut`, `cut_all` | cuts the next entry, or all; each caller submits again what did not fit |
//! | `expire AT` | takes out what has waited until then |
//! | `close`, `status` | |
//!
//! Callers route by version 1 unless `version=N`, and give up at second 100 unless `at=N`. `cut`
//! cuts for version 1 unless `version=N`. An entry has up to 100 bytes and 4 commands.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use test_each_file::test_each_path;

use super::*;

test_each_path! { in "raftstore/tests/scripts/queue" => run }

fn run(path: &Path) {
    goldenscript::run(&mut Story::default(), path).unwrap();
}

/// A command is its weight, and whether it must be alone.
type Own = (usize, bool);
type Caller = char;

struct ByValue;

impl CommandTraits<(Caller, Own)> for ByValue {
    fn weight(&self, (_, (weight, _)): &(Caller, Own)) -> usize {
        *weight
    }
    fn alone(&self, (_, (_, alone)): &(Caller, Own)) -> bool {
        *alone
    }
}

struct Story {
    queue: Queue<(Caller, Own), ()>,
    start: Instant,
}

impl Default for Story {
    fn default() -> Self {
        Story { queue: Queue::default(), start: Instant::now() }
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

impl Runner for Story {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String> {
        let mut args = command.consume_args();
        let mut out = String::new();
        match command.name.as_str() {
            "submit" => {
                let submission = self.submission(&mut args)?;
                if !self.queue.has_room(submission.commands.len(), &entry_limits()) {
                    return Ok("refused: the queue is full\n".to_owned());
                }
                self.queue.push(submission);
            }
            "put_back" => {
                let submission = self.submission(&mut args)?;
                self.queue.put_back(vec![submission]);
            }
            "cut" => self.cut(version(&mut args)?, &mut out)?,
            "cut_all" => {
                let version = version(&mut args)?;
                while self.queue.bytes() > 0 {
                    self.cut(version, &mut out)?;
                }
            }
            "expire" => {
                let at: u64 = args.next_pos().ok_or("when?")?.parse()?;
                let expired = self.queue.expired(self.start + Duration::from_secs(at));
                show_callers("expired", &expired, &mut out)?;
            }
            "close" => show_callers("refused", &self.queue.close(), &mut out)?,
            "status" => {
                let Queue { bytes, commands, closed, .. } = &self.queue;
                let closed = if *closed { ", closed" } else { "" };
                writeln!(out, "{commands} commands, {bytes} bytes{closed}")?;
            }
            other => return Err(format!("no command {other}").into()),
        }
        args.reject_next()?;
        Ok(out)
    }
}

fn entry_limits() -> EntryLimits {
    EntryLimits { entry_bytes: 100, entry_commands: 4, queue_commands: 20, command_bytes: 500 }
}

fn version(args: &mut ArgumentConsumer<'_>) -> Result<u64> {
    Ok(args.take_key("version").unwrap_or("1").parse()?)
}

impl Story {
    fn submission(&self, args: &mut ArgumentConsumer<'_>) -> Result<Submission<(Caller, Own), ()>> {
        let version = version(args)?;
        let at = args.take_key("at").unwrap_or("100").parse()?;
        let caller = args.next_pos().and_then(|name| name.chars().next()).ok_or("who?")?;
        let mut commands = Vec::new();
        while let Some(word) = args.next_pos() {
            let weight = word.trim_start_matches("alone");
            commands.push((caller, (weight.parse()?, weight != word)));
        }
        let deadline = self.start + Duration::from_secs(at);
        let answer = AnswerSender::new().0;
        Ok(Submission::new(Returned { commands, version, answer, deadline }, &ByValue))
    }

    /// Cuts one entry; what did not fit is submitted again.
    fn cut(&mut self, version: u64, out: &mut String) -> Result<()> {
        let Cut { draft, stale } = self.queue.cut(version, &entry_limits(), &ByValue);
        show_callers("misrouted", &stale, out)?;
        let Some(draft) = draft else {
            writeln!(out, "nothing to propose")?;
            return Ok(());
        };
        let counted: usize = draft.waiters.iter().map(|waiter| waiter.count).sum();
        assert_eq!(draft.commands.len(), counted, "every command has its waiter");
        let weights: usize = draft.commands.iter().map(|command| ByValue.weight(command)).sum();
        assert_eq!(draft.bytes, weights);
        writeln!(out, "entry of {} bytes: {}", draft.bytes, show(&draft.commands))?;
        for waiter in draft.waiters.into_iter().filter(|waiter| !waiter.rest.is_empty()) {
            writeln!(out, "  goes back: {}", show(&waiter.rest))?;
            let Waiter { rest: commands, answer, deadline, .. } = waiter;
            let again = Returned { commands, version, answer, deadline };
            self.queue.push(Submission::new(again, &ByValue));
        }
        Ok(())
    }
}

fn show_callers(
    what: &str,
    submissions: &[Submission<(Caller, Own), ()>],
    out: &mut String,
) -> Result<()> {
    for submission in submissions {
        writeln!(out, "{what}: {}", show(&submission.commands))?;
    }
    Ok(())
}

fn show(commands: &[(Caller, Own)]) -> String {
    let one = |(caller, (weight, alone)): &(Caller, Own)| {
        format!("{caller}:{}{weight}", if *alone { "alone" } else { "" })
    };
    commands.iter().map(one).collect::<Vec<_>>().join(" ")
}
