//! Parameters of Redis that are not options here, for CONFIG GET and CONFIG SET.
//!
//! Programs set some of Redis's parameters when they start, and stop when that is refused. Two
//! kinds of parameters are known for their sake:
//!
//! | kind | CONFIG SET takes | example |
//! | --- | --- | --- |
//! | tuning | any value that Redis would take | `hash-max-listpack-entries`: no such encoding |
//! | fixed | the value that describes this server | `maxmemory 0`: nothing is ever evicted |
//! | fixed | that one, and Redis's default | `slowlog-max-len 128`: there is no slow log |
//!
//! A tuning parameter must change nothing that a client can tell, except that CONFIG GET shows it.
//! Another value of a fixed parameter would be a promise that is not kept, so it is refused with
//! the reason. Programs that set Redis's default do not ask for anything, so they get their OK.
//!
//! ```text
//! CONFIG SET hash-max-listpack-entries 1000    OK
//! CONFIG SET notify-keyspace-events ""         OK: there are none
//! CONFIG SET notify-keyspace-events KEA        ERR … keyspace notifications are not supported
//! ```

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// One parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name in Redis.
    pub name: &'static str,
    /// An older name for the same parameter, if there is one.
    pub alias: Option<&'static str>,
    /// What it may hold.
    pub values: ParameterValues,
    /// Its value until CONFIG SET changes it.
    pub default: &'static str,
}

