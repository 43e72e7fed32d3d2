//! Writes: gathered while they follow each other, then proposed together.
//!
//! ```text
//! gathered   SET a   INCR b   SET c   INCR a   DEL d
//! by Region  1: SET a, INCR a, DEL d        2: INCR b       3: SET c
//! round 1    1: SET a ✓ INCR a ✓ DEL d ✗    2: INCR b ✓     3: SET c ✓       all at the same time
//! round 2    4: DEL d ✓                     Region 1 was split meanwhile: d is in Region 4
//! replies    +OK     :1       +OK     :2       :1                            in the client's order
//! ```
//!
//! All Regions work on their part at the same time, so a pipeline over many waits for the disk a
//! few times, not once for each. Within a Region, and so for every key, writes take effect in the
//! client's order; between Regions there is no order. What has not taken effect in one round (the
//! Region was split, or the entry was full) is routed again in the next, after *all* Regions have
//! answered: of two writes to one key the second never overtakes the first.
//!
//! A write in every Region (FLUSHALL) is not gathered. It goes to all of them at the same time, and
//! to none if one of them does not serve: then nothing happened.
//!
//! Replies are handed on in the client's order, after each round as far as they are known without a
//! gap. Those that are held meanwhile are bounded for the connection, whatever the number of
//! Regions: a Region for whose replies there is no room goes in the next round
//! ([`round`]).

use std::time::Instant;

use neokv_raftstore::{Done, Progress, ProposeError, ReadError};
use neokv_resp::Reply;

use super::connection::{CloseReason, Connection};
use super::dispatch::Call;
use super::gathered::{Group, WriteAnswer, WritesInOrder};
use super::round::{self, ReplyRoom, RoundPart as _};
use super::routing::{
    Destination, Failed, NoRoute, Route, changing, check_replica, every_region, write_refused,
};
use crate::command::declare::{Merge, Scope};
use crate::keyspace::NAMESPACE;
use crate::keyspace::reply_limit::reply_bytes;
use crate::machine::{Bounds, LogCommand};
use crate::session::ReplyMode;
use crate::topology::Topology;

/// What became of the commands of a group.
type GroupOutcome = (Vec<usize>, Result<Progress<LogCommand, Reply>, ProposeError>);

impl Connection {
    /// Adds a write to those that wait. If as many wait as may, they are proposed.
    pub(super) async fn gather(&mut self, call: Call) -> Result<(), CloseReason> {
        if let Scope::EveryRegion(merge) = call.command.scope() {
            self.settle().await?;
            return self.write_every(call, merge).await;
        }
        self.writes.push(call, self.access(), std::mem::take(&mut self.args));
        // With CLIENT REPLY it is decided command by command whether a reply is sent.
        if self.session.replies != ReplyMode::On || self.writes.is_full(&self.context.limits) {
            self.settle().await?;
        }
        Ok(())
    }

    /// Sends the gathered writes through the log and appends their replies.
    pub(super) async fn settle(&mut self) -> Result<(), CloseReason> {
        if self.writes.is_empty() {
            return Ok(());
        }
        let mut writes = self.writes.take();
        loop {
            let is_last = self.wait.is_over();
            let groups = self.groups(&mut writes, is_last);
            let is_progress = self.propose(&mut writes, groups).await?;
            if is_last && !is_progress {
                // Their Regions changed in every round, so they are refused.
                for (place, _) in writes.take_open() {
                    writes.answer(place, WriteAnswer::Rejected(changing()));
                }
            }
            self.answer_writes(&mut writes)?;
            // The next round begins when few enough replies wait for the client: for a client that
            // does not read them, no more are made.
            self.relieve().await?;
            if writes.is_finished() {
                break;
            }
            if self.client.is_killed() {
                return Err(CloseReason::Killed);
            }
            if !is_progress {
                // The Regions need a moment to change.
                self.wait.pause().await;
            }
        }
        self.writes.reuse(writes);
        Ok(())
    }

