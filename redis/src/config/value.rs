//! What an option may hold: kinds, how their text is read, and how a value is printed.
//!
//! Flags, environment variables and TOML all arrive as text (a TOML number or array is turned into
//! the same text), so there is one reader per [`OptionKind`] and one set of rules for the user to
//! learn:
//!
//! | kind | examples | rule |
//! | --- | --- | --- |
//! | flag | `yes`, `false`, `1` | `yes no true false on off 1 0` |
//! | count | `10000` | a whole number within the range |
//! | bytes | `512mb`, `64k`, `1073741824` | Redis's units: `k` = 1000, `kb` = 1024, and so on |
//! | time | `250ms`, `30s`, `5m`, `1h` | without a unit the option's own unit counts |
//! | word | `always` | one of a short list |
//! | addresses | `127.0.0.1,::1` | IP addresses between commas or spaces |
//! | listen | `127.0.0.1:9121`, `off` | one address with a port, or `off` |
//!
//! A reader never guesses: what it does not understand is an error that the loader completes with
//! the place the text came from and with [`OptionKind::allowed`].

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// One allowed word of a [`OptionKind::Word`] option and what it means.
pub type Choice = (&'static str, &'static str);

/// The type of an option, with its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// On or off.
    Flag,
    /// A whole number from `min` to `max`, both included.
    Count {
        /// Smallest value that is accepted.
        min: u64,
        /// Largest value that is accepted.
        max: u64,
    },
    /// A number of bytes from `min` to `max`, both included.
    Bytes {
        /// Smallest value that is accepted, in bytes.
        min: u64,
        /// Largest value that is accepted, in bytes.
        max: u64,
    },
    /// A span of time; `unit` is what a number without a unit means. The range is in `unit`s.
    Time {
        /// The unit of a bare number, and of what CONFIG GET prints.
        unit: Unit,
        /// Smallest value that is accepted, in `unit`s.
        min: u64,
        /// Largest value that is accepted, in `unit`s.
        max: u64,
    },
    /// One of a few words.
    Word(&'static [Choice]),
    /// Any text, printed back only where a client has shown that it knows it.
    Secret,
    /// A path; a relative one starts at the working directory.
    Path,
    /// One or more IP addresses.
    Addresses,
    /// An IP address with a port, or `off`.
    Listen,
}

/// The unit of a [`OptionKind::Time`] option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
}

/// A value that has passed its kind's reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// Of [`OptionKind::Flag`].
    Flag(bool),
    /// Of [`OptionKind::Count`] and [`OptionKind::Bytes`].
    Number(u64),
    /// Of [`OptionKind::Time`].
    Time(Duration),
    /// Of [`OptionKind::Word`].
    Word(&'static str),
    /// Of [`OptionKind::Secret`].
    Secret(String),
    /// Of [`OptionKind::Path`].
    Path(PathBuf),
    /// Of [`OptionKind::Addresses`]; never empty.
    Addresses(Vec<IpAddr>),
    /// Of [`OptionKind::Listen`]; `None` is `off`.
    Listen(Option<SocketAddr>),
}

impl OptionKind {
    /// Reads the text of an option of this kind; `None` if the text is not allowed.
    #[must_use]
    pub fn parse(self, text: &str) -> Option<OptionValue> {
        let trimmed = text.trim();
        match self {
            OptionKind::Flag => parse_flag(trimmed).map(OptionValue::Flag),
            OptionKind::Count { min, max } => trimmed
                .parse()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .map(OptionValue::Number),
            OptionKind::Bytes { min, max } => parse_bytes(trimmed)
                .filter(|number| (min..=max).contains(number))
                .map(OptionValue::Number),
            OptionKind::Time { unit, min, max } => parse_time(trimmed, unit)
                .filter(|time| (unit.duration(min)..=unit.duration(max)).contains(time))
                .map(OptionValue::Time),
            OptionKind::Word(choices) => choices
                .iter()
                .find(|(word, _)| word.eq_ignore_ascii_case(trimmed))
                .map(|(word, _)| OptionValue::Word(word)),
            OptionKind::Secret => Some(OptionValue::Secret(text.to_owned())),
            OptionKind::Path => (!text.is_empty()).then(|| OptionValue::Path(PathBuf::from(text))),
            OptionKind::Addresses => parse_addresses(trimmed).map(OptionValue::Addresses),
            OptionKind::Listen if trimmed.eq_ignore_ascii_case("off") || trimmed.is_empty() => {
                Some(OptionValue::Listen(None))
            }
            OptionKind::Listen => {
                trimmed.parse().ok().map(|address| OptionValue::Listen(Some(address)))
            }
        }
    }

