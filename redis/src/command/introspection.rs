//! COMMAND: the command table, told to clients.
//!
//! Everything here is derived from the declarations in the tables, so that a client library that
//! asks for key positions (`COMMAND INFO`, `COMMAND GETKEYS`) or redis-cli that asks for hints
//! (`COMMAND DOCS`) hears what the server does.
//!
//! ```text
//! declaration                          COMMAND INFO zadd
//! ───────────                          ─────────────────
//! name, arity                          "zadd", -4
//! flags: Write, DenyOom, Fast          write denyoom fast
//! keys: ONE                            1 1 1, and the key specification at the end
//! group, flags                         @write @sortedset @fast
//! ```
//!
//! What the declarations do not hold is left out rather than made up: `COMMAND DOCS` has no
//! `arguments`, and key specifications say read or write, not which of Redis's finer shades of
//! writing.

use bytes::Bytes;
use neokv_resp::Reply;

use super::subcommand::{Subcommand, dispatch};
use super::{
    Args, Command, CommandError, Flag, Group, Handler, KeySpec, Outcome, args, cluster, connection,
    info, table,
};
use crate::keyspace::glob::Pattern;
use crate::server::SessionCx;

/// COMMAND.
pub const COMMANDS: &[Command] = &[Command {
    name: "command",
    arity: -1,
    flags: &[Flag::Loading, Flag::Stale],
    keys: KeySpec::None,
    group: Group::Server,
    since: "2.8.13",
    complexity: "O(N) where N is the total number of commands",
    summary: "Get array of command details",
    handler: Handler::Session(command),
}];

/// The subcommands of COMMAND.
pub const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "command|count",
        arity: 2,
        help: &["COUNT", "    Return the total number of commands in this server."],
        handler: |_, _| Ok(integer(table::all().len())),
    },
    Subcommand {
        name: "command|list",
        arity: -2,
        help: &[
            "LIST [FILTERBY <MODULE name|ACLCAT category|PATTERN pattern>]",
            "    Return a list of all commands.",
        ],
        handler: |_, args| list(args),
    },
    Subcommand {
        name: "command|info",
        arity: -2,
        help: &[
            "INFO [<command-name> ...]",
            "    Return details about the named commands, or about all.",
        ],
        handler: |_, args| Ok(info_of(args::rest(args, 2))),
    },
    Subcommand {
        name: "command|docs",
        arity: -2,
        help: &[
            "DOCS [<command-name> ...]",
            "    Return documentation of the named commands, or of all.",
        ],
        handler: |_, args| Ok(docs(args::rest(args, 2))),
    },
    Subcommand {
        name: "command|getkeys",
        arity: -4,
        help: &["GETKEYS <full-command>", "    Return the keys from a full command."],
        handler: |_, args| get_keys(args::rest(args, 2)),
    },
    Subcommand {
        name: "command|getkeysandflags",
        arity: -4,
        help: &[
            "GETKEYSANDFLAGS <full-command>",
            "    Return the keys and the access flags from a full command.",
        ],
        handler: |_, args| get_keys_and_flags(args::rest(args, 2)),
    },
];

fn command(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    if args.len() == 1 {
        return Ok(Reply::Array(table::all().map(describe).collect()));
    }
    dispatch("command", SUBCOMMANDS, cx, args)
}

fn text(text: &'static str) -> Reply {
    Reply::bulk(Bytes::from_static(text.as_bytes()))
}

