//! Where a command's keys are among its words, and what happens to them.
//!
//! | row | keys |
//! | --- | --- |
//! | `one(&[Ro, Access])` | the first word after the name |
//! | `at(2, …)` | the word at this index; the name has index 0 |
//! | `all(…)`, `from(2, …)` | every word from the first, or from this index, to the last |
//! | `pairs(…)` | every second word, beginning with the first |
//! | `counted(…)` | the first word says how many keys follow it |
//!
//! A command may have several specifications (`SUNIONSTORE destination key …`): the first flag of
//! each says how the keys are used, the others what for.

use bytes::Bytes;

use neokv_resp::parse_integer;

use crate::command::Args;

/// What a command does with keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFlag {
    /// Reads the value.
    Ro,
    /// Changes the value, depending on what it was.
    Rw,
    /// Replaces the value, whatever it was.
    Ow,
    /// Removes the key.
    Rm,
    /// Tells the client about the value, its parts or its existence in a way that depends on it.
    Access,
    /// Changes the value by data from the client.
    Update,
    /// Adds data to the value without changing what is there.
    Insert,
    /// Removes parts of the value, or all.
    Delete,
    /// The other flags depend on the arguments.
    Variable,
}

impl KeyFlag {
    /// The flag's name in `COMMAND INFO`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            KeyFlag::Ro => "RO",
            KeyFlag::Rw => "RW",
            KeyFlag::Ow => "OW",
            KeyFlag::Rm => "RM",
            KeyFlag::Access => "access",
            KeyFlag::Update => "update",
            KeyFlag::Insert => "insert",
            KeyFlag::Delete => "delete",
            KeyFlag::Variable => "variable_flags",
        }
    }
}

/// Where some of a command's keys are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// The index where they begin; the command's name has index 0.
    pub first: u16,
    /// How they go on from there.
    pub find: FindKeys,
    /// What happens to them.
    pub flags: &'static [KeyFlag],
    /// A remark for readers of `COMMAND INFO`; mostly empty.
    pub note: &'static str,
}

/// How the keys of a specification go on from its first index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindKeys {
    /// There is one.
    One,
    /// Every `step`-th word up to the last.
    ToLast {
        /// Distance between keys.
        step: u16,
    },
    /// The word at the first index is their number, and they follow it.
    Counted,
}

impl KeySpec {
    /// Adds a remark.
    #[must_use]
    pub const fn note(self, note: &'static str) -> KeySpec {
        KeySpec { note, ..self }
    }

    /// The indexes of the keys among `args`. Malformed key counts yield no keys: the handler then
    /// refuses the command.
    pub fn indexes(self, args: &Args) -> impl Iterator<Item = usize> + use<> {
        let (start, end, step) = self.bounds(args).unwrap_or((0, 0, 1));
        (start..end).step_by(step)
    }

    /// Start, end (exclusive) and step of the key indexes.
    fn bounds(self, args: &Args) -> Option<(usize, usize, usize)> {
        let first = usize::from(self.first);
        match self.find {
            FindKeys::One => Some((first, (first + 1).min(args.len()), 1)),
            FindKeys::ToLast { step } => Some((first, args.len(), usize::from(step).max(1))),
            FindKeys::Counted => {
                let count = usize::try_from(parse_integer(args.get(first)?)?).ok()?;
                let start = first + 1;
                let end = start.checked_add(count)?;
                (end <= args.len()).then_some((start, end, 1))
            }
        }
    }
}

/// The keys among `args`, by all specifications of a command.
pub fn keys<'a>(specs: &'static [KeySpec], args: &'a Args) -> impl Iterator<Item = &'a Bytes> {
    specs.iter().flat_map(|spec| spec.indexes(args)).filter_map(|at| args.get(at))
}

