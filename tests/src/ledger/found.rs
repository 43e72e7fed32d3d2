//! What a server has of a client's script, held against what it must have.
//!
//! For each kind of command the server is asked how many of its effects are there, and whether they
//! are whole. Then there must be one length of the script's prefix that has all of these effects.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use neokv_resp::client::Value;

use super::script::{
    FIELDS, KEYS, KINDS, Kind, MEMBERS, RECORD, RECORDS, ROWS, Script, WIDTH, commands_of,
    last_write, record, seen_of,
};
use super::{Account, broken};
use crate::client::Connection;

/// Of many rows and keys, those are asked for that the last steps have written, and so many others.
const OTHERS: u64 = 30;

/// Which of the many rows and keys are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// Those that may have changed since the last check, and some others, drawn from this seed.
    Recent(u64),
    /// All.
    Whole,
}

/// Asks a server about one client.
pub(super) struct Examiner<'a> {
    pub(super) script: Script,
    pub(super) account: Account,
    pub(super) extent: Extent,
    pub(super) connection: &'a mut Connection,
}

impl Examiner<'_> {
    /// The length of the prefix that the server holds; an error if it holds none, one that lacks
    /// what was acknowledged, or one that has what was never sent.
    pub(super) fn prefix(&mut self) -> io::Result<u64> {
        let mut found = Vec::with_capacity(KINDS.len());
        for kind in KINDS {
            found.push(self.seen(kind)?);
        }
        let Account { acknowledged, sent } = self.account;
        let left_by = |prefix| KINDS.map(|kind| seen_of(kind, prefix));
        (acknowledged..=sent).find(|prefix| left_by(*prefix)[..] == found).ok_or_else(|| {
            self.broken(&format!(
                "of {KINDS:?} there are {found:?}; {acknowledged} commands were acknowledged, \
                 which leave {:?}, and {sent} were sent, which leave {:?}",
                left_by(acknowledged),
                left_by(sent)
            ))
        })
    }

    /// What of a kind is there, as [`seen_of`] counts.
    fn seen(&mut self, kind: Kind) -> io::Result<u64> {
        match kind {
            Kind::Count => self.counter(),
            Kind::Share => self.share(),
            Kind::Append => self.texts(),
            Kind::Hash => self.fields(),
            Kind::Push => self.list().map(|(pushed, _)| pushed),
            Kind::Pop => self.list().map(|(_, popped)| popped),
            Kind::Score => self.scores(),
            Kind::Triple => self.triple(),
            Kind::Row => self.rows(),
            Kind::Move => self.moves(),
            Kind::Set => self.singles(),
        }
    }

    fn counter(&mut self) -> io::Result<u64> {
        let key = self.script.key("counter");
        number(&self.connection.call(&["GET", &key])?)
    }

    fn share(&mut self) -> io::Result<u64> {
        let field = self.script.client.to_string();
        number(&self.connection.call(&["HGET", "shared", &field])?)
    }

    /// The records of the texts that the last acknowledged and the last sent step add to, and of
    /// the one before.
    fn texts(&mut self) -> io::Result<u64> {
        let (least, most) = self.steps(Kind::Append);
        let first = (least / RECORDS).saturating_sub(1);
        let first = if self.extent == Extent::Whole { 0 } else { first };
        let mut step = first * RECORDS;
        for text in first..=most / RECORDS {
            let key = self.script.text(text * RECORDS);
            let value = self.connection.call(&["GET", &key])?;
            let bytes = bytes(&value)?;
            if !bytes.is_empty() && step != text * RECORDS {
                return Err(self.broken(&format!("{key} has records, the text before lacks some")));
            }
            for found in bytes.chunks(RECORD) {
                if found != record(step).as_bytes() {
                    return Err(self.broken(&format!("{key} has no whole record of step {step}")));
                }
                step += 1;
            }
        }
        Ok(step)
    }

    /// Each field has the last step that has written to it.
    fn fields(&mut self) -> io::Result<u64> {
        let key = self.script.key("hash");
        let pairs = array(self.connection.call(&["HGETALL", &key])?)?;
        self.residues(&key, FIELDS, &pairs)
    }

    /// Each member has the last step as its score.
    fn scores(&mut self) -> io::Result<u64> {
        let key = self.script.key("zset");
        let pairs = array(self.connection.call(&["ZRANGE", &key, "0", "-1", "WITHSCORES"])?)?;
        let count = number(&self.connection.call(&["ZCARD", &key])?)?;
        if pairs.len() as u64 != 2 * count {
            return Err(self.broken(&format!("{key} has {count} members, or {}", pairs.len() / 2)));
        }
        self.residues(&key, MEMBERS, &pairs)
    }

    /// The steps that a collection of so many places has seen, given as pairs of place and step.
    fn residues(&self, key: &str, places: u64, pairs: &[Value]) -> io::Result<u64> {
        let mut found = BTreeMap::new();
        for pair in pairs.chunks(2) {
            if let [place, step] = pair {
                found.insert(number(place)?, number(step)?);
            }
        }
        let steps = found.values().max().map_or(0, |last| last + 1);
        let expected = |place| last_write(steps, places, place).map(|step| (place, step));
        if found.into_iter().eq((0..places).filter_map(expected)) {
            return Ok(steps);
        }
        Err(self.broken(&format!("{key} is not what {steps} steps leave: {pairs:?}")))
    }

    /// Steps were put at the head and taken from the tail in order: how many of each.
    fn list(&mut self) -> io::Result<(u64, u64)> {
        let key = self.script.key("list");
        let elements = array(self.connection.call(&["LRANGE", &key, "0", "-1"])?)?;
        let elements = elements.iter().map(number).collect::<io::Result<Vec<_>>>()?;
        let (Some(newest), Some(oldest)) = (elements.first(), elements.last()) else {
            return Ok((0, 0));
        };
        if elements.iter().rev().copied().eq(*oldest..=*newest) {
            return Ok((newest + 1, *oldest));
        }
        Err(self.broken(&format!("{key} has gaps or repeats itself: {elements:?}")))
    }

    /// The three keys change together.
    fn triple(&mut self) -> io::Result<u64> {
        let [a, b, c] = ["a", "b", "c"].map(|name| self.script.key(name));
        let values = array(self.connection.call(&["MGET", &a, &b, &c])?)?;
        self.equal("the three keys", &values).map(|step| step.map_or(0, |step| step + 1))
    }

    /// The keys of each row change together, and each row has the last step that has written to it.
    fn rows(&mut self) -> io::Result<u64> {
        let places = self.places(Kind::Row, ROWS);
        for row in &places {
            let keys = self.script.row(*row);
            let words = std::iter::once("MGET").chain(keys.iter().map(String::as_str));
            self.connection.queue(&words.collect::<Vec<_>>());
        }
        self.connection.flush()?;
        let mut found = Vec::with_capacity(places.len());
        for row in places {
            let values = array(self.connection.receive()?)?;
            if values.len() as u64 != WIDTH {
                return Err(self.broken(&format!("row {row} has {} keys", values.len())));
            }
            found.push((row, self.equal(&format!("row {row}"), &values)?));
        }
        self.last_writes("row", ROWS, &found)
    }

    /// Each key has the last step that has written to it.
    fn singles(&mut self) -> io::Result<u64> {
        let places = self.places(Kind::Set, KEYS);
        for place in &places {
            self.connection.queue(&["GET", &self.script.single(*place)]);
        }
        self.connection.flush()?;
        let mut found = Vec::with_capacity(places.len());
        for place in places {
            let value = self.connection.receive()?;
            let step = if value == Value::Nil { None } else { Some(number(&value)?) };
            found.push((place, step));
        }
        self.last_writes("key", KEYS, &found)
    }

    /// In which of the two sets the member is.
    fn moves(&mut self) -> io::Result<u64> {
        let mut is_in = [0; 2];
        for (name, is_in) in ["left", "right"].iter().zip(&mut is_in) {
            let key = self.script.key(name);
            *is_in = number(&self.connection.call(&["SISMEMBER", &key, "member"])?)?;
        }
        match is_in {
            [0, 0] => Ok(0),
            [1, 0] => Ok(1),
            [0, 1] => Ok(2),
            _ => Err(self.broken("half an SMOVE: the member is in both sets")),
        }
    }

    /// Between how many steps of a kind the server may have seen: those of what was acknowledged,
    /// and those of what was sent.
    fn steps(&self, kind: Kind) -> (u64, u64) {
        (commands_of(kind, self.account.acknowledged), commands_of(kind, self.account.sent))
    }

    /// The places of a kind that are asked for.
    fn places(&self, kind: Kind, places: u64) -> Vec<u64> {
        let Extent::Recent(seed) = self.extent else { return (0..places).collect() };
        let (least, most) = self.steps(kind);
        let mut random = fastrand::Rng::with_seed(seed);
        // One further than what was sent: nobody may have written there.
        let end = most + 1;
        let recent = least.saturating_sub(OTHERS).max(end.saturating_sub(places))..end;
        let others = (0..OTHERS).map(|_| random.u64(..places));
        let all: BTreeSet<u64> = recent.map(|step| step % places).chain(others).collect();
        all.into_iter().collect()
    }

    /// The value that keys have in common which change together.
    fn equal(&self, what: &str, values: &[Value]) -> io::Result<Option<u64>> {
        match values.split_first() {
            Some((first, rest)) if rest.iter().all(|other| other == first) => {
                if *first == Value::Nil { Ok(None) } else { number(first).map(Some) }
            }
            _ => Err(self.broken(&format!("half an MSET: {what} have {values:?}"))),
        }
    }

    /// How many steps have written to these places, given the last of each.
    fn last_writes(
        &self,
        what: &str,
        places: u64,
        found: &[(u64, Option<u64>)],
    ) -> io::Result<u64> {
        let last = found.iter().filter_map(|(_, step)| *step).max();
        let steps = last.map_or(0, |last| last + 1);
        for (place, step) in found {
            let expected = last_write(steps, places, *place);
            if *step != expected {
                return Err(self.broken(&format!(
                    "{what} {place} is of step {step:?}; of {steps} steps the last that writes to \
                     it is {expected:?}"
                )));
            }
        }
        Ok(steps)
    }

    fn broken(&self, what: &str) -> io::Error {
        broken(format!("client {}: {what}", self.script.client))
    }
}

