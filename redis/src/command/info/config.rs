//! CONFIG: the settings, under Redis's names.
//!
//! GET answers for every option under Redis's name where Redis has the option (`appendfsync` is
//! `--sync`), and for the parameters of [`crate::config::PARAMETERS`]. SET takes what changes
//! nothing: the present value of an option, and the values that those parameters allow. Everything
//! else is refused: options are read once, at the start, and a value that is not in the file, the
//! environment or the flags would not survive a restart.

use std::collections::BTreeMap;

use bytes::Bytes;
use neokv_resp::Reply;

use crate::command::container::subcommand_help;
use crate::command::declare::{SessionCx, commands};
use crate::command::{Args, Command, CommandResult, args};
use crate::config::{
    OptionValue, Parameter, ParameterStore, Setting, Settings, buffer_limit_text, is_buffer_limit,
};
use crate::error::{CommandError, shown};
use crate::keyspace::glob::Pattern;

/// The option whose value CONFIG shows and reads in another form than the flag.
const BUFFER_LIMIT: &str = "client-output-buffer-limit";

/// CONFIG.
pub const COMMANDS: &[Command] = commands! { Server;
    "config", -2, Container, [], "2.0.0", "Depends on subcommand.",
        "A container for server configuration commands",
        subcommands: commands! { Server;
            "config|get", -3, Session(get), [Admin NoScript Loading Stale], "2.0.0",
                "O(N) when N is the number of configuration parameters provided",
                "Get the values of configuration parameters",
                arguments: &[block("parameter", &[string("parameter")]).multiple()],
                history: &[
                    ("7.0.0", "Added the ability to pass multiple pattern parameters in one call"),
                ],
                help: &[
                    "GET <pattern>",
                    "    Return parameters matching the glob-like <pattern> and their values.",
                ];
            "config|help", 2, Session(subcommand_help), [Loading Stale], "5.0.0", "O(1)",
                "Show helpful text about the different subcommands";
            "config|resetstat", 2, Session(reset_stat), [Admin NoScript Loading Stale], "2.0.0",
                "O(1)",
                "Reset the stats returned by INFO",
                help: &["RESETSTAT", "    Reset statistics reported by the INFO command."];
            "config|rewrite", 2, Session(rewrite), [Admin NoScript Loading Stale], "2.8.0", "O(1)",
                "Rewrite the configuration file with the in memory configuration",
                help: &[
                    "REWRITE",
                    "    Refused: neokv --print-config writes a file with every option.",
                ];
            "config|set", -4, Session(set), [Admin NoScript Loading Stale], "2.0.0",
                "O(N) when N is the number of configuration parameters provided",
                "Set configuration parameters to the given values",
                arguments: &[
                    block("parameter_value", &[string("parameter"), string("value")]).multiple()
                ],
                history: &[("7.0.0", "Added the ability to set multiple parameters in one call.")],
                tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
                help: &[
                    "SET <directive> <value>",
                    "    Set <directive> to <value>, if that changes nothing. See neokv --help \
                     for options.",
                ];
        };
};

fn get(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    Ok(Configuration::of(cx).get(args::rest(args, 2)))
}

fn set(cx: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    Configuration::of(cx).set(args::rest(args, 2))
}

fn reset_stat(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    cx.host.stats().reset();
    Ok(Reply::Ok)
}

fn rewrite(_: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Err(CommandError::custom(
        "ERR CONFIG REWRITE is not supported; neokv --print-config > neokv.toml writes a file",
    ))
}

/// Everything that CONFIG GET shows.
struct Configuration<'a> {
    settings: &'a Settings,
    parameters: &'a ParameterStore,
    /// The port that is really listened on, where the option says 0.
    port: u16,
}

