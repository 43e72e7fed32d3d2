//! The writes that a connection gathers and then proposes together, and their replies.

use bytes::Bytes;
use neokv_resp::Reply;

use super::ServerLimits;
use super::dispatch::Call;
use super::routing::{Access, Destination};
use crate::keyspace::NAMESPACE;
use crate::keyspace::reply_limit::reply_bytes;
use crate::machine::LogCommand;

/// Writes that wait to be proposed together.
#[derive(Default)]
pub struct GatheredWrites {
    in_order: WritesInOrder,
    bytes: usize,
}

/// Writes that are proposed together, in the order in which the client sent them.
#[derive(Default)]
pub struct WritesInOrder {
    /// What is known of each write.
    writes: Vec<Write>,
    /// The commands that have neither taken effect nor been refused, each with its place among
    /// `writes`, in order.
    open: Vec<(usize, LogCommand)>,
    /// Place of the first write whose reply has not been taken.
    next: usize,
    /// Bytes of the replies that are known and have not been taken.
    held: u64,
}

/// One write.
pub struct Write {
    /// Its declaration, and its position in the command table.
    pub call: Call,
    /// What the connection had said about where it may run.
    pub access: Access,
    /// Its slot, once it was routed: for MOVED.
    pub slot: u16,
    /// Its reply, once there is one.
    pub answer: Option<WriteAnswer>,
}

/// What became of a write.
pub enum WriteAnswer {
    /// It was handed to a Region, and this is what came of it.
    Called(Reply),
    /// It was not served here.
    Rejected(Reply),
}

impl WriteAnswer {
    /// About how many bytes of memory it takes.
    fn bytes(&self) -> u64 {
        let (WriteAnswer::Called(reply) | WriteAnswer::Rejected(reply)) = self;
        reply_bytes(reply)
    }
}

/// Writes that go to one Region.
pub struct Group {
    /// The Region.
    pub destination: Destination,
    /// The place of each among the writes.
    pub places: Vec<usize>,
    /// The commands.
    pub commands: Vec<LogCommand>,
}

impl Group {
    /// Whether a reply may be as large as what is stored.
    pub fn answers_stored(&self) -> bool {
        self.commands.iter().any(|command| match command {
            LogCommand::Client { command, args, .. } => command.answers_stored(args),
            LogCommand::Purge { .. } => false,
        })
    }
}

impl GatheredWrites {
    /// Whether no write waits.
    pub fn is_empty(&self) -> bool {
        self.in_order.writes.is_empty()
    }

    /// Whether as many writes wait as may wait.
    pub fn is_full(&self, limits: &ServerLimits) -> bool {
        self.bytes >= limits.pipeline_bytes
            || self.in_order.writes.len() >= limits.pipeline_commands
    }

    /// Adds a write.
    pub fn push(&mut self, call: Call, access: Access, args: Vec<Bytes>) {
        self.bytes += args.iter().map(Bytes::len).sum::<usize>();
        let WritesInOrder { writes, open, .. } = &mut self.in_order;
        let command = LogCommand::Client { namespace: NAMESPACE, command: call.command, args };
        open.push((writes.len(), command));
        writes.push(Write { call, access, slot: 0, answer: None });
    }

    /// Takes all out.
    pub fn take(&mut self) -> WritesInOrder {
        self.bytes = 0;
        std::mem::take(&mut self.in_order)
    }

    /// Takes finished writes back, so that the next ones use their memory.
    pub fn reuse(&mut self, mut writes: WritesInOrder) {
        writes.writes.clear();
        writes.open.clear();
        writes.next = 0;
        writes.held = 0;
        self.in_order = writes;
    }
}

impl WritesInOrder {
    /// Whether every write has its reply, and all were taken.
    pub fn is_finished(&self) -> bool {
        self.next >= self.writes.len()
    }

    /// Takes the open commands out, in order.
    pub fn take_open(&mut self) -> Vec<(usize, LogCommand)> {
        std::mem::take(&mut self.open)
    }

    /// Puts back commands that have not taken effect.
    pub fn reopen(&mut self, commands: impl IntoIterator<Item = (usize, LogCommand)>) {
        self.open.extend(commands);
    }

    /// Sorts the open commands, after several Regions have put some back.
    pub fn sort(&mut self) {
        self.open.sort_unstable_by_key(|(place, _)| *place);
    }

    /// The write at a place.
    pub fn write(&mut self, place: usize) -> Option<&mut Write> {
        self.writes.get_mut(place)
    }

    /// Notes what became of the write at a place.
    pub fn answer(&mut self, place: usize, answer: WriteAnswer) {
        if let Some(write) = self.writes.get_mut(place) {
            self.held += answer.bytes();
            write.answer = Some(answer);
        }
    }

    /// Takes the next reply in the client's order; `None` if it is not known yet.
    pub fn next_answer(&mut self) -> Option<(Call, WriteAnswer)> {
        let write = self.writes.get_mut(self.next)?;
        let answer = write.answer.take()?;
        self.next += 1;
        self.held -= answer.bytes();
        Some((write.call, answer))
    }

    /// Bytes of the replies that are known and have not been taken.
    pub fn held(&self) -> u64 {
        self.held
    }
}