    /// What is allowed, in words that finish the sentence "allowed: ...".
    #[must_use]
    pub fn allowed(self) -> String {
        match self {
            OptionKind::Flag => "yes or no".into(),
            OptionKind::Count { min, max: u64::MAX } => format!("a whole number, {min} or more"),
            OptionKind::Count { min, max } => format!("a whole number from {min} to {max}"),
            OptionKind::Bytes { min, max } => {
                let from = format_bytes(min);
                match max {
                    u64::MAX => format!("a size such as 64mb, {from} or more"),
                    _ => format!("a size such as 64mb, from {from} to {}", format_bytes(max)),
                }
            }
            OptionKind::Time { unit, min, max } => format!(
                "a time such as 250ms, 30s, 5m, from {} to {}",
                format_time(unit.duration(min)),
                format_time(unit.duration(max))
            ),
            OptionKind::Word(choices) => {
                choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")
            }
            OptionKind::Secret => "any text".into(),
            OptionKind::Path => "a path".into(),
            OptionKind::Addresses => "IP addresses between commas, such as 127.0.0.1,::1".into(),
            OptionKind::Listen => "an address with a port, such as 127.0.0.1:9121, or off".into(),
        }
    }

    /// What stands for the value in a usage line, without its angle brackets: `N`, `SIZE`,
    /// `always|everysec|no`.
    #[must_use]
    pub fn placeholder(self) -> String {
        match self {
            OptionKind::Flag => "yes|no".into(),
            OptionKind::Count { .. } => "N".into(),
            OptionKind::Bytes { .. } => "SIZE".into(),
            OptionKind::Time { .. } => "TIME".into(),
            OptionKind::Word(choices) => {
                choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join("|")
            }
            OptionKind::Secret => "TEXT".into(),
            OptionKind::Path => "PATH".into(),
            OptionKind::Addresses => "IP,...".into(),
            OptionKind::Listen => "IP:PORT".into(),
        }
    }

    /// The value as CONFIG GET prints it: sizes and times as bare numbers, flags as `yes` and `no`.
    #[must_use]
    pub fn redis_text(self, value: &OptionValue) -> String {
        match (self, value) {
            (OptionKind::Time { unit, .. }, OptionValue::Time(time)) => {
                unit.count(*time).to_string()
            }
            (_, OptionValue::Number(number)) => number.to_string(),
            (_, OptionValue::Addresses(addresses)) => join(addresses, " "),
            (_, OptionValue::Secret(text)) => text.clone(),
            _ => self.text(value),
        }
    }

    /// The value as the configuration file writes it, without quotes; secrets are hidden.
    #[must_use]
    pub fn text(self, value: &OptionValue) -> String {
        match value {
            OptionValue::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            OptionValue::Number(number) if matches!(self, OptionKind::Bytes { .. }) => {
                format_bytes(*number)
            }
            OptionValue::Number(number) => number.to_string(),
            OptionValue::Time(time) => format_time(*time),
            OptionValue::Word(word) => (*word).to_owned(),
            OptionValue::Secret(text) if text.is_empty() => String::new(),
            OptionValue::Secret(_) => "(hidden)".to_owned(),
            OptionValue::Path(path) => path.display().to_string(),
            OptionValue::Addresses(addresses) => join(addresses, ","),
            OptionValue::Listen(Some(address)) => address.to_string(),
            OptionValue::Listen(None) => "off".to_owned(),
        }
    }
}

impl Unit {
    /// `count` of this unit.
    #[must_use]
    pub fn duration(self, count: u64) -> Duration {
        match self {
            Unit::Milliseconds => Duration::from_millis(count),
            Unit::Seconds => Duration::from_secs(count),
        }
    }

    /// How many whole units fit in `time`.
    #[must_use]
    pub fn count(self, time: Duration) -> u128 {
        match self {
            Unit::Milliseconds => time.as_millis(),
            Unit::Seconds => u128::from(time.as_secs()),
        }
    }
}

fn join(addresses: &[IpAddr], separator: &str) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)
}

fn parse_flag(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Splits `512mb` into 512 and `mb`; `None` without leading digits.
fn number_and_unit(text: &str) -> Option<(u64, String)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim().to_ascii_lowercase()))
}

pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit.as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        "t" => 1_000_000_000_000,
        "tb" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// The largest binary unit that divides the number: 536870912 is `512mb`, 1000 is `1000`.
#[must_use]
pub fn format_bytes(bytes: u64) -> String {
    let units = [("tb", 1_u64 << 40), ("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
    match units.iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size)) {
        Some((unit, size)) => format!("{}{unit}", bytes / size),
        None => bytes.to_string(),
    }
}

