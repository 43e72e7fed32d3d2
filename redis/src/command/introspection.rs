//! COMMAND: the command table, told to clients.
//!
//! Everything here is derived from the declarations in the tables, so that a client library that
//! asks for key positions (`COMMAND INFO`, `COMMAND GETKEYS`) or redis-cli that asks for hints
//! (`COMMAND DOCS`) learns what the server really does.
//!
//! ```text
//! declaration                          COMMAND INFO zadd
//! ───────────                          ─────────────────
//! name, arity                          "zadd", -4
//! flags: Write, DenyOom, Fast          write denyoom fast
//! keys: one(&[Rw, Update])             1 1 1, and the key specification at the end
//! group, flags                         @write @sortedset @fast
//! ```

use std::borrow::Cow;

use bytes::Bytes;
use neokv_resp::Reply;

use super::container::subcommand_help;
use super::declare::argument::{Argument, ArgumentKind};
use super::declare::keys::{self, FindKeys, KeyFlag, KeySpec};
use super::declare::{Change, Flag, SessionCx, commands};
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::glob::Pattern;
use crate::keyspace::reply_limit::{ReplyLimit, reply_bytes};

/// COMMAND.
pub const COMMANDS: &[Command] = commands! { Server;
    "command", -1, Session(command), [Loading Stale], "2.8.13",
        "O(N) where N is the total number of Redis commands",
        "Get array of Redis command details",
        tips: &["nondeterministic_output_order"],
        categories: &["@connection"],
        subcommands: commands! { Server;
            "command|count", 2, Session(count), [Loading Stale], "2.8.13", "O(1)",
                "Get total number of Redis commands",
                categories: &["@connection"],
                help: &["COUNT", "    Return the total number of commands in this server."];
            "command|docs", -2, Session(docs), [Loading Stale], "7.0.0",
                "O(N) where N is the number of commands to look up",
                "Get array of specific Redis command documentation",
                arguments: &[string("command-name").optional().multiple()],
                tips: &["nondeterministic_output_order"],
                categories: &["@connection"],
                help: &[
                    "DOCS [<command-name> ...]",
                    "    Return documentation of the named commands, or of all.",
                ];
            "command|getkeys", -4, Session(get_keys), [Loading Stale], "2.8.13",
                "O(N) where N is the number of arguments to the command",
                "Extract keys given a full Redis command",
                categories: &["@connection"],
                help: &["GETKEYS <full-command>", "    Return the keys from a full command."];
            "command|getkeysandflags", -4, Session(get_keys_and_flags), [Loading Stale], "7.0.0",
                "O(N) where N is the number of arguments to the command",
                "Extract keys and access flags given a full Redis command",
                categories: &["@connection"],
                help: &[
                    "GETKEYSANDFLAGS <full-command>",
                    "    Return the keys and the access flags from a full command.",
                ];
            "command|help", 2, Session(subcommand_help), [Loading Stale], "5.0.0", "O(1)",
                "Show helpful text about the different subcommands",
                categories: &["@connection"];
            "command|info", -2, Session(info), [Loading Stale], "2.8.13",
                "O(N) where N is the number of commands to look up",
                "Get array of specific Redis command details, or all when no argument is given.",
                arguments: &[string("command-name").optional().multiple()],
                history: &[
                    ("7.0.0", "Allowed to be called with no argument to get info on all commands."),
                ],
                tips: &["nondeterministic_output_order"],
                categories: &["@connection"],
                help: &[
                    "INFO [<command-name> ...]",
                    "    Return details about the named commands, or about all.",
                ];
            "command|list", -2, Session(list), [Loading Stale], "7.0.0",
                "O(N) where N is the total number of Redis commands",
                "Get an array of Redis command names",
                arguments: &[
                    one_of("filterby", &[
                        string("module-name").after("MODULE"), string("category").after("ACLCAT"),
                        pattern("pattern").after("PATTERN")
                    ]).after("FILTERBY").optional()
                ],
                tips: &["nondeterministic_output_order"],
                categories: &["@connection"],
                help: &[
                    "LIST [FILTERBY <MODULE name|ACLCAT category|PATTERN pattern>]",
                    "    Return a list of all commands.",
                ];
        };
};