/// What the value of one pair of CONFIG SET means.
enum Change {
    /// It is the option's value already.
    Nothing,
    /// The value of a tuning parameter.
    Keep(&'static Parameter, String),
}

impl<'a> Configuration<'a> {
    fn of(cx: &SessionCx<'a>) -> Configuration<'a> {
        Configuration {
            settings: cx.host.settings(),
            parameters: cx.host.parameters(),
            port: cx.host.identity().port(),
        }
    }

    /// The parameters that match one of the patterns, each once, by name. As in Redis, one that is
    /// asked for by its whole name comes with that name's spelling.
    fn get(&self, patterns: &Args) -> Reply {
        let patterns: Vec<(&Bytes, Pattern)> =
            patterns.iter().map(|text| (text, Pattern::ignoring_case(text))).collect();
        let matching = self.all().into_iter().filter_map(|(name, value)| {
            let (text, _) =
                patterns.iter().find(|(_, pattern)| pattern.matches(name.as_bytes()))?;
            let whole = text.eq_ignore_ascii_case(name.as_bytes());
            let name = if whole { Bytes::clone(text) } else { Bytes::from_static(name.as_bytes()) };
            Some((Reply::Bulk(name), Reply::bulk(value)))
        });
        Reply::Map(matching.collect())
    }

    /// Every option and parameter with its value, by name.
    fn all(&self) -> BTreeMap<&'static str, String> {
        let options = self.settings.list.iter().map(|setting| {
            let option = setting.option;
            let text = match (option.name, self.value(setting)) {
                (BUFFER_LIMIT, OptionValue::Number(hard)) => buffer_limit_text(hard),
                (_, value) => option.kind.redis_text(&value),
            };
            (option.config_get, text)
        });
        options.chain(self.parameters.list()).collect()
    }

    /// The value of an option in force.
    fn value(&self, setting: &Setting) -> OptionValue {
        match (setting.option.name, &setting.value) {
            ("port", OptionValue::Number(0)) => OptionValue::Number(u64::from(self.port)),
            (_, value) => value.clone(),
        }
    }

    /// Sets all pairs or none. As in Redis, all names are looked at before the first value is.
    fn set(&self, pairs: &Args) -> CommandResult {
        if !pairs.len().is_multiple_of(2) {
            return Err(CommandError::Syntax);
        }
        let names: Vec<&Bytes> = args::pairs(pairs, 0).map(|(name, _)| name).collect();
        for (at, name) in names.iter().enumerate() {
            let canonical = self.canonical(name).ok_or_else(|| unknown(name))?;
            let earlier = names.get(..at).unwrap_or_default();
            if earlier.iter().any(|earlier| self.canonical(earlier) == Some(canonical)) {
                return Err(failed(name, "duplicate parameter"));
            }
        }
        let changes = args::pairs(pairs, 0).map(|(name, value)| self.change(name, value));
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        self.parameters.set(changes.into_iter().filter_map(|change| match change {
            Change::Nothing => None,
            Change::Keep(parameter, value) => Some((parameter, value)),
        }));
        Ok(Reply::Ok)
    }

    /// The name under which an option or parameter is declared.
    fn canonical(&self, name: &[u8]) -> Option<&'static str> {
        self.option(name)
            .map(|setting| setting.option.config_get)
            .or_else(|| Parameter::of(name).map(|parameter| parameter.name))
    }

    fn option(&self, name: &[u8]) -> Option<&Setting> {
        self.settings.list.iter().find(|setting| args::is(name, setting.option.config_get))
    }

    fn change(&self, name: &[u8], value: &[u8]) -> Result<Change, CommandError> {
        let text = String::from_utf8_lossy(value);
        if let Some(setting) = self.option(name) {
            let option = setting.option;
            let is_same = match (option.name, self.value(setting)) {
                (BUFFER_LIMIT, OptionValue::Number(hard)) => {
                    is_buffer_limit(&text, hard).map_err(|why| failed(name, why))?
                }
                (_, value) => option.kind.parse(&text) == Some(value),
            };
            if is_same {
                return Ok(Change::Nothing);
            }
            return Err(failed(
                name,
                &format!(
                    "can't set immutable config; restart with --{}, {} or {} in the file",
                    option.name,
                    option.env(),
                    option.toml()
                ),
            ));
        }
        let parameter = Parameter::of(name).ok_or_else(|| unknown(name))?;
        let value = parameter.parse(&text).map_err(|why| failed(name, &why))?;
        Ok(Change::Keep(parameter, value))
    }
}