/// What a parameter may hold.
#[derive(Clone, Copy, Debug)]
pub enum ParameterValues {
    /// Tuning: a whole number between these, both included.
    Number(i64, i64),
    /// Tuning: a whole number between the first two, both included. Redis takes it and brings it
    /// between the other two.
    Clamped(i64, i64, i64, i64),
    /// Tuning: a number of bytes, at least so many.
    Bytes(u64),
    /// Tuning: yes or no.
    YesNo,
    /// Fixed, for this reason.
    Fixed(&'static str),
    /// Fixed, for this reason; this value, Redis's default, is taken too.
    FixedOr(&'static str, &'static str),
}

macro_rules! parameters {
    ($($name:literal $(or $alias:literal)?, $values:expr, $default:literal;)*) => {
        /// Every known parameter, by name.
        pub const PARAMETERS: &[Parameter] = &[$(Parameter {
            name: $name,
            alias: parameters!(@alias $($alias)?),
            values: $values,
            default: $default,
        }),*];
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
}

use ParameterValues::{Bytes, Clamped, Fixed, FixedOr, Number, YesNo};

const MAX: i64 = i64::MAX;
const INT: i64 = 2_147_483_647;

parameters! {
    "activedefrag", YesNo, "no";
    "active-expire-effort", Number(1, 10), "1";
    "activerehashing", YesNo, "yes";
    "aof-rewrite-incremental-fsync", YesNo, "yes";
    "appendonly", Fixed("every write is in a log before its OK"), "yes";
    "auto-aof-rewrite-min-size", Bytes(0), "67108864";
    "auto-aof-rewrite-percentage", Number(0, INT), "100";
    "busy-reply-threshold" or "lua-time-limit", Number(0, MAX), "5000";
    "client-query-buffer-limit",
        Fixed("--proto-max-bulk-len, --max-args and --client-output-buffer-limit bound requests"),
        "1073741824";
    "cluster-node-timeout", Fixed("elections have timeouts of their own"), "15000";
    "cluster-require-full-coverage", YesNo, "no";
    "databases", Fixed("there is one database"), "1";
    "dbfilename", Fixed("there is no dump file"), "dump.rdb";
    "dynamic-hz", YesNo, "yes";
    "hash-max-listpack-entries" or "hash-max-ziplist-entries", Number(0, MAX), "512";
    "hash-max-listpack-value" or "hash-max-ziplist-value", Bytes(0), "64";
    "hll-sparse-max-bytes", Bytes(0), "3000";
    "hz", Clamped(0, INT, 1, 500), "10";
    "latency-monitor-threshold", Fixed("there is no latency monitor"), "0";
    "lazyfree-lazy-eviction", YesNo, "no";
    "lazyfree-lazy-expire", YesNo, "no";
    "lazyfree-lazy-server-del", YesNo, "no";
    "lazyfree-lazy-user-del", YesNo, "no";
    "lazyfree-lazy-user-flush", YesNo, "no";
    "lfu-decay-time", Number(0, INT), "1";
    "lfu-log-factor", Number(0, INT), "10";
    "list-compress-depth", Number(0, INT), "0";
    "list-max-listpack-size" or "list-max-ziplist-size", Number(-INT - 1, INT), "-2";
    "maxmemory", Fixed("data live on the disk; --block-cache and --write-buffer bound memory"), "0";
    "maxmemory-clients", Fixed("--client-output-buffer-limit bounds clients"), "0";
    "maxmemory-eviction-tenacity", Number(0, 100), "10";
    "maxmemory-policy", Fixed("no key is evicted; without space writes are refused"), "noeviction";
    "maxmemory-samples", Number(1, INT), "5";
    "min-replicas-to-write" or "min-slaves-to-write",
        Fixed("an OK means on a majority of the replicas"), "0";
    "no-appendfsync-on-rewrite", YesNo, "no";
    "notify-keyspace-events", Fixed("keyspace notifications are not supported"), "";
    "protected-mode", Fixed("--bind and --requirepass decide who may connect"), "no";
    "rdb-save-incremental-fsync", YesNo, "yes";
    "rdbchecksum", YesNo, "yes";
    "rdbcompression", YesNo, "yes";
    "repl-backlog-size", Bytes(1), "1048576";
    "repl-backlog-ttl", Number(0, INT), "3600";
    "repl-disable-tcp-nodelay", YesNo, "no";
    "repl-diskless-sync", YesNo, "yes";
    "repl-diskless-sync-delay", Number(0, INT), "5";
    "repl-ping-replica-period" or "repl-ping-slave-period", Number(1, INT), "10";
    "repl-timeout", Number(1, INT), "60";
    "replica-read-only" or "slave-read-only", Fixed("only the leader takes writes"), "yes";
    "save", Fixed("there are no snapshots on a timer; every write is in a log"), "";
    "set-max-intset-entries", Number(0, MAX), "512";
    "slowlog-log-slower-than", FixedOr("10000", "there is no slow log"), "-1";
    "slowlog-max-len", FixedOr("128", "there is no slow log"), "0";
    "stop-writes-on-bgsave-error", YesNo, "yes";
    "stream-node-max-bytes", Bytes(0), "4096";
    "stream-node-max-entries", Number(0, MAX), "100";
    "tcp-keepalive",
        Fixed("it is on, and the settings of the operating system tell how often"), "300";
    "zset-max-listpack-entries" or "zset-max-ziplist-entries", Number(0, MAX), "128";
    "zset-max-listpack-value" or "zset-max-ziplist-value", Bytes(0), "64";
}

impl Parameter {
    /// The parameter of this name or older name, in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<&'static Parameter> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        PARAMETERS.iter().find(|parameter| is(parameter.name) || parameter.alias.is_some_and(is))
    }

    /// The value that `text` spells, as CONFIG GET prints it.
    ///
    /// # Errors
    /// Why the value is refused, as the end of CONFIG SET's error.
    pub fn parse(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        let between = |min: i64, max: i64| match text.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(number),
            Ok(_) => Err(format!("argument must be between {min} and {max} inclusive")),
            Err(_) => Err("argument couldn't be parsed into an integer".to_owned()),
        };
        match self.values {
            Number(min, max) => between(min, max).map(|number| number.to_string()),
            Clamped(min, max, low, high) => {
                between(min, max).map(|number| number.clamp(low, high).to_string())
            }
            Bytes(min) => match super::value::parse_bytes(text) {
                Some(bytes) if bytes >= min => Ok(bytes.to_string()),
                Some(_) => Err(format!("argument must be between {min} and {MAX} inclusive")),
                None => Err("argument must be a memory value".to_owned()),
            },
            YesNo => ["yes", "no"]
                .into_iter()
                .find(|word| text.eq_ignore_ascii_case(word))
                .map(str::to_owned)
                .ok_or_else(|| "argument must be 'yes' or 'no'".to_owned()),
            FixedOr(default, _) if is_same(text, default) => Ok(default.to_owned()),
            Fixed(_) | FixedOr(..) if is_same(text, self.default) => Ok(self.default.to_owned()),
            Fixed(reason) => Err(format!("it is always '{}' here: {reason}", self.default)),
            FixedOr(default, reason) => {
                Err(format!("only '{}' and '{default}' are taken: {reason}", self.default))
            }
        }
    }
}

/// Whether a text spells a value: in any case, and a number also with a unit.
fn is_same(text: &str, value: &str) -> bool {
    let bytes = super::value::parse_bytes;
    text.eq_ignore_ascii_case(value) || bytes(text).is_some_and(|text| bytes(value) == Some(text))
}

