//! CONFIG: the settings, told in Redis's words.
//!
//! GET answers for every option under Redis's name where Redis has the option (`appendfsync` is
//! `--sync`), and for the few parameters of Redis that tools ask for and whose answer here never
//! changes. SET is refused: options are read once, at the start, and a value that is not in the
//! file, the environment or the flags would not survive a restart.

use std::collections::BTreeMap;

use neokv_resp::Reply;

use crate::command::error::shown;
use crate::command::subcommand::Subcommand;
use crate::command::{Args, CommandError, Outcome, args};
use crate::config::{Settings, Value};
use crate::keyspace::glob::Pattern;
use crate::server::SessionCx;

/// Parameters of Redis that have one true answer here. `appendonly` is yes because every write is
/// in a log before its OK; `save` is empty because there are no snapshots on a timer.
const FIXED: &[(&str, &str)] = &[
    ("save", ""),
    ("appendonly", "yes"),
    ("databases", "1"),
    ("maxmemory", "0"),
    ("maxmemory-policy", "noeviction"),
    ("notify-keyspace-events", ""),
];

/// The subcommands of CONFIG.
pub const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "config|get",
        arity: -3,
        help: &[
            "GET <pattern>",
            "    Return parameters matching the glob-like <pattern> and their values.",
        ],
        handler: |cx, args| {
            Ok(get(&cx.context().settings, cx.context().names.port(), args::rest(args, 2)))
        },
    },
    Subcommand {
        name: "config|set",
        arity: -4,
        help: &[
            "SET <directive> <value>",
            "    Refused: options are read at the start. See neokv --help.",
        ],
        handler: |cx, args| set(&cx.context().settings, args::rest(args, 2)),
    },
    Subcommand {
        name: "config|resetstat",
        arity: 2,
        help: &["RESETSTAT", "    Reset statistics reported by the INFO command."],
        handler: |cx, _| resetstat(cx),
    },
    Subcommand {
        name: "config|rewrite",
        arity: 2,
        help: &["REWRITE", "    Refused: neokv --print-config writes a file with every option."],
        handler: |_, _| {
            Err(CommandError::custom(
                "ERR CONFIG REWRITE is not supported; neokv --print-config > neokv.toml writes a file",
            ))
        },
    },
];

/// The parameters that match one of the patterns, each once, by name. `port` is the one that is
/// really listened on.
fn get(settings: &Settings, port: u16, patterns: &Args) -> Reply {
    let own = settings.list.iter().map(|setting| {
        let value = match (setting.option.name, &setting.value) {
            ("port", Value::Number(0)) => port.to_string(),
            (_, value) => setting.option.kind.redis_text(value),
        };
        (setting.option.config_get, value)
    });
    let fixed = FIXED.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let all: BTreeMap<&str, String> = own.chain(fixed).collect();
    let patterns: Vec<Pattern> =
        patterns.iter().map(|pattern| Pattern::ignoring_case(pattern)).collect();
    let matching = all
        .into_iter()
        .filter(|(name, _)| patterns.iter().any(|pattern| pattern.matches(name.as_bytes())));
    Reply::Map(matching.map(|(name, value)| (Reply::bulk(name), Reply::bulk(value))).collect())
}

/// Refuses in the words of Redis, which looks at the names in order and stops at the first that it
/// cannot set.
fn set(settings: &Settings, pairs: &Args) -> Outcome {
    let name = args::get(pairs, 0)?;
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Syntax);
    }
    let immutable = |name: &str, way: &str| {
        CommandError::custom(format!(
            "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config{way}"
        ))
    };
    let mut options = settings.list.iter().map(|setting| setting.option);
    if let Some(option) = options.find(|option| args::is(name, option.config_get)) {
        let way = format!(
            "; restart with --{}, {} or {} in the file",
            option.name,
            option.env(),
            option.toml()
        );
        return Err(immutable(option.config_get, &way));
    }
    if let Some((name, _)) = FIXED.iter().find(|(fixed, _)| args::is(name, fixed)) {
        return Err(immutable(name, ""));
    }
    let shown = shown(name);
    Err(CommandError::custom(format!(
        "ERR Unknown option or number of arguments for CONFIG SET - '{shown}'"
    )))
}

fn resetstat(cx: &mut SessionCx<'_>) -> Outcome {
    cx.context().stats.reset();
    Ok(Reply::Ok)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::config;

    fn words(line: &str) -> Vec<Bytes> {
        line.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect()
    }

    fn pairs(patterns: &str) -> Vec<(String, String)> {
        let settings = config::defaults().expect("the table is consistent");
        let Reply::Map(pairs) = get(&settings, 1234, &words(patterns)) else {
            panic!("expected a map")
        };
        let text = |reply: Reply| match reply {
            Reply::Bulk(bytes) => String::from_utf8(bytes.to_vec()).expect("UTF-8"),
            other => panic!("expected a string, got {other:?}"),
        };
        pairs.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn get_speaks_in_redis_terms() {
        assert_eq!(pairs("appendfsync"), [pair("appendfsync", "always")]);
        assert_eq!(pairs("PROTO-max-bulk-len"), [pair("proto-max-bulk-len", "536870912")]);
        assert_eq!(pairs("save appendonly"), [pair("appendonly", "yes"), pair("save", "")]);
        assert_eq!(pairs("port"), [pair("port", "16379")]);
        assert_eq!(pairs("nothing"), []);
        assert_eq!(pairs("*").len(), config::OPTIONS.len() + FIXED.len());
    }

    #[test]
    fn a_parameter_that_matches_twice_is_listed_once() {
        assert_eq!(pairs("maxclients max*clients"), [pair("maxclients", "10000")]);
    }

    #[test]
    fn fixed_parameters_are_no_options() {
        for (name, _) in FIXED {
            assert!(config::OPTIONS.iter().all(|option| option.config_get != *name), "{name}");
        }
    }

    #[test]
    fn set_is_refused_and_says_how_to_change_it() {
        let settings = config::defaults().expect("the table is consistent");
        let error = |line: &str| set(&settings, &words(line)).expect_err("refused").to_string();
        assert_eq!(
            error("appendfsync no"),
            "ERR CONFIG SET failed (possibly related to argument 'appendfsync') - can't set immutable config; restart \
             with --sync, NEOKV_SYNC or storage.sync in the file"
        );
        assert_eq!(
            error("foo 1"),
            "ERR Unknown option or number of arguments for CONFIG SET - 'foo'"
        );
        assert_eq!(error("a 1 b"), "ERR syntax error");
    }
}