/// First index, last index and step, as versions of Redis before 7 told them: one range over all
/// specifications, as far as there is one. A negative last index counts from the end.
#[must_use]
pub fn legacy_range(specs: &[KeySpec]) -> (i32, i32, i32) {
    let range = |spec: &KeySpec| match spec.find {
        FindKeys::One => Some((i32::from(spec.first), i32::from(spec.first), 1)),
        FindKeys::ToLast { step } => Some((i32::from(spec.first), -1, i32::from(step))),
        FindKeys::Counted => None,
    };
    let Some(whole) = specs.iter().map(range).collect::<Option<Vec<_>>>() else {
        return (0, 0, 0);
    };
    let first = whole.first().map_or(0, |(first, ..)| *first);
    whole.last().map_or((0, 0, 0), |(_, last, step)| (first, *last, *step))
}

/// The words of a row that declare keys.
pub mod words {
    pub use super::KeyFlag::{Access, Delete, Insert, Ow, Rm, Ro, Rw, Update, Variable};
    use super::{FindKeys, KeyFlag, KeySpec};

    /// One key, right after the name.
    pub const fn one(flags: &'static [KeyFlag]) -> KeySpec {
        at(1, flags)
    }

    /// One key, at this index.
    pub const fn at(first: u16, flags: &'static [KeyFlag]) -> KeySpec {
        KeySpec { first, find: FindKeys::One, flags, note: "" }
    }

    /// Every word after the name.
    pub const fn all(flags: &'static [KeyFlag]) -> KeySpec {
        from(1, flags)
    }

    /// Every word from this index on.
    pub const fn from(first: u16, flags: &'static [KeyFlag]) -> KeySpec {
        KeySpec { first, find: FindKeys::ToLast { step: 1 }, flags, note: "" }
    }

    /// Keys and values take turns.
    pub const fn pairs(flags: &'static [KeyFlag]) -> KeySpec {
        KeySpec { first: 1, find: FindKeys::ToLast { step: 2 }, flags, note: "" }
    }

    /// The first word says how many keys follow it.
    pub const fn counted(flags: &'static [KeyFlag]) -> KeySpec {
        KeySpec { first: 1, find: FindKeys::Counted, flags, note: "" }
    }
}

#[cfg(test)]
mod tests {
    use super::words::*;
    use super::*;
    use crate::testing::words as split;

    #[test]
    fn specifications_find_the_keys() {
        let indexes = |spec: KeySpec, line: &str| spec.indexes(&split(line)).collect::<Vec<_>>();
        assert_eq!(indexes(one(&[Ro]), "get a"), [1]);
        assert_eq!(indexes(one(&[Ro]), "get"), [0usize; 0]);
        assert_eq!(indexes(all(&[Rm]), "del a b c"), [1, 2, 3]);
        assert_eq!(indexes(from(2, &[Ro]), "sunionstore d a b"), [2, 3]);
        assert_eq!(indexes(pairs(&[Ow]), "mset a 1 b 2"), [1, 3]);
        assert_eq!(indexes(counted(&[Ro]), "sintercard 2 a b limit 1"), [2, 3]);
        for line in ["sintercard 5 a b", "sintercard -1 a b", "sintercard x a b", "sintercard"] {
            assert_eq!(indexes(counted(&[Ro]), line), [0usize; 0], "{line}");
        }
    }

    #[test]
    fn several_specifications_are_one_range_for_older_clients() {
        assert_eq!(legacy_range(&[]), (0, 0, 0));
        assert_eq!(legacy_range(&[one(&[Ro])]), (1, 1, 1));
        assert_eq!(legacy_range(&[one(&[Rw]), at(2, &[Rw])]), (1, 2, 1));
        assert_eq!(legacy_range(&[one(&[Ow]), from(2, &[Ro])]), (1, -1, 1));
        assert_eq!(legacy_range(&[pairs(&[Ow])]), (1, -1, 2));
        assert_eq!(legacy_range(&[counted(&[Ro])]), (0, 0, 0));
    }
}