/// The values that CONFIG SET has given to tuning parameters. They are gone after a restart.
#[derive(Debug, Default)]
pub struct ParameterStore {
    values: Mutex<BTreeMap<&'static str, String>>,
}

impl ParameterStore {
    /// Every parameter with its value, aliases included.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static str, String)> {
        let values = self.values.lock();
        let value = |parameter: &Parameter| {
            values.get(parameter.name).cloned().unwrap_or_else(|| parameter.default.to_owned())
        };
        let pairs = PARAMETERS.iter().flat_map(|parameter| {
            let names = [Some(parameter.name), parameter.alias].into_iter().flatten();
            names.map(move |name| (name, parameter))
        });
        pairs.map(|(name, parameter)| (name, value(parameter))).collect()
    }

    /// Sets values that [`Parameter::parse`] has returned, all at once.
    pub fn set(&self, values: impl IntoIterator<Item = (&'static Parameter, String)>) {
        let named = values.into_iter().map(|(parameter, value)| (parameter.name, value));
        self.values.lock().extend(named);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_and_names_are_unique() {
        let mut names = std::collections::BTreeSet::new();
        for parameter in PARAMETERS {
            assert_eq!(parameter.parse(parameter.default).as_deref(), Ok(parameter.default));
            for name in [Some(parameter.name), parameter.alias].into_iter().flatten() {
                assert!(names.insert(name), "{name} is declared twice");
                assert!(super::super::OPTIONS.iter().all(|option| option.config_get != name));
            }
        }
    }

    /// As `redis-server` 7.0.15 answers. Programs set these when they start.
    #[test]
    fn the_defaults_of_redis_are_taken() {
        for (name, default) in [
            ("tcp-keepalive", "300"),
            ("lua-time-limit", "5000"),
            ("busy-reply-threshold", "5000"),
            ("repl-backlog-size", "1048576"),
            ("repl-timeout", "60"),
            ("replica-read-only", "yes"),
            ("slave-read-only", "yes"),
            ("dbfilename", "dump.rdb"),
            ("client-query-buffer-limit", "1073741824"),
            ("cluster-node-timeout", "15000"),
            ("cluster-require-full-coverage", "yes"),
            ("slowlog-log-slower-than", "10000"),
            ("slowlog-max-len", "128"),
            ("maxmemory", "0"),
            ("hz", "10"),
        ] {
            let parameter = Parameter::of(name.as_bytes()).expect(name);
            assert_eq!(parameter.parse(default).as_deref(), Ok(default), "{name}");
        }
    }

    #[test]
    fn values_that_mean_something_are_refused_or_limited_as_in_redis() {
        let parse = |name: &str, text: &str| Parameter::of(name.as_bytes()).unwrap().parse(text);
        assert_eq!(parse("hz", "999").as_deref(), Ok("500"));
        assert_eq!(parse("hz", "0").as_deref(), Ok("1"));
        let between =
            |min: i64, max: i64| Err(format!("argument must be between {min} and {max} inclusive"));
        assert_eq!(parse("hz", "-5"), between(0, INT));
        assert_eq!(parse("repl-backlog-size", "0"), between(1, MAX));
        assert_eq!(parse("repl-backlog-size", "1mb").as_deref(), Ok("1048576"));
        assert_eq!(parse("client-query-buffer-limit", "1gb").as_deref(), Ok("1073741824"));
        let always = |value: &str, why: &str| Err(format!("it is always '{value}' here: {why}"));
        let why = "only '0' and '128' are taken: there is no slow log".to_owned();
        assert_eq!(parse("slowlog-max-len", "1000"), Err(why));
        assert_eq!(parse("dbfilename", "other.rdb"), always("dump.rdb", "there is no dump file"));
        assert_eq!(parse("slave-read-only", "no"), always("yes", "only the leader takes writes"));
        assert!(parse("tcp-keepalive", "0").is_err_and(|why| why.contains("operating system")));
    }

    #[test]
    fn a_value_that_was_set_shows_under_both_names() {
        let store = ParameterStore::default();
        let parameter = Parameter::of(b"Hash-Max-Ziplist-Entries").expect("known");
        store.set([(parameter, parameter.parse("007").expect("a number"))]);
        let shown = |wanted: &str| {
            let found = store.list().into_iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| value)
        };
        assert_eq!(shown("hash-max-listpack-entries").as_deref(), Some("7"));
        assert_eq!(shown("hash-max-ziplist-entries").as_deref(), Some("7"));
    }
}
