//! The ledger: what clients were promised, held against what a killed server still has.
//!
//! Every client sends an endless script of commands, pipelined, over one connection: an INCR, an
//! LPUSH, a SADD, an MSET of three keys, a SET, a ZADD, and again with the next number. Commands of
//! one connection take effect in order and exactly once, so whatever the moment of the kill, the
//! keyspace afterwards must be what some *prefix* of the script leaves: no shorter than what was
//! acknowledged, no longer than what was sent. After a lost write, a repeated one, or half an MSET
//! it is not:
//!
//! ```text
//! script   INCR LPUSH SADD MSET SET ZADD | INCR LPUSH SADD ...
//!          └───── acknowledged ─────┘ └─ sent, unanswered ─┘
//!                                   ▲ the prefix found after the restart ends somewhere here
//! ```

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use neokv_resp::client::Value;

use crate::client::Connection;
use crate::process::Server;

/// The kinds of command in the script.
const KINDS: u64 = 6;
/// Longest pipeline that a client sends before it waits.
const PIPELINE: usize = 48;

/// How a crash test runs.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often the server is killed.
    pub kills: u32,
    /// How many connections write at once.
    pub clients: u32,
    /// Seed of the moments of the kills and the lengths of the pipelines.
    pub seed: u64,
    /// The longest time between the start of a load and its kill.
    pub longest: Duration,
}

/// What a crash test found in order.
#[derive(Debug, Default)]
pub struct Summary {
    /// Commands that were acknowledged before a kill, all found.
    pub acknowledged: u64,
    /// Commands that were sent and not answered; they may have happened or not.
    pub unanswered: u64,
    /// Unanswered commands that did happen.
    pub survived: u64,
}

/// What one client has sent and received in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    acknowledged: u64,
    sent: u64,
}

/// Loads, kills, restarts and checks, as often as planned. An error describes the first promise
/// that was broken.
pub fn run(server: &mut Server, plan: Plan) -> io::Result<Summary> {
    let mut random = fastrand::Rng::with_seed(plan.seed);
    let mut summary = Summary::default();
    for round in 0..plan.kills {
        let accounts = load_and_kill(server, plan, round, &mut random)?;
        server.restart()?;
        let mut connection = server.connect()?;
        for (client, account) in (0..).zip(&accounts) {
            let found = Script { client, round }.prefix_found(&mut connection, account.sent)?;
            if found < account.acknowledged || found > account.sent {
                return Err(broken(format!(
                    "client {client}, round {round}: {} acknowledged, {} sent, {found} found",
                    account.acknowledged, account.sent
                )));
            }
            summary.acknowledged += account.acknowledged;
            summary.unanswered += account.sent - account.acknowledged;
            summary.survived += found - account.acknowledged;
        }
    }
    Ok(summary)
}

/// Lets all clients write until the server is killed under them.
fn load_and_kill(
    server: &mut Server,
    plan: Plan,
    round: u32,
    random: &mut fastrand::Rng,
) -> io::Result<Vec<Account>> {
    let longest = u64::try_from(plan.longest.as_millis()).map_err(io::Error::other)?;
    let delay = Duration::from_millis(random.u64(1..=longest.max(1)));
    let killed = AtomicBool::new(false);
    let connections =
        (0..plan.clients).map(|_| server.connect()).collect::<io::Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..)
            .zip(connections)
            .map(|(client, connection)| {
                let mut random = random.fork();
                let killed = &killed;
                scope.spawn(move || Script { client, round }.write(connection, &mut random, killed))
            })
            .collect();
        // The kill comes after a random time. Nothing depends on how long that is.
        std::thread::sleep(delay);
        killed.store(true, Ordering::SeqCst);
        server.kill()?;
        writers
            .into_iter()
            .map(|writer| writer.join().map_err(|_| broken("a client panicked".into()))?)
            .collect()
    })
}

fn broken(what: String) -> io::Error {
    io::Error::other(what)
}

/// One client's script in one round; its keys are its own.
#[derive(Clone, Copy)]
struct Script {
    client: u32,
    round: u32,
}

impl Script {
    fn key(self, name: &str) -> String {
        format!("{name}:{{{}:{}}}", self.round, self.client)
    }

    /// The command at place `number` of the script.
    fn command(self, number: u64) -> Vec<String> {
        let step = (number / KINDS).to_string();
        match number % KINDS {
            0 => vec!["INCR".into(), self.key("counter")],
            1 => vec!["LPUSH".into(), self.key("list"), step],
            2 => vec!["SADD".into(), self.key("set"), step],
            3 => {
                let mut command = vec![String::from("MSET")];
                command
                    .extend(["a", "b", "c"].iter().flat_map(|name| [self.key(name), step.clone()]));
                command
            }
            4 => vec!["SET".into(), self.key(&format!("ledger:{step}")), step],
            _ => vec!["ZADD".into(), self.key("zset"), step.clone(), step],
        }
    }