    /// Routes the open commands. One whose Region is not ready waits for the next round, and all
    /// behind it with it, because they may be about the same key; in the last round it is refused.
    fn groups(&mut self, writes: &mut WritesInOrder, is_last: bool) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut open = writes.take_open().into_iter();
        while let Some((place, command)) = open.next() {
            match self.route_write(writes, place, &command) {
                Ok(destination) => add(&mut groups, destination, place, command),
                // This command and all behind it wait for the next round.
                Err(NoRoute::NotYet(_)) if !is_last => {
                    writes.reopen([(place, command)]);
                    writes.reopen(open);
                    self.router.forget();
                    break;
                }
                // It is not served here, or its Region was waited for long enough.
                Err(NoRoute::Refused(reply) | NoRoute::NotYet(reply)) => {
                    writes.answer(place, WriteAnswer::Rejected(reply));
                }
            }
        }
        groups
    }

    /// Where one write goes.
    fn route_write(
        &mut self,
        writes: &mut WritesInOrder,
        place: usize,
        command: &LogCommand,
    ) -> Result<&Destination, NoRoute> {
        let (Some(write), LogCommand::Client { args, .. }) = (writes.write(place), command) else {
            return Err(NoRoute::Refused(changing()));
        };
        let route = self.router.route(&self.context, write.call.command, args, write.access)?;
        match route {
            Route::One(to) => {
                write.slot = to.slot;
                Ok(to.destination)
            }
            // Cannot be: commands for every Region are not gathered.
            Route::Every(..) => Err(NoRoute::Refused(changing())),
        }
    }

    /// Proposes the groups, at the same time as far as there is room for their replies, and notes
    /// what became of each command. False if no command got its reply.
    async fn propose(
        &mut self,
        writes: &mut WritesInOrder,
        groups: Vec<Group>,
    ) -> Result<bool, CloseReason> {
        if groups.is_empty() {
            return Ok(false);
        }
        let is_small = groups.iter().all(|group| group.may_answer() == 0);
        let outcomes = if is_small || groups.len() == 1 {
            self.while_open(propose_all(groups)).await?
        } else {
            let room = ReplyRoom { limit: self.context.limits.held_replies, held: writes.held() };
            let (outcomes, left) = self.while_open(round::run(groups, room)).await?;
            for Group { places, commands, .. } in left {
                writes.reopen(places.into_iter().zip(commands));
            }
            outcomes
        };
        let mut called = Vec::new();
        let (mut has_changed, mut has_answers) = (false, false);
        for (places, outcome) in outcomes {
            match outcome {
                Ok(Progress { done, rest }) => {
                    // The proposer promises one outcome for each command. Otherwise no reply could
                    // be assigned to its command.
                    if done.is_empty() || done.len() + rest.len() != places.len() {
                        return Err(CloseReason::Panicked);
                    }
                    let (carried_out, left) = places.split_at(done.len());
                    for (&place, done) in carried_out.iter().zip(done) {
                        match done {
                            Done::Reply(reply) => {
                                writes.answer(place, WriteAnswer::Called(reply));
                                called.push(place);
                                has_answers = true;
                            }
                            // The Region was split: it is routed again.
                            Done::Misrouted { command, .. } => {
                                writes.reopen([(place, command)]);
                                has_changed = true;
                            }
                        }
                    }
                    // The entry was full: the rest goes in the next round.
                    writes.reopen(left.iter().copied().zip(rest));
                }
                // The whole group failed, and every command of it is answered with the error.
                Err(error) => {
                    has_changed = true;
                    for place in places {
                        let slot = writes.write(place).map_or(0, |write| write.slot);
                        let answer = failed(&*self.context.topology, slot, &error);
                        if matches!(answer, WriteAnswer::Called(_)) {
                            called.push(place);
                        }
                        writes.answer(place, answer);
                        has_answers = true;
                    }
                }
            }
        }
        writes.sort();
        if has_changed {
            self.router.forget();
        }
        self.count_writes(writes, &called);
        Ok(has_answers)
    }

    /// Runs a write in every Region. If the Regions change meanwhile, it starts over: such commands
    /// do no harm when repeated.
    async fn write_every(&mut self, call: Call, merge: Merge) -> Result<(), CloseReason> {
        let mut has_begun = false;
        loop {
            let (reply, is_final) = match self.write_every_once(call, merge, &mut has_begun).await {
                Ok(reply) => {
                    self.answer(call, Ok(reply));
                    return Ok(());
                }
                Err(Failed::Close(reason)) => return Err(reason),
                Err(Failed::NoRoute(NoRoute::Refused(reply))) => (reply, true),
                Err(Failed::NoRoute(NoRoute::NotYet(reply))) => (reply, false),
            };
            if self.client.is_killed() {
                return Err(CloseReason::Killed);
            }
            if is_final || !self.wait.pause().await {
                if has_begun {
                    // It is neither done nor undone, which must not look like a refusal.
                    let why = "some regions may have done it, others are changing or have stopped";
                    let error = ProposeError::Unknown { why: why.into() };
                    self.answer(call, Ok(write_refused(&*self.context.topology, 0, &error)));
                } else {
                    self.redirect(call, &reply);
                }
                return Ok(());
            }
        }
    }

    /// One attempt at [`write_every`](Self::write_every): all Regions work at the same time, and
    /// the first failure in the order of their slots is told. `has_begun` becomes true when a
    /// Region has done it or may have done it.
    async fn write_every_once(
        &mut self,
        call: Call,
        merge: Merge,
        has_begun: &mut bool,
    ) -> Result<Reply, Failed> {
        let regions = every_region(&self.context)?;
        // Where one refuses already, none is asked: so nothing happens.
        regions.iter().try_for_each(|region| self.check_serves(region))?;
        // Their replies are small, so all of them have room.
        let groups = regions.iter().map(|to| self.group_of_one(call, to)).collect();
        let outcomes = self.while_open(propose_all(groups)).await?;
        let outcomes: Vec<_> = outcomes.into_iter().map(|(_, outcome)| only(outcome)).collect();
        let begun = outcomes.iter().filter(|outcome| may_have_happened(outcome)).count();
        let had_begun = std::mem::replace(has_begun, *has_begun || begun > 0);
        let mut replies = Vec::with_capacity(outcomes.len());
        for (destination, outcome) in regions.iter().zip(outcomes) {
            let slot = destination.descriptor.slots.start;
            match outcome {
                Ok(Done::Reply(reply)) if reply.is_error() => return Ok(reply),
                Ok(Done::Reply(reply)) => replies.push(reply),
                Ok(Done::Misrouted { .. }) => return Err(NoRoute::NotYet(changing()).into()),
                // Nothing happened there. It serves soon, or another node leads it by now.
                Err(error @ (ProposeError::NotReady { .. } | ProposeError::NotLeader { .. })) => {
                    let reply = write_refused(&*self.context.topology, slot, &error);
                    return Err(NoRoute::NotYet(reply).into());
                }
                Err(error) => {
                    // What has happened elsewhere stays: that must not look like a refusal.
                    let elsewhere = begun - usize::from(!is_refusal(&error));
                    let error = if had_begun || elsewhere > 0 {
                        error.after("some regions may have done it")
                    } else {
                        error
                    };
                    let reply = write_refused(&*self.context.topology, slot, &error);
                    if is_refusal(&error) {
                        return Err(NoRoute::Refused(reply).into());
                    }
                    return Ok(reply);
                }
            }
        }
        Ok(merge(replies, self.session.seed()))
    }

    /// Whether a Region serves writes here now, as far as its replica knows.
    fn check_serves(&self, destination: &Destination) -> Result<(), NoRoute> {
        let Destination { region, descriptor } = destination;
        let Err(error) = region.read_now(descriptor.epoch) else { return Ok(()) };
        let checked = check_replica(&*self.context.topology, descriptor.slots.start, &error, false);
        match error {
            ReadError::Stopped { .. } => checked,
            // Which Regions are led here is looked up once more.
            _ => checked.map_err(NoRoute::again),
        }
    }

    /// The command in `args`, for one Region.
    fn group_of_one(&self, call: Call, to: &Destination) -> Group {
        let command = LogCommand::Client {
            namespace: NAMESPACE,
            command: call.command,
            args: self.args.clone(),
        };
        Group { destination: to.clone(), places: vec![0], commands: vec![command] }
    }

    /// Appends the replies that are known, in the client's order; each is dropped as soon as it is
    /// copied, because together they may be large.
    fn answer_writes(&mut self, writes: &mut WritesInOrder) -> Result<(), CloseReason> {
        while let Some((call, answer)) = writes.next_answer() {
            match answer {
                WriteAnswer::Called(reply) => self.answer_write(call, &reply),
                WriteAnswer::Rejected(reply) => self.redirect(call, &reply),
            }
            self.send_excess()?;
        }
        Ok(())
    }

    fn answer_write(&mut self, call: Call, reply: &Reply) {
        if let Reply::Error(text) = reply {
            self.stats.count_failure(&self.context.stats, call.position, text);
        }
        if self.session.end_command() {
            self.output.push(reply, self.session.protocol);
        }
    }

    /// Counts the calls of a round; each took an equal share of its time.
    fn count_writes(&mut self, writes: &mut WritesInOrder, places: &[usize]) {
        if places.is_empty() {
            return;
        }
        let now = Instant::now();
        let calls = u32::try_from(places.len()).unwrap_or(u32::MAX).max(1);
        let share = now.saturating_duration_since(self.clock) / calls;
        for place in places {
            if let Some(write) = writes.write(*place) {
                self.stats.count(&self.context.stats, write.call.position, 1, share);
            }
        }
        self.clock = now;
    }
}