fn unknown(name: &[u8]) -> CommandError {
    CommandError::custom(format!(
        "ERR Unknown option or number of arguments for CONFIG SET - '{}'",
        shown(name)
    ))
}

fn failed(name: &[u8], why: &str) -> CommandError {
    CommandError::custom(format!(
        "ERR CONFIG SET failed (possibly related to argument '{}') - {why}",
        shown(name)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::testing::words;

    fn with_defaults<T>(run: impl FnOnce(&Configuration<'_>) -> T) -> T {
        let settings = config::defaults().expect("the table is consistent");
        let parameters = ParameterStore::default();
        run(&Configuration { settings: &settings, parameters: &parameters, port: 1234 })
    }

    fn pairs(config: &Configuration<'_>, patterns: &str) -> Vec<(String, String)> {
        let Reply::Map(pairs) = config.get(&words(patterns)) else { panic!("expected a map") };
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
        with_defaults(|config| {
            let get = |patterns: &str| pairs(config, patterns);
            assert_eq!(get("appendfsync"), [pair("appendfsync", "always")]);
            assert_eq!(get("PROTO-max-bulk-len"), [pair("PROTO-max-bulk-len", "536870912")]);
            assert_eq!(get("save appendonly"), [pair("appendonly", "yes"), pair("save", "")]);
            assert_eq!(get("port"), [pair("port", "16379")]);
            assert_eq!(get("nothing"), []);
            assert_eq!(get("maxclients maxcl*"), [pair("maxclients", "10000")]);
            assert!(get("*").len() > config::OPTIONS.len() + config::PARAMETERS.len());
        });
    }

    #[test]
    fn an_option_is_set_to_its_present_value_only() {
        with_defaults(|config| {
            assert!(config.set(&words("timeout 0s proto-max-bulk-len 512mb")).is_ok());
            let error = |line: &str| config.set(&words(line)).expect_err("refused").to_string();
            assert_eq!(
                error("appendfsync no"),
                "ERR CONFIG SET failed (possibly related to argument 'appendfsync') - can't set \
                 immutable config; restart with --sync, NEOKV_SYNC or storage.sync in the file"
            );
            let unknown = "ERR Unknown option or number of arguments for CONFIG SET - ";
            assert_eq!(error("foo 1"), format!("{unknown}'foo'"));
            assert_eq!(error("hz 1 b"), "ERR syntax error");
        });
    }

    #[test]
    fn the_limit_of_output_buffers_has_the_form_of_redis() {
        with_defaults(|config| {
            let name = Bytes::from_static(b"client-output-buffer-limit");
            let set = |value: &'static str| config.set(&[name.clone(), Bytes::from(value)]);
            let shown = "normal 1073741824 0 0 slave 268435456 67108864 60 pubsub 33554432 \
                         8388608 60";
            assert_eq!(pairs(config, BUFFER_LIMIT), [pair(BUFFER_LIMIT, shown)]);
            assert!(set(shown).is_ok());
            assert!(set("normal 0 0 0").is_ok());
            assert_eq!(pairs(config, BUFFER_LIMIT), [pair(BUFFER_LIMIT, shown)]);
            let error = set("normal 1mb 0 0").expect_err("refused").to_string();
            assert!(error.contains("restart with --client-output-buffer-limit"), "{error}");
            let error = set("normal 1mb").expect_err("refused").to_string();
            assert!(error.ends_with("Wrong number of arguments in buffer limit configuration."));
        });
    }

    #[test]
    fn one_refused_pair_refuses_all() {
        with_defaults(|config| {
            assert!(config.set(&words("hz 5 maxmemory 1gb")).is_err());
            assert!(config.set(&words("hz 6 hz 7")).is_err());
            assert_eq!(pairs(config, "hz"), [pair("hz", "10")]);
            assert!(config.set(&words("hz 5 maxmemory 0mb")).is_ok());
            assert_eq!(pairs(config, "hz"), [pair("hz", "5")]);
        });
    }
}
