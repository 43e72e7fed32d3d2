//! The differential test: `redis-server` as oracle for every reply.
//!
//! The same random commands go to both servers, in pipelines of random length; each pair of replies
//! is compared under the rule of its command, and now and then the whole keyspace of both is. A
//! difference is reported with the seed, the command, both replies and the commands before it that
//! touched the same keys, so that it can be replayed.

pub mod commands;
pub mod compare;
pub mod generator;
pub mod template;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use neokv_resp::client::Value;

use self::commands::Shape;
use self::compare::{Rule, same, same_but_for_signs_of_zero, sorted, sorted_pairs};
use self::generator::{Generated, Generator};
use crate::client::Connection;
use crate::process::Server;

/// How many commands a difference is reported with.
const HISTORY: usize = 4_000;
/// Commands between two comparisons of the whole keyspace.
const SWEEP_EVERY: u64 = 2_000;

/// The key of the long string in crowded runs, and its length: more than sockets on loopback take
/// at once.
const LONG: (&str, usize) = ("long", 8 << 20);
const CROWD: &Shape = &Shape { template: "", rule: Rule::Exact };

/// The RESP version that both connections speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The version every connection begins with.
    Resp2,
    /// After `HELLO 3`.
    Resp3,
}

/// Two replies that differ, or a failed connection.
#[derive(Debug)]
pub struct Difference {
    seed: u64,
    number: u64,
    command: String,
    ours: String,
    theirs: String,
    history: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, command {}: {}", self.seed, self.number, self.command)?;
        writeln!(f, "  neokv: {}", self.ours)?;
        writeln!(f, "  redis: {}", self.theirs)?;
        writeln!(f, "  before it, on the same keys:")?;
        self.history.iter().try_for_each(|line| writeln!(f, "    {line}"))
    }
}

impl std::error::Error for Difference {}

/// One run: two connections, one generator.
pub struct Run {
    seed: u64,
    number: u64,
    generator: Generator,
    ours: Connection,
    theirs: Connection,
    history: VecDeque<Vec<Vec<u8>>>,
    sweep_at: u64,
    crowded: bool,
}

impl Run {
    /// Connects to both servers and empties them.
    pub fn new(neokv: &Server, redis: &Server, seed: u64, protocol: Protocol) -> io::Result<Run> {
        let now_ms =
            SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_millis();
        let generator = Generator::new(seed, u64::try_from(now_ms).map_err(io::Error::other)?)
            .map_err(io::Error::other)?;
        let (mut ours, mut theirs) = (neokv.connect()?, redis.connect()?);
        for connection in [&mut ours, &mut theirs] {
            connection.words("FLUSHALL")?;
            if protocol == Protocol::Resp3 {
                connection.words("HELLO 3")?;
            }
        }
        Ok(Run {
            seed,
            number: 0,
            generator,
            ours,
            theirs,
            history: VecDeque::new(),
            sweep_at: SWEEP_EVERY,
            crowded: false,
        })
    }

    /// Puts a command into the middle of every pipeline, a write or a read, whose reply the sockets
    /// do not take at once. So the commands behind it run while replies wait.
    #[must_use]
    pub fn crowded(mut self) -> Run {
        self.crowded = true;
        self
    }

    /// Sends this many commands and compares every reply.
    pub fn commands(&mut self, count: u64) -> Result<(), Box<dyn std::error::Error>> {
        let end = self.number + count;
        while self.number < end {
            self.pipeline()?;
            if self.number >= self.sweep_at {
                self.sweep_at = self.number + SWEEP_EVERY;
                self.sweep()?;
            }
        }
        self.sweep()
    }

    /// Sends one pipeline of random length. A command whose replies need further questions ends it
    /// and is sent alone.
    fn pipeline(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let mut batch = Vec::new();
        let length = 1 + self.generator.below(24);
        let mut dialogue = None;
        while batch.len() < length && dialogue.is_none() {
            let next = self.generator.next_command();
            let settles = next.settle;
            match next.shape.rule {
                Rule::Scan | Rule::Random | Rule::RandomPop => dialogue = Some(next),
                _ => batch.push(next),
            }
            if settles {
                break;
            }
        }
        if self.crowded {
            self.crowd(&mut batch)?;
        }
        self.exchange(&batch)?;
        match dialogue {
            Some(next) => self.dialogue(&next),
            None => Ok(()),
        }
    }

    /// Puts the large reply into a pipeline, and sees to it that there is one.
    fn crowd(&mut self, batch: &mut Vec<Generated>) -> io::Result<()> {
        let (key, length) = LONG;
        for connection in [&mut self.ours, &mut self.theirs] {
            if connection.words(&format!("EXISTS {key}"))? == Value::Integer(0) {
                connection.words(&format!("SETRANGE {key} {} x", length - 1))?;
            }
        }
        let words: &[&str] =
            if self.generator.below(3) == 0 { &["GET", key] } else { &["GETEX", key, "PERSIST"] };
        let args = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let at = self.generator.below(batch.len() + 1);
        batch.insert(at, Generated { args, shape: CROWD, settle: false });
        Ok(())
    }

