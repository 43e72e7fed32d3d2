//! A state machine for tests: counters, rows in all data families, commands that fail, one that
//! must be alone, and a copy in memory of what the commands have written.
//!
//! Payload: `hlc u64 · seed u64 · commands`, a command is `tag u8 · key u8 · number u64`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, slot_bounds};
use neokv_encoding::region::Descriptor;
use neokv_encoding::slot::slot_of;
use neokv_engine::{Direction, Engine, EngineError, KeyRange, Read};
use neokv_raftstore::{ApplyContext, ApplyError, Leadership, Outcome, Stamp, StateMachine};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Command {
    /// Adds to a counter; answers the sum.
    Add(u8, u64),
    /// Writes a row into every data family.
    Fill(u8, u64),
    /// Answers an error and does nothing.
    Fail,
    /// Removes the Region's counters; must be alone in its entry.
    Clear,
    /// Cannot be applied: stops the Region.
    Poison,
    /// Nothing, of this many bytes.
    Pad(usize),
    /// Adds 1 to counter 0, answers the sum, and leaves the commands behind it out of the entry.
    Much,
    /// Is a defect of the program.
    Panic,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reply {
    Sum(u64),
    Done,
    Error,
}

/// A row that was put, or removed.
type Row = (Vec<u8>, Option<Vec<u8>>);

/// Called with a Region's descriptor where the store asks for its ranges.
type RangesHook = Box<dyn Fn(&Descriptor) + Send + Sync>;

#[derive(Default)]
pub struct Toy {
    /// Entries applied by this process.
    pub applied: AtomicUsize,
    /// Commands of the largest entry encoded.
    pub largest: AtomicUsize,
    /// How often a Region started, or got a snapshot.
    pub loaded: AtomicUsize,
    /// The rows of the family `metadata`, as the machine has them in memory.
    pub rows: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    /// What a test does where the ranges of a Region are asked for.
    pub ranges_hook: OnceLock<RangesHook>,
    /// What it was told about leadership, per Region.
    pub leadership: Mutex<BTreeMap<u64, Vec<Leadership>>>,
}

/// The key of a counter or row.
pub fn user_key(key: u8) -> UserKey {
    UserKey::new(0, Bytes::from(format!("key-{key}")))
}

/// The slot of a counter or row.
pub fn slot(key: u8) -> u16 {
    slot_of(format!("key-{key}").as_bytes())
}

fn rows(key: u8, number: u64) -> [(Family, Vec<u8>); 4] {
    let user = user_key(key);
    [
        (Family::Metadata, user.metadata()),
        (Family::Subkey, user.subkey(number, b"field")),
        (Family::ZsetScore, user.score(number, 1.5, b"member")),
        (Family::Expire, user.expire(number)),
    ]
}

/// Whether the row is there in every data family.
pub fn is_filled(from: &dyn Read, key: u8, number: u64) -> bool {
    rows(key, number).iter().all(|(family, key)| from.get(*family, key).unwrap().is_some())
}

/// A counter's value.
pub fn sum(from: &dyn Read, key: u8) -> u64 {
    let stored = from.get(Family::Metadata, &user_key(key).metadata()).unwrap();
    stored.map_or(0, |bytes| u64::from_be_bytes(<[u8; 8]>::try_from(&bytes[..]).unwrap()))
}

/// Clock and commands of an entry.
fn decode(payload: &Bytes) -> Result<(u64, Vec<Command>), ApplyError> {
    let mut from = payload.clone();
    let (hlc, _seed) = (from.get_u64(), from.get_u64());
    let mut commands = Vec::new();
    while from.has_remaining() {
        let (tag, key, number) = (from.get_u8(), from.get_u8(), from.get_u64());
        commands.push(match tag {
            0 => Command::Add(key, number),
            1 => Command::Fill(key, number),
            2 => Command::Fail,
            3 => Command::Clear,
            4 => Command::Poison,
            5 => {
                from.advance(number as usize);
                Command::Pad(number as usize)
            }
            6 => Command::Much,
            7 => Command::Panic,
            _ => return Err(ApplyError::Undecodable(format!("tag {tag}"))),
        });
    }
    Ok((hlc, commands))
}

type Context<'e> = ApplyContext<'e, Vec<Row>>;

fn put(cx: &mut Context<'_>, key: u8, number: u64) {
    let (key, value) = (user_key(key).metadata(), number.to_be_bytes());
    cx.pending.push((key.clone(), Some(value.to_vec())));
    cx.batch.put(Family::Metadata, key, value);
}

fn add(cx: &mut Context<'_>, key: u8, number: u64) -> Reply {
    let sum = sum(&cx.batch, key) + number;
    put(cx, key, sum);
    Reply::Sum(sum)
}

fn fill(cx: &mut Context<'_>, key: u8, number: u64) -> Reply {
    put(cx, key, number);
    for (family, row) in rows(key, number) {
        cx.batch.put(family, row, number.to_be_bytes());
    }
    Reply::Done
}

fn clear(cx: &mut Context<'_>) -> Result<Reply, ApplyError> {
    if !cx.is_fresh() {
        return Err(ApplyError::NeedsFreshBatch);
    }
    cx.seal();
    for key in (0..=u8::MAX).filter(|key| cx.owns(slot(*key))).collect::<Vec<_>>() {
        let key = user_key(key).metadata();
        cx.pending.push((key.clone(), None));
        cx.batch.delete(Family::Metadata, key);
    }
    Ok(Reply::Done)
}

/// Carries one command out.
fn carry_out(cx: &mut Context<'_>, command: Command) -> Result<Outcome<Reply>, ApplyError> {
    let key = match command {
        Command::Add(key, _) | Command::Fill(key, _) => Some(key),
        Command::Much => Some(0),
        _ => None,
    };
    let elsewhere = key.is_some_and(|key| !cx.owns(slot(key)));
    if elsewhere || command == Command::Clear && !cx.is_as_routed() {
        return Ok(Outcome::Misrouted);
    }
    Ok(Outcome::Reply(match command {
        Command::Add(key, number) => add(cx, key, number),
        Command::Much => add(cx, 0, 1),
        Command::Fill(key, number) => fill(cx, key, number),
        Command::Fail => Reply::Error,
        Command::Clear => clear(cx)?,
        Command::Pad(_) => Reply::Done,
        Command::Poison => return Err(ApplyError::Undecodable("poison".to_owned())),
        Command::Panic => panic!("told to"),
    }))
}

impl StateMachine for Toy {
    type Command = Command;
    type Reply = Reply;
    type Pending = Vec<Row>;

    fn weight(&self, command: &Command) -> usize {
        match command {
            Command::Pad(bytes) => *bytes,
            _ => 10,
        }
    }

    fn alone(&self, command: &Command) -> bool {
        matches!(command, Command::Clear)
    }

    fn encode(&self, stamp: Stamp, commands: &[Command]) -> Bytes {
        self.largest.fetch_max(commands.len(), Ordering::Relaxed);
        let mut out = BytesMut::new();
        out.put_u64(stamp.hlc);
        out.put_u64(stamp.seed);
        for command in commands {
            let (tag, key, number) = match command {
                Command::Add(key, number) => (0, *key, *number),
                Command::Fill(key, number) => (1, *key, *number),
                Command::Fail => (2, 0, 0),
                Command::Clear => (3, 0, 0),
                Command::Poison => (4, 0, 0),
                Command::Pad(bytes) => (5, 0, *bytes as u64),
                Command::Much => (6, 0, 0),
                Command::Panic => (7, 0, 0),
            };
            out.put_u8(tag);
            out.put_u8(key);
            out.put_u64(number);
            if tag == 5 {
                out.put_bytes(0, number as usize);
            }
        }
        out.freeze()
    }

    fn decode(&self, payload: &Bytes) -> Result<Vec<Command>, ApplyError> {
        decode(payload).map(|(_, commands)| commands)
    }

    fn apply(
        &self,
        cx: &mut Context<'_>,
        payload: &Bytes,
    ) -> Result<Vec<Outcome<Reply>>, ApplyError> {
        let (hlc, commands) = decode(payload)?;
        let total = commands.len() as u64;
        let mut outcomes = Vec::new();
        for command in commands {
            outcomes.push(carry_out(cx, command)?);
            if command == Command::Much {
                break;
            }
        }
        cx.clock = cx.clock.max(hlc) + total;
        self.applied.fetch_add(1, Ordering::Relaxed);
        Ok(outcomes)
    }

    fn ranges(&self, descriptor: &Descriptor) -> Vec<(Family, KeyRange)> {
        if let Some(hook) = self.ranges_hook.get() {
            hook(descriptor);
        }
        let (start, end) = slot_bounds(descriptor.slots);
        Family::DATA.map(|family| (family, KeyRange::new(start.clone(), end.clone()))).to_vec()
    }

    fn committed(&self, _: u64, pending: Vec<Row>) {
        let mut rows = self.rows.lock().unwrap();
        for (key, value) in pending {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
    }

    fn loaded(&self, engine: &Engine, descriptor: &Descriptor) -> Result<(), EngineError> {
        self.loaded.fetch_add(1, Ordering::Relaxed);
        let (start, end) = slot_bounds(descriptor.slots);
        let mut rows = self.rows.lock().unwrap();
        rows.retain(|key, _| !(&start <= key && key < &end));
        let range = KeyRange::new(start, end);
        let mut cursor = engine.cursor(Family::Metadata, range, Direction::Forward)?;
        while let Some((key, value)) = cursor.next()? {
            rows.insert(key.to_vec(), value.to_vec());
        }
        Ok(())
    }

    fn removed(&self, _: u64, ranges: &[(Family, KeyRange)]) {
        let gone = |key: &Vec<u8>| {
            ranges.iter().any(|(family, range)| {
                *family == Family::Metadata && range.start <= *key && *key < range.end
            })
        };
        self.rows.lock().unwrap().retain(|key, _| !gone(key));
    }

    fn leadership(&self, region: u64, change: Leadership) {
        self.leadership.lock().unwrap().entry(region).or_default().push(change);
    }
}