    /// Writes until the connection breaks, and counts what was acknowledged.
    fn write(
        self,
        mut connection: Connection,
        random: &mut fastrand::Rng,
        killed: &AtomicBool,
    ) -> io::Result<Account> {
        let mut account = Account::default();
        loop {
            let batch = random.usize(1..=PIPELINE);
            for _ in 0..batch {
                connection.queue(&self.command(account.sent));
                account.sent += 1;
            }
            if connection.flush().is_err() {
                return Ok(account);
            }
            for _ in 0..batch {
                match connection.receive() {
                    Ok(Value::Error(text)) if !killed.load(Ordering::SeqCst) => {
                        return Err(broken(format!("a write was refused: {text}")));
                    }
                    // An error in the moment of the kill is no acknowledgement, and neither is what
                    // follows it.
                    Ok(Value::Error(_)) | Err(_) => return Ok(account),
                    Ok(_) => account.acknowledged += 1,
                }
            }
        }
    }

    /// How long the prefix of the script is that the server holds; an error if it holds no prefix
    /// at all.
    fn prefix_found(self, connection: &mut Connection, sent: u64) -> io::Result<u64> {
        let counts = [
            self.counter(connection)?,
            self.list(connection)?,
            self.members(connection)?,
            self.triple(connection)?,
            self.ledger(connection, sent)?,
            self.scores(connection)?,
        ];
        let prefix: u64 = counts.iter().sum();
        for (kind, count) in (0..).zip(counts) {
            let expected = (prefix + KINDS - 1 - kind) / KINDS;
            if count != expected {
                let Script { client, round } = self;
                return Err(broken(format!(
                    "client {client}, round {round}: {counts:?} is no prefix of the script"
                )));
            }
        }
        Ok(prefix)
    }

    fn counter(self, connection: &mut Connection) -> io::Result<u64> {
        number(&connection.call(&["GET", &self.key("counter")])?)
    }

    /// Elements were pushed at the head in order, so the list counts down to zero.
    fn list(self, connection: &mut Connection) -> io::Result<u64> {
        let elements = array(connection.call(&["LRANGE", &self.key("list"), "0", "-1"])?)?;
        for (place, element) in (0..).zip(elements.iter().rev()) {
            if number(element)? != place {
                return Err(broken(format!(
                    "element {place} of {} is {element:?}",
                    self.key("list")
                )));
            }
        }
        Ok(elements.len() as u64)
    }

    fn members(self, connection: &mut Connection) -> io::Result<u64> {
        let members = array(connection.call(&["SMEMBERS", &self.key("set")])?)?;
        let mut members = members.iter().map(number).collect::<io::Result<Vec<_>>>()?;
        members.sort_unstable();
        if !members.iter().copied().eq(0..members.len() as u64) {
            return Err(broken(format!("{} has gaps", self.key("set"))));
        }
        Ok(members.len() as u64)
    }

    /// The three keys of an MSET change together.
    fn triple(self, connection: &mut Connection) -> io::Result<u64> {
        let values =
            array(connection.call(&["MGET", &self.key("a"), &self.key("b"), &self.key("c")])?)?;
        match values.as_slice() {
            [Value::Nil, Value::Nil, Value::Nil] => Ok(0),
            [a, b, c] if a == b && b == c => Ok(number(a)? + 1),
            halves => Err(broken(format!("half an MSET: {halves:?}"))),
        }
    }

    fn ledger(self, connection: &mut Connection, sent: u64) -> io::Result<u64> {
        let steps = sent / KINDS + 1;
        for step in 0..steps {
            connection.queue(&["GET", &self.key(&format!("ledger:{step}"))]);
        }
        connection.flush()?;
        let mut found = Vec::new();
        for _ in 0..steps {
            found.push(connection.receive()? != Value::Nil);
        }
        let count = found.iter().filter(|found| **found).count();
        if found.iter().skip(count).any(|found| *found) {
            return Err(broken(format!("{} has gaps", self.key("ledger"))));
        }
        Ok(count as u64)
    }

    fn scores(self, connection: &mut Connection) -> io::Result<u64> {
        let key = self.key("zset");
        let Value::Integer(count) = connection.call(&["ZCARD", &key])? else {
            return Err(broken("no ZCARD".into()));
        };
        let members = array(connection.call(&["ZRANGE", &key, "0", "-1"])?)?;
        let in_order = (0..)
            .zip(&members)
            .all(|(place, member)| number(member).is_ok_and(|number| number == place));
        if !in_order || i64::try_from(members.len()) != Ok(count) {
            return Err(broken(format!("{key} has gaps or a wrong size")));
        }
        Ok(members.len() as u64)
    }
}

fn array(value: Value) -> io::Result<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        other => Err(broken(format!("expected an array, got {other:?}"))),
    }
}

/// The number in a string or integer reply; nothing counts as zero.
fn number(value: &Value) -> io::Result<u64> {
    match value {
        Value::Nil | Value::Null => Ok(0),
        Value::Integer(number) => u64::try_from(*number).map_err(io::Error::other),
        other => other
            .as_text()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| broken(format!("expected a number, got {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_repeats_with_the_next_number() {
        let script = Script { client: 1, round: 2 };
        assert_eq!(script.command(0), ["INCR", "counter:{2:1}"]);
        assert_eq!(script.command(7), ["LPUSH", "list:{2:1}", "1"]);
        assert_eq!(script.command(3)[1..3], ["a:{2:1}", "0"]);
    }
}
