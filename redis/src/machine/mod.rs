//! What a log entry does: the state machine that Raft drives.
//!
//! ```text
//! leader    LogCommand, … ──encode(stamp)──► RedisWriteRequest { hlc, seed, commands, bounds }
//!                                             one log entry
//! replicas  RedisWriteRequest ──apply──► rows in the batch, an Outcome for each command
//!                                         that was not left out
//! ```
//!
//! [`RedisMachine::apply`] is a pure function of the stored state and the entry, so that every
//! replica, whenever it applies the entry, writes the same bytes:
//!
//! * **Time** is `base = max(entry.hlc, Region clock)`. A key has expired if its expiry is at or
//!   before the milliseconds of `base`, for all commands of the entry alike.
//! * **Versions** of new collections are `base + position of the command`. Afterwards the Region's
//!   clock is `base + number of commands`, so no version is used twice, also not after a change of
//!   leader.
//! * **Randomness** starts from the entry's seed and the position of the command.
//! * **Bounds**: one command may write [`Bounds::command_bytes`], and gather half as many for its
//!   answer; what would be more fails and is undone. Once the commands of an entry have written and
//!   answered [`Bounds::entry_bytes`], or one has failed that way, those behind are left out of it:
//!   they have no effect and no reply, and the leader proposes them again. So an entry takes
//!   bounded memory to apply, whatever its commands ask for (`SUNIONSTORE` writes a whole set,
//!   `GETEX` returns a whole string). The leader writes both bounds into the entry, and what is
//!   counted follows from state and entry alone ([`Batch::metered`](neokv_engine::Batch::metered),
//!   [`reply_bytes`]), so all replicas stop at the same command. That makes the count a part of
//!   what an entry means: if a new release of a handler counted differently, replicas of the two
//!   releases would diverge.
//! * **Misrouted commands** have no effect: those with a key whose slot the Region does not own as
//!   of this entry, and those for the whole Region if its range has changed since they were
//!   proposed. The server routes them again.
//! * **A failing command** leaves nothing behind: its writes are undone, and the error is its
//!   reply. An entry that cannot be understood, or a store that cannot be read, stops the Region
//!   instead: if each replica guessed, they would diverge.

mod bounds;
mod request;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::hlc;
use neokv_encoding::key::{self, UserKey, slot_bounds};
use neokv_encoding::proto::write_command::Kind;
use neokv_encoding::proto::{ClientCommand, PurgeExpired, RedisWriteRequest, WriteCommand};
use neokv_encoding::region::Descriptor;
use neokv_encoding::slot::{SlotRange, slot_of};
use neokv_engine::{EngineError, KeyRange};
use neokv_raftstore::{ApplyContext, ApplyError, Outcome, SplitMix64, Stamp, StateMachine};
use neokv_resp::Reply;
use prost::Message;

pub use self::bounds::Bounds;
use self::request::Head;
pub use self::request::{ExpiredKey, LogCommand};
use crate::command::declare::keys::keys;
use crate::command::declare::{Scope, WriteHandler};
use crate::command::{Command, table};
use crate::error::CommandError;
use crate::keyspace::reply_limit::reply_bytes;
use crate::keyspace::{Tx, TxSource};

/// The state machine of Regions that hold Redis keys. It has no memory of its own: all of its state
/// is in the engine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisMachine {
    /// What this store, where it leads, writes into its entries.
    bounds: Bounds,
}

impl RedisMachine {
    /// A machine whose entries have these bounds.
    #[must_use]
    pub fn new(bounds: Bounds) -> RedisMachine {
        RedisMachine { bounds }
    }
}

impl StateMachine for RedisMachine {
    type Command = LogCommand;
    type Reply = Reply;
    type Pending = ();

    fn weight(&self, command: &LogCommand) -> usize {
        command.weight()
    }

    fn alone(&self, command: &LogCommand) -> bool {
        matches!(command, LogCommand::Client { command, .. } if command.is_alone())
    }

    fn encode(&self, stamp: Stamp, commands: &[LogCommand]) -> Bytes {
        request::encode(&Head { stamp, bounds: self.bounds }, commands)
    }

    fn decode(&self, payload: &Bytes) -> Result<Vec<LogCommand>, ApplyError> {
        decode(payload)?.commands.into_iter().map(command_of).collect()
    }

