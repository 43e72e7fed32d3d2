//! What tests share: a bench for commands, stand-ins for the process ([`TestHost`]) and the
//! cluster ([`FixedTopology`]), and nodes with real stores ([`stores`]).
//!
//! A [`Bench`] is a store in a temporary directory, driven the way the server drives one.
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

mod host;
pub(crate) mod stores;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use neokv_encoding::family::Family;
use neokv_encoding::hlc;
use neokv_encoding::key::{self, ExpireKey, UserKey};
use neokv_encoding::metadata::{DataType, Metadata, decode_header};
use neokv_encoding::region::{Descriptor, Epoch, RegionState};
use neokv_encoding::slot::SlotRange;
use neokv_encoding::slot_stats::SlotStats;
use neokv_engine::{Direction, Durability, Engine, KeyRange, Options, Read, ReadBudget};
use neokv_raftstore::{ApplyContext, ApplyError, Outcome, Stamp, StateMachine};
use neokv_resp::{Protocol, Reply, Shape, format_double};
use tempfile::TempDir;

pub(crate) use self::host::{FixedTopology, TestHost};
use crate::command::declare::{ReadHandler, ReadMode};
use crate::command::{Handler, table};
use crate::error::CommandError;
use crate::keyspace::{Collection, CursorTable, Latest, NAMESPACE, View, ViewSource};
use crate::machine::{LogCommand, RedisMachine};

/// The Region of every bench.
pub(crate) const REGION: u64 = 1;
/// When every bench starts: 14 November 2023.
pub(crate) const START_MS: u64 = 1_700_000_000_000;