/// COMMAND without a subcommand: as COMMAND INFO.
fn command(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    describe_all(cx, &[])
}

fn info(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    describe_all(cx, args::rest(args, 2))
}

fn count(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(integer(commands(cx).count()))
}

/// All commands but the subcommands.
fn commands(cx: &SessionCx<'_>) -> impl Iterator<Item = &'static Command> {
    cx.commands.all().iter().copied().filter(|command| !command.is_subcommand())
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

fn map(fields: Vec<(&'static str, Reply)>) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (text(name), value)).collect())
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`
fn list(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
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
    let listed = cx.commands.all().iter().filter(|command| matches(command));
    Ok(Reply::Array(listed.map(|command| text(command.name)).collect()))
}

/// `COMMAND INFO`: the named commands, or all.
fn describe_all(cx: &SessionCx<'_>, names: &Args) -> CommandResult {
    if names.is_empty() {
        return Ok(Reply::Array(commands(cx).map(describe).collect()));
    }
    let (mut described, mut limit) = (Vec::new(), ReplyLimit::new(cx.host.max_reply_bytes()));
    for name in names {
        // A name may be given a million times.
        let reply = cx.commands.lookup(name).map_or(Reply::Nil, describe);
        limit.add_bytes(reply_bytes(&reply))?;
        described.push(reply);
    }
    Ok(Reply::Array(described))
}

/// The ten fields of `COMMAND INFO`.
fn describe(command: &'static Command) -> Reply {
    let (first, last, step) = keys::legacy_range(command.keys);
    let movable = command.keys.iter().any(|spec| spec.find == FindKeys::Counted);
    let flags =
        command.flags.iter().map(|flag| flag.name()).chain(movable.then_some("movablekeys"));
    Reply::Array(vec![
        text(command.name),
        Reply::Integer(i64::from(command.arity)),
        statuses(flags),
        Reply::Integer(i64::from(first)),
        Reply::Integer(i64::from(last)),
        Reply::Integer(i64::from(step)),
        statuses(categories(command)),
        Reply::Set(command.tips.iter().map(|tip| text(tip)).collect()),
        Reply::Set(command.keys.iter().map(key_specification).collect()),
        Reply::Set(command.subcommands.iter().map(describe).collect()),
    ])
}

/// The ACL categories, each with its `@`: those that follow from flags and group, and the others.
fn categories(command: &Command) -> impl Iterator<Item = &'static str> + use<> {
    let admin = command.has(Flag::Admin);
    // Containers of the connection's commands are in no category of their own.
    let group = if command.subcommands.is_empty() { command.group.category() } else { None };
    [
        command.has(Flag::Write).then_some("@write"),
        command.has(Flag::ReadOnly).then_some("@read"),
        group,
        admin.then_some("@admin"),
        Some(if command.has(Flag::Fast) { "@fast" } else { "@slow" }),
        admin.then_some("@dangerous"),
    ]
    .into_iter()
    .flatten()
    .chain(command.categories.iter().copied())
}

/// Where keys are, in the form that replaced first, last and step in Redis 7.
fn key_specification(spec: &KeySpec) -> Reply {
    let find = match spec.find {
        FindKeys::Counted => map(vec![
            ("type", text("keynum")),
            (
                "spec",
                map(vec![
                    ("keynumidx", integer(0)),
                    ("firstkey", integer(1)),
                    ("keystep", integer(1)),
                ]),
            ),
        ]),
        FindKeys::One => key_range(0, 1),
        FindKeys::ToLast { step } => key_range(-1, step),
    };
    let index = map(vec![("index", Reply::Integer(i64::from(spec.first)))]);
    let mut fields = vec![
        ("flags", key_flags(spec.flags)),
        ("begin_search", map(vec![("type", text("index")), ("spec", index)])),
        ("find_keys", find),
    ];
    if !spec.note.is_empty() {
        fields.insert(0, ("notes", text(spec.note)));
    }
    map(fields)
}

/// `last` counts from the first key on; a negative one counts from the end.
fn key_range(last: i64, step: u16) -> Reply {
    map(vec![
        ("type", text("range")),
        (
            "spec",
            map(vec![
                ("lastkey", Reply::Integer(last)),
                ("keystep", Reply::Integer(i64::from(step))),
                ("limit", integer(0)),
            ]),
        ),
    ])
}

fn key_flags(flags: &[KeyFlag]) -> Reply {
    statuses(flags.iter().map(|flag| flag.name()))
}

/// `COMMAND DOCS`: the named commands, or all. Unknown names are left out.
fn docs(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let names = args::rest(args, 2);
    let entry = |command: &'static Command| (text(command.name), document(command));
    if names.is_empty() {
        return Ok(Reply::Map(commands(cx).map(entry).collect()));
    }
    let (mut entries, mut limit) = (Vec::new(), ReplyLimit::new(cx.host.max_reply_bytes()));
    for command in names.iter().filter_map(|name| cx.commands.lookup(name)) {
        let (name, document) = entry(command);
        limit.add_bytes(reply_bytes(&document))?;
        entries.push((name, document));
    }
    Ok(Reply::Map(entries))
}

fn document(command: &'static Command) -> Reply {
    let mut fields = vec![
        ("summary", text(command.summary)),
        ("since", text(command.since)),
        ("group", text(command.group.name())),
        ("complexity", text(command.complexity)),
    ];
    if let Some((since, replacement)) = command.deprecated {
        fields.push(("doc_flags", statuses(["deprecated"])));
        fields.push(("deprecated_since", text(since)));
        fields.push(("replaced_by", text(replacement)));
    }
    if !command.history.is_empty() {
        let change = |(version, change): &Change| Reply::Array(vec![text(version), text(change)]);
        fields.push(("history", Reply::Set(command.history.iter().map(change).collect())));
    }
    if !command.arguments.is_empty() {
        fields.push(("arguments", arguments(command.arguments)));
    }
    if !command.subcommands.is_empty() {
        let entry = |command: &'static Command| (text(command.name), document(command));
        fields.push(("subcommands", Reply::Map(command.subcommands.iter().map(entry).collect())));
    }
    map(fields)
}

fn arguments(list: &'static [Argument]) -> Reply {
    Reply::Array(list.iter().map(document_argument).collect())
}

fn document_argument(argument: &'static Argument) -> Reply {
    let name = if argument.name.is_empty() {
        Cow::Owned(argument.token.to_ascii_lowercase())
    } else {
        Cow::Borrowed(argument.name)
    };
    let mut fields =
        vec![("name", Reply::bulk(name.into_owned())), ("type", text(argument.kind.name()))];
    if let Some(spec) = argument.key_spec {
        fields.push(("key_spec_index", Reply::Integer(i64::from(spec))));
    }
    let texts = [
        ("token", argument.token),
        ("since", argument.since),
        ("deprecated_since", argument.deprecated_since),
    ];
    let given = texts.into_iter().filter(|(_, value)| !value.is_empty());
    fields.extend(given.map(|(name, value)| (name, text(value))));
    let flags = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    if flags.iter().any(|(set, _)| *set) {
        let set = flags.into_iter().filter_map(|(set, name)| set.then_some(name));
        fields.push(("flags", statuses(set)));
    }
    if matches!(argument.kind, ArgumentKind::OneOf | ArgumentKind::Block) {
        fields.push(("arguments", arguments(argument.members)));
    }
    map(fields)
}

/// The command that `words` call, if it is a valid call with keys.
fn command_with_keys(cx: &SessionCx<'_>, words: &Args) -> Result<&'static Command, CommandError> {
    let (_, command) = cx
        .commands
        .find(words)
        .map_err(|_| CommandError::custom("ERR Invalid command specified"))?;
    if command.keys.is_empty() {
        return Err(CommandError::custom("ERR The command has no key arguments"));
    }
    command.check_arity(words).map_err(|_| {
        CommandError::custom("ERR Invalid number of arguments specified for command")
    })?;
    if keys::keys(command.keys, words).next().is_none() {
        return Err(CommandError::custom("ERR Invalid arguments specified for command"));
    }
    Ok(command)
}

fn get_keys(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let words = args::rest(args, 2);
    let command = command_with_keys(cx, words)?;
    Ok(Reply::Array(keys::keys(command.keys, words).cloned().map(Reply::Bulk).collect()))
}

fn get_keys_and_flags(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    let words = args::rest(args, 2);
    let command = command_with_keys(cx, words)?;
    let pairs = command.keys.iter().flat_map(|spec| {
        let flags = flags_in_call(spec, words);
        let keys = spec.indexes(words).filter_map(|at| words.get(at));
        keys.map(move |key| Reply::Array(vec![Reply::Bulk(key.clone()), key_flags(flags)]))
    });
    Ok(Reply::Array(pairs.collect()))
}

/// What happens to the keys of this very call. SET reads its key only with GET.
fn flags_in_call(spec: &KeySpec, words: &Args) -> &'static [KeyFlag] {
    if !spec.flags.contains(&KeyFlag::Variable) {
        spec.flags
    } else if args::rest(words, 3).iter().any(|word| args::is(word, "GET")) {
        &[KeyFlag::Rw, KeyFlag::Access, KeyFlag::Update]
    } else {
        &[KeyFlag::Ow, KeyFlag::Update]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{TestHost, wire};

    fn run(line: &str) -> Result<String, String> {
        let host = TestHost::new();
        host.session(line).map(|reply| wire(&reply)).map_err(|error| error.to_string())
    }

    #[test]
    fn info_has_the_bytes_that_redis_sends() {
        assert_eq!(
            run("command info foo get").as_deref(),
            Ok("*2\r\n$-1\r\n*10\r\n$3\r\nget\r\n:2\r\n*2\r\n+readonly\r\n+fast\r\n\
                :1\r\n:1\r\n:1\r\n*3\r\n+@read\r\n+@string\r\n+@fast\r\n*0\r\n\
                *1\r\n*6\r\n$5\r\nflags\r\n*2\r\n+RO\r\n+access\r\n\
                $12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n\
                $4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n\
                $9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n\
                $4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n\
                $5\r\nlimit\r\n:0\r\n*0\r\n")
        );
    }

    #[test]
    fn docs_name_only_known_commands() {
        assert_eq!(
            run("command docs foo get").as_deref(),
            Ok("*2\r\n$3\r\nget\r\n*10\r\n$7\r\nsummary\r\n$22\r\nGet the value of a key\r\n\
                $5\r\nsince\r\n$5\r\n1.0.0\r\n$5\r\ngroup\r\n$6\r\nstring\r\n\
                $10\r\ncomplexity\r\n$4\r\nO(1)\r\n$9\r\narguments\r\n*1\r\n*6\r\n$4\r\nname\r\n\
                $3\r\nkey\r\n$4\r\ntype\r\n$3\r\nkey\r\n$14\r\nkey_spec_index\r\n:0\r\n")
        );
    }

    #[test]
    fn a_million_names_are_too_much_at_once() {
        let mut host = TestHost::new();
        host.max_reply_bytes = 1 << 20;
        let many = format!("command docs{}", " set".repeat(1000));
        assert!(matches!(host.session(&many), Err(CommandError::LimitExceeded)));
        let many = format!("command info{}", " set".repeat(2000));
        assert!(matches!(host.session(&many), Err(CommandError::LimitExceeded)));
    }

    #[test]
    fn keys_of_a_call() {
        let keys = |line: &str| run(&format!("command getkeys {line}"));
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
        let names = |line: &str| run(&format!("command list {line}"));
        assert_eq!(names("filterby pattern llen").as_deref(), Ok("*1\r\n$4\r\nllen\r\n"));
        assert_eq!(names("filterby module x").as_deref(), Ok("*0\r\n"));
        assert_eq!(names("filterby aclcat nonsense").as_deref(), Ok("*0\r\n"));
        assert_eq!(names("filterby colour red"), Err("ERR syntax error".to_owned()));
        assert_eq!(names("filterby"), Err("ERR syntax error".to_owned()));
        assert!(names("filterby aclcat sortedset").expect("a list").contains("zadd"));
    }
}
