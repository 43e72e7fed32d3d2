//! What a log entry does: the state machine that Raft drives.
//!
//! ```text
//! leader    Command, Command, … ──encode(stamp)──► RedisWriteRequest { hlc, seed, commands, bounds }      one log entry
//! replicas  RedisWriteRequest ──apply──► rows in the batch, a Reply for each command that was carried out
//! ```
//!
//! [`RedisMachine::apply`] is a pure function of the stored state and the entry, so that every
//! replica, whenever it applies the entry, writes the same bytes:
//!
//! * **Time** is `base = max(entry.hlc, Region clock)`. A key is over if its expiry is at or before
//!   the milliseconds of `base`, for all commands of the entry alike.
//! * **Versions** of new collections are `base + position of the command`. Afterwards the Region's
//!   clock is `base + number of commands`, so no version is used twice, also not after a change of
//!   leader.
//! * **Randomness** starts from the entry's seed and the position of the command.
//! * **Bounds**: one command may write [`COMMAND_BYTES`], and gather half as many for its answer;
//!   what would be more fails and is undone. Once the commands of an entry have written and
//!   answered [`ENOUGH_BYTES`], or one has failed so, those behind are left out of it: they have no
//!   effect and no reply, and the leader proposes them again. So an entry takes bounded memory to
//!   apply, however much its few bytes ask for (`EXPIRE` writes a whole string again, `SUNIONSTORE`
//!   a whole set). The leader writes both bounds into the entry, and what is counted follows from
//!   state and entry alone ([`Batch::metered`], [`tally::weight`]), so all replicas stop at the
//!   same command. That makes the count a part of what an entry means: a handler that comes to
//!   count differently would part replicas of two releases.
//! * **A failing command** leaves nothing behind: its writes are undone, and the error is its
//!   reply. An entry that cannot be understood, or a store that cannot be read, stops the Region
//!   instead: guessing would split the replicas.
//!
//! The number of keys of the Region is written in the same batch as the change it counts.

mod request;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::hlc;
use neokv_encoding::key::{self, RegionKind};
use neokv_encoding::proto::write_command::Kind;
use neokv_encoding::proto::{PurgeExpired, RedisWriteRequest, WriteCommand};
use neokv_encoding::region::Stats;
use neokv_engine::{Batch, EngineError, Read};
use neokv_raftstore::{ApplyContext, ApplyError, Stamp, StateMachine};
use neokv_resp::Reply;
use prost::Message;

use self::request::Head;
pub use self::request::{Command, ExpiredKey};
use crate::command::{self, Args, CommandError, Flag, Handler, Outcome, table};
use crate::keyspace::{KeyCount, SplitMix64, Tx, TxSource, tally};

/// The namespace of every key, until there are more.
pub const NAMESPACE: u32 = 0;

/// See the module. Many times what the largest ordinary entry, of a megabyte of small commands,
/// writes.
const ENOUGH_BYTES: u64 = 32 << 20;

/// See the module. Room for replacing a string of 512 MB, or for storing a set of some million
/// members. While a command is applied it may take three times as much memory: its rows, their
/// record for RocksDB, and the memtable.
const COMMAND_BYTES: u64 = 1 << 30;

/// The state machine of a Region that holds Redis keys. It has no state of its own: all of it is in
/// the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisMachine;

impl StateMachine for RedisMachine {
    type Command = Command;
    type Reply = Reply;

    fn weight(&self, command: &Command) -> usize {
        command.weight()
    }

    fn alone(&self, command: &Command) -> bool {
        matches!(command, Command::Client { command, .. } if command.has(Flag::Alone))
    }

    fn encode(&self, stamp: Stamp, commands: &[Command]) -> Bytes {
        request::encode(
            &Head { stamp, namespace: NAMESPACE, enough: ENOUGH_BYTES, most: COMMAND_BYTES },
            commands,
        )
    }

    fn commands_behind(&self, payload: &Bytes, done: usize) -> Result<Vec<Command>, ApplyError> {
        decode(payload)?.commands.into_iter().skip(done).map(command_of).collect()
    }

    fn apply(&self, cx: &mut ApplyContext<'_>, payload: &Bytes) -> Result<Vec<Reply>, ApplyError> {
        let request = decode(payload)?;
        let base = request.hlc.max(cx.clock);
        let most = bound(request.command_bytes);
        let entry = Entry { base, seed: request.seed, namespace: request.namespace, most };
        let enough = bound(request.enough_bytes);
        let total = request.commands.len();
        let mut replies = Vec::with_capacity(total);
        let mut count = KeyCount::default();
        let (mut position, mut spent) = (0u64, 0u64);
        cx.batch.start_meter();
        for command in request.commands {
            let written = u64::try_from(cx.batch.metered()).unwrap_or(u64::MAX);
            if position > 0 && written.saturating_add(spent) >= enough {
                break;
            }
            let Done { reply, change, undone } = match command.kind {
                Some(Kind::Client(client)) => {
                    entry.client(cx, position, &client.args, total == 1)?
                }
                Some(Kind::Purge(purge)) => entry.purge(cx, position, &purge)?,
                None => {
                    return Err(ApplyError::Undecodable("a command of an unknown kind".to_owned()));
                }
            };
            let answered = tally::weight(&reply);
            cx.answered = cx.answered.saturating_add(answered);
            spent = spent.saturating_add(answered).saturating_add(undone);
            replies.push(reply);
            count = count.then(change);
            position = position.saturating_add(1);
        }
        cx.clock = base.saturating_add(u64::try_from(total).unwrap_or(u64::MAX));
        save_count(&mut cx.batch, cx.descriptor.id, count)?;
        Ok(replies)
    }
}