/// A store for one test.
pub(crate) struct Bench {
    pub engine: Engine,
    pub descriptor: Arc<Descriptor>,
    pub clock: u64,
    pub now_ms: u64,
    pub seed: u64,
    pub cursors: CursorTable,
    /// Where SCAN goes on behind this Region.
    pub next_slot: Option<u16>,
    _dir: TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &Options::default()).unwrap();
        let descriptor = Arc::new(Descriptor {
            id: REGION,
            slots: SlotRange::ALL,
            epoch: Epoch { version: 1, conf_ver: 1 },
            peers: Vec::new(),
            state: RegionState::Normal,
        });
        let cursors = CursorTable::new();
        Bench {
            engine,
            descriptor,
            clock: 0,
            now_ms: START_MS,
            seed: 1,
            cursors,
            next_slot: None,
            _dir: dir,
        }
    }

    /// Lets time pass.
    pub fn advance(&mut self, ms: u64) {
        self.now_ms += ms;
    }

    /// The keyspace as it is now.
    pub fn view(&self) -> View<'_> {
        self.view_over(&self.engine)
    }

    /// The keyspace as `read` shows it.
    pub fn view_over<'a>(&'a self, read: &'a dyn Read) -> View<'a> {
        View::new(ViewSource {
            read,
            now_ms: self.now_ms.max(hlc::ms(self.clock)),
            namespace: NAMESPACE,
            slots: self.descriptor.slots,
            next_slot: self.next_slot,
            seed: self.seed,
            cursors: Some(&self.cursors),
            max_reply_bytes: u64::MAX,
        })
    }

    /// Runs a line of a script and returns the reply in the notation of this module.
    pub fn run(&mut self, line: &str) -> String {
        show(&self.call(words(line)))
    }

    /// Runs a command.
    pub fn call(&mut self, args: Vec<Bytes>) -> Reply {
        let Ok((_, command)) = table::find(&args) else { panic!("no command {:?}", args[0]) };
        if let Err(error) = command.check_arity(&args) {
            return error.reply();
        }
        self.seed += 1;
        match command.handler {
            Handler::Read(handler, mode) => self.read(handler, mode, &args),
            Handler::Write(_) | Handler::WriteAlone(_) => self
                .apply(vec![LogCommand::Client { namespace: NAMESPACE, command, args }])
                .unwrap()
                .remove(0),
            Handler::Session(_) | Handler::Container => {
                panic!("{} is not for benches", command.name)
            }
        }
    }

    /// Runs a read over a snapshot. A budgeted one must answer the same within a budget that is
    /// enough for it.
    fn read(&self, handler: ReadHandler, mode: ReadMode, args: &[Bytes]) -> Reply {
        let run = |read: &dyn Read| {
            handler(&self.view_over(read), args).unwrap_or_else(|error: CommandError| error.reply())
        };
        let reply = run(&self.engine.snapshot());
        if mode == ReadMode::Latest {
            let latest = Latest::new(&self.engine);
            let other = run(&latest);
            if !latest.has_refused() {
                assert_eq!(show(&other), show(&reply), "{args:?} by look-ups");
            }
        }
        if matches!(mode, ReadMode::Latest | ReadMode::Budgeted) {
            let budgeted = self.engine.budgeted_read(ReadBudget { rows: 256, bytes: 64 << 10 });
            let other = run(&budgeted);
            if !budgeted.is_spent() {
                assert_eq!(show(&other), show(&reply), "{args:?} within a budget");
            }
        }
        reply
    }

    /// Applies a write as a log entry of its own. A fault of the store is an error.
    pub fn try_write(&mut self, line: &str) -> Result<Reply, ApplyError> {
        let args = words(line);
        let Ok((_, command)) = table::find(&args) else { panic!("no command {line:?}") };
        let command = LogCommand::Client { namespace: NAMESPACE, command, args };
        Ok(self.apply(vec![command])?.remove(0))
    }

    /// Damages the header of a collection: stores a size that its rows contradict.
    pub fn miscount(&mut self, key: &'static str, size: u64) {
        let (view, key) = (self.view(), Bytes::from_static(key.as_bytes()));
        let Some(Metadata::Collection(mut header)) = view.lookup(&key).unwrap() else {
            panic!("{key:?} is no collection")
        };
        header.size = size;
        let row = view.user_key(&key).metadata();
        self.put(Family::Metadata, &row, Metadata::Collection(header).encode());
    }

    /// Stores a row past the machine.
    pub fn put(&self, family: Family, row: &[u8], value: Vec<u8>) {
        let mut batch = self.engine.batch();
        batch.put(family, row, value);
        self.engine.write(batch, Durability::Buffered).unwrap();
    }

    /// Where the next entry is applied.
    pub fn context(&self) -> ApplyContext<'_> {
        ApplyContext::new(self.engine.batch(), Arc::clone(&self.descriptor), self.clock)
    }

    /// Applies one entry with these commands.
    pub fn apply(&mut self, commands: Vec<LogCommand>) -> Result<Vec<Reply>, ApplyError> {
        let stamp = Stamp { hlc: hlc::from_ms(self.now_ms).max(self.clock), seed: self.seed };
        let payload = RedisMachine::default().encode(stamp, &commands);
        self.apply_entry(&payload)
    }

    /// Applies one entry as it came out of the log.
    pub fn apply_entry(&mut self, payload: &Bytes) -> Result<Vec<Reply>, ApplyError> {
        Ok(self.apply_group(std::slice::from_ref(payload))?.remove(0))
    }

    /// Applies consecutive entries in one write, as a replica that catches up does.
    pub fn apply_group(&mut self, payloads: &[Bytes]) -> Result<Vec<Vec<Reply>>, ApplyError> {
        let (replies, clock) = {
            let mut cx = self.context();
            let replies = payloads
                .iter()
                .map(|payload| Ok(replies(RedisMachine::default().apply(&mut cx, payload)?)))
                .collect::<Result<_, ApplyError>>()?;
            self.engine.write_behind(vec![cx.batch])?;
            (replies, cx.clock)
        };
        self.clock = clock;
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

    /// A collection, if there is one, and its subkeys with their values, after checking that the
    /// header counts them and that there are some.
    pub fn collection(
        &self,
        key: &str,
        kind: DataType,
    ) -> Option<(Collection, BTreeMap<String, Bytes>)> {
        let view = self.view();
        let found = view.collection(&Bytes::copy_from_slice(key.as_bytes()), kind).unwrap()?;
        let mut subkeys = BTreeMap::new();
        let mut rows = view.subkeys(&found, Direction::Forward).unwrap();
        while let Some((subkey, value)) = rows.next().unwrap() {
            subkeys.insert(String::from_utf8(subkey.to_vec()).unwrap(), value);
        }
        assert_eq!(found.size(), subkeys.len() as u64, "the header of {key} miscounts");
        assert!(!subkeys.is_empty(), "{key} is empty and exists");
        Some((found, subkeys))
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
        let mut keys = BTreeMap::new();
        for row in records.keys() {
            let UserKey { slot, namespace, .. } = UserKey::decode_metadata(row).unwrap();
            keys.entry((slot, namespace)).or_insert(SlotStats::default()).keys += 1;
        }
        let counted: BTreeMap<(u16, u32), SlotStats> = self
            .rows(Family::SlotStats)
            .iter()
            .map(|(row, value)| {
                (key::decode_slot_stats(row).unwrap(), SlotStats::decode(value).unwrap())
            })
            .collect();
        assert_eq!(counted, keys, "the number of keys of a slot is wrong");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_invariants();
        }
    }
}

/// The replies of an entry all of whose commands are for its Region.
fn replies(outcomes: Vec<Outcome<Reply>>) -> Vec<Reply> {
    let reply = |outcome| match outcome {
        Outcome::Reply(reply) => reply,
        Outcome::Misrouted => panic!("a bench has all slots"),
    };
    outcomes.into_iter().map(reply).collect()
}

/// The words of an inline command.
pub(crate) fn words(line: &str) -> Vec<Bytes> {
    let words = neokv_resp::inline::split_args(line.as_bytes()).unwrap();
    words.into_iter().map(Bytes::from).collect()
}

/// A reply as RESP2 sends it.
pub(crate) fn wire(reply: &Reply) -> String {
    let mut out = BytesMut::new();
    reply.write(Protocol::Resp2, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
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