    fn apply(
        &self,
        cx: &mut ApplyContext<'_>,
        payload: &Bytes,
    ) -> Result<Vec<Outcome<Reply>>, ApplyError> {
        // The entry's time: never before that of the entry before it.
        let request = decode(payload)?;
        let base = request.hlc.max(cx.clock);
        let total = request.commands.len();
        // The clock after the entry. Every version that the entry uses is below it, so all of them
        // fit if it does.
        let clock = u64::try_from(total).ok().and_then(|total| base.checked_add(total));
        let clock = clock.ok_or_else(|| {
            ApplyError::Undecodable(format!("a clock of {base} leaves no versions"))
        })?;
        // The bounds are those of the leader, whatever memory this replica has.
        let bounds = Bounds::of_entry(request.enough_bytes, request.command_bytes);
        let entry = EntryContext { base, seed: request.seed, command_bytes: bounds.command_bytes };
        let mut outcomes = Vec::with_capacity(total);
        let (mut position, mut spent) = (0u64, 0u64);
        cx.batch.start_meter();
        fetch_records(cx, &request.commands);
        for command in request.commands {
            // The first command is always carried out, so that every entry makes progress.
            let written = u64::try_from(cx.batch.metered()).unwrap_or(u64::MAX);
            if position > 0 && written + spent >= bounds.entry_bytes {
                break;
            }
            let namespace = command.namespace;
            let effect = match command.kind {
                Some(Kind::Client(client)) => {
                    entry.client(cx, position, namespace, &client, total == 1)?
                }
                Some(Kind::Purge(purge)) => entry.purge(cx, position, namespace, &purge)?,
                None => {
                    return Err(ApplyError::Undecodable("a command of an unknown kind".to_owned()));
                }
            };
            // Replies count like writes, and so does work that was undone.
            if let Outcome::Reply(reply) = &effect.outcome {
                let answered = reply_bytes(reply);
                cx.answered += answered;
                spent += answered + effect.undone_bytes;
            }
            outcomes.push(effect.outcome);
            position += 1;
        }
        cx.clock = clock;
        Ok(outcomes)
    }

    fn ranges(&self, descriptor: &Descriptor) -> Vec<(Family, KeyRange)> {
        let (start, end) = slot_bounds(descriptor.slots);
        Family::DATA.map(|family| (family, KeyRange::new(start.clone(), end.clone()))).to_vec()
    }
}

/// What a command has done.
struct CommandEffect {
    outcome: Outcome<Reply>,
    /// Bytes of work that were undone, because they became too many.
    undone_bytes: u64,
}

impl CommandEffect {
    fn reply(reply: Reply) -> CommandEffect {
        CommandEffect { outcome: Outcome::Reply(reply), undone_bytes: 0 }
    }
}

/// What all commands of one entry share.
#[derive(Clone, Copy)]
struct EntryContext {
    /// The hybrid logical clock at which the entry is applied.
    base: u64,
    seed: u64,
    /// Bytes that one command may write.
    command_bytes: u64,
}

impl EntryContext {
    /// The transaction of the command at `position`.
    fn tx<'a>(&self, cx: &'a mut ApplyContext<'_>, position: u64, namespace: u32) -> Tx<'a> {
        Tx::new(TxSource {
            batch: &mut cx.batch,
            now_ms: hlc::ms(self.base),
            version: self.base + position,
            // Drawn rather than added: streams of a SplitMix64 whose seeds are a step apart are one
            // stream.
            seed: SplitMix64::new(self.seed ^ position).next_u64(),
            namespace,
            slots: cx.descriptor.slots,
            max_bytes: self.command_bytes,
        })
    }

    /// Runs a client's command. `alone`: it is the only one of its entry.
    fn client(
        &self,
        cx: &mut ApplyContext<'_>,
        position: u64,
        namespace: u32,
        client: &ClientCommand,
        alone: bool,
    ) -> Result<CommandEffect, ApplyError> {
        let args = &client.args;
        let (command, handler) = write_command(args)?;
        if command.is_alone() && !alone {
            return Err(ApplyError::Undecodable(format!(
                "{} is not alone in its entry",
                command.name
            )));
        }
        // Compared with the descriptor as of this entry, before any effect: the Region may have
        // been split since the entry was proposed.
        if !belongs_here(cx, command, args) {
            return Ok(CommandEffect { outcome: Outcome::Misrouted, undone_bytes: 0 });
        }
        if command.is_alone() {
            // It deletes ranges, which later reads of the batch would not notice.
            cx.seal();
        }
        let mut tx = self.tx(cx, position, namespace);
        match handler(&mut tx, args) {
            Ok(reply) => Ok(CommandEffect::reply(reply)),
            // The store cannot be read or written: the Region stops.
            Err(error) if error.is_fault() => Err(fault(error)),
            // The command fails: its writes are undone, and the error is its reply.
            Err(error) => {
                tx.rollback().map_err(fault)?;
                let exceeded = matches!(error, CommandError::LimitExceeded);
                Ok(CommandEffect {
                    outcome: Outcome::Reply(error.reply()),
                    undone_bytes: if exceeded { self.command_bytes } else { 0 },
                })
            }
        }
    }

