//! A bench for commands: a store in a temporary directory, driven the way the server drives one.
//!
//! Writes are encoded as log entries and applied by [`RedisMachine`]; reads run over a snapshot.
//! Time stands still unless [`Bench::advance`] moves it. When a bench is dropped it checks what
//! must be true of every store (see [`Bench::check_invariants`]).
//!
//! Replies are written in a short notation:
//!
//! | reply | notation |
//! | --- | --- |
//! | status, error | their text: `OK`, `ERR syntax error` |
//! | integer, double, boolean | `3`, `1.5`, `true` |
//! | string | `"a\r\n\x00"` |
//! | nothing | `nil`, `nil-array` |
//! | array, push | `["a", 1]` |
//! | set | `<"a", "b">`, sorted |
//! | map, pairs | `{"a": 1, "b": 2}` |

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::hlc;
use neokv_encoding::key::{self, ExpireKey, RegionKind, UserKey};
use neokv_encoding::metadata::decode_header;
use neokv_encoding::region::{Descriptor, Epoch, RegionState, Stats};
use neokv_encoding::slot::SlotRange;
use neokv_engine::{Budget, Direction, Durability, Engine, KeyRange, Options, Read};
use neokv_raftstore::{ApplyContext, ApplyError, Stamp, StateMachine};
use neokv_resp::{Reply, Shape, format_double};
use tempfile::TempDir;

use crate::command::{CommandError, Flag, Handler, table};
use crate::keyspace::{CursorTable, View, ViewSource};
use crate::machine::{Command, NAMESPACE, RedisMachine};

/// The Region of every bench.
pub(crate) const REGION: u64 = 1;
/// When every bench starts: 14 November 2023.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A store for one test.
pub(crate) struct Bench {
    pub engine: Engine,
    pub descriptor: Descriptor,
    pub clock: u64,
    pub now_ms: u64,
    pub seed: u64,
    pub cursors: CursorTable,
    _dir: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &Options::default()).unwrap();
        let descriptor = Descriptor {
            id: REGION,
            slots: SlotRange::ALL,
            epoch: Epoch { version: 1, conf_ver: 1 },
            peers: Vec::new(),
            state: RegionState::Normal,
        };
        let cursors = CursorTable::new();
        Bench { engine, descriptor, clock: 0, now_ms: START_MS, seed: 1, cursors, _dir: dir }
    }

    /// Lets time pass.
    pub fn advance(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// The keyspace as it is now.
    pub fn view(&self) -> View<'_> {
        self.view_over(&self.engine)
    }

    fn view_over<'a>(&'a self, read: &'a dyn Read) -> View<'a> {
        View::new(ViewSource {
            read,
            now_ms: self.now_ms.max(hlc::ms(self.clock)),
            namespace: NAMESPACE,
            region: REGION,
            slots: self.descriptor.slots,
            seed: self.seed,
            cursors: Some(&self.cursors),
            most: u64::MAX,
        })
    }

    /// Runs a line of a script and returns the reply in the notation of this module.
    pub fn run(&mut self, line: &str) -> String {
        let args = neokv_resp::inline::split_args(line.as_bytes()).unwrap();
        show(&self.call(args.into_iter().map(Bytes::from).collect()))
    }

    /// Runs a command.
    pub fn call(&mut self, args: Vec<Bytes>) -> Reply {
        let Some(command) = table::lookup(&args[0]) else { panic!("no command {:?}", args[0]) };
        if let Err(error) = command.check_arity(&args) {
            return error.reply();
        }
        self.seed += 1;
        match command.handler {
            Handler::Read(handler) => {
                let over = |read: &dyn Read| {
                    handler(&self.view_over(read), &args)
                        .unwrap_or_else(|error: CommandError| error.reply())
                };
                let reply = over(&self.engine.snapshot());
                let glance = self.engine.glance(Budget { rows: 256, bytes: 64 << 10 });
                let glanced = command.has(Flag::Walk).then(|| over(&glance));
                if let Some(glanced) = glanced.filter(|_| !glance.is_spent()) {
                    assert_eq!(
                        show(&glanced),
                        show(&reply),
                        "{args:?} answers differently where it is"
                    );
                }
                reply
            }
            Handler::Write(_) => {
                self.apply(vec![Command::Client { command, args }]).unwrap().remove(0)
            }
            Handler::Session(_) => panic!("{} is not for benches", command.name),
        }
    }

    /// Applies one entry with these commands.
    pub fn apply(&mut self, commands: Vec<Command>) -> Result<Vec<Reply>, ApplyError> {
        let stamp = Stamp { hlc: hlc::from_ms(self.now_ms).max(self.clock), seed: self.seed };
        let payload = RedisMachine.encode(stamp, &commands);
        self.apply_entry(&payload)
    }

    /// Applies one entry as it came out of the log.
    pub fn apply_entry(&mut self, payload: &Bytes) -> Result<Vec<Reply>, ApplyError> {
        Ok(self.apply_group(std::slice::from_ref(payload))?.remove(0))
    }

    /// Applies consecutive entries in one write, as a replica that catches up does.
    pub fn apply_group(&mut self, payloads: &[Bytes]) -> Result<Vec<Vec<Reply>>, ApplyError> {
        let mut cx = ApplyContext::new(self.engine.batch(), &self.descriptor, self.clock);
        let replies = payloads
            .iter()
            .map(|payload| RedisMachine.apply(&mut cx, payload))
            .collect::<Result<_, _>>()?;
        self.clock = cx.clock;
        self.engine.write(cx.batch, Durability::Buffered)?;
        Ok(replies)
    }

    /// Runs each line and compares its reply.
    pub fn check(&mut self, script: &[(&str, &str)]) {
        for (position, (line, expected)) in script.iter().enumerate() {
            assert_eq!(self.run(line), *expected, "line {position}: {line}");
        }
        self.check_invariants();
    }

    /// All rows of a family.
    pub fn rows(&self, family: Family) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut cursor = self.engine.cursor(family, KeyRange::all(), Direction::Forward).unwrap();
        let mut rows = BTreeMap::new();
        while let Some((key, value)) = cursor.next().unwrap() {
            rows.insert(key.to_vec(), value.to_vec());
        }
        rows
    }

    /// Every record with an expiry has exactly its row in `expire`; the number of keys is the
    /// number of records.
    pub fn check_invariants(&self) {
        let records = self.rows(Family::Metadata);
        let mut expected = BTreeSet::new();
        for (row, record) in &records {
            let (_, expire_ms) = decode_header(record).unwrap();
            if expire_ms != 0 {
                expected.insert(UserKey::decode_metadata(row).unwrap().expire(expire_ms));
            }
        }
        let rows: BTreeSet<Vec<u8>> = self.rows(Family::Expire).into_keys().collect();
        let names = |rows: &BTreeSet<Vec<u8>>| -> Vec<_> {
            rows.iter().map(|r| ExpireKey::decode(r).unwrap()).collect()
        };
        assert_eq!(
            names(&rows),
            names(&expected),
            "the expire family is not in step with the records"
        );
        let stats =
            self.engine.get(Family::Region, &key::region(REGION, RegionKind::Stats)).unwrap();
        let keys = stats.map_or(0, |bytes| Stats::decode(&bytes).unwrap().keys);
        assert_eq!(keys, records.len() as u64, "the number of keys is wrong");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_invariants();
        }
    }
}