fn integer(number: usize) -> Reply {
    Reply::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

fn statuses(words: impl IntoIterator<Item = &'static str>) -> Reply {
    Reply::Set(words.into_iter().map(|word| Reply::Simple(word.into())).collect())
}

fn list(args: &Args) -> Outcome {
    let matches: Box<dyn Fn(&Command) -> bool> = match args::rest(args, 2) {
        [] => Box::new(|_| true),
        [filter, by, value] if args::is(filter, "filterby") => {
            if args::is(by, "module") {
                Box::new(|_| false)
            } else if args::is(by, "aclcat") {
                Box::new(|command| {
                    categories(command)
                        .any(|category| args::is(value, category.trim_start_matches('@')))
                })
            } else if args::is(by, "pattern") {
                let pattern = Pattern::ignoring_case(value);
                Box::new(move |command| pattern.matches(command.name.as_bytes()))
            } else {
                return Err(CommandError::Syntax);
            }
        }
        _ => return Err(CommandError::Syntax),
    };
    Ok(Reply::Array(
        table::all().filter(|command| matches(command)).map(|command| text(command.name)).collect(),
    ))
}

fn info_of(names: &Args) -> Reply {
    if names.is_empty() {
        return Reply::Array(table::all().map(describe).collect());
    }
    Reply::Array(
        names.iter().map(|name| table::lookup(name).map_or(Reply::Nil, describe)).collect(),
    )
}

/// The ten fields of `COMMAND INFO`.
fn describe(command: &'static Command) -> Reply {
    let (first, last, step) = match command.keys {
        KeySpec::Range { first, last, step } => (first, last, step),
        KeySpec::None | KeySpec::Count { .. } => (0, 0, 0),
    };
    let movable = matches!(command.keys, KeySpec::Count { .. }) && !command.has(Flag::MovableKeys);
    let flags =
        command.flags.iter().filter_map(|flag| flag.name()).chain(movable.then_some("movablekeys"));
    Reply::Array(vec![
        text(command.name),
        Reply::Integer(i64::from(command.arity)),
        statuses(flags),
        Reply::Integer(i64::from(first)),
        Reply::Integer(i64::from(last)),
        Reply::Integer(i64::from(step)),
        statuses(categories(command)),
        Reply::Set(Vec::new()),
        Reply::Set(key_specification(command).into_iter().collect()),
        Reply::Set(subcommands(command.name).iter().map(describe_subcommand).collect()),
    ])
}

fn subcommands(container: &str) -> &'static [Subcommand] {
    match container {
        "client" => connection::CLIENT_SUBCOMMANDS,
        "cluster" => cluster::SUBCOMMANDS,
        "command" => SUBCOMMANDS,
        "config" => info::CONFIG_SUBCOMMANDS,
        _ => &[],
    }
}

fn describe_subcommand(subcommand: &Subcommand) -> Reply {
    Reply::Array(vec![
        text(subcommand.name),
        Reply::Integer(i64::from(subcommand.arity)),
        statuses(["loading", "stale"]),
        Reply::Integer(0),
        Reply::Integer(0),
        Reply::Integer(0),
        statuses(["@slow"]),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
        Reply::Set(Vec::new()),
    ])
}

/// The ACL categories, each with its `@`, that follow from flags and group.
fn categories(command: &Command) -> impl Iterator<Item = &'static str> + use<> {
    let group = match command.group {
        Group::Generic => Some("@keyspace"),
        Group::String => Some("@string"),
        Group::List => Some("@list"),
        Group::Set => Some("@set"),
        Group::SortedSet => Some("@sortedset"),
        Group::Hash => Some("@hash"),
        Group::Connection => Some("@connection"),
        Group::Server | Group::Cluster => None,
    };
    let admin = command.has(Flag::Admin);
    [
        command.has(Flag::Write).then_some("@write"),
        command.has(Flag::ReadOnly).then_some("@read"),
        group,
        admin.then_some("@admin"),
        Some(if command.has(Flag::Fast) { "@fast" } else { "@slow" }),
        (admin || command.has(Flag::Dangerous)).then_some("@dangerous"),
    ]
    .into_iter()
    .flatten()
}

fn access(command: &Command) -> Reply {
    statuses(if command.is_write() { ["RW", "update"] } else { ["RO", "access"] })
}

fn map<const N: usize>(fields: [(&'static str, Reply); N]) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (text(name), value)).collect())
}

/// Where the keys are, in the form that replaced first, last and step in Redis 7.
fn key_specification(command: &Command) -> Option<Reply> {
    let number = |value: i32| Reply::Integer(i64::from(value));
    let (start, find) = match command.keys {
        KeySpec::None => return None,
        KeySpec::Range { first, last, step } => {
            // `lastkey` counts from the first key on; a negative one counts from the end as before.
            let last = if last < 0 { last } else { last.saturating_sub(first) };
            let spec =
                map([("lastkey", number(last)), ("keystep", number(step)), ("limit", number(0))]);
            (number(first), map([("type", text("range")), ("spec", spec)]))
        }
        KeySpec::Count { at } => {
            let spec =
                map([("keynumidx", number(0)), ("firstkey", number(1)), ("keystep", number(1))]);
            (integer(at), map([("type", text("keynum")), ("spec", spec)]))
        }
    };
    let begin = map([("type", text("index")), ("spec", map([("index", start)]))]);
    Some(map([("flags", access(command)), ("begin_search", begin), ("find_keys", find)]))
}

fn docs(names: &Args) -> Reply {
    let entry = |command: &'static Command| {
        let fields = map([
            ("summary", text(command.summary)),
            ("since", text(command.since)),
            ("group", text(command.group.name())),
            ("complexity", text(command.complexity)),
        ]);
        (text(command.name), fields)
    };
    Reply::Map(if names.is_empty() {
        table::all().map(entry).collect()
    } else {
        names.iter().filter_map(|name| table::lookup(name)).map(entry).collect()
    })
}

/// The command that `words` spell, if it is a valid call with keys.
fn command_with_keys(words: &Args) -> Result<&'static Command, CommandError> {
    let name = args::get(words, 0)?;
    let command =
        table::lookup(name).ok_or_else(|| CommandError::custom("ERR Invalid command specified"))?;
    if command.keys == KeySpec::None {
        return Err(CommandError::custom("ERR The command has no key arguments"));
    }
    command.check_arity(words).map_err(|_| {
        CommandError::custom("ERR Invalid number of arguments specified for command")
    })?;
    if command.keys.indexes(words).next().is_none() {
        return Err(CommandError::custom("ERR Invalid arguments specified for command"));
    }
    Ok(command)
}