    fn exchange(&mut self, batch: &[Generated]) -> Result<(), Box<dyn std::error::Error>> {
        for next in batch {
            self.ours.queue(&next.args);
            self.theirs.queue(&next.args);
        }
        self.ours.flush()?;
        self.theirs.flush()?;
        for next in batch {
            let silent = |who: &str, error: io::Error| {
                format!("{who} did not answer {}: {error}", show(&next.args))
            };
            let ours = self.ours.receive().map_err(|error| silent("neokv", error))?;
            let theirs = self.theirs.receive().map_err(|error| silent("redis", error))?;
            self.check(next.shape.rule, &next.args, &ours, &theirs)?;
        }
        if batch.iter().any(|next| next.settle) {
            // Keys that were to live for a millisecond must be expired on both servers before the
            // next question. Only time makes them so: there is no event to wait for.
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn check(
        &mut self,
        rule: Rule,
        args: &[Vec<u8>],
        ours: &Value,
        theirs: &Value,
    ) -> Result<(), Difference> {
        self.number += 1;
        let of_scores = args
            .first()
            .and_then(|name| name.first())
            .is_some_and(|first| first.eq_ignore_ascii_case(&b'z'));
        let agree =
            same(rule, ours, theirs) || (of_scores && same_but_for_signs_of_zero(ours, theirs));
        if !agree {
            return Err(self.difference(args, ours, theirs));
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(args.to_vec());
        Ok(())
    }

    /// A command whose replies cannot be compared at once.
    fn dialogue(&mut self, next: &Generated) -> Result<(), Box<dyn std::error::Error>> {
        match next.shape.rule {
            Rule::Scan => self.scan(next),
            Rule::RandomPop => self.random_pop(next),
            _ => self.random(next),
        }
    }

    /// Follows the cursors of both servers to their ends and compares what they gave.
    fn scan(&mut self, next: &Generated) -> Result<(), Box<dyn std::error::Error>> {
        let mut ours = follow(&mut self.ours, next.shape, &next.args)?;
        let mut theirs = follow(&mut self.theirs, next.shape, &next.args)?;
        if next.args.get(cursor_place(next.shape)).is_none_or(|cursor| cursor != b"0") {
            // A cursor that no server gave out may lead anywhere: only whether it is one can be
            // compared.
            for reply in [&mut ours, &mut theirs] {
                if let Value::Array(elements) = reply {
                    elements.clear();
                }
            }
        }
        Ok(self.check(Rule::Exact, &next.args, &ours, &theirs)?)
    }

    /// Compares the shapes of a random choice, and asks whether what we chose is there.
    fn random(&mut self, next: &Generated) -> Result<(), Box<dyn std::error::Error>> {
        let (ours, theirs) = (self.ours.call(&next.args)?, self.theirs.call(&next.args)?);
        self.check(Rule::Random, &next.args, &ours, &theirs)?;
        let (Some(key), hash) = (next.args.get(1), next.shape.template.starts_with('H')) else {
            return Ok(());
        };
        for chosen in chosen(&ours, next.args.len() > 3) {
            let question: &[&[u8]] =
                if hash { &[b"HEXISTS", key, &chosen] } else { &[b"SISMEMBER", key, &chosen] };
            let answer = self.theirs.call(question)?;
            self.check(Rule::Exact, &next.args, &Value::Integer(1), &answer)?;
        }
        Ok(())
    }

    /// Pops from NeoKV, and removes from Redis what NeoKV chose.
    fn random_pop(&mut self, next: &Generated) -> Result<(), Box<dyn std::error::Error>> {
        let ours = self.ours.call(&next.args)?;
        let popped = chosen(&ours, false);
        let (Some(key), false) = (next.args.get(1), popped.is_empty()) else {
            let theirs = self.theirs.call(&next.args)?;
            return Ok(self.check(Rule::Exact, &next.args, &ours, &theirs)?);
        };
        let mut removal = vec![b"SREM".to_vec(), key.clone()];
        removal.extend(popped.iter().cloned());
        let removed = self.theirs.call(&removal)?;
        let expected = i64::try_from(popped.len())?;
        Ok(self.check(Rule::Exact, &removal, &Value::Integer(expected), &removed)?)
    }

    /// Compares everything that the two servers hold.
    fn sweep(&mut self) -> Result<(), Box<dyn std::error::Error>> {
        let everything = [b"KEYS".to_vec(), b"*".to_vec()];
        let (ours, theirs) = (self.ours.call(&everything)?, self.theirs.call(&everything)?);
        self.check(Rule::Unordered, &everything, &ours, &theirs)?;
        let Value::Array(keys) = theirs else { return Ok(()) };
        for key in keys {
            let Value::Bulk(key) = key else { continue };
            let kind = self.theirs.call(&[&b"TYPE"[..], &key])?;
            let (question, rule) = contents(kind.as_text().unwrap_or_default(), &key);
            for (question, rule) in
                [(vec![b"TYPE".to_vec(), key.to_vec()], Rule::Exact), (question, rule)]
            {
                let (ours, theirs) = (self.ours.call(&question)?, self.theirs.call(&question)?);
                self.check(rule, &question, &ours, &theirs)?;
            }
        }
        Ok(())
    }

    fn difference(&self, args: &[Vec<u8>], ours: &Value, theirs: &Value) -> Difference {
        let touches =
            |earlier: &&Vec<Vec<u8>>| {
                earlier.iter().skip(1).any(|word| {
                    word.starts_with(b"k") && args.iter().skip(1).any(|key| key == word)
                }) || earlier.first().is_some_and(|name| name.eq_ignore_ascii_case(b"FLUSHALL"))
            };
        let mut history: Vec<String> =
            self.history.iter().rev().filter(touches).take(40).map(|a| show(a)).collect();
        history.reverse();
        let (command, ours, theirs) = (show(args), format!("{ours:?}"), format!("{theirs:?}"));
        Difference { seed: self.seed, number: self.number, command, ours, theirs, history }
    }
}

/// The command whose reply is everything in a key of this type.
fn contents(kind: &str, key: &[u8]) -> (Vec<Vec<u8>>, Rule) {
    let words = |name: &str, rest: &[&str]| {
        let mut question = vec![name.as_bytes().to_vec(), key.to_vec()];
        question.extend(rest.iter().map(|word| word.as_bytes().to_vec()));
        question
    };
    match kind {
        "string" => (words("GET", &[]), Rule::Exact),
        "hash" => (words("HGETALL", &[]), Rule::UnorderedPairs),
        "list" => (words("LRANGE", &["0", "-1"]), Rule::Exact),
        "set" => (words("SMEMBERS", &[]), Rule::Unordered),
        "zset" => (words("ZRANGE", &["0", "-1", "WITHSCORES"]), Rule::Exact),
        _ => (words("TTL", &[]), Rule::Clock),
    }
}

/// Where a cursor command has its cursor.
fn cursor_place(shape: &Shape) -> usize {
    if shape.template.starts_with("SCAN") { 1 } else { 2 }
}

/// Runs a cursor command to its end: all elements in a fixed order, or the first error.
fn follow(connection: &mut Connection, shape: &Shape, args: &[Vec<u8>]) -> io::Result<Value> {
    let at = cursor_place(shape);
    let pairs = shape.template.starts_with('H') || shape.template.starts_with('Z');
    let mut args = args.to_vec();
    let mut all = Vec::new();
    // Both servers end by themselves; the bound is there for one that does not.
    for _ in 0..100_000 {
        let reply = connection.call(&args)?;
        let Value::Array(parts) = &reply else { return Ok(reply) };
        let [Value::Bulk(cursor), Value::Array(elements)] = parts.as_slice() else {
            return Ok(reply);
        };
        all.extend(elements.iter().cloned());
        if cursor.as_ref() == b"0" {
            let all = Value::Array(all);
            // An element may come twice; in a fixed order, without repetitions, two walks are the
            // same.
            return Ok(match if pairs { sorted_pairs(&all) } else { sorted(&all) } {
                Value::Array(mut elements) if !pairs => {
                    elements.dedup();
                    Value::Array(elements)
                }
                other => other,
            });
        }
        match args.get_mut(at) {
            Some(argument) => *argument = cursor.to_vec(),
            None => return Ok(reply),
        }
    }
    Err(io::Error::other("a cursor that never comes to its end"))
}

/// The elements of a random choice; with values, every second word or the first of each pair.
fn chosen(reply: &Value, with_values: bool) -> Vec<Vec<u8>> {
    match reply {
        Value::Bulk(bytes) => vec![bytes.to_vec()],
        Value::Array(values) | Value::Set(values) => {
            let nested = values.iter().any(|value| matches!(value, Value::Array(_)));
            let step = if with_values && !nested { 2 } else { 1 };
            values
                .iter()
                .step_by(step)
                .flat_map(|value| chosen(value, with_values).into_iter().take(1))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// A command as a person would type it.
fn show(args: &[Vec<u8>]) -> String {
    let word = |arg: &Vec<u8>| match arg.len() {
        0 => String::from("\"\""),
        1..=200 => arg.escape_ascii().to_string(),
        long => format!("<{long} bytes>"),
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}