/// What became of the only command of a group.
fn only(
    outcome: Result<Progress<LogCommand, Reply>, ProposeError>,
) -> Result<Done<LogCommand, Reply>, ProposeError> {
    // One command has one outcome.
    outcome?.done.pop().ok_or_else(|| ProposeError::Unknown { why: "there was no reply".into() })
}

/// Whether a Region has carried out the command, or nobody knows.
fn may_have_happened(outcome: &Result<Done<LogCommand, Reply>, ProposeError>) -> bool {
    match outcome {
        Ok(Done::Reply(reply)) => !reply.is_error(),
        Ok(Done::Misrouted { .. }) => false,
        Err(error) => !is_refusal(error),
    }
}

/// Whether nothing happened: then the command was rejected, not called, as Redis counts it.
fn is_refusal(error: &ProposeError) -> bool {
    !matches!(error, ProposeError::Unknown { .. })
}

/// The answer to a command that came back with an error.
fn failed(topology: &dyn Topology, slot: u16, error: &ProposeError) -> WriteAnswer {
    let reply = write_refused(topology, slot, error);
    if is_refusal(error) { WriteAnswer::Rejected(reply) } else { WriteAnswer::Called(reply) }
}

/// Adds a command to the group of its Region.
fn add(groups: &mut Vec<Group>, to: &Destination, place: usize, command: LogCommand) {
    let is_same = |group: &Group| group.destination.region.id() == to.region.id();
    // Nearly always the last one.
    let known = match groups.last() {
        Some(last) if is_same(last) => groups.last_mut(),
        _ => groups.iter_mut().find(|group| is_same(group)),
    };
    match known {
        Some(group) => {
            group.places.push(place);
            group.commands.push(command);
        }
        None => groups.push(Group {
            destination: to.clone(),
            places: vec![place],
            commands: vec![command],
        }),
    }
}