fn parse_time(text: &str, unit: Unit) -> Option<Duration> {
    let (number, suffix) = number_and_unit(text)?;
    let seconds = match suffix.as_str() {
        "" => return Some(unit.duration(number)),
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

fn format_time(time: Duration) -> String {
    let (seconds, milliseconds) = (time.as_secs(), time.subsec_millis());
    match (seconds, milliseconds) {
        (0, 0) => "0".to_owned(),
        (_, 1..) => format!("{}ms", time.as_millis()),
        (_, 0) if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        (_, 0) if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        (_, 0) if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        (_, 0) => format!("{seconds}s"),
    }
}

fn parse_addresses(text: &str) -> Option<Vec<IpAddr>> {
    let addresses: Option<Vec<IpAddr>> = text
        .split([',', ' '])
        .filter(|part| !part.is_empty())
        .map(|part| {
            if part == "localhost" { Some(IpAddr::from([127, 0, 0, 1])) } else { part.parse().ok() }
        })
        .collect();
    addresses.filter(|list| !list.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_use_the_units_of_redis() {
        let kind = OptionKind::Bytes { min: 0, max: u64::MAX };
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("17b", 17),
            ("1k", 1000),
            ("1kb", 1024),
            ("512MB", 536_870_912),
            ("2 gb", 2 << 30),
        ] {
            assert_eq!(kind.parse(text), Some(OptionValue::Number(bytes)), "{text}");
        }
        for text in ["", "mb", "-1", "1.5gb", "1xb", "99999999999tb"] {
            assert_eq!(kind.parse(text), None, "{text}");
        }
    }

    #[test]
    fn times_take_a_unit_or_the_options_own() {
        let seconds = OptionKind::Time { unit: Unit::Seconds, min: 0, max: 100_000 };
        let millis = OptionKind::Time { unit: Unit::Milliseconds, min: 10, max: 10_000 };
        assert_eq!(seconds.parse("30"), Some(OptionValue::Time(Duration::from_secs(30))));
        assert_eq!(millis.parse("30"), Some(OptionValue::Time(Duration::from_millis(30))));
        assert_eq!(seconds.parse("5m"), Some(OptionValue::Time(Duration::from_secs(300))));
        assert_eq!(millis.parse("5m"), None, "above the range");
        assert_eq!(millis.parse("9ms"), None, "below the range");
    }

    #[test]
    fn ranges_include_their_ends() {
        let kind = OptionKind::Count { min: 2, max: 4 };
        let accepted: Vec<bool> =
            ["1", "2", "4", "5", "-3", "x"].iter().map(|t| kind.parse(t).is_some()).collect();
        assert_eq!(accepted, [false, true, true, false, false, false]);
    }

    #[test]
    fn printed_values_are_read_back() {
        let kinds = [
            (OptionKind::Flag, "no"),
            (OptionKind::Bytes { min: 0, max: u64::MAX }, "3gb"),
            (OptionKind::Bytes { min: 0, max: u64::MAX }, "1000"),
            (OptionKind::Time { unit: Unit::Seconds, min: 0, max: 100_000 }, "90s"),
            (OptionKind::Time { unit: Unit::Milliseconds, min: 0, max: 100_000 }, "1500ms"),
            (OptionKind::Word(&[("a", ""), ("b", "")]), "b"),
            (OptionKind::Addresses, "127.0.0.1,::1"),
            (OptionKind::Listen, "127.0.0.1:80"),
            (OptionKind::Listen, "off"),
        ];
        for (kind, text) in kinds {
            let value = kind.parse(text).expect("allowed");
            assert_eq!(kind.text(&value), text);
            assert_eq!(kind.parse(&kind.text(&value)), Some(value));
        }
    }

    #[test]
    fn a_secret_shows_only_to_config_get() {
        let value = OptionKind::Secret.parse("hush").expect("any text");
        assert_eq!(OptionKind::Secret.text(&value), "(hidden)");
        assert_eq!(OptionKind::Secret.redis_text(&value), "hush");
    }

    #[test]
    fn config_get_prints_bare_numbers() {
        let bytes = OptionKind::Bytes { min: 0, max: u64::MAX };
        assert_eq!(bytes.redis_text(&OptionValue::Number(512 << 20)), "536870912");
        let time = OptionKind::Time { unit: Unit::Seconds, min: 0, max: 100 };
        assert_eq!(time.redis_text(&OptionValue::Time(Duration::from_secs(60))), "60");
    }
}
