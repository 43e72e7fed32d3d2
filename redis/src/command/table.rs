//! All commands, and how to find one by name.
//!
//! [`lookup`] is on the path of every request: it hashes the name as it stands on the wire, folding
//! case on the way, and compares it with at most a few candidates. No allocation, no lower-case
//! copy.
//!
//! The index is a small open-addressing table, built once, four times as large as the number of
//! commands:
//!
//! ```text
//! name ──fold case, FNV-1a──► bucket ──► position in the list ──► &'static Command
//!                               └─ taken by another name? the next bucket
//! ```

use std::sync::LazyLock;

use super::{
    Command, cluster, connection, expiry, hash, info, introspection, keys, list, numeric, scan,
    server, set, set_algebra, string, zset,
};

/// The tables of all command files.
const TABLES: &[&[Command]] = &[
    connection::COMMANDS,
    cluster::COMMANDS,
    info::COMMANDS,
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
    commands: Vec<&'static Command>,
    /// Positions in `commands`; `EMPTY` where no name hashes to. The length is a power of two.
    buckets: Vec<u16>,
}

const EMPTY: u16 = u16::MAX;

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let commands: Vec<&'static Command> = TABLES.iter().flat_map(|table| table.iter()).collect();
    let mut buckets = vec![EMPTY; commands.len().saturating_mul(4).next_power_of_two()];
    for (position, command) in (0u16..).zip(&commands) {
        let free = probe(command.name.as_bytes(), buckets.len())
            .find(|at| buckets.get(*at) == Some(&EMPTY));
        if let Some(bucket) = free.and_then(|at| buckets.get_mut(at)) {
            *bucket = position;
        }
    }
    Index { commands, buckets }
});

/// The command of this name, in any case.
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    find(name).map(|(_, command)| command)
}

/// The command of this name, in any case, with its position in [`all`], under which tables of
/// counters keep it.
pub fn find(name: &[u8]) -> Option<(usize, &'static Command)> {
    let index = &*INDEX;
    for at in probe(name, index.buckets.len()) {
        let position = usize::from(*index.buckets.get(at)?);
        // An empty bucket holds a position that no command has, which ends the search.
        let command = index.commands.get(position)?;
        if name.eq_ignore_ascii_case(command.name.as_bytes()) {
            return Some((position, command));
        }
    }
    None
}

/// All commands, in the order of their tables.
pub fn all() -> impl ExactSizeIterator<Item = &'static Command> {
    INDEX.commands.iter().copied()
}

/// The buckets where `name` may be, each once, the likeliest first.
fn probe(name: &[u8], buckets: usize) -> impl Iterator<Item = usize> + use<> {
    let mask = buckets.wrapping_sub(1);
    let start = usize::try_from(hash(name) & 0xffff).unwrap_or(0);
    (0..buckets).map(move |step| start.wrapping_add(step) & mask)
}

/// FNV-1a over the name with ASCII letters folded to lower case, mixed down to its low bits.
/// Constants: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn hash(name: &[u8]) -> u64 {
    let mut state = 0xcbf2_9ce4_8422_2325u64;
    // No command's name is longer than this: what comes after cannot make a wrong name right.
    for byte in name.iter().take(32) {
        state = (state ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state ^ (state >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::command::{Flag, Handler};

    #[test]
    fn every_command_is_found_under_its_name_in_any_case() {
        for command in all() {
            let found = lookup(command.name.as_bytes()).map(|found| found.name);
            assert_eq!(found, Some(command.name));
            let found = lookup(command.name.to_uppercase().as_bytes()).map(|found| found.name);
            assert_eq!(found, Some(command.name));
        }
    }

    #[test]
    fn unknown_names_are_not_found() {
        for name in ["", "ge", "gett", "GET ", "no-such-command"] {
            assert!(lookup(name.as_bytes()).is_none(), "{name:?}");
        }
        assert!(lookup(&[b'g'; 100_000]).is_none());
    }

    #[test]
    fn no_two_commands_share_a_name_and_names_are_lower_case() {
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
            match command.handler {
                Handler::Write(_) => {
                    assert!(command.has(Flag::Write), "{name} writes without saying so")
                }
                Handler::Read(_) => {
                    assert!(!command.has(Flag::Write), "{name} says that it writes")
                }
                Handler::Session(_) => {
                    assert!(!command.has(Flag::Write), "{name} cannot write in a session")
                }
            }
            let ways = [Flag::Point, Flag::Heavy, Flag::Walk]
                .into_iter()
                .filter(|way| command.has(*way))
                .count();
            assert!(ways <= 1, "{name} says in several ways how it reads");
        }
    }
}