type WriteHandler = fn(&mut Tx<'_>, &Args) -> Outcome;

/// What has come of a command.
struct Done {
    reply: Reply,
    change: KeyCount,
    /// Bytes of work that were undone, because they became too many.
    undone: u64,
}

/// What all commands of one entry share.
#[derive(Clone, Copy)]
struct Entry {
    /// The hybrid logical clock at which the entry is applied.
    base: u64,
    seed: u64,
    namespace: u32,
    /// What one command may write.
    most: u64,
}

impl Entry {
    /// The transaction of the command at `position`.
    fn tx<'a>(&self, cx: &'a mut ApplyContext<'_>, position: u64) -> Tx<'a> {
        Tx::new(TxSource {
            batch: &mut cx.batch,
            now_ms: hlc::ms(self.base),
            version: self.base.saturating_add(position),
            // Drawn rather than added: streams of a SplitMix64 whose seeds are a step apart are one
            // stream.
            seed: SplitMix64::new(self.seed ^ position).next_u64(),
            namespace: self.namespace,
            region: cx.descriptor.id,
            slots: cx.descriptor.slots,
            most: self.most,
        })
    }

    /// Runs a client's command. `alone`: it is the only one of its entry.
    fn client(
        &self,
        cx: &mut ApplyContext<'_>,
        position: u64,
        args: &[Bytes],
        alone: bool,
    ) -> Result<Done, ApplyError> {
        let (command, handler) = write_command(args)?;
        if command.has(Flag::Alone) {
            if !alone {
                return Err(ApplyError::Undecodable(format!(
                    "{} is not alone in its entry",
                    command.name
                )));
            }
            // It deletes ranges, which later reads of the batch would not notice.
            cx.seal();
        }
        let mut tx = self.tx(cx, position);
        match handler(&mut tx, args) {
            Ok(reply) => Ok(Done { reply, change: tx.commit(), undone: 0 }),
            Err(error) if error.is_fault() => Err(fault(error)),
            Err(error) => {
                tx.rollback().map_err(fault)?;
                let undone = if matches!(error, CommandError::TooMuch) { self.most } else { 0 };
                Ok(Done { reply: error.reply(), change: KeyCount::default(), undone })
            }
        }
    }

    /// Removes keys whose time is over. Answers how many they were.
    fn purge(
        &self,
        cx: &mut ApplyContext<'_>,
        position: u64,
        purge: &PurgeExpired,
    ) -> Result<Done, ApplyError> {
        let (mut removed, mut change) = (0i64, KeyCount::default());
        for expired in &purge.keys {
            let slot = request::slot(expired.slot)?;
            let entry = Entry { namespace: expired.namespace, ..*self };
            let mut tx = entry.tx(cx, position);
            let gone = tx.purge(slot, &expired.key, expired.expire_ms).map_err(fault)?;
            removed = removed.saturating_add(i64::from(gone));
            change = change.then(tx.commit());
        }
        Ok(Done { reply: Reply::Integer(removed), change, undone: 0 })
    }
}

fn decode(payload: &Bytes) -> Result<RedisWriteRequest, ApplyError> {
    RedisWriteRequest::decode(payload.clone())
        .map_err(|why| ApplyError::Undecodable(why.to_string()))
}

/// A bound as the entry has it, where 0 is none.
fn bound(bytes: u64) -> u64 {
    if bytes == 0 { u64::MAX } else { bytes }
}

/// A command out of an entry, as it was when it went in.
fn command_of(command: WriteCommand) -> Result<Command, ApplyError> {
    match command.kind {
        Some(Kind::Client(client)) => {
            Ok(Command::Client { command: write_command(&client.args)?.0, args: client.args })
        }
        Some(Kind::Purge(purge)) => {
            purge.keys.into_iter().map(ExpiredKey::of).collect::<Result<_, _>>().map(Command::Purge)
        }
        None => Err(ApplyError::Undecodable("a command of an unknown kind".to_owned())),
    }
}

/// The write command that `args` name, with its code.
fn write_command(args: &[Bytes]) -> Result<(&'static command::Command, WriteHandler), ApplyError> {
    let name = args.first().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
    let Some(command) = args.first().and_then(|name| table::lookup(name)) else {
        return Err(ApplyError::Undecodable(format!("there is no command {name:?}")));
    };
    let Handler::Write(handler) = command.handler else {
        return Err(ApplyError::Undecodable(format!("{name:?} is not a write")));
    };
    match command.check_arity(args) {
        Ok(()) => Ok((command, handler)),
        Err(_) => Err(ApplyError::Undecodable(format!("{name:?} with {} words", args.len()))),
    }
}

/// Writes the number of keys of a Region, if it has changed.
fn save_count(batch: &mut Batch<'_>, region: u64, count: KeyCount) -> Result<(), ApplyError> {
    if count == KeyCount::default() {
        return Ok(());
    }
    let row = key::region(region, RegionKind::Stats);
    let before = match batch.get(Family::Region, &row)? {
        Some(bytes) => Stats::decode(&bytes).map_err(|error| fault(error.into()))?.keys,
        None => 0,
    };
    batch.put(Family::Region, row, Stats { keys: count.apply(before) }.encode());
    Ok(())
}

/// A fault of the store, found while applying.
fn fault(error: CommandError) -> ApplyError {
    match error {
        CommandError::Engine(error) => ApplyError::Engine(error),
        other => {
            ApplyError::Engine(EngineError::Corruption { file: None, detail: other.to_string() })
        }
    }
}

#[cfg(test)]
mod tests;
