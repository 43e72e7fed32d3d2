//! All commands, and how to find one by its words.
//!
//! [`find`] is on the path of every request: it hashes the name as it stands on the wire, folding
//! case on the way, and compares it with at most a few candidates. No allocation, no lower-case
//! copy.
//!
//! The index is a small open-addressing table, built once, four times as large as the number of
//! names:
//!
//! ```text
//! name ──fold case, hash──► bucket ──► position in the list ──► &'static Command
//!                           └─ taken by another name? the next bucket
//! ```
//!
//! The list has every command, and behind each container its subcommands. A position in it is the
//! number under which a command is counted.

use std::sync::LazyLock;

use super::declare::{CommandTable, NotFound};
use super::{
    Args, Command, cluster, connection, expiry, hash, info, introspection, keys, list, numeric,
    scan, server, set, set_algebra, string, zset,
};
use crate::stable_hash::stable_hash;

/// The tables of all command files.
const TABLES: &[&[Command]] = &[
    connection::COMMANDS,
    connection::client::COMMANDS,
    cluster::COMMANDS,
    info::COMMANDS,
    info::config::COMMANDS,
    introspection::COMMANDS,
    keys::COMMANDS,
    expiry::COMMANDS,
    scan::COMMANDS,
    server::COMMANDS,
    string::COMMANDS,
    numeric::COMMANDS,
    hash::COMMANDS,
    set::COMMANDS,
    set_algebra::COMMANDS,
    list::COMMANDS,
    zset::COMMANDS,
];

/// The commands in the order of their tables, and the index over their names.
struct Index {
    /// Each container is followed by its subcommands.
    commands: Vec<&'static Command>,
    /// Positions in `commands`, of commands that are not subcommands; `EMPTY` where no name hashes
    /// to. The length is a power of two.
    buckets: Vec<u16>,
}

const EMPTY: u16 = u16::MAX;

static INDEX: LazyLock<Index> = LazyLock::new(|| Index::new(TABLES));

/// All commands, for those that tell about commands.
pub fn table() -> &'static dyn CommandTable {
    &*INDEX
}

/// See [`CommandTable::all`].
pub fn all() -> impl ExactSizeIterator<Item = &'static Command> {
    INDEX.commands.iter().copied()
}

/// See [`CommandTable::find`].
pub fn find(args: &Args) -> Result<(usize, &'static Command), NotFound> {
    INDEX.find(args)
}

/// See [`CommandTable::lookup`].
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    INDEX.lookup(name)
}

impl CommandTable for Index {
    fn all(&self) -> &[&'static Command] {
        &self.commands
    }

    fn find(&self, args: &Args) -> Result<(usize, &'static Command), NotFound> {
        let name = args.first().ok_or(NotFound::Command)?;
        let (position, command) = self.find_name(name).ok_or(NotFound::Command)?;
        let Some(word) = args.get(1).filter(|_| !command.subcommands.is_empty()) else {
            return Ok((position, command));
        };
        let mut subcommands = (position + 1..).zip(command.subcommands);
        subcommands
            .find(|(_, subcommand)| word.eq_ignore_ascii_case(subcommand.word().as_bytes()))
            .ok_or(NotFound::Subcommand { position, container: command.name })
    }

    fn lookup(&self, name: &[u8]) -> Option<&'static Command> {
        let container = name.split(|byte| *byte == b'|').next()?;
        let (_, command) = self.find_name(container)?;
        let is_named = |command: &&Command| name.eq_ignore_ascii_case(command.name.as_bytes());
        Some(command).filter(is_named).or_else(|| command.subcommands.iter().find(is_named))
    }
}

