//! The grammar of a command's words, as `COMMAND DOCS` tells it.
//!
//! ```ignore
//! // GETEX key [EX seconds | PX milliseconds | PERSIST]
//! arguments: &[KEY, one_of("expiration", &[
//!     integer("seconds").after("EX"), integer("milliseconds").after("PX"), token("PERSIST"),
//! ]).optional()];
//! ```
//!
//! redis-cli uses it to complete commands, and client generators read it.

/// One argument, or a group of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name; of a token without one, empty: then the token in lower case is the name.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgumentKind,
    /// The word that stands before it, or that it consists of; empty if there is none.
    pub token: &'static str,
    /// Of a key: which of the command's key specifications finds it.
    pub key_spec: Option<u16>,
    /// The version of Redis that introduced it, if that was after the command; else empty.
    pub since: &'static str,
    /// The version of Redis that deprecated it; empty if none did.
    pub deprecated_since: &'static str,
    /// It may be left out.
    pub optional: bool,
    /// It may be repeated.
    pub multiple: bool,
    /// If it is repeated, its token is too.
    pub multiple_token: bool,
    /// The members of a group.
    pub members: &'static [Argument],
}

/// What an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentKind {
    /// A key.
    Key,
    /// Any bytes.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Double,
    /// A glob pattern.
    Pattern,
    /// A Unix time.
    UnixTime,
    /// The token alone.
    PureToken,
    /// One of the members.
    OneOf,
    /// The members one after the other.
    Block,
}

impl ArgumentKind {
    /// The kind's name in `COMMAND DOCS`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ArgumentKind::Key => "key",
            ArgumentKind::String => "string",
            ArgumentKind::Integer => "integer",
            ArgumentKind::Double => "double",
            ArgumentKind::Pattern => "pattern",
            ArgumentKind::UnixTime => "unix-time",
            ArgumentKind::PureToken => "pure-token",
            ArgumentKind::OneOf => "oneof",
            ArgumentKind::Block => "block",
        }
    }
}

impl Argument {
    const fn new(name: &'static str, kind: ArgumentKind) -> Argument {
        Argument {
            name,
            kind,
            token: "",
            key_spec: None,
            since: "",
            deprecated_since: "",
            optional: false,
            multiple: false,
            multiple_token: false,
            members: &[],
        }
    }

    /// Stands after this word.
    #[must_use]
    pub const fn after(self, token: &'static str) -> Argument {
        Argument { token, ..self }
    }

    /// May be left out.
    #[must_use]
    pub const fn optional(self) -> Argument {
        Argument { optional: true, ..self }
    }

    /// May be repeated.
    #[must_use]
    pub const fn multiple(self) -> Argument {
        Argument { multiple: true, ..self }
    }

    /// Its token is repeated with it.
    #[must_use]
    pub const fn multiple_token(self) -> Argument {
        Argument { multiple_token: true, ..self }
    }

    /// Was introduced by this version of Redis.
    #[must_use]
    pub const fn since(self, since: &'static str) -> Argument {
        Argument { since, ..self }
    }

    /// Was deprecated by this version of Redis.
    #[must_use]
    pub const fn deprecated(self, deprecated_since: &'static str) -> Argument {
        Argument { deprecated_since, ..self }
    }
}

/// The words of a row that declare arguments.
pub mod words {
    use super::{Argument, ArgumentKind};

    /// The key of a command that has one.
    pub const KEY: Argument = key("key", 0);

    /// The keys of a command that takes any number.
    pub const KEYS: Argument = KEY.multiple();

    /// A key, found by the specification with this position.
    pub const fn key(name: &'static str, spec: u16) -> Argument {
        Argument { key_spec: Some(spec), ..Argument::new(name, ArgumentKind::Key) }
    }

    /// Any bytes.
    pub const fn string(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::String)
    }

    /// A whole number.
    pub const fn integer(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::Integer)
    }

    /// A number.
    pub const fn double(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::Double)
    }

    /// A glob pattern.
    pub const fn pattern(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::Pattern)
    }

    /// A Unix time.
    pub const fn unix_time(name: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::UnixTime)
    }

    /// A word that stands for itself, named after itself.
    pub const fn token(token: &'static str) -> Argument {
        named_token("", token)
    }

    /// A word that stands for itself, under another name.
    pub const fn named_token(name: &'static str, token: &'static str) -> Argument {
        Argument::new(name, ArgumentKind::PureToken).after(token)
    }

    /// One of these.
    pub const fn one_of(name: &'static str, members: &'static [Argument]) -> Argument {
        Argument { members, ..Argument::new(name, ArgumentKind::OneOf) }
    }

    /// These, one after the other.
    pub const fn block(name: &'static str, members: &'static [Argument]) -> Argument {
        Argument { members, ..Argument::new(name, ArgumentKind::Block) }
    }
}