/// Proposes the groups, all at the same time, and waits until every Region has answered.
async fn propose_all(mut groups: Vec<Group>) -> Vec<GroupOutcome> {
    let proposals: Vec<_> = groups
        .iter_mut()
        .map(|Group { destination, commands, .. }| {
            let Destination { region, descriptor } = destination;
            region.propose_some(descriptor.epoch, std::mem::take(commands))
        })
        .collect();
    let mut outcomes = Vec::with_capacity(proposals.len());
    // Waits for the last one first. Regions answer about in the order in which they were asked, so
    // most answers are there when the last one wakes this task.
    for proposal in proposals.into_iter().rev() {
        outcomes.push(proposal.await);
    }
    groups.into_iter().map(|group| group.places).zip(outcomes.into_iter().rev()).collect()
}

impl round::RoundPart for Group {
    type Outcome = GroupOutcome;

    /// No entry carries out more commands once they have answered so much.
    fn may_answer(&self) -> u64 {
        if self.answers_stored() { Bounds::default().entry_bytes } else { 0 }
    }

    fn answered((_, outcome): &GroupOutcome) -> u64 {
        let Ok(Progress { done, .. }) = outcome else { return 0 };
        let bytes = done.iter().map(|done| match done {
            Done::Reply(reply) => reply_bytes(reply),
            Done::Misrouted { .. } => 0,
        });
        bytes.sum()
    }

    async fn run(self) -> GroupOutcome {
        let Group { destination, places, commands } = self;
        let epoch = destination.descriptor.epoch;
        (places, destination.region.propose_some(epoch, commands).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FixedTopology;

    /// As `redis-server` 7.0.15 counts them: what it refuses with OOM, MOVED or TRYAGAIN is a
    /// rejected call and no call.
    #[test]
    fn a_write_that_has_not_happened_counts_as_rejected() {
        let is_rejected = |error: ProposeError| {
            matches!(failed(&FixedTopology, 1, &error), WriteAnswer::Rejected(_))
        };
        assert!(is_rejected(ProposeError::NotLeader { region: 1, leader: Some(7) }));
        assert!(is_rejected(ProposeError::NotReady { region: 1, why: "it moves" }));
        assert!(is_rejected(ProposeError::Busy { region: 1, waiting: 1 }));
        assert!(is_rejected(ProposeError::NoSpace));
        assert!(is_rejected(ProposeError::TooBig { bytes: 2, limit: 1 }));
        assert!(is_rejected(ProposeError::Stopped { region: 1, why: "it ended".into() }));
        assert!(!is_rejected(ProposeError::Unknown { why: "it went away".into() }));
    }
}