fn get_keys(words: &Args) -> Outcome {
    let command = command_with_keys(words)?;
    Ok(Reply::Array(command.keys.keys(words).cloned().map(Reply::Bulk).collect()))
}

fn get_keys_and_flags(words: &Args) -> Outcome {
    let command = command_with_keys(words)?;
    let pair = |key: &Bytes| Reply::Array(vec![Reply::Bulk(key.clone()), access(command)]);
    Ok(Reply::Array(command.keys.keys(words).map(pair).collect()))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use neokv_resp::Protocol;

    use super::*;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn wire(reply: &Reply) -> String {
        let mut out = BytesMut::new();
        reply.write(Protocol::Resp2, &mut out);
        String::from_utf8(out.to_vec()).expect("ASCII")
    }

    #[test]
    fn info_has_the_bytes_that_redis_sends() {
        assert_eq!(
            wire(&info_of(&words("foo get"))),
            "*2\r\n$-1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n\
             +@string\r\n+@fast\r\n*0\r\n*1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n$12\r\nbegin_search\r\n*4\r\n\
             $4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n\
             $5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
        );
    }

    #[test]
    fn docs_name_only_known_commands() {
        assert_eq!(
            wire(&docs(&words("foo get"))),
            "*2\r\n$3\r\nget\r\n*8\r\n$7\r\nsummary\r\n$22\r\nGet the value of a key\r\n$5\r\nsince\r\n$5\r\n1.0.0\r\n\
             $5\r\ngroup\r\n$6\r\nstring\r\n$10\r\ncomplexity\r\n$4\r\nO(1)\r\n"
        );
        let Reply::Map(all) = docs(&[]) else { panic!("expected a map") };
        assert_eq!(all.len(), table::all().len());
    }

    #[test]
    fn keys_of_a_call() {
        let keys = |line: &str| {
            get_keys(&words(line)).map(|reply| wire(&reply)).map_err(|error| error.to_string())
        };
        assert_eq!(keys("get a").as_deref(), Ok("*1\r\n$1\r\na\r\n"));
        assert_eq!(keys("mset a 1 b 2").as_deref(), Ok("*2\r\n$1\r\na\r\n$1\r\nb\r\n"));
        assert_eq!(keys("sintercard 1 a").as_deref(), Ok("*1\r\n$1\r\na\r\n"));
        for (line, error) in [
            ("foo a", "ERR Invalid command specified"),
            ("ping a", "ERR The command has no key arguments"),
            ("get a b", "ERR Invalid number of arguments specified for command"),
            ("sintercard 5 a", "ERR Invalid arguments specified for command"),
        ] {
            assert_eq!(keys(line), Err(error.to_owned()), "{line}");
        }
    }

    #[test]
    fn the_list_is_filtered() {
        let names = |line: &str| {
            list(&words(line)).map(|reply| wire(&reply)).map_err(|error| error.to_string())
        };
        assert_eq!(
            names("command list filterby pattern llen").as_deref(),
            Ok("*1\r\n$4\r\nllen\r\n")
        );
        assert_eq!(names("command list filterby module x").as_deref(), Ok("*0\r\n"));
        assert_eq!(names("command list filterby aclcat nonsense").as_deref(), Ok("*0\r\n"));
        assert_eq!(names("command list filterby colour red"), Err("ERR syntax error".to_owned()));
        assert_eq!(names("command list filterby"), Err("ERR syntax error".to_owned()));
        assert!(names("command list filterby aclcat sortedset").expect("a list").contains("zadd"));
    }
}