fn array(value: Value) -> io::Result<Vec<Value>> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        other => Err(broken(format!("expected an array, got {other:?}"))),
    }
}

/// The bytes of a string; none of a key that is not there.
fn bytes(value: &Value) -> io::Result<&[u8]> {
    match value {
        Value::Nil | Value::Null => Ok(&[]),
        Value::Bulk(bytes) => Ok(bytes),
        other => Err(broken(format!("expected a string, got {other:?}"))),
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
    use std::io;

    use super::*;
    use crate::process::Server;

    const SCRIPT: Script = Script { client: 3 };
    /// Long enough for a second text, and for each row, field and member to be written again.
    const LENGTH: u64 = 12_000;

    /// A server that has carried out a prefix of the script.
    fn with_prefix(length: u64) -> (Server, Connection) {
        let server = Server::redis(&[]).unwrap();
        let mut connection = server.connect().unwrap();
        for number in 0..length {
            connection.queue(&SCRIPT.command(number));
        }
        connection.flush().unwrap();
        for _ in 0..length {
            assert!(!connection.receive().unwrap().is_error());
        }
        (server, connection)
    }

    fn prefix(
        connection: &mut Connection,
        acknowledged: u64,
        sent: u64,
        extent: Extent,
    ) -> io::Result<u64> {
        let account = Account { acknowledged, sent };
        Examiner { script: SCRIPT, account, extent, connection }.prefix()
    }

    #[test]
    fn the_prefix_is_found_and_must_be_between_what_was_acknowledged_and_what_was_sent() {
        for length in [0, 1, 7, 9, 700, 5_500, LENGTH] {
            let (_server, mut connection) = with_prefix(length);
            for extent in [Extent::Whole, Extent::Recent(length)] {
                let mut found = |least, most| prefix(&mut connection, least, most, extent);
                let least = length.saturating_sub(40);
                assert_eq!(found(least, length + 40).unwrap(), length);
                assert_eq!(found(length, length).unwrap(), length);
                let lost = found(length + 1, length + 40).unwrap_err().to_string();
                assert!(lost.contains("were acknowledged"), "{lost}");
                assert!(length == 0 || found(least, length - 1).is_err(), "{length}");
            }
        }
    }

    /// One effect that is lost, doubled or there by half is found, whichever kind it is of.
    #[test]
    fn an_effect_that_is_missing_or_too_much_is_found() {
        let faults: &[&[&str]] = &[
            &["INCR counter:3"],
            &["DECR counter:3"],
            &["HINCRBY shared 3 1"],
            &["DEL text-0:3"],
            &["APPEND text-1:3 x"],
            &["SETRANGE text-0:3 20000 x"],
            &["HSET hash:3 5 1"],
            &["HDEL hash:3 5"],
            &["LPOP list:3"],
            &["RPOP list:3"],
            &["LSET list:3 7 9"],
            &["LPUSH list:3 1"],
            &["ZADD zset:3 1 7"],
            &["ZREM zset:3 7"],
            &["DEL a:3"],
            &["SET row-9-4:3 1"],
            &["DEL row-9-0:3"],
            &["SREM left:3 member", "SREM right:3 member"],
            &["SADD left:3 member", "SADD right:3 member"],
            &["SET key-17:3 9"],
            &["DEL key-17:3"],
        ];
        for fault in faults {
            let (_server, mut connection) = with_prefix(LENGTH);
            for line in *fault {
                assert!(!connection.words(line).unwrap().is_error(), "{line}");
            }
            let found = prefix(&mut connection, LENGTH - 40, LENGTH + 40, Extent::Whole);
            assert!(found.is_err(), "{fault:?}: {found:?}");
        }
    }
}
