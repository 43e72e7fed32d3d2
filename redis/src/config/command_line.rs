//! The command line and its help, built from the option table.
//!
//! clap parses names and words only; what a word means is [`super::value::OptionKind`]'s business,
//! so that flags, environment and file obey one set of rules. Help shows examples first, then the
//! options by group, each with its default, its environment variable and its place in the file.

use super::options::{ConfigOption, OPTIONS, OptionGroup};
use super::value::OptionKind;
use clap::{Arg, ArgAction, Command};

/// Id of `--config`.
pub(super) const CONFIG: &str = "config";
/// Id of `--print-config`.
pub(super) const PRINT_CONFIG: &str = "print-config";

/// Width of help: the same on every terminal, so that the golden file means something.
const WIDTH: usize = 100;

const EXAMPLES: &str = "\
Examples:
  neokv                                     serve 127.0.0.1:16379 from ./neokv-data
  redis-cli -p 16379 SET greeting hello     talk to it with any Redis client
  neokv --port 7000 --dir /var/lib/neokv    another port, another directory
  neokv --sync everysec                     faster writes; a power cut may take a second
  NEOKV_REQUIREPASS=secret neokv --bind 0.0.0.0
                                            serve other machines, with a password
  neokv --print-config > neokv.toml         write a file with every option
  neokv --config neokv.toml                 start from it";

const AFTER: &str = "\
One option, three places: a flag wins over the environment, the environment over the file, the file
over the default. The same option is --max-args, NEOKV_MAX_ARGS and [limits] max-args.

Exit codes: 0 stopped cleanly, 2 wrong usage, 3 cannot open the directory or an address,
137 (SIGKILL) a second signal ended the stop.";

/// The command line of `neokv`.
#[must_use]
pub fn command() -> Command {
    let groups = OptionGroup::ALL
        .into_iter()
        .flat_map(|group| OPTIONS.iter().filter(move |option| option.group == group));
    Command::new("neokv")
        .about("NeoKV: a Redis-compatible store that keeps every write in a Raft log on RocksDB")
        .version(env!("CARGO_PKG_VERSION"))
        .help_template("{about}\n\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}")
        .before_help(EXAMPLES)
        .after_help(AFTER)
        .term_width(WIDTH)
        .arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .help("Read options from this TOML file")
                .long_help(
                    "Read options from this TOML file. An unknown key is refused.\n\
                     [env: NEOKV_CONFIG]",
                ),
        )
        .arg(Arg::new(PRINT_CONFIG).long(PRINT_CONFIG).action(ArgAction::SetTrue).help(
            "Print the effective options as a TOML file, each with where it came from, \
                     and leave",
        ))
        .args(groups.map(argument))
}

fn argument(option: &'static ConfigOption) -> Arg {
    let argument = Arg::new(option.name)
        .long(option.name)
        .value_name(option.kind.placeholder())
        .allow_hyphen_values(true)
        .help_heading(option.group.heading())
        .help(option.help)
        .long_help(long_help(option));
    match option.kind {
        OptionKind::Flag => {
            argument.num_args(0..=1).require_equals(true).default_missing_value("yes")
        }
        _ => argument.num_args(1),
    }
}

fn long_help(option: &ConfigOption) -> String {
    let mut text = option.help.to_owned();
    if let OptionKind::Word(choices) = option.kind {
        for (word, meaning) in choices.iter().filter(|(_, meaning)| !meaning.is_empty()) {
            text.push_str(&format!("\n  {word}: {meaning}"));
        }
    }
    let default = if option.default.is_empty() { "none" } else { option.default };
    let allowed = option.kind.allowed();
    text.push_str(&format!(
        "\n[default: {default}] [env: {}] [toml: {}]\n[allowed: {allowed}]",
        option.env(),
        option.toml()
    ));
    text
}
