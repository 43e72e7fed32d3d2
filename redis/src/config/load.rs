//! From four layers to one value per option: flags > environment > file > default.
//!
//! ```text
//! --port 7000            flag          wins
//! NEOKV_PORT=6500        environment   if no flag
//! [network] port = 6400  file          if neither (the file is --config or NEOKV_CONFIG)
//! 16379                  default       if nothing else
//! ```
//!
//! The order is the same for every option, and each value remembers its [`Source`], so that an
//! error and `--print-config` can say where a value came from. Nothing here reads the process's
//! state: arguments and environment are handed in, which is how the tests stay independent of each
//! other.

use super::command_line;
use super::error::ConfigError;
use super::options::{Config, ConfigOption, OPTIONS};
use super::source::Source;
use super::value::OptionValue;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// One option with its effective value.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The table's row.
    pub option: &'static ConfigOption,
    /// What is in force.
    pub value: OptionValue,
    /// Which layer set it.
    pub source: Source,
}

/// The effective configuration: typed for the program, and as a list for CONFIG GET and
/// `--print-config`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Typed.
    pub config: Config,
    /// In the table's order.
    pub list: Vec<Setting>,
    /// Things worth a line in the log that are not errors.
    pub notes: Vec<String>,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Request {
    /// Serve with these settings.
    Serve(Settings),
    /// Print the settings as a configuration file and leave.
    PrintConfig(Settings),
}

/// The environment that counts: variables that start with this.
const PREFIX: &str = "NEOKV_";
/// The variable that names the file.
const CONFIG_VARIABLE: &str = "NEOKV_CONFIG";

/// Reads all layers. `arguments` starts with the program's name; `environment` may hold foreign
/// variables.
///
/// # Errors
/// [`ConfigError`]; its `Usage` variant is also how `--help` and `--version` arrive.
pub fn load(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Request, ConfigError> {
    let matches = command_line::command().try_get_matches_from(arguments)?;
    let variables = neokv_variables(environment);
    let file = match matches
        .get_one::<String>(command_line::CONFIG)
        .or_else(|| variables.get(CONFIG_VARIABLE))
    {
        Some(path) => FileLayer::read(Path::new(path))?,
        None => FileLayer::default(),
    };
    let list = OPTIONS
        .iter()
        .map(|option| {
            let flag = matches.get_one::<String>(option.name).cloned();
            setting(option, flag, &variables, &file)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let values: Vec<OptionValue> = list.iter().map(|setting| setting.value.clone()).collect();
    let config = Config::from_values(&values).ok_or(ConfigError::Table)?;
    let notes = notes(&config, &variables);
    let settings = Settings { config, list, notes };
    Ok(if matches.get_flag(command_line::PRINT_CONFIG) {
        Request::PrintConfig(settings)
    } else {
        Request::Serve(settings)
    })
}

/// The settings of an empty command line: what tests and embedders start from.
///
/// # Errors
/// Only [`ConfigError::Table`], which a test rules out.
pub fn defaults() -> Result<Settings, ConfigError> {
    match load([OsString::from("neokv")], [])? {
        Request::Serve(settings) | Request::PrintConfig(settings) => Ok(settings),
    }
}

fn setting(
    option: &'static ConfigOption,
    flag: Option<String>,
    variables: &BTreeMap<String, String>,
    file: &FileLayer,
) -> Result<Setting, ConfigError> {
    let (text, source) = if let Some(text) = flag {
        (text, Source::Flag(option.name))
    } else if let Some(text) = variables.get(&option.env()) {
        (text.clone(), Source::Environment(option.env()))
    } else if let Some(text) = file.values.get(&option.toml()) {
        (text.clone(), Source::File { path: file.path.clone(), key: option.toml() })
    } else {
        (option.default.to_owned(), Source::Default)
    };
    match option.kind.parse(&text) {
        Some(value) => Ok(Setting { option, value, source }),
        None => Err(ConfigError::Value {
            option: option.name,
            given: text,
            source_place: source,
            allowed: option.kind.allowed(),
        }),
    }
}

/// The variables that start with the prefix. One that is not UTF-8 cannot be a valid value of any
/// option; what is lost in the conversion shows up in the error message.
fn neokv_variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> BTreeMap<String, String> {
    environment
        .into_iter()
        .filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        })
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

fn notes(config: &Config, variables: &BTreeMap<String, String>) -> Vec<String> {
    let known: Vec<String> =
        OPTIONS.iter().map(ConfigOption::env).chain([CONFIG_VARIABLE.to_owned()]).collect();
    let mut notes: Vec<String> = variables
        .keys()
        .filter(|name| !known.contains(name))
        .map(|name| format!("{name} is set but no option has this name{}", nearest(name, &known)))
        .collect();
    if config.requirepass.is_empty() && config.bind.iter().any(|address| !address.is_loopback()) {
        notes.push(
            "listening beyond loopback without a password: anyone who reaches the port can read \
             and write"
                .into(),
        );
    }
    notes
}

/// The configuration file, flattened: dotted path → text.
#[derive(Default)]
struct FileLayer {
    path: PathBuf,
    values: BTreeMap<String, String>,
}

impl FileLayer {
    fn read(path: &Path) -> Result<FileLayer, ConfigError> {
        let wrong = |why: String| ConfigError::File { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
        let mut values = BTreeMap::new();
        flatten("", &table, &mut values);
        let known: Vec<String> = OPTIONS.iter().map(ConfigOption::toml).collect();
        if let Some(key) = values.keys().find(|key| !known.contains(key)) {
            let hint = match nearest(key, &known).strip_prefix("; ") {
                Some(hint) => hint.to_owned(),
                None => "remove it".to_owned(),
            };
            return Err(ConfigError::UnknownKey { path: path.to_owned(), key: key.clone(), hint });
        }
        Ok(FileLayer { path: path.to_owned(), values })
    }
}

fn flatten(prefix: &str, table: &toml::Table, values: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&path, inner, values),
            other => {
                values.insert(path, plain(other));
            }
        }
    }
}

/// A TOML value as the text that a flag would carry.
fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// `; did you mean 'x'?` for the closest candidate, or nothing if none is close.
fn nearest(wrong: &str, candidates: &[String]) -> String {
    let by_distance =
        candidates.iter().map(|candidate| (strsim::levenshtein(wrong, candidate), candidate)).min();
    match by_distance {
        Some((distance, candidate)) if distance <= 4 => format!("; did you mean '{candidate}'?"),
        _ => {
            // A key in the wrong section, or without one, is far by letters but plain to a reader.
            let last = wrong.rsplit('.').next().unwrap_or(wrong);
            let same =
                candidates.iter().find(|candidate| candidate.rsplit('.').next() == Some(last));
            same.map(|candidate| format!("; did you mean '{candidate}'?")).unwrap_or_default()
        }
    }
}