    /// Removes expired keys. The reply is their number. Keys that are another Region's by now stay:
    /// that Region's leader finds them.
    fn purge(
        &self,
        cx: &mut ApplyContext<'_>,
        position: u64,
        namespace: u32,
        purge: &PurgeExpired,
    ) -> Result<CommandEffect, ApplyError> {
        let mut removed = 0i64;
        for expired in &purge.keys {
            if cx.owns(slot_of(&expired.key)) {
                let mut tx = self.tx(cx, position, namespace);
                let gone = tx.purge(&expired.key, expired.expire_ms).map_err(fault)?;
                removed += i64::from(gone);
            }
        }
        Ok(CommandEffect::reply(Reply::Integer(removed)))
    }
}

/// Whether the Region may carry out the command. A command about keys: it owns all of them. A
/// command about the whole Region: its range is still the one that the server saw.
fn belongs_here(cx: &ApplyContext<'_>, command: &Command, args: &[Bytes]) -> bool {
    match command.scope() {
        Scope::Keys if cx.descriptor.slots == SlotRange::ALL => cx.owns(0),
        Scope::Keys => keys(command.keys, args).all(|key| cx.owns(slot_of(key))),
        _ => cx.is_as_routed(),
    }
}

/// Fetches what the commands of an entry will look for, as far as their keys tell: the records, and
/// the counts of the slots, which change with each key that comes or goes.
///
/// Not the parts of collections: a field or an element may be long, and many of them together would
/// take memory in proportion to values that no command of the entry carries.
fn fetch_records(cx: &ApplyContext<'_>, commands: &[WriteCommand]) {
    /// Of a `DEL` of a million keys the first ones would have left memory before they are needed.
    const MOST: usize = 1 << 14;
    let room = commands.len().min(MOST);
    let (mut records, mut counts) = (Vec::with_capacity(room), Vec::with_capacity(room));
    for WriteCommand { namespace, kind } in commands {
        let Some(Kind::Client(ClientCommand { args })) = kind else { continue };
        let command = args.first().and_then(|name| table::lookup(name));
        let keys = command.into_iter().flat_map(|command| keys(command.keys, args));
        for key in keys.take(MOST - records.len()) {
            let user = UserKey::new(*namespace, key.clone());
            records.push(user.metadata());
            counts.push(key::slot_stats(user.slot, *namespace));
        }
    }
    // A single one is looked for as fast by its command.
    if records.len() > 1 {
        cx.batch.fetch(Family::Metadata, &records);
        cx.batch.fetch(Family::SlotStats, &counts);
    }
}

fn decode(payload: &Bytes) -> Result<RedisWriteRequest, ApplyError> {
    RedisWriteRequest::decode(payload.clone())
        .map_err(|why| ApplyError::Undecodable(why.to_string()))
}

/// A command out of an entry, as it was when it went in.
fn command_of(command: WriteCommand) -> Result<LogCommand, ApplyError> {
    let namespace = command.namespace;
    match command.kind {
        Some(Kind::Client(client)) => {
            let command = write_command(&client.args)?.0;
            Ok(LogCommand::Client { namespace, command, args: client.args })
        }
        Some(Kind::Purge(purge)) => {
            let keys = purge.keys.into_iter().map(ExpiredKey::from).collect();
            Ok(LogCommand::Purge { namespace, keys })
        }
        None => Err(ApplyError::Undecodable("a command of an unknown kind".to_owned())),
    }
}

/// The write command that `args` name, with its code.
fn write_command(args: &[Bytes]) -> Result<(&'static Command, WriteHandler), ApplyError> {
    let name = args.first().map(|name| String::from_utf8_lossy(name)).unwrap_or_default();
    let Some(command) = args.first().and_then(|name| table::lookup(name)) else {
        return Err(ApplyError::Undecodable(format!("there is no command {name:?}")));
    };
    let Some(handler) = command.write_handler() else {
        return Err(ApplyError::Undecodable(format!("{name:?} is not a write")));
    };
    match command.check_arity(args) {
        Ok(()) => Ok((command, handler)),
        Err(_) => Err(ApplyError::Undecodable(format!("{name:?} with {} words", args.len()))),
    }
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