/// A reply in the notation of this module.
pub(crate) fn show(reply: &Reply) -> String {
    let list = |items: &[Reply]| items.iter().map(show).collect::<Vec<_>>();
    match reply {
        Reply::Ok => "OK".to_owned(),
        Reply::Simple(text) | Reply::Error(text) => text.to_string(),
        Reply::Integer(number) => number.to_string(),
        Reply::Bulk(bytes) => quote(bytes),
        Reply::Nil => "nil".to_owned(),
        Reply::NilArray => "nil-array".to_owned(),
        Reply::Array(items) | Reply::Push(items) => format!("[{}]", list(items).join(", ")),
        Reply::Bulks(shape, strings) => {
            let mut items = strings.iter().map(|value| Reply::Bulk(Bytes::copy_from_slice(value)));
            match shape {
                Shape::Array => show(&Reply::Array(items.collect())),
                Shape::Set => show(&Reply::Set(items.collect())),
                Shape::Map => show(&Reply::Map(
                    std::iter::from_fn(|| items.next().zip(items.next())).collect(),
                )),
            }
        }
        Reply::Set(items) => {
            let mut items = list(items);
            items.sort();
            format!("<{}>", items.join(", "))
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(key, value)| format!("{}: {}", show(key), show(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Reply::Double(value) => format_double(*value),
        Reply::Boolean(value) => value.to_string(),
        Reply::Verbatim(_, text) => quote(text),
        Reply::BigNumber(digits) => digits.clone(),
    }
}

/// Bytes in double quotes, with C's escapes.
fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push('"');
    text
}