impl Index {
    fn new(tables: &[&'static [Command]]) -> Index {
        let with_subcommands =
            |command: &'static Command| std::iter::once(command).chain(command.subcommands);
        let commands: Vec<&'static Command> =
            tables.iter().flat_map(|table| table.iter()).flat_map(with_subcommands).collect();
        let mut buckets = vec![EMPTY; (commands.len() * 4).next_power_of_two()];
        for (position, command) in (0u16..).zip(&commands) {
            if command.is_subcommand() {
                continue;
            }
            let free = probe(command.name.as_bytes(), buckets.len())
                .find(|at| buckets.get(*at) == Some(&EMPTY));
            if let Some(bucket) = free.and_then(|at| buckets.get_mut(at)) {
                *bucket = position;
            }
        }
        Index { commands, buckets }
    }

    fn find_name(&self, name: &[u8]) -> Option<(usize, &'static Command)> {
        for at in probe(name, self.buckets.len()) {
            let position = usize::from(*self.buckets.get(at)?);
            // An empty bucket holds a position that no command has, which ends the search.
            let command = *self.commands.get(position)?;
            if name.eq_ignore_ascii_case(command.name.as_bytes()) {
                return Some((position, command));
            }
        }
        None
    }
}

/// The buckets where `name` may be, each once, the likeliest first.
fn probe(name: &[u8], buckets: usize) -> impl Iterator<Item = usize> + use<> {
    let mask = buckets.wrapping_sub(1);
    let start = usize::try_from(name_hash(name) & 0xffff).unwrap_or(0);
    (0..buckets).map(move |step| start.wrapping_add(step) & mask)
}

/// The hash of a name, in whatever case it is spelled.
fn name_hash(name: &[u8]) -> u64 {
    // No command's name is longer than this: what comes after cannot make a wrong name right.
    stable_hash(name.iter().take(32).map(u8::to_ascii_lowercase))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::command::Handler;
    use crate::command::declare::{Answers, Flag, KeyFlag, ReadMode, Scope};
    use crate::testing::words;

    #[test]
    fn every_command_is_found_by_its_words_in_any_case() {
        for (position, command) in all().enumerate() {
            let line = command.name.replace('|', " ");
            for line in [line.clone(), line.to_uppercase()] {
                let found = find(&words(&line)).map(|(position, found)| (position, found.name));
                assert_eq!(found, Ok((position, command.name)), "{line}");
            }
            let name = command.name.to_uppercase();
            assert_eq!(lookup(name.as_bytes()).map(|found| found.name), Some(command.name));
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        for name in ["", "ge", "gett", "GET ", "no-such-command", "config|", "config|gett", "|get"]
        {
            assert!(lookup(name.as_bytes()).is_none(), "{name:?}");
        }
        assert!(lookup(&[b'g'; 100_000]).is_none());
        let error = |line: &str| find(&words(line)).map(|(_, command)| command.name);
        assert_eq!(error("nosuch get"), Err(NotFound::Command));
        assert!(matches!(
            error("config nosuch"),
            Err(NotFound::Subcommand { container: "config", .. })
        ));
        assert_eq!(error("config"), Ok("config"));
        assert_eq!(error("get config"), Ok("get"));
    }

    #[test]
    fn names_are_unique_and_in_lower_case() {
        let mut seen = BTreeSet::new();
        for command in all() {
            assert!(seen.insert(command.name), "{} is declared twice", command.name);
            assert_eq!(command.name, command.name.to_ascii_lowercase());
            assert!(!command.name.is_empty() && command.name.len() <= 32);
        }
    }

    #[test]
    fn flags_agree_with_handlers() {
        for command in all() {
            let name = command.name;
            assert_ne!(command.arity, 0, "{name}");
            assert!(!(command.has(Flag::Write) && command.has(Flag::ReadOnly)), "{name}");
            assert_eq!(command.is_write(), command.has(Flag::Write), "{name}");
            assert_eq!(
                matches!(command.handler, Handler::Container),
                !command.subcommands.is_empty() && name != "command",
                "{name}"
            );
        }
    }

    #[test]
    fn a_read_whose_words_the_client_counts_has_a_bound() {
        for command in all().filter(|command| command.arity < 0) {
            if let Handler::Read(_, mode) = command.handler {
                assert!(
                    matches!(mode, ReadMode::Budgeted | ReadMode::Blocking),
                    "the client decides how much {} reads on a thread that serves others",
                    command.name
                );
            }
        }
    }

    /// A write that returns user data may answer much, unless what it returns is a number.
    #[test]
    fn a_write_that_returns_what_was_stored_says_so() {
        let numbers =
            words("incr decr incrby decrby incrbyfloat hincrby hincrbyfloat zincrby smove");
        for command in all().filter(|command| command.is_write()) {
            let mut keys = command.keys.iter();
            let returns = keys.any(|key| {
                [KeyFlag::Rw, KeyFlag::Access].iter().all(|flag| key.flags.contains(flag))
            });
            let expected = returns && !numbers.iter().any(|name| name == command.name);
            assert_eq!(command.answers != Answers::Status, expected, "{}", command.name);
        }
        let answers = |line: &str| find(&words(line)).unwrap().1.answers_stored(&words(line));
        assert!(answers("LPOP k") && answers("SET k v GeT EX 10"));
        assert!(!answers("SET k v EX 10") && !answers("INCR k"));
    }

    #[test]
    fn every_command_about_the_keyspace_says_which_regions_it_concerns() {
        for command in all() {
            let named = !command.keys.is_empty();
            let fits = match (command.scope(), command.handler) {
                (Scope::Server, Handler::Session(_) | Handler::Container) => !named,
                (Scope::Keys, Handler::Read(..) | Handler::Write(_)) => named,
                (_, Handler::Read(..) | Handler::Write(_) | Handler::WriteAlone(_)) => !named,
                _ => false,
            };
            assert!(fits, "{}", command.name);
        }
    }

    #[test]
    fn subcommands_stand_behind_their_container_and_show_in_its_help() {
        for command in all().filter(|command| !command.subcommands.is_empty()) {
            for subcommand in command.subcommands {
                let container = subcommand.name.split('|').next();
                assert_eq!(container, Some(command.name), "{}", subcommand.name);
                assert_eq!(subcommand.help.is_empty(), subcommand.word() == "help");
                assert!(subcommand.arity.unsigned_abs() >= 2, "{}", subcommand.name);
            }
        }
    }
}
